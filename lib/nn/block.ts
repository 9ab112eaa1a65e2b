/**
 * The transformer block: attention, then an MLP, each added to what came in; the norm before each of them (pre-norm, as in
 * ViT and GPT-2) or after (post-norm, as in the first transformer and BERT).
 *
 * Vaswani et al., "Attention Is All You Need", NeurIPS 2017, arXiv:1706.03762, section 3.1. Pre-norm: Xiong et al., "On
 * Layer Normalization in the Transformer Architecture", ICML 2020, arXiv:2002.04745.
 *
 * @module
 */
import { foldIn, tf, tidy } from "../tensor/mod.ts";
import {
  attention,
  attentionLayer,
  type AttentionLayerOptions,
  type AttentionOptions,
  type AttentionParameters,
  type AttentionResult,
  type SelfAttentionDescription,
} from "./attention.ts";
import {
  type Activation,
  dropout,
  layerNorm,
  mlp,
  type MLPDescription,
  mlpLayer,
  type MLPParameters,
  type NormDescription,
  normLayer,
  type NormParameters,
} from "./layers.ts";

/** Parameters of a block, under timm's names. */
export interface BlockParameters {
  readonly norm1: NormParameters;
  readonly attn: AttentionParameters;
  readonly norm2: NormParameters;
  readonly mlp: MLPParameters;
}

/** Describes a block. */
export interface BlockDescription {
  readonly norm1: NormDescription;
  readonly attn: SelfAttentionDescription;
  readonly norm2: NormDescription;
  readonly mlp: MLPDescription;
}

/**
 * Describes a block of `width` channels with an MLP of `mlpWidth`.
 *
 * @param options `bias: false` leaves out the bias of queries, keys and values.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { countParameters } from "tessera/nn/mod.ts";
 * assert.equal(countParameters(blockLayer(192, 768)), 444_864); // one of DeiT-Ti's
 * ```
 */
export function blockLayer(width: number, mlpWidth: number, options: AttentionLayerOptions = {}): BlockDescription {
  return {
    norm1: normLayer(width),
    attn: attentionLayer(width, options),
    norm2: normLayer(width),
    mlp: mlpLayer(width, mlpWidth),
  };
}

/** What a block gives. */
export interface BlockResult<Changed> {
  /** [batch, tokens, channels] */
  readonly x: tf.Tensor3D;
  /** What its attention was. */
  readonly looked: AttentionResult;
  /** What `between` gave, where there was one. */
  readonly changed: Changed | undefined;
}

/** Options of {@link block}: those of its attention, and its own. */
export interface BlockOptions<Changed extends { x: tf.Tensor3D }> extends Omit<AttentionOptions, "context"> {
  /** Where the norms stand. Default: "pre". */
  readonly norm?: "pre" | "post";
  /** Added to variances. Default: 1e-5, as `nn.LayerNorm`. */
  readonly epsilon?: number;
  /** Default: "gelu". */
  readonly activation?: Activation;
  /**
   * Probability of a drop, where there is a key, as in `nn.TransformerEncoderLayer`: of attention weights, of the
   * attention's output, of the MLP's hidden numbers and of its output. Default: 0.
   */
  readonly dropout?: number;
  /**
   * What happens to the tokens between attention and MLP; a reducer's place. Gives the tokens that go on as `x`, and
   * whatever else is to be known of it.
   */
  readonly between?: ((x: tf.Tensor3D, looked: AttentionResult) => Changed) | undefined;
}

/**
 * A block.
 *
 * @param x [batch, tokens, channels]
 *
 * @example With all weights 0 nothing is added
 * ```ts
 * import assert from "node:assert/strict";
 * import { random } from "tessera/random.ts";
 * import { tf } from "tessera/tensor/mod.ts";
 * import { initialise, zeros } from "tessera/nn/mod.ts";
 * const parameters = initialise(blockLayer(2, 4), random(1), () => zeros);
 * assert.deepEqual(block(tf.tensor3d([[[1, 2]]]), parameters, { heads: 1 }).x.arraySync(), [[[1, 2]]]);
 * ```
 */
export function block<Changed extends { x: tf.Tensor3D }>(
  x: tf.Tensor3D,
  { norm1, attn, norm2, mlp: perceptron }: BlockParameters,
  { norm = "pre", epsilon, activation = "gelu", dropout: rate = 0, key, between, ...options }: BlockOptions<Changed>,
): BlockResult<Changed> {
  return tidy(() => {
    const keyOf = (place: number) => key && rate > 0 ? foldIn(key, place) : undefined;
    const pre = (x: tf.Tensor3D, p: NormParameters) => norm === "pre" ? layerNorm(x, p, epsilon) : x;
    const post = (x: tf.Tensor3D, p: NormParameters) => norm === "post" ? layerNorm(x, p, epsilon) : x;

    const looked = attention(pre(x, norm1), attn, { ...options, dropout: rate, key: keyOf(0) });
    let y = post(tf.add<tf.Tensor3D>(x, dropout(looked.x, rate, keyOf(1))), norm1);
    const changed = between?.(y, looked);
    if (changed) y = changed.x;
    const thought = mlp(pre(y, norm2), perceptron, { activation, dropout: rate, key: keyOf(2) });
    y = post(tf.add<tf.Tensor3D>(y, dropout(thought, rate, keyOf(3))), norm2);
    return { x: y, looked, changed };
  });
}
