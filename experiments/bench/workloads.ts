/**
 * Every workload, gathered from its area. An area has one file in `workloads/`, one in `ours/` and one for each peer that
 * it has in `peers/`.
 *
 * @module
 */
import type { Workload } from "./workload.ts";
import * as cache from "./workloads/cache.ts";
import * as core from "./workloads/core.ts";
import * as editing from "./workloads/editing.ts";
import * as ehr from "./workloads/ehr.ts";
import * as language from "./workloads/language.ts";
import * as reduction from "./workloads/reduction.ts";
import * as tokenization from "./workloads/tokenization.ts";
import * as tumour from "./workloads/tumour.ts";

/** The areas in the order of the page. */
export const areas = { core, reduction, cache, language, tokenization, editing, tumour, ehr } as const;
/** The name of an area, and of its files. */
export type AreaName = keyof typeof areas;
/** All of them. */
export const areaNames = Object.keys(areas) as AreaName[];

/** Every workload under its name. */
export const workloads = {
  ...core.workloads,
  ...reduction.workloads,
  ...cache.workloads,
  ...language.workloads,
  ...tokenization.workloads,
  ...editing.workloads,
  ...tumour.workloads,
  ...ehr.workloads,
} as const;

/** The name of a workload. */
export type WorkloadName = keyof typeof workloads;

/** All names. */
export const workloadNames = Object.keys(workloads) as WorkloadName[];

/** The area of a workload. */
export function areaOf(name: WorkloadName): AreaName {
  return areaNames.find((area) => name in areas[area].workloads)!;
}

/** A workload's description, without what is known of the single one. */
export function workload(name: WorkloadName): Workload {
  return workloads[name];
}
