/**
 * What any model has to beat: the mean of the history, its last value, its trend, and a vector autoregression.
 *
 * None of them is trained. The mean is the authors' SimpleLinear (`clef.simple_linear`), the last value what their paper's
 * formula multiplies. Vector autoregression: Sims, "Macroeconomics and Reality", Econometrica 48 (1), 1980,
 * doi:10.2307/1912017; as in the authors' comparison it has lag 1 and a constant, and is fitted anew to each history.
 *
 * @module
 */
import { tf } from "../tensor/mod.ts";
import type { Batch } from "./batch.ts";
import { NEVER_OBSERVED } from "./concepts.ts";
import type { Answerer } from "./evaluate.ts";

/** A history of one subject, filled. */
interface FilledHistory {
  /** [records][variables] */
  readonly rows: readonly Float64Array[];
  /** Hours of each record, and of the target. */
  readonly hours: readonly number[];
  readonly target: number;
  /** Records from the end of the history to the target. */
  readonly steps: number;
}

/** Options of {@link vectorAutoregression}. */
export interface VAROptions {
  /** Added to the diagonal; 0 takes the solution of least norm, as statsmodels does. Default: 0. */
  readonly ridge?: number;
  /** Missing values become 0, as in the authors' code, instead of the last value before. Default: false. */
  readonly parity?: boolean;
}

/**
 * The baselines, each a function to hand to `evaluate`.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { synthLab } from "tessera/data/mod.ts";
 * import { evaluate } from "tessera/editing/mod.ts";
 * const data = synthLab({ subjects: 64, seed: 3 });
 * const last = await evaluate(baselines.lastValue(), data, { task: "immediate" });
 * const mean = await evaluate(baselines.historicalMean(), data, { task: "immediate" });
 * assert.ok(last.pooled.mae < mean.pooled.mae);
 * ```
 */
export const baselines = {
  /** The last observed value of each variable. */
  lastValue: (): Answerer => answering(({ rows }) => rows[rows.length - 1]),
  /** The mean of the observed values of each variable. */
  historicalMean: (): Answerer =>
    answering(({ rows }) => Float64Array.from(rows[0], (_, v) => mean(rows.map((row) => row[v]))), "observed only"),
  /** A straight line through the observed values of each variable, in hours. */
  linearTrend: (): Answerer =>
    answering(({ rows, hours, target }) => {
      const centre = mean(hours);
      const spread = hours.reduce((sum, hour) => sum + (hour - centre) ** 2, 0);
      return Float64Array.from(rows[0], (_, v) => {
        const level = mean(rows.map((row) => row[v]));
        const slope = rows.reduce((sum, row, k) => sum + (hours[k] - centre) * (row[v] - level), 0) / (spread || 1);
        return level + slope * (target - centre);
      });
    }),
  /** A vector autoregression with lag 1, which is run as many steps as there are records to the target. */
  vectorAutoregression: ({ ridge = 0, parity = false }: VAROptions = {}): Answerer =>
    answering(({ rows, steps }) => {
      const before = rows.slice(0, -1).map((row) => [1, ...row]);
      const coefficients = leastSquares(before, rows.slice(1).map((row) => [...row]), ridge);
      let state = [...rows[rows.length - 1]];
      for (let step = 0; step < steps; step++) {
        const input = [1, ...state];
        state = state.map((_, v) => input.reduce((sum, value, i) => sum + value * coefficients[i][v], 0));
      }
      return Float64Array.from(state);
    }, parity ? "zeros" : "last value"),
};

const mean = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;

function answering(
  predict: (history: FilledHistory) => ArrayLike<number>,
  fill: "last value" | "zeros" | "observed only" = "last value",
): Answerer {
  return (batch: Batch, length: number, target: number) => {
    const [subjects, records, width] = batch.x.shape;
    const [x, observed, hours] = [batch.x.dataSync(), batch.observed.dataSync(), batch.hours.dataSync()];
    const state = new Float32Array(subjects * width);
    for (let b = 0; b < subjects; b++) {
      const at = (k: number, v: number) => (b * records + k) * width + v;
      const time = (k: number) => hours[b * records + k];
      const common = { target: time(target), steps: target - length + 1 };
      if (fill === "observed only") {
        for (let v = 0; v < width; v++) {
          const seen = Array.from({ length }, (_, k) => k).filter((k) => observed[at(k, v)]);
          const rows = seen.map((k) => Float64Array.of(x[at(k, v)]));
          state[b * width + v] = seen.length ? predict({ rows, hours: seen.map(time), ...common })[0] : NEVER_OBSERVED;
        }
        continue;
      }
      const rows = Array.from({ length }, () => new Float64Array(width));
      for (let v = 0; v < width; v++) {
        const first = Array.from({ length }, (_, k) => k).find((k) => observed[at(k, v)]);
        let known = first === undefined ? NEVER_OBSERVED : x[at(first, v)]; // before the first value: that one
        for (let k = 0; k < length; k++) {
          if (observed[at(k, v)]) known = x[at(k, v)];
          rows[k][v] = observed[at(k, v)] || fill === "last value" ? known : 0;
        }
      }
      state.set(predict({ rows, hours: rows.map((_, k) => time(k)), ...common }), b * width);
    }
    return { state: tf.tensor2d(state, [subjects, width]), concept: tf.ones<tf.Rank.R2>([subjects, width]) };
  };
}

/**
 * Coefficients B for which Z B is closest to Y: of least norm where there are many, or with a ridge.
 *
 * @param z [rows][inputs]
 * @param y [rows][outputs]
 * @returns [inputs][outputs]
 *
 * @example Two equations, three unknowns: the smallest solution
 * ```ts
 * import assert from "node:assert/strict";
 * const [[a], [b], [c]] = leastSquares([[1, 0, 0], [0, 1, 1]], [[2], [4]]);
 * assert.deepEqual([a, b, c].map((value) => Math.round(value * 1e6) / 1e6), [2, 2, 2]);
 * ```
 */
export function leastSquares(
  z: readonly (readonly number[])[],
  y: readonly (readonly number[])[],
  ridge = 0,
): number[][] {
  const [rows, inputs, outputs] = [z.length, z[0].length, y[0].length];
  // B = Zᵀ (Z Zᵀ + ridge)⁻¹ Y, by the eigenvectors of Z Zᵀ; those of no weight are left out
  const gram = z.map((a) => z.map((b) => a.reduce((sum, value, i) => sum + value * b[i], 0)));
  const { values, vectors } = symmetricEigen(gram);
  const least = Math.max(...values) * SMALLEST_EIGENVALUE;
  const weights = values.map((value) => value > least || ridge > 0 ? 1 / (Math.max(value, 0) + ridge) : 0);
  const projected = weights.map((weight, e) =>
    Array.from({ length: outputs }, (_, o) => {
      let sum = 0;
      for (let r = 0; r < rows; r++) sum += vectors[r][e] * y[r][o];
      return weight * sum;
    })
  );
  const dual = Array.from(
    { length: rows },
    (_, r) =>
      Array.from({ length: outputs }, (_, o) => projected.reduce((sum, row, e) => sum + vectors[r][e] * row[o], 0)),
  );
  return Array.from({ length: inputs }, (_, i) =>
    Array.from({ length: outputs }, (_, o) => {
      let sum = 0;
      for (let r = 0; r < rows; r++) sum += z[r][i] * dual[r][o];
      return sum;
    }));
}

/** Squares of singular values below this share of the largest are rounding. */
const SMALLEST_EIGENVALUE = 1e-13;

/** Eigenvalues and eigenvectors (columns) of a symmetric matrix, by Jacobi's rotations. */
function symmetricEigen(matrix: readonly (readonly number[])[]): { values: number[]; vectors: number[][] } {
  const n = matrix.length;
  const a = matrix.map((row) => [...row]);
  const vectors = a.map((_, i) => a.map((_, j) => Number(i === j)));
  for (let sweep = 0; sweep < 50; sweep++) {
    let off = 0, diagonal = 0;
    for (let i = 0; i < n; i++) {
      diagonal += a[i][i] ** 2;
      for (let j = i + 1; j < n; j++) off += a[i][j] ** 2;
    }
    if (off <= 1e-30 * diagonal) break;
    for (let p = 0; p < n; p++) {
      for (let q = p + 1; q < n; q++) {
        if (a[p][q] === 0) continue;
        const theta = (a[q][q] - a[p][p]) / (2 * a[p][q]);
        const t = (theta >= 0 ? 1 : -1) / (Math.abs(theta) + Math.sqrt(theta ** 2 + 1));
        const c = 1 / Math.sqrt(t ** 2 + 1);
        const s = t * c;
        const rotate = (x: number[], y: number[], i: number, j: number) => {
          [x[i], y[j]] = [c * x[i] - s * y[j], s * x[i] + c * y[j]];
        };
        for (let k = 0; k < n; k++) rotate(a[k], a[k], p, q);
        for (let k = 0; k < n; k++) rotate(a[p], a[q], k, k);
        for (let k = 0; k < n; k++) rotate(vectors[k], vectors[k], p, q);
      }
    }
  }
  return { values: a.map((row, i) => row[i]), vectors };
}
