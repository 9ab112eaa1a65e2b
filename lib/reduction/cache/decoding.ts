/**
 * Policies that act while text is made: every so many tokens, or by a threshold.
 *
 * Decoding in kvpress (Devoto et al., arXiv:2510.00636, section 4); dynamic memory sparsification: Łańcucki et al.,
 * "Inference-Time Hyper-Scaling with KV Cache Compression", NeurIPS 2025, arXiv:2506.05345, section 3. Checked against
 * kvpress (tests/golden, `decoding_press`, `dms`). Differs from the second paper in the score: there it is trained, here
 * any score of the keys.
 *
 * @module
 */
import { type CachePolicy, type CacheView, cacheView, eachLayer, type StepView } from "../../nn/cache_policy.ts";
import { tf, tidy } from "../../tensor/mod.ts";
import { refuseNaNIn } from "../special.ts";
import type { CacheScore } from "./policy.ts";
import type { CacheMethod } from "./method.ts";
import { knorm, knormScore } from "./knorm.ts";

/** Options of {@link whileDecoding}. */
export interface DecodingOptions {
  /** Tokens after which the cache is looked at. Default: 512. */
  readonly every?: number;
  /** Hidden states of the last tokens that are remembered for it, for methods with a window. Default: 128. */
  readonly remember?: number;
  /** Whether it acts after the prompt, too. Default: false. */
  readonly prompt?: boolean;
}

/**
 * A policy that acts after every so many tokens on the cache as it is then. With `keep` the cache grows to keep + every
 * tokens; with `keepRate` a share of it goes each time.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { knorm } from "tessera/reduction/cache/mod.ts";
 * assert.equal(whileDecoding(knorm({ keep: 2048 })).everySteps?.tokens, 512);
 * ```
 */
export function whileDecoding(policy: CachePolicy, options: DecodingOptions = {}): CachePolicy {
  const { every = 512, remember = Math.min(128, every), prompt = false } = options;
  const { afterPrompt, replay: _, ...rest } = policy;
  if (!afterPrompt) {
    throw new RangeError(`${policy.name} does nothing after a prompt that it could do again; use it as it is`);
  }
  if (!Number.isInteger(every) || every < 1) {
    throw new RangeError(`every is a number of tokens from 1, but it is ${every}; pass a whole number`);
  }
  return {
    ...rest,
    name: `${policy.name}, every ${every} tokens`,
    ...(prompt ? { afterPrompt } : {}),
    everySteps: { tokens: every, remember, of: afterPrompt },
  };
}

/** Options of {@link dms}. */
export interface ThresholdOptions {
  /** A token goes where its score is lower, once it is out of the window. */
  readonly threshold: number;
  /** Last tokens, which stay. Default: 128. */
  readonly window?: number;
  /** Whether it acts after the prompt alone. Default: false. */
  readonly promptOnly?: boolean;
}

/**
 * Eviction by a threshold, after the prompt and at each step: how many tokens stay depends on the text.
 *
 * @param score One that looks at keys and values alone, such as `knormScore()`.
 * @throws {RangeError} Where the score needs more.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { knormScore } from "tessera/reduction/cache/mod.ts";
 * import { snapKVScore } from "tessera/reduction/cache/snapkv.ts";
 * assert.equal(dms(knormScore(), { threshold: -2 }).name, "dms(knorm)");
 * assert.throws(() => dms(snapKVScore(), { threshold: 0 }), /snapkv needs attention, but dms shows keys and values alone/);
 * ```
 */
export function dms(score: CacheScore, { threshold, window = 128, promptOnly = false }: ThresholdOptions): CachePolicy {
  if (score.needs.length) {
    throw new RangeError(
      `${score.name} needs ${score.needs.join(", ")}, but dms shows keys and values alone; use a score of these`,
    );
  }
  const name = `dms(${score.name})`;
  const stays = (view: CacheView, score: tf.Tensor3D, isRecent: tf.Tensor): tf.Tensor3D =>
    tf.logicalOr(isRecent, score.greaterEqual(threshold)).cast<tf.Tensor3D>("float32").add(view.positions.mul(0));
  const policy: CachePolicy = {
    name,
    needs: [],
    afterPrompt: eachLayer((view) =>
      tidy(() => {
        const place = tf.range(0, view.tokens, 1, "float32").reshape([1, 1, view.tokens]);
        const scored = refuseNaNIn(score.of(view, view.tokens), name, view);
        return { stays: stays(view, scored, place.greaterEqual(view.tokens - window)) };
      })
    ),
  };
  if (promptOnly) return policy;
  const of = ({ keys, values, positions, position, layer, layers, heads }: StepView) => ({
    stays: tidy(() => {
      const view = cacheView({ keys, values, positions, layer, layers, heads });
      return stays(view, score.of(view, view.tokens), positions.greater(position.sub(window)));
    }),
  });
  return { ...policy, everyStep: { of } };
}

/** A policy while text is made in the catalogue. */
export const whileDecodingMethod: CacheMethod = {
  paper: "Devoto et al., 2025: decoding in kvpress (around Knorm)",
  section: "4, arXiv:2510.00636",
  tier: 2,
  traceable: true,
  golden: ["decoding_press"],
  cost: "as the policy inside, every so many tokens",
  differs: "in nothing",
  breaks: {},
  create: (options) => whileDecoding(knorm(options)),
};

/** Eviction by a threshold in the catalogue. */
export const dmsMethod: CacheMethod = {
  paper: "Lancucki et al., Inference-Time Hyper-Scaling, 2025",
  section: "3, arXiv:2506.05345",
  tier: 2,
  traceable: true,
  golden: ["dms"],
  cost: "as the score",
  differs: "from the paper in the score, which is not trained",
  breaks: {
    K1: "its budget is a threshold",
    K2: "its budget is a threshold",
    heads: "its budget is a threshold",
    U9: "the last tokens stay",
  },
  create: () => dms(knormScore(), { threshold: -2, window: 4 }),
};
