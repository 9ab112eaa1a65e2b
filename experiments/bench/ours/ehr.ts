/**
 * Workloads of electronic health records, in this library.
 *
 * @module
 */
import type { Job } from "../workloads/ehr.ts";
import type { Ready } from "./worker.ts";

/** Makes a workload ready. */
export function prepare(job: Job): Ready {
  throw new Error(`no workload ${JSON.stringify(job)}`);
}
