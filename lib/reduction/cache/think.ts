/**
 * ThinK: prune channels of the keys instead of tokens: those where queries and keys together are smallest.
 *
 * Xu et al., "ThinK: Thinner Key Cache by Query-Driven Pruning", ICLR 2025, arXiv:2407.21018, section 3. Checked against
 * kvpress (tests/golden, `think`). Differs from it in nothing: channels are set to zero and the bytes counted that a cache
 * without them takes.
 *
 * @module
 */
import { stableTopK, tf, tidy } from "../../tensor/mod.ts";
import { groupMean } from "./heads.ts";
import { type CachePolicy, eachLayer, needInCache } from "../../nn/cache_policy.ts";
import type { CacheMethod } from "./method.ts";

/**
 * How much each channel of the keys matters to the last queries: mean square of the queries times mean square of the keys,
 * [batch, keyHeads, channels].
 *
 * @param queries [batch, heads, window, channels], the last ones, turned as the keys are.
 */
export function channelScore(queries: tf.Tensor4D, keys: tf.Tensor4D): tf.Tensor3D {
  return tidy(() => {
    const ofQueries = groupMean(queries.square().mean<tf.Tensor3D>(2), keys.shape[1]);
    return ofQueries.mul(keys.square().mean(2));
  });
}

/**
 * Keys with the `remove` lowest channels of each head set to zero.
 *
 * @param score [batch, keyHeads, channels]
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { tf } from "tessera/tensor/mod.ts";
 * const thin = withoutChannels(tf.tensor4d([[[[1, 2, 3]]]]), tf.tensor3d([[[0, 5, 1]]]), 2);
 * assert.deepEqual(thin.arraySync(), [[[[0, 2, 0]]]]);
 * ```
 */
export function withoutChannels(keys: tf.Tensor4D, score: tf.Tensor3D, remove: number): tf.Tensor4D {
  const channels = keys.shape[3];
  return tidy(() => {
    const lowest = stableTopK(score.neg(), remove); // int32, [batch, keyHeads, remove]
    const gone = tf.oneHot(lowest, channels).sum(2).expandDims(2);
    return keys.mul(tf.sub(1, gone));
  });
}

/** Options of ThinK. */
export interface ThinkOptions {
  /** Share of the channels of each head's keys that go, in [0, 1); truncated to whole channels. */
  readonly removeChannels: number;
  /** Queries at the end of the prompt that count. Default: 32. */
  readonly window?: number;
}

/**
 * ThinK as a policy: all tokens stay, with thinner keys. Values are not touched.
 *
 * @throws {RangeError} Where the share is none.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * assert.throws(() => think({ removeChannels: 1 }), /removeChannels must lie in \[0, 1\), but it is 1/);
 * ```
 */
export function think({ removeChannels, window = 32 }: ThinkOptions): CachePolicy {
  if (!(removeChannels >= 0 && removeChannels < 1)) {
    throw new RangeError(`removeChannels must lie in [0, 1), but it is ${removeChannels}; to remove nothing, pass 0`);
  }
  return {
    name: "think",
    needs: ["queries"],
    afterPrompt: eachLayer((view) => {
      const { keys, channels } = view, remove = Math.trunc(channels * removeChannels + 1e-9);
      if (remove === 0) return undefined;
      return tidy(() => {
        const queries = needInCache(view, "queries", "think"), last = Math.min(window, queries.shape[2]);
        const ofWindow = queries.slice<tf.Tensor4D>([0, 0, queries.shape[2] - last, 0]);
        // a slot holds the channels that are left, and the values; which ones they are is noted once for each head
        const bytes = (slots: number) => (2 * channels - remove) * 4 * slots + channels / 8;
        return { keys: withoutChannels(keys, channelScore(ofWindow, keys), remove), bytes };
      });
    }),
  };
}

/** ThinK in the catalogue. */
export const thinkMethod: CacheMethod = {
  paper: "Xu et al., ThinK, 2025",
  section: "3, arXiv:2407.21018",
  tier: 1,
  traceable: true,
  golden: ["think"],
  cost: "n d + w d",
  differs: "in nothing",
  breaks: { K2: "it drops channels, not tokens", keys: "that is what it does" },
  create: (options) => think({ removeChannels: "keepRate" in options && options.keepRate === 1 ? 0 : 0.5 }),
};
