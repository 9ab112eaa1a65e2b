/**
 * Workloads of language models and what reduces their tokens: generation, cache policies, prompt compression, state spaces.
 *
 * @module
 */
import type { GoldenCases, Workload } from "../workload.ts";
import { type PromptJob, promptWorkloads } from "./prompts.ts";
import { type StoryJob, storyWorkloads } from "./stories.ts";

/** What a worker of this area is told to do. */
export type Job = PromptJob | StoryJob;

/** How the area is called on the page. */
export const title = "Language models";

/** The area's workloads under their names. */
export const workloads = {
  ...storyWorkloads,
  ...promptWorkloads,
} as const satisfies Readonly<Record<string, Workload<Job>>>;

/** What the area's peers have to reproduce. */
export const golden: readonly GoldenCases[] = [];
