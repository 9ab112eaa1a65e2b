/**
 * The part of TensorFlow's C API that the binding uses, opened with Deno's foreign function interface.
 *
 * Names are TensorFlow's own, so that a reader finds each one in `tensorflow/include/tensorflow/c/c_api.h` and
 * `c/eager/c_api.h` of the wheel. `TF_*` are tensors and errors, `TFE_*` is eager execution: a context holds the
 * devices, a tensor handle is a reference to a value that lives on a device, an op is a name with inputs and attributes.
 *
 * @module
 */

/** `char*`, `TF_Tensor*`, `TFE_Op*`, ...: memory of TensorFlow. */
const pointer = "pointer";
/** Memory of JavaScript, lent for the time of the call. */
const buffer = "buffer";

function signature<const P extends readonly Deno.NativeType[], const R extends Deno.NativeResultType>(
  parameters: P,
  result: R,
) {
  return { parameters, result };
}

const VERSION_SYMBOL = { TF_Version: signature([], pointer) } as const;

/** Every function that is looked up in the library; a missing one fails when the library is opened. */
export const SYMBOLS = {
  // A status receives the error of a call; 0 means that all is well.
  TF_NewStatus: signature([], pointer),
  TF_GetCode: signature([pointer], "i32"),
  TF_Message: signature([pointer], pointer),

  // A TF_Tensor is a block of host memory with a type and a shape.
  TF_AllocateTensor: signature(["i32", buffer, "i32", "usize"], pointer), // type, dims, rank, bytes
  TF_DeleteTensor: signature([pointer], "void"),
  TF_TensorData: signature([pointer], pointer),
  TF_TensorByteSize: signature([pointer], "usize"),
  TF_TensorElementCount: signature([pointer], "i64"),

  // A TF_TString is 24 bytes; long strings point to memory of their own.
  TF_StringInit: signature([pointer], "void"),
  TF_StringCopy: signature([pointer, buffer, "usize"], "void"), // to, from, bytes
  TF_StringGetDataPointer: signature([pointer], pointer),
  TF_StringGetSize: signature([pointer], "usize"),
  TF_StringDealloc: signature([pointer], "void"),

  // The context: options, devices.
  TFE_NewContextOptions: signature([], pointer),
  TFE_ContextOptionsSetConfig: signature([pointer, buffer, "usize", pointer], "void"), // options, ConfigProto, bytes
  TFE_DeleteContextOptions: signature([pointer], "void"),
  TFE_NewContext: signature([pointer, pointer], pointer),
  TFE_ContextListDevices: signature([pointer, pointer], pointer),
  TF_DeviceListCount: signature([pointer], "i32"),
  TF_DeviceListType: signature([pointer, "i32", pointer], pointer),
  TF_DeviceListName: signature([pointer, "i32", pointer], pointer),
  TF_DeleteDeviceList: signature([pointer], "void"),

  // A handle is a value on a device. Deleting it frees the value when nothing else holds it.
  TFE_NewTensorHandle: signature([pointer, pointer], pointer),
  TFE_DeleteTensorHandle: signature([pointer], "void"),
  TFE_TensorHandleDataType: signature([pointer], "i32"),
  TFE_TensorHandleNumDims: signature([pointer, pointer], "i32"),
  TFE_TensorHandleDim: signature([pointer, "i32", pointer], "i64"),
  TFE_TensorHandleResolve: signature([pointer, pointer], pointer), // a TF_Tensor, copied from the device if need be
  TFE_TensorHandleCopyToDevice: signature([pointer, pointer, buffer, pointer], pointer),

  // An op: make, add inputs, set attributes, execute. Attribute names must live for ever (see cString).
  TFE_NewOp: signature([pointer, buffer, pointer], pointer),
  TFE_DeleteOp: signature([pointer], "void"),
  TFE_OpAddInput: signature([pointer, pointer, pointer], "void"),
  TFE_OpSetAttrString: signature([pointer, buffer, buffer, "usize"], "void"),
  TFE_OpSetAttrInt: signature([pointer, buffer, "i64"], "void"),
  TFE_OpSetAttrIntList: signature([pointer, buffer, buffer, "i32"], "void"),
  TFE_OpSetAttrFloat: signature([pointer, buffer, "f32"], "void"),
  TFE_OpSetAttrFloatList: signature([pointer, buffer, buffer, "i32"], "void"),
  TFE_OpSetAttrBool: signature([pointer, buffer, "u8"], "void"),
  TFE_OpSetAttrBoolList: signature([pointer, buffer, buffer, "i32"], "void"),
  TFE_OpSetAttrType: signature([pointer, buffer, "i32"], "void"),
  TFE_OpSetAttrTypeList: signature([pointer, buffer, buffer, "i32"], "void"),
  TFE_OpSetAttrShape: signature([pointer, buffer, buffer, "i32", pointer], "void"),
  TFE_Execute: signature([pointer, buffer, buffer, pointer], "void"), // op, handles out, how many, status
} as const;

/** The opened library: one function per entry of {@link SYMBOLS}. */
export type TensorFlowApi = Deno.DynamicLibrary<typeof SYMBOLS>["symbols"];

/** A pointer that is not null. */
export type Pointer = Deno.PointerObject;

/** TensorFlow's numbers for the types of elements (`TF_DataType`). */
export const DataType = {
  FLOAT: 1,
  DOUBLE: 2,
  INT32: 3,
  UINT8: 4,
  STRING: 7,
  COMPLEX64: 8,
  INT64: 9,
  BOOL: 10,
  RESOURCE: 20,
  UINT64: 23,
} as const;

/** TensorFlow's numbers for the kinds of attributes (`TF_AttrType`). */
export const AttributeType = { STRING: 0, INT: 1, FLOAT: 2, BOOL: 3, TYPE: 4, SHAPE: 5 } as const;

/** Bytes of one `TF_TString`. */
export const STRING_BYTES = 24;

/**
 * `TF_Version()` of the library in `folder` (the wheel's `tensorflow/`). Loads the library, but looks nothing else up, so
 * that one of another version can be refused by its number.
 *
 * @param quiet Keep what the library writes while it is loaded off the terminal. It says that oneDNN is on, as an
 *   initialiser that no environment variable silences.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { findTensorFlow } from "tessera/tensor/load.ts";
 * const folder = findTensorFlow();
 * if (folder) assert.equal(libraryVersion(folder, true), "2.21.0");
 * ```
 */
export function libraryVersion(folder: string, quiet: boolean): string {
  const path = libraryPath(folder);
  const open = () => {
    keepLoaded(path);
    return Deno.dlopen(path, VERSION_SYMBOL).symbols.TF_Version();
  };
  return readCString(quiet ? withoutStandardError(open) : open());
}

/**
 * Opens the library in `folder`, after {@link libraryVersion} has found it to be the right one.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { findTensorFlow } from "tessera/tensor/load.ts";
 * const folder = findTensorFlow();
 * if (folder && libraryVersion(folder, true) === "2.21.0") {
 *   const { TF_NewStatus, TF_GetCode } = openLibrary(folder);
 *   assert.equal(TF_GetCode(TF_NewStatus()), 0);
 * }
 * ```
 */
export function openLibrary(folder: string): TensorFlowApi {
  return Deno.dlopen(libraryPath(folder), SYMBOLS).symbols;
}

function libraryPath(folder: string): string {
  return `${folder}/libtensorflow_cc.so.2`; // it finds libtensorflow_framework.so.2 beside it by its RUNPATH
}

/**
 * Opens `memcpy`, the way in and out of TensorFlow's memory. For Linux, as all of this file.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * if (Deno.build.os === "linux") {
 *   const from = Uint8Array.of(1, 2), to = new Uint8Array(2);
 *   openMemcpy().fromPointer(to, Deno.UnsafePointer.of(from), 2n);
 *   assert.deepEqual(to, from);
 * }
 * ```
 */
export function openMemcpy() {
  return Deno.dlopen("libc.so.6", {
    toPointer: { name: "memcpy", parameters: [pointer, buffer, "usize"], result: "void" },
    fromPointer: { name: "memcpy", parameters: [buffer, pointer, "usize"], result: "void" },
  }).symbols;
}

/**
 * Gives memory that was freed back to the system, where the C library can (glibc). What XLA's compiler leaves behind is
 * otherwise kept for the next time: 4 MB per compiled function were measured. Takes about 20 ms.
 *
 * @example
 * ```ts
 * if (Deno.build.os === "linux") giveBackMemory();
 * ```
 */
export function giveBackMemory(): void {
  const { malloc_trim } = Deno.dlopen("libc.so.6", {
    malloc_trim: { parameters: ["usize"], result: "i32", optional: true },
  }).symbols;
  malloc_trim?.(0n);
}

/**
 * Loads a library so that it is never unloaded. Deno closes what it opened when the process ends, and TensorFlow, whose
 * threads are still there, then ends it with a segmentation fault.
 */
function keepLoaded(path: string): void {
  const RTLD_LAZY = 1;
  const RTLD_NODELETE = 0x1000;
  for (const library of ["libc.so.6", "libdl.so.2"]) { // glibc before 2.34 has dlopen in libdl
    const { dlopen } = Deno.dlopen(library, {
      dlopen: { parameters: [buffer, "i32"], result: pointer, optional: true },
    }).symbols;
    if (dlopen) {
      dlopen(cString(path), RTLD_LAZY | RTLD_NODELETE); // if it fails, Deno.dlopen says why
      return;
    }
  }
}

/** Runs `action` with the process' standard error going nowhere. */
function withoutStandardError<T>(action: () => T): T {
  const { dup, dup2, open, close } = Deno.dlopen("libc.so.6", {
    dup: { parameters: ["i32"], result: "i32" },
    dup2: { parameters: ["i32", "i32"], result: "i32" },
    open: { parameters: [buffer, "i32"], result: "i32" },
    close: { parameters: ["i32"], result: "i32" },
  }).symbols;
  const STDERR = 2;
  const O_WRONLY = 1;
  const kept = dup(STDERR);
  const nowhere = open(cString("/dev/null"), O_WRONLY);
  dup2(nowhere, STDERR);
  try {
    return action();
  } finally {
    dup2(kept, STDERR);
    close(kept);
    close(nowhere);
  }
}

const encoder = new TextEncoder();
const cStrings = new Map<string, Uint8Array<ArrayBuffer>>();

/**
 * The bytes of `text` with a zero at the end, kept for the life of the process: `TFE_OpSetAttr*` stores the address of
 * the attribute's name, not a copy. For names only; there are a few hundred of them.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * assert.deepEqual(cString("Add"), Uint8Array.of(65, 100, 100, 0));
 * assert.equal(cString("Add"), cString("Add"));
 * ```
 */
export function cString(text: string): Uint8Array<ArrayBuffer> {
  let bytes = cStrings.get(text);
  if (bytes === undefined) {
    bytes = encoder.encode(text + "\0");
    cStrings.set(text, bytes);
  }
  return bytes;
}

/**
 * The text at `address`, or "" for a null pointer.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * assert.equal(readCString(Deno.UnsafePointer.of(cString("Add"))), "Add");
 * assert.equal(readCString(null), "");
 * ```
 */
export function readCString(address: Deno.PointerValue): string {
  return address === null ? "" : new Deno.UnsafePointerView(address).getCString();
}
