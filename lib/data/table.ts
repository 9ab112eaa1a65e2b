/**
 * Tables: CSV, TSV and Parquet files as Polars frames. What Polars does is left to Polars; here are the choice of the
 * format by the file's ending, errors that say what to do, and writing that is never half done.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { extname } from "node:path";
import type pl from "nodejs-polars";
import { pathOf, readBytes, writeAtomically } from "./files.ts";

/** A Polars frame. */
export type Table = pl.DataFrame;

/** Polars' own options for reading text, such as `{ dtypes, nullValues, columns }`; for Parquet only `columns` counts. */
export type TableOptions = Partial<Omit<Parameters<typeof pl.readCSV>[1] & object, "sep">>;

const endings = [".csv", ".tsv", ".parquet"] as const;

/**
 * Reads a table: `.csv`, `.tsv` or `.parquet`.
 *
 * Polars guesses the kind of each column of a text file from its first rows: a column of codes such as `0010` becomes
 * numbers and loses its zeros unless `dtypes` says that it is text. A line with more fields than the header is an error
 * here; by itself, Polars would drop what is too much (`truncateRaggedLines: true`).
 *
 * @throws {Error} One sentence with the file's name: where it is missing, has another ending, or cannot be read.
 *
 * @example Codes with leading zeros, read as text
 * ```ts
 * import assert from "node:assert/strict";
 * import pl from "nodejs-polars";
 * const file = await Deno.makeTempFile({ suffix: ".tsv" });
 * await Deno.writeTextFile(file, "code\tname\n0010\tCholera\n");
 * const table = await readTable(file, { dtypes: { code: pl.Utf8 } });
 * assert.deepEqual(table.toRecords(), [{ code: "0010", name: "Cholera" }]);
 * await Deno.remove(file);
 * ```
 */
export async function readTable(file: string | URL, options: TableOptions = {}): Promise<Table> {
  const path = pathOf(file);
  const ending = endingOf(path);
  const bytes = await readBytes(file);
  const polars = await loadPolars();
  try {
    // Bytes, not the path: Polars takes a path whose ending it does not expect for the table's text.
    const content = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    return ending === ".parquet"
      ? polars.readParquet(content, { columns: options.columns })
      : polars.readCSV(content, { truncateRaggedLines: false, ...options, sep: ending === ".tsv" ? "\t" : "," });
  } catch (cause) {
    throw new Error(`${path} cannot be read as ${nameOf(ending)}: ${firstLine(cause)}; check the file or the options`, {
      cause,
    });
  }
}

/**
 * Writes a table as `.csv`, `.tsv` or `.parquet` (compressed with zstd), completely or not at all.
 *
 * @throws {Error} One sentence with the file's name: where it has another ending or cannot be written; then nothing is
 *   left behind.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import pl from "nodejs-polars";
 * const folder = await Deno.makeTempDir();
 * await writeTable(`${folder}/rows.parquet`, pl.DataFrame({ seed: [0, 1], accuracy: [0.97, 0.98] }));
 * assert.deepEqual((await readTable(`${folder}/rows.parquet`)).columns, ["seed", "accuracy"]);
 * await Deno.remove(folder, { recursive: true });
 * ```
 */
export async function writeTable(file: string | URL, table: Table): Promise<void> {
  const ending = endingOf(pathOf(file));
  // Bytes, not the path: Polars ends the whole process where it cannot write to a path.
  const bytes = ending === ".parquet"
    ? table.writeParquet({ compression: "zstd" })
    : table.writeCSV({ separator: ending === ".tsv" ? "\t" : "," });
  await writeAtomically(file, bytes);
}

function endingOf(path: string): typeof endings[number] {
  const ending = endings.find((known) => known === extname(path).toLowerCase());
  if (!ending) {
    throw new Error(`${path} does not end in ${endings.join(", ")}; rename it, or convert it to one of these`);
  }
  return ending;
}

function nameOf(ending: string): string {
  return ending === ".parquet" ? "Parquet" : ending.slice(1).toUpperCase();
}

function firstLine(cause: unknown): string {
  return (cause instanceof Error ? cause.message : String(cause)).split("\n")[0].trim();
}

/** Loaded at the first table because it takes 0.12 s, and most programs read none. */
async function loadPolars(): Promise<typeof pl> {
  return (await import("nodejs-polars")).default;
}
