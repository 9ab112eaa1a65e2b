/**
 * Running an experiment: what is missing is computed, row by row; Stop and failing rows lose nothing.
 *
 * @module
 */
import { pathOf } from "../data/files.ts";
import { stopSignal, tick } from "../stop.ts";
import { type Cell, cellsOf, type Experiment, type Grid, RECORDED, type Row, type Task } from "./experiment.ts";
import { hashOfData, keyOf, Store, type StoredRow } from "./store.ts";

/** How to run. */
export interface RunOptions<G extends Grid> {
  /** The experiment's folder, where `rows/` and `rows.csv` lie. */
  readonly folder: string | URL;
  /** Which cells. Default: all. */
  readonly only?: (cell: Cell<G>) => boolean;
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
 * Runs the rows that are missing. A row that throws is told in the report, and the others go on. When Stop is pressed the
 * rows so far are kept, and the next run goes on where this one stopped.
 *
 * @throws {RangeError} Where `only` leaves no cell.
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
  { folder, only = () => true, again = false, backend, onRow }: RunOptions<G>,
): Promise<RunReport<G>> {
  const tasks = cellsOf(experiment).filter(({ cell }) => only(cell));
  if (!tasks.length) {
    throw new RangeError(`experiment ${experiment.name} has no row that fits; look at its grid in experiment.ts`);
  }
  const data = hashOfData(experiment.data);
  const store = new Store(folder);
  const collected = new Set(store.collected().map(({ key }) => key));
  const commit = commitOf(folder);
  const failed: { task: Task<G>; error: unknown }[] = [];
  let ran = 0;
  const signal = stopSignal();
  for (const [i, task] of tasks.entries()) {
    await tick();
    signal.throwIfAborted();
    const key = keyOf(experiment, task.cell, task.seed, data);
    if (!again && (collected.has(key) || store.get(key))) continue;
    const start = performance.now();
    const left = tasks.length - 1 - i;
    try {
      const results = [await experiment.row(task.cell, { seed: task.seed, signal })].flat() as Row[];
      for (const result of results) refuseTaken(experiment, result);
      const row: StoredRow = {
        key,
        cell: task.cell,
        seed: task.seed,
        results,
        seconds: Number(((performance.now() - start) / 1000).toFixed(3)),
        commit,
        backend: backend ?? String((await import("../tensor/mod.ts")).backend),
      };
      if (again) await store.remove(key);
      await store.add(row);
      ran++;
      onRow?.({ task, row, left });
    } catch (error) {
      if (signal.aborted) throw error;
      failed.push({ task, error });
      onRow?.({ task, error, left });
    }
  }
  return { ran, kept: tasks.length - ran - failed.length, failed };
}

/**
 * Collects the rows into `rows.csv`, in the order of the grid, and returns them: settings, seed, results, then what is
 * recorded. Rows of another version, configuration or state of the data are left out; of a row that was run here and is
 * in `rows.csv` too, the one that was run here counts.
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
  const data = hashOfData(experiment.data);
  const store = new Store(folder);
  const old = Map.groupBy(store.collected(), ({ key }) => key);
  const lines = cellsOf(experiment).flatMap(({ cell, seed }): readonly Row[] => {
    const key = keyOf(experiment, cell, seed, data);
    const row = store.get(key);
    if (!row) return old.get(key) ?? [];
    const { seconds, commit, backend } = row;
    return row.results.map((result) => ({ ...cell, seed, ...result, key, seconds, commit, backend }));
  });
  await store.collect(lines);
  return lines;
}

function refuseTaken({ name, grid }: Pick<Experiment, "name" | "grid">, result: Row): void {
  const taken = Object.keys(result).find((column) =>
    column in grid || (RECORDED as readonly string[]).includes(column)
  );
  if (taken === undefined) return;
  throw new RangeError(`a row of experiment ${name} gives ${taken}, which every row has already; call it otherwise`);
}

/** The commit that the folder's project is at, with a + where files have changed since; empty without git. */
function commitOf(folder: string | URL): string {
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
