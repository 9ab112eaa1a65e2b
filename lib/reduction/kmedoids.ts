/**
 * K-Medoids: each cluster of patches is represented by the one of its members that is nearest to all others, weighted by
 * how much attention they receive.
 *
 * Haurum et al., "Which Tokens to Use?", ICCV Workshops 2023, arXiv:2308.04657, section 3 (after Marin et al., "Token
 * Pooling in Vision Transformers", 2021, arXiv:2110.03860). Checked against Haurum et al.'s code (tests/golden,
 * `kmedoids.k_medoids_fit`, `vit_kmedoids.forward`). Differs from the code in how medoids move: theirs sums distances to
 * all tokens, not to the members, and multiplies by the candidate's own weight, so that important tokens are avoided
 * (`parity: true`); ours minimises the weighted sum over the members, and keeps the order of the input.
 *
 * @module
 */
import { type Place, type Reducer } from "../nn/reducer.ts";
import type { SlotMap } from "../nn/token_map.ts";
import { gatherTokens, placeOfHighest, stableTopK, stopGradient, tf, tidy } from "../tensor/mod.ts";
import { blocksOf, overRows } from "./blocks_of_rows.ts";
import { type LayerBudget, patchesLeft, truncate, truncateAsReference } from "./budget.ts";
import { type Clusters, mergeClusters } from "./dpcknn.ts";
import { trainingFree } from "./method.ts";
import { pruningBudget } from "./prune.ts";
import { squaredDistance } from "./similarity.ts";
import { refuseNaNIn, withSpecialTokens } from "./special.ts";
import { int, where } from "./where.ts";

/** Options of one clustering. */
export interface KMedoidsFitOptions {
  readonly clusters: number;
  /** Times that medoids move. Default: 3. */
  readonly iterations?: number;
  /** [batch, tokens]: how much each token counts. Default: all the same, starting from evenly spread tokens. */
  readonly weight?: tf.Tensor2D | undefined;
  /** Move medoids as the authors' code does. Default: false. */
  readonly parity?: boolean;
}

/** Options of K-Medoids as a reducer. */
export type KMedoidsOptions = LayerBudget & {
  /** Times that medoids move. Default: 3. */
  readonly iterations?: number;
  /** The authors' update, order and rounding. Default: false. */
  readonly parity?: boolean;
};

/**
 * Clusters tokens around medoids: from the tokens of highest weight, joins every token to the nearest medoid (Euclidean;
 * equal: the earlier medoid), moves each medoid to the best member of its cluster, and again.
 *
 * Costs tokens² x channels multiplications, and tokens² more per iteration for weighing. Above 1448 tokens distances are
 * computed anew in each iteration, and those from the medoids by tokens x clusters x channels, once more in the end. Per
 * image there are a few blocks of distances of 8 MB: no tokens x tokens matrix beyond that. Reads nothing back.
 *
 * @param x [batch, tokens, channels]
 * @returns The medoids, and the nearest of them for each token.
 *
 * @example The middle one of three
 * ```ts
 * import assert from "node:assert/strict";
 * import { tf } from "tessera/tensor/mod.ts";
 * const { centres } = kMedoidsFit(tf.tensor3d([[[0], [1], [2]]]), { clusters: 1 });
 * assert.deepEqual(centres.arraySync(), [[1]]);
 * ```
 */
export function kMedoidsFit(x: tf.Tensor3D, options: KMedoidsFitOptions): Clusters {
  const { clusters, iterations = 3, weight, parity = false } = options;
  const [batch, tokens] = x.shape;
  if (!Number.isInteger(clusters) || clusters < 1 || clusters > tokens) {
    throw new RangeError(
      `clusters must be a whole number from 1 to the ${tokens} tokens, but it is ${clusters}; keep at least one`,
    );
  }
  if (!Number.isInteger(iterations) || iterations < 0) {
    throw new RangeError(`iterations must be a whole number from 0, but it is ${iterations}; the authors take 3`);
  }
  return tidy(() => {
    const metric = stopGradient(x);
    const counts = weight ? stopGradient(weight) : tf.ones<tf.Rank.R2>([batch, tokens]);
    let centres = weight ? stableTopK(counts, clusters) : evenlySpread(batch, tokens, clusters);
    const numbers = tf.range(0, clusters, 1, "int32").reshape([1, clusters, 1]);
    const oneBlock = blocksOf(tokens).length === 1 ? squaredDistance(metric, metric) : undefined;
    const look = <T extends tf.Tensor>(at: (squared: tf.Tensor3D, first: number) => T): T =>
      oneBlock ? tf.tidy(() => at(oneBlock, 0)) : overRows(metric, at);
    /** [batch, tokens] int32: the medoid nearest to each token. */
    const nearest = (centres: tf.Tensor2D): tf.Tensor2D => {
      const squared = oneBlock
        ? gatherTokens(oneBlock, centres).transpose<tf.Tensor3D>([0, 2, 1])
        : squaredDistance(metric, gatherTokens(metric, centres));
      return placeOfHighest(squared.neg()) as tf.Tensor2D;
    };
    for (let i = 0; i < iterations; i++) {
      const before = centres;
      centres = tidy(() => {
        const cluster = nearest(before);
        const weighted = look((squared, first) => {
          const distance = tf.sqrt<tf.Tensor3D>(squared);
          if (parity) return distance.sum<tf.Tensor2D>(2); // the reference sums over all tokens, members or not
          const own = cluster.slice([0, first], [-1, squared.shape[1]]).expandDims(2);
          const share = where<tf.Tensor>(tf.equal(own, cluster.expandDims(1)), counts.expandDims(1), 0);
          return tf.mul(distance, share).sum<tf.Tensor2D>(2);
        });
        const cost = parity ? weighted.mul(counts) : weighted; // and weighs the candidate, so that important ones are avoided
        const member = tf.equal<tf.Tensor3D>(cluster.expandDims(1), numbers); // [batch, clusters, tokens]
        const best = placeOfHighest(where<tf.Tensor>(member, cost.neg().expandDims(1), -Infinity)) as tf.Tensor2D;
        const filled = tf.any<tf.Tensor2D>(member, 2);
        return where<tf.Tensor2D>(filled, best, parity ? tf.zerosLike(best) : before); // an empty cluster stays
      });
    }
    return { centres, assignment: nearest(centres) };
  });
}

function evenlySpread(batch: number, tokens: number, clusters: number): tf.Tensor2D {
  const spread = Int32Array.from({ length: clusters }, (_, i) => Math.floor((i + 0.5) * tokens / clusters));
  return tf.tensor1d(spread, "int32").expandDims<tf.Tensor2D>(0).tile([batch, 1]);
}

/**
 * K-Medoids as a reducer: before its block, on the attention of the block before. Before the first block there is none
 * yet, and all patches count the same. What comes out are the medoids themselves; their sizes count their members.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * const place = { layer: 3, layers: 12, tokens: 197, initialTokens: 197, specialTokens: 1, grid: [14, 14] as const };
 * assert.equal(kmedoids({ keepRate: 0.25 }).plan(place).achieved, 196 - 49);
 * ```
 */
export function kmedoids(options: KMedoidsOptions): Reducer {
  const { iterations = 3, parity = false } = options;
  const left = patchesLeft(options, parity ? truncateAsReference : truncate);
  const planned = (place: Place) => pruningBudget(place, left(place));
  return {
    name: "kmedoids",
    needs: ["attention"],
    hook: "beforeBlock",
    proportionalAttention: false,
    plan: planned,
    reduce: (view) => {
      const budget = planned(view);
      const { specialTokens, attention, tokens } = view;
      return tidy(() => {
        const patches = refuseNaNIn(view.x.slice([0, specialTokens, 0]) as tf.Tensor3D, "kmedoids", view);
        const received = attention &&
          refuseNaNIn(attention.sum([1, 2]).slice([0, specialTokens]) as tf.Tensor2D, "kmedoids", view);
        const clusters = tokens - specialTokens - budget.achieved;
        const found = kMedoidsFit(patches, { clusters, iterations, weight: received, parity });
        return { ...withSpecialTokens(keepMedoids(found, parity), specialTokens), budget };
      });
    },
  };
}

/** The map whose outputs are the medoids as they are, with the sizes of their clusters. */
function keepMedoids({ centres, assignment }: Clusters, parity: boolean): SlotMap {
  const [batch, tokens] = assignment.shape, outputs = centres.shape[1];
  // two medoids can be equal tokens: then the later one has no members, and must at least have itself
  const place = tf.range(0, tokens, 1, "int32").reshape([1, tokens, 1]);
  const numbers = tf.range(0, outputs, 1, "int32").reshape([1, 1, outputs]);
  const own = tf.where(tf.equal(place, centres.expandDims(1)), numbers, int(-1)).max<tf.Tensor2D>(2);
  const settled = where<tf.Tensor2D>(tf.greaterEqual(own, int(0)), own, assignment);
  const { slot, anchor } = mergeClusters({ centres, assignment: settled }, { parity });
  const kept = tf.logicalAnd<tf.Tensor2D>(anchor!, tf.greaterEqual(own, int(0)));
  const budget = { requested: tokens - outputs, achieved: tokens - outputs };
  return {
    kind: "slots",
    tokens,
    outputs,
    slot,
    weight: kept.cast<tf.Tensor2D>("float32").reshape([batch, tokens]),
    anchor: kept,
    budget,
  };
}

/** K-Medoids in the catalogue. */
export const kmedoidsMethod = trainingFree(kmedoids, {
  family: "cluster",
  paper: "Haurum et al., Which Tokens to Use?, 2023",
  section: "3, arXiv:2308.04657",
  tier: 1,
  traceable: true,
  golden: ["kmedoids.k_medoids_fit", "vit_kmedoids.forward"],
  cost: "n²C multiplications, 3n²C + 4nkC above 1448 tokens; a few blocks of 8 MB and of nk floats",
  differs: "from the code in how medoids move (over their members, important ones first) and in the order",
  breaks: { M2: "the medoid stands for its cluster, not the mean", M4: "fewer medoids move elsewhere" },
});
