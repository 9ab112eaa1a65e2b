/**
 * LagKV: keep what spreads most within its part of the sequence, measured by the range of the part behind it.
 *
 * Liang et al., "LagKV: Lag-Relative Information of the KV Cache Tells Which Tokens Are Important", 2025,
 * arXiv:2504.04704, section 3. Checked against kvpress (tests/golden, `lagkv`). Differs from it in a channel that does not
 * change within a part: theirs divides by zero (`parity: true`), ours by 1e-6.
 *
 * @module
 */
import { rankDescending, tf, tidy } from "../../tensor/mod.ts";
import { byScore, type CacheOptions, type CacheScore, type ScoredPolicy } from "./policy.ts";
import type { CacheMethod } from "./method.ts";

/** Options of LagKV. */
export interface LagOptions {
  /** Tokens of a part. Default: 128. */
  readonly lag?: number;
  /** First tokens, which stay. Default: 4. */
  readonly sinks?: number;
}

/**
 * Within each part but the last, the rank of its tokens by spread, 0 up to (lag - 1) / lag; sinks, the last whole part
 * and what is left behind it score 1. A cache of fewer than sinks + 2 lag tokens scores by recency. [batch, keyHeads, n].
 *
 * @example Too short for two parts: later tokens are worth more
 * ```ts
 * import assert from "node:assert/strict";
 * import { tf } from "tessera/tensor/mod.ts";
 * const keys = tf.zeros<tf.Rank.R4>([1, 1, 3, 2]);
 * assert.deepEqual(lagScore(keys, keys, { sinks: 1 }).arraySync(), [[[1, 0, 0.5]]]);
 * ```
 */
export function lagScore(
  keys: tf.Tensor4D,
  values: tf.Tensor4D,
  { lag = 128, sinks = 4, parity = false }: LagOptions & { readonly parity?: boolean } = {},
): tf.Tensor3D {
  const [batch, heads, n] = keys.shape;
  const front = Math.min(sinks, n);
  if (n < sinks + 2 * lag) {
    const row = Array.from({ length: n }, (_, place) => place < front ? 1 : (place - front) / (n - front));
    return tidy(() => tf.tensor3d([[row]]).tile<tf.Tensor3D>([batch, heads, 1]));
  }
  const parts = Math.floor((n - front) / lag), scored = (parts - 1) * lag;
  return tidy(() => {
    const spread = (x: tf.Tensor4D) => spreads(x, { front, parts, lag, parity });
    const both = tf.add<tf.Tensor4D>(spread(keys), spread(values)).div<tf.Tensor4D>(2).reshape<tf.Tensor2D>([-1, lag]);
    const rank = rankDescending(both).neg().add(lag - 1).div(lag).reshape<tf.Tensor3D>([batch, heads, scored]);
    const ones = (tokens: number) => tf.ones<tf.Rank.R3>([batch, heads, tokens]);
    return tf.concat([ones(front), rank, ones(n - front - scored)], 2);
  });
}

/** Softmax within each part but the last of the tokens' deviation over the channels: [batch, heads, parts - 1, lag]. */
function spreads(
  x: tf.Tensor4D,
  { front, parts, lag, parity }: { front: number; parts: number; lag: number; parity: boolean },
): tf.Tensor4D {
  const [batch, heads, , channels] = x.shape;
  const all = x.slice([0, 0, front, 0], [-1, -1, parts * lag, -1]).reshape([batch, heads, parts, lag, channels]);
  const part = (first: number) => all.slice([0, 0, first, 0, 0], [-1, -1, parts - 1, -1, -1]);
  const next = part(1), low = next.min(3, true), range = next.max(3, true).sub(low);
  const scaled = part(0).sub(low).div(parity ? range : tf.maximum(range, tf.scalar(1e-6)));
  const centred = scaled.sub(scaled.mean(4, true));
  const deviation = centred.square().sum(4).div(Math.max(1, channels - 1)).sqrt();
  return tf.softmax(deviation, 3) as tf.Tensor4D;
}

/** {@link lagScore} as a score of policies. */
export function lagKVScore(options: LagOptions & { readonly parity?: boolean } = {}): CacheScore {
  return { name: "lagkv", needs: [], of: ({ keys, values }) => lagScore(keys, values, options) };
}

/**
 * LagKV as a policy.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * assert.deepEqual(lagKV({ keepRate: 0.5, lag: 64 }).needs, []);
 * ```
 */
export function lagKV(options: CacheOptions & LagOptions): ScoredPolicy {
  return byScore(lagKVScore(options), options);
}

/** LagKV in the catalogue. */
export const lagKVMethod: CacheMethod = {
  paper: "Liang et al., LagKV, 2025",
  section: "3, arXiv:2504.04704",
  tier: 1,
  traceable: true,
  golden: ["lagkv"],
  cost: "4 n d",
  differs: "from kvpress in a channel that does not change within a part",
  breaks: { U9: "parts follow one another" },
  create: (options) => lagKV({ ...options, lag: 4, sinks: 1 }),
};
