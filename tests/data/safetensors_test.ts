import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { join } from "node:path";
import {
  type DType,
  elements,
  type NumericArray,
  parseSafetensors,
  readSafetensors,
  writeSafetensors,
} from "../../lib/data/mod.ts";
import { random } from "../../lib/random.ts";

/** Written by the reference implementation: safetensors 0.8.0 in Python, `safetensors.numpy.save`. */
const byReference = Buffer.from(
  "wAEAAAAAAAB7Il9fbWV0YWRhdGFfXyI6eyJmb3JtYXQiOiJucCIsIm5vdGUiOiLDqSJ9LCJzdGVwIjp7ImR0eXBlIjoiSTY0Iiwic2hhcGUiOltdLCJk" +
    "YXRhX29mZnNldHMiOlswLDhdfSwiZjY0Ijp7ImR0eXBlIjoiRjY0Iiwic2hhcGUiOlsxXSwiZGF0YV9vZmZzZXRzIjpbOCwxNl19LCJ3Ijp7ImR0" +
    "eXBlIjoiRjMyIiwic2hhcGUiOlsyLDJdLCJkYXRhX29mZnNldHMiOlsxNiwzMl19LCJub25lIjp7ImR0eXBlIjoiSTMyIiwic2hhcGUiOlswLDNd" +
    "LCJkYXRhX29mZnNldHMiOlszMiwzMl19LCJoYWxmIjp7ImR0eXBlIjoiRjE2Iiwic2hhcGUiOls0XSwiZGF0YV9vZmZzZXRzIjpbMzIsNDBdfSwi" +
    "dTgiOnsiZHR5cGUiOiJVOCIsInNoYXBlIjpbMl0sImRhdGFfb2Zmc2V0cyI6WzQwLDQyXX0sImZsYWciOnsiZHR5cGUiOiJCT09MIiwic2hhcGUi" +
    "OlszXSwiZGF0YV9vZmZzZXRzIjpbNDIsNDVdfX0gICAgBwAAAAAAAAAYLURU+yEJQAAAwD8AABDAAAAAAAAAQEAAPGYu/3sBAAH/AQAB",
  "base64",
);

/** A file from a header, which need not be right, and some bytes of data. */
function file(header: unknown, dataBytes = 0, headerLength?: bigint): Uint8Array {
  const json = new TextEncoder().encode(typeof header === "string" ? header : JSON.stringify(header));
  const bytes = new Uint8Array(8 + json.length + dataBytes);
  new DataView(bytes.buffer).setBigUint64(0, headerLength ?? BigInt(json.length), true);
  bytes.set(json, 8);
  return bytes;
}

function f32(begin: number, end: number, shape = [(end - begin) / 4]) {
  return { dtype: "F32", shape, data_offsets: [begin, end] };
}

async function inFolder(test: (folder: string) => Promise<void>): Promise<void> {
  const folder = await Deno.makeTempDir();
  try {
    await test(folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

Deno.test("parseSafetensors() reads a file of the reference implementation", () => {
  const { tensors, metadata } = parseSafetensors(byReference, "reference");
  assert.deepEqual(metadata, { format: "np", note: "é" });
  assert.deepEqual(Object.fromEntries(tensors), {
    w: { shape: [2, 2], dtype: "float32", data: Float32Array.of(1.5, -2.25, 0, 3) },
    half: { shape: [4], dtype: "float16", data: Float32Array.of(1, 0.0999755859375, 65504, 5.9604644775390625e-8) },
    step: { shape: [], dtype: "int64", data: BigInt64Array.of(7n) },
    flag: { shape: [3], dtype: "bool", data: Uint8Array.of(1, 0, 1) },
    u8: { shape: [2], dtype: "uint8", data: Uint8Array.of(1, 255) },
    f64: { shape: [1], dtype: "float64", data: Float64Array.of(Math.PI) },
    none: { shape: [0, 3], dtype: "int32", data: new Int32Array() },
  });
});

Deno.test("writeSafetensors() and readSafetensors() give back every dtype and shape", () =>
  inFolder(async (folder) => {
    const makers: Record<DType, (draw: () => number, length: number) => NumericArray["data"]> = {
      bool: (draw, length) => Uint8Array.from({ length }, () => Math.round(draw())),
      uint8: (draw, length) => Uint8Array.from({ length }, () => 256 * draw()),
      uint16: (draw, length) => Uint16Array.from({ length }, () => 65536 * draw()),
      uint32: (draw, length) => Uint32Array.from({ length }, () => 2 ** 32 * draw()),
      uint64: (draw, length) => BigUint64Array.from({ length }, () => BigInt(Math.floor(2 ** 63 * draw()))),
      int8: (draw, length) => Int8Array.from({ length }, () => 256 * draw() - 128),
      int16: (draw, length) => Int16Array.from({ length }, () => 65536 * draw() - 32768),
      int32: (draw, length) => Int32Array.from({ length }, () => 2 ** 32 * draw() - 2 ** 31),
      int64: (draw, length) => BigInt64Array.from({ length }, () => -BigInt(Math.floor(2 ** 63 * draw()))),
      float16: (draw, length) => Float32Array.from({ length }, () => Math.round(100 * draw()) / 8),
      bfloat16: (draw, length) => Float32Array.from({ length }, () => Math.round(200 * draw()) / 4),
      float32: (draw, length) => Float32Array.from({ length }, () => draw() - 0.5),
      float64: (draw, length) => Float64Array.from({ length }, () => draw() - 0.5),
    };
    const dtypes = Object.keys(makers) as DType[];
    for (let seed = 0; seed < 20; seed++) {
      const generator = random(seed, "safetensors");
      const tensors = new Map<string, NumericArray>();
      for (const dtype of generator.shuffle(dtypes).slice(0, generator.integer(dtypes.length + 1))) {
        const shape = Array.from({ length: generator.integer(4) }, () => generator.integer(5));
        tensors.set(`${dtype} "${seed}" é`, { shape, dtype, data: makers[dtype](generator.uniform, elements(shape)) });
      }
      const metadata: Record<string, string> = seed % 2 === 0
        ? { seed: String(seed), note: 'a "quoted" {line}\n' }
        : {};
      const path = join(folder, `${seed}.safetensors`);
      await writeSafetensors(path, tensors, metadata);

      const read = await readSafetensors(path);
      assert.deepEqual([...read.tensors], [...tensors]);
      assert.deepEqual(read.metadata, metadata);
      checkAligned(await Deno.readFile(path));
    }
  }));

/** Each tensor starts at a multiple of its number's size, counted from the start of the file. */
function checkAligned(bytes: Uint8Array): void {
  const length = Number(new DataView(bytes.buffer).getBigUint64(0, true));
  const header: Record<string, { dtype: string; data_offsets: [number, number] }> = JSON.parse(
    new TextDecoder().decode(bytes.subarray(8, 8 + length)),
  );
  for (const [name, entry] of Object.entries(header)) {
    if (name === "__metadata__") continue;
    const size = Number(entry.dtype.match(/\d+$/)?.[0] ?? 8) / 8;
    assert.equal((8 + length + entry.data_offsets[0]) % size, 0, `${name} of ${entry.dtype}`);
  }
}

Deno.test("float16 and bfloat16 are rounded to the nearest, ties to even, and special numbers stay what they are", () =>
  inFolder(async (folder) => {
    const path = join(folder, "half.safetensors");
    const given = Float32Array.of(1 + 2 ** -8, 1 + 3 * 2 ** -8, 1 + 2 ** -8 + 2 ** -20, 3.4e38, -Infinity, NaN, -0);
    const shape = [given.length];
    await writeSafetensors(path, new Map([["b", { shape, dtype: "bfloat16" as const, data: given }]]));
    const b = (await readSafetensors(path)).tensors.get("b");
    assert.deepEqual([...b?.data ?? []], [1, 1 + 2 ** -6, 1 + 2 ** -7, Infinity, -Infinity, NaN, -0]);

    const half = Float32Array.of(1 + 2 ** -11, 1 + 3 * 2 ** -11, 65519, 65520, 2 ** -25, NaN, -0);
    await writeSafetensors(path, new Map([["h", { shape, dtype: "float16" as const, data: half }]]));
    const h = (await readSafetensors(path)).tensors.get("h");
    assert.deepEqual([...h?.data ?? []], [1, 1 + 2 ** -9, 65504, Infinity, 0, NaN, -0]);
  }));

Deno.test("a NaN whose bits would round up to infinity stays a NaN as bfloat16", () =>
  inFolder(async (folder) => {
    const data = new Float32Array(Uint32Array.of(0x7fffffff, 0x7f800001).buffer);
    const path = join(folder, "nan.safetensors");
    await writeSafetensors(path, new Map([["n", { shape: [2], dtype: "bfloat16" as const, data }]]));
    assert.deepEqual([...(await readSafetensors(path)).tensors.get("n")?.data ?? []], [NaN, NaN]);
  }));

Deno.test("parseSafetensors() says in one sentence what is wrong with a file", () => {
  const huge = 2n ** 60n;
  const cases: [string, Uint8Array, RegExp][] = [
    ["empty", new Uint8Array(), /^Error: m is cut short: .* at least 8 bytes, but it has 0; get it again$/],
    ["2^60", file({}, 0, huge), /^Error: m claims a header of 1152921504606846976 bytes, but 2 bytes follow .* again$/],
    ["2^64 - 1", file({}, 0, 2n ** 64n - 1n), /^Error: m claims a header of 18446744073709551615 bytes, but 2 bytes/],
    ["cut in the header", byReference.subarray(0, 100), /^Error: m claims a header of 448 bytes, but 92 bytes follow/],
    ["cut in the data", byReference.subarray(0, 480), /^Error: m is cut short: tensor "w" ends at byte 32 of the data/],
    [
      "not JSON",
      file("{oops"),
      /^Error: m has a header that is not JSON \(.*\); it is damaged or no safetensors file$/,
    ],
    ["not UTF-8", Uint8Array.of(2, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xfe), /^Error: m has a header that is not JSON/],
    ["an array", file([]), /^Error: m has a header that is not a JSON object; it is no safetensors file$/],
    ["a number", file("7"), /^Error: m has a header that is not a JSON object/],
    ["null", file("null"), /^Error: m has a header that is not a JSON object/],
    [
      "a name twice",
      file(
        '{"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},"\\u0061":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}',
      ),
      /^Error: m names "a" twice in its header; write the file with each name once$/,
    ],
    ["a field twice", file('{"a":{"dtype":"U8","dtype":"I8","shape":[],"data_offsets":[0,1]}}', 1), /"dtype" twice/],
    ["no entry", file({ a: 7 }), /^Error: m: tensor "a" is described by 7, not by an object$/],
    ["null entry", file({ a: null }), /^Error: m: tensor "a" is described by null, not by an object$/],
    [
      "unknown dtype",
      file({ a: { dtype: "F8_E4M3", shape: [1], data_offsets: [0, 1] } }, 1),
      /^Error: m: tensor "a" has dtype "F8_E4M3", which cannot be read; convert it to one of BOOL, U8, .*$/,
    ],
    ["no dtype", file({ a: { shape: [1], data_offsets: [0, 1] } }, 1), /tensor "a" has dtype undefined, which cannot/],
    [
      "negative shape",
      file({ a: f32(0, 4, [-1, -1]) }, 4),
      /"a" has shape \[-1,-1\]; it must be an array of lengths >= 0$/,
    ],
    ["fractional shape", file({ a: f32(0, 4, [0.5, 2]) }, 4), /tensor "a" has shape \[0.5,2\]; it must be/],
    ["shape of text", file({ a: { dtype: "F32", shape: "4", data_offsets: [0, 4] } }, 4), /"a" has shape "4"; it must/],
    ["wrong length", file({ a: f32(0, 4, [2]) }, 4), /"a" needs 8 bytes for F32 \[2\], but its offsets span 4$/],
    ["a shape that overflows", file({ a: f32(0, 4, [2 ** 50, 2 ** 50]) }, 4), /"a" needs 5\.07\d+e\+30 bytes for F32/],
    [
      "turned offsets",
      file({ a: f32(4, 0, [1]) }, 4),
      /"a" has data_offsets \[4,0\]; they must be \[begin, end\], begin <= end$/,
    ],
    [
      "three offsets",
      file({ a: { ...f32(0, 4), data_offsets: [0, 4, 8] } }, 4),
      /has data_offsets \[0,4,8\]; they must/,
    ],
    [
      "out of range",
      file({ a: f32(0, 8) }, 4),
      /^Error: m is cut short: tensor "a" ends at byte 8 of the data, but there/,
    ],
    [
      "overlap",
      file({ a: f32(0, 8), b: f32(4, 12) }, 12),
      /^Error: m is damaged: tensor "a" and tensor "b" overlap at byte 4$/,
    ],
    [
      "gap",
      file({ a: f32(0, 4), b: f32(8, 12) }, 12),
      /^Error: m is damaged: tensor "a" and tensor "b" leave a gap at byte 8$/,
    ],
    [
      "gap at the start",
      file({ a: f32(4, 8) }, 8),
      /^Error: m is damaged: the start and tensor "a" leave a gap at byte 4$/,
    ],
    [
      "left over",
      file({ a: f32(0, 4) }, 6),
      /^Error: m has 2 bytes after its last tensor; it is damaged, get it again$/,
    ],
    [
      "metadata",
      file({ __metadata__: { step: 7 } }),
      /^Error: m has a __metadata__ that is not an object of strings; write/,
    ],
    ["metadata null", file({ __metadata__: null }), /^Error: m has a __metadata__ that is not an object of strings/],
  ];
  for (const [what, bytes, message] of cases) assert.throws(() => parseSafetensors(bytes, "m"), message, what);
});

Deno.test("parseSafetensors() refuses every shortened file, wherever it is cut", () => {
  for (let length = 0; length < byReference.length; length++) {
    assert.throws(() => parseSafetensors(byReference.subarray(0, length), "m"), /^Error: m /, `${length} bytes`);
  }
});

Deno.test("parseSafetensors() never fails but with one of its own sentences, whatever byte is wrong", () => {
  const generator = random(1, "damage");
  for (let round = 0; round < 2000; round++) {
    const bytes = Uint8Array.from(byReference);
    for (let n = 0; n <= generator.integer(3); n++) bytes[generator.integer(456)] = generator.integer(256);
    try {
      parseSafetensors(bytes, "m");
    } catch (error) {
      assert.ok(error instanceof Error && /^m(:| )/.test(error.message), String(error));
    }
  }
});

Deno.test("readSafetensors() names the file that is missing or is a folder", async () => {
  await assert.rejects(readSafetensors("no.safetensors"), /^Error: there is no file no\.safetensors; check the name/);
  await assert.rejects(readSafetensors("."), /^Error: cannot read \.: .*; pass a file that can be read$/);
});

Deno.test("writeSafetensors() refuses tensors that do not fit, and then writes nothing", () =>
  inFolder(async (folder) => {
    const path = join(folder, "never.safetensors");
    const data = Float32Array.of(1, 2);
    const cases: [string, NumericArray, RegExp][] = [
      ["a", { shape: [3], dtype: "float32", data }, /^RangeError: tensor "a" has shape \[3\] but 2 numbers; make them/],
      ["a", { shape: [-2], dtype: "float32", data }, /^RangeError: tensor "a" has shape \[-2\] but 2 numbers/],
      [
        "a",
        { shape: [2], dtype: "int64", data },
        /^TypeError: tensor "a" has dtype int64, for which Float32Array cannot/,
      ],
      [
        "a",
        { shape: [2], dtype: JSON.parse('"F8"'), data },
        /^TypeError: tensor "a" has dtype "F8"; choose one of bool/,
      ],
      ["__metadata__", { shape: [2], dtype: "float32", data }, /^RangeError: tensor "__metadata__" has a name that/],
    ];
    for (const [name, array, message] of cases) {
      await assert.rejects(writeSafetensors(path, new Map([[name, array]])), message);
    }
    assert.deepEqual([...Deno.readDirSync(folder)], []);
  }));
