/**
 * Rotary position embeddings: queries and keys are turned by angles that grow with the position, so that their product
 * depends on the distance of two tokens.
 *
 * Su et al., "RoFormer: Enhanced Transformer with Rotary Position Embedding", 2021, arXiv:2104.09864, section 3.2. The
 * halves of a head's channels are turned together, as LLaMA's published weights have it.
 *
 * @module
 */
import { tf, tidy } from "../tensor/mod.ts";

/**
 * Turns each pair of channels (i, i + half) by the angle `position * base^(-i / half)`.
 *
 * @param x [batch, heads, tokens, channels per head], an even number of channels.
 * @param positions [batch, tokens] or [1, tokens]; they may be fractions, where tokens were merged.
 * @param base Default: 10000.
 *
 * @example Position 0 turns nothing
 * ```ts
 * import assert from "node:assert/strict";
 * import { tf } from "tessera/tensor/mod.ts";
 * const x = tf.tensor4d([[[[1, 0], [1, 0]]]]);
 * const [first, second] = rotary(x, tf.tensor2d([[0, Math.PI / 2]])).arraySync()[0][0];
 * assert.deepEqual([first, second.map((value) => Math.round(Math.abs(value)))], [[1, 0], [0, 1]]);
 * ```
 */
export function rotary(x: tf.Tensor4D, positions: tf.Tensor2D, base = 10000): tf.Tensor4D {
  const [, , tokens, channels] = x.shape;
  if (channels % 2 !== 0) {
    throw new RangeError(`rotary positions turn pairs of channels, but a head has ${channels}; use an even number`);
  }
  const half = channels / 2;
  return tidy(() => {
    const frequencies = tf.exp(tf.range(0, half, 1, "float32").mul(-Math.log(base) / half));
    const angles = tf.mul(positions.expandDims(2), frequencies).reshape<tf.Tensor4D>([-1, 1, tokens, half]);
    const [a, b] = tf.split(x, 2, 3);
    const cos = tf.cos(angles), sin = tf.sin(angles);
    return tf.concat([a.mul(cos).sub(b.mul(sin)), b.mul(cos).add(a.mul(sin))], 3) as tf.Tensor4D;
  });
}

/** Parameter of an RMS norm: [channels]. */
export interface RMSNormParameters {
  readonly weight: tf.Tensor1D;
}

/**
 * RMS norm over the last axis: scaled to a mean square of 1, not centred (Zhang and Sennrich, "Root Mean Square Layer
 * Normalization", NeurIPS 2019, arXiv:1910.07467).
 *
 * @param x [..., channels]
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { tf } from "tessera/tensor/mod.ts";
 * const y = rmsNorm(tf.tensor3d([[[3, 3]]]), { weight: tf.tensor1d([1, 2]) });
 * assert.deepEqual(y.arraySync()[0][0].map(Math.round), [1, 2]);
 * ```
 */
export function rmsNorm<T extends tf.Tensor>(x: T, { weight }: RMSNormParameters, epsilon = 1e-6): T {
  return tidy(() => tf.mul<T>(x, x.square().mean(x.rank - 1, true).add(epsilon).rsqrt()).mul(weight));
}
