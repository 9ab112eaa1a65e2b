/**
 * Fewer tokens in state-space models. Their state is carried from token to token, so that the order of what stays must not
 * change, a hidden state and its residual must lose the same tokens, and what has gone should still let the state decay
 * (`gapAwareScan` in `lib/nn/selective_scan.ts`).
 *
 * - Zhan et al., "Rethinking Token Reduction for State Space Models" (ToR_SSM), EMNLP 2024, arXiv:2410.14725, section 4: the
 *   less important half of the tokens joins the more important half.
 * - Zhan et al., "Exploring Token Pruning in Vision State Space Models" (ToP-ViM), NeurIPS 2024, arXiv:2409.18962, section 4:
 *   the least important tokens go, and the hidden state is aligned.
 *
 * Checked against the authors' code (tests/golden, `ssm.tor_reduce`, `ssm.vim_prune`, `ssm.selective_scan_gap`). Differs from
 * ToR_SSM's released code, which sorts each channel by itself and mixes up which token joins which (`parity: true`), in
 * following the paper; and from ToP-ViM's in counting patches, not patches and class token made odd (`parity: true`).
 *
 * @module
 */
import type { Reducer } from "../nn/reducer.ts";
import { budgetOf, mergeInto, type SlotMap } from "../nn/token_map.ts";
import { gatherTokens, rankDescending, tf, tidy } from "../tensor/mod.ts";
import { type LayerBudget, patchesLeft, truncate } from "./budget.ts";
import { compose, type Score } from "./compose.ts";
import { trainingFree } from "./method.ts";
import { patchesOf } from "./scores.ts";
import { cosine, settled } from "./similarity.ts";
import { refuseNaNIn, withSpecialTokens } from "./special.ts";
import { int, where } from "./where.ts";

/** Importance in a state-space model: the sum of a token's positive channels. */
export const positiveSum: Score = {
  name: "sum of positive channels",
  needs: [],
  of: (view) => tidy(() => patchesOf(stateImportance(view.x), view)),
};

/**
 * The importance of each token: the sum over the channels of its hidden state, negative ones counted as 0. Those without a
 * positive channel would all tie; they are ordered by their plain sum, below the others.
 *
 * @param hidden [batch, tokens, channels]
 * @returns [batch, tokens]
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { tf } from "tessera/tensor/mod.ts";
 * assert.deepEqual(stateImportance(tf.tensor3d([[[1, -5], [2, 2], [-1, -1]]])).arraySync(), [[1, 4, -2]]);
 * ```
 */
export function stateImportance(hidden: tf.Tensor3D): tf.Tensor2D {
  return tidy(() => {
    const positive = tf.relu(hidden).sum<tf.Tensor2D>(2);
    return where<tf.Tensor2D>(tf.greater(positive, 0), positive, hidden.sum<tf.Tensor2D>(2));
  });
}

/** Options of {@link joinLessImportant}. */
export interface JoinOptions {
  /** Tokens to join others, at most half of them. */
  readonly r: number;
  /**
   * Only into later tokens, so that nothing is seen before its time; a token behind which none matters more is dropped.
   * Default: false, as in the paper.
   */
  readonly causal?: boolean;
}

/**
 * ToR_SSM's choice: the less important half of the tokens are sources; the `r` of them that resemble a more important one
 * most join it. Use the map for the hidden states, and what stays of it (`anchor`) for the residual.
 *
 * Costs n² / 4 x channels multiplications.
 *
 * @param importance [batch, tokens]
 * @param features What resemblance is measured on, [batch, tokens, channels].
 *
 * @example Token 2 matters least and resembles token 0
 * ```ts
 * import assert from "node:assert/strict";
 * import { tf } from "tessera/tensor/mod.ts";
 * const features = tf.tensor3d([[[3, 0], [0, 3], [1, 0], [0, -2]]]);
 * const map = joinLessImportant(tf.tensor2d([[3, 3, 1, 2]]), features, { r: 1 });
 * assert.deepEqual(map.slot.arraySync(), [[0, 1, 0, 2]]);
 * ```
 */
export function joinLessImportant(
  importance: tf.Tensor2D,
  features: tf.Tensor3D,
  { r, causal = false }: JoinOptions,
): SlotMap {
  const tokens = importance.shape[1];
  const removed = Math.min(r, Math.floor(tokens / 2));
  return tidy(() => {
    const rank = rankDescending(importance);
    const source = tf.greaterEqual<tf.Tensor2D>(rank, int(tokens - Math.floor(tokens / 2)));
    const place = tf.range(0, tokens, 1, "int32");
    const between = tf.logicalAnd(source.expandDims(2), tf.logicalNot(source).expandDims(1));
    const allowed = causal
      ? tf.logicalAnd(between, tf.less(place.expandDims(1), place.expandDims(0)).expandDims(0))
      : between;
    const similarity = where<tf.Tensor3D>(allowed as tf.Tensor3D, settled(cosine(features)), -2);
    const best = where<tf.Tensor2D>(source, similarity.max<tf.Tensor2D>(2), -3);
    const leaves = tf.less<tf.Tensor2D>(rankDescending(best), int(removed));
    const partner = similarity.argMax<tf.Tensor2D>(2).cast<tf.Tensor2D>("int32");
    const reason = "at most half of the tokens can join others";
    const map = mergeInto(leaves, partner, budgetOf(tokens, tokens - removed, r, reason));
    if (!causal) return map;
    const alone = tf.logicalAnd(leaves, tf.less(best, -1)); // no cosine is below -1
    const { anchorsInOrder: _, ...open } = { ...map, slot: where<tf.Tensor2D>(alone as tf.Tensor2D, -1, map.slot) };
    return open;
  });
}

/**
 * ToR_SSM as a reducer: importance and resemblance of the tokens as they are after a layer.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * const place = { layer: 1, layers: 4, tokens: 100, initialTokens: 100, specialTokens: 0, grid: [10, 10] as const };
 * assert.equal(torSsm({ r: 8 }).plan(place).achieved, 8);
 * assert.equal(torSsm({ r: 80 }).plan(place).clampedBy, "at most half of the tokens can join others");
 * ```
 */
export function torSsm(options: LayerBudget): Reducer {
  const left = patchesLeft(options, truncate);
  const reason = "at most half of the tokens can join others";
  return {
    name: "torSsm",
    needs: [],
    proportionalAttention: false,
    plan: (place) => {
      const patches = place.tokens - place.specialTokens, wanted = left(place);
      return budgetOf(patches, Math.max(wanted, patches - Math.floor(patches / 2)), patches - wanted, reason);
    },
    reduce: (view) =>
      tidy(() => {
        const { specialTokens } = view;
        const patches = view.tokens - specialTokens;
        const score = refuseNaNIn(positiveSum.of(view), "torSsm", view);
        const features = view.x.slice([0, specialTokens, 0]) as tf.Tensor3D;
        const map = joinLessImportant(score, features, { r: patches - left(view) });
        return { ...withSpecialTokens(map, specialTokens), budget: map.budget };
      }),
  };
}

/**
 * ToR_SSM's released code: `parity`. Every channel of the unit-length metric is sorted over the tokens; the smaller half and
 * the larger half are matched as if they were the tokens at even and at odd places; places that go are then sorted, and where
 * they go is not.
 *
 * @param metric [batch, tokens, channels]
 * @param strategy "merge" and "prune": as above. "pumer": even and odd places by themselves, with the same mix-up.
 * @returns A map with plain means; dropped where it prunes.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { tf } from "tessera/tensor/mod.ts";
 * const metric = tf.tensor3d([[[1, 0], [0, 1], [0, 2], [1, 0.5]]]);
 * assert.deepEqual(torAsAuthors(metric, { keep: 3, strategy: "pumer" }).slot.arraySync(), [[0, 1, 1, 2]]);
 * ```
 */
export function torAsAuthors(
  metric: tf.Tensor3D,
  { keep, strategy }: { readonly keep: number; readonly strategy: "merge" | "prune" | "pumer" },
): SlotMap {
  const [batch, tokens] = metric.shape;
  const removed = Math.min(tokens - keep, Math.floor(tokens / 2));
  const even = Math.ceil(tokens / 2);
  return tidy(() => {
    const unit = metric.div<tf.Tensor3D>(tf.norm(metric, 2, 2, true));
    const rows = unit.arraySync();
    const slots = rows.map((row) => {
      const channels = row[0].length;
      const sorted = Array.from({ length: channels }, (_, c) => row.map((token) => token[c]).sort((a, b) => b - a));
      const half = Math.floor(tokens / 2);
      const sources = strategy === "pumer"
        ? row.filter((_, t) => t % 2 === 0)
        : Array.from({ length: tokens - half }, (_, i) => sorted.map((channel) => channel[half + i]));
      const targets = strategy === "pumer"
        ? row.filter((_, t) => t % 2 === 1)
        : Array.from({ length: half }, (_, i) => sorted.map((channel) => channel[i]));
      const best = sources.map((source) => {
        const match = targets.map((target) => target.reduce((sum, value, c) => sum + value * source[c], 0));
        const value = Math.max(...match);
        return { value, target: match.indexOf(value) };
      });
      const order = Array.from(best.keys()).sort((a, b) => best[b].value - best[a].value || a - b).slice(0, removed);
      const going = [...order].sort((a, b) => a - b);
      const goesTo = new Map(going.map((source, k) => [source, best[order[k]].target])); // sorted, and not
      const slot = new Array<number>(tokens).fill(-1);
      let next = 0;
      for (let t = 0; t < tokens; t++) if (t % 2 === 1 || !goesTo.has(t / 2)) slot[t] = next++;
      if (strategy !== "prune") { for (const [source, target] of goesTo) slot[2 * source] = slot[2 * target + 1]; }
      return slot;
    });
    const slot = tf.tensor2d(slots, [batch, tokens], "int32");
    const anchor = tf.tensor2d(
      slots.flatMap((row) => row.map((own, t) => t % 2 === 1 || row.lastIndexOf(own) === t && row.indexOf(own) === t)),
      [batch, tokens],
      "bool",
    );
    const budget = budgetOf(
      tokens,
      tokens - removed,
      tokens - keep,
      `at most the ${even} tokens at even places can go`,
    );
    return { kind: "slots", tokens, outputs: tokens - removed, slot, anchor, budget };
  });
}

/**
 * ToP-ViM as a reducer: the least important tokens go. In a state-space model let the state decay over them (gap-aware).
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * const place = { layer: 1, layers: 4, tokens: 100, initialTokens: 100, specialTokens: 0, grid: [10, 10] as const };
 * assert.equal(topVim({ keepRate: 0.8, layers: [1] }).plan(place).achieved, 20);
 * ```
 */
export function topVim(options: LayerBudget): Reducer {
  return compose({ name: "topVim", score: positiveSum })(options);
}

/**
 * ToP-ViM's released choice: `parity`. The class token stands in the middle; of all tokens it and `ceil((n - 1) x keepRate)`
 * others, made odd, less one, stay in order. Scores are not clamped at 0.
 *
 * @param channels What is summed for the score, [batch, channels, tokens].
 * @returns Places that stay, [batch, kept] int32.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { tf } from "tessera/tensor/mod.ts";
 * assert.deepEqual(topVimAsAuthors(tf.tensor3d([[[5, 1, 0, 2, 4]]]), 0.5).arraySync(), [[0, 2, 4]]);
 * ```
 */
export function topVimAsAuthors(channels: tf.Tensor3D, keepRate: number): tf.Tensor2D {
  const tokens = channels.shape[2], middle = Math.floor(tokens / 2);
  const rounded = Math.ceil((tokens - 1) * keepRate);
  const others = rounded + (rounded % 2 === 0 ? 1 : 0) - 1;
  return tidy(() => {
    const place = tf.range(0, tokens, 1, "int32").expandDims<tf.Tensor2D>(0);
    const isClass = tf.equal<tf.Tensor2D>(place, int(middle)).tile<tf.Tensor2D>([channels.shape[0], 1]);
    const score = where<tf.Tensor2D>(isClass, Infinity, channels.sum<tf.Tensor2D>(1));
    const stays = tf.less<tf.Tensor2D>(rankDescending(score), int(others + 1));
    const order = rankDescending(stays.cast<tf.Tensor2D>("float32")); // those that stay first, in order
    const found = tf.equal(order.expandDims(1), tf.range(0, others + 1, 1, "int32").reshape([1, others + 1, 1]));
    return found.argMax<tf.Tensor2D>(2).cast<tf.Tensor2D>("int32");
  });
}

/**
 * The rows of `x` that stay, for the residual beside a hidden state: the same tokens, in the same order.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { tf } from "tessera/tensor/mod.ts";
 * const map = joinLessImportant(tf.tensor2d([[2, 1]]), tf.ones([1, 2, 1]), { r: 1 });
 * assert.deepEqual(takeStaying(map, tf.tensor3d([[[5], [7]]])).arraySync(), [[[5]]]);
 * ```
 */
export function takeStaying(map: SlotMap, x: tf.Tensor3D): tf.Tensor3D {
  return tidy(() => gatherTokens(x, stayingPlaces(map)));
}

/**
 * Places of the tokens that stay, ascending: the first of each slot, or its anchor. [batch, outputs] int32
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { tf } from "tessera/tensor/mod.ts";
 * const map = joinLessImportant(tf.tensor2d([[2, 1, 3]]), tf.ones([1, 3, 1]), { r: 1 });
 * assert.deepEqual(stayingPlaces(map).arraySync(), [[0, 2]]);
 * ```
 */
export function stayingPlaces({ slot, anchor, outputs }: SlotMap): tf.Tensor2D {
  return tidy(() => {
    const own = anchor ? where<tf.Tensor2D>(anchor, slot, -1) : slot;
    const row = tf.range(0, outputs, 1, "int32").reshape<tf.Tensor3D>([1, outputs, 1]);
    return tf.equal(own.expandDims(1), row).argMax<tf.Tensor2D>(2).cast<tf.Tensor2D>("int32");
  });
}

/** ToR_SSM in the catalogue. */
export const torSsmMethod = trainingFree(torSsm, {
  family: "merge",
  paper: "Zhan et al., Rethinking Token Reduction for State Space Models, 2024",
  section: "4, arXiv:2410.14725",
  tier: 1,
  traceable: true,
  golden: ["ssm.tor_reduce"],
  cost: "n² / 4 x C; n² floats",
  differs: "from the released code, which mixes up which token joins which, in following the paper",
  breaks: {},
});

/** ToP-ViM in the catalogue. */
export const topVimMethod = trainingFree(topVim, {
  family: "prune",
  paper: "Zhan et al., Exploring Token Pruning in Vision State Space Models, 2024",
  section: "4, arXiv:2409.18962",
  tier: 1,
  traceable: true,
  golden: ["ssm.vim_prune", "ssm.selective_scan_gap"],
  cost: "n x C additions; n floats",
  differs: "from the code in counting patches alone, and in scores that are clamped at 0 as the paper has it",
  breaks: { mass: "tokens are dropped" },
});
