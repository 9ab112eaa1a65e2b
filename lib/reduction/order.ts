/**
 * In which order outputs stand.
 *
 * @module
 */
import { positionsOf, type SlotMap } from "../nn/token_map.ts";
import { argsort, gatherTokens, tf, tidy } from "../tensor/mod.ts";
import { int, where } from "./where.ts";

/**
 * The same map with its outputs in the order of the input: by the token that stands for each.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { tf } from "tessera/tensor/mod.ts";
 * const slot = tf.tensor2d([[1, 0, 1]], undefined, "int32");
 * const map = { kind: "slots", tokens: 3, outputs: 2, slot, budget: { requested: 1, achieved: 1 } } as const;
 * assert.deepEqual(inInputOrder(map).slot.arraySync(), [[0, 1, 0]]);
 * ```
 */
export function inInputOrder(map: SlotMap): SlotMap {
  return tidy(() => {
    const place = argsort(argsort(positionsOf(map)));
    const stays = tf.greaterEqual(map.slot, int(0));
    const moved = gatherTokens(place, tf.maximum<tf.Tensor2D>(map.slot, int(0)));
    return { ...map, slot: where<tf.Tensor2D>(stays, moved, map.slot) };
  });
}

/**
 * The map of tokens that were sorted, as a map of the tokens in the order before.
 *
 * @param map Of the sorted tokens.
 * @param order [batch, tokens] int32: which token stands in each place of the sorted ones.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { tf } from "tessera/tensor/mod.ts";
 * import { identityMap } from "tessera/nn/token_map.ts";
 * const order = tf.tensor2d([[2, 0, 1]], undefined, "int32");
 * assert.deepEqual(beforeSorting(identityMap(1, 3), order).slot.arraySync(), [[1, 2, 0]]);
 * ```
 */
export function beforeSorting(map: SlotMap, order: tf.Tensor2D): SlotMap {
  return tidy(() => {
    const place = argsort(order);
    const { anchorsInOrder: _, picksInOrder: __, packsRest: ___, ...rest } = map; // no longer
    return {
      ...rest,
      slot: gatherTokens(map.slot, place),
      ...(map.weight ? { weight: gatherTokens(map.weight, place) } : {}),
      ...(map.anchor
        ? { anchor: gatherTokens(map.anchor.cast<tf.Tensor2D>("int32"), place).cast<tf.Tensor2D>("bool") }
        : {}),
    };
  });
}

/**
 * Weights that make each output the plain mean of its tokens, whatever their sizes, as several references have it.
 *
 * @param slot [batch, tokens] int32
 * @param share [batch, tokens]: what each token counts; default: 1.
 * @returns [batch, tokens], what sums to 1 in each slot.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { tf } from "tessera/tensor/mod.ts";
 * assert.deepEqual(meanWeights(tf.tensor2d([[0, 1, 1, -1]], undefined, "int32"), 2).arraySync(), [[1, 0.5, 0.5, 0]]);
 * ```
 */
export function meanWeights(slot: tf.Tensor2D, outputs: number, share?: tf.Tensor2D): tf.Tensor2D {
  return tidy(() => {
    const rows = tf.range(0, outputs, 1, "int32").reshape([1, outputs, 1]);
    const mass = tf.equal(rows, slot.expandDims(1)).cast<tf.Tensor3D>("float32");
    const counted = share ?? tf.ones<tf.Rank.R2>(slot.shape);
    const sums = tf.matMul<tf.Tensor3D>(mass, counted.expandDims<tf.Tensor3D>(2));
    const total = tf.matMul<tf.Tensor3D>(mass, sums, true).squeeze<tf.Tensor2D>([2]);
    return tf.div<tf.Tensor2D>(counted, tf.maximum(total, 1e-30)).mul(tf.greaterEqual(slot, int(0)).cast("float32"));
  });
}
