/**
 * A policy that says for each token whether it is kept, learnt from whether the answer was right: by reinforcement, or by
 * the gradient of a stand-in.
 *
 * The gradient of an expected reward from draws alone: Williams, "Simple statistical gradient-following algorithms for
 * connectionist reinforcement learning", Machine Learning 8, 1992, section 4. The greedy choice's reward as its baseline:
 * Rennie et al., "Self-Critical Sequence Training", CVPR 2017, arXiv:1612.00563, section 3. The other way, draws that let a
 * gradient through: Jang et al., "Categorical Reparameterization with Gumbel-Softmax", ICLR 2017, arXiv:1611.01144,
 * section 2.2. To learn a reduction by reward is direction 3 of Kong et al. 2025, arXiv:2505.18227, section 5.3.
 *
 * @module
 */
import {
  type Described,
  gelu,
  layerNorm,
  linear,
  type LinearDescription,
  linearLayer,
  type NormDescription,
  normLayer,
} from "../nn/mod.ts";
import { randomUniform, stopGradient, straightThrough, tf, tidy } from "../tensor/mod.ts";

/** Describes a policy: a norm, hidden numbers, one number. */
export interface KeepPolicyDescription {
  readonly norm: NormDescription;
  readonly hidden: LinearDescription;
  readonly out: LinearDescription;
}

/** Parameters of a policy. */
export type KeepPolicyParameters = Described<KeepPolicyDescription>;

/**
 * Describes a policy over tokens of `width` channels.
 *
 * @param hidden Hidden numbers. Default: 32.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * assert.deepEqual(keepPolicyLayers(16).hidden.weight.shape, [32, 16]);
 * ```
 */
export function keepPolicyLayers(width: number, hidden = 32): KeepPolicyDescription {
  return { norm: normLayer(width), hidden: linearLayer(width, hidden), out: linearLayer(hidden, 1) };
}

/**
 * The log odds that each token is kept. A token is judged by itself, without the others: tokens x width x hidden
 * multiplications.
 *
 * @param x [batch, tokens, width]
 * @returns [batch, tokens]
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { initialise } from "tessera/nn/mod.ts";
 * import { random } from "tessera/random.ts";
 * import { tf } from "tessera/tensor/mod.ts";
 * const policy = initialise(keepPolicyLayers(4), random(1));
 * assert.deepEqual(keepOdds(tf.ones<tf.Rank.R3>([2, 3, 4]), policy).shape, [2, 3]);
 * ```
 */
export function keepOdds(x: tf.Tensor3D, { norm, hidden, out }: KeepPolicyParameters): tf.Tensor2D {
  return tidy(() => linear(gelu(linear(layerNorm(x, norm), hidden)), out).squeeze<tf.Tensor2D>([2]));
}

/**
 * Which tokens are kept, drawn: each on its own, with the probability that its odds say.
 *
 * @param odds [batch, tokens], logarithms.
 * @param key Of the draw: {@link randomKey}.
 * @returns [batch, tokens], 0 or 1; no gradient flows through.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { randomKey, tf } from "tessera/tensor/mod.ts";
 * assert.deepEqual(drawKept(tf.tensor2d([[99, -99]]), randomKey(1)).arraySync(), [[1, 0]]);
 * ```
 */
export function drawKept(odds: tf.Tensor2D, key: tf.Tensor1D): tf.Tensor2D {
  return tidy(() => {
    const drawn = tf.less(randomUniform(key, odds.shape), tf.sigmoid(stopGradient(odds)));
    return drawn.cast<tf.Tensor2D>("float32");
  });
}

/**
 * Logarithm of the probability of a draw.
 *
 * @param odds [batch, tokens], logarithms.
 * @param kept [batch, tokens], 0 or 1.
 * @returns [batch]
 *
 * @example Of two tokens at even odds each draw is as likely as any other
 * ```ts
 * import assert from "node:assert/strict";
 * import { tf } from "tessera/tensor/mod.ts";
 * const [log] = logProbabilityOf(tf.tensor2d([[0, 0]]), tf.tensor2d([[1, 0]])).arraySync();
 * assert.ok(Math.abs(log - Math.log(1 / 4)) < 1e-6);
 * ```
 */
export function logProbabilityOf(odds: tf.Tensor2D, kept: tf.Tensor2D): tf.Tensor1D {
  return tidy(() => {
    const signed = tf.mul<tf.Tensor2D>(odds, tf.sub(tf.mul(kept, 2), 1));
    return tf.neg(tf.softplus(tf.neg(signed)).sum<tf.Tensor1D>(1)); // tf.logSigmoid keeps its input by itself: a tidy ends it
  });
}

/**
 * The loss whose gradient is that of the expected reward, downwards: draws that earned more than the baseline become
 * likelier, the others less likely. Its value means nothing.
 *
 * @param odds [draws, tokens], logarithms; several draws of one image are several rows.
 * @param kept [draws, tokens]: what was drawn.
 * @param reward [draws]: what each earned.
 * @param baseline [draws]: what the greedy choice of the same image earned ("self-critical"), or any other number that
 *   does not depend on the draw; the expectation is the same, the variance is not.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { tf } from "tessera/tensor/mod.ts";
 * const [kept, reward, baseline] = [tf.tensor2d([[1, 0]]), tf.tensor1d([1]), tf.tensor1d([0])];
 * const slope = tf.grad((odds) => reinforceLoss(odds as tf.Tensor2D, kept, reward, baseline));
 * assert.deepEqual(slope(tf.tensor2d([[0, 0]])).arraySync(), [[-0.5, 0.5]]); // downhill: keep the first, drop the second
 * ```
 */
export function reinforceLoss(
  odds: tf.Tensor2D,
  kept: tf.Tensor2D,
  reward: tf.Tensor1D,
  baseline: tf.Tensor1D,
): tf.Scalar {
  return tidy(() => {
    const advantage = stopGradient(tf.sub<tf.Tensor1D>(reward, baseline));
    return tf.neg(tf.mul(advantage, logProbabilityOf(odds, kept)).mean<tf.Scalar>());
  });
}

/**
 * Which tokens are kept, drawn as by {@link drawKept}, with the gradient of a soft choice: Gumbel's for two classes.
 *
 * @param odds [batch, tokens], logarithms.
 * @param temperature Of the soft choice. Default: 1.
 * @returns [batch, tokens], 0 or 1.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { randomKey, tf } from "tessera/tensor/mod.ts";
 * const slope = tf.grad((odds) => softKept(odds as tf.Tensor2D, randomKey(1)));
 * assert.ok((slope(tf.tensor2d([[0.5]])).arraySync() as number[][])[0][0] > 0);
 * ```
 */
export function softKept(odds: tf.Tensor2D, key: tf.Tensor1D, temperature = 1): tf.Tensor2D {
  if (!(temperature > 0)) throw new RangeError(`temperature must be above 0, but it is ${temperature}; 1 is usual`);
  return tidy(() => {
    const uniform = tf.clipByValue(randomUniform(key, odds.shape), 1e-7, 1 - 1e-7) as tf.Tensor2D;
    const noise = tf.sub(tf.log(uniform), tf.log(tf.sub(1, uniform))); // the difference of two Gumbel draws
    const soft = tf.sigmoid(tf.div<tf.Tensor2D>(tf.add(odds, noise), temperature));
    return straightThrough(tf.greater(soft, 0.5).cast<tf.Tensor2D>("float32"), soft);
  });
}
