/**
 * TensorFlow as TensorFlow.js wants it: the interface `TFJSBinding` of `@tensorflow/tfjs-node`, which is a compiled
 * addon there, written over the C API by FFI. The package's JavaScript (backend and kernels) runs on it unchanged.
 *
 * A tensor is known by a number; the binding holds the handle behind it. All calls are synchronous and share one status.
 *
 * @module
 */
import {
  AttributeType,
  cString,
  DataType,
  openLibrary,
  openMemcpy,
  type Pointer,
  readCString,
  STRING_BYTES,
  type TensorFlowApi,
} from "./capi.ts";
import { type GraphApi, openGraphApi } from "./capi_graph.ts";
import { TraceError } from "./trace_error.ts";

/** An attribute of an op, as tfjs-node's kernels write it: `{ name: "T", type: TF_ATTR_TYPE, value: TF_FLOAT }`. */
export interface OpAttribute {
  name: string;
  type: number;
  value: number | boolean | string | number[] | boolean[];
}

/** What the backend is told about a tensor that an op has made. */
export interface TensorMetadata {
  id: number;
  shape: number[];
  dtype: number;
}

/** Values of a tensor as tfjs hands them over: a typed array, or one byte array per string. */
export type TensorValues = ArrayLike<number> & ArrayBufferView | number[] | Uint8Array[];

/** Values of a tensor as they come back. Int64 does not occur in tfjs; it is there for whoever reads a raw handle. */
export type ReadValues = Float32Array | Int32Array | Uint8Array | BigInt64Array | Uint8Array[];

/** Takes the place of execution: see {@link TensorFlowBinding.interceptor}. */
export interface OpInterceptor {
  executeOp(name: string, attributes: OpAttribute[], inputs: number[], outputs: number): TensorMetadata[];
}

/** A function of the context that is about to be called, see {@link TensorFlowBinding.callFunction}. */
export interface FunctionCall {
  /** Its name in the context, with a zero at the end. */
  name: Uint8Array<ArrayBuffer>;
  /** What to call it in an error. */
  label: string;
  /** Tensors by number. */
  inputs: number[];
  outputs: number;
  /** Compile it with XLA, at the first call with these shapes. */
  xla: boolean;
}

/** What the binding needs to know at its start. */
export interface BindingOptions {
  /** The wheel's folder `tensorflow/`. */
  folder: string;
  /** The version that the library has, already checked. */
  version: string;
  /** Threads for one op and for ops beside each other. Default: TensorFlow's, one per core. */
  threads?: number;
}

/** `TFJSBinding` over the C API. */
export class TensorFlowBinding {
  readonly TF_FLOAT = DataType.FLOAT;
  readonly TF_INT32 = DataType.INT32;
  readonly TF_INT64 = DataType.INT64;
  readonly TF_BOOL = DataType.BOOL;
  readonly TF_COMPLEX64 = DataType.COMPLEX64;
  readonly TF_STRING = DataType.STRING;
  readonly TF_RESOURCE = DataType.RESOURCE;
  readonly TF_UINT8 = DataType.UINT8;
  readonly TF_UINT64 = DataType.UINT64;
  readonly TF_ATTR_STRING = AttributeType.STRING;
  readonly TF_ATTR_INT = AttributeType.INT;
  readonly TF_ATTR_FLOAT = AttributeType.FLOAT;
  readonly TF_ATTR_BOOL = AttributeType.BOOL;
  readonly TF_ATTR_TYPE = AttributeType.TYPE;
  readonly TF_ATTR_SHAPE = AttributeType.SHAPE;
  readonly TF_ATTR_RESOURCE = 6; // asked for by tfjs-node, used by none of its kernels
  readonly TensorMetadata = class {};
  readonly TFEOpAttr = class {};
  readonly TF_Version: string;

  /** The device that ops run on, "CPU" or "GPU", and TensorFlow's full name of it. */
  readonly deviceType: string;
  readonly deviceName: string;

  /**
   * The seam for tracing. While set, {@link executeOp} hands every op to it instead of running it; it answers with the
   * metadata of tensors that it numbers itself, from -2 downwards (the backend never deletes negative numbers, and -1
   * means "not uploaded yet"). Nothing else in the library runs an op, so a trace sees them all.
   */
  interceptor: OpInterceptor | undefined;

  readonly #folder: string;
  readonly #api: TensorFlowApi;
  #graphs: GraphApi | undefined;
  readonly #memcpy = openMemcpy();
  readonly #context: Pointer;
  readonly #status: Pointer;
  readonly #handles = new Map<number, Pointer>();
  #nextId = 0;

  // Memory for the calls of one op, made once: an op costs 5 us, and allocation would be a good part of it.
  readonly #dims = new BigInt64Array(32);
  readonly #results = new BigUint64Array(512);
  readonly #resultCount = new Int32Array(1);

  constructor({ folder, version, threads }: BindingOptions) {
    this.#folder = folder;
    this.#api = openLibrary(folder);
    this.TF_Version = version;
    this.#status = this.#api.TF_NewStatus()!;

    const options = this.#api.TFE_NewContextOptions();
    if (threads !== undefined) {
      const config = threadsConfig(threads);
      this.#api.TFE_ContextOptionsSetConfig(options, config, BigInt(config.length), this.#status);
      this.#check("TFE_ContextOptionsSetConfig");
    }
    this.#context = this.#api.TFE_NewContext(options, this.#status)!;
    this.#check("TFE_NewContext");
    this.#api.TFE_DeleteContextOptions(options);

    const devices = this.#listDevices();
    const device = devices.find(({ type }) => type === "GPU") ?? devices.find(({ type }) => type === "CPU")!;
    this.deviceType = device.type;
    this.deviceName = device.name;
  }

  /** Whether ops run on a GPU. */
  isUsingGpuDevice(): boolean {
    return this.deviceType === "GPU";
  }

  /** Handles that are alive. */
  getNumOfTensors(): number {
    return this.#handles.size;
  }

  /** Saved models cannot be loaded, so there are none. */
  getNumOfSavedModels(): number {
    return 0;
  }

  /**
   * A tensor holding a copy of the values.
   *
   * @param shape Sizes; the values fill them in row order.
   * @param dtype One of `TF_FLOAT`, `TF_INT32`, ...; an array of another element type is converted, int64 and complex64
   *   take pairs of 4 bytes as they are.
   */
  createTensor(shape: number[], dtype: number, values: TensorValues): number {
    if (dtype === DataType.STRING) return this.#createStringTensor(shape, values as Uint8Array[]);
    const bytes = asBytesOf(dtype, values);
    const expected = countElements(shape) * bytesPerElement(dtype);
    if (bytes.byteLength !== expected) {
      throw new Error(`a tensor of shape [${shape}] needs ${expected} bytes, but the values have ${bytes.byteLength}`);
    }
    const tensor = this.#allocate(shape, dtype, expected);
    if (expected > 0) this.#memcpy.toPointer(this.#api.TF_TensorData(tensor), bytes, BigInt(expected));
    let handle = this.#api.TFE_NewTensorHandle(tensor, this.#status)!;
    this.#api.TF_DeleteTensor(tensor); // the handle keeps the memory
    this.#check("TFE_NewTensorHandle");
    if (this.isUsingGpuDevice() && dtype !== DataType.INT32) { // int32 belongs into host memory, TensorFlow's own rule
      const onHost = handle;
      handle = this.#api.TFE_TensorHandleCopyToDevice(onHost, this.#context, cString(this.deviceName), this.#status)!;
      this.#api.TFE_DeleteTensorHandle(onHost);
      this.#check("TFE_TensorHandleCopyToDevice");
    }
    return this.#register(handle);
  }

  /** Forgets a tensor and frees what it alone holds. */
  deleteTensor(id: number): void {
    this.#api.TFE_DeleteTensorHandle(this.#handle(id));
    this.#handles.delete(id);
  }

  /** The type of a tensor's elements, as TensorFlow has it. */
  tensorDataType(id: number): number {
    return this.#api.TFE_TensorHandleDataType(this.#handle(id));
  }

  /** A copy of the values; waits for the device. Complex numbers come as pairs, strings as bytes. */
  tensorDataSync(id: number): ReadValues {
    const handle = this.#handle(id);
    const dtype = this.#api.TFE_TensorHandleDataType(handle);
    const tensor = this.#api.TFE_TensorHandleResolve(handle, this.#status);
    this.#check("TFE_TensorHandleResolve");
    try {
      if (dtype === DataType.STRING) return this.#readStrings(tensor);
      const size = this.#api.TF_TensorByteSize(tensor);
      const memory = new ArrayBuffer(Number(size));
      if (size > 0n) this.#memcpy.fromPointer(memory, this.#api.TF_TensorData(tensor), size);
      return viewAs(dtype, memory);
    } finally {
      this.#api.TF_DeleteTensor(tensor);
    }
  }

  /**
   * Runs an op: the only place that does.
   *
   * @param name TensorFlow's name of it ("MatMul"), with its attributes.
   * @param inputs Tensors by number, in the order of the op's definition; lists are written out one by one.
   * @param outputs How many tensors come out (at least as many as the op makes).
   * @throws {Error} With the op's name and the first line of TensorFlow's message.
   */
  executeOp(name: string, attributes: OpAttribute[], inputs: number[], outputs: number): TensorMetadata[] {
    if (this.interceptor !== undefined) return this.interceptor.executeOp(name, attributes, inputs, outputs);
    const op = this.#api.TFE_NewOp(this.#context, cString(name), this.#status);
    if (op === null) this.#check(name);
    try {
      for (let i = 0; i < inputs.length; i++) {
        this.#api.TFE_OpAddInput(op, this.#handle(inputs[i]), this.#status);
        this.#check(name);
      }
      for (let i = 0; i < attributes.length; i++) this.#setAttribute(op!, name, attributes[i]);
      const results = outputs > this.#results.length ? new BigUint64Array(outputs) : this.#results;
      this.#resultCount[0] = outputs;
      this.#api.TFE_Execute(op, results, this.#resultCount, this.#status);
      this.#check(name);
      const made: TensorMetadata[] = [];
      for (let i = 0; i < this.#resultCount[0]; i++) made.push(this.#adopt(Deno.UnsafePointer.create(results[i])!));
      return made;
    } finally {
      this.#api.TFE_DeleteOp(op);
    }
  }

  /** The C API for graphs, opened when it is first asked for. */
  get graphs(): GraphApi {
    return this.#graphs ??= openGraphApi(this.#folder);
  }

  /** The context that functions are added to. */
  get context(): Pointer {
    return this.#context;
  }

  /**
   * Runs `action` with a status, and throws what the status says afterwards.
   *
   * @param name Of what is done, for the error.
   */
  checked<T>(name: string, action: (status: Pointer) => T): T {
    const result = action(this.#status);
    this.#check(name);
    return result;
  }

  /** Lends `use` a block of host memory with the values, freed afterwards. For constants of graphs, which copy it. */
  withHostTensor<T>(shape: number[], dtype: number, values: TensorValues, use: (tensor: Pointer) => T): T {
    const isString = dtype === DataType.STRING;
    const bytes = isString ? undefined : asBytesOf(dtype, values);
    const size = countElements(shape) * (isString ? STRING_BYTES : bytesPerElement(dtype));
    const tensor = this.#allocate(shape, dtype, size);
    const addresses = isString ? this.#fillStrings(tensor, values as Uint8Array[]) : [];
    if (bytes && size > 0) this.#memcpy.toPointer(this.#api.TF_TensorData(tensor), bytes, BigInt(size));
    try {
      return use(tensor);
    } finally {
      addresses.forEach((address) => this.#api.TF_StringDealloc(address));
      this.#api.TF_DeleteTensor(tensor);
    }
  }

  /**
   * Calls a function that was added to the context.
   *
   * @returns The outputs, by number.
   * @throws {Error} With the function's label and the first line of TensorFlow's message.
   */
  callFunction(call: FunctionCall): number[] {
    const op = this.#newCall(call, this.#status);
    try {
      const results = call.outputs > this.#results.length ? new BigUint64Array(call.outputs) : this.#results;
      this.#resultCount[0] = call.outputs;
      this.#api.TFE_Execute(op, results, this.#resultCount, this.#status);
      this.#check(call.label);
      return this.#registerAll(results, this.#resultCount[0]);
    } finally {
      this.#api.TFE_DeleteOp(op);
    }
  }

  /** The same on another thread: the event loop goes on meanwhile. The inputs may be disposed of right after the call. */
  async callFunctionAside(call: FunctionCall): Promise<number[]> {
    const { TF_NewStatus, TF_DeleteStatus, executeAside } = this.graphs;
    const status = TF_NewStatus()!; // the shared one would be overwritten by what runs meanwhile
    try {
      const op = this.#newCall(call, status);
      try {
        const results = new BigUint64Array(call.outputs);
        const count = Int32Array.of(call.outputs);
        await executeAside(op, results, count, status);
        this.#check(call.label, status);
        return this.#registerAll(results, count[0]);
      } finally {
        this.#api.TFE_DeleteOp(op);
      }
    } finally {
      TF_DeleteStatus(status);
    }
  }

  /** Not supported: saved models are another program's format, and nothing here is stored as one. */
  loadSavedModel(): number {
    throw new Error("saved models are not supported; keep weights in safetensors files instead");
  }

  /** Not supported. */
  deleteSavedModel(): void {
    this.loadSavedModel();
  }

  /** Not supported. */
  runSavedModel(): TensorMetadata[] {
    this.loadSavedModel();
    return [];
  }

  #check(name: string, status = this.#status): void {
    if (this.#api.TF_GetCode(status) === 0) return;
    throw new Error(describeFailure(name, readCString(this.#api.TF_Message(status))));
  }

  #newCall({ name, label, inputs, xla }: FunctionCall, status: Pointer): Pointer {
    const op = this.#api.TFE_NewOp(this.#context, name, status);
    if (op === null) this.#check(label, status);
    try {
      for (const id of inputs) this.#api.TFE_OpAddInput(op, this.#handle(id), status);
      if (xla) this.#api.TFE_OpSetAttrBool(op, cString("_XlaMustCompile"), 1);
      this.#check(label, status);
      return op!;
    } catch (error) {
      this.#api.TFE_DeleteOp(op);
      throw error;
    }
  }

  #registerAll(handles: BigUint64Array, count: number): number[] {
    const ids: number[] = new Array(count);
    for (let i = 0; i < count; i++) ids[i] = this.#register(Deno.UnsafePointer.create(handles[i])!);
    return ids;
  }

  #handle(id: number): Pointer {
    const handle = this.#handles.get(id);
    if (handle === undefined) throw noSuchTensor(id);
    return handle;
  }

  #register(handle: Pointer): number {
    const id = this.#nextId++;
    this.#handles.set(id, handle);
    return id;
  }

  #adopt(handle: Pointer): TensorMetadata {
    const rank = this.#api.TFE_TensorHandleNumDims(handle, this.#status);
    const shape: number[] = new Array(rank);
    for (let d = 0; d < rank; d++) shape[d] = Number(this.#api.TFE_TensorHandleDim(handle, d, this.#status));
    return { id: this.#register(handle), shape, dtype: this.#api.TFE_TensorHandleDataType(handle) };
  }

  #allocate(shape: number[], dtype: number, bytes: number): Pointer {
    for (let d = 0; d < shape.length; d++) this.#dims[d] = BigInt(shape[d]);
    const tensor = this.#api.TF_AllocateTensor(dtype, this.#dims, shape.length, BigInt(bytes));
    if (tensor === null) throw new RangeError(`there is no memory for a tensor of shape [${shape}], ${bytes} bytes`);
    return tensor;
  }

  /**
   * Memory of `TF_AllocateTensor` is freed without the destructors of its strings, so that long ones leak. Hence hand
   * out a copy that TensorFlow made itself, by the op StringJoin of one input, and free the original's strings here.
   * (The compiled addon empties the strings when the first tensor goes, under the feet of others that share them.)
   */
  #createStringTensor(shape: number[], values: Uint8Array[]): number {
    const count = countElements(shape);
    if (values.length !== count) {
      throw new Error(`a tensor of shape [${shape}] needs ${count} strings, but there are ${values.length}`);
    }
    const tensor = this.#allocate(shape, DataType.STRING, STRING_BYTES * count);
    const addresses = this.#fillStrings(tensor, values);
    const original = this.#register(this.#api.TFE_NewTensorHandle(tensor, this.#status)!);
    const tracing = this.interceptor;
    this.interceptor = undefined; // the copy is part of the upload, not of what is traced
    try {
      return this.executeOp("StringJoin", STRING_COPY, [original], 1)[0].id;
    } finally {
      this.interceptor = tracing;
      this.deleteTensor(original);
      addresses.forEach((address) => this.#api.TF_StringDealloc(address));
      this.#api.TF_DeleteTensor(tensor);
    }
  }

  #fillStrings(tensor: Pointer, values: Uint8Array[]): Deno.PointerValue[] {
    const addresses = this.#stringAddresses(tensor, values.length);
    addresses.forEach((address, i) => {
      this.#api.TF_StringInit(address);
      this.#api.TF_StringCopy(address, values[i] as Uint8Array<ArrayBuffer>, BigInt(values[i].byteLength));
    });
    return addresses;
  }

  #readStrings(tensor: Deno.PointerValue): Uint8Array[] {
    const count = Number(this.#api.TF_TensorElementCount(tensor));
    return this.#stringAddresses(tensor, count).map((address) => {
      const size = this.#api.TF_StringGetSize(address);
      const bytes = new Uint8Array(Number(size));
      if (size > 0n) this.#memcpy.fromPointer(bytes, this.#api.TF_StringGetDataPointer(address), size);
      return bytes;
    });
  }

  #stringAddresses(tensor: Deno.PointerValue, count: number): Deno.PointerValue[] {
    if (count === 0) return [];
    const first = Deno.UnsafePointer.value(this.#api.TF_TensorData(tensor));
    return Array.from({ length: count }, (_, i) => Deno.UnsafePointer.create(first + BigInt(STRING_BYTES * i)));
  }

  #setAttribute(op: Pointer, opName: string, { name, type, value }: OpAttribute): void {
    const api = this.#api;
    const key = cString(name);
    switch (type) {
      case AttributeType.TYPE:
        if (!Array.isArray(value)) return api.TFE_OpSetAttrType(op, key, value as number);
        return api.TFE_OpSetAttrTypeList(op, key, Int32Array.from(value, Number), value.length);
      case AttributeType.BOOL:
        if (!Array.isArray(value)) return api.TFE_OpSetAttrBool(op, key, value ? 1 : 0);
        return api.TFE_OpSetAttrBoolList(op, key, Uint8Array.from(value, Number), value.length);
      case AttributeType.INT:
        if (!Array.isArray(value)) return api.TFE_OpSetAttrInt(op, key, toInt64([Number(value)])[0]);
        return api.TFE_OpSetAttrIntList(op, key, toInt64(value), value.length);
      case AttributeType.FLOAT:
        if (!Array.isArray(value)) return api.TFE_OpSetAttrFloat(op, key, value as number);
        return api.TFE_OpSetAttrFloatList(op, key, Float32Array.from(value, Number), value.length);
      case AttributeType.STRING: {
        const text = new TextEncoder().encode(value as string);
        return api.TFE_OpSetAttrString(op, key, text, BigInt(text.length));
      }
      case AttributeType.SHAPE: {
        const dims = toInt64(value as number[]);
        api.TFE_OpSetAttrShape(op, key, dims, dims.length, this.#status);
        return this.#check(opName);
      }
      default:
        throw new Error(`${opName}: attribute ${name} is of kind ${type}, which the binding does not know`);
    }
  }

  #listDevices(): { type: string; name: string }[] {
    const list = this.#api.TFE_ContextListDevices(this.#context, this.#status);
    this.#check("TFE_ContextListDevices");
    const devices = Array.from({ length: this.#api.TF_DeviceListCount(list) }, (_, i) => ({
      type: readCString(this.#api.TF_DeviceListType(list, i, this.#status)),
      name: readCString(this.#api.TF_DeviceListName(list, i, this.#status)),
    }));
    this.#api.TF_DeleteDeviceList(list);
    return devices;
  }
}

/** Attributes that make StringJoin a copy: one input, nothing between. */
const STRING_COPY: OpAttribute[] = [
  { name: "N", type: AttributeType.INT, value: 1 },
  { name: "separator", type: AttributeType.STRING, value: "" },
];

/**
 * One sentence from TensorFlow's message: its first line, without the mark-up for other programs.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * const message = "{{function_node __wrapped__MatMul}} Matrix size-incompatible [Op:MatMul]\nmore";
 * assert.equal(describeFailure("MatMul", message), "TensorFlow's MatMul failed: Matrix size-incompatible");
 * ```
 */
export function describeFailure(name: string, message: string): string {
  const line = message.trim().split("\n")[0].replace(/\{\{.*?\}\}/g, "").replace(/\[Op:[^\]]*\].*$/, "").trim();
  return `TensorFlow's ${name} failed: ${line === "" ? "it gave no reason" : line}`;
}

/** A ConfigProto with `intra_op_parallelism_threads` (field 2) and `inter_op_parallelism_threads` (field 5). */
function threadsConfig(threads: number): Uint8Array<ArrayBuffer> {
  const number: number[] = []; // a protobuf varint: seven bits a byte, the highest bit says that more follow
  for (let rest = threads; rest > 0; rest >>>= 7) number.push(rest < 128 ? rest : (rest & 127) | 128);
  return Uint8Array.from([2 << 3, ...number, 5 << 3, ...number]);
}

/** Numbers of traced tensors are below -1, and are not used twice. */
function noSuchTensor(id: number): Error {
  if (id >= -1) return new Error(`there is no tensor ${id}: it was disposed, or never had a value`);
  return new TraceError(
    "this tensor was made while a function was traced, and never had a value; return it from the compiled function " +
      "instead of keeping it",
  );
}

function countElements(shape: number[]): number {
  let count = 1;
  for (let d = 0; d < shape.length; d++) count *= shape[d];
  return count;
}

function bytesPerElement(dtype: number): number {
  switch (dtype) {
    case DataType.INT64:
    case DataType.COMPLEX64:
    case DataType.DOUBLE:
      return 8;
    case DataType.BOOL:
    case DataType.UINT8:
      return 1;
    default:
      return 4;
  }
}

/** The values as memory of the type, copied only if they have another element type (tfjs lets such arrays through). */
function asBytesOf(dtype: number, values: TensorValues): ArrayBufferView<ArrayBuffer> {
  const array = values as Float32Array<ArrayBuffer>;
  switch (dtype) {
    case DataType.FLOAT:
      return array instanceof Float32Array ? array : Float32Array.from(array);
    case DataType.INT32:
      return array instanceof Int32Array ? array : Int32Array.from(array);
    case DataType.BOOL:
    case DataType.UINT8:
      return array instanceof Uint8Array ? array : Uint8Array.from(array);
    default:
      return array;
  }
}

function viewAs(dtype: number, memory: ArrayBuffer): ReadValues {
  switch (dtype) {
    case DataType.FLOAT:
    case DataType.COMPLEX64:
      return new Float32Array(memory);
    case DataType.INT32:
      return new Int32Array(memory);
    case DataType.INT64:
      return new BigInt64Array(memory);
    case DataType.BOOL:
    case DataType.UINT8:
    case DataType.RESOURCE:
      return new Uint8Array(memory);
    default:
      throw new Error(`values of TensorFlow's type number ${dtype} cannot be read`);
  }
}

/** Fractions are cut off, as in the compiled addon: tfjs gives Math.random() as the seed of some ops. */
function toInt64(values: ArrayLike<number | boolean>): BigInt64Array<ArrayBuffer> {
  return BigInt64Array.from(Array.from(values, (value) => BigInt(Math.trunc(Number(value)))));
}
