/**
 * Combinations: what becomes of the patches that do not stay. The parts that `compose` puts in the end.
 *
 * @module
 */
import { type BlockView, need } from "../nn/reducer.ts";
import { countBefore, perMass, type SlotMap } from "../nn/token_map.ts";
import { gatherTokens, stableTopK, tf, tidy } from "../tensor/mod.ts";
import type { Choice, Combine } from "./compose.ts";
import { dpcKnn } from "./dpcknn.ts";
import { cosine } from "./similarity.ts";
import { withSpecialTokens } from "./special.ts";
import { int, where } from "./where.ts";

/** They are dropped. */
export const drop: Combine = {
  name: "drop",
  needs: [],
  made: 0,
  combine: (choice, _score, view) => tidy(() => mapOf(view, choice, tf.fill(choice.stays.shape, -1, "int32"))),
};

/** They become one more token after the others: their mean, weighted by score (EViT, SPViT, TRIM). */
export const pack: Combine = {
  name: "pack",
  needs: [],
  made: 1,
  combine: (choice, score, view) =>
    tidy(() => {
      const { specialTokens } = view;
      const last = tf.fill<tf.Rank.R2>(choice.stays.shape, choice.keep, "int32");
      const leaving = where<tf.Tensor2D>(choice.stays, 0, score);
      const share = perMass<tf.Tensor2D>(leaving, leaving.sum(1, true));
      const weight = where<tf.Tensor2D>(choice.stays, 1, share);
      const front = tf.ones<tf.Rank.R2>([score.shape[0], specialTokens]);
      return { ...mapOf(view, choice, last, 1), weight: specialTokens ? tf.concat([front, weight], 1) : weight };
    }),
};

/**
 * Each joins the patch that stays and whose key is most like its own (cosine; equal: the lower place).
 *
 * @param options `combine`: "mlerp" scales what was averaged to the length of its longest token (ToFu).
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * assert.equal(joinNearest().name, "join nearest");
 * assert.equal(joinNearest({ combine: "mlerp" }).name, "join nearest (mlerp)");
 * ```
 */
export function joinNearest({ combine }: { readonly combine?: "mlerp" } = {}): Combine {
  return {
    name: combine ? `join nearest (${combine})` : "join nearest",
    needs: ["keys"],
    made: 0,
    combine: (choice, _score, view) =>
      tidy(() => {
        const keys = need(view, "keys", "join nearest").mean<tf.Tensor3D>(1)
          .slice([0, view.specialTokens, 0]) as tf.Tensor3D;
        const far = where(choice.stays, 0, -Infinity).expandDims(1);
        const nearest = tf.add(cosine(keys), far).argMax<tf.Tensor2D>(2); // [batch, patches], as a patch
        const own = countBefore(choice.stays);
        const joined = tf.gather(own, nearest, 1, 1) as tf.Tensor2D;
        return { ...mapOf(view, choice, joined), ...(combine ? { combine } : {}) };
      }),
  };
}

/**
 * They are clustered into `count` more tokens, which stand in the end (SparseVLM's recycling).
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * assert.equal(recycleInto(2).made, 2);
 * ```
 */
export function recycleInto(count: number): Combine {
  return {
    name: `recycle into ${count}`,
    needs: [],
    made: count,
    combine: (choice, _score, view) =>
      tidy(() => {
        const patches = view.x.slice([0, view.specialTokens, 0]) as tf.Tensor3D;
        const gone = tf.logicalNot(choice.stays);
        const cluster = recycled(patches, gone, patches.shape[1] - choice.keep, count);
        return mapOf(view, choice, cluster.add<tf.Tensor2D>(int(choice.keep)), count);
      }),
  };
}

/**
 * The cluster, 0 to clusters - 1, of each token that goes, by DPC-KNN among those that go; anything for the others.
 *
 * @param x [batch, tokens, channels]
 * @param gone [batch, tokens] bool, with `count` true in each row.
 * @returns [batch, tokens] int32
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { tf } from "tessera/tensor/mod.ts";
 * const gone = tf.tensor2d([[1, 0, 1]], undefined, "bool");
 * const [[first, , third]] = recycled(tf.tensor3d([[[0], [0], [1]]]), gone, 2, 1).arraySync();
 * assert.deepEqual([first, third], [0, 0]);
 * ```
 */
export function recycled(x: tf.Tensor3D, gone: tf.Tensor2D, count: number, clusters: number): tf.Tensor2D {
  return tidy(() => {
    const places = stableTopK(gone.cast<tf.Tensor2D>("float32"), count); // ascending, as all scores are equal
    const { assignment } = dpcKnn(gatherTokens(x, places), { clusters });
    const last = tf.minimum<tf.Tensor2D>(countBefore(gone), int(count - 1));
    return gatherTokens(assignment, last);
  });
}

/** The map under which those that stay keep their order, and the others go to `elsewhere` (a slot among patches, or -1). */
export function mapOf(
  { specialTokens }: BlockView,
  { stays, keep }: Choice,
  elsewhere: tf.Tensor2D,
  made = 0,
): SlotMap {
  const slot = where<tf.Tensor2D>(stays, countBefore(stays), elsewhere);
  const tokens = stays.shape[1], outputs = keep + made;
  const budget = { requested: tokens - outputs, achieved: tokens - outputs };
  const anchor = made ? {} : { anchor: stays }; // what is made of several stands where the first of them stood
  return withSpecialTokens({ kind: "slots", tokens, outputs, slot, ...anchor, budget }, specialTokens);
}
