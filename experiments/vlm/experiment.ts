/**
 * Which image tokens a tiny vision-language model needs: every method that works without training, at the same number of
 * tokens, beside chance and pooling, with the question and with somebody else's, with places kept and counted anew.
 *
 * Each seed draws 60 images with twelve questions each and feeds the methods that use chance. Methods that look at the
 * vision tower or at the tokens alone act before the first block. Those that look at a block's attention or keys act before
 * block 2, FastV's own place: by then the words know the colour of the object that they name, and the twin, who has the same
 * colour, is still to be found. Their controls stand there too: chance, diversity, and the whole image withdrawn.
 *
 * Kong et al., "Token Reduction Should Go Beyond Efficiency in Generative Models", 2025, arXiv:2505.18227, section 4.1,
 * argues that a selection guided by the question aligns image and text better; it has no experiment of its own.
 *
 * @module
 */
import { gridQuestions } from "../../lib/data/mod.ts";
import { defineExperiment } from "../../lib/experiment/mod.ts";
import type { Reducer } from "../../lib/nn/mod.ts";
import {
  cdpruner,
  compose,
  dart,
  divprune,
  fastervlm,
  fastv,
  type KeepBudget,
  pooling,
  prumerge,
  prumergePlus,
  pyramiddrop,
  randomScore,
  sparsevlm,
  tokenNorm,
  trim,
  visionzip,
  vispruner,
  vtw,
} from "../../lib/reduction/mod.ts";
import { tf } from "../../lib/tensor/mod.ts";
import { ask } from "./evaluate.ts";
import { TinyVLM } from "./models/tiny_vlm.ts";

const IMAGES = 60;

const random = compose({ name: "random", score: randomScore, hook: "beforeBlock" });

/** The same method with the question of another image of the batch: if nothing changes, the question does not guide it. */
function withAnothersQuestion(reducer: Reducer): Reducer {
  return {
    ...reducer,
    reduce: (view) => {
      const { vision } = view;
      if (!vision) return reducer.reduce(view);
      const textEmbeddings = tf.reverse(vision.textEmbeddings, 0);
      return reducer.reduce({ ...view, vision: { ...vision, textEmbeddings } });
    },
  };
}

/** Every arm by its name: before which block it acts, and how it is made. */
const arms: Record<string, { layer: number; make: (budget: KeepBudget) => Reducer }> = {
  none: { layer: 0, make: () => random({ keep: [64], layers: [0] }) },
  random: { layer: 0, make: random },
  pooling: { layer: 0, make: pooling },
  "token norm": { layer: 0, make: compose({ score: tokenNorm, hook: "beforeBlock" }) },
  divprune: { layer: 0, make: divprune },
  fastervlm: { layer: 0, make: fastervlm },
  vispruner: { layer: 0, make: vispruner },
  visionzip: { layer: 0, make: visionzip },
  prumerge: { layer: 0, make: prumerge },
  prumergePlus: { layer: 0, make: prumergePlus },
  cdpruner: { layer: 0, make: cdpruner },
  "cdpruner, another's question": { layer: 0, make: (budget) => withAnothersQuestion(cdpruner(budget)) },
  trim: { layer: 0, make: trim },
  "trim, another's question": { layer: 0, make: (budget) => withAnothersQuestion(trim(budget)) },
  "random, block 1": { layer: 1, make: random },
  "withdrawn, block 1": { layer: 1, make: () => vtw({ layer: 1 }) },
  "random, block 2": { layer: 2, make: random },
  "withdrawn, block 2": { layer: 2, make: () => vtw({ layer: 2 }) },
  "divprune, block 2": { layer: 2, make: divprune },
  fastv: { layer: 2, make: fastv },
  sparsevlm: { layer: 2, make: sparsevlm },
  dart: { layer: 2, make: dart },
  pyramiddrop: { layer: 2, make: pyramiddrop },
  "withdrawn, block 3": { layer: 3, make: () => vtw({ layer: 3 }) },
};

export default defineExperiment({
  name: "vlm",
  version: 2,
  question: "Does it matter which image tokens stay, does the question help to choose them, and do places matter?",
  grid: {
    method: [
      "none",
      "random",
      "pooling",
      "token norm",
      "divprune",
      "fastervlm",
      "vispruner",
      "visionzip",
      "prumerge",
      "prumergePlus",
      "cdpruner",
      "cdpruner, another's question",
      "trim",
      "trim, another's question",
      "random, block 1",
      "withdrawn, block 1",
      "random, block 2",
      "withdrawn, block 2",
      "divprune, block 2",
      "fastv",
      "sparsevlm",
      "dart",
      "pyramiddrop",
      "withdrawn, block 3",
    ],
    keep: [32, 16, 8],
    positions: ["original", "reindex"],
  },
  seeds: [1, 2, 3, 4, 5],
  fast: { grid: { method: ["random", "pooling", "divprune", "cdpruner", "fastv", "trim"], keep: [16] }, seeds: [1] },
  rowSeconds: 2,
  data: [new URL("../../data/tiny-vlm/", import.meta.url)],
  async row({ method, keep, positions }, { seed }) {
    const model = await TinyVLM.load();
    const { layer, make } = arms[method];
    const set = gridQuestions({ images: IMAGES, seed: 1000 + seed });
    const reducer = make({ keep: [keep], layers: [layer] });
    const { accuracy, recall, meanRow, tokens, macs, questions } = await ask(model, set, { reducer, positions, seed });
    const rounded = (value: number) => Number(value.toFixed(4));
    return {
      layer,
      colour: rounded(accuracy.colour),
      half: rounded(accuracy.half),
      twin: rounded(accuracy.twin),
      recall: rounded(recall),
      meanRow: rounded(meanRow),
      tokens,
      macs,
      questions,
    };
  },
});
