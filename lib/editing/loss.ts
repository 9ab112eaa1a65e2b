/**
 * What training minimises.
 *
 * @module
 */
import { tf, tidy } from "../tensor/mod.ts";

/**
 * Huber's loss with delta 1: the mean over the cells that count of e²/2 for |e| <= 1 and |e| - 1/2 above. 0 where none count.
 *
 * Huber, "Robust Estimation of a Location Parameter", Annals of Mathematical Statistics 35 (1), 1964,
 * doi:10.1214/aoms/1177703732.
 *
 * @param actual [batch, variables]
 * @param expected The same shape.
 * @param counted The same shape: 1 for the cells that count, 0 for the others.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { tf } from "tessera/tensor/mod.ts";
 * const loss = huber(tf.tensor2d([[1, 3]]), tf.tensor2d([[0, 0]]), tf.tensor2d([[1, 1]]));
 * assert.equal(loss.arraySync(), (0.5 + 2.5) / 2);
 * ```
 */
export function huber(actual: tf.Tensor2D, expected: tf.Tensor2D, counted: tf.Tensor2D): tf.Scalar {
  return tidy(() => {
    const error = tf.where(counted.greater(0), actual.sub(expected), tf.zerosLike(expected)).abs();
    const near = tf.minimum(error, 1);
    const each = near.square().mul(0.5).add(error.sub(near));
    return each.mul(counted).sum().div<tf.Scalar>(tf.maximum(counted.sum(), 1));
  });
}
