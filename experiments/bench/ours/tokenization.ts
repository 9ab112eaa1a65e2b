/**
 * Workloads of `tokenization`: MedTok, in this library.
 *
 * @module
 */
import type { Job } from "../workloads/tokenization.ts";
import type { Ready } from "./worker.ts";

/** Makes a workload ready. */
export function prepare(job: Job): Ready {
  throw new Error(`no workload ${JSON.stringify(job)}`);
}
