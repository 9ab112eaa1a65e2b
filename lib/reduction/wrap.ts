/**
 * Reducers made from reducers: in each window or frame alone, two one after the other, some tokens left alone, what was
 * dropped used again, padded images.
 *
 * Recycling: Zhang et al., "SparseVLM", ICML 2025, arXiv:2410.04417, section 3.4. The rest is this library's own and is
 * held to the laws, with the reducer inside as the control.
 *
 * @module
 */
import type { BlockView, Need, Place, Reducer } from "../nn/reducer.ts";
import { BatchBudgetMismatch, GridMismatch } from "../nn/reduction_errors.ts";
import {
  type Budget,
  combineMatrix,
  composeMaps,
  identityMap,
  membership,
  type SlotMap,
  type SoftMap,
  type TokenMap,
} from "../nn/token_map.ts";
import { tf, tidy } from "../tensor/mod.ts";
import { recycled } from "./combine.ts";
import { oneImage, takeTokens, viewAfter } from "./views.ts";
import { int, where } from "./where.ts";

/**
 * First one reducer, then another on what is left, in the same block: prune the worst, then merge the most alike.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { tome } from "tessera/reduction/tome.ts";
 * import { topk } from "tessera/reduction/topk.ts";
 * const both = inSequence(topk({ r: 4 }), tome({ r: 3 }));
 * const place = { layer: 0, layers: 1, tokens: 17, initialTokens: 17, specialTokens: 1, grid: [4, 4] as const };
 * assert.deepEqual(both.plan(place), { requested: 7, achieved: 7 });
 * ```
 */
export function inSequence(first: Reducer, second: Reducer): Reducer {
  const after = (place: Place): Place => ({ ...place, tokens: place.tokens - first.plan(place).achieved });
  return {
    ...joined(`${first.name}, then ${second.name}`, first, second),
    proportionalAttention: first.proportionalAttention || second.proportionalAttention,
    plan: (place) => sum(first.plan(place), second.plan(after(place))),
    reduce: (view) =>
      tidy(() => {
        const budget = sum(first.plan(view), second.plan(after(view)));
        if (first.plan(view).achieved === 0) return { ...second.reduce(view), budget };
        const one = first.reduce(view);
        if (second.plan(after(view)).achieved === 0) return { ...one, budget };
        return { ...composeMaps(one, second.reduce(viewAfter(view, one)), view.size), budget };
      }),
  };
}

/**
 * Leaves some patches alone, beside the special tokens. They move to the front, behind the class token, and stay there.
 *
 * @param patches Which, counted from 0 in the grid; the same for every image.
 *
 * @example The first patch stays, whatever the class token looks at
 * ```ts
 * import assert from "node:assert/strict";
 * import { topk } from "tessera/reduction/topk.ts";
 * const place = { layer: 0, layers: 1, tokens: 17, initialTokens: 17, specialTokens: 1, grid: [4, 4] as const };
 * assert.equal(protect(topk({ r: 99 }), [0, 5]).plan(place).achieved, 13); // two protected, one must stay
 * ```
 */
export function protect(reducer: Reducer, patches: readonly number[]): Reducer {
  if (new Set(patches).size !== patches.length || patches.some((patch) => !Number.isInteger(patch) || patch < 0)) {
    throw new RangeError(`protected patches are different whole numbers from 0, but they are ${patches}; correct them`);
  }
  const inner = (place: Place): Place => {
    const outside = patches.find((patch) => patch >= place.initialTokens - place.specialTokens);
    if (outside !== undefined) {
      throw new GridMismatch(
        `patch ${outside} is to be protected, but the last one is ${place.initialTokens - place.specialTokens - 1}; ` +
          "count patches from 0",
      );
    }
    return { ...place, specialTokens: place.specialTokens + patches.length };
  };
  return {
    ...joined(`${reducer.name}, ${patches.length} protected`, reducer),
    plan: (place) => reducer.plan(inner(place)),
    reduce: (view) =>
      tidy(() => {
        // once something has gone they stand in front already
        if (view.tokens < view.initialTokens) return reducer.reduce({ ...view, ...inner(placeOf(view)) });
        const { specialTokens, tokens } = view;
        const front = Array.from({ length: specialTokens }, (_, token) => token);
        const chosen = patches.map((patch) => specialTokens + patch);
        const rest = Array.from({ length: tokens }, (_, token) => token).slice(specialTokens)
          .filter((token) => !chosen.includes(token));
        const order = [...front, ...chosen, ...rest];
        const moved = takeTokens(view, order);
        return asBefore(reducer.reduce({ ...moved, ...inner(placeOf(moved)) }), order);
      }),
  };
}

/**
 * Reduces each frame of a video alone, all by the same number: a frame's tokens lie behind one another.
 *
 * @param frames How many; each has as many tokens as the others.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { topk } from "tessera/reduction/topk.ts";
 * const place = { layer: 0, layers: 1, tokens: 17, initialTokens: 17, specialTokens: 1, grid: [4, 4] as const };
 * assert.deepEqual(perFrame(topk({ r: 3 }), 2).plan(place), { requested: 6, achieved: 6 });
 * ```
 */
export function perFrame(reducer: Reducer, frames: number): Reducer {
  if (!Number.isInteger(frames) || frames < 1) {
    throw new RangeError(`frames must be a whole number from 1, but it is ${frames}; count the images of the video`);
  }
  return perGroup(`${reducer.name} per frame`, reducer, {
    count: () => frames,
    grid: ({ grid: [rows, columns] }) => [rows / frames, columns],
    first: ({ initialTokens, specialTokens }) => range(initialTokens - specialTokens),
  });
}

/**
 * Reduces each window of the grid alone, all by the same number. What is left stands window by window.
 *
 * @param window Rows and columns of a window; windows must tile the grid.
 *
 * @example Four windows of 2 x 2 patches, half of each
 * ```ts
 * import assert from "node:assert/strict";
 * import { topk } from "tessera/reduction/topk.ts";
 * const place = { layer: 0, layers: 1, tokens: 17, initialTokens: 17, specialTokens: 1, grid: [4, 4] as const };
 * assert.equal(perWindow(topk({ keepRate: 0.5, layers: [0] }), [2, 2]).plan(place).achieved, 8);
 * assert.throws(() => perWindow(topk({ r: 1 }), [3, 2]).plan(place), /^GridMismatch: windows of 3 x 2/);
 * ```
 */
export function perWindow(reducer: Reducer, window: readonly [rows: number, columns: number]): Reducer {
  const [height, width] = window;
  const check = ({ grid: [rows, columns] }: Place) => {
    if (height >= 1 && width >= 1 && rows % height === 0 && columns % width === 0) return;
    throw new GridMismatch(
      `windows of ${height} x ${width} do not tile a grid of ${rows} x ${columns}; take divisors of its sides`,
    );
  };
  return perGroup(`${reducer.name} per window`, reducer, {
    count: (place) => (check(place), (place.grid[0] / height) * (place.grid[1] / width)),
    grid: () => window,
    first: ({ grid: [rows, columns] }) => {
      const patches: number[] = [];
      for (let top = 0; top < rows; top += height) {
        for (let left = 0; left < columns; left += width) {
          for (let row = top; row < top + height; row++) {
            for (let column = left; column < left + width; column++) patches.push(row * columns + column);
          }
        }
      }
      return patches;
    },
  });
}

/**
 * Uses what a reducer drops: clusters it (DPC-KNN on the tokens) into some more tokens, which stand in the end.
 *
 * SparseVLM's recycling (Zhang et al. 2025, arXiv:2410.04417, section 3.4), for any pruning.
 *
 * @param clusters How many tokens are made of the dropped ones.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { topk } from "tessera/reduction/topk.ts";
 * const place = { layer: 0, layers: 1, tokens: 17, initialTokens: 17, specialTokens: 1, grid: [4, 4] as const };
 * const { requested, achieved } = recycle(topk({ r: 8 }), 2).plan(place);
 * assert.deepEqual([requested, achieved], [8, 6]);
 * ```
 */
export function recycle(reducer: Reducer, clusters: number): Reducer {
  if (!Number.isInteger(clusters) || clusters < 1) {
    throw new RangeError(
      `clusters must be a whole number from 1, but it is ${clusters}; to drop everything, leave it out`,
    );
  }
  const planned = (place: Place): Budget => {
    const { requested, achieved } = reducer.plan(place);
    if (achieved <= clusters) {
      return { requested, achieved: 0, ...(requested ? { clampedBy: "nothing to recycle" } : {}) };
    }
    return { requested, achieved: achieved - clusters, clampedBy: `${clusters} tokens are made of those that go` };
  };
  return {
    ...joined(`${reducer.name}, recycled`, reducer),
    plan: planned,
    reduce: (view) =>
      tidy(() => {
        const map = reducer.reduce(view);
        if (map.kind === "soft") throw new RangeError(`${reducer.name} drops no tokens; recycle a pruning method`);
        const gone = tf.less<tf.Tensor2D>(map.slot, int(0));
        const cluster = recycled(view.x, gone, map.tokens - map.outputs, clusters);
        const slot = where<tf.Tensor2D>(gone, cluster.add<tf.Tensor2D>(int(map.outputs)), map.slot);
        return { kind: "slots", tokens: map.tokens, outputs: map.outputs + clusters, slot, budget: planned(view) };
      }),
  };
}

/** Options of `padded`. */
export interface PaddedOptions {
  /** Whether every image loses the same number of tokens, else an error. Default: false, each has its own budget. */
  readonly uniform?: boolean;
}

/**
 * Reduces a batch whose images have different numbers of real tokens, the rest being padding (size 0). Each image is
 * reduced by itself, without its padding, under the budget that its own number of tokens gives; padding goes, is no
 * token's partner and changes no score. Where an image has fewer tokens left than the longest could have, empty ones
 * (size 0) stand behind them. An image's grid is one row of its patches.
 *
 * Looks at the sizes, image by image: it cannot be traced.
 *
 * @throws {BatchBudgetMismatch} Where an image has no real token, a budget gives it more than the longest, a learned network
 *   makes the outputs, or `uniform` does not fit.
 *
 * @example Half of four patches, and half of two
 * ```ts
 * import assert from "node:assert/strict";
 * import { tf } from "tessera/tensor/mod.ts";
 * import { topk } from "tessera/reduction/topk.ts";
 * const place = { layer: 0, layers: 1, tokens: 4, initialTokens: 4, specialTokens: 0, grid: [2, 2] as const };
 * const view = { ...place, x: tf.ones<tf.Rank.R3>([2, 4, 2]), size: tf.tensor2d([[1, 1, 1, 1], [1, 1, 0, 0]]) };
 * const attention = tf.fill([2, 1, 4, 4], 0.25) as tf.Tensor4D;
 * const map = padded(topk({ keepRate: 0.5, layers: [0] })).reduce({ ...view, attention });
 * assert.deepEqual(map.kind === "slots" && map.slot.arraySync(), [[0, 1, -1, -1], [0, -1, -1, -1]]);
 * ```
 */
export function padded(reducer: Reducer, { uniform = false }: PaddedOptions = {}): Reducer {
  return {
    ...joined(reducer.name, reducer),
    leavesEmpty: true,
    plan: (place) => reducer.plan(place),
    reduce: (view) =>
      tidy(() => {
        const budget = reducer.plan(view), outputs = view.tokens - budget.achieved;
        // what a model computes when it is read is read once, not for each image
        const { text, ...rest } = view;
        const whole = text && reducer.needs.includes("text") ? { ...rest, text: { ...text } } : rest;
        const images = view.size.arraySync().map((row, image) => {
          const real = row.flatMap((size, token) => size > 0 ? [token] : []);
          if (real.length <= view.specialTokens) {
            throw new BatchBudgetMismatch(`image ${image} has no real token, only padding; leave it out of the batch`);
          }
          const one = takeTokens(oneImage(whole, image), real);
          const initialTokens = view.realAtStart?.[image] ?? real.length;
          const place = { ...one, initialTokens, grid: [1, initialTokens - view.specialTokens] as const };
          const { achieved } = reducer.plan(place);
          if (uniform && achieved !== budget.achieved) {
            throw new BatchBudgetMismatch(
              `image ${image} has ${real.length} real tokens, of which ${achieved} can go where ${budget.achieved} go ` +
                "of the whole batch; remove fewer, or group images of like length",
            );
          }
          if (real.length - achieved > outputs) {
            throw new BatchBudgetMismatch(
              `${reducer.name} leaves image ${image} ${
                real.length - achieved
              } tokens of ${real.length}, more than the ` +
                `${outputs} of the whole batch; group images of like length`,
            );
          }
          const map = achieved ? reducer.reduce(place) : identityMap(1, real.length);
          if (map.kind === "soft" && map.transform) {
            throw new BatchBudgetMismatch(
              `${reducer.name} makes its outputs by a network that knows no padding; group images of equal length`,
            );
          }
          return { map, real, size: place.size };
        });
        const slots = images.map(({ map }) => map).filter((map) => map.kind === "slots");
        const map = slots.length === images.length
          ? slotsBetween(slots, images.map(({ real }) => real), view.tokens)
          : softBetween(images, view.tokens, outputs);
        return { ...map, outputs, budget };
      }),
  };
}

/** Where each of `tokens` stands among the real ones, and whether it is one of them: [1, tokens] each. */
function among(real: readonly number[], tokens: number): { place: tf.Tensor1D; isReal: tf.Tensor2D } {
  const places = Array.from({ length: tokens }, (_, token) => real.indexOf(token));
  return {
    place: tf.tensor1d(places.map((place) => Math.max(0, place)), "int32"),
    isReal: tf.tensor2d([places.map((place) => place >= 0)], undefined, "bool"),
  };
}

/** The maps of images as one map, padding dropped. */
function slotsBetween(maps: readonly SlotMap[], real: readonly (readonly number[])[], tokens: number): SlotMap {
  const spread = <T extends tf.Tensor2D>(of: (map: SlotMap) => T, padding: number): T =>
    tf.concat(
      maps.map((map, image) => {
        const { place, isReal } = among(real[image], tokens);
        return where(isReal, tf.gather(of(map), place, 1), padding) as T;
      }),
      0,
    ) as T;
  const [{ combine }] = maps;
  // of a map without anchors or weights, as its words say: the first token of each slot, and by size
  const anchored = maps.some(({ anchor }) => anchor), weighted = maps.some(({ weight }) => weight);
  const anchorOf = (map: SlotMap) => (map.anchor ?? tf.onesLike(map.slot)).cast<tf.Tensor2D>("int32");
  return {
    kind: "slots",
    tokens,
    outputs: 0,
    slot: spread(({ slot }) => slot, -1),
    ...(weighted ? { weight: spread((map) => map.weight ?? tf.onesLike(map.slot).cast("float32"), 0) } : {}),
    ...(anchored ? { anchor: spread(anchorOf, 0).cast<tf.Tensor2D>("bool") } : {}),
    ...(combine ? { combine } : {}),
    budget: maps[0].budget,
  };
}

/** The same of maps of which some are soft. */
function softBetween(
  images: readonly { readonly map: TokenMap; readonly real: readonly number[]; readonly size: tf.Tensor2D }[],
  tokens: number,
  outputs: number,
): SoftMap {
  const spread = (of: (map: TokenMap, size: tf.Tensor2D) => tf.Tensor3D) =>
    tf.concat(
      images.map(({ map, real, size }) => {
        const { place, isReal } = among(real, tokens);
        const wide = where(isReal.expandDims(0), tf.gather(of(map, size), place, 2), 0);
        return tf.pad(wide, [[0, 0], [0, outputs - map.outputs], [0, 0]]) as tf.Tensor3D;
      }),
      0,
    ) as tf.Tensor3D;
  return {
    kind: "soft",
    tokens,
    outputs,
    matrix: spread(combineMatrix),
    mass: spread(membership),
    budget: images[0].map.budget,
  };
}

/** How patches fall into groups of equal number. */
interface Groups {
  readonly count: (place: Place) => number;
  /** Rows and columns of one group. */
  readonly grid: (place: Place) => readonly [number, number];
  /** Patches group by group, as long as none has gone; afterwards they stand so. */
  readonly first: (place: Place) => number[];
}

function perGroup(name: string, reducer: Reducer, groups: Groups): Reducer {
  const inner = (place: Place): Place => {
    const count = groups.count(place), { specialTokens } = place;
    const patches = place.tokens - specialTokens;
    if (patches % count !== 0) {
      throw new GridMismatch(
        `${patches} patches are no ${count} groups of equal number; take as many groups as divide it`,
      );
    }
    return {
      ...place,
      tokens: specialTokens + patches / count,
      initialTokens: specialTokens + (place.initialTokens - specialTokens) / count,
      grid: groups.grid(place),
    };
  };
  const planned = (place: Place): Budget => {
    const { requested, achieved, clampedBy } = reducer.plan(inner(place));
    const count = groups.count(place);
    return { requested: requested * count, achieved: achieved * count, ...(clampedBy ? { clampedBy } : {}) };
  };
  return {
    ...joined(name, reducer),
    plan: planned,
    reduce: (view) =>
      tidy(() => {
        const { specialTokens, tokens, initialTokens } = view;
        const count = groups.count(view), each = (tokens - specialTokens) / count;
        const patches = tokens === initialTokens ? groups.first(view) : range(tokens - specialTokens);
        const front = range(specialTokens);
        const parts = range(count).map((group) =>
          takeTokens(view, [
            ...front,
            ...patches.slice(group * each, (group + 1) * each).map((patch) => specialTokens + patch),
          ])
        );
        // in a group patches are counted from its own first one; once some have gone, nobody knows which were there
        const whole = sideBySide(parts);
        const own = tf.range(0, specialTokens + each).expandDims<tf.Tensor2D>(0).tile<tf.Tensor2D>([
          whole.x.shape[0],
          1,
        ]);
        const { positions: _, ...others } = whole;
        const together: BlockView = tokens === initialTokens ? { ...others, positions: own } : others;
        const map = reducer.reduce({ ...together, ...inner(placeOf(view)) });
        const order = [...front, ...patches.map((patch) => specialTokens + patch)];
        return { ...asBefore(apart(map, count, specialTokens), order), budget: planned(view) };
      }),
  };
}

/** Views of equal size as one with a batch for each image and group, the groups of an image behind one another. */
function sideBySide(parts: readonly BlockView[]): BlockView {
  const join = (pick: (view: BlockView) => tf.Tensor | undefined): tf.Tensor | undefined => {
    const tensors = parts.map(pick);
    if (tensors.some((t) => t === undefined)) return undefined;
    const [batch, ...rest] = tensors[0]!.shape;
    return tf.stack(tensors as tf.Tensor[], 1).reshape([batch * parts.length, ...rest]);
  };
  const whole = join(({ x }) => x) as tf.Tensor3D;
  const fields = (["queries", "keys", "values", "attention", "positions"] as const)
    .map((field) => [field, join((view) => view[field])] as const).filter(([, t]) => t !== undefined);
  return {
    ...parts[0],
    ...Object.fromEntries(fields),
    x: whole,
    size: join(({ size }) => size) as tf.Tensor2D,
    ...(parts[0].text ? { text: undefined } : {}),
  } as BlockView;
}

/** The map of groups that were batches as one map per image: groups behind one another, special tokens once. */
function apart(map: TokenMap, count: number, specialTokens: number): SlotMap {
  if (map.kind === "soft") throw new GridMismatch("soft assignment has no groups; use a method that prunes or merges");
  const batch = map.slot.shape[0] / count;
  const inGroup = map.outputs - specialTokens, each = map.tokens - specialTokens;
  const patches = (t: tf.Tensor2D) => t.slice([0, specialTokens]).reshape<tf.Tensor3D>([batch, count, each]);
  const front = (t: tf.Tensor2D) =>
    t.reshape([batch, count, map.tokens]).slice([0, 0, 0], [-1, 1, specialTokens]).squeeze<tf.Tensor2D>([1]);
  const whole = (t: tf.Tensor2D, change: (t: tf.Tensor3D) => tf.Tensor = (t) => t) =>
    tf.concat<tf.Tensor2D>([front(t), change(patches(t)).reshape<tf.Tensor2D>([batch, count * each])], 1);
  const shift = tf.range(0, count, 1, "int32").mul(int(inGroup)).reshape([1, count, 1]);
  const slot = whole(map.slot, (t) => where<tf.Tensor>(tf.less(t, int(0)), t, t.add(shift)));
  return {
    kind: "slots",
    tokens: specialTokens + count * each,
    outputs: specialTokens + count * inGroup,
    slot,
    ...(map.weight ? { weight: whole(map.weight) } : {}),
    ...(map.anchor ? { anchor: whole(map.anchor) } : {}),
    ...(map.combine ? { combine: map.combine } : {}),
    budget: map.budget,
  };
}

/** The map of tokens that were put in `order`, as a map of the tokens in the order before. */
function asBefore(map: SlotMap, order: readonly number[]): SlotMap;
function asBefore(map: TokenMap, order: readonly number[]): TokenMap;
function asBefore(map: TokenMap, order: readonly number[]): TokenMap {
  const inverse = new Int32Array(order.length);
  for (const [place, token] of order.entries()) inverse[token] = place;
  const rows = tf.tensor1d(inverse, "int32");
  const back = <T extends tf.Tensor>(t: T, axis: number) => tf.gather(t, rows, axis) as T;
  if (map.kind === "slots") {
    const { anchorsInOrder: _, picksInOrder: __, packsRest: ___, ...rest } = map; // no longer
    const { slot, weight, anchor } = rest;
    return {
      ...rest,
      slot: back(slot, 1),
      ...(weight ? { weight: back(weight, 1) } : {}),
      ...(anchor ? { anchor: back(anchor, 1) } : {}),
    };
  }
  const { matrix, mass, back: way, transform } = map;
  const moved = tf.tensor1d(Int32Array.from(order), "int32");
  return {
    ...map,
    matrix: back(matrix, 2),
    ...(mass ? { mass: back(mass, 2) } : {}),
    ...(way ? { back: back(way, 1) } : {}),
    ...(transform ? { transform: (x: tf.Tensor3D) => transform(tf.gather(x, moved, 1)) } : {}),
  };
}

/** What a reducer made of others takes over from them. */
function joined(name: string, ...parts: readonly Reducer[]): Omit<Reducer, "plan" | "reduce"> {
  const [first] = parts;
  const parameters = parts.flatMap((part) => part.parameters ?? []);
  return {
    name,
    needs: [...new Set(parts.flatMap<Need>((part) => part.needs))],
    proportionalAttention: first.proportionalAttention,
    ...(first.hook ? { hook: first.hook } : {}),
    ...(parts.some((part) => part.leavesEmpty) ? { leavesEmpty: true } : {}),
    ...(parameters.length ? { parameters } : {}),
  };
}

/** The place of a view, without its tensors. */
function placeOf({ layer, layers, tokens, initialTokens, specialTokens, grid }: BlockView): Place {
  return { layer, layers, tokens, initialTokens, specialTokens, grid };
}

function sum(a: Budget, b: Budget): Budget {
  const clampedBy = [a.clampedBy, b.clampedBy].filter(Boolean).join("; ");
  return {
    requested: a.requested + b.requested,
    achieved: a.achieved + b.achieved,
    ...(clampedBy ? { clampedBy } : {}),
  };
}

function range(count: number): number[] {
  return Array.from({ length: count }, (_, index) => index);
}
