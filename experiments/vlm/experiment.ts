/**
 * Which image tokens a tiny vision-language model needs: every method that works without training, at the same number of
 * tokens, beside chance and pooling, with the question and with somebody else's, with places kept and counted anew.
 *
 * Each seed draws 100 images with eight questions each and feeds the methods that use chance. Methods that look at the
 * vision tower or at the tokens alone act before the first block; those that look at a block's attention or keys act before
 * block 1, the first place where there is one to look at, and `random, block 1` is their control.
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
} from "../../lib/reduction/mod.ts";
import { tf } from "../../lib/tensor/mod.ts";
import { ask } from "./evaluate.ts";
import { TinyVLM } from "./models/tiny_vlm.ts";

const IMAGES = 100;

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
const arms: Record<string, { layer: 0 | 1; make: (budget: KeepBudget) => Reducer }> = {
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
  fastv: { layer: 1, make: fastv },
  sparsevlm: { layer: 1, make: sparsevlm },
  dart: { layer: 1, make: dart },
  pyramiddrop: { layer: 1, make: pyramiddrop },
};

export default defineExperiment({
  name: "vlm",
  version: 1,
  question: "Does it matter which image tokens stay, does the question help to choose them, and do places matter?",
  grid: {
    method: [
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
      "fastv",
      "sparsevlm",
      "dart",
      "pyramiddrop",
    ],
    keep: [32, 16, 8],
    positions: ["original", "reindex"],
  },
  seeds: [1, 2, 3],
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
      recall: rounded(recall),
      meanRow: rounded(meanRow),
      tokens,
      macs,
      questions,
    };
  },
});
