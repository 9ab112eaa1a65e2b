/**
 * safetensors, the format of most published weights: eight bytes with the length of a JSON header, the header (name ->
 * kind of number, shape, where in the data), then the data, all little-endian.
 *
 * The format and its rules (no gaps, no overlaps, no name twice, a header of at most 100 MB) are those of
 * github.com/huggingface/safetensors, README.md. A header is checked in full before anything is allocated from it.
 *
 * @module
 */
import { pathOf, readBytes, writeAtomically } from "./files.ts";
import { type DType, elements, type NumericArray, type NumericData } from "./numeric_array.ts";

/** What a safetensors file holds. */
export interface Safetensors {
  /** The arrays by name, in the order of the file's header. */
  tensors: Map<string, NumericArray>;
  /** The file's own remarks, such as which program wrote it; empty where there are none. */
  metadata: Record<string, string>;
}

interface Kind {
  code: string;
  bytes: number;
  decode(bytes: ArrayBuffer): NumericData;
  /** Whether `data` is the array that `decode` would return. */
  holds(data: NumericData): boolean;
  encode(data: NumericData): Uint8Array;
}

type DataConstructor = (new (buffer: ArrayBuffer) => NumericData) & { BYTES_PER_ELEMENT: number };

/** A kind of number that JavaScript has an array for: the bytes are taken as they are (Deno runs on little-endian only). */
function direct(code: string, Data: DataConstructor): Kind {
  return {
    code,
    bytes: Data.BYTES_PER_ELEMENT,
    decode: (bytes) => new Data(bytes),
    holds: (data) => data instanceof Data,
    encode: bytesOf,
  };
}

const kinds: Record<DType, Kind> = {
  bool: direct("BOOL", Uint8Array),
  uint8: direct("U8", Uint8Array),
  uint16: direct("U16", Uint16Array),
  uint32: direct("U32", Uint32Array),
  uint64: direct("U64", BigUint64Array),
  int8: direct("I8", Int8Array),
  int16: direct("I16", Int16Array),
  int32: direct("I32", Int32Array),
  int64: direct("I64", BigInt64Array),
  float32: direct("F32", Float32Array),
  float64: direct("F64", Float64Array),
  float16: {
    code: "F16",
    bytes: 2,
    decode: (bytes) => Float32Array.from(new Float16Array(bytes)),
    holds: (data) => data instanceof Float32Array,
    encode: (data) => bytesOf(Float16Array.from(data as Float32Array)),
  },
  bfloat16: {
    code: "BF16",
    bytes: 2,
    decode: widenBfloat16,
    holds: (data) => data instanceof Float32Array,
    encode: (data) => bytesOf(roundToBfloat16(data as Float32Array)),
  },
};

const dtypeOfCode = new Map(Object.entries(kinds).map(([dtype, kind]) => [kind.code, dtype as DType]));

const LARGEST_HEADER = 100_000_000;

/**
 * Reads a safetensors file. Numbers of 16-bit floats arrive as Float32Array, exactly; I64 as BigInt64Array.
 *
 * @throws {Error} One sentence with the file's name: where it is missing, cut short, its header claims more than
 *   the file holds, is not JSON, names a tensor twice or an unknown kind of number, or where tensors overlap or leave gaps.
 *
 * @example The class token of a trained model
 * ```ts
 * import assert from "node:assert/strict";
 * import { dataFolder } from "tessera/data/mod.ts";
 * const { tensors, metadata } = await readSafetensors(new URL("vit-nano/mnist.safetensors", dataFolder));
 * assert.deepEqual(tensors.get("cls_token")?.shape, [1, 1, 48]);
 * assert.equal(metadata.model, "vit-nano");
 * ```
 */
export async function readSafetensors(file: string | URL): Promise<Safetensors> {
  return parseSafetensors(await readBytes(file), pathOf(file));
}

/**
 * Reads safetensors from the bytes of a file.
 *
 * @param name How error messages call it.
 * @throws {Error} As `readSafetensors`.
 *
 * @example The smallest file: no tensors
 * ```ts
 * import assert from "node:assert/strict";
 * const bytes = new Uint8Array([2, 0, 0, 0, 0, 0, 0, 0, ...new TextEncoder().encode("{}")]);
 * assert.equal(parseSafetensors(bytes, "an empty file").tensors.size, 0);
 * ```
 */
export function parseSafetensors(bytes: Uint8Array, name: string): Safetensors {
  const { entries, metadata, dataStart } = readHeader(bytes, name);
  checkLayout(entries, bytes.length - dataStart, name);

  const tensors = new Map<string, NumericArray>();
  for (const { tensor, dtype, shape, begin, end } of entries) {
    // A copy: offsets need not be multiples of the number's size, and the caller may keep one tensor of a large file.
    const own = new Uint8Array(bytes.subarray(dataStart + begin, dataStart + end));
    tensors.set(tensor, { shape, dtype, data: kinds[dtype].decode(own.buffer) });
  }
  return { tensors, metadata };
}

/**
 * Writes a safetensors file, completely or not at all. Each tensor starts at a multiple of its number's size.
 * Numbers for `float16` and `bfloat16` are given as Float32Array and rounded to nearest, ties to even.
 *
 * @param tensors The arrays by name.
 * @param metadata Remarks to store beside them.
 * @throws {TypeError | RangeError} Where a tensor's data do not fit its dtype or shape.
 * @throws {Error} Where the file cannot be written; then nothing is left behind.
 *
 * @example Written, then read again
 * ```ts
 * import assert from "node:assert/strict";
 * const file = await Deno.makeTempFile();
 * const codebook = { shape: [2, 2], dtype: "float32" as const, data: Float32Array.of(1, 2, 3, 4) };
 * await writeSafetensors(file, new Map([["codebook", codebook]]), { step: "100" });
 * const read = await readSafetensors(file);
 * assert.deepEqual(read.tensors.get("codebook"), codebook);
 * assert.equal(read.metadata.step, "100");
 * await Deno.remove(file);
 * ```
 */
export async function writeSafetensors(
  file: string | URL,
  tensors: ReadonlyMap<string, NumericArray>,
  metadata: Readonly<Record<string, string>> = {},
): Promise<void> {
  const named = [...tensors];
  for (const [tensor, array] of named) checkWritable(tensor, array);

  // Wide numbers first, as the reference implementation does: then every offset is a multiple of the number's size.
  const placed = named.toSorted(([, a], [, b]) => kinds[b.dtype].bytes - kinds[a.dtype].bytes);
  const offsets = new Map<string, [number, number]>();
  let end = 0;
  for (const [tensor, { dtype, shape }] of placed) {
    const begin = end;
    end += elements(shape) * kinds[dtype].bytes;
    offsets.set(tensor, [begin, end]);
  }

  const described = named.map(([tensor, { dtype, shape }]) =>
    [tensor, { dtype: kinds[dtype].code, shape, data_offsets: offsets.get(tensor) }] as const
  );
  const remarks = Object.keys(metadata).length > 0 ? [["__metadata__", metadata] as const] : [];
  const json = new TextEncoder().encode(JSON.stringify(Object.fromEntries([...remarks, ...described])));
  const headerLength = Math.ceil(json.length / 8) * 8;

  const bytes = new Uint8Array(8 + headerLength + end);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(headerLength), true);
  bytes.fill(0x20, 8 + json.length, 8 + headerLength); // spaces, so that the data start at a multiple of 8
  bytes.set(json, 8);
  for (const [tensor, { dtype, data }] of placed) {
    bytes.set(kinds[dtype].encode(data), 8 + headerLength + offsets.get(tensor)![0]);
  }
  await writeAtomically(file, bytes);
}

interface Entry {
  tensor: string;
  dtype: DType;
  shape: number[];
  begin: number;
  end: number;
}

interface Header {
  entries: Entry[];
  metadata: Record<string, string>;
  dataStart: number;
}

function readHeader(bytes: Uint8Array, name: string): Header {
  if (bytes.length < 8) {
    throw new Error(
      `${name} is cut short: a safetensors file has at least 8 bytes, but it has ${bytes.length}; get it again`,
    );
  }
  const claimed = new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(0, true);
  if (claimed > BigInt(Math.min(bytes.length - 8, LARGEST_HEADER))) {
    throw new Error(
      `${name} claims a header of ${claimed} bytes, but ${bytes.length - 8} bytes follow (and ${LARGEST_HEADER} are ` +
        "allowed); it is cut short or no safetensors file, get it again",
    );
  }
  const dataStart = 8 + Number(claimed);
  const header = parseHeader(bytes.subarray(8, dataStart), name);

  const { __metadata__: metadata = {}, ...tensors } = header;
  if (!isStrings(metadata)) {
    throw new Error(`${name} has a __metadata__ that is not an object of strings; write the file again`);
  }
  return { entries: Object.entries(tensors).map(([key, value]) => checkEntry(key, value, name)), metadata, dataStart };
}

function parseHeader(bytes: Uint8Array, name: string): Record<string, unknown> {
  let header: unknown;
  let text: string;
  try {
    text = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
    header = JSON.parse(text);
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new Error(`${name} has a header that is not JSON (${why}); it is damaged or no safetensors file`, { cause });
  }
  if (!isRecord(header)) throw new Error(`${name} has a header that is not a JSON object; it is no safetensors file`);
  const twice = repeatedKey(text);
  if (twice !== undefined) {
    throw new Error(`${name} names ${JSON.stringify(twice)} twice in its header; write the file with each name once`);
  }
  return header;
}

function checkEntry(tensor: string, value: unknown, name: string): Entry {
  const label = `${name}: tensor ${JSON.stringify(tensor)}`;
  if (!isRecord(value)) throw new Error(`${label} is described by ${JSON.stringify(value)}, not by an object`);
  const { dtype: code, shape, data_offsets: offsets } = value;

  const dtype = typeof code === "string" ? dtypeOfCode.get(code) : undefined;
  if (dtype === undefined) {
    const known = [...dtypeOfCode.keys()].join(", ");
    throw new Error(`${label} has dtype ${JSON.stringify(code)}, which cannot be read; convert it to one of ${known}`);
  }
  if (!isLengths(shape)) {
    throw new Error(`${label} has shape ${JSON.stringify(shape)}; it must be an array of lengths >= 0`);
  }
  if (!isLengths(offsets) || offsets.length !== 2 || offsets[0] > offsets[1]) {
    throw new Error(`${label} has data_offsets ${JSON.stringify(offsets)}; they must be [begin, end], begin <= end`);
  }
  const [begin, end] = offsets;
  const needed = elements(shape) * kinds[dtype].bytes;
  if (needed !== end - begin) {
    throw new Error(`${label} needs ${needed} bytes for ${code} [${shape}], but its offsets span ${end - begin}`);
  }
  return { tensor, dtype, shape, begin, end };
}

/** Each byte of the data belongs to exactly one tensor: a gap could hide anything, an overlap is a damaged header. */
function checkLayout(entries: Entry[], available: number, name: string): void {
  let end = 0;
  let previous = "the start";
  for (const entry of entries.toSorted((a, b) => a.begin - b.begin || a.end - b.end)) {
    const tensor = JSON.stringify(entry.tensor);
    if (entry.end > available) {
      throw new Error(
        `${name} is cut short: tensor ${tensor} ends at byte ${entry.end} of the data, ` +
          `but there are ${available}; get it again`,
      );
    }
    if (entry.begin !== end) {
      const fault = entry.begin < end ? "overlap" : "leave a gap";
      throw new Error(`${name} is damaged: ${previous} and tensor ${tensor} ${fault} at byte ${entry.begin}`);
    }
    end = entry.end;
    previous = `tensor ${tensor}`;
  }
  if (end !== available) {
    throw new Error(`${name} has ${available - end} bytes after its last tensor; it is damaged, get it again`);
  }
}

/** The first key that an object of this JSON text has twice. `JSON.parse` would silently take the later one. */
function repeatedKey(json: string): string | undefined {
  const open: Set<string>[] = [];
  for (const [token, colon] of json.matchAll(/"(?:[^"\\]|\\.)*"(\s*:)?|[{}]/g)) {
    if (token === "{") open.push(new Set());
    else if (token === "}") open.pop();
    else if (colon !== undefined) {
      const key: string = JSON.parse(token.slice(0, -colon.length));
      const keys = open[open.length - 1];
      if (keys.has(key)) return key;
      keys.add(key);
    }
  }
}

function checkWritable(tensor: string, { dtype, shape, data }: NumericArray): void {
  const label = `tensor ${JSON.stringify(tensor)}`;
  if (tensor === "__metadata__") throw new RangeError(`${label} has a name that safetensors reserves; rename it`);
  const kind = kinds[dtype];
  if (!kind) {
    throw new TypeError(`${label} has dtype ${JSON.stringify(dtype)}; choose one of ${Object.keys(kinds).join(", ")}`);
  }
  if (!kind.holds(data)) {
    throw new TypeError(`${label} has dtype ${dtype}, for which ${data?.constructor?.name} cannot be stored`);
  }
  if (!isLengths(shape) || elements(shape) !== data.length) {
    throw new RangeError(`${label} has shape [${shape}] but ${data.length} numbers; make them agree`);
  }
}

function widenBfloat16(bytes: ArrayBuffer): Float32Array {
  // A bfloat16 is the upper half of a float32.
  return new Float32Array(Uint32Array.from(new Uint16Array(bytes), (upper) => upper << 16).buffer);
}

function roundToBfloat16(data: Float32Array): Uint16Array {
  const bits = new Uint32Array(data.slice().buffer);
  return Uint16Array.from(bits, (word, i) => {
    const even = (word >>> 16) & 1;
    // Rounding a NaN up could carry it into infinity: it keeps its upper half, made quiet so that it stays a NaN.
    return Number.isNaN(data[i]) ? (word >>> 16) | 0x40 : (word + 0x7fff + even) >>> 16;
  });
}

function bytesOf(data: ArrayBufferView): Uint8Array {
  return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function isStrings(value: unknown): value is Record<string, string> {
  return isRecord(value) && Object.values(value).every((text) => typeof text === "string");
}

function isLengths(value: unknown): value is number[] {
  return Array.isArray(value) && value.every((length) => Number.isSafeInteger(length) && length >= 0);
}
