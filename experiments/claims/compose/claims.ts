/**
 * D1-e: claims about a shorter prompt and a smaller cache together.
 *
 * @module
 */
import { bySeed, type Claim, type Row } from "tessera/experiment/mod.ts";

const of = (rows: readonly Row[], promptKept: number, cacheKept: number, column: string, choice = "by score") =>
  bySeed(rows, { choice, promptKept, cacheKept }, column);

/** What the losses of both add up to, in log odds. */
export function added(rows: readonly Row[], promptKept: number, cacheKept: number, choice = "by score"): number[] {
  const [whole, prompt, cache] = [[1, 1], [promptKept, 1], [1, cacheKept]].map(([p, c]) =>
    of(rows, p, c, "logOdds", choice)
  );
  return whole.map((one, i) => prompt[i] + cache[i] - one);
}

const toy = (rows: readonly Row[]) => ({
  whole: of(rows, 1, 1, "recall"),
  random: of(rows, 0.5, 1, "recall", "at random"),
  chance: of(rows, 1, 1, "chance").reduce((sum, one, _, all) => sum + one / all.length, 0),
});

const common = {
  data:
    "Ten facts in each of 60 texts of 96 tokens; a decoder of two layers and 64 channels, trained for each seed; the question " +
    "is not known when tokens and slots go. The prompt keeps the tokens of highest self-information, the cache the slots that KeyDiff " +
    "keeps",
  notebook: "14_forget_the_cache",
  publishedFor: [{
    says: "reductions of input, prefill and cache are to be designed end to end",
    source: "Kong et al. 2025, arXiv:2505.18227, section 5.1",
  }],
  publishedAgainst: [] as { says: string; source: string }[],
} as const;

/** The cards of this experiment. */
export const claims: readonly Claim[] = [
  {
    ...common,
    id: "D1-e",
    claim:
      "Half of the prompt and then half of its slots recall more than a quarter of the prompt, and than a quarter of the slots",
    mechanism: "each reduction is mild by itself, and what the one cannot see the other can",
    controls: "the same number of slots by either alone; both at random stand in the table",
    expected: "higher",
    change: "a prompt score that is wrong about what will be asked",
    evidence: (rows) => ({
      treatment: of(rows, 0.5, 0.5, "recall"),
      against: {
        "a quarter of the prompt": of(rows, 0.25, 1, "recall"),
        "a quarter of the slots": of(rows, 1, 0.25, "recall"),
      },
      expect: "higher",
      ...toy(rows),
    }),
  },
  {
    ...common,
    id: "D1-e-more",
    claim:
      "Together they lose more than the sum of their losses: at half and half the log odds of recall are below those added up",
    mechanism: "what the prompt's reduction leaves is denser in facts, so that each dropped slot costs more",
    controls: "the sum of the losses of each alone, in log odds",
    expected: "lower",
    change: "shares at which neither loses anything by itself",
    evidence: (rows) => ({
      treatment: of(rows, 0.5, 0.5, "logOdds"),
      against: { "the losses added up": added(rows, 0.5, 0.5) },
      expect: "lower",
      ...toy(rows),
    }),
  },
];
