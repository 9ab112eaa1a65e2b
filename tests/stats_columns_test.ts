import assert from "node:assert/strict";
import { type Averaged, bootstrapInterval, calibration, columnScores } from "../lib/stats.ts";
import { random } from "../lib/random.ts";

interface Golden {
  columns: {
    name: string;
    threshold: number;
    labels: number[][];
    scores: number[][];
    auprc: Averaged;
    auroc: Averaged;
    f1: Averaged;
  }[];
  calibration: {
    name: string;
    bins: number;
    labels: number[];
    probabilities: number[];
    observed: number[];
    predicted: number[];
    brier: number;
  }[];
}

const golden: Golden = JSON.parse(Deno.readTextFileSync(new URL("./stats_columns_golden.json", import.meta.url)));

function close(actual: number | null, expected: number | null, what: string): void {
  if (expected === null || actual === null) return assert.equal(actual, expected, what);
  assert.ok(Math.abs(actual - expected) <= 1e-9, `${what}: ${actual}, but ${expected} is expected`);
}

Deno.test("columnScores() agrees with scikit-learn to 1e-9, with ties and columns of one class", () => {
  for (const { name, threshold, labels, scores, ...expected } of golden.columns) {
    const ours = columnScores(labels, scores, { threshold, parity: true });
    for (const measure of ["auprc", "auroc", "f1"] as const) {
      const [own, theirs] = [ours[measure], expected[measure]];
      theirs.perColumn.forEach((value, j) => close(own.perColumn[j], value, `${measure} of column ${j}, ${name}`));
      for (const average of ["macro", "micro", "weighted"] as const) {
        close(own[average], theirs[average], `${average} ${measure}, ${name}`);
      }
    }
  }
});

Deno.test("columnScores() skips a column of one class and says so, where scikit-learn counts it as 0 or gives up", () => {
  const { labels, scores } = golden.columns.find(({ name }) => name.includes("without negatives"))!;
  const { auprc, auroc, skipped, prevalence } = columnScores(labels, scores);
  assert.deepEqual(skipped, [1, 3]);
  assert.deepEqual([prevalence[1], prevalence[3]], [0, 1]);
  const kept = [0, 2, 4];
  for (const measure of [auprc, auroc]) {
    close(measure.macro, kept.reduce((sum, j) => sum + measure.perColumn[j]!, 0) / 3, "macro over what is left");
  }
});

Deno.test("calibration() agrees with scikit-learn to 1e-9", () => {
  for (const { name, bins, labels, probabilities, observed, predicted, brier } of golden.calibration) {
    const ours = calibration(labels, probabilities, bins);
    assert.equal(ours.bins.length, observed.length, name);
    ours.bins.forEach((bin, i) => {
      close(bin.observed, observed[i], `observed ${i}, ${name}`);
      close(bin.predicted, predicted[i], `predicted ${i}, ${name}`);
    });
    close(ours.brier, brier, `Brier, ${name}`);
  }
});

Deno.test("columnScores() and calibration() say what is wrong with their input", () => {
  assert.throws(
    () => columnScores([[1, 0], [1]], [[1, 0], [1]]),
    /row 1 has 1 labels and 1 scores, but the first one has 2/,
  );
  assert.throws(() => columnScores([[]], [[]]), /no columns/);
  assert.throws(() => columnScores([[2]], [[1]]), /labels of 0 and 1/);
  assert.throws(() => calibration([1], [1.5]), /lies in \[0, 1\], but number 0 is 1.5/);
  assert.throws(() => calibration([1], [0.5], 0), /bins must be/);
});

Deno.test("an AUPRC with its bootstrap interval draws rows, so that labels stay with their scores", () => {
  const { labels, scores } = golden.columns[0];
  const statistic = (rows: number[]) => {
    const { macro } = columnScores(rows.map((i) => labels[i]), rows.map((i) => scores[i])).auprc;
    if (macro === null) throw new RangeError("no column has both classes");
    return macro;
  };
  const draw = { uniform: random(1, "bootstrap").uniform, resamples: 200 };
  const { value, low, high } = bootstrapInterval(labels.length, statistic, draw);
  assert.ok(low < value && value < high && high - low < 0.5);
});
