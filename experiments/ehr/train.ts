/**
 * Training a model of health records, and judging it: pre-training first, then labels; the epoch that is best on validation
 * data counts; test data are shown once, as they are.
 *
 * @module
 */
import { compile, tf } from "../../lib/tensor/mod.ts";
import { type ColumnScores, columnScores, mean } from "../../lib/stats.ts";
import { adam, fit, trainStep } from "../../lib/train/mod.ts";
import type { EHRModel } from "./model.ts";
import type { Records } from "./records.ts";

/** Options of {@link trainEHR}. */
export interface TrainOptions {
  /** Times that each patient is seen with labels. Default: 20. */
  readonly epochs?: number;
  /** Times that each is seen in a stage before. Default: 10. */
  readonly pretrainEpochs?: number;
  /** Default: 64. */
  readonly batch?: number;
  /** Default: 1e-3. */
  readonly learningRate?: number;
  readonly seed: number;
  readonly signal?: AbortSignal;
  /** Default: false. */
  readonly show?: boolean;
}

/** What a training was. */
export interface Trained {
  readonly seconds: number;
  readonly steps: number;
  /** Of the stage with labels: whose weights the model has. */
  readonly bestEpoch: number | undefined;
  /** Loss at the start and at the end of each stage. */
  readonly losses: readonly { readonly stage: string; readonly first: number; readonly last: number }[];
}

/**
 * Trains a model on some records; `validation` decides which epoch's weights stay.
 *
 * Each batch is checked: a row's labels are those of the patient whose codes it has (see {@link Records.batch}).
 */
export async function trainEHR<Batch extends object>(
  model: EHRModel<Batch>,
  training: Records,
  validation: Records,
  options: TrainOptions,
): Promise<Trained> {
  const { epochs = 20, pretrainEpochs = 10, batch = 64, learningRate = 1e-3, seed, signal, show = false } = options;
  const started = performance.now();
  let steps = 0;
  let bestEpoch: number | undefined;
  const losses: { stage: string; first: number; last: number }[] = [];
  const predict = predictor(model);
  for (const [place, stage] of model.stages.entries()) {
    const isLast = place === model.stages.length - 1;
    const step = trainStep(stage.loss, adam({ learningRate }), model.parameters, { clip: 1 });
    const run = await fit({
      step,
      data: {
        count: training.count,
        batch: (rows, { key }) => [batchOf(model, training, rows), key.clone()] as [Batch, tf.Tensor1D],
      },
      epochs: isLast ? epochs : Math.max(1, Math.round(pretrainEpochs * (stage.epochs ?? 1))),
      batch,
      seed: seed + place,
      show,
      ...(isLast && !model.predict
        ? {
          validate: async () => ({ auprc: meanAUPRC(await predict(validation, seed), validation) }),
          monitor: { metric: "auprc", goal: "highest" as const },
        }
        : {}),
      ...(signal ? { signal } : {}),
    });
    step.dispose();
    steps += run.steps;
    bestEpoch = run.bestEpoch;
    losses.push({
      stage: stage.name,
      first: mean(run.history.loss.slice(0, 5)),
      last: mean(run.history.loss.slice(-5)),
    });
  }
  predict.dispose();
  return { seconds: (performance.now() - started) / 1000, steps, bestEpoch, losses };
}

function batchOf<Batch extends object>(model: EHRModel<Batch>, records: Records, rows: readonly number[]): Batch {
  return model.batch ? model.batch(records, rows) : records.batch(rows).tensors as unknown as Batch;
}

/** Gives probabilities of labels, row by row in the order of the records. */
export interface Predictor {
  (records: Records, seed?: number): Promise<number[][]>;
  dispose(): void;
}

/** How a model predicts: its logits, compiled, or what it does itself. */
export function predictor<Batch extends object>(model: EHRModel<Batch>): Predictor {
  if (model.predict) {
    const own = (records: Records, seed = 0) => model.predict!(records, allRows(records), seed);
    return Object.assign(own, { dispose: () => {} });
  }
  const logits = compile((batch: Batch) => model.logits!(batch), { xla: false });
  const predict = async (records: Records): Promise<number[][]> => {
    const result: number[][] = [];
    for (let from = 0; from < records.count; from += EVALUATED) {
      const rows = Array.from({ length: Math.min(EVALUATED, records.count - from) }, (_, i) => from + i);
      const batch = batchOf(model, records, rows);
      const values = await logits.async(batch);
      result.push(...(await values.array()).map((row) => row.map((logit) => 1 / (1 + Math.exp(-logit)))));
      tf.dispose([...Object.values(batch) as tf.Tensor[], values]);
    }
    return result;
  };
  return Object.assign(predict, { dispose: () => logits.dispose() });
}

/** Rows that are predicted together. */
const EVALUATED = 250;

function allRows({ count }: Records): number[] {
  return Array.from({ length: count }, (_, row) => row);
}

/** Labels of all rows, each looked up by its patient's id. */
export function labelsOf(records: Records): number[][] {
  return allRows(records).map((row) => records.labelsOf(row));
}

/** Mean AUPRC over the labels of which both classes occur. */
export function meanAUPRC(probabilities: readonly number[][], records: Records): number {
  return columnScores(labelsOf(records), probabilities).auprc.macro ?? 0;
}

/** AUPRC of tasks: of each, the mean over its labels; and the mean over tasks. */
export function taskScores(
  probabilities: readonly number[][],
  records: Records,
  tasks: Readonly<Record<string, readonly string[]>>,
): { readonly scores: ColumnScores; readonly tasks: Record<string, number>; readonly mean: number } {
  const scores = columnScores(labelsOf(records), probabilities);
  const result = Object.fromEntries(
    Object.entries(tasks).map(([task, labels]) => {
      const columns = labels.map((label) => scores.auprc.perColumn[records.labelNames.indexOf(label)] ?? 0);
      return [task, mean(columns)];
    }),
  );
  return { scores, tasks: result, mean: mean(Object.values(result)) };
}
