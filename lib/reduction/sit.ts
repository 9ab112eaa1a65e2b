/**
 * Self-slimmed ViT (SiT): a small network gives each patch its share in each output; shares are a softmax over patches.
 *
 * Zong et al., "Self-slimmed Vision Transformer", ECCV 2022, arXiv:2111.12624, section 3.2. Checked against Haurum et al.'s
 * code (tests/golden, `sit.token_slimming`, `vit_sit.forward`). Differs from neither in what is computed; the distillation
 * that the paper trains it with is left to the training.
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
import { ones, parameter } from "../nn/initialise.ts";
import { tf, tidy } from "../tensor/mod.ts";
import type { LayerBudget } from "./budget.ts";
import { learned, learnedMethod, type LearnedOptions, type LearnedReducer, softMap } from "./learned.ts";

/** Parameters of one slimming. */
export interface SiTParameters {
  readonly scale: tf.Tensor;
  readonly norm: NormParameters;
  /** Channels to hidden numbers: half of them by default. */
  readonly fc1: LinearParameters;
  /** Hidden numbers to outputs. */
  readonly fc2: LinearParameters;
}

/** Options of SiT. */
export type SiTOptions = LayerBudget & LearnedOptions<SiTParameters>;

/**
 * The share of each patch in each output; a row sums to 1.
 *
 * Costs patches x channels x (hidden + outputs) multiplications.
 *
 * @param x [batch, patches, channels]
 * @returns [batch, outputs, patches]
 *
 * @example With weights of 0 all patches share alike
 * ```ts
 * import assert from "node:assert/strict";
 * import { tf } from "tessera/tensor/mod.ts";
 * const zero = (out: number, inputs: number) => ({ weight: tf.zeros<tf.Rank.R2>([out, inputs]) });
 * const norm = { weight: tf.ones<tf.Rank.R1>([2]), bias: tf.zeros<tf.Rank.R1>([2]) };
 * const parameters = { scale: tf.scalar(1), norm, fc1: zero(1, 2), fc2: zero(1, 1) };
 * assert.deepEqual(slimmingShares(tf.ones<tf.Rank.R3>([1, 4, 2]), parameters).arraySync(), [[[0.25, 0.25, 0.25, 0.25]]]);
 * ```
 */
export function slimmingShares(x: tf.Tensor3D, { scale, norm, fc1, fc2 }: SiTParameters): tf.Tensor3D {
  return tidy(() => {
    const logits = linear(gelu(linear(layerNorm(x, norm), fc1)), fc2).mul(scale.reshape([1, 1, 1]));
    return tf.softmax(logits.transpose<tf.Tensor3D>([0, 2, 1]));
  });
}

/**
 * SiT as a reducer, before its block.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * const sizes = { width: 8, heads: 2, layers: 4, grid: [4, 4], specialTokens: 1 } as const;
 * const reducer = sit({ keep: [6], layers: [1], sizes });
 * assert.equal(reducer.parameters.length, 7);
 * ```
 */
export function sit(options: SiTOptions): LearnedReducer<SiTParameters> {
  const { width } = options.sizes;
  const hidden = Math.max(1, Math.floor(width / 2));
  return learned(options, {
    name: "sit",
    hook: "beforeBlock",
    describe: ({ keep }) => ({
      scale: parameter([1, 1, 1], ones),
      norm: normLayer(width),
      fc1: linearLayer(width, hidden),
      fc2: linearLayer(hidden, keep),
    }),
    reduce: (patches, parameters) => softMap(slimmingShares(patches, parameters)),
  });
}

/** SiT in the catalogue. */
export const sitMethod = learnedMethod(sit, {
  family: "soft",
  paper: "Zong et al., Self-slimmed ViT, 2022",
  section: "3.2, arXiv:2111.12624",
  tier: 1,
  traceable: true,
  golden: ["sit.token_slimming", "vit_sit.forward"],
  cost: "nC(C/2 + k) multiplications; nk floats",
  differs: "from the paper in leaving its distillation to the training",
  breaks: {},
});
