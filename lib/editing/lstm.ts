/**
 * A plain LSTM as sequence encoder: cheap, and what the models of the tumour benchmark stand on.
 *
 * Hochreiter and Schmidhuber, "Long Short-Term Memory", Neural Computation 9 (8), 1997, doi:10.1162/neco.1997.9.8.1735. Not
 * part of the CLEF paper: a control for what the encoder contributes. Its tokens are those of the Transformer, the record
 * plus its time.
 *
 * @module
 */
import { lstm, lstmLayer, type LSTMParameters } from "../nn/mod.ts";
import { tf, tidy } from "../tensor/mod.ts";
import { atLength, type EncoderInput, type EncoderRun } from "./encoder.ts";
import { dense, join, linearSpec, normalise, normSpec, type Specs, weightOf, type Weights } from "./parameters.ts";
import { embedTime, type TimeEncoding, timeSpec } from "./time_embedding.ts";

/** The sizes of the LSTM. */
export interface LSTMEncoder {
  readonly kind: "lstm";
  /** Numbers in its state. */
  readonly hidden: number;
}

/** Its parameters. */
export function lstmSpec({ hidden }: LSTMEncoder, width: number, time: TimeEncoding): Specs {
  const layer = Object.entries(lstmLayer(width, hidden)).map(([name, part]) => [`encoder.lstm.${name}`, part]);
  return join(
    Object.fromEntries(layer),
    linearSpec("encoder.decoder", hidden, width),
    timeSpec("encoder.pos_encoder", width, time),
    normSpec("encoder.layer_norm", width),
  );
}

/** Encodes histories: [batch, variables]. */
export function encodeLSTM(input: EncoderInput, weights: Weights, run: EncoderRun): tf.Tensor2D {
  return tidy(() => {
    const time = embedTime(input, weights, { prefix: "encoder.pos_encoder", time: run.time, positions: run.records });
    const tokens = normalise(tf.add<tf.Tensor3D>(input.x, time), weights, "encoder.layer_norm");
    const parameters = Object.fromEntries(
      ["weight_ih", "weight_hh", "bias_ih", "bias_hh"].map((name) => [name, weightOf(weights, `encoder.lstm.${name}`)]),
    ) as unknown as LSTMParameters;
    return dense(atLength(lstm(tokens, parameters).x, input.length), weights, "encoder.decoder");
  });
}
