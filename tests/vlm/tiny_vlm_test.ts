/** TinyVLM: what it must give, and every method for vision-language models inside it. */
import assert from "node:assert/strict";
import { gridQuestions, tinyVLM } from "../../lib/data/mod.ts";
import { applyMap, combineMatrix, membership, NeedsMissing, type Reducer } from "../../lib/nn/mod.ts";
import { catalogue, compose, type MethodName, randomScore, visionLanguage } from "../../lib/reduction/mod.ts";
import { dycoke, fastv, prumerge, trim, vtw, withdrawalLayer } from "../../lib/reduction/mod.ts";
import { backend, compile, randomKey, tf, tidy } from "../../lib/tensor/mod.ts";
import { ask, questionTensors } from "../../experiments/vlm/evaluate.ts";
import { coveredKernels } from "../tensor/kernels_table.ts";
import { TinyVLM } from "../../experiments/vlm/models/tiny_vlm.ts";

const model = await TinyVLM.load();
const { training } = await tinyVLM.load();
const names = Object.keys(visionLanguage) as (keyof typeof visionLanguage & MethodName)[];
const sizes = { width: 64, heads: 4, layers: 4, grid: model.config.grid, specialTokens: 0 };

/** Methods that look at the vision tower act before the first block, the others where they may look at a block before. */
const actsAt = (name: MethodName) => {
  const { needs } = catalogue.get(name).forModel({ r: 1 }, sizes);
  return needs.includes("vision") || name === "divprune" || name === "dycoke" ? 0 : 2;
};
const halving = (name: MethodName): Reducer =>
  name === "vtw" ? vtw({ layer: 2 }) : catalogue.get(name).forModel({ keepRate: 0.5, layers: [actsAt(name)] }, sizes);

/** Some images with one question each. */
function some(images: number, seed = 11): { features: tf.Tensor3D; text: tf.Tensor3D } {
  const { features, text } = questionTensors(gridQuestions({ images, seed }));
  return { features, text: text.slice([0, 3, 0], [-1, 1, -1]) as tf.Tensor3D };
}

Deno.test("TinyVLM gives the logits that it gave after its training", () => {
  tidy(() => {
    const { features, text } = questionTensors(gridQuestions({ images: 1, seed: training.testSeed }));
    const logits = model.forward(features, text).logits.squeeze([0]);
    const difference = tf.sub(logits, tf.tensor2d(training.firstLogits as number[][])).abs().max().dataSync()[0];
    assert.ok(difference < 1e-3, `${difference}`);
  });
});

Deno.test("TinyVLM answers, and a random quarter of its image tokens is neither enough nor useless", async () => {
  const set = gridQuestions({ images: 60, seed: 99 });
  const full = await ask(model, set);
  assert.ok(Object.values(full.accuracy).every((accuracy) => accuracy > 0.9), JSON.stringify(full.accuracy));
  assert.equal(full.recall, 1);
  const random = compose({ score: randomScore, layers: [0], hook: "beforeBlock" })({ keep: [16], layers: [0] });
  const { accuracy, recall, tokens } = await ask(model, set, { reducer: random });
  assert.equal(tokens, 16);
  assert.ok(Math.abs(recall - 0.25) < 0.05, `${recall}`);
  // chance: the most frequent colour of the image, either half
  assert.ok(accuracy.colour > 0.5 && accuracy.colour < full.accuracy.colour - 0.1, JSON.stringify(accuracy));
  assert.ok(accuracy.half > 0.6 && accuracy.half < full.accuracy.half - 0.1, JSON.stringify(accuracy));
  for (const kind of ["colour", "half", "twin"] as const) {
    assert.ok(training.accuracy[kind] >= 0.9 && training.random16[kind] < training.accuracy[kind] - 0.1, kind);
    assert.ok(training.random16[kind] > { colour: 1 / 2, half: 1 / 2, twin: 1 / 3 }[kind], kind);
  }
});

Deno.test("questions of an image do not see each other", () => {
  tidy(() => {
    const { features, text } = questionTensors(gridQuestions({ images: 2, seed: 4 }));
    const together = model.forward(features, text).logits;
    for (const question of [0, 5]) {
      const alone = model.forward(features, text.slice([0, question, 0], [-1, 1, -1]) as tf.Tensor3D).logits;
      const same = tf.sub(together.slice([0, question, 0], [-1, 1, -1]), alone).abs().max().dataSync()[0];
      assert.ok(same < 1e-4, `question ${question}: ${same}`);
    }
  });
});

Deno.test("with nothing to remove no method changes a bit of TinyVLM's answers", () => {
  tidy(() => {
    const { features, text } = some(2);
    const plain = model.forward(features, text).logits.dataSync();
    for (const name of names) {
      for (const budget of [{ r: 0 }, { keepRate: 1 }]) {
        const reducer = catalogue.get(name).forModel(budget, sizes);
        assert.deepEqual(model.forward(features, text, { reducer }).logits.dataSync(), plain, name);
      }
    }
  });
});

for (const name of names) {
  Deno.test(`${name} inside TinyVLM: counts as planned, finite answers, positions of what stays, traced as eager`, () => {
    tidy(() => {
      const { features, text } = some(3);
      const reducer = halving(name);
      const key = randomKey(1);
      const output = model.forward(features, text, { reducer, key });
      const counts = model.tokenCounts(reducer), tokens = counts.at(-1)!;
      assert.ok(tokens < 64 && counts[actsAt(name)] === tokens, `${counts}`);
      assert.deepEqual([output.size.shape[1], output.positions.shape[1]], [tokens, tokens]);
      assert.ok(!tf.isNaN(output.logits).any().dataSync()[0]);
      assert.ok(model.macs(reducer) < model.macs());
      const composed = model.composed(output);
      if (tokens > 0) {
        const mass = membership(composed).sum<tf.Tensor2D>(2);
        assert.ok(tf.sub(mass, output.size).abs().max().dataSync()[0] < 1e-4);
        const places = output.positions.arraySync().flat();
        assert.ok(places.every((place) => place >= 0 && place <= 63));
        if (catalogue.get(name).family === "prune") {
          for (const [image, row] of output.positions.arraySync().entries()) {
            const kept = combineMatrix(composed).argMax<tf.Tensor2D>(2).arraySync()[image];
            assert.deepEqual(row, kept, "a token that stays keeps its place");
          }
        }
      }
      if (backend.name !== "tensorflow") return;
      const traced = compile((f: tf.Tensor3D, t: tf.Tensor3D) => model.forward(f, t, { reducer, key }).logits, {
        xla: false,
      });
      const difference = tf.sub(traced(features, text), output.logits).abs().max().dataSync()[0];
      assert.equal(traced.explain().traces.length, 1, `${traced.explain()}`);
      traced.dispose();
      assert.ok(difference < 2e-4, `traced and eager differ by ${difference}`);
    });
  });
}

Deno.test("FastV looks at the row of the block before, and its counts are those of the paper's cost formula", () => {
  tidy(() => {
    const { features, text } = some(2);
    const plain = model.forward(features, text);
    const map = model.forward(features, text, { reducer: fastv({ keep: [16], layers: [2] }) }).maps[2]!;
    const row = plain.attention[1].slice([0, 0, 66, 0], [-1, -1, 1, 64]).squeeze([2]).mean(1) as tf.Tensor2D;
    const best = row.arraySync().map((scores) =>
      scores.map((score, token) => ({ score, token })).toSorted((a, b) => b.score - a.score).slice(0, 16)
        .map(({ token }) => token).toSorted((a, b) => a - b)
    );
    const kept = (map as { slot: tf.Tensor2D }).slot.arraySync().map((slots) =>
      slots.flatMap((slot, token) => slot >= 0 ? [token] : [])
    );
    assert.deepEqual(kept, best);
  });
  // K blocks at n tokens, the rest at n (1 - R); 4nd² + 2n²d + 2ndm each
  const F = (n: number) => 4 * n * 4096 ** 2 + 2 * n ** 2 * 4096 + 2 * n * 4096 * 11008;
  const ratio = (K: number, R: number) => {
    const place = { layers: 32, initialTokens: 576, specialTokens: 0, grid: [24, 24] as const };
    const reducer = fastv({ keepRate: 1 - R, layers: [K] });
    let tokens = 576, sum = 0;
    for (let layer = 0; layer < 32; layer++) sum += F(tokens -= reducer.plan({ ...place, layer, tokens }).achieved);
    return (sum / (32 * F(576))).toFixed(4);
  };
  assert.deepEqual([[2, 0.25], [2, 0.5], [2, 0.75], [3, 0.5]].map(([K, R]) => ratio(K, R)), [
    "0.7605",
    "0.5244",
    "0.2918",
    "0.5403",
  ]);
});

Deno.test("counting positions anew changes the answers, but not before anything was removed", () => {
  tidy(() => {
    const { features, text } = some(4);
    const reducer = catalogue.get("divprune").forModel({ keep: [16], layers: [0] }, sizes);
    const original = model.forward(features, text, { reducer }).logits;
    const anew = model.forward(features, text, { reducer, positions: "reindex" }).logits;
    assert.ok(tf.sub(original, anew).abs().max().dataSync()[0] > 0.01);
    const same = tf.sub(
      model.forward(features, text).logits,
      model.forward(features, text, { positions: "reindex" }).logits,
    );
    assert.ok(same.abs().max().dataSync()[0] < 1e-4);
  });
});

Deno.test("an adaptive method pads, and nothing looks at the padding", () => {
  tidy(() => {
    const { features, text } = some(6);
    for (const create of [prumerge, trim]) {
      const wide = model.forward(features, text, { reducer: create({ keep: [40], layers: [0], adaptive: true }) });
      const real = tf.greater(wide.size, 0).cast("int32").sum(1).dataSync();
      assert.ok(real.every((count) => count >= 2) && real.some((count) => count < 40), `${real}`);
      const less = model.forward(features, text, {
        reducer: create({ keep: [Math.max(...real)], layers: [0], adaptive: true }),
      });
      assert.ok(tf.sub(wide.logits, less.logits).abs().max().dataSync()[0] < 1e-3, "padding changes the answers");
    }
  });
});

Deno.test("inside the decoder it matters which image tokens stay, for the question that needs a second look", async () => {
  const set = gridQuestions({ images: 30, seed: 77 });
  const twin = async (reducer: Reducer) => (await ask(model, set, { reducer })).accuracy.twin;
  const budget = { keep: [8], layers: [2] };
  const chance = await twin(compose({ score: randomScore, hook: "beforeBlock" })(budget));
  const best = await twin(catalogue.get("pyramiddrop").forModel(budget, sizes));
  assert.ok(await twin(vtw({ layer: 2 })) < 0.5, "nothing left to look at");
  assert.ok(chance > 0.5 && chance < 0.9, `chance: ${chance}`);
  assert.ok(best > 0.97, `the words' own attention: ${best}`);
  assert.ok(await twin(vtw({ layer: 3 })) > 0.97, "before block 3 the image is not needed any more");
});

Deno.test("image tokens can be withdrawn where the answers do not need them any more", () => {
  tidy(() => {
    const { features, text } = some(20);
    const logits = (reducer?: Reducer) =>
      model.forward(features, text, reducer ? { reducer } : {}).logits.squeeze<tf.Tensor2D>([1]);
    const withdrawn = [0, 1, 2, 3].map((layer) => logits(vtw({ layer })));
    const { layer, divergence } = withdrawalLayer(logits(), withdrawn, 0.05);
    assert.ok(layer >= 1 && layer <= 3, `${layer}`);
    assert.ok(divergence[0] > 1 && divergence[3] < 0.05, `${divergence}`);
  });
});

Deno.test("a method that needs what the model does not give is refused by name", () => {
  tidy(() => {
    const { features, text } = some(1);
    const run = (name: MethodName, layer: number) =>
      model.forward(features, text, { reducer: catalogue.get(name).forModel({ keep: [8], layers: [layer] }, sizes) });
    const refuses = (what: () => unknown, field: string) =>
      assert.throws(
        what,
        (error: Error) => error instanceof NeedsMissing && error.field === field && !error.message.includes("\n"),
      );
    refuses(() => run("fastv", 0), "text.attention"); // no block has looked at the image yet
    refuses(() => run("sparsevlm", 0), "text.attention");
    refuses(() => run("topk", 0), "attention");
    const twice = catalogue.get("visionzip").forModel({ keep: [32, 16], layers: [0, 1] }, sizes);
    refuses(() => model.forward(features, text, { reducer: twice }), "vision"); // the tower knew the tokens before
  });
});

Deno.test("frames that do not fit, several questions and other shapes are refused with one sentence", () => {
  tidy(() => {
    const { features, text } = some(1);
    assert.throws(
      () => model.forward(features, text, { reducer: dycoke({ frames: 7, keepRate: 0.5 }) }),
      { name: "GridMismatch", message: /64 tokens cannot be 7 frames of one size; set frames to a divisor of 64/ },
    );
    const all = questionTensors(gridQuestions({ images: 1, seed: 1 }));
    const reducer = halving("fastv");
    assert.throws(
      () => model.forward(all.features, all.text, { reducer }),
      /one question at a time, but each image has 12/,
    );
    assert.throws(() => model.forward(tf.zeros([1, 63, 16]), text), /features must be \[batch, 64, 16\]/);
  });
});

Deno.test("what is removed of an image keeps its size in the tokens that stand for it", () => {
  tidy(() => {
    const { features, text } = some(2);
    const { maps } = model.forward(features, text, { reducer: halving("visionzip") });
    const { size } = applyMap(maps[0]!, features);
    assert.ok(size.sum(1).dataSync().every((sum) => Math.abs(sum - 64) < 1e-3)); // nothing is dropped
  });
});

Deno.test("each kernel of TinyVLM and of its methods is in the table of kernels that are compared with the cpu backend", async () => {
  const { features, text } = some(2);
  const profile = await tf.profile(() => {
    for (const name of names) {
      tidy(() => model.forward(features, text, { reducer: halving(name), key: randomKey(1) }).logits.sum().dataSync());
    }
    tidy(() => tf.grad((x: tf.Tensor) => model.forward(x as tf.Tensor3D, text).logits.sum())(features));
    tidy(() => model.agreement(features).dataSync());
  });
  const used = [...profile.kernelNames];
  const covered = await coveredKernels();
  assert.ok(used.length > 30, `${used.length}`);
  assert.deepEqual(used.filter((name) => !covered.has(name) && !["unnamed scope", "backward"].includes(name)), []);
});
