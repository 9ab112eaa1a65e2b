/**
 * Long tables: one row per subject, time and variable, as CLEF's repository has them on disk.
 *
 * Columns: `subject_id`, `charttime` (`2150-03-01 07:30:00`, or a number of hours), `itemid`, `valuenum`, and, where there
 * are any, `action` (conditions, several joined by ";") and `valueuom`. The repository's files end in `.csv` and are
 * separated by tabs; that is looked at, not guessed from the name.
 *
 * @module
 */
import { pathOf, readBytes } from "./files.ts";
import { readTable } from "./table.ts";
import { textRows } from "./text_table.ts";
import {
  type ConditionTable,
  NO_CONDITION,
  type RawTrajectory,
  type Trajectories,
  trajectories,
  type Variable,
} from "./trajectories.ts";

/** One measurement. */
export interface LongRow {
  readonly subject: string | number;
  /** `2150-03-01 07:30:00`, or hours. */
  readonly time: string | number;
  readonly variable: string | number;
  readonly value: number | null;
  /** Default: none. */
  readonly condition?: string;
  readonly unit?: string;
}

/** Options of reading a long table. */
export interface LongTableOptions {
  readonly name?: string;
  readonly conditions?: ConditionTable;
  readonly actsOn?: Trajectories["actsOn"];
  /** Unit of each variable where the table has none; "unknown" says that nobody knows. */
  readonly units?: Readonly<Record<string, string>> | "unknown";
  /** What becomes of two values of one variable at one time. Default: "refuse". */
  readonly duplicates?: "refuse" | "mean" | "last";
  /** What becomes of a condition that the table of embeddings does not hold. Default: "refuse". */
  readonly unknownConditions?: "refuse" | "drop" | "keep";
}

/** A data set, and what had to be done to get it. */
export interface LongTable {
  readonly data: Trajectories;
  /** Values that were joined with another of the same subject, time and variable. */
  readonly duplicates: number;
  /** Tokens that were dropped because they have no embedding, with the number of records. */
  readonly dropped: ReadonlyMap<string, number>;
}

/**
 * A data set from measurements in any order. Variables are sorted: by number where all names are whole numbers, else by
 * letters. Two conditions at one time make two records in the authors' code; here they are an error.
 *
 * @throws {RangeError} One sentence: a value that occurs twice, a variable with two units or none, a time that cannot be
 *   read, or what {@link trajectories} refuses.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * const { data } = fromLongRows([
 *   { subject: 7, time: "2020-01-01 08:00:00", variable: "glucose", value: 5.1, unit: "mmol/L" },
 *   { subject: 7, time: "2020-01-01 14:00:00", variable: "glucose", value: 5.4, unit: "mmol/L" },
 * ]);
 * assert.equal(data.subjects[0].hours[1] - data.subjects[0].hours[0], 6);
 * ```
 */
export function fromLongRows(rows: readonly LongRow[], options: LongTableOptions = {}): LongTable {
  const { name = "long table", conditions, actsOn, duplicates: policy = "refuse", unknownConditions = "refuse" } =
    options;
  const variables = variablesOf(rows, options.units);
  const column = new Map(variables.map((variable, v) => [variable.name, v]));
  const subjects = new Map<string, Map<number, { cells: number[][]; condition?: string }>>();
  const dropped = new Map<string, number>();
  let duplicates = 0;
  for (const row of rows) {
    const id = String(row.subject);
    const hour = hoursOf(row.time, id);
    const records = subjects.get(id) ?? new Map<number, { cells: number[][]; condition?: string }>();
    subjects.set(id, records);
    const record = records.get(hour) ?? { cells: variables.map(() => []) };
    records.set(hour, record);
    const condition = row.condition ?? NO_CONDITION;
    if (record.condition !== undefined && record.condition !== condition) {
      throw new RangeError(
        `subject "${id}" has two conditions at ${row.time}, ${record.condition} and ${condition}; join them with ";"`,
      );
    }
    record.condition = condition;
    if (row.value === null || Number.isNaN(row.value)) continue;
    const cell = record.cells[column.get(String(row.variable))!];
    if (cell.length) {
      if (policy === "refuse") {
        throw new RangeError(
          `subject "${id}" has two values of ${row.variable} at ${row.time}; pass duplicates: "mean" or "last"`,
        );
      }
      duplicates++;
      if (policy === "last") cell.length = 0;
    }
    cell.push(row.value);
  }
  const known = (token: string) => {
    if (!conditions || unknownConditions !== "drop" || token === NO_CONDITION) return token;
    const kept = token.split(";").filter((one) => {
      const found = conditions.vectors.has(one);
      if (!found) dropped.set(one, (dropped.get(one) ?? 0) + 1);
      return found;
    });
    return kept.join(";") || NO_CONDITION;
  };
  const raw = [...subjects].sort(([a], [b]) => inOrder(a, b)).map(([id, records]): RawTrajectory => {
    const sorted = [...records].sort(([a], [b]) => a - b);
    return {
      id,
      hours: sorted.map(([hour]) => hour),
      values: sorted.map(([, { cells }]) =>
        cells.map((cell) => cell.length ? cell.reduce((sum, value) => sum + value, 0) / cell.length : null)
      ),
      conditions: sorted.map(([, { condition }]) => known(condition ?? NO_CONDITION)),
    };
  });
  const data = trajectories(raw, {
    name,
    variables,
    ...(conditions ? { conditions } : {}),
    ...(actsOn ? { actsOn } : {}),
    unknownConditions: unknownConditions === "keep" ? "keep" : "refuse",
  });
  return { data, duplicates, dropped };
}

/**
 * Reads a long table: tab- or comma-separated text, or Parquet.
 *
 * @throws {Error | RangeError} One sentence with the file's name, or what {@link fromLongRows} refuses.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * const file = await Deno.makeTempFile({ suffix: ".csv" });
 * await Deno.writeTextFile(file, "subject_id\tcharttime\titemid\tvaluenum\taction\n1\t2020-01-01 00:00:01\t50931\t99\tNone\n");
 * const { data } = await readLongTable(file, { units: { 50931: "mg/dL" } });
 * assert.deepEqual(data.variables, [{ name: "50931", unit: "mg/dL" }]);
 * await Deno.remove(file);
 * ```
 */
export async function readLongTable(file: string | URL, options: LongTableOptions = {}): Promise<LongTable> {
  const path = pathOf(file);
  const rows = path.toLowerCase().endsWith(".parquet")
    ? await parquetRows(file)
    : textRowsOf(path, await readText(file));
  return fromLongRows(rows, { name: path.split("/").at(-1)!, ...options });
}

async function readText(file: string | URL): Promise<string> {
  return new TextDecoder().decode(await readBytes(file));
}

function textRowsOf(path: string, text: string): LongRow[] {
  const header = text.slice(0, text.indexOf("\n"));
  const separator = header.includes("\t") ? "\t" : ",";
  const names = header.trim().split(separator);
  const wanted = ["subject_id", "charttime", "itemid", "valuenum"];
  const extra = ["action", "valueuom"].filter((name) => names.includes(name));
  return textRows(text, [...wanted, ...extra], path, separator).map((cells) => {
    const cell = (name: string) => cells[[...wanted, ...extra].indexOf(name)];
    return longRow({ ...Object.fromEntries([...wanted, ...extra].map((name) => [name, cell(name)])) }, path);
  });
}

async function parquetRows(file: string | URL): Promise<LongRow[]> {
  const table = await readTable(file);
  const missing = ["subject_id", "charttime", "itemid", "valuenum"].find((name) => !table.columns.includes(name));
  if (missing) throw new Error(`${pathOf(file)} has no column "${missing}"; it has ${table.columns.join(", ")}`);
  return table.toRecords().map((record) => longRow(record as Record<string, unknown>, pathOf(file)));
}

function longRow(record: Record<string, unknown>, path: string): LongRow {
  const { subject_id, charttime, itemid, valuenum, action, valueuom } = record;
  const blank = valuenum === null || valuenum === undefined || valuenum === "";
  const value = blank ? null : Number(valuenum);
  if (value !== null && Number.isNaN(value)) {
    throw new Error(
      `${path}: the value of ${itemid} at ${charttime} is ${JSON.stringify(valuenum)}; write a number or nothing`,
    );
  }
  return {
    subject: String(subject_id),
    time: charttime instanceof Date ? charttime.toISOString().slice(0, 19) : charttime as string | number,
    variable: String(itemid),
    value,
    ...(action ? { condition: String(action) } : {}),
    ...(valueuom ? { unit: String(valueuom) } : {}),
  };
}

function variablesOf(rows: readonly LongRow[], units: LongTableOptions["units"]): Variable[] {
  const found = new Map<string, string>();
  for (const row of rows) {
    const name = String(row.variable);
    const said = units === "unknown" ? "?" : units?.[name] ?? row.unit ?? "";
    const before = found.get(name);
    if (before && said && before !== said) {
      throw new RangeError(`the variable "${name}" has two units, ${before} and ${said}; convert the values of one`);
    }
    found.set(name, before || said);
  }
  return [...found].sort(([a], [b]) => inOrder(a, b)).map(([name, unit]) => ({ name, unit }));
}

/** Numbers by value, the rest by letters. */
function inOrder(a: string, b: string): number {
  const [x, y] = [Number(a), Number(b)];
  if (!Number.isNaN(x) && !Number.isNaN(y)) return x - y;
  return a < b ? -1 : Number(a > b);
}

/** `2150-03-01 07:30:00` as hours since 1970-01-01 00:00, to the second; a number is hours already. */
function hoursOf(time: string | number, subject: string): number {
  if (typeof time === "number") return time;
  const parts = time.match(/^(\d{4})-(\d\d)-(\d\d)(?:[ T](\d\d):(\d\d)(?::(\d\d))?)?/);
  if (!parts) {
    const hours = Number(time);
    if (time.trim() !== "" && Number.isFinite(hours)) return hours;
    throw new RangeError(
      `subject "${subject}": the time ${JSON.stringify(time)} cannot be read; write 2150-03-01 07:30:00`,
    );
  }
  const [, year, month, day, hour = 0, minute = 0, second = 0] = parts.map(Number);
  const date = new Date(0);
  date.setUTCFullYear(year, month - 1, day); // Date.UTC reads years below 100 as 19..
  date.setUTCHours(hour || 0, minute || 0, second || 0);
  return date.getTime() / 3_600_000;
}
