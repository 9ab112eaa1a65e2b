/**
 * D9-b: time series made of pieces (an autoregressive walk, a sine, a flat line), 256 values long; the next 16 are to be
 * forecast. Tokens are patches of 8 values, and half of them may stay: which should be joined?
 *
 * @module
 */
import { applyMap } from "../../../lib/nn/token_map.ts";
import { type Random, random } from "../../../lib/random.ts";
import { bipartiteSoftMatching } from "../../../lib/reduction/tome.ts";
import { tf } from "../../../lib/tensor/mod.ts";
import { padded, type Token, trainAndPredict } from "./model.ts";

/** What a piece can be. */
export const KINDS = ["walk", "sine", "flat"] as const;
/** Values that are seen, values of a patch, values to forecast, patches that are left. */
export const LENGTH = 256, PATCH = 8, HORIZON = 16, LEFT = 16;

/** A series and what comes after it. */
export interface Series {
  readonly values: readonly number[];
  readonly future: readonly number[];
  /** The kind of each value's piece, an index into {@link KINDS}. */
  readonly kinds: readonly number[];
  /** The kind of the last piece, which goes on through the future. */
  readonly kind: number;
}

/** Series whose pieces have 24 to 80 values, of a kind drawn anew; the last piece goes on through the future. */
export function series(count: number, rng: Random): Series[] {
  return Array.from({ length: count }, (_, i) => {
    const total = LENGTH + HORIZON, all: number[] = [], kinds: number[] = [];
    while (all.length < total) {
      const left = total - all.length, drawn = 24 + rng.integer(57);
      const length = left - drawn < HORIZON + 24 ? left : drawn; // the last piece is seen for 24 values at least
      const kind = length === left ? i % 3 : rng.integer(3);
      const [level, period, phase] = [rng.normal(), rng.uniform(12, 32), rng.uniform(0, 2 * Math.PI)];
      let walk = rng.normal();
      for (let t = 0; t < length; t++) {
        walk = 0.9 * walk + rng.normal(0, 0.4);
        const value = kind === 0 ? walk : kind === 1 ? Math.sin(2 * Math.PI * t / period + phase) : level;
        all.push(value + rng.normal(0, 0.05));
        kinds.push(kind);
      }
    }
    return { values: all.slice(0, LENGTH), future: all.slice(LENGTH), kinds: kinds.slice(0, LENGTH), kind: i % 3 };
  });
}

/** A patch: values from `start` to before `end`. */
export interface Span {
  readonly start: number;
  readonly end: number;
}

function patches(width = PATCH): Span[] {
  return Array.from({ length: LENGTH / width }, (_, i) => ({ start: i * width, end: (i + 1) * width }));
}

/** Joins neighbouring patches, always the two whose joint cost is lowest, until `k` are left. */
export function joinNeighbours(k: number, cost: (span: Span) => number): Span[] {
  const spans = patches();
  while (spans.length > k) {
    const joint = spans.slice(1).map((next, i) => cost({ start: spans[i].start, end: next.end }));
    const at = joint.indexOf(Math.min(...joint));
    spans.splice(at, 2, { start: spans[at].start, end: spans[at + 1].end });
  }
  return spans;
}

/** Sum of squared distances from the mean: what is lost if a patch becomes one number. */
function spread(values: readonly number[]): (span: Span) => number {
  return ({ start, end }) => {
    const own = values.slice(start, end), mean = own.reduce((sum, v) => sum + v, 0) / own.length;
    return own.reduce((sum, v) => sum + (v - mean) ** 2, 0);
  };
}

/** Which spans the arms that join neighbours make of a series. */
export const spanArms: Record<string, (values: readonly number[], rng: Random) => Span[]> = {
  none: () => patches(),
  "longer patches": () => patches(LENGTH / LEFT),
  adaptive: (values) => joinNeighbours(LEFT, spread(values)),
  "random joins": (_, rng) => joinNeighbours(LEFT, () => rng.uniform()),
};

/** A patch's eight numbers (means of its equal parts), where it stands, how long it is. */
interface Patch {
  readonly numbers: readonly number[];
  readonly centre: number;
  readonly size: number;
}

function patchOf(values: readonly number[], { start, end }: Span): Patch {
  const part = (end - start) / PATCH;
  const numbers = Array.from({ length: PATCH }, (_, i) => {
    const own = values.slice(start + i * part, start + (i + 1) * part);
    return own.reduce((sum, v) => sum + v, 0) / own.length;
  });
  return { numbers, centre: (start + end) / 2, size: part };
}

/** ToMe on the patches' numbers, a quarter of the tokens in each of two rounds: similar patches join wherever they stand. */
function tome(values: readonly number[]): Patch[] {
  return tf.tidy(() => {
    const rows = patches().map((span) => patchOf(values, span));
    let x = tf.tensor3d([rows.map(({ numbers, centre }) => [...numbers, centre])]);
    let size: tf.Tensor2D = tf.ones<tf.Rank.R2>([1, rows.length]);
    for (const firstOfA of [0, 1] as const) {
      const metric = x.slice([0, 0, 0], [-1, -1, PATCH]) as tf.Tensor3D;
      ({ x, size } = applyMap(bipartiteSoftMatching(metric, { r: 8, classToken: false, firstOfA }), x, size));
    }
    const sizes = size.arraySync()[0];
    return x.arraySync()[0].map((row, i) => ({ numbers: row.slice(0, PATCH), centre: row[PATCH], size: sizes[i] }));
  });
}

const drop = (values: readonly number[], places: readonly number[]) => places.map((i) => patchOf(values, patches()[i]));

const patchArms: Record<string, (values: readonly number[], rng: Random) => Patch[]> = {
  ...Object.fromEntries(
    Object.entries(spanArms).map((
      [name, spans],
    ) => [name, (values: readonly number[], rng: Random) => spans(values, rng).map((span) => patchOf(values, span))]),
  ),
  tome,
  "keep recent": (values) => drop(values, Array.from({ length: LEFT }, (_, i) => LENGTH / PATCH - LEFT + i)),
  "random patches": (values, rng) => drop(values, rng.permutation(LENGTH / PATCH).slice(0, LEFT).sort((a, b) => a - b)),
};

/** Names of the arms. */
export const seriesArms = Object.keys(patchArms);

/** The last value seen: numbers are given and forecast relative to it. */
const last = ({ values }: Series) => values[LENGTH - 1];

/** First the token that asks, then the patches: numbers, place as sines and cosines of time before the end, and length. */
function tokens(one: Series, arm: string, rng: Random): Token[] {
  const place = (centre: number) =>
    [4, 16, 64, 256].flatMap((period) => {
      const angle = 2 * Math.PI * (LENGTH - centre) / (2 * period);
      return [Math.sin(angle), Math.cos(angle)];
    });
  const asks: Token = { features: [...Array<number>(PATCH).fill(0), ...place(LENGTH), 0, 1], size: 1 };
  const seen = patchArms[arm](one.values, rng).map(({ numbers, centre, size }) => ({
    features: [...numbers.map((value) => value - last(one)), ...place(centre), Math.log2(size), 0],
    size,
  }));
  return [asks, ...seen];
}

/** Trains one model per arm; a line per arm and kind of the piece that goes on. */
export async function seriesRows(seed: number, fast: boolean, signal: AbortSignal) {
  const train = series(fast ? 768 : 1536, random(seed, "training series"));
  const test = series(510, random(seed, "test series"));
  const targets = Float32Array.from(train.flatMap((one) => one.future.map((value) => value - last(one))));
  const rows: { arm: string; tokens: number; measure: string; value: number }[] = [];
  const errors = (guess: (one: Series, i: number, t: number) => number) =>
    test.map((one, i) => one.future.reduce((sum, value, t) => sum + (value - guess(one, i, t)) ** 2, 0) / HORIZON);
  const report = (arm: string, left: number, squared: number[]) => {
    for (
      const [measure, kind] of [
        ["mse", undefined],
        ...KINDS.map((name, k) => [`mse ${name}`, k] as const),
      ] as const
    ) {
      const own = squared.filter((_, i) => kind === undefined || test[i].kind === kind);
      rows.push({ arm, tokens: left, measure, value: own.reduce((sum, e) => sum + e, 0) / own.length });
    }
  };
  report("last value again", 0, errors(last));
  for (const arm of seriesArms) {
    const rng = random(seed, "what goes");
    const [seen, asked] = [train, test].map((all) => padded(all.map((one) => tokens(one, arm, rng))));
    const says = await trainAndPredict(seen, targets, asked, {
      seed,
      epochs: 6,
      signal,
      read: "first",
      loss: (outputs, y) => tf.losses.meanSquaredError(y, outputs),
    });
    report(arm, asked.tokens - 1, errors((one, i, t) => last(one) + says[i * HORIZON + t]));
  }
  return rows;
}
