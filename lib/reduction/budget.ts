/**
 * How much to remove, and where: one way of saying it for all methods.
 *
 * A budget names exactly one of `r` (tokens that go in each block), `keepRate` (fraction of the patches at the start
 * that is left after each of some blocks) and `keep` (numbers of patches left after some blocks). Special tokens do not
 * count and never go.
 *
 * @module
 */
import type { Place } from "../nn/reducer.ts";
import { BudgetConflict, BudgetOutOfRange } from "../nn/reduction_errors.ts";
import { mergeSchedule, type Schedule } from "./schedule.ts";

/** Tokens to remove in each block, as ToMe counts them. */
export interface RemoveBudget {
  /** The same number in each block, a linear schedule, or one number per block. */
  readonly r: Schedule;
}

/** Fractions of the patches to keep, as Top-K and EViT count them. */
export interface KeepRateBudget {
  /** In (0, 1]. One number: after the i-th of `layers` its i-th power is left. A list: one fraction for each of them. */
  readonly keepRate: number | readonly number[];
  /** Blocks after whose attention patches go, from 0. Default: at a quarter, half and three quarters of the depth. */
  readonly layers?: readonly number[];
}

/** Numbers of patches to keep. */
export interface KeepBudget {
  /** Patches left after each of `layers`. */
  readonly keep: readonly number[];
  readonly layers: readonly number[];
}

/** Exactly one way of saying how much goes. */
export type LayerBudget = RemoveBudget | KeepRateBudget | KeepBudget;

/** How a fraction of patches becomes a number of patches. */
export interface Rounding {
  /** Of what `keepRate` is a fraction: the patches at the start (Top-K), or those that arrive (EViT). */
  readonly of: "initial" | "arriving";
  /** From a product of patches and rates to a whole number. */
  readonly round: (patches: number) => number;
}

/** Truncation as it is meant: 100 x 0.7² is 49, although in binary it comes out a hair below. */
export const truncate: Rounding = { of: "initial", round: (patches) => Math.floor(patches + 1e-9) };

/** Truncation as Python's `int` of a double does it. */
export const truncateAsReference: Rounding = { of: "initial", round: Math.trunc };

/**
 * Checks a budget once, at the public door, and returns how many patches it wants left at a place.
 *
 * @returns A function from a place to the number of patches that are to stay there.
 * @throws {BudgetConflict} Two budgets at once, or none.
 * @throws {BudgetOutOfRange} A negative or broken number, a rate outside (0, 1].
 *
 * @example Half of 16 patches after block 1
 * ```ts
 * import assert from "node:assert/strict";
 * const stay = patchesLeft({ keepRate: 0.5, layers: [1] });
 * const place = { layers: 4, tokens: 17, initialTokens: 17, specialTokens: 1, grid: [4, 4] as const };
 * assert.deepEqual([stay({ ...place, layer: 0 }), stay({ ...place, layer: 1 })], [16, 8]);
 * ```
 */
export function patchesLeft(budget: LayerBudget, rounding: Rounding = truncate): (place: Place) => number {
  const named = (["r", "keepRate", "keep"] as const).filter((name) => name in budget);
  if (named.length !== 1) {
    throw new BudgetConflict(
      named.length
        ? `a budget is one of r, keepRate and keep, but ${named.join(" and ")} were given; leave one`
        : "a budget is needed, but none was given; pass r, keepRate or keep",
    );
  }
  if ("r" in budget) {
    const { r } = budget;
    mergeSchedule(r, 1); // refuses a bad schedule here, not in the middle of a model
    return (place) => place.tokens - place.specialTokens - mergeSchedule(r, place.layers)[place.layer];
  }
  const list = "keep" in budget ? budget.keep : typeof budget.keepRate === "number" ? undefined : budget.keepRate;
  for (const layer of budget.layers ?? []) {
    if (!Number.isInteger(layer) || layer < 0) {
      throw new BudgetOutOfRange(`layers are block numbers from 0, but one of them is ${layer}; correct it`);
    }
  }
  if (list && budget.layers && list.length !== budget.layers.length) {
    throw new BudgetOutOfRange(
      `each of ${budget.layers.length} layers needs one number, but there are ${list.length}; make the lists equally long`,
    );
  }
  if ("keep" in budget) {
    for (const keep of budget.keep) {
      if (!Number.isInteger(keep) || keep < 1) {
        throw new BudgetOutOfRange(`keep is a number of patches from 1, but it is ${keep}; keep at least one patch`);
      }
    }
  } else {
    for (const rate of [budget.keepRate].flat()) {
      if (!(rate > 0 && rate <= 1)) {
        throw new BudgetOutOfRange(`keepRate must lie in (0, 1], but it is ${rate}; to remove nothing, pass 1`);
      }
    }
  }
  return (place) => {
    const arriving = place.tokens - place.specialTokens;
    const stages = budget.layers ?? defaultLayers(place.layers);
    const stage = stages.indexOf(place.layer);
    if (stage < 0) return arriving;
    if ("keep" in budget) return Math.min(arriving, budget.keep[stage]);
    const { keepRate } = budget;
    const ofArriving = rounding.of === "arriving";
    const rate = typeof keepRate === "number" ? keepRate ** (ofArriving ? 1 : stage + 1) : keepRate[stage] ?? 1;
    const whole = ofArriving ? arriving : place.initialTokens - place.specialTokens;
    return Math.min(arriving, rounding.round(whole * rate));
  };
}

/**
 * A budget that acts at `layers` unless it names its own, or removes in every block.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * assert.deepEqual(withLayers({ keepRate: 0.5 }, [2]), { keepRate: 0.5, layers: [2] });
 * assert.deepEqual(withLayers({ keepRate: 0.5, layers: [3] }, [2]), { keepRate: 0.5, layers: [3] });
 * ```
 */
export function withLayers<Options extends LayerBudget>(budget: Options, layers?: readonly number[]): Options {
  return layers && !("r" in budget) && !budget.layers ? { ...budget, layers } : budget;
}

/** The blocks at a quarter, half and three quarters of the depth: 3, 6 and 9 of 12. */
function defaultLayers(layers: number): number[] {
  return [...new Set([1, 2, 3].map((quarter) => Math.floor(quarter * layers / 4)))];
}
