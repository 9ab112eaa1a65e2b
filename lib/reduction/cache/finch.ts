/**
 * FINCH: SnapKV whose window is the question behind the text; what stays is given positions from 0 on.
 *
 * Corallo and Papotti, "FINCH: Prompt-guided Key-Value Cache Compression", TACL 2024, arXiv:2408.00167, section 3. Checked
 * against kvpress (tests/golden, `finch`). Differs from it in where the question begins: there behind a delimiter in the
 * text, here by its number of tokens.
 *
 * @module
 */
import { type CachePolicy, needInCache } from "../../nn/cache_policy.ts";
import { tf, tidy } from "../../tensor/mod.ts";
import { groupMean, withProtected } from "./heads.ts";
import { byScore, type CacheOptions } from "./policy.ts";
import { rerotated } from "./rerotate.ts";
import { shrunk } from "./window.ts";
import type { CacheMethod } from "./method.ts";

/** Options of FINCH. */
export interface FinchOptions {
  /** Tokens of the question, at the end of the prompt. */
  readonly question: number;
  /** Multiply each row by the number of tokens that it sees, since a later one shares its attention among more. Default: true. */
  readonly normalised?: boolean;
  /** Give what stays positions from 0 on. Default: true. */
  readonly rerotate?: boolean;
}

/**
 * What the question looks at: [batch, keyHeads, n], the question itself protected.
 *
 * @param attention [batch, heads, question, n], the question's rows.
 */
export function questionScore(
  attention: tf.Tensor4D,
  keyHeads: number,
  { normalised = true, parity = false }: { readonly normalised?: boolean; readonly parity?: boolean } = {},
): tf.Tensor3D {
  const [, , rows, n] = attention.shape;
  return tidy(() => {
    const before = attention.slice<tf.Tensor4D>([0, 0, 0, 0], [-1, -1, -1, n - rows]);
    const seen = tf.range(n - rows, n, 1, "float32").reshape([1, 1, rows, 1]);
    const votes = (normalised ? before.mul(seen) : before).mean<tf.Tensor3D>(2);
    return withProtected(groupMean(votes, keyHeads), { back: rows, asReference: parity });
  });
}

/**
 * FINCH as a policy.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * assert.equal(finch({ keepRate: 0.5, question: 8 }).name, "finch, re-rotated");
 * ```
 */
export function finch(options: CacheOptions & FinchOptions): CachePolicy {
  const policy = byScore({
    name: "finch",
    needs: ["attention"],
    of: (view, keep) =>
      tidy(() => {
        const rows = Math.max(1, shrunk("window", options.question, keep, "finch"));
        return questionScore(needInCache(view, "attention", "finch")(rows), view.keyHeads, options);
      }),
  }, options);
  return options.rerotate ?? true ? rerotated(policy) : policy;
}

/** FINCH in the catalogue. */
export const finchMethod: CacheMethod = {
  paper: "Corallo and Papotti, FINCH, 2024",
  section: "3, arXiv:2408.00167",
  tier: 2,
  traceable: true,
  golden: ["finch"],
  cost: "w n d",
  differs: "from kvpress in how the question is told: by its length",
  breaks: { keys: "they are turned to new positions", U9: "the question stays" },
  create: (options) => finch({ ...options, question: 2 }),
};
