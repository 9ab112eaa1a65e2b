import assert from "node:assert/strict";
import { gzipSync } from "node:zlib";
import { type DType, elements, type NumericData, parseIdx, readIdx } from "../../lib/data/mod.ts";
import { random } from "../../lib/random.ts";

/** The third byte, the bytes of a number, how it is written, and one that fits. */
const kinds: {
  dtype: DType;
  code: number;
  bytes: number;
  write: (view: DataView, at: number, value: number) => void;
  low: number;
  high: number;
}[] = [
  { dtype: "uint8", code: 0x08, bytes: 1, write: (view, at, x) => view.setUint8(at, x), low: 0, high: 255 },
  { dtype: "int8", code: 0x09, bytes: 1, write: (view, at, x) => view.setInt8(at, x), low: -128, high: 127 },
  { dtype: "int16", code: 0x0b, bytes: 2, write: (view, at, x) => view.setInt16(at, x), low: -3e4, high: 3e4 },
  { dtype: "int32", code: 0x0c, bytes: 4, write: (view, at, x) => view.setInt32(at, x), low: -2e9, high: 2e9 },
  { dtype: "float32", code: 0x0d, bytes: 4, write: (view, at, x) => view.setFloat32(at, x), low: -1e9, high: 1e9 },
  { dtype: "float64", code: 0x0e, bytes: 8, write: (view, at, x) => view.setFloat64(at, x), low: -1e9, high: 1e9 },
];

function idx(kind: typeof kinds[number], shape: number[], values: number[]): Uint8Array {
  const start = 4 + 4 * shape.length;
  const bytes = new Uint8Array(start + values.length * kind.bytes);
  const view = new DataView(bytes.buffer);
  bytes.set([0, 0, kind.code, shape.length]);
  shape.forEach((length, axis) => view.setUint32(4 + 4 * axis, length));
  values.forEach((value, i) => kind.write(view, start + i * kind.bytes, value));
  return bytes;
}

Deno.test("parseIdx() reads back what was written, for every kind of number, compressed or not", () => {
  const generator = random(1, "idx");
  for (const kind of kinds) {
    for (let round = 0; round < 10; round++) {
      const shape = Array.from({ length: generator.integer(4) }, () => generator.integer(6));
      const values = Array.from({ length: elements(shape) }, () => Math.round(generator.uniform(kind.low, kind.high)));
      const bytes = idx(kind, shape, values);
      for (const file of [bytes, gzipSync(bytes)]) {
        const array = parseIdx(file, "a test");
        assert.equal(array.dtype, kind.dtype);
        assert.deepEqual(array.shape, shape);
        const expected: NumericData = kind.dtype === "float32" ? Float32Array.from(values) : Float64Array.from(values);
        assert.deepEqual(Array.from<number | bigint>(array.data), Array.from(expected));
      }
    }
  }
});

Deno.test("parseIdx() says in one sentence what is wrong with a file", () => {
  const good = idx(kinds[0], [2, 3], [1, 2, 3, 4, 5, 6]);
  const zipped = gzipSync(good);
  const cases: [Uint8Array, RegExp][] = [
    [new Uint8Array(), /^Error: x\.gz is not an IDX file: it starts with nothing, .* check that it is the right file$/],
    [new TextEncoder().encode("PK\x03\x04"), /^Error: x\.gz is not an IDX file: it starts with 50 4b 03 04, /],
    [Uint8Array.of(0, 0, 7, 1, 0, 0, 0, 0), /^Error: x\.gz is not an IDX file: it starts with 00 00 07 01, /],
    [good.subarray(0, 10), /^Error: x\.gz is cut short: its header promises 12 bytes, but it has 10; get it again$/],
    [good.subarray(0, 15), /^Error: x\.gz is cut short: its header promises 18 bytes, but it has 15; get it again$/],
    [Uint8Array.of(...good, 7), /^Error: x\.gz has 19 bytes where its header \[2,3\] promises 18; get the file again$/],
    [zipped.subarray(0, 20), /^Error: x\.gz cannot be decompressed \(.*\); it is cut short or damaged, get the file/],
    [idx(kinds[0], [2 ** 32 - 1, 2 ** 32 - 1, 2 ** 32 - 1], []), /^Error: x\.gz is cut short: its header promises /],
  ];
  for (const [bytes, message] of cases) assert.throws(() => parseIdx(bytes, "x.gz"), message);
});

Deno.test("readIdx() names a file that is missing", async () => {
  await assert.rejects(readIdx("no/such.gz"), /^Error: there is no file no\/such\.gz; check the name \(paths start at/);
});
