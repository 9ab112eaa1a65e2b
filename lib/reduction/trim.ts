/**
 * TRIM: keep the image tokens that fit the question unusually well, and one more token for the mean of the others.
 *
 * Song et al., "Less is More: A Simple yet Effective Token Reduction Method for Efficient Multi-modal LLMs", COLING 2025,
 * arXiv:2409.10994, section 3. Checked against the authors' code (tests/golden, `trim.tokens`). Differs from the code in that
 * a token fits where its embedding resembles the text's, there where it does not, since CLIP's patches point away from what
 * they show (`negated`, `parity: true`); and in counting outliers image by image, there over the batch.
 *
 * @module
 */
import { trainingFree } from "./method.ts";
import { need, type Reducer } from "../nn/reducer.ts";
import { rankDescending, tf, tidy } from "../tensor/mod.ts";
import { type LayerBudget, patchesLeft, withLayers } from "./budget.ts";
import { mapOf } from "./combine.ts";
import { budgetWithRest, outlierCount } from "./outliers.ts";
import { refuseNaNIn } from "./special.ts";
import { int } from "./where.ts";

/**
 * How well each token fits the texts: the softmax over tokens of the products of their embeddings, mean over texts.
 *
 * @param patches [batch, tokens, shared channels]
 * @param texts [batch, texts, shared channels]
 * @returns [batch, tokens]
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { tf } from "tessera/tensor/mod.ts";
 * const score = trimScore(tf.tensor3d([[[1, 0], [0, 1]]]), tf.tensor3d([[[0, 20]]]));
 * assert.deepEqual(score.arraySync()[0].map(Math.round), [0, 1]);
 * ```
 */
export function trimScore(patches: tf.Tensor3D, texts: tf.Tensor3D, { negated = false } = {}): tf.Tensor2D {
  return tidy(() => {
    const fit = tf.matMul<tf.Tensor3D>(patches, texts, false, true).mean<tf.Tensor2D>(2);
    return tf.softmax(negated ? tf.neg(fit) : fit, 1);
  });
}

/** Options of TRIM. */
export type TrimOptions = LayerBudget & {
  /**
   * Keep outliers of the score only, as the paper does: the budget is then the upper limit, and in an image with fewer
   * outliers the rest is padding (tokens of size 0, which nothing looks at). Default: false.
   */
  readonly adaptive?: boolean;
  /** A token fits where it does not resemble the text, as it is with CLIP's patches. Default: false. */
  readonly negated?: boolean;
  /** The same as `negated`. Default: false. */
  readonly parity?: boolean;
};

/**
 * TRIM as a reducer: before the first block, unless the budget names others. Its tokens include the one for the mean.
 * Costs `nC` multiply-accumulates.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * const place = { layer: 0, layers: 32, tokens: 576, initialTokens: 576, specialTokens: 0, grid: [24, 24] as const };
 * assert.equal(trim({ keepRate: 0.21 }).plan(place).achieved, 576 - 120);
 * ```
 */
export function trim(options: TrimOptions): Reducer {
  const { adaptive = false, parity = false, negated = parity } = options;
  const left = patchesLeft(withLayers(options, [0]));
  return {
    name: "trim",
    needs: ["vision"],
    hook: "beforeBlock",
    proportionalAttention: false,
    ...(adaptive ? { leavesEmpty: true } : {}),
    plan: (place) => budgetWithRest(place.tokens - place.specialTokens, left(place)),
    reduce: (view) => {
      const { patchEmbeddings, textEmbeddings } = need(view, "vision", "trim");
      const budget = budgetWithRest(view.tokens - view.specialTokens, left(view));
      const keep = view.tokens - view.specialTokens - budget.achieved - 1;
      return tidy(() => {
        const patches = patchEmbeddings.slice([0, view.specialTokens, 0]) as tf.Tensor3D;
        const score = refuseNaNIn(trimScore(patches, textEmbeddings, { negated }), "trim", view);
        const rank = rankDescending(score);
        const last = tf.fill<tf.Rank.R2>(score.shape, keep, "int32");
        if (!adaptive) return { ...mapOf(view, { stays: tf.less(rank, int(keep)), keep }, last, 1), budget };
        const count = outlierCount(score, keep).expandDims(1);
        const stays = tf.less(rank.cast("float32"), count) as tf.Tensor2D;
        return { ...mapOf(view, { stays, keep }, last, 1), budget };
      });
    },
  };
}

/** TRIM in the catalogue. */
export const trimMethod = trainingFree(trim, {
  family: "pack",
  paper: "Song et al., Less is More (TRIM), 2025",
  section: "3, arXiv:2409.10994",
  tier: 2,
  models: "vision-language",
  traceable: true,
  golden: ["trim.tokens"],
  cost: "nC multiplications; n floats",
  differs: "from the code in the sign of the fit and in counting outliers image by image",
  breaks: {},
});
