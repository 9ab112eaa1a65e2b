/**
 * stories260k reads a prompt of 256 tokens and makes 256 more: with the full cache, and under six policies that keep half.
 *
 * @module
 */
import type { Workload } from "../workload.ts";

/** Policies whose cost is laid beside that of the full cache. */
export const policies = [
  "full",
  "streaming_llm",
  "snapkv",
  "tova",
  "observed_attention",
  "knorm",
  "keydiff",
] as const;
/** One of them. */
export type StoryPolicy = typeof policies[number];

/** What a worker is told to do. */
export interface StoryJob {
  readonly kind: "story_prompt" | "story";
  readonly prompt: number;
  readonly tokens: number;
  readonly policy: StoryPolicy;
  /** Share of the prompt's tokens that stays. */
  readonly keepRate: number;
}

const prompt = 256, tokens = 256, keepRate = 0.5;

/** Multiplications and additions of the linear layers for one token: of all blocks, and of the head. */
const width = 64, keyWidth = 32, mlp = 172, depth = 5, vocabulary = 512;
const blocks = 2 * depth * (2 * width * width + 2 * width * keyWidth + 3 * width * mlp), head = 2 * width * vocabulary;
/** Products of attention: every query with every key of a prompt (nobody halves them), and those of later tokens. */
const attended = (pairs: number) => 4 * depth * width * pairs;

const names = {
  full: "full cache",
  streaming_llm: "StreamingLLM",
  snapkv: "SnapKV",
  tova: "TOVA",
  observed_attention: "observed attention",
  knorm: "Knorm",
  keydiff: "KeyDiff",
} as const;

function story(policy: StoryPolicy): Workload<StoryJob> {
  const kept = policy === "full" ? prompt : prompt * keepRate;
  const steps = tokens - 1;
  return {
    title: `stories260k, 256 tokens read and 256 made, ${names[policy]}${policy === "full" ? "" : ", half kept"}`,
    job: { kind: "story", prompt, tokens, policy, keepRate: policy === "full" ? 1 : keepRate },
    ours: "xla",
    systems: ["xla", "graph", "torch"],
    goal: 1.5,
    flops: prompt * blocks + attended(prompt ** 2) + head +
      steps * (blocks + head) + attended(steps * (kept + steps / 2)),
  };
}

/** The workloads under their names. */
export const storyWorkloads = {
  story_prompt: {
    title: "stories260k, 256 tokens read",
    job: { kind: "story_prompt", prompt, tokens: 0, policy: "full", keepRate: 1 },
    ours: "graph",
    systems: ["graph", "torch"],
    goal: 1.5,
    flops: prompt * blocks + attended(prompt ** 2) + head,
  },
  story_full: story("full"),
  story_streaming_llm: story("streaming_llm"),
  story_snapkv: story("snapkv"),
  story_tova: story("tova"),
  story_observed_attention: story("observed_attention"),
  story_knorm: story("knorm"),
  story_keydiff: story("keydiff"),
} as const satisfies Readonly<Record<string, Workload<StoryJob>>>;
