/**
 * Keeping the best: what Top-K, EViT and random pruning share once each has its score.
 *
 * @module
 */
import type { Place } from "../nn/reducer.ts";
import { type Budget, budgetOf, countBefore, type SlotMap } from "../nn/token_map.ts";
import { rankDescending, refuseNaN, tf, tidy } from "../tensor/mod.ts";

/** Options of pruning by score. */
export interface PruneOptions {
  /** Tokens that stay among the scored ones. */
  readonly keep: number;
  /** Tokens in front that have no score and always stay. Default: 0. */
  readonly specialTokens?: number;
  /** One more token in the end into which the others go, each times its weight [batch, scored tokens]. */
  readonly packWith?: tf.Tensor2D;
  /** Best first, as the references have it, instead of the order of the input. Default: false. */
  readonly parity?: boolean;
}

/**
 * Keeps the `keep` tokens of highest score (equal scores: the lower index first) and drops or packs the others.
 *
 * Costs batch x tokens² comparisons; reads nothing back.
 *
 * @param score [batch, scored tokens], higher = keep. NaN is refused.
 * @throws {RangeError} Where `keep` is not a whole number from 1 to the number of scored tokens.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { tf } from "tessera/tensor/mod.ts";
 * const map = pruneByScore(tf.tensor2d([[0.1, 0.7, 0.2]]), { keep: 2 });
 * assert.deepEqual(map.slot.arraySync(), [[-1, 0, 1]]);
 * ```
 */
export function pruneByScore(score: tf.Tensor2D, options: PruneOptions): SlotMap {
  const { keep, specialTokens = 0, packWith, parity = false } = options;
  const [batch, scored] = score.shape;
  if (!Number.isInteger(keep) || keep < 1 || keep > scored) {
    throw new RangeError(
      `keep must be a whole number from 1 to the ${scored} scored tokens, but it is ${keep}; keep at least one`,
    );
  }
  const tokens = specialTokens + scored;
  return tidy(() => {
    const rank = rankDescending(refuseNaN(score, "the score of tokens"));
    const stays = rank.less<tf.Tensor2D>(tf.scalar(keep, "int32"));
    const order = parity ? rank : countBefore(stays);
    const elsewhere = tf.fill<tf.Rank.R2>([batch, scored], packWith ? keep : -1, "int32");
    const slotOfScored = tf.where(stays, order, elsewhere);
    const shifted = tf.where(
      slotOfScored.less(tf.scalar(0, "int32")),
      slotOfScored,
      slotOfScored.add<tf.Tensor2D>(tf.scalar(specialTokens, "int32")),
    );
    const front = tf.range(0, specialTokens, 1, "int32").expandDims<tf.Tensor2D>(0).tile<tf.Tensor2D>([batch, 1]);
    const slot = specialTokens ? tf.concat([front, shifted], 1) : shifted;
    const outputs = specialTokens + keep + (packWith ? 1 : 0);
    const budget: Budget = { requested: tokens - outputs, achieved: tokens - outputs };
    if (!packWith) return { kind: "slots", tokens, outputs, slot, budget, ...(parity ? {} : { picksInOrder: true }) };
    const ofScored = tf.where(stays, tf.onesLike(packWith), packWith);
    const weight = specialTokens ? tf.concat([tf.ones<tf.Rank.R2>([batch, specialTokens]), ofScored], 1) : ofScored;
    return { kind: "slots", tokens, outputs, slot, weight, budget, ...(parity ? {} : { packsRest: true }) };
  });
}

/**
 * How much the class token looks at each patch: its row of the attention, averaged over heads. Without a class token: how
 * much all patches look at it, on average.
 *
 * @param attention [batch, heads, tokens, tokens]
 * @returns [batch, tokens - specialTokens]
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { tf } from "tessera/tensor/mod.ts";
 * const attention = tf.tensor4d([[[[0.5, 0.25, 0.25], [1, 0, 0], [1, 0, 0]]]]);
 * assert.deepEqual(classAttention(attention).arraySync(), [[0.25, 0.25]]);
 * ```
 */
export function classAttention(attention: tf.Tensor4D, specialTokens = 1): tf.Tensor2D {
  return tidy(() => {
    if (specialTokens === 0) return attention.mean<tf.Tensor2D>([1, 2]);
    const row = attention.slice([0, 0, 0, specialTokens], [-1, -1, 1, -1]);
    return row.squeeze<tf.Tensor3D>([2]).mean<tf.Tensor2D>(1);
  });
}

/** What pruning does at a place where `left` patches are wanted: at least one stays. */
export function pruningBudget(place: Place, left: number): Budget {
  const patches = place.tokens - place.specialTokens;
  const keep = Math.max(1, left);
  return budgetOf(patches, keep, patches - left, "at least one patch must stay");
}
