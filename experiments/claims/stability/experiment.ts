/**
 * Does a loss of fewer tokens train more steadily? A tiny language model learns a rule from targets of which a part is noise:
 * from all of them, from Rho-1's choice, and from five controls, at three learning rates.
 *
 * Kong et al., "Token Reduction Should Go Beyond Efficiency in Generative Models", 2025, arXiv:2505.18227, section 4.4, argues
 * that fewer, better tokens train more stably; it has no experiment of its own. Each arm keeps the share 1 - noise of the
 * targets, so that chance and choice have the same number. A seed is that of the rule, the texts and the weights.
 *
 * @module
 */
import { remember } from "../../../lib/data/files.ts";
import { defineExperiment } from "../../../lib/experiment/mod.ts";
import { tf } from "../../../lib/tensor/mod.ts";
import { learnRule, LOOK, STEPS } from "./train.ts";

/** The reference model of a seed: trained on clean targets. A worker takes many rows. */
const referenceOf = remember((seed: number) =>
  Promise.resolve(learnRule({ arm: "all", noise: 0, rate: 2e-3, seed, isReference: true }).model)
);

export default defineExperiment({
  name: "stability",
  version: 1,
  question: "Does a loss of fewer, chosen tokens learn faster, and more steadily, than a loss of all?",
  grid: {
    noise: [0.5],
    rate: [0.002, 0.008, 0.032],
    arm: ["all", "random", "excess", "reference", "hard", "easy", "oracle"],
  },
  seeds: [0, 1, 2, 3, 4],
  fast: { grid: { rate: [0.008], arm: ["all", "random", "excess", "oracle"] }, seeds: [0, 1] },
  rowSeconds: 5,
  async row({ noise, rate, arm }, { seed, signal, fast }) {
    const reference = arm === "excess" || arm === "reference" ? await referenceOf(seed) : undefined;
    const { model, curve } = learnRule({
      ...{ arm, noise, rate, seed, signal, steps: fast ? 150 : STEPS },
      ...(reference ? { reference } : {}),
    });
    tf.dispose(model.weights as object as tf.TensorContainer);
    const after = (steps: number) => curve.accuracy[steps / LOOK - 1] ?? null;
    const reached = curve.accuracy.findIndex((accuracy) => accuracy >= 0.9);
    return {
      after50: rounded(after(50)),
      after100: rounded(after(100)),
      after150: rounded(after(150)),
      after200: rounded(after(200)),
      final: rounded(curve.accuracy.at(-1)!),
      stepsTo90: reached < 0 ? null : LOOK * (reached + 1),
      variation: rounded(curve.variation),
      spikes: curve.spikes,
      diverged: !curve.finite,
    };
  },
});

function rounded(value: number | null): number | null {
  return value === null ? null : Number(value.toFixed(4));
}
