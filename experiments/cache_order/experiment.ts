/**
 * Which cache policy changes least of what a language model says: the order of kvpress' policies on stories260k at the
 * same number of cached tokens, and so of bytes.
 *
 * Each seed is a story that the model tells itself (temperature 1): 256 tokens are read, the policy decides once, and the
 * other 128 are given one by one. Perplexity is that of these 128; divergence is from what the full cache would have said.
 *
 * @module
 */
import { remember } from "../../lib/data/files.ts";
import { defineExperiment } from "../../lib/experiment/mod.ts";
import { type CachePolicy, divergence, generate, Llama, perplexity, predict } from "../../lib/nn/mod.ts";
import {
  adaKV,
  type CacheBudget,
  chunkKV,
  expectedAttention,
  keyDiff,
  knorm,
  kvZip,
  lagKV,
  observedAttention,
  pyramidKV,
  randomEviction,
  snapKV,
  streamingLLM,
  tova,
} from "../../lib/reduction/mod.ts";

const policies: Record<string, (budget: CacheBudget & { keepRate: number }) => CachePolicy | undefined> = {
  none: () => undefined,
  Random: randomEviction,
  StreamingLLM: streamingLLM,
  ObservedAttention: observedAttention,
  TOVA: tova,
  SnapKV: snapKV,
  PyramidKV: pyramidKV,
  Knorm: knorm,
  KeyDiff: keyDiff,
  LagKV: lagKV,
  ExpectedAttention: expectedAttention,
  "AdaKV+ExpectedAttention": (budget) => adaKV(expectedAttention(budget)),
  ChunkKV: (budget) => chunkKV(snapKV(budget)),
  KVzip: kvZip,
};

const PROMPT = 256, REST = 128;

/** A worker takes many rows: the model and its stories are made once. */
const loaded = remember((_: "the model") => Llama.load("stories260k"));
const storyOf = remember(async (seed: number) => {
  const options = { maxTokens: PROMPT + REST, temperature: 1, seed, stopAtEnd: false };
  return (await generate(await loaded("the model"), "Once upon a time", options)).tokens;
});

export default defineExperiment({
  name: "cache_order",
  version: 1,
  question: "At the same number of cached tokens, which policy changes least of what the model says?",
  grid: {
    policy: [
      "none",
      "Random",
      "StreamingLLM",
      "ObservedAttention",
      "TOVA",
      "SnapKV",
      "PyramidKV",
      "Knorm",
      "KeyDiff",
      "LagKV",
      "ExpectedAttention",
      "AdaKV+ExpectedAttention",
      "ChunkKV",
      "KVzip",
    ],
    removed: [0.25, 0.5, 0.75, 0.9],
  },
  seeds: [1, 2, 3, 4, 5],
  fast: { grid: { removed: [0.5, 0.9] }, seeds: [1, 2, 3] },
  data: [new URL("../../data/stories260k/", import.meta.url)],
  rowSeconds: 2,
  async row({ policy, removed }, { seed }) {
    const model = await loaded("the model");
    const tokens = await storyOf(seed);
    const prompt = tokens.slice(0, PROMPT), rest = tokens.slice(PROMPT, PROMPT + REST);
    const cache = policies[policy]({ keepRate: 1 - removed });
    const full = await predict(model, prompt, rest);
    const said = await predict(model, prompt, rest, { cache, seed });
    const { afterPrompt } = await generate(model, [prompt], { cache, seed, maxTokens: 1 });
    const row = {
      score: -divergence(full, said),
      perplexity: perplexity(said, rest),
      fullPerplexity: perplexity(full, rest),
      bytes: afterPrompt.bytes,
    };
    full.dispose();
    said.dispose();
    return row;
  },
  paper: {
    cite: "kvpress' leaderboard, Llama-3.1-8B on RULER 4k, read off its plot to about one point; ours is minus the " +
      "divergence from the full cache in nats a token, so that higher is better in both",
    table: new URL("./paper.csv", import.meta.url),
    compare: "score",
    as: "order",
    within: ["removed"],
  },
});
