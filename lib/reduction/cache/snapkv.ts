/**
 * SnapKV: keep what the last queries of the prompt look at, with its neighbours.
 *
 * Li et al., "SnapKV: LLM Knows What You are Looking for Before Generation", NeurIPS 2024, arXiv:2404.14469, section 4.
 * Checked against the authors' code (tests/golden, `snapkv.original`) and kvpress (`snapkv`, `snapkv_rope`). Differs from
 * both in the order of what stays, by score there (`parity: true`); a window that leaves nothing to choose from is shrunk
 * with a warning, where theirs fails or keeps the window alone.
 *
 * @module
 */
import { tf, tidy } from "../../tensor/mod.ts";
import { groupMean, pool, type Pooling, withProtected } from "./heads.ts";
import { needInCache } from "../../nn/cache_policy.ts";
import { byScore, type CacheOptions, type CacheScore, type ScoredPolicy } from "./policy.ts";
import { shrunk } from "./window.ts";
import type { CacheMethod } from "./method.ts";

/** Options of SnapKV's score. */
export interface WindowOptions {
  /** Queries at the end of the prompt that vote, and tokens at the end that stay. Default: 32. */
  readonly window?: number;
  /** Neighbours that are pooled, an odd number. Default: 5. */
  readonly kernel?: number;
  /** Default: "average". */
  readonly pooling?: Pooling;
}

/**
 * What the window looks at: mean over its queries, pooled over neighbours, mean over each group; the window itself is
 * protected. [batch, keyHeads, n].
 *
 * @param attention [batch, heads, window, n], the rows of the last `window` queries.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { tf } from "tessera/tensor/mod.ts";
 * const score = attendedByWindow(tf.tensor4d([[[[0.5, 0.25, 0.25]]]]), 1, { kernel: 1 });
 * assert.deepEqual(score.arraySync(), [[[0.5, 0.25, 2]]]);
 * ```
 */
export function attendedByWindow(
  attention: tf.Tensor4D,
  keyHeads: number,
  { kernel = 5, pooling = "average", parity = false }: Omit<WindowOptions, "window"> & { readonly parity?: boolean } =
    {},
): tf.Tensor3D {
  const [batch, heads, window, n] = attention.shape;
  return tidy(() => {
    // as a product it is a third faster than as a mean over rows
    const mean = tf.matMul(tf.fill([batch, heads, 1, window], 1 / window) as tf.Tensor4D, attention);
    const votes = mean.squeeze<tf.Tensor3D>([2]).slice<tf.Tensor3D>([0, 0, 0], [-1, -1, n - window]);
    const score = groupMean(pool(votes, kernel, pooling), keyHeads);
    return withProtected(score, { back: window, asReference: parity });
  });
}

/** {@link attendedByWindow} as a score of policies. */
export function snapKVScore(options: WindowOptions & { readonly parity?: boolean } = {}): CacheScore {
  return {
    name: "snapkv",
    needs: ["attention"],
    of: (view, keep) => {
      const window = shrunk("window", options.window ?? 32, keep, "snapkv");
      return tidy(() => {
        const attention = needInCache(view, "attention", "snapkv")(Math.max(1, window));
        return attendedByWindow(attention, view.keyHeads, options);
      });
    },
  };
}

/**
 * SnapKV as a policy.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * const place = { layer: 0, layers: 1, heads: 1, keyHeads: 1, channels: 2, tokens: 100 };
 * assert.equal(snapKV({ keepRate: 0.5, window: 16 }).plan(place).achieved, 50);
 * ```
 */
export function snapKV(options: CacheOptions & WindowOptions): ScoredPolicy {
  return byScore(snapKVScore(options), options);
}

/** SnapKV in the catalogue. */
export const snapKVMethod: CacheMethod = {
  paper: "Li et al., SnapKV, 2024",
  section: "4, arXiv:2404.14469",
  tier: 1,
  traceable: true,
  golden: ["snapkv", "snapkv_rope", "snapkv.original"],
  cost: "w n d",
  differs: "from the codes in a window above the budget, which is shrunk",
  breaks: { U9: "the window stays, and neighbours are pooled" },
  create: (options) => snapKV({ ...options, window: 4 }),
};
