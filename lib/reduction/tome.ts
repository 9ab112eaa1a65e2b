/**
 * Token Merging (ToMe): in each block, merge the `r` most similar pairs of tokens.
 *
 * Bolya et al., "Token Merging: Your ViT But Faster", ICLR 2023, arXiv:2210.09461, section 3.
 * Checked against the authors' code (tests/golden, `tome.*` and `vit_tome.forward`). Differs from it in the order of the
 * tokens that stay: theirs puts set A before set B, which also decides how the next block splits them; ours keeps the
 * order of the input and lets A and B change places from block to block. `parity: true` follows the authors.
 *
 * @module
 */
import { type BlockView, need, type Place, type Reducer } from "../nn/reducer.ts";
import { type Budget, budgetOf, countBefore, identityMap, mergeInto, type SlotMap, unmerge } from "../nn/token_map.ts";
import { gatherTokens, placeOfHighest, rankDescending, refuseNaN, stableTopK, tf, tidy } from "../tensor/mod.ts";
import { type LayerBudget, patchesLeft, truncate, truncateAsReference } from "./budget.ts";
import { trainingFree } from "./method.ts";
import { unitLength } from "./similarity.ts";
import { refuseNaNIn } from "./special.ts";

/** Options of one bipartite soft matching. */
export interface MatchingOptions {
  /** Pairs to merge, >= 0. At most half of the unprotected tokens can go at once; the map reports what was done. */
  readonly r: number;
  /** Leave token 0, the class token, alone. Default: true. */
  readonly classToken?: boolean;
  /** Leave token 1, the distillation token, alone. Default: false. */
  readonly distillToken?: boolean;
  /** Leave so many tokens in front alone, whatever the two above say. */
  readonly specialTokens?: number;
  /** Where set A begins: 0 takes the even tokens, 1 the odd ones. Default: 0. */
  readonly firstOfA?: 0 | 1;
  /** The authors' order of outputs: what stays of A, then B. Default: false, the order of the input. */
  readonly parity?: boolean;
}

/** Options of ToMe as a reducer. */
export type ToMeOptions = LayerBudget & {
  /** Let a merged token count as often as its size in later attention. Default: true. */
  readonly proportionalAttention?: boolean;
  /** The authors' order of tokens. Default: false. */
  readonly parity?: boolean;
};

/**
 * Bipartite soft matching: split the tokens into two alternating sets A and B, draw one edge from each A-token to its
 * most similar B-token, keep the `r` strongest edges, and merge along them.
 *
 * Costs tokens² / 4 x channels multiplications; reads nothing back, so it can be compiled into a model. Similarity is
 * the cosine; equal similarities: the lower index first. A vector of zeros is similar to nothing.
 *
 * @param metric What similarity is measured on, [batch, tokens, channels]; in the paper, the keys averaged over heads.
 * @throws {RangeError} Where `r` is not a whole number from 0, or the metric holds NaN.
 *
 * @example The middle pair is identical, so it is merged first
 * ```ts
 * import assert from "node:assert/strict";
 * import { tf } from "tessera/tensor/mod.ts";
 * const metric = tf.tensor3d([[[9, 9], [1, 0], [1, 0], [0, 1]]]);
 * const map = bipartiteSoftMatching(metric, { r: 1, classToken: false });
 * assert.deepEqual(map.slot.arraySync(), [[0, 1, 1, 2]]);
 * ```
 */
export function bipartiteSoftMatching(metric: tf.Tensor3D, options: MatchingOptions): SlotMap {
  const { r, specialTokens, firstOfA = 0, parity = false } = options;
  const classToken = specialTokens === undefined ? options.classToken ?? true : specialTokens > 0;
  const distillToken = specialTokens === undefined ? options.distillToken ?? false : specialTokens > 1;
  if (!Number.isInteger(r) || r < 0) {
    throw new RangeError(`r must be a whole number of pairs from 0, but it is ${r}; to merge nothing, pass 0`);
  }
  const [batch, tokens] = metric.shape;
  const budget = matchingBudget(r, tokens, specialTokens ?? Number(classToken) + Number(distillToken));
  if (budget.achieved === 0) return { ...identityMap(batch, tokens), budget };

  return tidy(() => {
    const unit = unitLength(refuseNaN(metric, "ToMe's metric"));
    const protectedTokens = specialTokens === undefined
      ? [...(classToken ? [0] : []), ...(distillToken ? [1] : [])]
      : Array.from({ length: specialTokens }, (_, token) => token);
    const [a, b] = [everySecond(unit, firstOfA), everySecond(unit, 1 - firstOfA)];
    const similarity = tf.matMul<tf.Tensor3D>(a, b, false, true); // [batch, A, B]
    const allowed = forbid(similarity, protectedTokens, firstOfA);
    const best = allowed.max<tf.Tensor2D>(2); // [batch, A]
    const partner = placeOfHighest(allowed).mul<tf.Tensor2D>(tf.scalar(2, "int32"))
      .add<tf.Tensor2D>(tf.scalar(1 - firstOfA, "int32")); // [batch, A], as an index into the tokens
    if (!parity) {
      const leaves = marked(stableTopK(best, budget.achieved), best.shape[1]); // equal similarities: the lower index first
      return mergeInto(interleave(leaves, tokens, firstOfA), interleave(partner, tokens, firstOfA), budget);
    }
    const rank = rankDescending(best);
    const leaves = rank.less<tf.Tensor2D>(tf.scalar(budget.achieved, "int32"));
    return inAuthorsOrder(leaves, rank, partner, tokens, { classToken, distillToken, budget });
  });
}

/**
 * The authors' way back from {@link bipartiteSoftMatching} with a distillation token, for comparison only. Their merge
 * puts the distillation token second, but their unmerge takes the outputs for all of A and then all of B, so that most
 * tokens get a neighbour's features. `unmerge` is right; this is what `parity` means for the way back.
 *
 * @param map From `bipartiteSoftMatching` with `distillToken` and `parity`.
 * @param y [batch, outputs, channels]
 * @returns [batch, tokens, channels]
 *
 * @example Token 1 gets the features of output 2, token 2 those of output 1
 * ```ts
 * import assert from "node:assert/strict";
 * import { tf } from "tessera/tensor/mod.ts";
 * const metric = tf.tensor3d([[[1, 0], [0, 1], [1, -1], [-1, 0], [1, 1], [1, 1]]]);
 * const map = bipartiteSoftMatching(metric, { r: 1, distillToken: true, parity: true });
 * const back = unmergeAsAuthors(map, tf.tensor3d([[[10], [11], [12], [13], [14]]]));
 * assert.deepEqual(back.flatten().arraySync(), [10, 12, 11, 13, 14, 14]);
 * ```
 */
export function unmergeAsAuthors(map: SlotMap, y: tf.Tensor3D): tf.Tensor3D {
  const ofA = map.outputs - Math.floor(map.tokens / 2); // outputs that come from A
  return tidy(() => {
    const taken = Int32Array.from({ length: map.outputs }, (_, slot) => {
      if (slot === 1) return ofA;
      return slot > 1 && slot <= ofA ? slot - 1 : slot;
    });
    const slot = tf.gather<tf.Tensor>(tf.tensor1d(taken, "int32"), map.slot) as tf.Tensor2D;
    return unmerge({ ...map, slot }, y);
  });
}

/**
 * k-th bipartite matching: of every `k` tokens in a row the last one stays and each of the others joins the most similar
 * of those that stay. A control without choice in what goes: the paper's appendix B.
 *
 * Tokens beyond the last full group join as well; with `parity` they are dropped, as in the authors' code.
 *
 * @param metric [batch, tokens, channels]
 * @returns A map to floor(tokens / k) outputs.
 * @throws {RangeError} Where `k` is not a whole number from 1 to the number of tokens.
 *
 * @example Of each pair the second stays
 * ```ts
 * import assert from "node:assert/strict";
 * import { tf } from "tessera/tensor/mod.ts";
 * const metric = tf.tensor3d([[[1, 0], [0, 1], [0, 2], [1, 0]]]);
 * assert.deepEqual(kthBipartiteSoftMatching(metric, { k: 2 }).slot.arraySync(), [[1, 0, 0, 1]]);
 * ```
 */
export function kthBipartiteSoftMatching(
  metric: tf.Tensor3D,
  { k, parity = false }: { readonly k: number; readonly parity?: boolean },
): SlotMap {
  const [batch, tokens] = metric.shape;
  if (!Number.isInteger(k) || k < 1 || k > tokens) {
    throw new RangeError(
      `k must be a whole number from 1 to the ${tokens} tokens, but it is ${k}; to merge nothing, pass 1`,
    );
  }
  if (k === 1) return identityMap(batch, tokens);
  const outputs = Math.floor(tokens / k);
  return tidy(() => {
    const unit = unitLength(refuseNaN(metric, "ToMe's metric"));
    const staying = Int32Array.from({ length: outputs }, (_, group) => group * k + k - 1);
    const anchors = tf.gather(unit, tf.tensor1d(staying, "int32"), 1);
    const nearest = placeOfHighest(tf.matMul(unit, anchors, false, true)) as tf.Tensor2D; // [batch, tokens], as an output slot
    // per token: its own slot where it stays, -1 where its slot is that of the nearest, -2 where it is dropped
    const fixed = Int32Array.from({ length: tokens }, (_, token) => {
      if (token >= outputs * k) return parity ? -2 : -1;
      return token % k === k - 1 ? Math.floor(token / k) : -1;
    });
    const own = tf.tensor2d(fixed, [1, tokens], "int32").tile<tf.Tensor2D>([batch, 1]);
    const joins = tf.equal(own, tf.scalar(-1, "int32"));
    const slot = tf.maximum<tf.Tensor2D>(tf.where(joins, nearest, own), tf.scalar(-1, "int32"));
    const budget: Budget = { requested: tokens - outputs, achieved: tokens - outputs };
    return { kind: "slots", tokens, outputs, slot, budget };
  });
}

/**
 * ToMe as a reducer: in each block, match on the keys averaged over heads and merge by size.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * const place = { layer: 0, layers: 4, tokens: 50, initialTokens: 50, specialTokens: 1, grid: [7, 7] as const };
 * assert.equal(tome({ r: 8 }).plan(place).achieved, 8);
 * assert.equal(tome({ r: 99 }).plan(place).clampedBy, "at most half of the 49 unprotected tokens can merge at once");
 * ```
 */
export function tome(options: ToMeOptions): Reducer {
  const { proportionalAttention = true, parity = false } = options;
  const left = patchesLeft(options, parity ? truncateAsReference : truncate);
  const requested = (place: Place) => place.tokens - place.specialTokens - left(place);
  return {
    name: "tome",
    needs: ["keys"],
    proportionalAttention,
    plan: (place) => matchingBudget(requested(place), place.tokens, place.specialTokens),
    reduce: (view: BlockView) =>
      tidy(() =>
        bipartiteSoftMatching(refuseNaNIn(need(view, "keys", "tome").mean<tf.Tensor3D>(1), "tome", view), {
          r: requested(view),
          specialTokens: view.specialTokens,
          // in the order of the input A and B must change places, or the same tokens would face each other in each block
          firstOfA: parity || view.layer % 2 === 0 ? 0 : 1,
          parity,
        })
      ),
  };
}

/** ToMe in the catalogue. */
export const tomeMethod = trainingFree(tome, {
  family: "merge",
  paper: "Bolya et al., Token Merging, 2023",
  section: "3, arXiv:2210.09461",
  tier: 1,
  traceable: true,
  golden: ["tome.bipartite_soft_matching", "tome.merge_wavg_sized", "tome.parse_r", "vit_tome.forward"],
  cost: "n²C/4 multiplications, C of the keys of one head; n²/4 floats",
  differs: "from the code in the order of tokens (the input's), which also decides how the next block splits them",
  breaks: { U9: "sets A and B alternate in the order of the input" },
});

/** What bipartite matching does where `r` pairs are to merge: at most half of the unprotected tokens can. */
export function matchingBudget(r: number, tokens: number, protectedTokens: number): Budget {
  const unprotected = Math.max(0, tokens - protectedTokens);
  const removed = Math.min(r, Math.floor(unprotected / 2));
  return budgetOf(
    tokens,
    tokens - removed,
    r,
    `at most half of the ${unprotected} unprotected tokens can merge at once`,
  );
}

/** [batch, places] bool: true at the indices [batch, k]. */
function marked(index: tf.Tensor2D, places: number): tf.Tensor2D {
  const all = tf.range(0, places, 1, "int32").reshape<tf.Tensor3D>([1, 1, places]);
  return tf.any<tf.Tensor2D>(tf.equal(index.expandDims(2), all), 1);
}

/**
 * Tokens first, first + 2, first + 4, ... of [batch, tokens, channels].
 */
export function everySecond(x: tf.Tensor3D, first: number): tf.Tensor3D {
  const [batch, tokens, channels] = x.shape;
  const even = tokens % 2 === 0 ? x : tf.pad(x, [[0, 0], [0, 1], [0, 0]]);
  const pairs = even.reshape<tf.Tensor4D>([batch, -1, 2, channels]);
  const half = pairs.slice([0, 0, first, 0], [-1, -1, 1, -1]).squeeze<tf.Tensor3D>([2]);
  return tokens % 2 === 0 || first === 0 ? half : half.slice([0, 0, 0], [-1, (tokens - 1) / 2, -1]);
}

/** Puts [batch, A] back at tokens first, first + 2, ...; zeros (false) in between. */
export function interleave(a: tf.Tensor2D, tokens: number, first: 0 | 1): tf.Tensor2D {
  const between = tf.zerosLike(a);
  const pairs = tf.stack(first === 0 ? [a, between] : [between, a], 2).reshape<tf.Tensor2D>([a.shape[0], -1]);
  const missing = tokens - pairs.shape[1];
  return missing > 0 ? tf.pad(pairs, [[0, 0], [0, missing]]) : pairs.slice([0, 0], [-1, tokens]);
}

/** Similarities with the rows and columns of protected tokens set so low that they never merge. */
function forbid(similarity: tf.Tensor3D, protectedTokens: readonly number[], firstOfA: 0 | 1): tf.Tensor3D {
  if (!protectedTokens.length) return similarity;
  const [, rows, columns] = similarity.shape;
  const forbidden = (length: number, first: number) =>
    tf.tensor1d(Float32Array.from({ length }, (_, i) => protectedTokens.includes(2 * i + first) ? -Infinity : 0));
  return tf.add(similarity, forbidden(rows, firstOfA).reshape([1, rows, 1]))
    .add(forbidden(columns, 1 - firstOfA).reshape([1, 1, columns]));
}

/** The authors' order: what stays of A (ascending with a class token, else best match first), then B. */
function inAuthorsOrder(
  leaves: tf.Tensor2D,
  rank: tf.Tensor2D,
  partner: tf.Tensor2D,
  tokens: number,
  { classToken, distillToken, budget }: { classToken: boolean; distillToken: boolean; budget: Budget },
): SlotMap {
  const inA = leaves.shape[1];
  const stayingA = inA - budget.achieved;
  let slotOfA = classToken
    ? countBefore(tf.logicalNot(leaves))
    : rank.sub<tf.Tensor2D>(tf.scalar(budget.achieved, "int32"));
  let slotOfB = tf.range(stayingA, tokens - budget.achieved, 1, "int32");
  if (distillToken) {
    // the first of each set comes first: the class token, then the distillation token, then the rest of A and of B
    slotOfA = slotOfA.add<tf.Tensor2D>(slotOfA.greater(tf.scalar(0, "int32")).cast("int32"));
    slotOfB = tf.where(tf.equal(slotOfB, tf.scalar(stayingA, "int32")), tf.onesLike(slotOfB), slotOfB);
  }
  const allOfB = slotOfB.expandDims<tf.Tensor2D>(0).tile<tf.Tensor2D>([leaves.shape[0], 1]);
  const own = tf.add<tf.Tensor2D>(interleave(slotOfA, tokens, 0), interleave(allOfB, tokens, 1));
  const leaving = interleave(leaves, tokens, 0);
  const slot = tf.where(leaving, gatherTokens(own, interleave(partner, tokens, 0)), own);
  return { kind: "slots", tokens, outputs: tokens - budget.achieved, slot, anchor: tf.logicalNot(leaving), budget };
}
