/**
 * What every sequence encoder is given, and what several of them need.
 *
 * @module
 */
import { tf } from "../tensor/mod.ts";
import type { Moments, TimeEncoding } from "./time_embedding.ts";

/** Histories as an encoder sees them. */
export interface EncoderInput extends Moments {
  /** [batch, records, variables]: the records; what stands in a missing cell is seen as it is. */
  readonly x: tf.Tensor3D;
  /** [batch, records, variables]: 1 where a value was observed, 0 where it is missing. */
  readonly observed: tf.Tensor3D;
  /** int32, [batch]: how many records belong to each history; absent: all of them. */
  readonly length?: tf.Tensor1D;
}

/** How an encoder is run. */
export interface EncoderRun {
  readonly time: TimeEncoding;
  /** Records of the longest history that the model was made for. */
  readonly records: number;
  /** Follow the authors' code where it differs. */
  readonly parity: boolean;
  /** Key of the dropout; absent: none is dropped, as in prediction. */
  readonly key?: tf.Tensor1D;
}

/** [batch, records], 1 for the records of a history, 0 for what stands behind them. */
export function withinLength(batch: number, records: number, length: tf.Tensor1D | undefined): tf.Tensor2D {
  if (!length) return tf.ones([batch, records]);
  return tf.less(tf.range(0, records, 1, "int32").expandDims(0), length.expandDims(1)).cast("float32") as tf.Tensor2D;
}

/** The last record of each history: [batch, records, width] to [batch, width]. */
export function atLength(x: tf.Tensor3D, length: tf.Tensor1D | undefined): tf.Tensor2D {
  const [batch, records, width] = x.shape;
  if (!length) return x.slice([0, records - 1, 0], [-1, 1, -1]).reshape([batch, width]);
  // as a product with a row of one 1: a gather would have to be read on the way back
  const last = tf.equal(
    tf.range(0, records, 1, "int32").expandDims(0),
    length.sub(tf.scalar(1, "int32")).expandDims(1),
  );
  return tf.mul(x, last.cast("float32").expandDims(2)).sum(1) as tf.Tensor2D;
}
