/**
 * Test set 2 for models of one day: what a model predicts for a day is what it reads on the next. An encoder reads each
 * patient's history once, and goes on from the state that it had at the origin.
 *
 * @module
 */
import type { SequenceTestSet } from "../../lib/data/mod.ts";
import { tick } from "../../lib/stop.ts";
import { compile, tf, tidy } from "../../lib/tensor/mod.ts";
import type { LSTMParameters, LSTMState } from "../../lib/nn/mod.ts";
import { type Batch, batchOf, statesBefore, stepFrom } from "./models/parts.ts";
import type { TumourWorld } from "./world.ts";

/** What a chained model reads on a day, each [rows, width]. */
export interface Day {
  /** One-hot, [rows, 4]. */
  readonly prevTreatment: tf.Tensor2D;
  readonly treatment: tf.Tensor2D;
  /** z-score of the volume, [rows, 1]. */
  readonly volume: tf.Tensor2D;
  readonly type: tf.Tensor2D;
}

/** A model that goes on day by day. */
export interface ChainedModel {
  readonly layer: LSTMParameters;
  /** What the LSTM reads of histories, [rows, steps, inputs], and of a day, [rows, inputs]. */
  history(batch: Batch): tf.Tensor3D;
  input(day: Day): tf.Tensor2D;
  /** z-score of the next volume, [rows, 1]. */
  outcome(h: tf.Tensor2D, day: Day): tf.Tensor2D;
}

/** Answers that are worked out together. */
const TOGETHER = 8192;

/** cm³ on days 2 to horizon + 1 after each origin, [rows, horizon]. */
export async function chained(
  { scaling, historyTensors }: Pick<TumourWorld, "scaling" | "historyTensors">,
  test: SequenceTestSet,
  model: ChainedModel,
): Promise<Float32Array> {
  const { rows, horizon, histories } = test;
  const { days, volume, patients } = histories;
  const batch = batchOf(historyTensors(histories));
  const before = statesBefore(model.history(batch), model.layer);
  const steps = days - 1, hidden = before.h.shape[2];
  const flat = [before.h, before.c].map((states) => states.reshape([patients.count * steps, hidden]));
  const { mean, std } = scaling.volume;
  const run = compile((h: tf.Tensor, c: tf.Tensor, day: Day) => {
    const state: LSTMState = { h: h as tf.Tensor2D, c: c as tf.Tensor2D };
    const next = stepFrom(model.input(day), model.layer, state);
    return { ...next, volume: model.outcome(next.h, day) };
  }, { xla: false, maxTraces: 2 });
  const predicted = new Float32Array(rows * horizon);
  try {
    for (let first = 0; first < rows; first += TOGETHER) {
      await tick();
      const count = Math.min(TOGETHER, rows - first);
      const of = (valueOf: (row: number) => number) => Array.from({ length: count }, (_, k) => valueOf(first + k));
      const column = (values: number[]) => tf.tensor2d(values, [values.length, 1]);
      const oneHot = (classes: number[]) =>
        tf.oneHot(tf.tensor1d(classes, "int32"), 5).cast("float32").slice([0, 0], [-1, 4]) as tf.Tensor2D;
      const NOTHING = 4; // before the first day nothing was given, not even "none"
      const given = (row: number, t: number) => {
        const at = test.patient[row] * days + t;
        return t < 0 ? NOTHING : histories.chemo[at] + 2 * histories.radio[at];
      };
      const planned = (row: number, s: number) => test.chemo[row * horizon + s] + 2 * test.radio[row * horizon + s];
      const values = tidy(() => {
        const place = tf.tensor1d(of((row) => test.patient[row] * steps + test.day[row]), "int32");
        let [h, c] = flat.map((states) => tf.gather(states, place));
        const type = column(of((row) => (patients.type[test.patient[row]] - scaling.type.mean) / scaling.type.std));
        let now = column(of((row) => (volume[test.patient[row] * days + test.day[row]] - mean) / std));
        let prevTreatment = oneHot(of((row) => given(row, test.day[row] - 1)));
        let treatment = oneHot(of((row) => given(row, test.day[row])));
        const made: tf.Tensor[] = [];
        for (let s = 0; s <= horizon; s++) {
          const next = run(h, c, { prevTreatment, treatment, volume: now, type });
          [h, c, now] = [next.h, next.c, next.volume];
          if (s > 0) made.push(now);
          [prevTreatment, treatment] = [treatment, s < horizon ? oneHot(of((row) => planned(row, s))) : treatment];
        }
        return tf.concat(made, 1).mul(std).add(mean).dataSync<"float32">();
      });
      predicted.set(values, first * horizon);
    }
    return predicted;
  } finally {
    run.dispose();
    tf.dispose([...Object.values(batch), before.h, before.c, ...flat]);
  }
}
