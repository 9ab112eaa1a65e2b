/**
 * Running an experiment: what is missing is computed, row by row; Stop and failing rows lose nothing.
 *
 * @module
 */
import { pathOf } from "../data/files.ts";
import { stopSignal, tick } from "../stop.ts";
import {
  type Cell,
  cellsOf,
  type ColumnType,
  type Experiment,
  type Grid,
  RECORDED,
  type Row,
  type Task,
  type Value,
} from "./experiment.ts";
import { type FailedRow, hashOfData, keyOf, Store, type StoredRow } from "./store.ts";

/** One row of an experiment: where it stands, what it is of, and its key. */
export interface PlannedRow<G extends Grid> extends Task<G> {
  /** From 1, as in the table. */
  readonly number: number;
  readonly key: string;
}

/**
 * All rows of an experiment with their keys, in the order of its table; `rows` leaves the numbers from..to.
 *
 * @throws {RangeError} Where `rows` leaves none.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { defineExperiment } from "tessera/experiment/mod.ts";
 * const experiment = defineExperiment({ name: "e", version: 1, question: "?", grid: { a: [1, 2, 3] }, row: () => ({}) });
 * assert.deepEqual(planOf(experiment, [2, 3]).map(({ number, cell }) => [number, cell.a]), [[2, 2], [3, 3]]);
 * ```
 */
export function planOf<G extends Grid, R extends Row>(
  experiment: Experiment<G, R>,
  rows?: readonly [from: number, to: number],
): PlannedRow<G>[] {
  const data = hashOfData(experiment.data);
  const all = cellsOf(experiment);
  const [from, to] = rows ?? [1, all.length];
  if (!(Number.isInteger(from) && Number.isInteger(to) && from >= 1 && from <= to && to <= all.length)) {
    throw new RangeError(
      `experiment ${experiment.name} has the rows 1..${all.length}, but ${from}..${to} are wanted; name some of its rows`,
    );
  }
  return all.map((task, i) => ({
    ...task,
    number: i + 1,
    key: keyOf(experiment, task.cell, task.seed, data),
  })).slice(from - 1, to);
}

/**
 * Computes one row.
 *
 * @throws Whatever the experiment throws; {RangeError} where a result is called like what every row has already, or holds
 *   something else than its column.
 */
export async function computeRow<G extends Grid, R extends Row>(
  experiment: Experiment<G, R>,
  { cell, seed, key }: PlannedRow<G>,
  { signal, commit, backend }: { readonly signal: AbortSignal; readonly commit: string; readonly backend?: string },
): Promise<StoredRow> {
  const start = performance.now();
  const results = [await experiment.row(cell, { seed, signal, fast: experiment.isFast })].flat() as Row[];
  for (const result of results) refuseUnfit(experiment, result);
  const seconds = Number(((performance.now() - start) / 1000).toFixed(3));
  return {
    key,
    cell,
    seed,
    results,
    seconds,
    commit,
    backend: backend ?? String((await import("../tensor/mod.ts")).backend),
  };
}

/** Above so many rows, or for rows that take less than a second, rows are lines and not files. */
const MANY_ROWS = 10_000;

/** The store of an experiment as a writer sees it; `writer` must be unique, and must not be used again after a crash. */
export function storeFor<G extends Grid, R extends Row>(
  experiment: Experiment<G, R>,
  folder: string | URL,
  writer: string,
): Store {
  const asLines = cellsOf(experiment).length > MANY_ROWS || (experiment.rowSeconds ?? Infinity) < 1;
  return new Store(folder, asLines ? writer : undefined);
}

/** How to run. */
export interface RunOptions<G extends Grid> {
  /** The experiment's folder, where `rows/` and `rows.csv` lie. */
  readonly folder: string | URL;
  /** Which cells. Default: all. */
  readonly only?: (cell: Cell<G>) => boolean;
  /** Which rows, as numbers from 1 in the order of the table, the last included. Default: all. */
  readonly rows?: readonly [from: number, to: number];
  /** Run rows again that are there. Default: false. */
  readonly again?: boolean;
  /** What is recorded as `backend`. Default: the backend of tensors. */
  readonly backend?: string;
  /** Told after each row. */
  readonly onRow?: (done: { task: Task<G>; row?: StoredRow; error?: unknown; left: number }) => void;
}

/** What a run did, in rows. */
export interface RunReport<G extends Grid> {
  readonly ran: number;
  /** Those that were there. */
  readonly kept: number;
  /** Those that threw; the next run tries them again. */
  readonly failed: readonly { readonly task: Task<G>; readonly error: unknown }[];
}

/**
 * Runs the rows that are missing. A row that throws is told in the report and recorded, and the others go on. When Stop is
 * pressed the rows so far are kept, and the next run goes on where this one stopped.
 *
 * @throws {RangeError} Where `only` or `rows` leave nothing.
 * @throws {Error} Where a row cannot be kept, because the disk is full, say: those before it are.
 * @throws {DOMException} "AbortError", when Stop was pressed.
 *
 * @example A second run computes nothing
 * ```ts
 * import assert from "node:assert/strict";
 * import { defineExperiment } from "tessera/experiment/mod.ts";
 * const grid = { a: [1, 2] };
 * const experiment = defineExperiment({ name: "e", version: 1, question: "?", grid, row: ({ a }) => ({ square: a * a }) });
 * const folder = await Deno.makeTempDir();
 * assert.equal((await runExperiment(experiment, { folder, backend: "none" })).ran, 2);
 * assert.equal((await runExperiment(experiment, { folder, backend: "none" })).kept, 2);
 * const rows = await collect(experiment, { folder });
 * assert.deepEqual(rows.map(({ a, square }) => [a, square]), [[1, 1], [2, 4]]);
 * await Deno.remove(folder, { recursive: true });
 * ```
 */
export async function runExperiment<G extends Grid, R extends Row>(
  experiment: Experiment<G, R>,
  { folder, only = () => true, rows, again = false, backend, onRow }: RunOptions<G>,
): Promise<RunReport<G>> {
  const plan = planOf(experiment, rows).filter(({ cell }) => only(cell));
  if (!plan.length) {
    throw new RangeError(`experiment ${experiment.name} has no row that fits; look at its grid in experiment.ts`);
  }
  const store = again ? new Store(folder) : storeFor(experiment, folder, crypto.randomUUID());
  const there = presentKeys(store);
  const commit = commitOf(folder);
  const failed: { task: Task<G>; error: unknown }[] = [];
  let ran = 0;
  const signal = stopSignal();
  for (const [i, task] of plan.entries()) {
    await tick();
    signal.throwIfAborted();
    if (!again && there.has(task.key)) continue;
    const left = plan.length - 1 - i;
    let row: StoredRow;
    try {
      row = await computeRow(experiment, task, { signal, commit, backend });
    } catch (error) {
      if (signal.aborted) throw error;
      failed.push({ task, error });
      await store.fail(failureOf(task, commit, error));
      onRow?.({ task, error, left });
      continue;
    }
    if (again) await store.remove(task.key);
    await store.add(row);
    ran++;
    onRow?.({ task, row, left });
  }
  return { ran, kept: plan.length - ran - failed.length, failed };
}

/** The keys of the rows that need not be run: run here, or collected. */
export function presentKeys(store: Store): Set<string> {
  return new Set([...store.keys(), ...store.collected().map(({ key }) => String(key))]);
}

/** A row that threw, as it is recorded. */
export function failureOf({ key, cell, seed }: PlannedRow<Grid>, commit: string, error: unknown): FailedRow {
  return { key, cell, seed, commit, error: error instanceof Error ? error.stack ?? error.message : String(error) };
}

/**
 * Collects the rows into `rows.csv`, in the order of the grid, and returns them: settings, seed, results, then what is
 * recorded. Each column holds one type in all rows: what `columns` of the experiment says, else what the rows hold; null
 * where a number could not be computed. A hundred thousand rows take about two seconds. Rows of another version, configuration or state of the data are left out; of a row that was run here and is
 * in `rows.csv` too, the one that was run here counts.
 *
 * @throws {RangeError} Where two rows hold different types in one column.
 *
 * @example See `runExperiment`
 * ```ts
 * import assert from "node:assert/strict";
 * import { defineExperiment } from "tessera/experiment/mod.ts";
 * const folder = await Deno.makeTempDir();
 * const experiment = defineExperiment({ name: "e", version: 1, question: "?", grid: { a: [1] }, row: () => ({ b: 1 }) });
 * assert.deepEqual(await collect(experiment, { folder }), []); // nothing has been run
 * await Deno.remove(folder, { recursive: true });
 * ```
 */
export async function collect<G extends Grid, R extends Row>(
  experiment: Experiment<G, R>,
  { folder }: { readonly folder: string | URL },
): Promise<Row[]> {
  const store = new Store(folder);
  const old = Map.groupBy(store.collected(), ({ key }) => key);
  const lines = planOf(experiment).flatMap(({ cell, seed, key }): readonly Row[] => {
    const row = store.get(key);
    if (!row) return old.get(key) ?? [];
    const { seconds, commit, backend } = row;
    return row.results.map((result) => ({ ...cell, seed, ...result, key, seconds, commit, backend }));
  });
  refuseMixed(experiment.name, lines);
  await store.collect(lines);
  return lines;
}

function refuseUnfit({ name, grid, columns }: Pick<Experiment, "name" | "grid" | "columns">, result: Row): void {
  for (const [column, value] of Object.entries(result)) {
    if (column in grid || (RECORDED as readonly string[]).includes(column)) {
      throw new RangeError(
        `a row of experiment ${name} gives ${column}, which every row has already; call it otherwise`,
      );
    }
    const wanted = columns?.[column];
    if (wanted !== undefined && value !== null && typeOf(value) !== wanted) {
      throw new RangeError(
        `column ${column} of experiment ${name} holds a ${wanted}, but a row gives ${JSON.stringify(value)}; ` +
          "give that, or null where it could not be computed",
      );
    }
  }
}

/** Two rows that hold different things in one column would make a table that no program reads as it was meant. */
function refuseMixed(name: string, lines: readonly Row[]): void {
  const types = new Map<string, ColumnType>();
  for (const line of lines) {
    for (const [column, value] of Object.entries(line)) {
      if (value === null) continue;
      const type = typeOf(value);
      const before = types.get(column) ?? type;
      if (before !== type) {
        throw new RangeError(
          `column ${column} of experiment ${name} holds a ${before} in one row and ${
            JSON.stringify(value)
          } in another; ` +
            "let all rows give the same, and run those that differ again",
        );
      }
      types.set(column, type);
    }
  }
}

function typeOf(value: Exclude<Value, null>): ColumnType {
  return typeof value === "string" ? "text" : typeof value as "number" | "boolean";
}

/** The commit that the folder's project is at, with a + where files have changed since; empty without git. */
export function commitOf(folder: string | URL): string {
  try {
    const git = (...args: string[]) =>
      new TextDecoder().decode(
        new Deno.Command("git", { args, cwd: pathOf(folder), stderr: "null" }).outputSync().stdout,
      ).trim();
    const commit = git("rev-parse", "--short=12", "HEAD");
    return commit && commit + (git("status", "--porcelain", "--untracked-files=no") ? "+" : "");
  } catch {
    return "";
  }
}
