/**
 * Gist tokens: do a few learned vectors hold a context better than as many of its own tokens, or averages of it?
 *
 * A seed is a training, first weights and contexts, and contexts to ask about. One model learns all modes together, so that
 * no mode has more training than another.
 *
 * Kong et al., "Token Reduction Should Go Beyond Efficiency in Generative Models", 2025, arXiv:2505.18227, section 5.2; Mu et
 * al., "Learning to Compress Prompts with Gist Tokens", NeurIPS 2023, arXiv:2304.08467.
 *
 * @module
 */
import { defineExperiment } from "../../../lib/experiment/mod.ts";
import { flatten, tf } from "../../../lib/tensor/mod.ts";
import { accuracy, type Asking, gistsOf, type Mode, modes, train } from "./model.ts";

const askings: readonly Asking[] = [...Object.keys(modes) as Mode[], "blind gist 4", "blind gist 2", "blind gist 1"];

export default defineExperiment({
  name: "gist",
  version: 1,
  question: "Do a few learned vectors hold a context better than as many of its own tokens?",
  grid: { pairs: [6] },
  seeds: [0, 1, 2, 3, 4],
  fast: { seeds: [0, 1, 2] },
  rowSeconds: 150,
  row(_, { seed, fast, signal }) {
    const solver = train({ seed, steps: fast ? 60 : 800, signal });
    const lines = askings.map((asking) => ({
      asking,
      vectors: asking in modes ? modes[asking as Mode].vectors : gistsOf(asking),
      accuracy: Number(accuracy(solver, asking, { tasks: fast ? 100 : 500, seed: 900 + seed }).toFixed(4)),
    }));
    solver.model.dispose();
    tf.dispose([...flatten(solver.before).values()]);
    return lines;
  },
});
