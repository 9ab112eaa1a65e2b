/**
 * NPY, NumPy's file of one array: six bytes of magic, a version, a header that is a Python dictionary, then the numbers.
 *
 * The format is NumPy Enhancement Proposal 1; versions 1 to 3, little-endian, C order.
 *
 * @module
 */
import { pathOf, readBytes } from "./files.ts";
import { type DType, elements, type NumericArray, type NumericData } from "./numeric_array.ts";

const kinds: Record<string, { dtype: DType; bytes: number; decode(bytes: ArrayBuffer): NumericData }> = {
  "<f4": { dtype: "float32", bytes: 4, decode: (bytes) => new Float32Array(bytes) },
  "<f8": { dtype: "float64", bytes: 8, decode: (bytes) => new Float64Array(bytes) },
  "<f2": { dtype: "float16", bytes: 2, decode: (bytes) => Float32Array.from(new Float16Array(bytes)) },
  "<i4": { dtype: "int32", bytes: 4, decode: (bytes) => new Int32Array(bytes) },
  "<i8": { dtype: "int64", bytes: 8, decode: (bytes) => new BigInt64Array(bytes) },
  "|u1": { dtype: "uint8", bytes: 1, decode: (bytes) => new Uint8Array(bytes) },
  "|b1": { dtype: "bool", bytes: 1, decode: (bytes) => new Uint8Array(bytes) },
};

/**
 * Reads an NPY file.
 *
 * @throws {Error} Where it is missing, is no NPY file, is cut short, or holds something that is not read here.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * const file = await Deno.makeTempFile();
 * const header = "{'descr': '<f4', 'fortran_order': False, 'shape': (1, 2), }".padEnd(117) + "\n";
 * const start = Uint8Array.of(0x93, ...new TextEncoder().encode("NUMPY"), 1, 0, 118, 0);
 * const numbers = new Uint8Array(Float32Array.of(3, 4).buffer);
 * await Deno.writeFile(file, Uint8Array.of(...start, ...new TextEncoder().encode(header), ...numbers));
 * const { shape, data } = await readNpy(file);
 * assert.deepEqual([shape, [...data]], [[1, 2], [3, 4]]);
 * await Deno.remove(file);
 * ```
 */
export async function readNpy(file: string | URL): Promise<NumericArray> {
  const bytes = await readBytes(file);
  const name = pathOf(file);
  const magic = String.fromCharCode(...bytes.subarray(1, 6));
  if (bytes[0] !== 0x93 || magic !== "NUMPY" || bytes.length < 12) {
    throw new Error(
      `${name} is no NPY file: it does not start with the byte 93 and NUMPY; check that it is the right one`,
    );
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  const wide = bytes[6] > 1;
  const start = (wide ? 12 : 10) + (wide ? view.getUint32(8, true) : view.getUint16(8, true));
  const header = new TextDecoder().decode(bytes.subarray(wide ? 12 : 10, start));
  const [, descr] = /'descr':\s*'([^']*)'/.exec(header) ?? [];
  const [, order] = /'fortran_order':\s*(True|False)/.exec(header) ?? [];
  const [, lengths] = /'shape':\s*\(([^)]*)\)/.exec(header) ?? [];
  const kind = kinds[descr];
  if (!kind || order !== "False" || lengths === undefined) {
    throw new Error(
      `${name} holds ${descr ?? "an unknown kind of number"}${
        order === "True" ? " in Fortran order" : ""
      }, which is not ` +
        `read; write it with numpy.save as one of ${Object.keys(kinds).join(", ")} in C order`,
    );
  }
  const shape = lengths.split(",").filter((text) => text.trim()).map(Number);
  const needed = start + elements(shape) * kind.bytes;
  if (bytes.length < needed) {
    throw new Error(
      `${name} is cut short: its header promises ${needed} bytes, but it has ${bytes.length}; get it again`,
    );
  }
  return { shape, dtype: kind.dtype, data: kind.decode(bytes.slice(start, needed).buffer) };
}
