/**
 * VisPruner: half of the tokens are those that the class token looks at most, the other half what is left after near
 * duplicates are removed from the rest.
 *
 * Zhang et al., "Beyond Text-Visual Attention: Exploiting Visual Cues for Effective Token Pruning in VLMs", ICCV 2025,
 * arXiv:2412.01818v2, section 4. Checked against the authors' code (tests/golden, `vispruner.select`). Differs from the code
 * in that any number of tokens works; theirs stops with an error where a round begins with an odd number of them, or has
 * to remove more than half.
 *
 * @module
 */
import { trainingFree } from "./method.ts";
import type { Reducer } from "../nn/reducer.ts";
import { argsort, gatherTokens, stopGradient, tf, tidy } from "../tensor/mod.ts";
import type { LayerBudget } from "./budget.ts";
import { compose, type Select } from "./compose.ts";
import { placesOf } from "./divprune.ts";
import { towerAttention } from "./fastervlm.ts";
import { cosine, settled } from "./similarity.ts";

/** Tokens that one round removes at most. */
const PER_ROUND = 8;

/**
 * Which tokens stay: the most attended ones, then those that survive rounds of removal. A round splits what is left into
 * every second token and the others, and removes up to 8 of the first that resemble one of the others most. The list
 * starts in the order of attention, and the tokens that a round compared and kept stand in front, most alike first.
 *
 * Costs `R²C / 4` multiply-accumulates in the first round of R tokens, and less in each of the `(R - kept) / 8` rounds.
 *
 * @param features [batch, tokens, channels]
 * @param attention [batch, tokens]
 * @param options `keep`: 1 to tokens; `importantRatio`: share of them chosen by attention, truncated.
 * @returns int32 [batch, keep]: by attention, then what survived.
 *
 * @example Token 1 repeats token 2
 * ```ts
 * import assert from "node:assert/strict";
 * import { tf } from "tessera/tensor/mod.ts";
 * const features = tf.tensor3d([[[1, 0], [0, 1], [0, 1], [-1, 0]]]);
 * const order = attendedAndDiverse(features, tf.tensor2d([[0.4, 0.3, 0.2, 0.1]]), { keep: 3, importantRatio: 0.4 });
 * assert.deepEqual(order.arraySync(), [[0, 3, 2]]);
 * ```
 */
export function attendedAndDiverse(
  features: tf.Tensor3D,
  attention: tf.Tensor2D,
  { keep, importantRatio }: { readonly keep: number; readonly importantRatio: number },
): tf.Tensor2D {
  const important = Math.trunc(keep * importantRatio), diverse = keep - important;
  return tidy(() => {
    const order = argsort(stopGradient(attention), "descending");
    const first = order.slice([0, 0], [-1, important]) as tf.Tensor2D;
    let rest = order.slice([0, important]) as tf.Tensor2D; // [batch, R]
    while (rest.shape[1] > diverse && diverse > 0) {
      const left = rest.shape[1];
      const removed = Math.min(PER_ROUND, left - diverse, Math.ceil(left / 2));
      const [compared, others] = [everyOther(rest, 0), everyOther(rest, 1)];
      const tokens = stopGradient(features);
      const alike = settled(cosine(gatherTokens(tokens, compared), gatherTokens(tokens, others))).max<tf.Tensor2D>(2);
      const sorted = gatherTokens(compared, argsort(alike, "descending")); // most alike first: they go
      rest = tf.concat([sorted.slice([0, removed]) as tf.Tensor2D, others], 1);
    }
    return diverse > 0 ? tf.concat([first, rest], 1) : first;
  });
}

/** Every second entry of each row, from `start`: [batch, ceil or floor of half]. */
function everyOther(rows: tf.Tensor2D, start: 0 | 1): tf.Tensor2D {
  const [batch, length] = rows.shape;
  const places = tf.range(start, length, 2, "int32").expandDims<tf.Tensor2D>(0).tile<tf.Tensor2D>([batch, 1]);
  return gatherTokens(rows, places);
}

/** Keeps a share by score, the rest by removing near duplicates; see `attendedAndDiverse`. */
export function withoutDuplicates(importantRatio = 0.5): Select {
  if (!(importantRatio >= 0 && importantRatio <= 1)) {
    throw new RangeError(`importantRatio must lie in [0, 1], but it is ${importantRatio}; the authors' is 0.5`);
  }
  return {
    name: "without duplicates",
    needs: [],
    choose: (score, keep, view) =>
      tidy(() => {
        const patches = view.x.slice([0, view.specialTokens, 0]) as tf.Tensor3D;
        return {
          keep,
          stays: placesOf(attendedAndDiverse(patches, score, { keep, importantRatio }), patches.shape[1]),
        };
      }),
  };
}

/** Options of VisPruner. */
export type VisPrunerOptions = LayerBudget & {
  /** Share of the tokens that attention chooses, 0 to 1. Default: 0.5. */
  readonly importantRatio?: number;
};

/**
 * VisPruner as a reducer: before the first block, unless the budget names others. What it costs: see `attendedAndDiverse`.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * const place = { layers: 32, tokens: 576, initialTokens: 576, specialTokens: 0, grid: [24, 24] as const };
 * assert.equal(vispruner({ keep: [64], layers: [0] }).plan({ ...place, layer: 0 }).achieved, 512);
 * ```
 */
export function vispruner(options: VisPrunerOptions): Reducer {
  const name = "vispruner", select = withoutDuplicates(options.importantRatio);
  return compose({ name, score: towerAttention(name), select, layers: [0], hook: "beforeBlock" })(options);
}

/** VisPruner in the catalogue. */
export const visprunerMethod = trainingFree(vispruner, {
  family: "prune",
  paper: "Zhang et al., VisPruner, 2025",
  section: "4, arXiv:2412.01818",
  tier: 1,
  models: "vision-language",
  traceable: true,
  golden: ["vispruner.select"],
  cost: "n²C/4 multiplications in the first round of (n - k) / 8",
  differs: "from the code in allowing odd numbers of tokens",
  breaks: { mass: "tokens are dropped", P2: "rounds of removal split the rest another way" },
});
