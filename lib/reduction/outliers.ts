/**
 * Adaptive numbers of tokens: those that stay are outliers of a score, and one more token stands for the rest. What PruMerge
 * and TRIM share.
 *
 * Tukey, "Exploratory Data Analysis", 1977, section 2.
 *
 * @module
 */
import { type Budget, budgetOf } from "../nn/token_map.ts";
import { refuseNaN, stopGradient, tf, tidy, topKValues } from "../tensor/mod.ts";

/** Share of the tokens that stays where none, or hardly one, is an outlier. */
const LEAST = 0.01;

/**
 * Number of outliers of each row: values above the third quartile by more than 1.5 times the distance of the quartiles
 * (Tukey's fences; quartiles by linear interpolation).
 *
 * @param score [batch, tokens]
 * @returns [batch], as floats.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { tf } from "tessera/tensor/mod.ts";
 * const score = tf.tensor2d([[0.01, 0.02, 0.02, 0.03, 0.03, 0.04, 0.05, 0.3, 0.02, 0.25, 0.03, 0.2]]);
 * assert.deepEqual(outliers(score).arraySync(), [3]);
 * ```
 */
export function outliers(score: tf.Tensor2D): tf.Tensor1D {
  const tokens = score.shape[1];
  return tidy(() => {
    const sorted = topKValues(stopGradient(refuseNaN(score, "the score of tokens")), tokens).values; // highest first
    const quantile = (share: number) => {
      const place = (tokens - 1) * share, low = Math.floor(place), high = Math.ceil(place);
      const at = (index: number) => sorted.slice([0, tokens - 1 - index], [-1, 1]);
      return at(low).add<tf.Tensor2D>(at(high).sub(at(low)).mul(place - low));
    };
    const third = quantile(0.75);
    const fence = third.add(third.sub(quantile(0.25)).mul(1.5));
    return tf.greater(score, fence).cast("float32").sum<tf.Tensor1D>(1);
  });
}

/** Tokens of `tokens` that stay at least, outliers or not. */
export function leastOutliers(tokens: number): number {
  return Math.ceil(LEAST * tokens);
}

/**
 * How many tokens of each row stay where outliers do: one in a hundred at least, `most` at most.
 *
 * @param score [batch, tokens]
 * @returns [batch], as floats.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { tf } from "tessera/tensor/mod.ts";
 * const score = tf.tensor2d([[0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 9, 9], [1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1]]);
 * assert.deepEqual([...outlierCount(score, 5).dataSync()], [2, 1]);
 * ```
 */
export function outlierCount(score: tf.Tensor2D, most: number): tf.Tensor1D {
  const least = Math.min(most, leastOutliers(score.shape[1]));
  return tidy(() => tf.minimum<tf.Tensor1D>(tf.maximum(outliers(score), least), most));
}

/**
 * The budget of a method that makes one token of the rest: `wanted` counts that one too.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * const { achieved, clampedBy } = budgetWithRest(9, 1);
 * assert.deepEqual([achieved, clampedBy], [7, "a token for the rest stands beside one at least"]);
 * ```
 */
export function budgetWithRest(tokens: number, wanted: number): Budget {
  const requested = Math.max(0, tokens - wanted);
  const outputs = requested ? Math.max(2, wanted) : tokens;
  return budgetOf(tokens, outputs, requested, "a token for the rest stands beside one at least");
}
