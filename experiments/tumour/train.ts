/**
 * Training and asking the models of the tumour benchmark.
 *
 * @module
 */
import {
  decoderTensors,
  type OneStepTestSet,
  type SequenceTestSet,
  type TumourScaling,
  type TumourTensors,
} from "../../lib/data/mod.ts";
import { tick } from "../../lib/stop.ts";
import { initialise, trainable } from "../../lib/nn/mod.ts";
import { random } from "../../lib/random.ts";
import { compile, flatten, tf, tidy } from "../../lib/tensor/mod.ts";
import { adam, type Fit, fit, type FitOptions, trainStep } from "../../lib/train/mod.ts";
import { clefLayers, clefLoss, clefOutcome, clefRepresentation, type TumourCLEFParameters } from "./models/clef.ts";
import {
  crnLayers,
  crnLoss,
  type CRNParameters,
  crnRepresentation,
  decodeOnwards,
  historyInput,
} from "./models/crn.ts";
import {
  type Batch,
  batchOf,
  outcomeOf,
  representation,
  risingAlpha,
  rowsOfBatch,
  trainingData,
} from "./models/parts.ts";
import { EPOCHS, type HeadSettings, publishedSettings } from "./models/published.ts";
import { chained } from "./chain.ts";
import { decoderInput } from "./decode.ts";
import type { Predictor } from "./models/predictor.ts";
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
  /** z-score of the next volume under what is given, [rows, steps, 1]. */
  outcome(represented: tf.Tensor3D, batch: Batch): tf.Tensor3D;
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
  const outcome = (br: tf.Tensor3D, treatment: tf.Tensor3D) =>
    outcomeOf(br, treatment, parameters.br_treatment_outcome_head);
  return oneStepModel(world, run, parameters, represent, outcome);
}

/** Trains CLEF's head on the encoder of CRN, with CRN's settings. */
export async function trainCLEF(world: TumourWorld, options: TrainTumourOptions): Promise<OneStepModel & Predictor> {
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
  const model = oneStepModel(
    world,
    run,
    parameters,
    represent,
    (br, treatment, { prevOutputs }) => clefOutcome(br, treatment, prevOutputs, parameters, world.scaling).outcome,
  );
  const across = (x: tf.Tensor2D) => x.expandDims<tf.Tensor3D>(1);
  const sequences = (test: SequenceTestSet) =>
    chained(world, test, {
      layer: parameters.lstm.lstm_layers[0],
      history: historyInput,
      input: ({ prevTreatment, volume, type }) => tf.concat([prevTreatment, volume, type], 1),
      outcome(h, { treatment, volume }) {
        const r = representation(across(h), parameters);
        return clefOutcome(r, across(treatment), across(volume), parameters, world.scaling).outcome.squeeze([1]);
      },
    });
  return { ...model, sequences };
}

/** Options of {@link trainCRNDecoder}. */
export interface DecoderOptions extends TrainTumourOptions {
  /** Days that it goes ahead. Default: 5. */
  readonly horizon?: number;
  readonly balanced?: boolean;
}

/** Trains a CRN's decoder, which starts from what the encoder says at the origin and goes on from its own predictions. */
export async function trainCRNDecoder(
  world: TumourWorld,
  encoder: OneStepModel,
  options: DecoderOptions,
): Promise<Pick<Predictor, "sequences"> & { readonly fit: Fit; dispose(): void }> {
  const settings = options.settings ?? publishedSettings(world.gamma).crn.decoder;
  const { epochs = EPOCHS.crn, horizon = 5, balanced = true, seed } = options;
  const ahead = decoderTensors(world.tensors(), horizon);
  const encoded = await encodedRows(encoder, world.tensors());
  const width = encoded.width;
  const starts = new Float32Array(ahead.rows * width);
  ahead.source.forEach((row, place) => {
    const at = (row * (world.train.days - 1) + ahead.step[place]) * width;
    starts.set(encoded.values.subarray(at, at + width), place * width);
  });
  const parameters = trainable(
    initialise(crnLayers({ ...settings, hidden: width }), random(seed, "crn decoder")),
  ) as CRNParameters;
  const whole = batchOf(ahead);
  const states = tf.tensor2d(starts, [ahead.rows, width]);
  const step = trainStep(
    (batch: Batch, key: tf.Tensor1D, alpha: tf.Scalar, initState: tf.Tensor2D) =>
      crnLoss(batch, parameters, alpha, { drop: { rate: settings.dropout, key }, initState }),
    adam({ learningRate: settings.learningRate }),
    parameters,
    { maxTraces: 2 },
  );
  let run: Fit;
  try {
    run = await fit({
      ...{ step, epochs, seed, show: options.show ?? false, batch: settings.batch },
      data: trainingData(whole, (rows, { epoch }): [tf.Scalar, tf.Tensor2D] => [
        tf.scalar(balanced ? risingAlpha(epoch, epochs) : 0),
        tidy(() => tf.gather(states, tf.tensor1d([...rows], "int32"))),
      ]),
      ...(options.checkpoint ? { checkpoint: options.checkpoint } : {}),
      ...(options.signal ? { signal: options.signal } : {}),
    });
  } finally {
    step.dispose();
    tf.dispose([states, ...Object.values(whole)]);
  }
  const sequences = async (test: SequenceTestSet) => {
    if (test.horizon !== horizon) {
      throw new RangeError(
        `the decoder goes ${horizon} days ahead, but the test set has ${test.horizon}; train another`,
      );
    }
    const batch = batchOf(world.historyTensors(test.histories));
    const r = tidy(() => encoder.represent(batch));
    const first = tidy(() => encoder.outcome(r, batch));
    const decode = compile((batch: Batch, initState: tf.Tensor2D) =>
      decodeOnwards(batch, (batch) => {
        const br = crnRepresentation(batch, parameters, { initState });
        return outcomeOf(br, batch.currentTreatments, parameters.br_treatment_outcome_head);
      }), { xla: false, maxTraces: 2 });
    try {
      return await decoderInput(world, test, { r, first, mode: "multiclass" }, decode);
    } finally {
      decode.dispose();
      tf.dispose([r, first, ...Object.values(batch)]);
    }
  };
  return { fit: run, sequences, dispose: () => tf.dispose([...flatten(parameters).values()]) };
}

/** Rows that are looked at together where nothing is trained. */
const TOGETHER = 1000;

/** What an encoder says of all rows, [rows, steps, width], some at a time. */
async function encodedRows(encoder: OneStepModel, tensors: TumourTensors) {
  const whole = batchOf(tensors);
  const parts: Float32Array[] = [];
  let width = 0;
  for (let first = 0; first < tensors.rows; first += TOGETHER) {
    await tick();
    const count = Math.min(TOGETHER, tensors.rows - first);
    const batch = rowsOfBatch(whole, Array.from({ length: count }, (_, k) => first + k));
    parts.push(tidy(() => {
      const br = encoder.represent(batch);
      width = br.shape[2];
      return br.dataSync<"float32">();
    }));
    tf.dispose(Object.values(batch));
  }
  tf.dispose(Object.values(whole));
  const values = new Float32Array(parts.reduce((sum, part) => sum + part.length, 0));
  parts.reduce((at, part) => (values.set(part, at), at + part.length), 0);
  return { values, width };
}

type Loss = tf.Scalar | ({ readonly loss: tf.Scalar } & Readonly<Record<string, tf.Scalar>>);

/** Trains parameters on the world's cohort by Adam. */
export async function trainOn(
  world: TumourWorld,
  parameters: object,
  options: Omit<TrainTumourOptions, "settings"> & {
    readonly settings: { readonly learningRate: number; readonly batch: number };
    readonly epochs: number;
    /** Which rows. Default: all. */
    readonly rows?: readonly number[];
  },
  loss: (batch: Batch, key: tf.Tensor1D, alpha: tf.Scalar) => Loss,
  alphaOf: (epoch: number) => number = () => 0,
): Promise<Fit> {
  const { seed, epochs, settings, checkpoint, signal, show = false, rows } = options;
  const all = batchOf(world.tensors());
  const whole = rows ? rowsOfBatch(all, rows) : all;
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
    tf.dispose([...Object.values(whole), ...Object.values(all)]);
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
    outcome: (br, batch) => outcome(br, batch.currentTreatments, batch),
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
