/**
 * CurDKV: leverage of keys times leverage of values, each compared with its neighbourhood.
 *
 * Sengupta et al., "Value-Guided KV Compression for LLMs via Approximated CUR Decomposition", 2025, arXiv:2509.15038,
 * section 3. Checked against kvpress (tests/golden, `cur`). Differs from it in nothing but the order of what stays, by score
 * there (`parity: true`).
 *
 * @module
 */
import { needInCache } from "../../nn/cache_policy.ts";
import { tf, tidy } from "../../tensor/mod.ts";
import { withProtected } from "./heads.ts";
import { normalDraws } from "./leverage.ts";
import { byScore, type CacheOptions, type ScoredPolicy } from "./policy.ts";
import type { CacheMethod } from "./method.ts";

/** Options of CurDKV. */
export interface CUROptions {
  /** First tokens, which stay. Default: 4. */
  readonly sinks?: number;
  /** Whose energy counts. Default: "product". */
  readonly leverage?: "key" | "value" | "product" | "mean";
  /** Divide by the sum of the energies of the window of so many tokens that it lies in; 0: not at all. Default: 16. */
  readonly window?: number;
  /** Columns that keys and values are sketched to by chance; 0: they are taken as they are. Default: 0. */
  readonly sketch?: number;
}

/**
 * The share of energy of each token: [batch, keyHeads, n]; sinks score 1 (`parity`) or above all others.
 *
 * @param draws [channels, sketch] of normal draws.
 */
export function curScore(
  keys: tf.Tensor4D,
  values: tf.Tensor4D,
  { sinks = 4, leverage = "product", window = 16, draws, parity = false }: Omit<CUROptions, "sketch"> & {
    readonly draws?: tf.Tensor2D;
    readonly parity?: boolean;
  } = {},
): tf.Tensor3D {
  const [batch, heads, n, channels] = keys.shape, front = Math.min(sinks, n - 1);
  return tidy(() => {
    const energy = (x: tf.Tensor4D) => {
      const seen = draws
        ? tf.matMul(x.reshape<tf.Tensor2D>([-1, channels]), draws.mul<tf.Tensor2D>(draws.shape[1] ** -0.5))
        : x.reshape<tf.Tensor2D>([-1, channels]);
      const own = seen.square().sum(1).reshape<tf.Tensor3D>([batch, heads, n]);
      return window > 0 ? own.div<tf.Tensor3D>(tf.maximum(neighbourhood(own, window), tf.scalar(1e-30))) : own;
    };
    const score = leverage === "key"
      ? energy(keys)
      : leverage === "value"
      ? energy(values)
      : leverage === "product"
      ? energy(keys).mul<tf.Tensor3D>(energy(values))
      : energy(keys).add(energy(values)).div<tf.Tensor3D>(2);
    const share = score.div<tf.Tensor3D>(tf.maximum(score.sum(2, true), tf.scalar(1e-30)));
    const rest = share.slice<tf.Tensor3D>([0, 0, front]);
    if (!parity) return withProtected(rest, { front });
    return tf.concat([tf.ones<tf.Rank.R3>([batch, heads, front]), rest], 2);
  });
}

/** The sum over each token's window: the tokens 0 to window - 1, the next ones, and so on. */
function neighbourhood(x: tf.Tensor3D, window: number): tf.Tensor3D {
  const [batch, heads, n] = x.shape, windows = Math.ceil(n / window);
  const padded = tf.pad(x, [[0, 0], [0, 0], [0, windows * window - n]]);
  const sums = padded.reshape([batch, heads, windows, window]).sum(3, true).tile([1, 1, 1, window]);
  return sums.reshape<tf.Tensor3D>([batch, heads, windows * window]).slice([0, 0, 0], [-1, -1, n]);
}

/**
 * CurDKV as a policy.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * assert.deepEqual([cur({ keep: 9 }).needs, cur({ keep: 9, sketch: 20 }).needs], [[], ["key"]]);
 * ```
 */
export function cur(options: CacheOptions & CUROptions): ScoredPolicy {
  const { sketch = 0 } = options;
  return byScore({
    name: "cur",
    needs: sketch > 0 ? ["key"] : [],
    of: (view) =>
      tidy(() => {
        const draws = sketch > 0 ? normalDraws(needInCache(view, "key", "cur"), [view.channels, sketch]) : undefined;
        return curScore(view.keys, view.values, { ...options, ...(draws ? { draws: draws as tf.Tensor2D } : {}) });
      }),
  }, options);
}

/** CurDKV in the catalogue. */
export const curMethod: CacheMethod = {
  paper: "Sengupta et al., CurDKV, 2025",
  section: "3, arXiv:2509.15038",
  tier: 2,
  traceable: true,
  golden: ["cur"],
  cost: "2 n d",
  differs: "in nothing",
  breaks: { U9: "windows follow one another" },
  create: (options) => cur({ ...options, sinks: 1, window: 4 }),
};
