/**
 * CriticalKV: a score times how much a token can change the layer's output, the norm of its value after the output
 * projection. The best half by the score alone stays in any case.
 *
 * Feng et al., "Identify Critical KV Cache in LLM Inference from an Output Perturbation Perspective", 2025,
 * arXiv:2502.03805, section 4. Checked against kvpress (tests/golden, `criticalkv`). Differs from it in the order of what
 * stays (by score there, with `parity: true`).
 *
 * @module
 */
import { stableTopK, tf, tidy } from "../../tensor/mod.ts";
import { above, forEachQueryHead, groupMean, isAmong } from "./heads.ts";
import { needInCache } from "../../nn/cache_policy.ts";
import { partsOfPolicy, policyOf, type ScoredPolicy } from "./policy.ts";
import type { CacheMethod } from "./method.ts";
import { snapKV } from "./snapkv.ts";

/**
 * The sum of absolute values of each value vector after its head's part of the output projection, mean over each group:
 * [batch, keyHeads, n]. Costs heads x n x channels x width multiplications.
 *
 * @param output [width, heads x channels], the output projection's weight.
 */
export function projectedValueNorm(values: tf.Tensor4D, output: tf.Tensor2D, heads: number): tf.Tensor3D {
  const [batch, keyHeads, n, channels] = values.shape, width = output.shape[0];
  return tidy(() => {
    const perHead = output.transpose().reshape<tf.Tensor3D>([heads, channels, width]);
    const rows = forEachQueryHead(values, heads).transpose([1, 0, 2, 3]).reshape<tf.Tensor3D>([
      heads,
      batch * n,
      channels,
    ]);
    const norms = tf.matMul(rows, perHead).abs().sum(2).reshape([heads, batch, n]).transpose<tf.Tensor3D>([1, 0, 2]);
    return groupMean(norms, keyHeads);
  });
}

/**
 * The score of the second stage, with the best of the first protected: [batch, keyHeads, n].
 *
 * @param score [batch, keyHeads, n], of any method.
 * @param norm What {@link projectedValueNorm} gives.
 * @param options `first`: tokens that the score alone decides on. `epsilon`: added to it. Default: 1e-4.
 *
 * @example The value of the second token counts ten times as much as the first one's
 * ```ts
 * import assert from "node:assert/strict";
 * import { tf } from "tessera/tensor/mod.ts";
 * const score = criticalScore(tf.tensor3d([[[3, 1, 2]]]), tf.tensor3d([[[1, 10, 1]]]), { first: 1 });
 * assert.deepEqual(score.argMax(2).arraySync(), [[0]]);
 * assert.ok(score.arraySync()[0][0][1] > score.arraySync()[0][0][2]);
 * ```
 */
export function criticalScore(
  score: tf.Tensor3D,
  norm: tf.Tensor3D,
  { first, epsilon = 1e-4 }: { readonly first: number; readonly epsilon?: number },
): tf.Tensor3D {
  return tidy(() => {
    const weighed = score.add(epsilon).mul<tf.Tensor3D>(norm);
    const forced = isAmong(stableTopK(score, first), score.shape[2]);
    return tf.where<tf.Tensor>(forced, above(weighed.max<tf.Tensor3D>(2, true)), weighed) as tf.Tensor3D;
  });
}

/** Options of CriticalKV. */
export interface CriticalOptions {
  /** Share of the budget that the score alone decides on, 0 to 1; truncated. Default: 0.5. */
  readonly firstShare?: number;
  /** Added to the score before it is multiplied. Default: 1e-4. */
  readonly epsilon?: number;
}

/**
 * CriticalKV around a policy: its score weighed by what a value can change, under the same budget.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { snapKV } from "tessera/reduction/cache/mod.ts";
 * assert.deepEqual(criticalKV(snapKV({ keepRate: 0.5 })).needs, ["attention", "weights"]);
 * ```
 */
export function criticalKV(
  policy: ScoredPolicy,
  { firstShare = 0.5, epsilon = 1e-4 }: CriticalOptions = {},
): ScoredPolicy {
  const name = `criticalkv(${policy.name})`;
  const of: ScoredPolicy["score"]["of"] = (view, keep) =>
    tidy(() => {
      const norm = projectedValueNorm(view.values, needInCache(view, "weights", name).o, view.heads);
      return criticalScore(policy.score.of(view, keep), norm, { first: Math.trunc(keep * firstShare), epsilon });
    });
  return policyOf({ name, needs: [...policy.needs, "weights"], of }, partsOfPolicy(policy));
}

/** CriticalKV in the catalogue. */
export const criticalKVMethod: CacheMethod = {
  paper: "Feng et al., CriticalKV, 2025 (around SnapKV)",
  section: "4, arXiv:2502.03805",
  tier: 1,
  traceable: true,
  golden: ["criticalkv"],
  cost: "n d width more than the policy inside",
  differs: "in nothing",
  breaks: { U9: "as SnapKV" },
  create: (options) => criticalKV(snapKV({ ...options, window: 4 })),
};
