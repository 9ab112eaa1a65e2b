/**
 * Counterfactual Recurrent Network (CRN): an LSTM whose representation of the history is trained to predict the next outcome
 * and, by a reversed gradient, not to predict the next treatment.
 *
 * Bica, Alaa, Jordon and van der Schaar, "Estimating Counterfactual Treatment Outcomes over Time Through Adversarially
 * Balanced Representations", ICLR 2020, arXiv:2002.04083; as in Melnychuk et al., ICML 2022, arXiv:2204.07258. Golden cases
 * `crn.encoder`, `crn.decoder`, `crn.decoder_autoregressive`, `crn.gradient_reversal_step`.
 *
 * @module
 */
import { tf, tidy } from "../../../lib/tensor/mod.ts";
import {
  balancedHead,
  type BalancedHeadParameters,
  type Batch,
  type HeadSizes,
  outcomeOf,
  overActive,
  recurrentLayers,
  type RecurrentParameters,
  representation,
  reverseGradient,
  squaredError,
  treatmentError,
  treatmentLogits,
  variationalLSTM,
  type VariationalOptions,
} from "./parts.ts";

/** Parameters of the encoder, and of the decoder. */
export interface CRNParameters {
  readonly lstm: RecurrentParameters;
  readonly br_treatment_outcome_head: BalancedHeadParameters;
}

/** Describes a CRN: its LSTM reads the previous treatment (4), the volume and the patient's type. */
export function crnLayers(sizes: HeadSizes & { readonly layers?: number }) {
  const { treatments = 4, hidden, layers = 1 } = sizes;
  return {
    lstm: recurrentLayers(treatments + 2, hidden, layers),
    br_treatment_outcome_head: balancedHead(sizes),
  };
}

/** What an LSTM of the history reads: previous treatment, volume, and the patient's type at each step. */
export function historyInput({ prevTreatments, prevOutputs, staticFeatures }: Batch): tf.Tensor3D {
  const steps = prevOutputs.shape[1];
  return tf.concat(
    [prevTreatments, prevOutputs, tf.tile(staticFeatures.expandDims(1), [1, steps, 1])],
    2,
  ) as tf.Tensor3D;
}

/** The balanced representation at each step, [rows, steps, br]. */
export function crnRepresentation(
  batch: Batch,
  { lstm, br_treatment_outcome_head: head }: CRNParameters,
  options?: VariationalOptions,
): tf.Tensor3D {
  return tidy(() => representation(variationalLSTM(historyInput(batch), lstm, options), head));
}

/** What a training step minimises. */
export interface CRNLoss {
  readonly loss: tf.Scalar;
  readonly mse: tf.Scalar;
  readonly crossEntropy: tf.Scalar;
}

/**
 * Squared error of the outcome and cross-entropy of the treatment, of which the gradient is reversed below the head.
 *
 * @param alpha How much of the reversed gradient reaches the representation; 0: none, the CRN without balancing.
 */
export function crnLoss(
  batch: Batch,
  parameters: CRNParameters,
  alpha: tf.Scalar,
  options?: VariationalOptions,
): Record<keyof CRNLoss, tf.Scalar> {
  const head = parameters.br_treatment_outcome_head;
  const br = crnRepresentation(batch, parameters, options);
  const logits = treatmentLogits(reverseGradient(br, alpha), head);
  const mse = squaredError(outcomeOf(br, batch.currentTreatments, head), batch);
  const crossEntropy = overActive(treatmentError(logits, batch.currentTreatments), batch);
  return { loss: mse.add(crossEntropy), mse, crossEntropy };
}

/**
 * A decoder that goes on from its own predictions.
 *
 * @param batch `steps` days of planned treatment; of `prevOutputs` only the first is looked at.
 * @returns [rows, steps, 1]
 */
export function decodeOnwards(batch: Batch, predict: (batch: Batch) => tf.Tensor3D): tf.Tensor3D {
  return tidy(() => {
    const steps = batch.prevOutputs.shape[1];
    const known: tf.Tensor3D[] = [batch.prevOutputs.slice([0, 0, 0], [-1, 1, -1])];
    for (let s = 0; s < steps; s++) {
      const part = Object.fromEntries(
        Object.entries(batch).map(([name, tensor]) => {
          return [name, name === "staticFeatures" ? tensor : (tensor as tf.Tensor).slice([0, 0, 0], [-1, s + 1, -1])];
        }),
      ) as unknown as Batch;
      const predicted = predict({ ...part, prevOutputs: tf.concat(known, 1) });
      known.push(predicted.slice([0, s, 0], [-1, 1, -1]));
    }
    return tf.concat(known.slice(1), 1);
  });
}
