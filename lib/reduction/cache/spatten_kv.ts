/**
 * SpAtten's pruning of a cache: the first tokens, the last ones, and of those between the ones that the last call of
 * attention fell on most.
 *
 * Wang et al., "SpAtten: Efficient Sparse Attention Architecture with Cascade Token and Head Pruning", HPCA 2021,
 * arXiv:2012.09852, section III. Checked against the authors' code for language models (tests/golden,
 * `spatten.kv_cache`). Differs from the paper as that code does: importance is that of one call, not summed over layers.
 *
 * @module
 */
import { needInCache } from "../../nn/cache_policy.ts";
import { tf, tidy } from "../../tensor/mod.ts";
import { bestTokens, groupMean } from "./heads.ts";
import { byScore, type CacheOptions, type ScoredPolicy } from "./policy.ts";
import { shrunk } from "./window.ts";
import type { CacheMethod } from "./method.ts";

/**
 * Places that stay, in order: int32, [batch, keyHeads, start + important + recent].
 *
 * @param importance [batch, keyHeads, n], attention that falls on each token.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { tf } from "tessera/tensor/mod.ts";
 * const places = startImportantRecent(tf.tensor3d([[[0, 1, 5, 2, 0]]]), { start: 1, important: 1, recent: 1 });
 * assert.deepEqual(places.arraySync(), [[[0, 2, 4]]]);
 * ```
 */
export function startImportantRecent(
  importance: tf.Tensor3D,
  { start, important, recent }: { readonly start: number; readonly important: number; readonly recent: number },
): tf.Tensor3D {
  const [batch, heads, n] = importance.shape;
  return tidy(() => {
    const run = (from: number, to: number) =>
      tf.range(from, to, 1, "int32").reshape([1, 1, to - from]).tile<tf.Tensor3D>([batch, heads, 1]);
    const between = importance.slice<tf.Tensor3D>([0, 0, start], [-1, -1, n - start - recent]);
    const chosen = bestTokens(between, Math.min(important, n - start - recent)).add<tf.Tensor3D>(
      tf.scalar(start, "int32"),
    );
    return tf.concat([run(0, start), chosen, run(n - recent, n)], 2);
  });
}

/** Options of {@link spattenKV}. */
export interface SpAttenOptions {
  /** First tokens, which stay. Default: 4. */
  readonly start?: number;
  /** Share of the budget that the last tokens have. Default: 0.5. */
  readonly recentShare?: number;
}

/**
 * SpAtten's cache pruning as a policy.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * assert.deepEqual(spattenKV({ keepRate: 0.5 }).needs, ["attention"]);
 * ```
 */
export function spattenKV(options: CacheOptions & SpAttenOptions): ScoredPolicy {
  const { recentShare = 0.5 } = options;
  return byScore(
    {
      name: "spatten_kv",
      needs: ["attention"],
      of: (view) =>
        tidy(() => groupMean(needInCache(view, "attention", "spatten_kv")().sum<tf.Tensor3D>(2), view.keyHeads)),
    },
    options,
    {
      choose: (view, keep, of) => {
        const start = shrunk("sinks", options.start ?? 4, keep, "spatten_kv");
        const recent = Math.trunc((keep - start) * recentShare);
        return startImportantRecent(of(view), { start, important: keep - start - recent, recent });
      },
    },
  );
}

/** SpAtten's cache pruning in the catalogue. */
export const spattenKVMethod: CacheMethod = {
  paper: "Wang et al., SpAtten, 2021",
  section: "III, arXiv:2012.09852",
  tier: 2,
  traceable: true,
  golden: ["spatten.kv_cache"],
  cost: "n^2 d for the whole map",
  differs: "from the paper as its code for language models does",
  breaks: { U9: "the first and the last stay" },
  create: (options) => spattenKV({ ...options, start: 1 }),
};
