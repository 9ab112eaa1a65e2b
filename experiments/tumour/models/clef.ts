/**
 * CLEF's head on the encoder of CRN: the next volume is the present one times a concept, a ratio that the history and the
 * treatment decide. No balancing.
 *
 * Li et al., "Controllable Sequence Editing for Biological and Clinical Trajectories", ICLR 2026, arXiv:2502.03569. How the
 * authors adapt CLEF to this benchmark is not published; this is our reading, of which our specification has measurements.
 * It is a control for CRN (`crn.encoder`): the same encoder, sizes and learning rate, another head.
 *
 * @module
 */
import type { TumourScaling } from "../../../lib/data/mod.ts";
import {
  conceptHead,
  type ConceptHeadDescription,
  conceptHeadLayer,
  type ConceptHeadParameters,
} from "../../../lib/editing/mod.ts";
import { type LinearDescription, linearLayer, type LinearParameters } from "../../../lib/nn/mod.ts";
import { tf, tidy } from "../../../lib/tensor/mod.ts";
import { historyInput } from "./crn.ts";
import {
  type Batch,
  type HeadSizes,
  recurrentLayers,
  type RecurrentParameters,
  representation,
  squaredError,
  variationalLSTM,
  type VariationalOptions,
} from "./parts.ts";

/** Parameters. */
export interface TumourCLEFParameters {
  readonly lstm: RecurrentParameters;
  readonly linear1: LinearParameters;
  readonly head: ConceptHeadParameters;
}

/** Describes the model, with the sizes of a CRN. */
export function clefLayers({ hidden, br, fc, treatments = 4 }: HeadSizes): {
  lstm: ReturnType<typeof recurrentLayers>;
  linear1: LinearDescription;
  head: ConceptHeadDescription;
} {
  return {
    lstm: recurrentLayers(treatments + 2, hidden),
    linear1: linearLayer(hidden, br),
    head: conceptHeadLayer({ width: br, condition: treatments, hidden: fc, variables: 1 }),
  };
}

/** What the encoder says at each step, [rows, steps, br]. */
export function clefRepresentation(
  batch: Batch,
  { lstm, linear1 }: TumourCLEFParameters,
  options?: VariationalOptions,
): tf.Tensor3D {
  return tidy(() => representation(variationalLSTM(historyInput(batch), lstm, options), { linear1 }));
}

/**
 * The next volume as a z-score, [rows, steps, 1], and the concept that made it of the present volume.
 *
 * @param prevOutputs [rows, steps, 1], z-scores of the present volume.
 */
export function clefOutcome(
  br: tf.Tensor3D,
  treatment: tf.Tensor3D,
  prevOutputs: tf.Tensor3D,
  { head }: TumourCLEFParameters,
  { volume: { mean, std } }: TumourScaling,
): { outcome: tf.Tensor3D; concept: tf.Tensor3D } {
  return tidy(() => {
    const flat = (x: tf.Tensor3D) => x.reshape<tf.Tensor2D>([-1, x.shape[2]]);
    const present = flat(prevOutputs).mul(std).add<tf.Tensor2D>(mean); // in cm³: a ratio of z-scores means nothing
    const { state, concept } = conceptHead(flat(br), flat(treatment), present, head);
    const outcome = state.sub(mean).div(std).reshape<tf.Tensor3D>(prevOutputs.shape);
    return { outcome, concept: concept.reshape<tf.Tensor3D>(prevOutputs.shape) };
  });
}

/** Squared error of the outcome, in standard deviations. */
export function clefLoss(
  batch: Batch,
  parameters: TumourCLEFParameters,
  scaling: TumourScaling,
  options?: VariationalOptions,
): tf.Scalar {
  const br = clefRepresentation(batch, parameters, options);
  const { outcome } = clefOutcome(br, batch.currentTreatments, batch.prevOutputs, parameters, scaling);
  return squaredError(outcome, batch);
}
