/**
 * VisionZip: keep the tokens that the class token looks at most, and let the others join evenly spaced ones among them.
 *
 * Yang et al., "VisionZip: Longer is Better but Not Necessary in Vision Language Models", CVPR 2025, arXiv:2412.04467,
 * section 3. Checked against the authors' code (tests/golden, `visionzip.tokens`). Differs from the code in that a
 * contextual token is the mean of its target and all that join it, there the target plus the mean of those that join, so
 * twice as long as a token; and in the order, there dominant tokens first. `parity: true` brings both back.
 *
 * @module
 */
import { trainingFree } from "./method.ts";
import { need, type Reducer } from "../nn/reducer.ts";
import { countBefore } from "../nn/token_map.ts";
import { argsort, gatherTokens, stopGradient, tf, tidy } from "../tensor/mod.ts";
import type { LayerBudget } from "./budget.ts";
import { mapOf } from "./combine.ts";
import { type Combine, compose } from "./compose.ts";
import { towerAttention } from "./fastervlm.ts";
import { cosine, settled } from "./similarity.ts";
import { int, where } from "./where.ts";

/** The authors' share: 10 of 64 tokens, 20 of 128, 30 of 192. */
const CONTEXTUAL_SHARE = 10 / 64;

/** Which tokens are targets, and which target each token resembles most. */
export interface Targets {
  /** [batch, tokens] bool: `count` true in each row. */
  readonly isTarget: tf.Tensor2D;
  /** int32 [batch, count]: their places, ascending. */
  readonly places: tf.Tensor2D;
  /** int32 [batch, tokens]: the number of the target, 0 .. count - 1, whose key is most like each token's (cosine). */
  readonly nearest: tf.Tensor2D;
}

/**
 * Evenly spaced targets among the tokens that do not stay: the first, and every (rest / count)-th after it.
 *
 * Costs `nCc` multiply-accumulates for n tokens and c targets.
 *
 * @param keys [batch, tokens, channels]
 * @param stays [batch, tokens] bool, the same number of true in each row.
 * @param rest How many are not true.
 * @param count 1 to rest.
 *
 * @example Tokens 1, 2, 3 and 4 are left; 1 and 3 are the targets
 * ```ts
 * import assert from "node:assert/strict";
 * import { tf } from "tessera/tensor/mod.ts";
 * const keys = tf.tensor3d([[[1, 0], [1, 0], [0, 1], [0, 1], [1, 0]]]);
 * const { places, nearest } = evenTargets(keys, tf.tensor2d([[1, 0, 0, 0, 0]], undefined, "bool"), 4, 2);
 * assert.deepEqual([places.arraySync(), nearest.arraySync()], [[[1, 3]], [[0, 0, 1, 1, 0]]]);
 * ```
 */
export function evenTargets(keys: tf.Tensor3D, stays: tf.Tensor2D, rest: number, count: number): Targets {
  return tidy(() => {
    const step = Math.max(1, Math.floor(rest / count));
    const leaves = tf.logicalNot(stays) as tf.Tensor2D;
    const rank = countBefore(leaves); // among those that leave
    const onStep = tf.equal(tf.mod(rank, int(step)), int(0));
    const early = tf.less(rank, int(step * count));
    const isTarget = tf.logicalAnd(leaves, tf.logicalAnd(onStep, early)) as tf.Tensor2D;
    const places = argsort(isTarget.cast<tf.Tensor2D>("int32"), "descending").slice([0, 0], [-1, count]) as tf.Tensor2D;
    const fixed = stopGradient(keys);
    return { isTarget, places, nearest: settled(cosine(fixed, gatherTokens(fixed, places))).argMax<tf.Tensor2D>(2) };
  });
}

/** Options of VisionZip's contextual tokens. */
export interface ContextualOptions {
  /** Share of the tokens that are contextual. Default: 10 of 64, as the authors'. */
  readonly share?: number;
  /** The target plus the mean of the others, after the dominant tokens. Default: false. */
  readonly parity?: boolean;
}

/**
 * Those that do not stay become contextual tokens: evenly spaced targets among them, joined by whatever resembles them.
 *
 * @example 64 tokens are 54 and 10
 * ```ts
 * import assert from "node:assert/strict";
 * const { made } = contextual();
 * assert.equal(typeof made === "function" && made(576, 64), 10);
 * ```
 */
export function contextual({ share = CONTEXTUAL_SHARE, parity = false }: ContextualOptions = {}): Combine {
  if (!(share >= 0 && share < 1)) {
    throw new RangeError(`share must lie in [0, 1), but it is ${share}; the authors' is 10 / 64`);
  }
  const made = (_patches: number, wanted: number) =>
    share === 0 ? 0 : Math.max(1, Math.min(wanted - 1, Math.round(wanted * share)));
  return {
    name: "contextual",
    needs: ["keys"],
    made,
    combine: (choice, _score, view) =>
      tidy(() => {
        const { stays, keep, made: count = 1 } = choice;
        const rest = view.tokens - view.specialTokens - keep;
        if (count === 0) return mapOf(view, choice, tf.fill(stays.shape, -1, "int32"));
        const keys = need(view, "keys", "visionzip").mean<tf.Tensor3D>(1).slice([
          0,
          view.specialTokens,
          0,
        ]) as tf.Tensor3D;
        const { isTarget, places, nearest } = evenTargets(keys, stays, rest, count);
        if (!parity) {
          const anchor = tf.logicalOr(stays, isTarget) as tf.Tensor2D;
          const joined = gatherTokens(countBefore(anchor), gatherTokens(places, nearest));
          return mapOf(view, { stays: anchor, keep: keep + count }, joined);
        }
        const joins = tf.logicalNot(tf.logicalOr(stays, isTarget)).cast<tf.Tensor2D>("float32");
        const group = tf.oneHot(nearest, count).mul<tf.Tensor3D>(joins.expandDims(2)); // [batch, patches, count]
        const members = gatherTokens(group.sum<tf.Tensor2D>(1), nearest);
        const weight = where<tf.Tensor2D>(joins.cast("bool"), tf.div<tf.Tensor2D>(1, tf.maximum(members, 1)), 1);
        const front = tf.ones<tf.Rank.R2>([stays.shape[0], view.specialTokens]);
        return {
          ...mapOf(view, choice, nearest.add<tf.Tensor2D>(int(keep)), count),
          weight: view.specialTokens ? tf.concat([front, weight], 1) : weight,
        };
      }),
  };
}

/** Options of VisionZip. */
export type VisionZipOptions = LayerBudget & ContextualOptions;

/**
 * VisionZip as a reducer: before the first block, unless the budget names others. Its tokens include the contextual ones.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * const place = { layers: 32, tokens: 576, initialTokens: 576, specialTokens: 0, grid: [24, 24] as const };
 * assert.equal(visionzip({ keep: [64], layers: [0] }).plan({ ...place, layer: 0 }).achieved, 512);
 * ```
 */
export function visionzip(options: VisionZipOptions): Reducer {
  const { share, parity } = options;
  const name = "visionzip", combine = contextual({ share, parity });
  return compose({ name, score: towerAttention(name), combine, layers: [0], hook: "beforeBlock" })(options);
}

/** VisionZip in the catalogue. */
export const visionzipMethod = trainingFree(visionzip, {
  family: "merge",
  paper: "Yang et al., VisionZip, 2025",
  section: "3, arXiv:2412.04467",
  tier: 1,
  models: "vision-language",
  traceable: true,
  golden: ["visionzip.tokens"],
  cost: "ncC multiplications for c contextual tokens; nc floats",
  differs: "from the code in that a contextual token is a mean, where it is the sum of two, and in the order",
  breaks: {
    U9: "targets are spaced along the order of the input",
    M4: "fewer targets are spaced elsewhere",
  },
});
