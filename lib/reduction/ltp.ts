/**
 * LTP: a token stays while the others look at it more than a threshold, which rises from layer to layer and is learned; a
 * short text keeps fewer than a long one.
 *
 * Kim et al., "Learned Token Pruning for Transformers", KDD 2022, arXiv:2107.00910, section 3. Checked against the authors'
 * code (tests/golden, `ltp.absolute_threshold`, `ltp.relative_threshold`). Differs from it in the mean of padded texts,
 * whose padding is not counted, where the code counts it, so that short texts score lower (`parity: true`).
 *
 * @module
 */
import { need, type Place, type Reducer } from "../nn/reducer.ts";
import { countBefore, type SlotMap } from "../nn/token_map.ts";
import { rankDescending, tf, tidy } from "../tensor/mod.ts";
import { type LayerBudget, patchesLeft, truncate } from "./budget.ts";
import { trainingFree } from "./method.ts";
import { pruningBudget } from "./prune.ts";
import { patchesOf } from "./scores.ts";
import { refuseNaNIn, withSpecialTokens } from "./special.ts";
import { int, where } from "./where.ts";

/** The lowest threshold that there is: tokens that nobody looks at always go. */
const LOWEST = 1e-5;

/** Options of LTP. */
export type LTPOptions = LayerBudget & {
  /** The threshold after the last layer, as a share of attention; rises evenly up to it. Default: 0.01. */
  readonly threshold?: number;
  /** Learned: what is added to the threshold of each layer, [layers]. */
  readonly offsets?: tf.Tensor1D;
  /** While training: how soft the threshold is; 1e-3 down to 1e-5 in the paper. Default: 1e-3. */
  readonly temperature?: number;
  /** Padding counts in the mean, as in the code. Default: false. */
  readonly parity?: boolean;
};

/**
 * LTP as a reducer. The budget says how many tokens may stay at most, so that texts of a batch have one shape; those of them
 * below the threshold go as well, and leave outputs empty (size 0). One always stays.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * const place = { layer: 3, layers: 12, tokens: 101, initialTokens: 101, specialTokens: 1, grid: [10, 10] as const };
 * const reducer = ltp({ keepRate: 0.8, threshold: 0.02 });
 * assert.ok(reducer.leavesEmpty && reducer.plan(place).achieved === 20);
 * ```
 */
export function ltp(options: LTPOptions): Reducer {
  const { threshold = 0.01, offsets, temperature = 1e-3, parity = false } = options;
  if (!(threshold >= 0 && threshold < 1)) {
    throw new RangeError(
      `threshold is a share of attention in [0, 1), but it is ${threshold}; the paper's are near 0.01`,
    );
  }
  const left = patchesLeft(options, truncate);
  const planned = (place: Place) => pruningBudget(place, left(place));
  const thresholdAt = ({ layer, layers }: Place): tf.Scalar => {
    const base = tf.scalar(ltpThreshold(threshold, layer, layers));
    return offsets ? base.add<tf.Scalar>(offsets.slice([layer], [1]).squeeze()) : base;
  };
  return {
    name: "ltp",
    needs: ["attention"],
    leavesEmpty: true,
    proportionalAttention: false,
    ...(offsets instanceof tf.Variable ? { parameters: [offsets] } : {}),
    plan: planned,
    reduce: (view) => {
      const budget = planned(view);
      const { specialTokens, tokens } = view;
      return tidy((): SlotMap => {
        const received = meanAttention(need(view, "attention", "ltp"), view.size, parity);
        const score = refuseNaNIn(patchesOf(received, view), "ltp", view);
        const real = tf.greater(view.size, 0).slice([0, specialTokens]) as tf.Tensor2D;
        const rank = rankDescending(where<tf.Tensor2D>(real, score, -1));
        const outputs = tokens - specialTokens - budget.achieved;
        const above = tf.logicalAnd(aboveThreshold(score, thresholdAt(view)), tf.less(rank, int(outputs)));
        const stays = tf.logicalAnd<tf.Tensor2D>(real, tf.logicalOr(above, tf.equal(rank, int(0))));
        const slot = where<tf.Tensor2D>(stays, countBefore(stays), -1);
        const map = { kind: "slots", tokens: tokens - specialTokens, outputs, slot, anchor: stays, budget } as const;
        return { ...withSpecialTokens(map, specialTokens), budget };
      });
    },
    soften: (view, policy) =>
      tidy(() => {
        const received = meanAttention(need(view, "attention", "ltp"), view.size, parity);
        const soft = softMask(received, thresholdAt(view), temperature);
        const special = tf.less(tf.range(0, view.tokens, 1, "int32"), int(view.specialTokens)).expandDims<tf.Tensor2D>(
          0,
        );
        return policy.mul<tf.Tensor2D>(where<tf.Tensor2D>(special.tile<tf.Tensor2D>([policy.shape[0], 1]), 1, soft));
      }),
  };
}

/**
 * The threshold of a layer: an even rise to that of the last one.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * assert.equal(ltpThreshold(0.12, 6, 12), 0.06);
 * ```
 */
export function ltpThreshold(final: number, layer: number, layers: number): number {
  return final * layer / layers;
}

/**
 * How much each token is looked at: mean over heads and the tokens that look.
 *
 * @param attention [batch, heads, tokens, tokens]
 * @param size [batch, tokens]: 0 where a row is padded; padding does not look.
 * @param parity Padding does not look, but counts in the mean.
 * @returns [batch, tokens]
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { tf } from "tessera/tensor/mod.ts";
 * const attention = tf.tensor4d([[[[0.75, 0.25], [0.5, 0.5]]]]), padded = tf.tensor2d([[1, 0]]);
 * assert.deepEqual(meanAttention(attention, padded).arraySync(), [[0.75, 0.25]]);
 * assert.deepEqual(meanAttention(attention, padded, true).arraySync(), [[0.375, 0.125]]);
 * ```
 */
export function meanAttention(attention: tf.Tensor4D, size: tf.Tensor2D, parity = false): tf.Tensor2D {
  return tidy(() => {
    const real = tf.greater(size, 0).cast<tf.Tensor2D>("float32");
    const looks = attention.mean<tf.Tensor3D>(1).mul(real.expandDims(2)).sum<tf.Tensor2D>(1);
    const count = parity ? tf.scalar(attention.shape[2]) : tf.maximum(real.sum(1, true), 1);
    return looks.div<tf.Tensor2D>(count);
  });
}

/**
 * Which tokens stay: those at the threshold or above it, which is at least 1e-5.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { tf } from "tessera/tensor/mod.ts";
 * assert.deepEqual(aboveThreshold(tf.tensor2d([[0.1, 0.3]]), tf.scalar(0.2)).arraySync(), [[0, 1]]);
 * ```
 */
export function aboveThreshold(score: tf.Tensor2D, threshold: tf.Scalar): tf.Tensor2D {
  return tidy(() => tf.greaterEqual<tf.Tensor2D>(score, tf.maximum(threshold, LOWEST)));
}

/**
 * The relative form of the code: those that have at least a share of what the most looked-at token has.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { tf } from "tessera/tensor/mod.ts";
 * assert.deepEqual(aboveShareOfHighest(tf.tensor2d([[0.1, 0.3, 0.2]]), 0.5).arraySync(), [[0, 1, 1]]);
 * ```
 */
export function aboveShareOfHighest(score: tf.Tensor2D, share: number): tf.Tensor2D {
  return tidy(() => tf.greaterEqual<tf.Tensor2D>(score.div(score.max(1, true)), tf.scalar(share)));
}

/**
 * The soft threshold while training: how much a token still counts, σ((score - threshold) / temperature).
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { tf } from "tessera/tensor/mod.ts";
 * assert.equal(softMask(tf.tensor2d([[0.25]]), tf.scalar(0.25), 1e-3).dataSync()[0], 0.5);
 * ```
 */
export function softMask(score: tf.Tensor2D, threshold: tf.Scalar, temperature: number): tf.Tensor2D {
  return tidy(() => tf.sigmoid(score.sub<tf.Tensor2D>(threshold).div(temperature)));
}

/** LTP in the catalogue. */
export const ltpMethod = trainingFree(ltp, {
  family: "prune",
  paper: "Kim et al., Learned Token Pruning, 2022",
  section: "3, arXiv:2107.00910",
  tier: 2,
  traceable: true,
  golden: ["ltp.absolute_threshold", "ltp.relative_threshold"],
  cost: "heads x n² additions; n floats",
  differs: "from the paper in a budget beside the threshold, so that texts of a batch have one shape",
  breaks: { mass: "tokens are dropped" },
});
