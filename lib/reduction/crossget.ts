/**
 * CrossGET: any patch may join any other. Those go that matter little and have a twin; whom they join is the most similar
 * of those that stay. What matters is what a query (of the text, or of the class token) asks for.
 *
 * Shi et al., "CrossGET: Cross-Guided Ensemble of Tokens for Accelerating Vision-Language Transformers", ICML 2024,
 * arXiv:2305.17455, section 3. Checked against the authors' code (tests/golden, `crossget.reduce`). Differs from the code
 * in the mean, whose weights there do not sum to 1 where a token is joined by several (`parity: true`): ours weighs by
 * size times the exponential of the importance. Without a cross token, the class token asks.
 *
 * @module
 */
import { need, type Place, type Reducer } from "../nn/reducer.ts";
import { mergeInto, type SlotMap } from "../nn/token_map.ts";
import { gatherTokens, rankDescending, stopGradient, tf, tidy } from "../tensor/mod.ts";
import { type LayerBudget, patchesLeft } from "./budget.ts";
import { trainingFree } from "./method.ts";
import { meanWeights } from "./order.ts";
import { notItself, unitLength } from "./similarity.ts";
import { refuseNaNIn } from "./special.ts";
import { matchingBudget } from "./tome.ts";
import { int, where } from "./where.ts";

/** Options of one matching. */
export interface CompleteMatchingOptions {
  readonly r: number;
  /** Tokens in front that never merge. Default: 0. */
  readonly front?: number;
  /** Tokens in the end that never merge. Default: 0. */
  readonly back?: number;
  /** [batch, tokens]: how many original tokens each stands for. Default: one each. */
  readonly size?: tf.Tensor2D;
  /** The authors' weights. Default: false. */
  readonly parity?: boolean;
}

/**
 * Complete-graph matching.
 *
 * Costs tokens² x channels multiplications; reads nothing back. Similarity is the cosine; equal: the lower place.
 *
 * @param metric [batch, tokens, channels]
 * @param query [batch, channels]: what a token must resemble to matter.
 *
 * @example Of the twins, one joins the other
 * ```ts
 * import assert from "node:assert/strict";
 * import { tf } from "tessera/tensor/mod.ts";
 * const metric = tf.tensor3d([[[1, 0], [0, 1], [1, 0]]]);
 * const map = completeMatching(metric, tf.tensor2d([[0, 1]]), { r: 1 });
 * assert.deepEqual(map.slot.arraySync(), [[1, 0, 1]]);
 * ```
 */
export function completeMatching(metric: tf.Tensor3D, query: tf.Tensor2D, options: CompleteMatchingOptions): SlotMap {
  const { r, front = 0, back = 0, size, parity = false } = options;
  const [batch, tokens] = metric.shape;
  return tidy(() => {
    const unit = unitLength(stopGradient(metric));
    const asked = unitLength(stopGradient(query).expandDims<tf.Tensor3D>(1));
    const importance = tf.matMul(unit, asked, false, true).squeeze<tf.Tensor2D>([2]);
    const free = tf.tensor1d(
      Uint8Array.from({ length: tokens }, (_, token) => token >= front && token < tokens - back ? 1 : 0),
      "bool",
    );
    const both = tf.logicalAnd(free.reshape([1, tokens, 1]), free.reshape([1, 1, tokens]));
    const alike = where<tf.Tensor3D>(both, notItself(tf.matMul<tf.Tensor3D>(unit, unit, false, true)), -1e9);
    const rank = rankDescending(tf.maximum(alike.max<tf.Tensor2D>(2), -1e9));
    // a token goes for one that comes after it in the order, so that of two twins one stays
    const later = tf.greater(rank.expandDims(1), rank.expandDims(2));
    const twin = where<tf.Tensor3D>(later, alike, -1e9).max<tf.Tensor2D>(2);
    const worth = where<tf.Tensor2D>(free.reshape([1, tokens]), tf.sub<tf.Tensor2D>(importance, twin), 1e18);
    const leaves = tf.less<tf.Tensor2D>(rankDescending(tf.neg(worth)), int(r));
    const partner = where<tf.Tensor3D>(leaves.expandDims(1), -2e9, alike).argMax<tf.Tensor2D>(2);
    const map = mergeInto(leaves, partner, { requested: r, achieved: r });
    const counted = size ?? tf.ones<tf.Rank.R2>([batch, tokens]);
    const { anchorsInOrder: _, ...plain } = map;
    if (!parity) {
      return { ...plain, weight: meanWeights(map.slot, map.outputs, tf.mul<tf.Tensor2D>(counted, tf.exp(importance))) };
    }
    // twice the softmax over each pair; who is joined by several gets all differences from 1 added up
    const ofPartner = gatherTokens(importance, partner);
    const own = tf.sigmoid(tf.sub<tf.Tensor2D>(importance, ofPartner)).mul<tf.Tensor2D>(2);
    const gone = leaves.cast<tf.Tensor2D>("float32");
    const given = tf.mul<tf.Tensor2D>(tf.sub(1, own), gone); // w_d - 1 of each pair, as w_s + w_d = 2
    const joined = tf.equal(tf.range(0, tokens, 1, "int32").reshape([1, tokens, 1]), partner.expandDims(1));
    const received = tf.matMul(joined.cast<tf.Tensor3D>("float32"), given.expandDims<tf.Tensor3D>(2)).squeeze([2]);
    const factor = where<tf.Tensor2D>(leaves, own, tf.add<tf.Tensor2D>(received, 1));
    const share = tf.mul<tf.Tensor2D>(meanWeights(map.slot, map.outputs, counted), factor);
    return { ...plain, weight: share };
  });
}

/**
 * CrossGET as a reducer, on keys and the class token's query, both averaged over heads; without a class token the mean of
 * all queries asks.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * const place = { layer: 0, layers: 4, tokens: 17, initialTokens: 17, specialTokens: 1, grid: [4, 4] as const };
 * assert.equal(crossget({ r: 4 }).plan(place).achieved, 4);
 * ```
 */
export function crossget(options: LayerBudget): Reducer {
  const left = patchesLeft(options);
  const planned = (place: Place) =>
    matchingBudget(place.tokens - place.specialTokens - left(place), place.tokens, place.specialTokens);
  return {
    name: "crossget",
    needs: ["keys", "queries"],
    proportionalAttention: true,
    plan: planned,
    reduce: (view) => {
      const budget = planned(view);
      const { specialTokens, size } = view;
      return tidy(() => {
        const keys = refuseNaNIn(need(view, "keys", "crossget").mean<tf.Tensor3D>(1), "crossget", view);
        const queries = need(view, "queries", "crossget").mean<tf.Tensor3D>(1);
        const asking = specialTokens ? queries.slice([0, 0, 0], [-1, 1, -1]) : queries;
        const matching = { r: budget.achieved, front: specialTokens, size };
        return { ...completeMatching(keys, asking.mean<tf.Tensor2D>(1), matching), budget };
      });
    },
  };
}

/** CrossGET in the catalogue. */
export const crossgetMethod = trainingFree(crossget, {
  family: "merge",
  paper: "Shi et al., CrossGET, 2024",
  section: "3, arXiv:2305.17455",
  tier: 2,
  traceable: true,
  golden: ["crossget.reduce"],
  cost: "n²C multiplications, C of the keys of one head; n² floats",
  differs:
    "from the code in the weights of the mean, which sum to 1; the class token asks where there is no cross token",
  breaks: {
    U9: "of two tokens that are each other's twins the order of the input decides which goes",
    M4: "a token that was joined may go itself when more go",
    M2: "tokens count by importance, not by size alone",
  },
});
