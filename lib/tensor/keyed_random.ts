/**
 * Random numbers from a key: the same key gives the same numbers, eagerly and compiled, and nothing keeps a state.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs";
import { mulberry32 } from "../random.ts";
import { isTracing, tensorflow } from "./backend.ts";
import type { OpAttribute } from "./binding.ts";

/** What sets the stream of {@link foldIn} apart from the numbers that {@link randomUniform} draws with the same key. */
const FOLD_WORD = 0x2545F491;

/**
 * The key of a stream of random numbers: two integers. Equal seed and indices give an equal key; any other, another.
 *
 * @param seed An integer.
 * @param indices Integers that name the stream: a run, an epoch, a batch.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * assert.deepEqual(randomKey(1, 2).arraySync(), randomKey(1, 2).arraySync());
 * assert.notDeepEqual(randomKey(1, 2).arraySync(), randomKey(2, 1).arraySync());
 * ```
 */
export function randomKey(seed: number, ...indices: number[]): tf.Tensor1D {
  let words: [number, number] = [word(seed), word(seed ^ FOLD_WORD)];
  for (const index of indices) words = foldWords(words, index);
  return tf.tensor1d(words, "int32");
}

/**
 * The key of one of the streams below a key: the one of layer `n`, say. On TensorFlow an op, so that it can be traced.
 *
 * @param key int32, [2], from {@link randomKey} or from here.
 * @param n An integer.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * const key = randomKey(1);
 * assert.deepEqual(foldIn(key, 0).arraySync(), foldIn(key, 0).arraySync());
 * assert.notDeepEqual(foldIn(key, 0).arraySync(), foldIn(key, 1).arraySync());
 * ```
 */
export function foldIn(key: tf.Tensor1D, n: number): tf.Tensor1D {
  if (!Number.isSafeInteger(n)) throw new TypeError(`a key is folded with an integer, but it is ${n}`);
  if (tensorflow === undefined) return tf.tensor1d(foldWords(key.dataSync(), n), "int32");
  return tf.tidy(() => {
    const seed = tf.add<tf.Tensor1D>(key, tf.tensor1d([n | 0, FOLD_WORD], "int32"));
    return statelessRandom("StatelessRandomUniformFullInt", seed, [2], "int32");
  });
}

/**
 * Random numbers in [0, 1), each as likely as any other. The same key, shape and backend give the same numbers; another
 * backend gives others.
 *
 * @param key int32, [2], from {@link randomKey} or {@link foldIn}.
 * @returns float32 of the shape.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * const key = randomKey(1);
 * assert.deepEqual(randomUniform(key, [4]).arraySync(), randomUniform(key, [4]).arraySync());
 * ```
 */
export function randomUniform(key: tf.Tensor1D, shape: number[]): tf.Tensor {
  if (key.dtype !== "int32" || key.shape.length !== 1 || key.shape[0] !== 2) {
    throw new TypeError(
      `a key must be int32 of shape [2], but it is ${key.dtype} of shape [${key.shape}]; see randomKey`,
    );
  }
  if (tensorflow !== undefined) return statelessRandom("StatelessRandomUniform", key, shape, "float32");
  const [first, second] = key.dataSync();
  const next = mulberry32(first ^ word(second));
  const values = Float32Array.from(
    { length: tf.util.sizeFromShape(shape) },
    () => Math.floor(next() * 2 ** 24) / 2 ** 24,
  );
  return tf.tensor(values, shape);
}

/**
 * 1 with probability `1 - rate`, else 0: where {@link randomUniform} of the same key and shape is at least `rate`, to the bit,
 * but without making the numbers themselves.
 *
 * @param rate 0 to 1.
 * @returns float32 of the shape.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * const key = randomKey(1);
 * const stays = randomUniform(key, [1000]).greaterEqual(0.25).cast("float32");
 * assert.deepEqual(randomMask(key, [1000], 0.25).arraySync(), stays.arraySync());
 * ```
 */
export function randomMask(key: tf.Tensor1D, shape: number[], rate: number): tf.Tensor {
  return tf.tidy(() => {
    if (tensorflow === undefined || !isTracing()) {
      return tf.greaterEqual(randomUniform(key, shape), tf.scalar(rate)).cast("float32");
    }
    // a uniform number is a fraction of 23 bits: comparing the bits with the fraction's is the same, and two passes less
    const bits = statelessRandomInTrace(key, shape, "int32", MANTISSA);
    return tf.greaterEqual(bits, tf.scalar(Math.ceil(Math.fround(rate) * 2 ** 23), "int32")).cast("float32");
  });
}

/** One of TensorFlow's stateless random ops: the seed is an input, so a trace does not freeze the numbers. */
function statelessRandom<T extends tf.Tensor>(op: string, seed: tf.Tensor1D, shape: number[], dtype: tf.DataType): T {
  if (isTracing()) return statelessRandomInTrace(seed, shape, dtype);
  const { binding } = tensorflow!;
  const attributes = [type("dtype", tensorflow!.getDTypeInteger(dtype)), type("T", binding.TF_INT32)];
  attributes.push(type("Tseed", binding.TF_INT32));
  const size = tf.tensor1d(shape, "int32");
  try {
    return tensorflow!.executeSingleOutput(op, attributes, [size, seed]) as T;
  } finally {
    size.dispose();
  }
}

/**
 * The same numbers in a graph. XLA differs from TensorFlow's kernel in two things: how the seed is mixed into a key and a
 * counter, and which bits of a drawn integer become a fraction. Both are done here as the kernel does them, with ops on
 * which the two agree (`GenerateKey` in tensorflow/core/kernels/stateless_random_ops.cc; `Uint32ToFloat` in
 * tensorflow/core/lib/random/random_distributions.h).
 */
function statelessRandomInTrace<T extends tf.Tensor>(
  seed: tf.Tensor1D,
  shape: number[],
  dtype: tf.DataType,
  keptBits = dtype === "int32" ? -1 : MANTISSA,
): T {
  const { binding } = tensorflow!;
  const { TF_INT32, TF_INT64, TF_UINT64 } = binding;
  // numbers of tensors, some of types that tfjs does not know; the graph frees them, so nothing else must
  const ids = (...tensors: tf.Tensor[]) => tensorflow!.getInputTensorIds(tensors);
  const run = (name: string, attributes: OpAttribute[], inputs: number[]) =>
    binding.executeOp(name, attributes, inputs, 1)[0];
  const asWords = (x: tf.Tensor) => run("Bitcast", [type("T", TF_INT32), type("type", TF_UINT64)], ids(x)).id;
  const integers = (size: number[], key: number, counter: number): tf.Tensor => {
    const [sizeId, algorithm] = ids(tf.tensor1d(size, "int32"), tf.scalar(PHILOX, "int32"));
    const attributes = [type("dtype", TF_INT32), type("Tshape", TF_INT32)];
    const drawn = run("StatelessRandomUniformFullIntV2", attributes, [sizeId, key, counter, algorithm]);
    return tensorflow!.createOutputTensor(drawn);
  };
  return tf.tidy(() => {
    const longSeed = run("Cast", [type("SrcT", TF_INT32), type("DstT", TF_INT64)], ids(seed)).id;
    const start = run("Bitcast", [type("T", TF_INT64), type("type", TF_UINT64)], [longSeed]).id;
    const mixed = integers([4], asWords(tf.tensor2d([MIXING_KEY], [1, 2], "int32")), start);
    const key = asWords(mixed.slice(0, 2).reshape([1, 2]));
    const counter = asWords(tf.concat([tf.zeros([2], "int32"), mixed.slice(2, 2)]).reshape([2, 2]));
    const drawn = integers(shape, key, counter);
    if (keptBits === -1) return drawn as T;
    const kept = run("BitwiseAnd", [type("T", TF_INT32)], ids(drawn, tf.scalar(keptBits, "int32")));
    const bits = tensorflow!.createOutputTensor(kept);
    return dtype === "int32" ? bits as T : bits.cast("float32").mul<T>(2 ** -23);
  });
}

/** The bits of a drawn integer that become a fraction. */
const MANTISSA = 2 ** 23 - 1;
/** TensorFlow's number for the generator of Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011. */
const PHILOX = 1;
const MIXING_KEY: [number, number] = [0x3ec8f720, 0x02461e29];

function type(name: string, value: number): OpAttribute {
  return { name, type: tensorflow!.binding.TF_ATTR_TYPE, value };
}

/** 32 well mixed bits for an integer, as int32. */
function word(seed: number): number {
  return (mulberry32(seed)() * 2 ** 32) | 0;
}

function foldWords([first, second]: ArrayLike<number> & Iterable<number>, n: number): [number, number] {
  const mixed = word(n);
  return [word(first ^ mixed), word(second ^ Math.imul(mixed, FOLD_WORD) ^ first)];
}
