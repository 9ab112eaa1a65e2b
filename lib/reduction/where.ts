/**
 * Two words that every method needs, with the types that tfjs' own lack.
 *
 * @module
 */
import { tf } from "../tensor/mod.ts";

/**
 * `tf.where` that broadcasts, between tensors and numbers.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { tf } from "tessera/tensor/mod.ts";
 * assert.deepEqual(where(tf.tensor1d([1, 0], "bool"), tf.tensor1d([5, 6]), -1).arraySync(), [5, -1]);
 * ```
 */
export function where<T extends tf.Tensor>(condition: tf.Tensor, yes: T | number, no: T | number): T {
  const asTensor = (value: T | number, other: T | number): tf.Tensor =>
    typeof value === "number" ? tf.scalar(value, typeof other === "number" ? "float32" : dtypeOf(other)) : value;
  return tf.where<tf.Tensor>(condition, asTensor(yes, no), asTensor(no, yes)) as T;
}

/**
 * A whole number as a scalar tensor.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * assert.equal(int(3).dtype, "int32");
 * ```
 */
export function int(value: number): tf.Scalar {
  return tf.scalar(value, "int32");
}

function dtypeOf(tensor: tf.Tensor): "int32" | "float32" {
  return tensor.dtype === "int32" ? "int32" : "float32";
}
