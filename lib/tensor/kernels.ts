/**
 * Repairs of what `@tensorflow/tfjs-node` (and, on the fallback, tfjs' wasm backend) gets wrong or lacks.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs";
import type { OpAttribute, TensorFlowBinding, TensorMetadata, TensorValues } from "./binding.ts";

/** What tfjs-node's backend knows of a tensor's data: its number in the binding, or values not yet handed over. */
export interface StoredTensor {
  readonly id: number;
  readonly values: TensorValues | null;
  readonly shape: number[];
  readonly dtype: number;
}

/** The part of tfjs-node's `NodeJSKernelBackend` that we call or replace; its kernels call the same. */
export interface TensorFlowBackend extends tf.KernelBackend {
  readonly binding: TensorFlowBinding;
  /** What is known of each tensor's data, by its data id. */
  readonly tensorMap: { get(data: object): StoredTensor };
  getDTypeInteger(dtype: tf.DataType): number;
  getInputTensorIds(inputs: tf.TensorInfo[]): number[];
  createOutputTensor(metadata: TensorMetadata): tf.Tensor;
  executeSingleOutput(name: string, attributes: OpAttribute[], inputs: tf.TensorInfo[]): tf.Tensor;
  executeMultipleOutputs(
    name: string,
    attributes: OpAttribute[],
    inputs: tf.TensorInfo[],
    outputs: number,
  ): tf.Tensor[];
}

/**
 * Repairs the backend "tensorflow" in place: tensors that leak, outputs of types that tfjs does not know, a gather that
 * reads its indices back, a product that writes beyond its output.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { tf } from "tessera/tensor/mod.ts";
 * const x = tf.tensor2d([[1, 2], [3, 4]]);
 * assert.deepEqual(tf.gather(x, tf.tensor1d([1], "int32"), -1).arraySync(), [[2], [4]]);
 * ```
 */
export function repairTensorFlow(backend: TensorFlowBackend): void {
  repairInt64Scalars(backend);
  repairOutputTypes(backend);
  replaceKernel("GatherV2", "tensorflow", gather);
  repairBroadcastProducts();
}

/**
 * Repairs the backend "wasm", before it is set up: a gather with batch dimensions picks from the wrong place there, a cast
 * from float32 to bool calls fractions false, and the sum that the gradient of a gather needs is missing.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { tf } from "tessera/tensor/mod.ts";
 * assert.deepEqual(tf.cast(tf.tensor1d([0, 0.5]), "bool").arraySync(), [0, 1]);
 * ```
 */
export function repairWasm(): void {
  const gather = tf.getKernel("GatherV2", "wasm").kernelFunc;
  replaceKernel("GatherV2", "wasm", (call) => call.attrs?.batchDims ? gatherInLoops(call) : gather(call));

  const cast = tf.getKernel("Cast", "wasm").kernelFunc;
  replaceKernel("Cast", "wasm", (call) => {
    const x = call.inputs.x as tf.Tensor;
    if (call.attrs?.dtype !== "bool" || x.dtype !== "float32") return cast(call);
    return tf.tidy(() => tf.notEqual(x, tf.scalar(0)));
  });

  replaceKernel("UnsortedSegmentSum", "wasm", segmentSumInLoops);
}

/** Kernels with a list of outputs, whose gradients tfjs cannot compute where the list has one element. */
const LIST_KERNELS = ["Unpack", "SplitV"];

/** Kernels whose gradients tfjs computes as if no input had been broadcast. */
const BROADCAST_KERNELS = ["BatchMatMul", "Maximum", "Minimum", "SquaredDifference"];

/**
 * Lets gradients flow through the kernels above: where an input was broadcast, tfjs stops with an error that the shapes
 * differ, because it does not sum over the copies; where a list of outputs has one element, because it takes that for the
 * list. For every backend.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { tf } from "tessera/tensor/mod.ts";
 * const slope = tf.grad((x) => tf.maximum(tf.tensor1d([1, 2, 3]), x));
 * assert.equal(slope(tf.scalar(2.5)).arraySync(), 2);
 * ```
 */
export function repairGradients(): void {
  for (const kernelName of BROADCAST_KERNELS) {
    const original = tf.getGradient(kernelName);
    tf.registerGradient({
      ...original,
      gradFunc: (dy, saved, attributes) => {
        const { a, b } = original.gradFunc(dy, saved, attributes);
        return { a: () => sumTo(saved[0].shape, a()), b: () => sumTo(saved[1].shape, b()) };
      },
    });
  }
  for (const kernelName of LIST_KERNELS) {
    const original = tf.getGradient(kernelName);
    tf.registerGradient({
      ...original,
      gradFunc: (dy, saved, attributes) => original.gradFunc(Array.isArray(dy) ? dy : [dy], saved, attributes),
    });
  }
}

/** Sums a gradient over the dimensions along which an input of the shape was repeated. */
function sumTo(shape: number[], gradient: tf.Tensor): tf.Tensor {
  const axes = tf.broadcast_util.getReductionAxes(shape, gradient.shape);
  return axes.length === 0 ? gradient : tf.sum(gradient, axes).reshape(shape);
}

/** An Int64Scalar among the inputs is uploaded at each call, and tfjs-node leaves it there. */
function repairInt64Scalars(backend: TensorFlowBackend): void {
  const { binding } = backend;
  const execute = (name: string, attributes: OpAttribute[], inputs: tf.TensorInfo[], outputs: number) => {
    const ids = backend.getInputTensorIds(inputs);
    try {
      return binding.executeOp(name, attributes, ids, outputs);
    } finally {
      // an Int64Scalar is the one input without a data id: nothing else knows of the tensor that it became
      for (let i = 0; i < inputs.length; i++) {
        if (inputs[i].dataId === undefined && ids[i] >= 0) binding.deleteTensor(ids[i]); // below 0: a trace's, not real
      }
    }
  };
  backend.executeSingleOutput = (name, attributes, inputs) => {
    return backend.createOutputTensor(execute(name, attributes, inputs, 1)[0]);
  };
  backend.executeMultipleOutputs = (name, attributes, inputs, outputs) => {
    return execute(name, attributes, inputs, outputs).map((metadata) => backend.createOutputTensor(metadata));
  };
}

/**
 * tfjs knows neither int64 nor uint8. tfjs-node calls such an output int32 and leaves it what it is (with a warning for
 * int64), so that the next op on it fails; here it becomes int32.
 */
function repairOutputTypes(backend: TensorFlowBackend): void {
  const { binding } = backend;
  const createOutputTensor = backend.createOutputTensor.bind(backend);

  backend.createOutputTensor = (metadata) => {
    const { id, dtype } = metadata;
    const foreign = dtype === binding.TF_INT64 ||
      (dtype === binding.TF_UINT8 && (id < 0 || binding.tensorDataType(id) === dtype)); // encoded images are strings that say uint8
    if (!foreign) return createOutputTensor(metadata);
    const attributes = [
      { name: "SrcT", type: binding.TF_ATTR_TYPE, value: dtype },
      { name: "DstT", type: binding.TF_ATTR_TYPE, value: binding.TF_INT32 },
      { name: "Truncate", type: binding.TF_ATTR_BOOL, value: false },
    ];
    const [asInt32] = binding.executeOp("Cast", attributes, [id], 1);
    if (id >= 0) binding.deleteTensor(id);
    return createOutputTensor(asInt32);
  };
}

/**
 * tfjs-node reads the indices back at every call, to look for one out of range. TensorFlow looks itself. Axes from the
 * end work too.
 */
const gather: tf.KernelFunc = ({ inputs, attrs, backend: untyped }) => {
  const backend = untyped as TensorFlowBackend;
  const { binding } = backend;
  const { x, indices } = inputs as Record<"x" | "indices", tf.TensorInfo>;
  const { axis, batchDims } = attrs as { axis: number; batchDims: number };
  const type = (name: string, dtype: tf.DataType) => ({
    name,
    type: binding.TF_ATTR_TYPE,
    value: backend.getDTypeInteger(dtype),
  });
  const attributes = [
    { name: "batch_dims", type: binding.TF_ATTR_INT, value: batchDims },
    type("Tparams", x.dtype),
    type("Tindices", indices.dtype),
    type("Taxis", "int32"),
  ];
  const axisTensor = tf.scalar(axis, "int32");
  try {
    return backend.executeSingleOutput("GatherV2", attributes, [x, indices, axisTensor]);
  } finally {
    axisTensor.dispose();
  }
};

/**
 * TensorFlow 2.21 multiplies a batch of two or more dimensions with a factor that it has to repeat, [2, 1, 64, 4] with
 * [1, 1, 4, 1] say, by writing beyond its output: wrong numbers, then an abort. So the factors are repeated before.
 */
function repairBroadcastProducts(): void {
  const multiply = tf.getKernel("BatchMatMul", "tensorflow").kernelFunc;
  replaceKernel("BatchMatMul", "tensorflow", (call) => {
    const { a, b } = call.inputs as Record<"a" | "b", tf.Tensor>;
    const [batchA, batchB] = [a.shape.slice(0, -2), b.shape.slice(0, -2)];
    const batch = tf.backend_util.assertAndGetBroadcastShape(batchA, batchB);
    if (batch.length < 2 || (sameShape(batchA, batch) && sameShape(batchB, batch))) return multiply(call);
    return tf.tidy(() => {
      const repeated = (x: tf.Tensor) => tf.broadcastTo(x, [...batch, ...x.shape.slice(-2)]);
      return multiply({ ...call, inputs: { a: repeated(a), b: repeated(b) } }) as tf.Tensor;
    });
  });
}

function sameShape(a: readonly number[], b: readonly number[]): boolean {
  return a.length === b.length && a.every((size, i) => size === b[i]);
}

/** For each batch, and each block before the axis, copies the slices that the batch's indices name. */
const gatherInLoops: tf.KernelFunc = ({ inputs, attrs, backend: untyped }) => {
  const backend = untyped as tf.KernelBackend;
  const { x, indices } = inputs as Record<"x" | "indices", tf.TensorInfo>;
  const { axis, batchDims } = attrs as { axis: number; batchDims: number };
  const { batchSize, outerSize, dimSize, sliceSize, outputShape } = tf.backend_util.segment_util
    .collectGatherOpShapeInfo(asTensor(x), asTensor(indices), tf.util.parseAxisParam(axis, x.shape)[0], batchDims);
  const values = backend.readSync(x.dataId) as Float32Array;
  const picked = backend.readSync(indices.dataId) as Int32Array;
  const each = picked.length / Math.max(1, batchSize);
  const gathered = tf.util.getTypedArrayFromDType(x.dtype as "float32", tf.util.sizeFromShape(outputShape));
  let to = 0;
  for (let block = 0; block < batchSize * outerSize; block++) {
    const batch = Math.floor(block / outerSize);
    for (let i = 0; i < each; i++) {
      const index = picked[batch * each + i];
      if (index < 0 || index >= dimSize) throw new Error(`GatherV2: index ${index} is not in [0, ${dimSize})`);
      const from = (block * dimSize + index) * sliceSize;
      gathered.set(values.subarray(from, from + sliceSize), to);
      to += sliceSize;
    }
  }
  return { dataId: backend.write(gathered, outputShape, x.dtype), shape: outputShape, dtype: x.dtype };
};

/** Sums the rows of x by the segment that each belongs to; a row with a negative segment is left out. */
const segmentSumInLoops: tf.KernelFunc = ({ inputs, attrs, backend: untyped }) => {
  const backend = untyped as tf.KernelBackend;
  const { x, segmentIds } = inputs as Record<"x" | "segmentIds", tf.TensorInfo>;
  const { numSegments } = attrs as { numSegments: number };
  const values = backend.readSync(x.dataId) as Float32Array;
  const segments = backend.readSync(segmentIds.dataId) as Int32Array;
  const width = tf.util.sizeFromShape(x.shape) / Math.max(1, segments.length);
  const sums = new Float32Array(numSegments * width);
  segments.forEach((segment, row) => {
    if (segment < 0) return;
    for (let i = 0; i < width; i++) sums[segment * width + i] += values[row * width + i];
  });
  const shape = [numSegments, ...x.shape.slice(segmentIds.shape.length)];
  return { dataId: backend.write(sums, shape, "float32"), shape, dtype: "float32" };
};

/** A kernel's input as tfjs' shape functions want it: they are typed for tensors, but look at the shape alone. */
function asTensor({ shape }: tf.TensorInfo): tf.Tensor {
  return { shape, rank: shape.length } as tf.Tensor;
}

function replaceKernel(kernelName: string, backendName: string, kernelFunc: tf.KernelFunc): void {
  const original = tf.getKernel(kernelName, backendName); // its set-up is kept: a wrapped kernel needs it
  if (original) tf.unregisterKernel(kernelName, backendName);
  tf.registerKernel({ ...original, kernelName, backendName, kernelFunc });
}
