/**
 * Training CLEF and its twins.
 *
 * Li et al., "Controllable Sequence Editing for Biological and Clinical Trajectories", ICLR 2026, arXiv:2502.03569. Checked
 * against the authors' loop (`clef.training_epoch`). Theirs takes one step per batch and target, with gradients that it
 * forgets to clear in between, validates with dropout on random windows, and trains the twin without concepts unless told
 * otherwise. {@link train} draws pairs of subject and target at random, clears gradients, and validates on fixed windows
 * without dropout; {@link trainAsRepository} is their loop.
 *
 * @module
 */
import type { Trajectories } from "../data/mod.ts";
import { random } from "../random.ts";
import { tick } from "../stop.ts";
import { tf, tidy } from "../tensor/mod.ts";
import { adam, type Fit, fit, type FitOptions, type Optimizer, trainStep } from "../train/mod.ts";
import { ask, type Batch, denseBatch, freeBatch, rowsOf, toDevice } from "./batch.ts";
import type { CLEF, Scaling } from "./clef.ts";
import { evaluate, type Task, WARM_UP, WINDOW } from "./evaluate.ts";
import { huber } from "./loss.ts";

/** Options of {@link train}. */
export interface TrainOptions {
  /** Which questions are trained on; "any" draws history and target at random, so that all horizons occur. Default: "immediate". */
  readonly task?: Task | "any";
  readonly epochs: number;
  /** Pairs of subject and target in a step. Default: 256. */
  readonly batch?: number;
  /** Default: 1e-3. The authors take 1e-4 for patients and 1e-5 for cells, with far more data. */
  readonly learningRate?: number;
  readonly seed: number;
  /** Given: errors count in standard deviations of the training set. Absent: in the data's units, as in the authors' code. */
  readonly scaling?: Scaling;
  /** Weight of |concept - 1|: how dear it is to move a variable at all. Default: 0. */
  readonly sparsity?: number;
  /** Histories have at least one record more. Default: 8. */
  readonly warmUp?: number;
  /** Most records of a subject in a step; a longer one is cut at a random place. Default: 20. */
  readonly window?: number;
  /** Subjects to choose the best epoch by (lowest RMSE, as the authors do). Default: none, the last epoch counts. */
  readonly validation?: Trajectories;
  /** A file, to go on after a stop; see `fit`. */
  readonly checkpoint?: string | URL;
  /** Default: true. */
  readonly show?: boolean;
  readonly signal?: AbortSignal;
}

/** Which records are asked about: [subject, records of the history, target], for a subject of `length` records. */
function pairsOf(data: Trajectories, { task = "immediate", warmUp = WARM_UP, window = WINDOW.train }: TrainOptions) {
  const pairs: (readonly [place: number, target: number])[] = [];
  data.subjects.forEach(({ hours }, place) => {
    for (let target = warmUp + 1; target < Math.min(hours.length, window); target++) pairs.push([place, target]);
  });
  if (!pairs.length) {
    throw new RangeError(
      `no subject of ${data.name} has more than ${warmUp + 1} records, so there is nothing to train on; lower warmUp`,
    );
  }
  return {
    pairs,
    lengthFor: (target: number, integer: (n: number) => number) =>
      task === "immediate" ? target : task === "delayed" ? warmUp + 1 : warmUp + 1 + integer(target - warmUp),
  };
}

/**
 * Trains a model by Adam on Huber's loss. Stop, checkpoints and the live curve are those of `fit`.
 *
 * @example Two epochs on a few simulated panels
 * ```ts
 * import assert from "node:assert/strict";
 * import { synthLab } from "tessera/data/mod.ts";
 * import { CLEF, presets } from "tessera/editing/mod.ts";
 * const encoder = { kind: "transformer", heads: 4, layers: 1 } as const;
 * const model = CLEF.create(presets.repo({ variables: 16, conditionWidth: 32, records: 20, encoder }), 1);
 * const run = await train(model, synthLab({ subjects: 8, seed: 1 }), { epochs: 2, batch: 44, seed: 1, show: false });
 * assert.equal(run.steps, 4);
 * ```
 */
export async function train(model: CLEF, data: Trajectories, options: TrainOptions): Promise<Fit> {
  const { epochs, batch = 256, learningRate = 1e-3, seed, scaling, sparsity = 0, window = WINDOW.train } = options;
  const { warmUp = WARM_UP, validation, show = true } = options;
  if (model.config.encoder.kind === "moment") {
    throw new RangeError(
      "MOMENT looks at whole histories, so that pairs of different lengths cannot be trained together; " +
        "use trainAsRepository, which takes one length after the other",
    );
  }
  const { pairs, lengthFor } = pairsOf(data, options);
  const longest = data.subjects.reduce((most, { hours }) => Math.max(most, hours.length), 0);
  const records = Math.min(window, longest);
  // where no subject is longer than the window, nothing is drawn, and all is laid out once
  const whole = longest <= window ? denseBatch(data, data.subjects.map((_, place) => place)) : undefined;
  const variables = new Map([...model.weights].filter(([, weight]) => weight instanceof tf.Variable));
  const step = trainStep(
    (questions: Batch, length: tf.Tensor1D, target: tf.Tensor1D, key: tf.Tensor1D) => {
      const { history, query, answer, counted } = ask(questions, length, target);
      const { state, concept } = model.forward(history, query, { key });
      const loss = huber(...inUnits(state, answer, scaling), counted);
      return sparsity > 0 ? loss.add(concept.sub(1).abs().mean().mul(sparsity)) : loss;
    },
    adam({ learningRate }),
    Object.fromEntries(variables),
    { maxTraces: 4 },
  );
  const fitOptions: FitOptions<[Batch, tf.Tensor1D, tf.Tensor1D, tf.Tensor1D]> = {
    step,
    data: {
      count: pairs.length,
      batch(examples, context) {
        const chosen = examples.map((example) => pairs[example]);
        const places = chosen.map(([place]) => place);
        const dense = whole
          ? rowsOf(whole, places)
          : denseBatch(data, places, { most: window, atLeast: records, start: context.random });
        const targets = chosen.map(([, target]) => target);
        const lengths = targets.map((target) => lengthFor(target, (n) => context.random.integer(n)));
        const int = (values: number[]) => tf.tensor1d(values, "int32");
        return [toDevice(dense), int(lengths), int(targets), context.key];
      },
    },
    epochs,
    batch,
    seed,
    show,
    ...(validation
      ? {
        validate: async () => {
          const task: Task = options.task === "delayed" ? "delayed" : "immediate";
          const { repository } = await evaluate(model, validation, { task, warmUp, most: window });
          return { rmse: repository.rmse, mae: repository.mae };
        },
        monitor: { metric: "rmse", goal: "lowest" },
      }
      : {}),
    ...(options.checkpoint ? { checkpoint: options.checkpoint } : {}),
    ...(options.signal ? { signal: options.signal } : {}),
  };
  try {
    return await fit(fitOptions);
  } finally {
    step.dispose();
  }
}

function inUnits(state: tf.Tensor2D, answer: tf.Tensor2D, scaling: Scaling | undefined): [tf.Tensor2D, tf.Tensor2D] {
  if (!scaling) return [state, answer];
  const std = tf.tensor2d([scaling.std.map((value) => Math.max(value, 1e-6))]);
  return [tf.div(state, std), tf.div(answer, std)];
}

/** Options of {@link trainAsRepository}. */
export interface RepositoryTrainingOptions {
  readonly epochs: number;
  /** Subjects in a batch. Default: 512. */
  readonly batch?: number;
  /** Default: 1e-4, the authors' for patients. */
  readonly learningRate?: number;
  readonly seed: number;
  readonly task?: Task;
  readonly warmUp?: number;
  readonly window?: number;
  /**
   * What a step's gradient is: "repo", the sum over all targets of the batch so far, because the authors' loop clears
   * gradients once per batch; "none", its own. Default: "repo".
   */
  readonly accumulate?: "repo" | "none";
  /** Default: true; false is for comparing numbers. */
  readonly dropout?: boolean;
  /** Draw the order of subjects and the windows at random. Default: true. */
  readonly shuffle?: boolean;
  readonly parity?: boolean;
}

/**
 * The authors' training loop: one step of Adam per batch and target, targets in order.
 *
 * @returns The loss of each epoch: over its batches, the sum of losses over the number of records, as they log it.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { synthLab } from "tessera/data/mod.ts";
 * import { CLEF, presets } from "tessera/editing/mod.ts";
 * const encoder = { kind: "transformer", heads: 4, layers: 1 } as const;
 * const model = CLEF.create(presets.repo({ variables: 16, conditionWidth: 32, records: 20, encoder }), 1);
 * const losses = await trainAsRepository(model, synthLab({ subjects: 2, seed: 1 }), { epochs: 1, seed: 1, window: 11 });
 * assert.equal(losses.length, 1);
 * ```
 */
export async function trainAsRepository(
  model: CLEF,
  data: Trajectories,
  options: RepositoryTrainingOptions,
): Promise<number[]> {
  const { epochs, batch = 512, learningRate = 1e-4, seed, task = "immediate", warmUp = WARM_UP, parity = false } =
    options;
  const { window = WINDOW.train, accumulate = "repo", dropout = true, shuffle = true } = options;
  const variables = model.variables;
  const optimizer = adam({ learningRate });
  const moments = variables.map((variable) => optimizer.moments.map(() => tf.variable(tf.zerosLike(variable), false)));
  const losses: number[] = [];
  let steps = 0;
  try {
    for (let epoch = 0; epoch < epochs; epoch++) {
      const from = random(seed, `repository epoch ${epoch}`);
      const order = shuffle ? from.permutation(data.subjects.length) : data.subjects.map((_, place) => place);
      let logged = 0;
      for (let first = 0; first < order.length; first += batch) {
        const places = order.slice(first, first + batch);
        const dense = denseBatch(data, places, { most: window, parity, ...(shuffle ? { start: from } : {}) });
        const questions = toDevice(dense);
        let gathered: tf.Tensor[] = variables.map((variable) => tf.zerosLike(variable));
        let sum = 0;
        for (let target = warmUp + 1; target < dense.records; target++) {
          await tick();
          const key = dropout ? tf.tensor1d([from.integer(2 ** 31), from.integer(2 ** 31)], "int32") : undefined;
          const { loss, gradients } = lossAndGradients(
            model,
            questions,
            task === "immediate" ? target : warmUp + 1,
            target,
            {
              parity,
              ...(key ? { key } : {}),
            },
          );
          key?.dispose();
          sum += loss;
          const total = accumulate === "repo" ? gathered.map((sofar, i) => tf.add(sofar, gradients[i])) : gradients;
          if (accumulate === "repo") tf.dispose([gathered, gradients]);
          update(variables, total, moments, optimizer, ++steps);
          if (accumulate === "repo") gathered = total;
          else tf.dispose(total);
        }
        tf.dispose(gathered);
        freeBatch(questions);
        logged += sum / dense.records;
      }
      losses.push(logged);
    }
    return losses;
  } finally {
    tf.dispose(moments);
  }
}

function lossAndGradients(
  model: CLEF,
  questions: Batch,
  length: number,
  target: number,
  options: { parity: boolean; key?: tf.Tensor1D },
): { loss: number; gradients: tf.Tensor[] } {
  const variables = model.variables;
  const { value, grads } = tf.variableGrads(() => {
    const { history, query, answer, counted } = ask(questions, length, target);
    return huber(model.forward(history, query, options).state, answer, counted);
  }, variables);
  const loss = value.dataSync()[0];
  value.dispose();
  return { loss, gradients: variables.map((variable) => grads[variable.name] ?? tf.zerosLike(variable)) };
}

function update(
  variables: readonly tf.Variable[],
  gradients: readonly tf.Tensor[],
  moments: readonly (readonly tf.Variable[])[],
  optimizer: Optimizer,
  step: number,
): void {
  tidy(() => {
    const numbers = optimizer.numbers(step, optimizer.learningRate(step - 1)).map((value) => tf.scalar(value));
    variables.forEach((variable, i) => {
      const view = { value: variable, gradient: gradients[i], moments: moments[i], numbers, decays: false };
      const updated = optimizer.update(view);
      variable.assign(updated.value);
      updated.moments.forEach((moment, m) => moments[i][m].assign(moment));
    });
  });
}
