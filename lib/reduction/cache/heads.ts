/**
 * What cache methods have in common: heads in groups, the attention of a window, pooling, picking tokens head by head.
 *
 * Shapes: keys and values [batch, keyHeads, n, channels], queries and attention [batch, heads, ...]; each key head serves
 * the `heads / keyHeads` query heads behind one another, its group (grouped-query attention). Scores are
 * [batch, keyHeads, n], higher = stay. Nothing is read back, so all of it can be traced.
 *
 * @module
 */
import { gatherTokens, segmentSum, stableTopK, stopGradient, tf, tidy } from "../../tensor/mod.ts";

/**
 * The mean over the query heads of each group: [batch, heads, ...] to [batch, keyHeads, ...].
 *
 * @throws {RangeError} Where the heads do not divide into `keyHeads` groups.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { tf } from "tessera/tensor/mod.ts";
 * assert.deepEqual(groupMean(tf.tensor([1, 3, 5, 5], [1, 4, 1]), 2).arraySync(), [[[2], [5]]]);
 * ```
 */
export function groupMean<T extends tf.Tensor>(x: T, keyHeads: number): T {
  const [batch, heads, ...rest] = x.shape;
  if (heads === keyHeads) return x;
  return tidy(() => x.reshape([batch, keyHeads, groupsOf(heads, keyHeads), ...rest]).mean(2) as T);
}

/** Query heads that share one key head. */
export function groupsOf(heads: number, keyHeads: number): number {
  if (heads % keyHeads === 0) return heads / keyHeads;
  throw new RangeError(
    `each key head must serve the same number of query heads, but there are ${heads} of these and ${keyHeads} of those; ` +
      "take the model's own numbers",
  );
}

/** Keys or values once for each query head: [batch, keyHeads, ...] to [batch, heads, ...]. */
export function forEachQueryHead<T extends tf.Tensor>(x: T, heads: number): T {
  const [batch, keyHeads, ...rest] = x.shape;
  const groups = groupsOf(heads, keyHeads);
  if (groups === 1) return x;
  return tidy(() => x.expandDims(2).tile([1, 1, groups, ...rest.map(() => 1)]).reshape<T>([batch, heads, ...rest]));
}

/** Lengths of the vectors in the last axis. */
export function lengths(x: tf.Tensor4D): tf.Tensor3D {
  return tidy(() => x.square().sum<tf.Tensor3D>(3).sqrt());
}

/** One over the lengths, at most 1e12: a vector of zeros has no direction, and gets none. */
export function inverseLengths(x: tf.Tensor4D): tf.Tensor3D {
  return tidy(() => tf.maximum<tf.Tensor3D>(lengths(x), tf.scalar(1e-12)).reciprocal());
}

/** Vectors of length 1 in the last axis. */
export function directions(x: tf.Tensor4D): tf.Tensor4D {
  return tidy(() => tf.mul<tf.Tensor4D>(x, inverseLengths(x).expandDims(3)));
}

/** [w, n] bool: which of `n` keys the last `w` queries may look at. */
export function visible(w: number, n: number): tf.Tensor2D {
  return tidy(() => {
    const row = tf.range(n - w, n, 1, "int32").expandDims(1), column = tf.range(0, n, 1, "int32").expandDims(0);
    return tf.lessEqual<tf.Tensor2D>(column, row);
  });
}

/** How neighbouring scores are joined before the choice. */
export type Pooling = "average" | "maximum";

/**
 * Scores pooled over `kernel` neighbours, with zeros beyond the ends that count in the mean (as PyTorch's `avg_pool1d`
 * does it, so that both ends come out a little lower).
 *
 * @param kernel Odd, from 1.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { tf } from "tessera/tensor/mod.ts";
 * assert.deepEqual(pool(tf.tensor3d([[[3, 0, 6]]]), 3, "average").arraySync(), [[[1, 3, 2]]]);
 * ```
 */
export function pool(score: tf.Tensor3D, kernel: number, pooling: Pooling): tf.Tensor3D {
  if (!Number.isInteger(kernel) || kernel < 1 || kernel % 2 === 0) {
    throw new RangeError(`kernel must be an odd number from 1, but it is ${kernel}; 1 pools nothing`);
  }
  if (kernel === 1) return score;
  const n = score.shape[2], side = (kernel - 1) / 2;
  return tidy(() => {
    const empty = pooling === "maximum" ? -Infinity : 0;
    const padded = tf.pad(score, [[0, 0], [0, 0], [side, side]], empty);
    const shifted = Array.from({ length: kernel }, (_, i) => padded.slice<tf.Tensor3D>([0, 0, i], [-1, -1, n]));
    if (pooling === "maximum") return shifted.reduce((a, b) => tf.maximum<tf.Tensor3D>(a, b));
    return tf.mul<tf.Tensor3D>(shifted.reduce((a, b) => tf.add<tf.Tensor3D>(a, b)), 1 / kernel);
  });
}

/**
 * Scores with protected tokens before and behind them, which beat every other one of their row: by its own size, so that
 * they still do in half precision.
 *
 * @param asReference By 1 above the highest score of the whole tensor, as kvpress does it.
 */
export function withProtected(
  score: tf.Tensor3D,
  { front = 0, back = 0, asReference = false }: {
    readonly front?: number;
    readonly back?: number;
    readonly asReference?: boolean;
  },
): tf.Tensor3D {
  const [batch, heads, n] = score.shape;
  if (n === 0) return tf.ones([batch, heads, front + back]);
  return tidy(() => {
    const top = asReference
      ? score.max().add(1).reshape([1, 1, 1]).tile<tf.Tensor3D>([batch, heads, 1])
      : above(score.max<tf.Tensor3D>(2, true));
    const part = (tokens: number) => tokens ? [top.tile<tf.Tensor3D>([1, 1, tokens])] : [];
    return tf.concat([...part(front), score, ...part(back)], 2);
  });
}

/** A number well above each. */
export function above<T extends tf.Tensor>(x: T): T {
  return tidy(() => x.add(x.abs()).add<T>(1));
}

/**
 * Places of the `keep` best tokens of each head; equal scores: the earlier one.
 *
 * @param score [batch, keyHeads, n]; NaN is not allowed.
 * @param order "input", the default: as they stand in the cache; "score": best first, as kvpress leaves them.
 * @returns int32, [batch, keyHeads, keep].
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { tf } from "tessera/tensor/mod.ts";
 * assert.deepEqual(bestTokens(tf.tensor3d([[[1, 5, 3, 4]]]), 2).arraySync(), [[[1, 3]]]);
 * ```
 */
export function bestTokens(score: tf.Tensor3D, keep: number, order: "input" | "score" = "input"): tf.Tensor3D {
  return tidy(() => {
    const best = stableTopK(score, keep);
    return order === "score" ? best : ascending(best);
  });
}

/** Whole numbers in order, the lowest first. */
export function ascending<T extends tf.Tensor>(places: T): T {
  const k = places.shape.at(-1)!;
  if (k < 2) return places;
  return tidy(() => tf.topk(stopGradient(tf.neg(places)), k).values.neg() as T);
}

/** [batch, keyHeads, n] bool: whether each place is among those of `index` int32, [batch, keyHeads, k]. */
export function isAmong(index: tf.Tensor3D, n: number): tf.Tensor3D {
  const [batch, heads, k] = index.shape, rows = batch * heads;
  if (k === 0) return tf.zeros([batch, heads, n], "bool");
  return tidy(() =>
    segmentSum(tf.ones([rows, k]), index.reshape<tf.Tensor2D>([rows, k]), n).greater(0)
      .reshape<tf.Tensor3D>([batch, heads, n])
  );
}

/**
 * Picks tokens head by head.
 *
 * @param x [batch, keyHeads, n, channels] or [batch, keyHeads, n].
 * @param index int32, [batch, keyHeads, k].
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { tf } from "tessera/tensor/mod.ts";
 * const x = tf.tensor4d([[[[1], [2]], [[3], [4]]]]);
 * const index = tf.tensor3d([[[1], [0]]], [1, 2, 1], "int32");
 * assert.deepEqual(takeTokens(x, index).arraySync(), [[[[2]], [[3]]]]);
 * ```
 */
export function takeTokens<T extends tf.Tensor3D | tf.Tensor4D>(x: T, index: tf.Tensor3D): T {
  const [batch, heads, n, ...channels] = x.shape, k = index.shape[2];
  return tidy(() => {
    const rows = x.reshape([batch * heads, n, ...channels]) as tf.Tensor3D;
    return gatherTokens(rows, index.reshape([batch * heads, k])).reshape([batch, heads, k, ...channels]) as T;
  });
}

/**
 * Sums of what goes to each of `n` tokens: `updates` [batch, keyHeads, m, channels] or [batch, keyHeads, m] at the places
 * `index` int32, [batch, keyHeads, m]; a negative one is left out.
 */
export function sumsAt<T extends tf.Tensor3D | tf.Tensor4D>(index: tf.Tensor3D, updates: T, n: number): T {
  const [batch, heads, m, ...channels] = updates.shape, rows = batch * heads;
  return tidy(() =>
    segmentSum(updates.reshape([rows, m, ...channels]), index.reshape<tf.Tensor2D>([rows, m]), n)
      .reshape([batch, heads, n, ...channels]) as T
  );
}
