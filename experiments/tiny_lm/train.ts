/**
 * Trains the TinyLM of data/tiny-lm: `deno run -A experiments/tiny_lm/train.ts`, a minute or two on one core. Writes
 * `weights.safetensors` and `training.json` there, and shows what it reached.
 *
 * A plain decoder learns which things a text names, and guesses one of them for thousands of steps: to find the thing behind
 * a name, a first layer must write into each token which one stood before it, and nothing rewards that alone. Here a head of
 * its own does, which reads the token before from the first layer and is thrown away afterwards; and texts are short at
 * first. Then the facts are found after a few hundred steps. (Its second cure, known from vision, is that all facts of a text
 * are asked for.)
 *
 * @module
 */
import {
  dataFolder,
  type HiddenFacts,
  hiddenFacts,
  type TinyLMTraining,
  writeAtomically,
  writeSafetensors,
} from "tessera/data/mod.ts";
import {
  causalRows,
  initialise,
  linear,
  linearLayer,
  Llama,
  llamaNames,
  normal,
  saveParameters,
  trainable,
} from "tessera/nn/mod.ts";
import { random } from "tessera/random.ts";
import { backend, tf, tidy } from "tessera/tensor/mod.ts";
import { adamW, cosineRate, fit, onlyMatrices, trainStep } from "tessera/train/mod.ts";
import { askFacts } from "./evaluate.ts";

const seed = 0, testSeed = 9, testTexts = 500;
const batch = 32, stepsPerEpoch = 100, epochs = 7, longest = 96, facts = 10;
/** Weight of each token of the text in the loss, beside 1 of each answer. */
const ofText = 0.02;

const config: TinyLMTraining["config"] = {
  vocabulary: hiddenFacts({ texts: 1, seed }).words.length,
  width: 64,
  depth: 2,
  heads: 4,
  keyHeads: 4,
  mlpWidth: 172,
  context: 128,
};
const start = Llama.create(
  config,
  random(seed, "weights"),
  (name, shape) => shape.length < 2 ? undefined : normal(name.startsWith("embed") ? 0.1 : shape[1] ** -0.5),
);
const model = new Llama(config, trainable(start.weights));
const before = trainable({ ...initialise(linearLayer(config.width, config.vocabulary), random(seed, "before")) });

type Batch = [tokens: tf.Tensor2D, weight: tf.Tensor2D];

function loss(tokens: tf.Tensor2D, weight: tf.Tensor2D) {
  const [texts, row] = tokens.shape, count = row - 1;
  const input = tokens.slice([0, 0], [texts, count]) as tf.Tensor2D;
  const mask = causalRows(count, 1), positions = tf.range(0, count, 1, "float32").expandDims<tf.Tensor2D>(0);
  let x = model.embed(input);
  let first = x;
  for (let layer = 0; layer < config.depth; layer++) {
    x = model.block(layer, x, positions, ({ keys, values }) => ({ keys, values, mask })).x;
    if (layer === 0) first = x;
  }
  const next = surprise(model.head(x), tokens.slice([0, 1], [texts, count]) as tf.Tensor2D);
  const main = next.mul(weight).sum().div(weight.sum());
  const read = linear(first.slice([0, 1, 0]) as tf.Tensor3D, before);
  const previous = surprise(read, input.slice([0, 0], [texts, count - 1]) as tf.Tensor2D).mean();
  return { loss: main.add(previous) as tf.Scalar, main, previous };
}

/** -ln p of each token: [texts, tokens] */
function surprise(logits: tf.Tensor3D, tokens: tf.Tensor2D): tf.Tensor2D {
  return tf.logSoftmax(logits).mul(tf.oneHot(tokens, config.vocabulary)).sum<tf.Tensor2D>(2).neg();
}

/** Rows of one length, and the weight of each prediction: answers, the text, nothing behind the last question. */
function batchOf(made: HiddenFacts): Batch {
  const { texts, rowLength, tokens, lengths, asked } = made;
  const row = longest + 3 * facts, count = row - 1, each = asked.length / texts;
  const padded = new Int32Array(texts * row), weight = new Float32Array(texts * count);
  for (let text = 0; text < texts; text++) {
    padded.set(tokens.subarray(text * rowLength, (text + 1) * rowLength), text * row);
    weight.fill(ofText, text * count, text * count + lengths[text] - 1);
    for (const place of asked.subarray(text * each, (text + 1) * each)) {
      if (place >= 0) weight[text * count + place] = 1;
    }
  }
  return [tf.tensor2d(padded, [texts, row], "int32"), tf.tensor2d(weight, [texts, count])];
}

const optimizer = adamW({
  learningRate: cosineRate({ peak: 3e-3, updates: stepsPerEpoch * epochs, warmup: 100 }),
  decays: onlyMatrices,
});
const step = trainStep(loss, optimizer, { weights: model.weights, before }, { clip: 1 });
const watched = hiddenFacts({ texts: 100, seed: testSeed + 1 });
const log: Omit<TinyLMTraining["log"][number], "loss">[] = [];
const result = await fit({
  step,
  epochs,
  batch,
  seed,
  data: {
    count: stepsPerEpoch * batch, // of texts that are never the same: an epoch is a pause to ask
    batch: (examples, { step }) =>
      batchOf(hiddenFacts({
        texts: examples.length,
        seed: 1_000_000 + step,
        length: [8, Math.min(longest, 16 + Math.floor(step / 4))],
        facts,
      })),
  },
  validate: (epoch) => {
    const { recall } = askFacts(model, watched);
    console.log(`epoch ${epoch}: recall ${recall}`);
    log.push({ step: step.count, recall });
    return { recall };
  },
  monitor: { metric: "recall", goal: "highest" },
});

// the threshold for reading anything into a policy: recall >= 0.9, random strictly between chance and full
const test = hiddenFacts({ texts: testTexts, seed: testSeed });
const full = askFacts(model, test), half = askFacts(model, test, { keepRate: 0.5, seed });
console.log({ ...full, randomHalf: half.recall, seconds: result.seconds });
const lengths = [16, 32, 64];
const firstLogits = tidy(() => {
  const tokens = tf.tensor2d(test.tokens.slice(0, test.rowLength), [1, test.rowLength], "int32");
  return model.forward(tokens).logits.slice([0, test.asked[0], 0], [1, 1, -1]).arraySync()[0][0];
});
const training: TinyLMTraining = {
  config,
  seed,
  testSeed,
  testTexts,
  steps: result.steps,
  seconds: Math.round(result.seconds),
  backend: `${backend}`,
  recall: full.recall,
  recallByLength: Object.fromEntries(lengths.map((length) => [
    length,
    askFacts(model, hiddenFacts({ texts: testTexts, seed: testSeed, length })).recall,
  ])),
  recallByDepth: full.byDepth,
  randomHalf: half.recall,
  chance: full.chance,
  firstLogits,
  log: log.map((entry) => ({ ...entry, loss: result.history.loss[entry.step - 1] })),
};
await writeSafetensors(
  new URL("tiny-lm/weights.safetensors", dataFolder),
  await saveParameters(model.weights, llamaNames),
);
await writeAtomically(
  new URL("tiny-lm/training.json", dataFolder),
  new TextEncoder().encode(JSON.stringify(training, undefined, 1) + "\n"),
);
