/**
 * Does a shorter chain of thought think better? Small models write sums in nine styles; greedily and at temperatures.
 *
 * Kong et al., "Token Reduction Should Go Beyond Efficiency in Generative Models", 2025, arXiv:2505.18227, section 4.3;
 * the dropping is that of Xia et al., "TokenSkip", EMNLP 2025, arXiv:2502.12067.
 *
 * @module
 */
import { defineExperiment } from "tessera/experiment/mod.ts";
import { random } from "tessera/random.ts";
import {
  DIGITS,
  errorPerToken,
  highest,
  meanImportance,
  type Places,
  somePlaces,
  STYLES,
  train,
  VERBOSE,
  write,
} from "./model.ts";

/** What the first model learns: all but the styles that need an importance. */
const BASE = STYLES.filter((style) => !style.startsWith("important") && style !== "random places");

/** What is judged. */
const JUDGED = STYLES.filter((style) => style !== "gaps");

export default defineExperiment({
  name: "overthinking",
  version: 1,
  question: "Does a shorter chain of thought think better, and is it the length or what is left?",
  grid: { digits: [DIGITS] },
  seeds: [0, 1, 2, 3, 4],
  fast: { seeds: [0, 1, 2] },
  rowSeconds: 60,
  columns: {
    style: "text",
    temperature: "number",
    accuracy: "number",
    tokens: "number",
    error_per_token: "number",
    sums_kept: "number",
  },
  async row(_, { seed, signal, fast }) {
    const [before, after] = fast ? [500, 300] : [800, 600]; // updates of the first model, and of the second, which goes on
    const reference = await train({ seed, styles: BASE, updates: before, signal });
    const importance = meanImportance(reference.model, { seed, chains: 60 });
    const places: Places = {
      "random places": somePlaces(VERBOSE / 4, random(seed, "places")),
      "important quarter": highest(importance.following, VERBOSE / 4),
      "important to the answer": highest(importance.answer, VERBOSE / 4),
    };
    const { model } = await train({
      seed: seed + 1000,
      styles: STYLES,
      places,
      updates: after,
      signal,
      from: reference.model,
    });
    const rows = [];
    for (const temperature of [0, 0.7, 1, 1.5]) {
      const written = await write(model, { styles: JUDGED, questions: fast ? 50 : 300, temperature, seed });
      for (const { style, accuracy, tokens } of written) {
        rows.push({
          style,
          temperature,
          accuracy,
          tokens,
          error_per_token: errorPerToken(accuracy, tokens),
          sums_kept: sumsKept(style, places),
        });
      }
    }
    return rows;
  },
});

/** How many of the running sums stand in a chain, on average. */
function sumsKept(style: typeof STYLES[number], places: Places): number {
  const each = VERBOSE / DIGITS;
  switch (style) {
    case "no chain":
      return 0;
    case "every second sum":
      return Math.floor(DIGITS / 2);
    case "random quarter":
      return DIGITS / 4;
    default:
      return places[style]?.filter((place) => place % each === 0).length ?? DIGITS;
  }
}
