/**
 * `tf.tidy` for any result.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs";

/**
 * Runs `body` and frees every tensor made in it, but for those in its result: a tensor, or plain objects and arrays of
 * them. The same as `tf.tidy`, whose type takes fewer results than it handles.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { tf } from "tessera/tensor/mod.ts";
 * const { sum, count } = tidy(() => ({ sum: tf.tensor1d([1, 2]).sum(), count: 2 }));
 * assert.equal(sum.arraySync() as number / count, 1.5);
 * ```
 */
export function tidy<Result>(body: () => Result): Result {
  return tf.tidy(body as () => tf.TensorContainer) as Result;
}
