/**
 * Temporal concepts: what a condition and a span of time do to a state, as one ratio per variable; and what the ratio is
 * taken of.
 *
 * Li et al., "Controllable Sequence Editing for Biological and Clinical Trajectories", ICLR 2026, arXiv:2502.03569. Checked
 * against the authors' code (`clef.forward`, `clef.simple_linear`). Paper and code disagree on what the ratio is taken of: the
 * paper says the last observed record, the code takes the mean of the whole history. Both are here ({@link baseState}).
 *
 * @module
 */
import { gelu } from "../nn/mod.ts";
import { tf, tidy } from "../tensor/mod.ts";
import { dense, weightOf, type Weights } from "./parameters.ts";

/**
 * What a concept multiplies: the last observed value of each variable (the paper), the mean of its observed values (the
 * code), or a weighted mean whose decay is learned per variable and horizon, with those two as its ends.
 */
export type Base = "last" | "mean" | "ewma";

/**
 * How a concept c comes from the logits u and acts on the base b:
 * `multiplicative` c = GELU(u), x = c b; `residual` c = 1 + tanh(u), x = c b; `exponential` c = exp(u), x = c b;
 * `affine` c = GELU(u), x = c b + a with a learned from the same features, so that a variable can cross zero.
 */
export type Decoder = "multiplicative" | "residual" | "exponential" | "affine";

/** How the condition and the time gap are joined: as the code does, or as the paper's formula says. */
export type Joint = "shared-twice" | "sum";

/** What the base is where a variable was never observed; the authors' number, small enough to say "nothing". */
export const NEVER_OBSERVED = 1e-10;

/**
 * The gate that a condition and a time gap open.
 *
 * @param gap [batch, variables]
 * @param condition Embeddings of the conditions, [batch, condition width]; absent: the model has no adapter.
 * @returns [batch, variables]
 */
export function conditionGate(
  gap: tf.Tensor2D,
  condition: tf.Tensor2D | undefined,
  weights: Weights,
  joint: Joint,
): tf.Tensor2D {
  return tidy(() => {
    const adapted = condition && dense(condition, weights, "condition_encoder");
    if (joint === "sum") return adapted ? tf.add<tf.Tensor2D>(gap, adapted) : gap.clone();
    const decoded = dense(gap, weights, "condition_decoder");
    // the code's second pass has the same weights
    return adapted ? dense(decoded.add<tf.Tensor2D>(adapted), weights, "condition_decoder") : decoded;
  });
}

/** The concept of some logits. */
export function conceptOf(logits: tf.Tensor2D, decoder: Decoder, centred: boolean): tf.Tensor2D {
  switch (decoder) {
    case "residual":
      return tf.add<tf.Tensor2D>(logits.tanh(), 1);
    case "exponential":
      return logits.exp();
    case "multiplicative":
    case "affine":
      return centred ? gelu(logits).add<tf.Tensor2D>(1) : gelu(logits);
  }
}

/**
 * The state that concepts multiply.
 *
 * @param x [batch, records, variables]
 * @param observed The same shape: 1 where a value counts.
 * @param decay For `ewma`: logits of the share that a value keeps when a newer one comes, [batch, variables].
 * @returns [batch, variables]; {@link NEVER_OBSERVED} where nothing was observed.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { tf } from "tessera/tensor/mod.ts";
 * const x = tf.tensor3d([[[2, 5], [4, 0]]]); // the second variable was not observed the second time
 * const observed = tf.tensor3d([[[1, 1], [1, 0]]]);
 * assert.deepEqual(baseState(x, observed, "mean").arraySync(), [[3, 5]]);
 * assert.deepEqual(baseState(x, observed, "last").arraySync(), [[4, 5]]);
 * ```
 */
export function baseState(x: tf.Tensor3D, observed: tf.Tensor3D, base: Base, decay?: tf.Tensor2D): tf.Tensor2D {
  return tidy(() => {
    const count = observed.sum<tf.Tensor2D>(1);
    const weight = base === "mean" ? observed : weightByAge(observed, base, decay);
    const total = base === "mean" ? count : weight.sum<tf.Tensor2D>(1);
    // zero weight times a value that is not finite would be NaN
    const sum = tf.where(observed.greater(0), x, tf.zerosLike(x)).mul(weight).sum<tf.Tensor2D>(1);
    const seen = count.greater(0);
    const one = tf.onesLike(total);
    return tf.where(seen, sum.div(tf.where(seen, total, one)), tf.mul<tf.Tensor2D>(one, NEVER_OBSERVED));
  });
}

/** Weights that fall with the number of newer observations of the same variable. */
function weightByAge(observed: tf.Tensor3D, base: "last" | "ewma", decay?: tf.Tensor2D): tf.Tensor3D {
  const newer = tf.sub<tf.Tensor3D>(observed.cumsum(1, false, true), observed); // observations that came after
  if (base === "last") return observed.mul<tf.Tensor3D>(tf.equal(newer, 0).cast("float32"));
  if (!decay) throw new RangeError("the base ewma needs the logits of its decay; pass them, or take last or mean");
  const logKept = tf.softplus(decay.neg()).neg().expandDims(1); // the logarithm of a sigmoid
  return observed.mul<tf.Tensor3D>(newer.mul(logKept).exp());
}

/** The learned decay of `ewma`, [batch, variables]: per variable, and by the logarithm of the hours to the target. */
export function decayLogits(gapHours: tf.Tensor2D, weights: Weights): tf.Tensor2D {
  const slope = tf.mul(gapHours.relu().div(24).log1p(), weightOf<tf.Tensor1D>(weights, "base.horizon"));
  return slope.add<tf.Tensor2D>(weightOf(weights, "base.decay"));
}
