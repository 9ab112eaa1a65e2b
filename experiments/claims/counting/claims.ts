/**
 * D1-b: claims about merging, sizes and counts.
 *
 * @module
 */
import { bySeed, type Claim, type Row } from "../../../lib/experiment/mod.ts";

const LEFT = 16;
const error = (rows: readonly Row[], arm: string, tokens = LEFT) => bySeed(rows, { arm, tokens }, "count MAE");
const against = (rows: readonly Row[], names: readonly string[]) =>
  Object.fromEntries(names.map((name) => [name, error(rows, name)]));
const sane = (rows: readonly Row[]) => ({
  // a count within one of the truth is right; guessing the middle of 0 to 15 is within one for at most three in sixteen
  whole: bySeed(rows, { arm: "none", tokens: 64 }, "count within 1"),
  random: bySeed(rows, { arm: "random", tokens: LEFT }, "count within 1"),
  chance: 3 / 16,
});

const common = {
  data: "8 x 8 cells of four colours (1.5 in the channel of the colour, noise 0.2); how many are red, up to 15. A " +
    "transformer of 2 blocks and 32 channels, trained for each seed with all 64 tokens and read with fewer, without " +
    "training again",
  notebook: "46_merging_counts",
} as const;
const forMerging = [
  {
    says: "reduction should build new tokens rather than drop some",
    source: "Kong et al. 2025, arXiv:2505.18227, section 5.1",
  },
  { says: "merging loses less than pruning without training", source: "Bolya et al., ICLR 2023, arXiv:2210.09461" },
];

/** The cards of this experiment. */
export const claims: readonly Claim[] = [
  {
    id: "D1-b1",
    claim: "With a quarter of the tokens left, merging with sizes (ToMe) counts red cells with a smaller error than " +
      "pruning, chance pruning, pooling, and one package token for the rest",
    mechanism: "merging keeps the mass of every colour, and joins like with like",
    publishedFor: forMerging,
    publishedAgainst: [{
      says: "Top-K pruning is a strong baseline on image classification",
      source: "Haurum et al., ICCV Workshops 2023, arXiv:2308.04657",
    }],
    ...common,
    controls: "none (the whole model), top-k by attention, random, pooling of neighbours, package token",
    expected: "lower",
    change: "removed tokens that are noise only: there pruning should win",
    evidence: (rows) => ({
      treatment: error(rows, "tome"),
      against: against(rows, ["top-k", "random", "pool", "package token"]),
      expect: "lower",
      ...sane(rows),
    }),
  },
  {
    id: "D1-b2",
    claim: "It is the sizes: the same merging without sizes, or without log size in attention, counts worse",
    mechanism: "a plain mean of merged tokens counts a large token once; attention without log size sees it once",
    publishedFor: [{
      says: "proportional attention matters for models trained without merging",
      source: "Bolya et al., ICLR 2023, arXiv:2210.09461, section 3",
    }],
    publishedAgainst: [{
      says: "models that are trained with merging do without sizes",
      source: "Bolya et al., ICLR 2023, arXiv:2210.09461, appendix",
    }],
    ...common,
    controls: "the same map without sizes anywhere, and with sizes in the mean only; random",
    expected: "lower",
    change: "training again with merged tokens",
    evidence: (rows) => ({
      treatment: error(rows, "tome"),
      against: against(rows, ["tome, no sizes", "tome, no log s"]),
      expect: "lower",
      ...sane(rows),
    }),
  },
];
