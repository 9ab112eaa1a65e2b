/**
 * Random eviction: the control without which no score may be called smart. Each head loses tokens of its own.
 *
 * The control asked for in every claim; kvpress (arXiv:2510.00636, section 4) has it too.
 *
 * @module
 */
import { needInCache } from "../../nn/cache_policy.ts";
import { foldIn, randomUniform, type tf } from "../../tensor/mod.ts";
import { byScore, type CacheOptions, type CacheScore, type ScoredPolicy } from "./policy.ts";
import type { CacheMethod } from "./method.ts";

/** Uniform draws as a score; they follow from the model's key and the layer. */
export const randomCacheScore: CacheScore = {
  name: "random",
  needs: ["key"],
  of: (view) =>
    randomUniform(foldIn(needInCache(view, "key", "random"), 0), view.keys.shape.slice(0, 3)) as tf.Tensor3D,
};

/**
 * Random eviction as a policy.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * assert.deepEqual(randomEviction({ keepRate: 0.5 }).needs, ["key"]);
 * ```
 */
export function randomEviction(options: CacheOptions): ScoredPolicy {
  return byScore(randomCacheScore, options);
}

/** Random eviction in the catalogue. */
export const randomEvictionMethod: CacheMethod = {
  paper: "the control",
  section: "arXiv:2510.00636, 4",
  tier: 1,
  traceable: true,
  golden: [],
  cost: "n random numbers",
  differs: "from no code: a control",
  breaks: { U7: "it draws for the whole batch at once", U9: "it does not look at the tokens" },
  create: (options) => randomEviction(options),
};
