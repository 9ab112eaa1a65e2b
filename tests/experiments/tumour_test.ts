import assert from "node:assert/strict";
import { horizonTensors, sequenceRows, tumourTensors } from "../../lib/data/mod.ts";
import { random } from "../../lib/random.ts";
import { backend, tf } from "../../lib/tensor/mod.ts";
import { balanceOf, discrepancyOf } from "../../experiments/tumour/balance.ts";
import { oneStepNRMSE, sequenceNRMSE } from "../../experiments/tumour/metrics.ts";
import { publishedSettings } from "../../experiments/tumour/models/published.ts";
import { lastValue, oracle, population } from "../../experiments/tumour/models/simple.ts";
import { trainCLEF, trainCRN, trainCRNDecoder } from "../../experiments/tumour/train.ts";
import { trainCLEFAhead } from "../../experiments/tumour/train_clef_ahead.ts";
import { aheadCondition } from "../../experiments/tumour/models/clef.ts";
import { trainGNet } from "../../experiments/tumour/train_gnet.ts";
import { trainMSM } from "../../experiments/tumour/train_msm.ts";
import { trainRMSN } from "../../experiments/tumour/train_rmsn.ts";
import { rolledOut, trainCausalTransformer } from "../../experiments/tumour/train_transformer.ts";
import { clefOutcome } from "../../experiments/tumour/models/clef.ts";
import { tumourWorld } from "../../experiments/tumour/world.ts";

/** On the fallbacks LSTMs of 59 steps take minutes. */
const ignore = backend.name !== "tensorflow";
const full = Deno.env.has("TESSERA_FULL");

const small = () => tumourWorld({ gamma: 0, seed: 10, trainPatients: 300, testPatients: 8 });

Deno.test("CLEF's head learns to answer better than the last value within seconds", { ignore }, async () => {
  const world = small();
  const test = world.oneStep();
  const model = await trainCLEF(world, { seed: 1, epochs: 6 });
  const [learned, stays] = [await model.oneStep(test), await lastValue.oneStep(test)].map((p) =>
    oneStepNRMSE(test, p).last
  );
  model.dispose();
  assert.ok(learned < 0.6 * stays, `${learned} and ${stays}`);
});

Deno.test("a chained answer is the one of reading the whole row again each day", { ignore }, async () => {
  const world = small();
  const all = world.sequences("random");
  const rows = 40;
  const test = { ...all, rows, patient: all.patient.slice(-rows), day: all.day.slice(-rows) };
  const planned = <A extends Uint8Array | Float64Array>(array: A) => array.slice(-rows * all.horizon) as A;
  const last = { ...test, chemo: planned(all.chemo), radio: planned(all.radio), volume: planned(all.volume) };
  const model = await trainCLEF(world, { seed: 1, epochs: 1 });
  const chained = await model.sequences(last);
  const whole = await rolledOut(world, last, (batch) => model.outcome(model.represent(batch), batch));
  model.dispose();
  chained.forEach((value, at) => {
    assert.ok(Math.abs(value - whole[at]) < 1e-2 * (1 + Math.abs(value)), `${at}: ${value}, ${whole[at]}`);
  });
});

Deno.test("every model trains and answers both kinds of questions", { ignore: ignore || !full }, async () => {
  const world = small();
  const [oneStep, sequences] = [world.oneStep(), world.sequences("sliding")];
  const options = { seed: 1, epochs: 6 };
  const crn = await trainCRN(world, options);
  const models = {
    MSM: trainMSM(world),
    "MSM, parity": trainMSM(world, { parity: true }),
    CRN: { oneStep: crn.oneStep, sequences: (await trainCRNDecoder(world, crn, { ...options, epochs: 2 })).sequences },
    "G-Net": await trainGNet(world, { ...options, futures: 2 }),
    RMSN: await trainRMSN(world, { ...options, epochs: 2 }),
    CT: await trainCausalTransformer(world, options),
    "CLEF, delayed": await trainCLEFAhead(world, options),
    "CT (α=0)": await trainCausalTransformer(world, { ...options, balanced: false }),
  };
  for (const [name, model] of Object.entries(models)) {
    const { last } = oneStepNRMSE(oneStep, await model.oneStep(oneStep));
    const ahead = sequenceNRMSE(sequences, await model.sequences(sequences));
    assert.ok(last < 10 && ahead.length === 5 && ahead.every((error) => error < 5), `${name}: ${last}, ${ahead}`);
  }
});

Deno.test("the population's law errs less than the last value, the patient's own least", async () => {
  const world = small();
  const [oneStep, sequences] = [world.oneStep(), world.sequences("random")];
  const models = [oracle, population(world.train.patients), lastValue];
  const errors = await Promise.all(
    models.map(async (model) => oneStepNRMSE(oneStep, await model.oneStep(oneStep)).last),
  );
  assert.ok(errors[0] < errors[1] && errors[1] < errors[2], `${errors}`);
  for (let ahead = 0; ahead < 5; ahead++) {
    const at = await Promise.all(
      models.map(async (m) => sequenceNRMSE(sequences, await m.sequences(sequences))[ahead]),
    );
    assert.ok(at[0] < at[1] && at[1] < at[2], `${ahead + 2} days ahead: ${at}`);
  }
});

Deno.test("a representation that holds the treatment is told from one that does not", { ignore }, () => {
  const from = random(1);
  const treatments = Array.from({ length: 1200 }, () => from.integer(4));
  const noise = treatments.map(() => from.normals(3));
  const holding = noise.map((row, i) => row.map((value, k) => value + (k === 0 ? 3 * (treatments[i] & 1) : 0)));
  const [nothing, something] = [balanceOf(noise, treatments, 1), balanceOf(holding, treatments, 1)];
  assert.ok(
    Math.abs(nothing.treatmentTold) < 0.03 && something.treatmentTold > 0.2,
    JSON.stringify([nothing, something]),
  );
  assert.ok(Math.abs(nothing.discrepancy) < 0.01 && something.discrepancy > 0.1, JSON.stringify([nothing, something]));
});

Deno.test("the discrepancy of two rows of each kind is the one that one works out by hand", () => {
  // distances squared: 1 within a, 1 within b, between: 16, 25, 9, 16; their median (the upper one) is 16
  const kernel = (squared: number) => Math.exp(-squared / 16);
  const expected = 2 * kernel(1) - (2 * kernel(16) + kernel(25) + kernel(9)) / 2;
  assert.ok(Math.abs(discrepancyOf([[0], [1]], [[4], [5]]) - expected) < 1e-12);
  assert.throws(() => discrepancyOf([[0]], [[1], [2]]), /two rows of each kind at least, but there are 1 and 2/);
});

Deno.test("a concept of 1 leaves the volume as it is, and nothing stays nothing", { ignore }, () => {
  const scaling = { volume: { mean: 10, std: 60 }, type: { mean: 2, std: 0.8 } };
  const zeros = (outputs: number, inputs: number) => ({
    weight: tf.zeros<tf.Rank.R2>([outputs, inputs]),
    bias: tf.zeros<tf.Rank.R1>([outputs]),
  });
  // GELU(u + 1) is 1 where u is about 0.1446
  const fc2 = { ...zeros(1, 3), bias: tf.tensor1d([0.14461]) };
  const head = { gate: zeros(2, 4), fc1: zeros(3, 2), fc2 };
  const volumes = [0, 50, 400];
  const present = tf.tensor3d(volumes.map((volume) => [[(volume - 10) / 60]]));
  const unused = { lstm: { lstm_layers: [] }, linear1: zeros(2, 2) };
  const { outcome } = clefOutcome(tf.ones([3, 1, 2]), tf.zeros([3, 1, 4]), present, { ...unused, head }, scaling);
  outcome.dataSync().forEach((z, i) =>
    assert.ok(Math.abs(z * 60 + 10 - volumes[i]) < 1e-3 * (1 + volumes[i]), `${z * 60 + 10}`)
  );
});

Deno.test("the condition of a delayed edit holds the plan, then zeros, then which day is asked about", () => {
  const [none, both] = [tf.tensor2d([[1, 0, 0, 0]]), tf.tensor2d([[0, 0, 0, 1]])];
  const [row] = aheadCondition([none, both]).arraySync();
  assert.deepEqual(row.slice(0, 8), [1, 0, 0, 0, 0, 0, 0, 1]);
  assert.deepEqual(row.slice(8, 24), new Array(16).fill(0));
  assert.deepEqual(row.slice(24), [0, 1, 0, 0, 0, 0]);
  assert.throws(() => aheadCondition(new Array(7).fill(none)), /made for 1 to 6 days ahead, but the plan has 7/);
});

Deno.test("settings of an unknown gamma, a horizon that is too far, and a resume with another seed are refused", {
  ignore,
}, async () => {
  assert.throws(() => publishedSettings(5), {
    message: "settings are published for gamma 0, 1, 2, 3, 4, but it is 5; pass settings of your own",
  });
  const world = tumourWorld({ gamma: 0, seed: 10, trainPatients: 40, testPatients: 2 });
  const tensors = tumourTensors(sequenceRows(world.sequences("sliding"), [0, 1]), world.scaling);
  assert.throws(() => horizonTensors(tensors, 6), {
    message: "the test set reaches 5 days beyond its first origin, but the horizon is 6; ask for 1 to 5",
  });
  const folder = await Deno.makeTempDir();
  try {
    const checkpoint = `${folder}/crn.safetensors`;
    (await trainCRN(world, { seed: 1, epochs: 1, checkpoint })).dispose();
    await assert.rejects(
      trainCRN(world, { seed: 2, epochs: 2, checkpoint }),
      /is a checkpoint of a run with .*"seed":1.*, not with .*"seed":2.*; remove it, or name another file/,
    );
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("the experiment's page is what its rows say", async () => {
  const { readmeOf } = await import("../../experiments/tumour/report.ts");
  assert.equal(
    await Deno.readTextFile(new URL("../../experiments/tumour/README.md", import.meta.url)),
    await readmeOf(),
  );
});
