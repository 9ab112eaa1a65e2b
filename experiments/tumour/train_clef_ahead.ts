/**
 * Delayed edits on the tumour benchmark: CLEF's head trained to answer any of the next six days in one step, without the
 * days between.
 *
 * @module
 */
import type { OneStepTestSet, SequenceTestSet } from "../../lib/data/mod.ts";
import { initialise, trainable } from "../../lib/nn/mod.ts";
import { random } from "../../lib/random.ts";
import { tick } from "../../lib/stop.ts";
import { flatten, tf, tidy } from "../../lib/tensor/mod.ts";
import type { Fit } from "../../lib/train/mod.ts";
import {
  aheadCondition,
  clefAheadLayers,
  clefAheadLoss,
  clefOutcome,
  clefRepresentation,
  type TumourCLEFParameters,
} from "./models/clef.ts";
import { batchOf } from "./models/parts.ts";
import type { Predictor } from "./models/predictor.ts";
import { EPOCHS, publishedSettings } from "./models/published.ts";
import { askOneStep, eachTreatment, trainOn, type TrainTumourOptions } from "./train.ts";
import type { TumourWorld } from "./world.ts";

/** Answers that are worked out together. */
const TOGETHER = 8192;

/** Trains it jointly on 1 to 6 days ahead, from all origins. */
export async function trainCLEFAhead(
  world: TumourWorld,
  options: TrainTumourOptions,
): Promise<Predictor & { readonly fit: Fit; dispose(): void }> {
  const settings = options.settings ?? publishedSettings(world.gamma).crn.encoder;
  const { epochs = EPOCHS.crn, seed } = options;
  const { scaling } = world;
  const parameters = trainable(
    initialise(clefAheadLayers(settings), random(seed, "clef ahead")),
  ) as TumourCLEFParameters;
  const run = await trainOn(
    world,
    parameters,
    { ...options, settings, epochs },
    (batch, key) => clefAheadLoss(batch, parameters, scaling, { drop: { rate: settings.dropout, key } }),
  );

  const oneStep = (test: OneStepTestSet) =>
    askOneStep(world, test, (batch) => {
      const br = clefRepresentation(batch, parameters);
      const [rows, steps] = br.shape;
      const answers = eachTreatment(batch).map((treatment) => {
        const condition = aheadCondition([treatment.reshape<tf.Tensor2D>([rows * steps, -1])]);
        const across = condition.reshape<tf.Tensor3D>([rows, steps, -1]);
        return clefOutcome(br, across, batch.prevOutputs, parameters, scaling).outcome;
      });
      return tf.concat(answers, 2);
    });

  const sequences = async (test: SequenceTestSet) => {
    const { horizon, rows, histories: { chemo, radio, days, volume } } = test;
    const { mean, std } = scaling.volume;
    const batch = batchOf(world.historyTensors(test.histories));
    const br = tidy(() => clefRepresentation(batch, parameters));
    const [patients, steps, width] = br.shape;
    const flat = br.reshape<tf.Tensor2D>([patients * steps, width]);
    const predicted = new Float32Array(rows * horizon);
    for (let first = 0; first < rows; first += TOGETHER) {
      await tick();
      const count = Math.min(TOGETHER, rows - first);
      const of = (valueOf: (row: number) => number) => Array.from({ length: count }, (_, k) => valueOf(first + k));
      const oneHot = (classes: number[]) => tf.oneHot(tf.tensor1d(classes, "int32"), 4).cast("float32") as tf.Tensor2D;
      const at = (row: number) => test.patient[row] * days + test.day[row];
      const values = tidy(() => {
        const place = tf.tensor1d(of((row) => test.patient[row] * steps + test.day[row]), "int32");
        const across = (x: tf.Tensor2D) => x.expandDims<tf.Tensor3D>(1);
        const r = across(tf.gather(flat, place));
        const present = across(tf.tensor2d(of((row) => (volume[at(row)] - mean) / std), [count, 1]));
        const plan = [oneHot(of((row) => chemo[at(row)] + 2 * radio[at(row)]))];
        const answers: tf.Tensor2D[] = [];
        for (let s = 0; s < horizon; s++) {
          plan.push(oneHot(of((row) => test.chemo[row * horizon + s] + 2 * test.radio[row * horizon + s])));
          const { outcome } = clefOutcome(r, across(aheadCondition(plan)), present, parameters, scaling);
          answers.push(outcome.squeeze<tf.Tensor2D>([1]));
        }
        return tf.concat(answers, 1).mul(std).add(mean).dataSync<"float32">();
      });
      predicted.set(values, first * horizon);
    }
    tf.dispose([br, flat, ...Object.values(batch)]);
    return predicted;
  };
  return { fit: run, oneStep, sequences, dispose: () => tf.dispose([...flatten(parameters).values()]) };
}
