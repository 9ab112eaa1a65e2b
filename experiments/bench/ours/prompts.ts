/**
 * Compressing prompts in this library.
 *
 * @module
 */
import { Llama } from "tessera/nn/mod.ts";
import { llamaScorer, loadKeepClassifier, longllmlingua, textMethods } from "tessera/reduction/mod.ts";
import { longText } from "../../prompt_compression/experiment.ts";
import type { PromptJob } from "../workloads/prompts.ts";
import type { Ready } from "./worker.ts";

/** Makes a workload ready. */
export async function preparePrompt({ method, keepRate }: PromptJob): Promise<Ready> {
  const { text, stories } = await longText();
  const scorer = llamaScorer(await Llama.load("stories260k"), { name: "stories260k" });
  const classifier = await loadKeepClassifier();
  const question = "What did the little girl find in the park?";
  const call = () =>
    method === "longllmlingua"
      ? longllmlingua(scorer, stories, { keepRate, question })
      : textMethods[method].compress({ scorer, classifier }, text, { keepRate });
  const begin = performance.now();
  const { achievedRate, compressed } = await call();
  const firstMs = performance.now() - begin;
  return { call: async () => void (await call()), perCall: 1, check: [achievedRate, compressed.length], firstMs };
}
