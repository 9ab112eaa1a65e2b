/**
 * A pruning method in three parts: a *score* says how much each token matters, a *selection* says which stay, a
 * *combination* says what becomes of the others. New hybrids are one line each.
 *
 * The parts that published methods are made of, by name: specification of reduction, section 4.3.
 *
 * @module
 */
import type { BlockView, Hook, Need, Place, Reducer } from "../nn/reducer.ts";
import { type Budget, budgetOf, type TokenMap } from "../nn/token_map.ts";
import { type tf, tidy } from "../tensor/mod.ts";
import { type LayerBudget, patchesLeft, type Rounding, truncate, withLayers } from "./budget.ts";
import { drop } from "./combine.ts";
import { best } from "./select.ts";
import { refuseNaNIn } from "./special.ts";

/** How much each patch matters. */
export interface Score {
  readonly name: string;
  readonly needs: readonly Need[];
  /** [batch, patches], higher = keep; special tokens have none. Infinity protects, -Infinity goes first. */
  readonly of: (view: BlockView) => tf.Tensor2D;
}

/** Which patches stay. */
export interface Choice {
  /** [batch, patches] bool: exactly `keep` true in each row. */
  readonly stays: tf.Tensor2D;
  /** Number of patches that stay. */
  readonly keep: number;
  /** Tokens that are to be made from the others, where that is not always the same number; `compose` says it. */
  readonly made?: number;
}

/** How patches are chosen by their scores. */
export interface Select {
  readonly name: string;
  readonly needs: readonly Need[];
  readonly choose: (score: tf.Tensor2D, keep: number, view: BlockView) => Choice;
}

/** What becomes of the patches that do not stay. */
export interface Combine {
  readonly name: string;
  readonly needs: readonly Need[];
  /**
   * Tokens that are made from those that go, beside those that stay: a number, or what follows from the patches that
   * arrive and the tokens that are wanted, which count both.
   */
  readonly made: number | ((patches: number, wanted: number) => number);
  readonly combine: (choice: Choice, score: tf.Tensor2D, view: BlockView) => TokenMap;
}

/** The parts of a method. */
export interface Parts {
  /** Default: the names of the parts. */
  readonly name?: string;
  readonly score: Score;
  /** Default: the best by score. */
  readonly select?: Select;
  /** Default: they are dropped. */
  readonly combine?: Combine;
  /** Blocks where it acts unless a budget names others. Default: at a quarter, half and three quarters of the depth. */
  readonly layers?: readonly number[];
  /** How a share of patches becomes a number of patches. Default: of the patches at the start, truncated. */
  readonly rounding?: Rounding;
  /** Default: "afterAttention". */
  readonly hook?: Hook;
}

/**
 * Puts a method together from its parts.
 *
 * @returns A function of a budget, like every method of the catalogue.
 *
 * @example A hybrid: keep what the class token looks at, and let each other patch join the kept one it resembles most
 * ```ts
 * import assert from "node:assert/strict";
 * import { joinNearest } from "tessera/reduction/combine.ts";
 * import { classAttentionScore } from "tessera/reduction/scores.ts";
 * const hybrid = compose({ score: classAttentionScore, combine: joinNearest() })({ keepRate: 0.5, layers: [1] });
 * const place = { layer: 1, layers: 4, tokens: 17, initialTokens: 17, specialTokens: 1, grid: [4, 4] as const };
 * assert.equal(hybrid.name, "class attention + best + join nearest");
 * assert.deepEqual(hybrid.plan(place), { requested: 8, achieved: 8 });
 * assert.deepEqual(hybrid.needs, ["attention", "keys"]);
 * ```
 */
export function compose(parts: Parts): (options: LayerBudget) => Reducer {
  const { score, select = best, combine = drop, name, layers, rounding = truncate, hook } = parts;
  const called = name ?? [score, select, combine].map((part) => part.name).join(" + ");
  return (options) => {
    const left = patchesLeft(withLayers(options, layers), rounding);
    return {
      ...(hook ? { hook } : {}),
      name: called,
      needs: [...new Set([...score.needs, ...select.needs, ...combine.needs])],
      proportionalAttention: false,
      plan: (place) => composedBudget(place, left(place), combine),
      reduce: (view) => {
        const budget = composedBudget(view, left(view), combine);
        const patches = view.tokens - view.specialTokens, wanted = patches - budget.achieved;
        const made = madeFrom(combine, patches, wanted), keep = wanted - made;
        return tidy(() => {
          const scored = scoreOf(score, view, called);
          return { ...combine.combine({ ...select.choose(scored, keep, view), made }, scored, view), budget };
        });
      },
    };
  };
}

/**
 * The score, refused where it holds NaN.
 *
 * @throws {NaNScore} Where it does.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { tf } from "tessera/tensor/mod.ts";
 * import { randomBlock } from "tessera/reduction/laws.ts";
 * const broken = { name: "broken", needs: [], of: () => tf.tensor2d([[NaN]]) };
 * assert.throws(() => scoreOf(broken, randomBlock(1).view, "mine"), /NaNScore: the score of mine in block \d holds NaN/);
 * ```
 */
export function scoreOf(score: Score, view: BlockView, method: string): tf.Tensor2D {
  return refuseNaNIn(score.of(view), method, view);
}

/** At least one patch stays; what is made counts among those that are wanted. Making it from one patch removes nothing. */
function composedBudget(place: Place, left: number, combine: Combine): Budget {
  const patches = place.tokens - place.specialTokens;
  const made = madeFrom(combine, patches, Math.max(1, left));
  const requested = Math.max(0, patches - left);
  if (requested === 0) return { requested, achieved: 0 };
  const reason = made ? `at least one patch must stay beside the ${made} made` : "at least one patch must stay";
  return budgetOf(patches, Math.min(patches, Math.max(1 + made, left)), requested, reason);
}

function madeFrom({ made }: Combine, patches: number, wanted: number): number {
  return typeof made === "number" ? made : made(patches, wanted);
}
