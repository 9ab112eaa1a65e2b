/**
 * Trains the TinyLM of data/tiny-lm: `deno run -A experiments/tiny_lm/train.ts`, a minute or two on one core. Writes
 * `weights.safetensors` and `training.json` there, and shows what it reached. How it is trained: `training.ts`.
 *
 * @module
 */
import { dataFolder, hiddenFacts, type TinyLMTraining, writeAtomically, writeSafetensors } from "tessera/data/mod.ts";
import { llamaNames, saveParameters } from "tessera/nn/mod.ts";
import { backend, tf, tidy } from "tessera/tensor/mod.ts";
import { askFacts } from "./evaluate.ts";
import { finderConfig as config, trainFinder } from "./training.ts";

const seed = 0, testSeed = 9, testTexts = 500;

const { model, result, log } = await trainFinder({ seed, show: true });

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
  log,
};
await writeSafetensors(
  new URL("tiny-lm/weights.safetensors", dataFolder),
  await saveParameters(model.weights, llamaNames),
);
await writeAtomically(
  new URL("tiny-lm/training.json", dataFolder),
  new TextEncoder().encode(JSON.stringify(training, undefined, 1) + "\n"),
);
