/**
 * Long short-term memory: a recurrent layer whose cell forgets and remembers by gates.
 *
 * Hochreiter and Schmidhuber, "Long Short-Term Memory", Neural Computation 9 (1997); with the forget gate of Gers,
 * Schmidhuber and Cummins, "Learning to Forget", Neural Computation 12 (2000). Parameters and their order (input gate,
 * forget gate, cell, output gate) are those of `nn.LSTMCell`.
 *
 * @module
 */
import { backend, lstmSequence, randomUniform, scan, tf, tidy } from "../tensor/mod.ts";
import { type Description, parameter, uniform } from "./initialise.ts";
import { linear } from "./layers.ts";

/** Parameters under the names of `nn.LSTMCell`: [4 x hidden, in], [4 x hidden, hidden], and two biases [4 x hidden]. */
export interface LSTMParameters {
  readonly weight_ih: tf.Tensor2D;
  readonly weight_hh: tf.Tensor2D;
  readonly bias_ih: tf.Tensor1D;
  readonly bias_hh: tf.Tensor1D;
}

/** Describes an LSTM. */
export interface LSTMDescription {
  readonly weight_ih: Description<tf.Rank.R2>;
  readonly weight_hh: Description<tf.Rank.R2>;
  readonly bias_ih: Description<tf.Rank.R1>;
  readonly bias_hh: Description<tf.Rank.R1>;
}

/** What an LSTM carries from step to step: hidden state and cell, both [batch, hidden]. */
export interface LSTMState {
  readonly h: tf.Tensor2D;
  readonly c: tf.Tensor2D;
}

/**
 * Describes an LSTM; all its parameters start uniform within ± 1 / √hidden, as `nn.LSTM`.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * assert.deepEqual(lstmLayer(3, 5).weight_hh.shape, [20, 5]);
 * ```
 */
export function lstmLayer(inputs: number, hidden: number): LSTMDescription {
  const from = uniform(-1 / Math.sqrt(hidden), 1 / Math.sqrt(hidden));
  return {
    weight_ih: parameter<tf.Rank.R2>([4 * hidden, inputs], from),
    weight_hh: parameter<tf.Rank.R2>([4 * hidden, hidden], from),
    bias_ih: parameter<tf.Rank.R1>([4 * hidden], from),
    bias_hh: parameter<tf.Rank.R1>([4 * hidden], from),
  };
}

/** Options of {@link lstm}. */
export interface LSTMOptions {
  /** What the first step starts from. Default: zeros. */
  readonly state?: LSTMState | undefined;
  /** Begin at the end; results stand in the order of the sequence all the same. Default: false. */
  readonly reverse?: boolean;
  /** What is multiplied by a fixed mask in each step, see {@link variationalMasks}. Default: nothing. */
  readonly masks?: LSTMMasks | undefined;
  /**
   * "cells": each step is one of TensorFlow's own operations where that is the backend, several times faster, but XLA
   * cannot compile it. Default: "operations".
   */
  readonly form?: "operations" | "cells";
}

/** Masks that stay the same along a sequence, each [batch, hidden]. */
export interface LSTMMasks {
  /** Of the hidden state as it is given out. */
  readonly output: tf.Tensor2D;
  /** Of the hidden state and of the cell as they are carried on. */
  readonly h: tf.Tensor2D;
  readonly c: tf.Tensor2D;
}

/**
 * Masks for dropout that drops the same numbers in every step of a sequence.
 *
 * Gal and Ghahramani, "A Theoretically Grounded Application of Dropout in Recurrent Neural Networks", NeurIPS 2016,
 * arXiv:1512.05287.
 *
 * @param rate 0 to below 1.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { randomKey } from "tessera/tensor/mod.ts";
 * const { h } = variationalMasks(2, 8, 0.5, randomKey(1));
 * assert.ok(h.dataSync().every((value) => value === 0 || value === 2));
 * ```
 */
export function variationalMasks(batch: number, hidden: number, rate: number, key: tf.Tensor1D): LSTMMasks {
  if (!(rate >= 0 && rate < 1)) throw new RangeError(`a dropout's rate must lie in [0, 1), but it is ${rate}`);
  return tidy(() => {
    const stays = tf.greaterEqual(randomUniform(key, [3, batch, hidden]), tf.scalar(rate)).cast("float32");
    const [output, h, c] = tf.unstack(stays.mul(1 / (1 - rate))) as tf.Tensor2D[];
    return { output, h, c };
  });
}

/**
 * Runs an LSTM along a sequence. Unrolled, see `scan`: a trace grows with the number of steps.
 *
 * @param x [batch, steps, in]
 * @returns The hidden state of each step, [batch, steps, hidden], and what the last step carries.
 *
 * @example With all parameters 0 it remembers nothing
 * ```ts
 * import assert from "node:assert/strict";
 * import { random } from "tessera/random.ts";
 * import { tf } from "tessera/tensor/mod.ts";
 * import { initialise, zeros } from "tessera/nn/mod.ts";
 * const parameters = initialise(lstmLayer(1, 1), random(1), () => zeros);
 * assert.deepEqual(lstm(tf.tensor3d([[[1], [2]]]), parameters).x.arraySync(), [[[0], [0]]]);
 * ```
 */
export function lstm(
  x: tf.Tensor3D,
  { weight_ih, weight_hh, bias_ih, bias_hh }: LSTMParameters,
  { state, reverse = false, masks, form = "operations" }: LSTMOptions = {},
): { x: tf.Tensor3D; state: LSTMState } {
  return tidy(() => {
    const hidden = weight_hh.shape[1];
    const start = state ??
      { h: tf.zeros<tf.Rank.R2>([x.shape[0], hidden]), c: tf.zeros<tf.Rank.R2>([x.shape[0], hidden]) };
    if (form === "cells" && backend.name === "tensorflow") {
      const steps = x.shape[1];
      const both = lstmSequence({
        x: reverse ? tf.reverse(x, 1) : x,
        ...{ inputWeight: weight_ih, hiddenWeight: weight_hh, bias: tf.add<tf.Tensor1D>(bias_ih, bias_hh) },
        ...{ h: start.h, c: start.c, keptH: masks?.h, keptC: masks?.c },
      });
      const run = both.slice([0, 0, 0], [-1, steps, -1]);
      const [h, c] = [run, both].map((all) => {
        return all.slice([0, all.shape[1]! - 1, 0], [-1, 1, -1]).reshape([x.shape[0], hidden]) as tf.Tensor2D;
      });
      const given = masks ? run.mul<tf.Tensor3D>(masks.output.expandDims(1)) : run;
      return {
        x: reverse ? tf.reverse(given, 1) : given,
        state: masks ? { h: h.mul<tf.Tensor2D>(masks.h), c: c.mul<tf.Tensor2D>(masks.c) } : { h, c },
      };
    }
    const inputs = linear(x, { weight: weight_ih, bias: tf.add<tf.Tensor1D>(bias_ih, bias_hh) }); // all steps at once
    const [last, outputs] = scan<LSTMState, tf.Tensor, tf.Tensor>(
      ({ h, c }, input) => {
        const gates = tf.add(input, linear(h, { weight: weight_hh }));
        const [i, f, g, o] = tf.split(gates, 4, 1);
        const cell = f.sigmoid().mul(c).add<tf.Tensor2D>(i.sigmoid().mul(g.tanh()));
        const next = o.sigmoid().mul<tf.Tensor2D>(cell.tanh());
        if (!masks) return [{ h: next, c: cell }, next];
        return [{ h: next.mul(masks.h), c: cell.mul(masks.c) }, next.mul(masks.output)];
      },
      start,
      inputs,
      { axis: 1, reverse },
    );
    return { x: outputs as tf.Tensor3D, state: last };
  });
}
