/**
 * Training the Causal Transformer on the tumour benchmark, and asking it.
 *
 * @module
 */
import { sequenceRows, type SequenceTestSet, tumourTensors } from "../../lib/data/mod.ts";
import { initialise, trainable } from "../../lib/nn/mod.ts";
import { random } from "../../lib/random.ts";
import { compile, flatten, tf, tidy } from "../../lib/tensor/mod.ts";
import { tick } from "../../lib/stop.ts";
import { adam, type Fit, fit, trainStep } from "../../lib/train/mod.ts";
import {
  averageDecay,
  causalTransformerLayers,
  type CausalTransformerParameters,
  ctRepresentation,
  domainConfusion,
  rollOut,
} from "./models/causal_transformer.ts";
import { type Batch, batchOf, type Drop, outcomeOf, risingAlpha, squaredError, trainingData } from "./models/parts.ts";
import type { Predictor } from "./models/predictor.ts";
import { EPOCHS, publishedSettings } from "./models/published.ts";
import { type OneStepModel, oneStepModel, type TrainTumourOptions } from "./train.ts";
import type { TumourWorld } from "./world.ts";

/** How dear domain confusion is at the end. */
const ALPHA = 0.01;
/** Rows of a test set that are predicted together. */
const TOGETHER = 512;

/** Weights, and their moving average. */
export interface AveragedParameters {
  readonly present: CausalTransformerParameters;
  readonly averaged: CausalTransformerParameters;
}

/** New weights; the average starts as they do. */
export function newTransformer(settings: { hidden: number; br: number; fc: number }, seed: number): AveragedParameters {
  const made = () => initialise(causalTransformerLayers(settings), random(seed, "ct"));
  return { present: trainable(made()), averaged: trainable(made()) } as unknown as AveragedParameters;
}

/**
 * The loss of a training step; first brings the average up to date with the step before.
 *
 * @param decay What is left of the average; 1 on the first step.
 */
export function transformerLoss(
  batch: Batch,
  { present, averaged }: AveragedParameters,
  { alpha, decay, drop, balanced }: {
    readonly alpha: tf.Scalar;
    readonly decay: tf.Scalar;
    readonly drop?: Drop;
    readonly balanced: boolean;
  },
): tf.Scalar {
  updateAverage({ present, averaged }, decay);
  const options = drop ? { drop } : {};
  if (!balanced) {
    const br = ctRepresentation(batch, present, options);
    return squaredError(outcomeOf(br, batch.currentTreatments, present.br_treatment_outcome_head), batch);
  }
  const { outcome, classifier } = domainConfusion(
    batch,
    present,
    averaged,
    alpha,
    (batch, parameters) => ctRepresentation(batch, parameters, options),
  );
  return outcome.add<tf.Scalar>(classifier);
}

function updateAverage({ present, averaged }: AveragedParameters, decay: tf.Scalar): void {
  const weights = flatten(present);
  for (const [name, average] of flatten(averaged)) {
    tidy(() => (average as tf.Variable).assign(average.mul(decay).add(weights.get(name)!.mul(tf.sub(1, decay)))));
  }
}

/**
 * Trains a Causal Transformer; it is asked with the average of its weights.
 *
 * @param balanced Whether the representation shall not tell the treatment. Default: true; false is the paper's α = 0.
 */
export async function trainCausalTransformer(
  world: TumourWorld,
  options: TrainTumourOptions & { readonly balanced?: boolean },
): Promise<OneStepModel & Predictor> {
  const settings = options.settings ?? publishedSettings(world.gamma).ct;
  const { epochs = EPOCHS.ct, balanced = true, seed, checkpoint, signal, show = false } = options;
  const parameters = newTransformer(settings, seed);
  const whole = batchOf(world.tensors());
  const step = trainStep(
    (batch: Batch, key: tf.Tensor1D, alpha: tf.Scalar, decay: tf.Scalar) =>
      transformerLoss(batch, parameters, { alpha, decay, balanced, drop: { rate: settings.dropout, key } }),
    adam({ learningRate: settings.learningRate }),
    parameters,
    { maxTraces: 2 },
  );
  let run: Fit;
  try {
    run = await fit({
      ...{ step, epochs, seed, show, batch: settings.batch },
      data: trainingData(whole, (_, { epoch, step }): [tf.Scalar, tf.Scalar] => [
        tf.scalar(risingAlpha(epoch, epochs, ALPHA)),
        tf.scalar(step === 0 ? 1 : averageDecay(step)),
      ]),
      ...(checkpoint ? { checkpoint } : {}),
      ...(signal ? { signal } : {}),
    });
    const last = tf.scalar(averageDecay(run.steps));
    updateAverage(parameters, last);
    last.dispose();
  } finally {
    step.dispose();
    tf.dispose(Object.values(whole));
  }
  const { averaged } = parameters;
  const represent = (batch: Batch) => ctRepresentation(batch, averaged);
  const outcome = (br: tf.Tensor3D, treatment: tf.Tensor3D) =>
    outcomeOf(br, treatment, averaged.br_treatment_outcome_head);
  const predict = (batch: Batch) => outcome(represent(batch), batch.currentTreatments);
  return {
    ...oneStepModel(world, run, parameters, represent, outcome),
    sequences: (test) => rolledOut(world, test, predict),
  };
}

/** Answers test set 2 by rolling out whole rows, some at a time. */
export async function rolledOut(
  { scaling }: TumourWorld,
  test: SequenceTestSet,
  predict: (batch: Batch) => tf.Tensor3D,
): Promise<Float32Array> {
  const { horizon, rows } = test;
  const compiled = compile((batch: Batch) => predict(batch), { xla: false, maxTraces: 2 });
  const predicted = new Float32Array(rows * horizon);
  const { mean, std } = scaling.volume;
  try {
    for (let first = 0; first < rows; first += TOGETHER) {
      await tick();
      const which = Array.from({ length: Math.min(TOGETHER, rows - first) }, (_, k) => first + k);
      const batch = batchOf(tumourTensors(sequenceRows(test, which), scaling));
      const splits = which.map((row) => test.day[row] + 1);
      const values = tidy(() => {
        const { predictions } = rollOut(batch, splits, horizon, (batch) => compiled(batch));
        return predictions.mul(std).add(mean).dataSync();
      });
      predicted.set(values, first * horizon);
      tf.dispose(Object.values(batch));
    }
    return predicted;
  } finally {
    compiled.dispose();
  }
}
