/**
 * Tensors: TensorFlow.js, on TensorFlow where it is installed; and what TensorFlow.js lacks.
 *
 * This folder is the only one that imports TensorFlow.js. Importing this file is enough: a backend is chosen and ready
 * afterwards ({@link backend} says which, and which environment variables it obeys).
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * const x: tf.Tensor2D = tf.tensor2d([[1, 2], [3, 4]]);
 * assert.deepEqual(tf.matMul(x, x).arraySync(), [[7, 10], [15, 22]]);
 * ```
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs";

export { tf };
export { type Backend, backend, type BackendName } from "./backend.ts";
export { foldIn, randomKey, randomMask, randomUniform } from "./keyed_random.ts";
export {
  argsort,
  gatherTokens,
  placeOfHighest,
  rankDescending,
  refuseNaN,
  scatterAdd,
  segmentSum,
  stableTopK,
  stopGradient,
  straightThrough,
  topKValues,
} from "./primitives.ts";
export { flatten, type LeafTest, mapTree } from "./named.ts";
export { type LSTMSequence, lstmSequence } from "./lstm_sequence.ts";
export { associativeScan, linearRecurrence, scan } from "./scan.ts";
export { measure, type Measured, type TensorMemory, tensorMemory } from "./measure.ts";
export { tidy } from "./tidy.ts";
export { compile, type Compiled, type CompileOptions, type Explanation } from "./compile.ts";
export type { TraceReport, XLAOption } from "./executable.ts";
export type { Operation } from "./graph.ts";
export { TraceError } from "./trace_error.ts";
