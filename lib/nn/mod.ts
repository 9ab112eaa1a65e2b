/**
 * Plain parts of models, and what a token reduction is. Knows no method by name.
 *
 * A layer is a function (`linear(x, parameters)`), and a description of its parameters (`linearLayer(in, out)`), from
 * which come the parameters themselves (`initialise`), their number, their MACs, and what a file must hold to be loaded.
 *
 * @module
 */
export * from "./attention.ts";
export * from "./block.ts";
export * from "./cache_policy.ts";
export { evaluate, type EvaluateOptions, type Evaluation } from "./evaluate.ts";
export {
  generate,
  type GenerateOptions,
  type Generation,
  predict,
  type PredictOptions,
  type SamplingOptions,
} from "./generate.ts";
export * from "./initialise.ts";
export * from "./kv_cache.ts";
export * from "./layers.ts";
export * from "./llama.ts";
export { huggingFaceNames, loadViT, type LoadViTOptions, viTFromArrays } from "./load_vit.ts";
export * from "./losses.ts";
export * from "./lstm.ts";
export * from "./macs.ts";
export * from "./parameters.ts";
export * from "./perplexity.ts";
export * from "./reducer.ts";
export * from "./reduction_errors.ts";
export * from "./rotary.ts";
export * from "./selective_scan.ts";
export {
  applyMap,
  type Budget,
  budgetOf,
  clamped,
  combineMatrix,
  composeMaps,
  disposeMap,
  identityMap,
  membership,
  mergeInto,
  positionsOf,
  type SlotMap,
  slotsOf,
  type SoftMap,
  type TokenMap,
  unmerge,
} from "./token_map.ts";
export {
  ViT,
  type ViTConfig,
  type ViTDescription,
  vitLayers,
  type ViTOptions,
  type ViTOutput,
  type ViTParameters,
} from "./vit.ts";
