/**
 * VTW, Visual Tokens Withdrawal: from some block on the text has taken what it needs; all image tokens leave there.
 *
 * Lin et al., "Boosting Multimodal Large Language Models with Visual Tokens Withdrawal for Rapid Inference", AAAI 2025,
 * arXiv:2405.05803, section 3. No golden case: there is nothing to compute but a layer, so this is held by its laws and is
 * the control of what deep blocks need of the image. Differs from the code in nothing.
 *
 * @module
 */
import type { Reducer } from "../nn/reducer.ts";
import { tf, tidy } from "../tensor/mod.ts";
import type { LayerBudget } from "./budget.ts";
import type { Method } from "./method.ts";
import { where } from "./where.ts";

/** Options of VTW. */
export interface VTWOptions {
  /** The block before which the image tokens leave, from 0; see `withdrawalLayer`. */
  readonly layer: number;
}

/**
 * VTW as a reducer: before `layer` every image token is dropped. Costs nothing.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * const place = { layers: 32, tokens: 576, initialTokens: 576, specialTokens: 0, grid: [24, 24] as const };
 * const reducer = vtw({ layer: 15 });
 * assert.deepEqual([14, 15].map((layer) => reducer.plan({ ...place, layer }).achieved), [0, 576]);
 * ```
 */
export function vtw({ layer }: VTWOptions): Reducer {
  if (!Number.isInteger(layer) || layer < 0) {
    throw new RangeError(`layer is a block number from 0, but it is ${layer}; find one with withdrawalLayer`);
  }
  return {
    name: "vtw",
    needs: [],
    hook: "beforeBlock",
    proportionalAttention: false,
    plan: (place) => {
      const removed = place.layer >= layer ? place.tokens - place.specialTokens : 0;
      return { requested: removed, achieved: removed };
    },
    reduce: ({ tokens, specialTokens, x }) => {
      const budget = { requested: tokens - specialTokens, achieved: tokens - specialTokens };
      return tidy(() => {
        const place = tf.range(0, tokens, 1, "int32").expandDims<tf.Tensor2D>(0).tile<tf.Tensor2D>([x.shape[0], 1]);
        const stays = tf.less<tf.Tensor2D>(place, tf.scalar(specialTokens, "int32"));
        const slot = where<tf.Tensor2D>(stays, place, -1);
        return { kind: "slots", tokens, outputs: specialTokens, slot, anchor: stays, budget };
      });
    },
  };
}

/**
 * The layer at which image tokens can leave: the first whose answers differ little from those of the whole model, by the
 * mean Kullback-Leibler divergence over some examples (the authors take about 20).
 *
 * @param full Logits of the answers of the whole model, [examples, words].
 * @param withdrawn For each layer the logits with the image tokens withdrawn there.
 * @param threshold Divergence in nats that is small enough, above 0.
 * @returns The layer, and all divergences; the number of layers where none is small enough: then keep the image.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { tf } from "tessera/tensor/mod.ts";
 * const full = tf.tensor2d([[2, 0]]);
 * const found = withdrawalLayer(full, [tf.tensor2d([[0, 2]]), tf.tensor2d([[1.9, 0]])], 0.01);
 * assert.equal(found.layer, 1);
 * assert.ok(found.divergence[0] > 1);
 * ```
 */
export function withdrawalLayer(
  full: tf.Tensor2D,
  withdrawn: readonly tf.Tensor2D[],
  threshold: number,
): { layer: number; divergence: number[] } {
  if (!(threshold > 0)) {
    throw new RangeError(`threshold must be above 0, but it is ${threshold}; 0.003 is the authors'`);
  }
  const divergence = withdrawn.map((logits) =>
    tidy(() => {
      const expected = tf.logSoftmax(full, 1);
      return tf.exp(expected).mul(expected.sub(tf.logSoftmax(logits, 1))).sum(1).mean().dataSync()[0];
    })
  );
  const layer = divergence.findIndex((value) => value < threshold);
  return { layer: layer < 0 ? withdrawn.length : layer, divergence };
}

/** VTW in the catalogue. */
export const vtwMethod: Method<VTWOptions> = {
  create: vtw,
  forModel: (budget) =>
    removesNothing(budget) ? { ...vtw({ layer: 0 }), plan: () => ({ requested: 0, achieved: 0 }) } : vtw({ layer: 0 }),
  trained: false,
  family: "prune",
  paper: "Lin et al., Visual Tokens Withdrawal, 2025",
  section: "3, arXiv:2405.05803",
  tier: 2,
  models: "vision-language",
  traceable: true,
  golden: [],
  cost: "nothing",
  differs: "in nothing",
  breaks: { U1: "no image token is left: that is the method", mass: "tokens are dropped" },
};

function removesNothing(budget: LayerBudget): boolean {
  return ("r" in budget && budget.r === 0) || ("keepRate" in budget && budget.keepRate === 1);
}
