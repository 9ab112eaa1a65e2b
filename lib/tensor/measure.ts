/**
 * What a piece of work costs: its time, and the tensors that it leaves behind.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs";

/** Tensors that are alive at a moment. */
export interface TensorMemory {
  /** How many tensors. */
  tensors: number;
  /** Their bytes; tensors that share their values count once. */
  bytes: number;
}

/** What a piece of work returned and cost. */
export interface Measured<T> {
  value: T;
  /** From its start to its end, in seconds. */
  seconds: number;
  /** What is alive afterwards and was not before; negative where more was disposed of than made. */
  left: TensorMemory;
  /** All that is alive afterwards. */
  memory: TensorMemory;
  /** "0.12 s, 3 tensors (1.2 kB) more than before, 15 in all". */
  toString(): string;
}

/**
 * How many tensors are alive, and how many bytes they hold.
 *
 * @example A tensor that nobody disposes of
 * ```ts
 * import assert from "node:assert/strict";
 * import { tf } from "tessera/tensor/mod.ts";
 * const before = tensorMemory();
 * const x = tf.zeros([10, 10]);
 * assert.equal(tensorMemory().tensors - before.tensors, 1);
 * assert.equal(tensorMemory().bytes - before.bytes, 400);
 * x.dispose();
 * ```
 */
export function tensorMemory(): TensorMemory {
  const { numTensors, numBytes } = tf.memory();
  return { tensors: numTensors, bytes: numBytes };
}

/**
 * Does a piece of work, such as that of a cell, and says what it cost. In a notebook it shows itself as a line; since the
 * time differs in each run, it is for looking, not for saving.
 *
 * @param work May be asynchronous. An error that it throws comes through.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { tf } from "tessera/tensor/mod.ts";
 * const { value, left, seconds } = await measure(() => tf.tidy(() => tf.ones([2, 3]).sum().arraySync()));
 * assert.equal(value, 6);
 * assert.equal(left.tensors, 0); // tidy() has cleared up
 * assert.ok(seconds >= 0);
 * ```
 */
export async function measure<T>(work: () => T | Promise<T>): Promise<Measured<T>> {
  const before = tensorMemory();
  const start = performance.now();
  const value = await work();
  const seconds = (performance.now() - start) / 1000;
  const memory = tensorMemory();
  const left = { tensors: memory.tensors - before.tensors, bytes: memory.bytes - before.bytes };
  const text = `${seconds.toPrecision(3)} s, ${left.tensors} tensors (${size(left.bytes)}) more than before, ` +
    `${memory.tensors} in all (${size(memory.bytes)})`;
  const measured = { value, seconds, left, memory, toString: () => text };
  return Object.assign(measured, { [Symbol.for("Jupyter.display")]: () => ({ "text/plain": text }) });
}

/** 1200 as "1.2 kB". */
function size(bytes: number): string {
  const [unit, divisor] = Math.abs(bytes) < 1e6 ? ["kB", 1e3] : Math.abs(bytes) < 1e9 ? ["MB", 1e6] : ["GB", 1e9];
  return `${(bytes / divisor).toFixed(1)} ${unit}`;
}
