/**
 * The cards on overthinking: whether fewer tokens of a chain of thought give more right answers, and which tokens.
 *
 * @module
 */
import { bySeed, type Claim, type Row } from "tessera/experiment/mod.ts";
import { MODULUS, type Style } from "./model.ts";

const accuracy = (rows: readonly Row[], style: Style, temperature: number) =>
  bySeed(rows, { style, temperature }, "accuracy");

/** What the toy must know before anything is read off it. */
const learned = (rows: readonly Row[]) => ({ whole: accuracy(rows, "terse", 0), needed: 0.9 });

/** Where tokens are chosen, chance selection must lie between a guess and the whole, or methods cannot be told apart. */
const between = (rows: readonly Row[]) => ({ random: accuracy(rows, "random quarter", 0), chance: 1 / MODULUS });

const data =
  "Sums of four digits modulo five, written by a Llama of two blocks and about 58 thousand numbers that learned " +
  "ten styles of chains together; the style is asked for by the first token. Fillers follow a grammar with a likeliest path. " +
  "A first run hid tokens by leaving them out, which disturbed the form of a chain; it was stopped, and the design changed.";

const shared = {
  data,
  notebook: "41_does_shorter_think_better",
  publishedFor: [
    {
      says: "40 % of the tokens of Qwen2.5-14B's chains on GSM8K go for less than 0.4 points of accuracy",
      source: "Xia et al., TokenSkip, EMNLP 2025",
    },
    {
      says:
        "over 10 % more accuracy, relatively, with 33 to 67 % fewer tokens, though reinforcement and shortening are mixed",
      source: "Xiao et al., FAST, 2025, arXiv:2504.18458",
    },
  ],
  publishedAgainst: [
    {
      says:
        "shortened chains of TokenSkip, ThinkPrune and LightThinker are as accurate or slightly less: what they save is cost",
      source: "the three papers' own tables",
    },
    {
      says: "under a small cache budget reasoning models write longer chains",
      source: "Hold Onto That Thought, 2025, arXiv:2512.12008",
    },
  ],
};

export const claims: readonly Claim[] = [
  {
    ...shared,
    id: "C2a-drawn",
    claim: "At temperature 1, the same running sums in fewer tokens give more right answers",
    mechanism: "each drawn token is wrong with some probability, so that a chain of T tokens is right with (1 - ε)^T",
    controls:
      "none: the verbose chain; equal content: each sum twice; a model of fewer blocks at equal cost was not run",
    expected: "higher: a pilot with one seed gave 1.00 against 0.69",
    change: "fillers that help to compute what follows, as pause tokens do: then the verbose chain wins",
    evidence: (rows) => ({
      treatment: accuracy(rows, "terse", 1),
      against: {
        "the verbose chain": accuracy(rows, "verbose", 1),
        "each sum twice": accuracy(rows, "redundant", 1),
      },
      expect: "higher",
      ...learned(rows),
    }),
  },
  {
    ...shared,
    id: "C2a-greedy",
    claim: "Where the likeliest token is taken, the same running sums in fewer tokens give more right answers",
    mechanism: "none by mistakes that add up: nothing is drawn; what remains is that sums stand closer together",
    controls:
      "none: the verbose chain; equal content: each sum twice; a model of fewer blocks at equal cost was not run",
    expected:
      "undecided: the grammar has a likeliest path that training has shown, so fillers should cost nothing here",
    change: "a longer chain, in which sums are harder to find again",
    evidence: (rows) => ({
      treatment: accuracy(rows, "terse", 0),
      against: {
        "the verbose chain": accuracy(rows, "verbose", 0),
        "each sum twice": accuracy(rows, "redundant", 0),
      },
      expect: "higher",
      ...learned(rows),
    }),
  },
  {
    ...shared,
    id: "C2a-importance",
    claim:
      "A verbose chain cut to a quarter by importance gives more right answers at temperature 1 than the whole chain " +
      "and than any other cut to that length",
    mechanism:
      "tokens whose absence is felt by what follows are those that carry the sum; the others only add mistakes",
    controls:
      "none: the verbose chain; random: the same number of tokens, drawn for each chain, and at places drawn once; " +
      "strided: every second sum; answer only; the oracle is the terse chain, shown beside it",
    expected: "higher than all",
    change: "an importance that asks only the answer: the last sum is all that it needs",
    evidence: (rows) => ({
      treatment: accuracy(rows, "important quarter", 1),
      against: {
        "the verbose chain": accuracy(rows, "verbose", 1),
        "random dropping": accuracy(rows, "random quarter", 1),
        "random places": accuracy(rows, "random places", 1),
        "every second sum": accuracy(rows, "every second sum", 1),
        "no chain": accuracy(rows, "no chain", 1),
      },
      expect: "higher",
      ...learned(rows),
      ...between(rows),
    }),
  },
  {
    ...shared,
    id: "C2a-answer",
    claim: "Importance to the answer alone chooses tokens as well as importance to all that follows",
    mechanism: "TokenSkip's idea as the position paper's readers would test it: hide a token, see the answer change",
    controls:
      "the same number of tokens by importance to all that follows; random dropping at that length is shown beside it",
    expected:
      "lower: once the last sum is written, the answer is read off it, and the earlier sums seem to count for nothing",
    change: "importance measured by writing the chain anew after each token that is hidden, not by reading the old one",
    evidence: (rows) => ({
      treatment: accuracy(rows, "important to the answer", 1),
      against: { "importance to all that follows": accuracy(rows, "important quarter", 1) },
      expect: "higher",
      ...learned(rows),
      ...between(rows),
    }),
  },
];
