/**
 * How a score and a budget make a cache policy: what all methods of this folder share.
 *
 * A {@link CacheScore} says how much each token of each head matters; a {@link ScoredPolicy} is one with a budget, ready
 * for `generate`, and shows both, so that wrappers can build on it: `adaKV(snapKV({ keepRate: 0.5 }))`. The frame is that of
 * kvpress (Devoto et al., 2025, arXiv:2510.00636, section 4); the control for all scores is `randomEviction`.
 *
 * @module
 */
import {
  type CacheChange,
  type CacheNeed,
  type CachePlace,
  type CachePolicy,
  type CachePositions,
  type CacheView,
  eachLayer,
} from "../../nn/cache_policy.ts";
import { BudgetConflict, BudgetOutOfRange } from "../../nn/reduction_errors.ts";
import { type Budget, budgetOf } from "../../nn/token_map.ts";
import { type tf, tidy } from "../../tensor/mod.ts";
import { refuseNaNIn } from "../special.ts";
import { bestTokens } from "./heads.ts";

/** How much of a cache stays; exactly one way of saying it. A list has one entry for each layer. */
export type CacheBudget =
  /** Share of the prompt's tokens that stays in each head, in (0, 1]. */
  | { readonly keepRate: number | readonly number[] }
  /** Tokens that stay in each head. */
  | { readonly keep: number | readonly number[] }
  /** Tokens of the prompt that go from each head. */
  | { readonly remove: number | readonly number[] };

/** Options that every policy takes. */
export type CacheOptions = CacheBudget & {
  /** As the reference code does it, where that differs: see the method's file. Default: false. */
  readonly parity?: boolean;
};

/** How much each token of each head matters. */
export interface CacheScore {
  readonly name: string;
  readonly needs: readonly CacheNeed[];
  /**
   * [batch, keyHeads, n], higher = stay.
   *
   * @param keep How many are to stay, for scores that follow from it.
   */
  readonly of: (view: CacheView, keep: number) => tf.Tensor3D;
}

/** A policy that keeps the best of each head by a score. */
export interface ScoredPolicy extends CachePolicy {
  readonly score: CacheScore;
  /** How many tokens stay in each head of a layer, and why fewer go than was asked, if so. */
  plan(place: CachePlace): Budget;
  readonly parity: boolean;
  /** Places that stay of one layer, int32 [batch, keyHeads, k]; undefined: all. */
  choose(view: CacheView): tf.Tensor3D | undefined;
}

/** What a policy by score may say beyond its score and budget. */
export interface ScoredExtras {
  /** Default: "original". */
  readonly positions?: CachePositions;
  /** Least tokens that stay, where the method needs some. Default: 1. */
  readonly least?: number;
  /** In place of the best tokens of each head. */
  readonly choose?: (view: CacheView, keep: number, score: (view: CacheView) => tf.Tensor3D) => tf.Tensor3D;
  /** In place of the same number in each layer. */
  readonly plan?: (place: CachePlace) => Budget;
}

/**
 * A policy that keeps the best tokens of each head by a score, once after the prompt.
 *
 * @throws {BudgetConflict} Two budgets at once, or none.
 * @throws {BudgetOutOfRange} A budget that is none.
 *
 * @example A score of one's own: every second token
 * ```ts
 * import assert from "node:assert/strict";
 * import { cacheView } from "tessera/nn/mod.ts";
 * import { tf } from "tessera/tensor/mod.ts";
 * const even = { name: "even", needs: [], of: () => tf.tensor3d([[[1, 0, 1, 0]]]) };
 * const keys = tf.zeros<tf.Rank.R4>([1, 1, 4, 2]);
 * const places = byScore(even, { keepRate: 0.5 }).choose(cacheView({ keys, values: keys }));
 * assert.deepEqual(places?.arraySync(), [[[0, 2]]]);
 * ```
 */
export function byScore(score: CacheScore, options: CacheOptions, extras: ScoredExtras = {}): ScoredPolicy {
  const { plan = cacheBudget(options, extras.least), ...rest } = extras;
  return policyOf(score, { ...rest, plan, parity: options.parity ?? false });
}

/** What a policy by score is made of, with its budget worked out; what a wrapper takes over from the policy inside. */
export interface PolicyParts extends Omit<ScoredExtras, "least"> {
  readonly plan: (place: CachePlace) => Budget;
  readonly parity: boolean;
}

/** {@link byScore} from its parts. */
export function policyOf(score: CacheScore, { plan, parity, positions, choose: own }: PolicyParts): ScoredPolicy {
  const scoreOf = (view: CacheView, keep: number) => refuseNaNIn(score.of(view, keep), score.name, view);
  const choose = (view: CacheView): tf.Tensor3D | undefined => {
    const keep = view.tokens - plan(view).achieved;
    if (keep >= view.tokens) return undefined;
    return tidy(() =>
      own?.(view, keep, (of) => scoreOf(of, keep)) ?? bestTokens(scoreOf(view, keep), keep, parity ? "score" : "input")
    );
  };
  const answer = (view: CacheView): CacheChange | undefined => {
    const keep = choose(view);
    return keep && { keep };
  };
  const { name, needs } = score;
  return {
    name,
    needs,
    ...(positions ? { positions } : {}),
    score,
    plan,
    parity,
    choose,
    afterPrompt: eachLayer(answer),
  };
}

/** What a wrapper takes over from the policy inside, but for its choice. */
export function partsOfPolicy({ plan, parity, positions }: ScoredPolicy): PolicyParts {
  return { plan, parity, ...(positions ? { positions } : {}) };
}

/**
 * Checks a budget once, at the public door, and returns how many tokens of a layer go.
 *
 * A rate is truncated: 100 x 0.29 keeps 29, although in binary it comes out a hair below; `parity` truncates that too.
 * At least one token stays.
 *
 * @param least Tokens that stay in any case.
 * @throws {BudgetConflict} Two budgets at once, or none.
 * @throws {BudgetOutOfRange} A rate outside (0, 1], a negative or broken number.
 */
export function cacheBudget(
  options: CacheOptions,
  least = 1,
): (place: Pick<CachePlace, "tokens" | "layer" | "layers">) => Budget {
  const named = (["keepRate", "keep", "remove"] as const).filter((name) => name in options);
  if (named.length !== 1) {
    throw new BudgetConflict(
      named.length
        ? `a cache's budget is one of keepRate, keep and remove, but ${named.join(" and ")} were given; leave one`
        : "a cache's budget is needed, but none was given; pass keepRate, keep or remove",
    );
  }
  const [name] = named;
  const given = (options as unknown as Record<string, number | readonly number[]>)[name];
  for (const value of [given].flat()) {
    if (name === "keepRate" && !(value > 0 && value <= 1)) {
      throw new BudgetOutOfRange(`keepRate must lie in (0, 1], but it is ${value}; to evict nothing, pass 1`);
    }
    if (name !== "keepRate" && !(Number.isInteger(value) && value >= (name === "keep" ? 1 : 0))) {
      throw new BudgetOutOfRange(
        `${name} is a number of tokens${name === "keep" ? " from 1" : ""}, but it is ${value}; pass a whole number`,
      );
    }
  }
  return ({ tokens, layer, layers }) => {
    if (typeof given !== "number" && given.length !== layers) {
      throw new BudgetOutOfRange(
        `${name} has ${given.length} entries, but the model has ${layers} layers; pass one for each`,
      );
    }
    const value = typeof given === "number" ? given : given[layer];
    const wanted = name === "keep"
      ? value
      : name === "remove"
      ? tokens - value
      : options.parity
      ? Math.trunc(tokens * value)
      : Math.floor(tokens * value + 1e-9);
    const requested = Math.max(0, tokens - wanted);
    const left = Math.min(tokens, Math.max(least, wanted));
    return budgetOf(tokens, left, requested, `at least ${least === 1 ? "one token" : `${least} tokens`} must stay`);
  };
}
