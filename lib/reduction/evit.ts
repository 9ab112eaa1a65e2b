/**
 * EViT: keep the patches that the class token attends to most, and fuse all others into one more token.
 *
 * Liang et al., "Not All Patches are What You Need: Expediting Vision Transformers via Token Reorganizations", ICLR 2022,
 * arXiv:2202.07800, section 3.2. Checked against Haurum et al.'s implementation (tests/golden,
 * `evit.inattentive_fusion`, `vit_evit.forward`). The paper's fused token is the sum of the others times their
 * attention, which is shorter than a token; ours divides by the summed attention, so that it is a mean, and keeps the
 * order of the input. `parity: true` follows the paper's sum and the order best first.
 *
 * @module
 */
import { need, type Place, type Reducer } from "../nn/reducer.ts";
import { type Budget, budgetOf, perMass, type SlotMap } from "../nn/token_map.ts";
import { tf, tidy } from "../tensor/mod.ts";
import { type LayerBudget, patchesLeft, type Rounding } from "./budget.ts";
import { trainingFree } from "./method.ts";
import { refuseNaNIn } from "./special.ts";
import { classAttention, pruneByScore } from "./prune.ts";

/** Options of EViT. */
export type EViTOptions = LayerBudget & {
  /** The paper's unnormalised fused token, and the order best first. Default: false. */
  readonly parity?: boolean;
};

/** As the authors: of the patches that arrive (the fused token of earlier blocks is one of them), rounded up. */
const ofArriving: Rounding = { of: "arriving", round: (patches) => Math.ceil(patches - 1e-9) };

/**
 * Keeps the `keep` most attended patches and fuses the others into one token after them.
 *
 * @param attention [batch, patches]: how much the class token looks at each patch.
 * @param options `keep`: patches that stay as they are; `specialTokens`: tokens in front of the patches.
 *
 * @example Patches 0 and 2 fuse, in proportion 1 : 3
 * ```ts
 * import assert from "node:assert/strict";
 * import { tf } from "tessera/tensor/mod.ts";
 * import { combineMatrix } from "tessera/nn/token_map.ts";
 * const map = fuseInattentive(tf.tensor2d([[0.125, 0.5, 0.375]]), { keep: 1 });
 * assert.deepEqual(combineMatrix(map).arraySync(), [[[0, 1, 0], [0.25, 0, 0.75]]]);
 * ```
 */
export function fuseInattentive(
  attention: tf.Tensor2D,
  { keep, specialTokens = 0, parity = false }: { keep: number; specialTokens?: number; parity?: boolean },
): SlotMap {
  return tidy(() => {
    const packed = pruneByScore(attention, { keep, specialTokens, packWith: attention, parity });
    if (parity) return packed; // the paper's sum: the weights of the fused patches add up to less than 1
    const weight = packed.weight!;
    const fused = tf.equal(packed.slot, tf.scalar(packed.outputs - 1, "int32"));
    const total = tf.where(fused, weight, tf.zerosLike(weight)).sum<tf.Tensor2D>(1, true);
    return { ...packed, weight: tf.where(fused, perMass<tf.Tensor2D>(weight, total), weight) };
  });
}

/**
 * EViT as a reducer. Its tokens include the fused one; `keepRate` is of the patches that arrive at each of `layers`.
 *
 * @example The authors' token counts: 197, 140, 100, 72
 * ```ts
 * import assert from "node:assert/strict";
 * const reducer = evit({ keepRate: 0.7 });
 * const place = { layers: 12, initialTokens: 197, specialTokens: 1, grid: [14, 14] as const };
 * assert.equal(197 - reducer.plan({ ...place, layer: 3, tokens: 197 }).achieved, 140);
 * assert.equal(140 - reducer.plan({ ...place, layer: 6, tokens: 140 }).achieved, 100);
 * ```
 */
export function evit(options: EViTOptions): Reducer {
  const { parity = false } = options;
  const left = patchesLeft(options, ofArriving);
  const keepOf = (place: Place) => "r" in options ? left(place) - 1 : left(place); // with `r` the fused token counts
  return {
    name: "evit",
    needs: ["attention"],
    proportionalAttention: false,
    plan: (place) => fusingBudget(place, keepOf(place)),
    reduce: (view) => {
      const { specialTokens } = view;
      const budget = fusingBudget(view, keepOf(view));
      const keep = view.tokens - specialTokens - budget.achieved - 1;
      return tidy(() => ({
        ...fuseInattentive(refuseNaNIn(classAttention(need(view, "attention", "evit"), specialTokens), "evit", view), {
          keep,
          specialTokens,
          parity,
        }),
        budget,
      }));
    },
  };
}

/** EViT in the catalogue. */
export const evitMethod = trainingFree(evit, {
  family: "pack",
  paper: "Liang et al., EViT, 2022",
  section: "3.2, arXiv:2202.07800",
  tier: 1,
  traceable: true,
  golden: ["evit.inattentive_fusion", "vit_evit.forward"],
  cost: "heads x n additions; n floats",
  differs: "from the paper in the fused token, which is a mean instead of a sum of small weights, and in the order",
  breaks: {},
});

/** Fusing a single patch with itself would remove nothing, so it is left out. */
function fusingBudget(place: Place, left: number): Budget {
  const patches = place.tokens - place.specialTokens;
  const requested = Math.max(0, patches - left - 1);
  if (requested === 0) return { requested, achieved: 0 };
  return budgetOf(patches, Math.max(1, left) + 1, requested, "at least one patch must stay beside the fused token");
}
