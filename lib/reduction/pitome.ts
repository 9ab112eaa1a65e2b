/**
 * PiToMe: merge where tokens are dense. A token's energy is how much it resembles all others; tokens of high energy are
 * redundant and merge, those of low energy are left alone.
 *
 * Tran et al., "Accelerating Transformers with Spectrum-Preserving Token Merging", NeurIPS 2024, arXiv:2405.16148, section
 * 3. Checked against the authors' code (tests/golden, `pitome.vision`, `pitome.text`). Differs from the code in the order
 * of outputs (the input's; theirs is by energy: `parity: true`) and in refusing to take more than half of the tokens,
 * where theirs fails.
 *
 * @module
 */
import { need, type Place, type Reducer } from "../nn/reducer.ts";
import { type SlotMap } from "../nn/token_map.ts";
import { argsort, gatherTokens, placeOfHighest, rankDescending, stopGradient, tf, tidy } from "../tensor/mod.ts";
import { type LayerBudget, patchesLeft, truncate, truncateAsReference } from "./budget.ts";
import { trainingFree } from "./method.ts";
import { beforeSorting, inInputOrder } from "./order.ts";
import { cosine } from "./similarity.ts";
import { refuseNaNIn, withSpecialTokens } from "./special.ts";
import { everySecond, interleave, matchingBudget } from "./tome.ts";
import { int, where } from "./where.ts";

/**
 * How those that may merge are paired, all in the order of falling energy: "alternate" takes every second token as A and
 * merges its `r` best pairs, as ToMe; "dense" lets every second of the first 2r go; "halves" the first r, into the next r.
 */
export type Pairing = "alternate" | "dense" | "halves";

/** Options of one matching. */
export interface PiToMeMatchingOptions {
  readonly r: number;
  /** How alike two tokens must be to raise each other's energy, a cosine. */
  readonly margin: number;
  /** Default: "dense", the paper's. */
  readonly pairing?: Pairing;
  /** The kernel of the energy: "elu" for images, "gaussian" for text. Default: "elu". */
  readonly kernel?: "elu" | "gaussian";
  /** The authors' order of outputs. Default: false. */
  readonly parity?: boolean;
}

/** Options of PiToMe. */
export type PiToMeOptions = LayerBudget & {
  /** The margin of a block. Default: the authors' for DeiT, from .75 in the first block towards 0. */
  readonly margin?: (layer: number, layers: number) => number;
  /** The authors' order and rounding. Default: false. */
  readonly parity?: boolean;
};

/**
 * The energy of each token: the mean over all tokens of how much their cosine with it exceeds the margin.
 *
 * Costs tokens² x channels multiplications; reads nothing back. No gradient flows through it.
 *
 * @param metric [batch, tokens, channels]
 * @returns [batch, tokens]
 *
 * @example A token that has a twin has more energy
 * ```ts
 * import assert from "node:assert/strict";
 * import { tf } from "tessera/tensor/mod.ts";
 * const [[one, twin, alone]] = energy(tf.tensor3d([[[1, 0], [1, 0], [0, 1]]]), { margin: 0.5 }).arraySync();
 * assert.ok(one === twin && one > alone);
 * ```
 */
export function energy(
  metric: tf.Tensor3D,
  { margin, kernel = "elu" }: { readonly margin: number; readonly kernel?: "elu" | "gaussian" },
): tf.Tensor2D {
  return tidy(() => {
    const alike = cosine(stopGradient(metric));
    if (kernel === "elu") return tf.elu(alike.sub(margin)).mean<tf.Tensor2D>(2);
    const deviation = 1 - margin;
    const bell = tf.exp(tf.sub(1, alike).div(deviation).square().mul(-0.5));
    return bell.mean<tf.Tensor2D>(2).div(deviation * Math.sqrt(2 * Math.PI));
  });
}

/**
 * Merges `r` tokens of high energy.
 *
 * @param metric [batch, tokens, channels], without class token.
 * @throws {RangeError} Where `r` is no whole number from 0 to half of the tokens.
 *
 * @example The twins merge, the other stays
 * ```ts
 * import assert from "node:assert/strict";
 * import { tf } from "tessera/tensor/mod.ts";
 * const map = piToMeMatching(tf.tensor3d([[[1, 0], [0, 1], [1, 0]]]), { r: 1, margin: 0.5 });
 * assert.deepEqual(map.slot.arraySync(), [[1, 0, 1]]);
 * ```
 */
export function piToMeMatching(metric: tf.Tensor3D, options: PiToMeMatchingOptions): SlotMap {
  const { r, margin, pairing = "dense", kernel = "elu", parity = false } = options;
  const [batch, tokens] = metric.shape;
  if (!Number.isInteger(r) || r < 0 || 2 * r > tokens) {
    throw new RangeError(
      `r must be a whole number from 0 to half of the ${tokens} tokens, but it is ${r}; ask for fewer`,
    );
  }
  const budget = { requested: r, achieved: r };
  const outputs = tokens - r;
  return tidy(() => {
    const order = argsort(energy(metric, { margin, kernel }), "descending");
    const sorted = gatherTokens(stopGradient(metric), order);
    if (pairing === "alternate") {
      const similarity = cosine(everySecond(sorted, 0), everySecond(sorted, 1));
      const partner = placeOfHighest(similarity).mul<tf.Tensor2D>(int(2)).add<tf.Tensor2D>(int(1));
      const rank = rankDescending(similarity.max<tf.Tensor2D>(2));
      const leaves = interleave(tf.less<tf.Tensor2D>(rank, int(r)), tokens, 0);
      const inA = rank.shape[1];
      const ofB = tf.range(inA - r, outputs, 1, "int32").expandDims<tf.Tensor2D>(0).tile<tf.Tensor2D>([batch, 1]);
      const own = tf.add<tf.Tensor2D>(interleave(rank.sub(int(r)), tokens, 0), interleave(ofB, tokens, 1));
      const slot = where<tf.Tensor2D>(leaves, gatherTokens(own, interleave(partner, tokens, 0)), own);
      return finish({ kind: "slots", tokens, outputs, slot, anchor: tf.logicalNot(leaves), budget }, order, parity);
    }
    // those of low energy come first and keep that order; behind them those that are joined
    const goes = (place: number) => pairing === "dense" ? place < 2 * r && place % 2 === 0 : place < r;
    const joined = (place: number) => place < 2 * r && !goes(place);
    const places = Array.from({ length: tokens }, (_, place) => place);
    const sources = places.filter(goes), targets = places.filter(joined);
    const own = places.map((place) => place >= 2 * r ? place - 2 * r : tokens - 2 * r + targets.indexOf(place));
    const take = (chosen: number[]) => tf.gather(sorted, tf.tensor1d(chosen, "int32"), 1);
    const leaves = tf.tensor1d(places.map((place) => goes(place) ? 1 : 0), "bool").expandDims<tf.Tensor2D>(0)
      .tile<tf.Tensor2D>([batch, 1]);
    const partner = placeOfHighest(cosine(take(sources), take(targets))) as tf.Tensor2D; // [batch, r], as a target
    const sourceOf = tf.tensor1d(places.map((place) => Math.max(0, sources.indexOf(place))), "int32");
    const joins = tf.gather(partner, sourceOf, 1).add<tf.Tensor2D>(int(tokens - 2 * r));
    const ownSlot = tf.tensor1d(own, "int32").expandDims<tf.Tensor2D>(0).tile<tf.Tensor2D>([batch, 1]);
    const slot = where<tf.Tensor2D>(leaves, joins, ownSlot);
    return finish({ kind: "slots", tokens, outputs, slot, anchor: tf.logicalNot(leaves), budget }, order, parity);
  });
}

function finish(map: SlotMap, order: tf.Tensor2D, parity: boolean): SlotMap {
  const found = beforeSorting(map, order);
  return parity ? found : { ...inInputOrder(found), anchorsInOrder: true };
}

/**
 * PiToMe as a reducer: alternating pairs in the first half of the blocks, dense tokens in the second, as the authors do
 * for DeiT. Similarity is that of the keys, averaged over heads.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * const place = { layer: 0, layers: 4, tokens: 50, initialTokens: 50, specialTokens: 1, grid: [7, 7] as const };
 * assert.equal(pitome({ r: 8 }).plan(place).achieved, 8);
 * ```
 */
export function pitome(options: PiToMeOptions): Reducer {
  const { margin = (layer, layers) => 0.75 - 0.75 * layer / layers, parity = false } = options;
  const left = patchesLeft(options, parity ? truncateAsReference : truncate);
  const planned = (place: Place) =>
    matchingBudget(place.tokens - place.specialTokens - left(place), place.tokens, place.specialTokens);
  return {
    name: "pitome",
    needs: ["keys"],
    proportionalAttention: true,
    plan: planned,
    reduce: (view) => {
      const budget = planned(view);
      const { specialTokens, layer, layers } = view;
      return tidy(() => {
        const keys = need(view, "keys", "pitome").mean<tf.Tensor3D>(1).slice([0, specialTokens, 0]) as tf.Tensor3D;
        const map = piToMeMatching(refuseNaNIn(keys, "pitome", view), {
          r: budget.achieved,
          margin: margin(layer, layers),
          pairing: layer < Math.ceil(layers / 2) ? "alternate" : "dense",
          parity,
        });
        return { ...withSpecialTokens(map, specialTokens), budget };
      });
    },
  };
}

/** PiToMe in the catalogue. */
export const pitomeMethod = trainingFree(pitome, {
  family: "merge",
  paper: "Tran et al., PiToMe, 2024",
  section: "3, arXiv:2405.16148",
  tier: 1,
  traceable: true,
  golden: ["pitome.vision", "pitome.text"],
  cost: "n²C multiplications, C of the keys of one head; n² floats",
  differs: "from the code in the order of outputs (the input's) and in never taking more than half",
  breaks: { M4: "in the second half of the blocks who may be joined depends on how many go" },
});
