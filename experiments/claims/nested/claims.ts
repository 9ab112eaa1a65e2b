/**
 * C1e: claims about nested pooling.
 *
 * @module
 */
import { bySeed, type Claim, type Row } from "../../../lib/experiment/mod.ts";

const of = (rows: readonly Row[], training: string, tokens: number, column: string) =>
  bySeed(rows, { training, tokens }, column);
const whole = (rows: readonly Row[]) => ({ whole: of(rows, "whole", 64, "answers") });

const common = {
  data:
    "Grids of 8 x 8 cells with four objects, questions for a colour and for the half of the image; a decoder of two blocks, " +
    "trained for each seed: 900 steps with 64 image tokens, or as many as cost the same with 64, 16 and 4, average squares, the " +
    "loss averaged. Alignment: how much of the mean word vector of what an image shows a ridge regression foretells from " +
    "the mean image token behind the last block, on images that it has not seen",
  notebook: "40_does_less_see_better",
  publishedFor: [
    {
      says: "nested visual tokens at 9 of 576 lose little, and some tasks gain",
      source: "Cai et al., Matryoshka Multimodal Models, ICLR 2025, arXiv:2405.17430",
    },
    {
      says: "fewer visual tokens integrate and align better with text",
      source: "Kong et al. 2025, arXiv:2505.18227, section 4.1",
    },
  ],
  publishedAgainst: [{
    says: "tasks that need detail (documents, charts) lose with fewer tokens",
    source: "Cai et al., ICLR 2025, arXiv:2405.17430",
  }],
} as const;

/** The cards of this experiment. */
export const claims: readonly Claim[] = [
  {
    ...common,
    id: "C1e",
    claim:
      "At the same training cost the image tokens of the nested model agree better with the words, with all 64 of them",
    mechanism: "what must be said by four tokens must be said in the words' terms",
    controls:
      "the whole model at the same multiply-accumulates; its own tokens, pooled as the nested model's are, stand in the table",
    expected: "small, either way",
    change: "a probe of each word by itself; deeper models",
    evidence: (rows) => ({
      treatment: of(rows, "nested", 64, "alignment2"),
      against: { "the whole model": of(rows, "whole", 64, "alignment2") },
      expect: "higher",
      ...whole(rows),
    }),
  },
  {
    ...common,
    id: "C1e-few",
    claim: "With 4 image tokens the nested model's agree better with the words than the whole model's 64",
    mechanism:
      "an average of many tokens that were each to be read alone is further from the words than few that were trained as averages",
    controls: "the whole model with 64, and with the same 4 average squares",
    expected: "higher than with the same four; against 64 unknown",
    change: "a probe that sees single tokens",
    evidence: (rows) => ({
      treatment: of(rows, "nested", 4, "alignment2"),
      against: {
        "the whole model with 64": of(rows, "whole", 64, "alignment2"),
        "the whole model with 4": of(rows, "whole", 4, "alignment2"),
      },
      expect: "higher",
      ...whole(rows),
    }),
  },
  {
    ...common,
    id: "C1e-cost",
    claim:
      "With all 64 tokens the nested model answers fewer questions than the whole one that was trained at the same cost",
    mechanism: "it has had half of the steps",
    controls: "the whole model at the same multiply-accumulates",
    expected: "hardly",
    change: "a shorter training, in which steps are scarce",
    evidence: (rows) => ({
      treatment: of(rows, "nested", 64, "answers"),
      against: { "the whole model": of(rows, "whole", 64, "answers") },
      expect: "lower",
      ...whole(rows),
    }),
  },
  {
    ...common,
    id: "C1e-gain",
    claim: "With 16 and with 4 tokens it answers more than the whole model that is given the same pooled tokens",
    mechanism: "it has been trained on them",
    controls: "the whole model with the same average squares, untrained on them",
    expected: "higher",
    change: "a whole model that generalises to pooled tokens by itself",
    evidence: (rows) => {
      const both = (training: string) => {
        const [some, few] = [16, 4].map((tokens) => of(rows, training, tokens, "answers"));
        return some.map((value, i) => (value + few[i]) / 2);
      };
      return {
        treatment: both("nested"),
        against: { "the whole model": both("whole") },
        expect: "higher",
        ...whole(rows),
      };
    },
  },
];
