/** Laws that every method obeys: one loop over the catalogue; those that a method must break are named with the reason. */
import assert from "node:assert/strict";
import { random } from "../../lib/random.ts";
import { backend, compile, randomKey, tf, tidy } from "../../lib/tensor/mod.ts";
import { applyMap, membership } from "../../lib/nn/token_map.ts";
import type { BlockView } from "../../lib/nn/reducer.ts";
import { ViT } from "../../lib/nn/vit.ts";
import {
  catalogue,
  checkLaws,
  type LawId,
  laws,
  type LayerBudget,
  type MethodName,
  type ModelSizes,
} from "../../lib/reduction/mod.ts";
import { randomBlock } from "../../lib/reduction/laws.ts";

const names = catalogue.names as MethodName[];
/** Those that a Vision Transformer has all they need for; the others are run in a vision-language model. */
const inViT = names.filter((name) => catalogue.get(name).models !== "vision-language");
const seeds = Deno.env.get("TESSERA_FULL") === "1" ? 200 : 15;
const vitNano: ModelSizes = { width: 48, heads: 3, layers: 4, grid: [7, 7], specialTokens: 1 };

for (const name of names) {
  Deno.test(`${name} obeys the laws, except those that it must break`, () => {
    const { breaks, family, forModel } = catalogue.get(name);
    const results = checkLaws(forModel, { seeds, family });
    assert.ok(results[0].trials > seeds / 2, "hardly any trial removed something");
    for (const { law, says, holds, counterexample } of results) {
      const reason: string | undefined = breaks[law];
      if (reason === undefined) assert.ok(holds, `${law}, ${says}: ${counterexample}`);
      else assert.ok(!holds, `${law} (${says}) holds, but is said not to, because ${reason}`);
    }
    const meant = new Set<string>(results.map(({ law }) => law));
    for (const law of Object.keys(breaks)) assert.ok(meant.has(law as LawId), `${law} is not meant for ${family}`);
  });
}

Deno.test("a method that breaks a law is found, with the seed and the numbers", () => {
  const good = catalogue.get("topk");
  const broken = checkLaws((budget, sizes) => {
    const reducer = good.forModel(budget, sizes);
    return {
      ...reducer,
      reduce: (view) => {
        const map = reducer.reduce(view);
        if (map.kind === "soft") return map;
        const { picksInOrder: _, ...rest } = map;
        return { ...rest, slot: tidy(() => tf.relu(map.slot)) }; // dropped ones to slot 0
      },
    };
  }, { seeds: 4, family: "prune" });
  const failed = broken.filter(({ holds }) => !holds);
  assert.ok(failed.some(({ law }) => law === "class") && failed.some(({ law }) => law === "P1"));
  assert.match(
    failed.find(({ law }) => law === "class")!.counterexample!,
    /^seed \d, tokens \[\d,\d+,\d+\]: special tok/,
  );
});

Deno.test("where rounding alone decides, laws of order say nothing; a method that goes by places is still found", () => {
  tidy(() => {
    const seed = 153; // a predictor whose one hidden unit is off: all scores are .1572056
    const { sizes, view } = randomBlock(seed);
    const make = (budget: LayerBudget) => catalogue.get("spvit").forModel(budget, sizes, seed);
    const reducer = make({ r: [...Array(view.layer).fill(0), 4] });
    const trial = { seed, sizes, view, reducer, map: reducer.reduce(view), make };
    laws.U7.check(trial);
    laws.U9.check(trial);
  });
  const byPlace = checkLaws((budget, sizes) => {
    const reducer = catalogue.get("topk").forModel(budget, sizes);
    return { ...reducer, reduce: (view) => reducer.reduce({ ...view, attention: ofPlaces(view.attention!) }) };
  }, { seeds: 12, only: ["U7", "U9"] });
  assert.deepEqual(byPlace.map(({ holds }) => holds), [true, false]);
});

/** Attention that falls along the sequence, whatever the tokens are. */
function ofPlaces(attention: tf.Tensor4D): tf.Tensor4D {
  return tidy(() => tf.softmax(tf.zerosLike(attention).sub<tf.Tensor4D>(tf.range(0, attention.shape[3]))));
}

/** The same tensors with NaN in every place; objects of tensors likewise. */
function ofNaN(evidence: unknown): unknown {
  if (evidence instanceof tf.Tensor) return tf.fill(evidence.shape, NaN);
  if (typeof evidence !== "object" || evidence === null) return evidence;
  return Object.fromEntries(Object.entries(evidence).map(([name, value]) => [name, ofNaN(value)]));
}

Deno.test("every method that looks at tokens refuses NaN with one sentence", () => {
  for (const name of names) {
    tidy(() => {
      const { sizes, view } = randomBlock(1);
      const reducer = catalogue.get(name).forModel({ r: 2 }, sizes);
      const evidence = reducer.needs.filter((field) => !["key", "positions"].includes(field));
      const broken = Object.fromEntries(evidence.map((field) => [field, ofNaN(view[field])]));
      if (!evidence.length) return;
      assert.throws(
        () => reducer.reduce({ ...view, ...broken, x: tf.fill(view.x.shape, NaN) } as BlockView),
        (error: Error) => error.message.includes("NaN") && !error.message.includes("\n"),
        name,
      );
    });
  }
});

Deno.test("no method that can be traced reads a value back", () => {
  type Reads = { readSync(id: object): unknown; read(id: object): unknown };
  const reads = tf.backend() as unknown as Reads;
  const { readSync, read } = reads;
  for (const name of names) {
    if (!catalogue.get(name).traceable) continue;
    tidy(() => {
      const { sizes, view } = randomBlock(3);
      const reducer = catalogue.get(name).forModel({ r: [...Array(view.layer).fill(0), 2] }, sizes);
      let count = 0;
      reads.readSync = (id) => (count++, readSync.call(reads, id));
      reads.read = (id) => (count++, read.call(reads, id));
      try {
        const map = reducer.reduce(view);
        applyMap(map, view.x, view.size);
        membership(map);
      } finally {
        Object.assign(reads, { readSync, read });
      }
      // the JavaScript backend reads its own arrays to compute with them, which is no transfer
      if (backend.name === "tensorflow") assert.equal(count, 0, name);
    });
  }
});

Deno.test("with nothing to remove no method changes a bit of the model's output", async () => {
  const model = await ViT.load("mnist");
  tidy(() => {
    const rng = random(5, "images");
    const images = tf.tensor4d(Float32Array.from({ length: 2 * 784 }, () => rng.uniform() * 2 - 1), [2, 28, 28, 1]);
    const plain = model.forward(images).logits.dataSync();
    for (const name of inViT) {
      for (const budget of [{ r: 0 }, { keepRate: 1 }]) {
        const reducer = catalogue.get(name).forModel(budget, vitNano);
        assert.deepEqual(model.forward(images, { reducer, key: randomKey(1) }).logits.dataSync(), plain, name);
      }
    }
  });
  model.dispose();
});

Deno.test("inside the model the composed map tells where each patch went, and sizes agree with it", async () => {
  const model = await ViT.load("mnist");
  for (const name of inViT) {
    tidy(() => {
      const rng = random(6, "images");
      const images = tf.tensor4d(Float32Array.from({ length: 2 * 784 }, () => rng.uniform() * 2 - 1), [2, 28, 28, 1]);
      const reducer = catalogue.get(name).forModel({ r: 6 }, vitNano);
      const output = model.forward(images, { reducer, key: randomKey(1) });
      const whole = model.composed(output);
      const counts = model.tokenCounts(reducer).map((count) => count.out);
      // nested pooling has whole scales only, and a few methods stand before their block
      if (name !== "nestedPooling") assert.deepEqual(counts, [44, 38, 32, 26], name);
      assert.equal(output.tokens.shape[1], counts.at(-1), name);
      const counted = membership(whole).sum<tf.Tensor2D>(2);
      assert.ok(tf.sub(counted, output.size).abs().max().dataSync()[0] < 1e-4, name);
    });
  }
  model.dispose();
});

/** All of the first tier, and the second with `full`; XLA compiles each for seconds, a plain graph at once. */
const full = Deno.env.get("TESSERA_FULL") === "1";
const compiled = inViT.filter((name) => catalogue.get(name).traceable && (full || catalogue.get(name).tier === 1));

Deno.test({
  name: "compiled into its model every traceable method gives what it gives eagerly",
  ignore: backend.name !== "tensorflow",
  async fn() {
    const model = await ViT.load("mnist");
    for (const name of compiled) {
      tidy(() => {
        const rng = random(7, "images");
        const images = tf.tensor4d(Float32Array.from({ length: 2 * 784 }, () => rng.uniform() * 2 - 1), [2, 28, 28, 1]);
        const reducer = catalogue.get(name).forModel({ keep: [32, 16], layers: [1, 2] }, vitNano);
        const forward = (images: tf.Tensor4D) => model.forward(images, { reducer, key: randomKey(1) }).logits;
        const traced = compile(forward, { xla: full })(images);
        const apart = tf.sub(traced, forward(images)).abs().max().dataSync()[0];
        assert.ok(apart < 1e-4, `${name}: ${apart}`);
      });
    }
    model.dispose();
  },
});
