/**
 * PyramidKV: SnapKV with more tokens in the lower layers, where attention is spread, and fewer in the higher ones.
 *
 * Cai et al., "PyramidKV: Dynamic KV Cache Compression based on Pyramidal Information Funneling", 2024, arXiv:2406.02069,
 * section 4. Checked against kvpress (tests/golden, `pyramidkv.layer_budget`) and the authors' code
 * (`pyramidkv.original`). Differs from both where the pyramid does not fit, for long prompts and small budgets: theirs are
 * then the same in every layer without a word (`parity: true`), ours is as steep as it can be.
 *
 * @module
 */
import type { CachePlace } from "../../nn/cache_policy.ts";
import { budgetOf } from "../../nn/token_map.ts";
import { byScore, cacheBudget, type CacheOptions, type ScoredPolicy } from "./policy.ts";
import { snapKVScore, type WindowOptions } from "./snapkv.ts";
import type { CacheMethod } from "./method.ts";

/** What the budgets of the layers follow from. */
export interface PyramidSizes {
  /** Tokens of the prompt. */
  readonly tokens: number;
  /** Tokens that stay in each layer on average. */
  readonly keep: number;
  readonly layers: number;
  /** Tokens at the end that stay in each layer. */
  readonly window: number;
  /** How steep it is: the last layer chooses as many as the mean over this number. Default: 20. */
  readonly beta?: number;
  /** As kvpress rounds and gives up. Default: false. */
  readonly parity?: boolean;
}

/**
 * Tokens that stay in each layer, the window included: a straight line from the first layer to the last.
 *
 * @example The sum is that of the same number in each layer
 * ```ts
 * import assert from "node:assert/strict";
 * const budgets = pyramidBudgets({ tokens: 256, keep: 128, layers: 8, window: 64 });
 * assert.deepEqual(budgets.slice(0, 2), [192, 174]);
 * assert.equal(budgets.reduce((a, b) => a + b), 8 * 128);
 * ```
 */
export function pyramidBudgets({ tokens, keep, layers, window, beta = 20, parity = false }: PyramidSizes): number[] {
  if (layers === 1) return [Math.min(tokens, keep)];
  // as kvpress has it, a layer keeps its number of all tokens, of which the window is a part
  const capacity = window + keep;
  let low = (capacity - window) / beta, high = (capacity - window) * 2 - low;
  if (high >= tokens - window) {
    high = tokens - window;
    low = (capacity - window) * 2 - high;
  }
  const fits = tokens >= high && high >= low && low >= window;
  if (!fits) {
    if (parity) return Array.from({ length: layers }, () => roundHalfToEven(keep));
    // the steepest line through the mean that leaves each layer its window and no layer more than there is
    low = Math.min(keep, Math.max(low, Math.min(window, keep), 2 * keep - tokens));
    high = 2 * keep - low;
  }
  const step = (high - low) / (layers - 1);
  const line = Array.from({ length: layers }, (_, layer) => high - layer * step);
  return parity ? line.map(roundHalfToEven) : wholeWithSum(line, Math.round(keep * layers));
}

/**
 * The budgets of the authors' code: what each layer chooses beside its window, in whole divisions.
 *
 * @param sizes `capacity`: tokens that stay in each layer on average, the window included.
 */
export function pyramidBudgetsOfAuthors(
  { tokens, capacity, layers, window, beta = 20 }: Omit<PyramidSizes, "keep" | "parity"> & {
    readonly capacity: number;
  },
): number[] {
  const chosen = capacity - window;
  let low = Math.floor(chosen / beta), high = chosen * 2 - low;
  if (high >= tokens - window) {
    high = tokens - window;
    low = chosen * 2 - high;
  }
  const step = Math.floor((high - low) / (layers - 1));
  return Array.from({ length: layers }, (_, layer) => {
    if (tokens < capacity) return tokens;
    return (tokens < chosen * 2 ? chosen : high - layer * step) + window;
  });
}

/** Whole numbers near these with a given sum: what was cut off most is rounded up first. */
export function wholeWithSum(parts: readonly number[], sum: number): number[] {
  const floors = parts.map((part) => Math.floor(part + 1e-9));
  const missing = sum - floors.reduce((a, b) => a + b, 0);
  const order = parts.map((part, place) => [part - floors[place], place] as const)
    .toSorted(([a, i], [b, j]) => b - a || i - j);
  for (const [, place] of order.slice(0, Math.max(0, missing))) floors[place]++;
  return floors;
}

/** Python's `round`. */
export function roundHalfToEven(value: number): number {
  const floor = Math.floor(value);
  return value - floor === 0.5 ? floor + (floor % 2) : Math.round(value);
}

/** Options of PyramidKV. */
export interface PyramidOptions extends WindowOptions {
  /** How steep it is. Default: 20. */
  readonly beta?: number;
}

/**
 * PyramidKV as a policy. Its budget is the mean over the layers.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * const place = { layer: 0, layers: 8, heads: 1, keyHeads: 1, channels: 2, tokens: 256 };
 * assert.equal(pyramidKV({ keepRate: 0.5, window: 64 }).plan(place).achieved, 256 - 192);
 * ```
 */
export function pyramidKV(options: CacheOptions & PyramidOptions): ScoredPolicy {
  const { window = 32, beta = 20, parity = false } = options;
  const mean = cacheBudget(options);
  const plan = (place: CachePlace) => {
    const { requested, achieved } = mean(place);
    if (achieved === 0) return { requested, achieved };
    const { layer, layers, tokens } = place;
    const budgets = pyramidBudgets({ tokens, keep: tokens - achieved, layers, window, beta, parity });
    return budgetOf(tokens, Math.min(tokens, budgets[layer]), tokens - budgets[layer], "the layer has no more tokens");
  };
  return byScore({ ...snapKVScore(options), name: "pyramidkv" }, options, { plan });
}

/** PyramidKV in the catalogue. */
export const pyramidKVMethod: CacheMethod = {
  paper: "Cai et al., PyramidKV, 2024",
  section: "4, arXiv:2406.02069",
  tier: 1,
  traceable: true,
  golden: ["pyramidkv.layer_budget", "pyramidkv.original"],
  cost: "w n d",
  differs: "from the codes where the pyramid does not fit: as steep as it can be",
  breaks: { U9: "the window stays, and neighbours are pooled" },
  create: (options) => pyramidKV({ ...options, window: 4 }),
};
