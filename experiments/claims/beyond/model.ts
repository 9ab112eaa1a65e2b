/**
 * The small model of these cards: a transformer over a set of tokens with sizes. It knows no positions but those that its
 * features hold.
 *
 * @module
 */
import {
  block,
  blockLayer,
  type Described,
  initialise,
  layerNorm,
  linear,
  linearLayer,
  normLayer,
  trainable,
} from "../../../lib/nn/mod.ts";
import { random } from "../../../lib/random.ts";
import { flatten, tf, tidy } from "../../../lib/tensor/mod.ts";
import { adamW, cosineRate, examples, fit, trainStep } from "../../../lib/train/mod.ts";

/** Sets of tokens, padded to one length: a token of size 0 is not there. */
export interface Sets {
  /** Number of sets. */
  readonly count: number;
  /** Tokens of the longest set. */
  readonly tokens: number;
  readonly features: number;
  /** [count, tokens, features] */
  readonly x: Float32Array;
  /** [count, tokens]: how many original tokens each stands for. */
  readonly size: Float32Array;
}

/** A token as it is made: its features, and how many it stands for. */
export interface Token {
  readonly features: readonly number[];
  readonly size: number;
}

/** Pads lists of tokens to the longest of them. */
export function padded(sets: readonly (readonly Token[])[]): Sets {
  const tokens = Math.max(...sets.map(({ length }) => length)), features = sets[0][0].features.length;
  const x = new Float32Array(sets.length * tokens * features), size = new Float32Array(sets.length * tokens);
  for (const [i, set] of sets.entries()) {
    for (const [j, token] of set.entries()) {
      x.set(token.features, (i * tokens + j) * features);
      size[i * tokens + j] = token.size;
    }
  }
  return { count: sets.length, tokens, features, x, size };
}

/** The mean number of tokens of a set. */
export function meanTokens({ size, count }: Sets): number {
  return size.reduce((sum, one) => sum + Number(one > 0), 0) / count;
}

const WIDTH = 32, LAYERS = 2, HEADS = 4;

function description(features: number, outputs: number) {
  return {
    embed: linearLayer(features, WIDTH),
    blocks: Array.from({ length: LAYERS }, () => blockLayer(WIDTH, 2 * WIDTH)),
    norm: normLayer(WIDTH),
    head: linearLayer(WIDTH, outputs),
  };
}

/** Parameters of {@link forward}. */
export type SetModel = Described<ReturnType<typeof description>>;

/** How a set is read out: the mean of its tokens weighted by size, or its first token. */
export type ReadOut = "mean" | "first";

/** New parameters, drawn from the seed. */
export function setModel(features: number, outputs: number, seed: number): SetModel {
  return trainable(initialise(description(features, outputs), random(seed, "set model")));
}

/**
 * What the model says of each set.
 *
 * @param x [batch, tokens, features]
 * @param size [batch, tokens]; 0 where there is no token
 * @returns [batch, outputs]
 */
export function forward(model: SetModel, x: tf.Tensor3D, size: tf.Tensor2D, read: ReadOut = "mean"): tf.Tensor2D {
  return tidy(() => {
    const mask = tf.greater(size, 0).cast<tf.Tensor2D>("float32");
    const counted = tf.add<tf.Tensor2D>(size, tf.sub(1, mask)); // padding gets a size whose logarithm is finite
    let h = linear(x, model.embed);
    for (const parameters of model.blocks) h = block(h, parameters, { heads: HEADS, size: counted, mask }).x;
    h = layerNorm(h, model.norm);
    const weight = size.div(size.sum(1, true)).expandDims(2);
    const pooled = read === "mean"
      ? tf.mul(h, weight).sum<tf.Tensor2D>(1)
      : h.slice([0, 0, 0], [-1, 1, -1]).squeeze<tf.Tensor2D>([1]);
    return linear(pooled, model.head);
  });
}

/** How a model is trained. */
export interface Training {
  readonly seed: number;
  /** Times that each set is seen. */
  readonly epochs: number;
  readonly signal: AbortSignal;
  readonly read?: ReadOut;
  /** From outputs [batch, outputs] and targets [batch, ...] to one number. */
  readonly loss: (outputs: tf.Tensor2D, targets: tf.Tensor2D) => tf.Tensor;
}

const BATCH = 32;

/** Trains a new model on sets and gives what it says of others: [test.count, outputs], row by row. */
export async function trainAndPredict(
  train: Sets,
  targets: Float32Array,
  test: Sets,
  { seed, epochs, signal, read = "mean", loss }: Training,
): Promise<Float32Array> {
  const outputs = targets.length / train.count;
  const model = setModel(train.features, outputs, seed);
  const tensors = [
    tf.tensor3d(train.x, [train.count, train.tokens, train.features]),
    tf.tensor2d(train.size, [train.count, train.tokens]),
    tf.tensor2d(targets, [train.count, outputs]),
  ] as const;
  try {
    const updates = epochs * Math.ceil(train.count / BATCH);
    const step = trainStep(
      (x: tf.Tensor3D, size: tf.Tensor2D, y: tf.Tensor2D) => loss(forward(model, x, size, read), y),
      adamW({ learningRate: cosineRate({ peak: 2e-3, updates, warmup: Math.min(100, Math.floor(updates / 4)) }) }),
      model,
      { clip: 1 },
    );
    const data = examples<[tf.Tensor3D, tf.Tensor2D, tf.Tensor2D]>(...tensors);
    await fit({ step, data, epochs, batch: BATCH, seed, show: false, signal });
    step.dispose();
    return predict(model, test, read);
  } finally {
    tf.dispose([...tensors]);
    for (const variable of flatten(model).values()) variable.dispose();
  }
}

/** What a model says of sets: [count, outputs], row by row. */
export function predict(model: SetModel, sets: Sets, read: ReadOut = "mean"): Float32Array {
  return tf.tidy(() =>
    forward(
      model,
      tf.tensor3d(sets.x, [sets.count, sets.tokens, sets.features]),
      tf.tensor2d(sets.size, [sets.count, sets.tokens]),
      read,
    ).dataSync() as Float32Array
  );
}
