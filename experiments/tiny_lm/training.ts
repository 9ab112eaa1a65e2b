/**
 * How a tiny Llama learns to find hidden facts: data/tiny-lm was trained so, and so are models of other seeds.
 *
 * A plain decoder learns which things a text names, and guesses one of them for thousands of steps: to find the thing behind
 * a name, a first layer must write into each token which one stood before it, and nothing rewards that alone. Here a head of
 * its own does, which reads the token before from the first layer and is thrown away afterwards; and texts are short at
 * first. Then the facts are found after a few hundred steps. (Its second cure, known from vision, is that all facts of a text
 * are asked for.)
 *
 * @module
 */
import { type HiddenFacts, hiddenFacts, type TinyLMTraining } from "tessera/data/mod.ts";
import {
  causalRows,
  initialise,
  linear,
  linearLayer,
  type LinearParameters,
  Llama,
  normal,
  trainable,
} from "tessera/nn/mod.ts";
import { random } from "tessera/random.ts";
import { flatten, tf } from "tessera/tensor/mod.ts";
import { adamW, cosineRate, type Fit, fit, onlyMatrices, trainStep } from "tessera/train/mod.ts";
import { askFacts } from "./evaluate.ts";

/** Weight of each token of the text in the loss, beside 1 of each answer. */
const OF_TEXT = 0.02;
/** Texts of a step, and steps after which the watched texts are asked. */
const BATCH = 32, STEPS_PER_EPOCH = 100;
/** Seed of the texts that say which epoch's weights are kept: the same for all models, and no test's. */
const WATCHED_SEED = 10;

/** The sizes of every model that is trained here. */
export const finderConfig: TinyLMTraining["config"] = {
  vocabulary: hiddenFacts({ texts: 1, seed: 0 }).words.length,
  width: 64,
  depth: 2,
  heads: 4,
  keyHeads: 4,
  mlpWidth: 172,
  context: 128,
};

/** What may be chosen of a training. */
export interface FinderOptions {
  /** Of the first weights, and of all texts that are read. */
  readonly seed: number;
  /** Hundreds of steps. Default: 7. */
  readonly epochs?: number;
  /** Tokens of the longest texts. Default: 96. */
  readonly longest?: number;
  /** Facts in a text. Default: 10. */
  readonly facts?: number;
  /** Ends it early, with an error. */
  readonly signal?: AbortSignal;
  /** Whether to show the loss on the way. Default: false. */
  readonly show?: boolean;
}

/** A trained model, and how it came to be. */
export interface Finder {
  readonly model: Llama;
  readonly result: Fit;
  /** Loss and recall on the watched texts, epoch by epoch. */
  readonly log: TinyLMTraining["log"];
}

/** Trains a model; seed 0 with all defaults is data/tiny-lm. */
export async function trainFinder(
  { seed, epochs = 7, longest = 96, facts = 10, signal, show = false }: FinderOptions,
): Promise<Finder> {
  const start = Llama.create(
    finderConfig,
    random(seed, "weights"),
    (name, shape) => shape.length < 2 ? undefined : normal(name.startsWith("embed") ? 0.1 : shape[1] ** -0.5),
  );
  const model = new Llama(finderConfig, trainable(start.weights));
  const before = trainable({
    ...initialise(linearLayer(finderConfig.width, finderConfig.vocabulary), random(seed, "before")),
  });
  const step = trainStep(
    (tokens: tf.Tensor2D, weight: tf.Tensor2D) => loss(model, before, tokens, weight),
    adamW({
      learningRate: cosineRate({ peak: 3e-3, updates: STEPS_PER_EPOCH * epochs, warmup: 100 }),
      decays: onlyMatrices,
    }),
    { weights: model.weights, before },
    { clip: 1 },
  );
  const watched = hiddenFacts({ texts: 100, seed: WATCHED_SEED, length: longest, facts });
  const recalls: { step: number; recall: number }[] = [];
  try {
    const result = await fit({
      step,
      epochs,
      batch: BATCH,
      seed,
      show,
      signal,
      data: {
        count: STEPS_PER_EPOCH * BATCH, // of texts that are never the same: an epoch is a pause to ask
        batch: (examples, { step }) =>
          batchOf(
            hiddenFacts({
              texts: examples.length,
              seed: 1_000_000 * (seed + 1) + step,
              length: [8, Math.min(longest, 16 + Math.floor(step / 4))],
              facts,
            }),
            longest + 3 * facts,
          ),
      },
      validate: (epoch) => {
        const { recall } = askFacts(model, watched);
        if (show) console.log(`epoch ${epoch}: recall ${recall}`);
        recalls.push({ step: step.count, recall });
        return { recall };
      },
      monitor: { metric: "recall", goal: "highest" },
    });
    const log = recalls.map((entry) => ({ ...entry, loss: result.history.loss[entry.step - 1] }));
    return { model, result, log };
  } catch (error) {
    model.dispose();
    throw error;
  } finally {
    step.dispose();
    tf.dispose([...flatten(before).values()]);
  }
}

function loss(model: Llama, before: LinearParameters, tokens: tf.Tensor2D, weight: tf.Tensor2D) {
  const [texts, row] = tokens.shape, count = row - 1;
  const input = tokens.slice([0, 0], [texts, count]) as tf.Tensor2D;
  const mask = causalRows(count, 1), positions = tf.range(0, count, 1, "float32").expandDims<tf.Tensor2D>(0);
  let x = model.embed(input);
  let first = x;
  for (let layer = 0; layer < finderConfig.depth; layer++) {
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
  return tf.logSoftmax(logits).mul(tf.oneHot(tokens, finderConfig.vocabulary)).sum<tf.Tensor2D>(2).neg();
}

/** Rows of one length, and the weight of each prediction: answers, the text, nothing behind the last question. */
function batchOf(made: HiddenFacts, row: number): [tokens: tf.Tensor2D, weight: tf.Tensor2D] {
  const { texts, rowLength, tokens, lengths, asked } = made;
  const count = row - 1, each = asked.length / texts;
  const padded = new Int32Array(texts * row), weight = new Float32Array(texts * count);
  for (let text = 0; text < texts; text++) {
    padded.set(tokens.subarray(text * rowLength, (text + 1) * rowLength), text * row);
    weight.fill(OF_TEXT, text * count, text * count + lengths[text] - 1);
    for (const place of asked.subarray(text * each, (text + 1) * each)) {
      if (place >= 0) weight[text * count + place] = 1;
    }
  }
  return [tf.tensor2d(padded, [texts, row], "int32"), tf.tensor2d(weight, [texts, count])];
}
