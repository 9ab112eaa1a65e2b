/** The Vision Transformer against what its trained weights must give, and against published costs. */
import assert from "node:assert/strict";
import { mnist, normalize, pneumoniaMnist, selectImages, vitNano, type VitNanoName } from "../../lib/data/mod.ts";
import { backend, tf, tidy } from "../../lib/tensor/mod.ts";
import { evaluate } from "../../lib/nn/evaluate.ts";
import { vitMACs } from "../../lib/nn/macs.ts";
import { attention } from "../../lib/nn/attention.ts";
import { ViT } from "../../lib/nn/vit.ts";
import { type LayerBudget, type ReducerName, reducers } from "../../lib/reduction/mod.ts";

/** Whole test sets need minutes on plain JavaScript: its inference is held by the laws and golden cases, on few images. */
const slow = backend.name === "cpu";
if (slow) console.log("skipped on the cpu backend, where they take minutes: accuracy on whole test sets");

for (const [name, loader] of [["mnist", mnist], ["pneumonia", pneumoniaMnist]] as const) {
  Deno.test(`vit-nano/${name} gives its published logits, attention, accuracy and AUC`, { ignore: slow }, async () => {
    const { expected } = await vitNano.load(name as VitNanoName);
    const model = await ViT.load(name as VitNanoName);
    const test = await loader.load("test");
    tidy(() => {
      const first = normalize(selectImages(test, [0, 1, 2, 3, 4, 5, 6, 7]));
      const output = model.forward(tf.tensor4d(first.data, first.shape));
      const close = (a: tf.Tensor, b: number[][]) => tf.sub(a, tf.tensor2d(b)).abs().max().dataSync()[0];
      assert.ok(close(output.logits, expected.firstLogits) < 1e-4);
      const looked = tf.stack(output.attention.map((a) => a.slice([0, 0, 0, 1], [1, -1, 1, -1]).mean(1).flatten()));
      assert.ok(close(looked, expected.classAttention) < 1e-4);
    });
    const result = await evaluate(model, test);
    assert.equal(result.images, expected.testImages);
    assert.ok(Math.abs(result.accuracy - expected.testAccuracy) < 1e-4, `${result.accuracy}`);
    assert.ok(result.interval.low < result.accuracy && result.accuracy < result.interval.high);
    if (expected.testAuroc !== undefined) assert.ok(Math.abs(result.auroc! - expected.testAuroc) < 1e-4);
    model.dispose();
  });

  Deno.test(
    `vit-nano/${name} loses as much accuracy to Top-K as its training script measured`,
    { ignore: slow },
    async () => {
      const { expected } = await vitNano.load(name as VitNanoName);
      const model = await ViT.load(name as VitNanoName);
      const test = await loader.load("test");
      for (const { patchesKept, byAttention } of expected.pruned) {
        const reducer = reducers.topk({ keep: [patchesKept], layers: [1] }); // the script calls it block 2, from 1
        const { accuracy, tokens } = await evaluate(model, test, { reducer });
        assert.equal(tokens, patchesKept + 1);
        assert.ok(Math.abs(accuracy - byAttention) < 1e-3, `${patchesKept} patches: ${accuracy}, not ${byAttention}`);
      }
      model.dispose();
    },
  );
}

Deno.test("vit-nano gives its published logits of eight digits on every backend", async () => {
  const { expected } = await vitNano.load("mnist");
  const model = await ViT.load("mnist");
  const first = normalize(selectImages(await mnist.load("test"), [0, 1, 2, 3, 4, 5, 6, 7]));
  tidy(() => {
    const { logits } = model.forward(tf.tensor4d(first.data, first.shape));
    assert.ok(tf.sub(logits, tf.tensor2d(expected.firstLogits)).abs().max().dataSync()[0] < 1e-4);
  });
  model.dispose();
});

Deno.test("the result of an evaluation does not depend on the size of a batch", async () => {
  const model = await ViT.load("mnist");
  const some = selectImages(await mnist.load("test"), Array.from({ length: 30 }, (_, i) => i));
  const reducer = reducers.tome({ r: 8 });
  const one = await evaluate(model, some, { reducer, batch: 30 }),
    many = await evaluate(model, some, { reducer, batch: 7 });
  assert.deepEqual(one, many);
  model.dispose();
});

Deno.test("proportional attention over merged tokens equals attention over the tokens they were, where these are equal", () => {
  tidy(() => {
    const parameters = {
      qkv: { weight: tf.randomNormal<tf.Rank.R2>([12, 4], 0, 1, "float32", 1) },
      proj: { weight: tf.randomNormal<tf.Rank.R2>([4, 4], 0, 1, "float32", 2) },
    };
    const a = [1, 0, 2, -1], b = [0, 1, 1, 3];
    const all = attention(tf.tensor3d([[a, b, b, b]]), parameters, { heads: 2 }).x;
    const merged = attention(tf.tensor3d([[a, b]]), parameters, { heads: 2, size: tf.tensor2d([[1, 3]]) }).x;
    const difference = tf.sub(all.slice([0, 0, 0], [1, 2, 4]), merged).abs().max().dataSync()[0];
    assert.ok(difference < 1e-5, `${difference}`);
  });
});

Deno.test("MACs are those that papers print", () => {
  const deit = (width: number) => ({
    width,
    depth: 12,
    mlpWidth: 4 * width,
    patches: 196,
    patchValues: 768,
    classes: 1000,
  });
  const gmacs = (width: number, name?: ReducerName, budget?: LayerBudget) => {
    const reducer = name && reducers[name](budget!);
    let tokens = 197;
    const counts = Array.from({ length: 12 }, (_, layer) => {
      const place = { layer, layers: 12, tokens, initialTokens: 197, specialTokens: 1, grid: [14, 14] as const };
      const out = tokens - (reducer?.plan(place).achieved ?? 0);
      const count = { in: tokens, out };
      tokens = out;
      return count;
    });
    return (vitMACs(deit(width), counts) / 1e9).toFixed(3);
  };
  assert.deepEqual([192, 384, 768].map((width) => gmacs(width)), ["1.254", "4.599", "17.564"]);
  assert.deepEqual([8, 12, 13, 16].map((r) => gmacs(384, "tome", { r })), ["3.416", "2.844", "2.703", "2.291"]);
  assert.equal(gmacs(768, "tome", { r: { r: 16, inflect: -1 } }), "5.864");
  const rates = [0.9, 0.8, 0.7, 0.6, 0.5];
  assert.deepEqual(rates.map((keepRate) => gmacs(384, "evit", { keepRate })), [
    "4.022",
    "3.477",
    "3.029",
    "2.635",
    "2.309",
  ]);
  const topk = [0.9, 0.7, 0.5, 0.25].map((keepRate) => gmacs(384, "topk", { keepRate }));
  assert.deepEqual(topk, ["3.960", "2.980", "2.278", "1.699"]);
});

Deno.test("the model refuses images of another size, missing weights and weights of another shape", async () => {
  const model = await ViT.load("mnist");
  tidy(() => {
    assert.throws(
      () => model.forward(tf.zeros([1, 32, 32, 1])),
      /images must be \[batch, 28, 28, 1\], but they are \[1,32,32,1\]; resize them/,
    );
    assert.throws(() => model.forward(tf.zeros([1, 28, 28, 3])), /but they are \[1,28,28,3\]/);
  });
  assert.equal(model.parameters, 79_690);
  model.dispose();
  const { config, tensors } = await vitNano.load("mnist");
  const sizes = { ...config, width: config.dim, mlpWidth: config.mlpDim };
  const without = new Map(tensors);
  without.delete("blocks.2.norm1.bias");
  assert.throws(() => ViT.fromArrays(sizes, without), /weight blocks.2.norm1.bias is missing/);
  assert.throws(
    () => ViT.fromArrays({ ...sizes, classes: 5 }, tensors),
    /head.weight must have shape \[5,48\], but it has/,
  );
  assert.throws(() => ViT.fromArrays({ ...sizes, patchSize: 5 }, tensors), /28 is not a multiple of 5/);
  assert.throws(() => ViT.fromArrays({ ...sizes, heads: 5 }, tensors), /heads must divide the width/);
});
