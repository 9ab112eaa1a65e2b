/**
 * Proportional attention on and off: whether a merged token should weigh in attention as much as the tokens it stands for.
 *
 * Bolya et al., "Token Merging: Your ViT But Faster", ICLR 2023, arXiv:2210.09461, section 3 and appendix: needed for
 * models that were not trained with merging, except those pre-trained by masking.
 *
 * @module
 */
import { mnist, pneumoniaMnist, selectImages } from "../../lib/data/mod.ts";
import { defineExperiment } from "../../lib/experiment/mod.ts";
import { evaluate, type Reducer, ViT } from "../../lib/nn/mod.ts";
import { random } from "../../lib/random.ts";
import { tome } from "../../lib/reduction/mod.ts";

const loaders = { mnist, pneumonia: pneumoniaMnist };

export default defineExperiment({
  name: "proportional_attention",
  version: 1,
  question: "Does it matter that a merged token weighs as much as what it stands for?",
  grid: { data: ["mnist", "pneumonia"], proportional: [true, false], r: [4, 8, 12] },
  seeds: [1, 2, 3, 4, 5],
  fast: { grid: { r: [8] }, seeds: [1, 2, 3] },
  data: [
    new URL("../../data/vit-nano/", import.meta.url),
    new URL("../../data/mnist-t10k/", import.meta.url),
    new URL("../../data/pneumoniamnist/", import.meta.url),
  ],
  rowSeconds: 3,
  async row({ data, proportional, r }, { seed, fast }) {
    const all = await loaders[data].load("test");
    const set = selectImages(all, random(seed, "test images").permutation(all.count).slice(0, fast ? 400 : 600));
    const model = await ViT.load(data);
    try {
      const merging = tome({ r });
      const reducer: Reducer = { ...merging, proportionalAttention: proportional };
      const { accuracy, auroc } = await evaluate(model, set, { reducer, seed });
      return { accuracy, auroc: auroc ?? null };
    } finally {
      model.dispose();
    }
  },
});
