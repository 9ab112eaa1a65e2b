/**
 * PoWER-BERT: keep the word vectors that the others look at most, fewer in each layer; how many is learned by fading ranks.
 *
 * Goyal et al., "PoWER-BERT: Accelerating BERT Inference via Progressive Word-vector Elimination", ICML 2020,
 * arXiv:2001.08950, section 3. Checked against the authors' code (tests/golden, `powerbert.extract`). Differs from it in
 * nothing; the code is written for twelve heads, and this for any number.
 *
 * @module
 */
import { need } from "../nn/reducer.ts";
import type { Reducer } from "../nn/reducer.ts";
import { gatherTokens, rankDescending, tf, tidy } from "../tensor/mod.ts";
import type { LayerBudget } from "./budget.ts";
import { compose, type Score } from "./compose.ts";
import { trainingFree } from "./method.ts";
import { patchesOf } from "./scores.ts";

/** How much the other tokens look at each: PoWER-BERT's significance. */
export const significanceScore: Score = {
  name: "significance",
  needs: ["attention"],
  of: (view) => tidy(() => patchesOf(powerSignificance(need(view, "attention", "powerbert")), view)),
};

/**
 * The significance of each token: what the other tokens look at it, mean over heads, its look at itself left out.
 *
 * @param attention [batch, heads, tokens, tokens]
 * @returns [batch, tokens]
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { tf } from "tessera/tensor/mod.ts";
 * assert.deepEqual(powerSignificance(tf.tensor4d([[[[0.75, 0.25], [0.5, 0.5]]]])).arraySync(), [[0.5, 0.25]]);
 * ```
 */
export function powerSignificance(attention: tf.Tensor4D): tf.Tensor2D {
  const tokens = attention.shape[3];
  return tidy(() => {
    const others = tf.sub(1, tf.eye(tokens));
    return attention.mean<tf.Tensor3D>(1).mul(others).sum<tf.Tensor2D>(1);
  });
}

/**
 * PoWER-BERT as a reducer. A budget of `keep` counts, from {@link retainedCounts}, is what the paper trains.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * const place = { layer: 3, layers: 12, tokens: 129, initialTokens: 129, specialTokens: 1, grid: [1, 128] as const };
 * assert.equal(powerbert({ keep: [80, 40], layers: [3, 6] }).plan(place).achieved, 48);
 * ```
 */
export function powerbert(options: LayerBudget): Reducer {
  return compose({ name: "powerbert", score: significanceScore })(options);
}

/**
 * Soft extraction, while the counts are learned: the token of rank q by significance is multiplied with the q-th number of
 * the layer. The class token takes part in the ranking.
 *
 * @param x [batch, tokens, channels]
 * @param significance [batch, tokens]
 * @param retention [tokens], 0 to 1, from the first rank to the last; starts at 1 and is trained.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { tf } from "tessera/tensor/mod.ts";
 * const x = softExtract(tf.ones([1, 2, 1]), tf.tensor2d([[1, 5]]), tf.tensor1d([1, 0.5]));
 * assert.deepEqual(x.arraySync(), [[[0.5], [1]]]);
 * ```
 */
export function softExtract(x: tf.Tensor3D, significance: tf.Tensor2D, retention: tf.Tensor1D): tf.Tensor3D {
  return tidy(() => {
    const rank = rankDescending(significance);
    const table = retention.reshape<tf.Tensor3D>([1, -1, 1]).tile<tf.Tensor3D>([x.shape[0], 1, 1]);
    return x.mul<tf.Tensor3D>(gatherTokens(table, rank));
  });
}

/**
 * What is added to the loss while the counts are learned: the mass of each layer, later layers more.
 *
 * @param retention One vector for each layer.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { tf } from "tessera/tensor/mod.ts";
 * assert.equal(retentionLoss([tf.tensor1d([1, 1]), tf.tensor1d([1, 0.5])]).arraySync(), 1 * 2 + 2 * 1.5);
 * ```
 */
export function retentionLoss(retention: readonly tf.Tensor1D[]): tf.Scalar {
  return tidy(() => tf.addN(retention.map((layer, l) => layer.abs().sum().mul(l + 1))) as tf.Scalar);
}

/**
 * How many tokens stay after each layer, from what was learned: the whole part of each layer's mass, never more than in the
 * layer before, at least one.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * assert.deepEqual(retainedCounts([[1, 1, 0.5], [1, 1, 1], [0.2, 0.1, 0]]), [2, 2, 1]);
 * ```
 */
export function retainedCounts(retention: readonly ArrayLike<number>[]): number[] {
  let most = Infinity;
  return retention.map((layer) =>
    most = Math.max(1, Math.min(most, Math.floor(Array.from(layer).reduce((a, b) => a + b, 0))))
  );
}

/** PoWER-BERT in the catalogue. */
export const powerbertMethod = trainingFree(powerbert, {
  family: "prune",
  paper: "Goyal et al., PoWER-BERT, 2020",
  section: "3, arXiv:2001.08950",
  tier: 2,
  traceable: true,
  golden: ["powerbert.extract"],
  cost: "heads x n² additions; n floats",
  differs: "from the paper in a budget that is given; softExtract and retainedCounts are what learns one",
  breaks: { mass: "tokens are dropped" },
});
