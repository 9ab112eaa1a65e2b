/**
 * PyramidDrop: the deeper the block, the fewer image tokens it needs; drop some at the end of each stage of the model.
 *
 * Xing et al., "PyramidDrop: Accelerating Your Large Vision-Language Models via Pyramid Visual Redundancy Reduction", CVPR
 * 2025, arXiv:2410.17247, section 3. Checked against the authors' code (tests/golden, `pyramiddrop.stage`). Differs from the
 * code in positions, which it counts anew after each stage: run the model with `positions: "reindex"` for that. Counts are
 * `int(tokens x ratio)` of the tokens at the start, as there.
 *
 * @module
 */
import { trainingFree } from "./method.ts";
import { given, need, type Reducer } from "../nn/reducer.ts";
import { tidy } from "../tensor/mod.ts";
import { type LayerBudget, truncate, truncateAsReference } from "./budget.ts";
import { compose, type Score } from "./compose.ts";
import { ofLastWord } from "./fastv.ts";
import { patchesOf } from "./scores.ts";

/** How much the last word of the prompt will look at each image token in the block that is about to run, mean over heads. */
export const lastWordAttentionAhead: Score = {
  name: "last word's attention ahead",
  needs: ["text"],
  of: (view) =>
    tidy(() => {
      const { attentionAhead } = need(view, "text", "pyramiddrop");
      return patchesOf(ofLastWord(given(attentionAhead, "text.attentionAhead", "pyramiddrop")), view);
    }),
};

/** Options of PyramidDrop. */
export type PyramidDropOptions = LayerBudget & {
  /** Truncate products as binary numbers, as Python does it. Default: false. */
  readonly parity?: boolean;
};

/**
 * PyramidDrop as a reducer: before the blocks at a quarter, half and three quarters of the depth (8, 16, 24 of 32), the
 * i-th power of `keepRate` is left. Costs that block's queries and keys once more: `2nd²`.
 *
 * @param options As the authors': `keepRate: 0.5`.
 *
 * @example LLaVA's 576 image tokens: a half, a quarter, an eighth; 270 on average
 * ```ts
 * import assert from "node:assert/strict";
 * const reducer = pyramiddrop({ keepRate: 0.5 });
 * const place = { layers: 32, initialTokens: 576, specialTokens: 0, grid: [24, 24] as const };
 * let tokens = 576, sum = 0;
 * for (let layer = 0; layer < 32; layer++) {
 *   tokens -= reducer.plan({ ...place, layer, tokens }).achieved;
 *   sum += tokens;
 * }
 * assert.deepEqual([tokens, sum / 32], [72, 270]);
 * ```
 */
export function pyramiddrop(options: PyramidDropOptions): Reducer {
  const rounding = options.parity ? truncateAsReference : truncate;
  return compose({ name: "pyramiddrop", score: lastWordAttentionAhead, rounding, hook: "beforeBlock" })(options);
}

/** PyramidDrop in the catalogue. */
export const pyramiddropMethod = trainingFree(pyramiddrop, {
  family: "prune",
  paper: "Xing et al., PyramidDrop, 2025",
  section: "3, arXiv:2410.17247",
  tier: 1,
  models: "vision-language",
  traceable: true,
  golden: ["pyramiddrop.stage"],
  cost: "2nC² multiplications for the next block's queries and keys, n²C for its attention",
  differs: 'from the code in keeping positions, which the model numbers anew with positions: "reindex"',
  breaks: { mass: "tokens are dropped" },
});
