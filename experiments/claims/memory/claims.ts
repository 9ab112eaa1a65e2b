/**
 * C3b: whether less of the cache remembers as much, and what knowing the question is worth.
 *
 * @module
 */
import { bySeed, type Claim, type Row } from "tessera/experiment/mod.ts";

const recall = (rows: readonly Row[], policy: string, question: "known" | "unknown", removed: number) =>
  bySeed(rows, { policy, question, removed }, "recall");

/** What every card says of the toy: full recall, the random control, and guessing, at half of the cache. */
const toy = (rows: readonly Row[]) => ({
  whole: recall(rows, "none", "unknown", 0.5),
  random: recall(rows, "random", "unknown", 0.5),
  chance: bySeed(rows, { policy: "none", question: "unknown", removed: 0.5 }, "chance")
    .reduce((sum, value, _, all) => sum + value / all.length, 0),
});

const data =
  "ten facts in each of 60 texts of 96 tokens a seed (lib/data/simulated/hidden_facts.ts); a decoder of two layers of width " +
  "64. A seed is a training (experiments/tiny_lm/training.ts), with first weights, training texts, test texts and chance " +
  "eviction of its own. Seed 0 is data/tiny-lm: on its texts trial runs had been seen before these claims were written, and " +
  "policies that did well there were chosen for cards. The four other trainings were run afterwards, with no claim changed. With " +
  "scores, trainings differ more than twice as much as sets of texts do for one of them";
const notebook = "42_does_less_remember_longer";
const controls =
  "none, random, strided and the most recent slots at the same budget, an oracle that knows where the facts " +
  "stand; no smaller model at the same cost: one layer cannot find a fact at all. StreamingLLM is as in kvpress: keys keep " +
  "their places, where the paper counts them anew";
const streaming = {
  says: "perplexity stays stable over millions of tokens with 4 sinks",
  source: "Xiao et al., ICLR 2024",
};
const ruler = {
  says: "with the question unknown, SnapKV falls from 80 to 23.5 on RULER 4k as 25 to 90 % of the cache goes",
  source: "kvpress' leaderboard, Llama-3.1-8B, read off its plot",
};

/** Judged by the rows beside. */
export const claims: readonly Claim[] = [
  {
    id: "C3b",
    claim:
      "Half of a cache, chosen by SnapKV before the question is known, remembers more than half chosen without a score.",
    mechanism: "Attention of the last tokens points at what matters, so that what it leaves out is not missed.",
    publishedFor: [
      { says: "comparable to the full cache on 16 long-context data sets", source: "Li et al., SnapKV, NeurIPS 2024" },
    ],
    publishedAgainst: [ruler],
    data,
    notebook,
    controls,
    expected: "higher: so it was in the pilot run, whose model sees the token before in its embedding",
    change: "a model in which the tokens of a text already look at its facts before anybody asks",
    evidence: (rows) => ({
      treatment: recall(rows, "SnapKV", "unknown", 0.5),
      against: Object.fromEntries(
        ["random", "strided", "StreamingLLM"].map((policy) => [policy, recall(rows, policy, "unknown", 0.5)]),
      ),
      expect: "higher",
      ...toy(rows),
    }),
  },
  {
    id: "C3b-keys",
    claim:
      "Half of a cache, chosen by how much its keys differ (KeyDiff), remembers more than half chosen without a score.",
    mechanism: "Fillers come again and again; what is said once has a key of its own, whoever asks.",
    publishedFor: [{
      says: "within 0.04 % of the full cache's LongBench score at 8k slots",
      source: "Park et al., KeyDiff, 2025, arXiv:2504.15364",
    }],
    publishedAgainst: [{ says: "retrieval of keys and values stays hard for every policy", source: "kvpress, README" }],
    data,
    notebook,
    controls,
    expected: "higher, as in the pilot run",
    change: "facts whose words also stand among the fillers",
    evidence: (rows) => ({
      treatment: recall(rows, "KeyDiff", "unknown", 0.5),
      against: Object.fromEntries(
        ["random", "strided", "StreamingLLM"].map((policy) => [policy, recall(rows, policy, "unknown", 0.5)]),
      ),
      expect: "higher",
      ...toy(rows),
    }),
  },
  {
    id: "C3b-question",
    claim: "With a tenth of the cache, knowing the question (TOVA) is worth more than any score without it.",
    mechanism: "The question's own attention points at the answer; no statistic of keys can know what will be asked.",
    publishedFor: [
      {
        says: "which tokens matter differs from question to question about one text",
        source: "Li et al., SnapKV, NeurIPS 2024",
      },
    ],
    publishedAgainst: [
      {
        says: "KVzip, which never sees it, stays at 92 of 95.5 on RULER 4k with a tenth kept",
        source: "kvpress' leaderboard",
      },
    ],
    data,
    notebook,
    controls: `${controls}; each policy without the question is a control`,
    expected: "higher, as in the pilot run",
    change: "a score that knows what can be asked at all, as KVzip's second reading does",
    evidence: (rows) => ({
      treatment: recall(rows, "TOVA", "known", 0.9),
      against: Object.fromEntries(
        ["random", "StreamingLLM", "SnapKV", "TOVA", "KeyDiff", "longest keys", "ExpectedAttention"].map((policy) => [
          policy,
          recall(rows, policy, "unknown", 0.9),
        ]),
      ),
      expect: "higher",
      ...toy(rows),
    }),
  },
  {
    id: "C3b-recency",
    claim:
      "At half of the cache, keeping sinks and the most recent slots (StreamingLLM) remembers less than dropping at random.",
    mechanism:
      "Each head drops other slots at random, so that a fact survives somewhere; recency drops it in all of them.",
    publishedFor: [{ says: "60 of 95.5 at half of the cache on RULER 4k", source: "kvpress' leaderboard" }],
    publishedAgainst: [streaming],
    data,
    notebook,
    controls,
    expected: "lower, as in the pilot run (.52 against .71)",
    change: "more layers or heads that can each find a fact alone",
    evidence: (rows) => ({
      treatment: recall(rows, "StreamingLLM", "unknown", 0.5),
      against: { random: recall(rows, "random", "unknown", 0.5) },
      expect: "lower",
      ...toy(rows),
    }),
  },
];
