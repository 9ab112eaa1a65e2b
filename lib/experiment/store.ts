/**
 * Where rows are kept: a file per row while an experiment runs, named by the row's key; `rows.csv` when they are
 * collected. A row is there as a whole or not at all, and the first who writes it wins.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { relative } from "node:path";
import { pathOf, writeAtomically } from "../data/files.ts";
import { fromCSV, toCSV } from "./csv.ts";
import type { Row, Value } from "./experiment.ts";

/** One computed row of the store: what it is of, and what came out. */
export interface StoredRow {
  readonly key: string;
  readonly cell: Row;
  readonly seed: number;
  readonly results: readonly Row[];
  /** Seconds that it took. */
  readonly seconds: number;
  /** Of the project, where git knows it. */
  readonly commit: string;
  /** What computed. */
  readonly backend: string;
}

/**
 * The key of a row: the same experiment, version, configuration, seed and data have the same one.
 *
 * @param data From {@link hashOfData}.
 *
 * @example The order of the settings does not matter
 * ```ts
 * import assert from "node:assert/strict";
 * const experiment = { name: "a", version: 1 };
 * const key = keyOf(experiment, { r: 8, method: "tome" }, 1, "");
 * assert.equal(keyOf(experiment, { method: "tome", r: 8 }, 1, ""), key);
 * assert.notEqual(keyOf({ name: "a", version: 2 }, { method: "tome", r: 8 }, 1, ""), key);
 * ```
 */
export function keyOf(
  { name, version, isFast = false }: { readonly name: string; readonly version: number; readonly isFast?: boolean },
  cell: Row,
  seed: number,
  data: string,
): string {
  const settings = Object.keys(cell).sort().map((setting): [string, Value] => [setting, cell[setting]]);
  return createHash("sha256").update(JSON.stringify([isFast ? `${name}, fast` : name, version, settings, seed, data]))
    .digest("hex").slice(0, 16);
}

/**
 * A hash of the content of files, and of folders with all that is in them; names count, places do not.
 *
 * @throws {Error} Where one of them is missing.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * assert.equal(hashOfData([new URL("store.ts", import.meta.url)]).length, 64);
 * assert.equal(hashOfData([]), "");
 * ```
 */
export function hashOfData(places: readonly URL[]): string {
  if (!places.length) return "";
  const hash = createHash("sha256");
  for (const place of places) {
    const root = pathOf(place);
    for (const path of filesIn(root)) hash.update(`${relative(root, path)}\n`).update(Deno.readFileSync(path));
  }
  return hash.digest("hex");
}

function filesIn(path: string): string[] {
  let isDirectory: boolean;
  try {
    ({ isDirectory } = Deno.statSync(path));
  } catch (cause) {
    throw new Error(`there is no ${path}, which an experiment names as its data; restore it`, { cause });
  }
  if (!isDirectory) return [path];
  return [...Deno.readDirSync(path)].map(({ name }) => name).sort().flatMap((name) =>
    filesIn(`${path.replace(/\/$/, "")}/${name}`)
  );
}

/** A row that threw: what it is of, and what was said. */
export interface FailedRow {
  readonly key: string;
  readonly cell: Row;
  readonly seed: number;
  readonly error: string;
  readonly commit: string;
}

/**
 * The rows of an experiment's folder: in `rows/` those that were run here, in `rows.csv` those that were collected.
 *
 * A row is a file named by its key: `link` gives it its name, which fails where the name is taken, so that the first who
 * writes it wins and nobody ever reads half a row or one that changes. Many or short rows are lines of `rows/parts/`, one
 * file per writer: a hundred thousand files take 400 MB where the lines take 24 MB. A line that was torn by a crash is no
 * row, and of two lines with one key the one that was done first counts.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * const folder = await Deno.makeTempDir();
 * const store = new Store(folder);
 * const row = { key: "k", cell: { r: 1 }, seed: 1, results: [{ y: 2 }], seconds: 0.1, commit: "", backend: "" };
 * assert.equal(await store.add(row), true);
 * assert.equal(await store.add(row), false); // it is there
 * assert.deepEqual(store.get("k"), row);
 * await Deno.remove(folder, { recursive: true });
 * ```
 */
export class Store {
  readonly #folder: string;
  readonly #part: string | undefined;
  #lines: Map<string, StoredRow> | undefined;

  /**
   * @param folder The experiment's folder; it must exist.
   * @param part Name of this writer's own file of lines. Default: a file for each row.
   */
  constructor(folder: string | URL, part?: string) {
    this.#folder = pathOf(folder).replace(/\/$/, "");
    this.#part = part;
  }

  /** The row of a key, where it was run here. */
  get(key: string): StoredRow | undefined {
    try {
      return JSON.parse(Deno.readTextFileSync(this.#file(key))) as StoredRow;
    } catch (cause) {
      if (cause instanceof Deno.errors.NotFound) return this.#inParts().get(key);
      throw new Error(`${this.#file(key)} cannot be read as a row; delete it, and the row is run again`, { cause });
    }
  }

  /** The keys of all rows that were run here. */
  keys(): Set<string> {
    this.#lines = undefined; // others may have written since
    const files = namesIn(`${this.#folder}/rows`).filter((name) => /^[^.]+\.json$/.test(name));
    return new Set([...files.map((name) => name.slice(0, -".json".length)), ...this.#inParts().keys()]);
  }

  /** Adds a row, complete or not at all; false, and nothing changes, where another has written it meanwhile. */
  async add(row: StoredRow): Promise<boolean> {
    const written = this.#part === undefined ? await this.#addFile(row) : await this.#addLine(this.#part, row);
    await removeIfThere(this.#failure(row.key));
    return written;
  }

  async #addFile(row: StoredRow): Promise<boolean> {
    await Deno.mkdir(`${this.#folder}/rows`, { recursive: true });
    const written = `${this.#file(row.key)}.${crypto.randomUUID()}`;
    await writeAtomically(written, new TextEncoder().encode(JSON.stringify(row) + "\n"));
    try {
      await Deno.link(written, this.#file(row.key)); // unlike a rename it fails where the name is taken
      return true;
    } catch (cause) {
      if (cause instanceof Deno.errors.AlreadyExists) return false;
      throw cause;
    } finally {
      await Deno.remove(written);
    }
  }

  async #addLine(part: string, row: StoredRow): Promise<boolean> {
    if (this.get(row.key)) return false;
    const path = `${this.#folder}/rows/parts/${part}.jsonl`;
    try {
      await Deno.mkdir(`${this.#folder}/rows/parts`, { recursive: true });
      using file = await Deno.open(path, { append: true, create: true });
      const bytes = new TextEncoder().encode(JSON.stringify({ ...row, done: Date.now() }) + "\n");
      for (let sent = 0; sent < bytes.length;) sent += await file.write(bytes.subarray(sent));
    } catch (cause) {
      throw new Error(
        `cannot write ${path}: ${cause instanceof Error ? cause.message : cause}; make room and run again`,
        {
          cause,
        },
      );
    }
    this.#lines?.set(row.key, row);
    return true;
  }

  /** Records that a row threw. It is no row: the next run tries it again. */
  async fail(failed: FailedRow): Promise<void> {
    await Deno.mkdir(`${this.#folder}/rows`, { recursive: true });
    await writeAtomically(this.#failure(failed.key), new TextEncoder().encode(JSON.stringify(failed) + "\n"));
  }

  /** The rows that threw when they were last tried. */
  failures(): FailedRow[] {
    return namesIn(`${this.#folder}/rows`).filter((name) => /^[^.]+\.failed\.json$/.test(name)).sort()
      .map((name) => JSON.parse(Deno.readTextFileSync(`${this.#folder}/rows/${name}`)) as FailedRow);
  }

  /** Removes a row that is to be run again. */
  async remove(key: string): Promise<void> {
    await removeIfThere(this.#file(key));
    this.#inParts().delete(key);
  }

  /** The lines of `rows.csv`; none where it does not exist. */
  collected(): Row[] {
    const path = `${this.#folder}/rows.csv`;
    let text: string;
    try {
      text = Deno.readTextFileSync(path);
    } catch (cause) {
      if (cause instanceof Deno.errors.NotFound) return [];
      throw cause;
    }
    return fromCSV(text, path);
  }

  /** Writes `rows.csv`. */
  async collect(lines: readonly Row[]): Promise<void> {
    await writeAtomically(`${this.#folder}/rows.csv`, new TextEncoder().encode(toCSV(lines)));
  }

  /** Lines of all writers, by key; read once. */
  #inParts(): Map<string, StoredRow> {
    if (this.#lines) return this.#lines;
    const found = new Map<string, StoredRow & { done: number }>();
    for (const name of namesIn(`${this.#folder}/rows/parts`)) {
      for (const line of Deno.readTextFileSync(`${this.#folder}/rows/parts/${name}`).split("\n")) {
        const row = lineOf(line);
        if (row && !((found.get(row.key)?.done ?? Infinity) <= row.done)) found.set(row.key, row);
      }
    }
    this.#lines = new Map([...found].map(([key, { done: _, ...row }]) => [key, row]));
    return this.#lines;
  }

  #file(key: string): string {
    return `${this.#folder}/rows/${key}.json`;
  }

  #failure(key: string): string {
    return `${this.#folder}/rows/${key}.failed.json`;
  }
}

/** One line as a row; undefined where its writer was killed in the middle of it. */
function lineOf(line: string): (StoredRow & { done: number }) | undefined {
  try {
    return JSON.parse(line) as StoredRow & { done: number };
  } catch {
    return undefined;
  }
}

function namesIn(folder: string): string[] {
  try {
    return [...Deno.readDirSync(folder)].map(({ name }) => name);
  } catch (cause) {
    if (cause instanceof Deno.errors.NotFound) return [];
    throw cause;
  }
}

async function removeIfThere(path: string): Promise<void> {
  await Deno.remove(path).catch((error) => {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  });
}
