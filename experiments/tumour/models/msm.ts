/**
 * Marginal Structural Model (MSM): a linear regression for each day ahead, in which a patient counts by how likely the
 * treatments were.
 *
 * Robins, Hernán and Brumback, "Marginal Structural Models and Causal Inference in Epidemiology", Epidemiology 11 (5), 2000,
 * doi:10.1097/00001648-200009000-00011; as in Melnychuk et al., ICML 2022, arXiv:2204.07258. Golden cases `msm.regression`,
 * `msm.propensity`. The code predicts the first day by the second; beyond a day it looks at the true volume of the next one,
 * and adds up one treatment less than it was fitted with (`parity: true`); ours look at nothing after the origin.
 *
 * @module
 */
import type { TumourTensors } from "../../../lib/data/mod.ts";
import { clippedTo, stabilizedWeights } from "./rmsn.ts";

/** A linear predictor. */
export interface Linear {
  readonly coefficients: Float64Array;
  readonly intercept: number;
}

const valueOf = ({ coefficients, intercept }: Linear, x: ArrayLike<number>): number => {
  let sum = intercept;
  for (let k = 0; k < coefficients.length; k++) sum += coefficients[k] * x[k];
  return sum;
};

/** What is known of a row at a step, not the first: sum of past treatments, the last two outcomes (older first), the patient's type. */
function known(tensors: TumourTensors, row: number, t: number): number[] {
  const { steps, treatments, prevTreatments, prevOutputs, staticFeatures } = tensors;
  const sums = Array.from({ length: treatments }, () => 0);
  for (let s = 0; s <= t; s++) {
    for (let k = 0; k < treatments; k++) sums[k] += prevTreatments[(row * steps + s) * treatments + k];
  }
  return [...sums, prevOutputs[row * steps + t - 1], prevOutputs[row * steps + t], staticFeatures[row]];
}

/** The sum of the treatments from step `t` to step `to`. */
function planned(
  { steps, treatments, currentTreatments }: TumourTensors,
  row: number,
  t: number,
  to: number,
): number[] {
  const sums = Array.from({ length: treatments }, () => 0);
  for (let s = t; s <= to; s++) {
    for (let k = 0; k < treatments; k++) sums[k] += currentTreatments[(row * steps + s) * treatments + k];
  }
  return sums;
}

/** Logistic regressions of each treatment. */
export interface FittedPropensities {
  /** From past treatments; from all that is known. */
  readonly treatment: readonly Linear[];
  readonly history: readonly Linear[];
}

/** Fits the propensities, without a penalty, by Newton's method. The first step has no past and is left out. */
export function fitPropensities(tensors: TumourTensors): FittedPropensities {
  const { treatments, steps, currentTreatments } = tensors;
  const rows: number[][] = [], given: number[][] = [];
  for (let row = 0; row < tensors.rows; row++) {
    for (let t = 1; t < tensors.length[row]; t++) {
      rows.push(known(tensors, row, t));
      const at = (row * steps + t) * treatments;
      given.push(Array.from(currentTreatments.subarray(at, at + treatments)));
    }
  }
  const each = (x: number[][]) => Array.from({ length: treatments }, (_, k) => logistic(x, given.map((row) => row[k])));
  return { treatment: each(rows.map((row) => row.slice(0, treatments))), history: each(rows) };
}

/** Probability of each treatment at each step, [rows, steps, treatments]; 0.5 at the first. */
export function propensityScores(tensors: TumourTensors, models: readonly Linear[]): Float64Array {
  const { rows, steps, treatments } = tensors;
  const scores = new Float64Array(rows * steps * treatments).fill(0.5);
  for (let row = 0; row < rows; row++) {
    for (let t = 1; t < steps; t++) {
      const x = known(tensors, row, t);
      models.forEach((model, k) => scores[(row * steps + t) * treatments + k] = 1 / (1 + Math.exp(-valueOf(model, x))));
    }
  }
  return scores;
}

/** Stabilized weights of each step, [rows, steps]. */
export function msmWeights(
  tensors: TumourTensors,
  { treatment, history }: FittedPropensities,
  options?: { readonly parity?: boolean },
): Float64Array {
  const { rows, steps, treatments } = tensors;
  return stabilizedWeights({
    ...{ rows, steps, treatments, given: tensors.currentTreatments },
    treatment: propensityScores(tensors, treatment),
    history: propensityScores(tensors, history),
  }, options);
}

/** A regression with what it was fitted to. */
export interface MSMRegression extends Linear {
  readonly design: readonly number[][];
  readonly weights: Float64Array;
}

/** A marginal structural model: one regression for 1 to horizon + 1 days ahead. */
export interface MSM {
  readonly regressions: readonly MSMRegression[];
}

/**
 * Fits the regressions. An example is weighed by the product of its weights from the origin to the day before its outcome,
 * between the 1 % and 99 % quantiles.
 *
 * @param weights From {@link msmWeights}.
 */
export function fitMSM(tensors: TumourTensors, weights: ArrayLike<number>, horizon: number): MSM {
  const regressions = Array.from({ length: horizon + 1 }, (_, ahead): MSMRegression => {
    const design: number[][] = [], target: number[] = [], products: number[] = [];
    for (let row = 0; row < tensors.rows; row++) {
      for (let t = 1; t < tensors.length[row] - ahead; t++) {
        design.push([...known(tensors, row, t), ...planned(tensors, row, t, t + ahead)]);
        target.push(tensors.outputs[row * tensors.steps + t + ahead]);
        let product = 1;
        for (let s = t; s <= t + ahead; s++) product *= weights[row * tensors.steps + s];
        products.push(product);
      }
    }
    const raw = Float64Array.from(products);
    const clipped = clippedTo(raw, raw);
    return { ...weightedLeastSquares(design, target, clipped), design, weights: clipped };
  });
  return { regressions };
}

/**
 * The next outcome at each step, [rows, steps].
 *
 * @param parity As the code: at the first step, which has no past, the prediction of the second. Default: false, there the
 *   one outcome that is known stands for both.
 */
export function msmOneStep(
  tensors: TumourTensors,
  { regressions: [next] }: MSM,
  { parity = false }: { readonly parity?: boolean } = {},
): Float64Array {
  const { rows, steps } = tensors;
  const predicted = new Float64Array(rows * steps);
  for (let row = 0; row < rows; row++) {
    for (let t = 0; t < steps; t++) {
      const x = t > 0 ? known(tensors, row, t) : firstDay(tensors, row);
      predicted[row * steps + t] = valueOf(next, [...x, ...planned(tensors, row, t, t)]);
    }
    if (parity) predicted[row * steps] = predicted[row * steps + 1];
  }
  return predicted;
}

/**
 * Outcomes 2 to horizon + 1 days after the origin, [rows, horizon]; the origin is `horizon` + 1 steps before a row's end.
 *
 * @param parity As the code: from the true next volume, the treatments after it as its plan.
 */
export function msmSequences(
  tensors: TumourTensors,
  { regressions }: MSM,
  horizon: number,
  { parity = false }: { readonly parity?: boolean } = {},
): Float64Array {
  const predicted = new Float64Array(tensors.rows * horizon);
  for (let row = 0; row < tensors.rows; row++) {
    const origin = tensors.length[row] - horizon - 1;
    const from = parity ? origin + 1 : origin;
    // on the first day there is one outcome only, which then stands for both
    const x = from > 0 ? known(tensors, row, from) : firstDay(tensors, row);
    for (let s = 0; s < horizon; s++) {
      const plan = planned(tensors, row, from, parity ? from + s : from + s + 1);
      predicted[row * horizon + s] = valueOf(regressions[s + 1], [...x, ...plan]);
    }
  }
  return predicted;
}

/** The same on the first day. */
function firstDay({ steps, treatments, prevOutputs, staticFeatures }: TumourTensors, row: number): number[] {
  const first = prevOutputs[row * steps];
  return [...Array.from({ length: treatments }, () => 0), first, first, staticFeatures[row]];
}

/** Least squares with an intercept, by the normal equations. */
export function weightedLeastSquares(
  design: readonly ArrayLike<number>[],
  target: ArrayLike<number>,
  weights: ArrayLike<number>,
): Linear {
  const size = design[0].length + 1;
  const matrix = new Float64Array(size * size), right = new Float64Array(size);
  const x = new Float64Array(size);
  design.forEach((row, i) => {
    x.set(row);
    x[size - 1] = 1;
    for (let a = 0; a < size; a++) {
      const weighted = weights[i] * x[a];
      right[a] += weighted * target[i];
      for (let b = 0; b < size; b++) matrix[a * size + b] += weighted * x[b];
    }
  });
  const solution = solved(matrix, right);
  return { coefficients: solution.slice(0, -1), intercept: solution[size - 1] };
}

/** Logistic regression without a penalty, by Newton's method. */
function logistic(design: readonly number[][], target: readonly number[]): Linear {
  let model: Linear = { coefficients: new Float64Array(design[0].length), intercept: 0 };
  for (let step = 0; step < 30; step++) {
    const weights = new Float64Array(design.length), working = new Float64Array(design.length);
    design.forEach((x, i) => {
      const logit = valueOf(model, x);
      const p = 1 / (1 + Math.exp(-logit));
      weights[i] = Math.max(p * (1 - p), 1e-12);
      working[i] = logit + (target[i] - p) / weights[i];
    });
    const next = weightedLeastSquares(design, working, weights);
    const moved = Math.abs(next.intercept - model.intercept) +
      next.coefficients.reduce((sum, value, k) => sum + Math.abs(value - model.coefficients[k]), 0);
    model = next;
    if (moved < 1e-10) break;
  }
  return model;
}

/** Solves a small system of linear equations by elimination with pivots. */
function solved(matrix: Float64Array, right: Float64Array): Float64Array {
  const size = right.length;
  const a = matrix.slice(), b = right.slice();
  for (let column = 0; column < size; column++) {
    let pivot = column;
    for (let row = column + 1; row < size; row++) {
      if (Math.abs(a[row * size + column]) > Math.abs(a[pivot * size + column])) pivot = row;
    }
    if (a[pivot * size + column] === 0) {
      throw new RangeError(
        "the regression has no single solution, because its columns depend on one another; add patients",
      );
    }
    for (let k = 0; k < size; k++) {
      [a[column * size + k], a[pivot * size + k]] = [a[pivot * size + k], a[column * size + k]];
    }
    [b[column], b[pivot]] = [b[pivot], b[column]];
    for (let row = column + 1; row < size; row++) {
      const factor = a[row * size + column] / a[column * size + column];
      for (let k = column; k < size; k++) a[row * size + k] -= factor * a[column * size + k];
      b[row] -= factor * b[column];
    }
  }
  for (let row = size - 1; row >= 0; row--) {
    for (let k = row + 1; k < size; k++) b[row] -= a[row * size + k] * b[k];
    b[row] /= a[row * size + row];
  }
  return b;
}
