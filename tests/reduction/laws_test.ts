/** Laws that every reducer obeys, whatever its method: one loop over the catalogue. */
import assert from "node:assert/strict";
import { random } from "../../lib/random.ts";
import { backend, randomKey, tf, tidy } from "../../lib/tensor/mod.ts";
import { applyMap, membership, type TokenMap, unmerge } from "../../lib/nn/token_map.ts";
import type { BlockView, Reducer } from "../../lib/nn/reducer.ts";
import { ViT } from "../../lib/nn/vit.ts";
import { type ReducerName, reducers } from "../../lib/reduction/mod.ts";

const names = Object.keys(reducers) as ReducerName[];
const seeds = Deno.env.get("TESSERA_FULL") === "1" ? 200 : 8;
/** What these methods do with tokens that go: `keeps` their mass in another token, or not. */
const keepsMass: Record<ReducerName, boolean> = { tome: true, topk: false, evit: true, random: false, pooling: true };

/** A block of a model with random contents: sizes, heads and numbers of tokens differ from seed to seed. */
function randomView(seed: number, batch = 2): BlockView {
  const rng = random(seed, "laws");
  const rows = 2 + rng.integer(5), columns = 2 + rng.integer(5);
  const tokens = rows * columns + 1, heads = 1 + rng.integer(3), perHead = 2 + rng.integer(4);
  const normal = (shape: number[]) =>
    tf.tensor(Float32Array.from({ length: shape.reduce((a, b) => a * b) }, () => rng.normal()), shape);
  return {
    layer: rng.integer(4),
    layers: 4,
    tokens,
    initialTokens: tokens,
    specialTokens: 1,
    grid: [rows, columns],
    x: normal([batch, tokens, heads * perHead]) as tf.Tensor3D,
    keys: normal([batch, heads, tokens, perHead]) as tf.Tensor4D,
    attention: tf.softmax(normal([batch, heads, tokens, tokens]) as tf.Tensor4D),
    size: tf.tensor2d(Float32Array.from({ length: batch * tokens }, () => 1 + rng.integer(3)), [batch, tokens]),
    key: randomKey(seed),
  };
}

/** Runs `law` for every method on random blocks, with a budget that removes something. */
function forAll(law: (reducer: Reducer, view: BlockView, name: ReducerName, map: TokenMap) => void): void {
  for (const name of names) {
    for (let seed = 1; seed <= seeds; seed++) {
      tidy(() => {
        const view = randomView(seed);
        const reducer = reducers[name]({ r: 1 + seed % 4 });
        if (reducer.plan(view).removed === 0) return;
        try {
          law(reducer, view, name, reducer.reduce(view));
        } catch (error) {
          throw new Error(`${name}, seed ${seed}: ${error instanceof Error ? error.message : error}`, { cause: error });
        }
      });
    }
  }
}

function slots(map: TokenMap): number[][] {
  assert.equal(map.kind, "slots");
  return (map as TokenMap & { kind: "slots" }).slot.arraySync();
}

Deno.test("every reducer gives as many tokens as it planned, and fills each slot", () => {
  forAll((reducer, view, _name, map) => {
    const { removed } = reducer.plan(view);
    assert.deepEqual(map.budget, reducer.plan(view));
    assert.equal(map.outputs, view.tokens - removed);
    for (const row of slots(map)) {
      assert.equal(row.length, view.tokens);
      assert.deepEqual([...new Set(row)].filter((slot) => slot >= 0).sort((a, b) => a - b), [
        ...Array(map.outputs).keys(),
      ]);
    }
  });
});

Deno.test("every reducer leaves the class token alone, in the first place", () => {
  forAll((_reducer, view, _name, map) => {
    const { x } = applyMap(map, view.x, view.size);
    for (const row of slots(map)) assert.deepEqual(row.filter((slot) => slot === 0), [row[0]]);
    const before = view.x.slice([0, 0, 0], [-1, 1, -1]), after = x.slice([0, 0, 0], [-1, 1, -1]);
    assert.ok(tf.sub(before, after).abs().max().dataSync()[0] < 1e-5);
  });
});

Deno.test("sizes sum to the number of original tokens, less what was dropped", () => {
  forAll((_reducer, view, name, map) => {
    const before = view.size.arraySync();
    const after = applyMap(map, view.x, view.size).size.sum<tf.Tensor1D>(1).arraySync();
    for (const [image, row] of slots(map).entries()) {
      const dropped = row.reduce((sum, slot, token) => slot < 0 ? sum + before[image][token] : sum, 0);
      if (keepsMass[name]) assert.equal(dropped, 0);
      const whole = before[image].reduce((a, b) => a + b);
      assert.ok(Math.abs(after[image] + dropped - whole) < 1e-4, `${after[image]} + ${dropped} is not ${whole}`);
    }
  });
});

Deno.test("a batch of two equals two batches of one", () => {
  forAll((reducer, view, name, map) => {
    if (name === "random") return; // draws for the whole batch at once
    for (const image of [0, 1]) {
      const one = <T extends tf.Tensor>(t: T) => tf.slice(t, [image], [1]) as T;
      const alone = reducer.reduce({
        ...view,
        x: one(view.x),
        keys: one(view.keys),
        attention: one(view.attention),
        size: one(view.size),
      });
      assert.deepEqual(slots(alone), [slots(map)[image]]);
    }
  });
});

Deno.test("merging and unmerging twice is the same as once", () => {
  forAll((_reducer, view, name, map) => {
    if (!keepsMass[name] || (map.kind === "slots" && map.weight)) return; // packing is not a mean by size
    const once = unmerge(map, applyMap(map, view.x, view.size).x);
    const twice = unmerge(map, applyMap(map, once, view.size).x);
    assert.ok(tf.sub(once, twice).abs().max().dataSync()[0] < 1e-5);
  });
});

Deno.test("without parity what stays keeps its order", () => {
  forAll((_reducer, _view, name, map) => {
    if (name === "pooling" || name === "evit") return; // a part is numbered by its first patch; the fused token is last
    for (const row of slots(map)) {
      // of a merged pair the one that stays is where the slot was opened in order: each new slot is one higher
      const members = Map.groupBy(row.map((slot, token) => ({ slot, token })), ({ slot }) => slot);
      let reachable = -1;
      for (let slot = 0; slot < map.outputs; slot++) {
        const next = members.get(slot)!.map(({ token }) => token).find((token) => token > reachable);
        assert.ok(next !== undefined, `slot ${slot} cannot come after slot ${slot - 1} in the order of the input`);
        reachable = next;
      }
    }
  });
});

Deno.test("every reducer refuses NaN with one sentence", () => {
  for (const name of names) {
    if (name === "random" || name === "pooling") continue; // they do not look at the tokens
    tidy(() => {
      const view = randomView(1);
      const broken = { keys: tf.fill(view.keys.shape, NaN), attention: tf.fill(view.attention.shape, NaN) };
      assert.throws(
        () => reducers[name]({ r: 2 }).reduce({ ...view, ...broken } as BlockView),
        (error: Error) => error.message.includes("NaN") && !error.message.includes("\n"),
        name,
      );
    });
  }
});

Deno.test("no reducer reads a value back", () => {
  type Reads = { readSync(id: object): unknown; read(id: object): unknown };
  const reads = tf.backend() as unknown as Reads;
  const { readSync, read } = reads;
  for (const name of names) {
    tidy(() => {
      const view = randomView(3);
      let count = 0;
      reads.readSync = (id) => (count++, readSync.call(reads, id));
      reads.read = (id) => (count++, read.call(reads, id));
      try {
        const map = reducers[name]({ r: 2 }).reduce(view);
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

Deno.test("with nothing to remove every reducer changes no bit of the model's output", async () => {
  const model = await ViT.load("mnist");
  tidy(() => {
    const rng = random(5, "images");
    const images = tf.tensor4d(Float32Array.from({ length: 2 * 784 }, () => rng.uniform() * 2 - 1), [2, 28, 28, 1]);
    const plain = model.forward(images).logits.dataSync();
    for (const name of names) {
      for (const reducer of [reducers[name]({ r: 0 }), reducers[name]({ keepRate: 1 })]) {
        assert.deepEqual(model.forward(images, { reducer, key: randomKey(1) }).logits.dataSync(), plain, name);
      }
    }
  });
  model.dispose();
});

Deno.test("inside the model the composed map tells where each patch went, and sizes agree with it", async () => {
  const model = await ViT.load("mnist");
  for (const name of names) {
    tidy(() => {
      const rng = random(6, "images");
      const images = tf.tensor4d(Float32Array.from({ length: 2 * 784 }, () => rng.uniform() * 2 - 1), [2, 28, 28, 1]);
      const reducer = reducers[name]({ r: 6 });
      const output = model.forward(images, { reducer, key: randomKey(1) });
      const whole = model.composed(output);
      assert.equal(output.tokens.shape[1], 50 - 24);
      assert.deepEqual(model.tokenCounts(reducer).map((count) => count.out), [44, 38, 32, 26]);
      const counted = membership(whole).sum<tf.Tensor2D>(2);
      assert.ok(tf.sub(counted, output.size).abs().max().dataSync()[0] < 1e-4, name);
    });
  }
  model.dispose();
});

Deno.test("reducing leaves no tensor behind", () => {
  for (const name of names) {
    const view = randomView(2);
    const before = tf.memory().numTensors;
    const map = reducers[name]({ r: 2 }).reduce(view);
    const extra = tf.memory().numTensors - before;
    assert.equal(extra, map.kind === "slots" && map.weight ? 2 : 1, name);
    tf.dispose(map as unknown as tf.TensorContainer);
    tf.dispose(view as unknown as tf.TensorContainer);
  }
});
