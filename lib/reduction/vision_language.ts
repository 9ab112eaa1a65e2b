/**
 * Methods for the image tokens of vision-language models, before or inside their decoder. The control of all of them is
 * `random`: Wen et al., "Token Pruning in Multimodal Large Language Models: Are We Solving the Right Problem?", 2025,
 * arXiv:2502.11501, found many of them no better.
 *
 * @module
 */
import { cdprunerMethod } from "./cdpruner.ts";
import { dartMethod } from "./dart.ts";
import { divpruneMethod } from "./divprune.ts";
import { dycokeMethod } from "./dycoke.ts";
import { fastervlmMethod } from "./fastervlm.ts";
import { fastvMethod } from "./fastv.ts";
import { pyramiddropMethod } from "./pyramiddrop.ts";
import { sparsevlmMethod } from "./sparsevlm.ts";
import { trimMethod } from "./trim.ts";
import { visionzipMethod } from "./visionzip.ts";
import { visprunerMethod } from "./vispruner.ts";
import { vtwMethod } from "./vtw.ts";
import { prumergeMethod, prumergePlusMethod } from "./prumerge.ts";

/** Every method for vision-language models under its name. */
export const visionLanguage = {
  fastv: fastvMethod,
  pyramiddrop: pyramiddropMethod,
  sparsevlm: sparsevlmMethod,
  prumerge: prumergeMethod,
  prumergePlus: prumergePlusMethod,
  visionzip: visionzipMethod,
  dart: dartMethod,
  divprune: divpruneMethod,
  cdpruner: cdprunerMethod,
  vispruner: visprunerMethod,
  fastervlm: fastervlmMethod,
  trim: trimMethod,
  vtw: vtwMethod,
  dycoke: dycokeMethod,
} as const;

export * from "./cdpruner.ts";
export * from "./dart.ts";
export * from "./divprune.ts";
export * from "./dycoke.ts";
export * from "./fastervlm.ts";
export * from "./fastv.ts";
export * from "./outliers.ts";
export * from "./prumerge.ts";
export * from "./pyramiddrop.ts";
export * from "./sparsevlm.ts";
export * from "./trim.ts";
export * from "./visionzip.ts";
export * from "./vispruner.ts";
export * from "./vtw.ts";
