/**
 * Nested pooling (Matryoshka): average squares of patches, coarser and coarser: 576, 144, 36, 9, 1 of a grid of 24 x 24.
 * A model that is trained on all scales lets its user choose one.
 *
 * Cai et al., "Matryoshka Multimodal Models", ICLR 2025, arXiv:2405.17430, section 3. A control without golden case: it is
 * plain average pooling, held to the laws and to sums on a napkin.
 *
 * @module
 */
import type { Place, Reducer } from "../nn/reducer.ts";
import { type Budget, budgetOf } from "../nn/token_map.ts";
import { tf, tidy } from "../tensor/mod.ts";
import { type LayerBudget, patchesLeft } from "./budget.ts";
import { trainingFree } from "./method.ts";
import { checkGrid } from "./special.ts";

/**
 * The grids that a grid can be pooled to, finest first: by 1, and by every square that divides it, in turn.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * const counts = poolingScales([24, 24]).map(([rows, columns]) => rows * columns);
 * assert.deepEqual(counts, [576, 144, 36, 9, 1]);
 * ```
 */
export function poolingScales([rows, columns]: readonly [number, number]): (readonly [number, number])[] {
  const scales: (readonly [number, number])[] = [[rows, columns]];
  let [height, width] = [rows, columns];
  while (height > 1 || width > 1) {
    // by the smallest number that divides both sides; where none does, to one row, one column or one patch
    const longest = Math.max(height, width);
    let step = 2;
    while (step < longest && (height % step || width % step)) step++;
    [height, width] = height % step || width % step ? [1, 1] : [height / step, width / step];
    scales.push([height, width]);
  }
  return scales;
}

/**
 * Nested pooling as a reducer: the finest scale that has no more patches than are to stay.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * const place = { layer: 0, layers: 4, tokens: 17, initialTokens: 17, specialTokens: 1, grid: [4, 4] as const };
 * const { requested, achieved } = nestedPooling({ r: 10 }).plan(place);
 * assert.deepEqual([requested, achieved], [10, 12]); // four squares of 2 x 2
 * ```
 */
export function nestedPooling(options: LayerBudget): Reducer {
  const left = patchesLeft(options);
  const scale = (place: Place, patches: number) =>
    poolingScales(place.grid).find(([rows, columns]) => rows * columns <= patches)!;
  const planned = (place: Place): Budget => {
    checkGrid(place, "nested pooling");
    const patches = place.tokens - place.specialTokens;
    const wanted = Math.max(1, left(place));
    if (wanted >= patches) {
      return { requested: patches - left(place), achieved: 0, ...(left(place) < patches ? only : {}) };
    }
    const [rows, columns] = scale(place, wanted);
    return budgetOf(patches, rows * columns, patches - left(place), "only whole scales of the grid can be taken");
  };
  return {
    name: "nested pooling",
    needs: [],
    proportionalAttention: false,
    plan: planned,
    reduce: (view) => {
      const budget = planned(view);
      const { specialTokens, tokens } = view;
      const [rows, columns] = scale(view, tokens - specialTokens);
      const [height, width] = scale(view, tokens - specialTokens - budget.achieved);
      const slot = Int32Array.from({ length: tokens }, (_, token) => {
        const patch = token - specialTokens;
        if (patch < 0) return token;
        const row = Math.floor(Math.floor(patch / columns) * height / rows);
        return specialTokens + row * width + Math.floor((patch % columns) * width / columns);
      });
      return tidy(() => ({
        kind: "slots",
        tokens,
        outputs: specialTokens + height * width,
        slot: tf.tensor2d(slot, [1, tokens], "int32").tile<tf.Tensor2D>([view.x.shape[0], 1]),
        budget,
      }));
    },
  };
}

const only = { clampedBy: "one patch is left" };

/** Nested pooling in the catalogue. */
export const nestedPoolingMethod = trainingFree(nestedPooling, {
  family: "pool",
  paper: "Cai et al., Matryoshka Multimodal Models, 2025",
  section: "3, arXiv:2405.17430",
  tier: 2,
  traceable: true,
  golden: [],
  cost: "nothing but the mean; n integers",
  differs: "from the paper in any grid, by the smallest squares that divide it",
  breaks: { U9: "it looks at where patches are, not at what is in them" },
});
