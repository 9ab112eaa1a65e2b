/**
 * Tumour trajectories as the numbers that models take: z-scores of the volume, treatments as one-hot vectors, and which
 * entries count.
 *
 * Melnychuk, Frauen and Feuerriegel, "Causal Transformer", ICML 2022, arXiv:2204.07258, and its code (`cancer.process_data`,
 * `cancer.decoder_test_input`). Padding volumes are 0 and become -mean / std, as there.
 *
 * @module
 */
import type { TumourRows } from "./tumour.ts";

/** Mean and standard deviation (divisor n) over the training set. */
export interface TumourScaling {
  readonly volume: { readonly mean: number; readonly std: number };
  readonly type: { readonly mean: number; readonly std: number };
}

/** How a day's treatment is written: one of four (none, chemotherapy, radiotherapy, both), or two bits. */
export type TreatmentMode = "multiclass" | "multilabel";

/** Rows as arrays, row by row; `steps` is one less than the days. */
export interface TumourTensors {
  readonly rows: number;
  readonly steps: number;
  /** Numbers of a treatment: 4, or 2 in multilabel mode. */
  readonly treatments: number;
  /** [rows, steps, treatments]: what was given the day before; zeros on the first. */
  readonly prevTreatments: Float32Array;
  /** [rows, steps, treatments]: what is given on the day. */
  readonly currentTreatments: Float32Array;
  /** [rows, steps]: z-scores of the volume on the day, and on the next. */
  readonly prevOutputs: Float32Array;
  readonly outputs: Float32Array;
  /** [rows, steps]: cm³ on the next day. */
  readonly unscaledOutputs: Float32Array;
  /** [rows] */
  readonly staticFeatures: Float32Array;
  /** [rows, steps]: 1 where the next day is known. */
  readonly active: Float32Array;
  /** [rows] */
  readonly length: Int32Array;
}

/**
 * Mean and standard deviation of the volumes that models are shown, and of the patients' types.
 *
 * @throws {RangeError} If the rows are not those of a training set: what is tested may not decide how it is scaled.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { tumourCohort } from "tessera/data/mod.ts";
 * const { volume } = tumourScaling(tumourCohort({ patients: 20, seed: 10, split: "train", gamma: 4 }));
 * assert.ok(volume.std > 0);
 * const validation = tumourCohort({ patients: 2, seed: 10, split: "validation", gamma: 4 });
 * assert.throws(() => tumourScaling(validation), /must come from the training set, but these rows are of "validation"/);
 * ```
 */
export function tumourScaling(rows: TumourRows): TumourScaling {
  if (rows.split !== "train") {
    throw new RangeError(
      `the scaling must come from the training set, but these rows are of "${rows.split}"; pass the training cohort`,
    );
  }
  return { volume: activeMoments(rows.volume, rows), type: moments(rows.type) };
}

/** Mean and standard deviation over the first `length` days of each row. */
export function activeMoments(values: ArrayLike<number>, { rows, days, length }: TumourRows) {
  const picked: number[] = [];
  for (let row = 0; row < rows; row++) {
    for (let t = 0; t < length[row]; t++) picked.push(values[row * days + t]);
  }
  return moments(picked);
}

function moments(values: ArrayLike<number>): { mean: number; std: number } {
  let sum = 0, squares = 0;
  for (let i = 0; i < values.length; i++) sum += values[i];
  const mean = sum / values.length;
  for (let i = 0; i < values.length; i++) squares += (values[i] - mean) ** 2;
  return { mean, std: Math.sqrt(squares / values.length) };
}

/**
 * Rows as arrays of numbers.
 *
 * @param mode Default: "multiclass"; RMSN and MSM take "multilabel".
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { tumourCohort } from "tessera/data/mod.ts";
 * const cohort = tumourCohort({ patients: 20, seed: 10, split: "train", gamma: 4 });
 * const tensors = tumourTensors(cohort, tumourScaling(cohort));
 * assert.deepEqual([tensors.rows, tensors.steps, tensors.treatments], [20, 59, 4]);
 * assert.equal(tensors.outputs[0], tensors.prevOutputs[1]);
 * ```
 */
export function tumourTensors(
  rows: TumourRows,
  scaling: TumourScaling,
  { mode = "multiclass" }: { readonly mode?: TreatmentMode } = {},
): TumourTensors {
  const { days, volume, chemo, radio, length, type } = rows;
  const steps = days - 1, treatments = mode === "multiclass" ? 4 : 2;
  const cells = rows.rows * steps;
  const prevTreatments = new Float32Array(cells * treatments), currentTreatments = new Float32Array(cells * treatments);
  const prevOutputs = new Float32Array(cells), outputs = new Float32Array(cells);
  const unscaledOutputs = new Float32Array(cells), active = new Float32Array(cells);
  const { mean, std } = scaling.volume;
  for (let row = 0; row < rows.rows; row++) {
    for (let t = 0; t < steps; t++) {
      const from = row * days + t, to = row * steps + t;
      prevOutputs[to] = (volume[from] - mean) / std;
      outputs[to] = (volume[from + 1] - mean) / std;
      unscaledOutputs[to] = volume[from + 1];
      active[to] = Number(t < length[row]);
      if (mode === "multiclass") currentTreatments[to * 4 + chemo[from] + 2 * radio[from]] = 1;
      else currentTreatments.set([chemo[from], radio[from]], to * 2);
      if (t > 0) {
        const before = (to - 1) * treatments;
        prevTreatments.set(currentTreatments.subarray(before, before + treatments), to * treatments);
      }
    }
  }
  const staticFeatures = Float32Array.from(type, (value) => (value - scaling.type.mean) / scaling.type.std);
  return {
    ...{ rows: rows.rows, steps, treatments, prevTreatments, currentTreatments, prevOutputs, outputs },
    ...{ unscaledOutputs, staticFeatures, active, length },
  };
}

/** What a decoder is given: short rows that start at an origin, and the state that the encoder had there. */
export interface DecoderTensors extends TumourTensors {
  /** [rows]: which row of the encoder's, and the step at which its representation starts the decoder. */
  readonly source: Int32Array;
  readonly step: Int32Array;
}

/**
 * Training rows of a decoder: for each row all origins after which `horizon` days are known.
 *
 * @param horizon Days that the decoder goes ahead.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { tumourCohort } from "tessera/data/mod.ts";
 * const cohort = tumourCohort({ patients: 20, seed: 10, split: "train", gamma: 4 });
 * const { source, step, rows, outputs } = decoderTensors(tumourTensors(cohort, tumourScaling(cohort)), 5);
 * assert.deepEqual([source[0], step[0], outputs.length], [0, 0, 5 * rows]);
 * ```
 */
export function decoderTensors(tensors: TumourTensors, horizon: number): DecoderTensors {
  if (!Number.isInteger(horizon) || horizon < 1 || horizon >= tensors.steps) {
    throw new RangeError(
      `a decoder goes 1 to ${tensors.steps - 1} days ahead in rows of ${tensors.steps}, but the horizon is ${horizon}`,
    );
  }
  const source: number[] = [], step: number[] = [];
  for (let row = 0; row < tensors.rows; row++) {
    for (let t = 1; t < tensors.length[row] - horizon; t++) {
      source.push(row);
      step.push(t - 1);
    }
  }
  return windows(tensors, source, step, horizon);
}

/** Rows of `horizon` steps that start one step after `step`. */
function windows(tensors: TumourTensors, source: number[], step: number[], horizon: number): DecoderTensors {
  const { steps, treatments } = tensors;
  const take = (from: Float32Array, width: number) => {
    const taken = new Float32Array(source.length * horizon * width);
    source.forEach((row, place) => {
      const start = (row * steps + step[place] + 1) * width;
      taken.set(from.subarray(start, start + horizon * width), place * horizon * width);
    });
    return taken;
  };
  return {
    ...{
      rows: source.length,
      steps: horizon,
      treatments,
      source: Int32Array.from(source),
      step: Int32Array.from(step),
    },
    prevTreatments: take(tensors.prevTreatments, treatments),
    currentTreatments: take(tensors.currentTreatments, treatments),
    prevOutputs: take(tensors.prevOutputs, 1),
    outputs: take(tensors.outputs, 1),
    unscaledOutputs: take(tensors.unscaledOutputs, 1),
    staticFeatures: Float32Array.from(source, (row) => tensors.staticFeatures[row]),
    active: take(tensors.active, 1),
    length: new Int32Array(source.length).fill(horizon),
  };
}

/**
 * The last `horizon` steps of rows of test set 2, as a decoder is asked about them: the volume of the origin stands at all
 * of them, because none of the later ones may be looked at.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { sequenceRows, sequenceTestSet, tumourCohort } from "tessera/data/mod.ts";
 * const train = tumourCohort({ patients: 20, seed: 10, split: "train", gamma: 4 });
 * const rows = sequenceRows(sequenceTestSet({ patients: 1, seed: 10, gamma: 4, plans: "sliding" }), [0]);
 * const { outputs, prevOutputs, step } = horizonTensors(tumourTensors(rows, tumourScaling(train)), 5);
 * assert.deepEqual([outputs.length, step[0]], [5, 0]);
 * assert.equal(prevOutputs[4], prevOutputs[0]);
 * ```
 */
export function horizonTensors(tensors: TumourTensors, horizon: number): DecoderTensors {
  const shortest = tensors.length.reduce((least, length) => Math.min(least, length), Infinity);
  if (!Number.isInteger(horizon) || horizon < 1 || horizon >= shortest) {
    throw new RangeError(
      `the test set reaches ${
        shortest - 1
      } days beyond its first origin, but the horizon is ${horizon}; ask for 1 to ` +
        `${shortest - 1}`,
    );
  }
  const source = Array.from({ length: tensors.rows }, (_, row) => row);
  const made = windows(tensors, source, source.map((row) => tensors.length[row] - horizon - 1), horizon);
  made.prevOutputs.forEach((_, at) => {
    const place = Math.floor(at / horizon);
    made.prevOutputs[at] = tensors.prevOutputs[place * tensors.steps + made.step[place]];
  });
  return made;
}

/**
 * Each row once for each of its ends: what a model that reads whole rows is trained on to be asked at any day.
 *
 * @param shortest The first end is after `shortest + 1` steps.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { tumourCohort } from "tessera/data/mod.ts";
 * const cohort = tumourCohort({ patients: 20, seed: 10, split: "train", gamma: 4 });
 * const { length } = explodedTensors(tumourTensors(cohort, tumourScaling(cohort)), 1);
 * assert.deepEqual([length[0], length[1]], [2, 3]);
 * ```
 */
export function explodedTensors(tensors: TumourTensors, shortest: number): TumourTensors {
  const source: number[] = [], length: number[] = [];
  for (let row = 0; row < tensors.rows; row++) {
    for (let t = shortest; t < tensors.length[row]; t++) {
      source.push(row);
      length.push(t + 1);
    }
  }
  const { steps, treatments } = tensors;
  const take = (from: Float32Array, width: number) => {
    const taken = new Float32Array(source.length * steps * width);
    source.forEach((row, place) => {
      const start = row * steps * width;
      taken.set(from.subarray(start, start + length[place] * width), place * steps * width);
    });
    return taken;
  };
  return {
    ...{ rows: source.length, steps, treatments },
    prevTreatments: take(tensors.prevTreatments, treatments),
    currentTreatments: take(tensors.currentTreatments, treatments),
    prevOutputs: take(tensors.prevOutputs, 1),
    outputs: take(tensors.outputs, 1),
    unscaledOutputs: take(tensors.unscaledOutputs, 1),
    staticFeatures: Float32Array.from(source, (row) => tensors.staticFeatures[row]),
    active: take(tensors.active, 1),
    length: Int32Array.from(length),
  };
}
