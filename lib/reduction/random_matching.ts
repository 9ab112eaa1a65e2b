/**
 * ToMe's controls: which tokens go is not chosen by similarity, only whom they join. `randomBipartite` draws those that
 * go; `kthBipartite` lets evenly spread tokens stay, every k-th.
 *
 * Bolya et al., "Token Merging: Your ViT But Faster", ICLR 2023, arXiv:2210.09461, appendix B. Checked against the authors'
 * code (tests/golden, `tome.random_bipartite`, `tome.kth_bipartite_soft_matching`). Differs from the code in the order of
 * outputs (the input's; theirs is that of the draw: `parity: true`) and in taking any number of tokens, where theirs for
 * the k-th leaves a whole fraction of them and drops the rest of a group.
 *
 * @module
 */
import { need, type Place, type Reducer } from "../nn/reducer.ts";
import { countBefore, identityMap, type SlotMap } from "../nn/token_map.ts";
import {
  gatherTokens,
  placeOfHighest,
  randomUniform,
  rankDescending,
  stableTopK,
  stopGradient,
  tf,
  tidy,
} from "../tensor/mod.ts";
import { type LayerBudget, patchesLeft } from "./budget.ts";
import { trainingFree } from "./method.ts";
import { meanWeights } from "./order.ts";
import { pruningBudget } from "./prune.ts";
import { cosine } from "./similarity.ts";
import { refuseNaNIn, withSpecialTokens } from "./special.ts";
import { int, where } from "./where.ts";

/**
 * Lets each token that is to go join the most similar of those that stay (cosine; equal: the lower place).
 *
 * Costs tokens² x channels multiplications; reads nothing back.
 *
 * @param metric [batch, tokens, channels]
 * @param leaves [batch, tokens] bool, with `r` true in each row.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { tf } from "tessera/tensor/mod.ts";
 * const metric = tf.tensor3d([[[1, 0], [0, 1], [2, 0]]]);
 * const map = joinMostSimilar(metric, tf.tensor2d([[0, 0, 1]], undefined, "bool"), 1);
 * assert.deepEqual(map.slot.arraySync(), [[0, 1, 0]]);
 * ```
 */
export function joinMostSimilar(metric: tf.Tensor3D, leaves: tf.Tensor2D, r: number): SlotMap {
  const [batch, tokens] = metric.shape;
  if (r === 0) return identityMap(batch, tokens);
  return tidy(() => {
    const stays = tf.logicalNot<tf.Tensor2D>(leaves);
    const order = stableTopK(leaves.cast<tf.Tensor2D>("int32"), tokens); // those that leave, then those that stay
    const part = (first: number, count: number) =>
      gatherTokens(stopGradient(metric), tf.slice(order, [0, first], [-1, count]));
    const partner = placeOfHighest(cosine(part(0, r), part(r, tokens - r))) as tf.Tensor2D; // [batch, r], a slot
    const ofLeaving = tf.minimum<tf.Tensor2D>(countBefore(leaves), int(r - 1));
    const slot = where<tf.Tensor2D>(leaves, gatherTokens(partner, ofLeaving), countBefore(stays));
    const budget = { requested: r, achieved: r };
    return { kind: "slots", tokens, outputs: tokens - r, slot, anchor: stays, anchorsInOrder: true, budget };
  });
}

/**
 * Random bipartite matching: the `r` tokens with the smallest draw join the most similar of the others.
 *
 * @param metric [batch, tokens, channels]
 * @param draw [batch, tokens], random numbers.
 * @param options `parity`: plain means, in the order of the draw, as the authors have it.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { tf } from "tessera/tensor/mod.ts";
 * const metric = tf.tensor3d([[[1, 0], [0, 1], [2, 0]]]);
 * const map = randomMatching(metric, tf.tensor2d([[0.9, 0.5, 0.1]]), { r: 1 });
 * assert.deepEqual(map.slot.arraySync(), [[0, 1, 0]]);
 * ```
 */
export function randomMatching(
  metric: tf.Tensor3D,
  draw: tf.Tensor2D,
  { r, parity = false }: { readonly r: number; readonly parity?: boolean },
): SlotMap {
  return tidy(() => {
    const rank = rankDescending(tf.neg(draw)); // 0 for the smallest
    const map = joinMostSimilar(metric, tf.less<tf.Tensor2D>(rank, int(r)), r);
    if (!parity) return map;
    const order = rank.sub<tf.Tensor2D>(int(r)); // of those that stay
    const own = where<tf.Tensor2D>(map.anchor!, order, 0);
    const tokenOfSlot = tf.equal(
      tf.range(0, map.outputs, 1, "int32").reshape([1, map.outputs, 1]),
      where<tf.Tensor2D>(map.anchor!, map.slot, -1).expandDims(1),
    ).argMax<tf.Tensor2D>(2);
    const slot = tf.gather(tf.gather(own, tokenOfSlot, 1, 1) as tf.Tensor2D, map.slot, 1, 1) as tf.Tensor2D;
    return { ...map, slot, weight: meanWeights(slot, map.outputs) };
  });
}

/**
 * Random bipartite matching as a reducer. The choice follows from the model's key alone.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * const place = { layer: 1, layers: 4, tokens: 50, initialTokens: 50, specialTokens: 1, grid: [7, 7] as const };
 * assert.equal(randomBipartite({ r: 30 }).plan(place).achieved, 30); // more than half may go
 * ```
 */
export function randomBipartite(options: LayerBudget): Reducer {
  return matchingReducer("random bipartite", ["keys", "key"], options, (metric, r, view) => {
    const draw = randomUniform(need(view, "key", "random bipartite"), metric.shape.slice(0, 2)) as tf.Tensor2D;
    return randomMatching(metric, draw, { r });
  });
}

/**
 * k-th bipartite matching as a reducer: evenly spread tokens stay, the last of each group (of k, where k divides the
 * number of tokens), and all others join the most similar of them.
 *
 * @example Of nine patches three stay, every third
 * ```ts
 * import assert from "node:assert/strict";
 * const place = { layer: 1, layers: 4, tokens: 10, initialTokens: 10, specialTokens: 1, grid: [3, 3] as const };
 * assert.equal(kthBipartite({ keepRate: 1 / 3, layers: [1] }).plan(place).achieved, 6);
 * ```
 */
export function kthBipartite(options: LayerBudget): Reducer {
  return matchingReducer("k-th bipartite", ["keys"], options, (metric, r) => {
    const [batch, tokens] = metric.shape;
    const outputs = tokens - r;
    const leaves = new Uint8Array(tokens).fill(1);
    for (let i = 1; i <= outputs; i++) leaves[Math.floor(i * tokens / outputs) - 1] = 0;
    const row = tf.tensor2d(leaves, [1, tokens], "bool").tile<tf.Tensor2D>([batch, 1]);
    return joinMostSimilar(metric, row, r);
  });
}

function matchingReducer(
  name: string,
  needs: Reducer["needs"],
  options: LayerBudget,
  match: (metric: tf.Tensor3D, r: number, view: Parameters<Reducer["reduce"]>[0]) => SlotMap,
): Reducer {
  const left = patchesLeft(options);
  const planned = (place: Place) => pruningBudget(place, left(place));
  return {
    name,
    needs,
    proportionalAttention: true,
    plan: planned,
    reduce: (view) => {
      const budget = planned(view);
      const { specialTokens } = view;
      return tidy(() => {
        const keys = need(view, "keys", name).mean<tf.Tensor3D>(1).slice([0, specialTokens, 0]) as tf.Tensor3D;
        const map = match(refuseNaNIn(keys, name, view), budget.achieved, view);
        return { ...withSpecialTokens(map, specialTokens), budget };
      });
    },
  };
}

const facts = {
  family: "merge",
  paper: "Bolya et al., Token Merging, 2023",
  section: "appendix B, arXiv:2210.09461",
  tier: 1,
  traceable: true,
  cost: "r(n - r)C multiplications; r(n - r) floats",
} as const;

/** Random bipartite matching in the catalogue. */
export const randomBipartiteMethod = trainingFree(randomBipartite, {
  ...facts,
  golden: ["tome.random_bipartite"],
  differs: "from the code in the order of tokens and in weighting by size",
  breaks: {
    U7: "it draws for the whole batch at once",
    U9: "who goes does not depend on what is in the patches",
    M4: "a token that was joined may go itself when more go",
  },
});

/** k-th bipartite matching in the catalogue. */
export const kthBipartiteMethod = trainingFree(kthBipartite, {
  ...facts,
  golden: ["tome.kth_bipartite_soft_matching"],
  differs: "from the code in taking any number of tokens, and in weighting by size",
  breaks: { U9: "who goes depends on where patches are", M4: "groups of neighbours begin elsewhere when more go" },
});
