/**
 * D1-a: claims about a learned score of importance.
 *
 * @module
 */
import { bySeed, type Claim, type Row } from "../../../lib/experiment/mod.ts";

const of = (rows: readonly Row[], score: string, column: string) => bySeed(rows, { score }, column);
const sane = (rows: readonly Row[]) => ({
  whole: of(rows, "random", "whole"),
  random: of(rows, "random", "right16"),
  chance: 1 / 4,
});

const common = {
  data:
    "Grids of 8 x 8 cells with four objects, one question for a colour each; a decoder of two blocks, trained for each seed, then " +
    "frozen. Importance: what leaving out a token before the first block takes from ln p of the right answer. The score is learnt " +
    "from 192 questions by 32 hidden numbers, and judged on 64 others",
  notebook: "11_which_tokens_matter",
  publishedFor: [
    {
      says: "importance should be predicted, not read off attention",
      source: "Kong et al. 2025, arXiv:2505.18227, section 5.1",
    },
    {
      says: "learned predictors prune DeiT with little loss",
      source: "Rao et al., DynamicViT, NeurIPS 2021, arXiv:2106.02034",
    },
  ],
  publishedAgainst: [{
    says: "Top-K by attention is rarely beaten",
    source: "Haurum et al., ICCV Workshops 2023, arXiv:2308.04657",
  }],
} as const;
const handMade = ["attention", "norm", "unlike the others", "random"];

/** The cards of this experiment. */
export const claims: readonly Claim[] = [
  {
    ...common,
    id: "D1-a",
    claim:
      "A learned score orders tokens more as their true importance does than attention, norm, difference or chance do",
    mechanism: "what matters is a mixture of what each of them sees, and a question decides the mixture",
    controls:
      "the hand-made scores that it reads, chance, and the same network learnt from shuffled targets; the gradient times the " +
      "input, which knows the right answer, stands beside it as an oracle",
    expected: "higher",
    change: "more questions to learn from; a model with more to choose between",
    evidence: (rows) => ({
      treatment: of(rows, "learned", "correlation"),
      against: Object.fromEntries(handMade.map((score) => [score, of(rows, score, "correlation")])),
      expect: "higher",
      ...sane(rows),
    }),
  },
  {
    ...common,
    id: "D1-a-kept",
    claim:
      "With the 16 tokens of 64 that it prefers, more questions are answered than with those of the hand-made scores",
    mechanism: "as above",
    controls: "as above; the tokens that truly matter most are the oracle",
    expected: "higher",
    change: "a budget at which each score covers all objects",
    evidence: (rows) => ({
      treatment: of(rows, "learned", "right16"),
      against: Object.fromEntries(handMade.map((score) => [score, of(rows, score, "right16")])),
      expect: "higher",
      ...sane(rows),
    }),
  },
  {
    ...common,
    id: "D1-a-shuffled",
    claim: "It has learnt something: learnt from shuffled targets the same network orders tokens less truly",
    mechanism: "if not, the network or its evidence give the order away",
    controls: "the same evidence, network and steps; targets shuffled within each image",
    expected: "higher",
    change: "nothing: this is a check of the others",
    evidence: (rows) => ({
      treatment: of(rows, "learned", "correlation"),
      against: { "learned from shuffled": of(rows, "learned from shuffled", "correlation") },
      expect: "higher",
      ...sane(rows),
    }),
  },
];
