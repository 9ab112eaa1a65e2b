/**
 * C3a: claims about sinks, and about coherence beyond the trained length.
 *
 * @module
 */
import { bySeed, type Claim, type Row } from "tessera/experiment/mod.ts";

const of = (rows: readonly Row[], texts: string, policy: string, column: string) =>
  bySeed(rows, { texts, policy }, column);

const common = {
  data:
    "Shakespeare's characters; a Llama of 2 blocks and 64 channels, trained for each seed on texts of 64 and read token by " +
    "token to 1,024, on 16 texts that it has not seen; the loss is of tokens 512 to 1,024, in nats",
  notebook: "42_does_less_remember_longer",
} as const;
const streaming = {
  says:
    "perplexity stays stable over millions of tokens with four sinks and a window, and explodes with a window alone",
  source: "Xiao et al., ICLR 2024, arXiv:2309.17453",
};
const recall = {
  says: "what a window has dropped cannot be recalled: StreamingLLM falls with its share on RULER",
  source: "kvpress' leaderboard, Llama-3.1-8B, read off its plot",
};

/** The cards of this experiment. */
export const claims: readonly Claim[] = [
  {
    ...common,
    id: "C3a-sink",
    claim:
      "Where all texts begin with the same token, attention rests on it: more than its even share, and more than on the " +
      "first token of texts that begin anywhere",
    mechanism: "a softmax must go somewhere when there is nothing to look for, and the first token is always there",
    publishedFor: [streaming],
    publishedAgainst: [{
      says: "sinks come with training at scale; whether a small model has one must be measured",
      source: "our specification, section 1.4, E3a",
    }],
    controls: "the even share; a model trained on texts without a first token of their own",
    expected: "higher, if small models form sinks at all",
    change: "a longer training; a head that is made for it",
    evidence: (rows) => ({
      treatment: of(rows, "begin token", "all kept", "massOnFirst"),
      against: {
        "its even share": of(rows, "begin token", "all kept", "evenShare"),
        "texts cut anywhere": of(rows, "cut anywhere", "all kept", "massOnFirst"),
      },
      expect: "higher",
    }),
  },
  {
    ...common,
    id: "C3a",
    claim: "Four sinks and the last 44 tokens stay coherent where a window of 48 alone falls apart",
    mechanism: "with the first token gone its attention falls on tokens that mean something",
    publishedFor: [streaming],
    publishedAgainst: [recall],
    controls:
      "a window of 48 with places kept and counted anew, which rotary positions cannot tell apart; pooling is missing: " +
      "nothing can be pooled one token at a time",
    expected: "lower",
    change: "no sink in the first place: see the card for texts that begin anywhere",
    evidence: (rows) => ({
      treatment: of(rows, "begin token", "4 sinks and 44", "far"),
      against: Object.fromEntries(
        ["window", "window, counted anew"].map((policy) => [policy, of(rows, "begin token", policy, "far")]),
      ),
      expect: "lower",
    }),
  },
  {
    ...common,
    id: "C3a-none",
    claim: "The four first tokens are worth their slots even in a model whose texts began anywhere",
    mechanism: "if sinks are a matter of place and not of training, any first tokens will do",
    publishedFor: [streaming],
    publishedAgainst: [{
      says: "a sink is learnt: with a dedicated token in training one is enough",
      source: "Xiao et al., ICLR 2024, arXiv:2309.17453, section 3.3",
    }],
    controls: "a window of 48",
    expected: "no difference: such a model has no sink",
    change: "a model that has learnt a sink",
    evidence: (rows) => ({
      treatment: of(rows, "cut anywhere", "4 sinks and 44", "far"),
      against: { window: of(rows, "cut anywhere", "window", "far") },
      expect: "lower",
    }),
  },
  {
    ...common,
    id: "C3a-less",
    claim: "Far beyond the trained length, less is better: 48 tokens in the cache say more of what comes than all",
    mechanism: "a bounded cache keeps the model inside the distances that it was trained on",
    publishedFor: [
      {
        says: "reduction keeps coherence over long inputs",
        source: "Kong et al. 2025, arXiv:2505.18227, section 4.3",
      },
      streaming,
    ],
    publishedAgainst: [recall],
    controls:
      "all tokens kept; 24 heavy hitters and 24 recent ones, and sinks at their own places, which leave the trained distances too",
    expected: "lower",
    change: "a model that was trained on long texts, or positions that are scaled",
    evidence: (rows) => ({
      treatment: of(rows, "begin token", "4 sinks and 44", "far"),
      against: Object.fromEntries(
        ["all kept", "24 heavy and 24", "4 sinks and 44, places kept"].map((
          policy,
        ) => [policy, of(rows, "begin token", policy, "far")]),
      ),
      expect: "lower",
    }),
  },
];
