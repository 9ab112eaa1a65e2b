/**
 * Rho-1: while training, reduce the tokens of the *loss*: learn from those that the model finds harder than a reference model
 * does, and leave out what is learned already, and what cannot be. With its controls.
 *
 * Lin et al., "Rho-1: Not All Tokens Are What You Need", NeurIPS 2024, arXiv:2404.07965, section 2.2. The authors published
 * weights and evaluation, no training code: this is the paper's recipe, and laws stand where golden cases would (with all
 * tokens it is the full loss, what is left out gets no gradient). Every other choice here is a control. Differs from the
 * paper in nothing that it says; ties at the threshold all stay.
 *
 * @module
 */
import { BudgetOutOfRange } from "../nn/reduction_errors.ts";
import { randomUniform, rankDescending, stopGradient, tf, tidy } from "../tensor/mod.ts";
import { where } from "./where.ts";

/**
 * Which tokens the loss is taken of, by the losses of the model and of a reference model. Controls: "random"; "hard" and
 * "easy", the model's highest and lowest losses; "reference", what the reference finds easiest.
 */
export type LossChoice = "excess" | "random" | "hard" | "easy" | "reference";

/** How tokens are chosen. */
export interface LossSelectionOptions {
  /** Share of the batch's real tokens that stay, (0, 1]; the paper's are 0.6 and 0.7. */
  readonly keepRate: number;
  /** Default: "excess", Rho-1's. */
  readonly choice?: LossChoice;
  /** [batch, tokens]: 1 for tokens that count, 0 for padding. Default: all. */
  readonly real?: tf.Tensor2D;
  /** Random numbers, for "random". */
  readonly key?: tf.Tensor1D;
}

/**
 * Which tokens of a batch the loss is taken of: the highest `keepRate` of all real tokens, over the whole batch.
 *
 * @param loss Of the model, [batch, tokens].
 * @param reference Of the reference model, [batch, tokens]; absent for choices that do not ask it.
 * @returns [batch, tokens], 1 where a token counts. No gradient flows through it.
 *
 * @example The model is at its worst, beside the reference, on the last token
 * ```ts
 * import assert from "node:assert/strict";
 * import { tf } from "tessera/tensor/mod.ts";
 * const mask = selectLoss(tf.tensor2d([[1, 5, 3]]), tf.tensor2d([[1, 6, 1]]), { keepRate: 0.34 });
 * assert.deepEqual(mask.arraySync(), [[0, 0, 1]]);
 * ```
 */
export function selectLoss(
  loss: tf.Tensor2D,
  reference: tf.Tensor2D | undefined,
  { keepRate, choice = "excess", real, key }: LossSelectionOptions,
): tf.Tensor2D {
  if (!(keepRate > 0 && keepRate <= 1)) {
    throw new BudgetOutOfRange(`keepRate must lie in (0, 1], but it is ${keepRate}; to learn from all tokens, pass 1`);
  }
  if ((choice === "excess" || choice === "reference") && !reference) {
    throw new TypeError(`the choice ${choice} asks a reference model, but its losses are not given; pass them`);
  }
  if (reference && reference.shape.join() !== loss.shape.join()) {
    throw new RangeError(`both losses must have one shape, but they have [${loss.shape}] and [${reference.shape}]`);
  }
  if (choice === "random" && !key) throw new TypeError("the choice random needs a key; pass randomKey(seed)");
  return tidy(() => {
    const own = stopGradient(loss), other = reference && stopGradient(reference);
    const counts = real ?? tf.onesLike(own);
    if (keepRate === 1) return counts.clone();
    const score = ({
      excess: () => own.sub<tf.Tensor2D>(other!),
      random: () => randomUniform(key!, own.shape) as tf.Tensor2D,
      hard: () => own,
      easy: () => own.neg<tf.Tensor2D>(),
      reference: () => other!.neg<tf.Tensor2D>(),
    })[choice]();
    const size = own.size;
    const row = where<tf.Tensor2D>(tf.greater(counts, 0), score, -Infinity).reshape<tf.Tensor2D>([1, size]);
    const keep = tf.maximum(tf.floor(counts.sum().mul(keepRate).add(1e-4)), 1);
    // the value at the threshold: of the last rank that stays
    const last = tf.equal(rankDescending(row), keep.sub(1).cast("int32"));
    const threshold = where<tf.Tensor>(last, row, -Infinity).max();
    return tf.greaterEqual(row, threshold).cast<tf.Tensor2D>("float32").reshape<tf.Tensor2D>(own.shape).mul(counts);
  });
}

/**
 * The loss of the tokens that count: their mean.
 *
 * @param mask From {@link selectLoss}.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { tf } from "tessera/tensor/mod.ts";
 * assert.equal(selectedLoss(tf.tensor2d([[1, 5, 3]]), tf.tensor2d([[0, 1, 1]])).arraySync(), 4);
 * ```
 */
export function selectedLoss(loss: tf.Tensor2D, mask: tf.Tensor2D): tf.Scalar {
  return tidy(() => tf.div<tf.Scalar>(loss.mul(mask).sum(), tf.maximum(mask.sum(), 1)));
}

/**
 * The loss of each next token, [batch, tokens - 1]: what both functions above take.
 *
 * @param logits [batch, tokens, vocabulary]
 * @param tokens int32, [batch, tokens]
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { tf } from "tessera/tensor/mod.ts";
 * const loss = nextTokenLoss(tf.zeros([1, 3, 4]), tf.tensor2d([[0, 1, 2]], undefined, "int32"));
 * assert.ok(loss.arraySync()[0].every((value) => Math.abs(value - Math.log(4)) < 1e-6));
 * ```
 */
export function nextTokenLoss(logits: tf.Tensor3D, tokens: tf.Tensor2D): tf.Tensor2D {
  const [batch, count, vocabulary] = logits.shape;
  return tidy(() => {
    const next = tf.oneHot(tokens.slice([0, 1], [batch, count - 1]), vocabulary);
    const before = tf.logSoftmax(logits.slice([0, 0, 0], [-1, count - 1, -1]) as tf.Tensor3D);
    return before.mul(next).sum<tf.Tensor2D>(2).neg();
  });
}
