/**
 * Multi-head attention: over the tokens themselves or over others, with masks, with a bias on the logits, and with the one
 * addition that merged tokens need: a token may count more than once.
 *
 * Vaswani et al., "Attention Is All You Need", NeurIPS 2017, arXiv:1706.03762, section 3.2. Proportional attention:
 * Bolya et al., "Token Merging", ICLR 2023, arXiv:2210.09461, section 3, equation 1.
 *
 * @module
 */
import { stopGradient, tf, tidy } from "../tensor/mod.ts";
import { xavierUniform, zeros } from "./initialise.ts";
import { dropout, linear, type LinearDescription, linearLayer, type LinearParameters } from "./layers.ts";

/**
 * Queries, keys and values in one layer, `qkv` [3 x inner, channels], as timm's `attn.qkv` and PyTorch's `in_proj_weight`;
 * or in three, where keys and values come from tokens of another width, or weights are stored so. Rows are split into heads.
 */
export type AttentionParameters =
  | { readonly qkv: LinearParameters; readonly proj: LinearParameters }
  | {
    readonly q: LinearParameters;
    readonly k: LinearParameters;
    readonly v: LinearParameters;
    readonly proj: LinearParameters;
  };

/** Describes attention with one layer for queries, keys and values. */
export interface SelfAttentionDescription {
  readonly qkv: LinearDescription;
  readonly proj: LinearDescription;
}

/** Describes attention with three layers for queries, keys and values. */
export interface CrossAttentionDescription {
  readonly q: LinearDescription;
  readonly k: LinearDescription;
  readonly v: LinearDescription;
  readonly proj: LinearDescription;
}

/** How attention layers differ from the default. */
export interface AttentionLayerOptions {
  /** Whether queries, keys and values have a bias. Default: true. */
  readonly bias?: boolean;
}

const fromPyTorch = { weightFrom: xavierUniform(), biasFrom: zeros };

/**
 * Describes the attention of tokens of one width. Starts as `nn.MultiheadAttention`: Xavier (uniform) over all three
 * together, the output as a linear layer, biases 0.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * assert.deepEqual(attentionLayer(8).qkv.weight.shape, [24, 8]);
 * ```
 */
export function attentionLayer(width: number, { bias = true }: AttentionLayerOptions = {}): SelfAttentionDescription {
  return {
    qkv: linearLayer(width, 3 * width, { ...fromPyTorch, bias }),
    proj: linearLayer(width, width, { biasFrom: zeros }),
  };
}

/**
 * Describes attention over tokens of another width. Starts as `nn.MultiheadAttention` with `kdim` and `vdim`.
 *
 * @param width Channels of the tokens that look, and of the result.
 * @param contextWidth Channels of the tokens looked at.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * assert.deepEqual(crossAttentionLayer(8, 6).k.weight.shape, [8, 6]);
 * ```
 */
export function crossAttentionLayer(
  width: number,
  contextWidth: number = width,
  { bias = true }: AttentionLayerOptions = {},
): CrossAttentionDescription {
  const projection = (inputs: number) => linearLayer(inputs, width, { ...fromPyTorch, bias });
  return {
    q: projection(width),
    k: projection(contextWidth),
    v: projection(contextWidth),
    proj: linearLayer(width, width, { biasFrom: zeros }),
  };
}

/** Options of {@link attention}. */
export interface AttentionOptions {
  readonly heads: number;
  /** [batch, context tokens, channels]: what is looked at. Default: `x` itself. */
  readonly context?: tf.Tensor3D | undefined;
  /** [batch, context tokens]: how often each token counts. Absent: once. */
  readonly size?: tf.Tensor2D | undefined;
  /** Added to the logits: anything that broadcasts to [batch, heads, tokens, context tokens]. */
  readonly bias?: tf.Tensor | undefined;
  /**
   * Who may look at whom, 1 or true where it may: [batch, context tokens] for all, [batch, tokens, context tokens] for all
   * heads, or anything of rank 4 that broadcasts to [batch, heads, tokens, context tokens]. A token that may look at
   * nothing gets 0 (PyTorch gives NaN).
   */
  readonly mask?: tf.Tensor | undefined;
  /** [batch, tokens]: how much each token still counts, 0 to 1, while a pruning is trained: {@link softmaxWithPolicy}. */
  readonly policy?: tf.Tensor2D | undefined;
  /** Whether token i may look at tokens 0 to i only. Default: false. */
  readonly causal?: boolean;
  /** Probability that an attention weight is dropped, where there is a key. Default: 0. */
  readonly dropout?: number;
  readonly key?: tf.Tensor1D | undefined;
}

/** The attention's output, and what reducers measure tokens by. */
export interface AttentionResult {
  /** [batch, tokens, channels] */
  readonly x: tf.Tensor3D;
  /** [batch, heads, tokens, channels / heads] */
  readonly queries: tf.Tensor4D;
  /** [batch, heads, context tokens, channels / heads] */
  readonly keys: tf.Tensor4D;
  /** [batch, heads, context tokens, channels / heads] */
  readonly values: tf.Tensor4D;
  /** [batch, heads, tokens, context tokens], after the softmax. */
  readonly attention: tf.Tensor4D;
}

/** Added to a logit that does not count: far below every other, but finite, so that no difference of two is NaN. */
const NEVER = -1e9;

/**
 * Softmax in which a token that is about to be pruned counts as little as `policy` says, so that a gradient tells whether
 * it should. Every token still sees itself.
 *
 * Rao et al., "DynamicViT", NeurIPS 2021, arXiv:2106.02034, section 3.4, equation 10. Checked against Haurum et al.'s
 * code (tests/golden/reduction.json, `dynamicvit.softmax_with_policy`).
 *
 * @param logits [batch, heads, tokens, tokens]
 * @param policy [batch, tokens], 0 to 1
 * @param epsilon Keeps a row without any token finite; the authors' 1e-6 is the default.
 *
 * @example A token with policy 0 is seen by itself alone
 * ```ts
 * import assert from "node:assert/strict";
 * import { tf } from "tessera/tensor/mod.ts";
 * const [[[first, second]]] = softmaxWithPolicy(tf.zeros<tf.Rank.R4>([1, 1, 2, 2]), tf.tensor2d([[1, 0]])).arraySync();
 * assert.ok(first[0] > 0.999 && Math.abs(second[1] - 0.5) < 1e-3);
 * ```
 */
export function softmaxWithPolicy(logits: tf.Tensor4D, policy: tf.Tensor2D, epsilon = 1e-6): tf.Tensor4D {
  const [batch, , tokens] = logits.shape;
  return tidy(() => {
    const self = tf.eye(tokens).reshape([1, 1, tokens, tokens]);
    const seen = policy.reshape([batch, 1, 1, tokens]);
    const allowed = tf.add(seen, tf.mul(tf.sub(1, seen), self));
    const odds = tf.exp(tf.sub(logits, stopGradient(logits.max(3, true)))).mul(allowed);
    return odds.add(epsilon / tokens).div<tf.Tensor4D>(odds.sum(3, true).add(epsilon));
  });
}

/**
 * Attention of `x` over itself, or over `context`.
 *
 * With `size`, a token that stands for s original ones is attended to as s equal tokens would be: log s is added to its
 * logits. That is exact where the merged tokens were identical.
 *
 * @param x [batch, tokens, channels], already normalised where the block is pre-norm.
 * @throws {RangeError} If the heads do not divide the channels.
 *
 * @example One token attends to itself
 * ```ts
 * import assert from "node:assert/strict";
 * import { tf } from "tessera/tensor/mod.ts";
 * const parameters = { qkv: { weight: tf.ones<tf.Rank.R2>([3, 1]) }, proj: { weight: tf.ones<tf.Rank.R2>([1, 1]) } };
 * assert.deepEqual(attention(tf.tensor3d([[[5]]]), parameters, { heads: 1 }).x.arraySync(), [[[5]]]);
 * ```
 */
export function attention(
  x: tf.Tensor3D,
  parameters: AttentionParameters,
  { heads, context, size, bias, mask, policy, causal = false, dropout: rate = 0, key }: AttentionOptions,
): AttentionResult {
  return tidy(() => {
    const [queries, keys, values] = project(x, context, parameters, heads);
    const [batch, , tokens, perHead] = queries.shape;
    const contextTokens = keys.shape[2];
    let logits = tf.matMul(queries, keys, false, true).mul<tf.Tensor4D>(perHead ** -0.5);
    if (size) logits = logits.add(size.log().reshape([batch, 1, 1, contextTokens]));
    if (bias) logits = logits.add(bias);
    const allowed = joinMasks(mask, causal ? causalMask(tokens, contextTokens) : undefined);
    if (allowed) logits = logits.mul<tf.Tensor4D>(allowed).add(tf.sub(1, allowed).mul(NEVER));
    let weights = policy ? softmaxWithPolicy(logits, policy) : tf.softmax(logits, 3);
    if (allowed) weights = weights.mul(allowed);
    const kept = dropout(weights, rate, key);
    const mixed = tf.matMul(kept, values).transpose([0, 2, 1, 3])
      .reshape<tf.Tensor3D>([batch, tokens, heads * values.shape[3]]);
    return { x: linear(mixed, parameters.proj), queries, keys, values, attention: weights };
  });
}

/** Queries, keys and values, each [batch, heads, tokens, channels / heads]. */
function project(
  x: tf.Tensor3D,
  context: tf.Tensor3D | undefined,
  parameters: AttentionParameters,
  heads: number,
): [tf.Tensor4D, tf.Tensor4D, tf.Tensor4D] {
  const split = (projected: tf.Tensor3D): tf.Tensor4D => {
    const [batch, tokens, inner] = projected.shape;
    refuseHeads(heads, inner);
    return projected.reshape([batch, tokens, heads, inner / heads]).transpose([0, 2, 1, 3]);
  };
  if (!("qkv" in parameters)) {
    const { q, k, v } = parameters;
    return [split(linear(x, q)), split(linear(context ?? x, k)), split(linear(context ?? x, v))];
  }
  const { weight, bias } = parameters.qkv;
  const inner = weight.shape[0] / 3;
  refuseHeads(heads, inner);
  if (!context) {
    const [batch, tokens] = x.shape;
    const together = linear(x, parameters.qkv).reshape([batch, tokens, 3, heads, inner / heads]);
    return tf.unstack(together.transpose([2, 0, 3, 1, 4]), 0) as [tf.Tensor4D, tf.Tensor4D, tf.Tensor4D];
  }
  const rows = (part: number, tokens: tf.Tensor3D) =>
    split(linear(tokens, {
      weight: weight.slice([part * inner, 0], [inner, -1]),
      bias: bias?.slice(part * inner, inner),
    }));
  return [rows(0, x), rows(1, context), rows(2, context)];
}

function refuseHeads(heads: number, channels: number): void {
  if (Number.isInteger(heads) && heads >= 1 && channels % heads === 0) return;
  throw new RangeError(`heads must divide the width, but ${channels} / ${heads} is not whole; change heads`);
}

/** [1, 1, tokens, context tokens]; the last token sees all, as where earlier tokens lie in a cache. */
function causalMask(tokens: number, contextTokens: number): tf.Tensor4D {
  const query = tf.range(contextTokens - tokens, contextTokens, 1, "int32").expandDims(1);
  const place = tf.range(0, contextTokens, 1, "int32").expandDims(0);
  return tf.lessEqual(place, query).cast("float32").reshape([1, 1, tokens, contextTokens]);
}

function joinMasks(mask: tf.Tensor | undefined, causal: tf.Tensor4D | undefined): tf.Tensor | undefined {
  if (!mask) return causal;
  if (mask.rank < 2 || mask.rank > 4) {
    throw new RangeError(
      `a mask must be [batch, tokens], [batch, tokens, tokens] or of rank 4, but it is [${mask.shape}]`,
    );
  }
  let wide = mask.cast("float32");
  if (mask.rank === 2) wide = wide.expandDims(1);
  if (mask.rank < 4) wide = wide.expandDims(1);
  return causal ? tf.mul(wide, causal) : wide;
}
