import assert from "node:assert/strict";
import {
  accuracyWith,
  CELLS,
  evidence,
  handMade,
  keepHighest,
  questionsOf,
  trainPredictor,
  trueImportance,
} from "../../../experiments/claims/importance/model.ts";
import { newModel } from "../../../experiments/claims/nested/model.ts";
import { random } from "../../../lib/random.ts";
import { spearman } from "../../../lib/stats.ts";
import { tf } from "../../../lib/tensor/mod.ts";

const model = newModel(1), questions = questionsOf(3, 1);

Deno.test("a question asks for the colour of an object of four cells", () => {
  assert.ok(questions.object.every((cells) => cells.reduce((sum, one) => sum + one, 0) === 4));
  assert.deepEqual(questions.text.shape, [3, 1, 3]);
});

Deno.test("leaving out a token that nobody looks at costs nothing; the truth is of each question by itself", () => {
  const worth = trueImportance(model, questions);
  assert.equal(worth.length, 3);
  assert.ok(worth.every((row) => row.length === CELLS && row.some((value) => value !== 0)));
  const alone = trueImportance(model, {
    ...questions,
    count: 1,
    features: questions.features.slice([0, 0, 0], [1, -1, -1]) as tf.Tensor3D,
    text: questions.text.slice([0, 0, 0], [1, -1, -1]) as tf.Tensor3D,
    answer: questions.answer.slice(0, 1),
  });
  alone[0].forEach((value, cell) => assert.ok(Math.abs(value - worth[0][cell]) < 1e-4));
});

Deno.test("all tokens kept is the whole model, and the highest of a score are those that stay", () => {
  const scores = handMade(model, questions, 1);
  assert.equal(
    accuracyWith(model, questions, scores.norm, CELLS),
    accuracyWith(model, questions, scores.random, CELLS),
  );
  const { maps } = model.forward(questions.features, questions.text, {
    reducer: keepHighest(tf.tensor2d(scores.norm), 5),
  });
  const slots = (maps[0] as { slot: tf.Tensor2D }).slot.arraySync();
  slots.forEach((row, i) => {
    const best = scores.norm[i].map((_, at) => at).sort((a, b) => scores.norm[i][b] - scores.norm[i][a]).slice(0, 5);
    assert.deepEqual(row.flatMap((slot, at) => slot >= 0 ? [at] : []), best.sort((a, b) => a - b));
  });
  assert.equal(maps[1], undefined);
});

Deno.test("a predictor learns what its evidence tells, and from shuffled targets nothing", async () => {
  const asked = questionsOf(24, 2), inputs = evidence(model, asked);
  const norms = handMade(model, asked, 1).norm; // the evidence holds it
  const learned = await trainPredictor(inputs, norms, { seed: 1, steps: 150 });
  const mean = (values: number[][]) => values.reduce((sum, row, i) => sum + spearman(row, norms[i]), 0) / values.length;
  assert.ok(mean(learned.predict(inputs)) > 0.9);
  const draw = random(1);
  const shuffled = norms.map((row) => [...draw.permutation(CELLS)].map((place) => row[place]));
  const nothing = await trainPredictor(inputs, shuffled, { seed: 1, steps: 20 });
  assert.ok(mean(nothing.predict(inputs)) < mean(learned.predict(inputs)) - 0.3);
});
