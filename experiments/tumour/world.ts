/**
 * The tumour benchmark at its size: a training cohort of 10,000, 1,000 patients in each test set, and their scaling.
 *
 * @module
 */
import {
  historyRows,
  type OneStepTestSet,
  oneStepTestSet,
  type SequencePlans,
  type SequenceTestSet,
  sequenceTestSet,
  type TestPolicy,
  type TreatmentMode,
  type TumourCohort,
  tumourCohort,
  type TumourHistories,
  type TumourScaling,
  tumourScaling,
  type TumourTensors,
  tumourTensors,
} from "../../lib/data/mod.ts";
import { random } from "../../lib/random.ts";

/** One seed of the benchmark at one confounding strength. */
export interface TumourWorld {
  readonly gamma: number;
  readonly seed: number;
  readonly train: TumourCohort;
  readonly scaling: TumourScaling;
  /** Trained on. */
  tensors(mode?: TreatmentMode): TumourTensors;
  /** What test patients have been through, for an encoder. */
  historyTensors(histories: TumourHistories, mode?: TreatmentMode): TumourTensors;
  oneStep(): OneStepTestSet;
  sequences(plans: SequencePlans): SequenceTestSet;
}

/** Sizes, where they are not the benchmark's. */
export interface WorldOptions {
  readonly gamma: number;
  readonly seed: number;
  /** Default: 10,000. */
  readonly trainPatients?: number;
  /** Default: 1,000. */
  readonly testPatients?: number;
  readonly testPolicy?: TestPolicy;
}

/** Simulates it; test sets when they are asked for. */
export function tumourWorld(
  { gamma, seed, trainPatients = 10_000, testPatients = 1000, testPolicy = "repo" }: WorldOptions,
): TumourWorld {
  const train = tumourCohort({ patients: trainPatients, seed, split: "train", gamma });
  const scaling = tumourScaling(train);
  const test = { patients: testPatients, seed, gamma, testPolicy };
  return {
    ...{ gamma, seed, train, scaling },
    tensors: (mode = "multiclass") => tumourTensors(train, scaling, { mode }),
    historyTensors: (histories, mode = "multiclass") => tumourTensors(historyRows(histories), scaling, { mode }),
    oneStep: () => oneStepTestSet(test),
    sequences: (plans) => sequenceTestSet({ ...test, plans }),
  };
}

/**
 * Some rows of a test set of plans, drawn without repetition; all of them where there are no more.
 *
 * @param seed The same draws the same rows, so that models can be compared pair by pair.
 */
export function sampleRows(test: SequenceTestSet, count: number, seed: number): SequenceTestSet {
  if (test.rows <= count) return test;
  const { horizon } = test;
  const chosen = random(seed, "rows of a test set").permutation(test.rows).slice(0, count).sort((a, b) => a - b);
  const of = <A extends Int32Array | Uint8Array | Float64Array>(array: A, each: number) => {
    const some = array.slice(0, count * each) as A;
    chosen.forEach((row, place) => some.set(array.subarray(row * each, (row + 1) * each), place * each));
    return some;
  };
  return {
    ...test,
    rows: count,
    patient: of(test.patient, 1),
    day: of(test.day, 1),
    chemo: of(test.chemo, horizon),
    radio: of(test.radio, horizon),
    volume: of(test.volume, horizon),
  };
}
