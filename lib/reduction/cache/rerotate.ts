/**
 * Key re-rotation: what stays is given the positions 0, 1, 2, ... as if the rest had never been there.
 *
 * Su et al., "RoFormer: Enhanced Transformer with Rotary Position Embedding", 2021, arXiv:2104.09864, section 3.2 (a
 * rotation by a sum of angles is one after the other), applied to a cache as StreamingLLM (arXiv:2309.17453, section 3.2)
 * asks for. Checked against kvpress (tests/golden, `key_rerotation`). Differs from it in nothing.
 *
 * @module
 */
import type { CachePolicy } from "../../nn/cache_policy.ts";
import type { CacheMethod } from "./method.ts";
import { knorm } from "./knorm.ts";

/**
 * A policy after which keys are turned to the positions 0, 1, ..., and later tokens go on from there.
 *
 * @throws {RangeError} When it is used, where heads keep different numbers of tokens: they would go on from different
 *   positions.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { knorm } from "tessera/reduction/cache/mod.ts";
 * assert.equal(rerotated(knorm({ keepRate: 0.5 })).name, "knorm, re-rotated");
 * ```
 */
export function rerotated(policy: CachePolicy): CachePolicy {
  const { afterPrompt } = policy;
  return {
    ...policy,
    name: `${policy.name}, re-rotated`,
    ...(afterPrompt
      ? { afterPrompt: (views) => afterPrompt(views).map((change) => change && { ...change, rerotate: true }) }
      : {}),
  };
}

/** Key re-rotation in the catalogue. */
export const rerotatedMethod: CacheMethod = {
  paper: "Su et al., RoFormer, 2021 (around Knorm)",
  section: "3.2, arXiv:2104.09864",
  tier: 1,
  traceable: true,
  golden: ["key_rerotation"],
  cost: "4 k d more than the policy inside",
  differs: "in nothing",
  breaks: { keys: "they are turned to new positions" },
  create: (options) => rerotated(knorm(options)),
};
