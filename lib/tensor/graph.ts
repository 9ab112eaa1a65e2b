/**
 * A TensorFlow graph under construction: nodes are added one by one, and what is known of their outputs before they run
 * (type and shape) comes back at once. A finished graph becomes functions that TensorFlow or XLA runs whole.
 *
 * @module
 */
import type { FunctionCall, OpAttribute, TensorFlowBinding, TensorValues } from "./binding.ts";
import { AttributeType, cString, DataType, type Pointer } from "./capi.ts";
import { takeBuffer } from "./capi_graph.ts";
import { type OpDefinition, readOpDefinition } from "./op_definition.ts";
import { TraceError } from "./trace_error.ts";

/** What comes out of a node: a tensor that has a type and a shape, but no value yet. */
export interface Output {
  /** The `TF_Output` that names it in the C API. */
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly shape: number[];
  /** TensorFlow's number of the type. */
  readonly dtype: number;
  /** The values of a constant. */
  readonly constant?: TensorValues;
  /** Which node it comes out of, in the order in which nodes were added. */
  readonly node: number;
}

/** One node of a graph, for looking at. */
export interface Operation {
  /** TensorFlow's name of the op: MatMul, Const, Placeholder. */
  readonly op: string;
  /** The nodes that it takes inputs from. */
  readonly inputs: readonly number[];
  /** Shape of what comes out, of the first output where there are several. */
  readonly shape: readonly number[];
}

const BYTES_PER_OUTPUT = 16; // an address, an int32, padding
/** Constants up to this size are looked up among those that the graph has. */
const SMALL_BYTES = 64;

/** Nodes; freed by {@link Graph.dispose}, after which the functions made from it live on. */
export class Graph {
  /** Nodes so far. */
  nodes = 0;
  /** Bytes of the constants that are part of the graph. */
  constantBytes = 0;
  /** The nodes, in the order in which they were added. */
  readonly operations: Operation[] = [];

  readonly #binding: TensorFlowBinding;
  readonly #graph: Pointer;
  readonly #smallConstants = new Map<string, Output>();

  constructor(binding: TensorFlowBinding) {
    this.#binding = binding;
    this.#graph = binding.graphs.TF_NewGraph()!;
  }

  /**
   * Adds an op.
   *
   * @param inputs In the order of the op's definition; lists are written out one by one.
   * @param outputs How many are wanted; the op may make fewer.
   * @throws {TraceError} If the op has only side effects, or the shape of an output depends on values.
   * @throws {Error} If TensorFlow refuses it: types or shapes do not fit.
   */
  add(op: string, attributes: OpAttribute[], inputs: Output[], outputs: number): Output[] {
    const definition = this.#definition(op);
    refuseEffects(op, definition, outputs);
    const { graphs } = this.#binding;
    return this.#finish(op, inputs, outputs, (node) => {
      let next = 0;
      for (const { list } of definition.inputs) {
        if (list === undefined) {
          graphs.TF_AddInput(node, inputs[next++].bytes);
        } else {
          const length = listLength(definition, list, attributes, inputs.length);
          graphs.TF_AddInputList(node, packed(inputs.slice(next, next + length)), length);
          next += length;
        }
      }
      // tfjs-node writes some attributes that this version of the op does not have; eager execution lets them pass
      for (const attribute of attributes) if (definition.attributes.has(attribute.name)) this.#set(node, op, attribute);
    });
  }

  /** A place for an input of the function. */
  placeholder(shape: number[], dtype: number): Output {
    return this.#finish("Placeholder", [], 1, (node) => {
      this.#set(node, "Placeholder", { name: "dtype", type: AttributeType.TYPE, value: dtype });
      this.#set(node, "Placeholder", { name: "shape", type: AttributeType.SHAPE, value: shape });
    })[0];
  }

  /** A tensor with values known now. One whose values are all the same takes no memory. */
  constant(shape: number[], dtype: number, values: TensorValues): Output {
    const bytes = ArrayBuffer.isView(values) ? values.byteLength : undefined;
    if (bytes === undefined || bytes > SMALL_BYTES) {
      return isUniform(values) ? this.#fill(shape, dtype, values) : this.#constant(shape, dtype, values);
    }
    const key = `${dtype} ${shape} ${hex(values as ArrayBufferView)}`;
    let output = this.#smallConstants.get(key);
    if (output === undefined) this.#smallConstants.set(key, output = this.#constant(shape, dtype, values));
    return output;
  }

  /**
   * A function of the context that computes `outputs` from `inputs`.
   *
   * @param label What to call it in errors.
   */
  toFunction(label: string, inputs: Output[], outputs: Output[]): GraphFunction {
    const { graphs, context } = this.#binding;
    const name = new TextEncoder().encode(`tessera_${functions++}\0`);
    const made = this.#binding.checked(label, (status) =>
      graphs.TF_GraphToFunction(
        this.#graph,
        name,
        0,
        -1,
        null,
        inputs.length,
        packed(inputs),
        outputs.length,
        packed(outputs),
        null,
        null,
        null,
        status,
      ))!;
    try {
      this.#binding.checked(label, (status) => graphs.TFE_ContextAddFunction(context, made, status));
    } catch (error) {
      graphs.TF_DeleteFunction(made);
      throw error;
    }
    return new GraphFunction(this.#binding, { name, label, outputs: outputs.length }, made);
  }

  /** Frees the nodes. */
  dispose(): void {
    this.#binding.graphs.TF_DeleteGraph(this.#graph);
  }

  #finish(op: string, inputs: Output[], outputs: number, build: (node: Pointer) => void): Output[] {
    const { graphs } = this.#binding;
    const node = graphs.TF_NewOperation(this.#graph, cString(op), new TextEncoder().encode(`n${this.nodes++}\0`))!;
    build(node);
    const made = this.#binding.checked(op, (status) => graphs.TF_FinishOperation(node, status))!;
    const count = Math.min(outputs, graphs.TF_OperationNumOutputs(made));
    const number = this.nodes - 1;
    const result = Array.from({ length: count }, (_, i) => this.#output(op, made, i, number));
    this.operations.push({ op, inputs: inputs.map(({ node }) => node), shape: result[0]?.shape ?? [] });
    return result;
  }

  #output(op: string, node: Pointer, index: number, number: number): Output {
    const { graphs } = this.#binding;
    const bytes = new Uint8Array(BYTES_PER_OUTPUT);
    const view = new DataView(bytes.buffer);
    view.setBigUint64(0, Deno.UnsafePointer.value(node), true);
    view.setInt32(8, index, true);
    const rank = this.#binding.checked(op, (status) => graphs.TF_GraphGetTensorNumDims(this.#graph, bytes, status));
    const dims = new BigInt64Array(Math.max(1, rank));
    if (rank >= 0) {
      this.#binding.checked(op, (status) => graphs.TF_GraphGetTensorShape(this.#graph, bytes, dims, rank, status));
    }
    const shape = Array.from(dims.subarray(0, Math.max(0, rank)), Number);
    if (rank < 0 || shape.includes(-1)) {
      throw new TraceError(
        `the shape of what ${op} makes depends on values, which a compiled function does not know while it is traced; ` +
          "compute it outside, or choose by a mask of known shape (tf.where) instead",
      );
    }
    return { bytes, shape, dtype: graphs.TF_OperationOutputType(bytes), node: number };
  }

  #constant(shape: number[], dtype: number, values: TensorValues): Output {
    const { graphs } = this.#binding;
    const [output] = this.#binding.withHostTensor(
      shape,
      dtype,
      values,
      (tensor) =>
        this.#finish("Const", [], 1, (node) => {
          this.#binding.checked("Const", (status) => graphs.TF_SetAttrTensor(node, cString("value"), tensor, status));
          this.#set(node, "Const", { name: "dtype", type: AttributeType.TYPE, value: dtype });
        }),
    );
    this.constantBytes += ArrayBuffer.isView(values) ? values.byteLength : 0;
    return { ...output, constant: values };
  }

  #fill(shape: number[], dtype: number, values: TensorValues): Output {
    const dims = this.constant([shape.length], DataType.INT32, Int32Array.from(shape));
    const first = (values as Float32Array).slice(0, dtype === DataType.COMPLEX64 ? 2 : 1);
    const [output] = this.add("Fill", [], [dims, this.constant([], dtype, first)], 1);
    return { ...output, constant: values };
  }

  #definition(op: string): OpDefinition {
    let definition = definitions.get(op);
    if (definition === undefined) {
      const { graphs } = this.#binding;
      const buffer = graphs.TF_NewBuffer()!;
      this.#binding.checked(op, (status) => graphs.TF_GraphGetOpDef(this.#graph, cString(op), buffer, status));
      definition = readOpDefinition(takeBuffer(graphs, buffer));
      definitions.set(op, definition);
    }
    return definition;
  }

  #set(node: Pointer, op: string, { name, type, value }: OpAttribute): void {
    const { graphs } = this.#binding;
    const key = cString(name);
    switch (type) {
      case AttributeType.TYPE:
        if (!Array.isArray(value)) return graphs.TF_SetAttrType(node, key, value as number);
        return graphs.TF_SetAttrTypeList(node, key, Int32Array.from(value, Number), value.length);
      case AttributeType.BOOL:
        if (!Array.isArray(value)) return graphs.TF_SetAttrBool(node, key, value ? 1 : 0);
        return graphs.TF_SetAttrBoolList(node, key, Uint8Array.from(value, Number), value.length);
      case AttributeType.INT:
        if (!Array.isArray(value)) return graphs.TF_SetAttrInt(node, key, BigInt(Math.trunc(Number(value))));
        return graphs.TF_SetAttrIntList(node, key, toInt64(value), value.length);
      case AttributeType.FLOAT:
        if (!Array.isArray(value)) return graphs.TF_SetAttrFloat(node, key, value as number);
        return graphs.TF_SetAttrFloatList(node, key, Float32Array.from(value, Number), value.length);
      case AttributeType.STRING: {
        const text = new TextEncoder().encode(value as string);
        return graphs.TF_SetAttrString(node, key, text, BigInt(text.length));
      }
      case AttributeType.SHAPE: {
        const dims = toInt64(value as number[]);
        return graphs.TF_SetAttrShape(node, key, dims, dims.length);
      }
      default:
        throw new Error(`${op}: attribute ${name} is of kind ${type}, which the binding does not know`);
    }
  }
}

/** A function of TensorFlow's context. */
export class GraphFunction {
  readonly #binding: TensorFlowBinding;
  readonly #call: Pick<FunctionCall, "name" | "label" | "outputs">;
  readonly #function: Pointer;

  constructor(
    binding: TensorFlowBinding,
    call: Pick<FunctionCall, "name" | "label" | "outputs">,
    made: Pointer,
  ) {
    this.#binding = binding;
    this.#call = call;
    this.#function = made;
  }

  /** Runs it; see `TensorFlowBinding.callFunction`. */
  run(inputs: number[], xla: boolean): number[] {
    return this.#binding.callFunction({ ...this.#call, inputs, xla });
  }

  /** Runs it on another thread. */
  runAside(inputs: number[], xla: boolean): Promise<number[]> {
    return this.#binding.callFunctionAside({ ...this.#call, inputs, xla });
  }

  /** Takes it out of the context and frees it. */
  dispose(): void {
    const { graphs, context } = this.#binding;
    const { label, name } = this.#call;
    this.#binding.checked(label, (status) => graphs.TFE_ContextRemoveFunction(context, name, status));
    graphs.TF_DeleteFunction(this.#function);
  }
}

let functions = 0; // names are not used twice: XLA keeps what it compiled under the function's name
const definitions = new Map<string, OpDefinition>();

function refuseEffects(op: string, { stateful }: OpDefinition, outputs: number): void {
  if (outputs === 0) {
    throw new TraceError(`${op} has side effects only, and cannot be compiled; call it outside the compiled function`);
  }
  if (stateful) {
    throw new TraceError(
      `${op} keeps a state outside the graph, and cannot be compiled; ` +
        "call it outside the compiled function, or draw random numbers by randomUniform(key, shape)",
    );
  }
}

/** How many inputs belong to a list: its attribute says so, or all but the single inputs do. */
function listLength({ inputs }: OpDefinition, list: string, attributes: OpAttribute[], given: number): number {
  const said = attributes.find(({ name }) => name === list)?.value;
  if (typeof said === "number") return said;
  if (Array.isArray(said)) return said.length;
  return given - inputs.filter((input) => input.list === undefined).length;
}

function packed(outputs: Output[]): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(BYTES_PER_OUTPUT * outputs.length);
  outputs.forEach((output, i) => bytes.set(output.bytes, BYTES_PER_OUTPUT * i));
  return bytes;
}

/** Whether all elements have the same bits. */
function isUniform(values: TensorValues): boolean {
  if (!ArrayBuffer.isView(values) || values.byteLength === 0) return false;
  const { buffer, byteOffset, byteLength } = values;
  const size = (values as Float32Array).BYTES_PER_ELEMENT;
  const first = new Uint8Array(buffer, byteOffset, size);
  const all = new Uint8Array(buffer, byteOffset, byteLength);
  for (let i = size; i < byteLength; i++) if (all[i] !== first[i % size]) return false;
  return true;
}

function hex({ buffer, byteOffset, byteLength }: ArrayBufferView): string {
  return new Uint8Array(buffer, byteOffset, byteLength).join();
}

function toInt64(values: ArrayLike<number | boolean>): BigInt64Array<ArrayBuffer> {
  return BigInt64Array.from(Array.from(values, (value) => BigInt(Math.trunc(Number(value)))));
}
