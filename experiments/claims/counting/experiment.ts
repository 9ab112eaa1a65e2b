/**
 * Constructive compression: does merging keep a count that pruning loses? One model per seed is trained with all 64 tokens
 * and read with fewer.
 *
 * Kong et al., "Token Reduction Should Go Beyond Efficiency in Generative Models", 2025, arXiv:2505.18227, section 5.1.
 *
 * @module
 */
import { defineExperiment } from "../../../lib/experiment/mod.ts";
import { crossEntropy } from "../../../lib/nn/mod.ts";
import { random } from "../../../lib/random.ts";
import { flatten, tf } from "../../../lib/tensor/mod.ts";
import { adamW, cosineRate, examples, fit, trainStep } from "../../../lib/train/mod.ts";
import { arms, CELLS, COLOURS, counter, forward, grids, MOST } from "./model.ts";

/** Tokens that are left after each of the two blocks. */
export const budgets: Readonly<Record<number, readonly number[]>> = { 48: [56, 48], 32: [48, 32], 16: [32, 16] };

export default defineExperiment({
  name: "counting",
  version: 1,
  question: "Does merging keep a count that pruning loses, and is it the sizes that keep it?",
  grid: { trained: ["all tokens"] },
  seeds: [0, 1, 2, 3, 4],
  fast: { seeds: [0, 1, 2] },
  rowSeconds: 20,
  async row(_, { seed, fast, signal }) {
    const [train, test] = [grids(fast ? 1024 : 2048, random(seed, "train")), grids(512, random(seed, "test"))];
    const model = counter(seed);
    const batch = 32, epochs = 8, updates = epochs * Math.ceil(train.count / batch);
    const data = examples(
      tf.tensor3d(train.x, [train.count, CELLS, COLOURS]),
      tf.tensor1d(train.majority, "int32"),
      tf.tensor1d(Float32Array.from(train.red)),
    );
    const step = trainStep(
      (x: tf.Tensor3D, majority: tf.Tensor1D, red: tf.Tensor1D) => {
        const said = forward(model, x);
        const miss = said.red.sub(red).div(MOST);
        return crossEntropy(said.majority, majority).add(miss.square().mean().mul(10));
      },
      adamW({ learningRate: cosineRate({ peak: 2e-3, updates, warmup: Math.min(100, Math.floor(updates / 4)) }) }),
      model,
      { clip: 1 },
    );
    await fit({ step, data, epochs, batch, seed, show: false, signal });
    step.dispose();
    const x = tf.tensor3d(test.x, [test.count, CELLS, COLOURS]);
    const isRed = tf.tensor2d(Float32Array.from(test.colours, (colour) => Number(colour === 0)), [test.count, CELLS]);
    const rows = [];
    for (const [name, arm] of Object.entries(arms)) {
      for (const [tokens, steps] of name === "none" ? [["64", []] as const] : Object.entries(budgets)) {
        const { majority, red, mass } = tf.tidy(() => {
          const said = forward(model, x, arm, steps, isRed);
          return {
            majority: said.majority.argMax(1).dataSync(),
            red: said.red.dataSync(),
            mass: said.redMass.map((one) => one.mean().dataSync()[0]),
          };
        });
        const right = test.majority.filter((label, i) => label === majority[i]).length / test.count;
        const far = test.red.reduce((sum, label, i) => sum + Math.abs(label - red[i]), 0) / test.count;
        const near = test.red.filter((label, i) => Math.abs(label - red[i]) <= 1).length / test.count;
        rows.push({
          arm: name,
          tokens: Number(tokens),
          "majority accuracy": right,
          "count MAE": far,
          "count within 1": near,
          "red mass 0": mass[0],
          "red mass 1": mass[1],
          "red mass 2": mass[2],
        });
      }
    }
    tf.dispose([x, isRed]);
    for (const variable of flatten(model).values()) variable.dispose();
    return rows;
  },
});
