/**
 * Distances between all pairs of tokens without a tokens x tokens matrix: some rows at a time.
 *
 * @module
 */
import { tf } from "../tensor/mod.ts";
import { squaredDistance } from "./similarity.ts";

/** Numbers of one image that a block of distances holds at most: 8 MB. */
const BLOCK = 2 ** 21;

/**
 * Rows of each block: as many as hold at most two million numbers.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * assert.deepEqual(blocksOf(197), [197]);
 * assert.deepEqual(blocksOf(4096), Array(8).fill(512));
 * ```
 */
export function blocksOf(tokens: number): number[] {
  const rows = Math.max(1, Math.floor(BLOCK / tokens));
  const blocks: number[] = [];
  for (let first = 0; first < tokens; first += rows) blocks.push(Math.min(rows, tokens - first));
  return blocks;
}

/**
 * What `look` makes of the squared distances of some rows from all tokens, for all rows behind one another.
 *
 * @param x [batch, tokens, channels]
 * @param look Gets [batch, rows, tokens] and the first row's number; gives [batch, rows, ...].
 *
 * @example The distance of the farthest token
 * ```ts
 * import assert from "node:assert/strict";
 * import { tf } from "tessera/tensor/mod.ts";
 * const x = tf.tensor3d([[[0], [1], [3]]]);
 * assert.deepEqual(overRows(x, (squared) => squared.max(2)).arraySync(), [[9, 4, 9]]);
 * ```
 */
export function overRows<T extends tf.Tensor>(
  x: tf.Tensor3D,
  look: (squared: tf.Tensor3D, first: number) => T,
): T {
  let first = 0;
  const parts = blocksOf(x.shape[1]).map((rows) => {
    const part = tf.tidy(() => look(squaredDistance(x.slice([0, first, 0], [-1, rows, -1]) as tf.Tensor3D, x), first));
    first += rows;
    return part;
  });
  return parts.length === 1 ? parts[0] : tf.concat(parts as tf.Tensor[], 1) as T;
}
