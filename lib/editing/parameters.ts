/**
 * Parameters under the names of the authors' code, linear layers [out, in], so that a published checkpoint loads as it is.
 *
 * @module
 */
import {
  constant,
  type Description,
  type Initialiser,
  layerNorm,
  linear,
  linearLayer,
  normLayer,
  parameter,
  uniform,
} from "../nn/mod.ts";
import type { tf } from "../tensor/mod.ts";

/** Descriptions of parameters by name. */
export type Specs = Readonly<Record<string, Description>>;

/** Weights by name. In training they are variables. */
export type Weights = ReadonlyMap<string, tf.Tensor>;

/** One parameter. */
export const one = (name: string, shape: readonly number[], initialiser: Initialiser): Specs => (
  { [name]: parameter([...shape] as never, initialiser) }
);

/** PyTorch's default for a layer with `inputs` inputs, weight and bias: uniform in ±1/sqrt(inputs). */
export const torchUniform = (inputs: number): Initialiser => uniform(-1 / Math.sqrt(inputs), 1 / Math.sqrt(inputs));

/** Weight and bias of a linear layer. */
export const linearSpec = (name: string, inputs: number, outputs: number): Specs =>
  prefixed(name, linearLayer(inputs, outputs));

/** Gain and bias of a layer norm. */
export const normSpec = (name: string, width: number): Specs => prefixed(name, normLayer(width));

/** A norm whose stored weight is what is added to a gain of 1. */
export const residualNormSpec = (name: string, width: number): Specs => one(`${name}.weight`, [width], constant(0));

function prefixed(prefix: string, layer: object): Specs {
  return Object.fromEntries(
    Object.entries(layer).filter(([, part]) => part).map(([name, part]) => [`${prefix}.${name}`, part]),
  );
}

/** Descriptions of several parts, as one. */
export const join = (...parts: readonly Specs[]): Specs => Object.assign({}, ...parts);

/**
 * Checks that weights are there and of the right shapes.
 *
 * @throws {Error | RangeError} One sentence with the name of the first that is not.
 */
export function checkWeights(specs: Specs, weights: Weights): void {
  for (const [name, { shape }] of Object.entries(specs)) {
    const weight = weightOf(weights, name);
    if (weight.shape.join() !== shape.join()) {
      throw new RangeError(
        `weight ${name} must have shape [${shape}], but it has [${weight.shape}]; make the configuration agree with it`,
      );
    }
  }
}

/** A weight by name. */
export function weightOf<T extends tf.Tensor>(weights: Weights, name: string): T {
  const weight = weights.get(name);
  if (!weight) throw new Error(`weight ${name} is missing among ${weights.size}; load them under the authors' names`);
  return weight as T;
}

/**
 * The linear layer of a name over the last axis.
 *
 * @param x [..., in]
 * @returns [..., out]
 */
export function dense<T extends tf.Tensor>(x: T, weights: Weights, name: string): T {
  const bias = weights.get(`${name}.bias`) as tf.Tensor1D | undefined;
  return linear(x, { weight: weightOf<tf.Tensor2D>(weights, `${name}.weight`), ...(bias ? { bias } : {}) });
}

/**
 * The layer norm of a name over the last axis.
 *
 * @param x [..., width]
 */
export function normalise<T extends tf.Tensor>(x: T, weights: Weights, name: string): T {
  return layerNorm(x, { weight: weightOf(weights, `${name}.weight`), bias: weightOf(weights, `${name}.bias`) });
}
