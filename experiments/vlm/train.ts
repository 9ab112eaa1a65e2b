/**
 * Trains the TinyVLM of data/tiny-vlm: `deno run -A experiments/vlm/train.ts`, about six minutes on one shared core. Writes
 * `weights.safetensors` and `training.json` there, and shows what it reached.
 *
 * Every step draws new images and asks all twelve questions about each of them. With one question per image the model stays
 * at guessing one of the colours it sees; with twelve it has to find out which colour belongs to which shape. The colour
 * comes first, then the half, and only then the twin, which needs the colour on its way. Beside the answers it learns, in
 * parameters of their own, which words an image shows.
 *
 * @module
 */
import {
  dataFolder,
  gridQuestions,
  type TinyVLMTraining,
  writeAtomically,
  writeSafetensors,
} from "tessera/data/mod.ts";
import { crossEntropy } from "tessera/nn/mod.ts";
import { compose, randomScore } from "tessera/reduction/mod.ts";
import { backend, flatten, tf, tidy } from "tessera/tensor/mod.ts";
import { arraysOf } from "tessera/train/checkpoint.ts";
import { adamW, cosineRate, fit, onlyMatrices, type TrainingData, trainStep } from "tessera/train/mod.ts";
import { ask, type QuestionTensors, questionTensors } from "./evaluate.ts";
import { TinyVLM } from "./models/tiny_vlm.ts";

const seed = 0, testSeed = 5, testImages = 500;
const batch = 32, stepsPerEpoch = 100, epochs = 20;
/** Words that an image can show: shapes and colours. */
const visible = [[1, 6], [10, 6]] as const;

const model = TinyVLM.initial(seed);
const optimizer = adamW({
  learningRate: cosineRate({ peak: 2e-3, updates: stepsPerEpoch * epochs, warmup: 100 }),
  decays: onlyMatrices,
});

function loss({ features, text, answer, shown }: QuestionTensors): { loss: tf.Tensor; answers: tf.Tensor } {
  const answers = crossEntropy(model.forward(features, text).logits, answer);
  const agreement = ofVisible(model.agreement(features));
  const sign = ofVisible(shown).mul(2).sub(1);
  return { loss: answers.add(tf.softplus(agreement.mul(sign).neg()).mean()), answers };
}

function ofVisible(words: tf.Tensor2D): tf.Tensor {
  return tf.concat(visible.map(([first, count]) => words.slice([0, first], [-1, count])), 1);
}

const step = trainStep(loss, optimizer, model.parameters, { clip: 1 });
const test = gridQuestions({ images: testImages, seed: testSeed });
const log: Omit<TinyVLMTraining["log"][number], "loss">[] = [];

const data: TrainingData<[QuestionTensors]> = {
  count: stepsPerEpoch * batch, // of images that are never the same: an epoch is a pause to look at the test images
  batch: (examples, { step }) => [questionTensors(gridQuestions({ images: examples.length, seed: 1_000_000 + step }))],
};
const result = await fit({
  step,
  epochs,
  batch,
  seed,
  data,
  validate: (epoch) => {
    const scores = tidy(() => {
      const { features, text, answer, shown } = questionTensors(test);
      const right = tf.equal(model.forward(features, text).logits.argMax(2), answer).cast("float32").dataSync<
        "float32"
      >();
      const agrees = tf.equal(tf.greater(ofVisible(model.agreement(features)), 0), ofVisible(shown).cast("bool"));
      const share = (kind: number) => {
        const all = right.filter((_, question) => test.kind[question] === kind);
        return all.reduce((sum, one) => sum + one, 0) / all.length;
      };
      return {
        colour: share(0),
        half: share(1),
        twin: share(2),
        agreement: agrees.cast("float32").mean().dataSync()[0],
      };
    });
    console.log(`epoch ${epoch}: ${JSON.stringify(scores)}`);
    log.push({ step: step.count, ...scores });
    return scores;
  },
});

// the threshold for reading anything into a reduction: full model >= 0.9, random strictly between chance and full
const full = await ask(model, test);
const reducer = compose({ score: randomScore, layers: [0], hook: "beforeBlock" })({ keep: [16], layers: [0] });
const random = await ask(model, test, { reducer });
console.log({ full: full.accuracy, random: random.accuracy, seconds: result.seconds });

const firstLogits = tidy(() => {
  const { features, text } = questionTensors(gridQuestions({ images: 1, seed: testSeed }));
  return model.forward(features, text).logits.arraySync()[0];
});
const training: TinyVLMTraining = {
  seed,
  testSeed,
  testImages,
  steps: result.steps,
  seconds: Math.round(result.seconds),
  backend: `${backend}`,
  accuracy: full.accuracy,
  random16: random.accuracy,
  firstLogits,
  log: log.map((entry) => ({ ...entry, loss: result.history.loss[entry.step - 1] })),
};
await writeSafetensors(
  new URL("tiny-vlm/weights.safetensors", dataFolder),
  await arraysOf(flatten(model.parameters)),
);
await writeAtomically(
  new URL("tiny-vlm/training.json", dataFolder),
  new TextEncoder().encode(JSON.stringify(training, undefined, 1) + "\n"),
);
