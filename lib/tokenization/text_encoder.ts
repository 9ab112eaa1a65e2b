/**
 * Text encoders: a description as a short row of states, the first for the whole of it.
 *
 * MedTok's own is BERT, frozen (Su et al., ICML 2025, arXiv:2502.04397, section 3.1). Being frozen it is a table from codes
 * to states, so anything that fills the table fits: vectors of any language model from a file (`vectorsFromFile`), latent
 * semantic analysis of the descriptions themselves (`lsaEncoder`, the default), fixed random word vectors (`wordVectors`),
 * or a small transformer trained here (`wordpiece_transformer.ts`).
 *
 * @module
 */
import { type Random, random } from "../random.ts";
import { readSafetensors, readTable, type Table, writeSafetensors } from "../data/mod.ts";
import type { NumericArray } from "../data/mod.ts";
import { truncatedSVD } from "./truncated_svd.ts";

/** What an encoder may look at. */
export interface DescribedCode {
  readonly system: string;
  readonly code: string;
  readonly description: string;
}

/** States of some codes, padded to one length. */
export interface TextStates {
  /** [codes, length, dim], 0 where there is no token. */
  readonly states: Float32Array;
  /** [codes, length]: 1 for a token, 0 for padding. The first is always a token. */
  readonly mask: Float32Array;
}

/** A frozen text encoder. The same code gives the same states, whatever else is encoded. */
export interface DescriptionEncoder {
  /** For the record of a result. */
  readonly name: string;
  /** Channels of a state. */
  readonly dim: number;
  /**
   * States of some codes.
   *
   * @param length Tokens of a description, the first for the whole of it; what is longer is cut.
   */
  encode(codes: readonly DescribedCode[], length: number): TextStates;
  /** Writes what `loadEncoder` needs to make it again; an encoder of your own may be without. */
  save?(file: string | URL): Promise<void>;
}

/**
 * The words of a text: lower case, letters and digits of any script.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * assert.deepEqual(wordsOf("Type 2 diabetes, w/o complications"), ["type", "2", "diabetes", "w", "o", "complications"]);
 * ```
 */
export function wordsOf(text: string): string[] {
  return text.toLowerCase().match(/[\p{L}\p{N}]+/gu) ?? [];
}

/** Options of {@link wordVectors}. */
export interface WordVectorOptions {
  /** Channels. Default: 96. */
  readonly dim?: number;
  /** Default: 0. */
  readonly seed?: number;
}

/**
 * An encoder that has learnt nothing: each word is a fixed random vector, a position is its word and the mean of all, the
 * first position the sum of all divided by the root of their number. Equal words are equal, and that is all it knows.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * const { mask } = wordVectors({ dim: 4 }).encode([{ system: "A", code: "1", description: "severe fever" }], 5);
 * assert.deepEqual([...mask], [1, 1, 1, 0, 0]); // the whole, and two words
 * ```
 */
export function wordVectors({ dim = 96, seed = 0 }: WordVectorOptions = {}): DescriptionEncoder {
  const source: Random = random(seed, "words");
  const known = new Map<string, Float32Array>();
  const vectorOf = (word: string) => {
    let vector = known.get(word);
    if (!vector) known.set(word, vector = source.stream(word).normals(dim));
    return vector;
  };
  return {
    name: `random word vectors (${dim}, seed ${seed})`,
    dim,
    save: (file) =>
      writeSafetensors(
        file,
        new Map<string, NumericArray>([["seed", { shape: [1], dtype: "int32", data: Int32Array.of(seed) }]]),
        { encoder: "words", dim: String(dim), seed: String(seed) },
      ),
    encode: (codes, length) =>
      fill(codes, length, dim, (code, write) => {
        const vectors = wordsOf(code.description).map(vectorOf);
        const mean = new Float32Array(dim);
        for (const vector of vectors) for (let k = 0; k < dim; k++) mean[k] += vector[k] / vectors.length;
        const root = Math.sqrt(vectors.length);
        write(mean.map((value) => root * value));
        for (const vector of vectors) write(vector.map((value, k) => 0.7 * value + 0.7 * mean[k]));
      }),
  };
}

/** Collects what `each` writes for a code, up to `length` states of `dim` numbers. */
function fill(
  codes: readonly DescribedCode[],
  length: number,
  dim: number,
  each: (code: DescribedCode, write: (state: Float32Array) => void) => void,
): TextStates {
  const states = new Float32Array(codes.length * length * dim);
  const mask = new Float32Array(codes.length * length);
  codes.forEach((code, i) => {
    let at = 0;
    each(code, (state) => {
      if (at === length) return;
      states.set(state, (i * length + at) * dim);
      mask[i * length + at++] = 1;
    });
    if (at === 0) mask[i * length] = 1; // a state of zeros: attention needs something to look at
  });
  return { states, mask };
}

/** Options of {@link lsaEncoder}. */
export interface LSAOptions {
  /** Channels. Default: 96. */
  readonly dim?: number;
  /** Words in fewer descriptions than this are left out. Default: 2. */
  readonly least?: number;
  /** Of the random start of the decomposition. Default: 0. */
  readonly seed?: number;
}

/** Latent semantic analysis, which can be saved. */
export interface LSAEncoder extends DescriptionEncoder {
  /** The words it knows; others count for nothing. */
  readonly words: readonly string[];
  /** Share of the squared TF-IDF weights that the channels hold. */
  readonly explained: number;
  /** What `loadLSA` reads. */
  save(file: string | URL): Promise<void>;
}

/**
 * Latent semantic analysis: words weighted by TF-IDF, then the leading singular vectors. A description is the sum of its
 * words' weights in that space, a position its word; each state is scaled to root mean square 1.
 *
 * Deerwester et al., "Indexing by Latent Semantic Analysis", JASIS 1990, doi 10.1002/(SICI)1097-4571(199009)41:6%3C391::AID-ASI1%3E3.0.CO;2-9;
 * idf smoothed and rows of length 1 as scikit-learn's `TfidfVectorizer` has them.
 *
 * @param texts What to learn from, for example every description of a coding system.
 * @throws {RangeError} Where there are fewer words than channels.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * const texts = ["acute fever", "acute cough", "chronic fever", "chronic cough"];
 * const encoder = lsaEncoder(texts, { dim: 3 });
 * assert.deepEqual(encoder.words, ["acute", "chronic", "cough", "fever"]);
 * assert.ok(encoder.explained > 0.99); // four words, of which three say the fourth
 * ```
 */
export function lsaEncoder(texts: readonly string[], { dim = 96, least = 2, seed = 0 }: LSAOptions = {}): LSAEncoder {
  const bags = texts.map((text) => countsOf(wordsOf(text)));
  const documents = new Map<string, number>();
  for (const bag of bags) for (const word of bag.keys()) documents.set(word, (documents.get(word) ?? 0) + 1);
  const words = [...documents].filter(([, count]) => count >= least).map(([word]) => word).sort();
  if (words.length < dim) {
    throw new RangeError(
      `${words.length} words occur in at least ${least} of ${texts.length} texts, but ${dim} channels are asked for; ` +
        "give more texts, or a smaller dim",
    );
  }
  const idf = Float32Array.from(words, (word) => Math.log((1 + texts.length) / (1 + documents.get(word)!)) + 1);
  const column = new Map(words.map((word, j) => [word, j]));
  const offsets = new Int32Array(texts.length + 1);
  const columns: number[] = [], values: number[] = [];
  bags.forEach((bag, i) => {
    const row = weightsOf(bag, column, idf);
    for (const [j, value] of row) {
      columns.push(j);
      values.push(value);
    }
    offsets[i + 1] = columns.length;
  });
  const matrix = {
    rows: texts.length,
    columns: words.length,
    offsets,
    column: Int32Array.from(columns),
    value: Float32Array.from(values),
  };
  const { right, explained } = truncatedSVD(matrix, dim, { seed });
  return lsaFrom(words, idf, right, dim, explained);
}

function countsOf(words: readonly string[]): Map<string, number> {
  const bag = new Map<string, number>();
  for (const word of words) bag.set(word, (bag.get(word) ?? 0) + 1);
  return bag;
}

/** TF-IDF weights of the known words of a text, of length 1 together. */
function weightsOf(bag: Map<string, number>, column: Map<string, number>, idf: Float32Array): [number, number][] {
  const row: [number, number][] = [];
  let square = 0;
  for (const [word, count] of bag) {
    const j = column.get(word);
    if (j === undefined) continue;
    row.push([j, count * idf[j]]);
    square += (count * idf[j]) ** 2;
  }
  return row.map(([j, value]) => [j, value / Math.sqrt(square)]);
}

/** @param right [words, dim] */
function lsaFrom(
  words: readonly string[],
  idf: Float32Array,
  right: Float32Array,
  dim: number,
  explained: number,
): LSAEncoder {
  const column = new Map(words.map((word, j) => [word, j]));
  const scaled = (state: Float32Array) => {
    const rms = Math.sqrt(state.reduce((sum, value) => sum + value * value, 0) / dim);
    return rms > 0 ? state.map((value) => value / rms) : state;
  };
  return {
    name: `TF-IDF and SVD (${dim}, ${words.length} words)`,
    dim,
    words,
    explained,
    encode: (codes, length) =>
      fill(codes, length, dim, (code, write) => {
        const text = wordsOf(code.description);
        const whole = new Float32Array(dim);
        for (const [j, weight] of weightsOf(countsOf(text), column, idf)) {
          for (let k = 0; k < dim; k++) whole[k] += weight * right[j * dim + k];
        }
        write(scaled(whole));
        for (const word of text) {
          const j = column.get(word);
          if (j !== undefined) write(scaled(right.slice(j * dim, (j + 1) * dim)));
        }
      }),
    save: (file) =>
      writeSafetensors(
        file,
        new Map<string, NumericArray>([
          ["right", { shape: [words.length, dim], dtype: "float32", data: right }],
          ["idf", { shape: [words.length], dtype: "float32", data: idf }],
        ]),
        { encoder: "lsa", words: JSON.stringify(words), explained: String(explained) },
      ),
  };
}

/**
 * Reads an encoder that {@link lsaEncoder} has saved.
 *
 * @throws {Error} Where the file holds something else.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * const file = await Deno.makeTempFile({ suffix: ".safetensors" });
 * const encoder = lsaEncoder(["acute fever", "acute cough", "chronic fever", "chronic cough"], { dim: 3 });
 * await encoder.save(file);
 * const code = [{ system: "A", code: "1", description: "acute cough" }];
 * assert.deepEqual((await loadLSA(file)).encode(code, 3), encoder.encode(code, 3));
 * await Deno.remove(file);
 * ```
 */
export async function loadLSA(file: string | URL): Promise<LSAEncoder> {
  const { tensors, metadata } = await readSafetensors(file);
  const right = tensors.get("right"), idf = tensors.get("idf");
  if (metadata.encoder !== "lsa" || !right || !idf) {
    throw new Error(`${file} holds no encoder of TF-IDF and SVD; pass a file that its save() has written`);
  }
  const words: string[] = JSON.parse(metadata.words);
  return lsaFrom(
    words,
    idf.data as Float32Array,
    right.data as Float32Array,
    right.shape[1],
    Number(metadata.explained),
  );
}

/** Options of {@link vectorsFromFile}. */
export interface VectorFileOptions {
  /** What the file's numbers come from, for the record: the language model's name. */
  readonly name?: string;
}

/**
 * States made elsewhere, by any language model, from a file: one vector or a row of states per code.
 *
 * - `.safetensors`: `vectors` [codes, dim], or `states` [codes, length, dim] with `lengths` int32 [codes]; and in the
 *   metadata `codes`, a JSON array of `SYSTEM:CODE`, one per row.
 * - `.parquet`: columns `system`, `code` and `vector` (a list of numbers, or for states a list of such lists).
 *
 * Written by four lines of transformers.js, where there is internet: notebook 20 has them.
 *
 * @throws {Error} One sentence: where a column or tensor is missing, or two rows are for one code.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { writeSafetensors } from "tessera/data/mod.ts";
 * const file = await Deno.makeTempFile({ suffix: ".safetensors" });
 * const vectors = { shape: [1, 2], dtype: "float32" as const, data: Float32Array.of(3, 4) };
 * await writeSafetensors(file, new Map([["vectors", vectors]]), { codes: '["ICD10CM:E11.9"]' });
 * const encoder = await vectorsFromFile(file);
 * const code = { system: "ICD10CM", code: "E11.9", description: "" };
 * assert.deepEqual([...encoder.encode([code], 1).states], [3, 4]);
 * await Deno.remove(file);
 * ```
 */
export async function vectorsFromFile(
  file: string | URL,
  options: VectorFileOptions = {},
): Promise<DescriptionEncoder> {
  const path = String(file);
  const read = /\.parquet$/i.test(path) ? await fromParquet(file) : await fromSafetensors(file);
  return vectorsFrom(read, options.name ?? `vectors of ${path.replace(/^.*\//, "")}`, path);
}

function vectorsFrom({ codes, dim, statesOf }: VectorRows, name: string, path: string): DescriptionEncoder {
  const rows = new Map<string, number>();
  codes.forEach((code, i) => {
    if (rows.has(code)) throw new Error(`${path} has two rows for ${code}; keep one`);
    rows.set(code, i);
  });
  return {
    name,
    dim,
    save: (file) => {
      const all = codes.map((_, row) => statesOf(row));
      const length = Math.max(1, ...all.map((states) => states.length));
      const states = new Float32Array(codes.length * length * dim);
      all.forEach((own, row) => own.forEach((state, at) => states.set(state, (row * length + at) * dim)));
      const arrays = new Map<string, NumericArray>([
        ["states", { shape: [codes.length, length, dim], dtype: "float32", data: states }],
        ["lengths", { shape: [codes.length], dtype: "int32", data: Int32Array.from(all, (own) => own.length) }],
      ]);
      return writeSafetensors(file, arrays, { encoder: "vectors", name, codes: JSON.stringify(codes) });
    },
    encode: (wanted, length) =>
      fill(wanted, length, dim, ({ system, code }, write) => {
        const row = rows.get(`${system}:${code}`);
        if (row === undefined) {
          throw new RangeError(`${path} has no vector for ${system}:${code}; it has ${rows.size} others`);
        }
        for (const state of statesOf(row)) write(state);
      }),
  };
}

interface VectorRows {
  codes: string[];
  dim: number;
  statesOf(row: number): Float32Array[];
}

async function fromSafetensors(file: string | URL): Promise<VectorRows> {
  const { tensors, metadata } = await readSafetensors(file);
  const array = tensors.get("states") ?? tensors.get("vectors");
  const rank = tensors.has("states") ? 3 : 2;
  if (!array || array.shape.length !== rank || !(array.data instanceof Float32Array)) {
    throw new Error(`${file} has no tensor "vectors" [codes, dim] or "states" [codes, length, dim] of floats`);
  }
  let codes: unknown;
  try {
    codes = JSON.parse(metadata.codes ?? "");
  } catch {
    codes = undefined;
  }
  if (!Array.isArray(codes) || codes.length !== array.shape[0] || codes.some((code) => typeof code !== "string")) {
    throw new Error(
      `${file} must name its ${array.shape[0]} codes in the metadata "codes", a JSON array of "SYSTEM:CODE"`,
    );
  }
  const dim = array.shape[rank - 1], length = rank === 3 ? array.shape[1] : 1;
  const lengths = tensors.get("lengths");
  if (rank === 3 && lengths?.shape.join() !== String(array.shape[0])) {
    throw new Error(`${file} has no tensor "lengths" [codes], which says how many states of each code count`);
  }
  const data = array.data;
  return {
    codes: codes as string[],
    dim,
    statesOf: (row) =>
      Array.from({ length: lengths ? Number(lengths.data[row]) : 1 }, (_, at) => {
        const start = (row * length + at) * dim;
        return data.subarray(start, start + dim);
      }),
  };
}

async function fromParquet(file: string | URL): Promise<VectorRows> {
  const table = await readTable(file);
  requireColumns(table, ["system", "code", "vector"], String(file));
  const vectors = table.getColumn("vector").toArray() as unknown as (ArrayLike<number> | ArrayLike<number>[])[];
  const systems = table.getColumn("system").toArray(), codes = table.getColumn("code").toArray();
  const statesOf = (row: number) => {
    const value = Array.from(vectors[row] as ArrayLike<number | ArrayLike<number>>);
    const rows = typeof value[0] === "number" ? [value as number[]] : value as ArrayLike<number>[];
    return rows.map((numbers) => Float32Array.from(Array.from(numbers)));
  };
  const dim = vectors.length ? statesOf(0)[0]?.length ?? 0 : 0;
  const wrong = vectors.findIndex((_, row) => statesOf(row).some((state) => state.length !== dim));
  if (wrong >= 0) throw new Error(`${file}, row ${wrong}: vectors must have ${dim} numbers, as in the first row`);
  return { codes: systems.map((system, i) => `${system}:${codes[i]}`), dim, statesOf };
}

/** Refuses a table without a column, naming it. */
export function requireColumns(table: Table, columns: readonly string[], name: string): void {
  const missing = columns.find((column) => !table.columns.includes(column));
  if (missing !== undefined) {
    throw new Error(`${name} has no column ${JSON.stringify(missing)}; it has ${table.columns.join(", ")}`);
  }
}
