/**
 * How the golden cases of the models of the tumour benchmark (`crn.*`, `ct.*`, `gnet.*`, `rmsn.*`, `msm.*`) are computed
 * here.
 *
 * @module
 */
import { crnLoss, type CRNParameters, crnRepresentation, decodeOnwards } from "../../experiments/tumour/models/crn.ts";
import {
  type Batch,
  outcomeOf,
  type RecurrentParameters,
  treatmentLogits,
  variationalLSTM,
} from "../../experiments/tumour/models/parts.ts";
import { lstm } from "../../lib/nn/mod.ts";
import { flatten, tf } from "../../lib/tensor/mod.ts";
import { assertClose, type GoldenCase } from "./cases.ts";
import { type Family, number, tensor3 } from "./model_cases.ts";

export const tumourModelFamilies: Readonly<Record<string, Family>> = {
  "crn.variational_lstm": ({ params, inputs, outputs }) => {
    const { lstm_layers } = weightsOf<RecurrentParameters>(inputs.weights);
    const x = tensor3(inputs.x);
    const initState = inputs.init_states ? tf.tensor2d(inputs.init_states as number[][]) : undefined;
    if (!inputs.masks) {
      assertClose(variationalLSTM(x, { lstm_layers }, { initState }).arraySync(), outputs.output, "output");
      return;
    }
    const stays = 1 - number(params.dropout_rate);
    const layers = inputs.masks as number[][][][];
    for (const form of ["operations", "cells"] as const) {
      const output = lstm_layers.reduce((input, layer, k) => {
        const [output, h, c] = layers[k].map((mask) => tf.tensor2d(mask).div<tf.Tensor2D>(stays));
        return lstm(input, layer, { masks: { output, h, c }, form }).x;
      }, x);
      assertClose(output.arraySync(), outputs.output, `output, ${form}`);
    }
  },
  "crn.encoder": (entry) => compareCRN(entry),
  "crn.decoder": (entry) => compareCRN(entry),
  "crn.decoder_autoregressive": ({ inputs, outputs }) => {
    const parameters = weightsOf<CRNParameters>(inputs.weights);
    const initState = initStateOf(inputs);
    const predicted = decodeOnwards(batchOfCase(inputs), (batch) => {
      const br = crnRepresentation(batch, parameters, { initState });
      return outcomeOf(br, batch.currentTreatments, parameters.br_treatment_outcome_head);
    });
    assertClose(predicted.arraySync(), outputs.predictions, "predictions");
  },
  "crn.gradient_reversal_step": ({ params, inputs, outputs }) => {
    const parameters = weightsOf<CRNParameters>(inputs.weights);
    const batch = batchOfCase(inputs);
    const { value, grads } = tf.variableGrads(() => crnLoss(batch, parameters, tf.scalar(number(params.alpha))).loss);
    const { mse, crossEntropy } = crnLoss(batch, parameters, tf.scalar(number(params.alpha)));
    assertClose(value.arraySync(), outputs.loss, "loss");
    assertClose(
      [mse.arraySync(), crossEntropy.arraySync()],
      [outputs.mse, outputs.cross_entropy],
      "mse, cross_entropy",
    );
    compareGradients(parameters, grads, outputs.grads);
  },
};

function compareCRN({ inputs, outputs }: GoldenCase): void {
  const parameters = weightsOf<CRNParameters>(inputs.weights);
  const batch = batchOfCase(inputs);
  const head = parameters.br_treatment_outcome_head;
  const br = crnRepresentation(batch, parameters, { initState: initStateOf(inputs) });
  assertClose(br.arraySync(), outputs.br, "br");
  assertClose(treatmentLogits(br, head).arraySync(), outputs.treatment_logits, "treatment_logits");
  assertClose(outcomeOf(br, batch.currentTreatments, head).arraySync(), outputs.outcome, "outcome");
}

/** The batch of a case. */
export function batchOfCase(inputs: GoldenCase["inputs"]): Batch {
  const given = inputs.batch as Record<string, unknown>;
  return {
    prevTreatments: tensor3(given.prev_treatments),
    currentTreatments: tensor3(given.current_treatments),
    prevOutputs: tensor3(given.prev_outputs),
    outputs: tensor3(given.outputs),
    active: tensor3(given.active_entries),
    staticFeatures: tf.tensor2d(given.static_features as number[][]),
  };
}

function initStateOf(inputs: GoldenCase["inputs"]): tf.Tensor2D | undefined {
  const { init_state } = inputs.batch as { init_state?: number[][] };
  return init_state && tf.tensor2d(init_state);
}

/** Weights by their dotted names, as nested variables; a number in a name is a place in a list. */
export function weightsOf<P extends object>(weights: unknown): P {
  const root: Record<string, unknown> = {};
  for (const [name, values] of Object.entries(weights as Record<string, number[]>)) {
    const keys = name.split(".");
    let at = root;
    for (const key of keys.slice(0, -1)) at = (at[key] ??= {}) as Record<string, unknown>;
    at[keys.at(-1)!] = tf.variable(tf.tensor(values, undefined, "float32"));
  }
  return listed(root) as P;
}

function listed(value: unknown): unknown {
  if (value instanceof tf.Tensor || typeof value !== "object" || value === null) return value;
  const entries = Object.entries(value).map(([key, item]): [string, unknown] => [key, listed(item)]);
  return entries.every(([key]) => /^\d+$/.test(key)) ? entries.map(([, item]) => item) : Object.fromEntries(entries);
}

/** Gradients that the case does not list are exactly 0, or not there. */
export function compareGradients(parameters: object, grads: tf.NamedTensorMap, expected: unknown): void {
  const listed = expected as Record<string, unknown>;
  for (const [name, variable] of flatten(parameters)) {
    const found = grads[(variable as tf.Variable).name];
    if (name in listed) {
      if (!found) throw new Error(`grads.${name}: there is none, but one is expected`);
      assertClose(found.arraySync(), listed[name], `grads.${name}`);
    } else if (found && found.abs().max().arraySync() as number > 1e-9) {
      throw new Error(`grads.${name}: none is expected, but there is one`);
    }
  }
}
