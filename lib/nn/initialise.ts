/**
 * What parameters are before training: a description of each (its shape, and the numbers it starts from), and the
 * distributions that PyTorch, timm and the papers' codes draw them from.
 *
 * Xavier: Glorot and Bengio, "Understanding the difficulty of training deep feedforward neural networks", AISTATS 2010,
 * equations 12 and 16. Kaiming: He et al., "Delving Deep into Rectifiers", ICCV 2015, arXiv:1502.01852, equation 10.
 * Fans are counted as PyTorch counts them: of a weight [out, in, ...] the fan-in is `in` times the rest.
 *
 * @module
 */
import type { Random } from "../random.ts";
import { mapTree, tf } from "../tensor/mod.ts";

/** The numbers that a parameter of a shape starts from. */
export type Initialiser = (shape: readonly number[], random: Random) => Float32Array;

/** Another initialiser for some parameters, by name and shape; `undefined` leaves the description's. */
export type InitialiseRule = (name: string, shape: readonly number[]) => Initialiser | undefined;

/** A parameter before it has numbers. */
export interface Description<R extends tf.Rank = tf.Rank> {
  readonly shape: tf.ShapeMap[R];
  readonly initialise: Initialiser;
}

/** What becomes of a tree of descriptions (or tensors): the same tree of tensors. */
export type Described<D> = D extends tf.Tensor ? D
  : D extends Description<infer R> ? tf.Tensor<R>
  : D extends readonly (infer Item)[] ? readonly Described<Item>[]
  : { readonly [Key in keyof D]: Described<D[Key]> };

/**
 * Describes one parameter.
 *
 * @param initialiser Default: {@link zeros}.
 *
 * @example A class token, as timm starts it
 * ```ts
 * import assert from "node:assert/strict";
 * import { tf } from "tessera/tensor/mod.ts";
 * import { random } from "tessera/random.ts";
 * const described = { cls_token: parameter<tf.Rank.R3>([1, 1, 4], normal(1e-6)) };
 * assert.deepEqual(initialise(described, random(1)).cls_token.shape, [1, 1, 4]);
 * ```
 */
export function parameter<R extends tf.Rank>(shape: tf.ShapeMap[R], initialiser: Initialiser = zeros): Description<R> {
  return { shape, initialise: initialiser };
}

/**
 * Whether a value describes a parameter.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * assert.ok(isDescription({ shape: [2], initialise: zeros }));
 * ```
 */
export function isDescription(value: object): value is Description {
  return Array.isArray(Reflect.get(value, "shape")) && typeof Reflect.get(value, "initialise") === "function";
}

/**
 * Makes the parameters of a description. Each draws from a stream of its own, named as the parameter, so that adding a
 * layer changes the numbers of no other.
 *
 * @param description Descriptions in plain objects and arrays.
 * @param rule Default: each as described.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { random } from "tessera/random.ts";
 * import { linearLayer } from "tessera/nn/mod.ts";
 * const { head } = initialise({ head: linearLayer(4, 2) }, random(1));
 * assert.deepEqual([head.weight.shape, head.bias?.shape], [[2, 4], [2]]);
 * ```
 */
export function initialise<D extends object>(
  description: D,
  random: Random,
  rule: InitialiseRule = () => undefined,
): Described<D> {
  return mapTree(description, isDescription, ({ shape, initialise }, name) => {
    const numbers = (rule(name, shape) ?? initialise)(shape, random.stream(name));
    return tf.tensor(numbers, shape as number[], "float32");
  }) as Described<D>;
}

/** All 0. */
export const zeros: Initialiser = (shape) => new Float32Array(tf.util.sizeFromShape(shape as number[]));

/** All 1. */
export const ones: Initialiser = (shape) => new Float32Array(tf.util.sizeFromShape(shape as number[])).fill(1);

/**
 * All the same number.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { random } from "tessera/random.ts";
 * assert.deepEqual([...constant(0.5)([2], random(1))], [0.5, 0.5]);
 * ```
 */
export function constant(value: number): Initialiser {
  return (shape, random) => zeros(shape, random).fill(value);
}

/**
 * Uniform in [low, high).
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { random } from "tessera/random.ts";
 * assert.ok(uniform(2, 3)([9], random(1)).every((value) => value >= 2 && value <= 3));
 * ```
 */
export function uniform(low: number, high: number): Initialiser {
  return (shape, random) => random.uniforms(tf.util.sizeFromShape(shape as number[]), low, high);
}

/**
 * Normal. With standard deviation 1 what `nn.Embedding` starts from.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { random } from "tessera/random.ts";
 * assert.equal(normal(0.02)([2, 3], random(1)).length, 6);
 * ```
 */
export function normal(std = 1, mean = 0): Initialiser {
  return (shape, random) => random.normals(tf.util.sizeFromShape(shape as number[]), mean, std);
}

/**
 * Normal, cut off at -2 and 2: timm's `trunc_normal_`, whose bounds are values too and not multiples of `std`.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { random } from "tessera/random.ts";
 * assert.ok(truncatedNormal(1)([99], random(1)).every((value) => Math.abs(value) <= 2));
 * ```
 */
export function truncatedNormal(std: number): Initialiser {
  return (shape, random) => random.truncatedNormals(tf.util.sizeFromShape(shape as number[]), 0, std);
}

/**
 * Xavier, uniform: within ± gain √(6 / (fan-in + fan-out)).
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { random } from "tessera/random.ts";
 * assert.ok(xavierUniform()([4, 2], random(1)).every((value) => Math.abs(value) <= 1));
 * ```
 */
export function xavierUniform(gain = 1): Initialiser {
  return (shape, random) => {
    const { fanIn, fanOut } = fans(shape);
    return symmetric(gain * Math.sqrt(6 / (fanIn + fanOut)), shape, random);
  };
}

/**
 * Xavier, normal: standard deviation gain √(2 / (fan-in + fan-out)).
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { random } from "tessera/random.ts";
 * assert.equal(xavierNormal()([4, 2], random(1)).length, 8);
 * ```
 */
export function xavierNormal(gain = 1): Initialiser {
  return (shape, random) => {
    const { fanIn, fanOut } = fans(shape);
    return normal(gain * Math.sqrt(2 / (fanIn + fanOut)))(shape, random);
  };
}

/** Options of {@link kaimingUniform} and {@link kaimingNormal}. */
export interface KaimingOptions {
  /** Negative slope of the leaky ReLU behind the layer. Default: 0, a ReLU. */
  readonly slope?: number;
  /** Which fan to divide by. Default: "in". */
  readonly fan?: "in" | "out";
}

/**
 * Kaiming, uniform: within ± √(6 / ((1 + slope²) fan)). With `slope: Math.sqrt(5)` it is ± 1 / √fan, PyTorch's default
 * for linear layers and convolutions.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { random } from "tessera/random.ts";
 * assert.ok(kaimingUniform({ slope: Math.sqrt(5) })([9, 4], random(1)).every((value) => Math.abs(value) <= 0.5));
 * ```
 */
export function kaimingUniform(options: KaimingOptions = {}): Initialiser {
  return (shape, random) => symmetric(Math.sqrt(3) * kaimingStd(shape, options), shape, random);
}

/**
 * Kaiming, normal: standard deviation √(2 / ((1 + slope²) fan)).
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { random } from "tessera/random.ts";
 * assert.equal(kaimingNormal({ fan: "out" })([4, 2], random(1)).length, 8);
 * ```
 */
export function kaimingNormal(options: KaimingOptions = {}): Initialiser {
  return (shape, random) => normal(kaimingStd(shape, options))(shape, random);
}

function kaimingStd(shape: readonly number[], { slope = 0, fan = "in" }: KaimingOptions): number {
  const { fanIn, fanOut } = fans(shape);
  return Math.sqrt(2 / ((1 + slope ** 2) * (fan === "in" ? fanIn : fanOut)));
}

function symmetric(bound: number, shape: readonly number[], random: Random): Float32Array {
  return uniform(-bound, bound)(shape, random);
}

function fans(shape: readonly number[]): { fanIn: number; fanOut: number } {
  if (shape.length < 2) {
    throw new RangeError(
      `a fan is counted of a weight [out, in, ...], but the shape is [${shape}]; start it from zeros or a uniform`,
    );
  }
  const rest = shape.slice(2).reduce((product, length) => product * length, 1);
  return { fanIn: shape[1] * rest, fanOut: shape[0] * rest };
}
