/**
 * Perceiver resampler: learned latents attend to the patches and to themselves, with heads, residuals and an MLP per
 * layer.
 *
 * Jaegle et al., "Perceiver", ICML 2021, arXiv:2103.03206; in this form Alayrac et al., "Flamingo", NeurIPS 2022,
 * arXiv:2204.14198, section 3.1. Checked against the code of LLaVA-NeXT (tests/golden, `perceiver.resampler`).
 *
 * @module
 */
import { attention } from "../nn/attention.ts";
import {
  gelu,
  layerNorm,
  linear,
  linearLayer,
  type LinearParameters,
  normLayer,
  type NormParameters,
} from "../nn/layers.ts";
import { normal, parameter } from "../nn/initialise.ts";
import { perMass } from "../nn/token_map.ts";
import { tf, tidy } from "../tensor/mod.ts";
import type { LayerBudget } from "./budget.ts";
import { learned, learnedMethod, type LearnedOptions, type LearnedReducer, softMap } from "./learned.ts";

/** Parameters of one layer. */
export interface PerceiverLayer {
  readonly normPatches: NormParameters;
  readonly normLatents: NormParameters;
  readonly q: LinearParameters;
  readonly k: LinearParameters;
  readonly v: LinearParameters;
  readonly proj: LinearParameters;
  readonly norm: NormParameters;
  readonly fc1: LinearParameters;
  readonly fc2: LinearParameters;
}

/** Parameters of one resampler. */
export interface PerceiverParameters {
  /** [outputs, channels] */
  readonly latents: tf.Tensor2D;
  readonly layers: readonly PerceiverLayer[];
  readonly norm: NormParameters;
}

/** Options of the Perceiver resampler. */
export type PerceiverOptions = LayerBudget & LearnedOptions<PerceiverParameters> & {
  /** Layers of the resampler. Default: 1. */
  readonly depth?: number;
};

/**
 * Resamples patches to as many tokens as there are latents.
 *
 * Costs, per layer, about 4 (patches + outputs) channels² + 2 outputs (patches + outputs) channels multiplications.
 *
 * @param x [batch, patches, channels]
 * @returns `x` [batch, outputs, channels], and how much each latent looks at each patch in the last layer, as shares of
 *   the patches: [batch, outputs, patches].
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { tf } from "tessera/tensor/mod.ts";
 * const sizes = { width: 4, heads: 2, layers: 2, grid: [2, 2], specialTokens: 1 } as const;
 * const { stages: [parameters] } = perceiver({ keep: [2], layers: [0], sizes });
 * assert.deepEqual(resample(tf.ones<tf.Rank.R3>([1, 4, 4]), parameters, 2).x.shape, [1, 2, 4]);
 * ```
 */
export function resample(
  x: tf.Tensor3D,
  { latents, layers, norm }: PerceiverParameters,
  heads: number,
): { x: tf.Tensor3D; shares: tf.Tensor3D } {
  const [batch, patches] = x.shape;
  return tidy(() => {
    let y = latents.expandDims<tf.Tensor3D>(0).tile<tf.Tensor3D>([batch, 1, 1]);
    let shares = tf.zeros<tf.Rank.R3>([batch, latents.shape[0], patches]);
    for (const layer of layers) {
      const queries = layerNorm(y, layer.normLatents);
      const context = tf.concat([layerNorm(x, layer.normPatches), queries], 1);
      const { q, k, v, proj } = layer;
      const looked = attention(queries, { q, k, v, proj }, { heads, context });
      y = tf.add<tf.Tensor3D>(y, looked.x);
      y = tf.add<tf.Tensor3D>(y, linear(gelu(linear(layerNorm(y, layer.norm), layer.fc1)), layer.fc2));
      const ofPatches = looked.attention.mean<tf.Tensor3D>(1).slice([0, 0, 0], [-1, -1, patches]) as tf.Tensor3D;
      shares = perMass<tf.Tensor3D>(ofPatches, ofPatches.sum(2, true));
    }
    return { x: layerNorm(y, norm), shares };
  });
}

/**
 * The Perceiver resampler as a reducer, before its block.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * const sizes = { width: 8, heads: 2, layers: 4, grid: [4, 4], specialTokens: 1 } as const;
 * assert.deepEqual(perceiver({ keep: [6], layers: [1], sizes }).stages[0].latents.shape, [6, 8]);
 * ```
 */
export function perceiver(options: PerceiverOptions): LearnedReducer<PerceiverParameters> {
  const { sizes: { width, heads }, depth = 1 } = options;
  const plain = { bias: false };
  return learned(options, {
    name: "perceiver",
    hook: "beforeBlock",
    describe: ({ keep }) => ({
      latents: parameter([keep, width], normal()),
      layers: Array.from({ length: depth }, () => ({
        normPatches: normLayer(width),
        normLatents: normLayer(width),
        q: linearLayer(width, width, plain),
        k: linearLayer(width, width, plain),
        v: linearLayer(width, width, plain),
        proj: linearLayer(width, width, plain),
        norm: normLayer(width),
        fc1: linearLayer(width, 4 * width, plain),
        fc2: linearLayer(4 * width, width, plain),
      })),
      norm: normLayer(width),
    }),
    reduce: (patches, parameters) =>
      softMap(resample(patches, parameters, heads).shares, { transform: (x) => resample(x, parameters, heads).x }),
  });
}

/** The Perceiver resampler in the catalogue. */
export const perceiverMethod = learnedMethod(perceiver, {
  family: "soft",
  paper: "Alayrac et al., Flamingo, 2022",
  section: "3.1, arXiv:2204.14198",
  tier: 2,
  traceable: true,
  golden: ["perceiver.resampler"],
  cost: "per layer 4(n + k)C² + 2k(n + k)C multiplications; heads x k(n + k) floats",
  differs: "from neither",
  breaks: {
    U5: "it is a network of its own",
    U15: "the matrix is the attention of its last layer, for looking at",
  },
});
