/**
 * A plain LSTM as sequence encoder: cheap, and what the models of the tumour benchmark stand on.
 *
 * Hochreiter and Schmidhuber, "Long Short-Term Memory", Neural Computation 9 (8), 1997, doi:10.1162/neco.1997.9.8.1735; the
 * layout of weights and the order of gates (input, forget, cell, output) are PyTorch's. Not part of the CLEF paper: a control
 * for what the encoder contributes. Its tokens are those of the Transformer, the record plus its time.
 *
 * @module
 */
import { scan, tf, tidy } from "../tensor/mod.ts";
import { atLength, type EncoderInput, type EncoderRun } from "./encoder.ts";
import {
  dense,
  linearSpec,
  normalise,
  normSpec,
  type ParameterSpec,
  torchUniform,
  weightOf,
  type Weights,
} from "./parameters.ts";
import { embedTime, type TimeEncoding, timeSpec } from "./time_embedding.ts";

/** The sizes of the LSTM. */
export interface LSTMEncoder {
  readonly kind: "lstm";
  /** Numbers in its state. */
  readonly hidden: number;
}

/** Its parameters. */
export function lstmSpec({ hidden }: LSTMEncoder, width: number, time: TimeEncoding): ParameterSpec[] {
  const draw = torchUniform(hidden);
  return [
    { name: "encoder.lstm.weight_ih_l0", shape: [4 * hidden, width], draw },
    { name: "encoder.lstm.weight_hh_l0", shape: [4 * hidden, hidden], draw },
    { name: "encoder.lstm.bias_ih_l0", shape: [4 * hidden], draw },
    { name: "encoder.lstm.bias_hh_l0", shape: [4 * hidden], draw },
    ...linearSpec("encoder.decoder", hidden, width),
    ...timeSpec("encoder.pos_encoder", width, time),
    ...normSpec("encoder.layer_norm", width),
  ];
}

/** Encodes histories: [batch, variables]. */
export function encodeLSTM(input: EncoderInput, weights: Weights, run: EncoderRun): tf.Tensor2D {
  const batch = input.x.shape[0];
  return tidy(() => {
    const time = embedTime(input, weights, { prefix: "encoder.pos_encoder", time: run.time, positions: run.records });
    const tokens = normalise(tf.add<tf.Tensor3D>(input.x, time), weights, "encoder.layer_norm");
    const get = (part: string) => weightOf<tf.Tensor2D>(weights, `encoder.lstm.${part}_l0`);
    const [batchSize, records, width] = tokens.shape;
    const hidden = get("weight_hh").shape[1];
    const fromBelow = tf.matMul(
      tokens.reshape<tf.Tensor2D>([batchSize * records, width]),
      get("weight_ih"),
      false,
      true,
    )
      .add(get("bias_ih")).add(get("bias_hh")).reshape<tf.Tensor3D>([batchSize, records, 4 * hidden]);
    const step = (
      { h, c }: { h: tf.Tensor2D; c: tf.Tensor2D },
      x: tf.Tensor,
    ): [{ h: tf.Tensor2D; c: tf.Tensor2D }, tf.Tensor] => {
      const gates = x.add(tf.matMul(h, get("weight_hh"), false, true));
      const [i, f, g, o] = tf.split(gates, 4, 1) as tf.Tensor2D[];
      const cell = tf.add<tf.Tensor2D>(f.sigmoid().mul(c), i.sigmoid().mul(g.tanh()));
      const out = tf.mul<tf.Tensor2D>(o.sigmoid(), cell.tanh());
      return [{ h: out, c: cell }, out];
    };
    const zero = tf.zeros<tf.Rank.R2>([batch, hidden]);
    const [, outputs] = scan(step, { h: zero, c: zero }, fromBelow as tf.Tensor, { axis: 1 });
    return dense(atLength(outputs as tf.Tensor3D, input.length), weights, "encoder.decoder");
  });
}
