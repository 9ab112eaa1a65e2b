/**
 * The plain parts that models are made of: functions of a tensor and an object of parameters. Parameters are laid out
 * as PyTorch stores them (a linear layer's weight is [out, in]), so that published weights load as they are.
 *
 * @module
 */
import { tf, tidy } from "../tensor/mod.ts";

/** Parameters of a linear layer: weight [out, in], bias [out]. */
export interface LinearParameters {
  readonly weight: tf.Tensor2D;
  readonly bias?: tf.Tensor1D;
}

/** Parameters of a layer norm: both [channels]. */
export interface NormParameters {
  readonly weight: tf.Tensor1D;
  readonly bias: tf.Tensor1D;
}

/** Parameters of the two-layer perceptron of a transformer block. */
export interface MLPParameters {
  readonly fc1: LinearParameters;
  readonly fc2: LinearParameters;
}

/**
 * `x Wᵀ + b` on the last axis.
 *
 * @param x [batch, tokens, in]
 * @returns [batch, tokens, out]
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { tf } from "tessera/tensor/mod.ts";
 * const layer = { weight: tf.tensor2d([[1, 1]]), bias: tf.tensor1d([10]) };
 * assert.deepEqual(linear(tf.tensor3d([[[2, 3]]]), layer).arraySync(), [[[15]]]);
 * ```
 */
export function linear(x: tf.Tensor3D, { weight, bias }: LinearParameters): tf.Tensor3D {
  return tidy(() => {
    const [batch, tokens, channels] = x.shape;
    // one product of two matrices: a batched one with a broadcast weight would copy the weight for each image
    const rows = x.reshape<tf.Tensor2D>([batch * tokens, channels]);
    const y = tf.matMul(rows, weight, false, true);
    return (bias ? y.add(bias) : y).reshape([batch, tokens, weight.shape[0]]);
  });
}

/**
 * Layer norm over the last axis, with the biased variance.
 *
 * @param x [batch, tokens, channels]
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { tf } from "tessera/tensor/mod.ts";
 * const unit = { weight: tf.ones<tf.Rank.R1>([2]), bias: tf.zeros<tf.Rank.R1>([2]) };
 * const [[[low, high]]] = layerNorm(tf.tensor3d([[[3, 5]]]), unit, 0).arraySync();
 * assert.deepEqual([Math.round(low), Math.round(high)], [-1, 1]);
 * ```
 */
export function layerNorm(x: tf.Tensor3D, { weight, bias }: NormParameters, epsilon = 1e-6): tf.Tensor3D {
  return tidy(() => {
    const centred = tf.sub<tf.Tensor3D>(x, x.mean(2, true));
    const variance = centred.square().mean(2, true);
    return centred.mul(variance.add(epsilon).rsqrt()).mul(weight).add(bias);
  });
}

/**
 * The exact GELU, `x Φ(x)` with the normal distribution function (Hendrycks & Gimpel 2016, arXiv:1606.08415).
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { tf } from "tessera/tensor/mod.ts";
 * assert.ok(Math.abs(gelu(tf.tensor1d([1])).dataSync()[0] - 0.841345) < 1e-5);
 * ```
 */
export function gelu<T extends tf.Tensor>(x: T): T {
  return tidy(() => tf.mul<T>(x, x.mul(Math.SQRT1_2).erf().add(1).mul(0.5)));
}

/**
 * Linear, GELU, linear.
 *
 * @param x [batch, tokens, channels]
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { tf } from "tessera/tensor/mod.ts";
 * const one = { weight: tf.tensor2d([[1]]), bias: tf.tensor1d([0]) };
 * assert.ok(Math.abs(mlp(tf.tensor3d([[[1]]]), { fc1: one, fc2: one }).dataSync()[0] - 0.841345) < 1e-5);
 * ```
 */
export function mlp(x: tf.Tensor3D, { fc1, fc2 }: MLPParameters): tf.Tensor3D {
  return tidy(() => linear(gelu(linear(x, fc1)), fc2));
}
