/**
 * SimLayerKV: layers whose last query looks at the first and last tokens alone ("lazy" ones) keep only these.
 *
 * Zhang et al., "SimLayerKV: A Simple Framework for Layer-Level KV Cache Reduction", 2024, arXiv:2410.13846, section 3.
 * Checked against kvpress (tests/golden, `simlayerkv`). Differs from it in what is recent: theirs leaves out the very last
 * tokens and keeps as many fewer (`parity: true`), ours counts them.
 *
 * @module
 */
import { type CachePolicy, type CacheView, eachLayer, needInCache } from "../../nn/cache_policy.ts";
import { tf, tidy } from "../../tensor/mod.ts";

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

/** The share of the last queries' attention that falls on the ends, mean over all heads and rows of the batch. */
export function massAtEnds(
  view: CacheView,
  { initial = 4, recent = 1024, last = 1, parity = false }: LazyOptions,
): tf.Scalar {
  return tidy(() => {
    const attention = needInCache(view, "attention", "simlayerkv")(last), n = view.tokens;
    const to = parity ? n - last : n, from = Math.max(initial, to - recent);
    const sum = (begin: number, end: number) => attention.slice([0, 0, 0, begin], [-1, -1, -1, end - begin]).sum(3);
    return sum(0, initial).add(sum(from, to)).mean<tf.Scalar>();
  });
}

/**
 * SimLayerKV as a policy. Reads one number of each layer back.
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
      const { tokens, keyHeads, keys } = view;
      if (tokens <= initial + recent + (parity ? last - 1 : 0)) return undefined;
      const mass = massAtEnds(view, options), [share] = mass.dataSync();
      mass.dispose();
      if (!(share > threshold)) return undefined;
      const ends = recent - (parity ? last : 0);
      const places = [...Array(initial).keys(), ...Array.from({ length: ends }, (_, i) => tokens - ends + i)];
      return {
        keep: tidy(() => tf.tensor3d([[places]], undefined, "int32").tile<tf.Tensor3D>([keys.shape[0], keyHeads, 1])),
      };
    }),
  };
}
