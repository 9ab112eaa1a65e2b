/**
 * KeyDiff: keep the keys that differ most from the mean direction of all keys.
 *
 * Park et al., "KeyDiff: Key Similarity-Based KV Cache Eviction for Long-Context LLM Inference in Resource-Constrained
 * Environments", 2025, arXiv:2504.15364, section 4. Checked against kvpress (tests/golden, `keydiff`). Differs from it in
 * the order of what stays, by score there (`parity: true`); the paper's results are block by block: see `inBlocks`.
 *
 * @module
 */
import { tf, tidy } from "../../tensor/mod.ts";
import { inverseLengths } from "./heads.ts";
import { byScore, type CacheOptions, type CacheScore, type ScoredPolicy } from "./policy.ts";
import type { CacheMethod } from "./method.ts";

/**
 * Minus the cosine of each key and the mean of all keys' directions: [batch, keyHeads, n]. A key of zeros has cosine 0.
 *
 * @param alive [batch, keyHeads, n] bool: keys that exist; the others have no part in the mean.
 *
 * @example The one that points elsewhere is worth most
 * ```ts
 * import assert from "node:assert/strict";
 * import { tf } from "tessera/tensor/mod.ts";
 * const score = keyDifferenceScore(tf.tensor4d([[[[1, 0], [2, 0], [0, 1]]]]));
 * assert.equal(score.argMax(2).dataSync()[0], 2);
 * ```
 */
export function keyDifferenceScore(keys: tf.Tensor4D, alive?: tf.Tensor3D): tf.Tensor3D {
  return tidy(() => {
    const inverse = inverseLengths(keys);
    const weight = alive ? inverse.mul<tf.Tensor3D>(alive.cast("float32")) : inverse;
    // a sum points where the mean does, and only where it points matters; no direction is written out
    const sum = tf.matMul<tf.Tensor4D>(weight.expandDims<tf.Tensor4D>(2), keys); // [batch, keyHeads, 1, channels]
    const anchor = sum.mul<tf.Tensor4D>(inverseLengths(sum).expandDims(3));
    return tf.matMul(keys, anchor, false, true).squeeze<tf.Tensor3D>([3]).mul(inverse).neg() as tf.Tensor3D;
  });
}

/** {@link keyDifferenceScore} as a score of policies. */
export const keyDiffScore: CacheScore = { name: "keydiff", needs: [], of: ({ keys }) => keyDifferenceScore(keys) };

/**
 * KeyDiff as a policy.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * assert.deepEqual(keyDiff({ keep: 64 }).needs, []); // keys alone
 * ```
 */
export function keyDiff(options: CacheOptions): ScoredPolicy {
  return byScore(keyDiffScore, options);
}

/** KeyDiff in the catalogue. */
export const keyDiffMethod: CacheMethod = {
  paper: "Park et al., KeyDiff, 2025",
  section: "4, arXiv:2504.15364",
  tier: 1,
  traceable: true,
  golden: ["keydiff"],
  cost: "3 n d",
  differs: "in nothing",
  breaks: {},
  create: (options) => keyDiff(options),
};
