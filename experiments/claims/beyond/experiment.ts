/**
 * Token reduction beyond images and language: clinical codes, time series, strings of bases, clouds of points. In each
 * domain one small model is trained per arm and seed, and says what its tokens were good for.
 *
 * Kong et al., "Token Reduction Should Go Beyond Efficiency in Generative Models", 2025, arXiv:2505.18227, section 5.9.
 *
 * @module
 */
import { defineExperiment } from "../../../lib/experiment/mod.ts";
import { codeRows } from "./codes.ts";
import { pointRows } from "./points.ts";
import { seriesRows } from "./series.ts";
import { stringRows } from "./strings.ts";

const domains = { codes: codeRows, series: seriesRows, strings: stringRows, points: pointRows };

export default defineExperiment({
  name: "beyond",
  version: 1,
  question:
    "Which reduction keeps what the label depends on: in clinical codes, time series, strings of bases and clouds of points?",
  grid: { domain: ["codes", "series", "strings", "points"] },
  seeds: [0, 1, 2, 3, 4],
  fast: { seeds: [0, 1, 2] },
  rowSeconds: 25,
  row: ({ domain }, { seed, fast, signal }) => domains[domain](seed, fast, signal),
});
