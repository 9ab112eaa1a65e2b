/**
 * FasterVLM: keep the image tokens that the vision tower's class token looks at most, before the language model sees any.
 *
 * Zhang et al., "[CLS] Attention is All You Need for Training-Free Visual Token Pruning: Make VLM Inference Faster", 2024,
 * arXiv:2412.01818, section 4. Checked against the authors' code (tests/golden, `fastervlm.select`). Differs from it in
 * nothing.
 *
 * @module
 */
import { trainingFree } from "./method.ts";
import { need, type Reducer } from "../nn/reducer.ts";
import { type tf, tidy } from "../tensor/mod.ts";
import type { LayerBudget } from "./budget.ts";
import { compose, type Score } from "./compose.ts";
import { patchesOf } from "./scores.ts";

/**
 * How much the vision tower's class token looks at each image token, mean over heads.
 *
 * @param method Who asks, for the message where the model has no tower.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * assert.deepEqual(towerAttention("fastervlm").needs, ["vision"]);
 * ```
 */
export function towerAttention(method: string): Score {
  return {
    name: "class attention of the tower",
    needs: ["vision"],
    of: (view) => tidy(() => patchesOf(need(view, "vision", method).classAttention.mean<tf.Tensor2D>(1), view)),
  };
}

/**
 * FasterVLM as a reducer: before the first block, unless the budget names other blocks. Costs nothing: the row is there.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * const place = { layers: 32, tokens: 576, initialTokens: 576, specialTokens: 0, grid: [24, 24] as const };
 * assert.equal(fastervlm({ keep: [29], layers: [0] }).plan({ ...place, layer: 0 }).achieved, 547);
 * ```
 */
export function fastervlm(options: LayerBudget): Reducer {
  const name = "fastervlm";
  return compose({ name, score: towerAttention(name), layers: [0], hook: "beforeBlock" })(options);
}

/** FasterVLM in the catalogue. */
export const fastervlmMethod = trainingFree(fastervlm, {
  family: "prune",
  paper: "Zhang et al., [CLS] Attention is All You Need, 2024",
  section: "4, arXiv:2412.01818",
  tier: 2,
  models: "vision-language",
  traceable: true,
  golden: ["fastervlm.select"],
  cost: "heads x n additions; n floats",
  differs: "in nothing",
  breaks: { mass: "tokens are dropped" },
});
