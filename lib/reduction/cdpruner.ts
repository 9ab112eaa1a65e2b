/**
 * CDPruner: keep a set of tokens that is diverse and fits the question, by the greedy mode of a determinantal point process
 * (DPP) whose kernel is cosine times the relevance of both tokens.
 *
 * Zhang et al., "Beyond Attention or Similarity: Maximizing Conditional Diversity for Token Pruning in MLLMs", NeurIPS 2025,
 * arXiv:2506.10967, section 3; greedy inference: Chen, Zhang and Zhou, "Fast Greedy MAP Inference for Determinantal Point
 * Process", NeurIPS 2018, arXiv:1709.05135. Checked against the authors' code (tests/golden, `cdpruner.select`). Differs from
 * the code in that relevance is scaled within each image, there over the whole batch; that a token is relevant where its
 * embedding resembles the text's, there where it does not, since CLIP's patches point away from what they show (`negated`);
 * and in that relevance decides once the kernel's rank is used up, where the code takes a root of a negative number.
 * `parity: true` brings the first two back.
 *
 * @module
 */
import { trainingFree } from "./method.ts";
import { need, type Reducer } from "../nn/reducer.ts";
import { RankDeficient } from "../nn/reduction_errors.ts";
import { gatherTokens, stopGradient, tf, tidy } from "../tensor/mod.ts";
import type { LayerBudget } from "./budget.ts";
import { compose, type Score, type Select } from "./compose.ts";
import { placesOf } from "./divprune.ts";
import { cosine, unitLength } from "./similarity.ts";
import { refuseNaNIn } from "./special.ts";
import { where } from "./where.ts";

/** Below this part of the largest one, what is left of a token is rounding. */
const RANK_TOLERANCE = 1e-6;

/** How relevance is measured. */
export interface RelevanceOptions {
  /** Exponent of the relevance, 0 <= theta < 1: `exp(theta / (2 (1 - theta)) relevance)`. Default: relevance as it is. */
  readonly theta?: number;
  /** Relevant is what does not resemble the text, as it is with CLIP's patches. Default: false. */
  readonly negated?: boolean;
  /** Negated, and scaled over the whole batch. Default: false. */
  readonly parity?: boolean;
}

/**
 * How relevant each token is to the texts: mean cosine with them, scaled to [0, 1] within an image, plus a hair.
 *
 * @param patches [batch, tokens, shared channels]
 * @param texts [batch, texts, shared channels]
 * @returns [batch, tokens]
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { tf } from "tessera/tensor/mod.ts";
 * const relevant = relevance(tf.tensor3d([[[1, 0], [0, 1]]]), tf.tensor3d([[[0, 2]]]));
 * assert.deepEqual(relevant.arraySync()[0].map(Math.round), [0, 1]);
 * ```
 */
export function relevance(patches: tf.Tensor3D, texts: tf.Tensor3D, options: RelevanceOptions = {}): tf.Tensor2D {
  const { theta, parity = false, negated = parity } = options;
  if (theta !== undefined && !(theta >= 0 && theta < 1)) {
    throw new RangeError(`theta must lie in [0, 1), but it is ${theta}; leave it out to use relevance as it is`);
  }
  return tidy(() => {
    const fit = cosine(patches, texts).mean<tf.Tensor2D>(2);
    const raw = negated ? tf.neg(fit) : fit;
    const low = parity ? raw.min() : raw.min(1, true), high = parity ? raw.max() : raw.max(1, true);
    const scaled = tf.div<tf.Tensor2D>(tf.sub(raw, low).add(1e-6), tf.maximum(tf.sub(high, low), 1e-12));
    return theta === undefined ? scaled : tf.exp(scaled.mul<tf.Tensor2D>(theta / (2 * (1 - theta))));
  });
}

/**
 * The greedy mode of a DPP with the kernel `relevance_i relevance_j cosine_ij`: again and again the token that adds most
 * volume. Equal volumes: the lower place first. Where the chosen ones already span everything, the most relevant of the
 * others come next.
 *
 * The volume that token i would add is the squared length of what is left of `relevance_i unit_i` after the directions of
 * the chosen ones are taken out of it. So no kernel is made: each choice takes one direction out of all tokens, which
 * costs `2nC`, and measures what is left, which costs `nC`: together `3nkC` multiplications. Extra memory: `20nC` bytes and a
 * few numbers per token, whatever k is. Reads nothing back.
 *
 * @param features [batch, tokens, channels]
 * @param relevance [batch, tokens], above 0.
 * @param keep 1 to tokens.
 * @returns int32 [batch, keep], in the order of selection.
 *
 * @example The second token points where the first does, so the third comes before it
 * ```ts
 * import assert from "node:assert/strict";
 * import { tf } from "tessera/tensor/mod.ts";
 * const features = tf.tensor3d([[[1, 0], [1, 0], [0, 1]]]);
 * assert.deepEqual(dppOrder(features, tf.tensor2d([[0.9, 0.8, 0.1]]), 3).arraySync(), [[0, 2, 1]]);
 * ```
 */
export function dppOrder(features: tf.Tensor3D, relevance: tf.Tensor2D, keep: number): tf.Tensor2D {
  const [batch, tokens] = features.shape;
  return tidy(() => {
    const relevant = stopGradient(relevance);
    const unit = unitLength(stopGradient(features));
    const place = tf.range(0, tokens, 1, "int32").expandDims<tf.Tensor2D>(0);
    let left = tf.mul<tf.Tensor3D>(unit, relevant.expandDims(2));
    const smallest = tidy(() => left.square().sum<tf.Tensor2D>(2).max<tf.Tensor2D>(1, true).mul(RANK_TOLERANCE));
    let open: tf.Tensor2D = tf.ones([batch, tokens]); // 1 where a token is not chosen yet
    const picks: tf.Tensor2D[] = [];
    for (let chosen = 0; chosen < keep; chosen++) {
      const before = left, wasOpen = open;
      const [pick, next, nowOpen] = tidy(() => {
        const volume = tidy(() => before.square().sum<tf.Tensor2D>(2));
        const best = where<tf.Tensor2D>(wasOpen.cast("bool"), volume, -1);
        const spanned = tf.lessEqual(best.max(1, true), smallest);
        const rest = where<tf.Tensor2D>(wasOpen.cast("bool"), relevant, -Infinity);
        const pick = tf.where(spanned, rest, best).argMax(1).expandDims<tf.Tensor2D>(1);
        const direction = gatherTokens(before, pick); // [batch, 1, channels]
        const length = direction.square().sum(2, true); // of a spanned token rounding, which must not be blown up
        const usable = tf.greater(length, smallest.expandDims(2)).cast("float32");
        const scaled = tf.div<tf.Tensor3D>(direction, tf.sqrt(tf.maximum(length, 1e-30))).mul<tf.Tensor3D>(usable);
        const along = tf.matMul(before, scaled, false, true); // [batch, tokens, 1]
        const next = tf.sub<tf.Tensor3D>(before, tf.mul(along, scaled));
        return [pick, next, where<tf.Tensor2D>(tf.equal(place, pick), 0, wasOpen)] as const;
      });
      before.dispose();
      wasOpen.dispose();
      [left, open] = [next, nowOpen];
      picks.push(pick);
    }
    return tf.concat(picks, 1);
  });
}

/**
 * Keeps a diverse set in which scores count: the greedy mode of a DPP over the score and the cosines of tokens.
 *
 * @throws {RankDeficient} From the selection, with `strict`, where more tokens are kept than they have channels, so that
 *   the last ones cannot add any volume; otherwise the score decides about those.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * assert.equal(dpp().name, "determinantal");
 * ```
 */
export function dpp({ strict = false }: { readonly strict?: boolean } = {}): Select {
  return {
    name: "determinantal",
    needs: [],
    choose: (score, keep, view) =>
      tidy(() => {
        const patches = refuseNaNIn(view.x.slice([0, view.specialTokens, 0]) as tf.Tensor3D, "cdpruner", view);
        const [, tokens, channels] = patches.shape;
        if (strict && keep > channels) {
          throw new RankDeficient(
            `${keep} tokens are to be kept, but tokens of ${channels} channels span ${channels} directions at most; keep ` +
              `fewer, or leave strict out and let relevance decide about the rest`,
          );
        }
        return { keep, stays: placesOf(dppOrder(patches, score, keep), tokens) };
      }),
  };
}

/** Relevance to the question as a score, from the embeddings that image and text share. */
export function relevanceScore(method: string, options: RelevanceOptions = {}): Score {
  return {
    name: "relevance",
    needs: ["vision"],
    of: (view) =>
      tidy(() => {
        const { patchEmbeddings, textEmbeddings } = need(view, "vision", method);
        const patches = patchEmbeddings.slice([0, view.specialTokens, 0]) as tf.Tensor3D;
        return relevance(patches, textEmbeddings, options);
      }),
  };
}

/** Options of CDPruner. */
export type CDPrunerOptions = LayerBudget & RelevanceOptions & {
  /** Refuse more tokens than their channels span, see `dpp`. Default: false. */
  readonly strict?: boolean;
};

/**
 * CDPruner as a reducer: before the first block, unless the budget names others. What it costs: see `dppOrder`.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * const place = { layers: 32, tokens: 576, initialTokens: 576, specialTokens: 0, grid: [24, 24] as const };
 * assert.equal(cdpruner({ keep: [64], layers: [0] }).plan({ ...place, layer: 0 }).achieved, 512);
 * ```
 */
export function cdpruner(options: CDPrunerOptions): Reducer {
  const { theta, negated, parity, strict } = options;
  const score = relevanceScore("cdpruner", { theta, negated, parity });
  return compose({ name: "cdpruner", score, select: dpp({ strict }), layers: [0], hook: "beforeBlock" })(options);
}

/** CDPruner in the catalogue. */
export const cdprunerMethod = trainingFree(cdpruner, {
  family: "prune",
  paper: "Zhang et al., CDPruner, 2025",
  section: "3, arXiv:2506.10967",
  tier: 1,
  models: "vision-language",
  traceable: true,
  golden: ["cdpruner.select"],
  cost: "3nkC multiplications; 20nC bytes",
  differs:
    "from the code in the sign of the relevance, in scaling it image by image, and in going on by relevance where the rank is used up",
  breaks: { mass: "tokens are dropped" },
});
