/**
 * Two trainings of one model at the same cost: all 64 image tokens in each step, or 64, 16 and 4 of them with the loss
 * averaged; and how well the image tokens tell which words they show.
 *
 * Cai et al., "Matryoshka Multimodal Models", ICLR 2025, arXiv:2405.17430, section 3: average squares of tokens, all scales
 * in each step.
 *
 * @module
 */
import { gridQuestions } from "../../../lib/data/mod.ts";
import { leastSquares } from "../../../lib/editing/baselines.ts";
import { crossEntropy } from "../../../lib/nn/mod.ts";
import { tf, tidy } from "../../../lib/tensor/mod.ts";
import { adamW, cosineRate, fit, onlyMatrices, trainStep } from "../../../lib/train/mod.ts";
import { questionTensors } from "../../vlm/evaluate.ts";
import { TinyVLM, tinyVLMConfig } from "../../vlm/models/tiny_vlm.ts";

/** Image tokens of each scale: the grid itself, and average squares of 2 x 2 and of 4 x 4. */
export const SCALES = [64, 16, 4] as const;
/** One of them. */
export type Scale = typeof SCALES[number];

/** The two trainings. */
export const trainings = { whole: [64], nested: SCALES } as const satisfies Record<string, readonly Scale[]>;
/** Name of a training. */
export type TrainingName = keyof typeof trainings;

const config = { ...tinyVLMConfig, depth: 2 };
const BATCH = 32, QUESTIONS = 12, WORDS = 3;

/**
 * Averages squares of cells.
 *
 * @param features [batch, 64, channels]
 * @returns [batch, scale, channels]
 */
export function pooled(features: tf.Tensor3D, scale: Scale): tf.Tensor3D {
  if (scale === 64) return features.clone();
  const [batch, , channels] = features.shape;
  const side = Math.sqrt(scale), width = 8 / side;
  return tidy(() =>
    features.reshape([batch, side, width, side, width * channels])
      .reshape([batch, side, width, side, width, channels]).mean([2, 4]).reshape<tf.Tensor3D>([batch, scale, channels])
  );
}

/** A new model. */
export function newModel(seed: number): TinyVLM {
  return TinyVLM.initial(seed, config);
}

/** The same weights, over another number of image tokens. */
export function atScale({ parameters }: TinyVLM, scale: Scale): TinyVLM {
  return new TinyVLM(parameters, { ...config, grid: [Math.sqrt(scale), Math.sqrt(scale)] });
}

/** Multiply-accumulates of an image with all its questions, in the blocks. */
export function macsOf(scale: Scale): number {
  const { width, mlpWidth, depth } = config, n = scale + QUESTIONS * WORDS;
  return depth * (4 * n * width ** 2 + 2 * n ** 2 * width + 2 * n * width * mlpWidth);
}

/** Steps of a training that cost as much as `steps` of the whole one. */
export function stepsOf(training: TrainingName, steps: number): number {
  const cost = trainings[training].reduce((sum, scale) => sum + macsOf(scale), 0);
  return Math.round(steps * macsOf(64) / cost);
}

/** Trains a model; `steps` are those that the whole training takes. */
export async function train(
  model: TinyVLM,
  { training, seed, steps, signal }: { training: TrainingName; seed: number; steps: number; signal?: AbortSignal },
): Promise<void> {
  const own = stepsOf(training, steps);
  const models = trainings[training].map((scale) => [scale, atScale(model, scale)] as const);
  const step = trainStep(
    (features: tf.Tensor3D, text: tf.Tensor3D, answer: tf.Tensor2D) => {
      const losses = models.map(([scale, at]) =>
        crossEntropy(at.forward(pooled(features, scale), text).logits, answer) as tf.Scalar
      );
      return losses.reduce((sum, loss) => sum.add(loss)).div<tf.Scalar>(losses.length);
    },
    adamW({
      learningRate: cosineRate({ peak: 2e-3, updates: own, warmup: Math.min(100, Math.floor(own / 4)) }),
      decays: onlyMatrices,
    }),
    model.parameters,
    { clip: 1 },
  );
  try {
    await fit({
      ...{ step, epochs: 1, batch: BATCH, seed, show: false },
      data: {
        count: own * BATCH, // of images that are never the same
        batch: (rows, { step }): [tf.Tensor3D, tf.Tensor3D, tf.Tensor2D] => {
          const set = gridQuestions({ images: rows.length, seed: 1_000_000 * (seed + 1) + step });
          const { features, text, answer, shown } = questionTensors(set);
          shown.dispose();
          return [features, text, answer];
        },
      },
      ...(signal ? { signal } : {}),
    });
  } finally {
    step.dispose();
  }
}

/** What a model knows at a scale: shares of right answers to questions that need one look, and the alignment. */
export interface Known {
  readonly colour: number;
  readonly half: number;
  /** Of each block. See {@link alignment}. */
  readonly alignment: readonly number[];
}

/** Asks all questions to `images` new images, and looks at the image tokens. */
export function known(model: TinyVLM, scale: Scale, { images, seed }: { images: number; seed: number }): Known {
  const set = gridQuestions({ images, seed });
  const at = atScale(model, scale);
  return tidy(() => {
    const { features, text, answer, shown } = questionTensors(set);
    const { logits, states } = at.forward(pooled(features, scale), text, { states: true });
    const right = tf.equal(logits.argMax(2), answer).cast("float32").dataSync<"float32">();
    const share = (kind: number) => {
      const all = right.filter((_, question) => set.kind[question] === kind);
      return all.reduce((sum, one) => sum + one, 0) / all.length;
    };
    // what an image shows, in the words' own vectors: the mean over its shapes and colours
    const target = tf.matMul(shown, at.parameters.embed.weight as tf.Tensor2D).div(shown.sum(1, true));
    return {
      colour: share(0),
      half: share(1),
      alignment: states.map((state) =>
        alignment(state.mean<tf.Tensor2D>(1).arraySync(), target.arraySync() as number[][])
      ),
    };
  });
}

/**
 * How much of the targets a ridge regression foretells on the half of the rows that it has not seen: R², of all columns together;
 * 0 is what their mean would do.
 *
 * @param rows [images][channels]
 * @param targets [images][channels]
 */
export function alignment(rows: readonly number[][], targets: readonly number[][], ridge = 1): number {
  const half = Math.floor(rows.length / 2);
  const centre = (values: readonly number[][]) =>
    values[0].map((_, column) => values.slice(0, half).reduce((sum, row) => sum + row[column], 0) / half);
  const [from, to] = [centre(rows), centre(targets)];
  const less = (values: readonly number[][], by: readonly number[]) =>
    values.map((row) => row.map((x, i) => x - by[i]));
  const [x, y] = [less(rows, from), less(targets, to)];
  const weights = leastSquares(x.slice(0, half), y.slice(0, half), ridge); // [channels][columns]
  let left = 0, all = 0;
  for (let row = half; row < rows.length; row++) {
    y[row].forEach((truth, column) => {
      const said = x[row].reduce((sum, value, i) => sum + value * weights[i][column], 0);
      left += (truth - said) ** 2;
      all += truth ** 2;
    });
  }
  return 1 - left / all;
}
