/**
 * Training RMSN's networks on the tumour benchmark, and asking them.
 *
 * @module
 */
import { decoderTensors, type OneStepTestSet, type SequenceTestSet } from "../../lib/data/mod.ts";
import { initialise, trainable } from "../../lib/nn/mod.ts";
import { random } from "../../lib/random.ts";
import { tick } from "../../lib/stop.ts";
import { compile, flatten, tf, tidy } from "../../lib/tensor/mod.ts";
import { adam, fit, trainStep } from "../../lib/train/mod.ts";
import { decodeOnwards } from "./models/crn.ts";
import { type Batch, batchOf, rowsOfBatch, statesBefore, stepFrom, trainingData } from "./models/parts.ts";
import type { Predictor } from "./models/predictor.ts";
import { type ClippedSettings, EPOCHS, publishedSettings } from "./models/published.ts";
import {
  cumulativeWeights,
  decoderWeights,
  encoderWeights,
  propensityLoss,
  rmsnInput,
  type RMSNKind,
  rmsnLayers,
  type RMSNParameters,
  runRMSN,
  stabilizedWeights,
  weightedLoss,
} from "./models/rmsn.ts";
import { decoderInput } from "./decode.ts";
import { askOneStep, type TrainTumourOptions } from "./train.ts";
import { linear } from "../../lib/nn/mod.ts";
import type { TumourWorld } from "./world.ts";

/** Options of {@link trainRMSN}. */
export interface RMSNOptions extends Omit<TrainTumourOptions, "settings" | "checkpoint"> {
  /** Default: as published for the world's gamma. */
  readonly settings?: Readonly<Record<RMSNKind, ClippedSettings>>;
  /** Days that the decoder goes ahead; 0: no decoder. Default: 5. */
  readonly horizon?: number;
  /** Weights as the authors' code has them. Default: false. */
  readonly parity?: boolean;
}

/** Rows that are looked at together where nothing is trained. */
const TOGETHER = 1000;

/** Trains the two propensity networks, then the encoder, then the decoder. */
export async function trainRMSN(world: TumourWorld, options: RMSNOptions): Promise<Predictor & { dispose(): void }> {
  const settings = options.settings ?? publishedSettings(world.gamma).rmsn;
  const { epochs = EPOCHS.rmsn, seed, horizon = 5, parity = false, signal, show = false } = options;
  const tensors = world.tensors("multilabel");
  const { rows, steps, active, currentTreatments } = tensors;
  const whole = batchOf(tensors);
  const made: RMSNParameters[] = [];
  const network = (kind: RMSNKind) => {
    const described = rmsnLayers(kind, settings[kind].hidden, settings.encoder.hidden);
    made.push(trainable(initialise(described, random(seed, `rmsn ${kind}`))) as RMSNParameters);
    return made.at(-1)!;
  };
  /** Trains a network on rows, each with its weights and perhaps what it starts from. */
  const train = async (
    kind: RMSNKind,
    parameters: RMSNParameters,
    data: Batch,
    weights: tf.Tensor2D | undefined,
    states?: tf.Tensor2D,
  ) => {
    const { dropout: rate, clip, learningRate, batch } = settings[kind];
    const step = trainStep(
      (batch: Batch, key: tf.Tensor1D, weights?: tf.Tensor2D, initState?: tf.Tensor2D) => {
        const { output } = runRMSN(kind, batch, parameters, { drop: { rate, key }, initState });
        return weights ? weightedLoss(output, batch, weights) : propensityLoss(output, batch);
      },
      adam({ learningRate }),
      parameters,
      { clip, maxTraces: 2 },
    );
    const some = (tensor: tf.Tensor2D | undefined, rows: readonly number[]) =>
      tensor && tidy(() => tf.gather(tensor, tf.tensor1d([...rows], "int32")));
    try {
      await fit({
        ...{ step, epochs, seed, show, batch },
        data: trainingData(data, (rows): [tf.Tensor2D | undefined, tf.Tensor2D | undefined] => [
          some(weights, rows),
          some(states, rows),
        ]),
        ...(signal ? { signal } : {}),
      });
    } finally {
      step.dispose();
    }
  };
  /** What a network gives for all training rows, some at a time. */
  const evaluated = async (kind: RMSNKind, parameters: RMSNParameters, what: "output" | "r") => {
    const parts: Float32Array[] = [];
    for (let first = 0; first < rows; first += TOGETHER) {
      await tick();
      const batch = rowsOfBatch(whole, Array.from({ length: Math.min(TOGETHER, rows - first) }, (_, k) => first + k));
      parts.push(tidy(() => {
        const run = runRMSN(kind, batch, parameters);
        return (what === "output" ? run.output.sigmoid() : run.r).dataSync<"float32">();
      }));
      tf.dispose(Object.values(batch));
    }
    const all = new Float32Array(parts.reduce((sum, part) => sum + part.length, 0));
    parts.reduce((at, part) => (all.set(part, at), at + part.length), 0);
    return all;
  };

  const [treatment, history, encoder] = (["treatment", "history", "encoder"] as const).map(network);
  await train("treatment", treatment, whole, undefined);
  await train("history", history, whole, undefined);
  const weights = stabilizedWeights({
    ...{ rows, steps, treatments: 2, given: currentTreatments },
    treatment: await evaluated("treatment", treatment, "output"),
    history: await evaluated("history", history, "output"),
  }, { parity });
  const ofEncoder = tf.tensor2d(Float32Array.from(encoderWeights(weights, active)), [rows, steps]);
  await train("encoder", encoder, whole, ofEncoder);
  ofEncoder.dispose();

  let decoder: RMSNParameters | undefined;
  if (horizon > 0) {
    const ahead = decoderTensors(tensors, horizon);
    const width = settings.encoder.hidden;
    const encoded = await evaluated("encoder", encoder, "r");
    const starts = new Float32Array(ahead.rows * width);
    const window = new Float64Array(ahead.rows * (horizon + 1));
    ahead.source.forEach((row, place) => {
      const at = row * steps + ahead.step[place];
      starts.set(encoded.subarray(at * width, (at + 1) * width), place * width);
      window.set(weights.subarray(at, at + horizon + 1), place * (horizon + 1)); // from one step before the origin
    });
    const cumulative = cumulativeWeights(window, ahead.rows, horizon + 1);
    const ofDecoder = Float32Array.from(decoderWeights(cumulative, ahead.active, horizon));
    decoder = network("decoder");
    const data = batchOf(ahead);
    const [tensor, states] = [tf.tensor2d(ofDecoder, [ahead.rows, horizon]), tf.tensor2d(starts, [ahead.rows, width])];
    await train("decoder", decoder, data, tensor, states);
    tf.dispose([tensor, states, ...Object.values(data)]);
  }
  tf.dispose(Object.values(whole));

  const layer = encoder.lstm.lstm_layers[0];
  const multilabel = {
    ...world,
    historyTensors: (histories: OneStepTestSet["histories"]) => world.historyTensors(histories, "multilabel"),
  };
  /** The encoder after each day under each treatment. */
  const underEach = (batch: Batch) => {
    const [rows, steps] = batch.prevOutputs.shape;
    const { h, c } = statesBefore(rmsnInput("encoder", batch), layer);
    const states = { h: h.reshape<tf.Tensor2D>([rows * steps, -1]), c: c.reshape<tf.Tensor2D>([rows * steps, -1]) };
    const answers = [0, 1, 2, 3].map((treatment) => {
      const given = tf.tensor1d([treatment & 1, treatment >> 1]).reshape([1, 1, 2]);
      const currentTreatments = tf.tile(given, [rows, steps, 1]) as tf.Tensor3D;
      const x = rmsnInput("encoder", { ...batch, currentTreatments }).reshape<tf.Tensor2D>([rows * steps, -1]);
      return linear(stepFrom(x, layer, states).h, encoder.output_layer).reshape([rows, steps, 1]);
    });
    return tf.concat(answers, 2);
  };
  return {
    oneStep: (test) => askOneStep(multilabel, test, underEach),
    async sequences(test: SequenceTestSet) {
      if (!decoder || test.horizon !== horizon) {
        throw new RangeError(
          `the decoder goes ${horizon} days ahead, but the test set has ${test.horizon}; train another`,
        );
      }
      const model = decoder;
      const batch = batchOf(multilabel.historyTensors(test.histories));
      const { output, r } = runRMSN("encoder", batch, encoder);
      const decode = compile(
        (batch: Batch, initState: tf.Tensor2D) =>
          decodeOnwards(batch, (batch) => runRMSN("decoder", batch, model, { initState }).output),
        { xla: false, maxTraces: 2 },
      );
      try {
        return await decoderInput(world, test, { r, first: output, mode: "multilabel" }, decode);
      } finally {
        decode.dispose();
        tf.dispose([...Object.values(batch), output, r]);
      }
    },
    dispose: () => tf.dispose(made.flatMap((parameters) => [...flatten(parameters).values()])),
  };
}
