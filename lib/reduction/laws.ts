/**
 * The laws of token reduction as functions: what must hold for every method, whatever it computes. The tests run them
 * over the catalogue; a method written in a notebook can be held to them in the same way.
 *
 * Numbers (U1 ..., M1 ..., P1 ...) are those of the specification of reduction, section 5.
 *
 * @module
 */
import type { BlockView, Need, Reducer } from "../nn/reducer.ts";
import { applyMap, combineMatrix, composeMaps, membership, type TokenMap, unmerge } from "../nn/token_map.ts";
import { random } from "../random.ts";
import { randomKey, tf, tidy } from "../tensor/mod.ts";
import type { LayerBudget } from "./budget.ts";
import type { Family, ModelSizes } from "./method.ts";
import { oneImage, takeTokens, viewAfter } from "./views.ts";

/** One random block of a model, and the method's decision on it. */
export interface Trial {
  readonly seed: number;
  readonly sizes: ModelSizes;
  readonly view: BlockView;
  readonly reducer: Reducer;
  readonly map: TokenMap;
  /** The same method for the same model with another budget. */
  readonly make: (budget: LayerBudget) => Reducer;
}

/** A law; `check` throws where it does not hold. */
interface Law {
  /** What it says, as a sentence. */
  readonly says: string;
  /** For which families it is meant; absent: for all. */
  readonly of?: readonly Family[];
  readonly check: (trial: Trial) => void;
}

const merging: readonly Family[] = ["merge", "cluster", "pool"];

/** Every law under its number. */
export const laws = {
  U1: {
    says: "as many tokens come out as were planned, at least one of them a patch, and less than requested has a reason",
    check: ({ view, map, reducer }) => {
      const plan = reducer.plan(view);
      same(map.outputs, view.tokens - plan.achieved, "outputs");
      same(JSON.stringify(map.budget), JSON.stringify(plan), "the budget");
      holds(plan.achieved === plan.requested || plan.clampedBy !== undefined, "no reason for doing less");
      holds(map.outputs > view.specialTokens, "no patch is left");
    },
  },
  class: {
    says: "class and distillation tokens stay as they are, in front",
    check: ({ view, map }) => {
      const special = view.specialTokens;
      if (!special) return;
      const { x } = applyMap(map, view.x, view.size);
      close(x.slice([0, 0, 0], [-1, special, -1]), view.x.slice([0, 0, 0], [-1, special, -1]), "special tokens");
    },
  },
  U2: {
    says: "the sizes of what comes out, and of what was dropped, sum to those of what went in",
    check: ({ view, map }) => {
      const columns = membership(map).sum<tf.Tensor2D>(1);
      const { size } = applyMap(map, view.x, view.size);
      close(size.sum(1), columns.mul(view.size).sum(1), "sizes");
      holds(columns.min().dataSync()[0] > -1e-5 && columns.max().dataSync()[0] < 1 + 1e-4, "more mass than there was");
    },
  },
  mass: {
    says: "nothing is dropped: the sizes sum to the number of original tokens",
    check: ({ view, map }) => close(applyMap(map, view.x, view.size).size.sum(1), view.size.sum(1), "sizes"),
  },
  U3: {
    says: "a budget of nothing removes nothing",
    check: ({ view, make }) => {
      for (const budget of [{ r: 0 }, { keepRate: 1 }]) {
        const reducer = make(budget);
        same(reducer.plan(view).achieved, 0, JSON.stringify(budget));
        freeParameters(reducer);
      }
    },
  },
  U4: {
    says: "each output is a mean: its weights sum to 1, so that equal tokens stay equal",
    check: ({ view, map }) => {
      const rows = combineMatrix(map, view.size).sum(2);
      close(rows, tf.onesLike(rows), "sums of weights");
    },
  },
  U5: {
    says: "outputs are linear in the tokens once it is decided which goes where",
    check: ({ seed, view, map }) => {
      const other = normal(random(seed, "other"), view.x.shape) as tf.Tensor3D;
      const apply = (x: tf.Tensor3D) => applyMap(map, x, view.size).x;
      const both = apply(tf.add<tf.Tensor3D>(view.x.mul(2), other.mul(-3)));
      close(both, tf.sub(apply(view.x).mul(2), apply(other).mul(3)), "outputs");
    },
  },
  U6: {
    says: "what goes where does not change when keys, queries, values and tokens are all four times as long",
    check: ({ view, map, reducer }) => {
      if (onlyTies(view)) return;
      const { keys, queries, values } = view;
      const longer = <T extends tf.Tensor>(t: T | undefined) => t && tf.mul<T>(t, 4);
      const scaled = { x: longer(view.x)!, keys: longer(keys)!, queries: longer(queries)!, values: longer(values)! };
      close(membership(reducer.reduce({ ...view, ...scaled })), membership(map), "where tokens go", 1e-3);
    },
  },
  U7: {
    says: "a batch of several images is each image alone",
    check: ({ view, map, reducer }) => {
      if (onlyTies(view)) return;
      const whole = membership(map);
      unlessTossedUp({ view, map, reducer }, () => {
        for (let image = 0; image < view.x.shape[0]; image++) {
          const alone = membership(reducer.reduce(oneImage(view, image)));
          close(alone, whole.slice([image, 0, 0], [1, -1, -1]), `image ${image}`);
        }
      });
    },
  },
  U9: {
    says: "shuffled patches give the same outputs, in some order",
    check: ({ seed, view, map, reducer }) => {
      if (onlyTies(view)) return;
      const { x, size } = applyMap(map, view.x, view.size);
      const shuffled = shufflePatches(view, random(seed, "shuffle").permutation(view.tokens - view.specialTokens));
      const again = applyMap(reducer.reduce(shuffled), shuffled.x, shuffled.size);
      unlessTossedUp({ view, map, reducer }, () => {
        for (let image = 0; image < x.shape[0]; image++) {
          sameRows(rowsOf(x, size, image), rowsOf(again.x, again.size, image));
        }
      });
    },
  },
  U10: {
    says: "the same input gives the same decision, again and again",
    check: ({ view, map, reducer }) => {
      close(combineMatrix(reducer.reduce(view), view.size), combineMatrix(map, view.size), "the second decision", 0);
    },
  },
  U11: {
    says: "class and distillation tokens stay alone where numbers have the eleven bits of half precision",
    check: ({ view, reducer }) => {
      const half = everyTensor(view, inHalfPrecision);
      laws.class.check({ view: half, map: reducer.reduce(half) } as Trial);
    },
  },
  U12: {
    says: "tokens of zeros, equal tokens and very long ones give no NaN",
    check: ({ view, reducer }) => {
      const alike: [string, (t: tf.Tensor) => tf.Tensor][] = [
        ["zeros", (t) => tf.zerosLike(t)],
        ["ones", (t) => tf.onesLike(t)],
        ["1e4 times", (t) => t.mul(1e4)],
      ];
      for (const [what, change] of alike) {
        const { x, keys, queries, values } = view;
        const fields = { x, keys, queries, values };
        const changed = Object.fromEntries(Object.entries(fields).map(([name, t]) => [name, t && change(t)]));
        const attention = view.attention && tf.onesLike(view.attention).div<tf.Tensor4D>(view.tokens);
        const odd = { ...view, ...changed, ...(attention && what !== "1e4 times" ? { attention } : {}) } as BlockView;
        const out = applyMap(reducer.reduce(odd), odd.x, odd.size);
        holds(!tf.isNaN(out.x).any().dataSync()[0] && !tf.isNaN(out.size).any().dataSync()[0], `NaN from ${what}`);
      }
    },
  },
  U13: {
    says: "no tensor is left behind",
    check: ({ view, reducer }) => {
      const before = tf.memory().numTensors;
      const map = reducer.reduce(view);
      const own = Object.values(map).filter((value) => value instanceof tf.Tensor).length;
      same(tf.memory().numTensors - before, own, "new tensors");
    },
  },
  U14: {
    says: "two decisions composed are the two carried out one after the other",
    check: ({ view, map, make }) => {
      if (map.kind === "soft" && map.transform) return;
      const one = applyMap(map, view.x, view.size);
      const next = viewAfter(view, map);
      const reducer = make({ r: 1 });
      if (reducer.parameters) return freeParameters(reducer); // made for one number of tokens
      if (reducer.plan(next).achieved > 0) {
        const second = reducer.reduce(next);
        const step = applyMap(second, one.x, one.size);
        const whole = composeMaps(map, second, view.size);
        const linear = ![map, second].some((m) => m.kind === "slots" ? m.combine : m.transform);
        if (linear) close(applyMap(whole, view.x, view.size).x, step.x, "tokens", 1e-4);
        close(applyMap(whole, view.x, view.size).size, step.size, "sizes", 1e-4);
      }
      freeParameters(reducer);
    },
  },
  U15: {
    says: "the matrix that is drawn is what is done",
    check: ({ view, map }) => {
      const { x, size } = applyMap(map, view.x, view.size);
      close(tf.matMul(combineMatrix(map, view.size), view.x), x, "matrix times tokens", 1e-4);
      close(tf.matMul(membership(map), view.size.expandDims(2)).squeeze([2]), size, "mass times sizes", 1e-4);
    },
  },
  needs: {
    says: "what it does not name in `needs` it does not miss",
    check: ({ view, map, reducer }) => {
      const { x, size, layer, layers, tokens, initialTokens, specialTokens, grid } = view;
      const place = { layer, layers, tokens, initialTokens, specialTokens, grid };
      const named = Object.fromEntries(reducer.needs.map((field: Need) => [field, view[field]]));
      close(membership(reducer.reduce({ ...place, x, size, ...named })), membership(map), "where tokens go", 0);
    },
  },
  M1: {
    says: "spreading the outputs over their tokens and merging again gives the same outputs",
    of: merging,
    check: ({ view, map }) => {
      const { x } = applyMap(map, view.x, view.size);
      close(applyMap(map, unmerge(map, x), view.size).x, x, "outputs");
    },
  },
  M2: {
    says: "the mean of all tokens, weighted by size, is that of the outputs, and no variance is added",
    of: merging,
    check: ({ view, map }) => {
      const back = unmerge(map, applyMap(map, view.x, view.size).x);
      const weight = view.size.expandDims(2);
      close(back.mul(weight).sum(1), view.x.mul(weight).sum(1), "sums of tokens", 1e-4);
      const energy = (x: tf.Tensor) => x.square().mul(weight).sum().dataSync()[0];
      holds(energy(back) <= energy(view.x) * (1 + 1e-5) + 1e-5, "more energy than before");
    },
  },
  M3: {
    says: "each output has one token that stands for it, and that token is among its own",
    of: merging,
    check: ({ map }) => {
      if (map.kind === "soft" || !map.anchor) return;
      const member = membership(map);
      const standing = tf.mul(member, map.anchor.cast("float32").expandDims(1)).sum(2);
      close(standing, tf.onesLike(standing), "tokens that stand for each output");
    },
  },
  M4: {
    says: "tokens that are together stay together when more go: groups are nested",
    of: merging,
    check: (trial) => {
      const finer = trial.map, coarser = withMore(trial);
      if (finer.kind === "soft" || coarser?.kind !== "slots") return;
      const rows = slotRows(coarser);
      for (const [image, row] of slotRows(finer).entries()) {
        const parent = new Map<number, number>();
        for (const [token, slot] of row.entries()) {
          if (slot < 0) continue;
          const now = rows[image][token];
          same(parent.get(slot) ?? now, now, `image ${image}: the later group of token ${token}`);
          parent.set(slot, now);
        }
      }
    },
  },
  P2: {
    says: "what stays when more go stays now, too: choices are nested",
    of: ["prune"],
    check: (trial) => {
      const stricter = withMore(trial);
      if (stricter?.kind !== "slots") return;
      const kept = slotRows(trial.map);
      for (const [image, row] of slotRows(stricter).entries()) {
        for (const [token, slot] of row.entries()) {
          holds(slot < 0 || kept[image][token] >= 0, `image ${image}: token ${token} stays only if more go`);
        }
      }
    },
  },
  P1: {
    says: "what stays is unchanged and in the order of the input",
    of: ["prune"],
    check: ({ view, map }) => {
      const slots = slotRows(map);
      for (const [image, row] of slots.entries()) {
        const kept = row.flatMap((slot, token) => slot >= 0 ? [token] : []);
        same(kept.map((token) => row[token]).join(), kept.map((_, place) => place).join(), "the slots of what stays");
        const picked = tf.gather(view.x.slice([image, 0, 0], [1, -1, -1]), tf.tensor1d(kept, "int32"), 1);
        const { x } = applyMap(map, view.x, view.size);
        close(x.slice([image, 0, 0], [1, kept.length, -1]), picked, "tokens");
      }
    },
  },
} satisfies Record<string, Law>;

/** The number of a law. */
export type LawId = keyof typeof laws;

/** What became of a law. */
export interface LawResult {
  readonly law: LawId;
  readonly says: string;
  readonly holds: boolean;
  /** Trials in which something was removed. */
  readonly trials: number;
  /** The first trial in which it did not hold. */
  readonly counterexample?: string;
}

/** Options of {@link checkLaws}. */
export interface CheckOptions {
  /** Number of random blocks. Default: 8. */
  readonly seeds?: number;
  /** What the method is, for the laws of families. Absent: only those for all. */
  readonly family?: Family;
  /** Default: all that are meant for the family. */
  readonly only?: readonly LawId[];
}

/**
 * Holds a method to the laws on random blocks: 1 to 36 patches, 1 to 3 images, with and without class token.
 *
 * @param make The method for a budget and the sizes of a model.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { topk } from "tessera/reduction/topk.ts";
 * const results = checkLaws((budget) => topk(budget), { seeds: 2, family: "prune" });
 * assert.deepEqual(results.filter((result) => !result.holds).map((result) => result.law), ["mass"]);
 * ```
 */
export function checkLaws(
  make: (budget: LayerBudget, sizes: ModelSizes, seed: number) => Reducer,
  { seeds = 8, family, only }: CheckOptions = {},
): LawResult[] {
  const chosen = (Object.keys(laws) as LawId[]).filter((id) => {
    const law: Law = laws[id];
    return only ? only.includes(id) : !law.of || (family !== undefined && law.of.includes(family));
  });
  const failed = new Map<LawId, string>();
  let trials = 0;
  for (let seed = 1; seed <= seeds; seed++) {
    tidy(() => {
      const { sizes, view } = randomBlock(seed);
      const budget: LayerBudget = { r: [...Array(view.layer).fill(0), 1 + seed % 5] }; // nothing before this block
      const created: Reducer[] = [];
      const again = (budget: LayerBudget) => make(budget, sizes, seed);
      const reducer = again(budget);
      created.push(reducer);
      if (reducer.plan(view).achieved > 0) {
        trials++;
        const trial = { seed, sizes, view, reducer, map: reducer.reduce(view), make: again };
        for (const law of chosen) {
          if (failed.has(law)) continue;
          try {
            tidy(() => laws[law].check(trial));
          } catch (error) {
            failed.set(
              law,
              `seed ${seed}, tokens [${view.x.shape}]: ${error instanceof Error ? error.message : error}`,
            );
          }
        }
      }
      created.forEach(freeParameters);
    });
  }
  return chosen.map((law) => {
    const counterexample = failed.get(law);
    return { law, says: laws[law].says, holds: !counterexample, trials, ...(counterexample ? { counterexample } : {}) };
  });
}

/**
 * A block of a model with random contents, everything that a method may need among them. The same seed, the same block.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * const { view } = randomBlock(1);
 * assert.equal(view.x.shape[1], view.grid[0] * view.grid[1] + view.specialTokens);
 * ```
 */
export function randomBlock(seed: number): { sizes: ModelSizes; view: BlockView } {
  const rng = random(seed, "laws");
  const grid = [1 + rng.integer(6), 1 + rng.integer(6)] as const;
  const specialTokens = [1, 1, 0, 2][seed % 4], layers = 4;
  const batch = 1 + rng.integer(3), heads = 1 + rng.integer(3), perHead = [1, 4, 8][rng.integer(3)];
  const tokens = grid[0] * grid[1] + specialTokens, width = heads * perHead;
  const words = 3;
  const normal4 = (rows: number, columns: number) => normal(rng, [batch, heads, rows, columns]) as tf.Tensor4D;
  const view: BlockView = {
    layer: rng.integer(layers),
    layers,
    tokens,
    initialTokens: tokens,
    specialTokens,
    grid,
    x: normal(rng, [batch, tokens, width]) as tf.Tensor3D,
    keys: normal4(tokens, perHead),
    queries: normal4(tokens, perHead),
    values: normal4(tokens, perHead),
    attention: tf.softmax(normal4(tokens, tokens)),
    size: tf.tensor2d(Float32Array.from({ length: batch * tokens }, () => 1 + rng.integer(3)), [batch, tokens]),
    positions: tf.range(0, tokens).expandDims<tf.Tensor2D>(0).tile([batch, 1]),
    text: {
      x: normal(rng, [batch, words, width]) as tf.Tensor3D,
      queries: normal4(words, perHead),
      keys: normal4(words, perHead),
      attention: tf.softmax(normal4(words, tokens)),
      attentionAhead: tf.softmax(normal4(words, tokens)),
      finalNorm: (x) => x,
    },
    vision: {
      classAttention: tf.softmax(normal(rng, [batch, heads, tokens]) as tf.Tensor3D),
      keys: normal4(tokens, perHead),
      patchEmbeddings: normal(rng, [batch, tokens, 5]) as tf.Tensor3D,
      textEmbeddings: normal(rng, [batch, 2, 5]) as tf.Tensor3D,
    },
    key: randomKey(seed),
  };
  return { sizes: { width, heads, layers, grid, specialTokens }, view };
}

/** The view with patch `order[i]` in place of patch i. */
function shufflePatches(view: BlockView, order: readonly number[]): BlockView {
  const front = Array.from({ length: view.specialTokens }, (_, token) => token);
  return takeTokens(view, [...front, ...order.map((patch) => view.specialTokens + patch)]);
}

/** Whether keys have one channel: their cosines are all 1 or -1 and norms leave nothing, so that order and rounding decide. */
function onlyTies({ keys }: BlockView): boolean {
  return keys?.shape[3] === 1;
}

/**
 * Runs a check; where it fails, but the decision is another one as soon as all numbers change by a millionth, rounding had
 * decided it (a predictor whose hidden units are all off gives every patch one score), and the trial says nothing.
 */
function unlessTossedUp({ view, map, reducer }: Pick<Trial, "view" | "map" | "reducer">, check: () => void): void {
  try {
    check();
  } catch (error) {
    const noise = random(1, "rounding");
    const moved = everyTensor(view, (t) => tf.mul(t, tf.add(1, normal(noise, t.shape).mul(1e-6))));
    const again = membership(reducer.reduce({ ...moved, size: view.size } as BlockView));
    if (tf.sub(again, membership(map)).abs().max().dataSync()[0] < 0.5) throw error;
  }
}

function everyTensor(view: BlockView, change: (t: tf.Tensor) => tf.Tensor): BlockView {
  const walk = (fields: object): object =>
    Object.fromEntries(
      Object.entries(fields).map(([name, value]) => {
        if (name === "key" || value === undefined) return [name, value];
        if (value instanceof tf.Tensor) return [name, change(value)];
        return [name, typeof value === "object" && !Array.isArray(value) ? walk(value) : value];
      }),
    );
  return walk(view) as BlockView;
}

/** Rounded to the eleven significant bits of half precision. */
function inHalfPrecision(t: tf.Tensor): tf.Tensor {
  const values = t.dataSync().map((value) => {
    if (value === 0) return 0;
    const step = 2 ** (Math.floor(Math.log2(Math.abs(value))) - 10);
    return Math.round(value / step) * step;
  });
  return tf.tensor(values, t.shape);
}

function normal(rng: { normal(): number }, shape: number[]): tf.Tensor {
  return tf.tensor(Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, () => rng.normal()), shape);
}

function freeParameters(reducer: Reducer): void {
  for (const parameter of reducer.parameters ?? []) parameter.dispose();
}

/** The decision with twice the budget and one, where that removes more. */
function withMore({ view, map, reducer, make }: Trial): TokenMap | undefined {
  const { requested } = reducer.plan(view);
  const other = make({ r: [...Array(view.layer).fill(0), 2 * requested + 1] });
  const more = other.plan(view).achieved > view.tokens - map.outputs ? other.reduce(view) : undefined;
  freeParameters(other);
  return more;
}

function slotRows(map: TokenMap): number[][] {
  if (map.kind !== "slots") throw new Error("slots are expected, but the map is soft");
  return map.slot.arraySync();
}

/** The outputs of one image with their sizes, as rows of numbers in a fixed order. */
function rowsOf(x: tf.Tensor3D, size: tf.Tensor2D, image: number): number[][] {
  if (x.shape[1] === 0) return []; // a method that lets everything go
  const sizes = size.arraySync()[image];
  return x.arraySync()[image].map((row, output) => [...row, sizes[output]]);
}

/** That each row of one list has its own like in the other. */
function sameRows(actual: number[][], expected: number[][]): void {
  const left = [...expected];
  for (const row of actual) {
    const found = left.findIndex((other) =>
      other.every((value, i) => Math.abs(value - row[i]) <= 2e-4 * (1 + Math.abs(value)))
    );
    if (found < 0) throw new Error("an output has no like among those of the shuffled patches");
    left.splice(found, 1);
  }
}

function close(actual: tf.Tensor, expected: tf.Tensor, what: string, tolerance = 1e-5): void {
  same(actual.shape.join(), expected.shape.join(), `the shape of ${what}`);
  if (!actual.size) return;
  const scale = tf.abs(expected).add(1);
  const worst = tf.sub(actual, expected).abs().div(scale).max().dataSync()[0];
  if (!(worst <= tolerance)) throw new Error(`${what} differ by ${worst}`);
}

function same(actual: unknown, expected: unknown, what: string): void {
  if (actual !== expected) throw new Error(`${what}: ${expected} is expected, but it is ${actual}`);
}

function holds(condition: boolean, complaint: string): void {
  if (!condition) throw new Error(complaint);
}
