/**
 * Long short-term memory: a recurrent layer whose cell forgets and remembers by gates.
 *
 * Hochreiter and Schmidhuber, "Long Short-Term Memory", Neural Computation 9 (1997); with the forget gate of Gers,
 * Schmidhuber and Cummins, "Learning to Forget", Neural Computation 12 (2000). Parameters and their order (input gate,
 * forget gate, cell, output gate) are those of `nn.LSTMCell`.
 *
 * @module
 */
import { scan, tf, tidy } from "../tensor/mod.ts";
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
  { state, reverse = false }: LSTMOptions = {},
): { x: tf.Tensor3D; state: LSTMState } {
  return tidy(() => {
    const hidden = weight_hh.shape[1];
    const start = state ??
      { h: tf.zeros<tf.Rank.R2>([x.shape[0], hidden]), c: tf.zeros<tf.Rank.R2>([x.shape[0], hidden]) };
    const inputs = linear(x, { weight: weight_ih, bias: tf.add<tf.Tensor1D>(bias_ih, bias_hh) }); // all steps at once
    const [last, outputs] = scan<LSTMState, tf.Tensor, tf.Tensor>(
      ({ h, c }, input) => {
        const gates = tf.add(input, linear(h, { weight: weight_hh }));
        const [i, f, g, o] = tf.split(gates, 4, 1);
        const cell = f.sigmoid().mul(c).add<tf.Tensor2D>(i.sigmoid().mul(g.tanh()));
        const next = o.sigmoid().mul<tf.Tensor2D>(cell.tanh());
        return [{ h: next, c: cell }, next];
      },
      start,
      inputs,
      { axis: 1, reverse },
    );
    return { x: outputs as tf.Tensor3D, state: last };
  });
}
