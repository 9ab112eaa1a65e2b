/** Training to an outcome: digits of MNIST, by an MLP and by a Vision Transformer of the size of vit-nano. */
import assert from "node:assert/strict";
import { mnist, normalize, selectImages } from "tessera/data/mod.ts";
import { crossEntropy, evaluate, initialise, linear, linearLayer, trainable, ViT } from "tessera/nn/mod.ts";
import { random } from "tessera/random.ts";
import { backend, tf, tidy } from "tessera/tensor/mod.ts";
import { adamW, cosineRate, examples, fit, onlyMatrices, trainStep } from "tessera/train/mod.ts";

const onTensorFlow = backend.name === "tensorflow";
const full = Deno.env.get("TESSERA_FULL") === "1";
if (!onTensorFlow) console.log(`skipped: ${backend} is in use, on which training takes minutes`);

const classes = 10;

/** Images and labels of a split as tensors. */
async function tensorsOf(split: "train" | "test"): Promise<[tf.Tensor4D, tf.Tensor1D]> {
  const set = await mnist.load(split);
  const { data, shape } = normalize(set);
  return [tf.tensor4d(data, shape), tf.tensor1d(Array.from(set.labels), "int32")];
}

/** The accuracy on the test images of an MLP that has been trained on 8,000 images twice. */
async function trainMLP(seed: number): Promise<{ accuracy: number; losses: readonly number[] }> {
  const layers = { fc1: linearLayer(784, 64), fc2: linearLayer(64, classes) };
  const model = trainable(initialise(layers, random(seed, "init")));
  const logits = (images: tf.Tensor4D) =>
    linear(linear(images.reshape<tf.Tensor2D>([-1, 784]), model.fc1).relu<tf.Tensor2D>(), model.fc2);
  const step = trainStep(
    (images: tf.Tensor4D, labels: tf.Tensor1D) => crossEntropy(logits(images), labels),
    adamW({ learningRate: 2e-3, weightDecay: 0.01 }),
    model,
  );
  const [images, labels] = await tensorsOf("train");
  const run = await fit({ step, data: examples(images, labels), epochs: 2, batch: 64, seed, show: false });
  const [testImages, testLabels] = await tensorsOf("test");
  const accuracy = tidy(() => logits(testImages).argMax(1).equal(testLabels).cast("float32").mean().dataSync()[0]);
  tf.dispose([images, labels, testImages, testLabels, model.fc1.weight, model.fc2.weight]);
  step.dispose();
  return { accuracy, losses: run.history.loss };
}

for (const seed of full ? [1, 2, 3] : [1]) {
  Deno.test({ name: `an MLP learns digits in two epochs, seed ${seed}`, ignore: !onTensorFlow }, async () => {
    const { accuracy, losses } = await trainMLP(seed);
    assert.equal(losses.length, 250);
    assert.ok(accuracy > 0.88, `${accuracy}`);
  });
}

for (const seed of full ? [1, 2, 3] : []) {
  Deno.test({ name: `a ViT of vit-nano's size learns digits, seed ${seed}`, ignore: !onTensorFlow }, async () => {
    const sizes = { imageSize: 28, patchSize: 4, channels: 1, width: 48, depth: 4, heads: 4, mlpWidth: 96, classes };
    const start = ViT.create(sizes, random(seed, "init"));
    const model = new ViT(sizes, trainable(start.weights));
    const epochs = 6;
    const batch = 64;
    const step = trainStep(
      (images: tf.Tensor4D, labels: tf.Tensor1D) => crossEntropy(model.forward(images).logits, labels),
      adamW({
        learningRate: cosineRate({ peak: 2e-3, updates: epochs * 125, warmup: 50 }),
        weightDecay: 0.05,
        decays: onlyMatrices,
      }),
      model.weights,
      { clip: 1, xla: true },
    );
    const [images, labels] = await tensorsOf("train");
    await fit({ step, data: examples(images, labels), epochs, batch, seed, show: false });
    const { accuracy } = await evaluate(model, await mnist.load("test"));
    assert.ok(accuracy > 0.7, `${accuracy}`);
    model.dispose();
    step.dispose();
    tf.dispose([images, labels]);
  });
}

Deno.test({ name: "a ViT of vit-nano's size learns some digits by heart", ignore: !onTensorFlow }, async () => {
  const sizes = { imageSize: 28, patchSize: 4, channels: 1, width: 48, depth: 2, heads: 4, mlpWidth: 96, classes };
  const model = new ViT(sizes, trainable(ViT.create(sizes, random(1, "init")).weights));
  const some = selectImages(await mnist.load("test"), Array.from({ length: 40 }, (_, i) => i));
  const { data, shape } = normalize(some);
  const [images, labels] = [tf.tensor4d(data, shape), tf.tensor1d(Array.from(some.labels), "int32")];
  const step = trainStep(
    (images: tf.Tensor4D, labels: tf.Tensor1D) => crossEntropy(model.forward(images).logits, labels),
    adamW({ learningRate: 2e-3, decays: onlyMatrices }),
    model.weights,
  );
  await fit({ step, data: examples(images, labels), epochs: 120, batch: 20, seed: 1, show: false });
  const { accuracy } = await evaluate(model, some);
  assert.ok(accuracy > 0.9, `${accuracy}`);
  model.dispose();
  step.dispose();
  tf.dispose([images, labels]);
});
