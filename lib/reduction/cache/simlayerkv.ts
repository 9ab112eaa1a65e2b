/**
 * SimLayerKV: layers whose last query looks at the first and last tokens alone ("lazy" ones) keep only these.
 *
 * Zhang et al., "SimLayerKV: A Simple Framework for Layer-Level KV Cache Reduction", 2024, arXiv:2410.13846, section 3.
 * Checked against kvpress (tests/golden, `simlayerkv`). Differs from it in two places, as there with
 * `parity: true`: what is recent leaves out the very last tokens, of which as many fewer stay; and a batch decides as one.
 *
 * @module
 */
import { type CachePolicy, type CacheView, eachLayer, needInCache } from "../../nn/cache_policy.ts";
import { tf, tidy } from "../../tensor/mod.ts";
import type { CacheMethod } from "./method.ts";

/** Options of SimLayerKV. */
export interface LazyOptions {
  /** A layer is lazy where more than this share of attention falls on its ends: 0.9 for Llama 3, 0.65 for Llama 2. */
  readonly threshold: number;
  /** First tokens. Default: 4. */
  readonly initial?: number;
  /** Last tokens. Default: 1024. */
  readonly recent?: number;
  /** Queries that are asked. Default: 1. */
  readonly last?: number;
  readonly parity?: boolean;
}

/** The share of each row's last queries' attention that falls on the ends, mean over its heads: [batch]. */
export function massAtEnds(
  view: CacheView,
  { initial = 4, recent = 1024, last = 1, parity = false }: LazyOptions,
): tf.Tensor1D {
  return tidy(() => {
    const attention = needInCache(view, "attention", "simlayerkv")(last), n = view.tokens;
    const to = parity ? n - last : n, from = Math.max(initial, to - recent);
    const sum = (begin: number, end: number) => attention.slice([0, 0, 0, begin], [-1, -1, -1, end - begin]).sum(3);
    return sum(0, initial).add(sum(from, to)).mean<tf.Tensor1D>([1, 2]);
  });
}

/**
 * SimLayerKV as a policy.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * assert.deepEqual(simLayerKV({ threshold: 0.9 }).needs, ["attention"]);
 * ```
 */
export function simLayerKV(options: LazyOptions): CachePolicy {
  const { threshold, initial = 4, recent = 1024, last = 1, parity = false } = options;
  return {
    name: "simlayerkv",
    needs: ["attention"],
    afterPrompt: eachLayer((view) => {
      const { tokens, keyHeads, keys } = view, [batch] = keys.shape;
      if (threshold >= 1 || tokens <= initial + recent + (parity ? last - 1 : 0)) return undefined;
      const ends = recent - (parity ? last : 0);
      return tidy(() => {
        const mass = massAtEnds(view, options), lazy = (parity ? mass.mean() : mass).greater(threshold);
        const place = tf.range(0, tokens, 1, "float32");
        const atEnd = tf.logicalOr(place.less(initial), place.greaterEqual(tokens - ends)).reshape([1, 1, tokens]);
        const stays = tf.logicalOr(tf.logicalNot(lazy).reshape([-1, 1, 1]), atEnd).cast("float32");
        return { stays: stays.add<tf.Tensor3D>(tf.zeros([batch, keyHeads, tokens])) };
      });
    }),
  };
}

/** SimLayerKV in the catalogue. */
export const simLayerKVMethod: CacheMethod = {
  paper: "Zhang et al., SimLayerKV, 2024",
  section: "3, arXiv:2410.13846",
  tier: 2,
  traceable: true,
  golden: ["simlayerkv"],
  cost: "n d for one query",
  differs: "from kvpress in what is recent, and in batches",
  breaks: {
    K2: "a layer keeps everything or its ends",
    heads: "rows of a batch decide for themselves",
    U9: "it keeps the first and the last",
  },
  create: (options) =>
    simLayerKV({ threshold: "keepRate" in options && options.keepRate === 1 ? 1 : 0.5, initial: 1, recent: 4 }),
};
