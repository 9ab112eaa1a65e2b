/** What must hold for every model, whatever its weights. */
import assert from "node:assert/strict";
import { synthLab } from "../../lib/data/mod.ts";
import { ask, denseBatch, freeBatch, toDevice } from "../../lib/editing/batch.ts";
import { CLEF, type CLEFConfig, type EncoderConfig, presets, scalingOf } from "../../lib/editing/mod.ts";
import { conceptOf } from "../../lib/editing/concepts.ts";
import { elapsedCode, type Moments, sinusoidalTable, timeGap, timeSpec } from "../../lib/editing/time_embedding.ts";
import { mlstmParallel, mlstmRecurrent, slstm, xlstmStack } from "../../lib/editing/xlstm.ts";
import { gelu, initialise } from "../../lib/nn/mod.ts";
import { random } from "../../lib/random.ts";
import { compile, tf, tidy } from "../../lib/tensor/mod.ts";

const data = synthLab({ subjects: 6, seed: 4, records: 14 });
const scaling = scalingOf(data);
const encoders: EncoderConfig[] = [
  { kind: "transformer", heads: 4, layers: 2 },
  { kind: "xlstm", heads: 4, blocks: 2, convolution: 4, qkvBlock: 4 },
  { kind: "lstm", hidden: 8 },
  { kind: "moment", width: 8, heads: 2, perHead: 4, feedForward: 16, layers: 1, patch: 4 },
];
const sizesOf = (encoder: EncoderConfig) => ({ variables: 16, conditionWidth: 32, records: 20, encoder });

/** Every encoder in several variants. */
const variants = encoders.flatMap((encoder): [string, CLEFConfig][] => {
  const sizes = sizesOf(encoder);
  return [
    [`${encoder.kind}, repo`, presets.repo(sizes)],
    [`${encoder.kind}, paper`, presets.paper(sizes)],
    [`${encoder.kind}, plus`, presets.plus(sizes, scaling)],
    [`${encoder.kind}, without concepts, z-scored, both times`, {
      ...presets.withoutConcepts(sizes, scaling),
      time: "both",
    }],
    [`${encoder.kind}, affine, elapsed`, { ...presets.plus(sizes, scaling), decoder: "affine", time: "elapsed" }],
    [`${encoder.kind}, residual`, { ...presets.paper(sizes), decoder: "residual" }],
    [`${encoder.kind}, exponential`, { ...presets.paper(sizes), decoder: "exponential" }],
  ];
});

const batchOf = (places: number[]) => toDevice(denseBatch(data, places));
const stateOf = (model: CLEF, places: number[], length: number, target: number) =>
  tidy(() => {
    const { history, query } = ask(batchOf(places), length, target);
    return model.forward(history, query).state.arraySync();
  });
const near = (a: number[][], b: number[][], what: string, tolerance = 1e-4) =>
  a.forEach((row, i) =>
    row.forEach((value, v) => {
      assert.ok(Math.abs(value - b[i][v]) <= tolerance * (1 + Math.abs(value)), `${what}: ${value} and ${b[i][v]}`);
    })
  );

for (const [name, config] of variants) {
  Deno.test(`${name}: later records, other subjects and padding change nothing`, () => {
    const model = CLEF.create(config, 3);
    const whole = stateOf(model, [0, 1, 2], 10, 12);
    near(stateOf(model, [2, 0, 1], 10, 12), [whole[2], whole[0], whole[1]], "subjects in another order");
    near(stateOf(model, [1], 10, 12), [whole[1]], "a subject alone");
    tidy(() => {
      const batch = batchOf([0, 1, 2]);
      // records from 10 on are another world, but for the target's time and condition
      const cut = tf.less(tf.range(0, 14), 10).cast("float32").reshape([1, 14, 1]);
      const later = { ...batch, x: batch.x.mul<tf.Tensor3D>(cut).add<tf.Tensor3D>(tf.sub(1, cut).mul(77)) };
      const { history, query } = ask(later, 10, 12);
      near(model.forward(history, query).state.arraySync(), whole, "later records");
      if (config.encoder.kind === "moment") return;
      const lengths = tf.fill<tf.Rank.R1>([3], 10, "int32");
      const longer = ask(later, lengths, tf.fill<tf.Rank.R1>([3], 12, "int32"));
      near(model.forward(longer.history, longer.query).state.arraySync(), whole, "a history with padding");
    });
    model.dispose();
  });
}

Deno.test("a Transformer sees no empty record, and where all are empty nothing that comes later", () => {
  const model = CLEF.create(presets.withoutConcepts(sizesOf(encoders[0])), 3);
  tidy(() => {
    const lengths = tf.fill<tf.Rank.R1>([2], 4, "int32");
    const { history, query } = ask(batchOf([0, 1]), lengths, tf.fill<tf.Rank.R1>([2], 9, "int32"));
    const records = tf.range(0, history.x.shape[1]).reshape([1, -1, 1]);
    /** The state where some records are empty, with another value in some. */
    const state = (empty: tf.Tensor, moved: tf.Tensor, parity = false) => {
      const observed = tf.onesLike(history.x).mul<tf.Tensor3D>(tf.sub(1, empty.cast("float32")));
      const slope = tf.range(0, 16).mul(7); // a layer norm would take away the same shift of all
      const x = history.x.add<tf.Tensor3D>(moved.cast("float32").mul(slope));
      return model.forward({ ...history, x, observed }, query, { parity }).state.arraySync();
    };
    const [nothing, first, second] = [records.less(0), records.less(1), records.equal(1)];
    const [begins, later] = [records.less(4), records.greaterEqual(4)];
    for (const empty of [first, second]) near(state(empty, nothing), state(empty, empty), "an empty record");
    near(state(begins, nothing), state(begins, later), "later records");
    const differ = (a: number[][], b: number[][], what: string) => assert.throws(() => near(a, b, what, 1e-2));
    differ(state(begins, nothing), state(begins, first), "empty records see each other");
    differ(state(second, nothing, true), state(second, second, true), "upstream sees them");
  });
  model.dispose();
});

Deno.test("compiled and eager models agree", () => {
  for (const [name, config] of variants.filter(([name]) => /repo|affine/.test(name))) {
    const model = CLEF.create(config, 5);
    const batch = batchOf([0, 1]);
    const { history, query } = tidy(() => ask(batch, 9, 11));
    const eager = tidy(() => model.forward(history, query).state.arraySync());
    const compiled = compile((h: typeof history, q: typeof query) => model.forward(h, q), { xla: true });
    near(tidy(() => compiled(history, query).state.arraySync()), eager, name);
    compiled.dispose();
    model.dispose();
    freeBatch(batch);
  }
});

const config = presets.repo(sizesOf(encoders[0]));

Deno.test("one trace answers every history length and horizon: a far target costs what a near one does", () => {
  const model = CLEF.create(presets.plus(sizesOf(encoders[0]), scaling), 5);
  const batch = batchOf([0, 1]);
  const answer = compile((length: tf.Tensor1D, target: tf.Tensor1D) => {
    const { history, query } = ask(batch, length, target);
    return model.forward(history, query).state;
  }, { xla: false });
  const places = (value: number) => tf.fill<tf.Rank.R1>([2], value, "int32");
  for (const [length, target] of [[3, 3], [9, 13], [4, 12]]) {
    const state = tidy(() => answer(places(length), places(target)).arraySync());
    near(state, stateOf(model, [0, 1], length, target), `target ${target} from ${length}`);
  }
  assert.ok(answer.explain().traces.length <= 1); // none on a backend that compiles nothing
  answer.dispose();
  model.dispose();
  freeBatch(batch);
});

Deno.test("a concept of 1 gives the base: the last observed values bit for bit, or the mean", () => {
  for (const base of ["last", "mean"] as const) {
    const model = CLEF.create({ ...config, base }, 1);
    tidy(() => {
      const { history, query } = ask(batchOf([0, 1]), 9, 9);
      const generated = model.forward(history, query, { edit: (concept) => tf.onesLike(concept) });
      assert.deepEqual(generated.state.arraySync(), generated.base.arraySync());
      if (base === "mean") return;
      data.subjects.slice(0, 2).forEach(({ values, missing }, b) => {
        const expected = Array.from({ length: 16 }, (_, v) => {
          for (let k = 8; k >= 0; k--) if (!missing[k * 16 + v]) return values[k * 16 + v];
          return NaN;
        });
        assert.deepEqual(generated.state.arraySync()[b], expected);
      });
    });
    model.dispose();
  }
});

Deno.test("editing one concept moves that variable alone, bit for bit, and 0 stays 0", () => {
  const model = CLEF.create(config, 2);
  tidy(() => {
    const { history, query } = ask(batchOf([0]), 9, 9);
    const sixth = tf.oneHot(tf.scalar(6, "int32"), 16).reshape([1, 16]).cast("bool");
    const edit = (concept: tf.Tensor2D) => tf.where(sixth, tf.fill([1, 16], 0.5), concept) as tf.Tensor2D;
    const [plain, edited] = [model.forward(history, query), model.forward(history, query, { edit })];
    const [before, after] = [plain.state.arraySync()[0], edited.state.arraySync()[0]];
    before.forEach((value, v) => v === 6 ? assert.notEqual(after[v], value) : assert.equal(after[v], value));
    const zero = { ...history, x: tf.zerosLike(history.x) };
    assert.ok(model.forward(zero, query).state.arraySync()[0].every((value) => Math.abs(value) === 0));
  });
  model.dispose();
});

Deno.test("the time gap is zero, antisymmetric, additive and blind to years; elapsed codes ascend", () => {
  tidy(() => {
    const spec = timeSpec("t", 8, "both");
    const weights = new Map(Object.entries(initialise(spec, random(1))) as [string, tf.Tensor][]);
    const at = (calendar: number[], hours: number): Moments => (
      { calendar: tf.tensor3d(calendar, [1, 1, 3], "int32"), hours: tf.tensor2d([[hours]]) }
    );
    const [a, b, c] = [at([1, 31, 8], 0), at([2, 2, 9], 49), at([7, 9, 23], 4000)];
    const gap = (from: Moments, to: Moments, time: "calendar" | "elapsed") => timeGap(from, to, weights, "t", time);
    const largest = (x: tf.Tensor) => x.abs().max().arraySync() as number;
    for (const time of ["calendar", "elapsed"] as const) assert.equal(largest(gap(b, b, time)), 0);
    assert.equal(largest(gap(a, b, "calendar").add(gap(b, a, "calendar"))), 0);
    const sum = gap(a, b, "calendar").add(gap(b, c, "calendar"));
    assert.ok(largest(sum.sub(gap(a, c, "calendar"))) < 1e-6);
    const yearLater = at([1, 31, 8], 8784);
    assert.equal(largest(gap(a, yearLater, "calendar")), 0, "the calendar does not see a year");
    assert.ok(largest(gap(a, yearLater, "elapsed")) > 0.01, "elapsed time does");
    const first = elapsedCode(tf.tensor2d([[0, 0.5, 1, 24, 25, 8760, 8761]])).slice([0, 0, 0], [1, -1, 1]).flatten();
    const codes = first.arraySync() as number[];
    assert.ok(codes.every((code, i) => i === 0 || code > codes[i - 1]));
  });
});

Deno.test("changing a value under the mask moves what the encoder sees, but not the base", () => {
  const model = CLEF.create(config, 7);
  tidy(() => {
    const { history, query } = ask(batchOf([0, 1]), 9, 9);
    const other = { ...history, x: history.x.add<tf.Tensor3D>(tf.sub(1, history.observed).mul(50)) };
    const [plain, moved] = [model.forward(history, query), model.forward(other, query)];
    assert.deepEqual(moved.base.arraySync(), plain.base.arraySync());
    assert.notDeepEqual(moved.state.arraySync(), plain.state.arraySync());
    const scaled = CLEF.create(presets.plus(sizesOf(encoders[0]), scaling), 7); // zeroes missing cells
    assert.deepEqual(scaled.forward(other, query).state.arraySync(), scaled.forward(history, query).state.arraySync());
    scaled.dispose();
  });
  model.dispose();
});

Deno.test("with z-scored input, another unit of a variable multiplies its state and no other; in raw units it does not", () => {
  const factor = 3.7, v = 4;
  const units = Array.from({ length: 16 }, (_, i) => i === v ? factor : 1);
  const rescaled = {
    mean: scaling.mean.map((value, i) => value * units[i]),
    std: scaling.std.map((value, i) => value * units[i]),
  };
  const holds = (before: CLEFConfig, after: CLEFConfig) =>
    tidy(() => {
      const weights = CLEF.create(before, 9).weights;
      const { history, query } = ask(batchOf([0, 1]), 9, 11);
      const other = { ...history, x: history.x.mul<tf.Tensor3D>(tf.tensor1d(units)) };
      const plain = new CLEF(before, weights).forward(history, query).state.mul(tf.tensor2d([units]));
      const changed = new CLEF(after, weights).forward(other, query).state;
      return (plain.sub(changed).abs().div(plain.abs().add(1)).max().arraySync() as number) < 1e-4;
    });
  const sizes = sizesOf(encoders[0]);
  assert.ok(holds(presets.plus(sizes, scaling), presets.plus(sizes, rescaled)));
  assert.ok(!holds(presets.repo(sizes), presets.repo(sizes)));
});

Deno.test("no condition is zeros, which is not a model without conditions; FFN 0 does not see its weights", () => {
  tidy(() => {
    const model = CLEF.create({ ...config, feedForward: false }, 4);
    const { history, query } = ask(batchOf([0]), 9, 9);
    const none = { ...query, condition: tf.zeros<tf.Rank.R2>([1, 32]) };
    const withAdapter = model.forward(history, none).concept.arraySync();
    const withoutAdapter = new CLEF({ ...config, feedForward: false, conditionWidth: 0 }, model.weights);
    assert.notDeepEqual(withoutAdapter.forward(history, query).concept.arraySync(), withAdapter);
    const changed = new Map(model.weights);
    changed.set("concept_proj.weight", tf.ones([16, 16]));
    const other = new CLEF({ ...config, feedForward: false }, changed);
    assert.deepEqual(other.forward(history, none).concept.arraySync(), withAdapter);
  });
});

Deno.test("GELU has its minimum, -0.17, at -0.7518; the other decoders' concepts are positive", () => {
  tidy(() => {
    const x = tf.linspace(-3, 3, 60_001);
    const values = gelu(x).arraySync() as number[];
    const lowest = Math.min(...values);
    assert.ok(Math.abs(lowest + 0.16997) < 1e-4);
    assert.ok(Math.abs((x.arraySync() as number[])[values.indexOf(lowest)] + 0.7518) < 2e-3);
    const logits = tf.tensor2d([[-5, 0, 2]]);
    assert.deepEqual(conceptOf(logits, "exponential", false).arraySync()[0].map((c) => c > 0), [true, true, true]);
    assert.deepEqual(conceptOf(logits, "residual", false).arraySync()[0].map((c) => c > 0), [true, true, true]);
    assert.equal(conceptOf(tf.zeros<tf.Rank.R2>([1, 1]), "multiplicative", true).arraySync()[0][0], 1);
  });
});

Deno.test("xLSTM in parallel is xLSTM step by step, with random weights and 30 records", () => {
  tidy(() => {
    const encoder = { kind: "xlstm", heads: 4, blocks: 3, convolution: 4, qkvBlock: 4 } as const;
    const model = CLEF.create(presets.repo({ ...sizesOf(encoder) }), 6);
    const x = tf.tensor3d(random(1, "x").normals(2 * 30 * 16), [2, 30, 16]);
    const [parallel, recurrent] = (["parallel", "recurrent"] as const).map((form) =>
      xlstmStack(x, model.weights, "encoder", encoder, form)
    );
    assert.ok(parallel.sub(recurrent).abs().max().arraySync() as number <= 1e-4);
  });
});

Deno.test("an xLSTM that forgets nothing and takes in nothing keeps its first record; one that forgets all has the last", () => {
  const records = 6, channels = 4, open = 1e3;
  const draw = random(5, "gates");
  const three = () => tf.tensor4d(draw.normals(records * channels), [1, 1, records, channels]);
  const gate = (of: (record: number) => number) =>
    tf.tensor3d(Array.from({ length: records }, (_, record) => of(record)), [1, 1, records]);
  tidy(() => {
    const [queries, keys, values] = [three(), three(), three()];
    const [q, k, v] = [queries, keys, values].map((x) => x.arraySync()[0][0]);
    /** What record t reads of record j alone, with a stabiliser of 0. */
    const read = (t: number, j: number) => {
      const match = q[t].reduce((sum, value, c) => sum + value * k[j][c], 0) / Math.sqrt(channels);
      return v[j].map((value) => match * value / Math.max(Math.abs(match), 1));
    };
    const limits: [
      name: string,
      forget: number,
      input: (record: number) => number,
      expected: (t: number) => number[],
    ][] = [
      ["nothing forgotten, nothing taken in after the first", open, (t) => t ? -open : 0, (t) => read(t, 0)],
      ["all forgotten", -open, () => 0, (t) => read(t, t)],
      ["nothing ever taken in", open, () => -50, () => Array(channels).fill(0)],
    ];
    for (const [name, forget, input, expected] of limits) {
      const given = { queries, keys, values, inputGate: gate(input), forgetGate: gate(() => forget) };
      for (const h of [mlstmParallel(given), mlstmRecurrent(given).h]) {
        h.arraySync()[0][0].forEach((row, t) =>
          row.forEach((value, c) => assert.ok(Math.abs(value - expected(t)[c]) < 1e-4, `${name}, record ${t}`))
        );
      }
    }
    // the cell that is a vector: input, forget, cell and output gates of one channel
    const z = [0.3, -2, 5], o = [0.5, 1, -1];
    const gates = tf.tensor3d(z.flatMap((cell, t) => [t ? -open : 0, open, cell, o[t]]), [1, 3, 4]);
    const { h } = slstm(gates, tf.zeros([1, 4, 1]), tf.zeros([4]));
    (h.arraySync() as number[][][])[0].forEach(([value], t) =>
      assert.ok(Math.abs(value - Math.tanh(z[0]) / (1 + Math.exp(-o[t]))) < 1e-5, `record ${t}`)
    );
  });
});

/** The axes of a weight that stand for variables: all of their length, but those of heads and of the hidden layer. */
function variableAxes(name: string, shape: readonly number[], variables: number): number[] {
  const axes = [...shape.keys()].filter((axis) => shape[axis] === variables);
  if (/in_proj_bias|linear1\.bias/.test(name)) return [];
  if (/in_proj_weight|linear1\.weight/.test(name)) return [1];
  if (/out_proj\.weight|linear2\.weight/.test(name)) return [0];
  return axes;
}

for (
  const [name, encoder] of [
    ["LSTM", { kind: "lstm", hidden: 7 }],
    ["Transformer", { kind: "transformer", heads: 4, layers: 2 }],
  ] as const
) {
  for (const [preset, make] of [["repo", presets.repo], ["paper", presets.paper]] as const) {
    Deno.test(`${name}, ${preset}: variables in another order, with all that belongs to them, give concepts in that order`, () => {
      tidy(() => {
        const model = CLEF.create(make(sizesOf(encoder)), 9);
        const order = random(2, "variables").permutation(16), index = tf.tensor1d(order, "int32");
        const permuted = new Map([...model.weights].map(([weight, value]) => [
          weight,
          variableAxes(weight, value.shape, 16).reduce<tf.Tensor>((x, axis) => tf.gather(x, index, axis), value),
        ]));
        const other = new CLEF(model.config, permuted as typeof model.weights);
        const batch = batchOf([0, 1, 2]);
        // the waves of positions are no weights: what their columns would have brought is added to what the encoder reads
        const records = batch.x.shape[1];
        const waves = tf.tensor2d(sinusoidalTable(records, 16), [records, 16]);
        const difference = tf.gather(waves, index, 1).sub(waves);
        const observed = tf.gather(batch.observed, index, 2);
        const moved = { ...batch, x: tf.gather(batch.x, index, 2).add<tf.Tensor3D>(difference), observed };
        const concepts = (of: CLEF, given: typeof batch) => {
          const { history, query } = ask(given, 10, 12);
          return of.forward(history, query).concept.arraySync();
        };
        const plain = concepts(model, batch);
        const wanted = plain.map((row) => order.map((v) => row[v]));
        near(concepts(other, moved), wanted, "permuted");
        const kept = concepts(model, moved).flat();
        assert.ok(kept.some((value, i) => Math.abs(value - wanted.flat()[i]) > 1e-3), "the weights have to move too");
      });
    });
  }
}
