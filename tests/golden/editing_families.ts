/**
 * How the golden cases of controllable sequence editing (`clef.*`, `xlstm.*`) are computed here.
 *
 * @module
 */
import { fromLongRows, type Trajectories } from "../../lib/data/mod.ts";
import { denseBatch, toDevice } from "../../lib/editing/batch.ts";
import { editTrajectory, firstRecords } from "../../lib/editing/edit.ts";
import { evaluate } from "../../lib/editing/evaluate.ts";
import { conceptEntropy, errorsOf } from "../../lib/editing/metrics.ts";
import { trainAsRepository } from "../../lib/editing/train.ts";
import { random } from "../../lib/random.ts";
import { CLEF, type CLEFConfig } from "../../lib/editing/clef.ts";
import { momentEmbedding, type MOMENTEncoder, patchPositions } from "../../lib/editing/moment.ts";
import { huber } from "../../lib/editing/loss.ts";
import type { EncoderInput } from "../../lib/editing/encoder.ts";
import { embedTime, type Moments, sinusoidalTable, timeGap } from "../../lib/editing/time_embedding.ts";
import { mlstmParallel, mlstmRecurrent, slstm, slstmBias, xlstmBlock, xlstmStack } from "../../lib/editing/xlstm.ts";
import { tf } from "../../lib/tensor/mod.ts";
import { assertClose, type GoldenCase } from "./cases.ts";
import type { Family } from "./families.ts";

export const editingFamilies: Readonly<Record<string, Family>> = {
  "clef.forward": (entry) => {
    const { model, history, query } = modelOf(entry);
    const { state, concept } = model.forward(history, query, { parity: true });
    assertClose(concept.arraySync(), entry.outputs.concepts, "concepts");
    assertClose(state.arraySync(), entry.outputs.x_next, "x_next");
  },
  "clef.inference_edit": ({ params, inputs, outputs }, all) => {
    const same = all.find(({ name }) => name === params.same_model_as);
    if (!same) throw new Error(`no case ${params.same_model_as} in the folder, but its model is needed`);
    const { model, history, query } = modelOf(same);
    const wanted = inputs.edit as (number | null)[][]; // null: keep the concept
    const keep = tf.tensor2d(wanted.map((row) => row.map((value) => Number(value === null))));
    const values = tf.tensor2d(wanted.map((row) => row.map((value) => value ?? 0)));
    const edit = (concept: tf.Tensor2D) => tf.where(keep.cast("bool"), concept, values) as tf.Tensor2D;
    const { state, concept } = model.forward(history, query, { parity: true, edit });
    assertClose(concept.arraySync(), outputs.concepts, "concepts");
    assertClose(state.arraySync(), outputs.x_next, "x_next");
  },
  "clef.sinusoidal_table": ({ params, outputs }) => {
    const [rows, width] = [number(params.num_positions), number(params.dim)];
    assertClose(tf.tensor2d(sinusoidalTable(rows, width), [rows, width]).arraySync(), outputs.table, "table");
  },
  "clef.model_forward": (entry) => {
    const { model, history, query } = modelOf(entry);
    const { state, concept } = model.forward(history, query, { parity: true });
    assertClose(state.arraySync(), entry.outputs.x_next, "x_next");
    if (entry.outputs.concepts) assertClose(concept.arraySync(), entry.outputs.concepts, "concepts");
  },
  "clef.loss_and_gradients": (entry) => {
    const { model, history, query } = modelOf(entry);
    const { inputs, outputs } = entry;
    const target = matrix(inputs.target);
    const counted = tf.sub(1, booleans(inputs.target_mask)) as tf.Tensor2D;
    const variables = new Map([...model.weights].map(([name, weight]) => [name, weight as tf.Variable]));
    const { value, grads } = tf.variableGrads(() => {
      return huber(model.forward(history, query, { parity: true }).state, target, counted);
    }, [...variables.values()]);
    assertClose(value.arraySync(), outputs.loss, "loss");
    const gradients = outputs.grads as Record<string, unknown>;
    for (const [name, expected] of Object.entries(gradients)) {
      const variable = variables.get(name);
      if (!variable) throw new Error(`the case has a gradient of ${name}, which the model has not`);
      assertClose(grads[variable.name].arraySync(), expected, `grads.${name}`);
    }
  },
  "clef.xlstm_forward": (entry) => {
    const { model, history, query } = modelOf(entry);
    if (model.config.encoder.kind !== "xlstm") throw new Error("the case must have an xLSTM encoder");
    for (const form of ["parallel", "recurrent"] as const) {
      const stack = xlstmStack(history.x, model.weights, "encoder", model.config.encoder, form);
      assertClose(stack.arraySync(), entry.outputs.stack, `stack, ${form}`);
    }
    const { state, concept } = model.forward(history, query, { parity: true });
    assertClose(state.arraySync(), entry.outputs.x_next, "x_next");
    if (entry.outputs.concepts) assertClose(concept.arraySync(), entry.outputs.concepts, "concepts");
  },
  "clef.simple_linear": ({ params, inputs, outputs }) => {
    const config = configOf(params);
    const model = CLEF.create(config, 1);
    const x = tf.tensor3d(inputs.x as number[][][]);
    const [batch, records] = x.shape;
    const moments = (count: number): Moments => (
      { calendar: tf.zeros([batch, count, 3], "int32"), hours: tf.zeros([batch, count]) }
    );
    const history = { x, observed: tf.sub<tf.Tensor3D>(1, booleans(inputs.x_mask)), ...moments(records) };
    const { state, concept } = model.forward(history, { to: moments(1) }, { parity: true });
    assertClose(state.arraySync(), outputs.x_next, "x_next");
    assertClose(concept.arraySync(), outputs.concepts, "concepts");
  },
  "clef.time_encoder": ({ params, inputs, outputs }) => {
    const stamps = inputs.timestamps as string[][];
    const fields = (text: string) => {
      const [, month, day, hour] = text.match(/^\d+-(\d+)-(\d+) (\d+):/)!.map(Number);
      return [month, day, hour];
    };
    const moments = (rows: string[][]): Moments => ({
      calendar: tf.tensor3d(rows.map((row) => row.map(fields)), undefined, "int32"),
      hours: tf.zeros([rows.length, rows[0].length]),
    });
    const weights = new Map(
      Object.entries(inputs.weights as Record<string, number[][]>).map((
        [name, value],
      ) => [`t.${name}`, tf.tensor(value)]),
    );
    const tau = embedTime(moments(stamps), weights, {
      prefix: "t",
      time: "calendar",
      positions: number(params.ntoken),
    });
    assertClose(tau.arraySync(), outputs.tau, "tau");
    const last = moments(stamps.map((row) => row.slice(-1)));
    const next = moments((inputs.next_timestamps as string[]).map((text) => [text]));
    assertClose(timeGap(last, next, weights, "t", "calendar").arraySync(), outputs.delta, "delta");
  },
  "clef.moment_encoder": ({ params, inputs, outputs }) => {
    const config: MOMENTEncoder = {
      kind: "moment",
      width: number(params.d_model),
      heads: number(params.heads),
      perHead: number(params.d_kv),
      feedForward: number(params.d_ff),
      layers: number(params.layers),
      patch: number(params.patch),
    };
    const x = tf.tensor3d(inputs.x as number[][][]);
    assertClose(momentEmbedding(x, weightsOf(inputs.weights), "", config).arraySync(), outputs.embedding, "embedding");
    const expected = outputs.positions as number[][];
    const positions = tf.tensor2d(patchPositions(expected.length, config.width), [expected.length, config.width]);
    assertClose(positions.arraySync(), expected, "positions");
  },
  "clef.dense_subject_data": ({ params, inputs, outputs }) => {
    const data = longTableOf(inputs, String(params.split));
    assertClose(data.variables.map(({ name }) => Number(name)), (outputs.columns as string[]).map(Number), "columns");
    // subjects come out in the order of their ids there; here in the order asked for
    const asked = (inputs.subject_ids as number[]).toSorted((a, b) => a - b).map(String);
    const places = asked.map((id) => data.subjects.findIndex((subject) => subject.id === id));
    const starts = [...inputs.random_starts as number[]];
    const start = { ...random(1), integer: () => starts.shift()! };
    const batch = denseBatch(data, places, { most: number(params.max_time_cutoff), start, parity: true });
    const tensors = toDevice(batch);
    const zeroed = (values: unknown): unknown => Array.isArray(values) ? values.map(zeroed) : values ?? 0;
    const isThere = (values: unknown): unknown => Array.isArray(values) ? values.map(isThere) : Number(values !== null);
    assertClose(tensors.x.arraySync(), zeroed(outputs.values), "values");
    assertClose(tensors.observed.arraySync(), isThere(outputs.values), "observed");
    assertClose(tensors.condition.arraySync(), outputs.conditions, "conditions");
    (outputs.dates as string[][]).forEach((row, b) =>
      row.forEach((text, k) => {
        if (k >= batch.length[b]) return; // padding is 0001-01-01 there
        const [, month, day, hour] = text.match(/^\d+-(\d+)-(\d+) (\d+):/)!.map(Number);
        const at = (b * batch.records + k) * 3;
        assertClose([...batch.calendar.slice(at, at + 3)], [month, day, hour], `dates[${b}][${k}]`);
      })
    );
  },
  "clef.metrics": ({ inputs, outputs }) => {
    const { r2, rmse, mae, mape, similarity } = errorsOf(inputs.true as number[], inputs.pred as number[]);
    const entropy = conceptEntropy(inputs.concepts as number[][], "subjects");
    const found: Record<string, number> = {
      r2,
      rmse,
      mae,
      mape,
      sim: similarity,
      entropy,
      mape_torch: mape,
      rmse_torch: rmse,
    };
    for (const [name, expected] of Object.entries(outputs)) assertClose(found[name], expected, name);
  },
  "clef.evaluate": async ({ params, inputs, outputs }) => {
    const data = longTableOf(inputs, String(params.split));
    const model = new CLEF(configOf(params), weightsOf(inputs.weights));
    const task = params.time_skip === true ? "delayed" : "immediate";
    const found = await evaluate(model, data, {
      task,
      warmUp: number(params.temporal_len),
      batchSize: number(params.batch_sz),
      parity: true,
      keep: true,
    });
    const pairs = found.pairs.map((
      { r2, rmse, mae, mape, similarity, count },
    ) => [r2, rmse, mae, mape, similarity, count]);
    assertClose(pairs, outputs.per_pair_r2_rmse_mae_mape_sim_count, "per pair");
    const expected = outputs.metrics as Record<string, number>;
    const { similarity, ...repository } = found.repository;
    for (const [name, value] of Object.entries({ ...repository, sim: similarity })) {
      assertClose(value, expected[name], name);
    }
    for (const key of ["predictions", "concepts"] as const) {
      for (const [id, rows] of Object.entries(outputs[key] as Record<string, number[][]>)) {
        const own = found.states.filter((state) => state.id === id).toSorted((a, b) => a.target - b.target);
        assertClose(own.map((state) => key === "predictions" ? state.state : state.concept), rows, `${key}.${id}`);
      }
    }
  },
  "clef.training_epoch": async ({ params, inputs, outputs }) => {
    const data = longTableOf(inputs, String(params.split));
    const model = new CLEF(configOf(params), weightsOf(inputs.weights));
    const [loss] = await trainAsRepository(model, data, {
      epochs: 1,
      seed: 1,
      batch: number(params.batch_sz),
      learningRate: number(params.lr),
      warmUp: number(params.temporal_len),
      task: params.time_skip === true ? "delayed" : "immediate",
      dropout: false,
      shuffle: false,
      parity: true,
    });
    assertClose(loss, outputs.sum_of_losses_over_T, "sum_of_losses_over_T");
    for (const [name, expected] of Object.entries(outputs.weights_after as Record<string, unknown>)) {
      assertClose(model.weights.get(name)!.arraySync(), expected, `weights_after.${name}`);
    }
  },
  "clef.edit_chain": async ({ params, inputs, outputs }) => {
    const data = longTableOf(
      { ...inputs, action_embs: { None: new Array(number(params.condition_sz)).fill(0) } },
      "patient",
    );
    const model = new CLEF(configOf(params), weightsOf(inputs.weights));
    const first = number(params.temporal_len) + 1;
    const width = data.variables.length;
    const changes = Object.entries(inputs.edit as Record<string, number>).map(([name, set]) => [name, { set }]);
    const edited: Record<string, unknown> = {};
    for (const subject of data.subjects) {
      const everObserved = data.variables.filter((_, v) =>
        subject.missing.some((gone, at) => !gone && at % width === v)
      );
      // left out there: too short, or a table of its own with fewer columns than the model has concepts
      if (subject.hours.length <= first || everObserved.length < width) continue;
      const history = firstRecords(subject, first);
      const days = Array.from({ length: number(params.edit_length) }, (_, day) => (
        { hours: 24 * (day + 1), concepts: Object.fromEntries(changes) }
      ));
      const { states } = await editTrajectory(model, history, data, days, { mode: "chained", parity: true });
      const rows = Array.from({ length: first }, (_, k) => [...history.values.slice(k * width, (k + 1) * width)]);
      edited[subject.id] = [[...rows, ...states.map(({ state }) => [...state])]];
    }
    const expected = outputs.subjects as Record<string, unknown>;
    assertClose(Object.keys(edited).map(Number).sort(), Object.keys(expected).map(Number).sort(), "subjects");
    for (const [id, rows] of Object.entries(expected)) assertClose(edited[id], rows, `subjects.${id}`);
  },
  "xlstm.mlstm_cell": ({ inputs, outputs }) => {
    const four = (value: unknown) => tf.tensor4d(value as number[][][][]);
    const gate = (value: unknown) => tf.tensor3d(value as number[][][]);
    const input = {
      queries: four(inputs.q),
      keys: four(inputs.k),
      values: four(inputs.v),
      inputGate: gate(inputs.igate),
      forgetGate: gate(inputs.fgate),
    };
    assertClose(mlstmParallel(input).arraySync(), outputs.parallel, "parallel");
    const { h, state, stabilisers } = mlstmRecurrent(input);
    assertClose(h.arraySync(), outputs.recurrent, "recurrent");
    assertClose(state.c.arraySync(), outputs.c_last, "c_last");
    assertClose(state.n.arraySync(), outputs.n_last, "n_last");
    assertClose(stabilisers.arraySync(), outputs.m_per_step, "m_per_step");
  },
  "xlstm.slstm_cell": ({ params, inputs, outputs }) => {
    const heads = number(params.num_heads);
    const width = number(params.hidden_size);
    const given = inputs.state as number[][][] | undefined; // h, c, n, m
    const [h, c, n, m] = (given ?? []).map((values) => tf.tensor2d(values));
    const gates = tf.tensor3d(inputs.pre as number[][][]);
    const run = slstm(
      gates,
      tf.tensor3d(inputs.recurrent as number[][][]),
      tf.tensor1d(inputs.bias as number[]),
      given && { h, c, n, m },
    );
    const [batch, records] = run.h.shape;
    const byHead = run.h.reshape([batch, records, heads, width / heads]).transpose([0, 2, 1, 3]);
    assertClose(byHead.arraySync(), outputs.h, "h");
    const last = [run.state.h, run.state.c, run.state.n, run.state.m].map((values) => values.arraySync());
    assertClose(last, outputs.last_state, "last_state");
  },
  "xlstm.block": ({ params, inputs, outputs }) => {
    const x = tf.tensor3d(inputs.x as number[][][]);
    const slstmAt = params.slstm_at as number[];
    const options = { heads: number(params.num_heads), slstm: slstmAt.includes(number(params.block_idx)) };
    const weights = weightsOf(inputs.weights);
    assertClose(xlstmBlock(x, weights, "", { ...options, form: "parallel" }).arraySync(), outputs.forward, "forward");
    assertClose(
      xlstmBlock(x, weights, "", { ...options, form: "recurrent" }).arraySync(),
      outputs.step_by_step,
      "step_by_step",
    );
  },
  "xlstm.slstm_bias_init": ({ params, outputs }) => {
    const [width, heads] = [number(params.embedding_dim), number(params.num_heads)];
    const bias = slstmBias(width, heads, 1 / (number(params.num_blocks) - 1)); // of the block at index 1
    assertClose(tf.tensor3d(bias, [4, heads, width / heads]).arraySync(), outputs.bias, "bias");
  },
};

/** The long table of a case: [subject, charttime, itemid, valuenum, action]. */
function longTableOf(inputs: GoldenCase["inputs"], split: string): Trajectories {
  const vectors = Object.entries(inputs.action_embs as Record<string, number[]>).map((
    [token, vector],
  ): [string, Float32Array] => [token, Float32Array.from(vector)]);
  const rows = (inputs.rows as [number, string, number, number | null, string][]).map((
    [subject, time, variable, value, condition],
  ) => ({ subject, time, variable, value, condition }));
  return fromLongRows(rows, {
    units: "unknown",
    unknownConditions: "keep",
    conditions: { width: vectors[0][1].length, vectors: new Map(vectors) },
    actsOn: split === "patient" ? "same record" : "next record",
  }).data;
}

/** The model of a case, with its inputs. */
export function modelOf({ params, inputs }: GoldenCase): {
  model: CLEF;
  history: EncoderInput;
  query: { to: Moments; condition?: tf.Tensor2D };
} {
  const config = configOf(params);
  const weights = weightsOf(inputs.weights);
  const history = {
    x: tf.tensor3d(inputs.x as number[][][]),
    observed: tf.sub<tf.Tensor3D>(1, booleans(inputs.x_mask)),
    ...momentsOf(inputs.dates),
  };
  const condition = config.conditionWidth > 0 ? { condition: matrix(inputs.condition) } : {};
  return { model: new CLEF(config, weights), history, query: { to: momentsOf(inputs.next_date), ...condition } };
}

/** The authors' options as our configuration. */
export function configOf(params: GoldenCase["params"]): CLEFConfig {
  const heads = number(params.nhead);
  const layers = number(params.nlayers);
  return {
    variables: number(params.nfeat),
    conditionWidth: params.condition === false ? 0 : number(params.condition_sz),
    records: number(params.ntoken),
    encoder: params.seq_encoder === "xlstm"
      ? {
        kind: "xlstm",
        heads,
        blocks: layers,
        convolution: number(params.conv_sz),
        qkvBlock: number(params.qkv_proj_sz),
      }
      : { kind: "transformer", heads, layers },
    concept: params.concept_ones === true ? "ones" : params.nconcepts === 0 ? "none" : "learned",
    feedForward: params.apply_ct_proj === true,
    base: "mean",
  };
}

/** Weights of a case as variables, so that gradients can be taken. */
export function weightsOf(weights: unknown): Map<string, tf.Variable> {
  return new Map(
    Object.entries(weights as Record<string, number[]>).map((
      [name, values],
    ) => [name, tf.variable(tf.tensor(values, undefined, "float32"))]),
  );
}

/** The authors' fields of dates; the year is never read. */
function momentsOf(dates: unknown): Moments {
  const { month, day, time } = dates as Record<"month" | "day" | "time", number[][]>;
  const calendar = month.map((row, b) => row.map((value, k) => [value, day[b][k], time[b][k]]));
  return { calendar: tf.tensor3d(calendar, undefined, "int32"), hours: tf.zeros([month.length, month[0].length]) };
}

function booleans(values: unknown): tf.Tensor {
  const one = (value: unknown): unknown => Array.isArray(value) ? value.map(one) : Number(value);
  return tf.tensor(one(values) as number[], undefined, "float32");
}

function matrix(values: unknown): tf.Tensor2D {
  return tf.tensor2d(values as number[][]);
}

function number(value: unknown): number {
  if (typeof value === "number") return value;
  throw new Error(`a number is expected in the case, but it is ${JSON.stringify(value)}`);
}
