/**
 * Is the shape in the image? Grids of noisy cells in which shapes come in pairs, a small decoder that is asked for each
 * shape, and ways to take cells from its sight. In training one shape of a pair mostly means that the other is there too;
 * in the test it does not, so that whoever answers from habit says yes to what is not there.
 *
 * The questions: Li et al., "Evaluating Object Hallucination in Large Vision-Language Models" (POPE), EMNLP 2023,
 * arXiv:2305.10355, section 5: absent shapes are random, popular in training, or such as go together with one that is there.
 * The contrast: Zhuang et al., "VASparse", CVPR 2025, arXiv:2501.06553, with its rate 0.5 and weight 0.1.
 *
 * @module
 */
import { initialise, linear, linearLayer, Llama, type LlamaConfig, normal, trainable } from "tessera/nn/mod.ts";
import { type Random, random } from "tessera/random.ts";
import { maxMinOrder } from "tessera/reduction/divprune.ts";
import { tf, tidy } from "tessera/tensor/mod.ts";
import { adamW, cosineRate, onlyMatrices, trainStep } from "tessera/train/mod.ts";

/** Shapes: 0 and 1 are a pair, so are 2 and 3, and 4 and 5. */
export const SHAPES = 6;
const GRID = 6, NOISE = 0.4, OWN_CELLS = 2;
/** Cells of an image, and numbers in each. */
export const CELLS = GRID * GRID, CHANNELS = SHAPES + 4;
/** How often the first shape of each pair is in an image: the first pair is popular. */
const POPULAR = [0.7, 0.5, 0.4];
/** How probably a shape is there in training where its partner is; where the partner is not, it is the rest. */
export const PRIOR = 0.9;
/** Cells that stay. */
export const KEPT = 9;

/** An image, what is in it, and where. */
export interface Image {
  /** [cells x channels] */
  readonly features: Float32Array;
  /** 1 where the shape is in the image: [shapes] */
  readonly present: readonly number[];
  /** Cells that belong to a shape, by shape. */
  readonly cellsOf: readonly (readonly number[])[];
}

/** Draws an image. */
export function drawImage(draw: Random, prior: number): Image {
  const present = POPULAR.flatMap((rate) => {
    const first = draw.bernoulli(rate), second = draw.bernoulli(first ? prior : 1 - prior);
    return draw.bernoulli(0.5) ? [Number(first), Number(second)] : [Number(second), Number(first)];
  });
  const features = draw.normals(CELLS * CHANNELS, 0, NOISE), places = draw.permutation(CELLS);
  const cellsOf = present.map((there, shape) => {
    const own = there ? places.slice(shape * OWN_CELLS, (shape + 1) * OWN_CELLS) : [];
    for (const cell of own) features[cell * CHANNELS + shape] += 1.5;
    return own;
  });
  return { features, present, cellsOf };
}

/** What kind of "no" a question has: POPE's three; none where the shape is there. */
export type Negative = "random" | "popular" | "adversarial";

/** The kind of a question's "no"; undefined where the answer is yes. */
export function negativeOf({ present }: Image, shape: number): Negative | undefined {
  if (present[shape]) return undefined;
  if (present[shape ^ 1]) return "adversarial";
  return shape < 2 ? "popular" : "random";
}

const YES = SHAPES, NO = SHAPES + 1;
const config: LlamaConfig = {
  vocabulary: SHAPES + 2,
  width: 32,
  depth: 2,
  heads: 4,
  keyHeads: 4,
  mlpWidth: 86,
  context: CELLS + SHAPES,
};

/** A decoder behind a projector: cells first, then the question. */
export class Presence {
  readonly #llama: Llama;
  readonly #projector;

  constructor(seed: number) {
    const from = (name: string, shape: readonly number[]) =>
      shape.length < 2 ? undefined : normal(name.startsWith("embed") ? 0.3 : shape[1] ** -0.5);
    const start = Llama.create(config, random(seed, "weights"), from);
    this.#llama = new Llama(config, trainable(start.weights));
    this.#projector = trainable({ ...initialise(linearLayer(CHANNELS, config.width), random(seed, "projector")) });
  }

  /** What is trained. */
  get parameters(): object {
    return { llama: this.#llama.weights, projector: this.#projector };
  }

  /** The number of trained numbers. */
  get count(): number {
    return this.#llama.parameters + CHANNELS * config.width + config.width;
  }

  /**
   * Logits of yes against no: [images, questions]; and how much the first question looks at each cell, the mean over heads
   * and blocks: [images, cells].
   *
   * @param features [images, cells, channels]
   * @param questions int32, [images, questions]
   * @param positions Where the cells stand: [1, cells]
   * @param seen 1 where a cell is in sight: [images, cells]
   */
  ask(features: tf.Tensor3D, questions: tf.Tensor2D, positions: tf.Tensor2D, seen: tf.Tensor2D) {
    const [images, cells] = features.shape, [, asked] = questions.shape;
    let x = tf.concat([linear(features, this.#projector), this.#llama.embed(questions)], 1) as tf.Tensor3D;
    const all = cells + asked, place = tf.range(0, all);
    const earlier = tf.lessEqual(place.expandDims(0), place.expandDims(1)).cast("float32");
    const isCell = tf.less(place, cells).cast("float32").expandDims(0); // questions see cells and themselves
    const allowed = earlier.mul(isCell).maximum(tf.eye(all));
    const sight = tf.concat([seen, tf.ones([images, asked])], 1).reshape([images, 1, 1, all]);
    const mask = allowed.reshape([1, 1, all, all]).mul(sight).maximum(tf.eye(all).reshape([1, 1, all, all]));
    const where = tf.concat([positions, tf.fill([1, asked], CELLS)], 1) as tf.Tensor2D;
    let looked: tf.Tensor = tf.zeros([images, cells]);
    for (let layer = 0; layer < config.depth; layer++) {
      const done = this.#llama.block(layer, x, where, ({ keys, values }) => ({ keys, values, mask }));
      x = done.x;
      looked = looked.add(done.attention.slice([0, 0, cells, 0], [-1, -1, 1, cells]).mean([1, 2]));
    }
    const logits = this.#llama.head(x.slice([0, cells, 0], [-1, asked, -1]) as tf.Tensor3D);
    const yes = logits.slice([0, 0, YES], [-1, -1, 1]).sub(logits.slice([0, 0, NO], [-1, -1, 1]));
    return { yes: yes.squeeze<tf.Tensor2D>([2]), looked: looked.div<tf.Tensor2D>(config.depth) };
  }
}

const everywhere = () => tf.range(0, CELLS, 1, "float32").expandDims<tf.Tensor2D>(0);

/** Trains a model on images in which shapes go together, all six questions to each. */
export async function train(
  { seed, updates, batch = 32, signal }: { seed: number; updates: number; batch?: number; signal?: AbortSignal },
): Promise<Presence> {
  const model = new Presence(seed), draw = random(seed, "images");
  const step = trainStep(
    (features: tf.Tensor3D, present: tf.Tensor2D) => {
      const questions = tf.tile(tf.range(0, SHAPES, 1, "int32").expandDims(0), [batch, 1]) as tf.Tensor2D;
      const { yes } = model.ask(features, questions, everywhere(), tf.ones([batch, CELLS]));
      return tf.softplus(yes).sub(yes.mul(present)).mean(); // -ln of the probability of the right answer
    },
    adamW({ learningRate: cosineRate({ peak: 4e-3, updates, warmup: 60 }), decays: onlyMatrices }),
    model.parameters,
    { clip: 1 },
  );
  for (let update = 0; update < updates; update++) {
    const images = Array.from({ length: batch }, () => drawImage(draw, PRIOR));
    const features = featuresOf(images);
    const present = tf.tensor2d(images.map((image) => [...image.present]));
    const done = step(features, present);
    if (update % 50 === 49) {
      await done.loss.data();
      signal?.throwIfAborted();
    }
    tf.dispose([features, present, done.loss, done.gradientNorm!]);
  }
  step.dispose();
  return model;
}

function featuresOf(images: readonly Image[]): tf.Tensor3D {
  const all = new Float32Array(images.length * CELLS * CHANNELS);
  images.forEach(({ features }, i) => all.set(features, i * CELLS * CHANNELS));
  return tf.tensor3d(all, [images.length, CELLS, CHANNELS]);
}

/** What is done to the cells before they are read, or to the answer afterwards. */
export const ARMS = ["none", "random", "question attention", "diversity", "pooling", "oracle", "contrast"] as const;
/** Name of an arm. */
export type Arm = typeof ARMS[number];

/** Which cells stay, by an order of all: the first {@link KEPT}. */
function mask(order: readonly number[], kept = KEPT): number[] {
  const seen = new Array<number>(CELLS).fill(0);
  for (const cell of order.slice(0, kept)) seen[cell] = 1;
  return seen;
}

/** One row of places by falling value. */
const byValue = (values: readonly number[]) =>
  values.map((_, cell) => cell).sort((a, b) => values[b] - values[a] || a - b);

/** The logits of yes against no to one question for each image, under an arm. */
export function answers(
  model: Presence,
  images: readonly Image[],
  asked: readonly number[],
  arm: Arm,
  seed: number,
): number[] {
  const draw = random(seed, `arm ${arm}`);
  return tidy(() => {
    const features = featuresOf(images);
    const questions = tf.tensor2d(asked.map((shape) => [shape]), [asked.length, 1], "int32");
    const ask = (seen: readonly number[][] | undefined) =>
      model.ask(
        features,
        questions,
        everywhere(),
        seen ? tf.tensor2d(seen as number[][]) : tf.ones([images.length, CELLS]),
      );
    const flat = (yes: tf.Tensor2D) => [...yes.dataSync()];
    switch (arm) {
      case "none":
        return flat(ask(undefined).yes);
      case "random":
        return flat(ask(images.map(() => mask(draw.permutation(CELLS)))).yes);
      case "question attention":
        return flat(ask(ask(undefined).looked.arraySync().map((row) => mask(byValue(row)))).yes);
      case "diversity":
        return flat(ask((maxMinOrder(features, KEPT).arraySync() as number[][]).map((order) => mask(order))).yes);
      case "pooling": {
        const small = tf.avgPool(features.reshape<tf.Tensor4D>([images.length, GRID, GRID, CHANNELS]), 2, 2, "valid");
        const where = tf.avgPool(everywhere().reshape<tf.Tensor4D>([1, GRID, GRID, 1]), 2, 2, "valid");
        return flat(
          model.ask(
            small.reshape([images.length, KEPT, CHANNELS]),
            questions,
            where.reshape([1, KEPT]),
            tf.ones([images.length, KEPT]),
          ).yes,
        );
      }
      case "oracle": // the cells of all shapes that are there, asked for or not; then others at random
        return flat(
          ask(
            images.map(({ cellsOf }) =>
              mask([...new Set([...cellsOf.flat(), ...draw.permutation(CELLS)])], Math.max(KEPT, cellsOf.flat().length))
            ),
          ).yes,
        );
      case "contrast": { // against a model that does not see the half that the question looks at most
        const full = ask(undefined);
        const hidden = full.looked.arraySync().map((row) => mask(byValue(row).reverse(), CELLS / 2));
        return flat(full.yes.mul(1.1).sub(ask(hidden).yes.mul(0.1)));
      }
    }
  });
}

/** The share of "yes" to absent shapes, by kind, where as many questions are answered yes as should be. */
export function falsePositives(
  logits: readonly number[],
  negatives: readonly (Negative | undefined)[],
): { accuracy: number; matched: Record<Negative, number>; yesRate: number; missed: number } {
  const positives = negatives.filter((kind) => kind === undefined).length;
  const order = logits.map((_, i) => i).sort((a, b) => logits[b] - logits[a] || a - b);
  const saysYes = new Set(order.slice(0, positives)); // matched: as many as are there
  const share = (is: (i: number) => boolean, of: (i: number) => boolean) => {
    const all = order.filter(of);
    return all.filter(is).length / all.length;
  };
  const matched = (kind: Negative) => share((i) => saysYes.has(i), (i) => negatives[i] === kind);
  return {
    accuracy: share((i) => saysYes.has(i) === (negatives[i] === undefined), () => true),
    matched: { random: matched("random"), popular: matched("popular"), adversarial: matched("adversarial") },
    yesRate: share((i) => logits[i] > 0, () => true),
    missed: share((i) => !saysYes.has(i), (i) => negatives[i] === undefined),
  };
}
