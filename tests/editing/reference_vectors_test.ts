/** Numbers that the authors' code gave with weights filled by a formula: every intermediate value of a small model. */
import assert from "node:assert/strict";
import { conditionGate } from "../../lib/editing/concepts.ts";
import { CLEF, type CLEFConfig, clefSpec, parameterCount } from "../../lib/editing/clef.ts";
import { presets, published } from "../../lib/editing/presets.ts";
import { embedTime, type Moments, sinusoidalTable, timeGap } from "../../lib/editing/time_embedding.ts";
import { encodeTransformer } from "../../lib/editing/transformer.ts";
import { xlstmStack } from "../../lib/editing/xlstm.ts";
import { tf, tidy } from "../../lib/tensor/mod.ts";

const TOLERANCE = 2e-5;
type Rows = number[] | number[][];

function close(actual: tf.Tensor, expected: Rows, what: string): void {
  const [got, wanted] = [actual.flatten().arraySync(), expected.flat()];
  assert.equal(got.length, wanted.length, what);
  got.forEach((value, i) => {
    assert.ok(Math.abs(value - wanted[i]) < TOLERANCE, `${what}[${i}] is ${value}, expected ${wanted[i]}`);
  });
}

const filled = (shape: readonly number[], phase: number) => {
  const size = shape.reduce((product, side) => product * side, 1);
  return tf.tensor(Float32Array.from({ length: size }, (_, i) => 0.3 * Math.sin(0.5 * i + phase)), [...shape]);
};

/** Weights by the formula where a phase is given, else as they are made: norms at 1 and 0. */
function weightsBy(config: CLEFConfig, phases: Record<string, number>): Map<string, tf.Tensor> {
  const used = new Set<string>();
  const weights = new Map<string, tf.Tensor>(
    Object.entries(clefSpec(config)).map(([name, { shape }]) => {
      const phase = phases[name];
      used.add(name);
      if (phase !== undefined) return [name, filled(shape, phase)];
      assert.match(name, /norm.*\.(weight|bias)$/, `${name} has no phase`);
      const residual = config.encoder.kind === "xlstm"; // its norms hold what is added to a gain of 1
      return [name, name.endsWith("weight") && !residual ? tf.ones([...shape]) : tf.zeros([...shape])];
    }),
  );
  for (const name of Object.keys(phases)) assert.ok(used.has(name), `${name} is no parameter`);
  return weights;
}

const x = tf.tensor3d([
  [[1, 2, 3, 4], [2, 1, 0, 5], [1.5, 2.5, 3.5, 4.5]],
  [[10, 0.5, 2, 1], [8, 0.6, 0, 1.2], [9, 0.7, 3, 1.1]],
]);
const observed = tf.tensor3d([
  [[1, 1, 1, 1], [1, 1, 0, 1], [1, 1, 1, 1]],
  [[1, 1, 1, 1], [1, 1, 0, 1], [1, 1, 1, 1]],
]);
const moments = (calendar: number[][][]): Moments => ({
  calendar: tf.tensor3d(calendar, undefined, "int32"),
  hours: tf.zeros([calendar.length, calendar[0].length]),
});
const dates = moments([[[1, 30, 8], [1, 31, 9], [2, 1, 10]], [[12, 5, 0], [12, 6, 6], [12, 6, 23]]]);
const history = { x, observed, ...dates };
const to = moments([[[2, 3, 12]], [[12, 7, 5]]]);
const condition = tf.tensor2d([[0.1, -0.2, 0.3], [0, 0, 0]]);
const query = { to, condition };
const last = moments([[[2, 1, 10]], [[12, 6, 23]]]);

const sizes = { variables: 4, conditionWidth: 3, records: 8 } as const;
const transformer = { kind: "transformer", heads: 2, layers: 2 } as const;
const shared = {
  "concept_proj.bias": 0.1,
  "concept_proj.weight": 4.0,
  "condition_decoder.bias": 1.8,
  "condition_decoder.weight": 5.7,
  "condition_encoder.bias": 2.8,
  "condition_encoder.weight": 6.7,
};
const ofTransformer = {
  ...shared,
  "encoder.decoder.bias": 2.9,
  "encoder.decoder.weight": 6.8,
  "encoder.pos_encoder.embed_month.weight": 6.2,
  "encoder.pos_encoder.embed_day.weight": 2.4,
  "encoder.pos_encoder.embed_time.weight": 4.0,
  ...Object.fromEntries([0, 1].flatMap((l) =>
    Object.entries({
      "self_attn.in_proj_weight": 1.2,
      "self_attn.in_proj_bias": 7.0,
      "self_attn.out_proj.weight": 9.2,
      "self_attn.out_proj.bias": 5.3,
      "linear1.weight": 5.2,
      "linear1.bias": 1.3,
      "linear2.weight": 5.3,
      "linear2.bias": 1.4,
    }).map(([name, phase]) => [`encoder.encoder.layers.${l}.${name}`, phase + 0.1 * l])
  )),
};

Deno.test("the parts of a small CLEF agree with the authors' code, one after the other", () => {
  tidy(() => {
    const config: CLEFConfig = { ...presets.repo({ ...sizes, encoder: transformer }) };
    const weights = weightsBy(config, ofTransformer);
    close(
      tf.tensor(sinusoidalTable(3, 4)),
      [[0, 0, 1, 1], [0.841471, 0.01, 0.540302, 0.99995], [0.909297, 0.019999, -0.416147, 0.9998]],
      "P",
    );
    const options = { prefix: "encoder.pos_encoder", time: "calendar", positions: 8 } as const;
    const tau = embedTime(dates, weights, options);
    close(tau.slice([0, 0, 0], [-1, 1, -1]), [
      [0.430536, 0.518368, 1.479285, 1.322856],
      [-0.558030, -0.391912, 0.870160, 1.164021],
    ], "tau of record 0");
    close(tau.slice([0, 2, 0], [-1, 1, -1]), [
      [0.142181, -0.739135, -0.981435, 0.766759],
      [0.838975, 0.109680, -0.188418, 1.309820],
    ], "tau of record 2");
    const gap = timeGap(last, to, weights, "encoder.pos_encoder", "calendar");
    close(gap, [[0.894806, 0.555323, 0.079877, -0.415125], [-0.105235, -0.284845, -0.394716, -0.407946]], "gap");
    close(conditionGate(gap, undefined, weights, "shared-twice"), [
      [0.041345, 0.633828, 0.009968, -0.382094],
      [0.171568, 0.006342, 0.401998, -0.080892],
    ], "gate of the gap alone");
    close(conditionGate(gap, condition, weights, "shared-twice"), [
      [0.057424, 0.359622, 0.222110, -0.284452],
      [0.190058, 0.312458, 0.128730, -0.159569],
    ], "gate");
    const run = { time: "calendar", records: 8, parity: false } as const;
    close(encodeTransformer(history, weights, transformer, run), [
      [0.178431, -0.518230, 0.054528, -0.061023],
      [-0.155649, 0.460007, -0.425572, -0.639676],
    ], "encoded history");

    const generate = (feedForward: boolean, edit?: (concept: tf.Tensor2D) => tf.Tensor2D) =>
      new CLEF({ ...config, feedForward }, weights).forward(history, query, edit ? { edit } : {});
    const without = generate(false);
    close(without.base, [[1.5, 1.833333, 3.25, 4.5], [9, 0.6, 2.5, 1.1]], "base");
    close(
      without.concept,
      [[0.005165, -0.079407, 0.006114, 0.008799], [-0.014442, 0.080080, -0.026195, 0.055185]],
      "concept",
    );
    close(
      without.state,
      [[0.007747, -0.145580, 0.019871, 0.039597], [-0.129979, 0.048048, -0.065488, 0.060704]],
      "state",
    );
    const withFFN = generate(true);
    close(
      withFFN.concept,
      [[0.039809, 0.092542, 0.133791, 0.214629], [-0.005613, 0.115243, 0.173705, 0.154139]],
      "concept, FFN",
    );
    close(
      withFFN.state,
      [[0.059713, 0.169661, 0.434821, 0.965832], [-0.050521, 0.069146, 0.434263, 0.169553]],
      "state, FFN",
    );
    const half = (concept: tf.Tensor2D) =>
      tf.where(tf.tensor2d([[0, 1, 0, 0]]).cast("bool"), tf.fill([1, 4], 0.5), concept);
    close(generate(true, half as never).state, [
      [0.059713, 0.916667, 0.434821, 0.965832],
      [-0.050521, 0.3, 0.434263, 0.169553],
    ], "state, FFN, concept 1 set to 0.5");
  });
});

Deno.test("the twin without concepts and SimpleLinear agree with the authors' code", () => {
  tidy(() => {
    const config: CLEFConfig = presets.withoutConcepts({ ...sizes, encoder: transformer });
    const { "concept_proj.bias": _bias, "concept_proj.weight": _weight, ...phases } = ofTransformer;
    const weights = weightsBy(config, { ...phases, "seq_decoder.weight": 0.1, "seq_decoder.bias": 5.9 });
    close(new CLEF(config, weights).forward(history, query).state, [
      [-0.134982, 0.006643, 0.219923, 0.259323],
      [-0.072740, 0.035298, 0.133832, 0.302321],
    ], "state");
    const simple = presets.simpleLinear({ ...sizes, encoder: transformer });
    const mean = new CLEF(simple, weightsBy(simple, ofTransformer)).forward(history, query).state;
    close(mean, [[1.5, 1.833333, 3.25, 4.5], [9, 0.6, 2.5, 1.1]], "historical mean");
  });
});

Deno.test("an xLSTM of two blocks agrees with the authors' code, parallel and step by step", () => {
  tidy(() => {
    const encoder = { kind: "xlstm", heads: 2, blocks: 2, convolution: 2, qkvBlock: 2 } as const;
    const config: CLEFConfig = presets.repo({ ...sizes, encoder });
    const matrix = {
      "proj_up.weight": 4.6,
      "proj_down.weight": 6.3,
      "conv1d.conv.weight": 5.9,
      "conv1d.conv.bias": 2.0,
      "q_proj.weight": 2.7,
      "k_proj.weight": 2.1,
      "v_proj.weight": 3.2,
      "learnable_skip": 5.3,
      "mlstm_cell.igate.weight": 4.2,
      "mlstm_cell.igate.bias": 0.3,
      "mlstm_cell.fgate.weight": 3.9,
      "mlstm_cell.fgate.bias": 0.0,
    };
    const vector = {
      "conv1d.conv.weight": 6.0,
      "conv1d.conv.bias": 2.1,
      "fgate.weight": 9.0,
      "igate.weight": 9.3,
      "zgate.weight": 1.3,
      "ogate.weight": 0.2,
      "slstm_cell._bias_": 2.0,
      "slstm_cell._recurrent_kernel_": 6.6,
    };
    const named = (block: number, phases: Record<string, number>) =>
      Object.fromEntries(
        Object.entries(phases).map(([name, phase]) => [`encoder.blocks.${block}.xlstm.${name}`, phase]),
      );
    const weights = weightsBy(config, {
      ...shared,
      ...named(0, matrix),
      ...named(1, vector),
      "encoder.blocks.1.ffn.proj_up.weight": 8.4,
      "encoder.blocks.1.ffn.proj_down.weight": 0.4,
      "encoder_proj.bias": 8.6,
      "encoder_proj.weight": 2.8,
      "time_encoder.embed_month.weight": 5.2,
      "time_encoder.embed_day.weight": 1.4,
      "time_encoder.embed_time.weight": 3.0,
    });
    for (const form of ["parallel", "recurrent"] as const) {
      close(xlstmStack(x, weights, "encoder", encoder, form), [
        [-1.666090, 0.345283, 1.001459, 0.319348],
        [-0.392769, 0.002640, -1.177819, 1.567948],
        [-1.667864, 0.351563, 0.996005, 0.320296],
        [1.722433, -0.568068, -0.725909, -0.428456],
        [1.577975, -0.286927, -1.190620, -0.100428],
        [1.730080, -0.653223, -0.550809, -0.526047],
      ], `stack, ${form}`);
    }
    const state = (feedForward: boolean) => new CLEF({ ...config, feedForward }, weights).forward(history, query).state;
    close(
      state(false),
      [[0.005255, 0.171932, 0.043478, 0.623705], [0.423803, -0.016212, -0.053916, -0.029296]],
      "FFN 0",
    );
    close(state(true), [[-0.054397, 0.275044, 0.619420, 0.479357], [0.239961, 0.044435, 0.419402, 0.227195]], "FFN 1");
  });
});

Deno.test("the authors' setting for MIMIC-IV has 17,632 trainable numbers, 48,000 with the fixed tables of time", () => {
  assert.deepEqual(parameterCount(published.mimic4), { trainable: 17_632, withTimeTables: 48_000 });
  const model = CLEF.create(published.mimic4, 1);
  assert.equal(model.variables.reduce((sum, variable) => sum + variable.size, 0), 17_632);
  assert.equal(model.parameters, 17_632);
  model.dispose();
});
