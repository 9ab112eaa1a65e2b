/**
 * TokenLearner: each output is the sum of all patches under an attention map of its own, made by a small network.
 *
 * Ryoo et al., "TokenLearner: What Can 8 Learned Tokens Do for Images and Videos?", NeurIPS 2021, arXiv:2106.11297,
 * section 2. Checked against the authors' code (tests/golden, `tokenlearner.v1`, `tokenlearner.v11`). The reducer is
 * version 1.1, a softmax over patches; version 1, convolutions and a sigmoid, is the function {@link tokenLearnerV1}.
 *
 * @module
 */
import {
  activate,
  layerNorm,
  linear,
  linearLayer,
  type LinearParameters,
  normLayer,
  type NormParameters,
} from "../nn/layers.ts";
import { tf, tidy } from "../tensor/mod.ts";
import type { LayerBudget } from "./budget.ts";
import { learned, learnedMethod, type LearnedOptions, type LearnedReducer, softMap } from "./learned.ts";

/** Parameters of one TokenLearner, version 1.1. */
export interface TokenLearnerParameters {
  readonly norm: NormParameters;
  readonly fc1: LinearParameters;
  readonly fc2: LinearParameters;
}

/** Options of TokenLearner. */
export type TokenLearnerOptions = LayerBudget & LearnedOptions<TokenLearnerParameters> & {
  /** Hidden numbers. Default: 64. */
  readonly bottleneck?: number;
};

/**
 * The attention maps, version 1.1; a row sums to 1.
 *
 * @param x [batch, patches, channels]
 * @returns [batch, outputs, patches]
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { tf } from "tessera/tensor/mod.ts";
 * const zero = (out: number, inputs: number) => ({ weight: tf.zeros<tf.Rank.R2>([out, inputs]) });
 * const norm = { weight: tf.ones<tf.Rank.R1>([2]), bias: tf.zeros<tf.Rank.R1>([2]) };
 * const maps = attentionMaps(tf.ones<tf.Rank.R3>([1, 4, 2]), { norm, fc1: zero(3, 2), fc2: zero(1, 3) });
 * assert.deepEqual(maps.arraySync(), [[[0.25, 0.25, 0.25, 0.25]]]);
 * ```
 */
export function attentionMaps(x: tf.Tensor3D, { norm, fc1, fc2 }: TokenLearnerParameters): tf.Tensor3D {
  return tidy(() => {
    const logits = linear(activate(linear(layerNorm(x, norm, 1e-6), fc1), "geluTanh"), fc2);
    return tf.softmax(logits.transpose<tf.Tensor3D>([0, 2, 1]));
  });
}

/**
 * Version 1: four convolutions of 3 x 3 (without bias), a sigmoid, and the sum of the patches under each map. The maps do
 * not sum to 1, so that the result grows with the image.
 *
 * @param x [batch, rows, columns, channels]
 * @param parameters The norm, and the kernels [3, 3, in, out].
 * @returns [batch, outputs, channels]
 *
 * @example With kernels of 0 each map is a half everywhere
 * ```ts
 * import assert from "node:assert/strict";
 * import { tf } from "tessera/tensor/mod.ts";
 * const norm = { weight: tf.ones<tf.Rank.R1>([1]), bias: tf.zeros<tf.Rank.R1>([1]) };
 * const kernels = [1, 2, 3, 4].map(() => tf.zeros<tf.Rank.R4>([3, 3, 1, 1]));
 * assert.deepEqual(tokenLearnerV1(tf.ones<tf.Rank.R4>([1, 2, 2, 1]), { norm, kernels }).arraySync(), [[[2]]]);
 * ```
 */
export function tokenLearnerV1(
  x: tf.Tensor4D,
  { norm, kernels }: { readonly norm: NormParameters; readonly kernels: readonly tf.Tensor4D[] },
): tf.Tensor3D {
  const [batch, rows, columns, channels] = x.shape;
  return tidy(() => {
    let maps = layerNorm(x, norm, 1e-6);
    for (const [layer, kernel] of kernels.entries()) {
      maps = tf.conv2d(maps, kernel, 1, "same");
      if (layer < kernels.length - 1) maps = activate(maps, "geluTanh");
    }
    const shares = tf.sigmoid(maps.reshape<tf.Tensor3D>([batch, rows * columns, -1]));
    return tf.matMul(shares, x.reshape<tf.Tensor3D>([batch, rows * columns, channels]), true);
  });
}

/**
 * TokenLearner (version 1.1) as a reducer, before its block.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * const sizes = { width: 8, heads: 2, layers: 4, grid: [4, 4], specialTokens: 1 } as const;
 * assert.equal(tokenlearner({ keep: [8], layers: [2], sizes }).stages[0].fc2.weight.shape[0], 8);
 * ```
 */
export function tokenlearner(options: TokenLearnerOptions): LearnedReducer<TokenLearnerParameters> {
  const { sizes: { width }, bottleneck = 64 } = options;
  return learned(options, {
    name: "tokenlearner",
    hook: "beforeBlock",
    describe: ({ keep }) => ({
      norm: normLayer(width),
      fc1: linearLayer(width, bottleneck),
      fc2: linearLayer(bottleneck, keep),
    }),
    reduce: (patches, parameters) => softMap(attentionMaps(patches, parameters)),
  });
}

/** TokenLearner in the catalogue. */
export const tokenlearnerMethod = learnedMethod(tokenlearner, {
  family: "soft",
  paper: "Ryoo et al., TokenLearner, 2021",
  section: "2, arXiv:2106.11297",
  tier: 2,
  traceable: true,
  golden: ["tokenlearner.v1", "tokenlearner.v11"],
  cost: "n(64C + 64k + kC) multiplications; nk floats",
  differs: "from the paper's version 1 in a softmax over patches instead of a sigmoid: the authors' version 1.1",
  breaks: {},
});
