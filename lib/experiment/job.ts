/**
 * A job of a cluster: which rows of which experiment, in parts, as it was when the job was submitted.
 *
 * @module
 */
import { readBytes, writeAtomically } from "../data/files.ts";

/** What a task needs to know, in `job.json` of the job's folder. */
export interface Job {
  readonly name: string;
  /** Address of the experiment's module. */
  readonly module: string;
  readonly fast: boolean;
  /** The rows that were missing, as numbers from 1. They do not move under a running job. */
  readonly numbers: readonly number[];
  /** Rows a task: task i has those from i * chunk on. */
  readonly chunk: number;
  /** What the cluster calls it; absent until it is submitted. */
  readonly id?: string;
}

/** Reads a job from its folder. */
export async function readJob(folder: string): Promise<Job> {
  return JSON.parse(new TextDecoder().decode(await readBytes(`${folder}/job.json`))) as Job;
}

/** Writes a job into its folder. */
export async function writeJob(folder: string, job: Job): Promise<void> {
  await Deno.mkdir(folder, { recursive: true });
  await writeAtomically(`${folder}/job.json`, new TextEncoder().encode(JSON.stringify(job) + "\n"));
}
