/**
 * The plain parts that models are made of. Each is a function of a tensor and an object of parameters, and beside it
 * stands the function that describes these parameters: their shapes, and how PyTorch starts them. Parameters are named
 * and laid out as PyTorch stores them (a linear layer's weight is [out, in]), so that published weights load as they are.
 *
 * @module
 */
import { gatherTokens, randomMask, tf, tidy } from "../tensor/mod.ts";
import {
  type Description,
  type Initialiser,
  kaimingUniform,
  normal,
  ones,
  parameter,
  uniform,
  zeros,
} from "./initialise.ts";

/** Parameters of a linear layer: weight [out, in], bias [out]. */
export interface LinearParameters {
  readonly weight: tf.Tensor2D;
  readonly bias?: tf.Tensor1D | undefined;
}

/** Parameters of a layer norm: both [channels]. */
export interface NormParameters {
  readonly weight: tf.Tensor1D;
  readonly bias: tf.Tensor1D;
}

/** Parameters of an embedding: [count, channels]. */
export interface EmbeddingParameters {
  readonly weight: tf.Tensor2D;
}

/** Parameters of the two-layer perceptron of a transformer block. */
export interface MLPParameters {
  readonly fc1: LinearParameters;
  readonly fc2: LinearParameters;
}

/** Describes a linear layer. */
export interface LinearDescription {
  readonly weight: Description<tf.Rank.R2>;
  readonly bias?: Description<tf.Rank.R1> | undefined;
}

/** Describes a layer norm. */
export interface NormDescription {
  readonly weight: Description<tf.Rank.R1>;
  readonly bias: Description<tf.Rank.R1>;
}

/** Describes an embedding. */
export interface EmbeddingDescription {
  readonly weight: Description<tf.Rank.R2>;
}

/** Describes an MLP. */
export interface MLPDescription {
  readonly fc1: LinearDescription;
  readonly fc2: LinearDescription;
}

/** How a linear layer differs from `nn.Linear`'s defaults. */
export interface LinearOptions {
  /** Default: true. */
  readonly bias?: boolean;
  /** What the weight starts from. Default: uniform within ± 1 / √in, as `nn.Linear`. */
  readonly weightFrom?: Initialiser;
  /** What the bias starts from. Default: uniform within ± 1 / √in, as `nn.Linear`. */
  readonly biasFrom?: Initialiser;
}

/**
 * Describes a linear layer from `inputs` to `outputs` channels; as `nn.Linear` starts it, unless said otherwise.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * const { weight, bias } = linearLayer(4, 2);
 * assert.deepEqual([weight.shape, bias?.shape], [[2, 4], [2]]);
 * ```
 */
export function linearLayer(
  inputs: number,
  outputs: number,
  { bias = true, weightFrom, biasFrom }: LinearOptions = {},
): LinearDescription {
  const bound = 1 / Math.sqrt(inputs);
  return {
    weight: parameter<tf.Rank.R2>([outputs, inputs], weightFrom ?? kaimingUniform({ slope: Math.sqrt(5) })),
    ...(bias ? { bias: parameter<tf.Rank.R1>([outputs], biasFrom ?? uniform(-bound, bound)) } : {}),
  };
}

/**
 * `x Wᵀ + b` on the last axis.
 *
 * @param x [..., in]
 * @returns [..., out]
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { tf } from "tessera/tensor/mod.ts";
 * const layer = { weight: tf.tensor2d([[1, 1]]), bias: tf.tensor1d([10]) };
 * assert.deepEqual(linear(tf.tensor3d([[[2, 3]]]), layer).arraySync(), [[[15]]]);
 * ```
 */
export function linear<T extends tf.Tensor>(x: T, { weight, bias }: LinearParameters): T {
  return tidy(() => {
    const [outputs, inputs] = weight.shape;
    if (x.shape.at(-1) !== inputs) {
      throw new RangeError(
        `a linear layer from ${inputs} to ${outputs} channels takes [..., ${inputs}], but x has shape [${x.shape}]`,
      );
    }
    // one product of two matrices: a batched one with a broadcast weight would copy the weight for each image
    const rows = x.rank === 2 ? x as tf.Tensor as tf.Tensor2D : x.reshape<tf.Tensor2D>([x.size / inputs, inputs]);
    const y = tf.matMul(rows, weight, false, true);
    const shifted = bias ? y.add(bias) : y;
    return (x.rank === 2 ? shifted : shifted.reshape([...x.shape.slice(0, -1), outputs])) as T;
  });
}

/**
 * Describes a layer norm over `channels`: weight 1, bias 0.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * assert.deepEqual(normLayer(8).weight.shape, [8]);
 * ```
 */
export function normLayer(channels: number): NormDescription {
  return { weight: parameter<tf.Rank.R1>([channels], ones), bias: parameter<tf.Rank.R1>([channels], zeros) };
}

/**
 * Layer norm over the last axis, with the biased variance.
 *
 * Ba, Kiros and Hinton, "Layer Normalization", 2016, arXiv:1607.06450.
 *
 * @param x [..., channels]
 * @param epsilon Added to the variance. Default: 1e-5, as `nn.LayerNorm`; timm's ViTs have 1e-6.
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
export function layerNorm<T extends tf.Tensor>(x: T, { weight, bias }: NormParameters, epsilon = 1e-5): T {
  return tidy(() => {
    const centred = tf.sub<T>(x, x.mean(-1, true));
    const variance = centred.square().mean(-1, true);
    return centred.mul(variance.add(epsilon).rsqrt()).mul(weight).add(bias) as T;
  });
}

/**
 * Describes an embedding of `count` things; starts from a standard normal, as `nn.Embedding`.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * assert.deepEqual(embeddingLayer(1000, 64).weight.shape, [1000, 64]);
 * ```
 */
export function embeddingLayer(count: number, channels: number, weightFrom = normal()): EmbeddingDescription {
  return { weight: parameter<tf.Rank.R2>([count, channels], weightFrom) };
}

/**
 * The embedding of each index. The gradient flows to the weight; what occurs twice gets the sum.
 *
 * @param index int32 of any shape, each from 0 to count - 1.
 * @returns [...index, channels]
 * @throws {Error} If an index is out of range.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { tf } from "tessera/tensor/mod.ts";
 * const words = { weight: tf.tensor2d([[1, 2], [3, 4]]) };
 * assert.deepEqual(embedding(tf.tensor1d([1, 0], "int32"), words).arraySync(), [[3, 4], [1, 2]]);
 * ```
 */
export function embedding(index: tf.Tensor, { weight }: EmbeddingParameters): tf.Tensor {
  if (index.dtype !== "int32") {
    throw new TypeError(
      `an embedding takes int32 indices, but they are ${index.dtype}; make them tf.tensor(..., "int32")`,
    );
  }
  return tidy(() => {
    const table = weight.expandDims<tf.Tensor3D>(0);
    const picked = gatherTokens(table, index.reshape<tf.Tensor2D>([1, index.size]));
    return picked.reshape([...index.shape, weight.shape[1]]);
  });
}

/**
 * Dropout: each number is 0 with probability `rate`, and the others grow by 1 / (1 - rate).
 *
 * Srivastava et al., "Dropout", JMLR 15 (2014).
 *
 * @param rate 0 to below 1.
 * @param key Key of the random numbers, see `randomKey`: another one at each step, and a folded one (`foldIn`) in each
 *   place. Without a key nothing is dropped: that is how a trained model is run.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { randomKey, tf } from "tessera/tensor/mod.ts";
 * const dropped = dropout(tf.ones([1000]), 0.5, randomKey(1)).arraySync() as number[];
 * assert.deepEqual([...new Set(dropped)].sort(), [0, 2]);
 * ```
 */
export function dropout<T extends tf.Tensor>(x: T, rate: number, key?: tf.Tensor1D): T {
  if (!(rate >= 0 && rate < 1)) throw new RangeError(`a dropout's rate must lie in [0, 1), but it is ${rate}`);
  return tidy(() => {
    if (key === undefined || rate === 0) return x.clone() as T;
    return tf.mul<T>(x, randomMask(key, x.shape, rate).mul(1 / (1 - rate)));
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

const activations = {
  gelu,
  /** GELU by its approximation with tanh, as GPT-2 and SigLIP have it. */
  geluTanh: <T extends tf.Tensor>(x: T): T => {
    const inner = x.add(x.mul(x).mul(x).mul(0.044715)).mul(Math.sqrt(2 / Math.PI));
    return tf.mul<T>(x, inner.tanh().add(1).mul(0.5));
  },
  /** x σ(1.702 x), as CLIP has it. */
  quickGelu: <T extends tf.Tensor>(x: T): T => tf.mul<T>(x, x.mul(1.702).sigmoid()),
  relu: <T extends tf.Tensor>(x: T): T => tf.relu(x),
  /** x σ(x), also called swish. */
  silu: <T extends tf.Tensor>(x: T): T => tf.mul<T>(x, x.sigmoid()),
  tanh: <T extends tf.Tensor>(x: T): T => tf.tanh(x),
};

/** Names of activation functions; "gelu" is exact, "geluTanh" GPT-2's approximation, "quickGelu" CLIP's. */
export type Activation = keyof typeof activations;

/**
 * An activation function by its name.
 *
 * @throws {RangeError} If there is none of that name.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { tf } from "tessera/tensor/mod.ts";
 * assert.deepEqual(activate(tf.tensor1d([-1, 2]), "relu").arraySync(), [0, 2]);
 * ```
 */
export function activate<T extends tf.Tensor>(x: T, name: Activation): T {
  if (!Object.hasOwn(activations, name)) {
    throw new RangeError(
      `there is no activation named ${JSON.stringify(name)}; choose one of ${Object.keys(activations).join(", ")}`,
    );
  }
  return tidy(() => activations[name](x));
}

/**
 * Describes an MLP: `width` to `hidden` to `width` channels.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * assert.deepEqual(mlpLayer(8, 32).fc2.weight.shape, [8, 32]);
 * ```
 */
export function mlpLayer(width: number, hidden: number, options: LinearOptions = {}): MLPDescription {
  return { fc1: linearLayer(width, hidden, options), fc2: linearLayer(hidden, width, options) };
}

/** Options of {@link mlp}. */
export interface MLPOptions {
  /** Default: "gelu". */
  readonly activation?: Activation;
  /** Probability that a hidden number is dropped, where there is a key. Default: 0. */
  readonly dropout?: number;
  readonly key?: tf.Tensor1D | undefined;
}

/**
 * Linear, activation, linear.
 *
 * @param x [..., channels]
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { tf } from "tessera/tensor/mod.ts";
 * const one = { weight: tf.tensor2d([[1]]), bias: tf.tensor1d([0]) };
 * assert.ok(Math.abs(mlp(tf.tensor3d([[[1]]]), { fc1: one, fc2: one }).dataSync()[0] - 0.841345) < 1e-5);
 * ```
 */
export function mlp<T extends tf.Tensor>(
  x: T,
  { fc1, fc2 }: MLPParameters,
  { activation = "gelu", dropout: rate = 0, key }: MLPOptions = {},
): T {
  return tidy(() => linear(dropout(activate(linear(x, fc1), activation), rate, key), fc2));
}
