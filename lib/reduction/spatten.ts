/**
 * SpAtten: in cascade, each layer keeps the tokens that attention has looked at most, and what is gone stays gone; the first
 * layers keep all, then the share falls evenly.
 *
 * Wang, Zhang and Han, "SpAtten: Efficient Sparse Attention Architecture with Cascade Token and Head Pruning", HPCA 2021,
 * arXiv:2012.09852, section III. Checked against the code of LTP's authors (tests/golden, `spatten.cascade_pruner`).
 * Differs from the paper in the model's own reducer, which goes by one layer's attention as that code does; scores that add
 * up over layers are in `cascade`. Heads are not pruned.
 *
 * @module
 */
import { need, type Place, type Reducer } from "../nn/reducer.ts";
import { rankDescending, tf, tidy } from "../tensor/mod.ts";
import { type LayerBudget, patchesLeft, type Rounding } from "./budget.ts";
import { trainingFree } from "./method.ts";
import { pruneByScore, pruningBudget } from "./prune.ts";
import { attentionReceived } from "./scores.ts";
import { refuseNaNIn } from "./special.ts";
import { int } from "./where.ts";

/** To the nearest whole number, halves to the even one, as PyTorch rounds. */
const halfEven: Rounding = {
  of: "initial",
  round: (value) => {
    const low = Math.floor(value);
    return value - low === 0.5 ? low + low % 2 : Math.round(value);
  },
};

/**
 * The share of tokens that stays after a layer: all in the first max(3, 15 %) layers, then evenly down to `keepRate`.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * assert.deepEqual([2, 3, 11].map((layer) => Math.round(1000 * spattenKeepRate(0.4, layer, 12))), [1000, 933, 400]);
 * ```
 */
export function spattenKeepRate(keepRate: number, layer: number, layers: number): number {
  const whole = Math.max(3, Math.ceil(0.15 * layers));
  if (layer < whole) return 1;
  return Math.max(0.01, 1 + (keepRate - 1) * (layer - whole + 1) / (layers - whole));
}

/**
 * SpAtten as a reducer. With one `keepRate` and no layers it is the share at the end, and each layer has its own
 * ({@link spattenKeepRate}); a model of up to three layers keeps all then.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * const place = { layer: 7, layers: 12, tokens: 101, initialTokens: 101, specialTokens: 1, grid: [10, 10] as const };
 * assert.equal(spatten({ keepRate: 0.4 }).plan(place).achieved, 33);
 * ```
 */
export function spatten(options: LayerBudget): Reducer {
  const inSteps = "keepRate" in options && typeof options.keepRate === "number" && options.layers === undefined;
  const given = patchesLeft(options, halfEven); // refuses what is no budget
  const left = (place: Place) => {
    if (!inSteps) return given(place);
    const patches = place.initialTokens - place.specialTokens;
    const share = spattenKeepRate(options.keepRate as number, place.layer, place.layers);
    return Math.min(place.tokens - place.specialTokens, halfEven.round(patches * share));
  };
  return {
    name: "spatten",
    needs: ["attention"],
    proportionalAttention: false,
    plan: (place) => pruningBudget(place, left(place)),
    reduce: (view) => {
      const { specialTokens } = view;
      const budget = pruningBudget(view, left(view));
      need(view, "attention", "spatten");
      return tidy(() => {
        const score = refuseNaNIn(attentionReceived.of(view), "spatten", view);
        const keep = view.tokens - specialTokens - budget.achieved;
        return { ...pruneByScore(score, { keep, specialTokens }), budget };
      });
    },
  };
}

/**
 * The tokens that a layer looks at most: sums over heads and queries, the highest `count` stay.
 *
 * @param attention [batch, heads, tokens, tokens]
 * @returns [batch, tokens], 1 where a token stays.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { tf } from "tessera/tensor/mod.ts";
 * assert.deepEqual(lookedAtMost(tf.tensor4d([[[[0.5, 0.5], [0.25, 0.75]]]]), 1).arraySync(), [[0, 1]]);
 * ```
 */
export function lookedAtMost(attention: tf.Tensor4D, count: number): tf.Tensor2D {
  return tidy(() => rankDescending(attention.sum<tf.Tensor2D>([1, 2])).less(int(count)).cast<tf.Tensor2D>("int32"));
}

/** What became of each token in each layer: what a picture over layers shows. */
export interface Cascade {
  /** [layers][tokens]: attention that each token has got up to and with this layer. */
  readonly score: readonly Float32Array[];
  /** [layers][tokens]: 1 where a token is there after the layer. */
  readonly kept: readonly Uint8Array[];
}

/**
 * The paper's cascade over the attention maps of one text: scores add up over the layers, a token that is gone neither looks
 * nor is looked at. The maps are those of the whole model; what is left of a row after a removal is scaled to a sum of 1,
 * which is what its softmax would have given for the same logits.
 *
 * @param maps For each layer [heads, tokens, tokens], of one text.
 * @param counts Tokens that are left after each layer.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { tf } from "tessera/tensor/mod.ts";
 * const even = tf.tensor3d([[[0.5, 0.25, 0.25], [0.5, 0.25, 0.25], [0.5, 0.5, 0]]]);
 * const { kept } = cascade([even, even], [2, 1]);
 * assert.deepEqual(kept.map((row) => [...row]), [[1, 1, 0], [1, 0, 0]]);
 * ```
 */
export function cascade(maps: readonly tf.Tensor3D[], counts: readonly number[]): Cascade {
  const tokens = maps[0].shape[1];
  const total = new Float32Array(tokens);
  let alive = new Uint8Array(tokens).fill(1);
  const score: Float32Array[] = [], kept: Uint8Array[] = [];
  for (const [layer, map] of maps.entries()) {
    const [heads] = map.shape, values = map.dataSync();
    for (let head = 0; head < heads; head++) {
      for (let query = 0; query < tokens; query++) {
        if (!alive[query]) continue;
        const row = values.subarray((head * tokens + query) * tokens, (head * tokens + query + 1) * tokens);
        let mass = 0;
        for (let key = 0; key < tokens; key++) if (alive[key]) mass += row[key];
        for (let key = 0; key < tokens && mass > 0; key++) if (alive[key]) total[key] += row[key] / mass;
      }
    }
    const order = Array.from(total.keys()).filter((token) => alive[token]).sort((a, b) => total[b] - total[a] || a - b);
    const next = new Uint8Array(tokens);
    for (const token of order.slice(0, Math.max(1, counts[layer]))) next[token] = 1;
    alive = next;
    score.push(total.slice());
    kept.push(alive.slice());
  }
  return { score, kept };
}

/** SpAtten in the catalogue. */
export const spattenMethod = trainingFree(spatten, {
  family: "prune",
  paper: "Wang et al., SpAtten, 2021",
  section: "III, arXiv:2012.09852",
  tier: 2,
  traceable: true,
  golden: ["spatten.cascade_pruner"],
  cost: "heads x n² additions; n floats",
  differs: "from the paper in scores of one layer (cascade() adds them up) and in leaving the heads alone",
  breaks: { mass: "tokens are dropped" },
});
