import assert from "node:assert/strict";
import { random } from "tessera/random.ts";
import {
  argsort,
  backend,
  compile,
  foldIn,
  gatherTokens,
  placeOfHighest,
  randomKey,
  randomUniform,
  rankDescending,
  refuseNaN,
  scatterAdd,
  segmentSum,
  stableTopK,
  stopGradient,
  straightThrough,
  tf,
  tidy,
  topKValues,
} from "tessera/tensor/mod.ts";
import { tensorflow } from "tessera/tensor/backend.ts";
import { assertAgreement, assertGradient, normalTensor, withGradients } from "./agreement.ts";

/** Scores of a few values only, so that most are equal to others. */
function tiedScores(batch: number, tokens: number): { scores: number[][]; order: number[][] } {
  const numbers = random(7, "ties");
  const scores = Array.from({ length: batch }, () => Array.from({ length: tokens }, () => numbers.integer(5) - 2));
  const order = scores.map((row) => row.map((_, i) => i).sort((i, j) => row[j] - row[i] || i - j));
  return { scores, order };
}

function testTidy(name: string, body: () => void): void {
  Deno.test(name, () => {
    const { numTensors } = tf.memory();
    tf.tidy(body);
    assert.equal(tf.memory().numTensors, numTensors);
  });
}

testTidy("stableTopK() takes the highest scores, of equal ones the first, for every k", () => {
  const { scores, order } = tiedScores(3, 57);
  assert.deepEqual(stableTopK(tf.tensor2d(scores), 0).shape, [3, 0]);
  for (let k = 1; k <= 57; k++) {
    const places = stableTopK(tf.tensor2d(scores), k);
    assert.deepEqual(places.arraySync(), order.map((row) => row.slice(0, k)));
    assert.equal(places.dtype, "int32");
  }
});

testTidy("stableTopK() takes infinite scores, and refuses a k that is out of range", () => {
  const scores = tf.tensor2d([[-Infinity, 1, Infinity, -Infinity]]);
  assert.deepEqual(stableTopK(scores, 4).arraySync(), [[2, 1, 0, 3]]);
  assert.throws(() => stableTopK(scores, 5), /^RangeError: k must be a whole number from 0 to 4, .* but it is 5/);
  assert.throws(() => stableTopK(scores, -1), RangeError);
  assert.throws(() => stableTopK(scores, 1.5), RangeError);
});

testTidy("placeOfHighest() takes the first of equal ones, and a place also where all are infinitely low", () => {
  const { scores, order } = tiedScores(3, 57);
  assert.deepEqual(placeOfHighest(tf.tensor2d(scores)).arraySync(), order.map(([first]) => first));
  const low = tf.tensor3d([[[-Infinity, -Infinity], [-Infinity, 1]]]);
  for (const run of [placeOfHighest, compile(placeOfHighest, { xla: true })]) {
    assert.deepEqual(run(low).arraySync(), [[0, 1]]);
    assert.equal(run(low).dtype, "int32");
  }
});

testTidy("rankDescending() numbers the scores from the highest, equal ones in their order", () => {
  const { scores, order } = tiedScores(4, 197);
  const rank = rankDescending(tf.tensor2d(scores)).arraySync();
  order.forEach((row, b) => row.forEach((place, i) => assert.equal(rank[b][place], i)));
});

testTidy("gatherTokens() picks tokens, and its gradient adds up where one is picked twice", () => {
  const x = tf.tensor3d([...Array(12).keys()], [2, 3, 2]);
  const index = tf.tensor2d([[2, 0, 2, 2], [1, 1, 0, 2]], [2, 4], "int32");
  assert.deepEqual(gatherTokens(x, index).arraySync(), [
    [[4, 5], [0, 1], [4, 5], [4, 5]],
    [[8, 9], [8, 9], [6, 7], [10, 11]],
  ]);
  const slope = tf.grad((x) => gatherTokens(x as tf.Tensor3D, index).sum())(x);
  assert.deepEqual(slope.arraySync(), [[[1, 1], [0, 0], [3, 3]], [[1, 1], [2, 2], [1, 1]]]);
});

testTidy("gatherTokens() takes scores and integers too", () => {
  const index = tf.tensor2d([[1, 0], [2, 2]], [2, 2], "int32");
  assert.deepEqual(gatherTokens(tf.tensor2d([[1, 2, 3], [4, 5, 6]]), index).arraySync(), [[2, 1], [6, 6]]);
  const slots = gatherTokens(tf.tensor2d([[1, 2, 3], [4, 5, 6]], [2, 3], "int32"), index);
  assert.deepEqual([slots.dtype, slots.arraySync()], ["int32", [[2, 1], [6, 6]]]);
  const slope = tf.grad((x) => gatherTokens(x as tf.Tensor2D, index).sum())(tf.zeros([2, 3]));
  assert.deepEqual(slope.arraySync(), [[1, 1, 0], [0, 0, 2]]);
});

testTidy("gatherTokens() has a gradient where the index was computed from the tokens", () => {
  const x = tf.tensor3d([3, 1, 2, 5, 4, 6], [1, 6, 1]);
  const slope = tf.grad((x) => {
    const best = stableTopK(x.squeeze<tf.Tensor2D>([2]), 2);
    return gatherTokens(x as tf.Tensor3D, best).square().sum();
  })(x);
  assert.deepEqual(slope.flatten().arraySync(), [0, 0, 0, 10, 0, 12]);
});

testTidy("gatherTokens() refuses an index of another batch, type or range", () => {
  const x = tf.zeros([2, 3]) as tf.Tensor2D;
  assert.throws(() => gatherTokens(x, tf.zeros([1, 1], "int32")), /must be int32 of shape \[2, k\], but it is int32/);
  assert.throws(() => gatherTokens(x, tf.zeros([2, 1])), /but it is float32/);
  assert.throws(() => gatherTokens(x, tf.fill([2, 1], 3, "int32")), /3 is not in \[0, [23]/);
});

testTidy("topKValues() gives the scores and their places, of equal ones the first, with a gradient", () => {
  const scores = tf.tensor3d([[[1, 3, 3, 2]], [[-1, -0, 0, -2]]]);
  const { values, places } = topKValues(scores, 3);
  assert.deepEqual(places.arraySync(), [[[1, 2, 3]], [[1, 2, 0]]]);
  assert.deepEqual(values.arraySync().map((rows) => rows.map((row) => row.map(Math.abs))), [[[3, 3, 2]], [[0, 0, 1]]]);
  assert.deepEqual(topKValues(scores, 0).values.shape, [2, 1, 0]);
  const slope = tf.grad((x) => topKValues(x, 2).values.mul(tf.tensor1d([10, 1])).sum())(scores);
  assert.deepEqual(slope.arraySync(), [[[0, 10, 1, 0]], [[0, 10, 1, 0]]]);
});

testTidy("argsort() is stable in both directions, for integers to the last", () => {
  const { scores } = tiedScores(3, 40);
  const sorted = (sign: number) =>
    scores.map((row) => row.map((_, i) => i).sort((i, j) => sign * (row[i] - row[j]) || i - j));
  for (const dtype of ["float32", "int32"] as const) {
    const x = tf.tensor2d(scores, undefined, dtype);
    assert.deepEqual(argsort(x).arraySync(), sorted(1));
    assert.deepEqual(argsort(x, "descending").arraySync(), sorted(-1));
  }
  const extremes = tf.tensor1d([0, -(2 ** 31), 2 ** 31 - 1], "int32");
  assert.deepEqual(argsort(extremes).arraySync(), [1, 0, 2]);
  assert.deepEqual(argsort(tf.tensor1d([0, Infinity, -Infinity])).arraySync(), [2, 0, 1]);
});

testTidy(
  "segmentSum() adds up segments, leaves out negative ones, and gives each element its segment's gradient",
  () => {
    const x = tf.tensor2d([[1, 10], [2, 20], [4, 40], [8, 80]]);
    const segment = tf.tensor1d([2, 0, 2, -1], "int32");
    assert.deepEqual(segmentSum(x, segment, 4).arraySync(), [[2, 20], [0, 0], [5, 50], [0, 0]]);
    const weights = tf.tensor2d([[1], [2], [3], [4]]);
    const slope = tf.grad((x) => segmentSum(x, segment, 4).mul(weights).sum())(x);
    assert.deepEqual(slope.arraySync(), [[3, 3], [1, 1], [3, 3], [0, 0]]);
  },
);

testTidy("segmentSum() of a batch is that of its rows", () => {
  const x = normalTensor<tf.Tensor3D>("segments", [3, 5, 2]);
  const segment = tf.tensor2d([[0, 1, 1, -1, 2], [2, 2, 2, 2, 2], [1, -1, 0, 1, 0]], [3, 5], "int32");
  const rows = tf.unstack(x).map((row, b) => segmentSum(row, tf.unstack(segment)[b] as tf.Tensor1D, 3));
  assert.deepEqual(segmentSum(x, segment, 3).arraySync(), tf.stack(rows).arraySync());
  assert.deepEqual(segmentSum(tf.ones([3, 5]), segment, 3).arraySync(), [[1, 2, 1], [0, 0, 5], [2, 2, 0]]);
});

testTidy("segmentSum() refuses what does not fit", () => {
  const x = tf.ones([2, 3]);
  const segment = (values: number[], shape: number[]) =>
    tf.tensor<tf.Rank>(values, shape as [number], "int32") as tf.Tensor1D;
  assert.throws(() => segmentSum(x, segment([0, 1, 2], [3]), 3), /must be int32 of shape \[2\] or \[2,3\], .* but/);
  assert.throws(() => segmentSum(x, tf.tensor1d([0, 1]), 3), /but they are float32 of shape \[2\]/);
  assert.throws(() => segmentSum(x, segment([0, 1], [2]), 0), /a whole number from 1, but it is 0/);
  if (tensorflow?.binding.isUsingGpuDevice()) return; // kernels on a GPU do not look
  assert.throws(() => segmentSum(x, segment([0, 3], [2]), 3), /3.* is (out of range|not in) \[0, 3\)/);
  // in a batch, a segment that is too high must not become one of the next row
  const high = segment([0, 1, 3, 0, 1, 2], [2, 3]) as unknown as tf.Tensor2D;
  assert.throws(() => segmentSum(x, high, 3), /[36].* is (out of range|not in) \[0, [36]\)/);
});

testTidy("scatterAdd() is the opposite of gatherTokens(): each is the other's gradient", () => {
  const x = tf.tensor3d([[[1], [2], [3]], [[4], [5], [6]]]);
  const index = tf.tensor2d([[2, 0, 2], [1, 1, -1]], [2, 3], "int32");
  const updates = tf.tensor3d([[[10], [20], [30]], [[40], [50], [60]]]);
  assert.deepEqual(scatterAdd(x, index, updates).arraySync(), [[[21], [2], [43]], [[4], [95], [6]]]);
  const [toX, toUpdates] = tf.grads((x, updates) =>
    scatterAdd(x as tf.Tensor3D, index, updates as tf.Tensor3D).mul(x).sum()
  )([x, updates]);
  assert.deepEqual(toX.flatten().arraySync(), [22, 4, 46, 8, 100, 12]);
  assert.deepEqual(toUpdates.flatten().arraySync(), [3, 1, 3, 5, 5, 0]);
  assert.throws(() => scatterAdd(x, index, tf.zeros([2, 2, 1])), /updates must be of shape \[2, 3, 1\], but they are/);
});

testTidy("straightThrough() has the value of one and the gradient of the other", () => {
  const x = tf.tensor1d([0.1, 0.3, 1.7]);
  const y = straightThrough(tf.round(x), x);
  assert.deepEqual(y.arraySync(), [0, 0, 2]);
  const [toHard, toSoft] = tf.grads((hard, soft) => straightThrough(hard.mul(0), soft.mul(3)).add(hard).sum())([
    x,
    x.neg(),
  ]);
  assert.deepEqual([toHard.arraySync(), toSoft.arraySync()], [[1, 1, 1], [3, 3, 3]]);
  assert.throws(() => straightThrough(x, tf.ones([2])), /must have one shape, but they have \[3\] and \[2\]/);
});

const integers = (values: number[], shape: number[]) =>
  tf.tensor<tf.Rank>(values, shape as [number], "int32") as tf.Tensor2D;
const asInt = (x: tf.Tensor) => x.floor().cast<tf.Tensor2D>("int32");

/** Every primitive as a function of float32 tensors, so that all can be run in one way. */
const primitives: Record<string, { fn(...inputs: tf.Tensor[]): tf.Tensor[]; inputs(): tf.Tensor[]; smooth?: boolean }> =
  {
    stableTopK: { fn: (x) => [stableTopK(x, 4)], inputs: () => [tf.tensor2d(tiedScores(3, 9).scores)], smooth: false },
    placeOfHighest: {
      fn: (x) => [placeOfHighest(x)],
      inputs: () => [tf.tensor2d(tiedScores(4, 33).scores)],
      smooth: false,
    },
    rankDescending: {
      fn: (x) => [rankDescending(x as tf.Tensor2D)],
      inputs: () => [tf.tensor2d(tiedScores(3, 9).scores)],
      smooth: false,
    },
    argsort: {
      fn: (x) => [argsort(x), argsort(x, "descending"), argsort(asInt(x)), argsort(tf.mul(x, -0))],
      inputs: () => [tf.tensor2d(tiedScores(3, 9).scores)],
      smooth: false,
    },
    topKValues: { fn: (x) => [topKValues(x, 3).values], inputs: () => [normalTensor("top", [2, 6])] },
    "gatherTokens, index computed": {
      fn: (x, i) => [gatherTokens(x as tf.Tensor3D, asInt(stopGradient(i)))],
      inputs: () => [normalTensor("gather", [2, 3, 2]), tf.tensor2d([[2.5, 0.5, 2.5], [1.5, 1.5, 0.5]])],
    },
    "segmentSum, segment computed": {
      fn: (x, i) => [segmentSum(x, asInt(stopGradient(i)), 3)],
      inputs: () => [normalTensor("sum", [2, 4, 2]), tf.tensor2d([[2.5, 0.5, 2.5, -0.5], [1.5, 1.5, 1.5, 0.5]])],
    },
    scatterAdd: {
      fn: (x, u) => [scatterAdd(x as tf.Tensor3D, integers([2, 0, 1, 1], [2, 2]), u as tf.Tensor3D)],
      inputs: () => [normalTensor("into", [2, 3, 2]), normalTensor("updates", [2, 2, 2])],
    },
    stopGradient: {
      fn: (x) => [stopGradient(x.square()).add(x)],
      inputs: () => [normalTensor("stop", [4])],
      smooth: false,
    },
    straightThrough: {
      fn: (x) => [straightThrough(tf.round(x), x.square())],
      inputs: () => [normalTensor("straight", [5])],
      smooth: false,
    },
  };

for (const [name, { fn, inputs, smooth = true }] of Object.entries(primitives)) {
  testTidy(
    `${name} is the same eagerly and compiled${smooth ? ", with gradients that agree with differences" : ""}`,
    () => {
      const values = inputs();
      const gradients = !["stableTopK", "placeOfHighest", "rankDescending", "argsort"].includes(name);
      // an index has no gradient: add it, so that it has one of zeros
      const whole = (...x: tf.Tensor[]) => [...fn(...x), x.reduce((sum, input) => sum.add(input.sum()), tf.scalar(0))];
      assertAgreement(name, gradients ? withGradients(whole) : fn, values);
      if (smooth) assertGradient(name, (...x) => whole(...x)[0].add(whole(...x)[1].div(100)), values);
    },
  );
}

testTidy("refuseNaN() looks at nothing while a function is traced", () => {
  assertAgreement("refuseNaN", (x) => [refuseNaN(x, "x").sum()], [tf.tensor1d([1, 2])]);
});

testTidy("stopGradient() keeps the value, cuts the gradient, and is freed by itself", () => {
  const x = tf.tensor1d([2, 3]);
  const slope = tf.grad((x) => stopGradient(x.square()).mul(x).sum())(x);
  assert.deepEqual(slope.arraySync(), [4, 9]);
  const same = stopGradient(x);
  x.dispose();
  assert.deepEqual(same.arraySync(), [2, 3]);
});

testTidy("refuseNaN() names what holds NaN, and lets infinite values and integers pass", () => {
  const fine = tf.tensor2d([[1, -Infinity, Infinity]]);
  assert.equal(refuseNaN(fine, "the score"), fine);
  const places = tf.tensor1d([1], "int32");
  assert.equal(refuseNaN(places, "the place"), places);
  assert.throws(() => refuseNaN(tf.tensor1d([1, NaN]), "the score"), /^RangeError: the score holds NaN/);
  assert.throws(() => refuseNaN(tf.tensor1d([Infinity, NaN]), "the score"), /^RangeError: the score holds NaN/);
});

testTidy("randomUniform() is uniform, the same for the same key, another for another", () => {
  const key = randomKey(3, 1);
  const numbers = randomUniform(key, [100, 200]);
  assert.deepEqual(randomUniform(key, [100, 200]).dataSync(), numbers.dataSync());
  assert.notDeepEqual(randomUniform(randomKey(3, 2), [100, 200]).dataSync(), numbers.dataSync());
  assert.deepEqual([numbers.shape, numbers.dtype], [[100, 200], "float32"]);
  // bounds of six standard errors, at 20,000 numbers
  assert.ok(Math.abs(tf.mean(numbers).arraySync() as number - 1 / 2) < 0.0123);
  assert.ok(Math.abs(tf.moments(numbers).variance.arraySync() as number - 1 / 12) < 0.0032);
  const below = numbers.less(0.25).sum().arraySync() as number;
  assert.ok(Math.abs(below / 20_000 - 0.25) < 0.0184);
  const [low, high] = [numbers.min().arraySync() as number, numbers.max().arraySync() as number];
  assert.ok(low >= 0 && high < 1, `${low} to ${high}`);
});

testTidy("keys of a thousand seeds, indices and folds all differ, and so do their first numbers", () => {
  const keys = new Set<string>();
  const first = new Set<number>();
  const add = (key: tf.Tensor1D) => {
    keys.add(key.arraySync().join());
    first.add(randomUniform(key, [1]).arraySync() as number);
  };
  const root = randomKey(500);
  for (let i = -125; i < 125; i++) {
    for (const key of [randomKey(i), randomKey(0, i), randomKey(0, i, 1), foldIn(root, i)]) add(key);
  }
  assert.equal(keys.size, 1000);
  assert.ok(first.size > 990, `${first.size} numbers`);
});

testTidy("foldIn() gives a stream of its own, not the numbers of the key it came from", () => {
  const key = randomKey(5);
  const [a, b] = [randomUniform(foldIn(key, 0), [1000]), randomUniform(foldIn(key, 1), [1000])];
  const correlation = tf.mean(tf.mul(a.sub(0.5), b.sub(0.5))).mul(12).arraySync() as number;
  assert.ok(Math.abs(correlation) < 0.19, `correlation ${correlation}`); // six standard errors
  assert.equal(foldIn(key, 0).dtype, "int32");
});

testTidy("keys are refused that are none, and seeds that are no integers", () => {
  assert.throws(() => randomUniform(tf.tensor1d([1, 2]), [2]), /a key must be int32 of shape \[2\], but it is float32/);
  assert.throws(() => randomUniform(tf.tensor1d([1], "int32"), [2]), /but it is int32 of shape \[1\]/);
  assert.throws(() => randomKey(0.5), TypeError);
  assert.throws(() => randomKey(1, NaN), TypeError);
  assert.throws(() => foldIn(randomKey(1), 0.5), /a key is folded with an integer, but it is 0\.5/);
});

testTidy("tidy() frees what was made inside, and keeps what is returned, in objects too", () => {
  const { numTensors } = tf.memory();
  const result = tidy(() => ({ sum: tf.tensor1d([1, 2]).sum(), count: 2, more: [tf.scalar(1)] }));
  assert.equal(tf.memory().numTensors, numTensors + 2);
  assert.equal(result.count, 2);
});

Deno.test({
  name: "no primitive reads a value back on TensorFlow",
  ignore: tensorflow === undefined,
  fn() {
    const { binding } = tensorflow!;
    const read = binding.tensorDataSync;
    binding.tensorDataSync = () => assert.fail("a value was read back");
    try {
      tf.tidy(() => {
        const x = tf.randomNormal([2, 5, 3]) as tf.Tensor3D;
        const scores = refuseNaN(x.sum<tf.Tensor2D>(2), "scores");
        const key = foldIn(randomKey(1), 2);
        tf.grad((x) => gatherTokens(x as tf.Tensor3D, stableTopK(scores, 2)).sum())(x);
        refuseNaN(tf.tensor1d([Infinity, 1]), "scores");
        rankDescending(randomUniform(key, [2, 5]) as tf.Tensor2D);
        stopGradient(x);
      });
    } finally {
      binding.tensorDataSync = read;
    }
  },
});

Deno.test({
  name: "the fallback's numbers are these, so that they stay the same in the next version",
  ignore: backend.name === "tensorflow",
  fn() {
    const key = foldIn(randomKey(1, 2), 3);
    assert.deepEqual([key.arraySync(), randomUniform(key, [2]).arraySync()], [
      [-1996802558, -595556435],
      [0.9790565371513367, 0.1489965319633484],
    ]);
  },
});

Deno.test({
  name: "TensorFlow's numbers are these, so that they stay the same in the next version",
  ignore: backend.name !== "tensorflow" || backend.device !== "CPU",
  fn() {
    const key = foldIn(randomKey(1, 2), 3);
    assert.deepEqual([key.arraySync(), randomUniform(key, [2]).arraySync()], [
      [159630196, 618538180],
      [0.6794223785400391, 0.8457177877426147],
    ]);
  },
});
