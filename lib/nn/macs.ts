/**
 * Counting multiply-accumulates (MACs). Vision papers print MACs and call them FLOPs; one MAC is two FLOPs.
 *
 * A block of width C at n tokens with an MLP m times as wide: attention `4nC² + 2n²C`, MLP `2mnC²`. A reduction between
 * the two makes the MLP cheaper already in its own block. Norms, softmax and the reducer itself are not counted, as in
 * the papers. The formula gives the printed digits of DeiT, ToMe and EViT (specification of reduction, section 4.6).
 *
 * Costs are counted from parameters, or from the description of a layer: `attentionMACs(attentionLayer(384), 197)`.
 *
 * @module
 */
import { type BlockDescription, blockLayer, type BlockParameters } from "./block.ts";
import type { AttentionParameters, CrossAttentionDescription, SelfAttentionDescription } from "./attention.ts";
import type { LinearDescription, LinearParameters, MLPDescription, MLPParameters } from "./layers.ts";
import type { LSTMDescription, LSTMParameters } from "./lstm.ts";

/** The sizes of a Vision Transformer that its cost follows from. */
export interface ViTShape {
  readonly width: number;
  readonly depth: number;
  readonly mlpWidth: number;
  readonly patches: number;
  /** Numbers in one patch: its side squared times its colours. */
  readonly patchValues: number;
  readonly classes: number;
}

/** Tokens that enter a block and tokens that leave it. */
export interface TokenCount {
  readonly in: number;
  readonly out: number;
}

/**
 * MACs of a linear layer over so many rows.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { linearLayer } from "tessera/nn/mod.ts";
 * assert.equal(linearMACs(linearLayer(4, 3), 10), 120);
 * ```
 */
export function linearMACs({ weight: { shape } }: LinearParameters | LinearDescription, rows: number): number {
  return rows * shape[0] * shape[1];
}

/**
 * MACs of attention of so many tokens over themselves, or over others.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { attentionLayer } from "tessera/nn/mod.ts";
 * assert.equal(attentionMACs(attentionLayer(8), 10), 4 * 10 * 8 ** 2 + 2 * 10 ** 2 * 8);
 * ```
 */
export function attentionMACs(
  layer: AttentionParameters | SelfAttentionDescription | CrossAttentionDescription,
  tokens: number,
  contextTokens: number = tokens,
): number {
  const width = layer.proj.weight.shape[1]; // of all heads together
  const mixing = 2 * tokens * contextTokens * width;
  const out = linearMACs(layer.proj, tokens);
  if ("qkv" in layer) return linearMACs(layer.qkv, tokens + 2 * contextTokens) / 3 + mixing + out;
  return linearMACs(layer.q, tokens) + linearMACs(layer.k, contextTokens) + linearMACs(layer.v, contextTokens) +
    mixing + out;
}

/**
 * MACs of an MLP over so many tokens.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { mlpLayer } from "tessera/nn/mod.ts";
 * assert.equal(mlpMACs(mlpLayer(8, 32), 10), 2 * 10 * 8 * 32);
 * ```
 */
export function mlpMACs({ fc1, fc2 }: MLPParameters | MLPDescription, tokens: number): number {
  return linearMACs(fc1, tokens) + linearMACs(fc2, tokens);
}

/**
 * MACs of a transformer block, in which tokens may leave between attention and MLP.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { blockLayer } from "tessera/nn/mod.ts";
 * assert.ok(blockMACs(blockLayer(8, 32), { in: 10, out: 5 }) < blockMACs(blockLayer(8, 32), { in: 10, out: 10 }));
 * ```
 */
export function blockMACs({ attn, mlp }: BlockParameters | BlockDescription, tokens: TokenCount): number {
  return attentionMACs(attn, tokens.in) + mlpMACs(mlp, tokens.out);
}

/**
 * MACs of an LSTM along so many steps.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { lstmLayer } from "tessera/nn/mod.ts";
 * assert.equal(lstmMACs(lstmLayer(3, 5), 7), 7 * 4 * 5 * (3 + 5));
 * ```
 */
export function lstmMACs({ weight_ih, weight_hh }: LSTMParameters | LSTMDescription, steps: number): number {
  return linearMACs({ weight: weight_ih } as LinearDescription, steps) +
    linearMACs({ weight: weight_hh } as LinearDescription, steps);
}

/**
 * MACs of one image through a Vision Transformer whose block l sees `counts[l]`.
 *
 * @example DeiT-S without reduction costs 4.6 GMACs
 * ```ts
 * import assert from "node:assert/strict";
 * const deitS = { width: 384, depth: 12, mlpWidth: 1536, patches: 196, patchValues: 768, classes: 1000 };
 * const macs = vitMACs(deitS, Array(12).fill({ in: 197, out: 197 }));
 * assert.equal((macs / 1e9).toFixed(3), "4.599");
 * ```
 */
export function vitMACs(shape: ViTShape, counts: readonly TokenCount[]): number {
  const { width, depth, mlpWidth, patches, patchValues, classes } = shape;
  if (counts.length !== depth) {
    throw new RangeError(
      `token counts are needed for each of ${depth} blocks, but there are ${counts.length}; pass one per block`,
    );
  }
  const block = blockLayer(width, mlpWidth);
  const blocks = counts.reduce((sum, count) => sum + blockMACs(block, count), 0);
  return patches * patchValues * width + blocks + width * classes;
}

/** The sizes of a decoder that its cost follows from. */
export interface DecoderShape {
  readonly width: number;
  readonly depth: number;
  readonly mlpWidth: number;
  /** Whether the MLP has a third, gating layer, as LLaMA's. Published tables of token reduction count without. Default: false. */
  readonly gated?: boolean;
  /** Channels of all key heads together, where they are fewer than those of the queries. Default: `width`. */
  readonly keyWidth?: number;
}

/**
 * MACs of one block of a decoder at `tokens` tokens: `4nd² + 2n²d + 2ndm`, as FastV and DivPrune count it (causal attention
 * is not halved there).
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * assert.equal(decoderBlockMACs({ width: 2, depth: 1, mlpWidth: 3 }, 5), 4 * 5 * 4 + 2 * 25 * 2 + 2 * 5 * 2 * 3);
 * ```
 */
export function decoderBlockMACs(
  { width, mlpWidth, gated = false, keyWidth = width }: DecoderShape,
  tokens: number,
): number {
  const projections = 2 * tokens * width ** 2 + 2 * tokens * width * keyWidth;
  return projections + 2 * tokens ** 2 * width + (gated ? 3 : 2) * tokens * width * mlpWidth;
}

/**
 * MACs of the blocks of a decoder whose block l sees `counts[l]` tokens.
 *
 * @example FastV after two of 32 blocks, half of 576 image tokens: .524 of the cost
 * ```ts
 * import assert from "node:assert/strict";
 * const llava = { width: 4096, depth: 32, mlpWidth: 11008 };
 * const counts = Array.from({ length: 32 }, (_, layer) => layer < 2 ? 576 : 288);
 * const share = decoderMACs(llava, counts) / decoderMACs(llava, Array(32).fill(576));
 * assert.equal(share.toFixed(4), "0.5244");
 * ```
 */
export function decoderMACs(shape: DecoderShape, counts: readonly number[]): number {
  if (counts.length !== shape.depth) {
    throw new RangeError(
      `token counts are needed for each of ${shape.depth} blocks, but there are ${counts.length}; pass one per block`,
    );
  }
  return counts.reduce((sum, tokens) => sum + decoderBlockMACs(shape, tokens), 0);
}

/**
 * MACs of making one more token, with a cache of `cached[l]` tokens in block l.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * assert.equal(decodeMACs({ width: 2, depth: 1, mlpWidth: 3 }, [7]), 4 * 4 + 2 * 2 * 7 + 2 * 2 * 3);
 * ```
 */
export function decodeMACs(shape: DecoderShape, cached: readonly number[]): number {
  const { width, mlpWidth, gated = false, keyWidth = width } = shape;
  const fixed = 2 * width ** 2 + 2 * width * keyWidth + (gated ? 3 : 2) * width * mlpWidth;
  return cached.reduce((sum, tokens) => sum + fixed + 2 * width * tokens, 0);
}

/**
 * Bytes of keys and values: 2 x key channels x bytes per number x tokens, summed over the blocks.
 *
 * @param cached Tokens in the cache of each block.
 *
 * @example Llama-3.1-8B with 128 k tokens in half precision: 16 GiB
 * ```ts
 * import assert from "node:assert/strict";
 * assert.equal(cacheBytes(8 * 128, Array(32).fill(131_072), 2) / 2 ** 30, 16);
 * ```
 */
export function cacheBytes(keyWidth: number, cached: readonly number[], bytesPerNumber: number): number {
  return cached.reduce((sum, tokens) => sum + 2 * keyWidth * tokens * bytesPerNumber, 0);
}
