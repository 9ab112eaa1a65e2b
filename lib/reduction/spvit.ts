/**
 * SPViT: a predictor with a vote for each head says which patches matter; the others are packed into one more token
 * instead of being lost.
 *
 * Kong et al., "SPViT: Enabling Faster Vision Transformers via Latency-aware Soft Token Pruning", ECCV 2022,
 * arXiv:2112.13890, sections 4.1 and 4.2. Checked against the authors' code (tests/golden, `spvit.predictor`,
 * `spvit.package_token`, `spvit.package_token_soft`). Differs from the code in the package: theirs divides the sum of what
 * was dropped by the number that was dropped in the whole batch, and while training by nothing; ours is the mean of each
 * image, weighted by the predicted score (`parity: true`: unweighted).
 *
 * @module
 */
import {
  gelu,
  layerNorm,
  linear,
  linearLayer,
  type LinearParameters,
  normLayer,
  type NormParameters,
} from "../nn/layers.ts";
import type { SlotMap } from "../nn/token_map.ts";
import { tf, tidy } from "../tensor/mod.ts";
import type { LayerBudget } from "./budget.ts";
import { keepOrDrop, type VoteLayers, voteLayers } from "./dynamicvit.ts";
import { learned, learnedMethod, type LearnedOptions, type LearnedReducer } from "./learned.ts";
import { meanWeights } from "./order.ts";
import { pruneByScore } from "./prune.ts";

/** Parameters of one predictor; all heads share it. */
export interface SPViTParameters {
  /** Heads to hidden numbers and back: how much each head's vote counts. */
  readonly squeeze: readonly [LinearParameters, LinearParameters];
  readonly norm: NormParameters;
  readonly embed: LinearParameters;
  /** As in DynamicViT, of a head's channels. */
  readonly out: VoteLayers;
}

/** Options of SPViT. */
export type SPViTOptions = LayerBudget & LearnedOptions<SPViTParameters>;

/**
 * The heads' votes whether each patch is kept or dropped: logarithms of probabilities, averaged with the heads' weights
 * and, as the authors have it, not normalised again.
 *
 * @param x [batch, patches, channels]
 * @param policy [batch, patches]: how much each patch still counts.
 * @returns [batch, patches, 2]
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { tf } from "tessera/tensor/mod.ts";
 * const sizes = { width: 8, heads: 2, layers: 2, grid: [2, 2], specialTokens: 1 } as const;
 * const { stages: [parameters] } = spvit({ keep: [2], layers: [0], sizes });
 * const votes = headVotes(tf.ones<tf.Rank.R3>([1, 4, 8]), tf.ones<tf.Rank.R2>([1, 4]), parameters, 2);
 * assert.deepEqual(votes.shape, [1, 4, 2]);
 * ```
 */
export function headVotes(
  x: tf.Tensor3D,
  policy: tf.Tensor2D,
  { squeeze, norm, embed, out }: SPViTParameters,
  heads: number,
): tf.Tensor3D {
  const [batch, patches, channels] = x.shape;
  const perHead = channels / heads;
  return tidy(() => {
    const split = x.reshape<tf.Tensor4D>([batch, patches, heads, perHead]);
    const hidden = gelu(linear(split.mean<tf.Tensor3D>(3), squeeze[0]));
    const weight = tf.sigmoid(linear(hidden, squeeze[1])); // [batch, patches, heads]
    const embedded = gelu(linear(layerNorm(split, norm), embed));
    const half = Math.floor(perHead / 2);
    const counted = policy.reshape([batch, patches, 1, 1]);
    const ofAll = tf.mul(embedded.slice([0, 0, 0, half]), counted).sum(1, true).div(counted.sum(1, true));
    const whole = tf.concat([
      embedded.slice([0, 0, 0, 0], [-1, -1, -1, half]),
      ofAll.tile([1, patches, 1, 1]),
    ], 3) as tf.Tensor4D;
    const votes = keepOrDrop(whole, out);
    const weighted = tf.mul(votes, weight.expandDims(3)).sum<tf.Tensor3D>(2);
    return tf.div<tf.Tensor3D>(weighted, tf.maximum(weight.sum(2, true), 1e-30));
  });
}

/**
 * Keeps the best patches and packs the others into one token behind them: their mean, weighted by score.
 *
 * @param score [batch, patches], above 0.
 * @param options `keep`: patches that stay as they are; `parity`: the plain mean.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { tf } from "tessera/tensor/mod.ts";
 * import { combineMatrix } from "tessera/nn/token_map.ts";
 * const map = packBelow(tf.tensor2d([[0.5, 0.25, 0.25]]), { keep: 1 });
 * assert.deepEqual(combineMatrix(map).arraySync(), [[[1, 0, 0], [0, 0.5, 0.5]]]);
 * ```
 */
export function packBelow(
  score: tf.Tensor2D,
  { keep, parity = false }: { readonly keep: number; readonly parity?: boolean },
): SlotMap {
  return tidy(() => {
    const packed = pruneByScore(score, { keep, packWith: score });
    return { ...packed, weight: meanWeights(packed.slot, packed.outputs, parity ? undefined : score) };
  });
}

/**
 * SPViT as a reducer, before its block. The package counts among the tokens that stay.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * const sizes = { width: 8, heads: 2, layers: 4, grid: [4, 4], specialTokens: 1 } as const;
 * assert.equal(spvit({ keep: [6], layers: [1], sizes }).stages.length, 1);
 * ```
 */
export function spvit(options: SPViTOptions): LearnedReducer<SPViTParameters> {
  const { sizes: { width, heads }, parity = false } = options;
  const perHead = width / heads;
  return learned(options, {
    name: "spvit",
    hook: "beforeBlock",
    describe: () => ({
      squeeze: [
        linearLayer(heads, Math.max(1, Math.floor(heads / 2))),
        linearLayer(Math.max(1, Math.floor(heads / 2)), heads),
      ],
      norm: normLayer(perHead),
      embed: linearLayer(perHead, perHead),
      out: voteLayers(perHead),
    }),
    reduce: (patches, parameters, { keep }) => {
      const everyone = tf.ones<tf.Rank.R2>(patches.shape.slice(0, 2) as [number, number]);
      const votes = headVotes(patches, everyone, parameters, heads);
      const score = tf.softmax(votes).slice([0, 0, 0], [-1, -1, 1]).squeeze<tf.Tensor2D>([2]);
      if (keep > 1) return packBelow(score, { keep: keep - 1, parity });
      // one token is the package of all, so that nothing is lost
      const slot = tf.zerosLike(score).cast<tf.Tensor2D>("int32");
      const tokens = score.shape[1], gone = tokens - 1;
      const weight = meanWeights(slot, 1, parity ? undefined : score);
      return { kind: "slots", tokens, outputs: 1, slot, weight, budget: { requested: gone, achieved: gone } };
    },
  });
}

/** SPViT in the catalogue. */
export const spvitMethod = learnedMethod(spvit, {
  family: "pack",
  paper: "Kong et al., SPViT, 2022",
  section: "4.1 and 4.2, arXiv:2112.13890",
  tier: 2,
  traceable: true,
  golden: ["spvit.predictor", "spvit.package_token", "spvit.package_token_soft"],
  cost: "1.6 nC²/heads multiplications; nC floats",
  differs: "from the code in dividing the package by each image's own weights",
  breaks: { U6: "head votes are weighed by the means of the patches themselves" },
});
