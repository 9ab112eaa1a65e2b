/**
 * TOVA (token omission via attention): keep what the last query looks at, averaged over all heads, the same for each.
 *
 * Oren et al., "Transformers are Multi-State RNNs", EMNLP 2024, arXiv:2401.06104, section 3.2. Checked against kvpress
 * (tests/golden, `tova`). Differs from it in nothing but the order of what stays, by score there (`parity: true`).
 *
 * @module
 */
import { tf, tidy } from "../../tensor/mod.ts";
import { withProtected } from "./heads.ts";
import type { StepChange, StepView } from "../../nn/cache_policy.ts";
import { needInCache } from "../../nn/cache_policy.ts";
import { byScore, type CacheOptions, type CacheScore, type ScoredPolicy } from "./policy.ts";
import { leastGoes, sizeOf } from "./steps.ts";
import type { CacheMethod } from "./method.ts";

/**
 * The last query's attention, mean over heads, for every key head alike; the last token is protected:
 * [batch, keyHeads, n].
 *
 * @param lastRow [batch, heads, n], attention of the last query.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { tf } from "tessera/tensor/mod.ts";
 * const score = lastQueryScore(tf.tensor3d([[[0.5, 0.25, 0.25], [0, 0.75, 0.25]]]), 1);
 * assert.deepEqual(score.slice([0, 0, 0], [1, 1, 2]).arraySync(), [[[0.25, 0.5]]]);
 * ```
 */
export function lastQueryScore(
  lastRow: tf.Tensor3D,
  keyHeads: number,
  { parity = false }: { readonly parity?: boolean } = {},
): tf.Tensor3D {
  const n = lastRow.shape[2];
  return tidy(() => {
    const before = lastRow.slice([0, 0, 0], [-1, -1, n - 1]).mean<tf.Tensor3D>(1, true).tile<tf.Tensor3D>([
      1,
      keyHeads,
      1,
    ]);
    return withProtected(before, { back: 1, asReference: parity });
  });
}

/** {@link lastQueryScore} as a score of policies. */
export function tovaScore(options: { readonly parity?: boolean } = {}): CacheScore {
  return {
    name: "tova",
    needs: ["attention"],
    of: (view) => {
      const lastRow = needInCache(view, "attention", "tova")(1).squeeze<tf.Tensor3D>([2]);
      return lastQueryScore(lastRow, view.keyHeads, options);
    },
  };
}

/**
 * TOVA as a policy: after the prompt, and at each step, in which the token goes that the new one looks at least.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * assert.deepEqual(tova({ keep: 64 }).needs, ["attention"]);
 * ```
 */
export function tova(options: CacheOptions): ScoredPolicy {
  const policy = byScore(tovaScore(options), options);
  const slots = sizeOf(options);
  if (!slots) return policy;
  const of = (view: StepView): StepChange => ({
    stays: leastGoes(view.attention.mean<tf.Tensor3D>(1, true).tile([1, view.keyHeads, 1]), view, options),
  });
  return { ...policy, everyStep: { slots, of } };
}

/** TOVA in the catalogue. */
export const tovaMethod: CacheMethod = {
  paper: "Oren et al., TOVA, 2024",
  section: "3.2, arXiv:2401.06104",
  tier: 1,
  traceable: true,
  golden: ["tova"],
  cost: "n d for one query",
  differs: "in nothing",
  breaks: { U9: "the last token stays" },
  create: (options) => tova(options),
};
