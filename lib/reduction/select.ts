/**
 * Selections: which patches stay, given their scores. The parts that `compose` puts in the middle.
 *
 * @module
 */
import { need } from "../nn/reducer.ts";
import { foldIn, randomUniform, rankDescending, tf, tidy } from "../tensor/mod.ts";
import type { Score, Select } from "./compose.ts";
import { int, where } from "./where.ts";

/** The highest scores; equal scores: the lower place first. */
export const best: Select = {
  name: "best",
  needs: [],
  choose: (score, keep) => ({ keep, stays: tidy(() => rankDescending(score).less<tf.Tensor2D>(int(keep))) }),
};

/** Chance, in proportion to the exponential of the score (Gumbel's top-k): a score as a preference. */
export const drawn: Select = {
  name: "drawn",
  needs: ["key"],
  choose: (score, keep, view) =>
    tidy(() => {
      const uniform = randomUniform(foldIn(need(view, "key", "drawn"), 1), score.shape);
      const gumbel = tf.neg(tf.log(tf.neg(tf.log(tf.clipByValue(uniform, 1e-7, 1 - 1e-7)))));
      return best.choose(tf.add<tf.Tensor2D>(score, gumbel), keep, view);
    }),
};

/**
 * One part of the places by one score, the rest by another among those that are left: half by attention, half by
 * diversity, say. The score that is given to `compose` is the first.
 *
 * @param second The score of the rest.
 * @param share Of the places that go to the first score, 0 to 1; the number is rounded.
 *
 * @example Half by attention, half at random
 * ```ts
 * import assert from "node:assert/strict";
 * import { compose } from "tessera/reduction/compose.ts";
 * import { classAttentionScore, randomScore } from "tessera/reduction/scores.ts";
 * const half = compose({ score: classAttentionScore, select: mix(randomScore, 0.5) })({ keepRate: 0.5 });
 * assert.deepEqual(half.needs, ["attention", "key"]);
 * ```
 */
export function mix(second: Score, share: number): Select {
  if (!(share >= 0 && share <= 1)) {
    throw new RangeError(`share must lie in [0, 1], but it is ${share}; 0.5 gives each score half of the places`);
  }
  return {
    name: `mixed with ${second.name}`,
    needs: second.needs,
    choose: (score, keep, view) =>
      tidy(() => {
        const chosen = rankDescending(score).less<tf.Tensor2D>(int(Math.round(keep * share)));
        const rest = where<tf.Tensor2D>(chosen, Infinity, second.of(view)); // chosen ones stay first
        return best.choose(rest, keep, view);
      }),
  };
}
