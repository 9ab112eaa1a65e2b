/**
 * DivPrune: keep the tokens that are most different from one another, by greedy max-min distance.
 *
 * Alvar, Singh, Akbari and Zhang, "DivPrune: Diversity-based Visual Token Pruning for Large Multimodal Models", CVPR 2025,
 * arXiv:2503.02175, section 3. Checked against the authors' code (tests/golden, `divprune.select`). Differs from the code in
 * the order of what stays, there that of selection (`parity: true`), here that of the input, and in rounding a share of
 * tokens, there half to even.
 *
 * @module
 */
import { trainingFree } from "./method.ts";
import type { Reducer } from "../nn/reducer.ts";
import { gatherTokens, stopGradient, tf, tidy } from "../tensor/mod.ts";
import type { LayerBudget, Rounding } from "./budget.ts";
import { compose, type Score, type Select } from "./compose.ts";
import { unitLength } from "./similarity.ts";
import { refuseNaNIn } from "./special.ts";
import { where } from "./where.ts";

/** Rows of the similarity matrix that are held at a time, when the first token is sought. */
const ROWS_AT_ONCE = 512;

/**
 * Greedy max-min selection (Gonzalez 1985): first the token whose nearest other token is farthest away, then again and
 * again the token that is farthest from all chosen ones. Distance is 1 - cosine; equal distances: the lower place first.
 *
 * Costs `n²C + nkC` multiply-accumulates for n tokens of which k are chosen: the first token needs all pairs, 512 rows of
 * them at a time; each further one needs a product of the tokens with one of them and a running minimum, never a copy of
 * all pairs. Extra memory: `4(nC + min(n, 512) n)` bytes and a few numbers per token. Reads nothing back.
 *
 * @param features [batch, tokens, channels]
 * @param keep 1 to tokens.
 * @returns int32 [batch, keep], in the order of selection.
 *
 * @example Of two equal tokens the second one comes last
 * ```ts
 * import assert from "node:assert/strict";
 * import { tf } from "tessera/tensor/mod.ts";
 * const features = tf.tensor3d([[[1, 0], [1, 0], [0, 1], [-1, 0.1]]]);
 * assert.deepEqual(maxMinOrder(features, 4).arraySync(), [[2, 0, 3, 1]]);
 * ```
 */
export function maxMinOrder(features: tf.Tensor3D, keep: number): tf.Tensor2D {
  const [batch, tokens] = features.shape;
  return tidy(() => {
    const unit = unitLength(stopGradient(features));
    const place = tf.range(0, tokens, 1, "int32").expandDims<tf.Tensor2D>(0); // [1, tokens]
    let pick = nearestOther(unit).argMin(1).expandDims<tf.Tensor2D>(1); // [batch, 1]
    const picks = [pick];
    let distance: tf.Tensor2D = tf.fill([batch, tokens], Infinity); // to the nearest chosen token
    for (let chosen = 1; chosen < keep; chosen++) {
      const last = distance, lastPick = pick;
      distance = tidy(() => {
        const cosine = tf.matMul(unit, gatherTokens(unit, lastPick), false, true).squeeze<tf.Tensor2D>([2]);
        const nearest = tf.minimum<tf.Tensor2D>(last, tf.sub(1, cosine));
        return where<tf.Tensor2D>(tf.equal(place, lastPick), -Infinity, nearest); // never again
      });
      last.dispose();
      pick = distance.argMax(1).expandDims<tf.Tensor2D>(1);
      picks.push(pick);
    }
    return tf.concat(picks, 1);
  });
}

/**
 * The places that stand in an order of selection, as `compose` wants them.
 *
 * @param order int32 [batch, keep]
 * @returns [batch, tokens] bool
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { tf } from "tessera/tensor/mod.ts";
 * assert.deepEqual(placesOf(tf.tensor2d([[2, 0]], undefined, "int32"), 3).arraySync(), [[1, 0, 1]]);
 * ```
 */
export function placesOf(order: tf.Tensor2D, tokens: number): tf.Tensor2D {
  return tidy(() => {
    const places = tf.range(0, tokens, 1, "int32").reshape([1, 1, tokens]);
    return tf.equal(order.expandDims(2), places).any(1) as tf.Tensor2D;
  });
}

/** Keeps the tokens that are most different from one another, whatever their score. */
export const maxMin: Select = {
  name: "max-min distance",
  needs: [],
  choose: (_score, keep, view) =>
    tidy(() => {
      const patches = refuseNaNIn(view.x.slice([0, view.specialTokens, 0]) as tf.Tensor3D, "divprune", view);
      return { keep, stays: placesOf(maxMinOrder(patches, keep), patches.shape[1]) };
    }),
};

/** All patches alike, for selections that need no score. */
export const noScore: Score = {
  name: "no score",
  needs: [],
  of: ({ x, specialTokens }) => tf.zeros([x.shape[0], x.shape[1] - specialTokens]),
};

/** Options of DivPrune. */
export type DivPruneOptions = LayerBudget & {
  /** Python's rounding of a share of tokens, half to even. Default: false. */
  readonly parity?: boolean;
};

/**
 * DivPrune as a reducer: before the first block, unless the budget names others. What it costs: see `maxMinOrder`.
 *
 * @param options As the authors': `keepRate: 0.098`.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * const place = { layers: 32, tokens: 576, initialTokens: 576, specialTokens: 0, grid: [24, 24] as const };
 * assert.equal(divprune({ keepRate: 0.098 }).plan({ ...place, layer: 0 }).achieved, 576 - 56);
 * ```
 */
export function divprune(options: DivPruneOptions): Reducer {
  const rounding = options.parity ? halfToEven : halfUp;
  return compose({ name: "divprune", score: noScore, select: maxMin, layers: [0], rounding, hook: "beforeBlock" })(
    options,
  );
}

const halfUp: Rounding = { of: "initial", round: (patches) => Math.round(patches - 1e-9) };

/** Python's `round`. */
const halfToEven: Rounding = {
  of: "initial",
  round: (patches) => {
    const low = Math.floor(patches), half = patches - low === 0.5;
    return half ? low + low % 2 : Math.round(patches);
  },
};

/** Cosine of each token with the other token that resembles it most: [batch, tokens]. */
function nearestOther(unit: tf.Tensor3D): tf.Tensor2D {
  const tokens = unit.shape[1];
  const parts: tf.Tensor2D[] = [];
  for (let start = 0; start < tokens; start += ROWS_AT_ONCE) {
    const rows = Math.min(ROWS_AT_ONCE, tokens - start);
    parts.push(tidy(() => {
      const cosine = tf.matMul<tf.Tensor3D>(unit.slice([0, start, 0], [-1, rows, -1]), unit, false, true);
      if (tokens === 1) return cosine.squeeze<tf.Tensor2D>([2]);
      const two = tf.topk(cosine, 2).values; // the token itself, and the other
      return two.slice([0, 0, 1], [-1, -1, 1]).squeeze<tf.Tensor2D>([2]);
    }));
  }
  return tf.concat(parts, 1);
}

/** DivPrune in the catalogue. */
export const divpruneMethod = trainingFree(divprune, {
  family: "prune",
  paper: "Alvar et al., DivPrune, 2025",
  section: "3, arXiv:2503.02175",
  tier: 1,
  models: "vision-language",
  traceable: true,
  golden: ["divprune.select"],
  cost: "n²C + nkC multiplications; 4(nC + min(n, 512) n) bytes",
  differs: "from the code in the order of tokens and in rounding half up",
  breaks: {
    mass: "tokens are dropped",
    U9: "where the two most isolated tokens are each other's nearest, the order of the input says which is first",
  },
});
