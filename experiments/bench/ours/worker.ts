/**
 * What the areas' workers share: ways to run, what is timed, and the numbers that everybody computes on.
 *
 * @module
 */
import { compile, type Compiled, type Explanation, flatten, tf } from "tessera/tensor/mod.ts";
import { adam, trainStep } from "tessera/train/mod.ts";
import { type Parameter, pattern, type Way } from "../workload.ts";

/** What each area has: makes a job ready. */
export type Prepare<Job> = (job: Job, parameters: readonly Parameter[]) => Ready | Promise<Ready>;

/** A workload, made ready. */
export interface Ready {
  /** One call, or `perCall` of them. */
  call(): void | Promise<void>;
  perCall: number;
  /** Numbers that everybody who does the same work gets. */
  check: number[];
  firstMs: number;
  explain?: () => Explanation;
}

/** In which way this process runs. */
export const way = Deno.args[0] as Way;
/** Whether without TensorFlow. */
export const isFallback = way === "wasm" || way === "cpu";

/** Numbers that the peers have, too. */
export function patternTensor<T extends tf.Tensor>(salt: number, shape: readonly number[], scale = 1): T {
  return tf.tensor(pattern(salt, tf.util.sizeFromShape([...shape]), scale), [...shape]) as T;
}

/** A function in the way that is measured. */
export function inThisWay(fn: (...inputs: tf.Tensor[]) => tf.Tensor): Compiled<tf.Tensor[], tf.Tensor> | typeof fn {
  return way === "xla" || way === "graph" ? compile(fn, { xla: way === "xla" }) : fn;
}

/** What comes out of a function, as an array. */
export function read(fn: (...inputs: tf.Tensor[]) => tf.Tensor, inputs: tf.Tensor[]): number[] {
  return tf.tidy(() => [...fn(...inputs).dataSync()]);
}

/** A function that is called again and again, and waited for. */
export function inferred(body: (...inputs: tf.Tensor[]) => tf.Tensor, inputs: tf.Tensor[]): Ready {
  const fn = inThisWay(body);
  const start = performance.now();
  const out = read(fn, inputs);
  const firstMs = performance.now() - start;
  const mean = out.reduce((sum, value) => sum + Math.abs(value), 0) / out.length;
  return {
    call: () =>
      tf.tidy(() => {
        const out = fn(...inputs);
        if (isFallback) out.dataSync(); // there an op may be put off until it is read
      }),
    perCall: 1,
    check: [mean, ...out.slice(0, 4)],
    firstMs,
    ...("explain" in fn ? { explain: fn.explain } : {}),
  };
}

/** A training step; reads the loss each time, as its users do. */
export function trained(parameters: object, loss: (...inputs: tf.Tensor[]) => tf.Tensor, inputs: tf.Tensor[]): Ready {
  const options = { learningRate: 1e-3, epsilon: 1e-7 };
  const step = way === "eager"
    ? stepByStep(parameters, loss, options)
    : trainStep(loss, adam(options), parameters, { xla: way === "xla" });
  const lossNow = () => tf.tidy(() => step(...inputs).loss.dataSync()[0]);
  const start = performance.now();
  const losses = [lossNow()];
  const firstMs = performance.now() - start;
  losses.push(lossNow(), lossNow());
  return {
    call: () => void lossNow(),
    perCall: 1,
    check: losses,
    firstMs,
    ...("explain" in step ? { explain: step.explain } : {}),
  };
}

/** The same with TensorFlow.js alone, one operation at a time. */
function stepByStep(
  parameters: object,
  loss: (...inputs: tf.Tensor[]) => tf.Tensor,
  { learningRate, epsilon }: { learningRate: number; epsilon: number },
) {
  const optimizer = tf.train.adam(learningRate, 0.9, 0.999, epsilon);
  const variables = [...flatten(parameters).values()] as tf.Variable[];
  return (...inputs: tf.Tensor[]) => ({
    loss: optimizer.minimize(() => loss(...inputs) as tf.Scalar, true, variables)!,
  });
}

/** An operation so short that many are timed together. */
export function many(op: () => void, times = 1000): Ready {
  const start = performance.now();
  op();
  const firstMs = performance.now() - start;
  return {
    call: () => {
      for (let i = 0; i < times; i++) op();
    },
    perCall: times,
    check: [],
    firstMs,
  };
}

/** The described parameters, with the numbers that the peers have. */
export function numbersOf(list: readonly Parameter[]) {
  return new Map(list.map(({ name, shape, scale, offset }, salt) => [name, {
    shape: [...shape],
    dtype: "float32" as const,
    data: pattern(salt, tf.util.sizeFromShape([...shape]), scale, offset),
  }]));
}
