/**
 * Errors as people see them: the message, the cell's line with a mark under the column, and a stack trace of cells and
 * files.
 *
 * @module
 */
import type { Cell } from "./cell.ts";
import type { Place } from "./text_edits.ts";

const LONGEST_LINE = 160;
/** The message of whatever Stop has ended; `lib/stop.ts` says it too. */
export const STOPPED = "stopped by the user";

/** An error output: what is shown, and for programs the cell, line and column. */
export interface ErrorOutput {
  content: { ename: string; evalue: string; traceback: string[] };
  metadata: Record<string, unknown>;
}

/** Puts an error that the kernel reports into words. */
export function inWords(cell: Cell, error: Record<string, unknown>): ErrorOutput {
  const ename = String(error.ename || "Error");
  const evalue = cell.inWords(String(error.evalue ?? ""));
  const lines = (Array.isArray(error.traceback) ? error.traceback : []).map(String);
  const firstFrame = lines.findIndex((line) => /^\s+at /.test(line));
  const isStop = ename === "AbortError" && evalue === STOPPED;
  const frames = (firstFrame < 0 ? [] : lines.slice(firstFrame)).filter((line) => !isStop || line.includes("$cell_"));
  const head = (firstFrame < 0 ? lines : lines.slice(0, firstFrame)).join("\n");
  const where = cell.firstPlace(frames.join("\n")) ?? placeOfName(cell, ename, evalue);
  return errorAt(cell, { ename, evalue, head: head.includes(evalue) ? head : `${ename}: ${evalue}`, frames }, where);
}

/** An error of ours, at a place or none. */
export function errorAt(
  cell: Cell,
  { ename, evalue, head = `${ename}: ${evalue}`, frames = [] }: {
    ename: string;
    evalue: string;
    head?: string;
    frames?: string[];
  },
  where?: { cell: Cell; place: Place },
): ErrorOutput {
  const excerpt = where ? ["", ...excerptOf(where.cell, where.place)] : [];
  const trace = frames.length > 1 ? ["", ...frames.map((line) => cell.inWords(line))] : [];
  return {
    content: { ename, evalue, traceback: [...cell.inWords(head).split("\n"), ...excerpt, ...trace] },
    metadata: where
      ? { tessera: { cell: where.cell.executionCount, line: where.place.line, column: where.place.column } }
      : {},
  };
}

/** Where, and the line itself with a mark. */
function excerptOf(cell: Cell, { line, column }: Place): string[] {
  const text = cell.code.split("\n")[line - 1] ?? "";
  const from = Math.max(0, Math.min(column - LONGEST_LINE / 2, text.length - LONGEST_LINE));
  const shown = text.slice(from, from + LONGEST_LINE);
  const number = `${line} | `;
  return [
    `${cell.name}, line ${line}, column ${column}:`,
    `  ${number}${shown}`,
    `  ${" ".repeat(number.length)}${shown.slice(0, column - 1 - from).replace(/[^\t]/g, " ")}^`,
  ];
}

/** V8 says of a name that is declared twice only the name. */
function placeOfName(cell: Cell, ename: string, evalue: string): { cell: Cell; place: Place } | undefined {
  const name = ename === "SyntaxError"
    ? evalue.match(/^Identifier '([^']+)' has already been declared/)?.[1]
    : undefined;
  if (name === undefined) return undefined;
  const lines = cell.code.split("\n");
  const declares = new RegExp(
    `\\b(?:const|let|var|class|function|import)\\b[^=;]*?(?<![\\w$])${name.replaceAll("$", "\\$")}(?![\\w$])`,
  );
  const places = lines.flatMap((text, index) => {
    const found = declares.exec(text);
    return found ? [{ line: index + 1, column: found.index + found[0].length - name.length + 1 }] : [];
  });
  return places.length ? { cell, place: places.at(-1)! } : undefined;
}
