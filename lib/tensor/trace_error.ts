/**
 * The error of everything that a compiled function cannot do.
 *
 * @module
 */

/**
 * A function cannot be traced: it did something that a graph cannot hold, or uses a tensor that never had a value. The
 * message names the operation and says what to do.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { compile, tf } from "tessera/tensor/mod.ts";
 * import { tensorflow } from "tessera/tensor/backend.ts";
 * const readsBack = compile((x: tf.Tensor) => tf.mul(x, x.dataSync()[0]));
 * if (tensorflow) assert.throws(() => readsBack(tf.ones([2])), TraceError);
 * ```
 */
export class TraceError extends Error {
  override readonly name = "TraceError";
}
