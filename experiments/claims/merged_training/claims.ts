/**
 * C4-merged: claims about merging during training.
 *
 * @module
 */
import { bySeed, type Claim, type Row } from "../../../lib/experiment/mod.ts";
import { mean } from "../../../lib/stats.ts";

/** The rate at which spread is judged; a rate works where a training ends with at least this share right. */
export const RATE = 0.004, WORKS = 0.85;

const accuracy = (rows: readonly Row[], reduction: string, rate = RATE) =>
  bySeed(rows, { reduction, rate }, "accuracy");

/** How far each training ends from the mean of its kind. */
export function deviations(rows: readonly Row[], reduction: string): number[] {
  const values = accuracy(rows, reduction), middle = mean(values);
  return values.map((value) => Math.abs(value - middle));
}

/** The largest learning rate at which a training of each seed works; 0 where none does. */
export function tolerated(rows: readonly Row[], reduction: string): number[] {
  const rates = [...new Set(rows.map(({ rate }) => Number(rate)))].sort((a, b) => a - b);
  const ends = rates.map((rate) => accuracy(rows, reduction, rate));
  return ends[0].map((_, seed) => rates.findLast((_, r) => ends[r][seed] >= WORKS) ?? 0);
}

const controls = ["none", "dropped at random"];
const shared = {
  data:
    "2,000 digits, 1,500 to learn from and 500 to judge; a Vision Transformer of three blocks and 32 channels, 49 patches of " +
    "which each block removes ten; 900 steps of 64 digits, AdamW, each judged as it was trained",
  controls:
    "all tokens; as many dropped at random. Pooling is missing, to save time. Equal steps, so that reduced trainings are cheaper",
  notebook: "43_which_tokens_teach",
  publishedFor: [
    {
      says: "reduction during training steadies it",
      source: "Kong et al. 2025, arXiv:2505.18227, section 4.4",
    },
    {
      says: "ToMe in training is as accurate at half of the time",
      source: "Bolya et al., ICLR 2023, arXiv:2210.09461, section 4",
    },
  ],
  publishedAgainst: [] as { says: string; source: string }[],
} as const;

/** The cards of this experiment. */
export const claims: readonly Claim[] = [
  {
    ...shared,
    id: "C4-merged",
    claim: "Trained with merged tokens, trainings end nearer to each other",
    mechanism: "merging averages the noise of single tokens out of the gradient",
    expected: "no difference that five seeds can show",
    change: "many more seeds: a spread needs more of them than a mean does",
    evidence: (rows) => ({
      treatment: deviations(rows, "merged"),
      against: Object.fromEntries(controls.map((name) => [name, deviations(rows, name)])),
      expect: "lower",
      whole: accuracy(rows, "none"),
    }),
  },
  {
    ...shared,
    id: "C4-merged-rate",
    claim: "Trained with merged tokens, larger learning rates work",
    mechanism: "as above",
    expected: "no difference",
    change: "rates nearer to each other",
    evidence: (rows) => ({
      treatment: tolerated(rows, "merged"),
      against: Object.fromEntries(controls.map((name) => [name, tolerated(rows, name)])),
      expect: "higher",
      whole: accuracy(rows, "none"),
    }),
  },
];
