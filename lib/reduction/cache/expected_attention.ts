/**
 * Expected attention: keep what queries yet to come are expected to look at, if they are distributed like those before.
 *
 * Devoto et al., "Expected Attention: KV Cache Compression by Estimating Attention from Future Queries Distribution",
 * 2025, arXiv:2510.00636, section 3. Checked against kvpress (tests/golden, `expected_attention`). Differs from it in the
 * order of what stays, by score there (`parity: true`).
 *
 * The mean and covariance of a head's queries are turned by the mean of the next positions' rotations (the covariance by
 * that mean on both sides, which is not the mean of the turned ones; as the code does it).
 *
 * @module
 */
import { tf, tidy } from "../../tensor/mod.ts";
import { groupMean, groupsOf, lengths, withProtected } from "./heads.ts";
import { needInCache } from "../../nn/cache_policy.ts";
import { byScore, type CacheOptions, type CacheScore, type ScoredPolicy } from "./policy.ts";
import type { CacheMethod } from "./method.ts";

/** Options of expected attention. */
export interface ExpectedAttentionOptions {
  /** Positions to come over which rotations are averaged. Default: 512. */
  readonly future?: number;
  /** First tokens, which stay and have no part in the statistics. Default: 4. */
  readonly sinks?: number;
  /** Use the covariance beside the mean. Default: true. */
  readonly covariance?: boolean;
  /** Multiply by the lengths of the values. Default: true. */
  readonly valueNorm?: boolean;
  /** Added before that multiplication. Default: 0. */
  readonly epsilon?: number;
}

/**
 * The mean rotation of some positions as a matrix [channels, channels]: `rotary` turns x at position p into R_p x.
 *
 * @param base Of the frequencies, as in `rotary`.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * const [[first, , third]] = meanRotation(4, 16, 8).arraySync();
 * assert.deepEqual([first, third].map((value) => value.toFixed(4)), ["-0.1570", "0.1195"]);
 * ```
 */
export function meanRotation(channels: number, from: number, positions: number, base = 10000): tf.Tensor2D {
  const half = channels / 2;
  const matrix = Array.from({ length: channels }, () => new Float32Array(channels));
  for (let pair = 0; pair < half; pair++) {
    const frequency = base ** (-pair / half);
    let cos = 0, sin = 0;
    for (let p = from; p < from + positions; p++) {
      cos += Math.cos(p * frequency) / positions;
      sin += Math.sin(p * frequency) / positions;
    }
    matrix[pair][pair] = matrix[pair + half][pair + half] = cos;
    matrix[pair][pair + half] = -sin;
    matrix[pair + half][pair] = sin;
  }
  return tf.tensor2d(matrix.map((row) => [...row]));
}

/**
 * The expected attention to each key, times the length of its value: [batch, keyHeads, n].
 *
 * The logarithm of the mean of exp(q·k / sqrt(channels)) over a normal q is q̄·k / sqrt(channels) + kᵀΣk / (2 channels).
 *
 * @param queries [batch, heads, n, channels] before rotary positions.
 * @param keys [batch, keyHeads, n, channels] after them.
 * @param options `rotation`: what turns the statistics. Default: the mean rotation of the positions from n on.
 */
export function expectedAttentionScore(
  queries: tf.Tensor4D,
  keys: tf.Tensor4D,
  values: tf.Tensor4D,
  options: ExpectedAttentionOptions & {
    readonly base?: number;
    readonly from?: number;
    readonly rotation?: tf.Tensor2D;
    readonly parity?: boolean;
  } = {},
): tf.Tensor3D {
  const { future = 512, sinks = 4, covariance = true, valueNorm = true, epsilon = 0 } = options;
  const [batch, keyHeads, n, channels] = keys.shape, heads = queries.shape[1];
  const groups = groupsOf(heads, keyHeads), front = Math.min(sinks, n - 1);
  return tidy(() => {
    const seen = queries.slice<tf.Tensor4D>([0, 0, Math.min(front, queries.shape[2] - 1), 0]);
    const rotation = options.rotation ?? meanRotation(channels, options.from ?? n, future, options.base);
    const { mean, moments } = statistics(seen, rotation, covariance);

    const chosen = keys.slice<tf.Tensor4D>([0, 0, front, 0]), left = n - front;
    const perKey = (x: tf.Tensor) => x.reshape<tf.Tensor4D>([batch, keyHeads, -1, channels]);
    let logits = tf.matMul(perKey(mean), chosen, false, true).div<tf.Tensor4D>(Math.sqrt(channels)); // [b, kv, g, left]
    if (moments) {
      // kᵀΣk for the heads of a group at once: their covariances beside one another
      const side = moments.reshape([batch, keyHeads, groups, channels, channels]).transpose([0, 1, 3, 2, 4])
        .reshape<tf.Tensor4D>([batch, keyHeads, channels, groups * channels]);
      const turned = tf.matMul(chosen, side).reshape([batch, keyHeads, left, groups, channels]);
      const spread = turned.mul(chosen.expandDims(3)).sum(4).transpose<tf.Tensor4D>([0, 1, 3, 2]);
      logits = logits.add(spread.div(2 * channels));
    }
    const expected = groupMean(tf.softmax(logits, 3).reshape<tf.Tensor3D>([batch, heads, left]), keyHeads);
    const score = valueNorm
      ? expected.add(epsilon).mul<tf.Tensor3D>(lengths(values.slice<tf.Tensor4D>([0, 0, front, 0])))
      : expected;
    return withProtected(score, { front, asReference: options.parity });
  });
}

/** Mean [batch, heads, 1, channels] and covariance [batch, heads, channels, channels] of queries, turned. */
function statistics(
  queries: tf.Tensor4D,
  rotation: tf.Tensor2D,
  covariance: boolean,
): { mean: tf.Tensor4D; moments?: tf.Tensor4D } {
  const [, , m, channels] = queries.shape;
  const mean = queries.mean<tf.Tensor4D>(2, true);
  const turn = (x: tf.Tensor4D) =>
    tf.matMul(x.reshape<tf.Tensor2D>([-1, channels]), rotation, false, true).reshape<tf.Tensor4D>(x.shape);
  if (!covariance) return { mean: turn(mean) };
  const centred = turn(queries.sub<tf.Tensor4D>(mean)); // R C Rᵀ is the covariance of the turned
  return { mean: turn(mean), moments: tf.matMul(centred, centred, true, false).div<tf.Tensor4D>(m) };
}

/** {@link expectedAttentionScore} as a score of policies. */
export function expectedScore(options: ExpectedAttentionOptions & { readonly parity?: boolean } = {}): CacheScore {
  const name = "expected_attention";
  return {
    name,
    needs: ["queriesBeforeRotary"],
    of: (view) => {
      const { keys, values, ropeBase: base } = view;
      return expectedAttentionScore(needInCache(view, "queriesBeforeRotary", name), keys, values, { ...options, base });
    },
  };
}

/**
 * Expected attention as a policy.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * assert.deepEqual(expectedAttention({ keepRate: 0.5 }).needs, ["queriesBeforeRotary"]);
 * ```
 */
export function expectedAttention(options: CacheOptions & ExpectedAttentionOptions): ScoredPolicy {
  return byScore(expectedScore(options), options);
}

/** Expected attention in the catalogue. */
export const expectedAttentionMethod: CacheMethod = {
  paper: "Devoto et al., Expected Attention, 2025",
  section: "3, arXiv:2510.00636",
  tier: 1,
  traceable: true,
  golden: ["expected_attention"],
  cost: "n d^2",
  differs: "in nothing",
  breaks: { U9: "the first tokens stay" },
  create: (options) => expectedAttention({ ...options, sinks: 1, future: 16 }),
};
