/**
 * Random pruning: the control without which no score may be called smart. Each image loses its own random patches.
 *
 * Haurum et al., "Which Tokens to Use?", ICCV Workshops 2023, arXiv:2308.04657, uses fixed and random choices as
 * baselines; the specification of reduction, section 1.2, asks for it in every claim.
 *
 * @module
 */
import { need, type Reducer } from "../nn/reducer.ts";
import { randomUniform, tf, tidy } from "../tensor/mod.ts";
import { type LayerBudget, patchesLeft } from "./budget.ts";
import { trainingFree } from "./method.ts";
import { pruneByScore, pruningBudget } from "./prune.ts";

/**
 * Random pruning as a reducer. The choice follows from the model's key alone: the same key, the same patches.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * const place = { layer: 1, layers: 4, tokens: 50, initialTokens: 50, specialTokens: 1, grid: [7, 7] as const };
 * assert.equal(randomPruning({ r: 4 }).plan(place).achieved, 4);
 * ```
 */
export function randomPruning(options: LayerBudget): Reducer {
  const left = patchesLeft(options);
  return {
    name: "random",
    needs: ["key"],
    proportionalAttention: false,
    plan: (place) => pruningBudget(place, left(place)),
    reduce: (view) => {
      const { specialTokens } = view;
      const key = need(view, "key", "random");
      const budget = pruningBudget(view, left(view));
      const patches = view.tokens - specialTokens;
      return tidy(() => {
        const score = randomUniform(key, [view.x.shape[0], patches]) as tf.Tensor2D;
        return { ...pruneByScore(score, { keep: patches - budget.achieved, specialTokens }), budget };
      });
    },
  };
}

/** Random pruning in the catalogue. */
export const randomMethod = trainingFree(randomPruning, {
  family: "prune",
  paper: "Haurum et al., Which Tokens to Use?, 2023 (as a baseline)",
  section: "3, arXiv:2308.04657",
  tier: 1,
  traceable: true,
  golden: [],
  cost: "n random numbers; n floats",
  differs: "from no code: a control",
  breaks: {
    mass: "patches are dropped",
    U7: "it draws for the whole batch at once",
    U9: "it does not look at the patches",
  },
});
