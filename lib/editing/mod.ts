/**
 * Controllable sequence editing with learned temporal concepts (CLEF): what a trajectory will be at a chosen time under a
 * chosen condition, generated in one step.
 *
 * Li et al., "Controllable Sequence Editing for Biological and Clinical Trajectories", ICLR 2026, arXiv:2502.03569.
 *
 * @module
 */
export { baselines, leastSquares, type VAROptions } from "./baselines.ts";
export { type BatchOptions, type DenseBatch, denseBatch, scalingOf } from "./batch.ts";
export {
  CLEF,
  type CLEFConfig,
  type EncoderConfig,
  type ForwardOptions,
  type Generated,
  parameterCount,
  type Query,
  type Scaling,
} from "./clef.ts";
export {
  conceptHead,
  type ConceptHeadDescription,
  conceptHeadLayer,
  type ConceptHeadParameters,
} from "./concept_head.ts";
export { type Base, baseState, type Decoder, type Joint } from "./concepts.ts";
export { calibrate, type CalibrateOptions, type ConformalIntervals, coverage } from "./conformal.ts";
export {
  type ConceptEdit,
  type Edit,
  type EditedState,
  type EditedTrajectory,
  type EditOptions,
  editTrajectory,
  firstRecords,
  type Moved,
  movedVariables,
  type Provenance,
} from "./edit.ts";
export type { EncoderInput } from "./encoder.ts";
export { type Answerer, evaluate, type Evaluated, type EvaluateOptions, type Task } from "./evaluate.ts";
export { huber } from "./loss.ts";
export { conceptEntropy, type Errors, errorsOf } from "./metrics.ts";
export { presets, type PresetSizes, published } from "./presets.ts";
export { jaccard, spectraSplit, type Split, splitBySimilarity, type SplitOptions } from "./split.ts";
export { type Moments, sinusoidalTable, type TimeEncoding } from "./time_embedding.ts";
export { train, trainAsRepository, type TrainOptions } from "./train.ts";
export { mlstmParallel, mlstmRecurrent, slstm } from "./xlstm.ts";
