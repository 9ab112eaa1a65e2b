/**
 * Trains the classifier of data/tiny-keep: `deno run -A experiments/tiny_keep/train.ts`, a minute or two on one core. Writes
 * `weights.safetensors` and `training.json` there, and shows what it reached.
 *
 * LLMLingua-2 learns from compressions that GPT-4 made. Here the teacher is stories260k: a word of one of its stories stays
 * where it surprises the model more than the story's median word does. The teacher needs all that stands before a word; the
 * pupil sees what stands around it, in one run over all.
 *
 * @module
 */
import { dataFolder, stories260k, type TinyKeepTraining, writeAtomically, writeSafetensors } from "tessera/data/mod.ts";
import { generate, Llama, saveParameters, trainable } from "tessera/nn/mod.ts";
import { random } from "tessera/random.ts";
import {
  keepClassifier,
  keepClassifierConfig as config,
  llamaScorer,
  newKeepClassifier,
  percentile,
  scoreTokens,
  stayLogits,
  unitInformation,
  unitOfTokens,
  unitsOf,
} from "tessera/reduction/mod.ts";
import { auroc } from "tessera/stats.ts";
import { backend, tf } from "tessera/tensor/mod.ts";
import { adamW, cosineRate, fit, onlyMatrices, trainStep } from "tessera/train/mod.ts";

const seed = 0,
  calls = 8,
  storiesPerCall = 64,
  watchedStories = 32,
  crop = 128,
  batch = 32,
  stepsPerEpoch = 50,
  epochs = 8;

/** A story in tokens, and which of them the teacher keeps. */
interface Labelled {
  readonly ids: Int32Array;
  readonly stays: Uint8Array;
}

const { samples, tokenizer } = await stories260k.load();
const teacher = await Llama.load("stories260k");
const scorer = llamaScorer(teacher);

/** What the teacher keeps of a story. */
async function labelled(text: string): Promise<Labelled> {
  const { ids, starts } = scorer.tokenize(text);
  const { values } = await scoreTokens(scorer, ids);
  const words = unitsOf(text, "word"), unit = unitOfTokens(starts, words);
  const information = unitInformation(values.map((value) => -value), unit, words.length);
  const median = percentile(information, 50);
  return { ids, stays: Uint8Array.from(unit, (word) => information[word] > median ? 1 : 0) };
}

// it learns from new stories; those in data/stories260k are its test
const stories: Labelled[] = [], test: Labelled[] = [];
for (let call = 0; call < calls; call++) {
  const prompts = Array.from({ length: storiesPerCall }, () => [tokenizer.begin]);
  const { rows } = await generate(teacher, prompts, {
    temperature: 0.8,
    maxTokens: 255,
    stopAtEnd: false,
    seed: seed + 1 + call,
  });
  for (const row of rows) stories.push(await labelled(tokenizer.decode(row).trim()));
  console.log(`${stories.length} stories`);
}
for (const { text } of samples) test.push(await labelled(text));
const watched = stories.slice(0, watchedStories), train = stories.slice(watchedStories);

const parameters = trainable(newKeepClassifier(config, random(seed, "weights")));

function loss(tokens: tf.Tensor2D, real: tf.Tensor2D, stays: tf.Tensor2D): tf.Tensor {
  const logits = stayLogits(config, parameters, tokens, real);
  const wrong = tf.softplus(logits).sub(logits.mul(stays)); // -ln of the probability of what the teacher says
  return wrong.mul(real).sum().div(real.sum());
}

const step = trainStep(
  loss,
  adamW({
    learningRate: cosineRate({ peak: 2e-3, updates: stepsPerEpoch * epochs, warmup: 50 }),
    decays: onlyMatrices,
    weightDecay: 0.1,
  }),
  parameters,
  { clip: 1 },
);

/** How well the pupil tells the tokens of some stories apart. */
async function tested(on: readonly Labelled[]): Promise<number> {
  const pupil = keepClassifier(config, parameters, tokenizer.tokenize);
  const scores: number[] = [], labels: number[] = [];
  for (const { ids, stays } of on) {
    for (let start = 0; start < ids.length; start += config.context) {
      const [values] = await pupil.keepProbabilities([ids.slice(start, start + config.context)]);
      scores.push(...values);
      labels.push(...stays.slice(start, start + config.context));
    }
  }
  return auroc(labels, scores);
}

const log: Omit<TinyKeepTraining["log"][number], "loss">[] = [];
const result = await fit({
  step,
  epochs,
  batch,
  seed,
  data: {
    count: stepsPerEpoch * batch, // of crops that are drawn anew
    batch: (examples, { random: draw }): [tf.Tensor2D, tf.Tensor2D, tf.Tensor2D] => {
      const ids = new Int32Array(examples.length * crop), real = new Float32Array(ids.length);
      const stays = new Float32Array(ids.length);
      examples.forEach((_, row) => {
        const story = draw.choice(train);
        const start = draw.integer(Math.max(1, story.ids.length - crop));
        const piece = story.ids.subarray(start, start + crop);
        ids.set(piece, row * crop);
        real.fill(1, row * crop, row * crop + piece.length);
        stays.set(story.stays.subarray(start, start + crop), row * crop);
      });
      const shape: [number, number] = [examples.length, crop];
      return [tf.tensor2d(ids, shape, "int32"), tf.tensor2d(real, shape), tf.tensor2d(stays, shape)];
    },
  },
  monitor: { metric: "auroc", goal: "highest" },
  validate: async (epoch) => {
    const area = await tested(watched);
    console.log(`epoch ${epoch}: AUROC ${area}`);
    log.push({ step: step.count, auroc: area });
    return { auroc: area };
  },
});

/** The control: how often each token stayed in the training stories, with one of each added. */
const count = new Float64Array(config.vocabulary).fill(2), staying = new Float64Array(config.vocabulary).fill(1);
for (const { ids, stays } of train) {
  ids.forEach((id, t) => {
    count[id]++;
    staying[id] += stays[t];
  });
}
const byToken = auroc(
  test.flatMap(({ stays }) => [...stays]),
  test.flatMap(({ ids }) => Array.from(ids, (id) => staying[id] / count[id])),
);
const area = await tested(test);
console.log({ auroc: area, byToken, seconds: result.seconds });
const training: TinyKeepTraining = {
  seed,
  steps: result.steps,
  seconds: Math.round(result.seconds),
  backend: `${backend}`,
  trainStories: train.length,
  testStories: test.length,
  auroc: area,
  aurocByToken: byToken,
  log: log.map((entry) => ({ ...entry, loss: result.history.loss[entry.step - 1] })),
};
await writeSafetensors(new URL("tiny-keep/weights.safetensors", dataFolder), await saveParameters(parameters));
await writeAtomically(
  new URL("tiny-keep/training.json", dataFolder),
  new TextEncoder().encode(JSON.stringify(training, undefined, 1) + "\n"),
);
