/**
 * H2O (heavy-hitter oracle): keep what attention has fallen on most so far, and the last tokens.
 *
 * Zhang et al., "H2O: Heavy-Hitter Oracle for Efficient Generative Inference of Large Language Models", NeurIPS 2023,
 * arXiv:2306.14048, section 4. Checked against the authors' code (tests/golden, `h2o.decode`, `h2o.layerwise_cache`) and
 * kvpress (`observed_attention_h2o`). Differs from the authors' code in batches, which share one choice there.
 *
 * A plain sum favours the first tokens, on which every query could fall: `normalised` divides by how many could.
 *
 * @module
 */
import { tf, tidy } from "../../tensor/mod.ts";
import { bestTokens, groupMean } from "./heads.ts";
import { type CachePolicy, eachLayer, needInCache, type StepChange, type StepView } from "../../nn/cache_policy.ts";
import { refuseNaNIn } from "../special.ts";
import { where } from "../where.ts";
import { byScore, cacheBudget, type CacheOptions, type CacheScore, type ScoredPolicy } from "./policy.ts";
import { leastGoes, sizeOf } from "./steps.ts";
import type { CacheMethod } from "./method.ts";

/**
 * The attention that falls on each key: [batch, keyHeads, n], sum over queries, mean over each group.
 *
 * @param attention [batch, heads, m, n], rows of the last `m` queries.
 * @param options `normalised`: divide by the number of those queries that could see the key. Default: true.
 *
 * @example Both tokens get half of what could fall on them, on average: the first is seen by two queries
 * ```ts
 * import assert from "node:assert/strict";
 * import { tf } from "tessera/tensor/mod.ts";
 * const attention = tf.tensor4d([[[[1, 0], [0.5, 0.5]]]]);
 * assert.deepEqual(attentionReceivedBy(attention, 1).arraySync(), [[[0.75, 0.5]]]);
 * assert.deepEqual(attentionReceivedBy(attention, 1, { normalised: false }).arraySync(), [[[1.5, 0.5]]]);
 * ```
 */
export function attentionReceivedBy(
  attention: tf.Tensor4D,
  keyHeads: number,
  { normalised = true }: { readonly normalised?: boolean } = {},
): tf.Tensor3D {
  const [, , m, n] = attention.shape;
  return tidy(() => {
    const sum = attention.sum<tf.Tensor3D>(2);
    if (!normalised) return groupMean(sum, keyHeads);
    const seeing = Array.from({ length: n }, (_, place) => Math.min(m, n - place));
    return groupMean(sum.div<tf.Tensor3D>(tf.tensor3d([[seeing]])), keyHeads);
  });
}

/**
 * Places that stay: the last `recent`, and of those before them the `heavy` ones with the highest sums, all in order.
 *
 * @param score [batch, keyHeads, n], sums so far.
 * @returns int32, [batch, keyHeads, min(n, heavy + recent)].
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { tf } from "tessera/tensor/mod.ts";
 * assert.deepEqual(heavyHitters(tf.tensor3d([[[1, 9, 5, 0]]]), 1, 1).arraySync(), [[[1, 3]]]);
 * ```
 */
export function heavyHitters(score: tf.Tensor3D, heavy: number, recent: number): tf.Tensor3D {
  const [batch, heads, n] = score.shape;
  const last = Math.min(recent, n), older = n - last;
  return tidy(() => {
    const ends = tf.range(older, n, 1, "int32").reshape([1, 1, last]).tile<tf.Tensor3D>([batch, heads, 1]);
    const chosen = bestTokens(score.slice<tf.Tensor3D>([0, 0, 0], [-1, -1, older]), Math.min(heavy, older));
    return tf.concat([chosen, ends], 2);
  });
}

/**
 * The attention received by each token of a prompt as a score of policies: H2O's, once. kvpress' "observed attention"
 * with `normalised`, the default.
 */
export function observedAttentionScore(options: { readonly normalised?: boolean } = {}): CacheScore {
  return {
    name: "observed_attention",
    needs: ["attention"],
    of: (view) =>
      tidy(() => attentionReceivedBy(needInCache(view, "attention", "observed_attention")(), view.keyHeads, options)),
  };
}

/**
 * Observed attention as a policy: once after the prompt. Needs the whole attention map.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * assert.deepEqual(observedAttention({ keepRate: 0.5 }).needs, ["attention"]);
 * ```
 */
export function observedAttention(options: CacheOptions & { readonly normalised?: boolean }): ScoredPolicy {
  return byScore(observedAttentionScore(options), options);
}

/** Options of H2O. */
export interface H2OOptions {
  /** Share of the budget that the last tokens have, in [0, 1]. Default: 0.5, as in the paper. */
  readonly recentShare?: number;
}

/**
 * H2O as a policy: after the prompt, and at each step, in which the token goes that attention has fallen on least of
 * those that are not among the last ones.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * const place = { layer: 0, layers: 1, heads: 1, keyHeads: 1, channels: 2, tokens: 100 };
 * assert.equal(h2o({ keepRate: 0.4 }).plan(place).achieved, 60);
 * ```
 */
export function h2o(options: CacheOptions & H2OOptions): ScoredPolicy {
  const { recentShare = 0.5 } = options;
  if (!(recentShare >= 0 && recentShare <= 1)) {
    throw new RangeError(`recentShare must lie in [0, 1], but it is ${recentShare}; 0.5 is the paper's`);
  }
  const name = "h2o", score: CacheScore = { ...observedAttentionScore({ normalised: false }), name };
  const plan = cacheBudget(options), slots = sizeOf(options);
  const recentOf = (keep: number) => Math.trunc(keep * recentShare);
  const base = byScore(score, options, {
    choose: (view, keep, of) => heavyHitters(of(view), keep - recentOf(keep), recentOf(keep)),
  });
  if (!slots) return base;
  const afterPrompt: CachePolicy["afterPrompt"] = eachLayer((view) => {
    const keep = view.tokens - plan(view).achieved, recent = recentOf(keep);
    return tidy(() => {
      const memory = refuseNaNIn(score.of(view, keep), name, view);
      return keep < view.tokens ? { memory, keep: heavyHitters(memory, keep - recent, recent) } : { memory };
    });
  });
  const of = (view: StepView): StepChange =>
    tidy(() => {
      const { positions, position, attention, keyHeads } = view;
      const memory = view.memory!.add<tf.Tensor3D>(groupMean(attention, keyHeads));
      // of the slots in use, the share of the last ones; the new token is one of them
      const used = positions.greaterEqual(0).cast("float32");
      const recent = used.sum(2, true).sub(1).mul(recentShare).floor();
      const later = positions.expandDims(2).greater(positions.expandDims(3)).cast("float32").sum(3);
      const isRecent = later.less(recent);
      const stays = leastGoes(where<tf.Tensor3D>(isRecent, 1e30, memory), { ...view, position }, options);
      return { stays, memory };
    });
  return { ...base, needs: ["attention"], afterPrompt, everyStep: { slots, of } };
}

/** H2O in the catalogue. */
export const h2oMethod: CacheMethod = {
  paper: "Zhang et al., H2O, 2023",
  section: "4, arXiv:2306.14048",
  tier: 1,
  traceable: true,
  golden: ["h2o.decode", "h2o.layerwise_cache"],
  cost: "n^2 d for the whole map",
  differs: "from the code in batches, which do not share a choice",
  breaks: { U9: "earlier tokens are seen by more queries" },
  create: (options) => h2o(options),
};

/** Observed attention in the catalogue. */
export const observedAttentionMethod: CacheMethod = {
  paper: "Zhang et al., H2O, 2023, once after the prompt",
  section: "4, arXiv:2306.14048",
  tier: 1,
  traceable: true,
  golden: ["observed_attention_h2o"],
  cost: "n^2 d for the whole map",
  differs: "in nothing",
  breaks: { U9: "earlier tokens are seen by more queries" },
  create: (options) => observedAttention(options),
};
