/**
 * DynamicViT: a small network predicts which patches are worth keeping; while training nothing is removed, but what it
 * would remove is hidden from attention, by a choice that lets gradients through.
 *
 * Rao et al., "DynamicViT: Efficient Vision Transformers with Dynamic Token Sparsification", NeurIPS 2021,
 * arXiv:2106.02034, sections 3.2 to 3.4. Checked against Haurum et al.'s code (tests/golden, `dynamicvit.predictor`,
 * `dynamicvit.softmax_with_policy`, `vit_dynamicvit.forward`). Differs from the code in the order of what stays (the
 * input's; theirs is best first: `parity: true`).
 *
 * @module
 */
import {
  gelu,
  layerNorm,
  linear,
  linearLayer,
  type LinearParameters,
  normLayer,
  type NormParameters,
} from "../nn/layers.ts";
import { need } from "../nn/reducer.ts";
import { randomUniform, straightThrough, tf, tidy } from "../tensor/mod.ts";
import type { LayerBudget } from "./budget.ts";
import { learned, learnedMethod, type LearnedOptions, type LearnedReducer } from "./learned.ts";
import { pruneByScore } from "./prune.ts";

/** Parameters of one predictor. */
export interface DynamicViTParameters {
  readonly norm: NormParameters;
  readonly embed: LinearParameters;
  readonly out: VoteLayers;
}

/** Options of DynamicViT. */
export type DynamicViTOptions = LayerBudget & LearnedOptions<DynamicViTParameters>;

/**
 * Logarithms of the probabilities that each patch is kept, and dropped.
 *
 * Half of the channels speak for the patch itself, the mean of the other half over the patches that are still there for
 * all of them.
 *
 * Costs patches x channels² x 1.6 multiplications.
 *
 * @param x [batch, patches, channels]
 * @param policy [batch, patches]: how much each patch still counts.
 * @returns [batch, patches, 2]
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { tf } from "tessera/tensor/mod.ts";
 * const zero = (out: number, inputs: number) => ({ weight: tf.zeros<tf.Rank.R2>([out, inputs]) });
 * const norm = { weight: tf.ones<tf.Rank.R1>([4]), bias: tf.zeros<tf.Rank.R1>([4]) };
 * const parameters = { norm, embed: zero(4, 4), out: [zero(2, 4), zero(1, 2), zero(2, 1)] as const };
 * const [[[keep]]] = keepLogits(tf.ones<tf.Rank.R3>([1, 3, 4]), tf.ones<tf.Rank.R2>([1, 3]), parameters).arraySync();
 * assert.ok(Math.abs(keep - Math.log(0.5)) < 1e-6);
 * ```
 */
export function keepLogits(
  x: tf.Tensor3D,
  policy: tf.Tensor2D,
  { norm, embed, out }: DynamicViTParameters,
): tf.Tensor3D {
  return tidy(() => {
    const embedded = gelu(linear(layerNorm(x, norm), embed));
    const half = embedded.shape[2] / 2;
    const counted = policy.expandDims<tf.Tensor3D>(2);
    const ofAll = tf.mul(embedded.slice([0, 0, half]), counted).sum(1, true)
      .div(tf.maximum(counted.sum(1, true), 1e-12)).add(1e-6); // the code adds its 1e-6 after the division
    const whole = tf.concat<tf.Tensor3D>([
      embedded.slice([0, 0, 0], [-1, -1, half]) as tf.Tensor3D,
      ofAll.tile<tf.Tensor3D>([1, x.shape[1], 1]),
    ], 2);
    return keepOrDrop(whole, out);
  });
}

/** The last layers of a predictor: half, a quarter of the channels, and two numbers (keep, drop). */
export type VoteLayers = readonly [LinearParameters, LinearParameters, LinearParameters];

/** Describes them; at least one number each. */
export function voteLayers(width: number) {
  const half = Math.max(1, Math.floor(width / 2)), quarter = Math.max(1, Math.floor(width / 4));
  return [linearLayer(width, half), linearLayer(half, quarter), linearLayer(quarter, 2)] as const;
}

/** The logarithms of the probabilities of keep and drop, along the last dimension. */
export function keepOrDrop<T extends tf.Tensor3D | tf.Tensor4D>(x: T, [first, second, last]: VoteLayers): T {
  return tidy(() => tf.logSoftmax(linear(gelu(linear(gelu(linear(x, first)), second)), last)) as T);
}

/**
 * The loss that holds the share of patches that are kept to a target: twice the squared difference, averaged over images.
 *
 * @param policy [batch, patches], from a model run with `training: true`, without special tokens.
 * @param target Share that is to be kept.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { tf } from "tessera/tensor/mod.ts";
 * assert.equal(keepRateLoss(tf.tensor2d([[1, 1, 0, 0]]), 0.5).arraySync(), 0);
 * ```
 */
export function keepRateLoss(policy: tf.Tensor2D, target: number): tf.Scalar {
  return tidy(() => policy.mean(1).sub(target).square().mean().mul<tf.Scalar>(2));
}

/**
 * DynamicViT as a reducer, before its block. With `training: true` the model hides what a draw of the predictor drops,
 * and gives the result as `policy`; the draw needs a key.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * const sizes = { width: 8, heads: 2, layers: 4, grid: [4, 4], specialTokens: 1 } as const;
 * assert.equal(dynamicvit({ keepRate: 0.7, sizes }).stages.length, 3);
 * ```
 */
export function dynamicvit(options: DynamicViTOptions): LearnedReducer<DynamicViTParameters> {
  const { sizes: { width }, parity = false } = options;
  const even = Math.max(2, width + width % 2);
  return learned(options, {
    name: "dynamicvit",
    hook: "beforeBlock",
    describe: () => ({
      norm: normLayer(width),
      embed: linearLayer(width, even),
      out: voteLayers(even),
    }),
    reduce: (patches, parameters, { keep }) => {
      const everyone = tf.ones<tf.Rank.R2>(patches.shape.slice(0, 2) as [number, number]);
      const score = keepLogits(patches, everyone, parameters).slice([0, 0, 0], [-1, -1, 1]).squeeze<tf.Tensor2D>([2]);
      return pruneByScore(score, { keep, parity });
    },
    soften: (patches, parameters, { specialTokens }, view, policy) => {
      const before = policy.slice([0, specialTokens]) as tf.Tensor2D;
      const logits = keepLogits(patches, before, parameters);
      const uniform = tf.clipByValue(randomUniform(need(view, "key", "dynamicvit"), logits.shape), 1e-7, 1 - 1e-7);
      const drawn = tf.softmax(tf.sub<tf.Tensor3D>(logits, tf.log(tf.neg(tf.log(uniform))))); // Gumbel's
      const soft = drawn.slice([0, 0, 0], [-1, -1, 1]).squeeze<tf.Tensor2D>([2]);
      const kept = straightThrough(tf.greater(soft, 0.5).cast<tf.Tensor2D>("float32"), soft);
      return tf.concat(
        [policy.slice([0, 0], [-1, specialTokens]) as tf.Tensor2D, tf.mul<tf.Tensor2D>(kept, before)],
        1,
      );
    },
  });
}

/** DynamicViT in the catalogue. */
export const dynamicvitMethod = learnedMethod(dynamicvit, {
  family: "prune",
  paper: "Rao et al., DynamicViT, 2021",
  section: "3.2 to 3.4, arXiv:2106.02034",
  tier: 1,
  traceable: true,
  golden: ["dynamicvit.predictor", "dynamicvit.softmax_with_policy", "vit_dynamicvit.forward"],
  cost: "1.6 nC² multiplications; nC floats",
  differs: "from the code in the order of what stays",
  breaks: { mass: "patches are dropped" },
});
