/**
 * Tables that show themselves with their counts: arquero's small tables of notebooks, and Polars' frames.
 *
 * @module
 */
import { ColumnTable, from } from "arquero";
import { createRequire } from "node:module";
import { type Bundle, counted, display, escapeMarkup, safely } from "./display.ts";

/** Rows and columns that are shown of a larger table. */
const SHOWN_ROWS = 20;
const SHOWN_COLUMNS = 20;

/** Characters that are shown of a cell. */
const SHOWN_CHARACTERS = 120;

/**
 * An arquero table of rows or of columns. It shows itself.
 *
 * @param values An array of objects, one per row, or an object of arrays, one per column.
 * @throws TypeError where it is neither; RangeError where columns differ in length.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * const accuracy = table([{ method: "ToMe", accuracy: 0.97 }, { method: "EViT", accuracy: 0.96 }]);
 * assert.equal(accuracy.numRows(), 2);
 * assert.deepEqual(table({ method: ["ToMe", "EViT"] }).objects(), [{ method: "ToMe" }, { method: "EViT" }]);
 * ```
 */
export function table(values: readonly object[] | Readonly<Record<string, ArrayLike<unknown>>>): ColumnTable {
  if (Array.isArray(values)) {
    const wrong = values.findIndex((row) => row === null || typeof row !== "object");
    if (wrong >= 0) throw new TypeError(`a table's rows are objects, but row ${wrong} is ${values[wrong]}`);
    return from([...values]);
  }
  if (values === null || typeof values !== "object") {
    throw new TypeError(`a table is made of an array of rows or an object of columns, but it is ${typeof values}`);
  }
  const columns = Object.entries(values as Record<string, ArrayLike<unknown>>);
  const other = columns.find(([, column]) => column?.length !== columns[0][1]?.length);
  if (other) {
    throw new RangeError(
      `the columns of a table must have one length, but ${columns[0][0]} has ${columns[0][1]?.length} and ` +
        `${other[0]} has ${other[1]?.length}`,
    );
  }
  return new ColumnTable(Object.fromEntries(columns.map(([name, column]) => [name, Array.from(column)])));
}

/** What is shown of a table, whatever library it is of. */
interface Excerpt {
  rows: number;
  columns: number;
  names: string[];
  /** The first rows, with the shown columns in order. */
  cells: unknown[][];
  /** The group of each of these rows: where another one begins, its name stands above it. */
  groups?: string[];
  /** A line below each of these rows, across its columns: what would make a column too wide. */
  notes?: string[];
}

/** A table as static HTML, without scripts and styles, and as text; both end with the counts. */
export function tableBundle({ rows, columns, names, cells, groups = [], notes = [] }: Excerpt): Bundle {
  const left = [
    cells.length < rows && `the first ${cells.length} rows`,
    names.length < columns && `the first ${names.length} columns`,
  ].filter(Boolean).join(" and ");
  const counts = `${counted(rows, "row")} x ${counted(columns, "column")}${left ? `; shown are ${left}` : ""}`;
  const texts = cells.map((row) => row.map(cellText));
  const numeric = names.map((_, k) => cells.some((row) => typeof row[k] === "number"));

  const cell = (tag: string, text: string, k: number) =>
    `<${tag} style="text-align: ${numeric[k] ? "right" : "left"}">${escapeMarkup(text)}</${tag}>`; // JupyterLab's own is right
  const line = (tag: string, values: string[]) => `<tr>${values.map((text, k) => cell(tag, text, k)).join("")}</tr>`;
  const begins = (row: number) => groups[row] !== undefined && groups[row] !== groups[row - 1];
  const heading = (row: number) =>
    `<tr><th colspan="${names.length}" style="text-align: left">${escapeMarkup(groups[row])}</th></tr>`;
  const note = (row: number) =>
    `<tr><td></td><td colspan="${names.length - 1}" style="text-align: left">${escapeMarkup(notes[row])}</td></tr>`;
  const body = texts.map((row, k) => (begins(k) ? heading(k) : "") + line("td", row) + (notes[k] ? note(k) : "")).join(
    "",
  );
  const html = `<table><thead>${line("th", names)}</thead><tbody>${body}</tbody></table><p>${escapeMarkup(counts)}</p>`;

  const widths = names.map((name, k) => Math.max(name.length, ...texts.map((row) => row[k].length)));
  const padded = (values: string[]) =>
    values.map((text, k) => numeric[k] ? text.padStart(widths[k]) : text.padEnd(widths[k])).join("  ").trimEnd();
  const indent = " ".repeat((widths[0] ?? 0) + 2);
  const plain = texts.flatMap((row, k) => [
    ...(begins(k) ? ["", groups[k]] : []),
    padded(row),
    ...(notes[k] ? [indent + notes[k]] : []),
  ]);
  return { "text/html": html, "text/plain": [padded(names), ...plain, counts].join("\n") };
}

function cellText(value: unknown): string {
  if (value === null || value === undefined) return "";
  if (typeof value === "number") return Number.isInteger(value) ? String(value) : String(Number(value.toPrecision(5)));
  if (value instanceof Date) return value.toISOString().replace(/T00:00:00\.000Z$/, "");
  const text = typeof value === "object"
    ? JSON.stringify(value, (_, v) => typeof v === "bigint" ? String(v) : v)
    : String(value);
  const line = (text ?? "").replaceAll("\n", " ");
  return line.length > SHOWN_CHARACTERS ? line.slice(0, SHOWN_CHARACTERS - 1) + "…" : line;
}

function arqueroExcerpt(table: ColumnTable): Excerpt {
  const names = table.columnNames().slice(0, SHOWN_COLUMNS);
  const rows = table.objects({ limit: SHOWN_ROWS }) as Record<string, unknown>[];
  return {
    rows: table.numRows(),
    columns: table.numCols(),
    names,
    cells: rows.map((row) => names.map((name) => row[name])),
  };
}

/** What is used of a Polars frame. */
interface PolarsFrame {
  height: number;
  width: number;
  columns: string[];
  limit(rows: number): { rows(): unknown[][] };
}

function polarsExcerpt(frame: PolarsFrame): Excerpt {
  const names = frame.columns.slice(0, SHOWN_COLUMNS);
  return {
    rows: frame.height,
    columns: frame.width,
    names,
    cells: frame.limit(SHOWN_ROWS).rows().map((row) => row.slice(0, names.length)),
  };
}

/** Gives every arquero table a display. */
export function installArqueroDisplay(): void {
  Object.defineProperty(ColumnTable.prototype, display, {
    configurable: true,
    value: function (this: ColumnTable) {
      return safely("the table", () => tableBundle(arqueroExcerpt(this)));
    },
  });
}

/**
 * Gives every Polars frame that is made from now on our display. Theirs shows the first 50 rows and not how many there
 * are. Frames have no prototype, they are made by one function; nodejs-polars is pinned, and a test looks at the result.
 * Where Polars has no binary for the machine, nothing happens.
 */
export function installPolarsDisplay(): void {
  try {
    const require = createRequire(import.meta.url);
    const inside = require.resolve("nodejs-polars").replace(/index\.js$/, "dataframe.js");
    const module = require(inside) as { _DataFrame: (inner: unknown) => object; [installed]?: true };
    if (module[installed]) return;
    const make = module._DataFrame;
    module._DataFrame = (inner) => {
      const frame = make(inner);
      Reflect.set(frame, display, () => safely("the frame", () => tableBundle(polarsExcerpt(frame as PolarsFrame))));
      return frame;
    };
    module[installed] = true;
  } catch {
    // without Polars there is no frame to show
  }
}

const installed = Symbol.for("tessera.polars.display");
