/**
 * What an image token is worth to an answer, truly and by scores: leave it out of a frozen model and see; or ask its attention,
 * its norm, its neighbours, a gradient, or a small network that has learnt to foretell it.
 *
 * @module
 */
import { gridQuestions } from "../../../lib/data/mod.ts";
import {
  budgetOf,
  type Described,
  embedding,
  gelu,
  initialise,
  linear,
  linearLayer,
  type Reducer,
  trainable,
} from "../../../lib/nn/mod.ts";
import { random } from "../../../lib/random.ts";
import { pruneByScore } from "../../../lib/reduction/prune.ts";
import { tf, tidy } from "../../../lib/tensor/mod.ts";
import { adamW, fit, trainStep } from "../../../lib/train/mod.ts";
import type { TinyVLM } from "../../vlm/models/tiny_vlm.ts";

/** Cells of an image. */
export const CELLS = 64;

/** One question about the colour of an object to each image. The tensors are the caller's. */
export interface Questions {
  readonly count: number;
  /** [count, 64, 16] */
  readonly features: tf.Tensor3D;
  /** int32 [count, 1, 3] */
  readonly text: tf.Tensor3D;
  readonly answer: readonly number[];
  /** [count][64]: 1 for the cells of the object that is asked for. */
  readonly object: readonly number[][];
}

/** Draws images, and asks each for the colour of its first object. */
export function questionsOf(count: number, seed: number): Questions {
  const set = gridQuestions({ images: count, seed });
  const places = Array.from({ length: count }, (_, image) => {
    const own = Array.from({ length: set.questions }, (_, q) => image * set.questions + q);
    return own.find((q) => set.kind[q] === 0)!;
  });
  const each = set.questionLength;
  return {
    count,
    features: tf.tensor3d(set.features, [count, CELLS, set.channels]),
    text: tf.tensor3d(
      places.flatMap((q) => [...set.text.subarray(q * each, (q + 1) * each)]),
      [count, 1, each],
      "int32",
    ),
    answer: places.map((q) => set.answer[q]),
    object: places.map((q) => {
      const needed = new Set(set.needed.subarray(q * 8, (q + 1) * 8));
      return Array.from({ length: CELLS }, (_, cell) => Number(needed.has(cell)));
    }),
  };
}

/** Keeps the tokens with the highest scores, before the first block. */
export function keepHighest(score: tf.Tensor2D, keep: number): Reducer {
  const plan: Reducer["plan"] = ({ layer, tokens }) =>
    budgetOf(tokens, layer === 0 ? keep : tokens, layer === 0 ? tokens - keep : 0, "");
  return {
    name: "by a given score",
    needs: [],
    hook: "beforeBlock",
    proportionalAttention: false,
    plan,
    reduce: (view) => ({ ...pruneByScore(score, { keep }), budget: plan(view) }),
  };
}

/** ln p of the right answer: [count]. */
function logRight(model: TinyVLM, { features, text, answer }: Questions, reducer?: Reducer): tf.Tensor1D {
  return tidy(() => {
    const { logits } = model.forward(features, text, reducer ? { reducer } : {});
    const said = tf.logSoftmax(logits.squeeze<tf.Tensor2D>([1]));
    return said.mul(tf.oneHot(tf.tensor1d([...answer], "int32"), said.shape[1])).sum<tf.Tensor1D>(1);
  });
}

/** Share of right answers with the tokens of highest score. */
export function accuracyWith(model: TinyVLM, questions: Questions, score: readonly number[][], keep: number): number {
  return tidy(() => {
    const { features, text, answer } = questions;
    const reducer = keepHighest(tf.tensor2d(score as number[][]), keep);
    const best = model.forward(features, text, { reducer }).logits.argMax(2).dataSync();
    return answer.filter((right, i) => best[i] === right).length / answer.length;
  });
}

/** What leaving out each token takes from ln p of the right answer: [count][64]. 64 runs of the model. */
export function trueImportance(model: TinyVLM, questions: Questions): number[][] {
  const whole = logRight(model, questions).arraySync();
  const lost = Array.from({ length: CELLS }, (_, cell) =>
    tidy(() => {
      const score = tf.tensor2d([Array.from({ length: CELLS }, (_, at) => Number(at !== cell))]).tile([
        questions.count,
        1,
      ]);
      return logRight(model, questions, keepHighest(score as tf.Tensor2D, CELLS - 1)).arraySync();
    }));
  return whole.map((value, i) => lost.map((without) => value - without[i]));
}

/** Scores that somebody thought of, each [count][64]. The gradient's knows the right answer, which no method that runs can. */
export function handMade(model: TinyVLM, questions: Questions, seed: number): Record<string, number[][]> {
  const { features, count } = questions;
  return tidy(() => {
    const { attention, norm, likeness } = lookedAt(model, questions);
    const gradient = tf.grad((from) => logRight(model, { ...questions, features: from as tf.Tensor3D }).sum())(
      features,
    );
    const draw = random(seed, "random scores");
    return {
      attention: attention.arraySync(),
      norm: norm.arraySync(),
      "unlike the others": tf.neg(likeness).arraySync() as number[][],
      "gradient times input": gradient.mul(features).sum(2).arraySync() as number[][],
      random: Array.from({ length: count }, () => [...draw.uniforms(CELLS)]),
    };
  });
}

/** What is known of each token before the first block: [count, 64] each, and the tokens themselves. */
function lookedAt(model: TinyVLM, { features, text }: Questions) {
  const x = linear(features, model.parameters.projector) as tf.Tensor3D;
  const [first] = model.forward(features, text).attention;
  const attention = first.slice([0, 0, first.shape[2] - 1, 0], [-1, -1, 1, CELLS]).mean<tf.Tensor3D>(1)
    .squeeze<tf.Tensor2D>([1]);
  const norm = x.norm("euclidean", 2) as tf.Tensor2D;
  const unit = x.div<tf.Tensor3D>(norm.expandDims(2).add(1e-9));
  const cosines = tf.matMul(unit, unit, false, true).sub(tf.eye(CELLS).mul(2));
  return { x, attention, norm, likeness: cosines.max<tf.Tensor2D>(2) };
}

/**
 * What a predictor reads of each token: [count x 64, 131]: the token, the token times the word that is asked about, attention,
 * norm, likeness to its nearest.
 */
export function evidence(model: TinyVLM, questions: Questions): tf.Tensor2D {
  return tidy(() => {
    const { x, attention, norm, likeness } = lookedAt(model, questions);
    const about = embedding(
      questions.text.slice([0, 0, 1], [-1, -1, 1]).squeeze<tf.Tensor2D>([2]),
      model.parameters.embed,
    );
    const column = (of: tf.Tensor2D) => of.expandDims<tf.Tensor3D>(2);
    return tf.concat([
      x,
      x.mul<tf.Tensor3D>(about),
      column(tf.log(attention.add(1e-6))),
      column(norm),
      column(likeness),
    ], 2)
      .reshape<tf.Tensor2D>([questions.count * CELLS, -1]);
  });
}

const describe = (inputs: number) => ({ hidden: linearLayer(inputs, 32), out: linearLayer(32, 1) });

/** Foretells importance from evidence. */
export interface Predictor {
  /** [count][64] */
  predict(evidence: tf.Tensor2D): number[][];
  dispose(): void;
}

/** Trains a predictor: 32 hidden numbers, Huber's loss, columns and targets standardised. */
export async function trainPredictor(
  inputs: tf.Tensor2D,
  targets: readonly number[][],
  { seed, steps, signal }: { seed: number; steps: number; signal?: AbortSignal },
): Promise<Predictor> {
  const [rows, width] = inputs.shape;
  const { mean, variance } = tf.moments(inputs, 0);
  const centre = mean as tf.Tensor1D, spread = variance.sqrt().add<tf.Tensor1D>(1e-6);
  const flat = targets.flat(), middle = flat.reduce((sum, one) => sum + one, 0) / rows;
  const deviation = Math.sqrt(flat.reduce((sum, one) => sum + (one - middle) ** 2, 0) / rows) || 1;
  const parameters: Described<ReturnType<typeof describe>> = trainable(
    initialise(describe(width), random(seed, "predictor")),
  );
  const foretold = (x: tf.Tensor2D) =>
    tidy(() =>
      linear(gelu(linear(x.sub<tf.Tensor2D>(centre).div<tf.Tensor2D>(spread), parameters.hidden)), parameters.out)
    ) as tf.Tensor2D;
  const step = trainStep(
    (x: tf.Tensor2D, y: tf.Tensor2D) => tf.losses.huberLoss(y, foretold(x)).mean<tf.Scalar>(),
    adamW({ learningRate: 3e-3 }),
    parameters,
    { clip: 1 },
  );
  const draw = random(seed, "rows");
  await fit({
    ...{ step, epochs: 1, batch: 1, seed, show: false },
    data: {
      count: steps, // a step is a draw of 1,024 tokens
      batch: (): [tf.Tensor2D, tf.Tensor2D] => {
        const chosen = Array.from({ length: 1024 }, () => draw.integer(rows));
        return [
          tidy(() => tf.gather(inputs, tf.tensor1d(chosen, "int32"))),
          tf.tensor2d(chosen.map((row) => [(flat[row] - middle) / deviation])),
        ];
      },
    },
    ...(signal ? { signal } : {}),
  });
  step.dispose();
  return {
    predict: (evidence) => tidy(() => foretold(evidence).reshape<tf.Tensor2D>([-1, CELLS]).arraySync()),
    dispose: () => tf.dispose([centre, spread, parameters as unknown as tf.TensorContainer] as tf.TensorContainer),
  };
}
