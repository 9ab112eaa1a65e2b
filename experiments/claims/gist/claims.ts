/**
 * D2: claims about contexts in a few vectors.
 *
 * @module
 */
import { bySeed, type Claim, type Row } from "../../../lib/experiment/mod.ts";

const of = (rows: readonly Row[], asking: string) => bySeed(rows, { asking }, "accuracy");
const whole = (rows: readonly Row[]) => ({ whole: of(rows, "full") });

const common = {
  data:
    "Six pairs of a name and a thing, twelve tokens, then all six names are asked; a decoder of three blocks and 64 " +
    "channels, trained for each seed on all modes together, 800 steps of 64 contexts. A guess among the things is right once " +
    "in twelve",
  notebook: "47_a_context_in_a_few_vectors",
  publishedFor: [{
    says: "prompts compressed up to 26 times into gist tokens with little loss",
    source: "Mu et al., NeurIPS 2023, arXiv:2304.08467",
  }],
  publishedAgainst: [{
    says: "gist tokens degrade on longer contexts even at small ratios, and plain average pooling beats them",
    source: "a later study, as our specification has it, section 1.5, D2",
  }],
} as const;

/** The cards of this experiment. */
export const claims: readonly Claim[] = [
  {
    ...common,
    id: "D2",
    claim: "Four gist vectors answer more than the first four tokens of the context do",
    mechanism: "four tokens hold two pairs; four learned vectors can hold parts of all six",
    controls: "the same number of cached vectors from the context itself; all twelve; gist tokens that saw nothing",
    expected: "higher",
    change: "a context of which a third is all that is asked for",
    evidence: (rows) => ({
      treatment: of(rows, "gist 4"),
      against: { "the first four tokens": of(rows, "first 4") },
      expect: "higher",
      ...whole(rows),
    }),
  },
  {
    ...common,
    id: "D2-pool",
    claim:
      "Four gist vectors answer more than four averages of the context's keys and values, which were trained as well",
    mechanism: "averages mix what stands side by side, attention can choose",
    controls: "averages of three tokens each, in every block",
    expected: "unknown: the later study says lower",
    change: "averages over what belongs together",
    evidence: (rows) => ({
      treatment: of(rows, "gist 4"),
      against: { "four averages": of(rows, "pooled 4") },
      expect: "higher",
      ...whole(rows),
    }),
  },
  {
    ...common,
    id: "D2-one",
    claim: "One gist vector answers more than one average of everything",
    mechanism: "as above, at the smallest size",
    controls: "the average of all twelve keys and values",
    expected: "unknown",
    change: "a wider model",
    evidence: (rows) => ({
      treatment: of(rows, "gist 1"),
      against: { "one average": of(rows, "pooled 1") },
      expect: "higher",
      ...whole(rows),
    }),
  },
  {
    ...common,
    id: "D2-blind",
    claim: "What gist vectors know they have seen: gist tokens that look at nothing answer fewer",
    mechanism: "if not, the answer leaks past the mask, or needs no context",
    controls: "the same tokens, whose mask hides the context",
    expected: "higher, or there is a leak",
    change: "nothing: this is a check of the others",
    evidence: (rows) => ({
      treatment: of(rows, "gist 4"),
      against: { "blind gist vectors": of(rows, "blind gist 4") },
      expect: "higher",
      ...whole(rows),
    }),
  },
];
