/**
 * Equal costs: finds the budget under which a method costs a given number of multiplications, so that methods can be
 * compared at the same cost.
 *
 * @module
 */
import { type TokenCount } from "../nn/macs.ts";
import type { Reducer } from "../nn/reducer.ts";
import { BudgetOutOfRange } from "../nn/reduction_errors.ts";
import { type ModelSizes, placeIn } from "./method.ts";

/**
 * Tokens that enter and leave each block of a model of these sizes, special tokens included; counted without running.
 *
 * @example The authors' trace of ToMe with r = 16
 * ```ts
 * import assert from "node:assert/strict";
 * import { tome } from "tessera/reduction/tome.ts";
 * const deitS = { width: 384, heads: 6, layers: 12, grid: [14, 14], specialTokens: 1 } as const;
 * assert.deepEqual(tokenCounts(tome({ r: 16 }), deitS).map((count) => count.out).slice(-2), [21, 11]);
 * ```
 */
export function tokenCounts(reducer: Reducer, sizes: ModelSizes): TokenCount[] {
  let tokens = placeIn(sizes, 0).tokens;
  return Array.from({ length: sizes.layers }, (_, layer) => {
    const left = tokens - reducer.plan(placeIn(sizes, layer, tokens)).achieved;
    const count = { in: reducer.hook === "beforeBlock" ? left : tokens, out: left };
    tokens = left;
    return count;
  });
}

/** What is to be solved for. */
export interface SolveOptions {
  /** The method for a parameter: a keep rate, a mean number of tokens per block (`evenly`), whatever it has. */
  readonly make: (parameter: number) => Reducer;
  /** Its cost, in multiply-accumulates: `(reducer) => model.macs(reducer)`. */
  readonly macs: (reducer: Reducer) => number;
  /** The cost that is wanted. */
  readonly target: number;
  /** Between which numbers the parameter lies; the cost must rise or fall from one to the other. */
  readonly between: readonly [number, number];
  /** How far the cost may be off, as a share of the target. Default: 0.005. */
  readonly tolerance?: number;
}

/** What was found. */
export interface Solution {
  readonly parameter: number;
  readonly reducer: Reducer;
  readonly macs: number;
  /** (macs - target) / target */
  readonly off: number;
}

/**
 * Bisects the parameter until the cost is as near to the target as whole tokens allow.
 *
 * @throws {BudgetOutOfRange} Where no parameter costs that, to within the tolerance; says what came nearest.
 *
 * @example ToMe at two thirds of the cost
 * ```ts
 * import assert from "node:assert/strict";
 * import { vitMACs } from "tessera/nn/mod.ts";
 * import { evenly } from "tessera/reduction/schedule.ts";
 * import { tome } from "tessera/reduction/tome.ts";
 * const sizes = { width: 384, heads: 6, layers: 12, grid: [14, 14], specialTokens: 1 } as const;
 * const shape = { width: 384, depth: 12, mlpWidth: 1536, patches: 196, patchValues: 768, classes: 1000 };
 * const { off } = solveBudget({
 *   make: (r) => tome({ r: evenly(r, 12) }),
 *   macs: (reducer) => vitMACs(shape, tokenCounts(reducer, sizes)),
 *   target: 4.599e9 * 2 / 3,
 *   between: [0, 16],
 * });
 * assert.ok(Math.abs(off) < 0.005);
 * ```
 */
export function solveBudget({ make, macs, target, between, tolerance = 0.005 }: SolveOptions): Solution {
  if (!(target > 0)) throw new BudgetOutOfRange(`a cost must be above 0, but it is ${target}; give it in MACs`);
  const at = (parameter: number): Solution => {
    const reducer = make(parameter);
    const cost = macs(reducer);
    return { parameter, reducer, macs: cost, off: (cost - target) / target };
  };
  let [low, high] = between.map(at);
  if (low.macs > high.macs) [low, high] = [high, low];
  let best = Math.abs(low.off) < Math.abs(high.off) ? low : high;
  if (low.macs <= target && target <= high.macs) {
    for (let step = 0; step < 60 && low.parameter !== high.parameter; step++) {
      const middle = at((low.parameter + high.parameter) / 2);
      if (Math.abs(middle.off) < Math.abs(best.off)) best = middle;
      if (middle.macs < target) low = middle;
      else high = middle;
    }
  }
  if (Math.abs(best.off) <= tolerance) return best;
  throw new BudgetOutOfRange(
    `no budget costs ${(target / 1e9).toPrecision(4)} GMACs to within ${100 * tolerance} %; the nearest costs ` +
      `${(best.macs / 1e9).toPrecision(4)}: ask for that, or allow more`,
  );
}
