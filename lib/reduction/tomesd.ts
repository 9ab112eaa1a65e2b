/**
 * Token Merging for Stable Diffusion (ToMeSD): one token in each cell of the grid can be joined, all others may go, so
 * that what is left covers the image; `unmerge` gives every patch its features back.
 *
 * Bolya and Hoffman, "Token Merging for Fast Stable Diffusion", CVPR Workshops 2023, arXiv:2303.17604, section 4. Checked
 * against the authors' code (tests/golden, `tomesd.bipartite_soft_matching_2d`). Differs from the code in weighting by
 * size, in the order of outputs, and in drawing cells' tokens whatever the size of the batch (`parity: true` takes plain
 * means, those that stay by chance before those of the cells, and the first token of each cell where the batch is odd), and
 * in saying when fewer can go than asked.
 *
 * The authors merge before self-attention and give every patch its features back behind it; cross-attention and the MLP
 * stay as they are unless they are asked for. That is `aroundModule`, for any module; the reducer leaves tokens merged, as
 * the other methods of the catalogue do.
 *
 * @module
 */
import { need, type Place, type Reducer } from "../nn/reducer.ts";
import { GridMismatch } from "../nn/reduction_errors.ts";
import { applyMap, type Budget, budgetOf, countBefore, type SlotMap, type TokenMap, unmerge } from "../nn/token_map.ts";
import { random } from "../random.ts";
import { gatherTokens, placeOfHighest, rankDescending, stopGradient, tf, tidy } from "../tensor/mod.ts";
import { type LayerBudget, patchesLeft, truncate, truncateAsReference } from "./budget.ts";
import { trainingFree } from "./method.ts";
import { meanWeights } from "./order.ts";
import { cosine } from "./similarity.ts";
import { patchNumbers, refuseNaNIn, withSpecialTokens } from "./special.ts";
import { int, where } from "./where.ts";

/** Options of ToMeSD. */
export type ToMeSDOptions = LayerBudget & {
  /** Rows and columns of a cell. Default: 2 x 2. */
  readonly cell?: readonly [rows: number, columns: number];
  /** Which patch of each cell can be joined: one that is drawn, as the authors do, or its first. Default: "drawn". */
  readonly pick?: "drawn" | "first";
  /** What is drawn comes from this; the same in every block and for all images of a batch. Default: 0. */
  readonly seed?: number;
  /** The authors' order and plain means. Default: false. */
  readonly parity?: boolean;
};

/**
 * Which patches can be joined: the first of each whole cell of the grid. Rows and columns beyond the last whole cell have
 * none.
 *
 * @param options `pick`: for each cell, row by row, which of its patches it is instead (the authors draw it).
 * @returns Patches in the order of the cells, as numbers from 0.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * assert.deepEqual(cellTokens([4, 4], [2, 2]), [0, 2, 8, 10]);
 * assert.deepEqual(cellTokens([3, 5], [2, 2]), [0, 2]);
 * ```
 */
export function cellTokens(
  [rows, columns]: readonly [number, number],
  [height, width]: readonly [number, number],
  pick?: readonly number[],
): number[] {
  if (!(height >= 1 && width >= 1 && height <= rows && width <= columns)) {
    throw new GridMismatch(
      `a cell of ${height} x ${width} does not fit a grid of ${rows} x ${columns}; take a smaller one`,
    );
  }
  const across = Math.floor(columns / width), down = Math.floor(rows / height);
  return Array.from({ length: down * across }, (_, cell) => {
    const inside = pick?.[cell] ?? 0;
    const row = Math.floor(cell / across) * height + Math.floor(inside / width);
    return row * columns + (cell % across) * width + inside % width;
  });
}

/**
 * Merges the `r` patches that are most similar to one that can be joined.
 *
 * Costs (tokens - joined) x joined x channels multiplications at most; reads nothing back.
 *
 * @param metric [batch, tokens, channels]
 * @param joinable [batch, tokens] bool: which can be joined, the same number in each row; they never go.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { tf } from "tessera/tensor/mod.ts";
 * const metric = tf.tensor3d([[[1, 0], [0, 1], [0.9, 0.1]]]);
 * const map = mergeIntoCells(metric, tf.tensor2d([[1, 0, 0]], undefined, "bool"), { r: 1 });
 * assert.deepEqual(map.slot.arraySync(), [[0, 1, 0]]);
 * ```
 */
export function mergeIntoCells(
  metric: tf.Tensor3D,
  joinable: tf.Tensor2D,
  { r, parity = false }: { readonly r: number; readonly parity?: boolean },
): SlotMap {
  const tokens = metric.shape[1], outputs = tokens - r;
  return tidy(() => {
    const possible = tf.add(cosine(stopGradient(metric)), where(joinable, 0, -Infinity).expandDims(1)) as tf.Tensor3D;
    const partner = placeOfHighest(possible) as tf.Tensor2D;
    const best = where<tf.Tensor2D>(joinable, -Infinity, possible.max<tf.Tensor2D>(2));
    const rank = rankDescending(best); // those that can be joined come last
    const leaves = tf.less<tf.Tensor2D>(rank, int(r));
    const anchor = tf.logicalNot<tf.Tensor2D>(leaves);
    const budget = { requested: r, achieved: r };
    const cells = joinable.cast<tf.Tensor2D>("int32");
    const behind = tf.sub<tf.Tensor2D>(int(outputs), cells.sum(1, true)).add<tf.Tensor2D>(countBefore(joinable));
    const own = parity ? where<tf.Tensor2D>(joinable, behind, rank.sub<tf.Tensor2D>(int(r))) : countBefore(anchor);
    const slot = where<tf.Tensor2D>(leaves, gatherTokens(own, partner), own);
    const map = { kind: "slots", tokens, outputs, slot, anchor, budget } as const;
    return parity ? { ...map, weight: meanWeights(slot, outputs) } : { ...map, anchorsInOrder: true };
  });
}

/**
 * A module on merged tokens, with the way back: `x + unmerge(module(merge(normed)))`. So are the blocks of a diffusion model
 * made cheaper while every patch stays.
 *
 * @param x [batch, tokens, channels], the residual.
 * @param normed What the module gets, [batch, tokens, channels].
 *
 * @example Two equal patches are looked at once
 * ```ts
 * import assert from "node:assert/strict";
 * import { tf } from "tessera/tensor/mod.ts";
 * const x = tf.tensor3d([[[1], [1], [5]]]);
 * const map = mergeIntoCells(x, tf.tensor2d([[1, 0, 0]], undefined, "bool"), { r: 1 });
 * const seen: number[] = [];
 * const after = aroundModule(x, x, map, (merged) => (seen.push(merged.shape[1]), tf.mul(merged, 10)));
 * assert.deepEqual([seen, after.arraySync()], [[2], [[[11], [11], [55]]]]);
 * ```
 */
export function aroundModule(
  x: tf.Tensor3D,
  normed: tf.Tensor3D,
  map: TokenMap,
  module: (merged: tf.Tensor3D) => tf.Tensor3D,
): tf.Tensor3D {
  return tidy(() => tf.add<tf.Tensor3D>(x, unmerge(map, module(applyMap(map, normed).x))));
}

/**
 * ToMeSD as a reducer. The same patches can be joined in every block, so that no cell is left without one.
 *
 * @example At most three quarters of the patches can go, however often
 * ```ts
 * import assert from "node:assert/strict";
 * const place = { layer: 0, layers: 4, tokens: 17, initialTokens: 17, specialTokens: 1, grid: [4, 4] as const };
 * const { achieved, clampedBy } = tomesd({ r: 14 }).plan(place);
 * assert.deepEqual([achieved, clampedBy], [12, "one patch of each of 4 cells stays"]);
 * ```
 */
export function tomesd(options: ToMeSDOptions): Reducer {
  const { cell = [2, 2], pick = "drawn", seed = 0, parity = false } = options;
  const left = patchesLeft(options, parity ? truncateAsReference : truncate);
  const fitting = ({ grid: [rows, columns] }: Place) => [Math.min(cell[0], rows), Math.min(cell[1], columns)] as const; // a thin grid has thin cells
  const planned = (place: Place): Budget => {
    const patches = place.tokens - place.specialTokens;
    const cells = cellTokens(place.grid, fitting(place)).length;
    return budgetOf(
      patches,
      Math.max(Math.min(cells, patches), left(place)),
      patches - left(place),
      `one patch of each of ${cells} cells stays`,
    );
  };
  /** The patches that can be joined. */
  const joinableOf = (place: Place, batch: number): number[] => {
    const [height, width] = fitting(place);
    const first = pick === "first" || (parity && batch % 2 === 1); // halves of a guided pair must share their patches
    const cells = cellTokens(place.grid, [height, width]).length;
    const rng = random(seed, "tomesd");
    const inside = first ? undefined : Array.from({ length: cells }, () => rng.integer(height * width));
    return cellTokens(place.grid, [height, width], inside);
  };
  return {
    name: "tomesd",
    needs: ["keys", "positions"],
    proportionalAttention: false,
    plan: planned,
    reduce: (view) => {
      const budget = planned(view);
      const { specialTokens, grid } = view;
      return tidy(() => {
        const keys = need(view, "keys", "tomesd").mean<tf.Tensor3D>(1).slice([0, specialTokens, 0]) as tf.Tensor3D;
        const chosen = new Float32Array(grid[0] * grid[1]);
        for (const patch of joinableOf(view, view.x.shape[0])) chosen[patch] = 1;
        const patch = patchNumbers(view, "tomesd");
        const joinable = tf.greater<tf.Tensor2D>(tf.gather<tf.Tensor>(tf.tensor1d(chosen), patch), 0);
        const map = mergeIntoCells(refuseNaNIn(keys, "tomesd", view), joinable, { r: budget.achieved, parity });
        return { ...withSpecialTokens(map, specialTokens), budget };
      });
    },
  };
}

/** ToMeSD in the catalogue. */
export const tomesdMethod = trainingFree(tomesd, {
  family: "merge",
  paper: "Bolya and Hoffman, ToMeSD, 2023",
  section: "4, arXiv:2303.17604",
  tier: 1,
  traceable: true,
  golden: ["tomesd.bipartite_soft_matching_2d"],
  cost: "n²C multiplications; n² floats",
  differs: "from the code in weighting by size, in the order, and in drawing for odd batches too",
  breaks: {},
});
