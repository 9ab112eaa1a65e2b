/**
 * Multi-head self-attention, with the one addition that merged tokens need: a token may count more than once.
 *
 * Vaswani et al., "Attention Is All You Need", NeurIPS 2017, arXiv:1706.03762, section 3.2. Proportional attention:
 * Bolya et al., "Token Merging", ICLR 2023, arXiv:2210.09461, section 3, equation 1.
 *
 * @module
 */
import { tf, tidy } from "../tensor/mod.ts";
import { linear, type LinearParameters } from "./layers.ts";

/** `qkv` [3 x channels, channels]: rows are queries, keys, values, each split into heads, as in timm. */
export interface AttentionParameters {
  readonly qkv: LinearParameters;
  readonly proj: LinearParameters;
}

/** The attention's output, and what reducers measure tokens by. */
export interface AttentionResult {
  /** [batch, tokens, channels] */
  readonly x: tf.Tensor3D;
  /** [batch, heads, tokens, channels / heads] */
  readonly keys: tf.Tensor4D;
  /** [batch, heads, tokens, tokens], after the softmax. */
  readonly attention: tf.Tensor4D;
}

/**
 * Self-attention of `x` over itself.
 *
 * With `size`, a token that stands for s original ones is attended to as s equal tokens would be: log s is added to its
 * logits. That is exact where the merged tokens were identical.
 *
 * @param x [batch, tokens, channels], already normalised.
 * @param size [batch, tokens]; absent: every token counts once.
 *
 * @example One token attends to itself
 * ```ts
 * import assert from "node:assert/strict";
 * import { tf } from "tessera/tensor/mod.ts";
 * const parameters = { qkv: { weight: tf.ones<tf.Rank.R2>([3, 1]) }, proj: { weight: tf.ones<tf.Rank.R2>([1, 1]) } };
 * assert.deepEqual(selfAttention(tf.tensor3d([[[5]]]), parameters, 1).x.arraySync(), [[[5]]]);
 * ```
 */
export function selfAttention(
  x: tf.Tensor3D,
  { qkv, proj }: AttentionParameters,
  heads: number,
  size?: tf.Tensor2D,
): AttentionResult {
  const [batch, tokens, channels] = x.shape;
  const perHead = channels / heads;
  return tidy(() => {
    const split = linear(x, qkv).reshape([batch, tokens, 3, heads, perHead]).transpose([2, 0, 3, 1, 4]);
    const [queries, keys, values] = tf.unstack(split, 0) as [tf.Tensor4D, tf.Tensor4D, tf.Tensor4D];
    let logits = tf.matMul(queries, keys, false, true).mul<tf.Tensor4D>(perHead ** -0.5);
    if (size) logits = logits.add(size.log().reshape([batch, 1, 1, tokens]));
    const attention = tf.softmax(logits, 3);
    const mixed = tf.matMul(attention, values).transpose([0, 2, 1, 3]).reshape<tf.Tensor3D>([batch, tokens, channels]);
    return { x: linear(mixed, proj), keys, attention };
  });
}
