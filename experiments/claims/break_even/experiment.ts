/**
 * From how many tokens on a reduction pays: the measured time of a model with each reducer beside its multiply-accumulates.
 *
 * The model is a Vision Transformer of DeiT-Ti's width with six blocks and random weights (what a multiplication costs does not
 * depend on its numbers); each reducer removes half of the tokens, a twelfth in each block. A seed is a measurement: medians of
 * seven runs of the compiled model, in turn with the same model unreduced, so that what counts is the ratio.
 *
 * Kong et al., "Token Reduction Should Go Beyond Efficiency in Generative Models", 2025, arXiv:2505.18227, section 5.1, asks
 * for reductions that fit the machine.
 *
 * @module
 */
import { defineExperiment } from "../../../lib/experiment/mod.ts";
import { type Reducer, ViT } from "../../../lib/nn/mod.ts";
import { random } from "../../../lib/random.ts";
import { reducers } from "../../../lib/reduction/mod.ts";
import { quantile } from "../../../lib/stats.ts";
import { compile, randomKey, tf } from "../../../lib/tensor/mod.ts";

const DEPTH = 6, PATCH = 4, ROUNDS = 7;
/** Tokens of a batch, about. */
const TOGETHER = 1600;

/** What is measured: by name, from the cheapest choice to the dearest. */
export const methods = ["random", "topk", "evit", "tome", "pitome", "dpcknn"] as const;

export default defineExperiment({
  name: "break_even",
  version: 1,
  question: "From how many tokens on is a model with fewer of them faster, and by as much as its operations say?",
  grid: { tokens: [49, 100, 196, 400, 784] },
  seeds: [0, 1, 2, 3, 4],
  fast: { grid: { tokens: [49, 196] }, seeds: [0] },
  rowSeconds: 15,
  row({ tokens }, { seed, signal }) {
    const side = Math.sqrt(tokens) * PATCH, batch = Math.max(1, Math.round(TOGETHER / tokens));
    const model = ViT.create({
      ...{ imageSize: side, patchSize: PATCH, channels: 3, classes: 10 },
      ...{ width: 192, depth: DEPTH, heads: 3, mlpWidth: 768 },
    }, random(seed, "weights"));
    const images = tf.tensor4d(random(seed, "images").normals(batch * side * side * 3), [batch, side, side, 3]);
    const plainMACs = model.macs();
    const lines = methods.map((method) => {
      signal.throwIfAborted();
      const reducer: Reducer = reducers[method]({ r: Math.round(tokens / 2 / DEPTH) });
      const { whole, reduced } = time(model, images, reducer);
      return {
        method,
        batch,
        macsShare: Number((model.macs(reducer) / plainMACs).toFixed(4)),
        timeShare: Number((reduced / whole).toFixed(4)),
        msWhole: Number((whole / batch).toFixed(3)),
        msReduced: Number((reduced / batch).toFixed(3)),
      };
    });
    images.dispose();
    model.dispose();
    return lines;
  },
});

/** Median milliseconds of a batch, without and with the reducer, measured in turn. */
function time(model: ViT, images: tf.Tensor4D, reducer: Reducer): { whole: number; reduced: number } {
  const key = randomKey(1);
  const plain = compile((x: tf.Tensor4D) => model.forward(x).logits, { xla: false });
  const less = compile((x: tf.Tensor4D, key: tf.Tensor1D) => model.forward(x, { reducer, key }).logits, { xla: false });
  const once = (run: () => tf.Tensor): number => {
    const start = performance.now();
    const logits = run();
    logits.dataSync();
    logits.dispose();
    return performance.now() - start;
  };
  const pairs = Array.from({ length: ROUNDS + 1 }, () => [once(() => plain(images)), once(() => less(images, key))])
    .slice(1); // the first traces
  plain.dispose();
  less.dispose();
  key.dispose();
  const [whole, reduced] = [0, 1].map((which) => quantile(pairs.map((pair) => pair[which]), 0.5));
  return { whole, reduced };
}
