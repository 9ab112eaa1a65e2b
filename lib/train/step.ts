/**
 * A training step as one compiled function: loss, gradients, clipping and the update of weights and moments.
 *
 * @module
 */
import type { NumericArray } from "../data/mod.ts";
import { compile, type Explanation, flatten, tf, tidy, type XLAOption } from "../tensor/mod.ts";
import type { Optimizer } from "./optimizer.ts";

/** Options of {@link trainStep}. */
export interface TrainStepOptions {
  /** Scales the gradients down where their norm, over all variables together, is above this. Default: never. */
  readonly clip?: number;
  /**
   * As of `compile`. Default: false, so that a run gives the same numbers each time and after being resumed; so does true,
   * which is faster once it is compiled. "auto" switches by the clock.
   */
  readonly xla?: XLAOption;
  /** Traces kept, one for each shape of the arguments, see `compile`. Default: 8. */
  readonly maxTraces?: number;
}

/** What a step gives: tensors, of which nothing has been read back. They are the caller's to dispose of. */
export interface StepResult {
  /** The loss before the update. */
  readonly loss: tf.Scalar;
  /** Where gradients are clipped: their norm before. */
  readonly gradientNorm?: tf.Scalar;
  readonly [metric: string]: tf.Tensor | undefined;
}

/** A training step. */
export interface TrainStep<Args extends unknown[]> {
  /** Makes one update. */
  (...args: Args): StepResult;
  /** Makes one update and leaves the event loop free meanwhile, see `Compiled.async`. */
  async(...args: Args): Promise<StepResult>;
  /** Updates made. */
  readonly count: number;
  /** Learning rate of the next update. */
  readonly learningRate: number;
  readonly optimizer: Optimizer;
  /** The variables that it trains, by name. */
  readonly variables: ReadonlyMap<string, tf.Variable>;
  /** What the optimizer keeps, by moment and variable: `exp_avg.head.weight`. */
  readonly moments: ReadonlyMap<string, tf.Variable>;
  /** Puts back variables, moments and number of updates, as they were read earlier. */
  restore(saved: StepState): void;
  /** See `Compiled.explain`. */
  explain(): Explanation;
  /** Frees its traces and moments. The variables are the caller's. */
  dispose(): void;
}

/** All that a step needs to go on. */
export interface StepState {
  /** By the names of the variables. */
  readonly variables: ReadonlyMap<string, NumericArray>;
  /** By the names of the moments; absent: they stay as they are. */
  readonly moments?: ReadonlyMap<string, NumericArray>;
  /** Updates made; absent: as it is. */
  readonly count?: number;
}

/**
 * Makes a training step: a function of a batch that updates the variables and gives the loss, in one call of TensorFlow.
 * Moments stay on the device; loss and metrics are tensors, and nothing is read back.
 *
 * @param loss Gives the loss of a batch, a scalar, or `{ loss, ...metrics }`. It finds the parameters by itself (closes
 *   over them); what it is given are the arguments of the step: tensors, in plain objects and arrays too, and plain values.
 *   Randomness needs a key among them.
 * @param optimizer `sgd`, `adam` or `adamW`.
 * @param parameters Plain objects and arrays of tensors; the variables among them are trained (`trainable`). A variable
 *   that the loss does not depend on is left alone.
 * @throws {TypeError} If there is no variable; at a call, if the loss is not one number.
 *
 * @example Towards the mean of what it is shown
 * ```ts
 * import assert from "node:assert/strict";
 * import { tf } from "tessera/tensor/mod.ts";
 * import { sgd } from "tessera/train/mod.ts";
 * const model = { centre: tf.variable(tf.scalar(0)) };
 * const step = trainStep((x: tf.Tensor) => x.sub(model.centre).square().mean(), sgd({ learningRate: 0.5 }), model);
 * const { loss } = step(tf.tensor1d([1, 3]));
 * assert.deepEqual([loss.arraySync(), model.centre.arraySync(), step.count], [5, 2, 1]);
 * ```
 */
export function trainStep<Args extends unknown[]>(
  loss: (...args: Args) => tf.Tensor | ({ readonly loss: tf.Tensor } & Readonly<Record<string, tf.Tensor>>),
  optimizer: Optimizer,
  parameters: object,
  { clip, xla = false, maxTraces = 8 }: TrainStepOptions = {},
): TrainStep<Args> {
  if (clip !== undefined && !(clip > 0)) throw new RangeError(`clip must be a norm above 0, but it is ${clip}`);
  const variables = variablesOf(parameters);
  const moments = new Map<string, tf.Variable>();
  const momentsOf = new Map<tf.Variable, tf.Variable[]>();
  for (const [name, variable] of variables) {
    momentsOf.set(
      variable,
      optimizer.moments.map((moment) => {
        const made = tidy(() => tf.variable(tf.zerosLike(variable), false));
        moments.set(`${moment}.${name}`, made);
        return made;
      }),
    );
  }

  const update = (numbers: tf.Tensor1D, ...args: Args): StepResult => {
    const { value, metrics, gradients } = lossAndGradients(() => loss(...args), [...variables.values()]);
    const given = [...variables].filter(([, variable]) => gradients[variable.name]);
    const norm = clip === undefined ? undefined : globalNorm(given.map(([, variable]) => gradients[variable.name]));
    const scale = norm && tf.minimum(tf.div(clip!, norm.add(1e-6)), 1); // PyTorch's clip_grad_norm_
    const scalars = tf.unstack(numbers) as tf.Scalar[];
    for (const [name, variable] of given) {
      const slots = momentsOf.get(variable)!;
      const gradient = gradients[variable.name];
      const updated = optimizer.update({
        value: variable,
        gradient: scale ? gradient.mul(scale) : gradient,
        moments: slots,
        numbers: scalars,
        decays: optimizer.decays(name, variable),
      });
      variable.assign(updated.value);
      updated.moments.forEach((moment, i) => slots[i].assign(moment));
    }
    return { ...metrics, loss: value, ...(norm ? { gradientNorm: norm } : {}) };
  };
  Object.defineProperty(update, "name", { value: loss.name || "training step" });
  const compiled = compile(update, { xla, maxTraces });

  let count = 0;
  /** The numbers of the next update, which counts from now on: calls of async() may wait in a row. */
  const next = () => {
    const rate = optimizer.learningRate(count++);
    return tf.tensor1d([...optimizer.numbers(count, rate)], "float32");
  };
  const step = (...args: Args): StepResult => {
    const numbers = next();
    try {
      return compiled(numbers, ...args);
    } catch (error) {
      count--;
      throw error;
    } finally {
      numbers.dispose();
    }
  };
  const aside = async (...args: Args): Promise<StepResult> => {
    const numbers = next();
    try {
      return await compiled.async(numbers, ...args);
    } catch (error) {
      count--;
      throw error;
    } finally {
      numbers.dispose();
    }
  };
  const restore = (saved: StepState) => {
    refuseOthers(variables, saved.variables, "variable"); // nothing is changed before all fits
    if (saved.moments) refuseOthers(moments, saved.moments, "moment");
    assignAll(variables, saved.variables);
    if (saved.moments) assignAll(moments, saved.moments);
    count = saved.count ?? count;
  };
  const dispose = () => {
    compiled.dispose();
    tf.dispose([...moments.values()]);
  };
  const made = Object.assign(step, {
    async: aside,
    count: 0,
    learningRate: 0,
    optimizer,
    variables,
    moments,
    restore,
    explain: () => compiled.explain(),
    dispose,
  });
  return Object.defineProperties(made, { // Object.assign would have read them once and for all
    count: { get: () => count },
    learningRate: { get: () => optimizer.learningRate(count) },
  });
}

function variablesOf(parameters: object): Map<string, tf.Variable> {
  const found = new Map<string, tf.Variable>();
  const seen = new Set<tf.Tensor>();
  for (const [name, tensor] of flatten(parameters)) {
    if (!(tensor instanceof tf.Variable) || !tensor.trainable || seen.has(tensor)) continue;
    seen.add(tensor); // tied weights are one
    found.set(name, tensor);
  }
  if (found.size === 0) {
    throw new TypeError("there is no variable among the parameters, so that nothing would be trained; see trainable()");
  }
  return found;
}

function lossAndGradients(
  body: () => tf.Tensor | ({ readonly loss: tf.Tensor } & Readonly<Record<string, tf.Tensor>>),
  variables: tf.Variable[],
): { value: tf.Scalar; metrics: Record<string, tf.Tensor>; gradients: tf.NamedTensorMap } {
  const kept: Record<string, tf.Tensor> = {}; // tfjs' forward pass ends in a tidy that lets the loss through only
  try {
    const { value, grads } = tf.variableGrads(() => {
      const result = body();
      const { loss, ...metrics } = result instanceof tf.Tensor ? { loss: result } : result;
      if (!(loss instanceof tf.Tensor) || loss.size !== 1 || loss.dtype !== "float32") {
        const what = loss instanceof tf.Tensor ? `${loss.dtype} of shape [${loss.shape}]` : typeof loss;
        throw new TypeError(`a loss must be one number of float32, but it is ${what}; take its mean or sum`);
      }
      for (const [name, metric] of Object.entries(metrics)) kept[name] = tf.keep(metric.clone());
      return loss.reshape([]) as tf.Scalar;
    }, variables);
    const metrics = Object.fromEntries(Object.entries(kept).map(([name, metric]) => [name, metric.clone()]));
    return { value, metrics, gradients: grads };
  } finally {
    tf.dispose(kept);
  }
}

function globalNorm(gradients: tf.Tensor[]): tf.Scalar {
  return tf.sqrt(tf.addN(gradients.map((gradient) => gradient.square().sum()))) as tf.Scalar;
}

function refuseOthers(
  variables: ReadonlyMap<string, tf.Variable>,
  arrays: ReadonlyMap<string, NumericArray>,
  what: string,
): void {
  for (const [name, variable] of variables) {
    const array = arrays.get(name);
    if (!array) throw new Error(`${what} ${name} is missing among ${arrays.size}; restore what this step has saved`);
    if (array.shape.join() !== variable.shape.join()) {
      throw new RangeError(
        `${what} ${name} has shape [${variable.shape}], but what is restored has [${array.shape}]; make them agree`,
      );
    }
  }
}

function assignAll(variables: ReadonlyMap<string, tf.Variable>, arrays: ReadonlyMap<string, NumericArray>): void {
  for (const [name, variable] of variables) {
    const { data, shape } = arrays.get(name)!;
    tidy(() => variable.assign(tf.tensor(data as Float32Array, shape)));
  }
}
