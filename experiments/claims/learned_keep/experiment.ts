/**
 * Reduction learnt by reward: does a policy that is paid for right answers and pays for tokens know where they are needed?
 * One classifier per seed, trained and then frozen; per price policies by each of two estimators of
 * their gradient; one of them sees each token alone.
 *
 * Kong et al., "Token Reduction Should Go Beyond Efficiency in Generative Models", 2025, arXiv:2505.18227, section 5.3.
 *
 * @module
 */
import { defineExperiment } from "../../../lib/experiment/mod.ts";
import { random } from "../../../lib/random.ts";
import type { KeepPolicyParameters } from "../../../lib/reduction/mod.ts";
import { spearman } from "../../../lib/stats.ts";
import { compile, flatten, randomKey, tf, tidy } from "../../../lib/tensor/mod.ts";
import { adamW, cosineRate, fit, type TrainingData, trainStep } from "../../../lib/train/mod.ts";
import {
  CELLS,
  CHANNELS,
  CLUTTER,
  highest,
  type Images,
  images,
  learners,
  oddsOf,
  policy,
  right,
  seen,
  type Seer,
  seer,
  seerLoss,
  SHAPES,
} from "./model.ts";

/** What the whole image would cost, beside a right answer's 1. */
export const PRICES = [0.5, 1, 2] as const;
const BATCH = 32;

export default defineExperiment({
  name: "learned_keep",
  version: 1,
  question:
    "Does a policy that is paid for right answers and pays for tokens know which are needed, and when more are?",
  grid: { classifier: ["trained, then frozen"] },
  seeds: [0, 1, 2, 3, 4],
  fast: { seeds: [0, 1, 2] },
  rowSeconds: 240,
  async row(_, { seed, fast, signal }) {
    const [train, test] = [images(fast ? 1152 : 2304, 2 * seed), images(fast ? 384 : 768, 2 * seed + 1)];
    const [updates, epochs] = fast ? [100, 12] : [400, 20];
    const model = seer(seed);
    await teach(model, train, { seed, epochs, signal });
    const x = tf.tensor3d(test.x, [test.count, CELLS, CHANNELS]);
    const shapes = tf.tensor2d(test.shapes, [test.count, SHAPES]);
    const rows: Line[] = [];
    const book = (arm: string, price: number | null, kept: tf.Tensor2D, variance: number | null = null) => {
      const told = tidy(() => right(seen(model, x, kept), shapes).dataSync());
      rows.push({ arm, price, ...measured(test, told, kept.dataSync()), "gradient variance": variance });
      kept.dispose();
    };
    book("none", null, tf.ones([test.count, CELLS]));
    book("object cells", null, tf.tensor2d(Float32Array.from(test.object), [test.count, CELLS]));
    const norm = tidy(() => x.square().sum<tf.Tensor2D>(2));
    const chance = tf.tensor2d(random(seed, "chance").uniforms(test.count * CELLS), [test.count, CELLS]);
    for (const price of fast ? [1] : PRICES) {
      for (const [learner, { sight }] of Object.entries(learners)) {
        const learned = policy(seed);
        const variance = learn(model, learned, train, { learner: learner as Learner, price, updates, seed, signal });
        const odds = tidy(() => oddsOf(x, learned, sight));
        const kept = tidy(() => tf.greater(odds, 0).cast<tf.Tensor2D>("float32"));
        const numbers = tidy(() => kept.sum(1).cast("int32").dataSync<"int32">()).slice();
        book(learner, price, kept, variance);
        const fixed = Math.round(numbers.reduce((sum, n) => sum + n, 0) / test.count);
        if (learner === "REINFORCE") {
          book("its scores, one number for all", price, highest(odds, fixed));
          book("norm, one number for all", price, highest(norm, fixed));
          book("norm, its numbers", price, highest(norm, numbers));
          book("random, one number for all", price, highest(chance, fixed));
          book("random, its numbers", price, highest(chance, numbers));
        }
        tf.dispose([odds, ...flatten(learned).values()]);
      }
    }
    tf.dispose([x, shapes, norm, chance, ...flatten(model).values()]);
    return rows;
  },
});

type Line = {
  arm: string;
  price: number | null;
  accuracy: number;
  kept: number;
  "kept, no clutter": number;
  "kept, most clutter": number;
  "accuracy, no clutter": number;
  "accuracy, most clutter": number;
  "kept with clutter": number;
  "object cells kept": number;
  "other cells kept": number;
  "gradient variance": number | null;
};

/** What a choice is worth: [images] 0 or 1, and [images, 64] 0 or 1. */
function measured(test: Images, told: ArrayLike<number>, kept: ArrayLike<number>) {
  const numbers = Array.from({ length: test.count }, (_, i) => {
    let n = 0;
    for (let cell = 0; cell < CELLS; cell++) n += kept[i * CELLS + cell];
    return n;
  });
  const over = (values: ArrayLike<number>, keep: (i: number) => boolean) => {
    const own = Array.from(values).filter((_, i) => keep(i));
    return Number((own.reduce((sum, v) => sum + v, 0) / own.length).toFixed(5));
  };
  const hardest = CLUTTER.length - 1;
  const same = numbers.every((n) => n === numbers[0]);
  return {
    accuracy: over(told, () => true),
    kept: over(numbers, () => true),
    "kept, no clutter": over(numbers, (i) => test.clutter[i] === 0),
    "kept, most clutter": over(numbers, (i) => test.clutter[i] === hardest),
    "accuracy, no clutter": over(told, (i) => test.clutter[i] === 0),
    "accuracy, most clutter": over(told, (i) => test.clutter[i] === hardest),
    // with one number for all there is nothing to go together
    "kept with clutter": same ? 0 : Number(spearman(numbers, [...test.clutter].map((c) => CLUTTER[c])).toFixed(5)),
    "object cells kept": over(kept, (i) => test.object[i] === 1),
    "other cells kept": over(kept, (i) => test.object[i] === 0),
  };
}

/** Trains the classifier, with some of the cells hidden. */
export async function teach(
  model: Seer,
  train: Images,
  { seed, epochs, signal }: { seed: number; epochs: number; signal?: AbortSignal },
): Promise<void> {
  const updates = epochs * Math.ceil(train.count / BATCH);
  const learningRate = cosineRate({ peak: 2e-3, updates, warmup: Math.min(100, Math.floor(updates / 4)) });
  const step = trainStep(
    (x: tf.Tensor3D, shapes: tf.Tensor2D, key: tf.Tensor1D) => seerLoss(model, x, shapes, key),
    adamW({ learningRate }),
    model,
    { clip: 1 },
  );
  const data: TrainingData<[tf.Tensor3D, tf.Tensor2D, tf.Tensor1D]> = {
    count: train.count,
    batch: (examples, { key }) => [...taken(train, examples), key],
  };
  await fit({ step, data, epochs, batch: BATCH, seed, show: false, ...(signal ? { signal } : {}) });
  step.dispose();
}

function taken(from: Images, examples: readonly number[]): [tf.Tensor3D, tf.Tensor2D] {
  const x = new Float32Array(examples.length * CELLS * CHANNELS), shapes = new Float32Array(examples.length * SHAPES);
  for (const [to, i] of examples.entries()) {
    x.set(from.x.subarray(i * CELLS * CHANNELS, (i + 1) * CELLS * CHANNELS), to * CELLS * CHANNELS);
    shapes.set(from.shapes.subarray(i * SHAPES, (i + 1) * SHAPES), to * SHAPES);
  }
  return [tf.tensor3d(x, [examples.length, CELLS, CHANNELS]), tf.tensor2d(shapes, [examples.length, SHAPES])];
}

/** Whose gradient a policy is learnt by, and what it sees. */
export type Learner = keyof typeof learners;

/** What {@link learn} wants to know. */
export interface LearnOptions {
  readonly learner: Learner;
  readonly price: number;
  readonly updates: number;
  readonly seed: number;
  readonly signal?: AbortSignal;
  /** Called before each update. */
  readonly onUpdate?: (update: number) => void;
}

/**
 * Trains a policy on a frozen classifier.
 *
 * @returns How much the gradient varies from draw to draw, a quarter of the way: the sum of the variances over the square
 *   of the mean's length, from 32 draws on one batch.
 */
export function learn(
  model: Seer,
  parameters: KeepPolicyParameters,
  train: Images,
  { learner, price, updates, seed, signal, onUpdate }: LearnOptions,
): number {
  const { loss: lossOf, sight } = learners[learner];
  const loss = (x: tf.Tensor3D, shapes: tf.Tensor2D, key: tf.Tensor1D) =>
    lossOf(model, parameters, x, shapes, key, price, sight);
  const learningRate = cosineRate({ peak: 5e-3, updates, warmup: Math.min(20, Math.floor(updates / 4)) });
  const step = trainStep(loss, adamW({ learningRate, weightDecay: 0 }), parameters, { clip: 1 });
  const order = random(seed, "batches");
  let variance = 0;
  for (let update = 0; update < updates; update++) {
    signal?.throwIfAborted();
    onUpdate?.(update);
    const batch = taken(train, Array.from({ length: BATCH }, () => order.integer(train.count)));
    if (update === Math.floor(updates / 4)) variance = variation(loss, parameters, batch, seed);
    const key = randomKey(seed, update);
    tf.dispose([...batch, key, ...Object.values(step(...batch, key))] as tf.Tensor[]);
  }
  step.dispose();
  return variance;
}

function variation(
  loss: (x: tf.Tensor3D, shapes: tf.Tensor2D, key: tf.Tensor1D) => { loss: tf.Scalar },
  parameters: KeepPolicyParameters,
  [x, shapes]: [tf.Tensor3D, tf.Tensor2D],
  seed: number,
): number {
  const variables = [...flatten(parameters).values()] as tf.Variable[];
  const gradient = compile((x: tf.Tensor3D, shapes: tf.Tensor2D, key: tf.Tensor1D) => {
    const { grads } = tf.variableGrads(() => loss(x, shapes, key).loss, variables);
    return tf.concat(variables.map(({ name }) => grads[name].flatten()));
  });
  const draws = Array.from({ length: 32 }, (_, i) => {
    const key = randomKey(seed, 1e6 + i);
    const found = gradient(x, shapes, key);
    const values = found.dataSync<"float32">().slice();
    tf.dispose([found, key]);
    return values;
  });
  gradient.dispose();
  const mean = draws[0].map((_, at) => draws.reduce((sum, draw) => sum + draw[at], 0) / draws.length);
  const spread = draws.reduce((sum, draw) => sum + draw.reduce((s, v, at) => s + (v - mean[at]) ** 2, 0), 0);
  const length = mean.reduce((sum, v) => sum + v * v, 0);
  return Number((spread / (draws.length - 1) / length).toPrecision(5));
}
