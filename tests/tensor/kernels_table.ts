/**
 * The operations that a backend is held against tfjs' cpu backend with, and what kernels they run.
 *
 * @module
 */
import { random } from "tessera/random.ts";
import { tf } from "tessera/tensor/mod.ts";

/** Values for one input. */
export interface Input {
  shape: number[];
  values: Float32Array;
}

/** One operation on given inputs. */
export interface KernelRow {
  name: string;
  /** float32 inputs; gradients are taken with respect to all of them. */
  inputs: Input[];
  run(...inputs: tf.Tensor[]): tf.Tensor | tf.Tensor[];
  /** False where the operation has no gradient. Default: true. */
  gradient?: boolean;
  /** Backends whose tfjs has no kernel for it. */
  missing?: string[];
  /** Backends whose tfjs has no kernel for its gradient. */
  missingGradient?: string[];
}

/** What a row gives: outputs, then one gradient per input. */
export type RowResult = { label: string; shape: number[]; dtype: string; values: number[] }[];

const numbers = random(1, "kernels table");

function filled(shape: number[], next: () => number): Input {
  return { shape, values: Float32Array.from({ length: tf.util.sizeFromShape(shape) }, next) };
}

/** Standard normal. */
const normal = (...shape: number[]) => filled(shape, () => numbers.normal());
/** Between 0.5 and 2. */
const positive = (...shape: number[]) => filled(shape, () => 0.5 + 1.5 * numbers.uniform());
/** Between -0.9 and 0.9. */
const small = (...shape: number[]) => filled(shape, () => 1.8 * numbers.uniform() - 0.9);
/** Whole numbers times 0.75, all different, in random order: no ties, and no place where a slope jumps. */
const distinct = (...shape: number[]) => {
  const order = numbers.permutation(tf.util.sizeFromShape(shape));
  return { shape, values: Float32Array.from(order, (rank) => 0.75 * (rank - order.length / 2) + 0.3) };
};

const ints = (values: number[], shape = [values.length]) => tf.tensor(values, shape, "int32");
const bools = (values: number[], shape = [values.length]) => tf.tensor(values, shape, "bool");
const asInt = (x: tf.Tensor) => tf.cast(x, "int32");
const as1D = (x: tf.Tensor) => x as tf.Tensor1D;
const as2D = (x: tf.Tensor) => x as tf.Tensor2D;
const as3D = (x: tf.Tensor) => x as tf.Tensor3D;
const as4D = (x: tf.Tensor) => x as tf.Tensor4D;

/** The operations. A function of the library that needs one that is not here: add a row. */
export const rows: KernelRow[] = [
  // Arithmetic, with broadcasting.
  { name: "add", inputs: [normal(2, 3), normal(2, 3)], run: (a, b) => tf.add(a, b) },
  { name: "add, broadcast", inputs: [normal(2, 1, 4), normal(3, 1)], run: (a, b) => tf.add(a, b) },
  { name: "add, int32", inputs: [distinct(6)], run: (a) => tf.add(asInt(a), asInt(a)), gradient: false },
  { name: "addN", inputs: [normal(3), normal(3), normal(3)], run: (...all) => tf.addN(all) },
  { name: "sub", inputs: [normal(2, 3), normal(3)], run: (a, b) => tf.sub(a, b) },
  { name: "mul", inputs: [normal(2, 3), normal(2, 1)], run: (a, b) => tf.mul(a, b) },
  { name: "div", inputs: [normal(2, 3), positive(3)], run: (a, b) => tf.div(a, b) },
  { name: "divNoNan", inputs: [normal(4)], run: (a) => tf.divNoNan(a, tf.tensor1d([1, 0, 2, 0])), gradient: false },
  { name: "floorDiv", inputs: [distinct(6)], run: (a) => tf.floorDiv(asInt(a), ints([2])), gradient: false },
  { name: "mod", inputs: [distinct(6), positive(6)], run: (a, b) => tf.mod(a, b) },
  { name: "maximum", inputs: [distinct(2, 3), distinct(3)], run: (a, b) => tf.maximum(a, b) },
  { name: "minimum", inputs: [distinct(2, 3), distinct(3)], run: (a, b) => tf.minimum(a, b) },
  { name: "pow", inputs: [positive(2, 3), normal(3)], run: (a, b) => tf.pow(a, b) },
  { name: "squaredDifference", inputs: [normal(2, 3), normal(3)], run: (a, b) => tf.squaredDifference(a, b) },
  { name: "atan2", inputs: [normal(5), positive(5)], run: (a, b) => tf.atan2(a, b) },

  // Element by element.
  { name: "exp", inputs: [normal(5)], run: (x) => tf.exp(x) },
  { name: "expm1", inputs: [normal(5)], run: (x) => tf.expm1(x) },
  { name: "log", inputs: [positive(5)], run: (x) => tf.log(x) },
  { name: "log1p", inputs: [positive(5)], run: (x) => tf.log1p(x) },
  { name: "sqrt", inputs: [positive(5)], run: (x) => tf.sqrt(x) },
  { name: "rsqrt", inputs: [positive(5)], run: (x) => tf.rsqrt(x) },
  { name: "square", inputs: [normal(5)], run: (x) => tf.square(x) },
  { name: "reciprocal", inputs: [positive(5)], run: (x) => tf.reciprocal(x) },
  { name: "neg", inputs: [normal(5)], run: (x) => tf.neg(x) },
  { name: "abs", inputs: [distinct(5)], run: (x) => tf.abs(x) },
  { name: "sign", inputs: [distinct(5)], run: (x) => tf.sign(x) },
  { name: "step", inputs: [distinct(5)], run: (x) => tf.step(x) },
  { name: "floor", inputs: [distinct(5)], run: (x) => tf.floor(x) },
  { name: "ceil", inputs: [distinct(5)], run: (x) => tf.ceil(x) },
  { name: "round", inputs: [distinct(5)], run: (x) => tf.round(x) },
  { name: "sin", inputs: [normal(5)], run: (x) => tf.sin(x) },
  { name: "cos", inputs: [normal(5)], run: (x) => tf.cos(x) },
  { name: "tan", inputs: [small(5)], run: (x) => tf.tan(x) },
  { name: "atan", inputs: [normal(5)], run: (x) => tf.atan(x) },
  { name: "tanh", inputs: [normal(5)], run: (x) => tf.tanh(x) },
  { name: "sigmoid", inputs: [normal(5)], run: (x) => tf.sigmoid(x) },
  { name: "logSigmoid", inputs: [normal(5)], run: (x) => tf.logSigmoid(x) },
  { name: "softplus", inputs: [normal(5)], run: (x) => tf.softplus(x) },
  { name: "erf", inputs: [normal(5)], run: (x) => tf.erf(x) },
  { name: "relu", inputs: [distinct(5)], run: (x) => tf.relu(x) },
  { name: "relu6", inputs: [distinct(25)], run: (x) => tf.relu6(x) },
  { name: "elu", inputs: [distinct(5)], run: (x) => tf.elu(x) },
  { name: "selu", inputs: [distinct(5)], run: (x) => tf.selu(x) },
  { name: "leakyRelu", inputs: [distinct(5)], run: (x) => tf.leakyRelu(x) },
  { name: "prelu", inputs: [distinct(2, 3), positive(3)], run: (x, a) => tf.prelu(x, a) },
  { name: "clipByValue", inputs: [distinct(7)], run: (x) => tf.clipByValue(x, -1, 1) },
  {
    name: "isNaN",
    inputs: [normal(2)],
    run: (x) => tf.isNaN(tf.concat([x, tf.tensor1d([NaN, Infinity])])),
    gradient: false,
  },
  {
    name: "isFinite",
    inputs: [normal(2)],
    run: (x) => tf.isFinite(tf.concat([x, tf.tensor1d([NaN, Infinity])])),
    gradient: false,
  },
  {
    name: "isInf",
    inputs: [normal(2)],
    run: (x) => tf.isInf(tf.concat([x, tf.tensor1d([NaN, Infinity])])),
    gradient: false,
  },

  // Comparison, logic, choice.
  { name: "equal", inputs: [distinct(4)], run: (x) => tf.equal(x, tf.reverse(x)), gradient: false },
  { name: "notEqual", inputs: [distinct(5)], run: (x) => tf.notEqual(x, tf.reverse(x)), gradient: false },
  { name: "less", inputs: [distinct(5)], run: (x) => tf.less(x, 0.3), gradient: false },
  { name: "lessEqual", inputs: [distinct(5)], run: (x) => tf.lessEqual(x, tf.reverse(x)), gradient: false },
  { name: "greater", inputs: [distinct(2, 3), distinct(3)], run: (a, b) => tf.greater(a, b), gradient: false },
  { name: "greaterEqual", inputs: [distinct(5)], run: (x) => tf.greaterEqual(x, tf.reverse(x)), gradient: false },
  {
    name: "logicalAnd, logicalOr, logicalNot, logicalXor",
    inputs: [],
    run: () => {
      const [a, b] = [bools([1, 1, 0, 0]), bools([1, 0, 1, 0])];
      return [tf.logicalAnd(a, b), tf.logicalOr(a, b), tf.logicalNot(a), tf.logicalXor(a, b)];
    },
    gradient: false,
  },
  { name: "where", inputs: [normal(2, 2), normal(2, 2)], run: (a, b) => tf.where(bools([1, 0, 0, 1], [2, 2]), a, b) },
  { name: "where, broadcast", inputs: [normal(2, 3), normal(3)], run: (a, b) => tf.where(bools([1, 0], [2, 1]), a, b) },
  {
    name: "all, any",
    inputs: [],
    run: () => [tf.all(bools([1, 0, 1, 1], [2, 2]), 1), tf.any(bools([0, 0, 1, 0], [2, 2]), 1)],
    gradient: false,
  },

  // Matrices.
  { name: "matMul", inputs: [normal(3, 4), normal(4, 2)], run: (a, b) => tf.matMul(a, b) },
  { name: "matMul, batched", inputs: [normal(2, 3, 4), normal(2, 4, 2)], run: (a, b) => tf.matMul(a, b) },
  {
    name: "matMul, first transposed",
    inputs: [normal(2, 4, 3), normal(2, 4, 2)],
    run: (a, b) => tf.matMul(a, b, true),
  },
  {
    name: "matMul, second transposed",
    inputs: [normal(2, 3, 4), normal(2, 2, 4)],
    run: (a, b) => tf.matMul(a, b, false, true),
  },
  { name: "matMul, batch against one", inputs: [normal(2, 3, 4), normal(1, 4, 2)], run: (a, b) => tf.matMul(a, b) },
  { name: "matMul, four dimensions", inputs: [normal(2, 3, 2, 4), normal(2, 3, 4, 2)], run: (a, b) => tf.matMul(a, b) },
  { name: "dot", inputs: [normal(4), normal(4)], run: (a, b) => tf.dot(a, b) },
  {
    name: "einsum",
    inputs: [normal(2, 3, 4), normal(2, 4, 2)],
    run: (a, b) => tf.einsum("bij,bjk->bik", a, b),
    gradient: false,
    missing: ["wasm"],
  },
  {
    name: "einsum, outer",
    inputs: [normal(3), normal(2)],
    run: (a, b) => tf.einsum("i,j->ij", a, b),
    gradient: false,
    missing: ["wasm"],
  },
  {
    name: "fused.matMul",
    inputs: [normal(3, 4), normal(4, 2), normal(2)],
    run: (a, b, bias) => tf.fused.matMul({ a, b, bias, activation: "relu" }),
  },
  { name: "diag", inputs: [normal(3)], run: (x) => tf.diag(x), gradient: false },

  // Shape.
  { name: "reshape", inputs: [normal(2, 6)], run: (x) => tf.reshape(x, [3, -1]) },
  {
    name: "expandDims, squeeze",
    inputs: [normal(2, 3)],
    run: (x) => tf.squeeze(tf.expandDims(tf.expandDims(x, 1), 0), [0]),
  },
  { name: "transpose", inputs: [normal(2, 3, 4)], run: (x) => tf.transpose(x, [2, 0, 1]) },
  { name: "slice", inputs: [normal(3, 4)], run: (x) => tf.slice(x, [1, 1], [2, -1]) },
  {
    name: "stridedSlice",
    inputs: [normal(4, 6)],
    run: (x) => tf.stridedSlice(x, [0, 1], [4, 6], [2, 2]),
    gradient: false,
  },
  { name: "concat", inputs: [normal(2, 3), normal(2, 1)], run: (a, b) => tf.concat([a, b], 1) },
  { name: "concat, one of them empty", inputs: [normal(2, 3)], run: (a) => tf.concat([a, tf.zeros([2, 0])], 1) },
  { name: "stack", inputs: [normal(2, 3), normal(2, 3)], run: (a, b) => tf.stack([a, b], 1) },
  { name: "unstack", inputs: [normal(2, 3)], run: (x) => tf.unstack(x, 1) },
  { name: "unstack, one", inputs: [normal(2, 1)], run: (x) => tf.unstack(x, 1) },
  { name: "split, one", inputs: [normal(2, 6)], run: (x) => tf.split(x, [6], 1) },
  { name: "split", inputs: [normal(2, 6)], run: (x) => tf.split(x, [1, 2, 3], 1) },
  { name: "pad", inputs: [normal(2, 3)], run: (x) => tf.pad(as2D(x), [[1, 0], [0, 2]], 0.5) },
  {
    name: "mirrorPad",
    inputs: [normal(3, 3)],
    run: (x) => tf.mirrorPad(x, [[1, 1], [0, 2]], "reflect"),
    gradient: false,
  },
  { name: "tile", inputs: [normal(2, 3)], run: (x) => tf.tile(x, [2, 1]) },
  { name: "broadcastTo", inputs: [normal(1, 3)], run: (x) => tf.broadcastTo(x, [2, 3]) },
  { name: "reverse", inputs: [normal(2, 3)], run: (x) => tf.reverse(x, 1) },
  { name: "clone", inputs: [normal(3)], run: (x) => tf.clone(x) },

  // Choosing and spreading by index.
  { name: "gather", inputs: [normal(4, 3)], run: (x) => tf.gather(x, ints([3, 0, 3])) },
  { name: "gather, second axis", inputs: [normal(2, 4)], run: (x) => tf.gather(x, ints([3, 0, 0, 1], [2, 2]), 1) },
  { name: "gather, last axis", inputs: [normal(2, 4)], run: (x) => tf.gather(x, ints([3, 0]), -1), gradient: false },
  { name: "gather, batched", inputs: [normal(2, 4, 3)], run: (x) => tf.gather(x, ints([3, 0, 1, 1], [2, 2]), 1, 1) },
  { name: "gather, int32", inputs: [distinct(6)], run: (x) => tf.gather(asInt(x), ints([3, 0, 5])), gradient: false },
  { name: "gatherND", inputs: [normal(3, 4)], run: (x) => tf.gatherND(x, ints([2, 1, 0, 3], [2, 2])), gradient: false },
  {
    name: "unsortedSegmentSum",
    inputs: [normal(4, 3)],
    run: (x) => tf.unsortedSegmentSum(as2D(x), ints([1, 0, 1, 3]) as tf.Tensor1D, 4),
  },
  {
    name: "unsortedSegmentSum, a row in no segment",
    inputs: [normal(3, 2)],
    run: (x) => tf.unsortedSegmentSum(as2D(x), ints([1, -1, 1]) as tf.Tensor1D, 2),
    gradient: false,
  },
  {
    name: "scatterND",
    inputs: [normal(3, 2)],
    run: (x) => tf.scatterND(ints([1, 0, 1], [3, 1]), x, [3, 2]),
    gradient: false,
  },
  {
    name: "tensorScatterUpdate",
    inputs: [normal(4, 2), normal(2, 2)],
    run: (x, updates) => tf.tensorScatterUpdate(x, ints([3, 0], [2, 1]), updates),
    gradient: false,
  },
  { name: "oneHot", inputs: [], run: () => tf.oneHot(ints([1, 0, 3, 1], [2, 2]), 4), gradient: false },
  { name: "topk", inputs: [distinct(3, 7)], run: (x) => Object.values(tf.topk(x, 4)), gradient: false },
  {
    name: "topk, ties",
    inputs: [],
    run: () => Object.values(tf.topk(tf.tensor1d([1, 2, 2, 1, 2, 1]), 4)),
    gradient: false,
  },
  { name: "topk, int32", inputs: [], run: () => Object.values(tf.topk(ints([1, 5, -2, 5]), 4)), gradient: false },
  { name: "argMax", inputs: [distinct(3, 5)], run: (x) => [tf.argMax(x, 0), tf.argMax(x, -1)], gradient: false },
  { name: "argMax, ties", inputs: [], run: () => tf.argMax(tf.tensor1d([1, 3, 2, 3])), gradient: false },
  { name: "argMin", inputs: [distinct(3, 5)], run: (x) => [tf.argMin(x, 0), tf.argMin(x, 1)], gradient: false },
  { name: "unique", inputs: [], run: () => Object.values(tf.unique(ints([3, 1, 3, 2]))), gradient: false },
  {
    name: "bincount",
    inputs: [],
    run: () => tf.bincount(ints([0, 2, 2]) as tf.Tensor1D, tf.tensor1d([]), 4),
    gradient: false,
  },

  // Reductions.
  { name: "sum", inputs: [normal(2, 3, 4)], run: (x) => [tf.sum(x), tf.sum(x, 1), tf.sum(x, [0, 2], true)] },
  { name: "sum, int32", inputs: [distinct(6)], run: (x) => tf.sum(asInt(x)), gradient: false },
  { name: "sum, bool", inputs: [], run: () => tf.sum(bools([1, 0, 1, 1])), gradient: false },
  { name: "sum, empty", inputs: [], run: () => tf.sum(tf.zeros([0, 3]), 0), gradient: false },
  { name: "mean", inputs: [normal(2, 3, 4)], run: (x) => [tf.mean(x), tf.mean(x, 1), tf.mean(x, [0, 2], true)] },
  { name: "max", inputs: [distinct(2, 3, 4)], run: (x) => [tf.max(x), tf.max(x, 1), tf.max(x, [2], true)] },
  { name: "min", inputs: [distinct(2, 3, 4)], run: (x) => [tf.min(x), tf.min(x, 1), tf.min(x, [2], true)] },
  { name: "prod", inputs: [positive(2, 3)], run: (x) => tf.prod(x, 1) },
  {
    name: "cumsum",
    inputs: [normal(2, 4)],
    run: (x) => [tf.cumsum(x, 1), tf.cumsum(x, 1, true), tf.cumsum(x, 1, false, true)],
  },
  { name: "cumprod", inputs: [positive(2, 4)], run: (x) => tf.cumprod(x, 1), gradient: false },
  { name: "logSumExp", inputs: [normal(2, 4)], run: (x) => tf.logSumExp(x, 1) },
  { name: "norm", inputs: [normal(2, 4)], run: (x) => [tf.norm(x, "euclidean", 1, true), tf.norm(x, 1, 1)] },
  { name: "moments", inputs: [normal(2, 4)], run: (x) => Object.values(tf.moments(x, 1, true)) },

  // Layers.
  { name: "softmax", inputs: [normal(2, 4)], run: (x) => tf.softmax(x) },
  { name: "softmax, four dimensions", inputs: [normal(2, 3, 2, 4)], run: (x) => tf.softmax(x) },
  { name: "logSoftmax", inputs: [normal(2, 4)], run: (x) => tf.logSoftmax(x) },
  {
    name: "batchNorm",
    inputs: [normal(2, 3, 3, 4), normal(4), positive(4), normal(4), positive(4)],
    run: (x, mean, variance, offset, scale) =>
      tf.batchNorm(x, as1D(mean), as1D(variance), as1D(offset), as1D(scale), 1e-3),
  },
  {
    name: "losses.softmaxCrossEntropy",
    inputs: [normal(3, 4)],
    run: (x) => tf.losses.softmaxCrossEntropy(tf.oneHot(ints([1, 0, 3]), 4), x),
  },
  {
    name: "losses.sigmoidCrossEntropy",
    inputs: [normal(4)],
    run: (x) => tf.losses.sigmoidCrossEntropy(tf.tensor1d([1, 0, 0, 1]), x),
  },
  {
    name: "conv2d",
    inputs: [normal(2, 6, 6, 3), normal(3, 3, 3, 4)],
    run: (x, filter) => tf.conv2d(as4D(x), as4D(filter), 1, "same"),
    missingGradient: ["wasm"],
  },
  {
    name: "conv2d, patches",
    inputs: [normal(2, 8, 8, 1), normal(4, 4, 1, 5)],
    run: (x, filter) => tf.conv2d(as4D(x), as4D(filter), 4, "valid"),
    missingGradient: ["wasm"],
  },
  {
    name: "conv1d",
    inputs: [normal(2, 8, 3), normal(3, 3, 4)],
    run: (x, filter) => tf.conv1d(as3D(x), as3D(filter), 1, "same"),
    missingGradient: ["wasm"],
  },
  {
    name: "fused.conv2d",
    inputs: [normal(2, 6, 6, 3), normal(3, 3, 3, 4), normal(4)],
    run: (x, filter, bias) =>
      tf.fused.conv2d({ x: as4D(x), filter: as4D(filter), bias, strides: 1, pad: "same", activation: "relu" }),
    missingGradient: ["wasm"],
  },
  {
    name: "depthwiseConv2d",
    inputs: [normal(2, 6, 6, 3), normal(3, 3, 3, 1)],
    run: (x, filter) => tf.depthwiseConv2d(as4D(x), as4D(filter), 1, "same"),
    missingGradient: ["wasm"],
  },
  { name: "maxPool", inputs: [distinct(1, 6, 6, 2)], run: (x) => tf.maxPool(as4D(x), 2, 2, "valid") },
  { name: "avgPool", inputs: [normal(1, 6, 6, 2)], run: (x) => tf.avgPool(as4D(x), 2, 2, "valid") },
  { name: "resizeBilinear", inputs: [normal(1, 4, 4, 2)], run: (x) => tf.image.resizeBilinear(as4D(x), [7, 5]) },
  {
    name: "resizeBilinear, half pixel centres",
    inputs: [normal(1, 4, 4, 2)],
    run: (x) => tf.image.resizeBilinear(as4D(x), [7, 5], false, true),
    gradient: false,
  },
  {
    name: "resizeNearestNeighbor",
    inputs: [normal(1, 4, 4, 2)],
    run: (x) => tf.image.resizeNearestNeighbor(as4D(x), [8, 8]),
  },

  // Making tensors, and changing their type.
  { name: "range", inputs: [], run: () => [tf.range(0, 5, 1, "int32"), tf.range(1, 0, -0.25)], gradient: false },
  { name: "linspace", inputs: [], run: () => tf.linspace(0, 1, 5), gradient: false },
  { name: "fill", inputs: [], run: () => [tf.fill([2, 2], 3), tf.fill([2], 3, "int32")], gradient: false },
  { name: "zerosLike, onesLike", inputs: [normal(2, 2)], run: (x) => [tf.zerosLike(x), tf.onesLike(x)] },
  {
    name: "cast",
    inputs: [distinct(6)],
    run: (x) => [asInt(x), tf.cast(asInt(x), "float32"), tf.cast(x, "bool")],
    gradient: false,
  },
  { name: "cast, with gradient", inputs: [normal(3)], run: (x) => tf.mul(tf.cast(x, "float32"), 2) },

  // Complex numbers.
  {
    name: "complex, real, imag, abs",
    inputs: [normal(4), normal(4)],
    run: (a, b) => [tf.real(tf.complex(a, b)), tf.imag(tf.complex(a, b)), tf.abs(tf.complex(a, b))],
    gradient: false,
    missing: ["wasm"],
  },
  {
    name: "fft, ifft",
    inputs: [normal(2, 8), normal(2, 8)],
    run: (a, b) => [tf.real(tf.fft(tf.complex(a, b))), tf.imag(tf.ifft(tf.complex(a, b)))],
    gradient: false,
    missing: ["wasm"],
  },
];

/** What a row gives for these inputs, as tensors: outputs, then one gradient per input. */
export function rowTensors(
  row: KernelRow,
  inputs: tf.Tensor[],
  gradient = true,
): { label: string; tensor: tf.Tensor }[] {
  const outputs = [row.run(...inputs)].flat();
  const result = outputs.map((tensor, i) => ({ label: `output ${i}`, tensor }));
  if (row.gradient === false || !gradient) return result;
  const weights = outputs.map((output, i) => tf.cos(tf.range(0, output.size).add(i)).reshape(output.shape));
  const loss = (...inputs: tf.Tensor[]) =>
    [row.run(...inputs)].flat().map((output, i) => tf.mul(output, weights[i]).sum()).reduce((a, b) => tf.add(a, b));
  const gradients = tf.grads(loss as (...inputs: tf.Tensor[]) => tf.Scalar)(inputs);
  return [...result, ...gradients.map((tensor, i) => ({ label: `gradient of input ${i}`, tensor }))];
}

/** The tensors that a row takes. */
export function rowInputs(row: KernelRow): tf.Tensor[] {
  return row.inputs.map(({ shape, values }) => tf.tensor(values, shape));
}

/** Runs a row, and its gradients, on the backend that is set; all tensors are freed. */
export function runRow(row: KernelRow, { gradient = true }: { gradient?: boolean } = {}): RowResult {
  return tf.tidy(() => rowTensors(row, rowInputs(row), gradient).map(({ label, tensor }) => read(label, tensor)));
}

function read(label: string, tensor: tf.Tensor) {
  return { label, shape: tensor.shape, dtype: tensor.dtype, values: Array.from(tensor.dataSync()) };
}

/**
 * The names of all kernels that the table runs on the backend that is set, gradients included: what tfjs itself records,
 * not a list by hand. A test that records the kernels of the library's models can look for them here.
 */
export async function coveredKernels(): Promise<Set<string>> {
  const backend = tf.getBackend();
  const names = new Set<string>();
  for (const row of rows.filter(({ missing }) => !missing?.includes(backend))) {
    const profile = await tf.profile(() => {
      runRow(row, { gradient: !row.missingGradient?.includes(backend) });
    });
    profile.kernelNames.forEach((name) => names.add(name));
  }
  return names;
}
