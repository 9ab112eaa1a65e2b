/**
 * Sinkhorn: clusters as optimal transport. Patches are shared out over fixed random centres so that every patch gives all
 * of itself and all centres get about the same.
 *
 * Haurum et al., "Which Tokens to Use?", ICCV Workshops 2023, arXiv:2308.04657, section 3 (after Sarlin et al.,
 * "SuperGlue", CVPR 2020, arXiv:1911.11763). Checked against Haurum et al.'s code (tests/golden,
 * `sinkhorn.log_optimal_transport`, `sinkhorn.layer`, `vit_sinkhorn.forward`). Differs from the code in what it combines:
 * theirs sums patches of length 1 (`parity: true`); ours takes the mean of the patches as they are.
 *
 * @module
 */
import { normal, parameter } from "../nn/initialise.ts";
import { perMass } from "../nn/token_map.ts";
import { tf, tidy } from "../tensor/mod.ts";
import type { LayerBudget } from "./budget.ts";
import { learned, learnedMethod, type LearnedOptions, type LearnedReducer, softMap } from "./learned.ts";
import { unitLength } from "./similarity.ts";

/** The centres of one clustering, which are not trained. */
export interface SinkhornParameters {
  /** [outputs, channels] */
  readonly centres: tf.Tensor2D;
}

/** Options of Sinkhorn. */
export type SinkhornOptions = LayerBudget & LearnedOptions<SinkhornParameters> & {
  /** How soft the assignment is. Default: 1. */
  readonly epsilon?: number;
  /** Default: 3. */
  readonly iterations?: number;
};

/**
 * The transport plan between rows and columns with all masses equal, by Sinkhorn's iterations on logarithms, times rows
 * plus columns. After the last step each column sums to 1; rows only come near columns / rows.
 *
 * Costs iterations x rows x columns exponentials; reads nothing back.
 *
 * @param scores [batch, rows, columns]
 *
 * @example The specification's appendix A.6
 * ```ts
 * import assert from "node:assert/strict";
 * import { tf } from "tessera/tensor/mod.ts";
 * const scores = tf.tensor3d([[[1, 0.5, 0, -0.5], [-0.5, 0, 0.5, 1]]]);
 * const [[row]] = transport(scores, { epsilon: 1, iterations: 3 }).arraySync();
 * assert.deepEqual(row.map((value) => value.toFixed(4)), ["0.8176", "0.6225", "0.3775", "0.1824"]);
 * ```
 */
export function transport(
  scores: tf.Tensor3D,
  { epsilon = 1, iterations = 3 }: { readonly epsilon?: number; readonly iterations?: number } = {},
): tf.Tensor3D {
  const [, rows, columns] = scores.shape;
  if (!(epsilon > 0)) throw new RangeError(`epsilon must be above 0, but it is ${epsilon}; the authors take 1`);
  return tidy(() => {
    const cost = scores.div<tf.Tensor3D>(epsilon);
    const mass = -Math.log(rows + columns);
    let v: tf.Tensor = tf.zeros([1, 1, columns]), u: tf.Tensor = tf.zeros([1, rows, 1]);
    for (let i = 0; i < iterations; i++) {
      u = tf.sub(mass, tf.logSumExp(cost.add(v), 2, true));
      v = tf.sub(mass, tf.logSumExp(cost.add(u), 1, true));
    }
    return tf.exp(cost.add(u).add(v).sub<tf.Tensor3D>(mass));
  });
}

/**
 * Sinkhorn as a reducer, before its block.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * const sizes = { width: 8, heads: 2, layers: 4, grid: [4, 4], specialTokens: 1 } as const;
 * const reducer = sinkhorn({ keep: [6], layers: [1], sizes });
 * assert.equal(reducer.parameters.length, 0); // the centres stay as they were drawn
 * ```
 */
export function sinkhorn(options: SinkhornOptions): LearnedReducer<SinkhornParameters> {
  const { sizes: { width }, epsilon = 1, iterations = 3, parity = false } = options;
  return learned(options, {
    name: "sinkhorn",
    hook: "beforeBlock",
    describe: ({ keep }) => ({ centres: parameter([keep, width], normal()) }),
    trains: () => false,
    reduce: (patches, { centres }) => {
      const planOf = (x: tf.Tensor3D) => {
        const directions = unitLength(centres.expandDims<tf.Tensor3D>(0)).tile<tf.Tensor3D>([x.shape[0], 1, 1]);
        return transport(tf.matMul<tf.Tensor3D>(directions, unitLength(x), false, true), { epsilon, iterations });
      };
      const mass = planOf(patches);
      if (!parity) return softMap(perMass<tf.Tensor3D>(mass, mass.sum(2, true)), { mass });
      return softMap(mass, { mass, transform: (x) => tf.matMul<tf.Tensor3D>(planOf(x), unitLength(x)) });
    },
  });
}

/** Sinkhorn in the catalogue. */
export const sinkhornMethod = learnedMethod(sinkhorn, {
  family: "soft",
  paper: "Haurum et al., Which Tokens to Use?, 2023",
  section: "3, arXiv:2308.04657",
  tier: 1,
  traceable: true,
  golden: ["sinkhorn.log_optimal_transport", "sinkhorn.layer", "vit_sinkhorn.forward"],
  cost: "2nkC multiplications and 6nk exponentials; nk floats",
  differs: "from the code in taking the mean of the patches, not the sum of patches of length 1",
  breaks: {},
});
