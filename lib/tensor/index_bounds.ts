/**
 * Indices out of range. TensorFlow's kernels on the CPU refuse them; XLA clamps or ignores them without a word, and so
 * do the kernels on a GPU. There a compiled function gives the smallest and largest index of each gather along with its
 * result, and they are looked at after the call.
 *
 * @module
 */
import { AttributeType, DataType } from "./capi.ts";
import type { Graph, Output } from "./graph.ts";

/** The smallest and largest index that an op was given, and what they must lie in. */
export interface IndexBounds {
  readonly op: string;
  /** One per column of the index. */
  readonly sizes: number[];
  /** Below 0 an entry is left out: so it is in segment sums. */
  readonly negativeAllowed: boolean;
  /** int32, one per column. */
  readonly low: Output;
  readonly high: Output;
}

/** An op that takes indices, before anything is watched. */
export interface IndexedOp {
  readonly isConstant: boolean;
  /** @throws {Error} If an index that is known now is out of range. */
  refuseConstant(): void;
  /** Adds nodes for the smallest and the largest index. */
  watch(graph: Graph): IndexBounds;
}

/** Where an op has its index, and what bounds each column of it; axes and sizes are constants in tfjs. */
interface Indexing {
  index: Output;
  sizes: number[];
  negativeAllowed?: boolean;
}

const INDEXING: Record<string, (inputs: Output[]) => Indexing> = {
  GatherV2: ([x, index, axis]) => ({ index, sizes: [x.shape.at(numbersOf(axis)[0])!] }),
  GatherNd: ([x, index]) => ({ index, sizes: x.shape.slice(0, index.shape.at(-1)) }),
  ScatterNd: ([index, , shape]) => ({ index, sizes: numbersOf(shape).slice(0, index.shape.at(-1)) }),
  TensorScatterUpdate: ([x, index]) => ({ index, sizes: x.shape.slice(0, index.shape.at(-1)) }),
  UnsortedSegmentSum: ([, index, count]) => ({ index, sizes: numbersOf(count).slice(0, 1), negativeAllowed: true }),
};

/**
 * What is to be watched of an op with these inputs; undefined if it takes no indices, or none at all.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * assert.equal(indexBounds("MatMul", []), undefined);
 * ```
 */
export function indexBounds(op: string, inputs: Output[]): IndexedOp | undefined {
  const indexing = INDEXING[op]?.(inputs);
  if (indexing === undefined || indexing.index.shape.includes(0)) return undefined;
  const { index, sizes, negativeAllowed = false } = indexing;
  const bounded = { op, sizes, negativeAllowed };
  return {
    isConstant: index.constant !== undefined,
    refuseConstant: () => {
      if (index.constant === undefined) return;
      numbersOf(index).forEach((value, i) => refuse(bounded, i % sizes.length, value));
    },
    watch: (graph) => {
      const columns = addReshape(graph, index, [-1, sizes.length]);
      return { ...bounded, low: addReduction(graph, "Min", columns), high: addReduction(graph, "Max", columns) };
    },
  };
}

/**
 * All that is watched as one output: the smallest, then the largest index of each.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { tensorflow } from "tessera/tensor/backend.ts";
 * import { Graph } from "tessera/tensor/graph.ts";
 * if (tensorflow) {
 *   const { TF_INT32 } = tensorflow.binding;
 *   const graph = new Graph(tensorflow.binding);
 *   const [x, index] = [[5], [2]].map((shape) => graph.placeholder(shape, TF_INT32));
 *   const axis = graph.constant([], TF_INT32, Int32Array.of(0));
 *   const bounds = indexBounds("GatherV2", [x, index, axis])!.watch(graph);
 *   assert.deepEqual(joinBounds(graph, [bounds]).shape, [2]);
 *   graph.dispose();
 * }
 * ```
 */
export function joinBounds(graph: Graph, bounds: IndexBounds[]): Output {
  const all = bounds.flatMap(({ low, high }) => [low, high]);
  const axis = graph.constant([], DataType.INT32, Int32Array.of(0));
  const attributes = [
    { name: "N", type: AttributeType.INT, value: all.length },
    { name: "T", type: AttributeType.TYPE, value: DataType.INT32 },
    { name: "Tidx", type: AttributeType.TYPE, value: DataType.INT32 },
  ];
  return graph.add("ConcatV2", attributes, [...all, axis], 1)[0];
}

/**
 * Looks at the values of {@link joinBounds}.
 *
 * @throws {Error} If one is out of range, with the op and the index.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * const gather = { op: "GatherV2", sizes: [3], negativeAllowed: false } as IndexBounds;
 * refuseOutOfRange([gather], Int32Array.of(0, 2));
 * assert.throws(() => refuseOutOfRange([gather], Int32Array.of(0, 3)), /GatherV2 failed: index 3 is not in \[0, 3\)/);
 * ```
 */
export function refuseOutOfRange(bounds: readonly IndexBounds[], values: ArrayLike<number>): void {
  let at = 0;
  for (const bounded of bounds) {
    for (let edge = 0; edge < 2; edge++) {
      for (let column = 0; column < bounded.sizes.length; column++) refuse(bounded, column, values[at++]);
    }
  }
}

function refuse(
  { op, sizes, negativeAllowed }: Pick<IndexBounds, "op" | "sizes" | "negativeAllowed">,
  column: number,
  value: number,
): void {
  if (value < sizes[column] && (value >= 0 || negativeAllowed)) return;
  throw new Error(`TensorFlow's ${op} failed: index ${value} is not in [0, ${sizes[column]})`);
}

function addReshape(graph: Graph, x: Output, shape: number[]): Output {
  const attributes = [
    { name: "T", type: AttributeType.TYPE, value: x.dtype },
    { name: "Tshape", type: AttributeType.TYPE, value: DataType.INT32 },
  ];
  const to = graph.constant([shape.length], DataType.INT32, Int32Array.from(shape));
  return graph.add("Reshape", attributes, [x, to], 1)[0];
}

function addReduction(graph: Graph, op: "Min" | "Max", x: Output): Output {
  const attributes = [
    { name: "T", type: AttributeType.TYPE, value: x.dtype },
    { name: "Tidx", type: AttributeType.TYPE, value: DataType.INT32 },
    { name: "keep_dims", type: AttributeType.BOOL, value: false },
  ];
  return graph.add(op, attributes, [x, graph.constant([], DataType.INT32, Int32Array.of(0))], 1)[0];
}

/** Values of a constant of integers. */
function numbersOf({ constant }: Output): number[] {
  return Array.from(constant as Int32Array);
}
