/**
 * The training loop: batches in a random order that a seed decides, progress and a live loss curve, Stop, checkpoints,
 * early stopping.
 *
 * @module
 */
import type { NumericArray } from "../data/mod.ts";
import { type Figure, liveFigure } from "../plot/mod.ts";
import { type Random, random } from "../random.ts";
import { tick } from "../stop.ts";
import { backend, randomKey, tf, tidy } from "../tensor/mod.ts";
import { takeApart } from "../tensor/tree.ts";
import { arraysOf, readCheckpoint, writeCheckpoint } from "./checkpoint.ts";
import { History, type HistoryRecord, lossCurve, type Validation } from "./history.ts";
import type { StepResult, TrainStep } from "./step.ts";

/** What a batch may be made with, beside the numbers of its examples. All of it follows from the seed and the step. */
export interface BatchContext {
  /** Key of this step's random numbers, for dropout; int32, [2]. */
  readonly key: tf.Tensor1D;
  /** Numbers for this step in JavaScript, for augmentation. */
  readonly random: Random;
  /** From 0. */
  readonly epoch: number;
  /** Updates of this run before this one. */
  readonly step: number;
}

/** Examples to train on. */
export interface TrainingData<Args extends unknown[]> {
  /** How many there are. */
  readonly count: number;
  /**
   * The step's arguments for some examples. Tensors among them are disposed of after the step, except those that are kept
   * (`tf.keep`) and variables.
   */
  batch(examples: readonly number[], context: BatchContext): Args | Promise<Args>;
}

/** Options of {@link fit}. */
export interface FitOptions<Args extends unknown[]> {
  readonly step: TrainStep<Args>;
  readonly data: TrainingData<Args>;
  /** Times that each example is seen, in all: called again, `fit` goes on to this number. */
  readonly epochs: number;
  /** Examples in a batch; the last one of an epoch has those that are left. */
  readonly batch: number;
  /** Decides the order of the examples, and the keys. */
  readonly seed: number;
  /** Whether the order is random, anew in each epoch. Default: true. */
  readonly shuffle?: boolean;
  /** Called after each epoch; gives numbers by name, such as the accuracy on other data. */
  readonly validate?: (epoch: number) => Record<string, number> | Promise<Record<string, number>>;
  /** Which of these numbers says how good the weights are. Default: the first, if it is a loss. */
  readonly monitor?: { readonly metric: string; readonly goal: "lowest" | "highest" };
  /** Ends the run after so many epochs in a row that were not better than the best. Default: never. */
  readonly patience?: number;
  /**
   * A file for checkpoints: written after each epoch and when the run is stopped. Where it exists, the run goes on from it.
   */
  readonly checkpoint?: string | URL;
  /** Steps after which a checkpoint is written within an epoch, too. Default: never. */
  readonly checkpointEvery?: number;
  /** Stops the run, as the Stop button does. */
  readonly signal?: AbortSignal;
  /** Whether to show the loss: a curve in a notebook, lines on standard error elsewhere. Default: true. */
  readonly show?: boolean;
}

/** What came of a run. Shows itself in a notebook as a line of text; the curve is `figure`. */
export interface Fit {
  /** Whether all epochs were run, or patience ended it. */
  readonly ended: "epochs" | "patience";
  /** Updates of the run. */
  readonly steps: number;
  /** Whole epochs. */
  readonly epochs: number;
  /** What each step gave: the loss, and its other scalars. */
  readonly history: Readonly<Record<string, readonly number[]>>;
  /** What `validate` gave, epoch by epoch. */
  readonly validation: readonly Validation[];
  /** The epoch (from 1) whose weights the model has now, where a number is monitored. */
  readonly bestEpoch: number | undefined;
  readonly batch: number;
  readonly seed: number;
  /** Of this call. */
  readonly seconds: number;
  readonly backend: string;
  /** The loss, step by step. */
  readonly figure: Figure;
}

/** What makes a run the run it is: with other numbers it is another run. */
interface Settings {
  readonly seed: number;
  readonly batch: number;
  readonly count: number;
  readonly shuffle: boolean;
}

/** Where a run stands; kept as long as its step, so that `fit` can go on after Stop, or with more epochs. */
interface Run {
  readonly settings: Settings;
  /** Updates that the step had made before the run. */
  readonly start: number;
  readonly history: History;
  best?: { epoch: number; value: number; weights: Map<string, NumericArray> };
  /** The weights of the last update, where the model has got the best ones. */
  last?: Map<string, NumericArray>;
}

const runs = new WeakMap<object, Run>();

/**
 * Trains: calls `step` with batch after batch.
 *
 * Stop (the button, Ctrl-C, `signal`) ends it between two steps with the error that all loops end with; nothing is lost.
 * Called again with the same step and settings, it goes on where it stood; so it does with more epochs. From a checkpoint
 * it goes on in another process, to the same numbers as a run that was never stopped (on the same backend and machine).
 * Where a number is monitored, the model has the best epoch's weights at the end, else the last ones.
 *
 * Losses are read back together, now and then, so that the device need not wait for us; a loss that is no number ends the
 * run with an error that says in which step.
 *
 * @throws {DOMException} Named "AbortError", when it was stopped.
 * @throws {Error} If the loss is no number, or a checkpoint is one of another run.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { tf } from "tessera/tensor/mod.ts";
 * import { examples, sgd, trainStep } from "tessera/train/mod.ts";
 * const model = { centre: tf.variable(tf.scalar(0)) };
 * const step = trainStep((x: tf.Tensor) => x.sub(model.centre).square().mean(), sgd({ learningRate: 0.25 }), model);
 * const data = examples(tf.tensor1d([1, 2, 3]));
 * const run = await fit({ step, data, epochs: 20, batch: 2, seed: 1, show: false });
 * assert.equal(run.steps, 40); // batches of two and of one
 * assert.ok(Math.abs(model.centre.arraySync() as number - 2) < 1);
 * ```
 */
export async function fit<Args extends unknown[]>(options: FitOptions<Args>): Promise<Fit> {
  const { step, data, epochs, batch, seed, validate, patience, checkpoint, checkpointEvery, signal } = options;
  refuseOptions(options);
  const startedAt = performance.now();
  const settings: Settings = { seed, batch, count: data.count, shuffle: options.shuffle ?? true };
  const run = await begin(step, settings, checkpoint);
  const perEpoch = Math.ceil(data.count / batch);
  const total = epochs * perEpoch;
  const shown = options.show === false ? undefined : new Display(run, total, perEpoch, epochs);
  const { history } = run;
  const order = orderOf(settings);
  const save = async () => {
    if (checkpoint !== undefined) await writeCheckpoint(checkpoint, step, recordOf(run), arraysOfRun(run));
  };

  let ended: Fit["ended"] = "epochs";
  try {
    while (true) {
      signal?.throwIfAborted();
      await tick();
      const done = step.count - run.start;
      const epoch = Math.floor(done / perEpoch);
      if (done > 0 && done % perEpoch === 0 && history.epochs < epoch) { // an epoch has ended
        await history.flush();
        const values = validate ? await validate(epoch) : {};
        history.close({ epoch, step: done, values });
        await judge(run, options, values);
        shown?.epoch();
        await save();
        continue;
      }
      if (patience !== undefined && run.best && history.epochs - run.best.epoch >= patience) {
        ended = "patience";
        break;
      }
      if (done >= total) break;

      const key = randomKey(seed, done);
      const from = (done % perEpoch) * batch;
      const context: BatchContext = { key, random: random(seed, `step ${done}`), epoch, step: done };
      const args = await data.batch(order(epoch).slice(from, from + batch), context);
      let result: StepResult;
      try {
        result = await step.async(...args);
      } finally {
        disposeBatch(args);
        key.dispose();
      }
      history.add(result);
      if (shown?.isDue ?? history.waiting >= READ_EVERY) {
        await history.flush();
        shown?.step();
      }
      if (checkpointEvery !== undefined && (done + 1) % checkpointEvery === 0 && (done + 1) % perEpoch !== 0) {
        await history.flush();
        await save();
      }
    }
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") {
      await history.flush();
      await save();
      await shown?.end("stopped; call fit again to go on");
    }
    throw error;
  }
  if (run.best && run.best.epoch < history.epochs) {
    run.last = await arraysOf(step.variables);
    step.restore({ variables: run.best.weights });
  }
  await shown?.end(ended === "patience" ? `ended after ${patience} epochs without a better one` : "done");

  const result = {
    ended,
    steps: history.steps,
    epochs: history.epochs,
    history: history.values,
    validation: history.validation,
    bestEpoch: run.best?.epoch,
    batch,
    seed,
    seconds: (performance.now() - startedAt) / 1000,
    backend: `${backend}`,
    figure: lossCurve(history, perEpoch),
  };
  const text = `${history.steps} steps, ${history.epochs} epochs; ${history.lastLine()}`;
  Object.defineProperty(result, Symbol.for("Jupyter.display"), { value: () => ({ "text/plain": text }) });
  return result;
}

/** Without somebody to show them to, losses are read back after so many steps. */
const READ_EVERY = 100;

/**
 * Training data from tensors: example i is row i of each. A batch is made of the rows, in this order.
 *
 * @param tensors [examples, ...]; they stay on the device and are kept.
 * @throws {RangeError} If they differ in their number of examples.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { randomKey, tf } from "tessera/tensor/mod.ts";
 * import { random } from "tessera/random.ts";
 * const data = examples(tf.tensor1d([1, 2, 3]), tf.tensor1d([4, 5, 6]));
 * const context = { key: randomKey(1), random: random(1), epoch: 0, step: 0 };
 * const [x, y] = await data.batch([2, 0], context);
 * assert.deepEqual([x.arraySync(), y.arraySync()], [[3, 1], [6, 4]]);
 * ```
 */
export function examples<Tensors extends tf.Tensor[]>(...tensors: Tensors): TrainingData<Tensors> {
  const counts = new Set(tensors.map(({ shape }) => shape[0]));
  const [count] = counts;
  if (counts.size !== 1 || count === undefined) {
    throw new RangeError(
      `tensors of examples must have one length, but their shapes are ${tensors.map(({ shape }) => `[${shape}]`)}`,
    );
  }
  for (const tensor of tensors) tf.keep(tensor);
  return {
    count,
    batch: (rows) =>
      tidy(() => {
        const index = tf.tensor1d([...rows], "int32");
        return tensors.map((tensor) => tf.gather(tensor, index)) as Tensors;
      }),
  };
}

function refuseOptions<Args extends unknown[]>(options: FitOptions<Args>): void {
  const { data, epochs, batch, patience, validate, monitor, checkpointEvery } = options;
  const whole = { "the number of examples": data.count, epochs, batch, patience, checkpointEvery };
  for (const [what, value] of Object.entries(whole)) {
    if (value === undefined || (Number.isInteger(value) && value >= 1)) continue;
    throw new RangeError(`${what} must be a whole number from 1, but it is ${value}`);
  }
  if ((patience !== undefined || monitor) && !validate) {
    throw new TypeError("patience and monitor look at what validate gives, but there is no validate; pass it");
  }
}

/** The run to go on with: the one of this step, the one of the checkpoint, or a new one. */
async function begin<Args extends unknown[]>(
  step: TrainStep<Args>,
  settings: Settings,
  checkpoint: string | URL | undefined,
): Promise<Run> {
  const known = runs.get(step);
  if (known && isSame(known.settings, settings) && known.start + known.history.steps === step.count) {
    if (known.last) step.restore({ variables: known.last });
    known.last = undefined;
    return known;
  }
  const read = checkpoint !== undefined && !known && await exists(checkpoint)
    ? await readRun(step, settings, checkpoint)
    : undefined;
  const run = read ?? { settings, start: step.count, history: new History() };
  runs.set(step, run);
  return run;
}

function isSame(a: Settings, b: Settings): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}

async function exists(file: string | URL): Promise<boolean> {
  try {
    return (await Deno.stat(file)).isFile;
  } catch {
    return false;
  }
}

/** What a checkpoint holds of a run, beside tensors. */
interface SavedRun {
  readonly settings: Settings;
  readonly start: number;
  readonly history: HistoryRecord;
  readonly best?: { epoch: number; value: number };
}

function recordOf({ settings, start, history, best }: Run): SavedRun {
  return {
    settings,
    start,
    history: history.record(),
    ...(best ? { best: { epoch: best.epoch, value: best.value } } : {}),
  };
}

const BEST = "best.";
const HISTORY = "history.";

function arraysOfRun({ history, best }: Run): Map<string, NumericArray> {
  const arrays = new Map<string, NumericArray>();
  for (const [name, array] of best?.weights ?? []) arrays.set(BEST + name, array);
  for (const [name, values] of Object.entries(history.values)) {
    arrays.set(HISTORY + name, { shape: [values.length], dtype: "float32", data: Float32Array.from(values) });
  }
  return arrays;
}

async function readRun<Args extends unknown[]>(
  step: TrainStep<Args>,
  settings: Settings,
  file: string | URL,
): Promise<Run> {
  const { run, more } = await readCheckpoint(file, step, (run) => {
    const before = (run as SavedRun).settings;
    if (isSame(before, settings)) return;
    throw new Error(
      `${file} is a checkpoint of a run with ${JSON.stringify(before)}, not with ${JSON.stringify(settings)}; remove ` +
        "it, or name another file",
    );
  });
  const saved = run as SavedRun;
  const part = (prefix: string) =>
    new Map([...more].filter(([name]) => name.startsWith(prefix)).map(([name, a]) => [name.slice(prefix.length), a]));
  return {
    settings,
    start: saved.start,
    history: History.from(saved.history, part(HISTORY)),
    ...(saved.best ? { best: { ...saved.best, weights: part(BEST) } } : {}),
  };
}

/** The order of the examples in an epoch; the last one asked for is remembered. */
function orderOf({ seed, count, shuffle }: Settings): (epoch: number) => number[] {
  let known = -1;
  let order: number[] = [];
  return (epoch) => {
    if (epoch !== known) {
      order = shuffle ? random(seed, `epoch ${epoch}`).permutation(count) : Array.from({ length: count }, (_, i) => i);
      known = epoch;
    }
    return order;
  };
}

/** Remembers the weights if this epoch is the best one. */
async function judge<Args extends unknown[]>(
  run: Run,
  { step, monitor, patience }: FitOptions<Args>,
  values: Record<string, number>,
): Promise<void> {
  const [first] = Object.keys(values);
  if (!monitor && (patience === undefined || first !== "loss")) {
    if (patience === undefined) return;
    throw new TypeError(
      `validate gives ${Object.keys(values).join(", ") || "nothing"}, and patience has to know what is better; pass ` +
        'monitor, as { metric: "accuracy", goal: "highest" }',
    );
  }
  const { metric, goal } = monitor ?? { metric: "loss", goal: "lowest" };
  const value = values[metric];
  if (typeof value !== "number") {
    throw new TypeError(`validate must give ${metric}, which is monitored, but it gives ${Object.keys(values)}`);
  }
  const better = !run.best || (goal === "lowest" ? value < run.best.value : value > run.best.value);
  if (better) run.best = { epoch: run.history.epochs, value, weights: await arraysOf(step.variables) };
}

function disposeBatch(args: unknown[]): void {
  const tensors: tf.Tensor[] = [];
  takeApart(args, tensors, "a batch"); // without variables
  for (const tensor of tensors) if (!tensor.kept) tensor.dispose();
}

/** How often a curve is drawn and a line is printed, in milliseconds. */
const DRAW_EVERY = 500;
const PRINT_EVERY = 10_000;

/** Shows a run: a live curve in a notebook, lines elsewhere. */
class Display {
  readonly #run: Run;
  readonly #total: number;
  readonly #perEpoch: number;
  readonly #epochs: number;
  readonly #live = liveFigure();
  #last = performance.now();

  constructor(run: Run, total: number, perEpoch: number, epochs: number) {
    this.#run = run;
    this.#total = total;
    this.#perEpoch = perEpoch;
    this.#epochs = epochs;
    const { steps } = run.history;
    if (steps > 0 && !this.#live) console.error(`goes on after step ${steps} of ${total}`);
  }

  /** Whether it is time to show something, so that losses must be read. */
  get isDue(): boolean {
    return performance.now() - this.#last > (this.#live ? DRAW_EVERY : PRINT_EVERY);
  }

  step(): void {
    this.#last = performance.now();
    if (this.#live) this.#live.show(this.#figure(""));
    else console.error(`step ${this.#run.history.steps} of ${this.#total}  ${this.#run.history.lastLine()}`);
  }

  epoch(): void {
    this.#last = performance.now();
    const { history } = this.#run;
    if (this.#live) this.#live.show(this.#figure(""));
    else console.error(`epoch ${history.epochs} of ${this.#epochs}  step ${history.steps}  ${history.lastLine()}`);
  }

  async end(why: string): Promise<void> {
    if (this.#live) await this.#live.done(this.#figure(why));
    else console.error(`${why} after step ${this.#run.history.steps} of ${this.#total}`);
  }

  #figure(note: string): Figure {
    return lossCurve(this.#run.history, this.#perEpoch, { total: this.#total, note });
  }
}
