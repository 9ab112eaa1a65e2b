/**
 * MedTok's losses: alignment of the two modalities, and the packing losses that tell shared from specific information.
 *
 * Su et al., "Multimodal Medical Code Tokenizer", ICML 2025, arXiv:2502.04397, section 3.3; the packing losses after Wang et
 * al., "An information criterion for controlled disentanglement of multimodal data", arXiv:2410.23996. Checked against the
 * authors' code (tests/golden, `medtok.info_nce_loss`, `medtok.orthogonal_loss`, `medtok.alignment_loss`,
 * `medtok.shared_loss`, `medtok.specific_loss`, `medtok.compute_entropy_loss`). The paper prints the specific loss with the
 * superscripts of the shared one, against its own equations 8 and 9; the code's is taken.
 *
 * @module
 */
import { tf, tidy } from "../tensor/mod.ts";
import { codewordDistances, type Region, unitRows } from "./codebook.ts";

/** Options of {@link infoNCE}. */
export interface InfoNCEOptions {
  /** Default: 0.07. */
  readonly temperature?: number;
  /** Rows that compete with each other, in a row; the authors' GPUs see 256 each. Default: the whole batch. */
  readonly group?: number;
  /**
   * int32, [batch]: rows with equal numbers are the same thing, and are not told apart as negatives. Default: all differ.
   */
  readonly same?: tf.Tensor1D | undefined;
}

/** Takes a pair out of the softmax. */
const NEVER = -1e9;

/**
 * InfoNCE: how much better each query finds its own key than the other keys of the batch. 0 for one row, the logarithm of
 * the number of rows where all rows are equal.
 *
 * van den Oord et al., "Representation Learning with Contrastive Predictive Coding", arXiv:1807.03748, equation 4; cosine,
 * in one direction.
 *
 * @param queries [batch, d]
 * @param keys [batch, d]: row i belongs to query i.
 * @throws {RangeError} Where the batch is not a whole number of groups.
 *
 * @example Two rows that are told apart by nothing
 * ```ts
 * import assert from "node:assert/strict";
 * import { tf } from "tessera/tensor/mod.ts";
 * const rows = tf.tensor2d([[1, 0], [1, 0]]);
 * assert.ok(Math.abs(infoNCE(rows, rows).arraySync() - Math.log(2)) < 1e-6);
 * ```
 */
export function infoNCE(queries: tf.Tensor2D, keys: tf.Tensor2D, options: InfoNCEOptions = {}): tf.Scalar {
  const [batch, d] = queries.shape;
  const { temperature = 0.07, group = batch, same } = options;
  if (batch % group !== 0) {
    throw new RangeError(`a batch of ${batch} is no whole number of groups of ${group}; make it a multiple`);
  }
  return tidy(() => {
    const grouped = (x: tf.Tensor2D) => unitRows(x).reshape<tf.Tensor3D>([batch / group, group, d]);
    const cosine = tf.matMul(grouped(queries), grouped(keys), false, true);
    const place = tf.range(0, group, 1, "int32"); // tf.eye is made in JavaScript, too large a constant for a trace
    const diagonal = tf.equal(place.expandDims(1), place.expandDims(0)).cast("float32").expandDims<tf.Tensor3D>(0);
    let logits = cosine.div<tf.Tensor3D>(temperature);
    if (same) {
      const numbers = same.reshape<tf.Tensor2D>([batch / group, group]);
      const equal = tf.equal(numbers.expandDims(2), numbers.expandDims(1)).cast("float32");
      logits = logits.add(equal.sub(equal.mul(diagonal)).mul(NEVER));
    }
    return tf.sub<tf.Scalar>(0, tf.logSoftmax(logits).mul(diagonal).sum().div(batch)); // not neg(), which makes -0 of 0
  });
}

/**
 * Orthogonality of two sets of vectors: the Frobenius norm of `PᵀQ`, 0 where what the rows of one span over the batch is
 * orthogonal to the other's. Not normalised: it grows with the batch and with the vectors.
 *
 * @param P [batch, d]
 * @param Q [batch, d]
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { tf } from "tessera/tensor/mod.ts";
 * const [p, q] = [tf.tensor2d([[3, 0]]), tf.tensor2d([[0, 4]])];
 * assert.equal(orthogonality(p, q).arraySync(), 12); // one row: the product of the lengths
 * ```
 */
export function orthogonality(P: tf.Tensor2D, Q: tf.Tensor2D): tf.Scalar {
  // below the root a number that float32 cannot tell from 0, so that the gradient at 0 is finite
  return tidy(() => tf.matMul(P, Q, true, false).square().sum().add(1e-24).sqrt() as tf.Scalar);
}

/**
 * Mean inner product of the rows of two sets of vectors.
 *
 * @param a [batch, d]
 * @param b [batch, d]
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { tf } from "tessera/tensor/mod.ts";
 * assert.equal(meanInnerProduct(tf.tensor2d([[1, 2], [0, 1]]), tf.tensor2d([[1, 2], [5, 1]])).arraySync(), 3);
 * ```
 */
export function meanInnerProduct(a: tf.Tensor2D, b: tf.Tensor2D): tf.Scalar {
  return tidy(() => tf.mul(a, b).sum(1).mean() as tf.Scalar);
}

/**
 * Mean cosine of the rows of two sets of vectors.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { tf } from "tessera/tensor/mod.ts";
 * assert.equal(meanCosine(tf.tensor2d([[2, 0], [0, 3]]), tf.tensor2d([[5, 0], [1, 0]])).arraySync(), 0.5);
 * ```
 */
export function meanCosine(a: tf.Tensor2D, b: tf.Tensor2D): tf.Scalar {
  return tidy(() => meanInnerProduct(unitRows(a), unitRows(b)));
}

/**
 * KL alignment: how far the two modalities' distributions over the shared codewords are apart, averaged over the batch.
 *
 * In the paper only (section 3.2), without rows, temperature or reduction; in no version of the code.
 *
 * @param text [batch, d], before quantisation.
 * @param graph [batch, d]
 * @param codebook [N, d]
 * @param region The rows. Default: all.
 * @param temperature Default: 1, with which both distributions are nearly uniform.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { tf } from "tessera/tensor/mod.ts";
 * const codebook = tf.tensor2d([[1, 0], [0, 1]]);
 * const x = tf.tensor2d([[1, 2]]);
 * assert.equal(klAlignment(x, x.mul(7), codebook).arraySync(), 0); // the same direction
 * ```
 */
export function klAlignment(
  text: tf.Tensor2D,
  graph: tf.Tensor2D,
  codebook: tf.Tensor2D,
  region?: Region,
  temperature = 1,
): tf.Scalar {
  return tidy(() => {
    const logOf = (embedding: tf.Tensor2D) =>
      tf.logSoftmax(codewordDistances(embedding, codebook, region).div<tf.Tensor2D>(-temperature));
    const [p, q] = [logOf(text), logOf(graph)];
    return tf.mul(p.exp(), tf.sub(p, q)).sum(1).mean() as tf.Scalar;
  });
}

/**
 * How evenly codewords are used: the mean entropy of single choices minus the entropy of the mean choice. Negative where
 * each choice is sharp and together they cover the codebook. Built into the authors' code with weight 0, and an option here.
 *
 * @param affinity [batch, rows]: larger is nearer.
 * @param temperature Default: 0.01.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { tf } from "tessera/tensor/mod.ts";
 * const both = usageEntropyLoss(tf.tensor2d([[1, 0], [0, 1]]));
 * assert.ok(Math.abs(both.arraySync() + Math.log(2)) < 1e-3);
 * ```
 */
export function usageEntropyLoss(affinity: tf.Tensor2D, temperature = 0.01): tf.Scalar {
  return tidy(() => {
    const scaled = affinity.div<tf.Tensor2D>(temperature);
    const p = tf.softmax(scaled);
    const mean = p.mean<tf.Tensor1D>(0);
    const single = tf.mul(p, tf.logSoftmax(scaled)).sum(1).mean().neg();
    const together = mean.mul(mean.add(1e-5).log()).sum().neg();
    return tf.sub<tf.Scalar>(single, together);
  });
}

/** Both directions of the shared loss and what is subtracted. */
export interface SharedLoss {
  /** InfoNCE from text to graph, and back. */
  readonly textToGraph: tf.Scalar;
  readonly graphToText: tf.Scalar;
  /** Mean cosine of what is aligned. */
  readonly alignment: tf.Scalar;
}

/**
 * The shared part of the packing loss: each modality's shared vector should find the other's; `beta` times twice the
 * alignment is subtracted by the caller (paper, equations 6 and 7).
 *
 * @param text [batch, d], the quantised shared vector of the text.
 * @param graph [batch, d]
 * @param aligned What the alignment is taken of: in the code the pooled encoder features, in the paper the shared embeddings.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { tf } from "tessera/tensor/mod.ts";
 * const x = tf.tensor2d([[1, 0], [0, 1]]);
 * const { textToGraph, alignment } = sharedLoss(x, x, [x, x]);
 * assert.ok(textToGraph.arraySync() < 1e-5);
 * assert.equal(alignment.arraySync(), 1);
 * ```
 */
export function sharedLoss(
  text: tf.Tensor2D,
  graph: tf.Tensor2D,
  aligned: readonly [tf.Tensor2D, tf.Tensor2D],
  options: InfoNCEOptions = {},
): SharedLoss {
  return tidy(() => ({
    textToGraph: infoNCE(text, graph, options),
    graphToText: infoNCE(graph, text, options),
    alignment: meanCosine(...aligned),
  }));
}

/** One modality's part of the specific loss. */
export interface SpecificLoss {
  /** InfoNCE between two views of the same codes, each beside the other modality's shared vector. */
  readonly views: tf.Scalar;
  /** How far the specific vector repeats the shared one. */
  readonly overlap: tf.Scalar;
}

/**
 * The specific part of the packing loss for one modality: together with the other modality's shared vector, the specific
 * vector should tell codes apart, and not repeat what its own modality shares (paper, equations 8 and 9).
 *
 * @param specific [batch, d], quantised.
 * @param augmented [batch, d], the same of the augmented view.
 * @param otherShared [batch, d], the other modality's shared vector.
 * @param ownShared [batch, d], this modality's.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { tf } from "tessera/tensor/mod.ts";
 * const [x, y] = [tf.tensor2d([[1, 0]]), tf.tensor2d([[0, 1]])];
 * assert.equal(specificLoss(x, x, y, y).views.arraySync(), 0); // one row has no rival
 * ```
 */
export function specificLoss(
  specific: tf.Tensor2D,
  augmented: tf.Tensor2D,
  otherShared: tf.Tensor2D,
  ownShared: tf.Tensor2D,
  options: InfoNCEOptions = {},
): SpecificLoss {
  return tidy(() => ({
    views: infoNCE(tf.concat([specific, otherShared], 1), tf.concat([augmented, otherShared], 1), options),
    overlap: orthogonality(specific, ownShared),
  }));
}
