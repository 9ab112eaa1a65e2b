/**
 * Evaluation: immediate and delayed editing, scored as the authors do and pooled.
 *
 * Li et al., "Controllable Sequence Editing for Biological and Clinical Trajectories", ICLR 2026, arXiv:2502.03569. Checked
 * against the authors' loop (`clef.evaluate`).
 *
 * @module
 */
import type { Trajectories } from "../data/mod.ts";
import { tick } from "../stop.ts";
import { compile, type Compiled, tf, tidy } from "../tensor/mod.ts";
import { ask, type Batch, denseBatch, freeBatch, toDevice } from "./batch.ts";
import type { CLEF, Generated, Scaling } from "./clef.ts";
import { type Errors, errorsOf } from "./metrics.ts";

/** Immediate: each record from all before it. Delayed: each later record from the first `warmUp + 1`. */
export type Task = "immediate" | "delayed";

/** The authors' warm-up: histories have at least 9 records. */
export const WARM_UP = 8;
/** The authors' windows: records of a subject that are looked at in training and in both test tasks. */
export const WINDOW = { train: 20, immediate: 200, delayed: 20 } as const;

/** Options of {@link evaluate}. */
export interface EvaluateOptions {
  readonly task: Task;
  /** Standard deviations of the training set; given, `nMAE` is computed. */
  readonly scaling?: Scaling;
  /** Histories have at least one record more. Default: 8. */
  readonly warmUp?: number;
  /** Subjects that are scored together. Default: 512. */
  readonly batchSize?: number;
  /** Most records of a subject. Default: 200 immediate, 20 delayed. */
  readonly most?: number;
  /** Follow the authors' code. Default: false. */
  readonly parity?: boolean;
  /** Keep every generated state and concept. Default: false. */
  readonly keep?: boolean;
}

/** One generated state that was kept. */
export interface KeptState {
  readonly id: string;
  /** Place of the target record. */
  readonly target: number;
  readonly state: readonly number[];
  readonly concept: readonly number[];
}

/** What an evaluation found. */
export interface Evaluated {
  readonly task: Task;
  /** The authors' numbers: unweighted means over pairs of batch and target; they depend on the batch size. */
  readonly repository: Omit<Errors, "count">;
  /** The same, each pair on its own. */
  readonly pairs: readonly (Errors & { readonly target: number })[];
  /** Every value counts once. */
  readonly pooled: Errors;
  /** Mean absolute error in standard deviations of the training set, the mean over pairs; NaN without `scaling`. */
  readonly nMAE: number;
  /** Mean absolute error of each variable, pooled, in its unit. */
  readonly byVariable: readonly { readonly variable: string; readonly mae: number; readonly count: number }[];
  /** Pooled mean absolute error by records from the history's end to the target; the immediate task has one horizon. */
  readonly byHorizon: readonly { readonly horizon: number; readonly mae: number; readonly nMAE: number }[];
  readonly states: readonly KeptState[];
}

/** Anything that answers questions: a model, or a baseline. */
export type Answerer = (batch: Batch, length: number, target: number) => Pick<Generated, "state" | "concept">;

/** A compiled model as an answerer: one trace serves all lengths, unless the encoder looks at the whole history. */
export function answerer(
  model: CLEF,
  { parity = false }: { readonly parity?: boolean } = {},
): Answerer & { dispose(): void } {
  const options = { parity };
  const whole = model.config.encoder.kind === "moment" || parity;
  const byCut = (batch: Batch, length: number, target: number) => {
    const { history, query } = ask(batch, length, target);
    return model.forward(history, query, options);
  };
  const byLength: Compiled<[Batch, tf.Tensor1D, tf.Tensor1D], Generated> = compile((batch, length, target) => {
    const { history, query } = ask(batch, length, target);
    return model.forward(history, query, options);
  });
  const answer = (batch: Batch, length: number, target: number) =>
    tidy(() => {
      if (whole) return byCut(batch, length, target);
      const subjects = batch.x.shape[0];
      return byLength(batch, tf.fill([subjects], length, "int32"), tf.fill([subjects], target, "int32"));
    });
  return Object.assign(answer, { dispose: () => byLength.dispose() });
}

/**
 * Evaluates a model or baseline. Can be stopped.
 *
 * @example The mean of the history on simulated panels
 * ```ts
 * import assert from "node:assert/strict";
 * import { synthLab } from "tessera/data/mod.ts";
 * import { CLEF, presets } from "tessera/editing/mod.ts";
 * const encoder = { kind: "transformer", heads: 4, layers: 2 } as const;
 * const simple = presets.simpleLinear({ variables: 16, conditionWidth: 32, records: 20, encoder });
 * const result = await evaluate(CLEF.create(simple, 1), synthLab({ subjects: 8, seed: 3 }), { task: "delayed" });
 * assert.equal(result.byHorizon.length, 11);
 * ```
 */
export async function evaluate(
  model: CLEF | Answerer,
  data: Trajectories,
  options: EvaluateOptions,
): Promise<Evaluated> {
  const { task, scaling, warmUp = WARM_UP, batchSize = 512, most = WINDOW[options.task], parity, keep = false } =
    options;
  const own = typeof model === "function" ? undefined : answerer(model, parity ? { parity } : {});
  const answer = own ?? model as Answerer;
  const width = data.variables.length;
  const pairs: (Errors & { target: number; nMAE: number })[] = [];
  const all = { truth: [] as number[], predicted: [] as number[] };
  const horizons = new Map<number, { sum: number; scaled: number; count: number }>();
  const variables = data.variables.map(() => ({ sum: 0, count: 0 }));
  const states: KeptState[] = [];
  try {
    for (let from = 0; from < data.subjects.length; from += batchSize) {
      const places = Array.from({ length: Math.min(batchSize, data.subjects.length - from) }, (_, i) => from + i);
      const dense = denseBatch(data, places, { most, ...(parity ? { parity } : {}) });
      const batch = toDevice(dense);
      try {
        for (let target = warmUp + 1; target < dense.records; target++) {
          await tick();
          const length = task === "immediate" ? target : warmUp + 1;
          const horizon = target - length + 1;
          const { state, concept } = answer(batch, length, target);
          const [predicted, concepts] = [state.dataSync(), keep ? concept.dataSync() : undefined];
          tf.dispose([state, concept]);
          const pair = { truth: [] as number[], predicted: [] as number[], scaled: 0 };
          const at = horizons.get(horizon) ?? { sum: 0, scaled: 0, count: 0 };
          horizons.set(horizon, at);
          for (let b = 0; b < dense.subjects; b++) {
            if (target >= dense.length[b]) continue; // padding
            if (concepts) {
              const row = (values: ArrayLike<number>) => Array.from({ length: width }, (_, v) => values[b * width + v]);
              states.push({ id: dense.ids[b], target, state: row(predicted), concept: row(concepts) });
            }
            for (let v = 0; v < width; v++) {
              const cell = (b * dense.records + target) * width + v;
              if (!dense.observed[cell]) continue;
              const [truth, guess] = [dense.x[cell], predicted[b * width + v]];
              pair.truth.push(truth);
              pair.predicted.push(guess);
              const error = Math.abs(guess - truth);
              const scaled = scaling ? error / scaling.std[v] : NaN;
              pair.scaled += scaled;
              at.sum += error;
              at.scaled += scaled;
              at.count++;
              variables[v].sum += error;
              variables[v].count++;
            }
          }
          if (!pair.truth.length) continue;
          const nMAE = pair.scaled / pair.truth.length;
          pairs.push({ ...errorsOf(pair.truth, pair.predicted), target, nMAE });
          for (const [i, truth] of pair.truth.entries()) all.truth.push(truth), all.predicted.push(pair.predicted[i]);
        }
      } finally {
        freeBatch(batch);
      }
    }
  } finally {
    own?.dispose();
  }
  if (!pairs.length) {
    throw new RangeError(
      `no subject of ${data.name} has more than ${warmUp + 1} records, so there is nothing to predict; lower warmUp`,
    );
  }
  const mean = (key: "r2" | "rmse" | "mae" | "mape" | "similarity" | "nMAE") =>
    pairs.reduce((sum, pair) => sum + pair[key], 0) / pairs.length;
  return {
    task,
    repository: {
      r2: mean("r2"),
      rmse: mean("rmse"),
      mae: mean("mae"),
      mape: mean("mape"),
      similarity: mean("similarity"),
    },
    pairs: pairs.map(({ nMAE: _, ...pair }) => pair),
    pooled: errorsOf(all.truth, all.predicted),
    nMAE: mean("nMAE"),
    byVariable: data.variables.map(({ name }, v) => (
      { variable: name, mae: variables[v].sum / variables[v].count, count: variables[v].count }
    )),
    byHorizon: [...horizons].sort(([a], [b]) => a - b).map(([horizon, { sum, scaled, count }]) => (
      { horizon, mae: sum / count, nMAE: scaled / count }
    )),
    states,
  };
}
