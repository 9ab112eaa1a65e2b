/**
 * How the golden cases of controllable sequence editing (`clef.*`, `xlstm.*`) are computed here.
 *
 * @module
 */
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
