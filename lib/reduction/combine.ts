/**
 * Combinations: what becomes of the patches that do not stay. The parts that `compose` puts in the end.
 *
 * @module
 */
import { type BlockView, need } from "../nn/reducer.ts";
import { countBefore, perMass, type SlotMap } from "../nn/token_map.ts";
import { tf, tidy } from "../tensor/mod.ts";
import type { Choice, Combine } from "./compose.ts";
import { cosine } from "./similarity.ts";
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

/** The map under which those that stay keep their order, and the others go to `elsewhere` (a slot among patches, or -1). */
function mapOf(view: BlockView, { stays, keep }: Choice, elsewhere: tf.Tensor2D, made = 0): SlotMap {
  const { tokens, specialTokens } = view;
  const [batch] = stays.shape;
  const slot = tf.where(stays, countBefore(stays), elsewhere);
  const outputs = specialTokens + keep + made;
  const budget = { requested: tokens - outputs, achieved: tokens - outputs };
  const shifted = where<tf.Tensor2D>(tf.less(slot, int(0)), slot, slot.add<tf.Tensor2D>(int(specialTokens)));
  if (!specialTokens) return { kind: "slots", tokens, outputs, slot: shifted, ...anchors(stays, made), budget };
  const front = tf.range(0, specialTokens, 1, "int32").expandDims<tf.Tensor2D>(0).tile<tf.Tensor2D>([batch, 1]);
  const anchor = tf.concat([tf.onesLike(front).cast<tf.Tensor2D>("bool"), stays], 1);
  return { kind: "slots", tokens, outputs, slot: tf.concat([front, shifted], 1), ...anchors(anchor, made), budget };
}

/** A token that is made from several stands where the first of them stood, so that no anchor is named. */
function anchors(stays: tf.Tensor2D, made: number): { anchor?: tf.Tensor2D } {
  return made ? {} : { anchor: stays };
}
