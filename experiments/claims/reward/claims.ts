/**
 * C2-reward: claims about chains of thought that are shortened by reward.
 *
 * @module
 */
import { bySeed, type Claim, type Row } from "tessera/experiment/mod.ts";
import { MODULUS } from "../overthinking/model.ts";
import { PRICE } from "./experiment.ts";

const of = (rows: readonly Row[], paid: string, arm: string, column: string) =>
  bySeed(rows, { paid, arm, temperature: 1 }, column);
const SHORT = "right and short";
const whole = (rows: readonly Row[]) => ({ whole: of(rows, SHORT, "told to be terse", "accuracy") });

const common = {
  data:
    "Sums of four digits modulo five, written by a Llama of two blocks that has learnt terse, verbose, redundant and empty chains, " +
    `half of them without being told which; then 100 updates of REINFORCE, 16 questions with eight samples each, at a price of ${PRICE} ` +
    "for the longest text, or at none. Temperature 1",
  notebook: "41_does_shorter_think_better",
  publishedFor: [
    {
      says: "chains half as long at nearly the same accuracy, by reinforcement with a limit of length",
      source: "Hou et al., ThinkPrune, 2025, arXiv:2504.01296",
    },
    {
      says: "over 10 % more accuracy, relatively, with 33 to 67 % fewer tokens",
      source: "Xiao et al., FAST, 2025, arXiv:2504.18458",
    },
  ],
  publishedAgainst: [{
    says: "reinforcement for right answers alone lengthens the chains of large models",
    source: "DeepSeek-AI, DeepSeek-R1, 2025, arXiv:2501.12948",
  }],
} as const;
const controls =
  "what the same model wrote before; rewarded for right answers alone; told to be terse, verbose or to write no chain; a model of " +
  `fewer blocks at the same cost was not run. Guessing is right once in ${MODULUS}`;

/** The cards of this experiment. */
export const claims: readonly Claim[] = [
  {
    ...common,
    controls,
    id: "C2-reward",
    claim:
      "Rewarded for right and short chains, the model answers more than before, and more than when it is told to be verbose",
    mechanism: "it is drawn towards the way of writing that is right most often, among those that it has",
    expected: "higher",
    change: "a model that writes one way alone: there is nothing to be drawn towards",
    evidence: (rows) => ({
      treatment: of(rows, SHORT, "after", "accuracy"),
      against: {
        "before": of(rows, SHORT, "before", "accuracy"),
        "told to be verbose": of(rows, SHORT, "told to be verbose", "accuracy"),
      },
      expect: "higher",
      ...whole(rows),
    }),
  },
  {
    ...common,
    controls,
    id: "C2-reward-fillers",
    claim: "It drops fillers: its chains hold fewer than before",
    mechanism: "each filler costs, and can go wrong",
    expected: "lower",
    change: "fillers that help",
    evidence: (rows) => ({
      treatment: of(rows, SHORT, "after", "fillers"),
      against: { before: of(rows, SHORT, "before", "fillers") },
      expect: "lower",
      ...whole(rows),
    }),
  },
  {
    ...common,
    controls,
    id: "C2-reward-price",
    claim: "It takes the price of length: rewarded for right answers alone, chains stay longer",
    mechanism: "what is not paid for is not dropped",
    expected: "lower than with right answers alone; a trial with less training dropped fillers without any price",
    change: "styles that are equally often right: then only a price can tell them apart",
    evidence: (rows) => ({
      treatment: of(rows, SHORT, "after", "tokens"),
      against: { "rewarded for right answers alone": of(rows, "right", "after", "tokens") },
      expect: "lower",
      ...whole(rows),
    }),
  },
];
