/**
 * How balanced a representation is: how much of the next treatment it tells, and how far apart the histories of treated and
 * untreated patients lie in it. Adversarial balancing is meant to make both small.
 *
 * The distance is the maximum mean discrepancy of Gretton et al., "A Kernel Two-Sample Test", JMLR 13 (2012), equation 3
 * (unbiased), with a Gaussian kernel of the median distance's width.
 *
 * @module
 */
import { random } from "../../lib/random.ts";
import { tf, tidy } from "../../lib/tensor/mod.ts";
import { adam, trainStep } from "../../lib/train/mod.ts";
import { mean } from "../../lib/stats.ts";

/** See {@link balanceOf}. */
export interface Balance {
  /**
   * Which part of the treatment's uncertainty a linear classifier takes away that sees the representation: 0 where it tells
   * nothing, 1 where it tells all. Measured on rows that it was not fitted to, so that it can lie a little below 0.
   */
  readonly treatmentTold: number;
  /** Squared maximum mean discrepancy between rows before which chemotherapy is given, and the others. */
  readonly discrepancy: number;
}

/** Steps in which the classifier is fitted; more change nothing. */
const STEPS = 300;
/** Rows of each kind whose distances are measured. */
const ROWS = 500;

/**
 * Diagnoses a representation.
 *
 * @param rows What a model knows of each history.
 * @param treatments What is given next: 0 none, 1 chemotherapy, 2 radiotherapy, 3 both.
 */
export function balanceOf(rows: readonly Float32Array[], treatments: readonly number[], seed: number): Balance {
  const order = random(seed, "balance").permutation(rows.length);
  const half = Math.floor(order.length / 2);
  const [fitted, held] = [order.slice(0, half), order.slice(half)];
  const scaled = standardised(rows);
  return {
    treatmentTold: told(scaled, treatments, fitted, held),
    discrepancy: discrepancyOf(
      order.filter((row) => treatments[row] & 1).slice(0, ROWS).map((row) => scaled[row]),
      order.filter((row) => !(treatments[row] & 1)).slice(0, ROWS).map((row) => scaled[row]),
    ),
  };
}

function told(rows: Float32Array[], treatments: readonly number[], fitted: number[], held: number[]): number {
  const width = rows[0].length;
  const matrixOf = (places: number[]) =>
    tf.tensor2d(places.map((place) => Array.from(rows[place])), [places.length, width]);
  const classesOf = (places: number[]) =>
    tf.oneHot(tf.tensor1d(places.map((place) => treatments[place]), "int32"), 4).cast("float32");
  const model = { weight: tf.variable(tf.zeros([width, 4])), bias: tf.variable(tf.zeros([4])) };
  const [x, y, heldX, heldY] = [matrixOf(fitted), classesOf(fitted), matrixOf(held), classesOf(held)];
  const entropy = (x: tf.Tensor, y: tf.Tensor) =>
    tf.logSoftmax(tf.matMul(x as tf.Tensor2D, model.weight as tf.Tensor2D).add(model.bias)).mul(y).sum(1).neg().mean();
  const step = trainStep((x: tf.Tensor, y: tf.Tensor) => entropy(x, y), adam({ learningRate: 0.05 }), model);
  for (let k = 0; k < STEPS; k++) tf.dispose(Object.values(step(x, y)));
  const uncertain = tidy(() => {
    const shares = y.mean(0).add(1e-9);
    return heldY.mul(shares.log()).sum(1).neg().mean().dataSync()[0];
  });
  const left = tidy(() => entropy(heldX, heldY).dataSync()[0]);
  step.dispose();
  tf.dispose([x, y, heldX, heldY, ...Object.values(model)]);
  return 1 - left / uncertain;
}

/** Each number in standard deviations over the rows. */
function standardised(rows: readonly Float32Array[]): Float32Array[] {
  const columns = Array.from(rows[0], (_, column) => {
    const values = rows.map((row) => row[column]);
    const middle = mean(values);
    return { middle, spread: Math.sqrt(mean(values.map((value) => (value - middle) ** 2))) || 1 };
  });
  return rows.map((row) => row.map((value, column) => (value - columns[column].middle) / columns[column].spread));
}

/** Gretton et al.'s unbiased estimate. */
export function discrepancyOf(a: readonly ArrayLike<number>[], b: readonly ArrayLike<number>[]): number {
  if (a.length < 2 || b.length < 2) {
    throw new RangeError(
      `a discrepancy needs two rows of each kind at least, but there are ${a.length} and ${b.length}`,
    );
  }
  const all = [...a, ...b];
  const squares = all.map((x, i) => all.slice(0, i).map((y) => squaredDistance(x, y)));
  const sorted = squares.flat().sort((x, y) => x - y);
  const width = sorted[sorted.length >> 1] || 1;
  const kernel = (i: number, j: number) => Math.exp(-squares[Math.max(i, j)][Math.min(i, j)] / width);
  const [n, m] = [a.length, b.length];
  let [within, other, between] = [0, 0, 0];
  for (let i = 0; i < n; i++) for (let j = 0; j < i; j++) within += kernel(i, j);
  for (let i = n; i < n + m; i++) for (let j = n; j < i; j++) other += kernel(i, j);
  for (let i = 0; i < n; i++) for (let j = n; j < n + m; j++) between += kernel(i, j);
  return 2 * within / (n * (n - 1)) + 2 * other / (m * (m - 1)) - 2 * between / (n * m);
}

function squaredDistance(x: ArrayLike<number>, y: ArrayLike<number>): number {
  let sum = 0;
  for (let k = 0; k < x.length; k++) sum += (x[k] - y[k]) ** 2;
  return sum;
}
