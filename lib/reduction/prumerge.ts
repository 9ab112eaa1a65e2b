/**
 * PruMerge and PruMerge+: keep the tokens that the class token looks at unusually much, and add to each what it can use
 * from the tokens with similar keys; the plus also keeps evenly spaced ones.
 *
 * Shang et al., "LLaVA-PruMerge: Adaptive Token Reduction for Efficient Large Multimodal Models", ICCV 2025,
 * arXiv:2403.15388, section 3. Checked against the authors' code (tests/golden, `prumerge.tokens`, `prumerge_plus.tokens`).
 * Differs from the code in that a token's neighbours are averaged with it, there their sum is added on top, and the token
 * for the rest is a mean too; in that outliers are counted image by image, there over the batch; in that the order is that
 * of the input, there best first; and in that the plus takes its evenly spaced tokens from those that attention leaves, so
 * that their number is known beforehand. `parity: true` brings all of it back.
 *
 * @module
 */
import { trainingFree } from "./method.ts";
import { need, type Reducer } from "../nn/reducer.ts";
import { BudgetConflict } from "../nn/reduction_errors.ts";
import { type Budget, countBefore, perMass, type SoftMap } from "../nn/token_map.ts";
import { argsort, gatherTokens, rankDescending, stopGradient, tf, tidy } from "../tensor/mod.ts";
import { type LayerBudget, patchesLeft, withLayers } from "./budget.ts";
import { budgetWithRest, leastOutliers, outlierCount, outliers } from "./outliers.ts";
import { patchesOf } from "./scores.ts";
import { cosine, settled } from "./similarity.ts";
import { refuseNaNIn, withSpecialTokens } from "./special.ts";
import { int, where } from "./where.ts";

/** Tokens that a kept one is averaged with. */
const NEIGHBOURS = 32;
/** What PruMerge looks at. */
export interface PruMergeInput {
  /** [batch, tokens]: how much the class token looks at each. */
  readonly attention: tf.Tensor2D;
  /** [batch, tokens, channels] */
  readonly keys: tf.Tensor3D;
}

/** How PruMerge's tokens are put together. */
export interface PruMergeMapOptions {
  /** Neighbours are added up as the authors do, best first. Default: false. */
  readonly parity?: boolean;
  /** [batch]: how many of the kept ones are real in each row; the others are padding. Default: all. */
  readonly real?: tf.Tensor1D;
}

/**
 * The map that makes PruMerge's tokens: each kept one with its 32 most similar others (fewer where there are fewer), kept
 * or not, weighted by attention; and one more token for all that is not kept.
 *
 * Costs `nkC` multiply-accumulates for k kept tokens, and the dense product `nkC` of a soft map.
 *
 * @param kept int32 [batch, k], no place twice.
 *
 * @example One token of three is kept; with the others it becomes their mean
 * ```ts
 * import assert from "node:assert/strict";
 * import { tf } from "tessera/tensor/mod.ts";
 * const input = { attention: tf.tensor2d([[0.5, 0.25, 0.25]]), keys: tf.tensor3d([[[1], [1], [1]]]) };
 * const map = pruMergeMap(input, tf.tensor2d([[0]], undefined, "int32"));
 * assert.deepEqual(map.matrix.arraySync()[0][1], [0, 0.5, 0.5]);
 * assert.deepEqual(map.mass!.arraySync()[0], [[1, 0, 0], [0, 1, 1]]);
 * ```
 */
export function pruMergeMap(input: PruMergeInput, kept: tf.Tensor2D, options: PruMergeMapOptions = {}): SoftMap {
  const { parity = false, real } = options;
  const [batch, tokens] = input.attention.shape;
  const keep = kept.shape[1];
  return tidy(() => {
    const attention = input.attention.expandDims<tf.Tensor3D>(1); // [batch, 1, tokens]
    const place = tf.range(0, tokens, 1, "int32").reshape<tf.Tensor3D>([1, 1, tokens]);
    const own = tf.equal(kept.expandDims(2), place).cast<tf.Tensor3D>("float32"); // [batch, k, tokens]
    const filled = real
      ? tf.less(tf.range(0, keep, 1, "float32").expandDims(0), real.expandDims(1)).cast<tf.Tensor2D>("float32")
      : tf.ones<tf.Rank.R2>([batch, keep]);
    const chosen = own.mul<tf.Tensor3D>(filled.expandDims(2));

    const keys = stopGradient(input.keys);
    const alike = where<tf.Tensor3D>(own.cast("bool"), -2, settled(cosine(gatherTokens(keys, kept), keys)));
    const rank = rankDescending(alike.reshape<tf.Tensor2D>([batch * keep, tokens])).reshape<tf.Tensor3D>(alike.shape);
    const near = tf.less(rank, int(Math.min(NEIGHBOURS, tokens - 1))).cast("float32");
    const added = near.mul<tf.Tensor3D>(attention);
    const dropped = tf.sub(1, chosen.sum(1, true)) as tf.Tensor3D; // [batch, 1, tokens]
    const rest = dropped.mul<tf.Tensor3D>(attention);
    const sum = tf.add<tf.Tensor3D>(own, added).mul<tf.Tensor3D>(filled.expandDims(2));
    const matrix = parity
      ? tf.concat([sum, rest], 1)
      : tf.concat([perMass<tf.Tensor3D>(sum, sum.sum(2, true)), perMass<tf.Tensor3D>(rest, rest.sum(2, true))], 1);
    const budget: Budget = { requested: tokens - keep - 1, achieved: tokens - keep - 1 };
    return { kind: "soft", tokens, outputs: keep + 1, matrix, mass: tf.concat([chosen, dropped], 1), budget };
  });
}

/**
 * The tokens that PruMerge+ adds: evenly spaced ones among those that are not kept yet, in the order of the input.
 *
 * @param stays [batch, tokens] bool, the same number of true in each row.
 * @param rest How many are not true: a number, or [batch, 1].
 * @param count 0 to rest, likewise.
 * @returns [batch, tokens] bool, `count` true in each row.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { tf } from "tessera/tensor/mod.ts";
 * assert.deepEqual(evenlySpaced(tf.tensor2d([[0, 1, 0, 0, 0]], undefined, "bool"), 4, 2).arraySync(), [[1, 0, 0, 1, 0]]);
 * ```
 */
export function evenlySpaced(
  stays: tf.Tensor2D,
  rest: number | tf.Tensor,
  count: number | tf.Tensor,
): tf.Tensor2D {
  return tidy(() => {
    const leaves = tf.logicalNot(stays) as tf.Tensor2D;
    const rank = countBefore(leaves).cast("float32");
    // the i-th of them is the first whose share of the way is i / count
    const share = tf.div(count, tf.maximum(rest, 1));
    const stepsBefore = tf.ceil(rank.mul(share).sub(1e-4)), stepsAfter = tf.ceil(rank.add(1).mul(share).sub(1e-4));
    return tf.logicalAnd(leaves, tf.greater(stepsAfter, stepsBefore)) as tf.Tensor2D;
  });
}

/** Options of `pruMergePlaces`. */
export interface PruMergePlacesOptions {
  /** Share of tokens that attention keeps. Default: the share of outliers. */
  readonly ratio?: number;
  /** Add evenly spaced tokens, as PruMerge+ does. Default: false. */
  readonly plus?: boolean;
  /** Outliers of the whole batch together, and the sequence of the plus ends one token early. Default: false. */
  readonly parity?: boolean;
}

/**
 * Which tokens the authors' code keeps, best first, then those of the plus: adaptive in number, so that the attention is
 * read back and nothing of it can be traced. Reducers have a fixed number, or an upper limit: see `prumerge`.
 *
 * @param attention [batch, tokens]
 * @returns One list per image.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { tf } from "tessera/tensor/mod.ts";
 * const attention = tf.tensor2d([[0.01, 0.02, 0.02, 0.03, 0.03, 0.04, 0.05, 0.3, 0.02, 0.25, 0.03, 0.2]]);
 * assert.deepEqual(pruMergePlaces(attention), [[7, 9, 11]]);
 * assert.deepEqual(pruMergePlaces(attention, { plus: true })[0].slice(0, 5), [7, 9, 11, 0, 1]);
 * ```
 */
export function pruMergePlaces(attention: tf.Tensor2D, options: PruMergePlacesOptions = {}): number[][] {
  const { ratio, plus = false, parity = false } = options;
  const [batch, tokens] = attention.shape;
  if (ratio !== undefined && !(ratio > 0 && ratio <= 1)) {
    throw new RangeError(`ratio must lie in (0, 1], but it is ${ratio}; leave it out to count outliers`);
  }
  const counts = tidy(() => {
    if (ratio !== undefined) return Array<number>(batch).fill(Math.trunc(tokens * ratio));
    if (!parity) return [...outliers(attention).dataSync()];
    const together = outliers(attention.reshape([1, batch * tokens])).dataSync()[0];
    return Array<number>(batch).fill(Math.trunc(tokens * (together / (batch * tokens))));
  });
  const orders = tidy(() => argsort(attention, "descending").arraySync());
  return orders.map((order, image) => {
    const count = Math.max(counts[image], leastOutliers(tokens)); // without outliers the code divides by zero
    const kept = order.slice(0, count);
    if (!plus) return kept;
    const step = Math.max(1, Math.trunc(Math.trunc(tokens / count) / 3)); // 0 above a third, where the code stops
    for (let place = 0; place < tokens - Number(parity); place += step) {
      if (!kept.includes(place)) kept.push(place);
    }
    return kept;
  });
}

/** Options of PruMerge. */
export type PruMergeOptions = LayerBudget & {
  /**
   * Keep outliers of attention only, as the paper does: the budget is then the upper limit, and an image with fewer
   * outliers has padding (tokens of size 0, which nothing looks at) in the rest. Default: false.
   */
  readonly adaptive?: boolean;
  /** The authors' sums, best first. Default: false. */
  readonly parity?: boolean;
};

/**
 * PruMerge as a reducer: before the first block, unless the budget names others. Its tokens include the one for the rest.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * const place = { layers: 32, tokens: 576, initialTokens: 576, specialTokens: 0, grid: [24, 24] as const };
 * assert.equal(prumerge({ keep: [33], layers: [0] }).plan({ ...place, layer: 0 }).achieved, 543);
 * ```
 */
export function prumerge(options: PruMergeOptions): Reducer {
  return pruning("prumerge", options, (attention, keep) => {
    const { adaptive = false, parity = false } = options;
    const best = argsort(attention, "descending").slice([0, 0], [-1, keep]) as tf.Tensor2D;
    if (!adaptive) return { kept: parity ? best : ascending(best) };
    const real = outlierCount(attention, keep);
    if (parity) return { kept: best, real };
    const padding = tf.greaterEqual(tf.range(0, keep, 1, "float32").expandDims(0), real.expandDims(1));
    return { kept: ascending(best, padding.cast("int32").mul(int(attention.shape[1]))), real };
  });
}

/** Options of PruMerge+. */
export type PruMergePlusOptions = LayerBudget & {
  /** Share of the tokens that attention chooses, the others are evenly spaced. Default: 0.25; not with `adaptive`. */
  readonly attended?: number;
  /**
   * Attention chooses outliers only, as in the paper, and about three times as many are added, as the code does: the budget
   * is then the upper limit, and an image with fewer has padding (tokens of size 0) in the rest. Default: false.
   */
  readonly adaptive?: boolean;
  /** The authors' sums, best first. Default: false. */
  readonly parity?: boolean;
};

/**
 * PruMerge+ as a reducer: before the first block, unless the budget names others. Its tokens include the one for the rest.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * const place = { layers: 32, tokens: 576, initialTokens: 576, specialTokens: 0, grid: [24, 24] as const };
 * assert.equal(prumergePlus({ keepRate: 0.25 }).plan({ ...place, layer: 0 }).achieved, 432);
 * ```
 */
export function prumergePlus(options: PruMergePlusOptions): Reducer {
  const { attended = 0.25, parity = false, adaptive = false } = options;
  if (adaptive && options.attended !== undefined) {
    throw new BudgetConflict(
      `attended is ${attended} and adaptive is true, but outliers are counted, not a share of tokens; leave one out`,
    );
  }
  if (!(attended >= 0 && attended <= 1)) {
    throw new RangeError(`attended must lie in [0, 1], but it is ${attended}; it is the share that attention chooses`);
  }
  return pruning("prumerge_plus", options, (attention, keep) => {
    const tokens = attention.shape[1], byAttention = Math.round(keep * attended);
    if (adaptive) return adaptivePlus(attention, keep, parity);
    const chosen = tf.less(rankDescending(attention), int(byAttention)) as tf.Tensor2D;
    const added = evenlySpaced(chosen, tokens - byAttention, keep - byAttention);
    // 2 for what attention chose, 1 for what was added: sorted by that and by attention or place
    const group = chosen.cast<tf.Tensor2D>("int32").mul(int(2)).add<tf.Tensor2D>(added.cast("int32"));
    if (!parity) return { kept: ascending(argsort(group, "descending").slice([0, 0], [-1, keep])) };
    const best = argsort(attention, "descending").slice([0, 0], [-1, byAttention]) as tf.Tensor2D;
    const rest = argsort(added.cast<tf.Tensor2D>("int32"), "descending").slice([0, 0], [-1, keep - byAttention]);
    return { kept: tf.concat([best, rest as tf.Tensor2D], 1) };
  });
}

/** Places in the order of the input; `later` is added to each before they are sorted. */
function ascending(places: tf.Tensor, later?: tf.Tensor): tf.Tensor2D {
  const rows = places as tf.Tensor2D;
  return gatherTokens(rows, argsort(later ? rows.add<tf.Tensor2D>(later) : rows, "ascending"));
}

/** Outliers of attention, and evenly spaced ones as many as the code would add, `keep` together at most. */
function adaptivePlus(attention: tf.Tensor2D, keep: number, parity: boolean): ReturnType<Keeps> {
  const tokens = attention.shape[1];
  const place = tf.range(0, tokens, 1, "int32").expandDims<tf.Tensor2D>(0);
  const rank = rankDescending(attention);
  const count = outlierCount(attention, keep).cast<tf.Tensor1D>("int32").expandDims<tf.Tensor2D>(1);
  const chosen = tf.less<tf.Tensor2D>(rank, count);
  const step = tf.maximum<tf.Tensor2D>(int(1), tf.floorDiv(tf.floorDiv(int(tokens), count), int(3)));
  const sequence = tf.equal(tf.mod(place, step), int(0)); // 0, step, 2 step, ...
  const ends = parity ? tf.less(place, int(tokens - 1)) : tf.less(place, int(tokens)); // the code's ends one early
  const inSequence = tf.logicalAnd(tf.logicalAnd(sequence, ends), tf.logicalNot(chosen)) as tf.Tensor2D;
  const room = tf.sub<tf.Tensor2D>(int(keep), count);
  const more = tf.minimum<tf.Tensor2D>(inSequence.cast("int32").sum(1, true), room);
  const real = tf.add<tf.Tensor2D>(count, more).cast<tf.Tensor2D>("float32").squeeze<tf.Tensor1D>([1]);
  const first = tf.logicalAnd(inSequence, tf.less(countBefore(inSequence), more)) as tf.Tensor2D;
  const added = parity ? first : evenlySpaced(
    chosen,
    tf.sub<tf.Tensor2D>(int(tokens), count).cast("float32"),
    more.cast<tf.Tensor2D>("float32"),
  );
  // what stays stands first: by attention and then by place, or all by place
  const behind = where<tf.Tensor>(added, int(parity ? tokens : 0), int(2 * tokens)) as tf.Tensor2D;
  const order = where<tf.Tensor2D>(chosen, parity ? rank : place, tf.add<tf.Tensor2D>(behind, place));
  return { kept: argsort(order, "ascending").slice([0, 0], [-1, keep]) as tf.Tensor2D, real };
}

type Keeps = (attention: tf.Tensor2D, keep: number) => { readonly kept: tf.Tensor2D; readonly real?: tf.Tensor1D };

type PruningOptions = LayerBudget & { readonly parity?: boolean; readonly adaptive?: boolean };

function pruning(name: string, options: PruningOptions, keeps: Keeps): Reducer {
  const left = patchesLeft(withLayers(options, [0]));
  return {
    name,
    needs: ["vision"],
    hook: "beforeBlock",
    proportionalAttention: false,
    ...(options.adaptive ? { leavesEmpty: true } : {}),
    plan: (place) => budgetWithRest(place.tokens - place.specialTokens, left(place)),
    reduce: (view) => {
      const { classAttention, keys } = need(view, "vision", name);
      const patches = view.tokens - view.specialTokens;
      const budget = budgetWithRest(patches, left(view));
      return tidy(() => {
        const attention = refuseNaNIn(patchesOf(classAttention.mean<tf.Tensor2D>(1), view), name, view);
        const { kept, real } = keeps(attention, patches - budget.achieved - 1);
        const ofPatches = keys.slice([0, 0, view.specialTokens, 0]) as tf.Tensor4D;
        const together = ofPatches.transpose([0, 2, 1, 3]).reshape<tf.Tensor3D>([attention.shape[0], patches, -1]);
        const map = pruMergeMap({ attention, keys: together }, kept, { parity: options.parity, real });
        return { ...withSpecialTokens(map, view.specialTokens), budget };
      });
    },
  };
}

/** PruMerge in the catalogue. */
export const prumergeMethod = trainingFree(prumerge, {
  family: "pack",
  paper: "Shang et al., LLaVA-PruMerge, 2025",
  section: "3, arXiv:2403.15388",
  tier: 1,
  models: "vision-language",
  traceable: true,
  golden: ["prumerge.tokens"],
  cost: "nkC multiplications for the keys, and nkC to apply; nk floats",
  differs: "from the code in means where it has sums, in counting outliers image by image, and in the order",
  breaks: {},
});

/** PruMerge+ in the catalogue. */
export const prumergePlusMethod = trainingFree(prumergePlus, {
  family: "pack",
  paper: "Shang et al., LLaVA-PruMerge, 2025",
  section: "3.3, arXiv:2403.15388",
  tier: 1,
  models: "vision-language",
  traceable: true,
  golden: ["prumerge_plus.tokens"],
  cost: "nkC multiplications for the keys, and nkC to apply; nk floats",
  differs: "from the code as PruMerge does, and in spacing tokens among those that attention leaves",
  breaks: { U9: "tokens are spaced along the order of the input" },
});
