/**
 * How the golden cases of the tumour benchmark (`cancer.*`, `nrmse.*`) are computed here.
 *
 * @module
 */
import {
  activeMoments,
  decoderTensors,
  explodedTensors,
  horizonTensors,
  type TreatmentMode,
  type TumourScaling,
  type TumourTensors,
  tumourTensors,
} from "../../lib/data/simulated/tumour_tensors.ts";
import {
  cohortFrom,
  fullPolicy,
  patientsFrom,
  treatmentProbability,
  tumourConstants,
  type TumourPatients,
  type TumourRows,
  tumourStages,
} from "../../lib/data/simulated/tumour.ts";
import {
  oneStepFrom,
  oneStepRows,
  type Planned,
  sequenceRows,
  sequencesFrom,
  slidingPlans,
  type TestDraws,
} from "../../lib/data/simulated/tumour_futures.ts";
import { horizonNRMSE, maskedNRMSE } from "../../experiments/tumour/metrics.ts";
import { assertClose, type GoldenCase } from "./cases.ts";
import { type Family, number } from "./model_cases.ts";

type Numbers = number | null | readonly Numbers[];

export const tumourFamilies: Readonly<Record<string, Family>> = {
  "cancer.generate_params": ({ params, inputs, outputs }) => {
    const patients = patientsFrom({
      stage: inputs.stage_uniforms as number[],
      diameter: (inputs.truncnorm_uniforms as number[][]).slice(0, -1),
      betaC: (inputs.truncnorm_uniforms as number[][]).at(-1)!,
      alphaRho: inputs.alpha_rho_pairs as [number, number][][],
      type: inputs.type_index as number[],
      order: inputs.permutation as number[],
    });
    const computed: Record<string, unknown> = {
      patient_types: [...patients.type],
      initial_volumes: [...patients.volume],
      alpha: [...patients.alpha],
      rho: [...patients.rho],
      beta: [...patients.beta],
      beta_c: [...patients.betaC],
      K: [...patients.capacity],
    };
    for (const [name, values] of Object.entries(computed)) assertClose(values, outputs[name], name);
    const stages = [...patients.stage].map((stage) => tumourStages[stage].name);
    if (stages.join() !== (outputs.initial_stages as string[]).join()) throw new Error(`stages: ${stages}`);
    const { window, lag, chemo, radio } = policyOf(params);
    assertClose([window, lag], [outputs.window_size, outputs.lag], "window and lag");
    // the policy's line, read off where it crosses one half and one unit further
    for (const [name, gamma] of [["chemo", chemo], ["radio", radio]] as const) {
      const intercept = (outputs[`${name}_sigmoid_intercepts`] as number[])[0];
      assertClose(treatmentProbability(gamma, intercept), 0.5, `${name} intercept`);
      const p = treatmentProbability(gamma, intercept + 1);
      assertClose(Math.log(p / (1 - p)), (outputs[`${name}_sigmoid_betas`] as number[])[0], `${name} slope`);
    }
  },
  "cancer.simulate_factual": ({ params, inputs, outputs }) => {
    compareCohort(cohortOf(inputs, policyOf(params), number(params.seq_length)), outputs);
  },
  "cancer.treatment_probabilities": ({ params, inputs, outputs }) => {
    for (const gamma of params.gammas as number[]) {
      const policy = fullPolicy({ gamma, window: number(params.window_size), lag: number(params.lag) });
      const expected = outputs[`gamma_${gamma.toFixed(1)}`] as GoldenCase["outputs"];
      compareCohort(cohortOf(inputs, policy, number(params.seq_length)), expected);
    }
  },
  "cancer.counterfactual_one_step": ({ params, inputs, outputs }) => {
    compareRows(oneStepRows(oneStepOf(inputs, params)), outputs);
  },
  "cancer.counterfactual_treatment_sequences": ({ params, inputs, outputs }) => {
    const test = sequencesOf(inputs, params);
    compareRows(sequenceRows(test), outputs);
    assertClose([...test.patient], outputs.patient_ids_all_trajectories, "patient_ids_all_trajectories");
    assertClose([...test.day], outputs.patient_current_t, "patient_current_t");
  },
  "cancer.test_set_one_step": ({ params, inputs, outputs }) => {
    const rows = oneStepRows(oneStepOf(inputs, params));
    compareRows(rows, outputs.raw as GoldenCase["outputs"]);
    const mode = params.treatment_mode as TreatmentMode;
    compareTensors(tumourTensors(rows, scalingOf(inputs), { mode }), outputs.tensors as GoldenCase["outputs"]);
  },
  "cancer.test_set_treatment_seq": ({ params, inputs, outputs }) => {
    const test = sequencesOf(inputs, params);
    const raw = outputs.raw as GoldenCase["outputs"];
    const rows = sequenceRows(test);
    compareRows(rows, raw);
    assertClose([...test.patient], raw.patient_ids_all_trajectories, "patient_ids_all_trajectories");
    assertClose([...test.day], raw.patient_current_t, "patient_current_t");
    const tensors = tumourTensors(rows, scalingOf(inputs), { mode: params.treatment_mode as TreatmentMode });
    const horizon = horizonTensors(tensors, number(params.projection_horizon));
    compareTensors(horizon, outputs.horizon_tensors as GoldenCase["outputs"]);
    assertClose([...horizon.step].map((step) => step + 1), outputs.future_past_split, "future_past_split");
  },
  "cancer.process_data": ({ params, inputs, outputs }) => {
    const data = inputs.data as Record<string, number[][]>;
    const rows = givenRows(data, "train");
    const doses: Record<string, unknown> = {}, spreads: Record<string, unknown> = {};
    for (const name of ["cancer_volume", "chemo_dosage", "radio_dosage"]) {
      const { mean, std } = activeMoments(data[name].flat(), rows);
      [doses[name], spreads[name]] = [mean, std];
    }
    const scaling = {
      volume: { mean: doses.cancer_volume as number, std: spreads.cancer_volume as number },
      type: activeMoments(rows.type, { ...rows, days: 1, length: new Int32Array(rows.rows).fill(1) }),
    };
    for (const [name, value] of Object.entries(outputs.means as object)) {
      assertClose(name === "patient_types" ? scaling.type.mean : doses[name], value, `means.${name}`);
    }
    for (const [name, value] of Object.entries(outputs.stds as object)) {
      assertClose(name === "patient_types" ? scaling.type.std : spreads[name], value, `stds.${name}`);
    }
    const tensors = tumourTensors(rows, scaling, { mode: params.treatment_mode as TreatmentMode });
    compareTensors(tensors, outputs.tensors as GoldenCase["outputs"]);
    const decoder = decoderTensors(tensors, number(params.projection_horizon));
    const expected = outputs.decoder_training as GoldenCase["outputs"];
    compareTensors(decoder, expected);
    assertClose([...decoder.source], expected.original_index, "original_index");
    assertClose(statesOf(decoder, inputs.encoder_r), expected.init_state, "init_state");
    const exploded = explodedTensors(tensors, number(params.min_length));
    compareTensors(exploded, outputs.exploded as GoldenCase["outputs"]);
    assertClose([...exploded.length], (outputs.exploded as GoldenCase["outputs"]).sequence_lengths, "exploded lengths");
  },
  "cancer.decoder_test_input": ({ params, inputs, outputs }) => {
    const rows = givenRows(inputs.data as Record<string, number[][]>, "test");
    const tensors = tumourTensors(rows, scalingOf(inputs), { mode: params.treatment_mode as TreatmentMode });
    const horizon = number(params.projection_horizon);
    const sequential = horizonTensors(tensors, horizon);
    const expected = outputs.sequential as GoldenCase["outputs"];
    compareTensors(sequential, expected);
    assertClose(statesOf(sequential, inputs.encoder_r), expected.init_state, "init_state");
    // the decoder starts from the encoder's own prediction, and goes on from its own
    const encoded = inputs.encoder_outputs as number[][][];
    const started = sequential.prevOutputs.map((_, at) =>
      at % horizon ? 0 : encoded[at / horizon][sequential.step[at / horizon]][0]
    );
    const last = { ...sequential, prevOutputs: started, active: new Float32Array(started.length).fill(1) };
    compareTensors(last, outputs.autoregressive as GoldenCase["outputs"]);
  },
  "nrmse.one_step": ({ params, inputs, outputs }) => {
    const { predictions, unscaled_outputs: truth, active_entries: active } = inputs as Record<string, number[][][]>;
    const [rows, steps] = [truth.length, truth[0].length];
    const errors = maskedNRMSE({
      ...{ rows, steps, predicted: unscaled(predictions, params), truth: flat(truth), active: flat(active) },
      deadlyVolume: number(params.norm_const),
    });
    assertClose([errors.orig, errors.all, errors.last], [outputs.orig, outputs.all, outputs.last], "orig, all, last");
  },
  "nrmse.multi_step": ({ params, inputs, outputs }) => {
    const { predictions, unscaled_outputs: truth } = inputs as Record<string, number[][][]>;
    const errors = horizonNRMSE({
      ...{ rows: truth.length, horizon: truth[0].length, predicted: unscaled(predictions, params), truth: flat(truth) },
      deadlyVolume: number(params.norm_const),
    });
    assertClose([...errors], outputs.per_horizon, "per_horizon");
  },
};

function policyOf(params: GoldenCase["params"]) {
  const gamma = params.gamma ?? { chemo: number(params.chemo_coeff), radio: number(params.radio_coeff) };
  return fullPolicy({
    gamma: gamma as number | { chemo: number; radio: number },
    window: number(params.window_size),
    lag: number(params.lag),
  });
}

function patientsOf(inputs: GoldenCase["inputs"]): TumourPatients {
  const given = inputs.patients as Record<string, number[]>;
  const names = (inputs.patients as { initial_stages: unknown[] }).initial_stages;
  const numbers = (name: string) => Float64Array.from(given[name]);
  return {
    count: given.alpha.length,
    stage: Uint8Array.from(names, (stage) => tumourStages.findIndex(({ name }) => name === stage)),
    type: Uint8Array.from(given.patient_types),
    ...{ volume: numbers("initial_volumes"), alpha: numbers("alpha"), beta: numbers("beta") },
    ...{ betaC: numbers("beta_c"), rho: numbers("rho"), capacity: numbers("K") },
  };
}

function cohortOf(inputs: GoldenCase["inputs"], policy: ReturnType<typeof fullPolicy>, days: number) {
  const [recovery, chemo, radio] = (inputs.rand as number[][][]).map((matrix) => matrix.flat());
  const noise = (inputs.randn as number[][][])[0].flat().map((value) => tumourConstants.noise * value);
  return cohortFrom(patientsOf(inputs), policy, { noise, recovery, chemo, radio }, { days, split: "train" });
}

function testDrawsOf(inputs: GoldenCase["inputs"]): TestDraws {
  const uniforms = inputs.rand as number[][]; // per patient: recovery, chemotherapy, radiotherapy
  const each = (which: number) => uniforms.filter((_, row) => row % 3 === which).flat();
  const noise = (inputs.randn as number[][]).flat().map((value) => tumourConstants.noise * value);
  return { noise, recovery: each(0), chemo: each(1), radio: each(2) };
}

function oneStepOf(inputs: GoldenCase["inputs"], params: GoldenCase["params"]) {
  const options = { days: number(params.seq_length), testPolicy: "repo" } as const;
  return oneStepFrom(patientsOf(inputs), policyOf(params), testDrawsOf(inputs), options);
}

function sequencesOf(inputs: GoldenCase["inputs"], params: GoldenCase["params"]) {
  const horizon = number(params.projection_horizon);
  const plans = params.cf_seq_mode === "sliding_treatment" ? "sliding" : "random";
  const given = (inputs.plans as number[][][][] | undefined)?.map((plan) => plan.flat(2));
  let next = 1; // the first draw is not used
  const planned: Planned = given ? () => given[next++] : slidingPlans(horizon);
  const options = { days: number(params.seq_length), testPolicy: "repo", horizon, plans, planned } as const;
  return sequencesFrom(patientsOf(inputs), policyOf(params), testDrawsOf(inputs), options);
}

function scalingOf(inputs: GoldenCase["inputs"]): TumourScaling {
  const given = inputs.scaling as Record<string, [number, number]>;
  const pair = ([mean, std]: [number, number]) => ({ mean, std });
  return { volume: pair(given.cancer_volume), type: pair(given.patient_types) };
}

function givenRows(data: Record<string, number[][]>, split: TumourRows["split"]): TumourRows {
  const days = data.cancer_volume[0].length;
  return {
    ...{ rows: data.cancer_volume.length, days, split },
    volume: Float64Array.from(data.cancer_volume.flat()),
    chemo: Uint8Array.from(data.chemo_application.flat()),
    radio: Uint8Array.from(data.radio_application.flat()),
    length: Int32Array.from(data.sequence_lengths as unknown as number[]),
    type: Uint8Array.from(data.patient_types as unknown as number[]),
  };
}

function compareCohort(cohort: ReturnType<typeof cohortOf>, outputs: GoldenCase["outputs"]): void {
  const { days } = cohort;
  const computed: Record<string, ArrayLike<number>> = {
    cancer_volume: cohort.volume,
    chemo_dosage: cohort.chemoConcentration,
    radio_dosage: cohort.radio.map((given) => tumourConstants.radioDose * given),
    chemo_application: cohort.chemo,
    radio_application: cohort.radio,
    chemo_probabilities: cohort.chemoProbability,
    radio_probabilities: cohort.radioProbability,
  };
  for (const [name, values] of Object.entries(computed)) {
    if (!(name in outputs)) continue;
    compareCells(matrix(values, days), outputs[name] as Numbers, name);
  }
  assertClose([...cohort.length], outputs.sequence_lengths, "sequence_lengths");
  const flags: [string, Uint8Array][] = [["death_flags", cohort.died], ["recovery_flags", cohort.recovered]];
  for (const [name, ended] of flags) {
    if (!(name in outputs)) continue;
    const ever = (outputs[name] as number[][]).map((row) => Number(row.includes(1)));
    assertClose([...ended], ever, name);
  }
}

/** Compares where a null stands for "not a number". */
function compareCells(actual: number[][], expected: Numbers, where: string): void {
  (expected as (number | null)[][]).forEach((row, i) =>
    row.forEach((value, t) => {
      if (value === null) {
        if (!Number.isNaN(actual[i][t])) throw new Error(`${where}[${i}][${t}]: no number is expected`);
      } else assertClose(actual[i][t], value, `${where}[${i}][${t}]`);
    })
  );
}

function compareRows(rows: TumourRows, outputs: GoldenCase["outputs"]): void {
  assertClose(matrix(rows.volume, rows.days), outputs.cancer_volume, "cancer_volume");
  assertClose(matrix(rows.chemo, rows.days), outputs.chemo_application, "chemo_application");
  assertClose(matrix(rows.radio, rows.days), outputs.radio_application, "radio_application");
  assertClose([...rows.length], outputs.sequence_lengths, "sequence_lengths");
  if (outputs.patient_types) assertClose([...rows.type], outputs.patient_types, "patient_types");
}

/** Compares those arrays that the case has. */
function compareTensors(tensors: TumourTensors, outputs: GoldenCase["outputs"]): void {
  const names: [keyof TumourTensors, string, number][] = [
    ["prevTreatments", "prev_treatments", tensors.treatments],
    ["currentTreatments", "current_treatments", tensors.treatments],
    ["prevOutputs", "prev_outputs", 1],
    ["outputs", "outputs", 1],
    ["unscaledOutputs", "unscaled_outputs", 1],
    ["active", "active_entries", 1],
  ];
  for (const [ours, theirs, width] of names) {
    if (!(theirs in outputs)) continue;
    const rows = matrix(tensors[ours] as Float32Array, tensors.steps * width).map((row) => matrix(row, width));
    assertClose(rows, outputs[theirs], theirs);
  }
  if (outputs.static_features) {
    assertClose(matrix(tensors.staticFeatures, 1), outputs.static_features, "static_features");
  }
}

function statesOf({ source, step }: { source: Int32Array; step: Int32Array }, encoded: unknown): number[][] {
  return [...source].map((row, place) => (encoded as number[][][])[row][step[place]]);
}

function matrix(values: ArrayLike<number>, width: number): number[][] {
  const all = Array.from(values);
  return Array.from({ length: all.length / width }, (_, row) => all.slice(row * width, (row + 1) * width));
}

function flat(values: number[][][]): Float64Array {
  return Float64Array.from(values.flat(2), (value) => value ?? NaN);
}

function unscaled(predictions: number[][][], params: GoldenCase["params"]): Float64Array {
  return flat(predictions).map((value) => value * number(params.output_std) + number(params.output_mean));
}
