/**
 * Loops over a sequence, as operations on tensors: one step after another, or all at once in a logarithmic number of
 * steps. Gradients flow through both.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs";
import { tidy } from "./tidy.ts";
import { putTogether, takeApart } from "./tree.ts";

/** Options of {@link scan} and {@link associativeScan}. */
export interface ScanOptions {
  /** The dimension that runs along the sequence. Default: 0. */
  readonly axis?: number;
  /** Begin at the end. Results stand in the order of the sequence all the same. Default: false. */
  readonly reverse?: boolean;
}

/**
 * Carries something along a sequence: `[carry, y_t] = step(carry, x_t)` for each t. A recurrent network, say.
 *
 * The loop is unrolled: each step becomes operations of its own, so that tracing it takes time and memory by the number
 * of steps.
 *
 * @param step Gets what is carried and one element, and gives what is carried on and an output; all of them tensors, or
 *   plain objects and arrays of tensors. Shapes must not change from step to step.
 * @param carry What the first step gets.
 * @param sequence Tensors of the same length along `axis`; each step gets them without that dimension.
 * @returns What the last step carries, and the outputs stacked along `axis`.
 * @throws {RangeError} If the sequence is empty, or its tensors differ in length.
 *
 * @example Running sums
 * ```ts
 * import assert from "node:assert/strict";
 * import { tf } from "tessera/tensor/mod.ts";
 * const [last, sums] = scan((sum, x) => [sum.add(x), sum.add(x)], tf.scalar(0) as tf.Tensor, tf.tensor1d([1, 2, 3]));
 * assert.deepEqual([last.arraySync(), (sums as tf.Tensor).arraySync()], [6, [1, 3, 6]]);
 * ```
 */
export function scan<Carry, X, Y>(
  step: (carry: Carry, x: X) => [carry: Carry, y: Y],
  carry: Carry,
  sequence: X,
  { axis = 0, reverse = false }: ScanOptions = {},
): [carry: Carry, ys: Y] {
  return tidy(() => {
    const { tensors, template, length } = sequenceOf(sequence, axis);
    if (length === 0) throw new RangeError("the sequence has no elements; scan needs one at least");
    const elements = tensors.map((tensor) => tf.unstack(tensor, axis));
    const outputs: tf.Tensor[][] = [];
    let outputTemplate = template;
    let carried = carry;
    for (let i = 0; i < length; i++) {
      const t = reverse ? length - 1 - i : i;
      const [next, y] = step(carried, putTogether(template, elements.map((element) => element[t])) as X);
      carried = next;
      outputs[t] = [];
      outputTemplate = takeApart(y, outputs[t], "an output of scan's step");
    }
    const stacked = outputs[0].map((_, part) => tf.stack(outputs.map((parts) => parts[part]), axis));
    return [carried, putTogether(outputTemplate, stacked) as Y];
  });
}

/**
 * All prefixes of a sequence under an associative operation: y_t = x_0 * x_1 * ... * x_t. Takes log2(length) rounds, each
 * over the whole sequence, where a loop would take `length` steps.
 *
 * Hillis and Steele, "Data Parallel Algorithms", Communications of the ACM 29 (12), 1986.
 *
 * @param combine Combines the earlier (first) with the later (second), element by element along `axis`. Must be
 *   associative; need not be commutative.
 * @param sequence Tensors, or plain objects and arrays of tensors, of the same length along `axis`.
 * @returns Of the same shapes.
 * @throws {RangeError} If the tensors differ in length.
 *
 * @example Running sums
 * ```ts
 * import assert from "node:assert/strict";
 * import { tf } from "tessera/tensor/mod.ts";
 * const sums = associativeScan((a, b) => tf.add(a, b), tf.tensor1d([1, 2, 3, 4, 5]));
 * assert.deepEqual(sums.arraySync(), [1, 3, 6, 10, 15]);
 * ```
 */
export function associativeScan<X>(
  combine: (earlier: X, later: X) => X,
  sequence: X,
  { axis = 0, reverse = false }: ScanOptions = {},
): X {
  return tidy(() => {
    const { tensors, template, length } = sequenceOf(sequence, axis);
    const turn = (list: tf.Tensor[]) => reverse ? list.map((tensor) => tf.reverse(tensor, axis)) : list;
    const cut = (list: tf.Tensor[], from: number, to: number) => list.map((tensor) => slice(tensor, axis, from, to));
    let done = turn(tensors);
    for (let distance = 1; distance < length; distance *= 2) {
      const earlier = putTogether(template, cut(done, 0, length - distance)) as X;
      const later = putTogether(template, cut(done, distance, length)) as X;
      const combined: tf.Tensor[] = [];
      takeApart(combine(earlier, later), combined, "what combine gives");
      done = cut(done, 0, distance).map((first, i) => tf.concat([first, combined[i]], axis));
    }
    return putTogether(template, turn(done)) as X;
  });
}

/**
 * A linear recurrence, h_t = a_t h_(t-1) + b_t with h_(-1) = 0, for each element on its own, in log2(length) rounds. What
 * state space models and gated linear recurrent networks compute.
 *
 * Martin and Cundy, "Parallelizing Linear Recurrent Neural Nets Over Sequence Length", ICLR 2018, arXiv:1709.04057.
 *
 * @param a Any shape with the sequence along `axis`.
 * @param b The same shape.
 * @returns h, the same shape.
 * @throws {RangeError} If the shapes differ.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { tf } from "tessera/tensor/mod.ts";
 * const h = linearRecurrence(tf.tensor1d([9, 2, 3]), tf.tensor1d([1, 1, 1]));
 * assert.deepEqual(h.arraySync(), [1, 3, 10]);
 * ```
 */
export function linearRecurrence<T extends tf.Tensor>(a: T, b: T, options: ScanOptions = {}): T {
  if (a.shape.join() !== b.shape.join()) {
    throw new RangeError(`a and b must have one shape, but they have [${a.shape}] and [${b.shape}]`);
  }
  return tidy(() => {
    const { b: h } = associativeScan(
      (earlier, later) => ({ a: tf.mul<T>(later.a, earlier.a), b: later.a.mul(earlier.b).add<T>(later.b) }),
      { a, b },
      options,
    );
    return h;
  });
}

function sequenceOf(sequence: unknown, axis: number) {
  const tensors: tf.Tensor[] = [];
  const template = takeApart(sequence, tensors, "the sequence");
  const lengths = new Set(tensors.map(({ shape }) => shape.at(axis)));
  const [length] = lengths;
  if (lengths.size !== 1 || length === undefined) {
    throw new RangeError(
      `the tensors of a sequence must have one length along axis ${axis}, but their shapes are ` +
        `${tensors.map(({ shape }) => `[${shape}]`).join(", ") || "none"}`,
    );
  }
  return { tensors, template, length };
}

function slice(x: tf.Tensor, axis: number, from: number, to: number): tf.Tensor {
  const begin = x.shape.map(() => 0);
  const size = [...x.shape];
  const at = axis < 0 ? axis + x.rank : axis;
  begin[at] = from;
  size[at] = to - from;
  return tf.slice(x, begin, size);
}
