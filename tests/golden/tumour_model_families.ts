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
  seenBy,
  type StreamAttention,
  streamAttention,
} from "../../experiments/tumour/models/causal_transformer.ts";
import { gnetLoss, gnetOutcome, type GNetParameters, monteCarlo } from "../../experiments/tumour/models/gnet.ts";
import {
  fitMSM,
  fitPropensities,
  msmOneStep,
  msmSequences,
  msmWeights,
  propensityScores,
} from "../../experiments/tumour/models/msm.ts";
import {
  cumulativeWeights,
  decoderWeights,
  encoderWeights,
  propensityLoss,
  type RMSNKind,
  type RMSNParameters,
  runRMSN,
  stabilizedWeights,
  weightedLoss,
} from "../../experiments/tumour/models/rmsn.ts";
import type { TumourTensors } from "../../lib/data/mod.ts";
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
        seen: seenBy(
          inputs.mask ? tf.tensor4d(inputs.mask as number[][][][]) : undefined,
          [query.shape[0], number(params.num_heads), query.shape[1], key.shape[1]],
          params.one_direction === true,
        ),
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
  "rmsn.network": ({ params, inputs, outputs }) => {
    const kind = String(params.kind).replace("propensity_", "") as RMSNKind;
    const batch = batchOfCase(inputs);
    const given = inputs.batch as Record<string, number[][]>;
    const parameters = weightsOf<RMSNParameters>(inputs.weights);
    const { output, r } = runRMSN(kind, batch, parameters, { initState: initStateOf(inputs) });
    if (kind === "treatment" || kind === "history") {
      assertClose(output.arraySync(), outputs.logits, "logits");
      assertClose(output.sigmoid().arraySync(), outputs.probabilities, "probabilities");
      assertClose(propensityLoss(output, batch).arraySync(), outputs.loss, "loss");
      return;
    }
    assertClose(output.arraySync(), outputs.outcome, "outcome");
    if (outputs.r) assertClose(r.arraySync(), outputs.r, "r");
    const weights = tf.tensor2d(given.sw_tilde_enc ?? given.sw_tilde_dec);
    assertClose(weightedLoss(output, batch, weights).arraySync(), outputs.weighted_loss, "weighted_loss");
  },
  "rmsn.decoder_autoregressive": ({ inputs, outputs }) => {
    const parameters = weightsOf<RMSNParameters>(inputs.weights);
    const initState = initStateOf(inputs);
    const predicted = decodeOnwards(
      batchOfCase(inputs),
      (batch) => runRMSN("decoder", batch, parameters, { initState }).output,
    );
    assertClose(predicted.arraySync(), outputs.predictions, "predictions");
  },
  "rmsn.stabilized_weights": ({ params, inputs, outputs }) => {
    const scores = inputs.propensity_treatment as number[][][];
    const [rows, steps, treatments] = [scores.length, scores[0].length, scores[0][0].length];
    const active = (inputs.active_entries as number[][][]).flat(2);
    const weights = stabilizedWeights({
      ...{ rows, steps, treatments, treatment: scores.flat(2) },
      history: (inputs.propensity_history as number[][][]).flat(2),
    }, { parity: true });
    const matrix = (values: Float64Array) => {
      const width = values.length / rows;
      return Array.from({ length: rows }, (_, row) => [...values.slice(row * width, (row + 1) * width)]);
    };
    assertClose(matrix(weights), outputs.stabilized_weights, "stabilized_weights");
    if (params.form === "encoder") {
      assertClose(matrix(encoderWeights(weights, active)), outputs.sw_tilde, "sw_tilde");
      return;
    }
    const cumulative = cumulativeWeights(weights, rows, steps);
    assertClose(matrix(cumulative), outputs.cumulative, "cumulative");
    assertClose(matrix(decoderWeights(cumulative, active, steps - 1)), outputs.sw_tilde, "sw_tilde");
  },
  "gnet.forward": ({ inputs, outputs }) => {
    const parameters = weightsOf<GNetParameters>(inputs.weights);
    const batch = batchOfCase(inputs);
    const { vitals, next_vitals } = inputs.batch as { vitals?: unknown; next_vitals?: unknown };
    const values = vitals ? { vitals: tensor3(vitals) } : {};
    assertClose(gnetOutcome(batch, parameters, values).arraySync(), outputs.outcome_vitals, "outcome_vitals");
    const both = vitals ? { vitals: { values: tensor3(vitals), next: tensor3(next_vitals) } } : {};
    assertClose(gnetLoss(batch, parameters, both).arraySync(), outputs.loss, "loss");
  },
  "gnet.monte_carlo": ({ params, inputs, outputs }) => {
    const parameters = weightsOf<GNetParameters>(inputs.weights);
    const { future_past_split: splits } = inputs.batch as { future_past_split: number[] };
    const samples = number(params.mc_samples);
    const index = inputs.residual_index as number[][];
    const predictions = monteCarlo(
      batchOfCase(inputs),
      { values: tensor3(inputs.holdout_residuals), length: inputs.holdout_lengths as number[] },
      {
        ...{ splits, samples, horizon: number(params.projection_horizon) },
        draw: (step, sample) => index[step * samples + sample],
      },
      (batch) => gnetOutcome(batch, parameters),
    );
    assertClose(predictions.arraySync(), outputs.predictions, "predictions");
  },
  "msm.regression": ({ params, inputs, outputs }) => {
    const [train, test] = [inputs.train, inputs.test].map(tensorsOfCase);
    const weights = (inputs.train as { stabilized_weights: number[][] }).stabilized_weights.flat();
    const horizon = number(params.projection_horizon);
    const model = fitMSM(train, weights, horizon);
    model.regressions.forEach(({ coefficients, intercept, design, weights }, ahead) => {
      const of = (name: string) => (outputs[name] as unknown[])[ahead];
      assertClose(design.slice(0, 3), of("design_first_rows"), "design_first_rows");
      assertClose([...weights], of("sample_weights"), "sample_weights");
      assertClose([...coefficients], of("coefficients"), "coefficients");
      assertClose(intercept, of("intercepts"), "intercepts");
    });
    assertClose(nested(msmOneStep(test, model, { parity: true }), test.steps), outputs.one_step, "one_step");
    const sequences = msmSequences(test, model, horizon, { parity: true });
    // the case's rows end where the horizon does
    assertClose(nested(sequences, horizon), outputs.multi_step, "multi_step");
  },
  "msm.propensity": ({ inputs, outputs }) => {
    const train = tensorsOfCase(inputs.train);
    const models = fitPropensities(train);
    for (const which of ["treatment", "history"] as const) {
      const expected = outputs[`propensity_${which}`] as GoldenCase["outputs"];
      const close = (actual: unknown, name: string) =>
        assertClose(actual, expected[name], `propensity_${which}.${name}`, 1e-3); // see SOURCE.md
      close(models[which].map(({ coefficients }) => [...coefficients]), "coefficients");
      close(models[which].map(({ intercept }) => intercept), "intercepts");
      const scores = nested(propensityScores(train, models[which]), train.treatments).map((pair) => pair.flat());
      close(
        Array.from({ length: train.rows }, (_, row) => scores.slice(row * train.steps, (row + 1) * train.steps)),
        "scores",
      );
    }
    const weights = nested(msmWeights(train, models, { parity: true }), train.steps).map((row) => row.flat());
    assertClose(weights, outputs.stabilized_weights, "stabilized_weights", 1e-3);
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

/** Rows of a case as typed arrays. */
function tensorsOfCase(given: unknown): TumourTensors {
  const rows = given as Record<string, number[][][]>;
  const floats = (name: string) => Float32Array.from(rows[name].flat(2));
  return {
    ...{ rows: rows.outputs.length, steps: rows.outputs[0].length, treatments: rows.current_treatments[0][0].length },
    ...{ prevTreatments: floats("prev_treatments"), currentTreatments: floats("current_treatments") },
    ...{ prevOutputs: floats("prev_outputs"), outputs: floats("outputs"), unscaledOutputs: floats("outputs") },
    ...{ staticFeatures: floats("static_features"), active: floats("active_entries") },
    length: Int32Array.from(rows.sequence_lengths as unknown as number[]),
  };
}

/** [rows, width, 1] */
function nested(values: Float64Array, width: number): number[][][] {
  const all = Array.from(values, (value) => [value]);
  return Array.from({ length: all.length / width }, (_, row) => all.slice(row * width, (row + 1) * width));
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
  return entries.every(([key], place) => key === String(place))
    ? entries.map(([, item]) => item)
    : Object.fromEntries(entries);
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
