/**
 * From trajectories to tensors: windows of records of some subjects, and the questions that are asked of them.
 *
 * @module
 */
import { actingCondition, calendarOf, conditionVector, type Trajectories, type Trajectory } from "../data/mod.ts";
import type { Random } from "../random.ts";
import { tf, tidy } from "../tensor/mod.ts";
import type { Query, Scaling } from "./clef.ts";
import { atLength, type EncoderInput } from "./encoder.ts";

/** Records of some subjects as typed arrays, padded at the end to the longest. Subjects stay in the order asked for. */
export interface DenseBatch {
  readonly subjects: number;
  readonly records: number;
  readonly variables: number;
  readonly conditionWidth: number;
  /** [subjects, records, variables]; 0 where missing or padding. */
  readonly x: Float32Array;
  /** The same shape: 1 where observed. */
  readonly observed: Float32Array;
  /** [subjects, records, 3]: month, day, hour. */
  readonly calendar: Int32Array;
  /** [subjects, records]: hours since the window's first record. */
  readonly hours: Float32Array;
  /** [subjects, records, condition width]: embedding of the condition that acts on each record. */
  readonly condition: Float32Array;
  /** [subjects]: records of each that are no padding. */
  readonly length: Int32Array;
  /** Names of the subjects, in this order. */
  readonly ids: readonly string[];
}

/** Options of {@link denseBatch}. */
export interface BatchOptions {
  /** Most records of a subject that are taken. Default: all. */
  readonly most?: number;
  /** Records that the batch has at least; what is beyond the subjects is padding. Default: 0. */
  readonly atLeast?: number;
  /** Where the window of a longer subject begins: at its first record, or anywhere. Default: the first. */
  readonly start?: Random;
  /** The authors' treatment of joined and unknown conditions: zeros. */
  readonly parity?: boolean;
}

/**
 * Lays subjects beside each other.
 *
 * @param places Which subjects, by their place in the data.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { synthLab } from "tessera/data/mod.ts";
 * const batch = denseBatch(synthLab({ subjects: 3, seed: 1 }), [2, 0], { most: 5 });
 * assert.deepEqual([batch.ids, batch.records, batch.x.length], [["2", "0"], 5, 2 * 5 * 16]);
 * ```
 */
export function denseBatch(data: Trajectories, places: readonly number[], options: BatchOptions = {}): DenseBatch {
  const { most = Infinity, atLeast = 0, start, parity = false } = options;
  const chosen = places.map((place) => data.subjects[place]);
  const windows = chosen.map(({ hours }) => {
    const length = Math.min(hours.length, most);
    return { from: hours.length > length && start ? start.integer(hours.length - length + 1) : 0, length };
  });
  const records = windows.reduce((longest, { length }) => Math.max(longest, length), atLeast);
  const width = data.variables.length;
  const conditionWidth = data.conditions.width;
  const batch: DenseBatch = {
    subjects: chosen.length,
    records,
    variables: width,
    conditionWidth,
    x: new Float32Array(chosen.length * records * width),
    observed: new Float32Array(chosen.length * records * width),
    calendar: new Int32Array(chosen.length * records * 3),
    hours: new Float32Array(chosen.length * records),
    condition: new Float32Array(chosen.length * records * conditionWidth),
    length: Int32Array.from(windows, ({ length }) => length),
    ids: chosen.map(({ id }) => id),
  };
  const embedding = new Map<string, Float32Array>();
  const embed = (token: string) => {
    const known = embedding.get(token) ?? conditionVector(token, data.conditions, { parity });
    embedding.set(token, known);
    return known;
  };
  chosen.forEach((subject, b) => {
    fill(batch, b, subject, windows[b], (k) => embed(actingCondition(subject.conditions, k, data.actsOn)));
  });
  return batch;
}

function fill(
  batch: DenseBatch,
  b: number,
  { values, missing, hours }: Trajectory,
  { from, length }: { from: number; length: number },
  conditionAt: (k: number) => Float32Array,
): void {
  const { records, variables, conditionWidth } = batch;
  const at = b * records;
  const [begin, end] = [from * variables, (from + length) * variables];
  batch.x.set(values.subarray(begin, end), at * variables);
  for (let cell = begin; cell < end; cell++) batch.observed[at * variables + cell - begin] = 1 - missing[cell];
  for (let k = 0; k < records; k++) {
    const inside = Math.min(from + k, from + length - 1); // padding takes the last time, so that nothing goes backwards
    batch.calendar.set(calendarOf(hours[inside]), (at + k) * 3);
    batch.hours[at + k] = hours[inside] - hours[from];
    if (k < length && conditionWidth) batch.condition.set(conditionAt(from + k), (at + k) * conditionWidth);
  }
}

/** Some rows of a batch, as a batch: subjects may come twice. Much faster than laying them out anew. */
export function rowsOf(batch: DenseBatch, rows: readonly number[]): DenseBatch {
  const { records, variables, conditionWidth } = batch;
  const take = <A extends Float32Array | Int32Array>(from: A, width: number): A => {
    const to = new (from.constructor as new (size: number) => A)(rows.length * width);
    rows.forEach((row, b) => to.set(from.subarray(row * width, (row + 1) * width), b * width));
    return to;
  };
  return {
    ...batch,
    subjects: rows.length,
    x: take(batch.x, records * variables),
    observed: take(batch.observed, records * variables),
    calendar: take(batch.calendar, records * 3),
    hours: take(batch.hours, records),
    condition: take(batch.condition, records * conditionWidth),
    length: take(batch.length, 1),
    ids: rows.map((row) => batch.ids[row]),
  };
}

/** A batch on the device. */
export interface Batch {
  readonly x: tf.Tensor3D;
  readonly observed: tf.Tensor3D;
  readonly calendar: tf.Tensor3D;
  readonly hours: tf.Tensor2D;
  readonly condition: tf.Tensor3D;
}

/** The batch as tensors; the caller frees them. */
export function toDevice(batch: DenseBatch): Batch {
  const { subjects, records, variables, conditionWidth } = batch;
  return {
    x: tf.tensor3d(batch.x, [subjects, records, variables]),
    observed: tf.tensor3d(batch.observed, [subjects, records, variables]),
    calendar: tf.tensor3d(batch.calendar, [subjects, records, 3], "int32"),
    hours: tf.tensor2d(batch.hours, [subjects, records]),
    condition: tf.tensor3d(batch.condition, [subjects, records, conditionWidth]),
  };
}

/** Frees a batch. */
export function freeBatch(batch: Batch): void {
  for (const tensor of Object.values(batch) as tf.Tensor[]) tensor.dispose();
}

/** A question and its answer: what state will follow a history at a target record, under the condition that acts there. */
export interface Question {
  readonly history: EncoderInput;
  readonly query: Query;
  /** [batch, variables]: what was measured. */
  readonly answer: tf.Tensor2D;
  /** The same shape: 1 where there is an answer; 0 where the value is missing or the record is padding. */
  readonly counted: tf.Tensor2D;
}

/**
 * The question "what is record `target`, given the first `length` records?".
 *
 * With numbers the history is cut, as in the authors' code; with tensors it keeps its shape and says where it ends, so that
 * one compiled function answers all of them (an encoder that looks at later records, MOMENT, cannot be asked so).
 *
 * @param length Records of the history: a number, or int32 [batch].
 * @param target Place of the target record: a number, or int32 [batch].
 */
export function ask(batch: Batch, length: number | tf.Tensor1D, target: number | tf.Tensor1D): Question {
  const subjects = batch.x.shape[0];
  return tidy(() => {
    const cut = typeof length === "number" ? length : batch.x.shape[1] - 1; // the last record is nobody's history
    const first = <T extends tf.Tensor>(x: T): T =>
      x.slice(x.shape.map(() => 0), [subjects, cut, ...x.shape.slice(2)]) as T;
    const history: EncoderInput = {
      x: first(batch.x),
      observed: first(batch.observed),
      calendar: first(batch.calendar),
      hours: first(batch.hours),
      ...(typeof length === "number" ? {} : { length }),
    };
    const count = typeof target === "number"
      ? tf.fill<tf.Rank.R1>([subjects], target + 1, "int32")
      : target.add<tf.Tensor1D>(tf.scalar(1, "int32"));
    const at = (x: tf.Tensor3D) => atLength(x, count);
    const calendar = at(batch.calendar.cast("float32") as tf.Tensor3D).cast("int32").expandDims(1) as tf.Tensor3D;
    const hours = at(batch.hours.expandDims(2) as tf.Tensor3D);
    const condition = batch.condition.shape[2] ? { condition: at(batch.condition) } : {};
    return {
      history,
      query: { to: { calendar, hours }, ...condition },
      answer: at(batch.x),
      counted: at(batch.observed),
    };
  });
}

/**
 * Mean and standard deviation of each variable over all observed values, to scale a model's input by. Take them from the
 * training set only.
 *
 * @throws {RangeError} Where a variable was never observed.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { trajectories } from "tessera/data/mod.ts";
 * const data = trajectories([{ id: 1, hours: [0, 1], values: [[1], [3]] }], { name: "two", variables: [{ name: "x", unit: "1" }] });
 * assert.deepEqual(scalingOf(data), { mean: [2], std: [1] });
 * ```
 */
export function scalingOf({ name, variables, subjects }: Trajectories): Scaling {
  const width = variables.length;
  const [count, sum, squares] = [0, 0, 0].map(() => new Float64Array(width));
  const each = (visit: (value: number, v: number) => void) => {
    for (const { values, missing } of subjects) values.forEach((value, at) => missing[at] || visit(value, at % width));
  };
  each((value, v) => (count[v]++, sum[v] += value));
  const never = count.findIndex((n) => n === 0);
  if (never >= 0) {
    throw new RangeError(`${name} has no value of ${JSON.stringify(variables[never].name)}; leave the variable out`);
  }
  const mean = Array.from(sum, (total, v) => total / count[v]);
  each((value, v) => squares[v] += (value - mean[v]) ** 2); // a second pass, because sums of squares lose digits
  return { mean, std: Array.from(squares, (total, v) => Math.sqrt(total / count[v])) };
}
