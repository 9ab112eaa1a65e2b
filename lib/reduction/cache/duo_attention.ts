/**
 * DuoAttention: heads that fetch from afar keep everything; the others stream, with sinks and the last tokens alone.
 *
 * Xiao et al., "DuoAttention: Efficient Long-Context LLM Inference with Retrieval and Streaming Heads", ICLR 2025,
 * arXiv:2410.10819, section 3. Checked against kvpress (tests/golden, `duo_attention`). Differs from the paper in where the
 * gates come from: there they are trained, here any numbers do, such as the attention that falls beyond the window
 * (`attentionBeyond`).
 *
 * @module
 */
import { type CachePolicy, eachLayer, type StepView } from "../../nn/cache_policy.ts";
import { tf, tidy } from "../../tensor/mod.ts";
import { groupMean } from "./heads.ts";
import { roundHalfToEven } from "./pyramidkv.ts";
import type { CacheMethod, CacheSizes } from "./method.ts";

/** Options of DuoAttention. */
export interface DuoOptions {
  /** [layers][key heads]: how much each head fetches from afar. */
  readonly gates: readonly (readonly number[])[];
  /** Share of the heads, over all layers, that stream: those with the lowest gates. In [0, 1]. */
  readonly streamingShare: number;
  /** First tokens that stay in a streaming head. Default: 64. */
  readonly sinks?: number;
  /** Last tokens that stay in a streaming head. Default: 256. */
  readonly recent?: number;
}

/**
 * Which heads stream: [layers][key heads].
 *
 * @example The lower half
 * ```ts
 * import assert from "node:assert/strict";
 * assert.deepEqual(streamingHeads([[0.1, 0.9], [0.8, 0.2]], 0.5), [[true, false], [false, true]]);
 * ```
 */
export function streamingHeads(gates: DuoOptions["gates"], streamingShare: number): boolean[][] {
  const all = gates.flatMap((row, layer) => row.map((gate, head) => ({ gate, layer, head })));
  const count = roundHalfToEven(all.length * streamingShare);
  const lowest = all.toSorted((a, b) => a.gate - b.gate).slice(0, count);
  return gates.map((row, layer) =>
    row.map((_, head) => lowest.some((one) => one.layer === layer && one.head === head))
  );
}

/**
 * DuoAttention as a policy.
 *
 * @throws {RangeError} Where the share is none, or the gates are not those of the model.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * assert.equal(duoAttention({ gates: [[0, 1]], streamingShare: 0.5 }).name, "duo_attention");
 * ```
 */
export function duoAttention({ gates, streamingShare, sinks = 64, recent = 256 }: DuoOptions): CachePolicy {
  if (!(streamingShare >= 0 && streamingShare <= 1)) {
    throw new RangeError(
      `streamingShare must lie in [0, 1], but it is ${streamingShare}; 0.5 lets half of the heads stream`,
    );
  }
  const streams = streamingHeads(gates, streamingShare);
  const headsOf = (layer: number, keyHeads: number, layers: number) => {
    if (gates.length === layers && streams[layer].length === keyHeads) return streams[layer];
    throw new RangeError(
      `duo_attention has gates for ${gates.length} layers of ${streams[layer]?.length ?? 0} heads, but the model has ` +
        `${layers} of ${keyHeads}; measure them on the same model`,
    );
  };
  /** [1, keyHeads, 1]: 1 where a head keeps everything. */
  const fetching = (heads: readonly boolean[]) => tf.tensor3d([heads.map((streaming) => [Number(!streaming)])]);
  const policy: CachePolicy = {
    name: "duo_attention",
    needs: [],
    afterPrompt: eachLayer(({ layer, layers, keyHeads, positions, tokens }) => {
      const heads = headsOf(layer, keyHeads, layers);
      if (tokens <= sinks + recent || !heads.includes(true)) return undefined;
      return tidy(() => {
        const place = tf.range(0, tokens, 1, "float32").reshape([1, 1, tokens]);
        const near = tf.logicalOr(place.less(sinks), place.greaterEqual(tokens - recent)).cast("float32");
        return { stays: tf.maximum(near, fetching(heads)).add<tf.Tensor3D>(positions.mul(0)) };
      });
    }),
  };
  if (!streams.flat().includes(true)) return policy;
  const of = ({ layer, layers, keyHeads, positions, position }: StepView) => ({
    stays: tidy(() => {
      const near = tf.logicalOr(positions.less(sinks), positions.greater(position.sub(recent))).cast("float32");
      return tf.maximum<tf.Tensor3D>(near, fetching(headsOf(layer, keyHeads, layers)));
    }),
  });
  return { ...policy, everyStep: { of } };
}

/**
 * How much of each key head's attention falls beyond sinks and window, mean over queries: [batch, keyHeads]. On a task
 * where something must be fetched from afar, a gate that costs no training.
 *
 * @param attention [batch, heads, n, n]
 */
export function attentionBeyond(
  attention: tf.Tensor4D,
  keyHeads: number,
  { sinks, recent }: { readonly sinks: number; readonly recent: number },
): tf.Tensor2D {
  const [, , m, n] = attention.shape;
  return tidy(() => {
    const row = tf.range(n - m, n, 1, "int32").expandDims(1), column = tf.range(0, n, 1, "int32").expandDims(0);
    const beyond = tf.logicalAnd(
      tf.greaterEqual(column, tf.scalar(sinks, "int32")),
      tf.lessEqual(column, row.sub(tf.scalar(recent, "int32"))),
    );
    return groupMean(attention.mul(beyond.cast("float32")).sum(3).mean<tf.Tensor2D>(2), keyHeads);
  });
}

/** DuoAttention in the catalogue. */
export const duoAttentionMethod: CacheMethod = {
  paper: "Xiao et al., DuoAttention, 2025",
  section: "3, arXiv:2410.10819",
  tier: 2,
  traceable: true,
  golden: ["duo_attention"],
  cost: "none",
  differs: "from the paper in the gates, which are given",
  breaks: { K2: "its budget is a share of heads", heads: "that is its point", U9: "it keeps the first and the last" },
  create: (options, sizes) =>
    duoAttention({
      gates: gatesOf(sizes),
      streamingShare: "keepRate" in options && options.keepRate === 1 ? 0 : 0.5,
      sinks: 1,
      recent: 4,
    }),
};

/** Gates for any sizes: every second head fetches. */
function gatesOf({ layers, keyHeads }: CacheSizes): number[][] {
  return Array.from(
    { length: layers },
    (_, layer) => Array.from({ length: keyHeads }, (_, head) => (layer + head) % 2),
  );
}
