/**
 * Workloads of language models and what reduces their tokens: generation, cache policies, prompt compression, state spaces, in this library.
 *
 * @module
 */
import type { Job } from "../workloads/language.ts";
import { prepareStory } from "./stories.ts";
import { preparePrompt } from "./prompts.ts";
import type { Ready } from "./worker.ts";

/** Makes a workload ready. */
export function prepare(job: Job): Promise<Ready> {
  switch (job.kind) {
    case "story":
    case "story_prompt":
      return prepareStory(job);
    case "prompt_compression":
      return preparePrompt(job);
  }
}
