/**
 * ToFu (token fusion): match as ToMe; in the first blocks drop the tokens that would merge, later average them and scale
 * the average to the length of the longest (MLERP), because averaging shortens vectors.
 *
 * Kim et al., "Token Fusion: Bridging the Gap between Token Pruning and Token Merging", WACV 2024, arXiv:2312.01026,
 * sections 3.2 and 3.3. Checked against the implementation in the code of PiToMe (tests/golden, `tofu.merge`). Differs from
 * that code in the divisor of MLERP: theirs is the length that the joined token had, so that the result is too short
 * where tokens disagree (`parity: true`); ours is the length of the mean.
 *
 * @module
 */
import { need, type Place, type Reducer } from "../nn/reducer.ts";
import { perMass, type SlotMap } from "../nn/token_map.ts";
import { gatherTokens, tf, tidy } from "../tensor/mod.ts";
import { type LayerBudget, patchesLeft, truncate, truncateAsReference } from "./budget.ts";
import { trainingFree } from "./method.ts";
import { meanWeights } from "./order.ts";
import { refuseNaNIn } from "./special.ts";
import { bipartiteSoftMatching, matchingBudget } from "./tome.ts";
import { int, where } from "./where.ts";

/** Options of ToFu. */
export type ToFuOptions = LayerBudget & {
  /** The first block that merges; those before it prune. Default: half of the blocks. */
  readonly mergeFrom?: number;
  /** The reference's MLERP, order and rounding. Default: false. */
  readonly parity?: boolean;
};

/**
 * The matching of {@link bipartiteSoftMatching} with the tokens that leave dropped instead of merged.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { tf } from "tessera/tensor/mod.ts";
 * import { bipartiteSoftMatching } from "tessera/reduction/tome.ts";
 * const map = bipartiteSoftMatching(tf.tensor3d([[[9, 9], [1, 0], [1, 0], [0, 1]]]), { r: 1, classToken: false });
 * assert.deepEqual(dropLeaving(map).slot.arraySync(), [[0, 1, -1, 2]]);
 * ```
 */
export function dropLeaving(map: SlotMap): SlotMap {
  const { kind, tokens, outputs, anchor, anchorsInOrder, budget } = map;
  return tidy(() => ({
    kind,
    tokens,
    outputs,
    slot: where<tf.Tensor2D>(anchor!, map.slot, -1),
    anchor: anchor!,
    budget,
    ...(anchorsInOrder ? { picksInOrder: true } : {}),
  }));
}

/**
 * The matching with MLERP: means that are as long as the longest of their tokens.
 *
 * @param x [batch, tokens, channels]: only needed for `parity`, whose divisor is the length of the joined token.
 *
 * @example Two tokens of length 3 and 4 at a right angle become one of length 4
 * ```ts
 * import assert from "node:assert/strict";
 * import { tf } from "tessera/tensor/mod.ts";
 * import { applyMap, mergeInto } from "tessera/nn/token_map.ts";
 * const leaves = tf.tensor2d([[0, 1]], undefined, "bool");
 * const map = mergeInto(leaves, tf.tensor2d([[0, 0]], undefined, "int32"), { requested: 1, achieved: 1 });
 * const x = tf.tensor3d([[[3, 0], [0, 4]]]);
 * assert.ok(Math.abs(tf.norm(applyMap(mlerp(map), x).x).arraySync() as number - 4) < 1e-5);
 * ```
 */
export function mlerp(map: SlotMap, x?: tf.Tensor3D, parity = false): SlotMap {
  if (!parity) return { ...map, combine: "mlerp" };
  return tidy(() => {
    const { slot, outputs, anchor } = map;
    const length = tf.norm(x!, 2, 2) as tf.Tensor2D; // [batch, tokens]
    const member = tf.equal(tf.range(0, outputs, 1, "int32").reshape([1, outputs, 1]), slot.expandDims(1));
    const longest = tf.mul(member.cast("float32"), length.expandDims(1)).max<tf.Tensor2D>(2); // [batch, outputs]
    const own = tf.mul(member.cast("float32"), tf.mul(length, anchor!.cast("float32")).expandDims(1)).max<tf.Tensor2D>(
      2,
    );
    const scale = gatherTokens(perMass<tf.Tensor2D>(longest, own), tf.maximum<tf.Tensor2D>(slot, int(0)));
    return { ...map, weight: tf.mul<tf.Tensor2D>(meanWeights(slot, outputs), scale) };
  });
}

/**
 * ToFu as a reducer.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * const place = { layer: 0, layers: 4, tokens: 50, initialTokens: 50, specialTokens: 1, grid: [7, 7] as const };
 * assert.equal(tofu({ r: 8 }).plan(place).achieved, 8);
 * ```
 */
export function tofu(options: ToFuOptions): Reducer {
  const { parity = false, mergeFrom } = options;
  const left = patchesLeft(options, parity ? truncateAsReference : truncate);
  const planned = (place: Place) =>
    matchingBudget(place.tokens - place.specialTokens - left(place), place.tokens, place.specialTokens);
  return {
    name: "tofu",
    needs: ["keys"],
    proportionalAttention: false,
    plan: planned,
    reduce: (view) => {
      const budget = planned(view);
      const { specialTokens, layer, layers } = view;
      return tidy(() => {
        const keys = refuseNaNIn(need(view, "keys", "tofu").mean<tf.Tensor3D>(1), "tofu", view);
        const map = bipartiteSoftMatching(keys, {
          r: budget.achieved,
          specialTokens,
          firstOfA: parity || layer % 2 === 0 ? 0 : 1,
          parity,
        });
        const merges = layer >= (mergeFrom ?? Math.floor(layers / 2));
        return { ...(merges ? mlerp(map, view.x, parity) : dropLeaving(map)), budget };
      });
    },
  };
}

/** ToFu in the catalogue. */
export const tofuMethod = trainingFree(tofu, {
  family: "merge",
  paper: "Kim et al., Token Fusion, 2024",
  section: "3.2 and 3.3, arXiv:2312.01026",
  tier: 1,
  traceable: true,
  golden: ["tofu.merge"],
  cost: "n²C/4 multiplications, C of the keys of one head; n²/4 floats",
  differs: "from the code in dividing by the length of the mean, not of the joined token, and in the order",
  breaks: {
    mass: "the first half of the blocks drops tokens",
    U5: "the length of the longest token is not linear",
    U9: "sets A and B alternate in the order of the input",
    U15: "the length of the longest token is no matrix",
    M2: "what was dropped does not come back",
  },
});
