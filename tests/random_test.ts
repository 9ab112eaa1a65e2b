import assert from "node:assert/strict";
import { mulberry32, random } from "../lib/random.ts";
import { mean, std } from "../lib/stats.ts";

const golden: {
  truncatedNormal: {
    mean: number;
    std: number;
    low: number | null;
    high: number | null;
    value: number[];
    expectation: number;
    deviation: number;
  }[];
} = JSON.parse(Deno.readTextFileSync(new URL("./stats_golden.json", import.meta.url)));

function close(actual: number, expected: number, tolerance: number, what = ""): void {
  const error = Math.abs(actual - expected);
  assert.ok(error <= tolerance, `${what} ${actual} is not within ${tolerance} of ${expected}`);
}

Deno.test("mulberry32() gives the specification's numbers", () => {
  const next = mulberry32(1);
  assert.deepEqual(
    [next(), next(), next(), next()],
    [0.6270739405881613, 0.002735721180215478, 0.5274470399599522, 0.9810509674716741],
  );
  assert.equal(mulberry32(1 + 2 ** 32)(), 0.6270739405881613);
});

Deno.test("random() without a name gives the numbers of mulberry32()", () => {
  for (const seed of [0, 1, 7, -3, 2 ** 31, 2 ** 40 + 5]) {
    const [ours, theirs] = [random(seed), mulberry32(seed)];
    for (let i = 0; i < 5; i++) assert.equal(ours.uniform(), theirs());
  }
});

Deno.test("a seed keeps its meaning: what streams give is written down here", () => {
  const stream = random(7, "init");
  assert.deepEqual(
    [stream.uniform(), stream.normal(), stream.truncatedNormal(), stream.integer(1000)],
    [0.9399676241446286, -1.4565793398142917, 0.6613945521221078, 730],
  );
  assert.deepEqual(random(7, "batches").permutation(8), [3, 1, 2, 7, 6, 0, 5, 4]);
});

Deno.test("a stream depends on seed and names only, not on draws or on the order of opening", () => {
  const expected = random(5).stream("a").uniforms(10);
  const root = random(5);
  root.stream("b").normals(100);
  root.uniforms(3);
  assert.deepEqual(root.stream("a").uniforms(10), expected);
  assert.deepEqual(random(5, "a").uniforms(10), expected);
});

Deno.test("streams of other names, seeds and parents differ", () => {
  const firsts = new Set<number>();
  let streams = 0;
  for (const seed of [0, 1, 2]) {
    for (const name of ["", "a", "b", "ab", "ba", "init", "Init", "größe"]) {
      firsts.add(random(seed, name).uniform());
      streams++;
    }
    firsts.add(random(seed).uniform());
    firsts.add(random(seed, "a").stream("b").uniform());
    firsts.add(random(seed, "b").stream("a").uniform());
    streams += 3;
  }
  assert.equal(firsts.size, streams);
});

Deno.test("streams are not correlated with one another, nor a stream with itself", () => {
  const length = 4096;
  const streams = Array.from({ length: 40 }, (_, i) => random(3, `stream ${i}`).uniforms(length, -1, 1));
  const squares: number[] = [];
  for (let i = 0; i < streams.length; i++) {
    for (let j = 0; j <= i; j++) {
      const shift = i === j ? 1 : 0;
      let product = 0;
      for (let k = shift; k < length; k++) product += streams[i][k] * streams[j][k - shift];
      const z = product * 3 / Math.sqrt(length); // the variance of each factor is 1/3
      assert.ok(Math.abs(z) < 5, `streams ${i} and ${j}: z = ${z}`);
      squares.push(z * z);
    }
  }
  close(mean(squares), 1, 5 * Math.sqrt(2 / squares.length), "mean of 820 squared z");
});

Deno.test("a restored state goes on with the same numbers and the same streams", () => {
  const generator = random(9, "train");
  generator.normals(17);
  const saved = JSON.parse(JSON.stringify(generator.state));
  const expected = [generator.normal(), generator.stream("dropout").uniform(), generator.integer(50)];

  const other = random(0);
  other.restore(saved);
  assert.deepEqual([other.normal(), other.stream("dropout").uniform(), other.integer(50)], expected);
  assert.throws(() => other.restore({ key: 1, step: 2, state: 3 }), /^TypeError: .*is no state of a generator; pass/);
  assert.throws(() => other.restore(JSON.parse("{}")), /^TypeError: .*is no state of a generator; pass/);
});

Deno.test("uniform() and integer() cover their range evenly", () => {
  const generator = random(2);
  const draws = generator.uniforms(60_000, -2, 6);
  close(mean(draws), 2, 5 * 8 / Math.sqrt(12 * 60_000));
  assert.ok(draws.every((draw) => draw >= -2 && draw < 6));

  const seen = new Float64Array(7);
  for (let i = 0; i < 70_000; i++) seen[generator.integer(7)]++;
  for (const times of seen) close(times, 10_000, 5 * Math.sqrt(10_000 * 6 / 7));
  assert.equal(generator.integer(1), 0);
});

Deno.test("normal() has the moments of the normal distribution", () => {
  const n = 200_000;
  const z = Array.from(random(4).normals(n));
  close(mean(z), 0, 5 / Math.sqrt(n));
  close(mean(z.map((x) => x ** 2)), 1, 5 * Math.sqrt(2 / n));
  close(mean(z.map((x) => x ** 3)), 0, 5 * Math.sqrt(15 / n));
  close(mean(z.map((x) => x ** 4)), 3, 5 * Math.sqrt(96 / n));
  close(z.filter((x) => x > 1.959963984540054).length / n, 0.025, 5 * Math.sqrt(0.025 * 0.975 / n));

  const shifted = random(4).normals(n, 10, 0.5);
  close(shifted[0], 10 + 0.5 * z[0], 1e-6);
});

Deno.test("truncatedNormal() agrees with SciPy at the same uniform numbers", () => {
  for (const { mean: centre, std: width, low, high, value } of golden.truncatedNormal) {
    const generator = random(1);
    for (const expected of value) {
      const actual = generator.truncatedNormal(centre, width, low ?? -Infinity, high ?? Infinity);
      close(actual, expected, 1e-11 * Math.max(1, Math.abs(expected)), `[${low}, ${high}]`);
    }
  }
});

Deno.test("truncatedNormals() stays within its bounds, with the mean and deviation that SciPy gives", () => {
  const n = 20_000;
  golden.truncatedNormal.forEach(({ mean: centre, std: width, low, high, expectation, deviation }, seed) => {
    const draws = random(seed).truncatedNormals(n, centre, width, low ?? -Infinity, high ?? Infinity);
    assert.ok(draws.every((x) => x >= (low ?? -Infinity) && x <= (high ?? Infinity)));
    close(mean(draws), expectation, 5 * deviation / Math.sqrt(n));
    close(std(draws), deviation, 0.05 * deviation);
  });
  const generator = random(11);
  for (let i = 0; i < 200; i++) { // intervals anywhere, also narrow and far from the mean
    const low = generator.normal(0, 5);
    const high = low + generator.uniform(1e-6, 3);
    const draw = generator.truncatedNormal(0, 1, low, high);
    assert.ok(draw >= low && draw <= high, `${draw} is not in [${low}, ${high}]`);
  }
});

Deno.test("permutation() is a permutation, and each one is as likely", () => {
  const generator = random(6);
  for (const n of [0, 1, 2, 3, 10, 257]) {
    assert.deepEqual(generator.permutation(n).toSorted((a, b) => a - b), Array.from({ length: n }, (_, i) => i));
  }
  const seen = new Map<string, number>();
  for (let i = 0; i < 12_000; i++) {
    const order = generator.permutation(4).join();
    seen.set(order, (seen.get(order) ?? 0) + 1);
  }
  assert.equal(seen.size, 24);
  for (const times of seen.values()) close(times, 500, 5 * Math.sqrt(500));
});

Deno.test("shuffle() and choice() keep the values and leave the array alone", () => {
  const values = ["a", "b", "c", "d", "e"];
  const generator = random(8);
  const shuffled = generator.shuffle(values);
  assert.deepEqual(values, ["a", "b", "c", "d", "e"]);
  assert.deepEqual(shuffled.toSorted(), values);
  const chosen = new Set(Array.from({ length: 200 }, () => generator.choice(values)));
  assert.equal(chosen.size, 5);
});

Deno.test("categorical() and bernoulli() draw with the frequencies that are asked for", () => {
  const generator = random(10);
  const n = 50_000;
  for (const weights of [[0.1, 0.2, 0.3, 0.4], [0, 5, 0, 15, 0], [1], [1e-300, 3e-300]]) {
    const total = weights.reduce((a, b) => a + b);
    const seen = new Float64Array(weights.length);
    for (let i = 0; i < n; i++) seen[generator.categorical(weights)]++;
    weights.forEach((weight, i) => {
      const p = weight / total;
      close(seen[i], n * p, 5 * Math.sqrt(n * p * (1 - p)), `weights ${weights}, index ${i}:`);
    });
  }
  let heads = 0;
  for (let i = 0; i < n; i++) if (generator.bernoulli(0.3)) heads++;
  close(heads, 0.3 * n, 5 * Math.sqrt(n * 0.21));
  assert.equal(generator.bernoulli(0), false);
  assert.equal(generator.bernoulli(1), true);
});

Deno.test("array fillers give what single draws give", () => {
  const single = random(12);
  assert.deepEqual(random(12).uniforms(4, 1, 2), Float32Array.from({ length: 4 }, () => single.uniform(1, 2)));
  single.restore(random(12).state);
  assert.deepEqual(random(12).normals(4, 1, 2), Float32Array.from({ length: 4 }, () => single.normal(1, 2)));
  single.restore(random(12).state);
  assert.deepEqual(
    random(12).truncatedNormals(4),
    Float32Array.from({ length: 4 }, () => single.truncatedNormal()),
  );
});

Deno.test("arguments that make no sense are refused in one sentence", () => {
  const generator = random(0);
  const cases: [() => unknown, RegExp][] = [
    [() => mulberry32(0.5), /^TypeError: a seed must be an integer, but it is 0.5; pass/],
    [() => random(NaN), /^TypeError: a seed must be an integer, but it is NaN; pass/],
    [() => generator.uniform(2, 1), /^RangeError: uniform needs low < high, both finite, but they are 2 and 1$/],
    [() => generator.uniform(0, Infinity), /^RangeError: uniform needs low < high/],
    [() => generator.integer(0), /^RangeError: integer\(n\) draws .* but it is 0$/],
    [() => generator.integer(2.5), /^RangeError: integer\(n\) draws .* but it is 2.5$/],
    [() => generator.normal(0, -1), /^RangeError: a normal number needs .* but they are 0 and -1$/],
    [() => generator.normal(NaN), /^RangeError: a normal number needs .* but they are NaN and 1$/],
    [
      () => generator.truncatedNormal(0, 1, 2, 2),
      /^RangeError: truncatedNormal needs low < high, but they are 2 and 2$/,
    ],
    [() => generator.truncatedNormal(0, 0, 1, 2), /^RangeError: truncatedNormal needs std > 0/],
    [() => generator.truncatedNormal(0, 1, 50, 60), /^RangeError: no probability lies between 50 and 60 .* move/],
    [() => generator.permutation(-1), /^RangeError: permutation\(n\) must be an integer >= 0, but it is -1$/],
    [() => generator.normals(1.5), /^RangeError: length must be an integer >= 0, but it is 1.5$/],
    [() => generator.choice([]), /^RangeError: choice\(\) needs at least one value/],
    [() => generator.categorical([]), /^RangeError: probabilities must have a positive, finite sum, but it is 0$/],
    [() => generator.categorical([0.5, -0.1]), /^RangeError: probabilities must be >= 0, but number 1 is -0.1$/],
    [() => generator.categorical([NaN]), /^RangeError: probabilities must be >= 0, but number 0 is NaN$/],
    [() => generator.bernoulli(1.1), /^RangeError: a probability lies in \[0, 1\], but it is 1.1$/],
  ];
  for (const [call, message] of cases) assert.throws(call, message);
});
