/**
 * Policies for the cache of keys and values of a language model: which tokens of a text it still looks back at.
 *
 * ```text
 * generate(model, prompt, { cache: snapKV({ keepRate: 0.5 }) })
 * ```
 *
 * A policy is a score and a budget (`byScore`); wrappers share the budget out (`adaKV`), weigh the score (`criticalKV`),
 * choose by chunks (`chunkKV`, `inChunks`, `inBlocks`), merge what goes (`merged`), count positions anew (`rerotated`), put
 * one behind another (`inTurn`) or act while text is made (`whileDecoding`).
 *
 * @module
 */
export { byScore, type CacheBudget, type CacheOptions, type CacheScore, type ScoredPolicy } from "./policy.ts";
export { recencyScore, type SinkOptions, streamingLLM } from "./streaming_llm.ts";
export { attentionReceivedBy, h2o, type H2OOptions, heavyHitters, observedAttention } from "./h2o.ts";
export { lastQueryScore, tova } from "./tova.ts";
export { attendedByWindow, snapKV, type WindowOptions } from "./snapkv.ts";
export { pyramidBudgets, pyramidKV, type PyramidOptions, type PyramidSizes } from "./pyramidkv.ts";
export { keyNormScore, knorm, type KnormOptions, knormScore } from "./knorm.ts";
export { keyDiff, keyDifferenceScore, keyDiffScore } from "./keydiff.ts";
export { expectedAttention, type ExpectedAttentionOptions, meanRotation } from "./expected_attention.ts";
export { lagKV, type LagOptions, lagScore } from "./lagkv.ts";
export { qFilter, queryFilters } from "./qfilter.ts";
export { think, type ThinkOptions, withoutChannels } from "./think.ts";
export { adaKV, type AdaOptions, stayAcrossHeads } from "./adakv.ts";
export { criticalKV, type CriticalOptions, criticalScore } from "./criticalkv.ts";
export { chunkKV, inBlocks, inChunks, scoreOfChunks } from "./chunks.ts";
export { rerotated } from "./rerotate.ts";
export { inTurn } from "./composed.ts";
export { merged, type MergedOptions, mergeEvicted, type MergeOptions, refuseMergesIntoPast } from "./merge.ts";
export { kvZip, stayAcrossLayers, type ZipOptions } from "./kvzip.ts";
export { type Bits, packBits, quantised, type QuantiseOptions, roundToBits, unpackBits } from "./quantise.ts";
export { duoAttention, type DuoOptions, streamingHeads } from "./duo_attention.ts";
export { type LazyOptions, simLayerKV } from "./simlayerkv.ts";
export { type DecodingOptions, dms, type ThresholdOptions, whileDecoding } from "./decoding.ts";
export {
  compactor,
  type CompactorOptions,
  leverage,
  type LeverageOptions,
  nonCausalAttention,
  type NonCausalOptions,
} from "./leverage.ts";
export { cur, type CUROptions } from "./cur.ts";
export { finch, type FinchOptions } from "./finch.ts";
export { spattenKV, type SpAttenOptions, startImportantRecent } from "./spatten_kv.ts";
export { randomCacheScore, randomEviction } from "./random.ts";
export { CacheCatalogue, cacheCatalogue, type CacheMethodName } from "./catalogue.ts";
export { type CacheLawId, type CacheLawResult, cacheLaws, checkCacheLaws } from "./laws.ts";
export type { CacheMethod, CacheSizes } from "./method.ts";
