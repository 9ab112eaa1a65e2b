/**
 * Rows on this machine: a few worker processes, each of which loads TensorFlow once and takes one row after the other.
 *
 * @module
 */
import { availableParallelism } from "node:os";
import { fileURLToPath } from "node:url";
import { stopSignal, tick } from "../stop.ts";
import { type Declared, folderOf } from "./declared.ts";
import type { Row } from "./experiment.ts";
import { TextLineStream } from "./lines.ts";
import { commitOf, failureOf, type PlannedRow, planOf, presentKeys } from "./run.ts";
import { Store } from "./store.ts";
import { type Said, SAYS } from "./worker.ts";

/** How to run in a pool. */
export interface PoolOptions {
  /** Processes at once. Default: one for each two cores. */
  readonly workers?: number;
  /** Rows as numbers from 1, the last included. Default: all. */
  readonly rows?: readonly [from: number, to: number];
  /** Run rows again that are there. Default: false. */
  readonly again?: boolean;
  /** Told after each row. */
  readonly onRow?: (done: PoolProgress) => void;
}

/** Where a pool stands after a row. */
export interface PoolProgress {
  readonly number: number;
  readonly cell: Row;
  readonly seed: number;
  /** Of the row; absent where it threw. */
  readonly seconds?: number;
  readonly error?: string;
  /** Rows done, with those that threw, of all that had to be done. */
  readonly done: number;
  readonly of: number;
  /** About how many seconds the rest will take, from the rows so far. */
  readonly secondsLeft: number;
}

/** What a pool did, in rows. */
export interface PoolReport {
  readonly ran: number;
  readonly kept: number;
  readonly failed: readonly { readonly number: number; readonly error: string }[];
}

/** How often a worker may die before a row is done; after that something else is wrong than the rows. */
const DEATHS_IN_A_ROW = 3;

/**
 * Runs the rows that are missing, `workers` at a time. A row that throws, or takes its process down, is recorded and the
 * others go on. Stop ends the workers; rows that are done are kept.
 *
 * @throws {RangeError} Where `rows` names none, or `workers` is no whole number from 1.
 * @throws {Error} Where rows cannot be kept (a full disk), or workers die before they begin.
 * @throws {DOMException} "AbortError", when Stop was pressed.
 */
export async function runInPool(
  { experiment, module }: Declared,
  { workers = Math.max(1, Math.floor(availableParallelism() / 2)), rows, again = false, onRow }: PoolOptions = {},
): Promise<PoolReport> {
  if (!Number.isInteger(workers) || workers < 1) {
    throw new RangeError(`the number of workers must be a whole number from 1, but it is ${workers}`);
  }
  const folder = folderOf(module, experiment);
  await Deno.mkdir(folder, { recursive: true });
  const store = new Store(folder);
  const there = again ? new Set<string>() : presentKeys(store);
  const plan = planOf(experiment, rows);
  const todo = plan.filter(({ key }) => !there.has(key));
  const queue = [...todo];
  const commit = commitOf(folder);
  const failed: { number: number; error: string }[] = [];
  const started = performance.now();
  let done = 0;

  const finish = (row: PlannedRow<typeof experiment.grid>, said: Omit<Said, "number">) => {
    done++;
    if (said.error !== undefined) failed.push({ number: row.number, error: said.error });
    const secondsLeft = (performance.now() - started) / 1000 / done * (todo.length - done);
    onRow?.({ number: row.number, cell: row.cell, seed: row.seed, ...said, done, of: todo.length, secondsLeft });
  };

  const signal = stopSignal();
  const running = new Set<Worker>();
  const stop = () => running.forEach((worker) => worker.kill());
  signal.addEventListener("abort", stop);
  try {
    await Promise.all(Array.from({ length: Math.min(workers, todo.length) }, async () => {
      let worker: Worker | undefined;
      let deaths = 0;
      try {
        for (let row = queue.shift(); row; row = queue.shift()) {
          await tick();
          signal.throwIfAborted();
          worker ??= new Worker(module, { fast: experiment.isFast, again, workers });
          running.add(worker);
          const said = await worker.ask(row.number);
          signal.throwIfAborted();
          if (said?.fatal !== undefined) throw new Error(said.fatal);
          if (said) {
            deaths = 0;
            finish(row, said);
            continue;
          }
          const error = `its process ended (${await worker.lastWords()})`;
          if (++deaths === DEATHS_IN_A_ROW || !worker.begun) throw new Error(`row ${row.number}: ${error}`);
          await store.fail(failureOf(row, commit, new Error(error)));
          finish(row, { error });
          running.delete(worker);
          worker = undefined;
        }
      } catch (error) {
        queue.length = 0; // the others finish their rows and take no more
        throw signal.aborted ? signal.reason : error;
      } finally {
        if (worker) running.delete(worker);
        await worker?.end();
      }
    }));
  } finally {
    signal.removeEventListener("abort", stop);
    stop();
  }
  return { ran: todo.length - failed.length, kept: plan.length - todo.length, failed };
}

/** One process, and the talk with it. */
class Worker {
  readonly #child: Deno.ChildProcess;
  readonly #orders: WritableStreamDefaultWriter<Uint8Array>;
  readonly #answers: ReadableStreamDefaultReader<string>;
  readonly #complaints: Promise<string>;
  /** Whether it has loaded the experiment. */
  begun = false;

  constructor(module: URL, { fast, again, workers }: { fast: boolean; again: boolean; workers: number }) {
    const threads = Deno.env.get("TESSERA_THREADS") ??
      String(Math.max(1, Math.floor(availableParallelism() / workers)));
    this.#child = new Deno.Command(Deno.execPath(), {
      args: [
        "run",
        "-A",
        fileURLToPath(new URL("worker.ts", import.meta.url)),
        module.href,
        ...(fast ? ["--fast"] : []),
        ...(again ? ["--again"] : []),
      ],
      env: { TESSERA_THREADS: threads, NO_COLOR: "1" },
      stdin: "piped",
      stdout: "piped",
      stderr: "piped",
    }).spawn();
    this.#orders = this.#child.stdin.getWriter();
    this.#answers = this.#child.stdout.pipeThrough(new TextDecoderStream()).pipeThrough(new TextLineStream())
      .getReader();
    this.#complaints = lastLines(this.#child.stderr);
  }

  /** Has a row computed; undefined where the process died of it. */
  async ask(number: number): Promise<Said | undefined> {
    await this.#orders.write(new TextEncoder().encode(`${number}\n`)).catch(() => {}); // its end is seen below
    for (;;) {
      const { value, done } = await this.#answers.read();
      if (done) return undefined;
      if (!value.startsWith(SAYS)) continue;
      const said = JSON.parse(value.slice(SAYS.length)) as Said;
      if (said.number === number) return said;
      this.begun = true;
    }
  }

  /** How it ended, and what it said last. */
  async lastWords(): Promise<string> {
    const { code, signal } = await this.#child.status;
    const said = (await this.#complaints).trim();
    return `${signal ?? `exit code ${code}`}${said ? `: ${said}` : ""}`;
  }

  async end(): Promise<void> {
    await this.#orders.close().catch(() => {});
    await this.#answers.cancel();
    await this.#child.status;
  }

  kill(): void {
    try {
      this.#child.kill("SIGTERM");
    } catch {
      // it has ended by itself
    }
  }
}

/** The last lines of a stream that is read to its end, so that its writer never waits. */
async function lastLines(stream: ReadableStream<Uint8Array>, count = 5): Promise<string> {
  const lines: string[] = [];
  for await (const line of stream.pipeThrough(new TextDecoderStream()).pipeThrough(new TextLineStream())) {
    lines.push(line);
    if (lines.length > count) lines.shift();
  }
  return lines.join(" / ");
}
