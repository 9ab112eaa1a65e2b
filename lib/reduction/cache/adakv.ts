/**
 * AdaKV: a budget for all heads together. The best tokens of the layer stay, whichever head they are of, so that a head
 * with spread attention keeps more than one with a peak; each keeps a share of its own.
 *
 * Feng et al., "Ada-KV: Optimizing KV Cache Eviction by Adaptive Budget Allocation for Efficient LLM Inference", 2024,
 * arXiv:2407.11550, section 4. Checked against kvpress (tests/golden, `adakv`). Differs from it in how it is stored: there
 * evicted keys are replaced by one that no query looks at; here heads are as long as the longest, with a mask.
 *
 * @module
 */
import { stableTopK, tf, tidy } from "../../tensor/mod.ts";
import { above, isAmong } from "./heads.ts";
import { type CachePolicy, type CacheView, eachLayer } from "../../nn/cache_policy.ts";
import { refuseNaNIn } from "../special.ts";
import type { ScoredPolicy } from "./policy.ts";
import type { CacheMethod } from "./method.ts";
import { snapKV } from "./snapkv.ts";

/**
 * Which tokens of each head stay: exactly keyHeads x keep in all, and of each head at least its own best
 * `floor(alpha x keep)`.
 *
 * @param score [batch, keyHeads, n]
 * @param alpha The share of the budget that each head has for itself, 0 to 1.
 * @returns bool, [batch, keyHeads, n].
 *
 * @example The second head's tokens are all better; the first keeps its own best one all the same
 * ```ts
 * import assert from "node:assert/strict";
 * import { tf } from "tessera/tensor/mod.ts";
 * const stays = stayAcrossHeads(tf.tensor3d([[[1, 2, 0, 0], [9, 8, 7, 6]]]), 2, 0.5);
 * assert.deepEqual(stays.arraySync(), [[[0, 1, 0, 0], [1, 1, 1, 0]]]);
 * ```
 */
export function stayAcrossHeads(score: tf.Tensor3D, keep: number, alpha: number): tf.Tensor3D {
  const [batch, heads, n] = score.shape;
  const safe = Math.trunc(keep * alpha);
  return tidy(() => {
    const top = above(score.max([1, 2], true));
    const raised = tf.where<tf.Tensor>(isAmong(stableTopK(score, safe), n), top, score);
    const chosen = stableTopK(raised.reshape<tf.Tensor2D>([batch, heads * n]), heads * keep);
    return isAmong(chosen.expandDims(1), heads * n).reshape([batch, heads, n]);
  });
}

/** Options of AdaKV. */
export interface AdaOptions {
  /** Share of the budget that each head has for itself, 0 to 1. Default: 0.2. */
  readonly alpha?: number;
}

/**
 * AdaKV around a policy: its score and budget, shared out among the heads.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { snapKV } from "tessera/reduction/cache/mod.ts";
 * assert.equal(adaKV(snapKV({ keepRate: 0.5 })).name, "adakv(snapkv)");
 * ```
 */
export function adaKV(policy: ScoredPolicy, { alpha = 0.2 }: AdaOptions = {}): CachePolicy {
  if (!(alpha >= 0 && alpha <= 1)) {
    throw new RangeError(
      `alpha must lie in [0, 1], but it is ${alpha}; 0.2 is the paper's, 1 gives each head the same`,
    );
  }
  return { name: `adakv(${policy.name})`, needs: policy.needs, afterPrompt: eachLayer(answer) };

  function answer(view: CacheView) {
    const keep = view.tokens - policy.plan(view).achieved;
    if (keep >= view.tokens) return undefined;
    return tidy(() => {
      const score = refuseNaNIn(policy.score.of(view, keep), policy.name, view);
      return { stays: stayAcrossHeads(score, keep, alpha).cast<tf.Tensor3D>("float32") };
    });
  }
}

/** AdaKV in the catalogue. */
export const adaKVMethod: CacheMethod = {
  paper: "Feng et al., Ada-KV, 2024 (around SnapKV)",
  section: "4, arXiv:2407.11550",
  tier: 1,
  traceable: true,
  golden: ["adakv"],
  cost: "as the policy inside",
  differs: "from kvpress in how it is stored",
  breaks: { heads: "that is its point", U9: "as SnapKV" },
  create: (options) => adaKV(snapKV({ ...options, window: 4 })),
};
