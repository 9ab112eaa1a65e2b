/**
 * Holding a function against itself: eager, as a graph, by XLA; and its gradient against finite differences.
 *
 * @module
 */
import assert from "node:assert/strict";
import { backend, compile, tf, tidy } from "tessera/tensor/mod.ts";
import { random } from "tessera/random.ts";

/** The ways in which a function can run here, beside the eager one. */
export const compiledWays: { name: string; xla: boolean }[] = backend.name === "tensorflow"
  ? [{ name: "graph", xla: false }, { name: "XLA", xla: true }]
  : [{ name: `${backend.name}, as it is`, xla: false }];

/** Standard normal numbers, always the same for a name. */
export function normalTensor<T extends tf.Tensor>(name: string, shape: number[], scale = 1): T {
  const numbers = random(11, name);
  return tf.tensor(
    Float32Array.from({ length: tf.util.sizeFromShape(shape) }, () => scale * numbers.normal()),
    shape,
  ) as T;
}

/** Fails unless two tensors agree: relative to the largest element, so that what nearly cancels out is not counted. */
export function assertClose(got: tf.Tensor, expected: tf.Tensor, tolerance: number, what: string): void {
  assert.deepEqual({ shape: got.shape, dtype: got.dtype }, { shape: expected.shape, dtype: expected.dtype }, what);
  const [a, b] = [got, expected].map((tensor) => Array.from(tensor.dataSync()));
  const scale = b.reduce((largest, value) => Number.isFinite(value) ? Math.max(largest, Math.abs(value)) : largest, 0);
  a.forEach((value, i) => {
    const close = Object.is(value, b[i]) || Math.abs(value - b[i]) <= tolerance * Math.max(scale, 1e-6);
    assert.ok(close, `${what}, element ${i}: ${value}, expected ${b[i]}, largest ${scale}`);
  });
}

/** Fails unless the function gives the same tensors in every way. It gets new tensors each time. */
export function assertAgreement(
  what: string,
  fn: (...inputs: tf.Tensor[]) => tf.Tensor[],
  inputs: tf.Tensor[],
  tolerance = 1e-5,
): void {
  const expected = tidy(() => fn(...inputs));
  for (const { name, xla } of compiledWays) {
    const compiled = compile(fn, { xla });
    const got = compiled(...inputs);
    assert.equal(got.length, expected.length);
    got.forEach((tensor, i) => assertClose(tensor, expected[i], tolerance, `${what}, ${name}, tensor ${i}`));
    tf.dispose(got);
    compiled.dispose();
  }
  tf.dispose(expected);
}

/** The function's outputs, and the gradients of a weighted sum of them with respect to every input. */
export function withGradients(fn: (...inputs: tf.Tensor[]) => tf.Tensor[]): (...inputs: tf.Tensor[]) => tf.Tensor[] {
  const loss = (...inputs: tf.Tensor[]) =>
    fn(...inputs).map((output, i) =>
      tf.mul(output, tf.cos(tf.range(0, output.size).add(i)).reshape(output.shape)).sum()
    )
      .reduce((a, b) => tf.add(a, b)) as tf.Scalar;
  return (...inputs) => [...fn(...inputs), ...tf.grads(loss)(inputs)];
}

/** Fails unless the gradients agree with central differences, taken in the direction of every element. */
export function assertGradient(
  what: string,
  fn: (...inputs: tf.Tensor[]) => tf.Tensor,
  inputs: tf.Tensor[],
  tolerance = 5e-3,
): void {
  tf.tidy(() => {
    const step = 2 ** -7; // float32: half of the digits for the step, half for the difference
    const gradients = tf.grads((...x: tf.Tensor[]) => fn(...x).sum() as tf.Scalar)(inputs);
    inputs.forEach((input, n) => {
      const slope = gradients[n].dataSync();
      const values = input.dataSync();
      const at = (i: number, shift: number) => {
        const moved = Float32Array.from(values);
        moved[i] += shift;
        const all = inputs.map((other, m) => m === n ? tf.tensor(moved, input.shape) : other);
        return tf.tidy(() => fn(...all).sum().dataSync()[0]);
      };
      for (let i = 0; i < values.length; i++) {
        const difference = (at(i, step) - at(i, -step)) / (2 * step);
        const close = Math.abs(difference - slope[i]) <= tolerance * Math.max(1, Math.abs(difference));
        assert.ok(close, `${what}, input ${n}, element ${i}: gradient ${slope[i]}, differences give ${difference}`);
      }
    });
  });
}
