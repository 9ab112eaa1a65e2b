/**
 * Adaptive Token Sampling (ATS): sample patches in proportion to how much the class token takes from them; who is sampled
 * twice stays once, so that an easy image keeps fewer.
 *
 * Fayyaz et al., "Adaptive Token Sampling For Efficient Vision Transformers", ECCV 2022, arXiv:2111.15667, section 3.
 * Checked against Haurum et al.'s code (tests/golden, `ats.adaptive_token_sampling`, `vit_ats.forward`). Differs from the
 * code in the number of sample points: theirs loses the last one for most numbers, by the rounding of a step
 * (`parity: true`); ours takes as many as patches may stay.
 *
 * A budget is a limit here, which few images reach: where the class token looks at a few patches most of the time, most
 * samples are those again. On digits about half of the allowed patches stay in the first block already, where attention
 * says little; that, not the choice, is what costs accuracy without training (a test of this method holds it against as
 * many patches by chance).
 *
 * @module
 */
import { need, type Place, type Reducer } from "../nn/reducer.ts";
import { countBefore, type SlotMap } from "../nn/token_map.ts";
import { placeOfHighest, stopGradient, tf, tidy } from "../tensor/mod.ts";
import { type LayerBudget, patchesLeft, truncate, truncateAsReference } from "./budget.ts";
import { trainingFree } from "./method.ts";
import { pruningBudget } from "./prune.ts";
import { refuseNaNIn, withSpecialTokens } from "./special.ts";
import { int, where } from "./where.ts";

/** Options of ATS. */
export type ATSOptions = LayerBudget & {
  /** The authors' number of sample points, and their rounding. Default: false. */
  readonly parity?: boolean;
};

/**
 * Where the samples are taken on the cumulative distribution, 0 to 1: the middles of `count` equal parts.
 *
 * @param parity As the code computes them, from 1 / 2 count in steps of 1 / count while below 1 - 1 / 2 count: by the
 *   rounding of doubles that is one point fewer for most counts.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * assert.deepEqual(samplePoints(4), [0.125, 0.375, 0.625, 0.875]);
 * assert.deepEqual(samplePoints(4, true), [0.125, 0.375, 0.625]);
 * assert.deepEqual([6, 7].map((count) => samplePoints(count, true).length), [5, 7]);
 * ```
 */
export function samplePoints(count: number, parity = false): number[] {
  if (!parity) return Array.from({ length: count }, (_, i) => (2 * i + 1) / (2 * count));
  const start = 1 / (2 * count), end = (2 * count - 1) / (2 * count), step = 1 / count;
  return Array.from({ length: Math.ceil((end - start) / step) }, (_, i) => start + i * step);
}

/**
 * Which patches are sampled: for each point the one whose cumulative score is nearest. Equal: the later one, of which the
 * point is the middle where all patches count alike, so that as many points as patches take all of them; with `parity` the
 * earlier one.
 *
 * Costs batch x points x patches comparisons; reads nothing back.
 *
 * @param score [batch, patches], from 0 up; patches with 0 are never sampled unless all are 0.
 * @param points From {@link samplePoints}.
 * @returns [batch, patches] bool; at most as many true as there are points.
 *
 * @example The specification's appendix A.7
 * ```ts
 * import assert from "node:assert/strict";
 * import { tf } from "tessera/tensor/mod.ts";
 * const score = tf.tensor2d([[0.02, 0.3, 0.05, 0.03, 0.25, 0.05, 0.1, 0.2]]);
 * assert.deepEqual(sampled(score, samplePoints(4)).arraySync(), [[1, 0, 1, 0, 1, 0, 1, 0]]);
 * ```
 */
export function sampled(score: tf.Tensor2D, points: readonly number[], parity = false): tf.Tensor2D {
  const patches = score.shape[1];
  return tidy(() => {
    const given = stopGradient(score);
    const total = given.sum(1, true);
    const any = tf.greater(total, 0);
    const share = where<tf.Tensor2D>(any, given.div(tf.maximum(total, 1e-30)), 1 / patches);
    const cumulative = tf.cumsum<tf.Tensor2D>(share, 1).expandDims(1); // [batch, 1, patches]
    const possible = tf.greater<tf.Tensor2D>(share, 0);
    const at = tf.tensor3d([...points], [1, points.length, 1]);
    if (parity) {
      const near = where<tf.Tensor>(possible.expandDims(1), tf.abs(tf.sub(cumulative, at)).neg(), -Infinity);
      const place = tf.range(0, patches, 1, "int32").reshape([1, 1, patches]);
      return tf.any<tf.Tensor2D>(tf.equal(placeOfHighest(near).expandDims(2), place), 1);
    }
    // a patch begins halfway from the cumulative score before it, where it is as near as that one; rounding aside
    const begins = where<tf.Tensor>(possible.expandDims(1), cumulative.sub(share.div(2).expandDims(1)), Infinity);
    const begun = tf.lessEqual(begins, at.add(2 ** -20)).cast("int32").sum(2); // [batch, points]
    const rank = tf.maximum<tf.Tensor2D>(begun.sub(int(1)), int(0)); // among the possible ones
    const own = where<tf.Tensor2D>(possible, countBefore(possible), -1);
    return tf.any<tf.Tensor2D>(tf.equal(rank.expandDims(2), own.expandDims(1)), 1);
  });
}

/**
 * ATS as a reducer. A budget says how many patches may stay; outputs beyond those that do are empty (size 0).
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * const reducer = ats({ keepRate: 0.7 });
 * const place = { layer: 3, layers: 12, tokens: 197, initialTokens: 197, specialTokens: 1, grid: [14, 14] as const };
 * assert.equal(reducer.plan(place).achieved, 196 - 137);
 * assert.ok(reducer.leavesEmpty);
 * ```
 */
export function ats(options: ATSOptions): Reducer {
  const { parity = false } = options;
  const left = patchesLeft(options, parity ? truncateAsReference : truncate);
  const planned = (place: Place) => pruningBudget(place, left(place));
  return {
    name: "ats",
    needs: ["attention", "values"],
    leavesEmpty: true,
    proportionalAttention: false,
    plan: planned,
    reduce: (view) => {
      const budget = planned(view);
      const { specialTokens, tokens } = view;
      return tidy((): SlotMap => {
        const score = significance(need(view, "attention", "ats"), need(view, "values", "ats"), specialTokens);
        const real = tf.greater(view.size, 0).slice([0, specialTokens]).cast<tf.Tensor2D>("float32");
        const outputs = tokens - specialTokens - budget.achieved;
        // the code counts the class token among the samples
        const points = parity ? samplePoints(outputs + 1, true) : samplePoints(outputs);
        const stays = sampled(refuseNaNIn(score, "ats", view).mul(real), points, parity);
        const slot = where<tf.Tensor2D>(stays, countBefore(stays), -1);
        const map = { kind: "slots", tokens: tokens - specialTokens, outputs, slot, anchor: stays, budget } as const;
        return { ...withSpecialTokens(map, specialTokens), budget };
      });
    },
  };
}

/**
 * What the class token takes from each patch: its attention times the length of the patch's value, summed over heads, as
 * shares of 1. Without a class token all patches look.
 *
 * @param attention [batch, heads, tokens, tokens]
 * @param values [batch, heads, tokens, channels per head]
 * @returns [batch, patches]
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { tf } from "tessera/tensor/mod.ts";
 * const attention = tf.tensor4d([[[[0, 0.5, 0.5], [1, 0, 0], [1, 0, 0]]]]);
 * const values = tf.tensor4d([[[[1], [1], [-3]]]]);
 * assert.deepEqual(significance(attention, values).arraySync(), [[0.25, 0.75]]);
 * ```
 */
export function significance(attention: tf.Tensor4D, values: tf.Tensor4D, specialTokens = 1): tf.Tensor2D {
  return tidy(() => {
    const rows = specialTokens ? attention.slice([0, 0, 0, 0], [-1, -1, 1, -1]) : attention;
    const taken = tf.mul(rows.mean<tf.Tensor3D>(2), tf.norm(values, 2, 3)).sum(1); // [batch, tokens]
    const ofPatches = taken.slice([0, specialTokens]) as tf.Tensor2D;
    return tf.div(ofPatches, tf.maximum(ofPatches.sum(1, true), 1e-30));
  });
}

/** ATS in the catalogue. */
export const atsMethod = trainingFree(ats, {
  family: "prune",
  paper: "Fayyaz et al., Adaptive Token Sampling, 2022",
  section: "3, arXiv:2111.15667",
  tier: 1,
  traceable: true,
  golden: ["ats.adaptive_token_sampling", "vit_ats.forward"],
  cost: "nk comparisons; nk floats",
  differs: "from the code in taking as many sample points as patches may stay, where theirs loses one for most numbers",
  breaks: {
    mass: "patches are dropped",
    P2: "fewer samples are taken at other points",
    U4: "outputs beyond the sampled patches are empty",
    U9: "the distribution is cumulated in the order of the input",
  },
});
