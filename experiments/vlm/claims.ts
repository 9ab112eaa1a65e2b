/**
 * Cards C1: does token reduction align image and text better? Judged by the rows at 16 of 64 tokens.
 *
 * @module
 */
import { bySeed, type Claim, type Row } from "../../lib/experiment/mod.ts";

const KEEP = 16;

const of = (rows: readonly Row[], method: string, column: string, positions = "original") =>
  bySeed(rows, { method, keep: KEEP, positions }, column);

/** The whole model, chance selection and guessing, for the thresholds of a toy. */
const toy = (rows: readonly Row[], column: string, chance: number) => ({
  whole: of(rows, "none", column),
  random: of(rows, "random", column),
  chance,
});

const shared = {
  data:
    "Grids of 8 x 8 cells with four objects, twelve questions an image: for a colour, for the half it is in, for the twin " +
    "of the same colour; a decoder of four blocks that was trained without reduction. Seeds are of 60 images each and of " +
    "chance; it is one trained model.",
  notebook: "40_does_less_see_better",
} as const;

/** What is claimed of image tokens. */
export const claims: readonly Claim[] = [
  {
    ...shared,
    id: "C1a",
    claim: "A choice guided by the question answers more than one that is not, at the same number of tokens",
    mechanism: "tokens that agree with the question's words are kept, what is beside the point goes",
    publishedFor: [
      {
        says: "relevance to the question and diversity together lead at low budgets",
        source: "Zhang et al. 2025, CDPruner",
      },
      { says: "similarity of text and patch finds the relevant ones", source: "Song et al. 2024, TRIM" },
    ],
    publishedAgainst: [
      {
        says: "text guidance helps only where the task's text is specific; many pruners lose to chance or pooling",
        source: "arXiv:2502.11501",
      },
    ],
    controls:
      "Chance, pooling, the most diverse tokens, and the same method with the question of another image. An oracle " +
      "would keep the object's four tokens; the column recall says how many of them are kept.",
    expected: "better on questions for a colour",
    change: "questions that name nothing; a budget at which diversity covers every object",
    evidence: (rows) => ({
      treatment: of(rows, "cdpruner", "colour"),
      against: Object.fromEntries(
        ["random", "pooling", "divprune", "cdpruner, another's question"].map((
          name,
        ) => [name, of(rows, name, "colour")]),
      ),
      expect: "higher",
      ...toy(rows, "colour", 1 / 4),
    }),
  },
  {
    ...shared,
    id: "C1b",
    claim:
      "The image can be withdrawn late and not early: before block 3 more answers survive than before blocks 1 and 2",
    mechanism: "the words have read what they need from the image in the first blocks; later ones hardly look at it",
    publishedFor: [
      { says: "FastV prunes half after layer 2 at little loss", source: "Chen et al. 2024, arXiv:2403.06764" },
      { says: "all visual tokens can be withdrawn after a layer found by divergence", source: "Lin et al. 2024, VTW" },
    ],
    publishedAgainst: [
      {
        says:
          "beyond about layer 20 of a large model no choice beats chance: there nothing matters, which is another claim",
        source: "our specification, section 1.4, C1",
      },
    ],
    controls: "The same withdrawal before earlier blocks. Chance and pooling have no place here: nothing is chosen.",
    expected: "supported, on the question that needs two steps",
    change: "a question whose second step comes later",
    evidence: (rows) => ({
      treatment: of(rows, "withdrawn, block 3", "twin"),
      against: {
        "withdrawn, block 1": of(rows, "withdrawn, block 1", "twin"),
        "withdrawn, block 2": of(rows, "withdrawn, block 2", "twin"),
      },
      expect: "higher",
      whole: of(rows, "none", "twin"),
    }),
  },
  {
    ...shared,
    id: "C1c",
    claim: "Ranking by the attention of the last word prefers late rows of the image",
    mechanism: "with rotary positions a word attends more to what is near to it, and the last rows are",
    publishedFor: [
      { says: "attention from text leans to the lower part of the image", source: "Zhang et al. 2025, VisPruner" },
    ],
    publishedAgainst: [
      { says: "in a tiny model the effect is small", source: "our specification, section 1.4, C1" },
    ],
    controls: "Chance at the same block, and DART, which looks at no attention: the mean row of 64 cells is 3.5.",
    expected: "small",
    change: "a model whose question stands before the image",
    evidence: (rows) => ({
      treatment: of(rows, "fastv", "meanRow"),
      against: {
        "random, block 2": of(rows, "random, block 2", "meanRow"),
        dart: of(rows, "dart", "meanRow"),
      },
      expect: "higher",
    }),
  },
  {
    ...shared,
    id: "C1d",
    claim: "Questions for a place need the tokens' original positions: counted anew, fewer are answered",
    mechanism: "a token's row is known by its position alone",
    publishedFor: [
      {
        says: "grounding falls from 56 to 15 after pruning, and returns to 51 with the right position ids",
        source: "arXiv:2506.21873, GAP",
      },
    ],
    publishedAgainst: [],
    controls:
      "The same tokens with places counted anew, for three choices of tokens; questions for a colour do not change " +
      "(see the rows).",
    expected: "strongly supported for places, no difference for colours",
    change: "features that hold their own place",
    evidence: (rows) => ({
      treatment: of(rows, "divprune", "half"),
      against: {
        "divprune, counted anew": of(rows, "divprune", "half", "reindex"),
        "pooling, counted anew": of(rows, "pooling", "half", "reindex"),
        "random, counted anew": of(rows, "random", "half", "reindex"),
      },
      expect: "higher",
      ...toy(rows, "half", 0.5),
    }),
  },
  {
    ...shared,
    id: "C1f",
    claim: "The attention of the last word chooses better than chance, for a question that needs two looks",
    mechanism: "what is attended to is what the answer is made of",
    publishedFor: [
      {
        says: "half of the image tokens go after layer 2 at little loss",
        source: "Chen et al. 2024, FastV, arXiv:2403.06764",
      },
    ],
    publishedAgainst: [
      { says: "many pruners lose to random choice or plain pooling", source: "arXiv:2502.11501" },
    ],
    controls: "Chance and diversity at the same block and the same number of tokens.",
    expected: "no better than chance",
    change: "questions of one step; a later block",
    evidence: (rows) => ({
      treatment: of(rows, "fastv", "twin"),
      against: {
        "random, block 2": of(rows, "random, block 2", "twin"),
        "divprune, block 2": of(rows, "divprune, block 2", "twin"),
      },
      expect: "higher",
      whole: of(rows, "none", "twin"),
    }),
  },
  {
    ...shared,
    id: "D1c",
    claim:
      "A score that is free of attention keeps more of what a second step needs than the attention of the last word",
    mechanism: "the last word has found the colour and looks no more for the twin of that colour",
    publishedFor: [
      { says: "duplication, not importance, decides what can go", source: "Wen et al. 2025, DART, arXiv:2502.11494" },
    ],
    publishedAgainst: [
      { says: "staged dropping by attention keeps accuracy", source: "Xing et al. 2024, PyramidDrop" },
    ],
    controls: "FastV and chance, both at the same block and the same number of tokens.",
    expected: "supported",
    change: "questions of one step",
    evidence: (rows) => ({
      treatment: of(rows, "dart", "twin"),
      against: { fastv: of(rows, "fastv", "twin"), "random, block 2": of(rows, "random, block 2", "twin") },
      expect: "higher",
      whole: of(rows, "none", "twin"),
    }),
  },
  {
    ...shared,
    id: "D1d",
    claim: "With the question of another image a guided method answers less: the guidance is real",
    mechanism: "what is kept follows the words that are asked",
    publishedFor: [
      { says: "conditional diversity follows the instruction", source: "Zhang et al. 2025, CDPruner" },
    ],
    publishedAgainst: [
      { says: "shallow attention is nearly uninformative about the question", source: "arXiv:2502.11501" },
    ],
    controls: "The same method with somebody else's question, and chance.",
    expected: "supported for methods that compare text and patches",
    change: "questions that name all objects",
    evidence: (rows) => ({
      treatment: of(rows, "trim", "colour"),
      against: {
        "trim, another's question": of(rows, "trim, another's question", "colour"),
        random: of(rows, "random", "colour"),
      },
      expect: "higher",
      ...toy(rows, "colour", 1 / 4),
    }),
  },
];
