/**
 * Optimizers: SGD, Adam and AdamW with the arithmetic of PyTorch's, so that the same gradients give the same weights.
 *
 * An optimizer is data and two pure functions. What changes from update to update (learning rate, bias corrections) are a
 * few numbers, worked out in double precision and handed to the compiled step as a tensor, as PyTorch works them out
 * before it calls its kernels.
 *
 * @module
 */
import { tf } from "../tensor/mod.ts";
import { constantRate, type Schedule } from "./schedule.ts";

/** What one variable's update gets. */
export interface UpdateView {
  readonly value: tf.Tensor;
  readonly gradient: tf.Tensor;
  /** Its moments before the update, in the order of {@link Optimizer.moments}. */
  readonly moments: readonly tf.Tensor[];
  /** What {@link Optimizer.numbers} gave, each as a scalar. */
  readonly numbers: readonly tf.Scalar[];
  /** Whether weight decay applies to it. */
  readonly decays: boolean;
}

/** How weights are updated. `sgd`, `adam` and `adamW` make one; so can you. */
export interface Optimizer {
  readonly name: string;
  readonly learningRate: Schedule;
  /** Names of the tensors that it keeps for each variable, of the variable's shape, 0 at the start. */
  readonly moments: readonly string[];
  /** Whether weight decay applies to a variable. */
  readonly decays: (name: string, variable: tf.Variable) => boolean;
  /** The numbers that update `t` needs, counted from 1. */
  numbers(t: number, rate: number): readonly number[];
  /** The new value of a variable, and its moments. */
  update(view: UpdateView): { value: tf.Tensor; moments: readonly tf.Tensor[] };
}

/** What all optimizers can be told. */
export interface OptimizerOptions {
  /** A number, or a schedule. */
  readonly learningRate: number | Schedule;
  /** Default: 0; of `adamW` 0.01. */
  readonly weightDecay?: number;
  /** Which variables decay. Default: all, as in PyTorch; see {@link onlyMatrices}. */
  readonly decays?: (name: string, variable: tf.Variable) => boolean;
}

/** Options of {@link sgd}. */
export interface SGDOptions extends OptimizerOptions {
  /** Default: 0. */
  readonly momentum?: number;
  /** Default: 0. */
  readonly dampening?: number;
  /** Default: false. */
  readonly nesterov?: boolean;
}

/** Options of {@link adam} and {@link adamW}. */
export interface AdamOptions extends OptimizerOptions {
  /** Default: 0.9. */
  readonly beta1?: number;
  /** Default: 0.999. */
  readonly beta2?: number;
  /** Default: 1e-8. */
  readonly epsilon?: number;
}

/**
 * Weight decay for matrices only, not for biases and norms; nor for class tokens and positions: timm's rule for ViTs.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { tf } from "tessera/tensor/mod.ts";
 * assert.ok(onlyMatrices("head.weight", tf.variable(tf.zeros([2, 2]))));
 * assert.ok(!onlyMatrices("head.bias", tf.variable(tf.zeros([2]))));
 * ```
 */
export function onlyMatrices(name: string, { rank }: tf.Tensor): boolean {
  return rank > 1 && !/(^|\.)(cls_token|dist_token|pos_embed)$/.test(name);
}

/**
 * Stochastic gradient descent, as `torch.optim.SGD`: with momentum (Polyak 1964), dampening, Nesterov's look ahead, and
 * weight decay added to the gradient.
 *
 * Sutskever et al., "On the importance of initialization and momentum in deep learning", ICML 2013.
 *
 * @throws {RangeError} If an option is out of range.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * assert.deepEqual(sgd({ learningRate: 0.1 }).moments, []);
 * assert.deepEqual(sgd({ learningRate: 0.1, momentum: 0.9 }).moments, ["momentum"]);
 * ```
 */
export function sgd(
  { learningRate, momentum = 0, dampening = 0, nesterov = false, weightDecay = 0, decays = () => true }: SGDOptions,
): Optimizer {
  refuseNegative({ momentum, dampening, weightDecay });
  if (nesterov && (momentum === 0 || dampening !== 0)) {
    throw new RangeError(
      `Nesterov's look ahead needs momentum and no dampening, but they are ${momentum} and ${dampening}`,
    );
  }
  return {
    name: "sgd",
    learningRate: scheduleOf(learningRate),
    moments: momentum === 0 ? [] : ["momentum"],
    decays,
    // PyTorch dampens no first gradient: its buffer starts as that gradient
    numbers: (t, rate) => [rate, t === 1 ? 1 : 1 - dampening],
    update({ value, gradient, moments: [before], numbers: [rate, share], decays }) {
      const slope = decays && weightDecay > 0 ? gradient.add(value.mul(weightDecay)) : gradient;
      if (!before) return { value: value.sub(slope.mul(rate)), moments: [] };
      const after = before.mul(momentum).add(slope.mul(share));
      const direction = nesterov ? slope.add(after.mul(momentum)) : after;
      return { value: value.sub(direction.mul(rate)), moments: [after] };
    },
  };
}

/**
 * Adam, as `torch.optim.Adam`; weight decay is added to the gradient.
 *
 * Kingma and Ba, "Adam: A Method for Stochastic Optimization", ICLR 2015, arXiv:1412.6980, algorithm 1.
 *
 * @throws {RangeError} If an option is out of range.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * assert.deepEqual(adam({ learningRate: 1e-3 }).moments, ["exp_avg", "exp_avg_sq"]);
 * ```
 */
export function adam(options: AdamOptions): Optimizer {
  return adamLike("adam", options.weightDecay ?? 0, options);
}

/**
 * AdamW, as `torch.optim.AdamW`: weight decay shrinks the weights and leaves the moments alone.
 *
 * Loshchilov and Hutter, "Decoupled Weight Decay Regularization", ICLR 2019, arXiv:1711.05101, algorithm 2.
 *
 * @throws {RangeError} If an option is out of range.
 *
 * @example Biases and norms do not decay
 * ```ts
 * import assert from "node:assert/strict";
 * const optimizer = adamW({ learningRate: 1e-3, weightDecay: 0.05, decays: onlyMatrices });
 * assert.equal(optimizer.name, "adamW");
 * ```
 */
export function adamW(options: AdamOptions): Optimizer {
  return adamLike("adamW", options.weightDecay ?? 0.01, options);
}

function adamLike(
  name: "adam" | "adamW",
  weightDecay: number,
  { learningRate, beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8, decays = () => true }: AdamOptions,
): Optimizer {
  refuseNegative({ weightDecay, epsilon });
  for (const [what, beta] of Object.entries({ beta1, beta2 })) {
    if (!(beta >= 0 && beta < 1)) throw new RangeError(`${what} must lie in [0, 1), but it is ${beta}`);
  }
  return {
    name,
    learningRate: scheduleOf(learningRate),
    moments: ["exp_avg", "exp_avg_sq"],
    decays,
    numbers: (t, rate) => [rate / (1 - beta1 ** t), Math.sqrt(1 - beta2 ** t), 1 - rate * weightDecay],
    update({ value, gradient, moments: [mean, square], numbers: [size, correction, shrink], decays }) {
      const decaying = decays && weightDecay > 0;
      const slope = decaying && name === "adam" ? gradient.add(value.mul(weightDecay)) : gradient;
      const start = decaying && name === "adamW" ? value.mul(shrink) : value;
      const newMean = mean.add(slope.sub(mean).mul(1 - beta1));
      const newSquare = square.mul(beta2).add(slope.mul(slope).mul(1 - beta2));
      const divisor = newSquare.sqrt().div(correction).add(epsilon);
      return { value: start.sub(newMean.div(divisor).mul(size)), moments: [newMean, newSquare] };
    },
  };
}

function scheduleOf(learningRate: number | Schedule): Schedule {
  return typeof learningRate === "function" ? learningRate : constantRate(learningRate);
}

function refuseNegative(numbers: Record<string, number>): void {
  for (const [what, value] of Object.entries(numbers)) {
    if (!(value >= 0 && value < Infinity)) throw new RangeError(`${what} must be a number >= 0, but it is ${value}`);
  }
}
