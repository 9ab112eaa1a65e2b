/**
 * How well a language model says what comes, and how far what it says is from what it would have said.
 *
 * Kullback and Leibler, "On Information and Sufficiency", 1951; perplexity: Jelinek et al., 1977.
 *
 * @module
 */
import { tf, tidy } from "../tensor/mod.ts";

/**
 * Perplexity of tokens under logits: exp of the mean of -ln p. The number of tokens among which the model is as unsure as
 * if it had to guess; 1 where it was sure and right. Reads one number back.
 *
 * @param logits [tokens, vocabulary], each from what came before its token.
 * @param tokens The tokens themselves.
 * @throws {RangeError} If there are not as many tokens as rows of logits.
 *
 * @example Logits that know nothing about four tokens
 * ```ts
 * import assert from "node:assert/strict";
 * import { tf } from "tessera/tensor/mod.ts";
 * assert.equal(Math.round(perplexity(tf.zeros([2, 4]), [1, 3])), 4);
 * ```
 */
export function perplexity(logits: tf.Tensor2D, tokens: readonly number[]): number {
  const [rows, vocabulary] = logits.shape;
  if (rows !== tokens.length) {
    throw new RangeError(
      `each token needs its logits, but there are ${tokens.length} tokens and ${rows} rows; pass the text they are of`,
    );
  }
  return tidy(() => {
    const chosen = tf.oneHot(tf.tensor1d([...tokens], "int32"), vocabulary);
    return Math.exp(-tf.logSoftmax(logits).mul(chosen).sum(1).mean().dataSync()[0]);
  });
}

/**
 * Mean Kullback-Leibler divergence of what is said from what would have been said, in nats per token: 0 where both say the
 * same. Reads one number back.
 *
 * @param reference [tokens, vocabulary]: logits with the full cache, say.
 * @param logits [tokens, vocabulary]: logits with less.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { tf } from "tessera/tensor/mod.ts";
 * const sure = tf.tensor2d([[50, 0]]), unsure = tf.tensor2d([[0, 0]]);
 * assert.equal(divergence(sure, sure), 0);
 * assert.equal(divergence(sure, unsure).toFixed(4), Math.log(2).toFixed(4));
 * ```
 */
export function divergence(reference: tf.Tensor2D, logits: tf.Tensor2D): number {
  if (reference.shape.join() !== logits.shape.join()) {
    throw new RangeError(
      `both logits must have one shape, but they have [${reference.shape}] and [${logits.shape}]; run them on one text`,
    );
  }
  return tidy(() => {
    const said = tf.logSoftmax(logits), meant = tf.logSoftmax(reference);
    return meant.exp().mul(meant.sub(said)).sum(1).mean().dataSync()[0];
  });
}
