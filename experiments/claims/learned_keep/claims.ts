/**
 * D3: claims about a reduction that is learnt by reward.
 *
 * @module
 */
import { bySeed, type Claim, type Row } from "../../../lib/experiment/mod.ts";

/** The price that the cards are judged at, the middle one; fixed before the run. */
export const PRICE = 1;
const of = (rows: readonly Row[], arm: string, column: string) => bySeed(rows, { arm, price: PRICE }, column);
const sane = (rows: readonly Row[]) => ({
  whole: bySeed(rows, { arm: "none" }, "accuracy"),
  random: of(rows, "random, one number for all", "accuracy"),
  chance: 1 / 15, // four of six shapes are there
});

const common = {
  data:
    "8 x 8 cells with four objects of four cells each, a third of the images with no clutter, a third with clutter in " +
    "a fifth of the cells, a third in half of them; which of six shapes are there, all to be told right. A transformer of 2 blocks " +
    "and 32 channels, trained for each seed with cells hidden at random, then frozen; a policy of 32 hidden numbers per token, " +
    "paid 1 for a right answer and paying for the share of tokens kept, price 1",
  notebook: "44_learning_to_drop",
} as const;
const learnt = [
  {
    says: "reinforcement learning could decide per input which tokens to keep",
    source: "Kong et al. 2025, arXiv:2505.18227, section 5.3",
  },
  {
    says: "a policy rewarded for right answers asks for high resolution only where it needs it",
    source: "Yang et al. 2025, VisionThink, arXiv:2507.13348",
  },
];

/** The cards of this experiment. */
export const claims: readonly Claim[] = [
  {
    id: "D3-a",
    claim: "A policy learnt by reward answers more than the tokens of largest norm, or as many drawn at random",
    mechanism: "what an answer needs is not what stands out: clutter does, too",
    publishedFor: learnt,
    publishedAgainst: [{
      says: "simple scores are strong baselines; many learned pruners do not beat them",
      source: "Haurum et al., ICCV Workshops 2023, arXiv:2308.04657",
    }],
    ...common,
    controls:
      "the same number of tokens for each image by norm and at random; none; the objects' own cells as the oracle. " +
      "Pooling is missing: the classifier reads cells by their places",
    expected: "higher",
    change: "a score that knows the objects; clutter that is told from objects by its norm",
    evidence: (rows) => ({
      treatment: of(rows, "REINFORCE", "accuracy"),
      against: Object.fromEntries(
        ["norm, its numbers", "random, its numbers"].map((arm) => [arm, of(rows, arm, "accuracy")]),
      ),
      expect: "higher",
      ...sane(rows),
    }),
  },
  {
    id: "D3-b",
    claim: "Its own number of tokens for each image is worth it: the same scores with one number for all answer fewer",
    mechanism: "hard images get more tokens, easy ones pay for them",
    publishedFor: learnt,
    publishedAgainst: [],
    ...common,
    controls: "the tokens with the highest odds by the same policy, one number for all images, which is the mean",
    expected: "higher",
    change: "images that need different numbers of tokens; here each has sixteen cells of objects",
    evidence: (rows) => ({
      treatment: of(rows, "REINFORCE", "accuracy"),
      against: { "its scores, one number for all": of(rows, "its scores, one number for all", "accuracy") },
      expect: "higher",
      ...sane(rows),
    }),
  },
  {
    id: "D3-c",
    claim: "It keeps more tokens of images with more clutter",
    mechanism: "among clutter it is harder to say what is an object, and the doubtful ones are kept",
    publishedFor: learnt,
    publishedAgainst: [],
    ...common,
    controls: "the images without clutter, under the same policy; one that sees each token alone stands in the table",
    expected: "higher",
    change: "a reward that punishes wrong answers more; clutter that hides objects",
    evidence: (rows) => ({
      treatment: of(rows, "REINFORCE", "kept, most clutter"),
      against: { "images without clutter": of(rows, "REINFORCE", "kept, no clutter") },
      expect: "higher",
      ...sane(rows),
    }),
  },
  {
    id: "D3-d",
    claim: "The gradient of REINFORCE varies more from draw to draw than the straight-through one",
    mechanism:
      "the one is told only what a draw earned, the other how each token would have changed it, though not truly",
    publishedFor: [{
      says: "score-function estimators have high variance, reparameterised ones lower",
      source: "Jang et al., ICLR 2017, arXiv:1611.01144",
    }],
    publishedAgainst: [{
      says: "a baseline of the policy's own greedy choice lowers it much",
      source: "Rennie et al., CVPR 2017, arXiv:1612.00563",
    }],
    ...common,
    controls:
      "eight draws an image for both; the variance over the squared length of the mean, from 32 draws a quarter of the " +
      "way, as a logarithm to base ten. Each has its own policy by then",
    expected: "higher",
    change: "another baseline; another temperature; the same policy for both",
    evidence: (rows) => {
      const log = (arm: string) => of(rows, arm, "gradient variance").map(Math.log10);
      return {
        treatment: log("REINFORCE"),
        against: { "straight-through": log("straight-through") },
        expect: "higher",
        ...sane(rows),
      };
    },
  },
];
