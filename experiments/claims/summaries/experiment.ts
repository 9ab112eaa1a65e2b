/**
 * Summary tokens: how many hold what a later segment needs?
 *
 * A seed is a training, first weights and texts, and texts to ask about. One model per number of variables learns all numbers of
 * summary tokens together.
 *
 * Chevalier et al., "Adapting Language Models to Compress Contexts", EMNLP 2023, arXiv:2305.14788; Kong et al., "Token
 * Reduction Should Go Beyond Efficiency in Generative Models", 2025, arXiv:2505.18227, section 4.3.
 *
 * @module
 */
import { defineExperiment } from "tessera/experiment/mod.ts";
import { flatten, tf } from "tessera/tensor/mod.ts";
import { type Asking, known, train, TRAINED } from "./model.ts";

/** How questions are asked, by name. */
export const askings: Readonly<Record<string, Asking>> = {
  "everything in sight": { summaries: 0 },
  ...Object.fromEntries(TRAINED.slice(1).map((summaries) => [`${summaries} summary tokens`, { summaries }])),
  "4 that saw nothing": { summaries: 4, blind: true },
  "first segment cut": { summaries: 0, cut: true },
};

export default defineExperiment({
  name: "summaries",
  version: 1,
  question: "Do as many summary tokens as there are variables hold what a later segment needs?",
  grid: { variables: [2, 4] },
  seeds: [0, 1, 2, 3, 4],
  fast: { seeds: [0, 1, 2] },
  rowSeconds: 60,
  row({ variables }, { seed, fast, signal }) {
    const reader = train({ seed, variables, steps: fast ? 40 : 600, signal });
    const lines = Object.entries(askings).map(([asking, options]) => {
      const { accuracy, loss } = known(reader, variables, options, { texts: fast ? 100 : 500, seed: 700 + seed });
      return {
        asking,
        summaries: options.summaries,
        accuracy: Number(accuracy.toFixed(4)),
        loss: Number(loss.toFixed(4)),
      };
    });
    reader.model.dispose();
    tf.dispose([...flatten(reader.before).values()]);
    return lines;
  },
});
