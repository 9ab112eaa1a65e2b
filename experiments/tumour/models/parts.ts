/**
 * What the models of the tumour benchmark share: batches, the LSTM with dropout that stays along a sequence, the head with
 * a balanced representation, losses over what is known. Parameters have the names of the reference's code.
 *
 * Melnychuk, Frauen and Feuerriegel, "Causal Transformer", ICML 2022, arXiv:2204.07258, and its code; golden cases
 * `crn.variational_lstm`, `ct.losses`, `ct.alpha_rise`.
 *
 * @module
 */
import type { TumourTensors } from "../../../lib/data/mod.ts";
import {
  linear,
  type LinearDescription,
  linearLayer,
  type LinearParameters,
  lstm,
  type LSTMDescription,
  lstmLayer,
  type LSTMMasks,
  type LSTMParameters,
  type LSTMState,
  variationalMasks,
} from "../../../lib/nn/mod.ts";
import { foldIn, tf, tidy } from "../../../lib/tensor/mod.ts";
import type { BatchContext, TrainingData } from "../../../lib/train/mod.ts";

/** Rows on the device. */
export interface Batch {
  /** [rows, steps, treatments] */
  readonly prevTreatments: tf.Tensor3D;
  readonly currentTreatments: tf.Tensor3D;
  /** [rows, steps, 1] */
  readonly prevOutputs: tf.Tensor3D;
  readonly outputs: tf.Tensor3D;
  readonly active: tf.Tensor3D;
  /** [rows, 1] */
  readonly staticFeatures: tf.Tensor2D;
}

/** Rows as tensors; the caller frees them. */
export function batchOf(tensors: TumourTensors): Batch {
  const { rows, steps, treatments } = tensors;
  return {
    prevTreatments: tf.tensor3d(tensors.prevTreatments, [rows, steps, treatments]),
    currentTreatments: tf.tensor3d(tensors.currentTreatments, [rows, steps, treatments]),
    prevOutputs: tf.tensor3d(tensors.prevOutputs, [rows, steps, 1]),
    outputs: tf.tensor3d(tensors.outputs, [rows, steps, 1]),
    active: tf.tensor3d(tensors.active, [rows, steps, 1]),
    staticFeatures: tf.tensor2d(tensors.staticFeatures, [rows, 1]),
  };
}

/** Some rows of a batch. */
export function rowsOfBatch(batch: Batch, rows: readonly number[]): Batch {
  return tidy(() => {
    const index = tf.tensor1d([...rows], "int32");
    const entries = Object.entries(batch).map(([name, tensor]) => [name, tf.gather(tensor as tf.Tensor, index)]);
    return Object.fromEntries(entries) as unknown as Batch;
  });
}

/** Examples for `fit`: a batch, what `more` adds to it, and the key of the dropout. */
export function trainingData<More extends unknown[]>(
  batch: Batch,
  more: (rows: readonly number[], context: BatchContext) => More,
): TrainingData<[batch: Batch, key: tf.Tensor1D, ...more: More]> {
  return {
    count: batch.outputs.shape[0],
    batch: (rows, context) => [rowsOfBatch(batch, rows), context.key, ...more(rows, context)],
  };
}

/** Layers of LSTM cells, one on the other. */
export interface RecurrentParameters {
  readonly lstm_layers: readonly LSTMParameters[];
}

/** Describes layers of LSTM cells. */
export function recurrentLayers(inputs: number, hidden: number, layers = 1): { lstm_layers: LSTMDescription[] } {
  const lstm_layers = Array.from({ length: layers }, (_, k) => lstmLayer(k === 0 ? inputs : hidden, hidden));
  return { lstm_layers };
}

/** Dropout of a training step. */
export interface Drop {
  readonly rate: number;
  readonly key: tf.Tensor1D;
}

/** Options of {@link variationalLSTM}. */
export interface VariationalOptions {
  /** [rows, hidden]: what both the hidden state and the cell of every layer start from. Default: zeros. */
  readonly initState?: tf.Tensor2D | undefined;
  /** Absent: none, as in prediction. */
  readonly drop?: Drop | undefined;
  /** Masks instead of those that `drop` would draw, the same for each layer. */
  readonly masks?: LSTMMasks | undefined;
}

/**
 * LSTM layers with one dropout mask per sequence for what a step gives out, its hidden state and its cell.
 *
 * @returns [rows, steps, hidden]
 */
export function variationalLSTM(
  x: tf.Tensor3D,
  { lstm_layers }: RecurrentParameters,
  { initState, drop, masks: given }: VariationalOptions = {},
): tf.Tensor3D {
  return lstm_layers.reduce((input, layer, k) => {
    const masks = given ??
      (drop && variationalMasks(x.shape[0], layer.weight_hh.shape[1], drop.rate, foldIn(drop.key, k)));
    const state = initState && { h: initState, c: initState };
    return lstm(input, layer, { state, masks, form: "cells" }).x;
  }, x);
}

/** Hidden state and cell before each step of a sequence, [rows, steps, hidden] each: to ask "what if" at every step. */
export function statesBefore(x: tf.Tensor3D, layer: LSTMParameters): { h: tf.Tensor3D; c: tf.Tensor3D } {
  return tidy(() => {
    const [rows, steps] = x.shape;
    const hidden = layer.weight_hh.shape[1];
    let state: LSTMState = { h: tf.zeros([rows, hidden]), c: tf.zeros([rows, hidden]) };
    const states: LSTMState[] = [];
    for (const input of tf.split(x, steps, 1) as tf.Tensor3D[]) {
      states.push(state);
      state = lstm(input, layer, { state, form: "cells" }).state;
    }
    const stack = (part: "h" | "c") => tf.stack(states.map((each) => each[part]), 1) as tf.Tensor3D;
    return { h: stack("h"), c: stack("c") };
  });
}

/** One more step from given states, for each row: [rows, inputs] to the hidden state and cell after it. */
export function stepFrom(x: tf.Tensor2D, layer: LSTMParameters, state: LSTMState): LSTMState {
  return lstm(x.expandDims<tf.Tensor3D>(1), layer, { state, form: "cells" }).state;
}

/** The head of CRN and the Causal Transformer. */
export interface BalancedHeadParameters {
  /** To the balanced representation. */
  readonly linear1: LinearParameters;
  /** From it to the treatment. */
  readonly linear2: LinearParameters;
  readonly linear3: LinearParameters;
  /** From it and the treatment to the outcome. */
  readonly linear4: LinearParameters;
  readonly linear5: LinearParameters;
}

/** Sizes of a {@link BalancedHeadParameters}. */
export interface HeadSizes {
  readonly hidden: number;
  readonly br: number;
  readonly fc: number;
  /** Default: 4. */
  readonly treatments?: number;
}

/** Describes the head. */
export function balancedHead({ hidden, br, fc, treatments = 4 }: HeadSizes): Record<
  keyof BalancedHeadParameters,
  LinearDescription
> {
  return {
    linear1: linearLayer(hidden, br),
    linear2: linearLayer(br, fc),
    linear3: linearLayer(fc, treatments),
    linear4: linearLayer(br + treatments, fc),
    linear5: linearLayer(fc, 1),
  };
}

/** The balanced representation of what an encoder gives, [rows, steps, br]. */
export function representation(
  encoded: tf.Tensor3D,
  { linear1 }: Pick<BalancedHeadParameters, "linear1">,
): tf.Tensor3D {
  return tf.elu(linear(encoded, linear1));
}

/** Which treatment the representation suggests, [rows, steps, treatments]. */
export function treatmentLogits(br: tf.Tensor3D, { linear2, linear3 }: BalancedHeadParameters): tf.Tensor3D {
  return linear(tf.elu(linear(br, linear2)), linear3);
}

/** The outcome under a treatment, [rows, steps, 1]. */
export function outcomeOf(
  br: tf.Tensor3D,
  treatment: tf.Tensor3D,
  { linear4, linear5 }: Pick<BalancedHeadParameters, "linear4" | "linear5">,
): tf.Tensor3D {
  return linear(tf.elu(linear(tf.concat([br, treatment], 2), linear4)), linear5);
}

/**
 * x itself, but its gradient comes back turned round and multiplied by alpha.
 *
 * Ganin and Lempitsky, "Unsupervised Domain Adaptation by Backpropagation", ICML 2015, arXiv:1409.7495.
 */
export function reverseGradient<T extends tf.Tensor>(x: T, alpha: tf.Scalar): T {
  const turned = tf.customGrad((x, save) => {
    (save as tf.GradSaveFunc)([alpha]);
    return {
      value: (x as tf.Tensor).clone(),
      gradFunc: (slope: tf.Tensor, [alpha]: tf.Tensor[]) => slope.mul(alpha).neg(),
    };
  });
  return turned(x) as T;
}

/** Mean squared error over the active entries. */
export function squaredError(predicted: tf.Tensor3D, { outputs, active }: Batch): tf.Scalar {
  return tf.div<tf.Scalar>(predicted.sub(outputs).square().mul(active).sum(), active.sum());
}

/** Mean over the active entries of a number for each, [rows, steps]. */
export function overActive(values: tf.Tensor, { active }: Pick<Batch, "active">): tf.Scalar {
  return tf.div<tf.Scalar>(values.mul(active.squeeze([2])).sum(), active.sum());
}

/**
 * Cross-entropy of one-hot treatments, [rows, steps].
 *
 * @param weights [treatments]: what each class counts; they are not divided by their sum.
 */
export function treatmentError(logits: tf.Tensor3D, treatments: tf.Tensor3D, weights?: tf.Tensor1D): tf.Tensor2D {
  const each = treatments.mul(tf.logSoftmax(logits));
  return (weights ? each.mul(weights) : each).sum<tf.Tensor2D>(2).neg();
}

/** Cross-entropy against "each treatment is as likely", [rows, steps]. */
export function confusionError(logits: tf.Tensor3D): tf.Tensor2D {
  return tf.logSoftmax(logits).mean<tf.Tensor2D>(2).neg();
}

/** How dear balancing is in an epoch (from 0): rises from 0 towards `most`. */
export function risingAlpha(epoch: number, epochs: number, most = 1): number {
  return most * (2 / (1 + Math.exp(-10 * epoch / epochs)) - 1);
}
