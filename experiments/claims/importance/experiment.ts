/**
 * Importance: does a learned score find the tokens that an answer needs better than hand-made ones?
 *
 * A seed is a training of the model (as the whole one of `experiments/claims/nested`), 192 questions to learn the score from and 64 to
 * judge it by. The true importance of a token is what leaving it out takes from the logarithm of the right answer's probability.
 *
 * Kong et al., "Token Reduction Should Go Beyond Efficiency in Generative Models", 2025, arXiv:2505.18227, section 5.1, asks for
 * better measures of importance.
 *
 * @module
 */
import { defineExperiment } from "../../../lib/experiment/mod.ts";
import { random } from "../../../lib/random.ts";
import { mean, spearman } from "../../../lib/stats.ts";
import { flatten, tf } from "../../../lib/tensor/mod.ts";
import { newModel, train } from "../nested/model.ts";
import { accuracyWith, CELLS, evidence, handMade, questionsOf, trainPredictor, trueImportance } from "./model.ts";

const LEARN = 192, JUDGE = 64;
/** Tokens that are kept. */
export const KEEPS = [32, 16, 8] as const;

export default defineExperiment({
  name: "importance",
  version: 1,
  question: "Does a learned score find the tokens that an answer needs better than attention and other hand-made ones?",
  grid: { question: ["colour"] },
  seeds: [0, 1, 2, 3, 4],
  fast: { seeds: [0, 1, 2] },
  rowSeconds: 60,
  async row(_, { seed, fast, signal }) {
    const model = newModel(seed);
    await train(model, { training: "whole", seed, steps: fast ? 150 : 600, signal });
    const [learn, judge] = [questionsOf(fast ? 64 : LEARN, 700 + seed), questionsOf(fast ? 32 : JUDGE, 800 + seed)];
    const [worth, truth] = [learn, judge].map((questions) => trueImportance(model, questions));
    const [known, asked] = [learn, judge].map((questions) => evidence(model, questions));
    const draw = random(seed, "shuffled targets");
    const shuffled = worth.map((row) => [...draw.permutation(CELLS)].map((place) => row[place]));
    const steps = fast ? 150 : 500;
    const scores: Record<string, number[][]> = { ...handMade(model, judge, seed) };
    for (const [name, targets] of Object.entries({ learned: worth, "learned from shuffled": shuffled })) {
      const predictor = await trainPredictor(known, targets, { seed, steps, signal });
      scores[name] = predictor.predict(asked);
      predictor.dispose();
    }
    scores["left out, truly"] = truth;
    const whole = accuracyWith(model, judge, scores.random, CELLS);
    const rounded = (value: number) => Number(value.toFixed(4));
    const lines = Object.entries(scores).map(([score, values]) => ({
      score,
      correlation: rounded(mean(values.map((row, i) => spearman(row, truth[i])))),
      objectFound: rounded(mean(values.map((row, i) => {
        const best = row.map((_, at) => at).sort((a, b) => row[b] - row[a]).slice(0, 16);
        return best.filter((at) => judge.object[i][at]).length / 4;
      }))),
      ...Object.fromEntries(KEEPS.map((keep) => [`right${keep}`, rounded(accuracyWith(model, judge, values, keep))])),
      whole: rounded(whole),
    }));
    for (const { features, text } of [learn, judge]) tf.dispose([features, text]);
    tf.dispose([known, asked, ...flatten(model.parameters).values()]);
    return lines;
  },
});
