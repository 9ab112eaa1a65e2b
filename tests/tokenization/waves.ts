/**
 * The small inputs of the specification's golden vectors: `sin(a i + b j + c)` in row i and column j.
 *
 * @module
 */
import { tf } from "../../lib/tensor/mod.ts";

/** [rows, columns] of sines. */
export function wave(rows: number, columns: number, a: number, b: number, c: number): tf.Tensor2D {
  return tf.tensor2d(
    Array.from({ length: rows }, (_, i) => Array.from({ length: columns }, (_, j) => Math.sin(a * i + b * j + c))),
  );
}

/** Codebook, embeddings and augmented embeddings of the quantiser's golden vectors: B = 3, d = 4, N = 9. */
export function quantiserInputs() {
  return {
    codebook: wave(9, 4, 1.7, 0.9, 0.3),
    textSpecific: wave(3, 4, 0.8, 1.3, 0.1),
    graphSpecific: wave(3, 4, 1.1, 0.7, 0.5),
    textShared: wave(3, 4, 0.6, 1.9, 0.2),
    graphShared: wave(3, 4, 1.4, 0.4, 0.9),
    textAgain: wave(3, 4, 0.8, 1.3, 0.15),
    graphAgain: wave(3, 4, 1.1, 0.7, 0.58),
  };
}
