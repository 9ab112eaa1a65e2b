/**
 * Token reduction: the catalogue. A method is a function of its options that gives a `Reducer`; each is one file, with
 * its paper at the top.
 *
 * @module
 */
import { atcMethod } from "./atc.ts";
import { atsMethod } from "./ats.ts";
import { Catalogue } from "./catalogue.ts";
import { dpcknnMethod } from "./dpcknn.ts";
import { crossgetMethod } from "./crossget.ts";
import { dctMethod } from "./dct.ts";
import { diffrateMethod } from "./diffrate.ts";
import { dynamicvitMethod } from "./dynamicvit.ts";
import { evitMethod } from "./evit.ts";
import { fixedPatternMethod } from "./fixed_pattern.ts";
import { kmedoidsMethod } from "./kmedoids.ts";
import { mctfMethod } from "./mctf.ts";
import { nestedPoolingMethod } from "./nested_pooling.ts";
import { patchmergerMethod } from "./patchmerger.ts";
import { perceiverMethod } from "./perceiver.ts";
import { pitomeMethod } from "./pitome.ts";
import { poolingMethod } from "./pooling.ts";
import { randomMethod } from "./random.ts";
import { kthBipartiteMethod, randomBipartiteMethod } from "./random_matching.ts";
import { sinkhornMethod } from "./sinkhorn.ts";
import { sitMethod } from "./sit.ts";
import { spvitMethod } from "./spvit.ts";
import { tokenlearnerMethod } from "./tokenlearner.ts";
import { tofuMethod } from "./tofu.ts";
import { tomesdMethod } from "./tomesd.ts";
import { tomeMethod } from "./tome.ts";
import { topkMethod } from "./topk.ts";
import { visionLanguage } from "./vision_language.ts";
import { sequenceMethods } from "./sequence_methods.ts";

/** Methods that work off the shelf, each from a budget alone. */
const offTheShelf = {
  tome: tomeMethod,
  kthBipartite: kthBipartiteMethod,
  randomBipartite: randomBipartiteMethod,
  tomesd: tomesdMethod,
  pitome: pitomeMethod,
  tofu: tofuMethod,
  mctf: mctfMethod,
  diffrate: diffrateMethod,
  crossget: crossgetMethod,
  atc: atcMethod,
  topk: topkMethod,
  evit: evitMethod,
  ats: atsMethod,
  fixedPattern: fixedPatternMethod,
  random: randomMethod,
  kmedoids: kmedoidsMethod,
  dpcknn: dpcknnMethod,
  pooling: poolingMethod,
  nestedPooling: nestedPoolingMethod,
  dct: dctMethod,
} as const;

/** Methods with parts to be trained, each made for a model. */
const withParameters = {
  dynamicvit: dynamicvitMethod,
  spvit: spvitMethod,
  sit: sitMethod,
  tokenlearner: tokenlearnerMethod,
  patchmerger: patchmergerMethod,
  perceiver: perceiverMethod,
  sinkhorn: sinkhornMethod,
} as const;

/** Every method under its name, with the facts about it; shows itself in a notebook as a table. */
export const catalogue = new Catalogue({ ...offTheShelf, ...withParameters, ...visionLanguage, ...sequenceMethods });

/** The name of a method of the catalogue. */
export type MethodName = keyof typeof catalogue.methods;

/** Methods that work off the shelf under their names; a misspelt name does not compile. */
export const reducers = Object.fromEntries(
  Object.entries(offTheShelf).map(([name, { create }]) => [name, create]),
) as unknown as { readonly [Name in keyof typeof offTheShelf]: (typeof offTheShelf)[Name]["create"] };

/** The name of a method that works off the shelf. */
export type ReducerName = keyof typeof reducers;

export { type KeepBudget, type KeepRateBudget, type LayerBudget, patchesLeft, type RemoveBudget } from "./budget.ts";
export { Catalogue } from "./catalogue.ts";
export { type Choice, type Combine, compose, type Parts, type Score, type Select } from "./compose.ts";
export { drop, joinNearest, pack } from "./combine.ts";
export {
  attentionReceived,
  classAttentionScore,
  isolation,
  randomScore,
  tokenNorm,
  valueWeightedAttention,
} from "./scores.ts";
export { best, drawn, mix } from "./select.ts";
export { checkLaws, type LawId, type LawResult, laws } from "./laws.ts";
export { type Family, type Method, type MethodFacts, type ModelSizes, placeIn, trainingFree } from "./method.ts";
export { type CacheLook, type CacheLookOptions, cacheMicroscope, cacheOverTime } from "./cache_microscope.ts";
export { type LookOptions, microscope, patchesByLayer, type Specimen } from "./microscope.ts";
export { evenly, mergeSchedule, type Schedule, shrinking } from "./schedule.ts";
export { type Solution, solveBudget, type SolveOptions, tokenCounts } from "./solve.ts";
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
export { ats, type ATSOptions, sampled, samplePoints, significance } from "./ats.ts";
export { centreDistances, type Distance, fixedPattern, type FixedPatternOptions } from "./fixed_pattern.ts";
export { type ClusterOptions, type Clusters, dpcKnn, dpcknn, type DPCKNNOptions, mergeClusters } from "./dpcknn.ts";
export { kmedoids, kMedoidsFit, type KMedoidsFitOptions, type KMedoidsOptions } from "./kmedoids.ts";
export { inSequence, padded, perFrame, perWindow, protect, recycle } from "./wrap.ts";
export * from "./vision_language.ts";
export { agglomerate, atc, atcMap, type ATCOptions, type Linkage } from "./atc.ts";
export { fuse, type FusionOptions, mctf, type MCTFOptions, type Temperatures } from "./mctf.ts";
export {
  energy,
  type Pairing,
  pitome,
  piToMeMatching,
  type PiToMeMatchingOptions,
  type PiToMeOptions,
} from "./pitome.ts";
export { joinMostSimilar, kthBipartite, randomBipartite, randomMatching } from "./random_matching.ts";
export { dropLeaving, mlerp, tofu, type ToFuOptions } from "./tofu.ts";
export { aroundModule, cellTokens, mergeIntoCells, tomesd, type ToMeSDOptions } from "./tomesd.ts";
export { dct, dctMatrix, type DCTOptions } from "./dct.ts";
export { diffrate, type DiffRateOptions, learnedCount, pruneAndMerge } from "./diffrate.ts";
export {
  dynamicvit,
  type DynamicViTOptions,
  type DynamicViTParameters,
  keepLogits,
  keepRateLoss,
} from "./dynamicvit.ts";
export { type LearnedOptions, type LearnedReducer } from "./learned.ts";
export { nestedPooling, poolingScales } from "./nested_pooling.ts";
export { mergePatches, patchmerger, type PatchMergerOptions, type PatchMergerParameters } from "./patchmerger.ts";
export {
  perceiver,
  type PerceiverLayer,
  type PerceiverOptions,
  type PerceiverParameters,
  resample,
} from "./perceiver.ts";
export { sinkhorn, type SinkhornOptions, type SinkhornParameters, transport } from "./sinkhorn.ts";
export { sit, type SiTOptions, type SiTParameters, slimmingShares } from "./sit.ts";
export { headVotes, packBelow, spvit, type SPViTOptions, type SPViTParameters } from "./spvit.ts";
export {
  attentionMaps,
  tokenlearner,
  type TokenLearnerOptions,
  type TokenLearnerParameters,
  tokenLearnerV1,
} from "./tokenlearner.ts";
export { completeMatching, type CompleteMatchingOptions, crossget } from "./crossget.ts";

// Text: encoders and state-space models (reducers), prompts (text in, text out), training signals
export * from "./sequence_methods.ts";
export * from "./keep_classifier.ts";
export * from "./keep_policy.ts";
export * from "./llama_scorer.ts";
export * from "./llmlingua.ts";
export * from "./llmlingua2.ts";
export * from "./longllmlingua.ts";
export * from "./reasoning.ts";
export * from "./rho.ts";
export * from "./selective_context.ts";
export * from "./random_text.ts";
export * from "./text.ts";
export * from "./text_methods.ts";
export { type Span, type UnitLevel, unitOfTokens, unitsOf } from "./text_units.ts";
// Policies for the cache of a language model.
export * from "./cache/mod.ts";
