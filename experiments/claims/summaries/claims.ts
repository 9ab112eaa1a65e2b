/**
 * C3c: claims about summary tokens.
 *
 * @module
 */
import { bySeed, type Claim, type Row } from "tessera/experiment/mod.ts";

const of = (rows: readonly Row[], variables: number, asking: string) => bySeed(rows, { variables, asking }, "accuracy");
const whole = (rows: readonly Row[]) => ({ whole: of(rows, 4, "everything in sight") });

const common = {
  data:
    "Two segments declare variables, pairs of a name and a thing; a third asks for those of the first, which have passed the " +
    "summaries of both. A decoder of three blocks and 64 channels, trained for each seed and number of variables with 0, 1, 2, 4 " +
    "and 8 summary tokens together, 600 steps of 64 texts. Guessing is right once in twelve",
  notebook: "42_does_less_remember_longer",
  publishedFor: [{
    says: "50 summary vectors a segment, accumulated over segments, lower the perplexity of long texts",
    source: "Chevalier et al., AutoCompressors, EMNLP 2023, arXiv:2305.14788",
  }],
  publishedAgainst: [{
    says: "summary and gist vectors degrade on longer contexts",
    source: "a later study, as our specification has it, section 1.5, D2",
  }],
} as const;
const controls =
  "everything in sight; the first segment cut; summary tokens that saw nothing, which are vectors without content. Average " +
  "pooling is missing here: see the cards D2";

/** The cards of this experiment. */
export const claims: readonly Claim[] = [
  {
    ...common,
    controls,
    id: "C3c",
    claim: "Four summary tokens hold more of four variables than two or one do",
    mechanism: "a vector for a variable",
    expected: "higher, with no more gain beyond as many tokens as variables",
    change: "wider vectors: one may hold several variables",
    evidence: (rows) => ({
      treatment: of(rows, 4, "4 summary tokens"),
      against: {
        "two": of(rows, 4, "2 summary tokens"),
        "one": of(rows, 4, "1 summary tokens"),
      },
      expect: "higher",
      ...whole(rows),
    }),
  },
  {
    ...common,
    controls,
    id: "C3c-more",
    claim: "Eight hold still more of four variables",
    mechanism: "if not the number of variables is the limit",
    expected: "no difference",
    change: "longer training",
    evidence: (rows) => ({
      treatment: of(rows, 4, "8 summary tokens"),
      against: { "four": of(rows, 4, "4 summary tokens") },
      expect: "higher",
      ...whole(rows),
    }),
  },
  {
    ...common,
    controls,
    id: "C3c-held",
    claim:
      "What two summaries have passed on is more than nothing: four summary tokens answer more than a text that is cut",
    mechanism: "the first summary carries the first segment, the second carries the first",
    expected: "higher",
    change: "nothing: a check of the others",
    evidence: (rows) => ({
      treatment: of(rows, 4, "4 summary tokens"),
      against: {
        "the first segment cut": of(rows, 4, "first segment cut"),
        "tokens that saw nothing": of(rows, 4, "4 that saw nothing"),
      },
      expect: "higher",
      ...whole(rows),
    }),
  },
];
