/**
 * Fixed patterns: keep the patches nearest to the centre of the image, whatever is in them. The control for data sets
 * whose object is in the middle.
 *
 * Haurum et al., "Which Tokens to Use?", ICCV Workshops 2023, arXiv:2308.04657, section 3. Checked against their code
 * (tests/golden, `heuristic.pattern`, `vit_heuristic.forward`). Differs from the code in keeping exactly as many patches
 * as asked (equal distances: row by row); theirs keeps every patch up to a distance and misses the number, measures from a
 * point off the centre where the grid is odd, and masks patches instead of removing them: `parity: true` follows the first
 * two, by {@link patternThreshold} and {@link centreDistances}.
 *
 * @module
 */
import { type Place, type Reducer } from "../nn/reducer.ts";
import { tf, tidy } from "../tensor/mod.ts";
import { type LayerBudget, patchesLeft, truncate, truncateAsReference } from "./budget.ts";
import { trainingFree } from "./method.ts";
import { pruneByScore, pruningBudget } from "./prune.ts";
import { patchNumbers } from "./special.ts";

/** How distance is measured: rows plus columns, straight, or the longer of the two. */
export type Distance = "l1" | "l2" | "linf";

/** Options of a fixed pattern. */
export type FixedPatternOptions = LayerBudget & {
  /** Default: "l2". */
  readonly distance?: Distance;
  /** The authors' grid of coordinates, and all patches up to the distance that comes nearest to the number. */
  readonly parity?: boolean;
};

/**
 * Distance of the middle of each patch from the middle of the image, row by row, in patches.
 *
 * @param parity The authors' coordinates: evenly spaced from -floor(side / 2) to floor(side / 2), where Python rounds the
 *   first down once more, so that an odd grid is off centre.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * assert.deepEqual(centreDistances([1, 3], "l1"), [1, 0, 1]);
 * assert.deepEqual(centreDistances([3, 3], "linf", true).slice(0, 3), [2, 2, 2]);
 * ```
 */
export function centreDistances(
  [rows, columns]: readonly [number, number],
  distance: Distance,
  parity = false,
): number[] {
  const coordinate = (index: number, side: number) => {
    if (!parity) return index - (side - 1) / 2;
    const first = Math.floor(-side / 2), last = Math.floor(side / 2);
    return side === 1 ? first : first + (last - first) * index / (side - 1);
  };
  return Array.from({ length: rows * columns }, (_, patch) => {
    const down = Math.abs(coordinate(Math.floor(patch / columns), rows));
    const right = Math.abs(coordinate(patch % columns, columns));
    if (distance === "l1") return down + right;
    return distance === "l2" ? Math.hypot(down, right) : Math.max(down, right);
  });
}

/**
 * The authors' threshold for `keep` patches: the distance up to which the number of patches is nearest to it (equally
 * near: the smaller distance).
 *
 * @example Four patches are at .71, and none at less
 * ```ts
 * import assert from "node:assert/strict";
 * assert.equal(patternThreshold(centreDistances([4, 4], "linf"), 5), 0.5);
 * ```
 */
export function patternThreshold(distances: readonly number[], keep: number): number {
  const steps = [...new Set(distances.map((value) => Number(value.toFixed(6))))].sort((a, b) => a - b);
  let best = steps[0], missed = Infinity;
  for (const step of steps) {
    const off = Math.abs(distances.filter((value) => value <= step + 1e-6).length - keep);
    if (off < missed) [best, missed] = [step, off];
  }
  return best;
}

/**
 * The authors' contiguous mode: the distance falls along a line over the blocks, from the farthest patch before the first
 * of some blocks to `least` behind the last of them.
 *
 * @returns One distance for each of `layers` blocks and one more.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * assert.deepEqual(contiguousThresholds(8, 1, { layers: 6, from: 2, to: 4 }), [8, 8, 6.25, 4.5, 2.75, 1, 1]);
 * ```
 */
export function contiguousThresholds(
  farthest: number,
  least: number,
  { layers, from, to }: { readonly layers: number; readonly from: number; readonly to: number },
): number[] {
  const step = (farthest - least) / (to - from + 2);
  return Array.from({ length: layers + 1 }, (_, layer) => {
    const passed = Math.min(Math.max(layer - (from - 1), 0), to - from + 2);
    return farthest - passed * step;
  });
}

/**
 * A fixed pattern as a reducer.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * const place = { layer: 3, layers: 12, tokens: 197, initialTokens: 197, specialTokens: 1, grid: [14, 14] as const };
 * assert.equal(fixedPattern({ keepRate: 0.7 }).plan(place).achieved, 196 - 137);
 * assert.equal(fixedPattern({ keepRate: 0.7, parity: true }).plan(place).achieved, 196 - 140); // the authors keep 140
 * ```
 */
export function fixedPattern(options: FixedPatternOptions): Reducer {
  const { distance = "l2", parity = false } = options;
  const left = patchesLeft(options, parity ? truncateAsReference : truncate);
  const wanted = (place: Place) => {
    const patches = left(place);
    if (!parity || patches >= place.tokens - place.specialTokens) return patches;
    const distances = centreDistances(place.grid, distance, true);
    const threshold = patternThreshold(distances, patches);
    return Math.min(place.tokens - place.specialTokens, distances.filter((value) => value <= threshold + 1e-6).length);
  };
  return {
    name: "fixed pattern",
    needs: ["positions"],
    // the authors hide patches from the attention of their block already
    ...(parity ? { hook: "beforeBlock" } : {}),
    proportionalAttention: false,
    plan: (place) => pruningBudget(place, wanted(place)),
    reduce: (view) => {
      const { specialTokens } = view;
      const budget = pruningBudget(view, wanted(view));
      return tidy(() => {
        const distances = centreDistances(view.grid, distance, parity).map((value) => Number(value.toFixed(6)));
        const nearestFirst = distances.map((_, patch) => patch).sort((a, b) => distances[a] - distances[b] || a - b);
        const rank = new Float32Array(distances.length);
        for (const [place, patch] of nearestFirst.entries()) rank[patch] = -place;
        const patch = patchNumbers(view, "fixed pattern");
        const score = tf.gather<tf.Tensor>(tf.tensor1d(rank), patch) as tf.Tensor2D;
        const keep = view.tokens - specialTokens - budget.achieved;
        return { ...pruneByScore(score, { keep, specialTokens }), budget };
      });
    },
  };
}

/** Fixed patterns in the catalogue. */
export const fixedPatternMethod = trainingFree(fixedPattern, {
  family: "prune",
  paper: "Haurum et al., Which Tokens to Use?, 2023",
  section: "3, arXiv:2308.04657",
  tier: 1,
  traceable: true,
  golden: ["heuristic.pattern", "vit_heuristic.forward"],
  cost: "nothing; n floats",
  differs: "from the code in keeping exactly as many patches as asked, on a centred grid, and in removing the others",
  breaks: { mass: "patches are dropped" },
});
