/**
 * Multi-criteria token fusion (MCTF): which pairs merge depends on how alike they are, on how little attention they get,
 * and on how small they are; first tokens of A join tokens of B, then tokens of B tokens of A.
 *
 * Lee et al., "Multi-criteria Token Fusion with One-step-ahead Attention for Efficient Vision Transformers", CVPR 2024,
 * arXiv:2403.10030, section 3. Checked against the authors' code (tests/golden, `mctf.merge`). Differs from the code in
 * the order of outputs (the input's) and in not insisting on ten tokens that stay; `parity: true` follows it in both.
 * Attention is that of this block, where the paper looks one step ahead at that of the next.
 *
 * @module
 */
import { need, type Place, type Reducer } from "../nn/reducer.ts";
import { type Budget, budgetOf, countBefore, type SlotMap } from "../nn/token_map.ts";
import { gatherTokens, placeOfHighest, rankDescending, stopGradient, tf, tidy } from "../tensor/mod.ts";
import { type LayerBudget, patchesLeft, truncate, truncateAsReference } from "./budget.ts";
import { trainingFree } from "./method.ts";
import { meanWeights } from "./order.ts";
import { cosine } from "./similarity.ts";
import { refuseNaNIn } from "./special.ts";
import { everySecond, interleave } from "./tome.ts";
import { int, where } from "./where.ts";

/** How much each criterion counts: its share is raised to 1 / temperature. */
export interface Temperatures {
  /** Of the cosine. Default: 1. */
  readonly similarity?: number;
  /** Of the attention that is received. Default: 20. */
  readonly information?: number;
  /** Of the size. Default: 40. */
  readonly size?: number;
}

/** Options of one fusion. */
export interface FusionOptions {
  readonly r: number;
  /** Special tokens in front, which never merge. Default: 0. */
  readonly specialTokens?: number;
  readonly temperatures?: Temperatures;
  /** Also let tokens of B join tokens of A. Default: true. */
  readonly bothWays?: boolean;
  /** What a token counts in the mean: its size times the attention it receives, its size, or 1. Default: "attention". */
  readonly weightBy?: "attention" | "size" | "none";
  /** The authors' order of outputs: A before B. Default: false. */
  readonly parity?: boolean;
}

/** Options of MCTF. */
export type MCTFOptions = LayerBudget & Omit<FusionOptions, "r" | "specialTokens">;

/**
 * Fuses `r` tokens.
 *
 * Costs tokens² / 4 x channels multiplications; reads nothing back.
 *
 * @param x [batch, tokens, channels]: what similarity is measured on.
 * @param attention [batch, heads, tokens, tokens]
 * @param size [batch, tokens]
 *
 * @example Of three equal pairs the one that gets least attention merges
 * ```ts
 * import assert from "node:assert/strict";
 * import { tf } from "tessera/tensor/mod.ts";
 * const x = tf.tensor3d([[[1, 0, 0], [1, 0, 0], [0, 1, 0], [0, 1, 0], [0, 0, 1], [0, 0, 1]]]);
 * const row = [0.3, 0.3, 0.02, 0.02, 0.18, 0.18];
 * const attention = tf.tensor4d([[Array(6).fill(row)]]);
 * const map = fuse(x, attention, tf.ones<tf.Rank.R2>([1, 6]), { r: 1, bothWays: false, temperatures: { information: 1 } });
 * assert.deepEqual(map.slot.arraySync(), [[0, 1, 2, 2, 3, 4]]);
 * ```
 */
export function fuse(x: tf.Tensor3D, attention: tf.Tensor4D, size: tf.Tensor2D, options: FusionOptions): SlotMap {
  const { r, specialTokens = 0, bothWays = true, weightBy = "attention", parity = false } = options;
  const { similarity = 1, information = 20, size: sizeTemperature = 40 } = options.temperatures ?? {};
  const [batch, tokens] = size.shape, outputs = tokens - r;
  const [rows, columns] = [Math.ceil(tokens / 2), Math.floor(tokens / 2)];
  return tidy(() => {
    const received = stopGradient(attention).mean<tf.Tensor2D>([1, 2]); // [batch, tokens]
    const scarce = tf.div<tf.Tensor2D>(1, tf.maximum(received, 1e-12));
    const small = tf.div<tf.Tensor2D>(1, size);
    const criteria = tf.mul<tf.Tensor2D>(
      tf.pow(tf.div(scarce, scarce.max(1, true)), 1 / information),
      tf.pow(tf.div(small, small.max(1, true)), 1 / sizeTemperature),
    );
    const metric = stopGradient(x);
    const half = (t: tf.Tensor2D, first: number) => everySecond(t.expandDims(2), first); // [batch, A or B, 1]
    const alike = tf.maximum(cosine(everySecond(metric, 0), everySecond(metric, 1)).add(1).div(2), 0);
    const pairs = tf.pow(alike, 1 / similarity).mul(half(criteria, 0)).mul(half(criteria, 1).transpose([0, 2, 1]));
    const mayJoin = (length: number, first: number) =>
      tf.tensor1d(Uint8Array.from({ length }, (_, i) => 2 * i + first >= specialTokens ? 1 : 0), "bool");
    const free = tf.logicalAnd(mayJoin(rows, 0).reshape([1, rows, 1]), mayJoin(columns, 1).reshape([1, 1, columns]));
    const weight = where<tf.Tensor3D>(free, pairs as tf.Tensor3D, -Infinity); // [batch, A, B]

    const first = bothWays ? Math.floor(r / 2) : r;
    const rankA = rankDescending(weight.max<tf.Tensor2D>(2));
    const leavesA = tf.less<tf.Tensor2D>(rankA, int(first));
    const partnerA = placeOfHighest(weight) as tf.Tensor2D; // in B
    const left = where<tf.Tensor3D>(leavesA.expandDims(2), -Infinity, weight);
    const rankB = rankDescending(left.max<tf.Tensor2D>(1));
    const leavesB = tf.less<tf.Tensor2D>(rankB, int(r - first));
    const partnerB = placeOfHighest(left.transpose([0, 2, 1])) as tf.Tensor2D; // in A

    const leaves = tf.logicalOr<tf.Tensor2D>(interleave(leavesA, tokens, 0), interleave(leavesB, tokens, 1));
    const anchor = tf.logicalNot<tf.Tensor2D>(leaves);
    const behindA = rows - first; // outputs that come from A
    const own = parity
      ? tf.add<tf.Tensor2D>(
        interleave(specialTokens ? countBefore(tf.logicalNot(leavesA)) : rankA.sub(int(first)), tokens, 0),
        interleave(
          (bothWays ? rankB.sub(int(r - first)) : countBefore(tf.logicalNot(leavesB))).add(int(behindA)),
          tokens,
          1,
        ),
      )
      : countBefore(anchor);
    // a token of B that has been joined takes along what joined it
    const joinsB = partnerB.mul<tf.Tensor2D>(int(2));
    const target = tf.add<tf.Tensor2D>(
      interleave(partnerA.mul<tf.Tensor2D>(int(2)).add<tf.Tensor2D>(int(1)), tokens, 0),
      interleave(joinsB, tokens, 1),
    );
    const step = where<tf.Tensor2D>(
      leaves,
      target,
      tf.range(0, tokens, 1, "int32").expandDims<tf.Tensor2D>(0)
        .tile<tf.Tensor2D>([batch, 1]),
    );
    const slot = gatherTokens(own, gatherTokens(step, step));
    const budget = { requested: r, achieved: r };
    const map = { kind: "slots", tokens, outputs, slot, anchor, budget } as const;
    if (weightBy === "size") return map;
    const share = weightBy === "none" ? undefined : tf.mul<tf.Tensor2D>(received, size);
    return { ...map, weight: meanWeights(slot, outputs, share) };
  });
}

/**
 * MCTF as a reducer.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * const place = { layer: 0, layers: 4, tokens: 17, initialTokens: 17, specialTokens: 1, grid: [4, 4] as const };
 * assert.equal(mctf({ r: 8 }).plan(place).achieved, 8);
 * assert.equal(mctf({ r: 8, parity: true }).plan(place).achieved, 7); // the authors leave ten tokens
 * ```
 */
export function mctf(options: MCTFOptions): Reducer {
  const { temperatures = {}, bothWays = true, weightBy = "attention", parity = false } = options;
  const left = patchesLeft(options, parity ? truncateAsReference : truncate);
  const planned = (place: Place): Budget => {
    const { tokens, specialTokens } = place;
    const patches = tokens - specialTokens;
    const r = patches - left(place);
    const most = Math.max(0, Math.min(Math.floor(patches / 2), parity ? tokens - 10 : patches));
    return budgetOf(
      tokens,
      tokens - Math.min(r, most),
      r,
      `at most half of the ${patches} unprotected tokens can merge`,
    );
  };
  return {
    name: "mctf",
    needs: ["attention"],
    proportionalAttention: true,
    plan: planned,
    reduce: (view) => {
      const budget = planned(view);
      const attention = refuseNaNIn(need(view, "attention", "mctf"), "mctf", view);
      const x = refuseNaNIn(view.x, "mctf", view);
      const { specialTokens, size } = view;
      const fusion = { r: budget.achieved, specialTokens, temperatures, bothWays, weightBy, parity };
      return tidy(() => ({ ...fuse(x, attention, size, fusion), budget }));
    },
  };
}

/** MCTF in the catalogue. */
export const mctfMethod = trainingFree(mctf, {
  family: "merge",
  paper: "Lee et al., Multi-criteria Token Fusion, 2024",
  section: "3, arXiv:2403.10030",
  tier: 1,
  traceable: true,
  golden: ["mctf.merge"],
  cost: "n²C/4 multiplications; n²/4 floats",
  differs: "from the paper in looking at this block's attention, not the next one's; from the code in the order",
  breaks: {
    U9: "sets A and B alternate in the order of the input",
    M4: "how many go from A to B, and then from B to A, depends on how many go",
    M2: "tokens count by attention, not by size alone",
  },
});
