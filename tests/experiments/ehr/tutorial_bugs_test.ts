/** Bugs of MedTok's tutorials that are not ours, where no other test would see them: specification of MedTok, 8.2 and 8.3. */
import assert from "node:assert/strict";
import { questionsAbout, trainAnswerer } from "../../../experiments/medical_qa/questions.ts";
import { mimic3Demo, phenotypeTask } from "../../../lib/data/mod.ts";
import { random } from "../../../lib/random.ts";
import { plantedWorld } from "../../../lib/tokenization/mod.ts";
import { cosineRate } from "../../../lib/train/mod.ts";

Deno.test("phenotypes: a patient with a visit that has none keeps its labels, and no two conditions are one (8.2-8)", async () => {
  const table = await mimic3Demo.load();
  const { labels, values } = await phenotypeTask(table);
  const none = [...values.values()].filter((value) => value.every((one) => one === 0));
  assert.ok(none.length > 0, "some visit has none of the conditions, and is there");
  assert.equal(values.size, table.patients.length);
  const columns = labels.map((_, i) => [...values.values()].map((value) => value[i]).join(""));
  const told = columns.filter((column) => column.includes("1"));
  assert.ok(told.length > 20);
  assert.equal(new Set(told).size, told.length, "two conditions with the same patients would be one label twice");
});

Deno.test("a cosine schedule goes down, whatever its peak; one that would rise is refused (8.2-10)", () => {
  for (const peak of [1e-3, 1e-4]) {
    const rate = cosineRate({ peak, updates: 20 });
    for (let update = 1; update <= 20; update++) assert.ok(rate(update) < rate(update - 1), `${peak}, ${update}`);
    assert.ok(rate(20) < 1e-12);
  }
  assert.throws(
    () => cosineRate({ peak: 1e-4, updates: 20, final: 1e-3 }),
    /goes down, but its final rate 0.001 lies above/,
  );
});

Deno.test("an epoch sees every question: updates are counted from questions, not from splits (8.3-4)", async () => {
  const world = plantedWorld({ concepts: 30 });
  const questions = questionsAbout(world, world.planted.codes.map((_, i) => i), random(1));
  const model = await trainAnswerer(questions, { prefix: { kind: "none" }, seed: 1, width: 8, epochs: 2 });
  const { steps } = model;
  model.dispose();
  assert.ok(questions.length > 128);
  assert.equal(steps, 2 * Math.ceil(questions.length / 64));
});
