/**
 * Tracing: a function runs once with tensors that have shapes but no values, and every op that it runs becomes a node
 * of a graph. TensorFlow.js' kernels, autodiff and optimizers are JavaScript above the binding, so they are traced as
 * they are.
 *
 * A symbol is a tensor without a value. To TensorFlow.js it is a tensor like any other; its number in the binding is
 * below -1, and stands for an {@link Output} of the graph under construction.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs";
import { tensorflow } from "./backend.ts";
import type { OpAttribute, OpInterceptor, TensorMetadata, TensorValues } from "./binding.ts";
import { type IndexBounds, indexBounds } from "./index_bounds.ts";
import { Graph, type Output } from "./graph.ts";
import type { StoredTensor } from "./kernels.ts";
import { type Engine, engine, type Hooks, withHooks } from "./trace_hooks.ts";
import { TraceError } from "./trace_error.ts";
import { putTogether, takeApart, type Template } from "./tree.ts";

/** Largest tensor that a traced function may make from values of JavaScript that differ. */
export const CONSTANT_LIMIT = 64 * 1024;

/** What a traced function takes from outside, beside its arguments. A variable's value is looked up at each call. */
export type Capture = { readonly variable: tf.Variable } | { readonly tensor: tf.Tensor };

/** The graph of a function, and what its inputs and outputs are. */
export interface TracedGraph {
  readonly graph: Graph;
  /** The arguments' tensors, then the captures. */
  readonly inputs: Output[];
  readonly captures: Capture[];
  /** The result's tensors, then the new values of `assigned`. */
  readonly outputs: Output[];
  readonly result: Template;
  readonly assigned: tf.Variable[];
  readonly bounds: IndexBounds[];
}

/** The function would make a variable: thrown before anything has changed. */
export class NewVariable extends Error {}

let nextSymbol = -2; // never used twice, so that a symbol of an earlier trace is recognised

/**
 * Traces `body` with arguments like `args`. Variables, scopes and memory are afterwards as they were, also if it fails.
 *
 * @param args The arguments of a call; their tensors are looked at for type and shape.
 * @param watchIndices Whether to add what {@link TracedGraph.bounds} needs, for devices that do not check indices.
 * @throws {TraceError} If the function does something that a graph cannot hold.
 * @throws {NewVariable} If it makes a variable.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { tf } from "tessera/tensor/mod.ts";
 * import { tensorflow } from "tessera/tensor/backend.ts";
 * if (tensorflow) {
 *   const { graph, outputs } = trace((x) => tf.neg(x as tf.Tensor), [tf.ones([2])], false);
 *   assert.deepEqual([graph.nodes, outputs[0].shape], [2, [2]]); // the argument and Neg
 *   graph.dispose();
 * }
 * ```
 */
export function trace(body: (...args: unknown[]) => unknown, args: unknown[], watchIndices: boolean): TracedGraph {
  const tracer = new Tracer(watchIndices);
  try {
    return tracer.run(body, args);
  } catch (error) {
    tracer.discard();
    throw error;
  }
}

class Tracer implements OpInterceptor {
  readonly #backend = tensorflow!;
  readonly #graph = new Graph(this.#backend.binding);
  readonly #watchIndices: boolean;
  readonly #symbols = new Map<number, Output>();
  readonly #variables = new Map<number, tf.Variable>();
  readonly #captures: { source: Capture; output: Output }[] = [];
  readonly #captured = new Map<object, number>();
  readonly #constants = new Map<object, number>();
  readonly #bounds: IndexBounds[] = [];
  /** Data that the function itself made from values of JavaScript. */
  readonly #made = new WeakSet<object>();
  readonly #kept: tf.Tensor[] = [];
  /** An error that could not be thrown where it happened, because it happened in a promise. */
  #late: TraceError | undefined;

  constructor(watchIndices: boolean) {
    this.#watchIndices = watchIndices;
  }

  run(body: (...args: unknown[]) => unknown, args: unknown[]): TracedGraph {
    const { binding } = this.#backend;
    const variables = Object.values(engine().registeredVariables);
    const values = variables.map(alias);
    const scopes = engine().state.scopeStack.length;
    const tape = pauseTape(engine());
    engine().startScope("compile");
    try {
      const before = variables.map((variable) => this.#giveSymbol(variable));
      const taken: tf.Tensor[] = [];
      const template = takeApart(args, taken, "the arguments");
      const inputs = taken.map(({ shape, dtype }) =>
        this.#graph.placeholder(shape, this.#backend.getDTypeInteger(dtype))
      );
      const symbols = inputs.map((input) => this.#tensor(input));

      binding.interceptor = this;
      return withHooks(this.#hooks(), () => {
        const result = body(...putTogether(template, symbols) as unknown[]);
        if (this.#late) throw this.#late;
        if (result instanceof Promise) {
          result.catch(() => {});
          throw new TraceError("an async function cannot be compiled; compile the part between two awaits");
        }
        const tensors: tf.Tensor[] = [];
        const made = takeApart(result, tensors, "the result of a compiled function", true);
        const assigned = variables.filter((variable, i) => variable.dataId !== before[i]);
        const outputs = [...tensors, ...assigned].map((tensor) => this.#outputOf(tensor));
        return {
          graph: this.#graph,
          inputs: [...inputs, ...this.#captures.map(({ output }) => output)],
          captures: this.#captures.map(({ source }) => source),
          outputs,
          result: made,
          assigned,
          bounds: this.#bounds,
        };
      });
    } finally {
      binding.interceptor = undefined;
      variables.forEach((variable, i) => {
        variable.assign(values[i]);
        values[i].dispose();
      });
      while (engine().state.scopeStack.length > scopes) engine().endScope();
      tape.restore();
    }
  }

  /** Frees everything, after a failure. */
  discard(): void {
    for (const { source } of this.#captures) if ("tensor" in source) source.tensor.dispose();
    for (const tensor of this.#kept) {
      if (!tensor.isDisposed && this.#stored(tensor).id < -1) tensor.dispose(); // what autodiff saved
    }
    this.#graph.dispose();
  }

  executeOp(name: string, attributes: OpAttribute[], inputs: number[], outputs: number): TensorMetadata[] {
    const given = inputs.map((id) => this.#output(id, name));
    const made = this.#graph.add(name, attributes, given, outputs);
    const bounds = indexBounds(name, given);
    if (bounds) {
      bounds.refuseConstant();
      if (this.#watchIndices && !bounds.isConstant) this.#bounds.push(bounds.watch(this.#graph));
    }
    return made.map((output) => ({ id: this.#number(output), shape: output.shape, dtype: output.dtype }));
  }

  #hooks(): Hooks {
    return {
      ids: (tensors: tf.TensorInfo[]) => tensors.map((tensor) => this.#id(tensor)),
      made: (data: object) => void this.#made.add(data),
      kept: (tensor: tf.Tensor) => void this.#kept.push(tensor),
      hasValue: (data: object) => {
        const { values, id } = this.#stored({ dataId: data });
        return values !== null || id >= 0;
      },
      late: (error: TraceError) => void (this.#late ??= error),
      newVariable: () => {
        throw new NewVariable();
      },
    };
  }

  /** For the time of the trace a variable holds a symbol of its own, whatever else shares its value. */
  #giveSymbol(variable: tf.Variable): object {
    const id = nextSymbol--;
    this.#variables.set(id, variable);
    const { shape, dtype } = variable;
    const symbol = this.#backend.createOutputTensor({ id, shape, dtype: this.#backend.getDTypeInteger(dtype) });
    variable.assign(symbol);
    symbol.dispose();
    return variable.dataId;
  }

  #number(output: Output): number {
    const id = nextSymbol--;
    this.#symbols.set(id, output);
    return id;
  }

  #tensor(output: Output): tf.Tensor {
    return this.#backend.createOutputTensor({ id: this.#number(output), shape: output.shape, dtype: output.dtype });
  }

  #outputOf(tensor: tf.Tensor): Output {
    if (tensor.isDisposed) throw new Error("a tensor of the result of a compiled function was disposed inside it");
    return this.#output(this.#id(tensor), "the result");
  }

  /** What a number stands for. A variable becomes an input when it is first used. */
  #output(id: number, user: string): Output {
    const known = this.#symbols.get(id);
    if (known) return known;
    const variable = this.#variables.get(id);
    if (variable === undefined) {
      throw new TraceError(
        id >= 0
          ? `${user} takes values from JavaScript, and cannot be compiled; call it outside the compiled function`
          : `${user} uses a tensor of an earlier trace, which never had a value; ` +
            "return it from the compiled function instead of keeping it",
      );
    }
    return this.#capture(id, { variable }, variable);
  }

  #capture(id: number, source: Capture, { shape, dtype }: tf.Tensor): Output {
    const output = this.#graph.placeholder(shape, this.#backend.getDTypeInteger(dtype));
    this.#captures.push({ source, output });
    this.#symbols.set(id, output);
    return output;
  }

  /** The number of any tensor that an op is given. */
  #id(tensor: tf.TensorInfo): number {
    if (tensor.dataId === undefined) { // tfjs-node's Int64Scalar
      const { valueArray } = tensor as unknown as { valueArray: Int32Array };
      return this.#number(this.#graph.constant([], this.#backend.binding.TF_INT64, valueArray));
    }
    const { id, values, shape, dtype } = this.#stored(tensor);
    if (values === null && id < -1) return id;
    if (this.#made.has(tensor.dataId) && values !== null) {
      let symbol = this.#constants.get(tensor.dataId);
      if (symbol === undefined) {
        refuseLarge(shape, values);
        symbol = this.#number(this.#graph.constant(shape, dtype, values));
        this.#constants.set(tensor.dataId, symbol);
      }
      return symbol;
    }
    let symbol = this.#captured.get(tensor.dataId);
    if (symbol === undefined) {
      symbol = nextSymbol--;
      this.#captured.set(tensor.dataId, symbol);
      const outside = alias(tensor); // it may be disposed of before the next call
      this.#capture(symbol, { tensor: outside }, outside);
    }
    return symbol;
  }

  #stored({ dataId }: Pick<tf.TensorInfo, "dataId">): StoredTensor {
    return this.#backend.tensorMap.get(dataId);
  }
}

/**
 * Another tensor with the same value, that no scope frees.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { tf } from "tessera/tensor/mod.ts";
 * const x = tf.scalar(1);
 * const same = alias(x);
 * x.dispose();
 * assert.equal(same.arraySync(), 1);
 * ```
 */
export function alias({ dataId, shape, dtype }: tf.TensorInfo): tf.Tensor {
  engine().backend.incRef(dataId);
  const tensor = engine().makeTensorFromTensorInfo({ dataId, shape, dtype });
  tensor.kept = true;
  return tensor;
}

/** A trace inside the forward pass of `tf.customGrad` has gradients of its own. */
function pauseTape({ state }: Engine): { restore(): void } {
  const { activeTape, gradientDepth, kernelDepth } = state;
  Object.assign(state, { activeTape: null, gradientDepth: 0, kernelDepth: 0 });
  return { restore: () => void Object.assign(state, { activeTape, gradientDepth, kernelDepth }) };
}

function refuseLarge(shape: number[], values: TensorValues): void {
  if (!ArrayBuffer.isView(values) || values.byteLength <= CONSTANT_LIMIT) return;
  const array = values as unknown as ArrayLike<number>;
  for (let i = 1; i < array.length; i++) {
    if (Object.is(array[i], array[0])) continue;
    throw new TraceError(
      `a tensor of shape [${shape}] is made from values of JavaScript inside a compiled function, where they would be ` +
        "frozen; make it outside, or draw random numbers by randomUniform(key, shape)",
    );
  }
}
