/**
 * Recurrent Marginal Structural Network (RMSN): two LSTMs say how likely each treatment was, from past treatments alone and
 * from the whole history; their quotient weighs the errors of a third, so that it learns as if treatment had been random.
 *
 * Lim, Alaa and van der Schaar, "Forecasting Treatment Responses Over Time Using Recurrent Marginal Structural Networks",
 * NeurIPS 2018; as in Melnychuk et al., ICML 2022, arXiv:2204.07258. Golden cases `rmsn.*`. The code divides probabilities of
 * being treated, whatever was given (`parity: true`); the paper, and our default, those of what was given.
 *
 * @module
 */
import { linear, type LinearDescription, linearLayer, type LinearParameters } from "../../../lib/nn/mod.ts";
import { quantiles } from "../../../lib/stats.ts";
import { tf, tidy } from "../../../lib/tensor/mod.ts";
import {
  type Batch,
  overActive,
  recurrentLayers,
  type RecurrentParameters,
  variationalLSTM,
  type VariationalOptions,
} from "./parts.ts";

/** What one of RMSN's networks reads and predicts. */
export type RMSNKind = "treatment" | "history" | "encoder" | "decoder";

/** Parameters of one network. */
export interface RMSNParameters {
  /** Of the decoder: from the encoder's state to its own. */
  readonly memory_adapter?: LinearParameters;
  readonly lstm: RecurrentParameters;
  readonly output_layer: LinearParameters;
}

/** Numbers of a treatment: chemotherapy and radiotherapy, each given or not. */
const TREATMENTS = 2;
const INPUTS: Readonly<Record<RMSNKind, number>> = {
  treatment: TREATMENTS,
  history: TREATMENTS + 2,
  encoder: TREATMENTS + 2,
  decoder: TREATMENTS + 2,
};

/**
 * Describes one network.
 *
 * @param encoderHidden Of a decoder: the width of the encoder's state.
 */
export function rmsnLayers(kind: RMSNKind, hidden: number, encoderHidden = hidden): {
  memory_adapter?: LinearDescription;
  lstm: ReturnType<typeof recurrentLayers>;
  output_layer: LinearDescription;
} {
  return {
    ...(kind === "decoder" ? { memory_adapter: linearLayer(encoderHidden, hidden) } : {}),
    lstm: recurrentLayers(INPUTS[kind], hidden),
    output_layer: linearLayer(hidden, kind === "encoder" || kind === "decoder" ? 1 : TREATMENTS),
  };
}

/** What a network reads, [rows, steps, inputs]. */
export function rmsnInput(kind: RMSNKind, batch: Batch): tf.Tensor3D {
  const { prevTreatments, currentTreatments, prevOutputs, staticFeatures } = batch;
  if (kind === "treatment") return prevTreatments;
  const fixed = tf.tile(staticFeatures.expandDims(1), [1, prevOutputs.shape[1], 1]);
  switch (kind) {
    case "history":
      return tf.concat([prevTreatments, prevOutputs, fixed], 2) as tf.Tensor3D;
    case "encoder":
      return tf.concat([prevOutputs, currentTreatments, fixed], 2) as tf.Tensor3D;
    case "decoder":
      return tf.concat([currentTreatments, prevOutputs, fixed], 2) as tf.Tensor3D;
  }
}

/**
 * Logits of the treatments, or the next outcome, [rows, steps, outputs]; and what the LSTM gives.
 *
 * @param initState Of a decoder: the encoder's state at the origin.
 */
export function runRMSN(
  kind: RMSNKind,
  batch: Batch,
  { memory_adapter, lstm, output_layer }: RMSNParameters,
  { initState, drop }: VariationalOptions = {},
): { output: tf.Tensor3D; r: tf.Tensor3D } {
  return tidy(() => {
    const start = initState && memory_adapter ? linear(initState, memory_adapter) : initState;
    const r = variationalLSTM(rmsnInput(kind, batch), lstm, { initState: start, drop });
    return { output: linear(r, output_layer), r };
  });
}

/** Cross-entropy of each treatment given or not, mean over the treatments and the active entries. */
export function propensityLoss(logits: tf.Tensor3D, batch: Batch): tf.Scalar {
  const { currentTreatments: given } = batch;
  const each = tf.softplus(logits).sub(logits.mul(given)); // -log p of what was given
  return overActive(each.mean(2), batch);
}

/** Squared error, each entry by its weight [rows, steps]; divided by the number of active entries, not by the weights. */
export function weightedLoss(predicted: tf.Tensor3D, batch: Batch, weights: tf.Tensor2D): tf.Scalar {
  return overActive(predicted.sub(batch.outputs).square().squeeze([2]).mul(weights), batch);
}

/** Probabilities of the two networks, [rows, steps, treatments] each. */
export interface Propensities {
  readonly rows: number;
  readonly steps: number;
  readonly treatments: number;
  readonly treatment: ArrayLike<number>;
  readonly history: ArrayLike<number>;
  /** What was given, 0 or 1; absent with `parity`. */
  readonly given?: ArrayLike<number>;
}

/** How likely a treatment was by past treatments, over how likely by all that was known: [rows, steps]. */
export function stabilizedWeights(
  { rows, steps, treatments, treatment, history, given }: Propensities,
  { parity = false }: { readonly parity?: boolean } = {},
): Float64Array {
  if (!parity && !given) {
    throw new TypeError("weights are of the treatments that were given, but they are absent; pass given");
  }
  const of = (p: number, at: number) => parity || given![at] ? p : 1 - p; // the code takes p, whatever was given
  return Float64Array.from({ length: rows * steps }, (_, cell) => {
    let weight = 1;
    for (let k = 0; k < treatments; k++) {
      const at = cell * treatments + k;
      weight *= of(treatment[at], at) / of(history[at], at);
    }
    return weight;
  });
}

/** Weights of the encoder: between their 1 % and 99 % quantiles over the active entries, 1 on average; 0 elsewhere. */
export function encoderWeights(weights: Float64Array, active: ArrayLike<number>): Float64Array {
  const counted = weights.filter((_, at) => active[at] > 0);
  const clipped = clippedTo(weights, counted);
  let sum = 0;
  for (let at = 0; at < clipped.length; at++) sum += active[at] > 0 ? clipped[at] : 0;
  return clipped.map((weight, at) => active[at] > 0 ? weight * counted.length / sum : 0);
}

/** Weights of a decoder: of a window that starts one step before the origin, [rows, steps], the first column drops out. */
export function cumulativeWeights(weights: Float64Array, rows: number, steps: number): Float64Array {
  const made = new Float64Array(rows * (steps - 1));
  for (let row = 0; row < rows; row++) {
    let product = weights[row * steps];
    for (let t = 1; t < steps; t++) made[row * (steps - 1) + t - 1] = product *= weights[row * steps + t];
  }
  return made;
}

/** Cumulative weights between their quantiles over all days ahead together; 1 on average on each day ahead. */
export function decoderWeights(cumulative: Float64Array, active: ArrayLike<number>, horizon: number): Float64Array {
  const clipped = clippedTo(cumulative, cumulative.filter((_, at) => active[at] > 0));
  const sums = new Float64Array(horizon), counts = new Float64Array(horizon);
  clipped.forEach((weight, at) => {
    if (active[at] <= 0) return;
    sums[at % horizon] += weight;
    counts[at % horizon]++;
  });
  return clipped.map((weight, at) => active[at] > 0 ? weight * counts[at % horizon] / sums[at % horizon] : 0);
}

/** Values between the 1 % and 99 % quantiles of those that count. */
export function clippedTo(values: Float64Array, counted: Float64Array): Float64Array {
  const [low, high] = quantiles(counted, [0.01, 0.99]);
  return values.map((value) => Math.min(high, Math.max(low, value)));
}
