/**
 * DPC-KNN: density peaks clustering over k nearest neighbours. A centre is a token in a dense place, far from any denser
 * one; every other token joins the nearest centre.
 *
 * Du et al., "Study on density peaks clustering based on k-nearest neighbors", Knowledge-Based Systems 2016; for tokens:
 * Zeng et al., "Not All Tokens Are Equal", CVPR 2022, arXiv:2204.08680, section 3.2. Checked against Haurum et al.'s code
 * (tests/golden, `dpcknn.*`, `vit_dpcknn.forward`). Differs from the code in leaving out its random noise on the density,
 * in weighting by size where it takes the plain mean, and in the order (of the centres in the input, not best first);
 * `parity: true` follows it in the last two.
 *
 * @module
 */
import { type Place, type Reducer } from "../nn/reducer.ts";
import { perMass, type SlotMap } from "../nn/token_map.ts";
import { argsort, gatherTokens, placeOfHighest, stableTopK, stopGradient, tf, tidy } from "../tensor/mod.ts";
import { blocksOf, overRows } from "./blocks_of_rows.ts";
import { type LayerBudget, patchesLeft, truncate, truncateAsReference } from "./budget.ts";
import { trainingFree } from "./method.ts";
import { pruningBudget } from "./prune.ts";
import { squaredDistance } from "./similarity.ts";
import { refuseNaNIn, withSpecialTokens } from "./special.ts";
import { int, where } from "./where.ts";

/** Options of one clustering. */
export interface ClusterOptions {
  readonly clusters: number;
  /** Nearest tokens that the density is measured over, the token itself included. Default: 5, the authors'. */
  readonly neighbours?: number;
}

/** Centres and who belongs to them. */
export interface Clusters {
  /** [batch, clusters] int32: the token that each cluster is about, best first. */
  readonly centres: tf.Tensor2D;
  /** [batch, tokens] int32: the cluster of each token. */
  readonly assignment: tf.Tensor2D;
}

/** Options of DPC-KNN as a reducer. */
export type DPCKNNOptions = LayerBudget & {
  /** Nearest tokens that the density is measured over. Default: 5. */
  readonly neighbours?: number;
  /**
   * What a token counts in the mean of its cluster, as the exponential of a linear function of it: weight [1, channels]
   * and bias [1] for each block that reduces. Default: its size.
   */
  readonly scores?: readonly { readonly weight: tf.Tensor2D; readonly bias: tf.Tensor1D }[];
  /** The authors' order, rounding and plain mean. Default: false. */
  readonly parity?: boolean;
};

/**
 * Clusters tokens by density peaks.
 *
 * Density: exp(-mean of the squared distances to the nearest neighbours); peak: the distance to the nearest denser token
 * (of the densest one, the largest distance there is); centres have the highest products of the two. Distances are
 * divided by the root of the number of channels. Equal products, equal distances, equal densities: the lower
 * place first.
 *
 * Costs 2 tokens² x channels multiplications (tokens² x channels up to 1448 tokens), tokens x clusters x channels for
 * joining, and per image a few blocks of distances of 8 MB each: never a tokens x tokens matrix beyond that. Reads nothing
 * back.
 *
 * @param x [batch, tokens, channels]
 *
 * @example Two heaps
 * ```ts
 * import assert from "node:assert/strict";
 * import { tf } from "tessera/tensor/mod.ts";
 * const x = tf.tensor3d([[[0], [0.1], [9], [0.25], [9.1], [9.3]]]);
 * const [row] = dpcKnn(x, { clusters: 2, neighbours: 3 }).assignment.arraySync();
 * assert.deepEqual(row.map((cluster) => cluster === row[0]), [true, true, false, true, false, false]);
 * ```
 */
export function dpcKnn(
  x: tf.Tensor3D,
  { clusters, neighbours = 5 }: ClusterOptions,
): Clusters & { density: tf.Tensor2D } {
  const [, tokens, channels] = x.shape;
  checkClusters(clusters, tokens);
  if (!Number.isInteger(neighbours) || neighbours < 1) {
    throw new RangeError(`neighbours must be a whole number from 1, but it is ${neighbours}; the authors take 5`);
  }
  return tidy(() => {
    const scaled = stopGradient(x).div<tf.Tensor3D>(Math.sqrt(channels));
    const near = Math.min(neighbours, tokens);
    const oneBlock = blocksOf(tokens).length === 1 ? squaredDistance(scaled, scaled) : undefined;
    const look = <T extends tf.Tensor>(at: (squared: tf.Tensor3D, first: number) => T): T =>
      oneBlock ? tf.tidy(() => at(oneBlock, 0)) : overRows(scaled, at);

    const both = look((squared) =>
      tf.stack([tf.topk(tf.neg(squared), near).values.mean(2), squared.max(2)], 2) as tf.Tensor3D
    );
    const [nearest, farthestOf] = tf.unstack(both, 2) as [tf.Tensor2D, tf.Tensor2D]; // minus the mean; the largest
    const density = tf.exp<tf.Tensor2D>(nearest);
    const farthest = farthestOf.max(1, true).expandDims<tf.Tensor3D>(2);
    const peak = look((squared, first) => {
      const own = density.slice([0, first], [-1, squared.shape[1]]).expandDims(2);
      const others = density.expandDims(1);
      const place = tf.range(0, tokens, 1, "int32").expandDims(0);
      const earlier = tf.less(place, tf.range(first, first + squared.shape[1], 1, "int32").expandDims(1));
      // two tokens that are each other's nearest may be equally dense: without an order both would be peaks
      const level = tf.logicalAnd(tf.equal(others, own), earlier.expandDims(0));
      const denser = tf.logicalOr(tf.greater(others, own), level); // [batch, rows, tokens]
      return where<tf.Tensor>(denser, squared, farthest).min<tf.Tensor2D>(2);
    });
    const centres = stableTopK(tf.mul<tf.Tensor2D>(tf.sqrt(peak), density), clusters);
    return { centres, density, assignment: joinCentres(scaled, centres) };
  });
}

/**
 * The nearest of some centres for every token; a centre belongs to itself.
 *
 * @param x [batch, tokens, channels]
 * @param centres [batch, clusters] int32
 * @returns [batch, tokens] int32
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { tf } from "tessera/tensor/mod.ts";
 * const x = tf.tensor3d([[[0], [5], [4]]]);
 * assert.deepEqual(joinCentres(x, tf.tensor2d([[1, 0]], [1, 2], "int32")).arraySync(), [[1, 0, 0]]);
 * ```
 */
export function joinCentres(x: tf.Tensor3D, centres: tf.Tensor2D): tf.Tensor2D {
  const [, tokens] = x.shape, clusters = centres.shape[1];
  return tidy(() => {
    const nearest = placeOfHighest(squaredDistance(x, gatherTokens(x, centres)).neg()) as tf.Tensor2D;
    const place = tf.range(0, tokens, 1, "int32").reshape([1, tokens, 1]);
    const isCentre = tf.equal(place, centres.expandDims(1)); // [batch, tokens, clusters]
    const numbers = tf.range(0, clusters, 1, "int32").reshape([1, 1, clusters]);
    const own = tf.where(isCentre, numbers, int(-1)).max<tf.Tensor2D>(2);
    return where<tf.Tensor2D>(tf.greaterEqual(own, int(0)), own, nearest);
  });
}

/**
 * The map of some clusters: each becomes the mean of its tokens, weighted by size, and stands where its centre stood.
 *
 * @param options `parity`: the plain mean, in the order of `centres`; `share` [batch, tokens], positive: what each token
 *   counts in the mean instead of its size.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { tf } from "tessera/tensor/mod.ts";
 * const ints = (row: number[]) => tf.tensor2d([row], undefined, "int32");
 * const map = mergeClusters({ centres: ints([2, 0]), assignment: ints([1, 1, 0]) }, {});
 * assert.deepEqual(map.slot.arraySync(), [[0, 0, 1]]);
 * ```
 */
export function mergeClusters(
  { centres, assignment }: Clusters,
  { parity = false, share }: { readonly parity?: boolean; readonly share?: tf.Tensor2D | undefined },
): SlotMap {
  const [batch, tokens] = assignment.shape, outputs = centres.shape[1];
  return tidy(() => {
    const order = argsort(argsort(centres)); // the place of each centre among the centres, in the order of the input
    const slot = parity ? assignment.clone() : gatherTokens(order, assignment);
    const place = tf.range(0, tokens, 1, "int32").expandDims<tf.Tensor2D>(0).tile<tf.Tensor2D>([batch, 1]);
    const anchor = tf.equal<tf.Tensor2D>(place, gatherTokens(centres, assignment));
    const budget = { requested: tokens - outputs, achieved: tokens - outputs };
    const counted = share ?? (parity ? tf.ones<tf.Rank.R2>([batch, tokens]) : undefined);
    if (!counted) return { kind: "slots", tokens, outputs, slot, anchor, anchorsInOrder: true, budget };
    const member = tf.equal(tf.range(0, outputs, 1, "int32").reshape([1, outputs, 1]), slot.expandDims(1));
    const mass = member.cast<tf.Tensor3D>("float32");
    const total = tf.matMul<tf.Tensor3D>(mass, tf.matMul(mass, counted.expandDims<tf.Tensor3D>(2)), true);
    const sum = total.squeeze<tf.Tensor2D>([2]);
    const weight = perMass<tf.Tensor2D>(counted, parity ? sum.add(1e-6) : sum); // the code adds 1e-6 to each sum
    return { kind: "slots", tokens, outputs, slot, weight, anchor, budget };
  });
}

/**
 * DPC-KNN as a reducer: before its block, clusters the patches into as many as are to stay.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * const place = { layer: 3, layers: 12, tokens: 197, initialTokens: 197, specialTokens: 1, grid: [14, 14] as const };
 * assert.equal(dpcknn({ keepRate: 0.25 }).plan(place).achieved, 196 - 49);
 * ```
 */
export function dpcknn(options: DPCKNNOptions): Reducer {
  const { neighbours = 5, scores, parity = false } = options;
  const left = patchesLeft(options, parity ? truncateAsReference : truncate);
  const planned = (place: Place) => pruningBudget(place, left(place));
  return {
    name: "dpcknn",
    needs: [],
    hook: "beforeBlock",
    proportionalAttention: false,
    plan: planned,
    reduce: (view) => {
      const budget = planned(view);
      const { specialTokens } = view;
      return tidy(() => {
        const patches = view.x.slice([0, specialTokens, 0]) as tf.Tensor3D;
        refuseNaNIn(patches, "dpcknn", view);
        const found = dpcKnn(patches, { clusters: view.tokens - specialTokens - budget.achieved, neighbours });
        const stage = stageOf(options, view);
        const share = scores && shareOf(patches, scores[stage]);
        return { ...withSpecialTokens(mergeClusters(found, { parity, share }), specialTokens), budget };
      });
    },
  };
}

/** DPC-KNN in the catalogue. */
export const dpcknnMethod = trainingFree(dpcknn, {
  family: "cluster",
  paper: "Zeng et al., Not All Tokens Are Equal, 2022",
  section: "3.2, arXiv:2204.08680",
  tier: 1,
  traceable: true,
  golden: ["dpcknn.cluster_and_merge", "dpcknn.ctm_scored", "vit_dpcknn.forward"],
  cost: "n²C + nkC multiplications, 2n²C + nkC above 1448 tokens; a few blocks of 8 MB",
  differs: "from the code in leaving out random noise on the density, in weighting by size, and in the order",
  breaks: {
    U6: "its density is not the same at another scale",
    M4: "the tokens of a centre that goes spread over the others",
  },
});

/** How the tokens of a cluster count, as the exponential of a learned score: [batch, tokens]. */
export function shareOf(
  x: tf.Tensor3D,
  { weight, bias }: { readonly weight: tf.Tensor2D; readonly bias: tf.Tensor1D },
): tf.Tensor2D {
  return tidy(() => tf.exp(tf.sum(x.mul(weight.expandDims(0)), 2).add<tf.Tensor2D>(bias)));
}

/** How many reductions come before this place: which of a list of parameters is its own. */
function stageOf(options: LayerBudget, { layer, layers }: Place): number {
  if ("r" in options || !options.layers) return "r" in options ? layer : Math.ceil(layer * 4 / layers) - 1;
  return options.layers.indexOf(layer);
}

function checkClusters(clusters: number, tokens: number): void {
  if (Number.isInteger(clusters) && clusters >= 1 && clusters <= tokens) return;
  throw new RangeError(
    `clusters must be a whole number from 1 to the ${tokens} tokens, but it is ${clusters}; keep at least one`,
  );
}
