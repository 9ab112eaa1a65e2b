/**
 * How alike tokens are: the measures that methods share.
 *
 * @module
 */
import { stopGradient, tf, tidy } from "../tensor/mod.ts";
import { where } from "./where.ts";

/**
 * `x` scaled to length 1 along the channels; zeros stay zeros.
 *
 * @param x [batch, tokens, channels]
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { tf } from "tessera/tensor/mod.ts";
 * assert.deepEqual(unitLength(tf.tensor3d([[[0, 5], [0, 0]]])).arraySync(), [[[0, 1], [0, 0]]]);
 * ```
 */
export function unitLength(x: tf.Tensor3D): tf.Tensor3D {
  return tidy(() => tf.div<tf.Tensor3D>(x, tf.maximum(tf.norm(x, 2, 2, true), 1e-12)));
}

/**
 * Cosine of each token of `a` with each of `b`; of a token of zeros it is 0.
 *
 * @param a [batch, A, channels]
 * @param b [batch, B, channels]; default: `a`.
 * @returns [batch, A, B]
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { tf } from "tessera/tensor/mod.ts";
 * assert.deepEqual(cosine(tf.tensor3d([[[2, 0], [0, 3]]])).arraySync(), [[[1, 0], [0, 1]]]);
 * ```
 */
export function cosine(a: tf.Tensor3D, b: tf.Tensor3D = a): tf.Tensor3D {
  return tidy(() => tf.matMul<tf.Tensor3D>(unitLength(a), unitLength(b), false, true));
}

/**
 * Squared Euclidean distance of each token of `a` from each of `b`, never below 0.
 *
 * @param a [batch, A, channels]
 * @param b [batch, B, channels]
 * @returns [batch, A, B]. No gradient flows through it: it is for choosing.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { tf } from "tessera/tensor/mod.ts";
 * assert.deepEqual(squaredDistance(tf.tensor3d([[[0]]]), tf.tensor3d([[[3], [4]]])).arraySync(), [[[9, 16]]]);
 * ```
 */
export function squaredDistance(a: tf.Tensor3D, b: tf.Tensor3D): tf.Tensor3D {
  return tidy(() => {
    const [first, second] = [stopGradient(a), stopGradient(b)];
    const lengths = tf.add(first.square().sum(2, true), second.square().sum(2).expandDims(1));
    return tf.relu<tf.Tensor3D>(tf.sub(lengths, tf.matMul(first, second, false, true).mul(2)));
  });
}

/**
 * `same` with -Infinity on the diagonal, for looking for a token's nearest other one.
 *
 * @param similarity [batch, tokens, tokens]
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { tf } from "tessera/tensor/mod.ts";
 * assert.deepEqual(notItself(tf.ones<tf.Rank.R3>([1, 2, 2])).arraySync(), [[[-Infinity, 1], [1, -Infinity]]]);
 * ```
 */
export function notItself(similarity: tf.Tensor3D): tf.Tensor3D {
  const tokens = similarity.shape[1];
  return tidy(() => where<tf.Tensor3D>(tf.eye(tokens).cast("bool").expandDims(0), -Infinity, similarity));
}

/**
 * Similarities in steps of 2^-20, so that those which differ by rounding alone are equal and the lower place decides: the
 * cosines of tokens that point the same way, say.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { tf } from "tessera/tensor/mod.ts";
 * const [first, second] = settled(tf.tensor1d([1, 0.99999994])).dataSync();
 * assert.equal(first, second);
 * ```
 */
export function settled<T extends tf.Tensor>(similarity: T): T {
  return tidy(() => tf.round<T>(tf.mul(similarity, 2 ** 20)).mul(2 ** -20));
}
