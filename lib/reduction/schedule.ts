/**
 * How many tokens go in each block, from one number.
 *
 * Bolya et al., "Token Merging: Your ViT But Faster", ICLR 2023, arXiv:2210.09461, section 4.1 and appendix D (decreasing
 * schedules merge more in early blocks). Checked against the authors' code (tests/golden/reduction.json, `tome.parse_r`).
 *
 * @module
 */

import { BudgetOutOfRange } from "../nn/reduction_errors.ts";

/** The same number in each block; a line around it, steeper with `inflect`; or one number per block (the rest 0). */
export type Schedule = number | { readonly r: number; readonly inflect: number } | readonly number[];

/**
 * Tokens to remove in each of `layers` blocks.
 *
 * With `inflect` the numbers run along a line from `r (1 - inflect)` to its mirror image, each truncated: -1 starts at
 * 2r and ends at 0, +1 the other way round.
 *
 * @returns One whole number per block.
 * @throws {BudgetOutOfRange} Where a number is negative, broken or not finite, or the list is longer than the model is deep.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * assert.deepEqual(mergeSchedule({ r: 3, inflect: -1 }, 4), [6, 4, 2, 0]);
 * assert.deepEqual(mergeSchedule([4, 4], 3), [4, 4, 0]);
 * ```
 */
export function mergeSchedule(schedule: Schedule, layers: number): number[] {
  if (typeof schedule === "number") return Array(layers).fill(wholeR(schedule));
  if (!("inflect" in schedule)) {
    const list = schedule.map(wholeR);
    return Array.from({ length: layers }, (_, layer) => list[layer] ?? 0);
  }
  const { r, inflect } = schedule;
  wholeR(r);
  if (!(inflect >= -1 && inflect <= 1)) {
    throw new BudgetOutOfRange(`inflect must lie in [-1, 1], but it is ${inflect}; 0 gives the same r in each block`);
  }
  const low = Math.trunc(r * (1 - inflect));
  const step = layers > 1 ? (2 * r - 2 * low) / (layers - 1) : 0;
  return Array.from({ length: layers }, (_, layer) => Math.trunc(low + step * layer));
}

function wholeR(r: number): number {
  if (Number.isInteger(r) && r >= 0) return r;
  throw new BudgetOutOfRange(`r must be a whole number of tokens from 0, but it is ${r}; to remove nothing, pass 0`);
}

/**
 * A number of tokens per block that need not be whole, spread over the blocks so that after each of them the sum is right
 * to a token.
 *
 * @example Two and a half per block
 * ```ts
 * import assert from "node:assert/strict";
 * assert.deepEqual(evenly(2.5, 4), [2, 3, 2, 3]);
 * ```
 */
export function evenly(r: number, layers: number): number[] {
  if (!(r >= 0 && Number.isFinite(r))) {
    throw new BudgetOutOfRange(`r must be a number of tokens from 0, but it is ${r}; to remove nothing, pass 0`);
  }
  return Array.from(
    { length: layers },
    (_, layer) => Math.floor((layer + 1) * r + 1e-9) - Math.floor(layer * r + 1e-9),
  );
}

/**
 * A keep rate that falls from 1 to its target along a cosine, so that a model is not cut down at once while it trains.
 *
 * Liang et al., EViT, arXiv:2202.07800, section 4.1: from epoch 10, over 100 epochs.
 *
 * @param options `keepRate`: the target; `from`: the epoch at which it begins to fall; `over`: epochs until it is there.
 * @returns The keep rate of an epoch, which need not be whole.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * const rate = shrinking({ keepRate: 0.5, from: 10, over: 100 });
 * assert.deepEqual([rate(0), rate(60), rate(200)], [1, 0.75, 0.5]);
 * ```
 */
export function shrinking(
  { keepRate, from, over }: { readonly keepRate: number; readonly from: number; readonly over: number },
): (epoch: number) => number {
  if (!(keepRate > 0 && keepRate <= 1)) {
    throw new BudgetOutOfRange(`keepRate must lie in (0, 1], but it is ${keepRate}; to remove nothing, pass 1`);
  }
  return (epoch) => {
    const way = Math.min(1, Math.max(0, (epoch - from) / over));
    return keepRate + (1 - keepRate) * (1 + Math.cos(Math.PI * way)) / 2;
  };
}
