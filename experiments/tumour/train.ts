/**
 * Training and asking the models of the tumour benchmark.
 *
 * @module
 */
import type { OneStepTestSet, TumourScaling } from "../../lib/data/mod.ts";
import { initialise, trainable } from "../../lib/nn/mod.ts";
import { random } from "../../lib/random.ts";
import { compile, flatten, tf, tidy } from "../../lib/tensor/mod.ts";
import { adam, type Fit, fit, type FitOptions, trainStep } from "../../lib/train/mod.ts";
import { clefLayers, clefLoss, clefOutcome, clefRepresentation, type TumourCLEFParameters } from "./models/clef.ts";
import { crnLayers, crnLoss, type CRNParameters, crnRepresentation } from "./models/crn.ts";
import { type Batch, batchOf, outcomeOf, risingAlpha, trainingData } from "./models/parts.ts";
import { EPOCHS, type HeadSettings, publishedSettings } from "./models/published.ts";
import type { TumourWorld } from "./world.ts";

/** How to train; what is not said is as published for the world's gamma. */
export interface TrainTumourOptions {
  readonly seed: number;
  readonly epochs?: number;
  readonly settings?: HeadSettings;
  readonly checkpoint?: string | URL;
  readonly signal?: AbortSignal;
  /** Default: false. */
  readonly show?: boolean;
}

/** A trained model that answers "what if" for the next day. */
export interface OneStepModel {
  readonly fit: Fit;
  /** What the model knows of a history, [rows, steps, width]. */
  represent(batch: Batch): tf.Tensor3D;
  /** cm³ on the next day under each of the four treatments, [patients, days - 1, 4]. */
  oneStep(test: OneStepTestSet): Promise<Float32Array>;
  dispose(): void;
}

/**
 * Trains a CRN's encoder.
 *
 * @param balanced Whether the representation shall not tell the treatment. Default: true.
 */
export async function trainCRN(
  world: TumourWorld,
  options: TrainTumourOptions & { readonly balanced?: boolean },
): Promise<OneStepModel> {
  const settings = options.settings ?? publishedSettings(world.gamma).crn.encoder;
  const epochs = options.epochs ?? EPOCHS.crn;
  const parameters = trainable(initialise(crnLayers(settings), random(options.seed, "crn"))) as CRNParameters;
  const { balanced = true } = options;
  const run = await trainOn(
    world,
    parameters,
    { ...options, settings, epochs },
    (batch, key, alpha) => crnLoss(batch, parameters, alpha, { drop: { rate: settings.dropout, key } }),
    (epoch) => balanced ? risingAlpha(epoch, epochs) : 0,
  );
  const represent = (batch: Batch) => crnRepresentation(batch, parameters);
  return oneStepModel(
    world,
    run,
    parameters,
    represent,
    (br, treatment) => outcomeOf(br, treatment, parameters.br_treatment_outcome_head),
  );
}

/** Trains CLEF's head on the encoder of CRN, with CRN's settings. */
export async function trainCLEF(world: TumourWorld, options: TrainTumourOptions): Promise<OneStepModel> {
  const settings = options.settings ?? publishedSettings(world.gamma).crn.encoder;
  const epochs = options.epochs ?? EPOCHS.crn;
  const parameters = trainable(initialise(clefLayers(settings), random(options.seed, "clef"))) as TumourCLEFParameters;
  const run = await trainOn(
    world,
    parameters,
    { ...options, settings, epochs },
    (batch, key) => clefLoss(batch, parameters, world.scaling, { drop: { rate: settings.dropout, key } }),
  );
  const represent = (batch: Batch) => clefRepresentation(batch, parameters);
  return oneStepModel(
    world,
    run,
    parameters,
    represent,
    (br, treatment, { prevOutputs }) => clefOutcome(br, treatment, prevOutputs, parameters, world.scaling).outcome,
  );
}

type Loss = tf.Scalar | ({ readonly loss: tf.Scalar } & Readonly<Record<string, tf.Scalar>>);

/** Trains parameters on the world's cohort by Adam. */
export async function trainOn(
  world: TumourWorld,
  parameters: object,
  options: TrainTumourOptions & { readonly settings: { learningRate: number; batch: number }; readonly epochs: number },
  loss: (batch: Batch, key: tf.Tensor1D, alpha: tf.Scalar) => Loss,
  alphaOf: (epoch: number) => number = () => 0,
): Promise<Fit> {
  const { seed, epochs, settings, checkpoint, signal, show = false } = options;
  const whole = batchOf(world.tensors());
  const step = trainStep(loss, adam({ learningRate: settings.learningRate }), parameters, { maxTraces: 2 });
  const fitOptions: FitOptions<[Batch, tf.Tensor1D, tf.Scalar]> = {
    ...{ step, epochs, seed, show, batch: settings.batch },
    data: trainingData(whole, (_, { epoch }): [tf.Scalar] => [tf.scalar(alphaOf(epoch))]),
    ...(checkpoint ? { checkpoint } : {}),
    ...(signal ? { signal } : {}),
  };
  try {
    return await fit(fitOptions);
  } finally {
    step.dispose();
    tf.dispose(Object.values(whole));
  }
}

/** A model whose head is asked four times about one representation of each day. */
export function oneStepModel(
  world: TumourWorld,
  run: Fit,
  parameters: object,
  represent: (batch: Batch) => tf.Tensor3D,
  outcome: (br: tf.Tensor3D, treatment: tf.Tensor3D, batch: Batch) => tf.Tensor3D,
): OneStepModel {
  return {
    fit: run,
    represent,
    oneStep: (test) =>
      askOneStep(world, test, (batch) => {
        const br = represent(batch);
        return tf.concat(eachTreatment(batch).map((treatment) => outcome(br, treatment, batch)), 2);
      }),
    dispose: () => tf.dispose([...flatten(parameters).values()]),
  };
}

/** The four treatments, each at all steps of a batch, [rows, steps, 4]. */
export function eachTreatment({ prevOutputs: { shape: [rows, steps] } }: Batch): tf.Tensor3D[] {
  return [0, 1, 2, 3].map((treatment) => {
    const row = tf.oneHot(tf.tensor1d([treatment], "int32"), 4).cast("float32");
    return tf.tile(row.reshape([1, 1, 4]), [rows, steps, 1]) as tf.Tensor3D;
  });
}

/** Answers test set 1: one pass over the patients' histories, four treatments at each step; z-scores become cm³. */
export async function askOneStep(
  world: { readonly scaling: TumourScaling; readonly historyTensors: TumourWorld["historyTensors"] },
  test: OneStepTestSet,
  predict: (batch: Batch) => tf.Tensor,
): Promise<Float32Array> {
  const batch = batchOf(world.historyTensors(test.histories));
  const run = compile((batch: Batch) => predict(batch), { xla: false });
  try {
    const scaled = run(batch);
    const { mean, std } = world.scaling.volume;
    const volumes = tidy(() => scaled.mul(std).add(mean));
    const values = await volumes.data<"float32">();
    tf.dispose([scaled, volumes]);
    return Float32Array.from(values);
  } finally {
    run.dispose();
    tf.dispose(Object.values(batch));
  }
}
