/**
 * Leverage scores: keep the keys that the others cannot stand in for; and Compactor, which adds how much attention falls
 * on a key without the causal mask.
 *
 * Chari and Van Durme, "Compactor: Calibrated Query-Agnostic KV Cache Compression with Approximate Leverage Scores", 2025,
 * arXiv:2507.08143, section 3. Checked against kvpress (tests/golden, `leverage`, `non_causal_attention`, `compactor`).
 * Differs from it in four places, each as there with `parity: true`: scores are standardised head by head (there over the
 * whole batch); logits are divided by the root of the channels; what a last chunk is filled up with is masked (there it
 * gets the logit -1e-9); protected tokens stand above all others (there they tie with the best).
 *
 * @module
 */
import { type CacheView, needInCache } from "../../nn/cache_policy.ts";
import { foldIn, randomUniform, tf, tidy } from "../../tensor/mod.ts";
import { forEachQueryHead, groupMean, lengths, pool, withProtected } from "./heads.ts";
import { byScore, type CacheOptions, type CacheScore, type ScoredPolicy } from "./policy.ts";
import type { CacheMethod } from "./method.ts";

/** Options of the leverage score. */
export interface LeverageOptions {
  /** Channels that keys are sketched to. Default: 48, or as many as there are. */
  readonly sketch?: number;
  /** Added to the diagonal. Default: 0.01. */
  readonly ridge?: number;
  readonly parity?: boolean;
}

/**
 * x_jᵀ (XᵀX + λI)⁻¹ x_j for sketched, centred keys x_j, standardised: [batch, keyHeads, n].
 *
 * @param keys [batch, keyHeads, n, channels] before rotary positions.
 * @param gaussian [batch, keyHeads, channels, sketch] of normal draws.
 */
export function leverageScore(
  keys: tf.Tensor4D,
  gaussian: tf.Tensor4D,
  { ridge = 0.01, parity = false }: LeverageOptions = {},
): tf.Tensor3D {
  const sketch = gaussian.shape[3];
  return tidy(() => {
    const sketched = tf.matMul(keys, gaussian.mul<tf.Tensor4D>(sketch ** -0.5));
    const x = sketched.sub<tf.Tensor4D>(sketched.mean(2, true));
    const products = tf.matMul<tf.Tensor4D>(x, x, true, false), unit = tf.eye(sketch);
    // long keys need more on the diagonal, or float32 has no inverse
    const mean = products.mul(unit).sum([2, 3], true).div(sketch);
    const gram = products.add<tf.Tensor4D>(unit.mul(tf.maximum(mean.mul(1e-4), tf.scalar(ridge))));
    const raw = tf.matMul(x, inverse(gram)).mul(x).sum<tf.Tensor3D>(3);
    return standardised(tf.maximum(raw, tf.scalar(0)), parity);
  });
}

/**
 * The inverses of symmetric positive matrices [..., m, m] by Gauss-Jordan sweeps, as operations on tensors: TensorFlow.js
 * has none, and a loop in TypeScript would read them back.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { tf } from "tessera/tensor/mod.ts";
 * assert.deepEqual(inverse(tf.tensor([2, 0, 0, 4], [1, 1, 2, 2]) as tf.Tensor4D).arraySync(), [[[[0.5, 0], [0, 0.25]]]]);
 * ```
 */
export function inverse(matrices: tf.Tensor4D): tf.Tensor4D {
  const [batch, heads, m] = matrices.shape;
  return tidy(() => {
    let a = matrices.reshape<tf.Tensor3D>([batch * heads, m, m]);
    for (let i = 0; i < m; i++) {
      const unit = tf.oneHot(tf.tensor1d([i], "int32"), m).cast("float32"); // [1, m]
      const row = a.slice([0, i, 0], [-1, 1, -1]), column = a.slice([0, 0, i], [-1, -1, 1]);
      const pivot = row.slice([0, 0, i], [-1, -1, 1]);
      // row i becomes row / pivot with 1 / pivot at i; the others lose their part of it
      const scaled = row.sub(row.sub(1).mul(unit)).div(pivot);
      const others = a.mul(tf.sub(1, unit.expandDims(0))).sub(column.mul(scaled));
      const isRow = unit.reshape([1, m, 1]);
      a = others.mul(tf.sub(1, isRow)).add(scaled.mul(isRow)) as tf.Tensor3D;
    }
    return a.reshape<tf.Tensor4D>([batch, heads, m, m]);
  });
}

/** (x - mean) / deviation, over each head's tokens or over the whole tensor. */
export function standardised(x: tf.Tensor3D, whole: boolean): tf.Tensor3D {
  const axes = whole ? [0, 1, 2] : [2];
  const count = axes.reduce((product, axis) => product * x.shape[axis], 1);
  return tidy(() => {
    const centred = x.sub<tf.Tensor3D>(x.mean(axes, true));
    const deviation = centred.square().sum(axes, true).div(Math.max(1, count - 1)).sqrt();
    return centred.div(tf.maximum(deviation, tf.scalar(1e-12)));
  });
}

/** Normal draws from a key, by Box and Muller. */
export function normalDraws(key: tf.Tensor1D, shape: readonly number[]): tf.Tensor {
  return tidy(() => {
    const radius = randomUniform(foldIn(key, 0), [...shape]).mul(-1).add(1).log().mul(-2).sqrt();
    return radius.mul(randomUniform(foldIn(key, 1), [...shape]).mul(2 * Math.PI).cos());
  });
}

/** Options of {@link nonCausalScore}. */
export interface NonCausalOptions {
  /** Tokens that look at one another. Default: 256. */
  readonly chunk?: number;
  readonly parity?: boolean;
}

/**
 * How much attention falls on each key within its chunk when every query may look at every key, times the length of its
 * value, pooled over three neighbours, standardised: [batch, keyHeads, n].
 *
 * @param queries [batch, heads, n, channels], turned to their positions as the keys are.
 */
export function nonCausalScore(
  queries: tf.Tensor4D,
  keys: tf.Tensor4D,
  values: tf.Tensor4D,
  { chunk = 256, parity = false }: NonCausalOptions = {},
): tf.Tensor3D {
  const [batch, heads, n, channels] = queries.shape, keyHeads = keys.shape[1];
  const chunks = Math.ceil(n / chunk), extra = chunks * chunk - n;
  return tidy(() => {
    const split = (x: tf.Tensor4D) =>
      tf.pad(x, [[0, 0], [0, 0], [0, extra], [0, 0]]).reshape<tf.Tensor4D>([batch * heads, chunks, chunk, channels]);
    const scale = parity ? 1 : channels ** -0.5;
    const logits = tf.matMul(split(queries).mul<tf.Tensor4D>(scale), split(forEachQueryHead(keys, heads)), false, true);
    const real = tf.range(0, chunks * chunk, 1, "int32").less(tf.scalar(n, "int32")).reshape([1, chunks, chunk]);
    // -1e-9 instead of -1e9 upstream: what fills up the last chunk is looked at, and looks
    const masked = tf.where<tf.Tensor>(real.expandDims(2), logits, tf.scalar(parity ? -1e-9 : -1e9));
    const weights = tf.softmax(masked as tf.Tensor4D, 3);
    const looking = parity ? weights : weights.mul<tf.Tensor4D>(real.expandDims(3).cast("float32"));
    const columns = looking.sum(2).reshape([batch, heads, chunks * chunk]).slice([0, 0, 0], [-1, -1, n]) as tf.Tensor3D;
    const weighed = groupMean(columns, keyHeads).mul<tf.Tensor3D>(lengths(values));
    return standardised(pool(weighed, 3, "average"), parity);
  });
}

/** Options of {@link compactor}. */
export interface CompactorOptions extends LeverageOptions, NonCausalOptions {
  /** Weight of the leverage score. Default: the share of tokens that go. */
  readonly blending?: number;
  /** First tokens, which stay. Default: 8. */
  readonly sinks?: number;
  /** Last tokens, which stay. Default: 4. */
  readonly recent?: number;
}

function leverageOf(view: CacheView, options: LeverageOptions, name: string, front = 0, back = 0): tf.Tensor3D {
  const [batch, keyHeads, n, channels] = view.keys.shape;
  const draws = normalDraws(needInCache(view, "key", name), [
    batch,
    keyHeads,
    channels,
    options.sketch ?? Math.min(48, channels),
  ]);
  const keys = needInCache(view, "keysBeforeRotary", name).slice<tf.Tensor4D>([0, 0, front, 0], [
    -1,
    -1,
    n - front - back,
    -1,
  ]);
  return leverageScore(keys, draws as tf.Tensor4D, options);
}

/**
 * Leverage scores as a policy.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * assert.deepEqual(leverage({ keepRate: 0.5 }).needs, ["keysBeforeRotary", "key"]);
 * ```
 */
export function leverage(options: CacheOptions & LeverageOptions): ScoredPolicy {
  const name = "leverage";
  return byScore({
    name,
    needs: ["keysBeforeRotary", "key"],
    of: (view) => tidy(() => leverageOf(view, options, name)),
  }, options);
}

/**
 * Attention without the causal mask as a policy.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * assert.deepEqual(nonCausalAttention({ keepRate: 0.5 }).needs, ["queries"]);
 * ```
 */
export function nonCausalAttention(options: CacheOptions & NonCausalOptions): ScoredPolicy {
  const name = "non_causal_attention";
  return byScore({
    name,
    needs: ["queries"],
    of: (view) => nonCausalScore(needInCache(view, "queries", name), view.keys, view.values, options),
  }, options);
}

/** {@link compactor}'s score of leverage and attention of the tokens between its ends. */
export function compactorScore(
  leverage: tf.Tensor3D,
  attention: tf.Tensor3D,
  { blending, front, back, parity = false }: {
    readonly blending: number;
    readonly front: number;
    readonly back: number;
    readonly parity?: boolean;
  },
): tf.Tensor3D {
  return tidy(() => {
    const score = leverage.mul(blending).add<tf.Tensor3D>(attention);
    if (!parity) return withProtected(score, { front, back });
    const [batch, heads] = score.shape, ends = (tokens: number) => tf.ones<tf.Rank.R3>([batch, heads, tokens]);
    const top = score.max();
    return tf.concat([ends(front).mul<tf.Tensor3D>(top), score, ends(back).mul<tf.Tensor3D>(top)], 2);
  });
}

/**
 * Compactor as a policy.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * assert.deepEqual(compactor({ keepRate: 0.5 }).needs, ["queries", "keysBeforeRotary", "key"]);
 * ```
 */
export function compactor(options: CacheOptions & CompactorOptions): ScoredPolicy {
  const { sinks = 8, recent = 4, parity = false } = options, name = "compactor";
  const score: CacheScore = {
    name,
    needs: ["queries", "keysBeforeRotary", "key"],
    of: (view, keep) =>
      tidy(() => {
        const n = view.tokens, front = Math.min(sinks, Math.max(0, n - 2)), back = Math.min(recent, n - front - 1);
        const middle = (x: tf.Tensor4D) => x.slice<tf.Tensor4D>([0, 0, front, 0], [-1, -1, n - front - back, -1]);
        const queries = needInCache(view, "queries", name);
        const attention = nonCausalScore(middle(queries), middle(view.keys), middle(view.values), options);
        const blending = options.blending ?? (n - keep) / n;
        return compactorScore(leverageOf(view, options, name, front, back), attention, {
          blending,
          front,
          back,
          parity,
        });
      }),
  };
  return byScore(score, options);
}

/** Leverage scores in the catalogue. */
export const leverageMethod: CacheMethod = {
  paper: "Chari and Van Durme, Compactor, 2025",
  section: "3, arXiv:2507.08143",
  tier: 2,
  traceable: true,
  golden: ["leverage"],
  cost: "n d s + s^3 for s sketched channels",
  differs: "from kvpress in what is standardised: each head by itself",
  breaks: { U7: "it draws for the whole batch at once" },
  create: (options) => leverage(options),
};

/** Attention without the causal mask in the catalogue. */
export const nonCausalAttentionMethod: CacheMethod = {
  paper: "Chari and Van Durme, Compactor, 2025",
  section: "3, arXiv:2507.08143",
  tier: 2,
  traceable: true,
  golden: ["non_causal_attention"],
  cost: "n c d for chunks of c",
  differs: "from kvpress in scale, padding and what is standardised",
  breaks: { U9: "chunks follow one another" },
  create: (options) => nonCausalAttention({ ...options, chunk: 8 }),
};

/** Compactor in the catalogue. */
export const compactorMethod: CacheMethod = {
  paper: "Chari and Van Durme, Compactor, 2025",
  section: "3, arXiv:2507.08143",
  tier: 2,
  traceable: true,
  golden: ["compactor"],
  cost: "that of both",
  differs: "as both, and in protected tokens, which do not tie",
  breaks: { U7: "it draws for the whole batch at once", U9: "the first and the last stay" },
  create: (options) => compactor({ ...options, sinks: 1, recent: 1, chunk: 8 }),
};
