/**
 * D1-b: an 8 x 8 grid of four colours, and a transformer that says which colour there is most of, and how many cells are
 * red; between attention and MLP of both blocks tokens may be removed.
 *
 * @module
 */
import {
  applyMap,
  type AttentionResult,
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
  type SlotMap,
  trainable,
} from "../../../lib/nn/mod.ts";
import { type Random, random } from "../../../lib/random.ts";
import { dpcKnn, mergeClusters } from "../../../lib/reduction/dpcknn.ts";
import { gridParts } from "../../../lib/reduction/pooling.ts";
import { pruneByScore } from "../../../lib/reduction/prune.ts";
import { bipartiteSoftMatching } from "../../../lib/reduction/tome.ts";
import { foldIn, randomKey, randomUniform, tf, tidy } from "../../../lib/tensor/mod.ts";

/** Colours; 0 is red. Cells of a grid. The highest count that is asked for. */
export const COLOURS = 4, CELLS = 64, MOST = 15;
const SIDE = 8;

/** Grids and their labels. */
export interface Grids {
  readonly count: number;
  /** [count, 64, 4]: one-hot times 1.5, plus N(0, noise). */
  readonly x: Float32Array;
  /** The colour of each cell, [count, 64]. */
  readonly colours: Uint8Array;
  /** The colour there is most of; the lower one of equals. */
  readonly majority: Int32Array;
  /** Red cells, at most 15. */
  readonly red: Int32Array;
}

/** Grids whose colours have shares of their own in each, so that all counts come up. */
export function grids(count: number, rng: Random, noise = 0.2): Grids {
  const x = rng.normals(count * CELLS * COLOURS, 0, noise), colours = new Uint8Array(count * CELLS);
  const majority = new Int32Array(count), red = new Int32Array(count);
  for (let i = 0; i < count; i++) {
    const shares = Array.from({ length: COLOURS }, () => -Math.log(1 - rng.uniform()));
    const counts = new Array<number>(COLOURS).fill(0);
    for (let cell = 0; cell < CELLS; cell++) {
      const colour = rng.categorical(shares);
      counts[colour]++;
      colours[i * CELLS + cell] = colour;
      x[(i * CELLS + cell) * COLOURS + colour] += 1.5;
    }
    majority[i] = counts.indexOf(Math.max(...counts));
    red[i] = Math.min(MOST, counts[0]);
  }
  return { count, x, colours, majority, red };
}

/** How tokens are removed, and whether their sizes are used afterwards. */
export interface Arm {
  /** Down to `k` tokens; absent: nothing is removed. */
  readonly map?: (x: tf.Tensor3D, looked: AttentionResult, k: number, round: number) => SlotMap;
  /** Whether the mean at the end weighs tokens by size. */
  readonly sizes: boolean;
  /** Whether log size is added in attention. */
  readonly logSize: boolean;
}

const received = ({ attention }: AttentionResult) => attention.mean<tf.Tensor2D>([1, 2]);

function tome(x: tf.Tensor3D, { keys }: AttentionResult, k: number, round: number): SlotMap {
  const firstOfA = round % 2 === 0 ? 0 : 1;
  return bipartiteSoftMatching(keys.mean<tf.Tensor3D>(1), { r: x.shape[1] - k, classToken: false, firstOfA });
}

/** Rectangles of neighbouring cells in the first round, runs of tokens after it. */
function pool(x: tf.Tensor3D, _: AttentionResult, k: number): SlotMap {
  const [batch, tokens] = x.shape;
  const parts = tokens === CELLS ? gridParts([SIDE, SIDE], k) : gridParts([k, tokens / k], k);
  const slot = tf.tensor2d(parts, [1, tokens], "int32").tile<tf.Tensor2D>([batch, 1]);
  return { kind: "slots", tokens, outputs: k, slot, budget: { requested: tokens - k, achieved: tokens - k } };
}

/** The arms, by name. */
export const arms: Readonly<Record<string, Arm>> = {
  none: { sizes: true, logSize: true },
  "top-k": { map: (_, looked, k) => pruneByScore(received(looked), { keep: k }), sizes: true, logSize: true },
  random: {
    map: (x, _, k, round) => {
      const key = foldIn(randomKey(7, round), x.shape[1]);
      return pruneByScore(randomUniform(key, [x.shape[0], x.shape[1]]) as tf.Tensor2D, { keep: k });
    },
    sizes: true,
    logSize: true,
  },
  pool: { map: pool, sizes: true, logSize: true },
  tome: { map: tome, sizes: true, logSize: true },
  "tome, no log s": { map: tome, sizes: true, logSize: false },
  "tome, no sizes": { map: tome, sizes: false, logSize: false },
  dpc: {
    map: (x, _, k) => mergeClusters(dpcKnn(x, { clusters: k }), {}),
    sizes: true,
    logSize: true,
  },
  "package token": {
    map: (x, looked, k) => {
      const map = pruneByScore(received(looked), { keep: k - 1 });
      const slot = tf.where(
        map.slot.less(tf.scalar(0, "int32")),
        tf.fill(map.slot.shape, k - 1, "int32"),
        map.slot,
      ) as tf.Tensor2D;
      const gone = x.shape[1] - k;
      return { kind: "slots", tokens: x.shape[1], outputs: k, slot, budget: { requested: gone, achieved: gone } };
    },
    sizes: true,
    logSize: true,
  },
};

const WIDTH = 32, HEADS = 4;

function description() {
  return {
    embed: linearLayer(COLOURS, WIDTH),
    places: parameter<tf.Rank.R3>([1, CELLS, WIDTH], normal(0.02)),
    blocks: [blockLayer(WIDTH, 2 * WIDTH), blockLayer(WIDTH, 2 * WIDTH)],
    norm: normLayer(WIDTH),
    head: linearLayer(WIDTH, COLOURS + 1),
  };
}

/** Parameters of {@link forward}. */
export type Counter = Described<ReturnType<typeof description>>;

/** A new model. */
export function counter(seed: number): Counter {
  return trainable(initialise(description(), random(seed, "counter")));
}

/** What the model says, and where the cells went: their mass per token of each stage. */
export interface Said {
  /** [batch, 4]: logits of the majority; [batch]: red cells. */
  readonly majority: tf.Tensor2D;
  readonly red: tf.Tensor1D;
  /** [batch], before the first block and after each: red mass, sum of sizes times the red share of each token. */
  readonly redMass: readonly tf.Tensor1D[];
}

/**
 * Runs the model with the tokens that an arm leaves after each block's attention.
 *
 * @param x [batch, 64, 4]
 * @param steps Tokens that are left in each block.
 * @param isRed [batch, 64]: 1 for a red cell; for the ledger.
 */
export function forward(
  model: Counter,
  x: tf.Tensor3D,
  arm: Arm = arms.none,
  steps: readonly number[] = [],
  isRed?: tf.Tensor2D,
): Said {
  return tidy(() => {
    const batch = x.shape[0];
    let h = tf.add<tf.Tensor3D>(linear(x, model.embed), model.places);
    let size: tf.Tensor2D = tf.ones<tf.Rank.R2>([batch, CELLS]);
    let red = isRed?.expandDims<tf.Tensor3D>(2);
    const redMass: tf.Tensor1D[] = [];
    const book = () => {
      if (red) redMass.push(tf.mul(red.squeeze<tf.Tensor2D>([2]), size).sum<tf.Tensor1D>(1));
    };
    book();
    for (const [round, parameters] of model.blocks.entries()) {
      const before: { size: tf.Tensor2D; red: tf.Tensor3D | undefined } = { size, red };
      const between = (y: tf.Tensor3D, looked: AttentionResult) => {
        if (!arm.map || steps[round] === undefined || steps[round] >= y.shape[1]) return { x: y, ...before };
        const map = arm.map(y, looked, steps[round], round);
        return { ...applyMap(map, y, before.size), red: before.red && applyMap(map, before.red, before.size).x };
      };
      const counted = round > 0 && arm.logSize ? size : undefined;
      const done = block(h, parameters, { heads: HEADS, size: counted, between });
      h = done.x;
      ({ size, red } = done.changed!);
      book();
    }
    h = layerNorm(h, model.norm);
    const weight = arm.sizes ? size : tf.onesLike(size);
    const mean = tf.mul(h, weight.div(weight.sum(1, true)).expandDims(2)).sum<tf.Tensor2D>(1);
    const said = linear(mean, model.head);
    return {
      majority: said.slice([0, 0], [-1, COLOURS]),
      red: said.slice([0, COLOURS], [-1, 1]).squeeze<tf.Tensor1D>([1]).mul<tf.Tensor1D>(MOST),
      redMass,
    };
  });
}
