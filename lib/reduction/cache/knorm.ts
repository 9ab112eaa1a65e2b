/**
 * Knorm: keep the keys of small norm, which attention is drawn to.
 *
 * Devoto et al., "A Simple and Effective L2 Norm-Based Strategy for KV Cache Compression", EMNLP 2024, arXiv:2406.11430,
 * section 3. Checked against kvpress (tests/golden, `knorm`). Differs from it in the order of what stays: theirs is by
 * score (`parity: true`), ours that of the input.
 *
 * @module
 */
import { type tf, tidy } from "../../tensor/mod.ts";
import { lengths } from "./heads.ts";
import { byScore, type CacheOptions, type CacheScore, type ScoredPolicy } from "./policy.ts";
import type { CacheMethod } from "./method.ts";

/** Options of {@link knorm} and its score. */
export interface KnormOptions {
  /** Keep the long keys instead: the control for "small norms matter". Default: false. */
  readonly flipped?: boolean;
}

/**
 * Minus the length of each key: [batch, keyHeads, n]. Costs keyHeads x n x channels multiplications.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { tf } from "tessera/tensor/mod.ts";
 * assert.deepEqual(keyNormScore(tf.tensor4d([[[[3, 4], [0, 1]]]])).arraySync(), [[[-5, -1]]]);
 * ```
 */
export function keyNormScore(keys: tf.Tensor4D, { flipped = false }: KnormOptions = {}): tf.Tensor3D {
  return tidy(() => flipped ? lengths(keys) : lengths(keys).neg<tf.Tensor3D>());
}

/**
 * {@link keyNormScore} as a score of policies.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * assert.deepEqual(knormScore().needs, []);
 * ```
 */
export function knormScore(options: KnormOptions = {}): CacheScore {
  return { name: "knorm", needs: [], of: ({ keys }) => keyNormScore(keys, options) };
}

/**
 * Knorm as a policy.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * const place = { layer: 0, layers: 1, heads: 1, keyHeads: 1, channels: 2, tokens: 10 };
 * assert.equal(knorm({ keepRate: 0.3 }).plan(place).achieved, 7);
 * ```
 */
export function knorm(options: CacheOptions & KnormOptions): ScoredPolicy {
  return byScore(knormScore(options), options);
}

/** Knorm in the catalogue. */
export const knormMethod: CacheMethod = {
  paper: "Devoto et al., L2 norm, 2024",
  section: "3, arXiv:2406.11430",
  tier: 1,
  traceable: true,
  golden: ["knorm"],
  cost: "n d",
  differs: "in nothing",
  breaks: {},
  create: (options) => knorm(options),
};
