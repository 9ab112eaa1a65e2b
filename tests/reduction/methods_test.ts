/** Top-K, EViT, random pruning, pooling and budgets on a napkin, and what they refuse. */
import assert from "node:assert/strict";
import { mnist, normalize, selectImages } from "../../lib/data/mod.ts";
import { randomKey, tf, tidy } from "../../lib/tensor/mod.ts";
import { random } from "../../lib/random.ts";
import { applyMap, identityMap, positionsOf, type SlotMap } from "../../lib/nn/token_map.ts";
import { ViT } from "../../lib/nn/vit.ts";
import type { BlockView, Place } from "../../lib/nn/reducer.ts";
import {
  aroundModule,
  catalogue,
  cellTokens,
  fuseInattentive,
  gridParts,
  type LayerBudget,
  mergeSchedule,
  pruneByScore,
  type ReducerName,
  reducers,
  tomesd,
} from "../../lib/reduction/mod.ts";

const place: Place = { layer: 1, layers: 4, tokens: 50, initialTokens: 50, specialTokens: 1, grid: [7, 7] };
const names = Object.keys(reducers) as ReducerName[];

/** One image of three patches; the class token looks at them with .2, .5 and .3. */
function view(): BlockView {
  const row = [0, 0.2, 0.5, 0.3];
  return {
    ...place,
    tokens: 4,
    initialTokens: 4,
    grid: [1, 3],
    x: tf.tensor3d([[[9], [1], [2], [3]]]),
    keys: tf.tensor4d([[[[0, 1], [1, 0], [1, 0.1], [0, 1]]]]),
    attention: tf.tensor4d([[[row, row, row, row]]]),
    size: tf.ones<tf.Rank.R2>([1, 4]),
    key: randomKey(1),
  };
}

Deno.test("each method removes one of three patches its own way", () => {
  const expected: Partial<Record<ReducerName, number[]>> = {
    tome: [9, 1.5, 3], // patches 1 and 2 have nearly the same key
    topk: [9, 2, 3],
    evit: [9, 2, 2.2], // the other two, as (1 x .2 + 3 x .3) / .5
    pooling: [9, 1.5, 3], // left neighbours
  };
  for (const [name, x] of Object.entries(expected)) {
    tidy(() => {
      const block = view();
      const map = reducers[name as ReducerName]({ r: 1 }).reduce(block);
      const got = applyMap(map, block.x, block.size).x.flatten().arraySync();
      assert.deepEqual(got.map((value) => Math.round(value * 1e5) / 1e5), x, name);
    });
  }
});

Deno.test("EViT's fused token is the paper's sum with parity, and a mean without", () => {
  tidy(() => {
    const attention = tf.tensor2d([[0.125, 0.5, 0.375]]);
    const x = tf.tensor3d([[[8], [1], [16]]]);
    assert.deepEqual(applyMap(fuseInattentive(attention, { keep: 1, parity: true }), x).x.flatten().arraySync(), [
      1,
      7,
    ]);
    assert.deepEqual(applyMap(fuseInattentive(attention, { keep: 1 }), x).x.flatten().arraySync(), [1, 14]);
  });
});

Deno.test("equal scores keep the lower token", () => {
  tidy(() => {
    const map = pruneByScore(tf.tensor2d([[1, 2, 2, 1]]), { keep: 3 });
    assert.deepEqual(map.slot.arraySync(), [[0, 1, 2, -1]]);
    assert.throws(() => pruneByScore(tf.tensor2d([[1, 2]]), { keep: 3 }), /from 1 to the 2 scored tokens, but it is 3/);
  });
});

Deno.test("random pruning follows its key, differs from image to image, and asks for a key", () => {
  tidy(() => {
    const ones = <R extends tf.Rank>(shape: tf.ShapeMap[R]) => tf.ones<R>(shape);
    const block: BlockView = {
      ...place,
      x: ones<tf.Rank.R3>([8, 50, 1]),
      keys: ones<tf.Rank.R4>([8, 1, 50, 1]),
      attention: ones<tf.Rank.R4>([8, 1, 50, 50]),
      size: ones<tf.Rank.R2>([8, 50]),
    };
    const slots = (seed: number) => {
      const map = reducers.random({ r: 20 }).reduce({ ...block, key: randomKey(seed) });
      return map.kind === "slots" ? map.slot.arraySync() : [];
    };
    assert.deepEqual(slots(1), slots(1));
    assert.notDeepEqual(slots(1), slots(2));
    assert.equal(new Set(slots(1).map(String)).size, 8);
    assert.throws(
      () => reducers.random({ r: 1 }).reduce(block),
      /^NeedsMissing: random needs key, but the model gives none; pass/,
    );
  });
});

Deno.test("pooling makes rectangles, and fewer parts are unions of more", () => {
  for (const grid of [[7, 7], [14, 14], [3, 5], [1, 6]] as const) {
    const patches = grid[0] * grid[1];
    let finer = gridParts(grid, patches);
    assert.deepEqual(finer, [...Array(patches).keys()]);
    for (let parts = patches - 1; parts >= 1; parts--) {
      const coarser = gridParts(grid, parts);
      assert.equal(new Set(coarser).size, parts);
      const parent = new Map<number, number>();
      for (const [patch, part] of finer.entries()) {
        assert.equal(parent.get(part) ?? coarser[patch], coarser[patch], `${grid}, ${parts} parts`);
        parent.set(part, coarser[patch]);
      }
      for (let part = 0; part < parts; part++) {
        const cells = coarser.flatMap((p, patch) => p === part ? [patch] : []);
        const rows = new Set(cells.map((patch) => Math.floor(patch / grid[1])));
        const columns = new Set(cells.map((patch) => patch % grid[1]));
        assert.equal(cells.length, rows.size * columns.size, "not a rectangle");
      }
      finer = coarser;
    }
  }
  assert.throws(() => gridParts([2, 2], 5), /from 1 to the 4 patches, but it is 5/);
});

Deno.test("a schedule is refused where it is no schedule", () => {
  for (const r of [-1, 1.5, NaN, Infinity]) assert.throws(() => mergeSchedule(r, 4), /r must be a whole number/);
  assert.throws(() => mergeSchedule({ r: 2, inflect: 2 }, 4), /inflect must lie in \[-1, 1\], but it is 2/);
  assert.deepEqual(mergeSchedule({ r: 3, inflect: -1 }, 1), [6]);
});

Deno.test("every method refuses a broken budget with one sentence that says what it was", () => {
  const broken: [unknown, RegExp][] = [
    [{ keepRate: 0 }, /keepRate must lie in \(0, 1\], but it is 0; to remove nothing, pass 1/],
    [{ keepRate: 2 }, /keepRate must lie in \(0, 1\], but it is 2/],
    [{ keepRate: NaN }, /but it is NaN/],
    [{ keepRate: [0.5, -1], layers: [1, 2] }, /but it is -1/],
    [{ keepRate: [0.5], layers: [1, 2] }, /make the lists equally long/],
    [{ r: -1 }, /r must be a whole number of tokens from 0, but it is -1/],
    [{ r: [2, -3] }, /but it is -3/],
    [{ keep: [0], layers: [1] }, /but it is 0; keep at least one patch/],
    [{ keep: [4], layers: [-1] }, /block numbers from 0, but one of them is -1/],
    [{ r: 1, keepRate: 0.5 }, /one of r, keepRate and keep, but r and keepRate were given/],
    [{}, /none was given; pass r, keepRate or keep/],
  ];
  for (const name of names) {
    for (const [budget, message] of broken) {
      assert.throws(() => reducers[name](budget as LayerBudget), (error: Error) => {
        assert.ok(error instanceof RangeError);
        assert.match(error.message, message);
        assert.ok(!error.message.includes("\n"));
        return true;
      }, `${name} ${JSON.stringify(budget)}`);
    }
  }
});

Deno.test("asking for too much is clamped and reported", () => {
  for (const name of names) {
    const budget = reducers[name]({ r: 1000 }).plan(place);
    assert.equal(budget.requested, 1000, name);
    assert.ok(budget.achieved < 50 && budget.clampedBy, name);
  }
});

Deno.test("keepRate counts as each method's authors count", () => {
  const deit = { layers: 12, initialTokens: 197, specialTokens: 1, grid: [14, 14] as const };
  const trace = (name: ReducerName, keepRate: number) => {
    const reducer = reducers[name]({ keepRate });
    let tokens = 197;
    return [3, 6, 9].map((layer) => tokens -= reducer.plan({ ...deit, layer, tokens }).achieved);
  };
  assert.deepEqual(trace("topk", 0.9).map((tokens) => tokens - 1), [176, 158, 142]);
  assert.deepEqual(trace("topk", 0.7).map((tokens) => tokens - 1), [137, 96, 67]);
  assert.deepEqual(trace("topk", 0.25).map((tokens) => tokens - 1), [49, 12, 3]);
  assert.deepEqual(trace("evit", 0.7), [140, 100, 72]);
  assert.deepEqual(trace("evit", 0.9), [179, 163, 148]);
});

Deno.test("ATS samples a patch as often as it is looked at, so that it keeps half of what it may; chance does no better with as few", async () => {
  const model = await ViT.load("mnist");
  const test = selectImages(await mnist.load("test"), Array.from({ length: 256 }, (_, i) => i));
  const { data, shape } = normalize(test);
  const sizes = { width: 48, heads: 3, layers: 4, grid: [7, 7], specialTokens: 1 } as const;
  tidy(() => {
    const images = tf.tensor4d(data, shape);
    const run = (name: "ats" | "random", budget: LayerBudget) => {
      const reducer = catalogue.get(name).forModel(budget, sizes);
      const { logits, maps } = model.forward(images, { reducer, key: randomKey(1) });
      const right = logits.argMax(1).dataSync().filter((digit, i) => digit === test.labels[i]).length;
      const real = maps.filter((map) => map).map((map) =>
        tf.greaterEqual((map as SlotMap).slot, 0).sum(1).cast("float32").mean().arraySync()
      );
      return { accuracy: right / test.labels.length, kept: (real as number[]).map((count) => Math.round(count - 1)) };
    };
    const ats = run("ats", { r: 4 });
    const planned = [45, 41, 37, 33];
    for (const [block, count] of ats.kept.entries()) assert.ok(count < 0.6 * planned[block], `${ats.kept}`);
    const asMany = run("random", { keep: ats.kept, layers: [0, 1, 2, 3] });
    const asAllowed = run("random", { r: 4 });
    assert.deepEqual(asMany.kept, ats.kept);
    assert.ok(asAllowed.accuracy > ats.accuracy + 0.1, `${asAllowed.accuracy} by chance, ${ats.accuracy} by ATS`);
    assert.ok(Math.abs(asMany.accuracy - ats.accuracy) < 0.1, `${asMany.accuracy} with as few, ${ats.accuracy} by ATS`);
    // in the third block, where the class token knows where to look, half of the patches are enough
    const late = run("ats", { r: [0, 0, 4] });
    assert.ok(late.kept[0] < 30 && late.accuracy > 0.95, `${late.accuracy} with ${late.kept}`);
  });
  model.dispose();
});

Deno.test("ToMeSD draws one patch of each cell: the same in every block and image, another by another seed", () => {
  tidy(() => {
    const place = { layer: 1, layers: 4, tokens: 36, initialTokens: 36, specialTokens: 0, grid: [6, 6] as const };
    const x = tf.tensor3d(random(2).uniforms(288, -1, 1), [2, 36, 4]);
    const positions = tf.range(0, 36, 1, "float32").expandDims<tf.Tensor2D>(0).tile<tf.Tensor2D>([2, 1]);
    const view = { ...place, x, size: tf.ones<tf.Rank.R2>([2, 36]), keys: x.expandDims<tf.Tensor4D>(1), positions };
    /** Where the tokens that are left stood, when all that can go have gone. */
    const left = (options: { seed?: number; pick?: "first"; parity?: boolean } = {}, seen = view) =>
      positionsOf(tomesd({ r: 27, ...options }).reduce(seen), seen.positions).arraySync().map((row) =>
        row.toSorted((a, b) => a - b)
      );
    const first = cellTokens([6, 6], [2, 2]);
    const cellOf = (patch: number) => Math.floor(patch / 12) * 3 + Math.floor((patch % 6) / 2);
    const drawn = left();
    assert.deepEqual(drawn[0], drawn[1]);
    assert.deepEqual(new Set(drawn[0].map(cellOf)).size, 9);
    assert.notDeepEqual(drawn[0], first);
    assert.notDeepEqual(left({ seed: 1 })[0], drawn[0]);
    assert.deepEqual(left({}, { ...view, layer: 3 }), drawn);
    assert.deepEqual(left({ pick: "first" })[0], first);
    const one = { ...view, x: x.slice([0], [1]), size: tf.ones<tf.Rank.R2>([1, 36]), keys: view.keys.slice([0], [1]) };
    const odd = { ...one, positions: positions.slice([0], [1]) } as typeof view;
    assert.deepEqual(left({ parity: true }, odd)[0], first, "the authors draw for even batches alone");
    assert.deepEqual(left({ parity: true })[0], drawn[0]);
    const map = tomesd({ r: 0 }).plan(view);
    assert.equal(map.achieved, 0);
  });
});

Deno.test("around a module every patch keeps its place, and with nothing merged it is the module", () => {
  tidy(() => {
    const x = tf.tensor3d(random(7).uniforms(128, -1, 1), [2, 16, 4]);
    const double = (merged: tf.Tensor3D) => merged.mul<tf.Tensor3D>(2);
    const plain = aroundModule(x, x, identityMap(2, 16), double);
    assert.ok(tf.sub(plain, x.mul(3)).abs().max().dataSync()[0] < 1e-6);
  });
});
