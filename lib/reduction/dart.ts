/**
 * DART: tokens matter less than their duplicates do; take a few pivots and keep the tokens that resemble them least.
 *
 * Wen et al., "Stop Looking for Important Tokens in Multimodal Language Models: Duplication Matters More", EMNLP 2025,
 * arXiv:2502.11494, section 4. Checked against the authors' code (tests/golden, `dart.select`). Differs from the code in that
 * the budget is met: each pivot brings as many tokens as are needed, there all bring the same number, rounded down, beside
 * the pivots (`parity: true`); and in the order of the pivots, there that of a hash set, here that of the input.
 *
 * @module
 */
import { trainingFree } from "./method.ts";
import { given, need, type Reducer } from "../nn/reducer.ts";
import { type Budget, budgetOf } from "../nn/token_map.ts";
import { argsort, gatherTokens, rankDescending, stableTopK, stopGradient, tf, tidy } from "../tensor/mod.ts";
import { type LayerBudget, patchesLeft, type Rounding, withLayers } from "./budget.ts";
import { drop } from "./combine.ts";
import { placesOf } from "./divprune.ts";
import { settled, unitLength } from "./similarity.ts";
import { refuseNaNIn } from "./special.ts";
import { int, where } from "./where.ts";

/** What DART looks at. */
export interface DartInput {
  /** [batch, heads, image tokens, channels / heads] */
  readonly imageKeys: tf.Tensor4D;
  /** [batch, heads, text tokens, channels / heads] */
  readonly textKeys: tf.Tensor4D;
  /** [batch, image tokens, channels], after the model's last norm. */
  readonly image: tf.Tensor3D;
  /** [batch, text tokens, channels], likewise. */
  readonly text: tf.Tensor3D;
}

/** How many pivots, and how many tokens each of them brings. */
export interface DartCounts {
  readonly imagePivots: number;
  readonly textPivots: number;
  /** One number per pivot, image pivots first. */
  readonly brings: readonly number[];
}

/**
 * The image tokens that stay: image pivots, and for each pivot, in the order of the input, those among the rest whose
 * hidden states are least like its own (cosine). Pivots are the tokens of image and of text whose keys have the largest L1
 * norm.
 *
 * Costs `pnC` multiply-accumulates for p pivots; needs no attention map.
 *
 * @returns [batch, image tokens] bool
 *
 * @example Token 0 is the pivot, token 2 is least like it
 * ```ts
 * import assert from "node:assert/strict";
 * import { tf } from "tessera/tensor/mod.ts";
 * const image = tf.tensor3d([[[2, 0], [1, 0], [0, 1]]]), text = tf.tensor3d([[[1, 1]]]);
 * const keys = { imageKeys: image.expandDims<tf.Tensor4D>(1), textKeys: text.expandDims<tf.Tensor4D>(1) };
 * const stays = dartPlaces({ ...keys, image, text }, { imagePivots: 1, textPivots: 0, brings: [1] });
 * assert.deepEqual(stays.arraySync(), [[1, 0, 1]]);
 * ```
 */
export function dartPlaces(input: DartInput, { imagePivots, textPivots, brings }: DartCounts): tf.Tensor2D {
  return tidy(() => {
    const image = unitLength(stopGradient(input.image)), text = unitLength(stopGradient(input.text));
    const pivotsOf = (keys: tf.Tensor4D, count: number) => {
      const length = keys.abs().sum<tf.Tensor2D>([1, 3]); // [batch, tokens]
      const places = stableTopK(length, count);
      return gatherTokens(places, argsort(places)); // in the order of the input
    };
    const imagePlaces = pivotsOf(input.imageKeys, imagePivots), textPlaces = pivotsOf(input.textKeys, textPivots);
    const pivots = tf.concat([gatherTokens(image, imagePlaces), gatherTokens(text, textPlaces)], 1);
    const cosines = settled(tf.matMul(pivots, image, false, true)); // [batch, pivots, image tokens]
    let stays = placesOf(imagePlaces, image.shape[1]);
    for (const [pivot, count] of brings.entries()) {
      const alike = cosines.slice([0, pivot, 0], [-1, 1, -1]).squeeze<tf.Tensor2D>([1]);
      const score = where<tf.Tensor2D>(stays, -2, tf.neg(alike));
      stays = tf.logicalOr(stays, tf.less(rankDescending(score), int(count))) as tf.Tensor2D;
    }
    return stays;
  });
}

/**
 * How many tokens each pivot brings, so that `wanted` stay in all: as equal as possible, the first ones one more.
 *
 * @param options `textTokens`: there can be no more text pivots than that; `parity`: all bring `floor(wanted / pivots)`.
 *
 * @throws {RangeError} With `parity`, where there are fewer text tokens than pivots.
 *
 * @example 22.2 % of LLaVA's 576 image tokens are 127; the authors' code keeps 4 + 8 x 15
 * ```ts
 * import assert from "node:assert/strict";
 * assert.deepEqual(dartCounts(127, { textTokens: 40, parity: true }).brings, Array(8).fill(15));
 * assert.deepEqual(dartCounts(127, { textTokens: 40 }).brings, [16, 16, 16, 15, 15, 15, 15, 15]);
 * ```
 */
export function dartCounts(
  wanted: number,
  { textTokens, parity = false, pivots = PIVOTS }: {
    readonly textTokens: number;
    readonly parity?: boolean;
    readonly pivots?: number;
  },
): DartCounts {
  if (parity && textTokens < pivots) {
    throw new RangeError(
      `the authors' DART takes ${pivots} pivots from the text, but it has ${textTokens} tokens; set pivots, or leave parity`,
    );
  }
  const imagePivots = Math.min(pivots, wanted), textPivots = Math.min(pivots, textTokens);
  const all = imagePivots + textPivots;
  const left = wanted - imagePivots;
  const brings = Array.from(
    { length: all },
    (_, pivot) => parity ? Math.floor(wanted / all) : Math.floor(left / all) + Number(pivot < left % all),
  );
  return { imagePivots, textPivots, brings };
}

/** Options of DART. */
export type DartOptions = LayerBudget & {
  /** Pivots among the image tokens, and among the text tokens. Default: 4. */
  readonly pivots?: number;
  /** All pivots bring the same number of tokens, as in the authors' code. Default: false. */
  readonly parity?: boolean;
};

/**
 * DART as a reducer: before block 2, unless the budget names other blocks. What it costs: see `dartPlaces`.
 *
 * @param options As the authors': `keepRate: 0.222`.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * const place = { layer: 2, layers: 32, tokens: 576, initialTokens: 576, specialTokens: 0, grid: [24, 24] as const };
 * assert.equal(dart({ keep: [128], layers: [2] }).plan(place).achieved, 448);
 * ```
 */
export function dart(options: DartOptions): Reducer {
  const { pivots = PIVOTS, parity = false } = options;
  if (!Number.isInteger(pivots) || pivots < 1) {
    throw new RangeError(`pivots is a whole number from 1, but it is ${pivots}; the authors' is 4`);
  }
  const left = patchesLeft(withLayers(options, [2]), parity ? floor : undefined);
  return {
    name: "dart",
    needs: ["text", "keys"],
    hook: "beforeBlock",
    proportionalAttention: false,
    plan: (place) => planned(place.tokens - place.specialTokens, left(place), pivots, parity),
    reduce: (view) => {
      const text = need(view, "text", "dart");
      const textKeys = given(text.keys, "text.keys", "dart"), norm = given(text.finalNorm, "text.finalNorm", "dart");
      const { specialTokens } = view;
      const patches = view.tokens - specialTokens, wanted = Math.max(1, left(view));
      const counts = dartCounts(wanted, { textTokens: text.x.shape[1], parity, pivots });
      return tidy(() => {
        const stays = dartPlaces(
          {
            imageKeys: refuseNaNIn(
              need(view, "keys", "dart").slice([0, 0, specialTokens, 0]),
              "dart",
              view,
            ) as tf.Tensor4D,
            textKeys,
            image: norm(view.x.slice([0, specialTokens, 0]) as tf.Tensor3D),
            text: norm(text.x),
          },
          counts,
        );
        const keep = counts.imagePivots + counts.brings.reduce((sum, brought) => sum + brought, 0);
        const map = drop.combine({ stays, keep }, view.size, view);
        return { ...map, budget: planned(patches, left(view), pivots, parity) };
      });
    },
  };
}

/** Pivots among image tokens, and among text tokens. */
const PIVOTS = 4;
const EQUAL = "every pivot brings the same number of tokens";
const floor: Rounding = { of: "initial", round: Math.floor };

/** At least one token stays. With equal numbers for all pivots more or fewer tokens than wanted may stay. */
function planned(tokens: number, wanted: number, pivots: number, parity: boolean): Budget {
  if (wanted >= tokens) return { requested: 0, achieved: 0 };
  const stay = parity ? pivots + 2 * pivots * Math.floor(wanted / (2 * pivots)) : Math.max(1, wanted);
  return budgetOf(tokens, Math.min(tokens, stay), tokens - wanted, parity ? EQUAL : "at least one patch must stay");
}

/** DART in the catalogue. */
export const dartMethod = trainingFree(dart, {
  family: "prune",
  paper: "Wen et al., Stop Looking for Important Tokens, 2025",
  section: "4, arXiv:2502.11494",
  tier: 1,
  models: "vision-language",
  traceable: true,
  golden: ["dart.select"],
  cost: "8nC multiplications, 8 pivots; 8n floats",
  differs: "from the code in meeting the budget exactly and in the order of pivots",
  breaks: { mass: "tokens are dropped", U9: "pivots bring tokens in the order of the input" },
});
