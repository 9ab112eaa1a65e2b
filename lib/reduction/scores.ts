/**
 * Scores: how much a patch matters, higher = keep. The parts that `compose` puts in front.
 *
 * @module
 */
import { type BlockView, need } from "../nn/reducer.ts";
import { randomUniform, tf, tidy } from "../tensor/mod.ts";
import type { Score } from "./compose.ts";
import { classAttention } from "./prune.ts";
import { cosine } from "./similarity.ts";

/** How much the class token looks at each patch, mean over heads (Top-K, EViT, FasterVLM). */
export const classAttentionScore: Score = {
  name: "class attention",
  needs: ["attention"],
  of: (view) => classAttention(need(view, "attention", "class attention"), view.specialTokens),
};

/** How much all tokens look at each patch, mean over heads and tokens (H2O, K-Medoids' weights, MCTF). */
export const attentionReceived: Score = {
  name: "attention received",
  needs: ["attention"],
  of: (view) => tidy(() => patchesOf(need(view, "attention", "attention received").mean<tf.Tensor2D>([1, 2]), view)),
};

/** How much the class token looks at each patch, times the length of the patch's value (ATS). */
export const valueWeightedAttention: Score = {
  name: "value-weighted attention",
  needs: ["attention", "values"],
  of: (view) =>
    tidy(() => {
      const values = need(view, "values", "value-weighted attention"); // [batch, heads, tokens, channels per head]
      const length = tf.sqrt(values.square().sum([1, 3])); // of the heads' values side by side
      const row = classAttention(need(view, "attention", "value-weighted attention"), view.specialTokens);
      const weighted = tf.mul<tf.Tensor2D>(row, patchesOf(length as tf.Tensor2D, view));
      return tf.div<tf.Tensor2D>(weighted, tf.maximum(weighted.sum(1, true), 1e-12));
    }),
};

/** The length of each patch's vector. */
export const tokenNorm: Score = {
  name: "token norm",
  needs: [],
  of: (view) => tidy(() => patchesOf(tf.norm(view.x, 2, 2) as tf.Tensor2D, view)),
};

/** A random number, from the model's key alone: the control of every score. */
export const randomScore: Score = {
  name: "random",
  needs: ["key"],
  of: (view) =>
    randomUniform(need(view, "key", "random"), [view.x.shape[0], view.tokens - view.specialTokens]) as tf.Tensor2D,
};

/** How unlike the others a patch is: minus the mean cosine of its key with all keys. */
export const isolation: Score = {
  name: "isolation",
  needs: ["keys"],
  of: (view) =>
    tidy(() => {
      const keys = need(view, "keys", "isolation").mean<tf.Tensor3D>(1);
      return cosine(keys.slice([0, view.specialTokens, 0]) as tf.Tensor3D).mean<tf.Tensor2D>(2).neg();
    }),
};

/**
 * A score [batch, tokens] without the special tokens in front: [batch, patches].
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { tf } from "tessera/tensor/mod.ts";
 * assert.deepEqual(patchesOf(tf.tensor2d([[9, 1, 2]]), { specialTokens: 1 }).arraySync(), [[1, 2]]);
 * ```
 */
export function patchesOf(score: tf.Tensor2D, { specialTokens }: Pick<BlockView, "specialTokens">): tf.Tensor2D {
  return score.slice([0, specialTokens]) as tf.Tensor2D;
}
