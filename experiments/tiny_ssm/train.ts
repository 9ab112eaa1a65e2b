/**
 * Trains the TinySSM of data/tiny-ssm: `deno run -A experiments/tiny_ssm/train.ts`, a few minutes on one core. Writes
 * `weights.safetensors` and `training.json` there, and shows what it reached.
 *
 * @module
 */
import {
  dataFolder,
  type Registers,
  registers,
  type TinySSMTraining,
  writeAtomically,
  writeSafetensors,
} from "tessera/data/mod.ts";
import { crossEntropy, saveParameters } from "tessera/nn/mod.ts";
import { topVim, torSsm } from "tessera/reduction/mod.ts";
import { backend, tf, tidy } from "tessera/tensor/mod.ts";
import { adamW, cosineRate, fit, onlyMatrices, trainStep } from "tessera/train/mod.ts";
import { askRegisters, type Staying } from "./evaluate.ts";
import { TinySSM } from "./models/tiny_ssm.ts";

const seed = 0, testSeed = 5, testTexts = 500;
const batch = 32, stepsPerEpoch = 100, epochs = 6;

const model = TinySSM.initial(seed);

function tensors({ texts, tokens, answer, length, questions }: Registers): [tf.Tensor2D, tf.Tensor2D] {
  return [
    tf.tensor2d(tokens, [texts, length + questions], "int32"),
    tf.tensor2d(answer, [texts, questions], "int32"),
  ];
}

function loss(tokens: tf.Tensor2D, answer: tf.Tensor2D): tf.Tensor {
  const { logits } = model.forward(tokens);
  const questions = answer.shape[1];
  return crossEntropy(logits.slice([0, tokens.shape[1] - questions, 0]) as tf.Tensor3D, answer);
}

const optimizer = adamW({
  learningRate: cosineRate({ peak: 4e-3, updates: stepsPerEpoch * epochs, warmup: 50 }),
  decays: (name, variable) => onlyMatrices(name, variable) && !name.endsWith("logA"),
});
const step = trainStep(loss, optimizer, model.parameters, { clip: 1 });
const watched = registers({ texts: 200, seed: testSeed + 1 });
const log: Omit<TinySSMTraining["log"][number], "loss">[] = [];
const result = await fit({
  step,
  epochs,
  batch,
  seed,
  data: {
    count: stepsPerEpoch * batch, // of texts that are never the same: an epoch is a pause to ask
    batch: (examples, { step }) => tensors(registers({ texts: examples.length, seed: 1_000_000 + step })),
  },
  validate: (epoch) => {
    const accuracy = askRegisters(model, watched);
    console.log(`epoch ${epoch}: accuracy ${accuracy}`);
    log.push({ step: step.count, accuracy });
    return { accuracy };
  },
});

// the threshold for reading anything into a removal: all tokens >= 0.9, random strictly between chance and that
const test = registers({ texts: testTexts, seed: testSeed });
const accuracy = askRegisters(model, test);
const arms = (staying: Staying) => ({
  naive: askRegisters(model, test, { staying, keepRate: 0.5, gaps: "naive", seed }),
  aware: askRegisters(model, test, { staying, keepRate: 0.5, gaps: "aware", seed }),
});
const half = {
  random: arms("random"),
  needed: arms("needed"),
  positiveSum: arms(topVim({ keepRate: [0.5], layers: [1] })),
};
const merged = askRegisters(model, test, undefined, torSsm({ keepRate: [0.5], layers: [1] }));
console.log({ accuracy, half, merged, seconds: result.seconds, parameters: model.size });
const firstLogits = tidy(() => {
  const [tokens] = tensors(registers({ texts: 1, seed: testSeed }));
  return model.forward(tokens).logits.slice([0, test.length, 0], [1, 1, -1]).arraySync()[0][0];
});
const training: TinySSMTraining = {
  seed,
  testSeed,
  testTexts,
  steps: result.steps,
  seconds: Math.round(result.seconds),
  backend: `${backend}`,
  accuracy,
  half,
  torSsm: merged,
  firstLogits,
  log: log.map((entry) => ({ ...entry, loss: result.history.loss[entry.step - 1] })),
};
await writeSafetensors(new URL("tiny-ssm/weights.safetensors", dataFolder), await saveParameters(model.parameters));
await writeAtomically(
  new URL("tiny-ssm/training.json", dataFolder),
  new TextEncoder().encode(JSON.stringify(training, undefined, 1) + "\n"),
);
