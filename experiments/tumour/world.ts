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
