/**
 * D3: images of four objects among clutter, a small transformer that says which shapes there are, and a policy that is paid
 * for right answers and pays for tokens.
 *
 * @module
 */
import { gridQuestions } from "../../../lib/data/mod.ts";
import {
  block,
  blockLayer,
  type Described,
  initialise,
  layerNorm,
  linear,
  linearLayer,
  normal,
  normLayer,
  parameter,
  trainable,
} from "../../../lib/nn/mod.ts";
import { random } from "../../../lib/random.ts";
import {
  drawKept,
  keepOdds,
  keepPolicyLayers,
  type KeepPolicyParameters,
  logProbabilityOf,
  reinforceLoss,
  softKept,
} from "../../../lib/reduction/mod.ts";
import { foldIn, randomUniform, stopGradient, tf, tidy } from "../../../lib/tensor/mod.ts";

/** Shares of cells that are clutter: easy, middling, hard. */
export const CLUTTER = [0, 0.2, 0.5] as const;
/** Cells, numbers in a cell, shapes to be told. */
export const CELLS = 64, CHANNELS = 16, SHAPES = 6;
const WIDTH = 32, HEADS = 4;

/** Images with the shapes that they show. */
export interface Images {
  readonly count: number;
  /** [count, 64, 16] */
  readonly x: Float32Array;
  /** [count, 6]: 1 where a shape is there; four are. */
  readonly shapes: Float32Array;
  /** [count]: which of {@link CLUTTER}. */
  readonly clutter: Uint8Array;
  /** [count, 64]: 1 for the sixteen cells of the four objects. */
  readonly object: Uint8Array;
}

/** Images of all three shares of clutter, in turn. */
export function images(count: number, seed: number): Images {
  const x = new Float32Array(count * CELLS * CHANNELS), shapes = new Float32Array(count * SHAPES);
  const clutter = new Uint8Array(count), object = new Uint8Array(count * CELLS);
  const each = Math.ceil(count / CLUTTER.length);
  for (const [level, clutterRate] of CLUTTER.entries()) {
    // quiet enough for all six shapes to be told in nine of ten images of the hardest kind
    const from = gridQuestions({
      images: each,
      seed: seed * CLUTTER.length + level,
      noise: 0.25,
      clutterRate,
      clutterNoise: 0.6,
    });
    for (let i = 0; i * CLUTTER.length + level < count; i++) {
      const to = i * CLUTTER.length + level;
      clutter[to] = level;
      x.set(from.features.subarray(i * CELLS * CHANNELS, (i + 1) * CELLS * CHANNELS), to * CELLS * CHANNELS);
      const shown = i * from.words.length + from.words.indexOf("disc");
      shapes.set(from.shown.subarray(shown, shown + SHAPES), to * SHAPES);
      const needed = from.needed.subarray(i * from.questions * 8, (i + 1) * from.questions * 8);
      for (const cell of needed) if (cell >= 0) object[to * CELLS + cell] = 1;
    }
  }
  return { count, x, shapes, clutter, object };
}

function description() {
  return {
    embed: linearLayer(CHANNELS, WIDTH),
    places: parameter<tf.Rank.R3>([1, CELLS, WIDTH], normal(0.02)),
    blocks: [blockLayer(WIDTH, 2 * WIDTH), blockLayer(WIDTH, 2 * WIDTH)],
    norm: normLayer(WIDTH),
    head: linearLayer(WIDTH, SHAPES),
  };
}

/** Parameters of {@link seen}. */
export type Seer = Described<ReturnType<typeof description>>;

/** A new classifier. */
export function seer(seed: number): Seer {
  return trainable(initialise(description(), random(seed, "seer")));
}

/** What a policy sees of an image: each token by itself, or beside it how strong each channel is in all of the image. */
export type Sight = "token alone" | "with a glance";

/** A new policy. It starts by keeping most: three in four, whatever it sees. */
export function policy(seed: number): KeepPolicyParameters {
  const made = trainable(initialise(keepPolicyLayers(2 * CHANNELS), random(seed, "policy")));
  (made.out.weight as tf.Variable).assign(tidy(() => made.out.weight.mul(0.1)));
  (made.out.bias as tf.Variable).assign(tf.tensor1d([Math.log(3)]));
  return made;
}

/**
 * The log odds that each cell is kept: [batch, 64].
 *
 * @param x [batch, 64, 16]
 */
export function oddsOf(x: tf.Tensor3D, parameters: KeepPolicyParameters, sight: Sight): tf.Tensor2D {
  return tidy(() => {
    const whole = x.square().mean<tf.Tensor3D>(1, true).sqrt().tile<tf.Tensor3D>([1, CELLS, 1]);
    return keepOdds(tf.concat([x, sight === "token alone" ? tf.zerosLike(whole) : whole], 2), parameters);
  });
}

/**
 * What is said of the shapes where only the kept cells are seen: nobody looks at the others, and they are not in the mean.
 *
 * @param x [batch, 64, 16]
 * @param kept [batch, 64], 0 or 1.
 * @returns [batch, 6]: log odds that each shape is there.
 */
export function seen({ embed, places, blocks, norm, head }: Seer, x: tf.Tensor3D, kept: tf.Tensor2D): tf.Tensor2D {
  return tidy(() => {
    let h = tf.add<tf.Tensor3D>(linear(x, embed), places);
    for (const parameters of blocks) h = block(h, parameters, { heads: HEADS, policy: kept }).x;
    const weight = kept.expandDims<tf.Tensor3D>(2);
    const mean = tf.mul(layerNorm(h, norm), weight).sum<tf.Tensor2D>(1).div<tf.Tensor2D>(tf.maximum(weight.sum(1), 1));
    return linear(mean, head);
  });
}

/** The loss of the classifier on cells of which a share is hidden, another share for each image: so it has met few. */
export function seerLoss(model: Seer, x: tf.Tensor3D, shapes: tf.Tensor2D, key: tf.Tensor1D): tf.Scalar {
  const batch = x.shape[0];
  const share = randomUniform(foldIn(key, 0), [batch, 1]).mul(1.5); // from two thirds on: everything is seen
  const kept = tf.less(randomUniform(foldIn(key, 1), [batch, CELLS]), share).cast<tf.Tensor2D>("float32");
  return tf.neg(logRight(seen(model, x, kept), shapes).mean<tf.Scalar>());
}

/** Logarithm of the probability that all six shapes are told right: [batch]. */
export function logRight(said: tf.Tensor2D, shapes: tf.Tensor2D): tf.Tensor1D {
  return logProbabilityOf(said, shapes); // six yes or no, each on its own
}

/** 1 where all six shapes are told right: [batch]. */
export function right(said: tf.Tensor2D, shapes: tf.Tensor2D): tf.Tensor1D {
  return tf.equal(tf.greater(said, 0), tf.greater(shapes, 0.5)).all(1).cast<tf.Tensor1D>("float32");
}

/** Draws of one image in an update. */
export const DRAWS = 8;

const often = <T extends tf.Tensor>(x: T) => x.tile([DRAWS, ...x.shape.slice(1).map(() => 1)]) as T;

/** The loss of REINFORCE: a right answer earns 1, the whole image would cost `price`; the greedy choice is the baseline. */
export function rewardLoss(
  model: Seer,
  parameters: KeepPolicyParameters,
  x: tf.Tensor3D,
  shapes: tf.Tensor2D,
  key: tf.Tensor1D,
  price: number,
  sight: Sight,
): { loss: tf.Scalar; reward: tf.Scalar } {
  const earned = (images: tf.Tensor3D, kept: tf.Tensor2D, truth: tf.Tensor2D) =>
    stopGradient(tf.sub<tf.Tensor1D>(right(seen(model, images, kept), truth), kept.mean(1).mul(price)));
  const odds = oddsOf(x, parameters, sight);
  const greedy = tf.greater(stopGradient(odds), 0).cast<tf.Tensor2D>("float32");
  const [manyX, manyOdds] = [often(x), often(odds)];
  const kept = drawKept(manyOdds, key);
  const reward = earned(manyX, kept, often(shapes));
  const baseline = often(earned(x, greedy, shapes));
  return { loss: reinforceLoss(manyOdds, kept, reward, baseline), reward: reward.mean<tf.Scalar>() };
}

/** The loss of the straight-through gradient: for "right or wrong", which has none, stands the probability of being right. */
export function gumbelLoss(
  model: Seer,
  parameters: KeepPolicyParameters,
  x: tf.Tensor3D,
  shapes: tf.Tensor2D,
  key: tf.Tensor1D,
  price: number,
  sight: Sight,
): { loss: tf.Scalar; reward: tf.Scalar } {
  const kept = softKept(often(oddsOf(x, parameters, sight)), key);
  const said = seen(model, often(x), kept);
  const gain = tf.exp(logRight(said, often(shapes))).sub(kept.mean(1).mul(price)).mean<tf.Scalar>();
  const reward = right(said, often(shapes)).sub(kept.mean(1).mul(price)).mean<tf.Scalar>();
  return { loss: tf.neg(gain), reward: stopGradient(reward) };
}

/** The ways to learn a policy: by whose gradient, and what it sees. */
export const learners = {
  "REINFORCE": { loss: rewardLoss, sight: "with a glance" },
  "REINFORCE, token alone": { loss: rewardLoss, sight: "token alone" },
  "straight-through": { loss: gumbelLoss, sight: "with a glance" },
} as const;

/** The `k` tokens with the highest score of each image: [batch, 64], 0 or 1. */
export function highest(score: tf.Tensor2D, k: number | Int32Array): tf.Tensor2D {
  return tidy(() => {
    const order = tf.topk(score, CELLS).indices;
    const rank = tf.topk(tf.neg(order.cast("float32")), CELLS).indices; // the inverse permutation
    const room = typeof k === "number" ? tf.scalar(k, "int32") : tf.tensor2d(k, [k.length, 1], "int32");
    return tf.less(rank, room).cast<tf.Tensor2D>("float32");
  });
}
