/**
 * stories260k in this library.
 *
 * @module
 */
import { stories260k } from "tessera/data/mod.ts";
import { type CachePolicy, disposeCache, generate, Llama, readPrompt } from "tessera/nn/mod.ts";
import { keyDiff, knorm, observedAttention, snapKV, streamingLLM, tova } from "tessera/reduction/cache/mod.ts";
import type { StoryJob, StoryPolicy } from "../workloads/stories.ts";
import { type Ready, way } from "./worker.ts";

const policies: Readonly<Record<StoryPolicy, (keepRate: number) => CachePolicy | undefined>> = {
  full: () => undefined,
  streaming_llm: (keepRate) => streamingLLM({ keepRate }),
  snapkv: (keepRate) => snapKV({ keepRate }),
  tova: (keepRate) => tova({ keepRate }),
  observed_attention: (keepRate) => observedAttention({ keepRate }),
  knorm: (keepRate) => knorm({ keepRate }),
  keydiff: (keepRate) => keyDiff({ keepRate }),
};

/** Makes a workload ready. */
export async function prepareStory({ kind, prompt: length, tokens, policy, keepRate }: StoryJob): Promise<Ready> {
  const model = await Llama.load("stories260k");
  const { expected, tokenizer } = await stories260k.load();
  const prompt = [tokenizer.begin, ...expected.greedyTokens].slice(0, length);
  const cache = policies[policy](keepRate);
  const readOnly = () => {
    const { logits, cache } = readPrompt(model, [prompt]);
    const values = logits.dataSync();
    disposeCache(cache);
    logits.dispose();
    return [...values];
  };
  const make = async () =>
    (await generate(model, prompt, { cache, maxTokens: tokens, stopAtEnd: false, xla: way === "xla" })).tokens;
  const begin = performance.now();
  const out = await (kind === "story" ? make() : readOnly());
  const firstMs = performance.now() - begin;
  const mean = out.reduce((sum, value) => sum + Math.abs(value), 0) / out.length;
  return {
    call: kind === "story" ? async () => void (await make()) : () => void readOnly(),
    perCall: 1,
    check: [mean, ...out.slice(0, 4)],
    firstMs,
  };
}
