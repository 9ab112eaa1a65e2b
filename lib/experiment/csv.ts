/**
 * Rows as CSV that comes back as it went: texts stand in quotes, numbers and true and false do not, null is empty.
 *
 * @module
 */
import type { Row, Value } from "./experiment.ts";

/**
 * Writes rows. The first line names the columns, in the order in which they first occur.
 *
 * @throws {RangeError} Where a number is not finite.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * assert.equal(toCSV([{ method: "tome", accuracy: 0.5, note: null }]), 'method,accuracy,note\n"tome",0.5,\n');
 * ```
 */
export function toCSV(rows: readonly Row[]): string {
  const columns = [...new Set(rows.flatMap((row) => Object.keys(row)))];
  const lines = rows.map((row) => columns.map((column) => fieldOf(column, row[column] ?? null)).join(","));
  return [columns.map((column) => /^\w+$/.test(column) ? column : quoted(column)).join(","), ...lines, ""].join("\n");
}

/**
 * Reads rows. A field without quotes is a number or true or false where it looks like one, else text, so that tables
 * written by hand can be read too; an empty one is null.
 *
 * @param name What to call the table in errors.
 * @throws {RangeError} Where a line has more or fewer fields than the first, or a quote does not end.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * assert.deepEqual(fromCSV('method,accuracy\n"tome",0.5\nevit,\n'), [
 *   { method: "tome", accuracy: 0.5 },
 *   { method: "evit", accuracy: null },
 * ]);
 * ```
 */
export function fromCSV(text: string, name = "the table"): Row[] {
  const [header = [], ...lines] = recordsOf(text, name);
  return lines.map((fields, i) => {
    if (fields.length !== header.length) {
      throw new RangeError(
        `line ${i + 2} of ${name} has ${fields.length} fields, but its first line names ${header.length} columns; ` +
          "mend it, with quotes around text that holds a comma",
      );
    }
    return Object.fromEntries(fields.map((field, k) => [header[k].text, valueOf(field)]));
  });
}

interface Field {
  text: string;
  quoted: boolean;
}

function recordsOf(text: string, name: string): Field[][] {
  const field = /(?:"((?:[^"]|"")*)"|([^",\r\n]*))(,|\r?\n|$)/y;
  const records: Field[][] = [];
  let record: Field[] = [];
  while (field.lastIndex < text.length || record.length) {
    const line = records.length + 1;
    const found = field.exec(text);
    if (!found) throw new RangeError(`line ${line} of ${name} has a quote in the wrong place; mend it`);
    const [, inQuotes, plain, end] = found;
    record.push({ text: inQuotes?.replaceAll('""', '"') ?? plain, quoted: inQuotes !== undefined });
    if (end === ",") continue;
    records.push(record);
    record = [];
  }
  return records;
}

function valueOf({ text, quoted }: Field): Value {
  if (quoted) return text;
  if (text === "") return null;
  if (text === "true" || text === "false") return text === "true";
  return /^-?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(text) ? Number(text) : text;
}

function fieldOf(column: string, value: Value): string {
  if (value === null) return "";
  if (typeof value === "string") return quoted(value);
  if (typeof value === "number" && !Number.isFinite(value)) {
    throw new RangeError(`column ${column} of a row holds ${value}; put null where a number could not be computed`);
  }
  return String(value);
}

function quoted(text: string): string {
  return `"${text.replaceAll('"', '""')}"`;
}
