/**
 * Tables: the paper's numbers beside ours, as Markdown.
 *
 * @module
 */
import { mean, meanInterval } from "../stats.ts";
import { readBytes } from "../data/files.ts";
import { numberAgreement, orderAgreement, type Pair } from "./agreement.ts";
import { fromCSV } from "./csv.ts";
import type { Paper, Row, Value } from "./experiment.ts";

/**
 * Lays published numbers beside ours: one line per line of the paper's table, with `ours` (the mean over the rows that
 * belong to it, null where there is none), `lowest` and `highest` over its seeds, `rows`, `paper` and `difference`.
 *
 * @throws {RangeError} Where the paper's table lacks the compared column, shares no setting with the rows, or names a row
 *   whose compared value is no number.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * const folder = await Deno.makeTempDir();
 * const table = new URL(`file://${folder}/paper.csv`);
 * await Deno.writeTextFile(table, "method,accuracy,page\ntome,0.9,4\n");
 * const rows = [{ method: "tome", seed: 1, accuracy: 0.5 }, { method: "tome", seed: 2, accuracy: 0.7 }];
 * const [line] = await besidePaper(rows, { cite: "A. Author 2023", table, compare: "accuracy" });
 * assert.deepEqual([line.method, line.ours, line.paper, line.page, line.rows], ["tome", 0.6, 0.9, 4, 2]);
 * await Deno.remove(folder, { recursive: true });
 * ```
 */
export async function besidePaper(rows: readonly Row[], paper: Paper): Promise<Row[]> {
  return (await matched(rows, paper)).map(({ line, values, published }) => besideOf(line, values, published));
}

function besideOf(line: Row, values: readonly number[], published: number | null): Row {
  const ours = values.length ? mean(values) : null;
  return {
    ...line,
    ours,
    lowest: values.length ? Math.min(...values) : null,
    highest: values.length ? Math.max(...values) : null,
    rows: values.length,
    paper: published,
    difference: ours === null || published === null ? null : ours - published,
  };
}

/** Columns of a paper's table that say how a line is compared, and are not shown beside the rest. */
const SPREAD = "spread", NOT_COMPARABLE = "not_comparable";

/**
 * Lays published numbers beside ours as `besidePaper` does, with our 95 % interval over seeds (`low`, `high`), and says
 * of each line how the two agree (`agreement`, `reason`): by its number, or with `as: "order"` by the order of the lines,
 * which then all have the same word, and no difference. Two more columns of the paper's table count: `spread`, what the publication says of
 * its precision, and `not_comparable`, a reason known before.
 *
 * @throws {RangeError} As `besidePaper`.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * const folder = await Deno.makeTempDir();
 * const table = new URL(`file://${folder}/paper.csv`);
 * await Deno.writeTextFile(table, "method,accuracy\ntome,0.9\nevit,0.8\n");
 * const rows = [{ method: "tome", seed: 1, accuracy: 0.6 }, { method: "evit", seed: 1, accuracy: 0.5 }];
 * const lines = await reproduction(rows, { cite: "A. Author 2023", table, compare: "accuracy", as: "order" });
 * assert.deepEqual(lines.map(({ agreement }) => agreement), ["same order", "same order"]);
 * await Deno.remove(folder, { recursive: true });
 * ```
 */
export async function reproduction(rows: readonly Row[], paper: Paper): Promise<Row[]> {
  const lines = (await matched(rows, paper)).map(({ line, values, published }) => {
    const { [SPREAD]: spread = null, [NOT_COMPARABLE]: notComparable = null, ...shown } = line;
    const pair: Pair = {
      name: Object.values(shown).join(" "),
      ours: values,
      paper: published,
      spread: typeof spread === "number" ? spread : null,
      notComparable: notComparable === null ? null : String(notComparable),
    };
    return { shown, pair };
  });
  const groups = Map.groupBy(lines, ({ shown }) => JSON.stringify((paper.within ?? []).map((name) => shown[name])));
  const ofGroup = new Map([...groups].flatMap(([, group]) => {
    const agreement = orderAgreement(group.map(({ pair }) => pair));
    return group.map(({ pair }) => [pair, agreement] as const);
  }));
  return lines.map(({ shown, pair }) => {
    const { low, high } = pair.ours.length > 1 ? meanInterval(pair.ours) : { low: null, high: null };
    const { agreement, reason } = paper.as === "order" ? ofGroup.get(pair)! : numberAgreement(pair);
    const { difference, ...beside } = besideOf(shown, pair.ours, pair.paper);
    // numbers whose order alone is compared are of different kinds, and have no difference
    return { ...beside, ...(paper.as === "order" ? {} : { difference }), low, high, agreement, reason };
  });
}

/** The lines of the paper's table, each with our values of the rows that belong to it. */
async function matched(
  rows: readonly Row[],
  { table, compare }: Paper,
): Promise<{ line: Row; values: number[]; published: number | null }[]> {
  const published = fromCSV(new TextDecoder().decode(await readBytes(table)), table.pathname);
  const shared = Object.keys(published[0] ?? {}).filter((column) => column !== compare && rows[0] && column in rows[0]);
  if (published[0] && !(compare in published[0])) {
    throw new RangeError(`${table.pathname} has no column ${compare}, which is to be compared; name it in \`compare\``);
  }
  if (rows.length && !shared.length) {
    throw new RangeError(
      `${table.pathname} shares no column with the rows (${Object.keys(rows[0]).join(", ")}); name its settings so`,
    );
  }
  return published.map(({ [compare]: paper, ...line }) => {
    const own = rows.filter((row) => shared.every((column) => row[column] === line[column]))
      .map((row) => row[compare] ?? null).filter((value) => value !== null);
    if (own.some((value) => typeof value !== "number") || (paper !== null && typeof paper !== "number")) {
      throw new RangeError(`column ${compare} holds text, which cannot be compared; name a column of numbers`);
    }
    return { line, values: own as number[], published: paper };
  });
}

/**
 * A table as Markdown: numbers to the right, with `digits` significant ones; null as a dash.
 *
 * @param rows All with the columns of the first.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * assert.equal(markdownTable([{ a: "x", b: 1.23456 }]), "| a | b |\n| --- | ---: |\n| x | 1.23 |\n");
 * ```
 */
export function markdownTable(rows: readonly Row[], digits = 3): string {
  const columns = Object.keys(rows[0] ?? {});
  const line = (cells: readonly string[]) => `| ${cells.join(" | ")} |\n`;
  const numeric = columns.map((column) => rows.some((row) => typeof row[column] === "number"));
  return line(columns) + line(numeric.map((is) => is ? "---:" : "---")) +
    rows.map((row) => line(columns.map((column) => cellText(row[column] ?? null, digits)))).join("");
}

function cellText(value: Value, digits: number): string {
  if (value === null) return "-";
  if (typeof value !== "number") return String(value).replaceAll("|", "\\|");
  if (Number.isInteger(value)) return String(value);
  const size = Math.floor(Math.log10(Math.abs(value)));
  return size < -4 ? value.toExponential(digits - 1) : value.toFixed(Math.max(0, digits - 1 - size));
}
