/**
 * What results are judged by: scores of classifiers, means with intervals, paired differences.
 *
 * Plain arrays in, plain numbers out. Checked against scikit-learn and SciPy (tests/stats_golden.json).
 *
 * @module
 */

/** Plain numbers: an array or a typed array. */
export type Numbers = ArrayLike<number>;

/** A value with the interval that holds it at the stated level. */
export interface Interval {
  /** The estimate itself, inside the interval. */
  value: number;
  low: number;
  high: number;
  /** Such as 0.95. */
  level: number;
  /** How many observations it rests on. */
  n: number;
}

// ---- Classification -------------------------------------------------------------------------------------------------

/**
 * The share of predictions that equal the label.
 *
 * @throws {RangeError} Where there are none, or not as many of one as of the other.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * assert.equal(accuracy([0, 1, 1, 2], [0, 1, 2, 2]), 0.75);
 * ```
 */
export function accuracy(labels: Numbers, predictions: Numbers): number {
  checkPairs("labels", labels, "predictions", predictions);
  let right = 0;
  for (let i = 0; i < labels.length; i++) if (labels[i] === predictions[i]) right++;
  return right / labels.length;
}

/**
 * Area under the ROC curve: the probability that a positive scores higher than a negative, where equal scores count half
 * (Mann and Whitney's U by mid-ranks).
 *
 * @param labels 1 or true for positive, 0 or false for negative.
 * @param scores Higher means more likely positive; any scale.
 * @throws {RangeError} Where one class is missing, a label is neither 0 nor 1, or a score is NaN.
 *
 * @example One of two positives beats both negatives, the other ties with one and loses to one
 * ```ts
 * import assert from "node:assert/strict";
 * assert.equal(auroc([0, 0, 1, 1], [0.1, 0.4, 0.1, 0.8]), 0.625);
 * ```
 */
export function auroc(labels: Numbers | ArrayLike<boolean>, scores: Numbers): number {
  const positive = binaryLabels("auroc", labels, scores);
  const positives = count(positive);
  const negatives = positive.length - positives;
  if (positives === 0 || negatives === 0) {
    throw new RangeError(
      `auroc compares positives with negatives, but there are ${positives} and ${negatives}; ` +
        "evaluate on data that hold both classes",
    );
  }
  let rankSum = 0;
  for (const { from, to, members } of ties(scores)) {
    rankSum += count(members.map((i) => positive[i])) * (from + to + 1) / 2; // ranks from + 1 to `to`, their mean
  }
  return (rankSum - positives * (positives + 1) / 2) / (positives * negatives);
}

/**
 * Area under the precision-recall curve, as the average precision of scikit-learn: precision at each threshold, weighted
 * by the gain in recall, without interpolation. A useless score gives the share of positives, not one half.
 *
 * @param labels 1 or true for positive, 0 or false for negative.
 * @param scores Higher means more likely positive; equal scores share one threshold.
 * @throws {RangeError} Where there is no positive, a label is neither 0 nor 1, or a score is NaN.
 *
 * @example The positives come first and third: (1 / 1 + 2 / 3) / 2
 * ```ts
 * import assert from "node:assert/strict";
 * assert.equal(auprc([1, 0, 1, 0], [0.9, 0.8, 0.7, 0.1]), (1 + 2 / 3) / 2);
 * ```
 */
export function auprc(labels: Numbers | ArrayLike<boolean>, scores: Numbers): number {
  const positive = binaryLabels("auprc", labels, scores);
  const positives = count(positive);
  if (positives === 0) {
    throw new RangeError(`auprc needs a positive, but all ${positive.length} labels are 0; evaluate on data with both`);
  }
  let found = 0;
  let area = 0;
  for (const { from, members } of ties(scores).reverse()) {
    const gained = count(members.map((i) => positive[i]));
    found += gained;
    area += gained / positives * (found / (positive.length - from));
  }
  return area;
}

/** How F1 scores of several classes become one number. */
export type F1Average = "binary" | "macro" | "micro";

/**
 * F1: the harmonic mean of precision and recall.
 *
 * - `"binary"`: of class 1; the only classes are 0 and 1.
 * - `"macro"`: the plain mean over the classes that occur among labels or predictions.
 * - `"micro"`: of all decisions together, which for one label per example is the accuracy.
 *
 * A class that is never predicted right has F1 = 0.
 *
 * @throws {RangeError} Where the lengths differ or are 0, or for `"binary"` a value is neither 0 nor 1 or no 1 occurs.
 *
 * @example One positive of two is found, and one of two alarms is right
 * ```ts
 * import assert from "node:assert/strict";
 * assert.equal(f1([1, 1, 0, 0], [1, 0, 1, 0]), 0.5);
 * assert.equal(f1([0, 1, 2], [0, 1, 1], "macro"), (1 + 2 / 3 + 0) / 3);
 * ```
 */
export function f1(labels: Numbers, predictions: Numbers, average: F1Average = "binary"): number {
  checkPairs("labels", labels, "predictions", predictions);
  if (average === "micro") return accuracy(labels, predictions);
  if (average === "macro") {
    const classes = new Set([...Array.from(labels), ...Array.from(predictions)]);
    return mean([...classes].map((each) => f1OfClass(labels, predictions, each)));
  }
  if (average !== "binary") {
    throw new RangeError(`average must be "binary", "macro" or "micro", but it is ${JSON.stringify(average)}`);
  }
  const other = [...Array.from(labels), ...Array.from(predictions)].find((value) => value !== 0 && value !== 1);
  if (other !== undefined) {
    throw new RangeError(`binary F1 needs labels and predictions of 0 and 1, but one is ${other}; use "macro"`);
  }
  if (!Array.from(labels).includes(1) && !Array.from(predictions).includes(1)) {
    throw new RangeError("binary F1 is undefined where neither a label nor a prediction is 1; evaluate on other data");
  }
  return f1OfClass(labels, predictions, 1);
}

function f1OfClass(labels: Numbers, predictions: Numbers, of: number): number {
  let both = 0;
  let labelled = 0;
  let predicted = 0;
  for (let i = 0; i < labels.length; i++) {
    if (labels[i] === of) labelled++;
    if (predictions[i] === of) predicted++;
    if (labels[i] === of && predictions[i] === of) both++;
  }
  return 2 * both / (labelled + predicted);
}

/** One measure of several columns of labels, and its averages. */
export interface Averaged {
  /** One per column; null where it is not defined. */
  readonly perColumn: readonly (number | null)[];
  /** The plain mean over columns; null where there is none to average. */
  readonly macro: number | null;
  /** Of all decisions together, as if they were one column. */
  readonly micro: number | null;
  /** The mean over columns, each counted by its positives. */
  readonly weighted: number | null;
}

/** What {@link columnScores} returns. */
export interface ColumnScores {
  readonly auprc: Averaged;
  readonly auroc: Averaged;
  /** Of the predictions `score >= threshold`. */
  readonly f1: Averaged;
  /** Share of positives, per column: what a useless score has as its AUPRC. */
  readonly prevalence: readonly number[];
  /** Columns with one class only: they are left out of the averages of auprc and auroc. */
  readonly skipped: readonly number[];
}

/** Options of {@link columnScores}. */
export interface ColumnScoresOptions {
  /** From which score on the prediction is "yes", for F1. Default: 0.5. */
  readonly threshold?: number;
  /**
   * As scikit-learn: a column without positives has AUPRC 0 and counts in the mean, and one column of a single class makes the
   * macro AUROC undefined. Default: false, such columns are skipped and reported.
   */
  readonly parity?: boolean;
}

/**
 * AUPRC, AUROC and F1 of several yes-or-no labels per example, each as macro, micro and weighted average: which one is meant
 * is never left open, because they differ.
 *
 * @param labels [rows][columns], 0 or 1.
 * @param scores [rows][columns], higher for more likely.
 * @throws {RangeError} Where rows or columns do not match, there are none, or a value is none.
 *
 * @example The second column has no positive: it is skipped, and said to be
 * ```ts
 * import assert from "node:assert/strict";
 * const { auprc, skipped } = columnScores([[1, 0], [0, 0]], [[0.9, 0.2], [0.1, 0.3]]);
 * assert.deepEqual([auprc.perColumn, auprc.macro, skipped], [[1, null], 1, [1]]);
 * ```
 */
export function columnScores(
  labels: readonly Numbers[],
  scores: readonly Numbers[],
  { threshold = 0.5, parity = false }: ColumnScoresOptions = {},
): ColumnScores {
  checkPairs("rows of labels", labels, "rows of scores", scores);
  const columns = labels[0].length;
  const wrong = labels.findIndex((row, i) => row.length !== columns || scores[i].length !== columns);
  if (wrong !== -1 || columns === 0) {
    throw new RangeError(
      columns === 0
        ? "labels have no columns; pass [rows][columns]"
        : `row ${wrong} has ${labels[wrong].length} labels and ${scores[wrong].length} scores, but the first one has ` +
          `${columns}; make all rows alike`,
    );
  }
  const column = (rows: readonly Numbers[], j: number) => Float64Array.from(rows, (row) => row[j]);
  const parts = Array.from({ length: columns }, (_, j) => ({ label: column(labels, j), score: column(scores, j) }));
  const positives = parts.map(({ label }) => label.reduce((sum, value) => sum + value, 0));
  const rows = labels.length;
  const oneClass = positives.map((count) => count === 0 || count === rows);
  const all = {
    label: Float64Array.from(labels.flatMap((row) => Array.from(row))),
    score: Float64Array.from(scores.flatMap((row) => Array.from(row))),
  };
  const allPositives = positives.reduce((sum, count) => sum + count, 0);
  const averaged = (
    perColumn: (number | null)[],
    micro: number | null,
    skips: (j: number) => boolean,
    isUndefined = false,
  ): Averaged => {
    const counted = perColumn.flatMap((value, j) => value === null || skips(j) ? [] : [[value, positives[j]]]);
    const weight = counted.reduce((sum, [, count]) => sum + count, 0);
    return {
      perColumn,
      macro: counted.length && !isUndefined ? mean(counted.map(([value]) => value)) : null,
      micro,
      weighted: weight > 0 ? counted.reduce((sum, [value, count]) => sum + value * count, 0) / weight : null,
    };
  };
  const never = () => false;
  const precision = parts.map(({ label, score }, j) => {
    if (positives[j] > 0) return auprc(label, score);
    binaryLabels("auprc", label, score);
    return parity ? 0 : null;
  });
  const area = parts.map(({ label, score }, j) => oneClass[j] ? null : auroc(label, score));
  const ofF1 = ({ label, score }: typeof all) =>
    f1OfClass(label, score.map((value) => Number(value >= threshold)), 1) || 0;
  const hasBoth = allPositives > 0 && allPositives < all.label.length;
  const auc = averaged(area, hasBoth ? auroc(all.label, all.score) : null, never, parity && oneClass.includes(true));
  return {
    auprc: averaged(
      precision,
      allPositives > 0 ? auprc(all.label, all.score) : parity ? 0 : null,
      (j) => oneClass[j] && !parity,
    ),
    // weighted: a column without positives counts nothing there, but one without negatives leaves it undefined
    auroc: parity && positives.includes(rows) ? { ...auc, weighted: null } : auc,
    f1: averaged(parts.map(ofF1), ofF1(all), never),
    prevalence: positives.map((count) => count / rows),
    skipped: oneClass.flatMap((one, j) => one ? [j] : []),
  };
}

/** What {@link calibration} returns. */
export interface Calibration {
  /** Bins that hold something, lowest first: mean prediction, share of positives, how many. */
  readonly bins: readonly { readonly predicted: number; readonly observed: number; readonly count: number }[];
  /** Mean distance of prediction and share over the bins, each counted by its examples (Naeini et al., AAAI 2015). */
  readonly expectedError: number;
  /** Mean squared difference of prediction and label (Brier 1950). */
  readonly brier: number;
}

/**
 * Whether "30 %" comes true in 30 % of the cases: predicted probabilities in bins of equal width beside the share of positives.
 *
 * @param labels 0 or 1.
 * @param probabilities In [0, 1].
 * @param bins Default: 10.
 * @throws {RangeError} Where lengths differ, a label is neither 0 nor 1, or a probability lies outside [0, 1].
 *
 * @example Said 0.8 twice, was right once
 * ```ts
 * import assert from "node:assert/strict";
 * const { bins, expectedError } = calibration([1, 0], [0.8, 0.8]);
 * assert.deepEqual(bins, [{ predicted: 0.8, observed: 0.5, count: 2 }]);
 * assert.ok(Math.abs(expectedError - 0.3) < 1e-12);
 * ```
 */
export function calibration(labels: Numbers | ArrayLike<boolean>, probabilities: Numbers, bins = 10): Calibration {
  const positive = binaryLabels("calibration", labels, probabilities);
  if (!Number.isInteger(bins) || bins < 1) {
    throw new RangeError(`bins must be a whole number from 1, but it is ${bins}`);
  }
  const outside = Array.from(probabilities).findIndex((value) => !(value >= 0 && value <= 1));
  if (outside !== -1) {
    throw new RangeError(
      `a probability lies in [0, 1], but number ${outside} is ${
        probabilities[outside]
      }; pass it through a sigmoid first`,
    );
  }
  const groups = Map.groupBy(positive.keys(), (i) => {
    // as scikit-learn: an edge belongs to the bin below it
    let bin = 0;
    while (bin < bins - 1 && probabilities[i] > (bin + 1) / bins) bin++;
    return bin;
  });
  const filled = [...groups].toSorted(([a], [b]) => a - b).map(([, members]) => ({
    predicted: mean(members.map((i) => probabilities[i])),
    observed: mean(members.map((i) => Number(positive[i]))),
    count: members.length,
  }));
  const n = positive.length;
  return {
    bins: filled,
    expectedError: filled.reduce(
      (sum, { predicted, observed, count }) => sum + count / n * Math.abs(predicted - observed),
      0,
    ),
    brier: mean(positive.map((label, i) => (probabilities[i] - Number(label)) ** 2)),
  };
}

/** Groups of equal scores, lowest first: the indices of the scores, and their places [from, to) in the sorted order. */
function ties(scores: Numbers): { from: number; to: number; members: number[] }[] {
  const order = Array.from(scores, (_, i) => i).sort((a, b) => scores[a] - scores[b] || 0);
  const groups = [];
  for (let from = 0; from < order.length;) {
    let to = from + 1;
    while (to < order.length && scores[order[to]] === scores[order[from]]) to++;
    groups.push({ from, to, members: order.slice(from, to) });
    from = to;
  }
  return groups;
}

function binaryLabels(what: string, labels: Numbers | ArrayLike<boolean>, scores: Numbers): boolean[] {
  checkPairs("labels", labels, "scores", scores);
  const bad = Array.from(scores).findIndex(Number.isNaN);
  if (bad !== -1) throw new RangeError(`${what} cannot rank scores with NaN, but number ${bad} is NaN`);
  return Array.from<number | boolean>(labels).map((label, i) => {
    if (Number(label) !== 0 && Number(label) !== 1) {
      throw new RangeError(`${what} needs labels of 0 and 1, but number ${i} is ${label}`);
    }
    return Boolean(label);
  });
}

function count(flags: boolean[]): number {
  return flags.filter((flag) => flag).length;
}

/**
 * Spearman's rank correlation: Pearson's correlation of mid-ranks.
 *
 * @throws {RangeError} Where lengths differ, there are fewer than two numbers, one is NaN, or all of one side are equal.
 *
 * @example The same order on other scales
 * ```ts
 * import assert from "node:assert/strict";
 * assert.equal(spearman([1, 2, 3], [10, 100, 1000]), 1);
 * ```
 */
export function spearman(a: Numbers, b: Numbers): number {
  checkPairs("the first numbers", a, "the second numbers", b);
  const [x, y] = [midRanks(a), midRanks(b)];
  const middle = (a.length + 1) / 2;
  let xx = 0, yy = 0, xy = 0;
  for (let i = 0; i < x.length; i++) {
    xx += (x[i] - middle) ** 2;
    yy += (y[i] - middle) ** 2;
    xy += (x[i] - middle) * (y[i] - middle);
  }
  if (xx === 0 || yy === 0) {
    throw new RangeError(`a rank correlation needs numbers that differ, but all ${a.length} of one side are equal`);
  }
  return xy / Math.sqrt(xx * yy);
}

function midRanks(values: Numbers): Float64Array {
  const bad = Array.from(values).findIndex(Number.isNaN);
  if (bad !== -1) throw new RangeError(`numbers with NaN have no ranks, but number ${bad} is NaN`);
  const ranks = new Float64Array(values.length);
  for (const { from, to, members } of ties(values)) for (const i of members) ranks[i] = (from + to + 1) / 2;
  return ranks;
}

// ---- Agreement of sets and partitions ------------------------------------------------------------------------------

/**
 * Jaccard index of two sets given as flags: elements in both over elements in either; 1 where both are empty.
 *
 * @param a Whether each element is in the first set; `b` the same of the second.
 * @throws {RangeError} Where the two differ in length.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * assert.equal(jaccard([true, true, false], [true, false, false]), 0.5);
 * ```
 */
export function jaccard(a: readonly boolean[], b: readonly boolean[]): number {
  checkPairs("the first set", a, "the second set", b);
  const both = a.filter((value, i) => value && b[i]).length;
  const either = a.filter((value, i) => value || b[i]).length;
  return either === 0 ? 1 : both / either;
}

/**
 * Adjusted Rand index of two partitions: 1 where they agree in each pair, about 0 where they agree as chance would, below
 * 0 where they agree less.
 *
 * Hubert & Arabie, "Comparing partitions", Journal of Classification 2, 1985, equation 5; as scikit-learn's
 * `adjusted_rand_score` has it.
 *
 * @param a Group of each element, any numbers; `b` the same in the other partition.
 * @throws {RangeError} Where the two differ in length.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * assert.equal(adjustedRandIndex([0, 0, 1, 1], [7, 7, 3, 3]), 1);
 * assert.ok(adjustedRandIndex([0, 0, 1, 1], [0, 1, 0, 1]) < 0); // they agree in less than chance would give
 * ```
 */
export function adjustedRandIndex(a: Numbers, b: Numbers): number {
  checkPairs("the first partition", a, "the second partition", b);
  const pairs = (n: number) => n * (n - 1) / 2;
  const sumOfPairs = (keys: Iterable<number | string>) => {
    const counts = new Map<number | string, number>();
    for (const key of keys) counts.set(key, (counts.get(key) ?? 0) + 1);
    return [...counts.values()].reduce((sum, n) => sum + pairs(n), 0);
  };
  const together = sumOfPairs(Array.from(a, (group, i) => `${group} ${b[i]}`));
  const inA = sumOfPairs(Array.from(a));
  const inB = sumOfPairs(Array.from(b));
  const all = pairs(a.length);
  const expected = all === 0 ? 0 : inA * inB / all;
  const largest = (inA + inB) / 2;
  return largest === expected ? 1 : (together - expected) / (largest - expected);
}

// ---- Numbers that describe a sample ---------------------------------------------------------------------------------

/**
 * The mean.
 *
 * @throws {RangeError} Where there are no numbers.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * assert.equal(mean([1, 2, 6]), 3);
 * ```
 */
export function mean(values: Numbers): number {
  checkSome("the mean", values, 1);
  let sum = 0;
  for (let i = 0; i < values.length; i++) sum += values[i];
  return sum / values.length;
}

/**
 * The standard deviation of a sample: squares divided by n - 1.
 *
 * @throws {RangeError} Where there are fewer than two numbers.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * assert.equal(std([1, 2, 3]), 1);
 * ```
 */
export function std(values: Numbers): number {
  checkSome("the standard deviation", values, 2);
  const centre = mean(values);
  let squares = 0;
  for (let i = 0; i < values.length; i++) squares += (values[i] - centre) ** 2;
  return Math.sqrt(squares / (values.length - 1));
}

/**
 * A quantile, by linear interpolation between the sorted numbers, as NumPy's default.
 *
 * @param p Which one: 0 is the smallest, 0.5 the median, 1 the largest.
 * @throws {RangeError} Where there are no numbers, one is NaN, or p lies outside [0, 1].
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * assert.equal(quantile([4, 1, 3, 2], 0.5), 2.5);
 * ```
 */
export function quantile(values: Numbers, p: number): number {
  return quantiles(values, [p])[0];
}

/**
 * Several quantiles; as `quantile`, but sorts once.
 *
 * @throws {RangeError} As `quantile`.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * assert.deepEqual(quantiles([0, 10], [0, 0.25, 1]), [0, 2.5, 10]);
 * ```
 */
export function quantiles(values: Numbers, ps: readonly number[]): number[] {
  checkSome("a quantile", values, 1);
  if (Array.from(values).some(Number.isNaN)) throw new RangeError("a quantile of numbers with NaN is not defined");
  const sorted = Float64Array.from(values).sort();
  return ps.map((p) => {
    if (!(p >= 0 && p <= 1)) throw new RangeError(`a quantile's p lies in [0, 1], but it is ${p}`);
    const place = p * (sorted.length - 1);
    const below = Math.floor(place);
    const weight = place - below;
    return weight === 0 ? sorted[below] : sorted[below] + weight * (sorted[below + 1] - sorted[below]);
  });
}

// ---- Intervals ------------------------------------------------------------------------------------------------------

/**
 * The mean with Student's t interval: for few, roughly normal numbers, such as one result per seed.
 *
 * @param level How often such an interval holds the true mean. Default: 0.95.
 * @throws {RangeError} Where there are fewer than two numbers, or the level is not in (0, 1).
 *
 * @example Two seeds say little: t = 12.706 with one degree of freedom
 * ```ts
 * import assert from "node:assert/strict";
 * const { value, low, high } = meanInterval([0.97, 0.99]);
 * assert.ok(Math.abs(value - 0.98) < 1e-12);
 * assert.ok(Math.abs(high - low - 2 * 12.7062 * 0.01) < 1e-5);
 * ```
 */
export function meanInterval(values: Numbers, level = 0.95): Interval {
  checkSome("a t interval", values, 2);
  checkLevel(level);
  const value = mean(values);
  const half = tQuantile((1 + level) / 2, values.length - 1) * std(values) / Math.sqrt(values.length);
  return { value, low: value - half, high: value + half, level, n: values.length };
}

/**
 * A fraction with its Wilson interval: so many of so many were right. Holds for small numbers and near 0 and 1, where
 * the interval from the normal distribution leaves [0, 1]. Wilson 1927, doi:10.1080/01621459.1927.10502953.
 *
 * @param hits How many were right, a whole number from 0 to n.
 * @param n How many there were, >= 1.
 * @param level How often such an interval holds the true fraction. Default: 0.95.
 * @throws {RangeError} Where the numbers make no fraction, or the level is not in (0, 1).
 *
 * @example All of ten may well be nine of ten
 * ```ts
 * import assert from "node:assert/strict";
 * const { value, low, high } = proportionInterval(10, 10);
 * assert.deepEqual([value, high], [1, 1]);
 * assert.equal(low.toFixed(3), "0.722");
 * ```
 */
export function proportionInterval(hits: number, n: number, level = 0.95): Interval {
  if (!(Number.isInteger(n) && n >= 1 && Number.isInteger(hits) && hits >= 0 && hits <= n)) {
    throw new RangeError(`a fraction needs whole numbers 0 <= hits <= n and n >= 1, but they are ${hits} of ${n}`);
  }
  checkLevel(level);
  const z = tQuantile((1 + level) / 2, 1e7); // so many degrees of freedom that it is the normal distribution
  const value = hits / n, scale = 1 + z * z / n;
  const centre = (value + z * z / (2 * n)) / scale;
  const half = z / scale * Math.sqrt(value * (1 - value) / n + z * z / (4 * n * n));
  return { value, low: hits === 0 ? 0 : centre - half, high: hits === n ? 1 : centre + half, level, n };
}

/** The mean difference of paired results, and what speaks for its being more than chance. */
export interface PairedDifference extends Interval {
  /** Student's t of the differences; infinite where they are all the same and not 0, 0 where they are all 0. */
  t: number;
  /** Two-sided p value of the paired t test. */
  p: number;
}

/**
 * The mean of a - b over pairs (the same seed, the same image), with its t interval and paired t test.
 *
 * @throws {RangeError} Where there are fewer than two pairs, or not as many of one as of the other.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * const { value, n, low } = pairedDifference([5, 7, 9], [4, 5, 6]);
 * assert.deepEqual([value, n], [2, 3]);
 * assert.ok(low < 0); // three pairs do not exclude that there is no difference
 * ```
 */
export function pairedDifference(a: Numbers, b: Numbers, level = 0.95): PairedDifference {
  checkPairs("a", a, "b", b);
  const differences = Float64Array.from(a, (value, i) => value - b[i]);
  const interval = meanInterval(differences, level);
  const error = std(differences) / Math.sqrt(differences.length);
  const t = interval.value === 0 ? 0 : interval.value / error;
  return { ...interval, t, p: 2 * tUpperTail(Math.abs(t), differences.length - 1) };
}

/** How a bootstrap interval is made. */
export interface BootstrapOptions {
  /** Where chance comes from: numbers in [0, 1), such as `random(0, "bootstrap").uniform`. */
  uniform: () => number;
  /** Default: 0.95. */
  level?: number;
  /** How often the sample is drawn again. Default: 2000. */
  resamples?: number;
}

/**
 * A statistic with its bootstrap interval: the sample is drawn again with replacement, and the interval holds the middle
 * of the statistic's values (the percentile method of Efron 1979).
 *
 * @param n How many observations there are.
 * @param statistic What is measured, from the indices of the observations that were drawn. Indices, so that labels and
 *   scores stay together. A draw for which it throws a RangeError (such as the AUROC of one class) is drawn again.
 * @throws {RangeError} Where n, the level or the number of resamples make no sense, or more than half of the draws
 *   have no value.
 *
 * @example The mean of four numbers
 * ```ts
 * import assert from "node:assert/strict";
 * import { random } from "tessera/random.ts";
 * const values = [1, 2, 3, 10];
 * const { value, low, high } = bootstrapInterval(
 *   values.length,
 *   (drawn) => mean(drawn.map((i) => values[i])),
 *   { uniform: random(0, "bootstrap").uniform },
 * );
 * assert.equal(value, 4);
 * assert.ok(low >= 1 && low < 4 && high > 4 && high <= 10);
 * ```
 */
export function bootstrapInterval(
  n: number,
  statistic: (indices: number[]) => number,
  { uniform, level = 0.95, resamples = 2000 }: BootstrapOptions,
): Interval {
  if (!Number.isInteger(n) || n < 1) throw new RangeError(`a bootstrap needs n >= 1 observations, but n is ${n}`);
  if (!Number.isInteger(resamples) || resamples < 1) {
    throw new RangeError(`resamples must be an integer >= 1, but it is ${resamples}`);
  }
  checkLevel(level);
  const value = statistic(Array.from({ length: n }, (_, i) => i));

  const drawn: number[] = [];
  let failures = 0;
  while (drawn.length < resamples) {
    const indices = Array.from({ length: n }, () => Math.floor(uniform() * n));
    try {
      drawn.push(statistic(indices));
    } catch (error) {
      if (!(error instanceof RangeError)) throw error;
      if (++failures > resamples) {
        throw new RangeError(`the statistic has no value for most draws (${error.message}); use more observations`);
      }
    }
  }
  const [low, high] = quantiles(drawn, [(1 - level) / 2, (1 + level) / 2]);
  return { value, low, high, level, n };
}

// ---- Student's t ----------------------------------------------------------------------------------------------------

/**
 * The quantile of Student's t distribution: which t has this probability below it.
 *
 * @param p In (0, 1).
 * @param df Degrees of freedom, > 0, not necessarily whole.
 * @throws {RangeError} Where p or df is out of range.
 *
 * @example The 2.262 of every textbook
 * ```ts
 * import assert from "node:assert/strict";
 * assert.equal(tQuantile(0.975, 9).toFixed(3), "2.262");
 * ```
 */
export function tQuantile(p: number, df: number): number {
  if (!(p > 0 && p < 1)) throw new RangeError(`p must lie in (0, 1), but it is ${p}`);
  if (!(df > 0) || df === Infinity) throw new RangeError(`degrees of freedom must be > 0 and finite, but are ${df}`);
  if (p === 0.5) return 0;
  if (p > 0.5) return -tQuantile(1 - p, df);

  // The tail falls with t: double until it is below p, then halve the bracket until no number lies inside.
  let [low, high] = [0, 1];
  while (tUpperTail(high, df) > p) [low, high] = [high, 2 * high];
  for (let middle = (low + high) / 2; middle > low && middle < high; middle = (low + high) / 2) {
    if (tUpperTail(middle, df) > p) low = middle;
    else high = middle;
  }
  return -high;
}

/** The probability above t >= 0. */
function tUpperTail(t: number, df: number): number {
  if (t === Infinity) return 0;
  // x and 1 - x are both given, because for small t their difference from 1 would be lost.
  const squared = t * t;
  return 0.5 * incompleteBeta(df / (df + squared), squared / (df + squared), df / 2, 0.5);
}

/**
 * The regularised incomplete beta function I_x(a, b), with y = 1 - x, by its continued fraction.
 * NIST Digital Library of Mathematical Functions, 8.17.22, which converges fast for x < (a + 1) / (a + b + 2).
 */
function incompleteBeta(x: number, y: number, a: number, b: number): number {
  if (x === 0 || y === 0) return x === 0 ? 0 : 1;
  if (x > (a + 1) / (a + b + 2)) return 1 - incompleteBeta(y, x, b, a);

  const front = Math.exp(a * Math.log(x) + b * Math.log(y) - logBeta(a, b)) / a;
  // From the front, by Lentz's method as modified by Thompson and Barnett 1986.
  const tiny = 1e-300;
  let c = 1;
  let d = 1 / nonZero(1 - (a + b) / (a + 1) * x);
  let result = d;
  for (let m = 1; m < 10_000; m++) {
    const even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m));
    d = 1 / nonZero(1 + even * d);
    c = nonZero(1 + even / c);
    result *= c * d;
    const odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1));
    d = 1 / nonZero(1 + odd * d);
    c = nonZero(1 + odd / c);
    result *= c * d;
    if (Math.abs(c * d - 1) < 1e-15) break;
  }
  return front * result;

  function nonZero(value: number): number {
    return Math.abs(value) < tiny ? tiny : value;
  }
}

function logBeta(a: number, b: number): number {
  return logGamma(a) + logGamma(b) - logGamma(a + b);
}

/** The logarithm of the gamma function for x > 0: Stirling's series (DLMF 5.11.1), after raising x above 10. */
function logGamma(x: number): number {
  let shift = 0;
  for (; x < 10; x++) shift += Math.log(x);
  const coefficients = [1 / 12, -1 / 360, 1 / 1260, -1 / 1680, 1 / 1188, -691 / 360360, 1 / 156, -3617 / 122400];
  const series = coefficients.reduceRight((sum, coefficient) => sum / (x * x) + coefficient, 0) / x;
  return (x - 0.5) * Math.log(x) - x + Math.log(2 * Math.PI) / 2 + series - shift;
}

// ---- Checks ---------------------------------------------------------------------------------------------------------

function checkPairs(nameA: string, a: ArrayLike<unknown>, nameB: string, b: ArrayLike<unknown>): void {
  if (a.length !== b.length) {
    throw new RangeError(
      `there are ${a.length} ${nameA} and ${b.length} ${nameB}; pass as many of one as of the other`,
    );
  }
  if (a.length === 0) throw new RangeError(`there are no ${nameA}; pass at least one`);
}

function checkSome(what: string, values: Numbers, least: number): void {
  if (values.length < least) {
    throw new RangeError(
      `${what} needs at least ${least} ${least === 1 ? "number" : "numbers"}, but has ${values.length}`,
    );
  }
}

function checkLevel(level: number): void {
  if (!(level > 0 && level < 1)) throw new RangeError(`a level lies in (0, 1), such as 0.95, but it is ${level}`);
}
