/**
 * Length by reward: does a model that is paid for right answers, or for right and short ones, drop the fillers of its chains of
 * thought by itself?
 *
 * A seed is a training. The price of length was fixed before the run; half of the texts of the training say no style, so
 * that there is something to choose from. What the model writes before any reward is a line of its own.
 *
 * Kong et al., "Token Reduction Should Go Beyond Efficiency in Generative Models", 2025, arXiv:2505.18227, section 4.2.
 *
 * @module
 */
import { defineExperiment, type Row } from "tessera/experiment/mod.ts";
import { random } from "tessera/random.ts";
import { question } from "../overthinking/model.ts";
import { rewarded, summary, taught, write, WRITTEN } from "./model.ts";

/** What the longest text would cost, beside a right answer's 1. */
export const PRICE = 0.3;

export default defineExperiment({
  name: "reward",
  version: 1,
  question: "Does a model that is paid for right answers, or for right and short ones, drop fillers by itself?",
  grid: { paid: ["right", "right and short"] },
  seeds: [0, 1, 2, 3, 4],
  fast: { seeds: [0, 1, 2] },
  rowSeconds: 45,
  async row({ paid }, { seed, fast, signal }) {
    const model = taught({ seed, updates: fast ? 400 : 2400, signal });
    const draw = random(seed, "test questions");
    const digits = Array.from({ length: fast ? 60 : 400 }, () => question(draw));
    const lines: Row[] = [];
    const look = async (arm: string, style: typeof WRITTEN[number] | "unmarked") => {
      for (const temperature of [0, 1]) {
        const seen = summary(await write(model, digits, { style, temperature, seed: seed + 1 }));
        const rounded = Object.fromEntries(
          Object.entries(seen).map(([name, value]) => [name, Number(value.toFixed(4))]),
        );
        lines.push({ arm, temperature, ...rounded });
      }
    };
    for (const style of WRITTEN) await look(`told to be ${style}`, style);
    await look("before", "unmarked");
    const price = paid === "right" ? 0 : PRICE, updates = fast ? 20 : 100;
    await rewarded(model, { seed, updates, price, signal });
    await look("after", "unmarked");
    model.dispose();
    return lines;
  },
});
