/** Editing, training, baselines, intervals and splits: what they do, and what they refuse. */
import assert from "node:assert/strict";
import { type Edit, firstRecords, movedVariables } from "../../lib/editing/mod.ts";
import { selectSubjects, synthLab, t1dTwins, trajectories, wotLike } from "../../lib/data/mod.ts";
import { ask, denseBatch, toDevice } from "../../lib/editing/batch.ts";
import {
  baselines,
  CLEF,
  editTrajectory,
  evaluate,
  jaccard,
  leastSquares,
  presets,
  scalingOf,
  spectraSplit,
  splitBySimilarity,
  train,
  trainAsRepository,
} from "../../lib/editing/mod.ts";
import { random } from "../../lib/random.ts";
import { tf, tidy } from "../../lib/tensor/mod.ts";

const data = synthLab({ subjects: 12, seed: 8 });
const encoder = { kind: "transformer", heads: 4, layers: 1 } as const;
const sizes = { variables: 16, conditionWidth: 32, records: 40, encoder } as const;
const model = CLEF.create({ ...presets.repo(sizes), centred: true }, 1);
const history = firstRecords(data.subjects[0], 9);
const edit = (edits: Edit[], options = {}) => editTrajectory(model, history, data, edits, options);

Deno.test("bad edits are refused in one sentence that says what to do", async () => {
  const refused: [Edit[], RegExp][] = [
    [[{ hours: -2 }], /takes effect after the history's end, but its time is -2 hours from there; pass hours above 0$/],
    [[{ hours: 0 }], /pass hours above 0$/],
    [[{ hours: NaN }], /pass hours above 0$/],
    [
      [{ hours: 5, condition: "C77" }],
      /"C77" is not among the 12 that are known, which is not the same as none; add its/,
    ],
    [[{ hours: 5, concepts: { glukose: { set: 1 } } }], /no variable "glukose" to edit; there are sodium, potassium/],
    [[{ hours: 5, hold: ["glukose"] }], /no variable "glukose" to edit/],
    [[{ hours: 5, hold: ["WBC"], concepts: { WBC: { set: 1 } } }], /"WBC" is to be held and to be edited; choose one$/],
    [[{ hours: 5, concepts: { WBC: { clamp: [2, 1] } } }], /within \[2,1\], which is empty; give the lower end first$/],
    [[{ hours: 5, concepts: { WBC: { scale: NaN } } }], /the edit of WBC is .*; give numbers$/],
  ];
  for (const [edits, message] of refused) await assert.rejects(edit(edits), message);
  await assert.rejects(edit([{ hours: 5 }, { hours: 5 }], { mode: "chained" }), /sort the edits by time$/);
  const twin = CLEF.create(presets.withoutConcepts(sizes), 1);
  const halved = [{ hours: 5, concepts: { WBC: { set: 0.5 } } }];
  await assert.rejects(editTrajectory(twin, history, data, halved), /has no concepts, so that none can be edited/);
  assert.throws(() => firstRecords(history, 10), /has 9 records, but 10 were asked for; ask for 1 to 9$/);
  const other = trajectories([{ id: 1, hours: [0], values: [[1]] }], {
    name: "o",
    variables: [{ name: "x", unit: "1" }],
  });
  await assert.rejects(
    editTrajectory(model, other.subjects[0], other, [{ hours: 1 }]),
    /made for 16; use its data set$/,
  );
});

Deno.test("the history that is passed in is never changed, and the result says what made it", async () => {
  const before = structuredClone(history);
  const edits: Edit[] = [{ hours: 24, condition: "C1" }, { hours: 48, concepts: { glucose: { set: 0.5 } } }];
  const first = await edit(edits, { mode: "chained" });
  assert.deepEqual(history, before);
  const again = await edit(edits, { mode: "chained" });
  assert.deepEqual(again, first);
  const { provenance } = first;
  assert.deepEqual([provenance.subject, provenance.records, provenance.mode, provenance.edits], [
    "0",
    9,
    "chained",
    edits,
  ]);
  assert.match(provenance.model, /^CLEF, transformer, 16 variables, raw units/);
  const changed = { ...history, values: history.values.map((value, at) => at === 3 ? value + 1 : value) };
  const moved = await editTrajectory(model, changed, data, edits);
  assert.notEqual(moved.provenance.history, provenance.history);
  assert.equal(moved.provenance.weights, provenance.weights);
});

Deno.test("concepts can be set, scaled, added to and kept within; what is held keeps its last value", async () => {
  const names = data.variables.map(({ name }) => name);
  const { states: [state] } = await edit([{
    hours: 24,
    concepts: { glucose: { set: 0.5 }, WBC: { scale: 2 }, sodium: { add: 0.25 }, calcium: { clamp: [0.1, 0.2] } },
    hold: ["potassium", "platelets"],
  }]);
  const at = (name: string) => names.indexOf(name);
  const close = (a: number, b: number) => assert.ok(Math.abs(a - b) < 1e-5 * (1 + Math.abs(b)), `${a} and ${b}`);
  close(state.concept[at("glucose")], 0.5);
  close(state.concept[at("WBC")], 2 * state.proposed[at("WBC")]);
  close(state.concept[at("sodium")], state.proposed[at("sodium")] + 0.25);
  assert.ok(state.concept[at("calcium")] <= 0.2001 && state.concept[at("calcium")] >= 0.0999);
  for (const name of ["potassium", "platelets"]) {
    let last = NaN;
    for (let k = 0; k < 9; k++) if (!history.missing[k * 16 + at(name)]) last = history.values[k * 16 + at(name)];
    close(state.state[at(name)], last);
  }
  const { states: [reference] } = await edit([{ hours: 24 }]);
  const untouched = names.filter((name) =>
    !["glucose", "WBC", "sodium", "calcium", "potassium", "platelets"].includes(name)
  );
  for (const name of untouched) assert.equal(state.state[at(name)], reference.state[at(name)]);
  const moved = movedVariables(data.variables, state, reference).map(({ variable }) => variable);
  assert.ok(moved.includes("glucose") && !moved.includes("creatinine"));
});

Deno.test("the first step of a chain is the direct edit, and a delayed edit at the next record is the immediate one", async () => {
  const edits: Edit[] = [{ hours: 24, condition: "C3" }, { hours: 48 }];
  const [direct, chained] = [await edit(edits), await edit(edits, { mode: "chained" })];
  assert.deepEqual(chained.states[0], direct.states[0]);
  assert.notDeepEqual(chained.states[1].state, direct.states[1].state);
  const gap = data.subjects[0].hours[9] - data.subjects[0].hours[8];
  const { states: [state] } = await edit([{ hours: gap, condition: data.subjects[0].conditions[9] }]);
  tidy(() => {
    const { history, query } = ask(toDevice(denseBatch(data, [0])), 9, 9);
    const immediate = model.forward(history, query).state.arraySync()[0];
    immediate.forEach((value, v) => assert.ok(Math.abs(value - state.state[v]) < 1e-4 * (1 + Math.abs(value))));
  });
});

Deno.test("training lowers the error well below the untrained model's, the same for the same seed", async () => {
  const [training, test] = [[96, 1], [64, 3]].map(([subjects, seed]) => synthLab({ subjects, seed }));
  const scaling = scalingOf(training);
  const config = presets.plus(sizes, scaling);
  const run = async () => {
    const own = CLEF.create(config, 1);
    const before = await evaluate(own, test, { task: "immediate", scaling });
    await train(own, training, { epochs: 4, batch: 64, learningRate: 3e-3, seed: 1, scaling, show: false });
    const after = await evaluate(own, test, { task: "immediate", scaling });
    own.dispose();
    return [before.nMAE, after.nMAE];
  };
  const [before, after] = await run();
  assert.ok(after < 0.85 * before, `${before} became ${after}`);
  assert.deepEqual(await run(), [before, after]);
  await assert.rejects(
    train(model, selectSubjects(wotLike({ trajectories: 1, seed: 1, genes: 16, records: 9, divergeAt: 3 }), [0]), {
      epochs: 1,
      seed: 1,
    }),
    /no subject of .* has more than 9 records, so there is nothing to train on; lower warmUp/,
  );
});

Deno.test("gradients that add up, as in the authors' loop, give other weights than cleared ones", async () => {
  const few = selectSubjects(data, [0, 1, 2]);
  const losses: number[][] = [];
  const weights: number[][] = [];
  for (const accumulate of ["repo", "none"] as const) {
    const own = CLEF.create(presets.repo(sizes), 2);
    const options = { epochs: 1, seed: 1, window: 12, dropout: false, shuffle: false, learningRate: 1e-3 };
    losses.push(await trainAsRepository(own, few, { ...options, accumulate })); // targets 9, 10, 11
    weights.push([...own.weights.get("concept_proj.bias")!.dataSync()]);
    own.dispose();
  }
  assert.notDeepEqual(weights[0], weights[1]);
  const one = CLEF.create(presets.repo(sizes), 2);
  const [alone] = await trainAsRepository(one, few, { epochs: 1, seed: 1, window: 10, dropout: false, shuffle: false });
  assert.ok(alone > 0 && losses.flat().every((loss) => loss > 0));
});

Deno.test("a vector autoregression continues a line and a doubling; least squares of least norm solve what can be solved", async () => {
  const doubling = trajectories([{ id: 1, hours: [0, 1, 2, 3, 4], values: [1, 2, 4, 8, 16].map((value) => [value]) }], {
    name: "doubling",
    variables: [{ name: "x", unit: "1" }],
  });
  const options = { task: "delayed", warmUp: 2, most: 5, keep: true } as const;
  const { states } = await evaluate(baselines.vectorAutoregression(), doubling, options);
  states.forEach(({ state: [x] }, i) => assert.ok(Math.abs(x - [8, 16][i]) < 1e-3, `${x}`));
  const trend = await evaluate(baselines.linearTrend(), doubling, { ...options, most: 4 });
  assert.ok(Math.abs(trend.states[0].state[0] - (7 / 3 + 1.5 * 2)) < 1e-4);
  const from = random(3);
  const z = Array.from({ length: 5 }, () => Array.from({ length: 9 }, () => from.normal()));
  const y = z.map(() => [from.normal(), from.normal()]);
  const b = leastSquares(z, y);
  z.forEach((row, r) =>
    y[r].forEach((value, o) => assert.ok(Math.abs(row.reduce((sum, x, i) => sum + x * b[i][o], 0) - value) < 1e-8))
  );
  const mean = await evaluate(baselines.historicalMean(), data, { task: "immediate" });
  const simple = await evaluate(CLEF.create(presets.simpleLinear(sizes), 1), data, { task: "immediate" });
  assert.ok(Math.abs(mean.pooled.mae - simple.pooled.mae) < 1e-4, "SimpleLinear is the historical mean");
});

Deno.test("a split keeps train and test further apart than it was told, and says what it dropped", () => {
  const from = random(5);
  const sets = Array.from({ length: 120 }, () => new Set(Array.from({ length: 6 }, () => from.integer(40))));
  const options = { count: 120, similarity: (a: number, b: number) => jaccard(sets[a], sets[b]), seed: 2 };
  for (const most of [0.15, 0.3, 0.5]) {
    const split = splitBySimilarity({ ...options, most });
    assert.ok(split.highest <= most && split.test.length >= 24, `${split.highest}`);
    assert.equal(split.train.length + split.test.length + split.dropped.length, 120);
  }
  const [random0, spectral] = [0, 1].map((p) => spectraSplit({ ...options, threshold: 0.3, spectral: p }));
  assert.equal(random0.dropped.length, 0);
  assert.ok(spectral.highest < 0.3 && spectral.dropped.length > 0);
  assert.throws(
    () => splitBySimilarity({ ...options, most: 0, similarity: () => 1 }),
    /none is left to train on; raise most$/,
  );
  assert.throws(() => spectraSplit({ ...options, threshold: 0.4, spectral: 2 }), /lies in \[0, 1\], but it is 2/);
  assert.throws(() => splitBySimilarity({ ...options, most: 1, testShare: 1 }), /testShare lies in \(0, 1\)/);
});

Deno.test("twins differ in glucose and white cells, cells share their prefix", () => {
  const { diabetic, healthy } = t1dTwins({ pairs: 3, seed: 1 });
  assert.deepEqual(diabetic.subjects[1].missing, healthy.subjects[1].missing);
  const cells = wotLike({ trajectories: 3, seed: 1, genes: 16 });
  cells.subjects.forEach(({ values }, i) => {
    assert.deepEqual(cells.counterfactuals[i].values.slice(0, 160), values.slice(0, 160));
    assert.notDeepEqual(cells.counterfactuals[i].values.slice(160, 176), values.slice(160, 176));
  });
  assert.throws(
    () => wotLike({ trajectories: 1, seed: 1, genes: 8, divergeAt: 20 }),
    /divergeAt is 20; the paper has 10/,
  );
});

Deno.test("models refuse sizes that make no sense, weights that do not fit, and MOMENT with padding", async () => {
  assert.throws(
    () => CLEF.create(presets.repo({ ...sizes, variables: 15 }), 1),
    /divide the 15 variables, but there are 4/,
  );
  assert.throws(
    () => new CLEF(presets.repo(sizes), new Map()),
    /is missing among 0; load them under the authors' names/,
  );
  const wrong = new Map(model.weights).set("concept_proj.bias", tf.zeros([3]));
  assert.throws(
    () => new CLEF(presets.repo(sizes), wrong),
    /concept_proj.bias must have shape \[16\], but it has \[3\]/,
  );
  const moment = { kind: "moment", width: 8, heads: 2, perHead: 4, feedForward: 8, layers: 1, patch: 4 } as const;
  const withMoment = CLEF.create(presets.repo({ ...sizes, encoder: moment }), 1);
  await assert.rejects(train(withMoment, data, { epochs: 1, seed: 1 }), /use trainAsRepository/);
  tidy(() => {
    const { history, query } = ask(toDevice(denseBatch(data, [0])), 9, 9);
    const short = { ...history, x: history.x.slice([0, 0, 0], [-1, -1, 15]) as tf.Tensor3D };
    assert.throws(
      () => model.forward(short, query),
      /\[batch, records, 16\] with at least one record, but it is \[1,9,15\]/,
    );
    assert.throws(
      () => model.forward(history, { to: query.to }),
      /must be \[1, 32\], but it is absent; for no condition pass zeros/,
    );
    const length = tf.tensor1d([9], "int32");
    assert.throws(() => withMoment.forward({ ...history, length }, query), /takes histories of one length/);
    const tooLong = CLEF.create(presets.repo({ ...sizes, records: 4 }), 1);
    assert.throws(() => tooLong.forward(history, query), /has 9 records, but the model was made for 4/);
  });
});
