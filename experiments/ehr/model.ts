/**
 * What every model of health records is here: something that gives a logit per label, may be trained on the records
 * themselves before it sees a label, and can be switched apart into what makes it what it is.
 *
 * @module
 */
import { countParameters } from "../../lib/nn/mod.ts";
import { flatten, tf, tidy } from "../../lib/tensor/mod.ts";
import type { RecordBatch, Records } from "./records.ts";

/** A stage of training. */
export interface Stage<Batch = RecordBatch> {
  /** What is learnt, in the paper's words. */
  readonly name: string;
  readonly loss: (batch: Batch, key: tf.Tensor1D) => tf.Scalar;
  /** Share of the epochs of {@link TrainOptions}. */
  readonly epochs?: number;
}

/** A model. `Batch` is what it reads: visits as they are, or what it makes of them. */
export interface EHRModel<Batch = RecordBatch> {
  readonly name: string;
  /** Variables are trained. */
  readonly parameters: object;
  /** In turn: pre-training first, the stage with labels last. */
  readonly stages: readonly Stage<Batch>[];
  /** What it reads of some records, where that is not a batch of visits. */
  batch?(records: Records, rows: readonly number[]): Batch;
  /**
   * A logit per label, [batch, labels]; absent where probabilities come otherwise.
   *
   * @param key For dropout; absent when the model is used.
   */
  logits?(batch: Batch, key?: tf.Tensor1D): tf.Tensor2D;
  /** Where probabilities do not come from logits (ETHOS counts sampled futures). [rows][labels] */
  predict?(records: Records, rows: readonly number[], seed: number): Promise<number[][]>;
  dispose(): void;
}

/**
 * Mean binary cross-entropy of logits, in the form that does not overflow.
 *
 * @param logits [rows, labels]
 * @param labels [rows, labels], 0 or 1.
 */
export function binaryCrossEntropy(logits: tf.Tensor, labels: tf.Tensor): tf.Scalar {
  return tidy(() =>
    tf.relu(logits).sub(logits.mul(labels)).add(tf.log1p(logits.abs().neg().exp())).mean() as tf.Scalar
  );
}

/**
 * Mean cross-entropy over the places that have a label: a negative label does not count.
 *
 * @param logits [..., classes]
 * @param labels int32 [...]
 */
export function maskedCrossEntropy(logits: tf.Tensor, labels: tf.Tensor): tf.Scalar {
  return tidy(() => {
    const counted = tf.greaterEqual(labels, tf.scalar(0, "int32")).cast("float32").flatten();
    const classes = logits.shape.at(-1)!;
    const chosen = tf.maximum(labels, tf.scalar(0, "int32")).flatten();
    const logProbability = tf.logSoftmax(logits.reshape<tf.Tensor2D>([labels.size, classes]));
    // a product with one-hot rows: its gradient is another product, where a gather's would be a scatter
    const own = logProbability.mul(tf.oneHot(chosen.toInt() as tf.Tensor1D, classes)).sum(1);
    return tf.div<tf.Scalar>(own.mul(counted).sum().neg(), tf.maximum(counted.sum(), 1));
  });
}

/** 1 where there is a code, [batch, visits, codes]. */
export function codeMask({ codes }: RecordBatch): tf.Tensor3D {
  return tidy(() => tf.greater(codes, tf.scalar(0, "int32")).cast("float32") as tf.Tensor3D);
}

/** 1 where there is a visit, [batch, visits]. */
export function visitMask({ visitKind }: Pick<RecordBatch, "visitKind">): tf.Tensor2D {
  return tidy(() => tf.greater(visitKind, tf.scalar(0, "int32")).cast("float32") as tf.Tensor2D);
}

/** Frees what a model has. */
export function disposeParameters(parameters: object): void {
  tf.dispose([...flatten(parameters).values()]);
}

/** A line on a model: its name and size. */
export function describe(model: Pick<EHRModel, "name" | "parameters">): string {
  return `${model.name}: ${countParameters(model.parameters).toLocaleString("en")} parameters`;
}
