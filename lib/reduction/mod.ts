/**
 * Token reduction: the catalogue. A method is a function of its options that gives a `Reducer`; each is one file, with
 * its paper at the top.
 *
 * @module
 */
import { evit } from "./evit.ts";
import { pooling } from "./pooling.ts";
import { randomPruning } from "./random.ts";
import { tome } from "./tome.ts";
import { topk } from "./topk.ts";

/** Every method under its name; a misspelt name does not compile. */
export const reducers = { tome, topk, evit, random: randomPruning, pooling } as const;

/** The name of a method. */
export type ReducerName = keyof typeof reducers;

export type { KeepBudget, KeepRateBudget, LayerBudget, RemoveBudget } from "./budget.ts";
export { mergeSchedule, type Schedule } from "./schedule.ts";
export {
  bipartiteSoftMatching,
  kthBipartiteSoftMatching,
  type MatchingOptions,
  tome,
  type ToMeOptions,
  unmergeAsAuthors,
} from "./tome.ts";
export { topk, type TopKOptions } from "./topk.ts";
export { evit, type EViTOptions, fuseInattentive } from "./evit.ts";
export { classAttention, pruneByScore, type PruneOptions } from "./prune.ts";
export { randomPruning } from "./random.ts";
export { gridParts, pooling } from "./pooling.ts";
