/**
 * CLEF's head on any encoder: a condition gates what the encoder says of the history, and the concept that comes of it
 * multiplies a base state.
 *
 * Li et al., "Controllable Sequence Editing for Biological and Clinical Trajectories", ICLR 2026, arXiv:2502.03569. The
 * paper's own head has no hidden layer and the width of the variables (`clef.forward`); this one is for encoders that are
 * wider than what they predict, and a control for their heads.
 *
 * @module
 */
import { linear, type LinearDescription, linearLayer, type LinearParameters } from "../nn/mod.ts";
import { tf, tidy } from "../tensor/mod.ts";
import { conceptOf, type Decoder } from "./concepts.ts";

/** Parameters of {@link conceptHead}. */
export interface ConceptHeadParameters {
  /** From a condition to the gate. */
  readonly gate: LinearParameters;
  readonly fc1: LinearParameters;
  readonly fc2: LinearParameters;
}

/** Describes a {@link conceptHead}. */
export interface ConceptHeadDescription {
  readonly gate: LinearDescription;
  readonly fc1: LinearDescription;
  readonly fc2: LinearDescription;
}

/**
 * Describes a head: `width` numbers of the encoder, a condition of `condition` numbers, `hidden` numbers in between.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * assert.deepEqual(conceptHeadLayer({ width: 18, condition: 4, hidden: 36, variables: 1 }).gate.weight.shape, [18, 4]);
 * ```
 */
export function conceptHeadLayer({ width, condition, hidden, variables }: {
  readonly width: number;
  readonly condition: number;
  readonly hidden: number;
  readonly variables: number;
}): ConceptHeadDescription {
  return {
    gate: linearLayer(condition, width),
    fc1: linearLayer(width, hidden),
    fc2: linearLayer(hidden, variables),
  };
}

/**
 * The concept of a history under a condition, and the state that it makes of the base: GELU(W₂ ELU(W₁ (r ⊙ h_s)) + 1) times
 * the base. The 1 lets a concept start near "no change".
 *
 * @param r What the encoder says of each history, [rows, width].
 * @param condition [rows, condition]
 * @param base [rows, variables], in the units of the data.
 * @param decoder Default: "multiplicative"; the others are those of CLEF.
 * @returns Both [rows, variables].
 *
 * @example Nothing stays nothing, whatever the concept
 * ```ts
 * import assert from "node:assert/strict";
 * import { tf } from "tessera/tensor/mod.ts";
 * import { initialise } from "tessera/nn/mod.ts";
 * import { random } from "tessera/random.ts";
 * const head = initialise(conceptHeadLayer({ width: 2, condition: 1, hidden: 3, variables: 1 }), random(1));
 * const { state } = conceptHead(tf.ones([1, 2]), tf.ones([1, 1]), tf.zeros([1, 1]), head);
 * assert.equal(state.arraySync()[0][0], 0);
 * ```
 */
export function conceptHead(
  r: tf.Tensor2D,
  condition: tf.Tensor2D,
  base: tf.Tensor2D,
  { gate, fc1, fc2 }: ConceptHeadParameters,
  decoder: Exclude<Decoder, "affine"> = "multiplicative",
): { state: tf.Tensor2D; concept: tf.Tensor2D } {
  return tidy(() => {
    const joined = r.mul<tf.Tensor2D>(linear(condition, gate));
    const logits = linear(tf.elu(linear(joined, fc1)), fc2);
    const concept = conceptOf(decoder === "multiplicative" ? logits.add(1) : logits, decoder, false);
    return { state: concept.mul<tf.Tensor2D>(base), concept };
  });
}
