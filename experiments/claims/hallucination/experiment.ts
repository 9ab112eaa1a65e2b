/**
 * Does a model that sees fewer cells say less often that something is there which is not?
 *
 * Kong et al., "Token Reduction Should Go Beyond Efficiency in Generative Models", 2025, arXiv:2505.18227, section 4.3.
 *
 * @module
 */
import { defineExperiment } from "tessera/experiment/mod.ts";
import { random } from "tessera/random.ts";
import { answers, ARMS, drawImage, falsePositives, negativeOf, SHAPES, train } from "./model.ts";

export default defineExperiment({
  name: "hallucination",
  version: 1,
  question: "At as many answers of yes, does taking cells from sight lead to fewer shapes that are not there?",
  grid: { prior: [0.9] },
  seeds: [0, 1, 2, 3, 4],
  fast: { seeds: [0, 1, 2] },
  rowSeconds: 40,
  columns: {
    arm: "text",
    accuracy: "number",
    false_positives: "number",
    of_partners: "number",
    of_popular: "number",
    of_random: "number",
    missed: "number",
    yes_rate: "number",
  },
  async row(_, { seed, signal, fast }) {
    const model = await train({ seed, updates: fast ? 250 : 700, signal });
    const draw = random(seed, "test"); // in the test, partners go together no more often than not
    const images = Array.from({ length: fast ? 60 : 250 }, () => drawImage(draw, 0.5));
    const asked = images.flatMap((image) => Array.from({ length: SHAPES }, (_, shape) => ({ image, shape })));
    const negatives = asked.map(({ image, shape }) => negativeOf(image, shape));
    return ARMS.map((arm) => {
      const logits = answers(model, asked.map(({ image }) => image), asked.map(({ shape }) => shape), arm, seed);
      const { accuracy, matched, yesRate, missed } = falsePositives(logits, negatives);
      return {
        arm,
        accuracy,
        false_positives: (matched.random + matched.popular + matched.adversarial) / 3,
        of_partners: matched.adversarial,
        of_popular: matched.popular,
        of_random: matched.random,
        missed,
        yes_rate: yesRate,
      };
    });
  },
});
