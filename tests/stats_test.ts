import assert from "node:assert/strict";
import { random } from "../lib/random.ts";
import {
  accuracy,
  adjustedRandIndex,
  auprc,
  auroc,
  bootstrapInterval,
  f1,
  type F1Average,
  jaccard,
  mean,
  meanInterval,
  pairedDifference,
  proportionInterval,
  quantile,
  quantiles,
  spearman,
  std,
  tQuantile,
} from "../lib/stats.ts";

interface Golden {
  ranking: { name: string; labels: number[]; scores: number[]; auroc: number; auprc: number }[];
  classification: (
    & { name: string; labels: number[]; predictions: number[]; accuracy: number }
    & {
      [average in F1Average]?: number;
    }
  )[];
  samples: {
    name: string;
    values: number[];
    mean: number;
    std: number;
    intervals: Record<string, [number, number]>;
    ps: number[];
    quantiles: number[];
  }[];
  paired: { name: string; a: number[]; b: number[]; value: number; t: number; p: number; low: number; high: number }[];
  t: [p: number, df: number, t: number][];
  ranks: { name: string; a: number[]; b: number[]; rho: number }[];
  partitions: { name: string; a: number[]; b: number[]; ari: number }[];
}

const golden: Golden = JSON.parse(Deno.readTextFileSync(new URL("./stats_golden.json", import.meta.url)));

function close(actual: number, expected: number, what: string, tolerance = 1e-12): void {
  const error = Math.abs(actual - expected) / Math.max(1, Math.abs(expected));
  assert.ok(error <= tolerance, `${what}: ${actual}, but ${expected} is expected (relative error ${error})`);
}

Deno.test("auroc() and auprc() agree with scikit-learn, also where scores tie", () => {
  for (const { name, labels, scores, ...expected } of golden.ranking) {
    close(auroc(labels, scores), expected.auroc, `auroc, ${name}`);
    close(auprc(labels, scores), expected.auprc, `auprc, ${name}`);
    close(auroc(labels.map(Boolean), Float64Array.from(scores)), expected.auroc, `auroc of booleans, ${name}`);
  }
});

interface RankingCase {
  name: string;
  params: { threshold: number };
  inputs: { labels: number[] | number[][]; scores: number[] | number[][] };
  outputs: Record<string, number | (number | null)[]>;
}

Deno.test("auroc(), auprc() and f1() agree with the cases `sklearn.ranking_and_f1` of tests/golden", () => {
  const file = new URL("./golden/more_models.json", import.meta.url);
  const { cases }: { cases: RankingCase[] } = JSON.parse(Deno.readTextFileSync(file));
  const ranking = cases.filter(({ name }) => name === "sklearn.ranking_and_f1");
  assert.ok(ranking.length >= 2);
  for (const { inputs, outputs, params } of ranking) {
    const labels = inputs.labels.flat();
    const scores = inputs.scores.flat();
    const predictions = scores.map((score) => Number(score >= params.threshold));
    const together = {
      auroc: auroc(labels, scores),
      average_precision: auprc(labels, scores),
      f1: f1(labels, predictions),
    };
    const columns = Array.isArray(inputs.labels[0]);
    for (const [measure, value] of Object.entries(together)) {
      const expected = outputs[columns ? `${measure}_micro` : measure];
      close(value, Number(expected), measure, 1e-6);
    }
    if (!columns) close(f1(labels, predictions, "macro"), Number(outputs.f1_macro), "macro F1", 1e-6);
    else assert.deepEqual(outputs.auroc_per_column, perColumn(inputs, (y, s) => Math.round(auroc(y, s) * 1e6) / 1e6));
  }
});

/** A measure of each column, null where it has none. */
function perColumn(
  { labels, scores }: RankingCase["inputs"],
  measure: (labels: number[], scores: number[]) => number,
): (number | null)[] {
  const column = (table: RankingCase["inputs"]["labels"], j: number) =>
    table.map((row) => Array.isArray(row) ? row[j] : row);
  return [labels[0]].flat().map((_, j) => {
    try {
      return measure(column(labels, j), column(scores, j));
    } catch (error) {
      assert.match(String(error), /^RangeError: auroc compares/);
      return null;
    }
  });
}

Deno.test("auroc() does not change with the order of the examples, and turns around with the scores", () => {
  const { labels, scores } = golden.ranking[2];
  const order = random(1).permutation(labels.length);
  const area = auroc(labels, scores);
  assert.equal(auroc(order.map((i) => labels[i]), order.map((i) => scores[i])), area);
  close(auroc(labels, scores.map((score) => -score)), 1 - area, "turned around");
  assert.equal(auroc([1, 0, 1, 0], [Infinity, -Infinity, Infinity, Infinity]), 0.75);
});

Deno.test("accuracy() and f1() agree with scikit-learn", () => {
  for (const { name, labels, predictions, ...expected } of golden.classification) {
    close(accuracy(labels, predictions), expected.accuracy, `accuracy, ${name}`);
    for (const average of ["binary", "macro", "micro"] as const) {
      const value = expected[average];
      if (value !== undefined) close(f1(labels, predictions, average), value, `${average} F1, ${name}`);
    }
  }
});

Deno.test("mean(), std(), quantiles() and meanInterval() agree with NumPy and SciPy", () => {
  for (const sample of golden.samples) {
    close(mean(sample.values), sample.mean, `mean, ${sample.name}`);
    close(std(sample.values), sample.std, `std, ${sample.name}`);
    quantiles(sample.values, sample.ps).forEach((value, i) => {
      close(value, sample.quantiles[i], `quantile ${sample.ps[i]}, ${sample.name}`);
    });
    for (const [level, [low, high]] of Object.entries(sample.intervals)) {
      const interval = meanInterval(sample.values, Number(level));
      close(interval.low, low, `${level} interval, low, ${sample.name}`);
      close(interval.high, high, `${level} interval, high, ${sample.name}`);
      assert.deepEqual([interval.level, interval.n], [Number(level), sample.values.length]);
    }
  }
  const values = [3, 1, 2];
  assert.equal(quantile(values, 0.5), 2);
  assert.deepEqual(values, [3, 1, 2]);
});

Deno.test("tQuantile() agrees with SciPy from half a degree of freedom to a million", () => {
  for (const [p, df, t] of golden.t) {
    const error = Math.abs(tQuantile(p, df) - t) / Math.max(1e-3, Math.abs(t));
    assert.ok(error < 1e-9, `t(${p}, ${df}) = ${tQuantile(p, df)}, SciPy: ${t}`);
  }
});

Deno.test("pairedDifference() agrees with SciPy's paired t test", () => {
  for (const { name, a, b, ...expected } of golden.paired) {
    const actual = pairedDifference(a, b);
    for (const key of ["value", "low", "high", "t", "p"] as const) {
      close(actual[key], expected[key], `${key}, ${name}`, 1e-10);
    }
    assert.equal(actual.n, a.length);
  }
});

Deno.test("pairedDifference() of the same numbers is 0 for sure, and of a constant difference is that difference", () => {
  const same = pairedDifference([1, 2, 3], [1, 2, 3]);
  assert.deepEqual([same.value, same.low, same.high, same.t, same.p], [0, 0, 0, 0, 1]);
  const constant = pairedDifference([2, 3, 4], [1, 2, 3]);
  assert.deepEqual([constant.value, constant.low, constant.t, constant.p], [1, 1, Infinity, 0]);
});

Deno.test("bootstrapInterval() of a mean is near the t interval, and the same for the same seed", () => {
  const values = Array.from(random(3, "sample").normals(200, 5, 2));
  const meanOf = (drawn: number[]) => mean(drawn.map((i) => values[i]));
  const interval = bootstrapInterval(200, meanOf, { uniform: random(0, "bootstrap").uniform });
  const byT = meanInterval(values);
  assert.equal(interval.value, byT.value);
  assert.deepEqual([interval.level, interval.n], [0.95, 200]);
  const width = byT.high - byT.low;
  close(interval.low, byT.low, "low", 0.1 * width);
  close(interval.high, byT.high, "high", 0.1 * width);
  assert.deepEqual(bootstrapInterval(200, meanOf, { uniform: random(0, "bootstrap").uniform }), interval);
});

Deno.test("bootstrapInterval() holds the true value about as often as it says", () => {
  const uniform = random(1, "bootstrap").uniform;
  const samples = random(2, "samples");
  let held = 0;
  for (let i = 0; i < 200; i++) {
    const values = samples.normals(40);
    const { low, high } = bootstrapInterval(40, (drawn) => mean(drawn.map((i) => values[i] * 1e6)), {
      uniform,
      level: 0.9,
      resamples: 200,
    });
    if (low <= 0 && high >= 0) held++;
  }
  assert.ok(held > 160 && held < 195, `held ${held} of 200 times`);
});

Deno.test("bootstrapInterval() draws again where a draw has no AUROC, and gives up where most have none", () => {
  const labels = [1, 0, 0, 0, 0, 0];
  const scores = [0.6, 0.1, 0.7, 0.2, 0.3, 0.5];
  const area = (drawn: number[]) => auroc(drawn.map((i) => labels[i]), drawn.map((i) => scores[i]));
  const { uniform } = random(4);
  const { value, low, high } = bootstrapInterval(6, area, { uniform });
  assert.equal(value, 0.8);
  assert.ok(low < 0.8 && high === 1);

  let calls = 0;
  const rarely = () => {
    if (calls++ > 0) throw new RangeError("one class is missing");
    return 1;
  };
  assert.throws(() => bootstrapInterval(6, rarely, { uniform }), /^RangeError: the statistic has no value for most/);
  const broken = () => {
    throw new TypeError("a mistake in the statistic");
  };
  assert.throws(() => bootstrapInterval(6, broken, { uniform }), /^TypeError: a mistake in the statistic$/);
});

Deno.test("what has no answer is refused in one sentence", () => {
  const { uniform } = random(0);
  const cases: [() => unknown, RegExp][] = [
    [() => auroc([1, 1], [0.1, 0.2]), /^RangeError: auroc compares .* but there are 2 and 0; evaluate on data/],
    [() => auroc([0, 0], [0.1, 0.2]), /^RangeError: auroc compares .* but there are 0 and 2; evaluate on data/],
    [() => auprc([0, 0], [0.1, 0.2]), /^RangeError: auprc needs a positive, but all 2 labels are 0; evaluate/],
    [() => auroc([0, 1], [0.1, NaN]), /^RangeError: auroc cannot rank scores with NaN, but number 1 is NaN$/],
    [() => auroc([0, 2], [0.1, 0.2]), /^RangeError: auroc needs labels of 0 and 1, but number 1 is 2$/],
    [() => auroc([0, 1], [0.1]), /^RangeError: there are 2 labels and 1 scores; pass as many/],
    [() => accuracy([], []), /^RangeError: there are no labels; pass at least one$/],
    [() => f1([0, 2], [0, 1]), /^RangeError: binary F1 needs .* but one is 2; use "macro"$/],
    [() => f1([0, 0], [0, 0]), /^RangeError: binary F1 is undefined/],
    [() => f1([0], [0], JSON.parse('"weighted"')), /^RangeError: average must be .* but it is "weighted"$/],
    [() => mean([]), /^RangeError: the mean needs at least 1 number, but has 0$/],
    [() => std([1]), /^RangeError: the standard deviation needs at least 2 numbers, but has 1$/],
    [() => meanInterval([1]), /^RangeError: a t interval needs at least 2 numbers, but has 1$/],
    [() => meanInterval([1, 2], 95), /^RangeError: a level lies in \(0, 1\), such as 0.95, but it is 95$/],
    [() => quantile([1, NaN], 0.5), /^RangeError: a quantile of numbers with NaN is not defined$/],
    [() => quantile([1], 50), /^RangeError: a quantile's p lies in \[0, 1\], but it is 50$/],
    [() => pairedDifference([1, 2], [1]), /^RangeError: there are 2 a and 1 b; pass as many/],
    [() => bootstrapInterval(0, () => 0, { uniform }), /^RangeError: a bootstrap needs n >= 1 .* but n is 0$/],
    [() => bootstrapInterval(1, () => 0, { uniform, resamples: 0 }), /^RangeError: resamples must be .* it is 0$/],
    [() => tQuantile(1, 3), /^RangeError: p must lie in \(0, 1\), but it is 1$/],
    [() => tQuantile(0.9, 0), /^RangeError: degrees of freedom must be > 0 and finite, but are 0$/],
  ];
  for (const [call, message] of cases) assert.throws(call, message);
});

Deno.test("proportionInterval() gives the intervals of Newcombe 1998, table I", () => {
  const published = [[81, 263, 0.2553, 0.3662], [15, 148, 0.0624, 0.1605], [0, 20, 0, 0.1611], [1, 29, 0.0061, 0.1718]];
  for (const [hits, n, low, high] of published) {
    const interval = proportionInterval(hits, n);
    assert.ok(Math.abs(interval.low - low) < 5e-5 && Math.abs(interval.high - high) < 5e-5, JSON.stringify(interval));
  }
  assert.throws(() => proportionInterval(3, 2), /they are 3 of 2/);
  assert.throws(() => proportionInterval(0, 0), /they are 0 of 0/);
});

Deno.test("adjustedRandIndex() agrees with scikit-learn, whichever partition comes first", () => {
  for (const { name, a, b, ari } of golden.partitions) {
    close(adjustedRandIndex(a, b), ari, name);
    close(adjustedRandIndex(b, a), ari, `${name}, turned round`);
  }
  assert.throws(() => adjustedRandIndex([0, 1], [0]), RangeError);
});

Deno.test("jaccard() counts what both have of what either has", () => {
  assert.equal(jaccard([true, true, false, false], [true, false, true, false]), 1 / 3);
  assert.equal(jaccard([false, false], [false, false]), 1);
  assert.equal(jaccard([true], [false]), 0);
  assert.throws(() => jaccard([true], [true, false]), RangeError);
});

Deno.test("spearman() agrees with SciPy, also where numbers tie", () => {
  for (const { name, a, b, rho } of golden.ranks) close(spearman(a, b), rho, name);
  assert.throws(() => spearman([1, 1], [1, 2]), /all 2 of one side are equal/);
  assert.throws(() => spearman([1, NaN], [1, 2]), /number 1 is NaN/);
});
