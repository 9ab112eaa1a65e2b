/** Images of different sizes in one batch: each has its own budget, and padding is neither kept nor looked at. */
import assert from "node:assert/strict";
import { gridQuestions } from "../../lib/data/mod.ts";
import { BatchBudgetMismatch, GridMismatch, membership, type Reducer } from "../../lib/nn/mod.ts";
import { catalogue, type MethodName, prumerge, trim, visionLanguage, vtw } from "../../lib/reduction/mod.ts";
import { randomKey, tf, tidy } from "../../lib/tensor/mod.ts";
import { questionTensors } from "../../experiments/vlm/evaluate.ts";
import { TinyVLM } from "../../experiments/vlm/models/tiny_vlm.ts";

const model = await TinyVLM.load();
const names = Object.keys(visionLanguage) as (keyof typeof visionLanguage & MethodName)[];
const sizes = { width: 64, heads: 4, layers: 4, grid: model.config.grid, specialTokens: 0 };
const real = [64, 40, 24];
const { features, text: all } = questionTensors(gridQuestions({ images: real.length, seed: 12 }));
const text = all.slice([0, 3, 0], [-1, 1, -1]) as tf.Tensor3D;

/** The same images with something else, and something large, in the padding. */
function withOtherPadding(): tf.Tensor3D {
  return tidy(() => {
    const cell = tf.range(0, 64).reshape([1, 64, 1]);
    const isReal = tf.less(cell, tf.tensor3d(real.map((count) => [[count]])));
    return tf.where(isReal, features, tf.fill(features.shape, 50));
  });
}

const later = (name: MethodName) => {
  const { needs } = catalogue.get(name).forModel({ r: 1 }, sizes);
  return needs.includes("vision") || name === "divprune" || name === "dycoke" ? 0 : 1;
};
const methods: Record<string, Reducer> = {
  ...Object.fromEntries(
    names.map((name) => [name, catalogue.get(name).forModel({ keepRate: 0.5, layers: [later(name)] }, sizes)]),
  ),
  vtw: vtw({ layer: 1 }),
  "prumerge, adaptive": prumerge({ keepRate: 0.5, layers: [0], adaptive: true }),
  "trim, adaptive": trim({ keepRate: 0.5, layers: [0], adaptive: true }),
  "fastv, twice": catalogue.get("fastv").forModel({ keepRate: 0.5, layers: [1, 2] }, sizes),
};

for (const [name, reducer] of Object.entries(methods)) {
  Deno.test(`${name}: images of different sizes have their own budgets, and padding changes nothing`, () => {
    tidy(() => {
      const key = randomKey(1);
      const output = model.forward(features, text, { reducer, key, real });
      const other = model.forward(withOtherPadding(), text, { reducer, key, real });
      assert.ok(tf.sub(output.logits, other.logits).abs().max().dataSync()[0] < 1e-5, "padding changes the answers");
      const mass = membership(model.composed(output)).sum<tf.Tensor2D>(1).arraySync(); // [images, cells]
      for (const [image, row] of mass.entries()) {
        const from = row.flatMap((share, cell) => share > 0 ? [cell] : []);
        assert.ok(from.every((cell) => cell < real[image]), `image ${image} has padding among ${from}`);
      }
      const left = tf.greater(output.size, 0).cast("int32").sum(1).arraySync() as number[];
      const planned = real.map((tokens) => countsOf(reducer, tokens));
      if (reducer.leavesEmpty) left.forEach((count, image) => assert.ok(count >= 1 && count <= planned[image]));
      else assert.deepEqual(left, planned);
      for (const [image, count] of real.entries()) {
        const one = (t: tf.Tensor3D) => t.slice([image, 0, 0], [1, -1, -1]) as tf.Tensor3D;
        const alone = model.forward(one(features), one(text), { reducer, key, real: [count] });
        const difference =
          tf.sub(alone.logits, output.logits.slice([image, 0, 0], [1, -1, -1])).abs().max().dataSync()[0];
        assert.ok(difference < 2e-4, `image ${image} by itself differs by ${difference}`);
      }
    });
  });
}

/** Tokens that are left of an image of `tokens` cells, by the plan. */
function countsOf(reducer: Reducer, tokens: number): number {
  const initialTokens = tokens;
  for (let layer = 0; layer < 4; layer++) {
    tokens -=
      reducer.plan({ layer, layers: 4, tokens, initialTokens, specialTokens: 0, grid: [1, initialTokens] }).achieved;
  }
  return tokens;
}

Deno.test("a method that cannot do with an image's size says so in one sentence", () => {
  tidy(() => {
    const one = (error: Error) => !error.message.includes("\n");
    const frames = catalogue.get("dycoke").forModel({ keepRate: 0.5 }, sizes);
    assert.throws(
      () => model.forward(features, text, { reducer: frames, real: [64, 63, 64] }),
      (error: Error) =>
        error instanceof GridMismatch && /63 tokens cannot be \d+ frames/.test(error.message) && one(error),
    );
    const alwaysTen: Reducer = {
      ...catalogue.get("divprune").forModel({ keep: [8], layers: [0] }, sizes),
      plan: ({ tokens }) => ({ requested: 0, achieved: tokens === 64 ? 56 : 0 }),
    };
    assert.throws(
      () => model.forward(features, text, { reducer: alwaysTen, real }),
      (error: Error) =>
        error instanceof BatchBudgetMismatch && /leaves image 1 40 tokens of 40/.test(error.message) && one(error),
    );
    assert.throws(
      () => model.forward(features, text, { real: [64, 0, 3] }),
      /real must be a number of cells from 1 to 64/,
    );
  });
});

Deno.test("padding is nothing to the model without a reducer either", () => {
  tidy(() => {
    const plain = model.forward(features, text, { real }).logits;
    const other = model.forward(withOtherPadding(), text, { real }).logits;
    assert.ok(tf.sub(plain, other).abs().max().dataSync()[0] < 1e-5);
    const complete = model.forward(features, text).logits,
      said = model.forward(features, text, { real: [64, 64, 64] }).logits;
    assert.ok(tf.sub(complete, said).abs().max().dataSync()[0] < 1e-4);
  });
});
