/**
 * Average pooling: neighbouring patches become one, whatever is in them. The control for every method that looks.
 *
 * Any number of outputs is possible: the grid of patches is halved again and again along its longer side until each part
 * is one patch, and pooling undoes the last halvings first. So the parts are rectangles that differ by little in size,
 * and pooling in several blocks makes the same parts as pooling at once.
 *
 * Marin et al., "Token Pooling in Vision Transformers", 2021, arXiv:2110.03860, compares with such grids (section 4).
 *
 * @module
 */
import type { Reducer } from "../nn/reducer.ts";
import type { SlotMap } from "../nn/token_map.ts";
import { tf, tidy } from "../tensor/mod.ts";
import { type LayerBudget, patchesLeft } from "./budget.ts";
import { trainingFree } from "./method.ts";
import { pruningBudget } from "./prune.ts";
import { checkGrid } from "./special.ts";

/** A rectangle of patches: rows top .. bottom - 1 and columns left .. right - 1. */
interface Part {
  readonly top: number;
  readonly left: number;
  readonly bottom: number;
  readonly right: number;
}

/**
 * Which of `parts` rectangles each patch of the grid belongs to.
 *
 * @returns One part number per patch, row by row; parts are numbered by their first patch.
 * @throws {RangeError} Where `parts` is not a whole number from 1 to rows x columns.
 *
 * @example A grid of 2 x 4 in two parts
 * ```ts
 * import assert from "node:assert/strict";
 * assert.deepEqual(gridParts([2, 4], 2), [0, 0, 1, 1, 0, 0, 1, 1]);
 * ```
 */
export function gridParts([rows, columns]: readonly [number, number], parts: number): number[] {
  if (!Number.isInteger(parts) || parts < 1 || parts > rows * columns) {
    throw new RangeError(
      `parts must be a whole number from 1 to the ${rows * columns} patches, but it is ${parts}; keep at least one`,
    );
  }
  let level: Part[] = [{ top: 0, left: 0, bottom: rows, right: columns }];
  while (level.length < parts) {
    // the largest parts are halved first; where fewer halvings are left than parts, they are spread over the image
    const divisible = level.filter((part) => area(part) > 1);
    const wanted = Math.min(parts - level.length, divisible.length);
    const chosen = new Set(spread(divisible, wanted));
    level = level.flatMap((part) => chosen.has(part) ? halve(part) : [part]);
  }
  const owner: number[] = Array(rows * columns).fill(-1);
  const byFirstPatch = level.toSorted((a, b) => a.top - b.top || a.left - b.left);
  for (const [number, { top, left, bottom, right }] of byFirstPatch.entries()) {
    for (let row = top; row < bottom; row++) owner.fill(number, row * columns + left, row * columns + right);
  }
  return owner;
}

/**
 * Average pooling over the grid of patches as a reducer; a pooled token is the mean of its patches.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * const place = { layer: 0, layers: 4, tokens: 50, initialTokens: 50, specialTokens: 1, grid: [7, 7] as const };
 * assert.equal(pooling({ r: 24 }).plan(place).achieved, 24);
 * ```
 */
export function pooling(options: LayerBudget): Reducer {
  const left = patchesLeft(options);
  return {
    name: "pooling",
    needs: [],
    proportionalAttention: false,
    plan: (place) => (checkGrid(place, "pooling"), pruningBudget(place, left(place))),
    reduce: (view): SlotMap => {
      const { tokens, specialTokens, grid } = view;
      const budget = pruningBudget(view, left(view));
      const before = gridParts(grid, tokens - specialTokens);
      const after = gridParts(grid, tokens - specialTokens - budget.achieved);
      const slot = Int32Array.from({ length: tokens }, (_, token) => token);
      for (const [patch, part] of before.entries()) slot[specialTokens + part] = specialTokens + after[patch];
      return tidy(() => ({
        kind: "slots",
        tokens,
        outputs: tokens - budget.achieved,
        slot: tf.tensor2d(slot, [1, tokens], "int32").tile<tf.Tensor2D>([view.x.shape[0], 1]),
        budget,
      }));
    },
  };
}

/** Average pooling in the catalogue. */
export const poolingMethod = trainingFree(pooling, {
  family: "pool",
  paper: "Marin et al., Token Pooling, 2021 (as a baseline)",
  section: "4, arXiv:2110.03860",
  tier: 1,
  traceable: true,
  golden: [],
  cost: "nothing but the mean; n integers",
  differs: "from the paper in allowing any number of parts: rectangles of nearly equal size",
  breaks: { U9: "it looks at where patches are, not at what is in them" },
});

function area({ top, left, bottom, right }: Part): number {
  return (bottom - top) * (right - left);
}

function halve({ top, left, bottom, right }: Part): Part[] {
  if (bottom - top >= right - left) {
    const middle = top + Math.ceil((bottom - top) / 2);
    return [{ top, left, bottom: middle, right }, { top: middle, left, bottom, right }];
  }
  const middle = left + Math.ceil((right - left) / 2);
  return [{ top, left, bottom, right: middle }, { top, left: middle, bottom, right }];
}

/** `wanted` of the parts: in an order that does not depend on `wanted`, so that fewer parts are unions of more. */
function spread(parts: readonly Part[], wanted: number): Part[] {
  const golden = (Math.sqrt(5) - 1) / 2; // multiples of it, modulo 1, fall evenly apart
  return parts.map((part, index) => ({ part, turn: (index * golden) % 1 }))
    .toSorted((a, b) => area(b.part) - area(a.part) || a.turn - b.turn)
    .slice(0, wanted).map(({ part }) => part);
}
