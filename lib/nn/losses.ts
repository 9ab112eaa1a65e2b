/**
 * Losses and measures of classifiers, as tensors: they can stand inside a compiled training step.
 *
 * @module
 */
import { gatherTokens, tf, tidy } from "../tensor/mod.ts";

/** Options of {@link crossEntropy}. */
export interface CrossEntropyOptions {
  /** Label smoothing: this much of the probability is spread evenly over all classes. Default: 0. */
  readonly smoothing?: number;
  /** [rows]: what each row counts; the loss is the weighted mean. Default: all 1. */
  readonly weights?: tf.Tensor | undefined;
}

/**
 * Mean cross-entropy, as PyTorch's `cross_entropy`: minus the logarithm of the probability that softmax gives the class.
 *
 * Label smoothing: Szegedy et al., "Rethinking the Inception Architecture", CVPR 2016, arXiv:1512.00567, section 7.
 *
 * @param logits [rows, classes], or with more dimensions in front.
 * @param labels int32, [rows], each from 0 to classes - 1.
 * @throws {RangeError} If the shapes do not fit.
 * @throws {Error} If a label is out of range (on a GPU it is noticed in compiled functions only).
 *
 * @example Two classes that are equally likely
 * ```ts
 * import assert from "node:assert/strict";
 * import { tf } from "tessera/tensor/mod.ts";
 * const loss = crossEntropy(tf.zeros([1, 2]), tf.tensor1d([1], "int32")).dataSync()[0];
 * assert.ok(Math.abs(loss - Math.log(2)) < 1e-6);
 * ```
 */
export function crossEntropy(
  logits: tf.Tensor,
  labels: tf.Tensor,
  { smoothing = 0, weights }: CrossEntropyOptions = {},
): tf.Scalar {
  if (!(smoothing >= 0 && smoothing < 1)) {
    throw new RangeError(`label smoothing must lie in [0, 1), but it is ${smoothing}`);
  }
  if (labels.dtype !== "int32" || labels.shape.join() !== logits.shape.slice(0, -1).join()) {
    throw new RangeError(
      `labels must be int32 of shape [${logits.shape.slice(0, -1)}], one for each row of logits, but they are ` +
        `${labels.dtype} of shape [${labels.shape}]`,
    );
  }
  return tidy(() => {
    const classes = logits.shape.at(-1)!;
    const logProbability = tf.logSoftmax(logits.reshape([labels.size, classes]));
    const place = labels.reshape<tf.Tensor2D>([labels.size, 1]);
    let losses = gatherTokens(logProbability as tf.Tensor2D, place).flatten().neg();
    if (smoothing > 0) losses = losses.mul<tf.Tensor1D>(1 - smoothing).sub(logProbability.mean(-1).mul(smoothing));
    if (!weights) return losses.mean() as tf.Scalar;
    const counts = weights.flatten();
    return tf.div<tf.Scalar>(losses.mul(counts).sum(), counts.sum());
  });
}

/**
 * How many rows have their highest logit at the label, as a fraction; a tensor, so that it can be a metric of a step.
 *
 * @param logits [rows, classes], or with more dimensions in front.
 * @param labels int32, [rows].
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { tf } from "tessera/tensor/mod.ts";
 * const hits = fractionRight(tf.tensor2d([[1, 0], [1, 0]]), tf.tensor1d([0, 1], "int32"));
 * assert.equal(hits.arraySync(), 0.5);
 * ```
 */
export function fractionRight(logits: tf.Tensor, labels: tf.Tensor): tf.Scalar {
  return tidy(() => tf.equal(logits.argMax(-1).toInt(), labels).cast("float32").mean() as tf.Scalar);
}
