/**
 * D9-d: clouds of 64 points on a sphere, a torus or a cube, denser on one side. A set: the order of points means nothing.
 *
 * @module
 */
import { crossEntropy } from "../../../lib/nn/mod.ts";
import { type Random, random } from "../../../lib/random.ts";
import { dpcKnn } from "../../../lib/reduction/dpcknn.ts";
import { tf } from "../../../lib/tensor/mod.ts";
import { meanTokens, padded, type Token, trainAndPredict } from "./model.ts";

/** What a cloud can be. */
export const SHAPES = ["sphere", "torus", "cube"] as const;
/** Points of a cloud. */
export const POINTS = 64;
/** Points or clusters that are left. */
export const LEFT = 16;
const NOISE = 0.03;

/** x, y, z */
export type Point = readonly [number, number, number];

/** A cloud and what it is of. */
export interface Cloud {
  readonly points: readonly Point[];
  /** Index into {@link SHAPES}. */
  readonly shape: number;
}

function onSurface(shape: number, rng: Random): Point {
  if (shape === 0) {
    const direction = [rng.normal(), rng.normal(), rng.normal()];
    const length = Math.hypot(...direction);
    return [direction[0] / length, direction[1] / length, direction[2] / length];
  }
  if (shape === 1) {
    const [around, across] = [rng.uniform(0, 2 * Math.PI), rng.uniform(0, 2 * Math.PI)];
    const r = 0.8 + 0.35 * Math.cos(across);
    return [r * Math.cos(around), r * Math.sin(around), 0.35 * Math.sin(across)];
  }
  const face = rng.integer(6), [u, v] = [rng.uniform(-0.8, 0.8), rng.uniform(-0.8, 0.8)];
  const side = face < 3 ? 0.8 : -0.8;
  return face % 3 === 0 ? [side, u, v] : face % 3 === 1 ? [u, side, v] : [u, v, side];
}

/** Clouds of the three shapes in turn: turned about the vertical axis, scaled by 0.8 to 1.2, denser in one direction. */
export function clouds(count: number, rng: Random): Cloud[] {
  return Array.from({ length: count }, (_, i) => {
    const shape = i % SHAPES.length;
    const [turn, dense, scale] = [rng.uniform(0, 2 * Math.PI), rng.uniform(0, 2 * Math.PI), rng.uniform(0.8, 1.2)];
    const [c, s] = [Math.cos(turn), Math.sin(turn)];
    const points: Point[] = [];
    while (points.length < POINTS) {
      const [x, y, z] = onSurface(shape, rng);
      // one side is kept always, the opposite one with a probability of a fifth
      if (!rng.bernoulli(0.6 + 0.4 * Math.cos(Math.atan2(y, x) - dense))) continue;
      const noisy = (value: number) => scale * value + rng.normal(0, NOISE);
      points.push([noisy(c * x - s * y), noisy(s * x + c * y), noisy(z)]);
    }
    return { points, shape };
  });
}

/** Which cluster each point of a cloud belongs to, by DPC-KNN. */
export function clustersOf(points: readonly Point[], clusters = LEFT): number[] {
  return tf.tidy(() =>
    Array.from(dpcKnn(tf.tensor3d([points.map((p) => [...p])]), { clusters }).assignment.dataSync())
  );
}

function means(points: readonly Point[], groups: readonly number[]): Token[] {
  const members = Map.groupBy(points, (_, i) => groups[i]);
  return [...members.values()].map((own) => ({
    features: [0, 1, 2].map((axis) => own.reduce((sum, point) => sum + point[axis], 0) / own.length),
    size: own.length,
  }));
}

/** Farthest point sampling: from a random point on, always the one that is farthest from all chosen ones. */
export function farthest(points: readonly Point[], k: number, rng: Random): Point[] {
  const chosen = [points[rng.integer(points.length)]];
  const away = (p: Point, q: Point) => Math.hypot(p[0] - q[0], p[1] - q[1], p[2] - q[2]);
  while (chosen.length < k) {
    const distance = points.map((point) => Math.min(...chosen.map((other) => away(point, other))));
    chosen.push(points[distance.indexOf(Math.max(...distance))]);
  }
  return chosen;
}

const single = (point: Point): Token => ({ features: point, size: 1 });

/** The arms: each gives a cloud's tokens. */
export const pointArms: Record<string, (points: readonly Point[], rng: Random) => Token[]> = {
  none: (points) => points.map(single),
  "dpc-knn with sizes": (points) => means(points, clustersOf(points)),
  "dpc-knn, no sizes": (points) => means(points, clustersOf(points)).map((token) => ({ ...token, size: 1 })),
  "farthest point": (points, rng) => farthest(points, LEFT, rng).map(single),
  random: (points, rng) => rng.shuffle(points).slice(0, LEFT).map(single),
  pool: (points) => means(points, points.map((_, i) => i % LEFT)),
};

/** Trains one model per arm; a line per arm. */
export async function pointRows(seed: number, fast: boolean, signal: AbortSignal) {
  const train = clouds(fast ? 768 : 1020, random(seed, "training clouds"));
  const test = clouds(510, random(seed, "test clouds"));
  const targets = Float32Array.from(train.flatMap(({ shape }) => SHAPES.map((_, i) => Number(i === shape))));
  const rows = [];
  for (const [arm, tokens] of Object.entries(pointArms)) {
    const rng = random(seed, "what goes");
    const [seen, asked] = [train, test].map((all) => padded(all.map(({ points }) => tokens(points, rng))));
    const logits = await trainAndPredict(seen, targets, asked, {
      seed,
      epochs: 6,
      signal,
      loss: (outputs, y) => crossEntropy(outputs, tf.argMax(y, 1).cast("int32")),
    });
    const right = test.filter(({ shape }, i) => {
      const own = [...logits.subarray(3 * i, 3 * i + 3)];
      return own.indexOf(Math.max(...own)) === shape;
    }).length;
    rows.push({ arm, tokens: meanTokens(asked), measure: "accuracy", value: right / test.length });
  }
  return rows;
}
