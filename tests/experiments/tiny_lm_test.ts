/** The tiny language model: its weights are those that its log tells of, and it is good enough to judge a policy by. */
import assert from "node:assert/strict";
import { hiddenFacts, tinyLM } from "../../lib/data/mod.ts";
import { Llama } from "../../lib/nn/mod.ts";
import { tf, tidy } from "../../lib/tensor/mod.ts";
import { askFacts } from "../../experiments/tiny_lm/evaluate.ts";
import { trainFinder } from "../../experiments/tiny_lm/training.ts";

Deno.test("TinyLM gives the logits that it gave when it was trained", async () => {
  const { training } = await tinyLM.load();
  const model = await Llama.load("tinyLM");
  const { tokens, rowLength, asked } = hiddenFacts({ texts: 1, seed: training.testSeed });
  const logits = tidy(() =>
    model.forward(tf.tensor2d(tokens, [1, rowLength], "int32")).logits.slice([0, asked[0], 0], [1, 1, -1]).dataSync()
  );
  training.firstLogits.forEach((value, i) =>
    assert.ok(Math.abs(value - logits[i]) < 1e-3, `${value} and ${logits[i]}`)
  );
  model.dispose();
});

Deno.test("TinyLM recalls at least nine of ten hidden facts, and a random half of the text costs some of them", async () => {
  const { training } = await tinyLM.load();
  const model = await Llama.load("tinyLM");
  const facts = hiddenFacts({ texts: 50, seed: 77 });
  const full = askFacts(model, facts), half = askFacts(model, facts, { keepRate: 0.5, seed: 1 });
  assert.ok(full.recall >= 0.9 && training.recall >= 0.9, `recall ${full.recall}`);
  assert.ok(full.byDepth.every((share) => share >= 0.9), `by depth ${full.byDepth}`);
  assert.ok(half.recall > full.chance + 0.05 && half.recall < full.recall - 0.05, `a half: ${half.recall}`);
  model.dispose();
});

Deno.test("hidden facts are where they are said to be, and each is asked once", () => {
  const { texts, rowLength, tokens, asked, told, answer, facts, lengths } = hiddenFacts({
    texts: 20,
    seed: 3,
    length: [8, 40],
  });
  const each = asked.length / texts;
  for (let text = 0; text < texts; text++) {
    const row = tokens.subarray(text * rowLength, (text + 1) * rowLength);
    const names = new Set<number>();
    for (let q = text * each; q < text * each + facts[text]; q++) {
      assert.equal(row[asked[q]], row[told[q]]);
      assert.equal(row[told[q] + 1], answer[q]);
      assert.ok(told[q] + 1 < lengths[text] && asked[q] > lengths[text]);
      names.add(row[asked[q]]);
    }
    assert.equal(names.size, facts[text]);
  }
  assert.throws(
    () => hiddenFacts({ texts: 1, seed: 1, length: 7 }),
    /^RangeError: the length must be a whole number from 8, but it is 7$/,
  );
});

Deno.test("another seed is another model, a training leaves nothing but its model, and one that is stopped says so", async () => {
  const small = { epochs: 2, longest: 12, facts: 2 };
  const before = tf.memory().numTensors;
  const weights: Float32Array[] = [], losses: number[] = [];
  for (const seed of [0, 1]) {
    const { model, result } = await trainFinder({ ...small, seed });
    weights.push(model.weights.embed_tokens.weight.dataSync() as Float32Array);
    losses.push(result.history.loss[0], result.history.loss.at(-1)!);
    model.dispose();
  }
  assert.ok(weights[0].some((value, i) => Math.abs(value - weights[1][i]) > 0.01));
  assert.ok(losses[1] < losses[0] && losses[3] < losses[2], `losses ${losses}`);
  assert.equal(tf.memory().numTensors, before);
  await assert.rejects(trainFinder({ ...small, seed: 0, signal: AbortSignal.abort() }), /stop|abort/i);
  assert.equal(tf.memory().numTensors, before, "a training that was stopped");
});
