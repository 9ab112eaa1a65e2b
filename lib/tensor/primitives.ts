/**
 * What methods need and TensorFlow.js lacks: stable order, gathering and scattering with gradients, cuts and shortcuts in
 * the gradient, a check for NaN. (Beside it: {@link "./scan.ts"}, {@link "./keyed_random.ts"}.)
 *
 * Shapes are known before the values are, and on TensorFlow nothing is read back, so that all of it can be traced into a
 * compiled model.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs";
import { isTracing, tensorflow } from "./backend.ts";

/**
 * Places of the `k` highest scores, highest first; equal scores: the lower place first, on every backend.
 *
 * @param scores [batch, tokens], or with more dimensions in front; NaN is not allowed.
 * @param k How many, 0 to tokens.
 * @returns int32, [batch, k]. No gradient flows through it.
 * @throws {RangeError} If `k` is out of range.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { tf } from "tessera/tensor/mod.ts";
 * const scores = tf.tensor2d([[1, 3, 3, 2]]);
 * assert.deepEqual(stableTopK(scores, 3).arraySync(), [[1, 2, 3]]);
 * ```
 */
export function stableTopK<T extends tf.Tensor>(scores: T, k: number): T {
  const tokens = scores.shape.at(-1) ?? 0;
  if (!Number.isInteger(k) || k < 0 || k > tokens) {
    throw new RangeError(`k must be a whole number from 0 to ${tokens}, the number of scores, but it is ${k}`);
  }
  if (k === 0) return tf.zeros([...scores.shape.slice(0, -1), 0], "int32") as T;
  return tf.tidy(() => tf.topk(withoutNegativeZero(stopGradient(scores)), k).indices); // the lower place first
}

/** XLA sorts -0 below 0; everywhere else they are equal, so that the lower place decides. */
function withoutNegativeZero<T extends tf.Tensor>(scores: T): T {
  if (!isTracing() || scores.dtype !== "float32") return scores;
  const zero = tf.scalar(0);
  return tf.where<tf.Tensor>(tf.equal(scores, zero), zero, scores) as T;
}

/**
 * The `k` highest scores themselves, highest first, and their places. The gradient flows to the scores.
 *
 * @param scores [batch, tokens], or with more dimensions in front; NaN is not allowed.
 * @returns Both [batch, k]; places are int32.
 * @throws {RangeError} If `k` is out of range.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { tf } from "tessera/tensor/mod.ts";
 * const { values, places } = topKValues(tf.tensor2d([[1, 3, 3, 2]]), 2);
 * assert.deepEqual([values.arraySync(), places.arraySync()], [[[3, 3]], [[1, 2]]]);
 * ```
 */
export function topKValues<T extends tf.Tensor>(scores: T, k: number): { values: T; places: T } {
  return tf.tidy(() => {
    const places = stableTopK(scores, k);
    const tokens = scores.shape.at(-1)!;
    const rows = scores.reshape<tf.Tensor2D>([-1, tokens]);
    const values = k === 0
      ? tf.zeros([rows.shape[0], 0])
      : gatherTokens(rows, places.reshape<tf.Tensor2D>([rows.shape[0], k]));
    return { values: values.reshape(places.shape) as T, places };
  });
}

/**
 * Places of the scores in order; equal scores: the lower place first.
 *
 * @param x float32 or int32, [batch, tokens], or with more dimensions in front; NaN is not allowed.
 * @returns int32, of the same shape. No gradient flows through it.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { tf } from "tessera/tensor/mod.ts";
 * const x = tf.tensor2d([[2, 1, 1]]);
 * assert.deepEqual(argsort(x).arraySync(), [[1, 2, 0]]);
 * assert.deepEqual(argsort(x, "descending").arraySync(), [[0, 1, 2]]);
 * ```
 */
export function argsort<T extends tf.Tensor>(x: T, direction: "ascending" | "descending" = "ascending"): T {
  const tokens = x.shape.at(-1) ?? 0;
  if (direction === "descending") return stableTopK(x, tokens);
  // -1 - x of an integer cannot overflow, as -x can
  return tf.tidy(() => stableTopK(x.dtype === "int32" ? tf.sub<T>(tf.scalar(-1, "int32"), x) : tf.neg(x), tokens));
}

/**
 * Rank of each score, 0 for the highest; equal scores: the lower place has the lower rank.
 *
 * @param scores [batch, tokens]; NaN is not allowed.
 * @returns int32, [batch, tokens]. No gradient flows through it.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { tf } from "tessera/tensor/mod.ts";
 * assert.deepEqual(rankDescending(tf.tensor2d([[1, 3, 3, 2]])).arraySync(), [[3, 0, 1, 2]]);
 * ```
 */
export function rankDescending(scores: tf.Tensor2D): tf.Tensor2D {
  const tokens = scores.shape[1];
  return tf.tidy(() => {
    const order = stableTopK(scores, tokens); // place of rank 0, of rank 1, ...
    return stableTopK(tf.sub<tf.Tensor2D>(tf.scalar(tokens, "int32"), order), tokens); // where each place stands in it
  });
}

/**
 * The place of the highest score of each row; equal scores: the lowest place. As `argMax(-1)`, which XLA computes one
 * number after the other: in a trace it is the lowest place that has the maximum, twice as fast.
 *
 * @param scores float32, [..., tokens]; NaN is not allowed.
 * @returns int32, [...]. No gradient flows through it.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { tf } from "tessera/tensor/mod.ts";
 * assert.deepEqual(placeOfHighest(tf.tensor2d([[1, 3, 3, 2]])).arraySync(), [1]);
 * ```
 */
export function placeOfHighest(scores: tf.Tensor): tf.Tensor {
  const tokens = scores.shape.at(-1)!;
  return tf.tidy(() => {
    const cut = stopGradient(scores);
    if (!isTracing() || tokens >= 2 ** 24) return cut.argMax(-1); // up to there a float32 holds every place
    const isHighest = tf.greaterEqual(cut, cut.max(-1, true));
    return tf.where<tf.Tensor>(isHighest, tf.range(0, tokens), tf.scalar(tokens - 1)).min(-1).cast("int32");
  });
}

/**
 * Picks tokens: row `b` of the result holds `x[b, index[b, 0]]`, `x[b, index[b, 1]]`, ...
 *
 * The gradient flows to `x`; a token that is picked twice gets the sum. (tfjs' own gradient of a batched gather runs a
 * loop over the batch, and fails where the index itself was computed from a variable.)
 *
 * @param x [batch, tokens, channels] or [batch, tokens].
 * @param index int32, [batch, k], each from 0 to tokens - 1.
 * @returns [batch, k, channels] or [batch, k].
 * @throws {Error} If an index is out of range (on a GPU it is noticed in compiled functions only).
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { tf } from "tessera/tensor/mod.ts";
 * const x = tf.tensor2d([[10, 20, 30], [40, 50, 60]]);
 * const index = tf.tensor2d([[2, 0], [1, 1]], [2, 2], "int32");
 * assert.deepEqual(gatherTokens(x, index).arraySync(), [[30, 10], [50, 50]]);
 * ```
 */
export function gatherTokens<T extends tf.Tensor2D | tf.Tensor3D>(x: T, index: tf.Tensor2D): T {
  const [batch, tokens, ...channels] = x.shape;
  if (index.shape[0] !== batch || index.dtype !== "int32") {
    throw new RangeError(
      `the index must be int32 of shape [${batch}, k], but it is ${index.dtype} of shape [${index.shape}]`,
    );
  }
  const place = stopGradient(index);
  if (x.dtype !== "float32") return tf.gather(x, place, 1, 1); // only float32 has gradients
  const gather = tf.customGrad((input, save) => {
    (save as tf.GradSaveFunc)([place]);
    return {
      value: tf.gather(input as T, place, 1, 1),
      gradFunc: (dy, saved) => {
        const picked = saved[0].size;
        const firstToken = tf.range(0, batch, 1, "int32").mul(tf.scalar(tokens, "int32")).expandDims(1);
        const row = saved[0].add(firstToken).reshape<tf.Tensor1D>([picked]); // as if the batch were one long list
        return tf.unsortedSegmentSum(dy.reshape([picked, ...channels]), row, batch * tokens).reshape(x.shape);
      },
    };
  });
  const result = gather(x) as T;
  place.dispose();
  return result;
}

/**
 * Sums of the elements that belong to the same segment.
 *
 * The gradient flows to `x`. Works on many rows beside each other, each with segments of its own.
 *
 * @param x float32, [elements, ...channels] or [batch, elements, ...channels].
 * @param segment int32, [elements] or [batch, elements]: the segment of each, 0 to count - 1; an element with a negative
 *   one is left out.
 * @param count Number of segments.
 * @returns [count, ...channels] or [batch, count, ...channels]; 0 where a segment is empty.
 * @throws {RangeError} If the shapes do not fit.
 * @throws {Error} If a segment is `count` or more (on a GPU it is noticed in compiled functions only).
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { tf } from "tessera/tensor/mod.ts";
 * const x = tf.tensor1d([1, 2, 4, 8]);
 * assert.deepEqual(segmentSum(x, tf.tensor1d([1, 0, 1, -1], "int32"), 3).arraySync(), [2, 5, 0]);
 * ```
 */
export function segmentSum<T extends tf.Tensor>(x: T, segment: tf.Tensor1D | tf.Tensor2D, count: number): T {
  const leading = x.shape.slice(0, segment.rank);
  if (segment.dtype !== "int32" || segment.rank < 1 || segment.rank > 2 || leading.join() !== segment.shape.join()) {
    throw new RangeError(
      `segments must be int32 of shape [${x.shape.slice(0, 1)}] or [${x.shape.slice(0, 2)}], like the elements, but ` +
        `they are ${segment.dtype} of shape [${segment.shape}]`,
    );
  }
  if (!Number.isInteger(count) || count < 1) {
    throw new RangeError(`the number of segments must be a whole number from 1, but it is ${count}`);
  }
  if (tensorflow === undefined) refuseHigh(segment, count); // TensorFlow looks itself
  const batch = segment.rank === 2 ? segment.shape[0] : 1;
  const channels = x.shape.slice(segment.rank);
  const shape = segment.rank === 2 ? [batch, count, ...channels] : [count, ...channels];
  const place = stopGradient(segment as tf.Tensor);
  const sum = tf.customGrad((input, save) => {
    const row = asOneRow(place, batch, count);
    (save as tf.GradSaveFunc)([row]);
    const elements = (input as tf.Tensor).reshape([row.size, ...channels]);
    return {
      value: tf.unsortedSegmentSum(elements, row, batch * count).reshape(shape),
      gradFunc: (dy, saved) => {
        const row = saved[0] as tf.Tensor1D;
        const picked = gatherTokens( // 0 stands in for the elements that were left out
          dy.reshape<tf.Tensor3D>([1, batch * count, -1]),
          tf.maximum(row, tf.scalar(0, "int32")).expandDims<tf.Tensor2D>(0),
        );
        const counts = tf.greaterEqual(row, tf.scalar(0, "int32")).cast("float32").reshape([1, row.size, 1]);
        return picked.mul(counts).reshape(x.shape);
      },
    };
  });
  const result = sum(x) as T;
  place.dispose();
  return result;
}

function refuseHigh(segment: tf.Tensor, count: number): void {
  const high = segment.dataSync().find((value) => value >= count);
  if (high !== undefined) throw new Error(`UnsortedSegmentSum: segment ${high} is not in [0, ${count})`);
}

/** Segments of all rows as if the batch were one long row. One that is out of range stays out of range. */
function asOneRow(segment: tf.Tensor, batch: number, count: number): tf.Tensor1D {
  if (batch === 1) return segment.reshape([segment.size]);
  const first = tf.range(0, batch, 1, "int32").mul(tf.scalar(count, "int32")).expandDims(1);
  const inside = tf.where(
    tf.less(segment, tf.scalar(count, "int32")),
    segment.add(first),
    tf.scalar(batch * count, "int32"),
  );
  return tf.where(tf.less(segment, tf.scalar(0, "int32")), segment, inside).reshape([segment.size]);
}

/**
 * Adds updates to tokens: `updates[b, i]` is added to `x[b, index[b, i]]`. The opposite of {@link gatherTokens}, and each
 * is the other's gradient; the gradient flows to `x` and to the updates.
 *
 * @param x float32, [batch, tokens, channels].
 * @param index int32, [batch, k], each from 0 to tokens - 1; the updates of one that occurs twice are added up. A
 *   negative one is left out.
 * @param updates float32, [batch, k, channels].
 * @throws {RangeError} If the shapes do not fit.
 * @throws {Error} If an index is out of range.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { tf } from "tessera/tensor/mod.ts";
 * const index = tf.tensor2d([[1, 1]], [1, 2], "int32");
 * const y = scatterAdd(tf.tensor3d([[[1], [2]]]), index, tf.tensor3d([[[10], [20]]]));
 * assert.deepEqual(y.arraySync(), [[[1], [32]]]);
 * ```
 */
export function scatterAdd(x: tf.Tensor3D, index: tf.Tensor2D, updates: tf.Tensor3D): tf.Tensor3D {
  const [batch, tokens, channels] = x.shape;
  if (updates.shape.join() !== [batch, index.shape[1], channels].join()) {
    throw new RangeError(
      `updates must be of shape [${batch}, ${index.shape[1]}, ${channels}], but they are of shape [${updates.shape}]`,
    );
  }
  return tf.tidy(() => tf.add(x, segmentSum(updates, index, tokens)));
}

/**
 * The straight-through estimator: the value of `hard`, the gradient of `soft`. It lets a gradient through a choice that
 * has none (rounding, a one-hot row of the best code), as if what was chosen were what it was chosen from.
 *
 * Bengio, Leonard and Courville, "Estimating or Propagating Gradients Through Stochastic Neurons", 2013, arXiv:1308.3432.
 *
 * @param hard What goes forward; no gradient flows to it.
 * @param soft Of the same shape: what the gradient flows to.
 * @throws {RangeError} If the shapes differ.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { tf } from "tessera/tensor/mod.ts";
 * const x = tf.tensor1d([0.4, 2.6]);
 * const slope = tf.grad((x) => straightThrough(tf.round(x), x).square());
 * assert.deepEqual(slope(x).arraySync(), [0, 6]); // twice the rounded value
 * ```
 */
export function straightThrough<T extends tf.Tensor>(hard: T, soft: T): T {
  if (hard.shape.join() !== soft.shape.join()) {
    throw new RangeError(`hard and soft must have one shape, but they have [${hard.shape}] and [${soft.shape}]`);
  }
  const value = stopGradient(hard);
  const through = tf.customGrad(() => ({ value: value.clone(), gradFunc: (dy) => dy.clone() }));
  const result = through(soft) as T;
  value.dispose();
  return result;
}

/**
 * The same values, but no gradient flows back through them: to autodiff they are a constant. TensorFlow has it as
 * `stop_gradient`; tfjs has not, and stops with an error where a choice (argMax, topk) was computed from a variable.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { tf } from "tessera/tensor/mod.ts";
 * const slope = tf.grad((x) => tf.mul(x, stopGradient(x)));
 * assert.deepEqual(slope(tf.tensor1d([3, 4])).arraySync(), [3, 4]); // without the cut: [6, 8]
 * ```
 */
export function stopGradient<T extends tf.Tensor>(x: T): T {
  const engine = tf.engine();
  engine.backend.incRef(x.dataId); // what the kernel Identity does; but not being an op, this is not on the tape
  return engine.makeTensorFromTensorInfo({ dataId: x.dataId, shape: x.shape, dtype: x.dtype }) as T;
}

/**
 * Returns `x`, after a look whether it holds NaN, with which no order is an order. While a model is traced for
 * compilation there are no values yet, and nothing is looked at.
 *
 * @param what What it is, to begin the sentence with.
 * @throws {RangeError} If it holds NaN. Infinite values are welcome.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { tf } from "tessera/tensor/mod.ts";
 * assert.throws(() => refuseNaN(tf.tensor1d([1, NaN]), "the score of tokens"), /the score of tokens holds NaN/);
 * ```
 */
export function refuseNaN<T extends tf.Tensor>(x: T, what: string): T {
  if (isTracing() || x.dtype !== "float32") return x;
  if (holdsNaN(x)) {
    throw new RangeError(`${what} holds NaN, so that nothing can be ordered by it; look at what computed it`);
  }
  return x;
}

function holdsNaN(x: tf.Tensor): boolean {
  if (tensorflow === undefined) return tf.tidy(() => tf.isNaN(x).any().dataSync()[0] !== 0);
  const { binding } = tensorflow;
  const attributes = [
    { name: "T", type: binding.TF_ATTR_TYPE, value: binding.TF_FLOAT },
    { name: "message", type: binding.TF_ATTR_STRING, value: "" },
  ];
  const sign = tf.sign(x); // of an infinite value 1 or -1, of NaN NaN
  try {
    tensorflow.executeSingleOutput("CheckNumerics", attributes, [sign]).dispose(); // fails, so that nothing is read back
    return false;
  } catch {
    return true;
  } finally {
    sign.dispose();
  }
}
