/**
 * Compressing a text of 100 kB to half with stories260k; by stage: experiments/prompt_compression.
 *
 * @module
 */
import type { Workload } from "../workload.ts";

/** Compressors of prompts that are timed. */
export type PromptMethod = "selectiveContext" | "llmlingua" | "longllmlingua" | "llmlingua2";

/** What a worker is told to do. */
export interface PromptJob {
  readonly kind: "prompt_compression";
  readonly method: PromptMethod;
  readonly keepRate: number;
}

function compression(method: PromptMethod, title: string): Workload<PromptJob> {
  return {
    title: `${title}: a text of 100 kB to half`,
    job: { kind: "prompt_compression", method, keepRate: 0.5 },
    ours: "graph",
    systems: ["graph"],
    flops: 0,
    atMost: { rounds: 3, ms: 1 },
  };
}

/** The workloads under their names. */
export const promptWorkloads = {
  prompt_selective_context: compression("selectiveContext", "Selective Context"),
  prompt_llmlingua: compression("llmlingua", "LLMLingua"),
  prompt_longllmlingua: compression("longllmlingua", "LongLLMLingua, each story a document"),
  prompt_llmlingua2: compression("llmlingua2", "LLMLingua-2, a classifier of 82,000 parameters"),
} as const;
