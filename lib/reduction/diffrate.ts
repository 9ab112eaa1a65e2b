/**
 * DiffRate: sort patches by the class token's attention; drop the last ones, and let those before them join the most
 * similar of the first. How many of each is learned, by an expectation over the numbers that are possible.
 *
 * Chen et al., "DiffRate: Differentiable Compression Rate for Efficient Vision Transformers", ICCV 2023, arXiv:2305.17997,
 * section 3. Checked against the authors' code (tests/golden, `diffrate.block_step`, `diffrate.kept_number`). Differs from
 * the code in the sizes: theirs multiplies that of a merged patch by its cosine before adding it, which is not in the
 * paper, and takes plain means; and in the order of outputs (the input's): `parity: true` follows it in means and order.
 *
 * @module
 */
import { need, type Place, type Reducer } from "../nn/reducer.ts";
import type { SlotMap } from "../nn/token_map.ts";
import { argsort, gatherTokens, placeOfHighest, stopGradient, straightThrough, tf, tidy } from "../tensor/mod.ts";
import { type LayerBudget, patchesLeft, truncate, truncateAsReference } from "./budget.ts";
import { trainingFree } from "./method.ts";
import { beforeSorting, inInputOrder, meanWeights } from "./order.ts";
import { classAttention, pruningBudget } from "./prune.ts";
import { cosine } from "./similarity.ts";
import { refuseNaNIn, withSpecialTokens } from "./special.ts";
import { int, where } from "./where.ts";

/** Options of DiffRate. */
export type DiffRateOptions = LayerBudget & {
  /** Of the patches that go, the share that is dropped; the rest merges. Default: 0.5. The authors learn it. */
  readonly pruneShare?: number;
  /** The authors' plain means and order. Default: false. */
  readonly parity?: boolean;
};

/**
 * Drops and merges by attention.
 *
 * @param x [batch, patches, channels]: what similarity is measured on.
 * @param attention [batch, patches]: how much the class token looks at each.
 * @param options `pruneKept`: patches that are not dropped; `mergeKept`: those that are left after merging.
 * @returns The map, and of each patch that merges its cosine with the one that it joins (1 elsewhere), [batch, patches].
 *
 * @example Patch 3 is dropped, patch 2 joins patch 0
 * ```ts
 * import assert from "node:assert/strict";
 * import { tf } from "tessera/tensor/mod.ts";
 * const x = tf.tensor3d([[[1, 0], [0, 1], [2, 0], [0, 1]]]);
 * const { map } = pruneAndMerge(x, tf.tensor2d([[0.4, 0.3, 0.2, 0.1]]), { pruneKept: 3, mergeKept: 2 });
 * assert.deepEqual(map.slot.arraySync(), [[0, 1, 0, -1]]);
 * ```
 */
export function pruneAndMerge(
  x: tf.Tensor3D,
  attention: tf.Tensor2D,
  { pruneKept, mergeKept, parity = false }: {
    readonly pruneKept: number;
    readonly mergeKept: number;
    readonly parity?: boolean;
  },
): { map: SlotMap; similarity: tf.Tensor2D } {
  const [batch, tokens] = attention.shape;
  return tidy(() => {
    const order = argsort(attention, "descending");
    const sorted = gatherTokens(stopGradient(x), order);
    const alike = cosine(sorted, sorted.slice([0, 0, 0], [-1, mergeKept, -1]) as tf.Tensor3D); // [batch, tokens, kept]
    const place = tf.range(0, tokens, 1, "int32").expandDims<tf.Tensor2D>(0).tile<tf.Tensor2D>([batch, 1]);
    const stays = tf.less<tf.Tensor2D>(place, int(mergeKept));
    const merges = tf.logicalAnd<tf.Tensor2D>(tf.logicalNot(stays), tf.less(place, int(pruneKept)));
    const joined = where<tf.Tensor2D>(merges, placeOfHighest(alike) as tf.Tensor2D, -1);
    const slot = where<tf.Tensor2D>(stays, place, joined);
    const budget = { requested: tokens - mergeKept, achieved: tokens - mergeKept };
    const map = beforeSorting({ kind: "slots", tokens, outputs: mergeKept, slot, anchor: stays, budget }, order);
    const best = where<tf.Tensor2D>(merges, alike.max<tf.Tensor2D>(2), 1);
    const similarity = gatherTokens(best, argsort(order));
    if (!parity) return { map: inInputOrder(map), similarity };
    return { map: { ...map, weight: meanWeights(map.slot, mergeKept) }, similarity };
  });
}

/**
 * How many tokens a block learns to keep: a share for each possible number of patches, their mean, rounded up. The choice
 * lets gradients through to the shares.
 *
 * @param logits One for each possible number of patches: all of them, `granularity` fewer, and so on.
 * @param options `patches`: how many there are; `granularity`: from one possible number to the next, default: 1.
 * @returns With the class token in front: `kept`, a number; `probability` [patches + 1] that the token of each rank stays;
 *   `mask` [patches + 1], 1 for those that do.
 * @throws {RangeError} Where a possible number would be below 1.
 *
 * @example As likely one as two patches: 1.5, so two, and the class token
 * ```ts
 * import assert from "node:assert/strict";
 * import { tf } from "tessera/tensor/mod.ts";
 * const { kept, probability, mask } = learnedCount(tf.tensor1d([0, 0]), { patches: 2 });
 * assert.deepEqual([kept, probability, mask].map((t) => t.arraySync()), [3, [1, 1, 0.5], [1, 1, 1]]);
 * ```
 */
export function learnedCount(
  logits: tf.Tensor1D,
  { patches, granularity = 1 }: { readonly patches: number; readonly granularity?: number },
): { kept: tf.Scalar; probability: tf.Tensor1D; mask: tf.Tensor1D } {
  const counts = Array.from({ length: logits.shape[0] }, (_, i) => patches - i * granularity);
  if (!(counts.at(-1)! >= 1)) {
    throw new RangeError(
      `${counts.length} possible numbers in steps of ${granularity} go from ${patches} patches to ${counts.at(-1)}, ` +
        "but at least one patch stays; give fewer logits",
    );
  }
  return tidy(() => {
    const share = tf.softmax(logits);
    const ranks = tf.range(0, patches + 1).expandDims<tf.Tensor2D>(1); // the class token has rank 0
    const reaches = tf.greaterEqual(tf.tensor2d(counts, [1, counts.length]), ranks).cast("float32");
    const probability = tf.mul(reaches, share.expandDims(0)).sum<tf.Tensor1D>(1);
    const mean = tf.sum<tf.Scalar>(tf.mul(share, tf.tensor1d(counts)));
    const exact = stopGradient(mean);
    // shares that sum to 1 give whole means a rounding too much
    const kept = straightThrough(tf.ceil<tf.Scalar>(tf.sub(exact, 1e-5)), mean).add<tf.Scalar>(1);
    const stays = tf.less(tf.range(0, patches + 1), stopGradient(kept)).cast<tf.Tensor1D>("float32");
    return { kept, probability, mask: straightThrough(stays, probability) };
  });
}

/**
 * DiffRate as a reducer, with given rates.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * const place = { layer: 0, layers: 4, tokens: 17, initialTokens: 17, specialTokens: 1, grid: [4, 4] as const };
 * assert.equal(diffrate({ r: 4 }).plan(place).achieved, 4);
 * ```
 */
export function diffrate(options: DiffRateOptions): Reducer {
  const { pruneShare = 0.5, parity = false } = options;
  if (!(pruneShare >= 0 && pruneShare <= 1)) {
    throw new RangeError(`pruneShare must lie in [0, 1], but it is ${pruneShare}; 0 merges all patches that go`);
  }
  const left = patchesLeft(options, parity ? truncateAsReference : truncate);
  const planned = (place: Place) => pruningBudget(place, left(place));
  return {
    name: "diffrate",
    needs: ["attention"],
    proportionalAttention: true,
    plan: planned,
    reduce: (view) => {
      const budget = planned(view);
      const { specialTokens } = view;
      return tidy(() => {
        const looks = classAttention(need(view, "attention", "diffrate"), specialTokens);
        const patches = view.x.slice([0, specialTokens, 0]) as tf.Tensor3D;
        const mergeKept = patches.shape[1] - budget.achieved;
        const pruneKept = patches.shape[1] - Math.round(budget.achieved * pruneShare);
        const score = refuseNaNIn(looks, "diffrate", view);
        const { map } = pruneAndMerge(patches, score, { pruneKept, mergeKept, parity });
        return { ...withSpecialTokens(map, specialTokens), budget };
      });
    },
  };
}

/** DiffRate in the catalogue. */
export const diffrateMethod = trainingFree(diffrate, {
  family: "merge",
  paper: "Chen et al., DiffRate, 2023",
  section: "3, arXiv:2305.17997",
  tier: 2,
  traceable: true,
  golden: ["diffrate.block_step", "diffrate.kept_number"],
  cost: "nkC multiplications; nk floats",
  differs:
    "from the paper in taking the rates as given (learnedCount is the learning of one); from the code in sizes, means and order",
  breaks: {
    mass: "a share of the patches is dropped",
    M2: "what was dropped does not come back",
    M4: "who merges now is dropped when more go",
  },
});
