/**
 * Nested pooling: does a model that is trained with 64, 16 and 4 image tokens know as much, and do its image tokens agree better
 * with words, than one that is trained with 64 at the same cost?
 *
 * A seed is a training, first weights and images, and images to ask about. Both trainings cost the same multiply-accumulates,
 * so that the nested one takes fewer steps.
 *
 * Kong et al., "Token Reduction Should Go Beyond Efficiency in Generative Models", 2025, arXiv:2505.18227, section 4.1.
 *
 * @module
 */
import { defineExperiment } from "../../../lib/experiment/mod.ts";
import { flatten, tf } from "../../../lib/tensor/mod.ts";
import { known, macsOf, newModel, SCALES, stepsOf, train } from "./model.ts";

export default defineExperiment({
  name: "nested",
  version: 1,
  question: "Does training with fewer image tokens beside all of them cost answers, and does it align image and words?",
  grid: { training: ["whole", "nested"] },
  seeds: [0, 1, 2, 3, 4],
  fast: { seeds: [0, 1, 2] },
  rowSeconds: 45,
  async row({ training }, { seed, fast, signal }) {
    const steps = fast ? 150 : 900;
    const model = newModel(seed);
    await train(model, { training, seed, steps, signal });
    const lines = SCALES.map((tokens) => {
      const { colour, half, alignment } = known(model, tokens, { images: fast ? 100 : 400, seed: 500 + seed });
      const rounded = (value: number) => Number(value.toFixed(4));
      return {
        tokens,
        colour: rounded(colour),
        half: rounded(half),
        answers: rounded((colour + half) / 2),
        alignment1: rounded(alignment[0]),
        alignment2: rounded(alignment[1]),
        steps: stepsOf(training, steps),
        macs: macsOf(tokens),
      };
    });
    tf.dispose([...flatten(model.parameters).values()]);
    return lines;
  },
});
