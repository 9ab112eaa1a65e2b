/**
 * PatchMerger: each output is a learned query that attends to the patches. The Perceiver resampler is the same with keys,
 * values, several heads and layers.
 *
 * Renggli et al., "Learning to Merge Tokens in Vision Transformers", 2022, arXiv:2202.12015, section 3. Checked against
 * Haurum et al.'s code (tests/golden, `patchmerger.forward`, `vit_patchmerger.forward`).
 *
 * @module
 */
import { layerNorm, normLayer, type NormParameters } from "../nn/layers.ts";
import { normal, parameter } from "../nn/initialise.ts";
import { tf, tidy } from "../tensor/mod.ts";
import type { LayerBudget } from "./budget.ts";
import { learned, learnedMethod, type LearnedOptions, type LearnedReducer, softMap } from "./learned.ts";

/** Parameters of one merger. */
export interface PatchMergerParameters {
  /** [outputs, channels] */
  readonly queries: tf.Tensor2D;
  readonly norm: NormParameters;
}

/** Options of PatchMerger. */
export type PatchMergerOptions = LayerBudget & LearnedOptions<PatchMergerParameters> & {
  /** Divide the logits by the root of the number of channels. Default: false, as the authors. */
  readonly scaled?: boolean;
};

/**
 * How much each query takes from each patch (a row sums to 1), of the normalised patches.
 *
 * Costs patches x outputs x channels multiplications, twice.
 *
 * @param x [batch, patches, channels]
 * @returns `shares` [batch, outputs, patches] and `x` [batch, outputs, channels].
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { tf } from "tessera/tensor/mod.ts";
 * const norm = { weight: tf.ones<tf.Rank.R1>([2]), bias: tf.zeros<tf.Rank.R1>([2]) };
 * const { shares } = mergePatches(tf.ones<tf.Rank.R3>([1, 4, 2]), { queries: tf.zeros<tf.Rank.R2>([1, 2]), norm });
 * assert.deepEqual(shares.arraySync(), [[[0.25, 0.25, 0.25, 0.25]]]);
 * ```
 */
export function mergePatches(
  x: tf.Tensor3D,
  { queries, norm }: PatchMergerParameters,
  scaled = false,
): { shares: tf.Tensor3D; x: tf.Tensor3D } {
  const [batch, patches, channels] = x.shape;
  return tidy(() => {
    const normalised = layerNorm(x, norm);
    const flat = normalised.reshape<tf.Tensor2D>([batch * patches, channels]);
    const logits = tf.matMul(flat, queries, false, true).reshape([batch, patches, -1]).transpose<tf.Tensor3D>([
      0,
      2,
      1,
    ]);
    const shares = tf.softmax(scaled ? logits.mul<tf.Tensor3D>(channels ** -0.5) : logits);
    return { shares, x: tf.matMul(shares, normalised) };
  });
}

/**
 * PatchMerger as a reducer, before its block.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * const sizes = { width: 8, heads: 2, layers: 4, grid: [4, 4], specialTokens: 1 } as const;
 * const reducer = patchmerger({ keep: [6], layers: [1], sizes });
 * assert.deepEqual(reducer.stages[0].queries.shape, [6, 8]);
 * ```
 */
export function patchmerger(options: PatchMergerOptions): LearnedReducer<PatchMergerParameters> {
  const { sizes: { width }, scaled = false } = options;
  return learned(options, {
    name: "patchmerger",
    hook: "beforeBlock",
    describe: ({ keep }) => ({ queries: parameter([keep, width], normal()), norm: normLayer(width) }),
    reduce: (patches, parameters) =>
      softMap(mergePatches(patches, parameters, scaled).shares, {
        transform: (x) => mergePatches(x, parameters, scaled).x,
      }),
  });
}

/** PatchMerger in the catalogue. */
export const patchmergerMethod = learnedMethod(patchmerger, {
  family: "soft",
  paper: "Renggli et al., PatchMerger, 2022",
  section: "3, arXiv:2202.12015",
  tier: 1,
  traceable: true,
  golden: ["patchmerger.forward", "vit_patchmerger.forward"],
  cost: "2nkC multiplications; nk floats",
  differs: "from neither",
  breaks: {
    U5: "it looks at normalised patches, and shares depend on them",
    U15: "it combines normalised patches, not the patches themselves",
  },
});
