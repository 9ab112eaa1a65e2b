/**
 * Merging during training: does a Vision Transformer whose blocks merge tokens while it learns end nearer to its other trainings,
 * and does it bear larger learning rates, than one that learns with all of them?
 *
 * The 2,000 digits of this project, 1,500 to learn from and 500 to judge; a seed is first weights and the order of images. Each is
 * judged as it was trained. (A first run of 300 steps, after which the whole model was right on half of the digits, told nothing
 * and was replaced.)
 *
 * Kong et al., "Token Reduction Should Go Beyond Efficiency in Generative Models", 2025, arXiv:2505.18227, section 4.4.
 *
 * @module
 */
import { mnist, normalize, selectImages } from "../../../lib/data/mod.ts";
import { remember } from "../../../lib/data/files.ts";
import { defineExperiment } from "../../../lib/experiment/mod.ts";
import { crossEntropy, initialise, type Reducer, trainable, ViT, vitLayers } from "../../../lib/nn/mod.ts";
import { random } from "../../../lib/random.ts";
import { reducers } from "../../../lib/reduction/mod.ts";
import { tf, tidy } from "../../../lib/tensor/mod.ts";
import { adamW, cosineRate, fit, onlyMatrices, trainStep } from "../../../lib/train/mod.ts";

const config = { imageSize: 28, patchSize: 4, channels: 1, width: 32, depth: 3, heads: 4, mlpWidth: 64, classes: 10 };
const BATCH = 64, TRAIN = 1500;

/** What happens to tokens in each block; ten of 49 go in each. */
export const reductions = {
  none: undefined,
  merged: reducers.tome({ r: 10 }),
  "dropped at random": reducers.random({ r: 10 }),
} as const satisfies Record<string, Reducer | undefined>;

const digits = remember(async (_: "all") => {
  const set = await mnist.load("test");
  const order = [...random(0, "digits").permutation(set.count)];
  const of = (which: readonly number[]) => {
    const own = selectImages(set, which);
    return { ...normalize(own), labels: [...own.labels] };
  };
  return { train: of(order.slice(0, TRAIN)), test: of(order.slice(TRAIN)) };
});

export default defineExperiment({
  name: "merged_training",
  version: 2,
  question: "Does merging tokens during training steady it: less spread between trainings, larger learning rates?",
  grid: { reduction: ["none", "merged", "dropped at random"], rate: [0.004, 0.016, 0.064] },
  seeds: [0, 1, 2, 3, 4],
  fast: { grid: { rate: [0.016] }, seeds: [0] },
  rowSeconds: 25,
  async row({ reduction, rate }, { seed, fast, signal }) {
    const steps = fast ? 40 : 900;
    const { train, test } = await digits("all");
    const model = new ViT(config, trainable(initialise(vitLayers(config), random(seed, "weights"))));
    const reducer: Reducer | undefined = reductions[reduction];
    const step = trainStep(
      (images: tf.Tensor4D, labels: tf.Tensor1D, key: tf.Tensor1D) =>
        crossEntropy(model.forward(images, reducer ? { reducer, key } : {}).logits, labels) as tf.Scalar,
      adamW({
        learningRate: cosineRate({ peak: rate, updates: steps, warmup: Math.floor(steps / 10) }),
        decays: onlyMatrices,
      }),
      model.weights,
      { clip: 1 },
    );
    const size = train.shape[1] * train.shape[2] * train.shape[3];
    const taken = (from: typeof train, rows: readonly number[]): [tf.Tensor4D, tf.Tensor1D] => {
      const pixels = new Float32Array(rows.length * size);
      rows.forEach((row, i) => pixels.set(from.data.subarray(row * size, (row + 1) * size), i * size));
      return [
        tf.tensor4d(pixels, [rows.length, ...train.shape.slice(1)] as [number, number, number, number]),
        tf.tensor1d(rows.map((row) => from.labels[row]), "int32"),
      ];
    };
    const draw = random(seed, "images");
    const run = await fit({
      ...{ step, epochs: 1, batch: BATCH, seed, show: false },
      data: {
        count: steps * BATCH,
        batch: (rows, { key }): [tf.Tensor4D, tf.Tensor1D, tf.Tensor1D] => [
          ...taken(train, rows.map(() => draw.integer(TRAIN))),
          key.clone(),
        ],
      },
      ...(signal ? { signal } : {}),
    });
    step.dispose();
    const key = tf.tensor1d([1, seed], "int32");
    const right = tidy(() => {
      const [images, labels] = taken(test, test.labels.map((_, row) => row));
      const said = model.forward(images, reducer ? { reducer, key } : {}).logits.argMax(1);
      return tf.equal(said, labels).cast("float32").sum().dataSync()[0];
    });
    key.dispose();
    model.dispose();
    const last = run.history.loss.slice(-20);
    return {
      accuracy: Number((right / test.labels.length).toFixed(4)),
      lastLoss: Number((last.reduce((sum, one) => sum + one, 0) / last.length).toFixed(4)),
      steps,
    };
  },
});
