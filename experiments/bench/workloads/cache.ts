/**
 * Workloads of cache policies: scoring and pruning the cache of a prompt of 4,096 tokens.
 *
 * @module
 */
import { oursAndTorch, type Workload } from "../workload.ts";

/** What a worker of this area is told to do: score the tokens of a layer's cache, and take those that stay. */
export interface Job {
  readonly kind: "evict";
  readonly method: string;
  readonly heads: number;
  readonly tokens: number;
  readonly channels: number;
  /** Tokens that stay in each head. */
  readonly keep: number;
}

/** How the area is called on the page. */
export const title = "Cache policies";

function evict(method: string, name: string, goal = 1, tokens = 4096, flops = 0): Workload<Job> {
  const heads = 8, channels = 64;
  return {
    title: `${name}: score ${heads} heads x ${tokens} x ${channels} and keep half`,
    job: { kind: "evict", method, heads, tokens, channels, keep: tokens / 2 },
    ours: "graph",
    systems: [...oursAndTorch, "graph"],
    goal,
    flops,
    atMost: { rounds: 5, ms: 1000 },
  };
}

const all = 8 * 4096 * 64;

/** The area's workloads under their names. */
export const workloads = {
  cache_streaming: evict("streaming", "StreamingLLM"),
  cache_h2o: evict("h2o", "H2O, from queries and keys", 1, 1024, 2 * 8 * 1024 ** 2 * 64),
  cache_tova: evict("tova", "TOVA", 1, 4096, 2 * all),
  cache_snapkv: evict("snapkv", "SnapKV, window 64", 2, 4096, 2 * 64 * all),
  cache_knorm: evict("knorm", "Knorm"),
  cache_keydiff: evict("keydiff", "KeyDiff", 2, 4096, 4 * all),
  cache_expected: evict("expected", "expected attention", 1, 4096, 4 * 64 * all),
  cache_lagkv: evict("lagkv", "LagKV"),
  cache_think: evict("think", "ThinK, half of the channels"),
  cache_adakv: evict("adakv", "AdaKV around KeyDiff", 1, 4096, 4 * all),
  cache_critical: evict("critical", "CriticalKV around Knorm", 1, 4096, 2 * 512 * all),
  cache_chunkkv: evict("chunkkv", "ChunkKV around Knorm"),
  cache_merged: evict("merged", "merge on evict around Knorm", 1, 4096, 2 * 8 * 2048 ** 2 * 64),
} as const satisfies Readonly<Record<string, Workload<Job>>>;

/** What the area's peers have to reproduce: their scores are held against ours, call by call. */
export const golden = [] as const;
