/**
 * DyCoke's temporal merging: of every second frame of a video only those tokens stay that differ from the same place in
 * the frame before, and of every second one of the others likewise.
 *
 * Tao et al., "DyCoke: Dynamic Compression of Tokens for Fast Video Large Language Models", CVPR 2025, arXiv:2411.15024,
 * section 3.2. Checked against the authors' code (tests/golden, `dycoke.ttm`). Differs from the code in that all frames take
 * part: there an odd last frame is dropped and the second stage leaves out the last group of up to four frames; and in the
 * order, there least like the frame before first. `parity: true` brings them back.
 *
 * Its second part (section 3.3) decides, while an answer is written, which image tokens of the cache the deeper layers look
 * at: `visibleInCache`. Nothing is thrown away, so that a token can come back; a cache policy that frees slots would be
 * another method.
 *
 * @module
 */
import type { Place, Reducer } from "../nn/reducer.ts";
import { GridMismatch } from "../nn/reduction_errors.ts";
import { type Budget, budgetOf, type SlotMap } from "../nn/token_map.ts";
import { rankDescending, stopGradient, tf, tidy } from "../tensor/mod.ts";
import { type LayerBudget, patchesLeft, withLayers } from "./budget.ts";
import type { Method } from "./method.ts";
import { settled, unitLength } from "./similarity.ts";
import { refuseNaNIn, withSpecialTokens } from "./special.ts";
import { int, where } from "./where.ts";

/** Frames that lose tokens, each with the frame that it is compared with. */
interface Pairs {
  /** Frames that stay whole. */
  readonly whole: readonly number[];
  /** [frame, compared with] */
  readonly reduced: readonly (readonly [number, number])[];
}

/** The authors' pairs: 1 with 0, 3 with 2, ...; then 2 with 0, 6 with 4, ... */
function pairsOf(frames: number, parity: boolean): Pairs {
  const reduced: [number, number][] = [];
  for (let frame = 0; frame + 1 < frames; frame += 2) reduced.push([frame + 1, frame]);
  for (let frame = 0; frame < (parity ? frames - 4 : frames - 2); frame += 4) reduced.push([frame + 2, frame]);
  const gone = new Set(reduced.map(([frame]) => frame));
  const last = parity ? frames - frames % 2 : frames;
  const whole = Array.from({ length: last }, (_, frame) => frame).filter((frame) => !gone.has(frame));
  return { whole, reduced: reduced.toSorted(([a], [b]) => a - b) };
}

/** What a merging ratio leaves. */
export interface DyCokePlan extends Pairs {
  /** Tokens that stay of each reduced frame. */
  readonly kept: number;
  /** Tokens that stay in all. */
  readonly outputs: number;
}

/**
 * What stays of `frames` frames of `perFrame` tokens when a share of each reduced frame goes.
 *
 * @param mergingRatio Share that goes, 0 to 1; the authors' default is 0.7.
 * @throws {RangeError} Where there are too few frames, or the ratio is out of range.
 *
 * @example Six frames of five tokens
 * ```ts
 * import assert from "node:assert/strict";
 * const { whole, reduced, kept, outputs } = dycokePlan(6, 5, 0.6, true);
 * assert.deepEqual([whole, reduced.map(([frame]) => frame), kept, outputs], [[0, 4], [1, 2, 3, 5], 2, 18]);
 * ```
 */
export function dycokePlan(frames: number, perFrame: number, mergingRatio: number, parity = false): DyCokePlan {
  if (!Number.isInteger(frames) || frames < (parity ? 5 : 2)) {
    throw new RangeError(
      `frames must be a whole number from ${parity ? 5 : 2}, but it is ${frames}; give it a video of more frames`,
    );
  }
  if (!(mergingRatio >= 0 && mergingRatio <= 1)) {
    throw new RangeError(`mergingRatio must lie in [0, 1], but it is ${mergingRatio}; the authors' is 0.7`);
  }
  const pairs = pairsOf(frames, parity);
  const kept = Math.trunc((1 - mergingRatio) * perFrame + (parity ? 0 : 1e-9));
  return { ...pairs, kept, outputs: pairs.whole.length * perFrame + pairs.reduced.length * kept };
}

/**
 * DyCoke's map. Costs `nC / 2` multiply-accumulates, one cosine for each token of a reduced frame.
 *
 * @param features [batch, frames x tokens of a frame, channels]
 *
 * @example The second frame repeats the first but for one token
 * ```ts
 * import assert from "node:assert/strict";
 * import { tf } from "tessera/tensor/mod.ts";
 * const features = tf.tensor3d([[[1, 0], [0, 1], [1, 0], [1, 0]]]);
 * assert.deepEqual(dycokeMap(features, dycokePlan(2, 2, 0.5)).slot.arraySync(), [[0, 1, -1, 2]]);
 * ```
 */
export function dycokeMap(features: tf.Tensor3D, plan: DyCokePlan, parity = false): SlotMap {
  const [batch, tokens] = features.shape;
  const frames = parity ? Math.max(...plan.whole, ...plan.reduced.map(([frame]) => frame)) + 1 : undefined;
  const count = plan.whole.length + plan.reduced.length;
  const perFrame = plan.kept + (plan.outputs - count * plan.kept) / plan.whole.length;
  return tidy(() => {
    const unit = unitLength(stopGradient(features));
    const frameOf = (frame: number) => unit.slice([0, frame * perFrame, 0], [-1, perFrame, -1]) as tf.Tensor3D;
    const all = frames ?? tokens / perFrame;
    const slots: tf.Tensor2D[] = [];
    let next = 0;
    for (let frame = 0; frame < all; frame++) {
      const pair = plan.reduced.find(([reduced]) => reduced === frame);
      if (!pair) {
        const places = tf.range(next, next + perFrame, 1, "int32").expandDims<tf.Tensor2D>(0);
        slots.push(places.tile<tf.Tensor2D>([batch, 1]));
        next += perFrame;
        continue;
      }
      const alike = settled(tf.mul(frameOf(frame), frameOf(pair[1])).sum<tf.Tensor2D>(2));
      const rank = rankDescending(tf.neg(alike)); // least alike first
      const stays = tf.less(rank, int(plan.kept));
      const order = parity ? rank : tf.cumsum(stays.cast("int32"), 1, true);
      slots.push(where<tf.Tensor2D>(stays, order.add<tf.Tensor2D>(int(next)), int(-1) as tf.Tensor as tf.Tensor2D));
      next += plan.kept;
    }
    const behind = tokens - all * perFrame; // an odd last frame, which the authors drop
    if (behind > 0) slots.push(tf.fill([batch, behind], -1, "int32"));
    const removed = tokens - plan.outputs;
    const budget = { requested: removed, achieved: removed };
    return { kind: "slots", tokens, outputs: plan.outputs, slot: tf.concat(slots, 1), budget };
  });
}

/** Options of DyCoke. */
export type DyCokeOptions =
  & { readonly frames: number; readonly parity?: boolean }
  & (LayerBudget | { readonly mergingRatio: number });

/**
 * DyCoke as a reducer of the tokens of a video, frame after frame: before the first block, unless a budget names others. A
 * budget is met by the merging ratio that leaves at most so many tokens.
 *
 * @example Eight frames; half of the tokens go
 * ```ts
 * import assert from "node:assert/strict";
 * const place = { layer: 0, layers: 4, tokens: 64, initialTokens: 64, specialTokens: 0, grid: [8, 8] as const };
 * assert.equal(dycoke({ frames: 8, keepRate: 0.5 }).plan(place).achieved, 36);
 * assert.equal(dycoke({ frames: 8, mergingRatio: 0.5 }).plan(place).achieved, 24);
 * ```
 */
export function dycoke(options: DyCokeOptions): Reducer {
  const { frames, parity = false } = options;
  const ratio = "mergingRatio" in options ? options.mergingRatio : undefined;
  const left = "mergingRatio" in options ? undefined : patchesLeft(withLayers(options, [0]));
  if (!Number.isInteger(frames) || frames < 1) {
    throw new RangeError(`frames must be a whole number from 1, but it is ${frames}; say how many the video has`);
  }
  /** What happens where all tokens of all frames arrive; `wanted` of them are to stay. */
  const planAt = (tokens: number, wanted: number): DyCokePlan => {
    const perFrame = tokens / frames;
    if (ratio !== undefined) return dycokePlan(frames, perFrame, ratio, parity);
    const { whole, reduced } = dycokePlan(frames, perFrame, 0, parity);
    const kept = Math.max(0, Math.floor((wanted - whole.length * perFrame) / reduced.length));
    return { whole, reduced, kept, outputs: whole.length * perFrame + reduced.length * kept };
  };
  const planned = (place: Place): { budget: Budget; plan?: DyCokePlan } => {
    const tokens = place.tokens - place.specialTokens, all = place.initialTokens - place.specialTokens;
    const acts = ratio === undefined || place.layer === 0;
    const wanted = left ? Math.min(tokens, left(place)) : tokens;
    if (!acts || (left && wanted >= tokens)) return { budget: { requested: 0, achieved: 0 } };
    if (frames === 1 || tokens !== all) {
      const why = frames === 1 ? "one frame has none to be compared with" : "frames are whole only once";
      return { budget: budgetOf(tokens, tokens, tokens - wanted, why) };
    }
    if (all % frames !== 0) {
      throw new GridMismatch(`${all} tokens cannot be ${frames} frames of one size; set frames to a divisor of ${all}`);
    }
    const plan = planAt(tokens, wanted);
    return { plan, budget: budgetOf(tokens, plan.outputs, left ? tokens - wanted : tokens - plan.outputs, REASON) };
  };
  return {
    name: "dycoke",
    needs: [],
    hook: "beforeBlock",
    proportionalAttention: false,
    plan: (place) => planned(place).budget,
    reduce: (view) => {
      const { plan, budget } = planned(view);
      const { specialTokens } = view;
      return tidy(() => {
        const patches = refuseNaNIn(view.x.slice([0, specialTokens, 0]) as tf.Tensor3D, "dycoke", view);
        return { ...withSpecialTokens(dycokeMap(patches, plan!, parity), specialTokens), budget };
      });
    },
  };
}

/** Which image tokens of the cache are looked at, and what that was decided by; from one step of writing to the next. */
export interface VisibleTokens {
  /** [batch, image tokens] bool: those that the deeper layers look at. */
  readonly stays: tf.Tensor2D;
  /** [batch, image tokens]: how much this step's token looked at each. */
  readonly attention: tf.Tensor2D;
  /** [batch]: cosine of this step's attention and the step's before; 0 in the first step. */
  readonly similarity: tf.Tensor1D;
}

/** Options of `visibleInCache`. */
export interface VisibleInCacheOptions {
  /** Share of the image tokens that is not looked at, in [0, 1). Default: 0.7. */
  readonly pruningRatio?: number;
  /** Below this cosine the tokens are chosen anew. Default: 0.9. */
  readonly threshold?: number;
}

/**
 * DyCoke's dynamic pruning, once in each step of writing an answer: the image tokens that the new token looks at most are
 * those that layers from here on see; the choice of the step before stays as long as the attention has hardly turned. The
 * authors take the attention of layer 3. Costs `n` comparisons; reads nothing back.
 *
 * @param attention [batch, image tokens]: of the new token, mean over heads, in the first layer that still sees all of them.
 * @param before What the step before gave. Default: this is the first step.
 * @throws {RangeError} Where a ratio is out of range.
 *
 * @example The attention turns to the other token, which comes back
 * ```ts
 * import assert from "node:assert/strict";
 * import { tf } from "tessera/tensor/mod.ts";
 * const first = visibleInCache(tf.tensor2d([[0.9, 0.1]]), undefined, { pruningRatio: 0.5 });
 * const second = visibleInCache(tf.tensor2d([[0.1, 0.9]]), first, { pruningRatio: 0.5 });
 * assert.deepEqual([first.stays.arraySync(), second.stays.arraySync()], [[[1, 0]], [[0, 1]]]);
 * ```
 */
export function visibleInCache(
  attention: tf.Tensor2D,
  before?: VisibleTokens,
  { pruningRatio = 0.7, threshold = 0.9 }: VisibleInCacheOptions = {},
): VisibleTokens {
  if (!(pruningRatio >= 0 && pruningRatio < 1)) {
    throw new RangeError(`pruningRatio must lie in [0, 1), but it is ${pruningRatio}; the authors' is 0.7`);
  }
  if (!(threshold >= -1 && threshold <= 1)) {
    throw new RangeError(`threshold is a cosine, but it is ${threshold}; the authors' is 0.9`);
  }
  const [batch, tokens] = attention.shape;
  const keep = Math.max(1, Math.floor(tokens * (1 - pruningRatio) + 1e-9));
  return tidy(() => {
    const best = tf.less<tf.Tensor2D>(rankDescending(refuseNaNIn(attention, "dycoke", { layer: 0 })), int(keep));
    if (!before) return { stays: best, attention: attention.clone(), similarity: tf.zeros<tf.Rank.R1>([batch]) };
    const unit = (x: tf.Tensor2D) => unitLength(x.expandDims<tf.Tensor3D>(1)).squeeze<tf.Tensor2D>([1]);
    const similarity = tf.mul(unit(attention), unit(before.attention)).sum<tf.Tensor1D>(1);
    const anew = tf.less(similarity, threshold).expandDims(1).tile([1, tokens]);
    const stays = tf.where<tf.Tensor>(anew, best.cast("int32"), before.stays.cast("int32")).cast<tf.Tensor2D>("bool");
    return { stays, attention: attention.clone(), similarity };
  });
}

const REASON = "whole frames stay, and reduced frames keep equally many tokens";

/** DyCoke in the catalogue. */
export const dycokeMethod: Method<DyCokeOptions> = {
  create: dycoke,
  forModel: (budget, { grid }) => dycoke({ ...budget, frames: Math.max(...grid.filter((side) => side > 1), 1) }),
  trained: false,
  family: "prune",
  paper: "Tao et al., DyCoke, 2025",
  section: "3.2, arXiv:2411.15024",
  tier: 2,
  models: "vision-language",
  traceable: true,
  golden: ["dycoke.ttm"],
  cost: "nC/2 multiplications; n floats",
  differs: "from the code in that all frames take part and in the order",
  breaks: { mass: "tokens are dropped", U9: "a token is compared with the same place in another frame" },
};
