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

/** Days ahead that the delayed model is made for. */
export const FURTHEST_AHEAD = 6;
const TREATMENTS = 4;
/** Numbers of its condition: the planned treatments, zeros after the last, and which day is asked about. */
const AHEAD_WIDTH = FURTHEST_AHEAD * TREATMENTS + FURTHEST_AHEAD;

/** Describes the model of delayed edits: any of the next six days in one step, under the plan until then. */
export function clefAheadLayers({ hidden, br, fc }: HeadSizes): ReturnType<typeof clefLayers> {
  return {
    lstm: recurrentLayers(TREATMENTS + 2, hidden),
    linear1: linearLayer(hidden, br),
    // a linear gate of "which day" is an embedding of it
    head: conceptHeadLayer({ width: br, condition: AHEAD_WIDTH, hidden: fc, variables: 1 }),
  };
}

/**
 * The condition of a day ahead.
 *
 * @param plan One-hot treatments from the origin on, each [rows, 4]; as many as there are days to go.
 * @returns [rows, 30]
 */
export function aheadCondition(plan: readonly tf.Tensor2D[]): tf.Tensor2D {
  if (plan.length < 1 || plan.length > FURTHEST_AHEAD) {
    throw new RangeError(`the model was made for 1 to ${FURTHEST_AHEAD} days ahead, but the plan has ${plan.length}`);
  }
  const rows = plan[0].shape[0];
  const rest = tf.zeros<tf.Rank.R2>([rows, (FURTHEST_AHEAD - plan.length) * TREATMENTS]);
  const which = tf.tile(tf.oneHot(tf.tensor1d([plan.length - 1], "int32"), FURTHEST_AHEAD).cast("float32"), [rows, 1]);
  return tf.concat([...plan, ...(rest.size ? [rest] : []), which as tf.Tensor2D], 1) as tf.Tensor2D;
}

/** Squared error over all origins and the next six days, as far as they are known. */
export function clefAheadLoss(
  batch: Batch,
  parameters: TumourCLEFParameters,
  scaling: TumourScaling,
  options?: VariationalOptions,
): tf.Scalar {
  const { currentTreatments, prevOutputs, outputs, active } = batch;
  const [rows, steps] = prevOutputs.shape;
  const br = clefRepresentation(batch, parameters, options);
  const until = (x: tf.Tensor3D, end: number) => x.slice([0, 0, 0], [-1, end, -1]) as tf.Tensor3D;
  const sums: tf.Tensor[] = [], counts: tf.Tensor[] = [];
  for (let ahead = 1; ahead <= FURTHEST_AHEAD; ahead++) {
    const origins = steps - ahead + 1;
    const later = (x: tf.Tensor3D, by: number) => x.slice([0, by, 0], [-1, origins, -1]) as tf.Tensor3D;
    const plan = Array.from(
      { length: ahead },
      (_, k) => later(currentTreatments, k).reshape<tf.Tensor2D>([rows * origins, TREATMENTS]),
    );
    const condition = aheadCondition(plan).reshape<tf.Tensor3D>([rows, origins, AHEAD_WIDTH]);
    const { outcome } = clefOutcome(until(br, origins), condition, until(prevOutputs, origins), parameters, scaling);
    const known = later(active, ahead - 1);
    sums.push(outcome.sub(later(outputs, ahead - 1)).square().mul(known).sum());
    counts.push(known.sum());
  }
  return tf.div<tf.Scalar>(tf.addN(sums), tf.addN(counts));
}
