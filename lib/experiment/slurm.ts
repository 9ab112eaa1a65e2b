/**
 * Rows on a Slurm cluster: the missing ones as a job array, in parts, each a worker with an index. What is true is in the
 * files of rows; the cluster is only asked what still waits or runs. To go on after anything at all, submit again.
 *
 * @module
 */
import { fileURLToPath } from "node:url";
import { mean } from "../stats.ts";
import { type Declared, folderOf } from "./declared.ts";
import { type Job, readJob, writeJob } from "./job.ts";
import { planOf, presentKeys } from "./run.ts";
import { Store } from "./store.ts";

/** How to submit. */
export interface SubmitOptions {
  /** Rows as numbers from 1, the last included. Default: all that are missing. */
  readonly rows?: readonly [from: number, to: number];
  /** Tasks at once, at most. Default: 50. */
  readonly cap?: number;
  /** Rows a task. Default: so many that a task takes about three minutes, and that there are at most 1000 tasks. */
  readonly chunk?: number;
  /** Time limit of a task in minutes. Default: three times what its rows should take, at least 10. */
  readonly minutes?: number;
  /** Processors a task. Default: 2. */
  readonly processors?: number;
  /** Further options of sbatch, such as `--partition=cpu`. */
  readonly options?: readonly string[];
}

/** Where a job stands. */
export interface JobStatus {
  readonly id: string;
  /** Tasks by the cluster's own words: PENDING, RUNNING, ... */
  readonly tasks: Readonly<Record<string, number>>;
}

/** Seconds that a task should take at least: a default Slurm leaves a processor idle for 1.8 s between two. */
const TASK_SECONDS = 180;
/** Slurm's default limit is 1001. */
const MOST_TASKS = 1000;
/** Seconds before the time limit at which a worker is told to stop. */
const WARNING_SECONDS = 60;

/**
 * Submits what is missing.
 *
 * @returns The job's number, how many rows and how many tasks; undefined where no row is missing.
 * @throws {RangeError} Where an option makes no sense.
 * @throws {Error} Where there is no sbatch, or it refuses.
 */
export async function submit(
  { experiment, module }: Declared,
  { rows, cap = 50, chunk, minutes, processors = 2, options = [] }: SubmitOptions = {},
): Promise<{ id: string; rows: number; tasks: number } | undefined> {
  for (const [name, value] of Object.entries({ cap, chunk, minutes, processors })) {
    if (value !== undefined && !(Number.isInteger(value) && value >= 1)) {
      throw new RangeError(`${name} must be a whole number from 1, but it is ${value}`);
    }
  }
  const folder = folderOf(module, experiment);
  await Deno.mkdir(folder, { recursive: true });
  const there = presentKeys(new Store(folder));
  const numbers = planOf(experiment, rows).filter(({ key }) => !there.has(key)).map(({ number }) => number);
  if (!numbers.length) return undefined;
  const seconds = experiment.rowSeconds ?? secondsSoFar(folder) ?? TASK_SECONDS;
  const perTask = chunk ??
    Math.max(1, Math.ceil(numbers.length / MOST_TASKS), Math.round(TASK_SECONDS / Math.max(seconds, 0.01)));
  const size = Math.min(perTask, numbers.length);
  const tasks = Math.ceil(numbers.length / size);
  const limit = minutes ?? Math.max(10, Math.ceil(3 * size * seconds / 60));

  const jobFolder = `${folder}rows/jobs/${new Date().toISOString().replaceAll(/[:.]/g, "-")}`;
  const job: Job = { name: experiment.name, module: module.href, fast: experiment.isFast, numbers, chunk: size };
  await writeJob(jobFolder, job);
  const worker = fileURLToPath(new URL("worker.ts", import.meta.url));
  await Deno.writeTextFile(
    `${jobFolder}/task.sh`,
    `#!/bin/sh
# Written by \`task experiment submit\`. exec, so that the cluster's signals reach the worker.
export TESSERA_THREADS=${processors}
exec ${quoted(Deno.execPath())} run -A ${quoted(worker)} --job ${quoted(jobFolder)}
`,
  );
  const id = await run("sbatch", [
    "--parsable",
    `--job-name=tessera-${experiment.name}`,
    `--array=0-${tasks - 1}%${cap}`,
    `--cpus-per-task=${processors}`,
    `--time=${limit}`,
    `--signal=B:USR1@${Math.min(WARNING_SECONDS, limit * 30)}`,
    "--requeue",
    "--open-mode=append", // a task that is started again goes on in its own log
    `--output=${jobFolder}/%a.log`,
    ...options,
    `${jobFolder}/task.sh`,
  ]);
  await writeJob(jobFolder, { ...job, id: id.trim().split(";")[0] });
  return { id: id.trim().split(";")[0], rows: numbers.length, tasks };
}

/**
 * What still waits or runs of an experiment's jobs.
 *
 * @throws {Error} Where there is no squeue.
 */
export async function jobStatus(declared: Declared): Promise<JobStatus[]> {
  const jobs = await jobsOf(declared);
  const known = jobs.length ? await run("squeue", ["-h", "-r", "-o", "%F %T"]) : "";
  return jobs.map(({ id }) => {
    const tasks: Record<string, number> = {};
    for (const line of known.split("\n")) {
      const [job, state] = line.trim().split(" ");
      if (job === id && state) tasks[state] = (tasks[state] ?? 0) + 1;
    }
    return { id, tasks };
  }).filter(({ tasks }) => Object.keys(tasks).length);
}

/**
 * Cancels an experiment's jobs; rows that are done stay.
 *
 * @returns The numbers of the jobs that were still there.
 */
export async function cancel(declared: Declared): Promise<string[]> {
  const ids = (await jobStatus(declared)).map(({ id }) => id);
  if (ids.length) await run("scancel", ids);
  return ids;
}

async function jobsOf({ experiment, module }: Declared): Promise<{ id: string }[]> {
  const folder = `${folderOf(module, experiment)}rows/jobs`;
  const names = await Array.fromAsync(Deno.readDir(folder)).catch(() => []);
  const jobs = await Promise.all(names.map(({ name }) => readJob(`${folder}/${name}`)));
  return jobs.flatMap(({ id }) => id === undefined ? [] : [{ id }]);
}

function secondsSoFar(folder: string): number | undefined {
  const seconds = new Store(folder).collected().map((row) => row.seconds).filter((value) => typeof value === "number");
  return seconds.length ? mean(seconds) : undefined;
}

async function run(program: string, args: readonly string[]): Promise<string> {
  let output: Deno.CommandOutput;
  try {
    output = await new Deno.Command(program, { args: [...args], stdout: "piped", stderr: "piped" }).output();
  } catch (cause) {
    if (!(cause instanceof Deno.errors.NotFound)) throw cause;
    throw new Error(
      `there is no ${program} on this machine; run this on a login node of a Slurm cluster, or run the rows here with ` +
        "`task experiment run`",
      { cause },
    );
  }
  const text = new TextDecoder();
  if (!output.success) {
    throw new Error(`${program} refused (exit code ${output.code}): ${text.decode(output.stderr).trim()}`);
  }
  return text.decode(output.stdout);
}

function quoted(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}
