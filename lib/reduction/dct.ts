/**
 * DCT truncation: keep the low frequencies of the sequence of patches. The control for methods that call themselves smart
 * about sequences.
 *
 * Used as a baseline in Tran et al., PiToMe, NeurIPS 2024, arXiv:2405.16148. Checked against the implementation in its code
 * (tests/golden, `dct.truncate`). Differs from that code in scaling by the root of k / n, so that equal patches stay as
 * long as they are (`parity: true` leaves it out, which makes them longer).
 *
 * @module
 */
import type { Place, Reducer } from "../nn/reducer.ts";
import { tf, tidy } from "../tensor/mod.ts";
import { type LayerBudget, patchesLeft, truncate } from "./budget.ts";
import { softMap } from "./learned.ts";
import { trainingFree } from "./method.ts";
import { pruningBudget } from "./prune.ts";
import { withSpecialTokens } from "./special.ts";

/** Options of DCT truncation. */
export type DCTOptions = LayerBudget & {
  /** Do not rescale, as the reference. Default: false. */
  readonly parity?: boolean;
};

/**
 * The matrix from `tokens` patches to `outputs`: an orthonormal DCT-II, cut off, and an orthonormal inverse of the shorter
 * length.
 *
 * @returns outputs x tokens numbers.
 *
 * @example Equal tokens stay equal
 * ```ts
 * import assert from "node:assert/strict";
 * const sums = dctMatrix(4, 2).map((row) => row.reduce((a, b) => a + b));
 * assert.ok(sums.every((sum) => Math.abs(sum - 1) < 1e-12));
 * ```
 */
export function dctMatrix(tokens: number, outputs: number, parity = false): number[][] {
  const wave = (frequency: number, place: number, length: number) =>
    Math.sqrt((frequency ? 2 : 1) / length) * Math.cos(Math.PI * (place + 0.5) * frequency / length);
  const scale = parity ? 1 : Math.sqrt(outputs / tokens);
  return Array.from({ length: outputs }, (_, output) =>
    Array.from({ length: tokens }, (_, token) => {
      let sum = 0;
      for (let f = 0; f < outputs; f++) sum += wave(f, output, outputs) * wave(f, token, tokens);
      return scale * sum;
    }));
}

/**
 * DCT truncation as a reducer.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * const place = { layer: 0, layers: 4, tokens: 17, initialTokens: 17, specialTokens: 1, grid: [4, 4] as const };
 * assert.equal(dct({ r: 4 }).plan(place).achieved, 4);
 * ```
 */
export function dct(options: DCTOptions): Reducer {
  const { parity = false } = options;
  const left = patchesLeft(options, truncate);
  const planned = (place: Place) => pruningBudget(place, left(place));
  return {
    name: "dct",
    needs: [],
    proportionalAttention: false,
    plan: planned,
    reduce: (view) => {
      const budget = planned(view);
      const { specialTokens } = view;
      const patches = view.tokens - specialTokens, keep = patches - budget.achieved;
      return tidy(() => {
        const batch = view.x.shape[0];
        const each = (matrix: tf.Tensor2D) => matrix.expandDims<tf.Tensor3D>(0).tile<tf.Tensor3D>([batch, 1, 1]);
        const rows = tf.tensor2d(dctMatrix(patches, keep, parity));
        const mass = tf.fill<tf.Rank.R2>([keep, patches], 1 / keep); // every output is made of all patches alike
        const back = rows.transpose<tf.Tensor2D>().mul<tf.Tensor2D>(parity ? 1 : patches / keep);
        const map = softMap(each(rows), { mass: each(mass), back: each(back) });
        return { ...withSpecialTokens(map, specialTokens), budget };
      });
    },
  };
}

/** DCT truncation in the catalogue. */
export const dctMethod = trainingFree(dct, {
  family: "transform",
  paper: "Tran et al., PiToMe, 2024 (as a baseline)",
  section: "4, arXiv:2405.16148",
  tier: 2,
  traceable: true,
  golden: ["dct.truncate"],
  cost: "nkC multiplications; nk floats",
  differs: "from the code in scaling, so that equal patches stay as long as they are",
  breaks: { U9: "frequencies are those of the order of the input" },
});
