/**
 * FastV: after its first blocks a language model hardly looks at image tokens; keep those that the last word looks at most.
 *
 * Chen et al., "An Image is Worth 1/2 Tokens After Layer 2: Plug-and-Play Inference Acceleration for Large Vision-Language
 * Models", ECCV 2024, arXiv:2403.06764, section 4. Checked against the authors' code (tests/golden, `fastv.select`). Differs
 * from it in nothing but where the count comes from: theirs is given, ours may be a share, rounded to the nearest.
 *
 * @module
 */
import { trainingFree } from "./method.ts";
import { given, need, type Reducer } from "../nn/reducer.ts";
import { tf, tidy } from "../tensor/mod.ts";
import type { LayerBudget, Rounding } from "./budget.ts";
import { compose, type Score } from "./compose.ts";
import { patchesOf } from "./scores.ts";

const nearest: Rounding = { of: "initial", round: Math.round };

/** How much the last word of the prompt looked at each image token in the block before, mean over heads. */
export const lastWordAttention: Score = {
  name: "last word's attention",
  needs: ["text"],
  of: (view) =>
    tidy(() => patchesOf(ofLastWord(given(need(view, "text", "fastv").attention, "text.attention", "fastv")), view)),
};

/**
 * The last row of an attention of words to image tokens, mean over heads.
 *
 * @param attention [batch, heads, words, image tokens]
 * @returns [batch, image tokens]
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { tf } from "tessera/tensor/mod.ts";
 * assert.deepEqual(ofLastWord(tf.tensor4d([[[[0.5, 0.5], [0.25, 0.75]]]])).arraySync(), [[0.25, 0.75]]);
 * ```
 */
export function ofLastWord(attention: tf.Tensor4D): tf.Tensor2D {
  const words = attention.shape[2];
  return tidy(() =>
    attention.slice([0, 0, words - 1, 0], [-1, -1, 1, -1]).squeeze<tf.Tensor3D>([2]).mean<tf.Tensor2D>(1)
  );
}

/**
 * FastV as a reducer: before block 2, unless the budget names other blocks. Costs `nd` multiplications: the row is there.
 *
 * @param options As the authors': `keepRate: 0.5`, before block 2 (blocks count from 0).
 *
 * @example LLaVA's 576 image tokens
 * ```ts
 * import assert from "node:assert/strict";
 * const place = { layers: 32, tokens: 576, initialTokens: 576, specialTokens: 0, grid: [24, 24] as const };
 * const reducer = fastv({ keepRate: 0.5 });
 * assert.deepEqual([1, 2, 3].map((layer) => reducer.plan({ ...place, layer }).achieved), [0, 288, 0]);
 * ```
 */
export function fastv(options: LayerBudget): Reducer {
  return compose({ name: "fastv", score: lastWordAttention, layers: [2], rounding: nearest, hook: "beforeBlock" })(
    options,
  );
}

/** FastV in the catalogue. */
export const fastvMethod = trainingFree(fastv, {
  family: "prune",
  paper: "Chen et al., An Image is Worth 1/2 Tokens After Layer 2, 2024",
  section: "4, arXiv:2403.06764",
  tier: 1,
  models: "vision-language",
  traceable: true,
  golden: ["fastv.select"],
  cost: "heads x n additions; n floats",
  differs: "from the code in taking a share of tokens, rounded to the nearest, where the code is given a count",
  breaks: { mass: "tokens are dropped" },
});
