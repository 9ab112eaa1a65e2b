/**
 * Workloads of language models and what reduces their tokens: generation, cache policies, prompt compression, state spaces.
 *
 * @module
 */
import type { GoldenCases, Workload } from "../workload.ts";

/** What a worker of this area is told to do. */
export type Job = never;

/** How the area is called on the page. */
export const title = "Language models";

/** The area's workloads under their names. */
export const workloads = {} as const satisfies Readonly<Record<string, Workload<Job>>>;

/** What the area's peers have to reproduce. */
export const golden: readonly GoldenCases[] = [];
