/**
 * Top-K: keep the patches that the class token attends to most, drop the others.
 *
 * Haurum et al., "Which Tokens to Use? Investigating Token Reduction in Vision Transformers", ICCV Workshops 2023,
 * arXiv:2308.04657, section 3. Checked against the authors' code (tests/golden, `topk.cls_attention`,
 * `vit_topk.forward`). Differs from it in the order of what stays: theirs is best first (`parity: true`), ours that of
 * the input; and in rounding, where a product such as 100 x 0.7² falls a hair short in binary.
 *
 * @module
 */
import { need, type Reducer } from "../nn/reducer.ts";
import { type LayerBudget, patchesLeft, truncate, truncateAsReference } from "./budget.ts";
import { trainingFree } from "./method.ts";
import { refuseNaNIn } from "./special.ts";
import { classAttention, pruneByScore, pruningBudget } from "./prune.ts";
import { tidy } from "../tensor/mod.ts";

/** Options of Top-K. */
export type TopKOptions = LayerBudget & {
  /** The authors' order and rounding. Default: false. */
  readonly parity?: boolean;
};

/**
 * Top-K as a reducer. `keepRate` is of the patches at the start: the i-th of `layers` leaves its i-th power.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * const place = { layer: 3, layers: 12, tokens: 197, initialTokens: 197, specialTokens: 1, grid: [14, 14] as const };
 * assert.equal(topk({ keepRate: 0.7 }).plan(place).achieved, 196 - 137);
 * ```
 */
export function topk(options: TopKOptions): Reducer {
  const { parity = false } = options;
  const left = patchesLeft(options, parity ? truncateAsReference : truncate);
  return {
    name: "topk",
    needs: ["attention"],
    proportionalAttention: false,
    plan: (place) => pruningBudget(place, left(place)),
    reduce: (view) => {
      const { specialTokens } = view;
      const budget = pruningBudget(view, left(view));
      const keep = view.tokens - specialTokens - budget.achieved;
      return tidy(() => ({
        ...pruneByScore(refuseNaNIn(classAttention(need(view, "attention", "topk"), specialTokens), "topk", view), {
          keep,
          specialTokens,
          parity,
        }),
        budget,
      }));
    },
  };
}

/** Top-K in the catalogue. */
export const topkMethod = trainingFree(topk, {
  family: "prune",
  paper: "Haurum et al., Which Tokens to Use?, 2023",
  section: "3, arXiv:2308.04657",
  tier: 1,
  traceable: true,
  golden: ["topk.cls_attention", "vit_topk.forward"],
  cost: "heads x n additions; n floats",
  differs: "from the code in the order of tokens (the input's, not best first) and in rounding without binary error",
  breaks: { mass: "patches are dropped" },
});
