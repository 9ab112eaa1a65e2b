/**
 * A tiny language model that learns the rule from a part of the targets.
 *
 * Lin et al., "Rho-1: Not All Tokens Are What You Need", NeurIPS 2024, arXiv:2404.07965: the loss is taken of the tokens whose
 * loss exceeds a reference model's most.
 *
 * @module
 */
import { Llama, trainable } from "../../../lib/nn/mod.ts";
import { random } from "../../../lib/random.ts";
import { type LossChoice, selectedLoss, selectLoss } from "../../../lib/reduction/mod.ts";
import { randomKey, tf, tidy } from "../../../lib/tensor/mod.ts";
import { adamW, cosineRate, onlyMatrices, trainStep } from "../../../lib/train/mod.ts";
import { noisyTexts, SYMBOLS, TOKENS } from "./rule.ts";

/** Which targets teach: all, Rho-1's, its two halves, the two extremes, chance, or those known to be clean. */
export type Arm = "all" | "random" | "excess" | "reference" | "hard" | "easy" | "oracle";

/** Steps of a training, texts of a step, and steps between two looks at the test texts. */
export const STEPS = 300, BATCH = 32, LOOK = 50;
const TEST_TEXTS = 64;

/** What a training was. */
export interface Curve {
  /** Accuracy on clean test texts after every {@link LOOK} steps. */
  readonly accuracy: readonly number[];
  /** Standard deviation of the gradient's norm over its mean, after step 50. */
  readonly variation: number;
  /** Steps whose loss lies more than four standard deviations above that of the 50 before. */
  readonly spikes: number;
  readonly finite: boolean;
}

/** Options of {@link learnRule}. */
export interface LearnOptions {
  readonly arm: Arm;
  readonly noise: number;
  readonly rate: number;
  readonly seed: number;
  /** Default: {@link STEPS}. */
  readonly steps?: number;
  readonly reference?: Llama;
  /** Whether this trains the reference model: other weights, other texts. */
  readonly isReference?: boolean;
  readonly signal?: AbortSignal;
}

/** A new model for the rule. */
export function ruleModel(seed: number, isReference = false): Llama {
  const config = { vocabulary: SYMBOLS, width: 64, depth: 2, heads: 4, keyHeads: 4, mlpWidth: 128, context: TOKENS };
  const start = Llama.create(config, random(seed, isReference ? "reference" : "weights"));
  return new Llama(config, trainable(start.weights));
}

/** -ln p of each target: [texts, tokens - 1] */
export function lossOf(model: Llama, tokens: tf.Tensor2D, targets: tf.Tensor2D): tf.Tensor2D {
  return tidy(() => {
    const [texts, count] = tokens.shape;
    const logits = model.forward(tokens).logits.slice([0, 0, 0], [texts, count - 1, -1]);
    return tf.logSoftmax(logits).mul(tf.oneHot(targets, SYMBOLS)).sum<tf.Tensor2D>(2).neg();
  });
}

/** Trains a model by one arm, and looks at it along the way. The caller disposes of the model. */
export function learnRule(options: LearnOptions): { model: Llama; curve: Curve } {
  const { arm, noise, rate, seed, reference, signal, steps = STEPS, isReference = false } = options;
  const model = ruleModel(seed, isReference);
  const firstText = 1000 * (seed + 1) + (isReference ? 500_000 : 0);
  const optimizer = adamW({
    learningRate: cosineRate({ peak: rate, updates: steps, warmup: Math.min(100, Math.floor(steps / 4)) }),
    decays: onlyMatrices,
  });
  const keepRate = 1 - noise;
  const step = trainStep(
    (tokens: tf.Tensor2D, targets: tf.Tensor2D, clean: tf.Tensor2D, key: tf.Tensor1D) => {
      const loss = lossOf(model, tokens, targets);
      if (arm === "all") return { loss: loss.mean() as tf.Tensor };
      if (arm === "oracle") return { loss: selectedLoss(loss, clean) as tf.Tensor };
      const other = reference && (arm === "excess" || arm === "reference")
        ? lossOf(reference, tokens, targets)
        : undefined;
      const choice: LossChoice = arm;
      return { loss: selectedLoss(loss, selectLoss(loss, other, { keepRate, choice, key })) as tf.Tensor };
    },
    optimizer,
    model.weights,
    { clip: 1 },
  );
  const held = noisyTexts({ texts: TEST_TEXTS, noise: 0, rule: seed, seed: 999_999 });
  const accuracy: number[] = [], losses: number[] = [], norms: number[] = [];
  let spikes = 0, finite = true;
  for (let i = 0; i < steps && finite; i++) {
    signal?.throwIfAborted();
    const { tokens, targets, clean } = noisyTexts({ texts: BATCH, noise, rule: seed, seed: firstText + i });
    const { loss, norm } = tidy(() => {
      const shape: [number, number] = [BATCH, TOKENS - 1];
      const { loss, gradientNorm: of } = step(
        tf.tensor2d(tokens, [BATCH, TOKENS], "int32"),
        tf.tensor2d(targets, shape, "int32"),
        tf.tensor2d(clean, shape),
        randomKey(seed, i),
      );
      return { loss: loss.dataSync()[0], norm: of!.dataSync()[0] };
    });
    finite = Number.isFinite(loss);
    const before = losses.slice(-50);
    if (before.length === 50) {
      const mean = before.reduce((sum, value) => sum + value, 0) / 50;
      const deviation = Math.sqrt(before.reduce((sum, value) => sum + (value - mean) ** 2, 0) / 50);
      spikes += Number(loss > mean + 4 * deviation);
    }
    losses.push(loss);
    if (i >= 50) norms.push(norm);
    if ((i + 1) % LOOK === 0) accuracy.push(finite ? cleanAccuracy(model, held) : 0);
  }
  step.dispose();
  while (accuracy.length < Math.floor(steps / LOOK)) accuracy.push(0); // it has diverged
  const mean = norms.reduce((sum, value) => sum + value, 0) / Math.max(1, norms.length);
  const spread = Math.sqrt(norms.reduce((sum, value) => sum + (value - mean) ** 2, 0) / Math.max(1, norms.length));
  return { model, curve: { accuracy, variation: finite && norms.length ? spread / mean : 0, spikes, finite } };
}

/** Share of next symbols that the model gets right where the rule gives them. */
export function cleanAccuracy(model: Llama, { tokens, targets, clean }: ReturnType<typeof noisyTexts>): number {
  const texts = tokens.length / TOKENS;
  const best = tidy(() =>
    model.forward(tf.tensor2d(tokens, [texts, TOKENS], "int32")).logits.argMax(2)
      .slice([0, 0], [texts, TOKENS - 1]).dataSync()
  );
  let right = 0, asked = 0;
  clean.forEach((is, i) => {
    asked += is;
    right += Number(is > 0 && best[i] === targets[i]);
  });
  return right / asked;
}
