/**
 * What token reduction costs and what it loses, on both vit-nano models: accuracy against MACs and against measured
 * time, for methods that need no training, with the two controls.
 *
 * Each seed draws 800 test images and feeds the methods that use chance, so that bands show both kinds of chance. Time is
 * that of the compiled model on batches of 200, in turn with the same model unreduced: what counts is the ratio.
 *
 * @module
 */
import { type ImageSet, mnist, normalize, pneumoniaMnist, selectImages } from "../../lib/data/mod.ts";
import { defineExperiment } from "../../lib/experiment/mod.ts";
import { evaluate, type Reducer, ViT } from "../../lib/nn/mod.ts";
import { random } from "../../lib/random.ts";
import { reducers } from "../../lib/reduction/mod.ts";
import { quantile } from "../../lib/stats.ts";
import { compile, randomKey, tf } from "../../lib/tensor/mod.ts";

const loaders = { mnist, pneumonia: pneumoniaMnist };
const IMAGES = 800;
const BATCH = 200;
const ROUNDS = 9;

export default defineExperiment({
  name: "pareto",
  version: 1,
  question: "Which method loses least at the same cost, counted and measured, and is it better than chance?",
  grid: {
    data: ["mnist", "pneumonia"],
    method: [
      "tome",
      "pitome",
      "tofu",
      "mctf",
      "evit",
      "topk",
      "ats",
      "dpcknn",
      "kmedoids",
      "fixedPattern",
      "random",
      "pooling",
    ],
    r: [4, 8, 12],
  },
  seeds: [1, 2, 3],
  fast: { grid: { method: ["tome", "topk", "evit", "random", "pooling"], r: [8] }, seeds: [1] },
  rowSeconds: 2,
  data: [
    new URL("../../data/vit-nano/", import.meta.url),
    new URL("../../data/mnist-t10k/", import.meta.url),
    new URL("../../data/pneumoniamnist/", import.meta.url),
  ],
  async row({ data, method, r }, { seed }) {
    const all = await loaders[data].load("test");
    const drawn = random(seed, "test images").permutation(all.count).slice(0, IMAGES);
    const set = selectImages(all, drawn);
    const model = await ViT.load(data);
    try {
      const reducer = reducers[method]({ r });
      const { accuracy, macs, tokens, backend: _, ...rest } = await evaluate(model, set, { reducer, seed });
      const plainMACs = model.macs();
      const speed = method === "kmedoids" ? { msPlain: NaN, ms: NaN } : time(model, set, reducer);
      return {
        accuracy,
        auroc: rest.auroc ?? null,
        images: rest.images,
        patches: tokens - 1,
        macs,
        macsShare: macs / plainMACs,
        msPlain: numberOrNull(speed.msPlain),
        ms: numberOrNull(speed.ms),
        timeShare: numberOrNull(speed.ms / speed.msPlain),
      };
    } finally {
      model.dispose();
    }
  },
});

function numberOrNull(value: number): number | null {
  return Number.isFinite(value) ? value : null;
}

/** Median milliseconds of one image in the compiled model, without and with the reducer, measured in turn. */
function time(model: ViT, set: ImageSet, reducer: Reducer) {
  const { data, shape } = normalize(selectImages(set, Array.from({ length: BATCH }, (_, i) => i % set.count)));
  const images = tf.tensor4d(data, shape);
  const key = randomKey(1);
  const whole = compile((x: tf.Tensor4D) => model.forward(x).logits, { xla: false });
  const reduced = compile((x: tf.Tensor4D, key: tf.Tensor1D) => model.forward(x, { reducer, key }).logits, {
    xla: false,
  });
  const once = (run: () => tf.Tensor): number => {
    const start = performance.now();
    const logits = run();
    logits.dataSync();
    logits.dispose();
    return (performance.now() - start) / BATCH;
  };
  const plain: number[] = [], less: number[] = [];
  for (let round = 0; round <= ROUNDS; round++) {
    const [a, b] = [once(() => whole(images)), once(() => reduced(images, key))];
    if (round === 0) continue; // it traces
    plain.push(a);
    less.push(b);
  }
  whole.dispose();
  reduced.dispose();
  tf.dispose([images, key]);
  return { msPlain: quantile(plain, 0.5), ms: quantile(less, 0.5) };
}
