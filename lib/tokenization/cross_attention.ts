/**
 * Cross-attention between a code's text and its subgraph: what each modality says in the light of the other.
 *
 * Su et al., "Multimodal Medical Code Tokenizer", ICML 2025, arXiv:2502.04397, equations 1 and 2. The paper has one head and
 * matrices of its own per direction; the authors' code, which is followed here, has the same two layers of four heads in
 * both directions, a residual connection and a layer norm, and keys and values that stay the other modality's original
 * ones in every layer. Checked against it (tests/golden, `medtok.get_shared_info`, `medtok.quantizer_forward`).
 *
 * @module
 */
import { foldIn, tf, tidy } from "../tensor/mod.ts";
import { attention, type AttentionParameters, dropout, layerNorm, type NormParameters } from "../nn/mod.ts";
import { meanOfNodes } from "./graph_encoder.ts";

/** Parameters of one layer. */
export interface CrossAttentionLayerParameters {
  readonly attn: AttentionParameters;
  readonly norm: NormParameters;
}

/** Which modality reads the other. "none" lets each read itself: then nothing can leak between them. */
export type Reading = "both" | "text" | "graph" | "none";

/** Options of {@link crossAttend}. */
export interface CrossAttendOptions {
  readonly heads: number;
  /** Default: "both". */
  readonly reading?: Reading;
  /** Rate of both dropouts, used where there is a key. Default: 0. */
  readonly dropout?: number;
  readonly key?: tf.Tensor1D | undefined;
}

/** A modality's tokens and which of them are no padding. */
export interface ModalityTokens {
  /** [batch, tokens, channels] */
  readonly x: tf.Tensor3D;
  /** [batch, tokens]: 1, or 0 for padding. */
  readonly mask: tf.Tensor2D;
}

/** The cross-modality embeddings, both [batch, channels]. */
export interface CrossAttended {
  readonly text: tf.Tensor2D;
  readonly graph: tf.Tensor2D;
}

/**
 * Cross-modality embeddings: of the text its first position, of the graph the mean of its nodes, after attending to the
 * other modality.
 *
 * Queries do not see each other, so that of the text only the first position is computed: the others would be thrown away.
 *
 * @param text Its first token stands for the whole description.
 * @param graph Nodes of the subgraph.
 *
 * @example With layers that pass nothing on, a layer norm of what was there is left
 * ```ts
 * import assert from "node:assert/strict";
 * import { tf } from "tessera/tensor/mod.ts";
 * const silent = {
 *   attn: { qkv: { weight: tf.zeros<tf.Rank.R2>([6, 2]) }, proj: { weight: tf.zeros<tf.Rank.R2>([2, 2]) } },
 *   norm: { weight: tf.ones<tf.Rank.R1>([2]), bias: tf.zeros<tf.Rank.R1>([2]) },
 * };
 * const text = { x: tf.tensor3d([[[0, 4]]]), mask: tf.tensor2d([[1]]) };
 * const graph = { x: tf.tensor3d([[[2, 0]]]), mask: tf.tensor2d([[1]]) };
 * const shared = crossAttend(text, graph, [silent], { heads: 1 });
 * assert.deepEqual(shared.text.round().arraySync(), [[-1, 1]]);
 * assert.deepEqual(shared.graph.round().arraySync(), [[1, -1]]);
 * ```
 */
export function crossAttend(
  text: ModalityTokens,
  graph: ModalityTokens,
  layers: readonly CrossAttentionLayerParameters[],
  { heads, reading = "both", dropout: rate = 0, key }: CrossAttendOptions,
): CrossAttended {
  return tidy(() => {
    const through = (queries: tf.Tensor3D, context: ModalityTokens, stream: number): tf.Tensor3D =>
      layers.reduce((x, { attn, norm }, i) => {
        const keyOf = (place: number) => key && foldIn(key, (stream * layers.length + i) * 2 + place);
        const { x: mixed } = attention(x, attn, {
          heads,
          context: context.x,
          mask: context.mask,
          dropout: rate,
          key: keyOf(0),
        });
        return layerNorm(tf.add<tf.Tensor3D>(x, dropout(mixed, rate, keyOf(1))), norm);
      }, queries);
    const first = text.x.slice([0, 0, 0], [-1, 1, -1]);
    const textReads = reading === "both" || reading === "text" ? graph : text;
    const graphReads = reading === "both" || reading === "graph" ? text : graph;
    return {
      text: through(first, textReads, 0).squeeze<tf.Tensor2D>([1]),
      graph: meanOfNodes(through(graph.x, graphReads, 1), graph.mask),
    };
  });
}
