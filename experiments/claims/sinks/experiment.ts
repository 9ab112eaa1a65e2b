/**
 * Sinks: does a decoder that was trained on short texts stay coherent in long ones if it keeps the first tokens and a window,
 * and where does the attention on the first token come from?
 *
 * A seed is a training (first weights and texts) and texts to read. Texts are Shakespeare's characters, 64 in training, 1,024
 * to be read; in one training each text begins with a token of its own, in the other it begins wherever it was cut.
 *
 * Xiao et al., "Efficient Streaming Language Models with Attention Sinks", ICLR 2024, arXiv:2309.17453; Kong et al., "Token
 * Reduction Should Go Beyond Efficiency in Generative Models", 2025, arXiv:2505.18227, section 4.3.
 *
 * @module
 */
import { defineExperiment } from "../../../lib/experiment/mod.ts";
import { mean } from "../../../lib/stats.ts";
import { characters, LONG, lossByPlace, massOnFirst, policies, textsOf, train, TRAINED } from "./model.ts";

/** Ends of the bins that losses are averaged in: of 16 tokens to twice the trained length, then of 64. */
export const BINS: readonly number[] = [
  ...Array.from({ length: 8 }, (_, i) => 16 * (i + 1)),
  ...Array.from({ length: 14 }, (_, i) => 128 + 64 * (i + 1)),
];

export default defineExperiment({
  name: "sinks",
  version: 1,
  question: "Do four sinks and a window stay coherent far beyond the trained length, where a window alone falls apart?",
  grid: { texts: ["begin token", "cut anywhere"] },
  seeds: [0, 1, 2, 3, 4],
  fast: { seeds: [0, 1, 2] },
  data: [new URL("../../../data/tinyshakespeare/", import.meta.url)],
  rowSeconds: 40,
  async row({ texts: beginning }, { seed, fast, signal }) {
    const chars = await characters();
    const model = await train(chars, { seed, beginning, steps: fast ? 200 : 800, signal });
    const of = (count: number, length: number, name: string) =>
      textsOf(chars.test, count, length, { beginning, begin: chars.begin, seed: `${name} ${seed}` });
    const { heads, even } = massOnFirst(model, of(64, TRAINED, "short"));
    const long = of(fast ? 4 : 16, LONG, "long");
    const rounded = (value: number) => Number(value.toFixed(4));
    const lines = [];
    for (const [policy, cache] of Object.entries(policies)) {
      const losses = await lossByPlace(model, long, cache);
      const over = (from: number, to: number) => rounded(mean(losses.slice(Math.max(0, from - 1), to - 1)));
      lines.push({
        policy,
        near: over(48, TRAINED),
        far: over(LONG / 2, LONG),
        massOnFirst: rounded(mean(heads)),
        strongestHead: rounded(Math.max(...heads)),
        evenShare: rounded(even),
        ...Object.fromEntries(BINS.map((to, i) => [`to ${to}`, over(BINS[i - 1] ?? 0, to)])),
      });
    }
    model.dispose();
    return lines;
  },
});
