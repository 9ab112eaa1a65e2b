/**
 * What the readers return: a plain typed array with its shape, free of any tensor library.
 *
 * @module
 */

/** The kind of number that a file stores. Where JavaScript has no array of that kind, `NumericArray` says what is used. */
export type DType =
  | "bool"
  | "uint8"
  | "uint16"
  | "uint32"
  | "uint64"
  | "int8"
  | "int16"
  | "int32"
  | "int64"
  | "float16"
  | "bfloat16"
  | "float32"
  | "float64";

/** Every typed array that a reader may return. */
export type NumericData =
  | Uint8Array
  | Uint16Array
  | Uint32Array
  | BigUint64Array
  | Int8Array
  | Int16Array
  | Int32Array
  | BigInt64Array
  | Float32Array
  | Float64Array;

/** An array of numbers as a file holds it, in row-major order. */
export interface NumericArray {
  /** Length of each axis; empty for a single number. */
  shape: number[];
  /** What the file stores: `bool` arrives as Uint8Array of 0 and 1, `float16` and `bfloat16` as Float32Array (exactly). */
  dtype: DType;
  /** The numbers, as many as the product of `shape`. */
  data: NumericData;
}

/**
 * The number of elements of an array with this shape: the product, 1 for an empty shape.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * assert.equal(elements([2, 3, 4]), 24);
 * assert.equal(elements([]), 1);
 * ```
 */
export function elements(shape: readonly number[]): number {
  return shape.reduce((product, length) => product * length, 1);
}
