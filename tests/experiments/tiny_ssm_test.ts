/** The tiny state-space model: its weights are those that its log tells of, and what is removed from it obeys the laws. */
import assert from "node:assert/strict";
import { registers, tinySSM } from "../../lib/data/mod.ts";
import { tf, tidy } from "../../lib/tensor/mod.ts";
import { topVim, torSsm } from "../../lib/reduction/mod.ts";
import { askRegisters } from "../../experiments/tiny_ssm/evaluate.ts";
import { TinySSM } from "../../experiments/tiny_ssm/models/tiny_ssm.ts";

const texts = registers({ texts: 100, seed: 77 });

Deno.test("TinySSM gives the logits that it gave when it was trained", async () => {
  const { training } = await tinySSM.load();
  const model = await TinySSM.load();
  const { tokens, length, questions } = registers({ texts: 1, seed: training.testSeed });
  const logits = tidy(() =>
    model.forward(tf.tensor2d(tokens, [1, length + questions], "int32")).logits.slice([0, length, 0], [1, 1, -1])
      .dataSync()
  );
  training.firstLogits.forEach((value, i) =>
    assert.ok(Math.abs(value - logits[i]) < 1e-3, `${value} and ${logits[i]}`)
  );
});

Deno.test("TinySSM answers at least nine of ten questions; a random half of the tokens costs some, those that no answer needs none", async () => {
  const { training } = await tinySSM.load();
  const model = await TinySSM.load();
  const all = askRegisters(model, texts);
  assert.ok(all >= 0.9 && training.accuracy >= 0.9, `accuracy ${all}`);
  const half = (staying: "random" | "needed") => askRegisters(model, texts, { staying, keepRate: 0.5, gaps: "aware" });
  assert.ok(half("random") < all - 0.1 && half("random") > 1 / 8 + 0.1, `a random half: ${half("random")}`);
  assert.ok(half("needed") > all - 0.05, `those that are needed: ${half("needed")}`);
});

Deno.test("a TinySSM from which nothing is removed is the same, bit for bit, with and without gaps", async () => {
  const model = await TinySSM.load();
  const count = texts.length + texts.questions;
  tidy(() => {
    const tokens = tf.tensor2d(texts.tokens.slice(0, 2 * count), [2, count], "int32");
    const keep = tf.range(0, count, 1, "int32").expandDims<tf.Tensor2D>(0).tile<tf.Tensor2D>([2, 1]);
    const whole = model.forward(tokens).logits.dataSync();
    assert.deepEqual(model.forward(tokens, { layer: 1, keep, gaps: "naive" }).logits.dataSync(), whole);
    const aware = model.forward(tokens, { layer: 1, keep, gaps: "aware" }).logits.dataSync();
    whole.forEach((value, i) => assert.ok(Math.abs(value - aware[i]) < 1e-3 * (1 + Math.abs(value)))); // sums of steps round
    for (const reducer of [torSsm({ r: 0 }), topVim({ r: 0 })]) {
      assert.deepEqual(model.forward(tokens, { layer: 1, keep: reducer }).logits.dataSync(), whole);
    }
  });
});
