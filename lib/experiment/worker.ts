/**
 * A process that computes rows: it loads TensorFlow once and takes many. The pool tells it row by row what to do; in a
 * job of a cluster it takes the lines of a list that was frozen when the job was submitted.
 *
 * ```sh
 * deno run -A lib/experiment/worker.ts MODULE [--fast] [--again]     # numbers of rows come in, one a line
 * deno run -A lib/experiment/worker.ts --job FOLDER                  # the part of SLURM_ARRAY_TASK_ID
 * ```
 *
 * @module
 */
import { hostname } from "node:os";
import { TextLineStream } from "./lines.ts";
import { pathOf } from "../data/files.ts";
import { stopSignal } from "../stop.ts";
import type { Experiment } from "./experiment.ts";
import { commitOf, computeRow, failureOf, type PlannedRow, planOf, presentKeys, storeFor } from "./run.ts";
import { Store } from "./store.ts";
import { type Declared, experimentAt, folderOf } from "./declared.ts";
import { readJob } from "./job.ts";

/** Begins each line that a worker says to its pool; what a row prints does not. */
export const SAYS = "\x1e";

/** What a worker says of a row. */
export interface Said {
  readonly number: number;
  readonly seconds?: number;
  /** Of a row that threw: the first line. */
  readonly error?: string;
  /** What makes it pointless to go on: a full disk, say. */
  readonly fatal?: string;
}

/** Computes rows of one experiment and keeps them. */
export class RowMaker {
  readonly #experiment: Experiment;
  readonly #plan: Map<number, PlannedRow<Experiment["grid"]>>;
  readonly #store: Store;
  readonly #there: ReadonlySet<string>;
  readonly #commit: string;
  readonly #again: boolean;

  constructor({ experiment, module }: Declared, { again = false, writer }: { again?: boolean; writer: string }) {
    const folder = folderOf(module, experiment);
    this.#experiment = experiment;
    this.#again = again;
    Deno.mkdirSync(folder, { recursive: true });
    this.#store = again ? new Store(folder) : storeFor(experiment, folder, writer);
    this.#there = presentKeys(this.#store);
    this.#plan = new Map(planOf(experiment).map((row) => [row.number, row]));
    this.#commit = commitOf(pathOf(new URL("./", module)));
  }

  /** Whether somebody has computed it meanwhile. */
  has(number: number): boolean {
    const { key } = this.#row(number);
    return this.#there.has(key) || this.#store.get(key) !== undefined;
  }

  /** Computes a row and keeps it; a row that throws is recorded. Errors of keeping are thrown. */
  async make(number: number, signal: AbortSignal): Promise<Said> {
    const planned = this.#row(number);
    try {
      const row = await computeRow(this.#experiment, planned, { signal, commit: this.#commit });
      await this.#keep(row);
      return { number, seconds: row.seconds };
    } catch (error) {
      if (signal.aborted || error instanceof NotKept) throw error;
      await this.#store.fail(failureOf(planned, this.#commit, error));
      return { number, error: (error instanceof Error ? error.message : String(error)).split("\n")[0] };
    }
  }

  async #keep(row: Awaited<ReturnType<typeof computeRow>>): Promise<void> {
    try {
      if (this.#again) await this.#store.remove(row.key);
      await this.#store.add(row);
    } catch (cause) {
      throw new NotKept(cause instanceof Error ? cause.message : String(cause), { cause });
    }
  }

  #row(number: number): PlannedRow<Experiment["grid"]> {
    const row = this.#plan.get(number);
    if (!row) throw new RangeError(`there is no row ${number}; the experiment has 1..${this.#plan.size}`);
    return row;
  }
}

/** A computed row could not be written. */
class NotKept extends Error {}

/** Lines from the pool, each the number of a row. */
async function serve(module: URL, fast: boolean, again: boolean): Promise<void> {
  const say = (said: Said) => Deno.stdout.writeSync(new TextEncoder().encode(`${SAYS}${JSON.stringify(said)}\n`));
  const maker = new RowMaker(await experimentAt(module, fast), { again, writer: crypto.randomUUID() });
  const signal = stopSignal();
  say({ number: 0 }); // ready
  for await (const line of Deno.stdin.readable.pipeThrough(new TextDecoderStream()).pipeThrough(new TextLineStream())) {
    const number = Number(line);
    try {
      say(await maker.make(number, signal));
    } catch (error) {
      if (signal.aborted) return;
      return void say({ number, fatal: error instanceof Error ? error.message : String(error) });
    }
  }
}

/** One task of a job: its part of the frozen list. Its row is given up when the time limit is near, none is lost. */
async function serveJob(folder: string): Promise<boolean> {
  const job = await readJob(folder);
  const task = Number(Deno.env.get("SLURM_ARRAY_TASK_ID") ?? "0");
  const attempt = Deno.env.get("SLURM_RESTART_COUNT") ?? "0";
  const numbers = job.numbers.slice(task * job.chunk, (task + 1) * job.chunk);
  console.log(
    `task ${task}, attempt ${attempt}, on ${Deno.env.get("SLURMD_NODENAME") ?? hostname()}: rows ${numbers.join(" ")}`,
  );
  const declared = await experimentAt(new URL(job.module), job.fast);
  const maker = new RowMaker(declared, { writer: `${job.name}-${task}-${attempt}-${crypto.randomUUID().slice(0, 8)}` });
  const end = new AbortController();
  for (const signal of ["SIGUSR1", "SIGTERM"] as const) {
    Deno.addSignalListener(signal, () => end.abort(new DOMException(`the cluster sent ${signal}`, "AbortError")));
  }
  let failed = false;
  for (const number of numbers) {
    if (end.signal.aborted) break;
    if (maker.has(number)) continue;
    try {
      const said = await maker.make(number, end.signal);
      console.log(
        said.error === undefined ? `row ${number}: ${said.seconds} s` : `row ${number} failed: ${said.error}`,
      );
      failed ||= said.error !== undefined;
    } catch (error) {
      if (!end.signal.aborted) throw error;
      console.log(`row ${number} was given up (${end.signal.reason.message}); submit again and it is computed`);
    }
  }
  return !failed;
}

if (import.meta.main) {
  console.log = Deno.args[0] === "--job" ? console.log : console.error; // standard output is the pool's
  if (Deno.args[0] === "--job") Deno.exit(await serveJob(Deno.args[1]) ? 0 : 1);
  await serve(new URL(Deno.args[0]), Deno.args.includes("--fast"), Deno.args.includes("--again"));
  Deno.exit(0);
}
