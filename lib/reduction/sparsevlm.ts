/**
 * SparseVLM: let those words that have to do with the image rate its tokens, and recycle what is dropped into a few tokens.
 *
 * Zhang et al., "SparseVLM: Visual Token Sparsification for Efficient Vision-Language Model Inference", ICML 2025,
 * arXiv:2410.04417, section 3. Checked against the authors' code (tests/golden, `sparsevlm.raters`, `sparsevlm.score`,
 * `sparsevlm.recycle`). Differs from the paper in that how many tokens go follows from the budget, as in the code, and not
 * from the rank of the attention; from the code in that the words are chosen anew before each block, there once from the
 * embeddings; in the neighbours that density is measured over when tokens are recycled, there as many as there are clusters
 * (`parity: true`); and in that tokens keep their positions, there counted anew (run the model with `positions: "reindex"`).
 *
 * @module
 */
import { trainingFree } from "./method.ts";
import { given, need, type Reducer } from "../nn/reducer.ts";
import { gatherTokens, rankDescending, stableTopK, stopGradient, tf, tidy } from "../tensor/mod.ts";
import type { LayerBudget } from "./budget.ts";
import { drop, mapOf } from "./combine.ts";
import { type Combine, compose, type Score } from "./compose.ts";
import { dpcKnn } from "./dpcknn.ts";
import { patchesOf } from "./scores.ts";
import { int, where } from "./where.ts";

/** Words that rate the image. */
export interface Raters {
  /** [batch, words]: how much the image tokens have to do with each word, sums to 1. */
  readonly relevance: tf.Tensor2D;
  /** [batch, words] bool: those above the mean; all words where none is. */
  readonly rates: tf.Tensor2D;
}

/**
 * Which words rate: each image token distributes itself over the words by the softmax of their products, and a word rates
 * where it gets more than the mean.
 *
 * Costs `nmC` multiply-accumulates for m words.
 *
 * @param image [batch, image tokens, channels]
 * @param text [batch, words, channels]
 *
 * @example The second word points where both image tokens do
 * ```ts
 * import assert from "node:assert/strict";
 * import { tf } from "tessera/tensor/mod.ts";
 * const { rates } = raters(tf.tensor3d([[[0, 1], [0, 2]]]), tf.tensor3d([[[1, 0], [0, 1]]]));
 * assert.deepEqual(rates.arraySync(), [[0, 1]]);
 * ```
 */
export function raters(image: tf.Tensor3D, text: tf.Tensor3D): Raters {
  return tidy(() => {
    const fit = tf.matMul(stopGradient(image), stopGradient(text), false, true);
    const relevance = tf.softmax(fit, 2).mean<tf.Tensor2D>(1);
    const above = tf.greater<tf.Tensor2D>(relevance, relevance.mean(1, true));
    return { relevance, rates: tf.logicalOr(above, tf.logicalNot(above.any(1, true))) as tf.Tensor2D };
  });
}

/**
 * How much the rating words look at each image token, mean over them and over heads.
 *
 * @param attention [batch, heads, words, image tokens]
 * @param rates [batch, words] bool
 * @returns [batch, image tokens]
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { tf } from "tessera/tensor/mod.ts";
 * const attention = tf.tensor4d([[[[0.5, 0.5], [0.25, 0.75]]]]);
 * assert.deepEqual(ratedBy(attention, tf.tensor2d([[0, 1]], undefined, "bool")).arraySync(), [[0.25, 0.75]]);
 * ```
 */
export function ratedBy(attention: tf.Tensor4D, rates: tf.Tensor2D): tf.Tensor2D {
  return tidy(() => {
    const weight = rates.cast<tf.Tensor2D>("float32");
    const share = tf.div<tf.Tensor2D>(weight, weight.sum(1, true)).expandDims(2); // [batch, words, 1]
    return tf.mul(attention.mean<tf.Tensor3D>(1), share).sum<tf.Tensor2D>(1);
  });
}

/** How much the words that have to do with the image looked at each of its tokens in the block before. */
export const raterAttention: Score = {
  name: "raters' attention",
  needs: ["text"],
  of: (view) =>
    tidy(() => {
      const text = need(view, "text", "sparsevlm");
      const { rates } = raters(view.x.slice([0, view.specialTokens, 0]) as tf.Tensor3D, text.x);
      return patchesOf(ratedBy(given(text.attention, "text.attention", "sparsevlm"), rates), view);
    }),
};

/** How much is recycled. */
export interface RecycledCounts {
  /** Dropped tokens that take part: those rated best. */
  readonly tokens: number;
  /** Tokens that they become. */
  readonly clusters: number;
}

/**
 * How many of the dropped tokens are recycled, and into how many: three in ten, and one for every ten of those.
 *
 * @param gone Number of tokens that do not stay.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * assert.deepEqual(recycledCounts(276), { tokens: 83, clusters: 9 });
 * ```
 */
export function recycledCounts(gone: number): RecycledCounts {
  const tokens = Math.min(gone, Math.trunc(gone * 0.3 + 1e-9) + 1);
  return { tokens, clusters: Math.floor(tokens / 10) + 1 };
}

/**
 * Of the tokens that do not stay the best rated are clustered by DPC-KNN, and each cluster becomes one more token, their
 * mean; the others are dropped.
 *
 * @param options `parity`: density is measured over as many neighbours as there are clusters, as in the authors' code. With
 *   two, each pair of nearest tokens is equally dense, and rounding decides. Default: over 5.
 *
 * Costs `t²C` multiply-accumulates for t of them.
 *
 * @example Of 576 tokens 300 are wanted: 291 stay, 9 are made from 86 of the others
 * ```ts
 * import assert from "node:assert/strict";
 * const { made } = recycleRated();
 * assert.equal(typeof made === "function" && made(576, 300), 9);
 * ```
 */
export function recycleRated({ parity = false }: { readonly parity?: boolean } = {}): Combine {
  return {
    name: "recycle the best rated",
    needs: [],
    made: (patches, wanted) => {
      let keep = Math.max(1, wanted - 1); // one more that stays makes one less at most
      while (keep > 1 && keep + recycledCounts(patches - keep).clusters > wanted) keep--;
      return recycledCounts(Math.max(1, patches - keep)).clusters;
    },
    combine: (choice, score, view) =>
      tidy(() => {
        const { stays, keep } = choice;
        const patches = view.x.slice([0, view.specialTokens, 0]) as tf.Tensor3D;
        const { tokens, clusters } = recycledCounts(patches.shape[1] - keep);
        const rated = where<tf.Tensor2D>(stays, -Infinity, stopGradient(score));
        const places = stableTopK(rated, tokens);
        const { assignment } = dpcKnn(gatherTokens(patches, places), {
          clusters,
          ...(parity ? { neighbours: clusters } : {}),
        });
        const rank = rankDescending(rated);
        const cluster = gatherTokens(assignment, tf.minimum<tf.Tensor2D>(rank, int(tokens - 1)));
        const slot = where<tf.Tensor2D>(tf.less(rank, int(tokens)), cluster.add<tf.Tensor2D>(int(keep)), -1);
        return mapOf(view, choice, slot, clusters);
      }),
  };
}

/** Options of SparseVLM. */
export type SparseVLMOptions = LayerBudget & {
  /** Whether dropped tokens are recycled; the second version of the authors' code does not. Default: true. */
  readonly recycles?: boolean;
  /** Cluster with as many neighbours as there are clusters, see `recycleRated`. Default: false. */
  readonly parity?: boolean;
};

/**
 * SparseVLM as a reducer: its tokens include the recycled ones. Before the blocks at a quarter, a half and three
 * quarters of the depth, unless the budget names others.
 *
 * @param options As the authors' for 192 tokens: `{ keep: [300, 200, 110], layers: [2, 6, 15] }`, which there do not
 *   include the recycled ones.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * const place = { layer: 2, layers: 32, tokens: 576, initialTokens: 576, specialTokens: 0, grid: [24, 24] as const };
 * assert.equal(sparsevlm({ keep: [300, 200, 110], layers: [2, 6, 15] }).plan(place).achieved, 276);
 * ```
 */
export function sparsevlm({ recycles = true, parity = false, ...budget }: SparseVLMOptions): Reducer {
  const combine = recycles ? recycleRated({ parity }) : drop;
  return compose({ name: "sparsevlm", score: raterAttention, combine, hook: "beforeBlock" })(budget as LayerBudget);
}

/** SparseVLM in the catalogue. */
export const sparsevlmMethod = trainingFree(sparsevlm, {
  family: "pack",
  paper: "Zhang et al., SparseVLM, 2025",
  section: "3, arXiv:2410.04417",
  tier: 1,
  models: "vision-language",
  traceable: true,
  golden: ["sparsevlm.raters", "sparsevlm.score", "sparsevlm.recycle"],
  cost: "nmC multiplications for m words, t²C to cluster t recycled tokens",
  differs:
    "from the paper in counts that follow from the budget, from the code in words that are chosen anew before each block",
  breaks: { mass: "tokens that are rated low are dropped", U6: "which words rate depends on a softmax of products" },
});
