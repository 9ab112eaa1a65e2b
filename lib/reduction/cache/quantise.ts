/**
 * The cache with fewer bits: keys rounded channel by channel over groups of tokens, values token by token over groups of
 * channels; the last tokens, and a small pool of tokens with odd keys, stay as they are.
 *
 * Liu et al., "KIVI: A Tuning-Free Asymmetric 2bit Quantization for KV Cache", ICML 2024, arXiv:2402.02750, section 3; the
 * pool: Su et al., "Accurate KV Cache Quantization with Outlier Tokens Tracing", ACL 2025, arXiv:2505.10938, section 4.
 * There is no golden case: `quantised` is its own control against the exact bound of the rounding error. Differs from the
 * second paper in the pool: theirs is exchanged while text is made, ours is chosen once, after the prompt.
 *
 * Numbers are rounded where they are stored, and kept as float32, since TensorFlow.js has no smaller type to compute with;
 * `packBits` shows that the bytes counted are enough.
 *
 * @module
 */
import { type CacheChange, type CachePolicy, type CacheView, eachLayer } from "../../nn/cache_policy.ts";
import { stableTopK, tf, tidy } from "../../tensor/mod.ts";
import { isAmong } from "./heads.ts";
import type { CacheMethod } from "./method.ts";

/** Numbers of bits. */
export type Bits = 8 | 4 | 3 | 2;

/** Options of {@link quantised}. */
export interface QuantiseOptions {
  readonly bits: Bits;
  /** Tokens (for keys) and channels (for values) that share a scale. Default: 32. */
  readonly group?: number;
  /** Last tokens that stay as they are, at least. Default: 32. */
  readonly recent?: number;
  /** Tokens of each head in the pool that stays as it is: those with the smallest keys in the outlier channels. Default: 0. */
  readonly outliers?: number;
  /** Channels in which keys are large that the pool is chosen by. Default: an eighth of them. */
  readonly outlierChannels?: number;
}

/**
 * Rounds to 2^bits equally spaced values between the least and the greatest of each group along an axis; a last group may
 * be shorter.
 *
 * @param x [batch, keyHeads, n, channels]
 * @param axis 2: groups of tokens, for keys; 3: groups of channels, for values.
 * @param counts [batch, keyHeads, n] bool: tokens that have a part in the least and greatest. Default: all.
 *
 * @example Two bits have four values
 * ```ts
 * import assert from "node:assert/strict";
 * import { tf } from "tessera/tensor/mod.ts";
 * const rounded = roundToBits(tf.tensor4d([[[[0, 0.9, 2.2, 3]]]]), { bits: 2, axis: 3, group: 4 });
 * assert.deepEqual(rounded.arraySync(), [[[[0, 1, 2, 3]]]]);
 * ```
 */
export function roundToBits(
  x: tf.Tensor4D,
  { bits, axis, group, counts }: {
    readonly bits: Bits;
    readonly axis: 2 | 3;
    readonly group: number;
    readonly counts?: tf.Tensor3D;
  },
): tf.Tensor4D {
  return tidy(() => {
    const { codes, low, step } = codesOf(x, { bits, axis, group, ...(counts ? { counts } : {}) });
    return codes.mul(step).add(low);
  });
}

/** The whole numbers 0 to 2^bits - 1 that stand for x, and the scale and offset of each number, broadcast. */
export function codesOf(
  x: tf.Tensor4D,
  { bits, axis, group, counts }: {
    readonly bits: Bits;
    readonly axis: 2 | 3;
    readonly group: number;
    readonly counts?: tf.Tensor3D;
  },
): { codes: tf.Tensor4D; low: tf.Tensor4D; step: tf.Tensor4D } {
  const length = x.shape[axis], most = 2 ** bits - 1;
  return tidy(() => {
    const outside = (value: number) =>
      counts ? tf.where<tf.Tensor>(counts.expandDims(3), x, tf.scalar(value)) as tf.Tensor4D : x;
    const extremes = (padding: number, of: (groups: tf.Tensor) => tf.Tensor) => {
      const groups = Math.ceil(length / group);
      const pads = x.shape.map((_, i) => [0, i === axis ? groups * group - length : 0] as [number, number]);
      const padded = tf.pad(outside(padding), pads, padding);
      const inGroups = [...padded.shape.slice(0, axis), groups, group, ...padded.shape.slice(axis + 1)];
      const repeats = inGroups.map((_, i) => i === axis + 1 ? group : 1);
      const each = of(padded.reshape(inGroups)).expandDims(axis + 1).tile(repeats).reshape(padded.shape);
      return each.slice(x.shape.map(() => 0), x.shape) as tf.Tensor4D;
    };
    const low = extremes(3e38, (groups) => groups.min(axis + 1));
    const high = extremes(-3e38, (groups) => groups.max(axis + 1));
    const step = tf.maximum<tf.Tensor4D>(high.sub(low).div(most), tf.scalar(1e-12));
    const codes = x.sub(low).div(step).round().clipByValue(0, most) as tf.Tensor4D;
    return { codes, low, step };
  });
}

/**
 * Codes of `bits` bits in the 32-bit words that they would be stored in, as many in each as fit.
 *
 * @param codes Whole numbers from 0 to 2^bits - 1, [words x floor(32 / bits)].
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * const codes = [3, 0, 1, 2, 2];
 * assert.deepEqual(unpackBits(packBits(codes, 2), 2, 5), codes);
 * assert.equal(packBits(codes, 2).length, 1);
 * ```
 */
export function packBits(codes: ArrayLike<number>, bits: Bits): Uint32Array {
  const each = Math.floor(32 / bits), words = new Uint32Array(Math.ceil(codes.length / each));
  for (let i = 0; i < codes.length; i++) words[Math.floor(i / each)] |= codes[i] << ((i % each) * bits);
  return words;
}

/**
 * What {@link packBits} has packed.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * assert.deepEqual(unpackBits(new Uint32Array([0b1101]), 2, 2), [1, 3]);
 * ```
 */
export function unpackBits(words: Uint32Array, bits: Bits, count: number): number[] {
  const each = Math.floor(32 / bits), mask = 2 ** bits - 1;
  return Array.from({ length: count }, (_, i) => (words[Math.floor(i / each)] >>> ((i % each) * bits)) & mask);
}

/**
 * Places of the tokens with the smallest keys in the channels in which keys are largest: int32, [batch, keyHeads, pool].
 *
 * @param channels How many channels count.
 */
export function outlierTokens(keys: tf.Tensor4D, pool: number, channels: number): tf.Tensor3D {
  return tidy(() => {
    const size = keys.abs();
    const largest = stableTopK(size.mean<tf.Tensor3D>(2), channels);
    const chosen = tf.oneHot(largest, keys.shape[3]).sum(2).expandDims(2); // [batch, keyHeads, 1, channels]
    return stableTopK(size.mul(chosen).sum<tf.Tensor3D>(3).neg(), pool);
  });
}

/**
 * A cache of few bits as a policy: after the prompt, and for each group of tokens that is complete while text is made.
 *
 * @throws {RangeError} Where bits, group, recent or outliers are none.
 *
 * @example A token of 32 channels takes 256 bytes in float32
 * ```ts
 * import assert from "node:assert/strict";
 * assert.equal(bytesOf({ bits: 4, group: 32 }, 32, 0), 40); // codes 16 + 16; scales and offsets 4 + 4
 * assert.equal(quantised({ bits: 4 }).name, "4 bits");
 * ```
 */
export function quantised(options: QuantiseOptions): CachePolicy {
  const { bits, group = 32, recent = 32, outliers = 0 } = options;
  if (![8, 4, 3, 2].includes(bits)) throw new RangeError(`bits must be 8, 4, 3 or 2, but it is ${bits}; choose one`);
  for (const [name, value, least] of [["group", group, 1], ["recent", recent, 0], ["outliers", outliers, 0]] as const) {
    if (Number.isInteger(value) && value >= least) continue;
    throw new RangeError(`${name} must be a whole number from ${least}, but it is ${value}; correct it`);
  }
  const done = (n: number) => Math.max(0, Math.floor((n - recent) / group) * group);
  const bytes = (view: CacheView) => (slots: number) => {
    const whole = Math.max(0, Math.min(slots, slots - done(slots) + outliers));
    return (slots - whole) * bytesOf(options, view.channels, 0) + whole * bytesOf(options, view.channels, 1);
  };
  const answer = (from: number, pool: number) => (view: CacheView): CacheChange | undefined => {
    const to = done(view.tokens);
    if (to <= from) return { bytes: bytes(view) };
    return { ...roundedPart(view, from, to, pool, options), bytes: bytes(view) };
  };
  return {
    name: `${bits} bits`,
    needs: [],
    afterPrompt: eachLayer(answer(0, outliers)),
    // what was rounded before is left alone: it would be rounded by itself, but for the last digit
    everySteps: { tokens: group, of: (views) => views.map((view) => answer(done(view.tokens - group), 0)(view)) },
  };
}

/** Bytes of a token's key and value in one head; `whole` 1: as it is. Scales and offsets are half floats. */
export function bytesOf({ bits, group = 32 }: QuantiseOptions, channels: number, whole: 0 | 1): number {
  if (whole) return 2 * channels * 4;
  const codes = (numbers: number) => numbers * 4 / Math.floor(32 / bits);
  return 2 * codes(channels) + 4 * Math.ceil(channels / group) + 4 * channels / group;
}

/** Keys and values with the tokens `from` up to `to` rounded, but for a pool. */
function roundedPart(
  { keys, values, channels }: CacheView,
  from: number,
  to: number,
  pool: number,
  { bits, group = 32, outlierChannels = Math.max(1, Math.floor(channels / 8)) }: QuantiseOptions,
): Pick<CacheChange, "keys" | "values"> {
  return tidy(() => {
    const part = (x: tf.Tensor4D) => x.slice<tf.Tensor4D>([0, 0, from, 0], [-1, -1, to - from, -1]);
    const old = part(keys);
    const odd = pool > 0
      ? isAmong(outlierTokens(old, Math.min(pool, to - from), outlierChannels), to - from)
      : undefined;
    const counts = odd ? { counts: tf.logicalNot(odd) } : {};
    const put = (x: tf.Tensor4D, rounded: tf.Tensor4D) => {
      const mixed = odd ? tf.where<tf.Tensor>(odd.expandDims(3), part(x), rounded) as tf.Tensor4D : rounded;
      const rest = [x.slice<tf.Tensor4D>([0, 0, 0, 0], [-1, -1, from, -1]), x.slice<tf.Tensor4D>([0, 0, to, 0])];
      return tf.concat([rest[0], mixed, rest[1]], 2);
    };
    return {
      keys: put(keys, roundToBits(old, { bits, axis: 2, group, ...counts })),
      values: put(values, roundToBits(part(values), { bits, axis: 3, group: Math.min(group, channels) })),
    };
  });
}

/** The quantised cache in the catalogue. */
export const quantisedMethod: CacheMethod = {
  paper: "Liu et al., KIVI, 2024; Su et al., Outlier Tokens Tracing, 2025",
  section: "3, arXiv:2402.02750",
  tier: 1,
  traceable: true,
  golden: [],
  cost: "2 n d",
  differs: "from the second paper in the pool, which is chosen once",
  breaks: { K2: "it drops bits, not tokens", keys: "that is what it does", values: "that is what it does" },
  create: (options) =>
    "keepRate" in options && options.keepRate === 1
      ? { name: "32 bits", needs: [] }
      : quantised({ bits: 4, group: 8, recent: 4 }),
};
