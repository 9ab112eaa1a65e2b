/** Methods for vision-language models: printed anchors, what can be worked out by hand or by brute force, and bad input. */
import assert from "node:assert/strict";
import { mulberry32, random } from "../../lib/random.ts";
import { tf, tidy } from "../../lib/tensor/mod.ts";
import { BudgetConflict, BudgetOutOfRange, NeedsMissing, RankDeficient } from "../../lib/nn/mod.ts";
import { ViT } from "../../lib/nn/vit.ts";
import { applyMap, membership } from "../../lib/nn/token_map.ts";
import { randomBlock } from "../../lib/reduction/laws.ts";
import {
  attendedAndDiverse,
  best,
  catalogue,
  cdpruner,
  compose,
  contextual,
  dart,
  dartCounts,
  dartPlaces,
  dpp,
  dppOrder,
  dycoke,
  evenlySpaced,
  evenTargets,
  fastv,
  maxMin,
  maxMinOrder,
  type MethodName,
  mix,
  outliers,
  placesOf,
  pruMergePlaces,
  prumergePlus,
  raterAttention,
  recycledCounts,
  recycleRated,
  relevance,
  relevanceScore,
  tokenNorm,
  towerAttention,
  visibleInCache,
  visionLanguage,
  vispruner,
  vtw,
} from "../../lib/reduction/mod.ts";

/** The specification's U(seed; shape): 2u - 1 of mulberry32, row by row. */
function U(seed: number, count: number): number[] {
  const next = mulberry32(seed);
  return Array.from({ length: count }, () => 2 * next() - 1);
}
const V = () => tf.tensor3d(U(9, 48), [1, 12, 4]);
const attention = () => tf.tensor2d([U(11, 12).map((u) => (u + 1) / 2)]);
const names = Object.keys(visionLanguage) as (keyof typeof visionLanguage & MethodName)[];

Deno.test("DivPrune and CDPruner select the printed tokens in the printed order", () => {
  tidy(() => {
    assert.deepEqual(maxMinOrder(V(), 6).arraySync(), [[2, 8, 4, 9, 0, 7]]);
    const negated = U(10, 12).map((u) => -u), low = Math.min(...negated), high = Math.max(...negated);
    const relevant = tf.tensor2d([negated.map((value) => (value - low + 1e-6) / (high - low))]);
    assert.deepEqual(dppOrder(V(), relevant, 4).arraySync(), [[8, 7, 6, 0]]);
  });
});

Deno.test("VisPruner keeps the printed tokens, of an odd number of residual ones", () => {
  tidy(() => {
    const [order] = attendedAndDiverse(V(), attention(), { keep: 6, importantRatio: 0.5 }).arraySync();
    assert.deepEqual(order.slice(0, 3), [4, 11, 2]);
    assert.deepEqual(order.toSorted((a, b) => a - b), [0, 2, 4, 7, 9, 11]);
  });
});

Deno.test("VisionZip's targets and their members are the printed ones", () => {
  tidy(() => {
    const { stays } = best.choose(attention(), 4, randomBlock(1).view);
    const dominant = (stays.arraySync() as number[][])[0].flatMap((stay, token) => stay ? [token] : []);
    assert.deepEqual(dominant, [2, 4, 8, 11]);
    const { places, nearest } = evenTargets(V(), stays, 8, 3);
    const rest = [0, 1, 3, 5, 6, 7, 9, 10];
    assert.deepEqual(places.arraySync()[0].map((token) => rest.indexOf(token)), [0, 2, 4]); // every second one
    const members = [0, 1, 2].map((target) =>
      rest.filter((token) => !places.arraySync()[0].includes(token) && nearest.arraySync()[0][token] === target)
    );
    assert.deepEqual([places.arraySync()[0], members], [[0, 3, 6], [[], [7, 10], [1, 5, 9]]]);
  });
});

Deno.test("DivPrune is at most twice as bad as the best choice, in chordal distance", () => {
  for (let seed = 1; seed <= 20; seed++) {
    tidy(() => {
      const rng = random(seed, "diverse");
      const n = 5 + rng.integer(5), keep = 2 + rng.integer(3);
      const features = tf.tensor3d(rng.normals(n * 3), [1, n, 3]);
      const rows = features.arraySync()[0];
      const chord = (a: number[], b: number[]) => {
        const dot = a.reduce((sum, value, i) => sum + value * b[i], 0);
        return Math.sqrt(Math.max(0, 2 - 2 * dot / (Math.hypot(...a) * Math.hypot(...b))));
      };
      const spread = (chosen: number[]) =>
        Math.min(...chosen.flatMap((i, at) => chosen.slice(at + 1).map((j) => chord(rows[i], rows[j]))));
      const best = Math.max(...subsets(n, keep).map(spread));
      const ours = spread(maxMinOrder(features, keep).arraySync()[0]);
      assert.ok(ours >= best / 2 - 1e-5, `seed ${seed}: ${ours} where ${best} is possible`);
    });
  }
});

Deno.test("each token that CDPruner takes is the one that makes the determinant largest", () => {
  for (let seed = 1; seed <= 20; seed++) {
    tidy(() => {
      const rng = random(seed, "dpp");
      const n = 4 + rng.integer(5), channels = 5;
      const features = tf.tensor3d(rng.normals(n * channels), [1, n, channels]);
      const relevant = rng.uniforms(n, 0.1, 1);
      const rows = features.arraySync()[0].map((row) => row.map((value) => value / Math.hypot(...row)));
      const kernel = rows.map((a, i) =>
        rows.map((b, j) => relevant[i] * relevant[j] * a.reduce((sum, value, c) => sum + value * b[c], 0))
      );
      const order = dppOrder(features, tf.tensor2d([...relevant], [1, n]), 4).arraySync()[0];
      for (let step = 0; step < 4; step++) {
        const volume = (token: number) => {
          const set = [...order.slice(0, step), token];
          return determinant(set.map((i) => set.map((j) => kernel[i][j])));
        };
        const others = Array.from({ length: n }, (_, token) => token).filter((token) =>
          !order.slice(0, step).includes(token)
        );
        const largest = Math.max(...others.map(volume));
        assert.ok(volume(order[step]) >= largest - 1e-5, `seed ${seed}, step ${step}`);
      }
    });
  }
});

Deno.test("where CDPruner's kernel has no more rank, relevance decides, and no token comes twice", () => {
  tidy(() => {
    const features = tf.tensor3d([[[1, 0], [2, 0], [0, 1], [1, 1], [0, 0]]]);
    const order = dppOrder(features, tf.tensor2d([[0.9, 0.5, 0.8, 0.7, 0.6]]), 5).arraySync()[0];
    assert.deepEqual(order, [0, 2, 3, 4, 1]);
    const { view } = randomBlock(5);
    const narrow = { ...view, x: view.x.slice([0, 0, 0], [-1, -1, 1]) as tf.Tensor3D };
    const strict = compose({ score: tokenNorm, select: dpp({ strict: true }) })({ r: 1 });
    assert.throws(
      () => strict.reduce(narrow),
      (error: Error) => error instanceof RankDeficient && /tokens of 1 channels span 1 directions/.test(error.message),
    );
  });
});

Deno.test("relevance is scaled image by image, the most relevant near 1 and the least at a hair", () => {
  tidy(() => {
    const patches = tf.tensor3d(U(3, 2 * 5 * 4), [2, 5, 4]), texts = tf.tensor3d(U(4, 8), [2, 1, 4]);
    for (const row of relevance(patches, texts).arraySync()) {
      assert.ok(Math.abs(Math.max(...row) - 1) < 1e-4 && Math.min(...row) > 0 && Math.min(...row) < 1e-4);
    }
    const most = (options?: { negated: boolean }) => relevance(patches, texts, options).argMax(1).arraySync();
    const least = relevance(patches, texts).argMin(1).arraySync();
    assert.deepEqual(most({ negated: true }), least);
    assert.throws(() => relevance(patches, texts, { theta: 1 }), /theta must lie in \[0, 1\), but it is 1/);
  });
});

Deno.test("DART keeps exactly as many tokens as are wanted, its pivots among them", () => {
  tidy(() => {
    const image = tf.tensor3d(U(1, 40 * 4), [1, 40, 4]), text = tf.tensor3d(U(2, 12), [1, 3, 4]);
    const input = {
      image,
      text,
      imageKeys: image.expandDims<tf.Tensor4D>(1),
      textKeys: text.expandDims<tf.Tensor4D>(1),
    };
    const lengths = image.abs().sum<tf.Tensor2D>(2).arraySync()[0];
    for (const wanted of [1, 3, 4, 5, 17, 39]) {
      const counts = dartCounts(wanted, { textTokens: 3 });
      const [row] = dartPlaces(input, counts).arraySync() as number[][];
      assert.equal(row.reduce((sum, stay) => sum + stay, 0), wanted);
      const longest = lengths.map((length, token) => ({ length, token })).toSorted((a, b) => b.length - a.length)
        .slice(0, counts.imagePivots);
      assert.ok(longest.every(({ token }) => row[token] === 1), "a pivot is missing");
    }
    assert.throws(() => dartCounts(20, { textTokens: 3, parity: true }), /takes 4 pivots from the text, but it has 3/);
  });
  const place = { layer: 2, layers: 4, tokens: 576, initialTokens: 576, specialTokens: 0, grid: [24, 24] as const };
  const { achieved, clampedBy } = dart({ keepRate: 0.222, layers: [2], parity: true }).plan(place);
  assert.deepEqual([576 - achieved, clampedBy], [124, "every pivot brings the same number of tokens"]);
});

Deno.test("SparseVLM's kept and recycled tokens are together as many as are wanted", () => {
  const made = recycleRated().made as (patches: number, wanted: number) => number;
  for (const patches of [20, 64, 576]) {
    for (let wanted = 1 + made(patches, 1); wanted < patches; wanted++) { // less cannot be, with one that stays
      const clusters = made(patches, wanted);
      assert.equal(clusters, recycledCounts(patches - (wanted - clusters)).clusters, `${wanted} of ${patches}`);
    }
  }
});

Deno.test("what is evenly spaced has the number that is asked for, in every row", () => {
  tidy(() => {
    for (let count = 0; count <= 9; count++) {
      const stays = tf.tensor2d([[1, 0, 0, 0, 0, 0, 0, 0, 0, 0], [0, 0, 0, 0, 1, 0, 0, 0, 0, 0]], undefined, "bool");
      const added = evenlySpaced(stays, 9, count);
      assert.deepEqual(added.cast("int32").sum(1).arraySync(), [count, count]);
      assert.equal(tf.logicalAnd(added, stays).any().dataSync()[0], 0);
    }
  });
});

Deno.test("PruMerge keeps a hundredth of the tokens where none is an outlier, and its plus steps at least by one", () => {
  tidy(() => {
    const flat = tf.ones<tf.Rank.R2>([1, 200]);
    assert.deepEqual(pruMergePlaces(flat), [[0, 1]]);
    assert.equal(pruMergePlaces(flat.slice([0, 0], [1, 20]) as tf.Tensor2D, { ratio: 0.5, plus: true })[0].length, 20);
  });
});

Deno.test("adaptive PruMerge+ keeps what the authors' code keeps, image by image, and no more than the budget", () => {
  tidy(() => {
    const rng = random(3);
    const scores = Array.from(
      { length: 4 },
      (_, image) => Array.from({ length: 60 }, () => rng.uniform() + (rng.uniform() < 0.04 * image ? 5 : 0)),
    );
    const classAttention = tf.softmax(tf.tensor2d(scores)).expandDims<tf.Tensor3D>(1);
    const keys = tf.tensor4d(random(5).uniforms(960, -1, 1), [4, 1, 60, 4]);
    const place = { layer: 0, layers: 4, tokens: 60, initialTokens: 60, specialTokens: 0, grid: [6, 10] as const };
    const view = { ...place, x: keys.squeeze<tf.Tensor3D>([1]), size: tf.ones<tf.Rank.R2>([4, 60]) };
    const embeddings = { patchEmbeddings: view.x, textEmbeddings: view.x };
    const keptBy = (options: { parity?: boolean; keep?: number } = {}) => {
      const { keep = 59, parity = false } = options;
      const reducer = prumergePlus({ keep: [keep], layers: [0], adaptive: true, parity });
      assert.ok(reducer.leavesEmpty);
      const map = reducer.reduce({ ...view, vision: { classAttention, keys, ...embeddings } });
      const mass = membership(map).arraySync();
      return mass.map((rows) => rows.slice(0, -1).filter((row) => row.includes(1)).map((row) => row.indexOf(1)));
    };
    const attention = classAttention.squeeze<tf.Tensor2D>([1]);
    const authors = [0, 1, 2, 3].map((image) =>
      pruMergePlaces(attention.slice([image, 0], [1, -1]) as tf.Tensor2D, { plus: true, parity: true })[0]
    );
    assert.deepEqual(keptBy({ parity: true }), authors);
    assert.ok(new Set(authors.map(({ length }) => length)).size > 1, "the images differ in what they keep");
    const ours = keptBy(), counts = outliers(attention).arraySync();
    for (const [image, kept] of ours.entries()) {
      assert.deepEqual(kept, kept.toSorted((a, b) => a - b), "in the order of the input");
      const best = authors[image].slice(0, Math.max(1, counts[image]));
      assert.ok(best.every((place) => kept.includes(place)), "outliers stay");
      assert.ok(Math.abs(kept.length - authors[image].length) <= 1);
    }
    assert.ok(keptBy({ keep: 9 }).every(({ length }) => length <= 8));
    assert.throws(
      () => prumergePlus({ keepRate: 0.5, adaptive: true, attended: 0.5 }),
      (error: Error) => error instanceof BudgetConflict && /outliers are counted, not a share/.test(error.message),
    );
  });
});

Deno.test("DyCoke chooses anew only where the attention has turned, and what was left out can come back", () => {
  tidy(() => {
    const steps = [
      [[0.4, 0.3, 0.2, 0.1], [0.4, 0.3, 0.2, 0.1]],
      [[0.38, 0.2, 0.32, 0.1], [0.1, 0.1, 0.3, 0.5]], // hardly turned; turned
      [[0.1, 0.2, 0.3, 0.4], [0.4, 0.3, 0.2, 0.1]],
    ].map((rows) => tf.tensor2d(rows));
    const options = { pruningRatio: 0.5 };
    const first = visibleInCache(steps[0], undefined, options);
    const second = visibleInCache(steps[1], first, options);
    const third = visibleInCache(steps[2], second, options);
    assert.deepEqual(first.stays.arraySync(), [[1, 1, 0, 0], [1, 1, 0, 0]]);
    assert.deepEqual(second.stays.arraySync(), [[1, 1, 0, 0], [0, 0, 1, 1]]);
    assert.deepEqual(third.stays.arraySync(), [[0, 0, 1, 1], [1, 1, 0, 0]]);
    const [a, b] = [steps[0], steps[1]].map((step) => step.arraySync()[1]);
    const cosine = a.reduce((sum, x, i) => sum + x * b[i], 0) / (Math.hypot(...a) * Math.hypot(...b));
    assert.ok(Math.abs(second.similarity.arraySync()[1] - cosine) < 1e-6);
    assert.equal(visibleInCache(tf.ones([1, 10])).stays.cast("int32").sum().dataSync()[0], 3); // 0.7 of them go
  });
});

Deno.test("parts of vision-language methods combine with each other and with those of vision", () => {
  tidy(() => {
    const { view } = randomBlock(7);
    const hybrids = [
      compose({ score: raterAttention, select: maxMin }),
      compose({ score: towerAttention("mine"), select: mix(relevanceScore("mine"), 0.5), combine: contextual() }),
      compose({ score: relevanceScore("mine"), combine: recycleRated() }),
    ];
    for (const hybrid of hybrids) {
      const reducer = hybrid({ r: 4 });
      const map = reducer.reduce(view);
      assert.deepEqual(map.budget, reducer.plan(view), reducer.name);
      const { x } = applyMap(map, view.x, view.size);
      assert.equal(x.shape[1], view.tokens - 4, reducer.name);
      assert.equal(tf.isNaN(x).any().dataSync()[0], 0);
    }
  });
});

Deno.test("two budgets, none, and budgets out of range are refused by every method", () => {
  const wrong = (options: unknown, error: new (message: string) => Error, name: MethodName) => {
    const { create } = catalogue.get(name);
    assert.throws(
      () => create({ ...(options as { r: number }), ...(name === "dycoke" ? { frames: 4 } : {}) }),
      (found: Error) => found instanceof error && !found.message.includes("\n"),
      name,
    );
  };
  for (const name of names) {
    if (name === "vtw") continue; // has a layer instead of a budget
    wrong({ r: 3, keepRate: 0.5 }, BudgetConflict, name);
    wrong({}, BudgetConflict, name);
    wrong({ keepRate: 0 }, BudgetOutOfRange, name);
    wrong({ keepRate: 1.5 }, BudgetOutOfRange, name);
    wrong({ keep: [0], layers: [0] }, BudgetOutOfRange, name);
  }
});

Deno.test("options out of range are refused with one sentence", () => {
  const one = (what: () => unknown, message: RegExp) => assert.throws(what, { message });
  one(() => vtw({ layer: -1 }), /layer is a block number from 0, but it is -1; find one with withdrawalLayer/);
  one(() => vispruner({ keepRate: 0.5, importantRatio: 2 }), /importantRatio must lie in \[0, 1\], but it is 2/);
  one(() => prumergePlus({ keepRate: 0.5, attended: -1 }), /attended must lie in \[0, 1\], but it is -1/);
  one(() => dart({ keepRate: 0.5, pivots: 0 }), /pivots is a whole number from 1, but it is 0/);
  one(() => contextual({ share: 1 }), /share must lie in \[0, 1\), but it is 1/);
  one(() => dycoke({ frames: 0, keepRate: 0.5 }), /frames must be a whole number from 1, but it is 0/);
  one(
    () => visibleInCache(tf.ones([1, 4]), undefined, { pruningRatio: 1 }),
    /pruningRatio must lie in \[0, 1\), but it/,
  );
  one(() => visibleInCache(tf.ones([1, 4]), undefined, { threshold: 2 }), /threshold is a cosine, but it is 2/);
  one(() => pruMergePlaces(tf.ones([1, 4]), { ratio: 2 }), /ratio must lie in \(0, 1\], but it is 2/);
  one(() => cdpruner({ keepRate: 0.5, theta: -1 }).reduce(randomBlock(1).view), /theta must lie in \[0, 1\)/);
});

Deno.test("a Vision Transformer has no text and no tower, and the method that needs them is named", async () => {
  const model = await ViT.load("mnist");
  tidy(() => {
    const image = tf.zeros<tf.Rank.R4>([1, 28, 28, 1]);
    for (const name of names) {
      const { needs } = catalogue.get(name).forModel({ r: 1 }, {
        width: 48,
        heads: 3,
        layers: 4,
        grid: [7, 7],
        specialTokens: 1,
      });
      const field = needs.find((need) => need === "text" || need === "vision");
      if (!field) continue;
      const reducer = catalogue.get(name).create({ keep: [10], layers: [2] });
      assert.throws(
        () => model.forward(image, { reducer }),
        (error: Error) =>
          error instanceof NeedsMissing && error.field === field && error.message.startsWith(error.method),
        name,
      );
    }
    assert.throws(
      () => model.forward(image, { reducer: fastv({ keepRate: 0.5, layers: [2] }) }),
      /fastv needs text, but the model gives none; use it in a vision-language model/,
    );
  });
  model.dispose();
});

Deno.test("the places of an order are as many as it has, once each", () => {
  tidy(() => {
    const order = tf.tensor2d([[3, 1], [0, 2]], undefined, "int32");
    assert.deepEqual(placesOf(order, 4).arraySync(), [[0, 1, 0, 1], [1, 0, 1, 0]]);
  });
});

function subsets(n: number, size: number): number[][] {
  if (size === 0) return [[]];
  return Array.from({ length: n }, (_, first) => first).flatMap((first) =>
    subsets(n - first - 1, size - 1).map((rest) => [first, ...rest.map((i) => i + first + 1)])
  );
}

function determinant(matrix: number[][]): number {
  if (matrix.length === 1) return matrix[0][0];
  return matrix[0].reduce((sum, value, column) =>
    sum + (column % 2 ? -1 : 1) * value *
      determinant(matrix.slice(1).map((row) => row.filter((_, i) => i !== column))), 0);
}
