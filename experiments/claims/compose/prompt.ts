/**
 * Shortening prompts whose tokens have scores, and what a recall is in log odds.
 *
 * @module
 */
import type { Llama } from "tessera/nn/mod.ts";
import { tf, tidy } from "tessera/tensor/mod.ts";
import type { Batch } from "../memory/recall.ts";

/** -ln p of each token of some texts, each from those before it: [texts][tokens]. The first has none: it always stays. */
export function surprises(model: Llama, tokens: tf.Tensor2D): number[][] {
  const [texts, count] = tokens.shape;
  return tidy(() => {
    const said = tf.logSoftmax(model.forward(tokens).logits.slice([0, 0, 0], [-1, count - 1, -1]));
    const next = tf.oneHot(tokens.slice([0, 1], [-1, -1]) as tf.Tensor2D, model.config.vocabulary);
    const lost = tf.neg(said.mul(next).sum(2));
    return tf.concat([tf.fill([texts, 1], 1e9), lost], 1).arraySync() as number[][];
  });
}

/**
 * The same texts with the tokens of highest score, in their order; places are counted anew. Of `Batch` it is what
 * `find` wants; the questions stay as they were.
 *
 * @param score [texts][tokens]; of equal ones the earlier.
 * @param share Of the tokens that stay, rounded; the first token always does.
 */
export function shortened(batch: Batch, score: readonly ArrayLike<number>[], share: number): Batch {
  const tokens = batch.prompt.arraySync() as number[][];
  const keep = Math.max(1, Math.round(share * batch.from));
  const kept = tokens.map((_, text) => {
    const worth = (place: number) => place === 0 ? Infinity : score[text][place];
    return Array.from({ length: batch.from }, (_, place) => place)
      .sort((a, b) => worth(b) - worth(a) || a - b).slice(0, keep).sort((a, b) => a - b);
  });
  return {
    ...batch,
    prompt: tf.tensor2d(tokens.map((row, text) => kept[text].map((place) => row[place])), undefined, "int32"),
    from: keep,
    wanted: batch.wanted.map((row, text) => kept[text].map((place) => row[place])),
  };
}

/** Logarithm of right over wrong, with half an answer added to both, so that all and none are numbers too. */
export function logOdds(share: number, answers: number): number {
  return Math.log((share * answers + 0.5) / ((1 - share) * answers + 0.5));
}
