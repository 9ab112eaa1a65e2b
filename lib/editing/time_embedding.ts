/**
 * Time as vectors: where a record stands in the sequence and in the calendar, and how far it is from one moment to another.
 *
 * Li et al., "Controllable Sequence Editing for Biological and Clinical Trajectories", ICLR 2026, arXiv:2502.03569. Adapted
 * by its authors from TransformEHR's embedding of dates. Checked against their code (`clef.time_encoder`,
 * `clef.sinusoidal_table`). The paper speaks of an embedding of the year; the code looks that sinusoid up by the position in
 * the sequence and never sees the year. `calendar` follows the code, because all its numbers stand on it: 31 January 2020 to
 * 31 January 2021 is then no time at all. `elapsed` counts hours instead, needs no time zone, and is strictly increasing.
 *
 * @module
 */
import { tf, tidy } from "../tensor/mod.ts";
import { embedding, linear, normal } from "../nn/mod.ts";
import { join, one, type Specs, torchUniform, weightOf, type Weights } from "./parameters.ts";

/** How time enters: the calendar's fields as in the authors' code, hours that have passed, or the sum of both. */
export type TimeEncoding = "calendar" | "elapsed" | "both";

/** Moments of records. */
export interface Moments {
  /** int32, [batch, records, 3]: month 1-12, day 1-31, hour 0-23. */
  readonly calendar: tf.Tensor3D;
  /** [batch, records]: hours since the subject's first record. */
  readonly hours: tf.Tensor2D;
}

/** Rows of the tables: months 1-12, days 1-31 and hours 0-23 are looked up as they are, so that row 0 of two stays unused. */
const TABLE_ROWS = { embed_month: 13, embed_day: 32, embed_time: 25 } as const;
/** Waves of the elapsed code, in radians per unit of log(1 + hours); a year is 9.1 units. */
const FREQUENCIES = [0.35, 0.7, 1.4, 2.8, 5.6, 11.2] as const;
/** The elapsed code of an hour: its logarithm, and a sine and a cosine per frequency. */
const ELAPSED_WIDTH = 1 + 2 * FREQUENCIES.length;

/**
 * The sinusoid of positions: row p holds sin(p / 10000^(2m/width)) for each m, then the cosines; not interleaved.
 *
 * @param rows Number of positions.
 * @param width Channels. An odd one has one sine more than cosines (the authors' code cannot do odd widths).
 * @returns [rows, width], row by row.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * assert.deepEqual([...sinusoidalTable(1, 4)], [0, 0, 1, 1]);
 * ```
 */
export function sinusoidalTable(rows: number, width: number): Float32Array {
  const sines = Math.ceil(width / 2);
  return Float32Array.from({ length: rows * width }, (_, i) => {
    const [p, channel] = [Math.floor(i / width), i % width];
    const m = channel < sines ? channel : channel - sines;
    const angle = p / 10000 ** (2 * m / width);
    return channel < sines ? Math.sin(angle) : Math.cos(angle);
  });
}

/** The parameters of a time encoder, under a prefix such as `encoder.pos_encoder`. */
export function timeSpec(prefix: string, width: number, time: TimeEncoding): Specs {
  const tables = Object.entries(TABLE_ROWS).map(([name, rows]) =>
    one(`${prefix}.${name}.weight`, [rows, width], normal(1))
  );
  const elapsed = one(`${prefix}.elapsed.weight`, [width, ELAPSED_WIDTH], torchUniform(ELAPSED_WIDTH));
  return join(...(time === "elapsed" ? [] : tables), ...(time === "calendar" ? [] : [elapsed]));
}

/**
 * The code of some hours that have passed: log(1 + hours), which is strictly increasing, and its waves; 0 for no time.
 *
 * @param hours [batch, records], >= 0.
 * @returns [batch, records, 13]
 */
export function elapsedCode(hours: tf.Tensor2D): tf.Tensor3D {
  return tidy(() => {
    const log = hours.log1p().expandDims<tf.Tensor3D>(2);
    const angles = log.mul<tf.Tensor3D>(tf.tensor1d([...FREQUENCIES]));
    return tf.concat([log, angles.sin(), angles.cos().sub(1)], 2) as tf.Tensor3D;
  });
}

/** Position, calendar and elapsed time of each record, [batch, records, width]. */
export function embedTime(
  moments: Moments,
  weights: Weights,
  { prefix, time, positions }: { prefix: string; time: TimeEncoding; positions: number },
): tf.Tensor3D {
  return tidy(() => {
    const records = moments.hours.shape[1];
    const parts = fieldsOf(moments, weights, prefix, time);
    const width = parts.shape[2];
    if (records > positions) {
      throw new RangeError(
        `the history has ${records} records, but the model was made for ${positions}; raise \`records\` or keep the last ${positions}`,
      );
    }
    return tf.add<tf.Tensor3D>(parts, tf.tensor2d(sinusoidalTable(records, width), [records, width]));
  });
}

/**
 * The gap from one moment to another as a vector: 0 where they are the same; with `calendar` also antisymmetric and
 * additive, and blind to years.
 *
 * @param from Moments of one record per subject, [batch, 1].
 * @param to As many.
 * @returns [batch, width]
 */
export function timeGap(from: Moments, to: Moments, weights: Weights, prefix: string, time: TimeEncoding): tf.Tensor2D {
  return tidy(() => {
    const parts: tf.Tensor3D[] = [];
    if (time !== "elapsed") {
      parts.push(tf.sub(calendarOf(to, weights, prefix), calendarOf(from, weights, prefix)));
    }
    if (time !== "calendar") {
      const passed = { ...to, hours: tf.sub<tf.Tensor2D>(to.hours, from.hours) };
      parts.push(elapsedOf(passed, weights, prefix));
    }
    return (parts.length === 1 ? parts[0] : tf.add<tf.Tensor3D>(parts[0], parts[1])).squeeze<tf.Tensor2D>([1]);
  });
}

function fieldsOf(moments: Moments, weights: Weights, prefix: string, time: TimeEncoding): tf.Tensor3D {
  if (time === "calendar") return calendarOf(moments, weights, prefix);
  if (time === "elapsed") return elapsedOf(moments, weights, prefix);
  return tf.add<tf.Tensor3D>(calendarOf(moments, weights, prefix), elapsedOf(moments, weights, prefix));
}

function calendarOf({ calendar }: Moments, weights: Weights, prefix: string): tf.Tensor3D {
  const fields = tf.unstack(calendar, 2);
  const rows = Object.keys(TABLE_ROWS).map((name, field) =>
    embedding(fields[field], { weight: weightOf<tf.Tensor2D>(weights, `${prefix}.${name}.weight`) })
  );
  return tf.addN(rows) as tf.Tensor3D;
}

function elapsedOf({ hours }: Moments, weights: Weights, prefix: string): tf.Tensor3D {
  return linear(elapsedCode(hours), { weight: weightOf<tf.Tensor2D>(weights, `${prefix}.elapsed.weight`) });
}
