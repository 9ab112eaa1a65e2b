/**
 * Errors of generated states: as the authors' code computes them, and pooled.
 *
 * Li et al., "Controllable Sequence Editing for Biological and Clinical Trajectories", ICLR 2026, arXiv:2502.03569. The
 * authors' numbers are unweighted means over pairs of batch and target (`clef.metrics`, `clef.evaluate`): they depend on the
 * batch size, and variables with large units decide them. The pooled ones count every value once, and `nMAE` is in
 * standard deviations of the training set.
 *
 * @module
 */

/** Errors over some values. */
export interface Errors {
  /** Coefficient of determination, 1 - residual / total sum of squares; over variables in different units it is flattering. */
  readonly r2: number;
  readonly rmse: number;
  readonly mae: number;
  /** Mean of |error| / |value|. */
  readonly mape: number;
  /** Cosine of the two vectors. */
  readonly similarity: number;
  /** How many values. */
  readonly count: number;
}

/** The smallest size that a value is divided by, float64's rounding unit, as in scikit-learn. */
const SMALLEST = 2 ** -52;

/**
 * Errors of predictions.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * const { mae, rmse, r2 } = errorsOf([1, 3], [2, 3]);
 * assert.deepEqual([mae, rmse, r2], [0.5, Math.SQRT1_2, 0.5]);
 * ```
 */
export function errorsOf(truth: ArrayLike<number>, predicted: ArrayLike<number>): Errors {
  const count = truth.length;
  if (predicted.length !== count) {
    throw new RangeError(
      `there are ${count} values and ${predicted.length} predictions; pass as many of one as of the other`,
    );
  }
  let [absolute, squares, relative, mean] = [0, 0, 0, 0];
  let [dot, ofTruth, ofPredicted] = [0, 0, 0];
  for (let i = 0; i < count; i++) {
    const error = predicted[i] - truth[i];
    absolute += Math.abs(error);
    squares += error ** 2;
    relative += Math.abs(error) / Math.max(Math.abs(truth[i]), SMALLEST);
    mean += truth[i] / count;
    dot += truth[i] * predicted[i];
    ofTruth += truth[i] ** 2;
    ofPredicted += predicted[i] ** 2;
  }
  let total = 0;
  for (let i = 0; i < count; i++) total += (truth[i] - mean) ** 2;
  return {
    r2: 1 - squares / total,
    rmse: Math.sqrt(squares / count),
    mae: absolute / count,
    mape: relative / count,
    similarity: dot / Math.sqrt(ofTruth * ofPredicted),
    count,
  };
}

/**
 * How spread concepts are, in nats. The authors' diagnostic: they make the concepts of a subject sum to 1 and then take the
 * entropy along the wrong axis, so that it is that of each variable over the subjects, averaged over variables
 * (`over: "subjects"`). `over: "variables"` is what was meant.
 *
 * @param concepts One row per subject.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * assert.equal(conceptEntropy([[1, 1], [1, 1]], "variables"), Math.LN2);
 * ```
 */
export function conceptEntropy(concepts: readonly ArrayLike<number>[], over: "subjects" | "variables"): number {
  const shares = concepts.map((row) => normalised(Array.from(row, Math.abs)));
  const lists = over === "variables" ? shares : shares[0].map((_, v) => normalised(shares.map((row) => row[v])));
  const entropies = lists.map((list) =>
    list.reduce((sum, share) => share > 0 ? sum - share * Math.log(share) : sum, 0)
  );
  return entropies.reduce((sum, entropy) => sum + entropy, 0) / entropies.length;
}

function normalised(values: readonly number[]): number[] {
  const sum = values.reduce((total, value) => total + value, 0);
  return values.map((value) => value / sum);
}
