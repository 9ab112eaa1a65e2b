import assert from "node:assert/strict";
import { type CodeInput, CodeVectors, standardised, type TokenRows } from "../../../experiments/ehr/code_input.ts";
import type { EHRModel } from "../../../experiments/ehr/model.ts";
import { graphLayer, graphTransformer, graphTransformerOverEdges } from "../../../experiments/ehr/models/gt_behrt.ts";
import { ethos, Timelines } from "../../../experiments/ehr/models/ethos.ts";
import { ablations, makeModel, type ModelName } from "../../../experiments/ehr/models/mod.ts";
import { reference, referenceDefaults, referenceLayers } from "../../../experiments/ehr/models/reference.ts";
import { type RecordBatch, Records } from "../../../experiments/ehr/records.ts";
import { trainEHR } from "../../../experiments/ehr/train.ts";
import { plantedRecords, plantedSplits } from "../../../experiments/ehr/world.ts";
import { countParameters, initialise, linearLayer } from "../../../lib/nn/mod.ts";
import { random } from "../../../lib/random.ts";
import { flatten, randomKey, tf, tidy } from "../../../lib/tensor/mod.ts";
import { unitRows } from "../../../lib/tokenization/mod.ts";

const splits = plantedSplits(0, { train: 40, validation: 20, test: 20 });
const codes = splits.world.planted.codes.length;
const own: CodeInput = { mode: "learned", rows: codes };
const { vectors, records, kindOf } = plantedRecords(splits, own);
const classifiers = (Object.keys(ablations) as ModelName[]).filter((name) => name !== "ETHOS");
const make = (name: ModelName, more: object = {}) =>
  makeModel(name, { vectors, records: records.train, kindOf, seed: 1, width: 32, layers: 1, ...more });

function logitsOf(model: EHRModel<object>, of: Records, rows: number[]): number[][] {
  const { tensors } = of.batch(rows);
  const result = tidy(() => model.logits!(tensors).arraySync());
  tf.dispose(Object.values(tensors));
  return result;
}

function largest(a: number[][], b: number[][]): number {
  return Math.max(...a.flatMap((row, i) => row.map((value, j) => Math.abs(value - b[i][j]))));
}

Deno.test("the authors' model has 287,394 parameters at its sizes, without the two that they lose", () => {
  const projection = linearLayer(256, 64);
  assert.equal(countParameters({ projection, ...referenceLayers(referenceDefaults) }), 287_394);
});

Deno.test("class token and missing code of the reference model are trained, which upstream they are not", () => {
  const input: CodeInput = {
    mode: "vector",
    vectors: { data: new Float32Array(codes * 8).fill(1), rows: codes, width: 8 },
  };
  const table = new CodeVectors(input);
  const sizes = { ...referenceDefaults, layers: 1, years: 4, sexes: 3, ethnicities: 2 };
  const model = reference(table, sizes, 1);
  const trained = flatten(model.parameters);
  for (const name of ["classToken", "codes.reserved"]) assert.ok(trained.get(name) instanceof tf.Variable, name);
  model.dispose();
  table.dispose();
});

for (const name of classifiers) {
  Deno.test(`${name} reads every visit, and not what is padding`, () => {
    // a patient of MulT-EHR hears of codes through visits, in two steps
    const model = make(name, { layers: 2 });
    const rows = [0, 1, 2];
    const { tensors } = records.train.batch(rows);
    const before = tidy(() => model.logits!(tensors).arraySync());
    const first = tensors.codes.arraySync();
    const other = first.map((patient) =>
      patient.map((visit, v) => v ? visit : visit.map((id) => id ? 5 + (id + 1) % codes : 0))
    );
    const changed = tf.tensor3d(other, undefined, "int32");
    const after = tidy(() => model.logits!({ ...tensors, codes: changed }).arraySync());
    assert.ok(largest(before, after) > 1e-5, "the first visit's codes make no difference");
    tf.dispose([...Object.values(tensors), changed]);

    const wider = new Records(splits.tables.train, {
      index: indexOf,
      vectors,
      labels: splits.labels,
      shape: { visits: records.train.shape.visits, codes: records.train.shape.codes + 2 },
      sexes: records.train.sexes,
    });
    if (name !== "reference") { // its positions count places, as upstream
      assert.ok(largest(logitsOf(model, wider, rows), before) < 1e-4, "more padding makes a difference");
    }
    model.dispose();
  });

  for (const without of ablations[name]) {
    if (/pre-training|causal|one task/.test(without)) continue; // these change training, not the forward pass
    Deno.test(`${name} with ${without} gives other numbers`, () => {
      const [whole, less] = [make(name), make(name, { without })];
      assert.ok(largest(logitsOf(whole, records.train, [0, 1]), logitsOf(less, records.train, [0, 1])) > 1e-5);
      whole.dispose();
      less.dispose();
    });
  }

  if (name === "MulT-EHR") continue; // its graph has all patients of a batch, and says so
  Deno.test(`${name}: a patient's result does not depend on who else is in the batch`, () => {
    const model = make(name);
    const together = logitsOf(model, records.train, [0, 1, 2]);
    const alone = [0, 1, 2].flatMap((row) => logitsOf(model, records.train, [row]));
    assert.ok(largest(together, alone) < 1e-4);
    model.dispose();
  });
}

const place = new Map(splits.world.planted.codes.map(({ system, code }, i) => [`${system}:${code}`, i]));
function indexOf(system: string, code: string): number | undefined {
  return place.get(`${system}:${code}`);
}

Deno.test("every stage of every model trains: its loss falls", async () => {
  for (const name of Object.keys(ablations) as ModelName[]) {
    const model = make(name);
    const { losses } = await trainEHR(model, records.train, records.validation, {
      epochs: 6,
      pretrainEpochs: 8,
      batch: 20,
      learningRate: 1e-2,
      seed: 1,
    });
    for (const { stage, first, last } of losses) {
      assert.ok(last <= first && Number.isFinite(last), `${name}, ${stage}: ${first}, ${last}`);
    }
    assert.ok(losses.some(({ first, last }) => last < first), `${name} learns nothing`);
    model.dispose();
  }
});

Deno.test("MulT-EHR without its causal branch, or with one task, has another loss", () => {
  const { tensors } = records.train.batch([0, 1, 2]);
  const lossOf = (without: "whole" | "no causal branch" | "one task") => {
    const model = make("MulT-EHR", { without });
    const loss = tidy(() => model.stages.at(-1)!.loss(tensors, randomKey(1)).arraySync());
    model.dispose();
    return loss;
  };
  const whole = lossOf("whole");
  assert.notEqual(whole, lossOf("no causal branch"));
  assert.notEqual(whole, lossOf("one task"));
  tf.dispose(Object.values(tensors));
});

Deno.test("the graph transformer over typed pairs equals the one over a list of edges, which the authors' numbers check", () => {
  const [nodes, width, heads] = [5, 4, 2];
  const layer = initialise(graphLayer(width, heads), random(1));
  const draw = random(2);
  const x = tf.tensor3d(draw.normals(nodes * width), [1, nodes, width]);
  const types = tf.tensor2d(draw.normals(7 * width), [7, width]);
  const kind = [0, 1, 1, 2, 3];
  const typeOf = (a: number, b: number): number => {
    if (a > b) return typeOf(b, a);
    return a === 0 ? Math.max(0, b - 1) : a === b ? 3 : a + b + 1;
  };
  const pairs = kind.flatMap((_, i) => kind.flatMap((_, j) => i === j ? [] : [[j, i]]));
  const norm = (y: tf.Tensor2D) => { // of one graph alone, with epsilon on the variance
    const centred = y.sub(y.mean());
    return centred.mul(centred.square().mean().add(1e-5).rsqrt()) as tf.Tensor2D;
  };
  for (const join of [true, false]) {
    const [dense, listed] = tidy(() => {
      const edges = tf.gather(
        types,
        tf.tensor1d(pairs.map(([s, t]) => typeOf(kind[s], kind[t])), "int32"),
      ) as tf.Tensor2D;
      const [source, target] = [0, 1].map((end) => tf.tensor1d(pairs.map((pair) => pair[end]), "int32"));
      const flat = x.squeeze<tf.Tensor2D>([0]);
      const list = graphTransformerOverEdges(flat, source, target, edges, layer, { heads, join }, [norm, norm]).x;
      const kinds = tf.oneHot(tf.tensor2d([kind], undefined, "int32"), 4).cast("float32") as tf.Tensor3D;
      const may = tf.sub(1, tf.eye(nodes)).expandDims(0) as tf.Tensor3D;
      const typed = graphTransformer(x, { kinds, edges: may }, types, layer, { heads, join });
      return [typed.squeeze<tf.Tensor2D>([0]).arraySync(), list.arraySync()];
    });
    assert.ok(largest(dense, listed) < 1e-5, `join ${join}: ${largest(dense, listed)}`);
  }
});

Deno.test("frozen vectors and tokens are the same input where the tokens' rows are the codebook, slot by slot", () => {
  const draw = random(1);
  const [rows, d, slots, K] = [12, 4, 2, 2];
  const book = tidy(() => unitRows(tf.tensor2d(draw.normals(rows * d), [rows, d])).arraySync());
  const ids = Int32Array.from({ length: 3 * slots * K }, (_, i) => (5 * i) % rows);
  const weights = Float32Array.from({ length: ids.length }, (_, i) => i % 2 ? 0.25 : 0.75);
  const tokens: TokenRows = { ids, weights, codes: 3, each: slots * K, slots, vocabulary: rows };
  const data = new Float32Array(3 * slots * d);
  ids.forEach((row, i) => {
    const [code, slot] = [Math.floor(i / (slots * K)), Math.floor(i / K) % slots];
    for (let j = 0; j < d; j++) data[(code * slots + slot) * d + j] += weights[i] * book[row][j];
  });
  const input = new CodeVectors({ mode: "tokens", tokens, slots: "concatenate" });
  const projection = { weight: tf.eye(slots * d) as tf.Tensor2D, bias: tf.zeros<tf.Rank.R1>([slots * d]) };
  const parameters = { reserved: tf.zeros([5, slots * d]), rows: tf.tensor2d(book), projection };
  const table = tidy(() => input.table(parameters as never).slice([5, 0]).arraySync() as number[][]);
  const expected = Array.from(
    { length: 3 },
    (_, code) => Array.from(data.subarray(code * slots * d, (code + 1) * slots * d)),
  );
  assert.ok(largest(table, expected) < 1e-6);
  input.dispose();
});

Deno.test("vectors that start a table or are looked up have mean 0 and deviation 1", () => {
  const out = standardised({ data: Float32Array.from([1, 5, 3, 5]), rows: 2, width: 2 });
  assert.deepEqual([...out], [-1, 0, 1, 0]); // a column that is all the same says nothing
});

Deno.test("in the mode sequence a code is one token per slot", () => {
  const tokens: TokenRows = {
    ids: Int32Array.from([7, 1, 8, 2]),
    weights: Float32Array.from([0.5, 0.5, 0.5, 0.5]),
    codes: 1,
    each: 4,
    slots: 2,
    vocabulary: 9,
  };
  const input = new CodeVectors({ mode: "sequence", tokens });
  assert.deepEqual(input.idsOf(5), [12, 13]);
  assert.deepEqual(input.idsOf(1), [1]); // unknown stays unknown
  input.dispose();
});

Deno.test("ETHOS writes times, stays as deciles and outcomes into a timeline, and counts futures", async () => {
  const config = { width: 16, layers: 1, heads: 2, mlpWidth: 32, positions: 80, dropout: 0, futures: 4 };
  const timelines = new Timelines(vectors, records.train, config);
  const names = timelines.history(records.train, 0).map((id) => timelines.names[id - vectors.count] ?? "code");
  assert.match(names[0], /^_SEX_/);
  assert.equal(names.filter((name) => name === "_VISIT").length, splits.tables.train.patients[0].visits.length);
  assert.ok(names.some((name) => /^_(\d+d|\d+w|\d+mt|=6mt)/.test(name)) && names.some((name) => /^_Q\d+$/.test(name)));
  const less = new Timelines(vectors, records.train, { ...config, intervals: false, deciles: false });
  assert.ok(less.history(records.train, 0).length < names.length);

  const model = ethos(vectors, records.train, config, 1);
  const shares = await model.predict!(records.test, [0, 1, 2], 7);
  assert.deepEqual(shares.map((row) => row.length), [13, 13, 13]);
  assert.ok(shares.flat().every((share) => share >= 0 && share <= 1 && Number.isInteger(share * 4)));
  assert.deepEqual(shares, await model.predict!(records.test, [0, 1, 2], 7)); // chance is in the seed
  model.dispose();
});

Deno.test("a batch holds int32 ids and float32 labels of one shape", () => {
  const { tensors } = records.train.batch([0, 1]);
  const shapes = Object.fromEntries(Object.entries(tensors).map(([name, { shape }]) => [name, [...shape]]));
  assert.deepEqual(shapes.codes, [2, 5, 7]);
  assert.deepEqual(shapes.labels, [2, 13]);
  assert.equal((tensors as RecordBatch).codes.dtype, "int32");
  tf.dispose(Object.values(tensors));
});
