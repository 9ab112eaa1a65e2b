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
import {
  averageDecay,
  type CausalTransformerParameters,
  classWeights,
  ctRepresentation,
  domainConfusion,
  fixedPositions,
  relativePositions,
  rollOut,
  type StreamAttention,
  streamAttention,
} from "../../experiments/tumour/models/causal_transformer.ts";
import { confusionError, risingAlpha, treatmentError } from "../../experiments/tumour/models/parts.ts";
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
  "ct.domain_confusion_step": ({ params, inputs, outputs }) => {
    const parameters = weightsOf<CRNParameters>(inputs.weights);
    const averaged = params.weights_ema ? weightsOf<CRNParameters>(inputs.ema_weights) : undefined;
    const batch = batchOfCase(inputs);
    const alpha = tf.scalar(number(params.alpha));
    const variables = [...flatten(parameters).values()] as tf.Variable[];
    for (const [group, optimizer] of [["outcome", "optimizer_0"], ["classifier", "optimizer_1"]] as const) {
      const expected = outputs[optimizer] as GoldenCase["outputs"];
      const { value, grads } = tf.variableGrads(
        () => {
          const represent = (batch: Batch, p: CRNParameters) => crnRepresentation(batch, p);
          return domainConfusion(batch, parameters, averaged, alpha, represent, { classifierToo: true })[group];
        },
        variables,
      );
      assertClose(value.arraySync(), expected.loss, `${optimizer}.loss`);
      compareGradients(parameters, grads, expected.grads);
    }
  },
  "ct.losses": ({ inputs, outputs }) => {
    const logits = tensor3(inputs.logits);
    const weights = tf.tensor1d(inputs.class_weights as number[]);
    assertClose(treatmentError(logits, tensor3(inputs.treatments), weights).arraySync(), outputs.predict, "predict");
    assertClose(confusionError(logits).arraySync(), outputs.confuse, "confuse");
  },
  "ct.class_weights": ({ inputs, outputs }) => {
    const [currentTreatments, active] = [tensor3(inputs.current_treatments), tensor3(inputs.active_entries)];
    assertClose(classWeights({ currentTreatments, active }).arraySync(), outputs.weights, "weights");
  },
  "ct.alpha_rise": ({ params, outputs }) => {
    const epochs = number(params.max_epochs);
    const values = Array.from({ length: epochs }, (_, e) => risingAlpha(e + 1, epochs, number(params.alpha_max)));
    assertClose(values, outputs.alpha_after_epoch, "alpha_after_epoch");
    assertClose(risingAlpha(0, epochs), 0, "the first epoch");
  },
  "ct.weights_ema": ({ params, inputs, outputs }) => {
    const [start, ...values] = inputs.values as number[][];
    let average = start;
    const averages = values.map((row, k) => {
      const decay = averageDecay(k + 1, number(params.beta));
      return average = average.map((value, i) => decay * value + (1 - decay) * row[i]);
    });
    assertClose(averages, outputs.shadow_after_update, "shadow_after_update");
  },
  "ct.relative_position_embedding": ({ params, inputs, outputs }) => {
    const [queries, keys] = [number(params.length_q), number(params.length_k)];
    const table = params.trainable
      ? tf.tensor2d(inputs.table as number[][])
      : fixedPositions(number(params.max_relative_position), number(params.dim));
    assertClose(relativePositions(queries, keys, table).arraySync(), outputs.embeddings, "embeddings");
  },
  "ct.attention": ({ params, inputs, outputs }) => {
    const [query, key] = [tensor3(inputs.query), tensor3(inputs.key)];
    const table = (name: string) =>
      relativePositions(query.shape[1], key.shape[1], tf.tensor2d(inputs[name] as number[][]));
    const { output, attention } = streamAttention(
      query,
      key,
      weightsOf<StreamAttention>(inputs.weights),
      { keys: table("table_k"), values: table("table_v") },
      {
        heads: number(params.num_heads),
        causal: params.one_direction === true,
        mask: inputs.mask ? tf.tensor4d(inputs.mask as number[][][][]) : undefined,
      },
    );
    assertClose(attention.arraySync(), outputs.attention, "attention");
    assertClose(output.arraySync(), outputs.output, "output");
  },
  "ct.forward": ({ params, inputs, outputs }) => {
    const parameters = weightsOf<CausalTransformerParameters>(inputs.weights);
    const batch = batchOfCase(inputs);
    const { vitals, future_past_split } = inputs.batch as { vitals?: number[][][]; future_past_split?: number[] };
    const br = ctRepresentation(batch, parameters, {
      heads: number(params.num_heads),
      ...(vitals ? { vitals: { values: tensor3(vitals), until: future_past_split! } } : {}),
    });
    const head = parameters.br_treatment_outcome_head;
    assertClose(br.arraySync(), outputs.br, "br");
    assertClose(treatmentLogits(br, head).arraySync(), outputs.treatment_logits, "treatment_logits");
    assertClose(outcomeOf(br, batch.currentTreatments, head).arraySync(), outputs.outcome, "outcome");
  },
  "ct.autoregressive": ({ params, inputs, outputs }) => {
    const parameters = weightsOf<CausalTransformerParameters>(inputs.weights);
    const { future_past_split } = inputs.batch as { future_past_split: number[] };
    const horizon = number(params.projection_horizon);
    const { predictions, prevOutputs } = rollOut(batchOfCase(inputs), future_past_split, horizon, (batch) => {
      const br = ctRepresentation(batch, parameters, { heads: number(params.num_heads) });
      return outcomeOf(br, batch.currentTreatments, parameters.br_treatment_outcome_head);
    });
    assertClose(predictions.arraySync(), outputs.predictions, "predictions");
    assertClose(prevOutputs.arraySync(), outputs.prev_outputs_after, "prev_outputs_after");
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
