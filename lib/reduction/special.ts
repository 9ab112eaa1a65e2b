/**
 * What is done at the door of every method: special tokens set aside, NaN refused with the method's name.
 *
 * @module
 */
import { type BlockView, need, type Place } from "../nn/reducer.ts";
import { GridMismatch, NaNScore } from "../nn/reduction_errors.ts";
import type { SlotMap, SoftMap } from "../nn/token_map.ts";
import { refuseNaN, tf, tidy } from "../tensor/mod.ts";

/**
 * `x`, after a look whether it holds NaN (while a model is traced there is nothing to look at).
 *
 * @throws {NaNScore} Where it does.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { tf } from "tessera/tensor/mod.ts";
 * assert.throws(() => refuseNaNIn(tf.tensor1d([NaN]), "mine", { layer: 3 }), /the score of mine in block 3 holds NaN/);
 * ```
 */
export function refuseNaNIn<T extends tf.Tensor>(x: T, method: string, { layer }: Pick<Place, "layer">): T {
  try {
    return refuseNaN(x, "the score");
  } catch {
    throw new NaNScore(method, layer);
  }
}

/**
 * The map of patches as the map of all tokens: each special token in front keeps a slot of its own.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { identityMap } from "tessera/nn/token_map.ts";
 * const map = withSpecialTokens(identityMap(1, 2), 1);
 * assert.deepEqual(map.slot.arraySync(), [[0, 1, 2]]);
 * ```
 */
export function withSpecialTokens(map: SlotMap, specialTokens: number): SlotMap;
export function withSpecialTokens(map: SoftMap, specialTokens: number): SoftMap;
export function withSpecialTokens(map: SlotMap | SoftMap, specialTokens: number): SlotMap | SoftMap {
  const tokens = map.tokens + specialTokens, outputs = map.outputs + specialTokens;
  if (specialTokens === 0) return map;
  if (map.kind === "soft") return softWithSpecialTokens(map, specialTokens);
  const [batch] = map.slot.shape;
  return tidy(() => {
    const shift = tf.scalar(specialTokens, "int32");
    const shifted = tf.where(tf.less(map.slot, tf.scalar(0, "int32")), map.slot, map.slot.add<tf.Tensor2D>(shift));
    const front = tf.range(0, specialTokens, 1, "int32").expandDims<tf.Tensor2D>(0).tile<tf.Tensor2D>([batch, 1]);
    const ones = tf.ones<tf.Rank.R2>([batch, specialTokens]);
    return {
      ...map,
      tokens,
      outputs,
      slot: tf.concat([front, shifted], 1),
      ...(map.weight ? { weight: tf.concat([ones, map.weight], 1) } : {}),
      ...(map.anchor ? { anchor: tf.concat([ones.cast<tf.Tensor2D>("bool"), map.anchor], 1) } : {}),
    };
  });
}

/**
 * Where in the grid each patch began: its number, row by row. [batch, patches] int32
 *
 * @throws {NeedsMissing} Where the model carries no positions.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { randomBlock } from "tessera/reduction/laws.ts";
 * const { view } = randomBlock(1);
 * assert.deepEqual(patchNumbers(view, "mine").arraySync()[0].slice(0, 2), [0, 1]);
 * ```
 */
export function patchNumbers(view: BlockView, method: string): tf.Tensor2D {
  const { initialTokens, grid: [rows, columns], specialTokens } = view;
  const special = initialTokens - rows * columns; // those that are special here may have been patches
  return tidy(() =>
    need(view, "positions", method).slice([0, specialTokens]).sub(special).round().cast<tf.Tensor2D>("int32")
  );
}

/**
 * Refuses a grid that is not that of the patches: a method that goes by places would put them wrong.
 *
 * @throws {GridMismatch} Where rows times columns is not the number of patches at the start.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * const place = { layer: 0, layers: 1, tokens: 5, initialTokens: 5, specialTokens: 1, grid: [2, 3] as const };
 * assert.throws(() => checkGrid(place, "pooling"), /^GridMismatch: pooling needs all patches of a grid of 2 x 3, but there/);
 * ```
 */
export function checkGrid({ initialTokens, specialTokens, grid: [rows, columns] }: Place, method: string): void {
  if (rows * columns === initialTokens - specialTokens) return;
  throw new GridMismatch(
    `${method} needs all patches of a grid of ${rows} x ${columns}, but there are ${
      initialTokens - specialTokens
    }; give ` +
      "the grid of the patches, and protect none",
  );
}

function softWithSpecialTokens(map: SoftMap, specialTokens: number): SoftMap {
  const { matrix, mass, back, transform } = map;
  return tidy(() => ({
    ...map,
    tokens: map.tokens + specialTokens,
    outputs: map.outputs + specialTokens,
    matrix: inCorner(matrix, specialTokens),
    ...(mass ? { mass: inCorner(mass, specialTokens) } : {}),
    ...(back ? { back: inCorner(back, specialTokens) } : {}),
    ...(transform
      ? {
        transform: (x: tf.Tensor3D) =>
          tf.concat([
            x.slice([0, 0, 0], [-1, specialTokens, -1]) as tf.Tensor3D,
            transform(x.slice([0, specialTokens, 0]) as tf.Tensor3D),
          ], 1),
      }
      : {}),
  }));
}

/** The matrix with an identity before it along the diagonal. */
function inCorner(matrix: tf.Tensor3D, more: number): tf.Tensor3D {
  const batch = matrix.shape[0];
  const below = tf.pad(matrix, [[0, 0], [0, 0], [more, 0]]);
  const corner = tf.eye(more, more + matrix.shape[2]).expandDims<tf.Tensor3D>(0).tile<tf.Tensor3D>([batch, 1, 1]);
  return tf.concat([corner, below], 1);
}
