/**
 * IDX, the format of MNIST: four bytes that say the kind of number and the number of axes, the length of each axis,
 * then the numbers, all big-endian. Usually compressed with gzip.
 *
 * The format is described on the MNIST page of LeCun, Cortes and Burges.
 *
 * @module
 */
import { gunzipSync } from "node:zlib";
import { pathOf, readBytes } from "./files.ts";
import { type DType, elements, type NumericArray, type NumericData } from "./numeric_array.ts";

interface Kind {
  dtype: DType;
  bytes: number;
  read(view: DataView, count: number): NumericData;
}

/** The six kinds of number, by the third byte of the file. */
const kinds: Record<number, Kind> = {
  0x08: { dtype: "uint8", bytes: 1, read: (view, n) => Uint8Array.from({ length: n }, (_, i) => view.getUint8(i)) },
  0x09: { dtype: "int8", bytes: 1, read: (view, n) => Int8Array.from({ length: n }, (_, i) => view.getInt8(i)) },
  0x0b: { dtype: "int16", bytes: 2, read: (view, n) => Int16Array.from({ length: n }, (_, i) => view.getInt16(2 * i)) },
  0x0c: { dtype: "int32", bytes: 4, read: (view, n) => Int32Array.from({ length: n }, (_, i) => view.getInt32(4 * i)) },
  0x0d: {
    dtype: "float32",
    bytes: 4,
    read: (view, n) => Float32Array.from({ length: n }, (_, i) => view.getFloat32(4 * i)),
  },
  0x0e: {
    dtype: "float64",
    bytes: 8,
    read: (view, n) => Float64Array.from({ length: n }, (_, i) => view.getFloat64(8 * i)),
  },
};

/**
 * Reads an IDX file, compressed with gzip or not.
 *
 * @throws {Error} Where the file is missing, is not IDX, or is cut short; one sentence with the file's name.
 *
 * @example The labels of MNIST's test set
 * ```ts
 * import assert from "node:assert/strict";
 * import { dataFolder } from "tessera/data/mod.ts";
 * const labels = await readIdx(new URL("mnist-t10k/t10k-labels-idx1-ubyte.gz", dataFolder));
 * assert.deepEqual(labels.shape, [10000]);
 * assert.deepEqual([...labels.data.slice(0, 3)], [7, 2, 1]);
 * ```
 */
export async function readIdx(file: string | URL): Promise<NumericArray> {
  return parseIdx(await readBytes(file), pathOf(file));
}

/**
 * Reads IDX from the bytes of a file, compressed with gzip or not.
 *
 * @param name How error messages call it.
 * @throws {Error} As `readIdx`.
 *
 * @example Two numbers, 7 and 9
 * ```ts
 * import assert from "node:assert/strict";
 * const array = parseIdx(Uint8Array.of(0, 0, 8, 1, 0, 0, 0, 2, 7, 9), "two numbers");
 * assert.deepEqual(array, { shape: [2], dtype: "uint8", data: Uint8Array.of(7, 9) });
 * ```
 */
export function parseIdx(bytes: Uint8Array, name: string): NumericArray {
  const plain = bytes[0] === 0x1f && bytes[1] === 0x8b ? unzip(bytes, name) : bytes;
  const view = new DataView(plain.buffer, plain.byteOffset, plain.byteLength);

  const kind = plain.length >= 4 ? kinds[plain[2]] : undefined;
  if (!kind || plain[0] !== 0 || plain[1] !== 0) {
    const start = [...plain.subarray(0, 4)].map((byte) => byte.toString(16).padStart(2, "0")).join(" ");
    throw new Error(
      `${name} is not an IDX file: it starts with ${start || "nothing"}, not with 00 00, a kind of number ` +
        "(08, 09, 0b to 0e) and the number of axes; check that it is the right file",
    );
  }
  const start = 4 + 4 * plain[3];
  if (plain.length < start) throw cutShort(name, start, plain.length);

  const shape = Array.from({ length: plain[3] }, (_, axis) => view.getUint32(4 + 4 * axis));
  const count = elements(shape);
  const expected = start + count * kind.bytes;
  if (plain.length < expected) throw cutShort(name, expected, plain.length);
  if (plain.length > expected) {
    throw new Error(
      `${name} has ${plain.length} bytes where its header [${shape}] promises ${expected}; get the file again`,
    );
  }
  // Bytes need no conversion, and images are all bytes: a copy is 50 times faster than reading them one by one.
  const data = kind.dtype === "uint8"
    ? new Uint8Array(plain.subarray(start))
    : kind.read(new DataView(plain.buffer, plain.byteOffset + start), count);
  return { shape, dtype: kind.dtype, data };
}

function unzip(bytes: Uint8Array, name: string): Uint8Array {
  try {
    return gunzipSync(bytes);
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new Error(`${name} cannot be decompressed (${why}); it is cut short or damaged, get the file again`, {
      cause,
    });
  }
}

function cutShort(name: string, expected: number, found: number): Error {
  return new Error(`${name} is cut short: its header promises ${expected} bytes, but it has ${found}; get it again`);
}
