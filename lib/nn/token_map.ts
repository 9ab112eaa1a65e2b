/**
 * What a token reduction *is*: which input token goes to which output token.
 *
 * A method decides once and says so as a `TokenMap`; everything that follows from the decision is written here, once
 * for all methods: combining features, carrying sizes, composing over layers, going back (unmerge), and saying which
 * original tokens each output stands for. Pruning, merging, packing the rest into one token and pooling are all a
 * {@link SlotMap} (one slot per input token); soft assignment is a {@link SoftMap} (a matrix).
 *
 * In symbols (specification, section 4.1): outputs `x' = M x`, sizes `s' = A s`, back again `x̂ = U x'`, where
 * `A` [outputs, tokens] says where the mass of each token goes, `M` how features combine and `U` undoes it. For a merge
 * `A` has one 1 per column and `M = diag(A s)⁻¹ A diag(s)`, the mean weighted by size.
 *
 * Shapes follow from shapes and nothing is read back, so all of it can be traced into a compiled model.
 *
 * @module
 */
import { gatherTokens, stableTopK, stopGradient, tf, tidy } from "../tensor/mod.ts";
import { Clamped } from "./reduction_errors.ts";

/** What was asked of a reduction and what was done, in tokens. */
export interface Budget {
  /** Tokens that were to be removed. */
  readonly requested: number;
  /** Tokens that were removed. */
  readonly achieved: number;
  /** Why the two differ, in words; absent where they agree. */
  readonly clampedBy?: string;
}

/** Each input token goes to one output slot, or is dropped: pruning, merging, packing, pooling. */
export interface SlotMap {
  readonly kind: "slots";
  /** Number of tokens before. */
  readonly tokens: number;
  /** Number of tokens after. */
  readonly outputs: number;
  /** [batch, tokens] int32: the slot of each token, 0 .. outputs - 1; -1 where the token is dropped. */
  readonly slot: tf.Tensor2D;
  /** [batch, tokens]: what each token is multiplied by before its slot is summed. Absent: a mean weighted by size. */
  readonly weight?: tf.Tensor2D;
  /** "mlerp": what was summed is scaled to the length of the longest token of its slot. Absent: the sum as it is. */
  readonly combine?: "mlerp";
  /** [batch, tokens] bool: which token of each slot gives it its position. Absent: the first one. */
  readonly anchor?: tf.Tensor2D;
  /** Every slot has its anchor, in the order of the input, and nothing is dropped: a merge, which is summed faster. */
  readonly anchorsInOrder?: true;
  /**
   * Every slot has one token, in the order of the input, and all others are dropped: a pruning, which is picked. Like
   * `anchorsInOrder` it says something about `slot`: who makes another map of this one with other slots leaves it out.
   */
  readonly picksInOrder?: true;
  /** As `picksInOrder`, but all others go into one last slot, by `weight`; those that stay have weight 1: a packing. */
  readonly packsRest?: true;
  readonly budget: Budget;
}

/** Each output is a weighted sum of all inputs: soft assignment, fixed transforms. */
export interface SoftMap {
  readonly kind: "soft";
  /** Number of tokens before. */
  readonly tokens: number;
  /** Number of tokens after. */
  readonly outputs: number;
  /** [batch, outputs, tokens]: row j says what output j is made of. */
  readonly matrix: tf.Tensor3D;
  /** [batch, outputs, tokens]: where the mass of each token goes. Absent: the matrix, columns scaled to sum 1. */
  readonly mass?: tf.Tensor3D;
  /** [batch, tokens, outputs]: the way back. Absent: the mass transposed, rows scaled to sum 1. */
  readonly back?: tf.Tensor3D;
  /**
   * The outputs [batch, outputs, channels] of a learned network, where they are not `matrix` times the tokens [batch,
   * tokens, channels]; then the matrix is for looking at (a resampler's attention, say).
   */
  readonly transform?: (x: tf.Tensor3D) => tf.Tensor3D;
  readonly budget: Budget;
}

/** The one type that every reduction returns. */
export type TokenMap = SlotMap | SoftMap;

/** Tokens together with how many original tokens each of them stands for. */
export interface SizedTokens {
  /** [batch, tokens, channels] */
  readonly x: tf.Tensor3D;
  /** [batch, tokens] */
  readonly size: tf.Tensor2D;
}

/**
 * `Budget` of a reduction from `tokens` to `outputs`; says why where that is not what was requested.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * const clampedBy = "only two pairs are there";
 * assert.deepEqual(budgetOf(5, 3, 4, clampedBy), { requested: 4, achieved: 2, clampedBy });
 * assert.deepEqual(budgetOf(5, 3, 2, clampedBy), { requested: 2, achieved: 2 });
 * ```
 */
export function budgetOf(tokens: number, outputs: number, requested: number, reason: string): Budget {
  const achieved = tokens - outputs;
  return achieved === requested ? { requested, achieved } : { requested, achieved, clampedBy: reason };
}

/**
 * The warning that belongs to a budget: undefined where as many tokens went as were to go.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * assert.equal(clamped({ requested: 2, achieved: 2 }), undefined);
 * const warning = clamped({ requested: 9, achieved: 4, clampedBy: "at most half can merge at once" });
 * assert.equal(warning?.message, "9 tokens were to go, but 4 did: at most half can merge at once; ask for fewer");
 * ```
 */
export function clamped({ requested, achieved, clampedBy }: Budget): Clamped | undefined {
  return clampedBy === undefined ? undefined : new Clamped(requested, achieved, clampedBy);
}

/**
 * The map that changes nothing: every token is its own slot.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * assert.deepEqual(identityMap(1, 3).slot.arraySync(), [[0, 1, 2]]);
 * ```
 */
export function identityMap(batch: number, tokens: number, requested = 0): SlotMap {
  return tidy(() => ({
    kind: "slots",
    tokens,
    outputs: tokens,
    slot: tf.range(0, tokens, 1, "int32").expandDims<tf.Tensor2D>(0).tile([batch, 1]),
    budget: budgetOf(tokens, tokens, requested, "too few tokens"),
  }));
}

/**
 * The map under which each leaving token joins its partner, and the tokens that stay keep their order.
 *
 * @param leaves [batch, tokens] bool; exactly `budget.achieved` are true in each row.
 * @param partner [batch, tokens] int32: the token that a leaving token joins, which itself stays; ignored elsewhere.
 *
 * @example Token 2 joins token 1
 * ```ts
 * import assert from "node:assert/strict";
 * import { tf } from "tessera/tensor/mod.ts";
 * const leaves = tf.tensor2d([[0, 0, 1, 0]], undefined, "bool");
 * const map = mergeInto(leaves, tf.tensor2d([[0, 0, 1, 0]], undefined, "int32"), { requested: 1, achieved: 1 });
 * assert.deepEqual(map.slot.arraySync(), [[0, 1, 1, 2]]);
 * ```
 */
export function mergeInto(leaves: tf.Tensor2D, partner: tf.Tensor2D, budget: Budget): SlotMap {
  const tokens = leaves.shape[1];
  return tidy(() => {
    const anchor = tf.logicalNot(leaves);
    const own = countBefore(anchor);
    return {
      kind: "slots",
      tokens,
      outputs: tokens - budget.achieved,
      slot: tf.where(leaves, gatherTokens(own, partner), own),
      anchor,
      anchorsInOrder: true,
      budget,
    };
  });
}

/**
 * Combines the features of `x` as `map` says, and carries the sizes.
 *
 * Costs batch x outputs x tokens x channels multiplications (a dense product; 4 % of a DeiT-S block), of a merge only
 * batch x outputs x leaving tokens x channels, of a pruning or packing none to
 * speak of.
 *
 * @param x [batch, tokens, channels]
 * @param size [batch, tokens], how many original tokens each token stands for; default: one each.
 * @returns `x` [batch, outputs, channels] and `size` [batch, outputs]. Dropped tokens take their size with them.
 *
 * @example A merge is a mean weighted by size
 * ```ts
 * import assert from "node:assert/strict";
 * import { tf } from "tessera/tensor/mod.ts";
 * const map = mergeInto(tf.tensor2d([[0, 1]], undefined, "bool"), tf.tensor2d([[0, 0]], undefined, "int32"), { requested: 1, achieved: 1 });
 * const { x, size } = applyMap(map, tf.tensor3d([[[1], [4]]]), tf.tensor2d([[1, 2]]));
 * assert.deepEqual(x.arraySync(), [[[3]]]);
 * assert.deepEqual(size.arraySync(), [[3]]);
 * ```
 */
export function applyMap(map: TokenMap, x: tf.Tensor3D, size?: tf.Tensor2D): SizedTokens {
  checkTokens(map, x.shape[1], "x");
  return tidy(() => {
    const sizes = size ?? tf.ones<tf.Rank.R2>([x.shape[0], x.shape[1]]);
    if (map.kind === "slots" && map.anchorsInOrder && !map.weight && !map.combine) {
      const sum = mergeSum(map);
      const newSize = sum(sizes.expandDims<tf.Tensor3D>(2));
      const heavy = sum(tf.mul<tf.Tensor3D>(x, sizes.expandDims(2)));
      return { x: tf.div<tf.Tensor3D>(heavy, newSize), size: newSize.squeeze<tf.Tensor2D>([2]) };
    }
    if (map.kind === "slots" && map.picksInOrder && !map.weight && !map.combine) {
      const kept = tf.greaterEqual(stopGradient(map.slot), tf.scalar(0, "int32")).cast<tf.Tensor2D>("int32");
      const places = stableTopK(kept, map.outputs);
      return { x: gatherTokens(x, places), size: gatherTokens(sizes, places) };
    }
    if (map.kind === "slots" && map.packsRest && map.weight && !map.combine) {
      const last = tf.scalar(map.outputs - 1, "int32"), slot = stopGradient(map.slot);
      const places = stableTopK(tf.less(slot, last).cast<tf.Tensor2D>("int32"), map.outputs - 1);
      const rest = tf.equal(slot, last).cast<tf.Tensor2D>("float32");
      const packed = tf.matMul<tf.Tensor3D>(tf.mul(rest, map.weight).expandDims<tf.Tensor3D>(1), x);
      return {
        x: tf.concat([gatherTokens(x, places), packed], 1),
        size: tf.concat([gatherTokens(sizes, places), tf.mul(rest, sizes).sum<tf.Tensor2D>(1, true)], 1),
      };
    }
    const mass = membership(map);
    const newSize = tf.matMul(mass, sizes.expandDims<tf.Tensor3D>(2)); // [batch, outputs, 1]
    const counted = newSize.squeeze<tf.Tensor2D>([2]);
    if (map.kind === "soft") {
      return { x: map.transform ? map.transform(x) : tf.matMul<tf.Tensor3D>(map.matrix, x), size: counted };
    }
    const weighted = tf.mul<tf.Tensor3D>(x, (map.weight ?? sizes).expandDims(2));
    const sum = tf.matMul<tf.Tensor3D>(mass, weighted);
    const mean = map.weight ? sum : perMass<tf.Tensor3D>(sum, newSize);
    return { x: map.combine === "mlerp" ? toLongest(mean, x, mass) : mean, size: counted };
  });
}

/**
 * Sums over the slots of a merge: the tokens that stay are picked, and only those that leave are multiplied with where
 * they go. The gradient of a sum is what its output got, picked for each token.
 *
 * @returns A function of [batch, tokens, channels] that gives [batch, outputs, channels].
 */
function mergeSum({ slot, anchor, tokens, outputs }: SlotMap): (x: tf.Tensor3D) => tf.Tensor3D {
  const batch = slot.shape[0];
  const order = stableTopK(anchor!.cast<tf.Tensor2D>("int32"), tokens); // those that stay in their order, then the others
  const part = (from: number, count: number) => tf.slice(order, [0, from], [batch, count]);
  const [staying, leaving] = [part(0, outputs), part(outputs, tokens - outputs)];
  const rows = tf.range(0, outputs, 1, "int32").reshape<tf.Tensor3D>([1, outputs, 1]);
  const joins = tf.equal(rows, gatherTokens(slot, leaving).expandDims(1)).cast<tf.Tensor3D>("float32");
  const sum = tf.customGrad((x, save) => {
    (save as tf.GradSaveFunc)([slot]);
    const added = tf.matMul<tf.Tensor3D>(joins, gatherTokens(x as tf.Tensor3D, leaving));
    return {
      value: tf.add(gatherTokens(x as tf.Tensor3D, staying), added),
      gradFunc: (dy, [slot]) => gatherTokens(dy as tf.Tensor3D, slot as tf.Tensor2D),
    };
  });
  return (x) => sum(x) as tf.Tensor3D;
}

/** Scales each output to the length of the longest of its tokens; one whose tokens cancel out stays zero. */
function toLongest(mean: tf.Tensor3D, x: tf.Tensor3D, mass: tf.Tensor3D): tf.Tensor3D {
  const length = lengthOf(x).reshape([x.shape[0], 1, x.shape[1]]); // [batch, 1, tokens]
  const longest = tf.mul(mass, length).max(2, true); // [batch, outputs, 1]
  return tf.mul(mean, perMass(longest, lengthOf(mean)));
}

/** [batch, tokens, 1]; with a slope of 0 instead of NaN at length 0. */
function lengthOf(x: tf.Tensor3D): tf.Tensor3D {
  return tf.sqrt(tf.maximum(x.square().sum(2, true), 1e-24));
}

/**
 * Where each output stands in the sequence that the model began with: the position of the token that stands for its slot
 * (of a merge the one that was joined), of a soft map the mean of the positions, weighted by mass.
 *
 * @param positions [batch, tokens]; default: 0, 1, 2, ...
 * @returns [batch, outputs]
 *
 * @example Token 2 joins token 1
 * ```ts
 * import assert from "node:assert/strict";
 * import { tf } from "tessera/tensor/mod.ts";
 * const leaves = tf.tensor2d([[0, 0, 1, 0]], undefined, "bool");
 * const map = mergeInto(leaves, tf.tensor2d([[0, 0, 1, 0]], undefined, "int32"), { requested: 1, achieved: 1 });
 * assert.deepEqual(positionsOf(map).arraySync(), [[0, 1, 3]]);
 * ```
 */
export function positionsOf(map: TokenMap, positions?: tf.Tensor2D): tf.Tensor2D {
  return tidy(() => {
    const mass = membership(map);
    const batch = mass.shape[0];
    const stood = positions ?? tf.range(0, map.tokens).expandDims<tf.Tensor2D>(0).tile<tf.Tensor2D>([batch, 1]);
    if (map.kind === "slots" && !map.anchor) {
      const far = tf.mul(tf.sub(1, mass), 1e9);
      const first = tf.add(far, tf.range(0, map.tokens).reshape([1, 1, map.tokens])).argMin<tf.Tensor2D>(2);
      return gatherTokens(stood, first);
    }
    const share = map.kind === "slots" ? tf.mul(mass, map.anchor!.cast("float32").expandDims(1)) : mass;
    const sum = tf.matMul<tf.Tensor3D>(share, stood.expandDims<tf.Tensor3D>(2));
    return perMass<tf.Tensor3D>(sum, share.sum(2, true)).squeeze<tf.Tensor2D>([2]);
  });
}

/**
 * Goes back: gives every input token the features of the output that it went to; dropped tokens become zeros.
 *
 * For merges `unmerge` after `applyMap` is a projection: doing both twice is doing both once. A soft map goes back by
 * its transposed matrix with rows scaled to sum 1.
 *
 * @param y [batch, outputs, channels]
 * @returns [batch, tokens, channels]
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { tf } from "tessera/tensor/mod.ts";
 * const map = mergeInto(tf.tensor2d([[0, 1]], undefined, "bool"), tf.tensor2d([[0, 0]], undefined, "int32"), { requested: 1, achieved: 1 });
 * assert.deepEqual(unmerge(map, tf.tensor3d([[[7]]])).arraySync(), [[[7], [7]]]);
 * ```
 */
export function unmerge(map: TokenMap, y: tf.Tensor3D): tf.Tensor3D {
  if (y.shape[1] !== map.outputs) {
    throw new RangeError(
      `unmerge needs the ${map.outputs} tokens that this map gives, but y has ${y.shape[1]}; pass the reduced tokens`,
    );
  }
  return tidy(() => {
    const mass = membership(map);
    if (map.kind === "slots") return tf.matMul(mass, y, true);
    if (map.back) return tf.matMul<tf.Tensor3D>(map.back, y);
    const perToken = mass.sum<tf.Tensor3D>(1, true); // [batch, 1, tokens]
    return tf.matMul(perMass<tf.Tensor3D>(mass, perToken), y, true);
  });
}

/**
 * Where the mass of each token goes: `A` [batch, outputs, tokens]. Of a slot map 1 where the token is in the slot, so
 * that row j lists the source tokens of output j; of a soft map its matrix with columns scaled to sum 1 at most.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * assert.deepEqual(membership(identityMap(1, 2)).arraySync(), [[[1, 0], [0, 1]]]);
 * ```
 */
export function membership(map: TokenMap): tf.Tensor3D {
  return tidy(() => {
    if (map.kind === "slots") {
      const rows = tf.range(0, map.outputs, 1, "int32").reshape<tf.Tensor3D>([1, map.outputs, 1]);
      // a choice has no gradient: it flows through the features and weights, not through what went where
      return tf.equal(rows, stopGradient(map.slot).expandDims(1)).cast<tf.Tensor3D>("float32");
    }
    if (map.mass) return map.mass.clone();
    const total = map.matrix.sum<tf.Tensor3D>(1, true);
    return perMass<tf.Tensor3D>(map.matrix, total);
  });
}

/**
 * The matrix `M` [batch, outputs, tokens] with `x' = M x`, for looking at and for composing; `size` as in `applyMap`.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { tf } from "tessera/tensor/mod.ts";
 * const map = mergeInto(tf.tensor2d([[0, 1]], undefined, "bool"), tf.tensor2d([[0, 0]], undefined, "int32"), { requested: 1, achieved: 1 });
 * assert.deepEqual(combineMatrix(map).arraySync(), [[[0.5, 0.5]]]);
 * ```
 */
export function combineMatrix(map: TokenMap, size?: tf.Tensor2D): tf.Tensor3D {
  return tidy(() => {
    if (map.kind === "soft") return map.matrix.clone();
    const mass = membership(map);
    if (map.weight) return tf.mul<tf.Tensor3D>(mass, map.weight.expandDims(1));
    const weighted = size ? tf.mul<tf.Tensor3D>(mass, size.expandDims(1)) : mass;
    return perMass<tf.Tensor3D>(weighted, weighted.sum(2, true));
  });
}

/**
 * First `first`, then `second`, as one map: token i goes to `second.slot[first.slot[i]]`.
 *
 * Two merges make a merge. As soon as one of them has weights of its own, the weights multiply, and the merge's share
 * of each token (its size over the size of its slot) becomes part of them. With a soft map the result is soft.
 *
 * @param size [batch, tokens] of the tokens before `first`; only needed where a merge meets a map with weights.
 * @throws {RangeError} Where `second` does not start with as many tokens as `first` leaves.
 *
 * @example 3 tokens to 2, then 2 to 1
 * ```ts
 * import assert from "node:assert/strict";
 * import { tf } from "tessera/tensor/mod.ts";
 * const ints = (row: number[]) => tf.tensor2d([row], undefined, "int32");
 * const bools = (row: number[]) => tf.tensor2d([row], undefined, "bool");
 * const first = mergeInto(bools([0, 0, 1]), ints([0, 0, 0]), { requested: 1, achieved: 1 });
 * const second = mergeInto(bools([1, 0]), ints([1, 0]), { requested: 1, achieved: 1 });
 * assert.deepEqual(composeMaps(first, second).slot.arraySync(), [[0, 0, 0]]);
 * ```
 */
export function composeMaps(first: SlotMap, second: SlotMap, size?: tf.Tensor2D): SlotMap;
export function composeMaps(first: TokenMap, second: TokenMap, size?: tf.Tensor2D): TokenMap;
export function composeMaps(first: TokenMap, second: TokenMap, size?: tf.Tensor2D): TokenMap {
  checkTokens(second, first.outputs, "the second map");
  const { tokens } = first, { outputs } = second;
  const clampedBy = [first.budget.clampedBy, second.budget.clampedBy].filter(Boolean).join("; ");
  const budget: Budget = {
    requested: first.budget.requested + second.budget.requested,
    achieved: tokens - outputs,
    ...(clampedBy ? { clampedBy } : {}),
  };
  return tidy(() => {
    if (first.kind === "soft" || second.kind === "soft") {
      const between = second.kind === "slots" && !second.weight
        ? tf.matMul(membership(first), columnOf(size, first)).squeeze<tf.Tensor2D>([2])
        : undefined;
      const matrix = tf.matMul<tf.Tensor3D>(combineMatrix(second, between), combineMatrix(first, size));
      const mass = tf.matMul<tf.Tensor3D>(membership(second), membership(first));
      return { kind: "soft", tokens, outputs, matrix, mass, budget };
    }
    const follow = tf.maximum<tf.Tensor2D>(first.slot, tf.scalar(0, "int32"));
    const gone = tf.less<tf.Tensor2D>(first.slot, tf.scalar(0, "int32"));
    const slot = tf.where(gone, first.slot, gatherTokens(second.slot, follow));
    const anchor = tf.logicalAnd<tf.Tensor2D>(tf.logicalNot(gone), anchorsAlong(first, second, follow));
    if (!first.weight && !second.weight) return { kind: "slots", tokens, outputs, slot, anchor, budget };
    const sizes = columnOf(size, first);
    const between = tf.matMul(membership(first), sizes).squeeze<tf.Tensor2D>([2]);
    const weight = tf.mul<tf.Tensor2D>(
      shares(first, sizes.squeeze<tf.Tensor2D>([2])),
      gatherTokens(shares(second, between), follow),
    );
    return { kind: "slots", tokens, outputs, slot, weight, anchor, budget };
  });
}

/** Which tokens stand for their output after both maps: those that stand for a slot which stands for the output. */
function anchorsAlong(first: SlotMap, second: SlotMap, follow: tf.Tensor2D): tf.Tensor2D {
  return tf.logicalAnd(anchorOf(first), gatherTokens(anchorOf(second).cast<tf.Tensor2D>("int32"), follow).cast("bool"));
}

/** [batch, tokens] bool: the token of each slot that gives it its position. */
function anchorOf(map: SlotMap): tf.Tensor2D {
  if (map.anchor) return map.anchor;
  const first = positionsOf(map).cast<tf.Tensor2D>("int32"); // [batch, outputs]
  const own = gatherTokens(first, tf.maximum<tf.Tensor2D>(map.slot, tf.scalar(0, "int32")));
  const stays = tf.greaterEqual(map.slot, tf.scalar(0, "int32"));
  return tf.logicalAnd(stays, tf.equal(own, tf.range(0, map.tokens, 1, "int32").expandDims(0)));
}

/**
 * Where each token of one image went, as plain numbers, for drawing and printing. Reads the map back.
 *
 * @param image Which image of the batch. Default: 0.
 * @returns One output per token; -1 where it is dropped. Of a soft map the output that got most of the token.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * assert.deepEqual(slotsOf(identityMap(2, 3), 1), [0, 1, 2]);
 * ```
 */
export function slotsOf(map: TokenMap, image = 0): number[] {
  const rows = tidy(() => (map.kind === "slots" ? map.slot : map.matrix.argMax<tf.Tensor2D>(1)).arraySync());
  if (image in rows) return rows[image];
  throw new RangeError(`the map holds images 0 to ${rows.length - 1}, but ${image} was asked for; ask for one of them`);
}

/**
 * Frees the tensors of a map.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * const map = identityMap(1, 3);
 * disposeMap(map);
 * assert.ok(map.slot.isDisposed);
 * ```
 */
export function disposeMap(map: TokenMap): void {
  if (map.kind === "soft") tf.dispose([map.matrix, ...(map.mass ? [map.mass] : []), ...(map.back ? [map.back] : [])]);
  else tf.dispose([map.slot, ...(map.weight ? [map.weight] : []), ...(map.anchor ? [map.anchor] : [])]);
}

/**
 * Number of true values before each position: the slots of the tokens that stay, in their order.
 *
 * @param stays [batch, tokens] bool
 * @returns [batch, tokens] int32
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { tf } from "tessera/tensor/mod.ts";
 * assert.deepEqual(countBefore(tf.tensor2d([[1, 0, 1]], undefined, "bool")).arraySync(), [[0, 1, 1]]);
 * ```
 */
export function countBefore(stays: tf.Tensor2D): tf.Tensor2D {
  return tf.cumsum<tf.Tensor2D>(stays.cast("int32"), 1, true);
}

/**
 * `x / mass` for masses from 0 up, 0 where there is none; for those who give mass away themselves. (tfjs' `divNoNan` has
 * no gradient.)
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { tf } from "tessera/tensor/mod.ts";
 * assert.deepEqual(perMass(tf.tensor1d([0, 6]), tf.tensor1d([0, 3])).arraySync(), [0, 2]);
 * ```
 */
export function perMass<T extends tf.Tensor>(x: tf.Tensor, mass: tf.Tensor): T {
  return tf.div<T>(x, tf.maximum(mass, 1e-12));
}

/** What each token contributes to its slot: [batch, tokens]; dropped tokens contribute to none. */
function shares(map: SlotMap, size: tf.Tensor2D): tf.Tensor2D {
  if (map.weight) return map.weight;
  const mass = membership(map);
  const slotSize = tf.matMul(mass, size.expandDims<tf.Tensor3D>(2)); // [batch, outputs, 1]
  return perMass<tf.Tensor2D>(size, tf.matMul(mass, slotSize, true).squeeze([2]));
}

function columnOf(size: tf.Tensor2D | undefined, map: TokenMap): tf.Tensor3D {
  const batch = map.kind === "slots" ? map.slot.shape[0] : map.matrix.shape[0];
  return size ? size.expandDims<tf.Tensor3D>(2) : tf.ones<tf.Rank.R3>([batch, map.tokens, 1]);
}

function checkTokens(map: TokenMap, tokens: number, what: string): void {
  if (tokens === map.tokens) return;
  throw new RangeError(
    `this map was made for ${map.tokens} tokens, but ${what} has ${tokens}; use the map on the tokens it was made from`,
  );
}
