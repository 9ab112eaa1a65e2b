/**
 * The part of TensorFlow's C API that makes functions from graphs, beside what {@link "./capi.ts"} has for single ops.
 *
 * A graph is nodes (`TF_Operation`); what comes out of a node is a `TF_Output`, the node's address and a number, passed
 * by value. A graph becomes a `TF_Function`; added to the context, it is called by its name as an op is.
 *
 * @module
 */
import type { Pointer } from "./capi.ts";

const pointer = "pointer";
const buffer = "buffer";
const output = { struct: ["pointer", "i32"] } as const; // TF_Output

function signature<const P extends readonly Deno.NativeType[], const R extends Deno.NativeResultType>(
  parameters: P,
  result: R,
) {
  return { parameters, result };
}

/** Every function that is looked up in the library. */
export const GRAPH_SYMBOLS = {
  TF_NewGraph: signature([], pointer),
  TF_DeleteGraph: signature([pointer], "void"),

  // A node: begin, add inputs, set attributes, finish.
  TF_NewOperation: signature([pointer, buffer, buffer], pointer), // graph, op, name
  TF_AddInput: signature([pointer, output], "void"),
  TF_AddInputList: signature([pointer, buffer, "i32"], "void"), // an array of TF_Output
  TF_SetAttrString: signature([pointer, buffer, buffer, "usize"], "void"),
  TF_SetAttrInt: signature([pointer, buffer, "i64"], "void"),
  TF_SetAttrIntList: signature([pointer, buffer, buffer, "i32"], "void"),
  TF_SetAttrFloat: signature([pointer, buffer, "f32"], "void"),
  TF_SetAttrFloatList: signature([pointer, buffer, buffer, "i32"], "void"),
  TF_SetAttrBool: signature([pointer, buffer, "u8"], "void"),
  TF_SetAttrBoolList: signature([pointer, buffer, buffer, "i32"], "void"),
  TF_SetAttrType: signature([pointer, buffer, "i32"], "void"),
  TF_SetAttrTypeList: signature([pointer, buffer, buffer, "i32"], "void"),
  TF_SetAttrShape: signature([pointer, buffer, buffer, "i32"], "void"),
  TF_SetAttrTensor: signature([pointer, buffer, pointer, pointer], "void"),
  TF_FinishOperation: signature([pointer, pointer], pointer),

  // What is known of a node before it runs.
  TF_OperationNumOutputs: signature([pointer], "i32"),
  TF_OperationOutputType: signature([output], "i32"),
  TF_GraphGetTensorNumDims: signature([pointer, output, pointer], "i32"), // -1: not known
  TF_GraphGetTensorShape: signature([pointer, output, buffer, "i32", pointer], "void"),
  TF_GraphGetOpDef: signature([pointer, buffer, pointer, pointer], "void"), // graph, op, TF_Buffer out, status

  // A TF_Buffer is an address and a length.
  TF_NewBuffer: signature([], pointer),
  TF_DeleteBuffer: signature([pointer], "void"),

  // graph, name, append a hash, -1 (all nodes), null, inputs, outputs, names of outputs, options, description, status
  TF_GraphToFunction: signature(
    [pointer, buffer, "u8", "i32", pointer, "i32", buffer, "i32", buffer, pointer, pointer, pointer, pointer],
    pointer,
  ),
  TF_FunctionToFunctionDef: signature([pointer, pointer, pointer], "void"), // function, TF_Buffer out, status
  TF_DeleteFunction: signature([pointer], "void"),
  TFE_ContextAddFunction: signature([pointer, pointer, pointer], "void"),
  TFE_ContextRemoveFunction: signature([pointer, buffer, pointer], "void"),

  // A call that leaves JavaScript's thread free, with a status of its own.
  TF_NewStatus: signature([], pointer),
  TF_DeleteStatus: signature([pointer], "void"),
  executeAside: {
    name: "TFE_Execute",
    parameters: [pointer, buffer, buffer, pointer],
    result: "void",
    nonblocking: true,
  },
} as const satisfies Deno.ForeignLibraryInterface;

/** The opened library: one function per entry of {@link GRAPH_SYMBOLS}. */
export type GraphApi = Deno.DynamicLibrary<typeof GRAPH_SYMBOLS>["symbols"];

/**
 * Opens the library in `folder` once more, for graphs.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { tensorflow } from "tessera/tensor/backend.ts";
 * if (tensorflow) {
 *   const { TF_NewGraph, TF_DeleteGraph } = tensorflow.binding.graphs;
 *   const graph = TF_NewGraph();
 *   assert.notEqual(graph, null);
 *   TF_DeleteGraph(graph);
 * }
 * ```
 */
export function openGraphApi(folder: string): GraphApi {
  return Deno.dlopen(`${folder}/libtensorflow_cc.so.2`, GRAPH_SYMBOLS).symbols;
}

/**
 * The bytes of a `TF_Buffer`, copied; the buffer is freed.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { tensorflow } from "tessera/tensor/backend.ts";
 * if (tensorflow) {
 *   const api = tensorflow.binding.graphs;
 *   assert.equal(takeBuffer(api, api.TF_NewBuffer()!).length, 0);
 * }
 * ```
 */
export function takeBuffer(api: GraphApi, address: Pointer): Uint8Array<ArrayBuffer> {
  const view = new Deno.UnsafePointerView(address);
  const data = view.getPointer(0);
  const length = Number(view.getBigUint64(8));
  const bytes = data === null || length === 0
    ? new Uint8Array()
    : new Uint8Array(Deno.UnsafePointerView.getArrayBuffer(data, length)).slice();
  api.TF_DeleteBuffer(address);
  return bytes;
}
