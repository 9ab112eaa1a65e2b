/**
 * Ten methods at four keep rates on two small models: the matrix of Haurum et al., and their question whether methods that
 * keep the model's features also keep its accuracy.
 *
 * Haurum, Escalera, Taylor and Moeslund, "Which Tokens to Use? Investigating Token Reduction in Vision Transformers", ICCVW
 * 2023, arXiv:2308.04657. Their DeiTs were fine-tuned with each method; these models were not.
 *
 * @module
 */
import { mnist, pneumoniaMnist, selectImages } from "../../lib/data/mod.ts";
import { defineExperiment } from "../../lib/experiment/mod.ts";
import { evaluate, ViT } from "../../lib/nn/mod.ts";
import { random } from "../../lib/random.ts";
import { reducers } from "../../lib/reduction/mod.ts";

const loaders = { mnist, pneumonia: pneumoniaMnist };

export default defineExperiment({
  name: "keep_rates",
  version: 1,
  question: "Which method keeps accuracy as fewer tokens stay, and is the order the same on both data sets?",
  grid: {
    data: ["mnist", "pneumonia"],
    method: ["topk", "evit", "ats", "tome", "dpcknn", "kmedoids", "pitome", "fixedPattern", "random", "pooling"],
    keepRate: [0.9, 0.7, 0.5, 0.25],
  },
  seeds: [1, 2, 3],
  fast: { grid: { keepRate: [0.7, 0.25] }, seeds: [1] },
  data: [
    new URL("../../data/vit-nano/", import.meta.url),
    new URL("../../data/mnist-t10k/", import.meta.url),
    new URL("../../data/pneumoniamnist/", import.meta.url),
  ],
  rowSeconds: 4,
  async row({ data, method, keepRate }, { seed, fast }) {
    const all = await loaders[data].load("test");
    const set = selectImages(all, random(seed, "test images").permutation(all.count).slice(0, fast ? 200 : 600));
    const model = await ViT.load(data);
    try {
      const reducer = reducers[method]({ keepRate });
      const { accuracy, macs, tokens } = await evaluate(model, set, { reducer, seed });
      return { accuracy, macsShare: macs / model.macs(), tokensLeft: tokens };
    } finally {
      model.dispose();
    }
  },
});
