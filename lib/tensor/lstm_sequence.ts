/**
 * A whole run of a long short-term memory by TensorFlow's own cells: one operation per step forward and three back, where
 * sums and products written out are forty. XLA has no such operation.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs";
import { tensorflow } from "./backend.ts";
import type { OpAttribute } from "./binding.ts";

/** What {@link lstmSequence} takes. */
export interface LSTMSequence {
  /** [batch, steps, in] */
  readonly x: tf.Tensor3D;
  /** [4 x hidden, in] and [4 x hidden, hidden]: input gate, forget gate, cell, output gate. */
  readonly inputWeight: tf.Tensor2D;
  readonly hiddenWeight: tf.Tensor2D;
  /** [4 x hidden] */
  readonly bias: tf.Tensor1D;
  /** What the first step starts from, both [batch, hidden]. */
  readonly h: tf.Tensor2D;
  readonly c: tf.Tensor2D;
  /** What h and c are multiplied by from step to step, [batch, hidden]; they get no gradient. */
  readonly keptH?: tf.Tensor2D | undefined;
  readonly keptC?: tf.Tensor2D | undefined;
}

/** Numbers per step that the gradient needs. */
const SAVED = 9;

/**
 * Runs it. Gradients flow to all but what h and c are multiplied by.
 *
 * @returns [batch, steps + 1, hidden]: the hidden state of each step, then the cell after the last one.
 * @throws {Error} On a backend other than TensorFlow.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { backend, tf } from "tessera/tensor/mod.ts";
 * const zero = tf.zeros<tf.Rank.R2>([1, 1]);
 * const weights = { inputWeight: tf.zeros<tf.Rank.R2>([4, 1]), hiddenWeight: tf.zeros<tf.Rank.R2>([4, 1]) };
 * const run = () => lstmSequence({ x: tf.ones([1, 2, 1]), ...weights, bias: tf.zeros([4]), h: zero, c: zero });
 * if (backend.name === "tensorflow") assert.deepEqual(run().arraySync(), [[[0], [0], [0]]]);
 * ```
 */
export function lstmSequence({ x, inputWeight, hiddenWeight, bias, h, c, keptH, keptC }: LSTMSequence): tf.Tensor3D {
  const found = tensorflow;
  if (found === undefined) throw new Error("lstmSequence() needs TensorFlow; use lstm() of nn, which runs everywhere");
  const { binding } = found;
  const [batch, steps, inputs] = x.shape;
  const hidden = hiddenWeight.shape[1];
  const type: OpAttribute = { name: "T", type: binding.TF_ATTR_TYPE, value: binding.TF_FLOAT };
  const plain: OpAttribute = { name: "use_peephole", type: binding.TF_ATTR_BOOL, value: false };
  const forward: OpAttribute[] = [
    ...[type, plain, { name: "forget_bias", type: binding.TF_ATTR_FLOAT, value: 0 }],
    { name: "cell_clip", type: binding.TF_ATTR_FLOAT, value: -1 }, // not clipped
  ];
  const kept = (value: tf.Tensor, mask: tf.Tensor | undefined) => mask ? tf.mul(value, mask) : value;

  const run = tf.customGrad((...given: (tf.Tensor | tf.GradSaveFunc)[]) => {
    const [x, inputWeight, hiddenWeight, bias, h, c] = given as tf.Tensor[];
    const save = given[6] as tf.GradSaveFunc;
    // TensorFlow's cells have the cell before the forget gate, and weights as [in, out]
    const weight = swapped(tf.concat([inputWeight, hiddenWeight], 1)).transpose<tf.Tensor2D>();
    const shift = swapped(bias);
    const none = tf.zeros([hidden]); // weights of "peepholes", which are off
    const saved: tf.Tensor[] = [];
    const outputs: tf.Tensor[] = [];
    let [nowH, nowC] = [h, c];
    for (const input of tf.unstack(x, 1)) {
      const [i, cell, f, o, ci, co, next] = found.executeMultipleOutputs(
        "LSTMBlockCell",
        forward,
        [input, nowC, nowH, weight, none, none, none, shift],
        7,
      );
      saved.push(input, nowC, nowH, i, cell, f, o, ci, co);
      outputs.push(next);
      [nowH, nowC] = [kept(next, keptH), kept(cell, keptC)];
    }
    const last = saved[SAVED * (steps - 1) + 4];
    save([...saved, weight, shift, none, ...[keptH, keptC].filter((mask) => mask !== undefined)]);
    return {
      value: tf.stack([...outputs, last], 1),
      gradFunc: (slope: tf.Tensor, saved: tf.Tensor[]) => {
        const [weight, shift, none, ...masks] = saved.slice(SAVED * steps);
        const [maskH, maskC] = [keptH && masks.shift(), keptC && masks.shift()];
        const ofStep = (t: number) => saved.slice(SAVED * t, SAVED * (t + 1));
        const slopes = tf.unstack(slope, 1);
        const back = weight.slice([inputs, 0], [hidden, 4 * hidden]) as tf.Tensor2D;
        const gates: tf.Tensor2D[] = [];
        let slopeC = slopes[steps], slopeH: tf.Tensor | undefined;
        for (let t = steps - 1; t >= 0; t--) {
          const [input, beforeC, beforeH, i, cell, f, o, ci, co] = ofStep(t);
          const dh = slopeH ? slopes[t].add(slopeH) : slopes[t];
          const [dc, gate] = found.executeMultipleOutputs(
            "LSTMBlockCellGrad",
            [type, plain],
            [input, beforeC, beforeH, weight, none, none, none, shift, i, cell, f, o, ci, co, slopeC, dh],
            5,
          );
          gates[t] = gate as tf.Tensor2D;
          const toH = tf.matMul(gates[t], back, false, true);
          [slopeC, slopeH] = t > 0 ? [kept(dc, maskC), kept(toH, maskH)] : [dc, toH];
        }
        // all steps together, so that each weight has one product
        const every = (which: number) => tf.concat(Array.from({ length: steps }, (_, t) => ofStep(t)[which]), 0);
        const all = tf.concat(gates, 0);
        const ofWeight = swapped(
          tf.matMul(all, tf.concat2d([every(0) as tf.Tensor2D, every(2) as tf.Tensor2D], 1), true),
        );
        const toX = tf.matMul(all, weight.slice([0, 0], [inputs, 4 * hidden]) as tf.Tensor2D, false, true);
        return [
          toX.reshape([steps, batch, inputs]).transpose([1, 0, 2]),
          ofWeight.slice([0, 0], [4 * hidden, inputs]),
          ofWeight.slice([0, inputs], [4 * hidden, hidden]),
          swapped(all.sum(0)),
          ...[slopeH!, slopeC],
        ];
      },
    };
  });
  return run(x, inputWeight, hiddenWeight, bias, h, c) as tf.Tensor3D;
}

/** Forget gate and cell change places; done twice, all is as before. */
function swapped<T extends tf.Tensor>(gates: T): T {
  const [i, second, third, o] = tf.split(gates, 4, 0);
  return tf.concat([i, third, second, o], 0) as T;
}
