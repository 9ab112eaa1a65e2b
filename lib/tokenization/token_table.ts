/**
 * The table from codes to tokens: what a trained tokenizer gives to everything behind it.
 *
 * Two kinds of numbers, each with reserved ones that never move. *Ids of codes* are for models that look a code up: 0 to 4 are
 * reserved, the first code is 5. *Tokens* are rows of the codebook, 0 to N - 1; after them come the same reserved ones, N to
 * N + 4. (Without a fixed number for unknown codes, readers of the authors' tables shift all numbers by an offset of their
 * own, or drop the codes.)
 *
 * @module
 */
import { readTable, sha256, type Table, writeTable } from "../data/mod.ts";
import { readBytes, readSafetensors, writeAtomically, writeSafetensors } from "../data/mod.ts";
import type { NumericArray } from "../data/mod.ts";
import { backend } from "../tensor/mod.ts";
import { type CodeSystem, codeSystems, type SystemCode } from "./code_system.ts";
import type { Slot } from "./codebook.ts";
import { type MedTokConfig, slotsOf } from "./config.ts";
import { requireColumns } from "./text_encoder.ts";

/** Reserved ids: padding, a code that the table does not have, no code at all, a masked code, the class token. */
export const reserved = { PAD: 0, UNK: 1, MISSING: 2, MASK: 3, CLS: 4 } as const;

/** How many ids are reserved. */
export const reservedCount = 5;

/** The tokens of one code, slot after slot. */
export interface CodeTokens {
  /** [slots x K] rows of the codebook, in each slot nearest first. */
  readonly tokens: Int32Array;
  /** [slots x K]: each slot's sum to 1. */
  readonly weights: Float32Array;
  /** [slots x d]: the slots' vectors one after the other. */
  readonly embedding: Float32Array;
}

/** How many codes of a list were not in the table. */
export interface LookUp {
  /** An id per code: 5 and up, or UNK, or MISSING where there was none. */
  readonly ids: Int32Array;
  readonly found: number;
  readonly unknown: number;
  readonly missing: number;
  /** The unknown ones, each once, in the order in which they came. */
  readonly unknownCodes: readonly string[];
}

/** What a table is made of. */
export interface TokenTableParts {
  readonly config: MedTokConfig;
  readonly codes: readonly SystemCode[];
  /** One per code; empty where they are not kept. */
  readonly descriptions?: readonly string[];
  /** [codes, slots, K] */
  readonly tokens: Int32Array;
  /** [codes, slots, K] */
  readonly weights: Float32Array;
  /** [codes, slots x d] */
  readonly embeddings: Float32Array;
  /** SHA-256 of the weights that made it; empty if unknown. */
  readonly modelHash?: string;
}

/** What `manifest.json` says of a saved table. */
export interface TableManifest {
  readonly format: "tessera medtok table 1";
  readonly preset: string;
  readonly config: MedTokConfig;
  readonly codes: number;
  readonly slots: readonly Slot[];
  readonly reserved: typeof reserved;
  readonly modelHash: string;
  readonly versions: { readonly backend: string; readonly deno: string };
  /** SHA-256 of each file. */
  readonly files: Readonly<Record<string, string>>;
}

/** Codes and their tokens. */
export class TokenTable {
  readonly config: MedTokConfig;
  readonly codes: readonly SystemCode[];
  readonly descriptions: readonly string[];
  readonly slots: readonly Slot[];
  readonly tokens: Int32Array;
  readonly weights: Float32Array;
  readonly embeddings: Float32Array;
  readonly modelHash: string;
  readonly #places = new Map<string, number>();

  /**
   * @throws {RangeError} Where two rows are for one code, or an array has another length than the codes need.
   *
   * @example
   * ```ts
   * import assert from "node:assert/strict";
   * import { medtokConfig } from "tessera/tokenization/mod.ts";
   * const table = new TokenTable({
   *   config: medtokConfig("lite", { modality: "text", K: 1, d: 4, heads: 1 }),
   *   codes: [{ system: "ICD10CM", code: "E11.9" }],
   *   tokens: Int32Array.of(7),
   *   weights: Float32Array.of(1),
   *   embeddings: Float32Array.of(1, 0, 0, 0),
   * });
   * assert.equal(table.idOf("ICD10CM", "e119"), 5);
   * assert.equal(table.idOf("ICD10CM", "E10"), reserved.UNK);
   * ```
   */
  constructor({ config, codes, descriptions = [], tokens, weights, embeddings, modelHash = "" }: TokenTableParts) {
    this.config = config;
    this.codes = codes;
    this.descriptions = descriptions;
    this.slots = slotsOf(config);
    this.tokens = tokens;
    this.weights = weights;
    this.embeddings = embeddings;
    this.modelHash = modelHash;
    codes.forEach(({ system, code }, place) => {
      const key = `${system}:${code}`;
      if (this.#places.has(key)) {
        throw new RangeError(`two rows are for ${key}, ${this.#places.get(key)} and ${place}; keep one`);
      }
      this.#places.set(key, place);
    });
    const perCode = this.slots.length;
    const needed = { tokens: perCode * config.K, weights: perCode * config.K, embeddings: perCode * config.d };
    for (const [name, each] of Object.entries(needed)) {
      const { length } = this[name as keyof typeof needed];
      if (length !== codes.length * each) {
        throw new RangeError(
          `${codes.length} codes need ${codes.length * each} ${name}, ${each} each, but there are ${length}`,
        );
      }
    }
    if (descriptions.length !== 0 && descriptions.length !== codes.length) {
      throw new RangeError(`there are ${descriptions.length} descriptions for ${codes.length} codes; give one each`);
    }
  }

  /** How many codes it has. */
  get size(): number {
    return this.codes.length;
  }

  /** Rows that an embedding of ids needs: reserved ones and codes. */
  get idCount(): number {
    return reservedCount + this.size;
  }

  /** Rows that an embedding of tokens needs: the codebook and the reserved ones after it. */
  get tokenCount(): number {
    return this.config.N + reservedCount;
  }

  /** The place of a code in the table, however it is written; undefined where it is not in it. */
  placeOf(
    system: string,
    code: string,
    systems: readonly CodeSystem[] = Object.values(codeSystems),
  ): number | undefined {
    const known = systems.find(({ name }) => name === system);
    return this.#places.get(`${system}:${code}`) ?? this.#places.get(`${system}:${known?.normalise(code) ?? code}`);
  }

  /** The id of a code: 5 plus its place, or UNK. */
  idOf(system: string, code: string, systems?: readonly CodeSystem[]): number {
    const place = this.placeOf(system, code, systems);
    return place === undefined ? reserved.UNK : reservedCount + place;
  }

  /** Ids of many codes. Unknown ones are counted, never dropped; `null` is a code that is missing. */
  lookUp(codes: readonly (SystemCode | null)[], systems?: readonly CodeSystem[]): LookUp {
    const unknown = new Set<string>();
    let missing = 0, unknowns = 0;
    const ids = Int32Array.from(codes, (code) => {
      if (code === null || code.code.trim() === "") {
        missing++;
        return reserved.MISSING;
      }
      const id = this.idOf(code.system, code.code, systems);
      if (id === reserved.UNK) {
        unknowns++;
        unknown.add(`${code.system}:${code.code}`);
      }
      return id;
    });
    return { ids, found: codes.length - missing - unknowns, unknown: unknowns, missing, unknownCodes: [...unknown] };
  }

  /** The tokens of the code at a place. */
  at(place: number): CodeTokens {
    if (!Number.isInteger(place) || place < 0 || place >= this.size) {
      throw new RangeError(`there is no code ${place} in the table; its places are 0 to ${this.size - 1}`);
    }
    const [words, numbers] = [this.slots.length * this.config.K, this.slots.length * this.config.d];
    return {
      tokens: this.tokens.subarray(place * words, (place + 1) * words),
      weights: this.weights.subarray(place * words, (place + 1) * words),
      embedding: this.embeddings.subarray(place * numbers, (place + 1) * numbers),
    };
  }

  /** The tokens for an id: a reserved one has the reserved token in every place, and an embedding of zeros. */
  atId(id: number): CodeTokens {
    if (id >= reservedCount) return this.at(id - reservedCount);
    const words = this.slots.length * this.config.K;
    return {
      tokens: new Int32Array(words).fill(this.config.N + id),
      weights: new Float32Array(words).fill(1 / this.config.K),
      embedding: new Float32Array(this.slots.length * this.config.d),
    };
  }

  /** A code as text: `ICD10CM:E11.9`. */
  nameOf(place: number): string {
    const { system, code } = this.codes[place];
    return `${system}:${code}`;
  }

  /** A table of both tables' codes; ids of the first stay as they are. */
  concat(other: TokenTable): TokenTable {
    if (JSON.stringify(other.config) !== JSON.stringify(this.config)) {
      throw new RangeError(
        "the two tables were made with different settings; encode the new codes with the same tokenizer",
      );
    }
    const join = <A extends Int32Array | Float32Array>(a: A, b: A): A => {
      const joined = new (a.constructor as new (length: number) => A)(a.length + b.length);
      joined.set(a);
      joined.set(b, a.length);
      return joined;
    };
    return new TokenTable({
      config: this.config,
      codes: [...this.codes, ...other.codes],
      descriptions: this.descriptions.length && other.descriptions.length
        ? [...this.descriptions, ...other.descriptions]
        : [],
      tokens: join(this.tokens, other.tokens),
      weights: join(this.weights, other.weights),
      embeddings: join(this.embeddings, other.embeddings),
      modelHash: this.modelHash,
    });
  }

  /**
   * Writes `tokens.parquet` (system, code, description, `token_0`.., `weight_0`..), `tables.safetensors` (tokens, weights,
   * embeddings) and `manifest.json` with the hashes of both.
   *
   * @param folder Made where it is missing.
   */
  async save(folder: string | URL): Promise<void> {
    const at = folderOf(folder);
    await Deno.mkdir(at, { recursive: true });
    const { K, d } = this.config;
    const perCode = this.slots.length * K;
    const { default: pl } = await import("nodejs-polars");
    const columns: Record<string, unknown[] | Int32Array | Float32Array> = {
      system: this.codes.map(({ system }) => system),
      code: this.codes.map(({ code }) => code),
      description: this.descriptions.length ? [...this.descriptions] : this.codes.map(() => ""),
    };
    for (let k = 0; k < perCode; k++) {
      columns[`token_${k}`] = Int32Array.from({ length: this.size }, (_, i) => this.tokens[i * perCode + k]);
      columns[`weight_${k}`] = Float32Array.from({ length: this.size }, (_, i) => this.weights[i * perCode + k]);
    }
    await writeTable(new URL("tokens.parquet", at), pl.DataFrame(columns));
    await writeSafetensors(
      new URL("tables.safetensors", at),
      new Map<string, NumericArray>([
        ["tokens", { shape: [this.size, this.slots.length, K], dtype: "int32", data: this.tokens }],
        ["weights", { shape: [this.size, this.slots.length, K], dtype: "float32", data: this.weights }],
        ["embeddings", { shape: [this.size, this.slots.length * d], dtype: "float32", data: this.embeddings }],
      ]),
    );
    const files: Record<string, string> = {};
    for (const name of FILES) files[name] = sha256(await readBytes(new URL(name, at)));
    const manifest: TableManifest = {
      format: "tessera medtok table 1",
      preset: this.config.preset,
      config: this.config,
      codes: this.size,
      slots: this.slots,
      reserved,
      modelHash: this.modelHash,
      versions: { backend: `${backend.name} ${backend.version}`, deno: Deno.version.deno },
      files,
    };
    await writeAtomically(new URL("manifest.json", at), new TextEncoder().encode(JSON.stringify(manifest, null, 2)));
  }

  /**
   * Reads what {@link TokenTable.save} has written.
   *
   * @throws {Error} Where a file is missing or is not the one the manifest names, or a column is missing.
   */
  static async load(folder: string | URL): Promise<TokenTable> {
    const at = folderOf(folder);
    const manifest = await readManifest(at);
    for (const [name, expected] of Object.entries(manifest.files)) {
      const found = sha256(await readBytes(new URL(name, at)));
      if (found !== expected) {
        throw new Error(
          `${name} has the hash ${found.slice(0, 12)}…, but manifest.json says ${
            expected.slice(0, 12)
          }…; the file was ` +
            "changed or belongs to another table, save the table again",
        );
      }
    }
    const table: Table = await readTable(new URL("tokens.parquet", at));
    requireColumns(table, ["system", "code", "description"], "tokens.parquet");
    const { tensors } = await readSafetensors(new URL("tables.safetensors", at));
    const column = (name: string) => table.getColumn(name).toArray().map(String);
    const [systems, codes, descriptions] = ["system", "code", "description"].map(column);
    return new TokenTable({
      config: manifest.config,
      codes: systems.map((system, i) => ({ system, code: codes[i] })),
      descriptions: descriptions.some(Boolean) ? descriptions : [],
      tokens: tensors.get("tokens")!.data as Int32Array,
      weights: tensors.get("weights")!.data as Float32Array,
      embeddings: tensors.get("embeddings")!.data as Float32Array,
      modelHash: manifest.modelHash,
    });
  }
}

const FILES = ["tokens.parquet", "tables.safetensors"] as const;

/** A folder as a URL that ends in a slash. */
export function folderOf(folder: string | URL): URL {
  const path = folder instanceof URL
    ? folder.href
    : `file://${folder.startsWith("/") ? "" : `${Deno.cwd()}/`}${folder}`;
  return new URL(path.endsWith("/") ? path : `${path}/`);
}

async function readManifest(folder: URL): Promise<TableManifest> {
  const bytes = await readBytes(new URL("manifest.json", folder));
  const manifest = JSON.parse(new TextDecoder().decode(bytes)) as TableManifest;
  if (manifest.format !== "tessera medtok table 1") {
    throw new Error(`${folder.pathname}manifest.json is of format ${manifest.format}, not tessera medtok table 1`);
  }
  return manifest;
}
