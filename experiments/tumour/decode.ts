/**
 * Test set 2 for decoders: they start from the encoder's state and prediction at the origin, and go on from their own.
 *
 * @module
 */
import type { SequenceTestSet, TreatmentMode } from "../../lib/data/mod.ts";
import { tick } from "../../lib/stop.ts";
import { tf, tidy } from "../../lib/tensor/mod.ts";
import type { Batch } from "./models/parts.ts";
import type { TumourWorld } from "./world.ts";

/** Answers that are worked out together. */
const TOGETHER = 8192;

/** What an encoder knows of the test patients. */
export interface Encoded {
  /** [patients, steps, width]: where a decoder starts. */
  readonly r: tf.Tensor3D;
  /** [patients, steps, 1]: the encoder's own prediction for the next day, under what was given. */
  readonly first: tf.Tensor3D;
  readonly mode: TreatmentMode;
}

/** cm³ on days 2 to horizon + 1 after each origin, [rows, horizon]. */
export async function decoderInput(
  { scaling }: Pick<TumourWorld, "scaling">,
  test: SequenceTestSet,
  { r, first: next, mode }: Encoded,
  decode: (batch: Batch, initState: tf.Tensor2D) => tf.Tensor,
): Promise<Float32Array> {
  const { rows, horizon, histories: { chemo, radio, days, patients } } = test;
  const [, steps, width] = r.shape;
  const { mean, std } = scaling.volume;
  const treatments = mode === "multiclass" ? 4 : 2;
  const [states, starts] = [r.reshape([-1, width]), next.reshape([-1, 1])];
  const predicted = new Float32Array(rows * horizon);
  const write = (into: Float32Array, at: number, chemo: number, radio: number) => {
    if (mode === "multiclass") into[at * 4 + chemo + 2 * radio] = 1;
    else into.set([chemo, radio], at * 2);
  };
  for (let from = 0; from < rows; from += TOGETHER) {
    await tick();
    const count = Math.min(TOGETHER, rows - from);
    const current = new Float32Array(count * horizon * treatments),
      prev = new Float32Array(count * horizon * treatments);
    const place = new Int32Array(count), type = new Float32Array(count);
    for (let k = 0; k < count; k++) {
      const row = from + k, i = test.patient[row], origin = i * days + test.day[row];
      place[k] = i * steps + test.day[row];
      type[k] = (patients.type[i] - scaling.type.mean) / scaling.type.std;
      for (let s = 0; s < horizon; s++) {
        const at = row * horizon + s;
        write(current, k * horizon + s, test.chemo[at], test.radio[at]);
        // the treatment before the plan's first day is what was given at the origin
        if (s === 0) write(prev, k * horizon, chemo[origin], radio[origin]);
        else write(prev, k * horizon + s, test.chemo[at - 1], test.radio[at - 1]);
      }
    }
    const values = tidy(() => {
      const index = tf.tensor1d(place, "int32");
      const first = tf.gather(starts, index).reshape<tf.Tensor3D>([count, 1, 1]);
      const unknown = tf.zeros<tf.Rank.R3>([count, horizon, 1]);
      const batch: Batch = {
        prevTreatments: tf.tensor3d(prev, [count, horizon, treatments]),
        currentTreatments: tf.tensor3d(current, [count, horizon, treatments]),
        prevOutputs: horizon > 1 ? tf.concat([first, unknown.slice([0, 1, 0], [-1, -1, -1])], 1) : first,
        outputs: unknown,
        active: tf.ones([count, horizon, 1]),
        staticFeatures: tf.tensor2d(type, [count, 1]),
      };
      return decode(batch, tf.gather(states, index) as tf.Tensor2D).mul(std).add(mean).dataSync<"float32">();
    });
    predicted.set(values, from * horizon);
  }
  tf.dispose([states, starts]);
  return predicted;
}
