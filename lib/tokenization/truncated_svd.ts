/**
 * The leading singular vectors of a sparse matrix.
 *
 * Halko, Martinsson, Tropp, "Finding structure with randomness", SIAM Review 2011, arXiv:0909.4061, algorithms 4.4 and 5.1:
 * a random start, a few passes over the matrix with orthonormal columns in between, then a small exact problem.
 *
 * @module
 */
import { random } from "../random.ts";

/** A matrix in compressed sparse rows. */
export interface SparseMatrix {
  readonly rows: number;
  readonly columns: number;
  /** [rows + 1]: row i has the entries `offsets[i]` to `offsets[i + 1]`. */
  readonly offsets: Int32Array;
  readonly column: Int32Array;
  readonly value: Float32Array;
}

/** What {@link truncatedSVD} returns. */
export interface TruncatedSVD {
  /** [columns, rank]: right singular vectors, the strongest first; each with its largest entry positive. */
  readonly right: Float32Array;
  /** [rank], descending. */
  readonly singular: Float64Array;
  /** Share of the sum of squares that they hold. */
  readonly explained: number;
}

/** Options of {@link truncatedSVD}. */
export interface TruncatedSVDOptions {
  /** Passes over the matrix and back. Default: 5. */
  readonly passes?: number;
  /** Default: 0. */
  readonly seed?: number;
}

/**
 * The `rank` leading right singular vectors and singular values.
 *
 * @param rank At most the number of columns.
 * @throws {RangeError} Where the rank makes no sense.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * // the rows (3, 0), (0, 4)
 * const matrix = {
 *   rows: 2, columns: 2, offsets: Int32Array.of(0, 1, 2), column: Int32Array.of(0, 1), value: Float32Array.of(3, 4),
 * };
 * const { singular, explained } = truncatedSVD(matrix, 1);
 * assert.ok(Math.abs(singular[0] - 4) < 1e-6);
 * assert.ok(Math.abs(explained - 16 / 25) < 1e-6);
 * ```
 */
export function truncatedSVD(matrix: SparseMatrix, rank: number, options: TruncatedSVDOptions = {}): TruncatedSVD {
  const { rows, columns } = matrix;
  if (!Number.isInteger(rank) || rank < 1 || rank > columns) {
    throw new RangeError(`the rank must be a whole number from 1 to ${columns}, the columns, but it is ${rank}`);
  }
  const { passes = 5, seed = 0 } = options;
  const width = Math.min(columns, rank + 10); // a few more than asked for make the last ones exact
  let basis = Float64Array.from(random(seed, "svd").normals(columns * width));
  for (let pass = 0; pass < passes; pass++) {
    orthonormalise(basis, columns, width);
    basis = timesTransposed(matrix, times(matrix, basis, width), width);
  }
  orthonormalise(basis, columns, width);
  const projected = times(matrix, basis, width); // [rows, width]
  const gram = new Float64Array(width * width);
  for (let i = 0; i < rows; i++) {
    const at = i * width;
    for (let a = 0; a < width; a++) {
      const value = projected[at + a];
      if (value === 0) continue;
      for (let b = a; b < width; b++) gram[a * width + b] += value * projected[at + b];
    }
  }
  for (let a = 0; a < width; a++) for (let b = 0; b < a; b++) gram[a * width + b] = gram[b * width + a];
  const { values, vectors } = symmetricEigen(gram, width);

  const right = new Float32Array(columns * rank);
  for (let k = 0; k < rank; k++) {
    let largest = 0;
    for (let j = 0; j < columns; j++) {
      let sum = 0;
      for (let a = 0; a < width; a++) sum += basis[j * width + a] * vectors[a * width + k];
      right[j * rank + k] = sum;
      if (Math.abs(sum) > Math.abs(largest)) largest = sum;
    }
    if (largest < 0) { for (let j = 0; j < columns; j++) right[j * rank + k] *= -1; }
  }
  const singular = Float64Array.from({ length: rank }, (_, k) => Math.sqrt(Math.max(0, values[k])));
  const total = matrix.value.reduce((sum, value) => sum + value * value, 0);
  return { right, singular, explained: singular.reduce((sum, value) => sum + value * value, 0) / total };
}

/** [rows, width] = matrix x dense [columns, width] */
function times({ rows, offsets, column, value }: SparseMatrix, dense: Float64Array, width: number): Float64Array {
  const result = new Float64Array(rows * width);
  for (let i = 0; i < rows; i++) {
    for (let e = offsets[i]; e < offsets[i + 1]; e++) {
      const from = column[e] * width, weight = value[e];
      for (let k = 0; k < width; k++) result[i * width + k] += weight * dense[from + k];
    }
  }
  return result;
}

/** [columns, width] = matrix transposed x dense [rows, width] */
function timesTransposed(
  { rows, columns, offsets, column, value }: SparseMatrix,
  dense: Float64Array,
  width: number,
): Float64Array<ArrayBuffer> {
  const result = new Float64Array(columns * width);
  for (let i = 0; i < rows; i++) {
    for (let e = offsets[i]; e < offsets[i + 1]; e++) {
      const to = column[e] * width, weight = value[e];
      for (let k = 0; k < width; k++) result[to + k] += weight * dense[i * width + k];
    }
  }
  return result;
}

/** Gram and Schmidt, modified and twice, on the columns of a [rows, width] matrix; a column of nothing becomes 0. */
function orthonormalise(x: Float64Array, rows: number, width: number): void {
  const columns = Array.from(
    { length: width },
    (_, k) => Float64Array.from({ length: rows }, (_, i) => x[i * width + k]),
  );
  columns.forEach((own, k) => {
    for (let again = 0; again < 2; again++) {
      for (let before = 0; before < k; before++) {
        const other = columns[before];
        let inner = 0;
        for (let i = 0; i < rows; i++) inner += own[i] * other[i];
        for (let i = 0; i < rows; i++) own[i] -= inner * other[i];
      }
    }
    const norm = Math.sqrt(own.reduce((sum, value) => sum + value * value, 0));
    for (let i = 0; i < rows; i++) x[i * width + k] = own[i] = norm > 1e-12 ? own[i] / norm : 0;
  });
}

/**
 * Eigenvalues, descending, and eigenvectors (columns) of a symmetric matrix, by Jacobi's rotations.
 *
 * @param matrix [n, n], row by row; is not changed.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * const { values } = symmetricEigen(Float64Array.of(2, 1, 1, 2), 2);
 * assert.deepEqual([...values].map(Math.round), [3, 1]);
 * ```
 */
export function symmetricEigen(matrix: Float64Array, n: number): { values: Float64Array; vectors: Float64Array } {
  const a = Float64Array.from(matrix);
  const v = new Float64Array(n * n);
  for (let i = 0; i < n; i++) v[i * n + i] = 1;
  for (let sweep = 0; sweep < 50; sweep++) {
    let off = 0, on = 0;
    for (let i = 0; i < n; i++) {
      for (let j = 0; j < n; j++) i === j ? on += a[i * n + j] ** 2 : off += a[i * n + j] ** 2;
    }
    if (off <= 1e-24 * on) break;
    for (let p = 0; p < n; p++) {
      for (let q = p + 1; q < n; q++) {
        const apq = a[p * n + q];
        if (apq === 0) continue;
        const theta = (a[q * n + q] - a[p * n + p]) / (2 * apq);
        const t = Math.sign(theta || 1) / (Math.abs(theta) + Math.sqrt(theta * theta + 1));
        const c = 1 / Math.sqrt(t * t + 1), s = t * c;
        for (let k = 0; k < n; k++) {
          const [kp, kq] = [a[k * n + p], a[k * n + q]];
          a[k * n + p] = c * kp - s * kq;
          a[k * n + q] = s * kp + c * kq;
        }
        for (let k = 0; k < n; k++) {
          const [pk, qk] = [a[p * n + k], a[q * n + k]];
          a[p * n + k] = c * pk - s * qk;
          a[q * n + k] = s * pk + c * qk;
        }
        for (let k = 0; k < n; k++) {
          const [kp, kq] = [v[k * n + p], v[k * n + q]];
          v[k * n + p] = c * kp - s * kq;
          v[k * n + q] = s * kp + c * kq;
        }
      }
    }
  }
  const order = Array.from({ length: n }, (_, i) => i).sort((i, j) => a[j * n + j] - a[i * n + i]);
  return {
    values: Float64Array.from(order, (i) => a[i * n + i]),
    vectors: Float64Array.from({ length: n * n }, (_, at) => v[Math.floor(at / n) * n + order[at % n]]),
  };
}
