/**
 * Random pruning: the control without which no score may be called smart. Each image loses its own random patches.
 *
 * Haurum et al., "Which Tokens to Use?", ICCV Workshops 2023, arXiv:2308.04657, uses fixed and random choices as
 * baselines; the specification of reduction, section 1.2, asks for it in every claim.
 *
 * @module
 */
import type { Reducer } from "../nn/reducer.ts";
import { randomUniform, tf, tidy } from "../tensor/mod.ts";
import { type LayerBudget, patchesLeft } from "./budget.ts";
import { pruneByScore, pruningBudget } from "./prune.ts";

/**
 * Random pruning as a reducer. The choice follows from the model's key alone: the same key, the same patches.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * const place = { layer: 1, layers: 4, tokens: 50, initialTokens: 50, specialTokens: 1, grid: [7, 7] as const };
 * assert.equal(randomPruning({ r: 4 }).plan(place).removed, 4);
 * ```
 */
export function randomPruning(options: LayerBudget): Reducer {
  const left = patchesLeft(options);
  return {
    name: "random",
    proportionalAttention: false,
    plan: (place) => pruningBudget(place, left(place)),
    reduce: (view) => {
      const { key, specialTokens } = view;
      if (!key) {
        throw new Error("random pruning needs a key, but the model was given none; pass { key: randomKey(seed) }");
      }
      const budget = pruningBudget(view, left(view));
      const patches = view.tokens - specialTokens;
      return tidy(() => {
        const score = randomUniform(key, [view.x.shape[0], patches]) as tf.Tensor2D;
        return { ...pruneByScore(score, { keep: patches - budget.removed, specialTokens }), budget };
      });
    },
  };
}
