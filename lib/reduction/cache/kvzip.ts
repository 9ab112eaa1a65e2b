/**
 * KVzip: keep what the model looks at when it repeats the context. The context is read a second time behind a request to
 * repeat it; a token is worth the most attention that it gets. One budget for all layers and heads.
 *
 * Kim et al., "KVzip: Query-Agnostic KV Cache Compression with Context Reconstruction", NeurIPS 2025, arXiv:2505.23416,
 * section 3. Checked against kvpress (tests/golden, `kvzip.score`, `kvzip.evict`). Differs from it in how it is stored:
 * evicted keys are masked there, and here heads are as long as the longest. The second reading makes the prompt cost two
 * to three times as much.
 *
 * @module
 */
import { stableTopK, tf, tidy } from "../../tensor/mod.ts";
import { where } from "../where.ts";
import { groupsOf, isAmong, visible } from "./heads.ts";
import { type CachePolicy, needInCache } from "../../nn/cache_policy.ts";
import { refuseNaNIn } from "../special.ts";
import { cacheBudget, type CacheOptions } from "./policy.ts";
import type { CacheMethod } from "./method.ts";

/** What {@link reconstructionScore} is given. */
export interface Reconstruction {
  /** [batch, heads, m, channels]: the queries of the part that is read again, turned to their positions. */
  readonly queries: tf.Tensor4D;
  /** [batch, keyHeads, n + m, channels]: keys of the context, and behind them of the part that is read again. */
  readonly keys: tf.Tensor4D;
  /** The part of the context that is repeated: from this token up to that. */
  readonly from: number;
  readonly to: number;
  /** First tokens, which every query sees. Default: 4. */
  readonly sinks?: number;
}

/**
 * The most attention that each token of the part gets while it is repeated: [batch, keyHeads, to - from]. Attention is to
 * the sinks, the part, and what has been repeated of it.
 */
export function reconstructionScore({ queries, keys, from, to, sinks = 4 }: Reconstruction): tf.Tensor3D {
  const [batch, heads, m, channels] = queries.shape, [, keyHeads, all] = keys.shape;
  const front = Math.min(sinks, from), part = to - from, groups = groupsOf(heads, keyHeads);
  return tidy(() => {
    const pick = (first: number, tokens: number) => keys.slice<tf.Tensor4D>([0, 0, first, 0], [-1, -1, tokens, -1]);
    const seen = tf.concat([pick(0, front), pick(from, part), pick(all - m, m)], 2);
    const rows = queries.mul(channels ** -0.5).reshape<tf.Tensor4D>([batch, keyHeads, groups * m, channels]);
    const logits = tf.matMul(rows, seen, false, true).reshape([batch, keyHeads, groups, m, front + part + m]);
    const mask = tf.concat([tf.ones([m, front + part], "bool"), visible(m, m)], 1);
    const attention = tf.softmax(where(mask, logits, -1e9), 4);
    return attention.slice([0, 0, 0, 0, front], [-1, -1, -1, -1, part]).max<tf.Tensor3D>([2, 3]);
  });
}

/**
 * Which tokens stay of all layers and heads together, or of each layer's heads together.
 *
 * @param scores [layers, batch, keyHeads, n]
 * @param gone Tokens that go, of all layers together (or of each layer, with `byLayer`).
 * @returns bool, [layers, batch, keyHeads, n].
 *
 * @example The three lowest go, wherever they are
 * ```ts
 * import assert from "node:assert/strict";
 * import { tf } from "tessera/tensor/mod.ts";
 * const stays = stayAcrossLayers(tf.tensor4d([[[[9, 1]]], [[[2, 3]]]]), 3);
 * assert.deepEqual(stays.arraySync(), [[[[1, 0]]], [[[0, 0]]]]);
 * ```
 */
export function stayAcrossLayers(
  scores: tf.Tensor4D,
  gone: number,
  { byLayer = false }: { readonly byLayer?: boolean } = {},
): tf.Tensor4D {
  const [layers, batch, heads, n] = scores.shape;
  return tidy(() => {
    const rows = byLayer
      ? scores.reshape<tf.Tensor2D>([layers, batch * heads * n])
      : scores.reshape<tf.Tensor2D>([1, layers * batch * heads * n]);
    const lowest = stableTopK(rows.neg(), gone);
    return tf.logicalNot(isAmong(lowest.expandDims(1), rows.shape[1])).reshape<tf.Tensor4D>([layers, batch, heads, n]);
  });
}

/** Options of KVzip. */
export interface ZipOptions {
  /** Tokens of the context that are repeated at once. Default: 2048. */
  readonly chunk?: number;
  /** First tokens, which every query of the second reading sees. Default: 4. */
  readonly sinks?: number;
  /** Tokens of the request to repeat the context, before each part of it. Default: none. */
  readonly request?: readonly number[];
  /** A budget for each layer instead of one for all. Default: false. */
  readonly byLayer?: boolean;
}

/**
 * KVzip as a policy. The prompt is read again, which must fit into the model's context behind it.
 *
 * @example Each part of the prompt is to be read behind the request
 * ```ts
 * import assert from "node:assert/strict";
 * const policy = kvZip({ keepRate: 0.5, chunk: 2, request: [9] });
 * assert.deepEqual(policy.replay!([1, 2, 3]), [[9, 1, 2], [9, 3]]);
 * ```
 */
export function kvZip(options: CacheOptions & ZipOptions): CachePolicy {
  const { chunk = 2048, sinks = 4, request = [], byLayer = false } = options;
  const name = "kvzip", plan = cacheBudget(options);
  const partsOf = (n: number) => Array.from({ length: Math.ceil(n / chunk) }, (_, i) => [i * chunk, (i + 1) * chunk]);
  return {
    name,
    needs: ["replays"],
    replay: (prompt) => partsOf(prompt.length).map(([from, to]) => [...request, ...prompt.slice(from, to)]),
    afterPrompt: (views) => {
      const n = views[0].tokens, gone = views.map((view) => plan(view).achieved);
      if (gone.every((count) => count === 0)) return [];
      return tidy(() => {
        const scores = views.map((view) => {
          const parts = needInCache(view, "replays", name).map(({ queries, keys }, part) => {
            const [from, to] = partsOf(n)[part];
            return reconstructionScore({ queries, keys, from, to: Math.min(n, to), sinks });
          });
          return refuseNaNIn(tf.concat(parts, 2), name, view);
        });
        const [batch, heads] = views[0].keys.shape;
        const ofLayer = gone.map((count) => count * batch * heads);
        const stays = byLayer
          ? scores.map((score, layer) => stayAcrossLayers(score.expandDims(0), ofLayer[layer]))
          : tf.split(stayAcrossLayers(tf.stack(scores) as tf.Tensor4D, ofLayer.reduce((a, b) => a + b)), views.length);
        return stays.map((mask) => ({ stays: mask.squeeze<tf.Tensor3D>([0]).cast<tf.Tensor3D>("float32") }));
      });
    },
  };
}

/** KVzip in the catalogue. */
export const kvZipMethod: CacheMethod = {
  paper: "Kim et al., KVzip, 2025",
  section: "3, arXiv:2505.23416",
  tier: 1,
  traceable: true,
  golden: ["kvzip.score", "kvzip.evict"],
  cost: "the prompt once more, against itself",
  differs: "from kvpress in how it is stored",
  breaks: {
    heads: "one budget for all heads and layers",
    U7: "so for all rows of a batch",
    U9: "its second reading is causal",
  },
  create: (options) => kvZip(options),
};
