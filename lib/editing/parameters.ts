/**
 * Parameters as values: a list that says the name, shape and initial distribution of each, and what is made from it. The
 * names are those of the authors' code, linear layers are [out, in], so that a published checkpoint loads as it is.
 *
 * @module
 */
import type { Random } from "../random.ts";
import { tf } from "../tensor/mod.ts";

/** Weights by name. In training they are variables. */
export type Weights = ReadonlyMap<string, tf.Tensor>;

/** One parameter before it is made. */
export interface ParameterSpec {
  readonly name: string;
  readonly shape: readonly number[];
  /** Draws `size` numbers. */
  readonly draw: (random: Random, size: number) => Float32Array;
}

/** The same number everywhere. */
export const constant = (value: number): ParameterSpec["draw"] => (_, size) => new Float32Array(size).fill(value);

/** Uniform in ±bound. */
export const uniform = (bound: number): ParameterSpec["draw"] => (random, size) => random.uniforms(size, -bound, bound);

/** Normal with mean 0. */
export const normal = (std: number): ParameterSpec["draw"] => (random, size) => random.normals(size, 0, std);

/** PyTorch's default for a layer with `inputs` inputs, weight and bias: uniform in ±1/sqrt(inputs). */
export const torchUniform = (inputs: number): ParameterSpec["draw"] => uniform(1 / Math.sqrt(inputs));

/** Glorot's uniform distribution for a matrix with these sides. */
export const xavier = (rows: number, columns: number): ParameterSpec["draw"] =>
  uniform(Math.sqrt(6 / (rows + columns)));

/** Weight and bias of a linear layer. */
export function linearSpec(name: string, inputs: number, outputs: number): ParameterSpec[] {
  return [
    { name: `${name}.weight`, shape: [outputs, inputs], draw: torchUniform(inputs) },
    { name: `${name}.bias`, shape: [outputs], draw: torchUniform(inputs) },
  ];
}

/** Gain and bias of a layer norm. */
export function normSpec(name: string, width: number): ParameterSpec[] {
  return [
    { name: `${name}.weight`, shape: [width], draw: constant(1) },
    { name: `${name}.bias`, shape: [width], draw: constant(0) },
  ];
}

/** How many numbers a list of parameters holds. */
export function countParameters(specs: readonly ParameterSpec[]): number {
  return specs.reduce((sum, { shape }) => sum + shape.reduce((product, side) => product * side, 1), 0);
}

/** Draws all parameters of a list, each from a stream of its own, so that adding one leaves the others as they were. */
export function makeParameters(specs: readonly ParameterSpec[], random: Random): Map<string, tf.Variable> {
  return new Map(specs.map(({ name, shape, draw }) => {
    const values = draw(random.stream(name), shape.reduce((product, side) => product * side, 1));
    return [name, tf.variable(tf.tensor(values, [...shape]), true)];
  }));
}

/**
 * Checks that weights are there and of the right shapes.
 *
 * @throws {Error | RangeError} One sentence with the name of the first that is not.
 */
export function checkWeights(specs: readonly ParameterSpec[], weights: Weights): void {
  for (const { name, shape } of specs) {
    const weight = weights.get(name);
    if (!weight) throw new Error(`weight ${name} is missing among ${weights.size}; load them under the authors' names`);
    if (weight.shape.join() !== shape.join()) {
      throw new RangeError(
        `weight ${name} must have shape [${shape}], but it has [${weight.shape}]; make the configuration agree with it`,
      );
    }
  }
}

/** A weight that is known to be there. */
export function weightOf<T extends tf.Tensor>(weights: Weights, name: string): T {
  const weight = weights.get(name);
  if (!weight) throw new Error(`weight ${name} is missing among ${weights.size}; load them under the authors' names`);
  return weight as T;
}

/**
 * A linear layer over the last axis of anything, `x Wᵀ + b`.
 *
 * @param x [..., in]
 * @returns [..., out]
 */
export function dense<T extends tf.Tensor>(x: T, weights: Weights, name: string): T {
  const weight = weightOf<tf.Tensor2D>(weights, `${name}.weight`);
  const bias = weights.get(`${name}.bias`);
  // one product of two matrices: a batched one with a broadcast weight would copy the weight for each row
  const y = tf.matMul(x.reshape<tf.Tensor2D>([-1, weight.shape[1]]), weight, false, true);
  return (bias ? y.add(bias) : y).reshape([...x.shape.slice(0, -1), weight.shape[0]]) as T;
}

/**
 * Layer norm over the last axis of anything, with the biased variance.
 *
 * @param x [..., width]
 */
export function normalise<T extends tf.Tensor>(x: T, weights: Weights, name: string, epsilon = 1e-5): T {
  const centred = tf.sub<T>(x, x.mean(-1, true));
  const unit = centred.mul<T>(centred.square().mean(-1, true).add(epsilon).rsqrt());
  return unit.mul(weightOf(weights, `${name}.weight`)).add<T>(weightOf(weights, `${name}.bias`));
}

/** Zeros a fraction of the numbers and scales the rest up; without a key, nothing. */
export function dropout<T extends tf.Tensor>(x: T, rate: number, mask: tf.Tensor | undefined): T {
  if (!mask || rate === 0) return x;
  return tf.mul<T>(x, mask.greaterEqual(rate).cast("float32").div(1 - rate));
}
