/**
 * Plain parts of models, and what a token reduction is. Knows no method by name.
 *
 * @module
 */
export { selfAttention } from "./attention.ts";
export { evaluate, type EvaluateOptions, type Evaluation } from "./evaluate.ts";
export { gelu, layerNorm, linear, mlp } from "./layers.ts";
export { type TokenCount, vitMACs, type ViTShape } from "./macs.ts";
export type { BlockView, Place, Reducer } from "./reducer.ts";
export {
  applyMap,
  type Budget,
  combineMatrix,
  composeMaps,
  disposeMap,
  identityMap,
  membership,
  mergeInto,
  type SlotMap,
  slotsOf,
  type SoftMap,
  type TokenMap,
  unmerge,
} from "./token_map.ts";
export { ViT, type ViTConfig, type ViTOptions, type ViTOutput } from "./vit.ts";
