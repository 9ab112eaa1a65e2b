/**
 * Training G-Net on the tumour benchmark, and asking it.
 *
 * @module
 */
import { type OneStepTestSet, sequenceRows, type SequenceTestSet, tumourTensors } from "../../lib/data/mod.ts";
import { initialise, trainable } from "../../lib/nn/mod.ts";
import { random } from "../../lib/random.ts";
import { tick } from "../../lib/stop.ts";
import { compile, flatten, tf, tidy } from "../../lib/tensor/mod.ts";
import type { Fit } from "../../lib/train/mod.ts";
import {
  gnetInput,
  gnetLayers,
  gnetLoss,
  gnetOutcome,
  type GNetParameters,
  headOf,
  monteCarlo,
} from "./models/gnet.ts";
import { type Batch, batchOf, rowsOfBatch, statesBefore, stepFrom } from "./models/parts.ts";
import type { Predictor } from "./models/predictor.ts";
import { EPOCHS, publishedSettings } from "./models/published.ts";
import { askOneStep, eachTreatment, trainOn, type TrainTumourOptions } from "./train.ts";
import type { TumourWorld } from "./world.ts";

/** Part of the patients whose residuals are kept. */
const HELD_OUT = 0.1;
/** Futures of each answer. */
const FUTURES = 50;
/** Answers that are worked out together. */
const TOGETHER = 256;

/** Trains a G-Net on nine tenths of the cohort; the residuals of the others are what its futures vary by. */
export async function trainGNet(
  world: TumourWorld,
  options: TrainTumourOptions & { readonly futures?: number },
): Promise<Predictor & { readonly fit: Fit; dispose(): void }> {
  const settings = options.settings ?? publishedSettings(world.gamma).gnet;
  const { epochs = EPOCHS.gnet, futures = FUTURES, seed } = options;
  const parameters = trainable(initialise(gnetLayers(settings), random(seed, "gnet"))) as unknown as GNetParameters;
  const order = random(seed, "held out").permutation(world.train.rows);
  const held = order.slice(0, Math.max(1, Math.round(HELD_OUT * order.length)));
  const trained = order.slice(held.length);
  const run = await trainOn(
    world,
    parameters,
    { ...options, settings, epochs, rows: trained },
    (batch, key) => gnetLoss(batch, parameters, { drop: { rate: settings.dropout, key } }),
  );
  const whole = batchOf(world.tensors());
  const heldOut = rowsOfBatch(whole, held);
  const residuals = {
    values: tf.keep(tidy(() => heldOut.outputs.sub<tf.Tensor3D>(gnetOutcome(heldOut, parameters)))),
    length: held.map((row) => world.train.length[row]),
  };
  tf.dispose([...Object.values(whole), ...Object.values(heldOut)]);
  const layer = parameters.repr_net.lstm_layers[0];

  const oneStep = (test: OneStepTestSet) =>
    askOneStep(world, test, (batch) => {
      const [rows, steps] = batch.prevOutputs.shape;
      const { h, c } = statesBefore(gnetInput(batch), layer);
      const states = { h: h.reshape<tf.Tensor2D>([rows * steps, -1]), c: c.reshape<tf.Tensor2D>([rows * steps, -1]) };
      const answers = eachTreatment(batch).map((currentTreatments) => {
        const x = gnetInput({ ...batch, currentTreatments }).reshape<tf.Tensor2D>([rows * steps, -1]);
        const next = stepFrom(x, layer, states).h.reshape<tf.Tensor3D>([rows, steps, -1]);
        return headOf(next, parameters.r_outcome_vitals_head);
      });
      return tf.concat(answers, 2);
    });

  const sequences = async (test: SequenceTestSet) => {
    const { horizon, rows } = test;
    const { mean, std } = world.scaling.volume;
    const from = random(seed, "residuals");
    const predict = compile((batch: Batch) => gnetOutcome(batch, parameters), { xla: false, maxTraces: 2 });
    const predicted = new Float32Array(rows * horizon);
    try {
      for (let first = 0; first < rows; first += TOGETHER) {
        await tick();
        const which = Array.from({ length: Math.min(TOGETHER, rows - first) }, (_, k) => first + k);
        const batch = batchOf(tumourTensors(sequenceRows(test, which), world.scaling));
        const splits = which.map((row) => test.day[row] + 1);
        const draw = () => which.map(() => from.integer(held.length));
        const values = tidy(() =>
          monteCarlo(batch, residuals, { splits, horizon, samples: futures, draw }, (batch) => predict(batch))
            .mul(std).add(mean).dataSync<"float32">()
        );
        predicted.set(values, first * horizon);
        tf.dispose(Object.values(batch));
      }
      return predicted;
    } finally {
      predict.dispose();
    }
  };
  const dispose = () => tf.dispose([residuals.values, ...flatten(parameters).values()]);
  return { fit: run, oneStep, sequences, dispose };
}
