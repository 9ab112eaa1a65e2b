/**
 * Text tables of the project's `data/` folder: decompressed, split into fields, their header checked.
 *
 * @module
 */
import { readDataFile, sha256 } from "./files.ts";

/** The text of a data file, and the SHA-256 of the file as it lies there. */
export interface DataText {
  text: string;
  hash: string;
}

/**
 * Reads a text file of the `data/` folder that is compressed with gzip.
 *
 * @param name Path below `data/`.
 * @throws {Error} Where the file is missing or damaged: it names the file and says how to restore it.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * const { text } = await readGzipText("disease-ontology/is_a.tsv.gz");
 * assert.ok(text.startsWith("child\tparent\n"));
 * ```
 */
export async function readGzipText(name: string): Promise<DataText> {
  const bytes = await readDataFile(name);
  try {
    const plain = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    return { text: await new Response(plain).text(), hash: sha256(bytes) };
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new Error(`data/${name} cannot be decompressed (${why}); restore it with: git checkout -- data/${name}`, {
      cause,
    });
  }
}

/**
 * Rows of a text table, each with the cells of the columns asked for, in that order.
 *
 * @param name How error messages call the table.
 * @param separator Double quotes hold a field together that has it inside. With a comma, single quotes and the spaces
 *   around a field are taken off too, as AHRQ's files need it.
 * @throws {Error} Where a column is missing, or a row has another number of fields than the header.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * assert.deepEqual(textRows("a\tb\n1\t2\n", ["b", "a"], "two columns"), [["2", "1"]]);
 * assert.deepEqual(textRows("a,b\n'1 ',\"x, y\"\n", ["a", "b"], "quoted", ","), [["1", "x, y"]]);
 * ```
 */
export function textRows(
  text: string,
  columns: readonly string[],
  name: string,
  separator: "\t" | "," = "\t",
): string[][] {
  const split = separator === "\t"
    ? (line: string) =>
      line.includes('"') ? splitQuoted(line, /(?:"((?:[^"]|"")*)"|([^\t]*))(\t|$)/g) : line.split("\t")
    // bare fields too: AHRQ's files hold `'Down's Syndrome'` and `'EVANS' SYNDROME' (2005)`
    : (line: string) => splitQuoted(line, /(?:"((?:[^"]|"")*)"|'([^,]*)'|([^,]*))(,|$)/g);
  const [header, ...lines] = text.replaceAll("\r\n", "\n").replace(/\n$/, "").split("\n");
  const names = split(header);
  const places = columns.map((column) => {
    const place = names.indexOf(column);
    if (place >= 0) return place;
    throw new Error(`${name} has no column ${JSON.stringify(column)}; it has ${names.join(", ")}`);
  });
  return lines.map((line, i) => {
    const cells = split(line);
    if (cells.length !== names.length) {
      throw new Error(`${name}, line ${i + 2}: ${names.length} fields are expected, but there are ${cells.length}`);
    }
    return places.map((place) => cells[place]);
  });
}

function splitQuoted(line: string, field: RegExp): string[] {
  const cells: string[] = [];
  for (const match of line.matchAll(field)) {
    const [double, ...bare] = match.slice(1, -1);
    cells.push((double?.replaceAll('""', '"') ?? bare.find((text) => text !== undefined) ?? "").trim());
    if (match.at(-1) === "") break;
  }
  return cells;
}
