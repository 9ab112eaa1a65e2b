/**
 * Policies one after the other: each works on what the one before has left, so that their shares multiply.
 *
 * Composition of presses in kvpress (Devoto et al., arXiv:2510.00636, section 4). Checked against it (tests/golden,
 * `composed`). Differs from it in nothing.
 *
 * @module
 */
import { type CacheChange, type CachePolicy, type CacheView } from "../../nn/cache_policy.ts";
import { tf, tidy } from "../../tensor/mod.ts";
import { sumsAt, takeTokens } from "./heads.ts";
import { tokensOfView, withChange } from "./part_of_view.ts";
import type { CacheMethod } from "./method.ts";
import { keyDiff } from "./keydiff.ts";
import { knorm } from "./knorm.ts";

/**
 * Policies one after the other, after the prompt; what the last one does while text is made, it does on.
 *
 * @throws {RangeError} Where a policy other than the last acts while text is made; when it is used, where one keeps
 *   different numbers of tokens in its heads.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { keyDiff, knorm } from "tessera/reduction/cache/mod.ts";
 * assert.equal(inTurn(knorm({ keepRate: 0.5 }), keyDiff({ keepRate: 0.5 })).name, "knorm, then keydiff");
 * ```
 */
export function inTurn(...policies: readonly CachePolicy[]): CachePolicy {
  const step = policies.slice(0, -1).find(({ everyStep, everySteps }) => everyStep || everySteps);
  if (step) {
    throw new RangeError(
      `${step.name} acts while text is made, but of policies in turn only the last one can; put it last`,
    );
  }
  const { everyStep, everySteps, positions } = policies.at(-1) ?? {};
  return {
    ...(everyStep ? { everyStep } : {}),
    ...(everySteps ? { everySteps } : {}),
    ...(positions ? { positions } : {}),
    name: policies.map(({ name }) => name).join(", then "),
    needs: [...new Set(policies.flatMap(({ needs }) => needs))],
    afterPrompt: (views) => tidy(() => views.map((_, layer) => answers(policies, views, layer))),
  };
}

/** All answers for one layer as one. */
function answers(
  policies: readonly CachePolicy[],
  views: readonly CacheView[],
  layer: number,
): CacheChange | undefined {
  const whole = views[layer], n = whole.tokens;
  let view = whole, change: CacheChange = {};
  for (const { name, afterPrompt } of policies) {
    const next = afterPrompt?.(views.map((other) => other === whole ? view : other))[layer];
    if (!next) continue;
    if (change.stays) {
      throw new RangeError(
        `a policy before ${name} keeps different numbers of tokens in its heads, but ${name} needs the same in each; ` +
          "put it last",
      );
    }
    const { keep } = change;
    const inPlace = <T extends tf.Tensor3D | tf.Tensor4D>(x: T): T => keep ? sumsAt(keep, x, n) : x;
    change = {
      ...change,
      ...(next.keys ? { keys: inPlace(next.keys) } : {}),
      ...(next.values ? { values: inPlace(next.values) } : {}),
      ...(next.bytes ? { bytes: next.bytes } : {}),
      ...(next.memory ? { memory: inPlace(next.memory as tf.Tensor3D) } : {}),
      ...(next.rerotate ? { rerotate: true } : {}),
      ...(next.keep ? { keep: keep ? takeTokens(keep, next.keep) : next.keep } : {}),
    };
    if (next.stays) {
      const { keep: _, ...rest } = change;
      change = { ...rest, stays: inPlace(next.stays) };
    } else if (next.keep) view = tokensOfView(withChange(view, next), next.keep);
    else view = withChange(view, next);
  }
  return Object.keys(change).length ? change : undefined;
}

/** Policies in turn in the catalogue. */
export const inTurnMethod: CacheMethod = {
  paper: "Devoto et al., 2025: composition in kvpress (KeyDiff, then Knorm)",
  section: "4, arXiv:2510.00636",
  tier: 2,
  traceable: true,
  golden: ["composed", "per_layer_compression"],
  cost: "that of all",
  differs: "in nothing",
  breaks: { K2: "shares multiply" },
  create: (options) => inTurn(keyDiff(options), knorm(options)),
};
