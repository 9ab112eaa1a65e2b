/**
 * StreamingLLM: keep the first tokens, on which attention rests where it has nothing to look for ("sinks"), and the last.
 *
 * Xiao et al., "Efficient Streaming Language Models with Attention Sinks", ICLR 2024, arXiv:2309.17453, section 3.2.
 * Checked against kvpress (tests/golden, `streaming_llm`). Differs from it in the positions: there a key keeps the one it
 * was computed at (`parity: true`); in the paper, and here, what is in the cache counts its positions from 0.
 *
 * @module
 */
import { tf, tidy } from "../../tensor/mod.ts";
import type { StepChange, StepView } from "../../nn/cache_policy.ts";
import { byScore, type CacheOptions, type CacheScore, type ScoredPolicy } from "./policy.ts";
import { leastGoes, sizeOf } from "./steps.ts";
import { shrunk } from "./window.ts";
import type { CacheMethod } from "./method.ts";

/**
 * Later tokens are worth more, and the first `sinks` most of all: [1, 1, n], the best `k` of which are the sinks and the
 * last `k - sinks`.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * assert.deepEqual(recencyScore(4, 1).arraySync(), [[[4, 1, 2, 3]]]);
 * ```
 */
export function recencyScore(n: number, sinks: number): tf.Tensor3D {
  return tf.tensor3d([[Array.from({ length: n }, (_, place) => place < sinks ? n + sinks - 1 - place : place)]]);
}

/** kvpress' score of `n` tokens of which `keep` stay: 1, and 0 for those that go. */
export function streamingMask(n: number, sinks: number, keep: number): tf.Tensor3D {
  const gone = n - keep;
  return tidy(() => tf.tensor3d([[Array.from({ length: n }, (_, j) => Number(j < sinks || j >= sinks + gone))]]));
}

/** Options of StreamingLLM. */
export interface SinkOptions {
  /** First tokens, which stay. Default: 4. */
  readonly sinks?: number;
}

/** {@link recencyScore} as a score of policies. */
export function streamingScore({ sinks = 4 }: SinkOptions = {}): CacheScore {
  return {
    name: "streaming_llm",
    needs: [],
    of: ({ keys, tokens, keyHeads }, keep) =>
      tidy(() =>
        recencyScore(tokens, shrunk("sinks", sinks, keep, "streaming_llm")).tile([keys.shape[0], keyHeads, 1])
      ),
  };
}

/**
 * StreamingLLM as a policy: after the prompt, and at each step, in which the oldest token goes that is no sink.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * assert.equal(streamingLLM({ keep: 64 }).positions, "cache");
 * ```
 */
export function streamingLLM(options: CacheOptions & SinkOptions): ScoredPolicy {
  const { sinks = 4, parity = false } = options;
  const slots = sizeOf(options);
  if (!slots) return byScore(streamingScore(options), options);
  const policy = byScore(streamingScore(options), options, { positions: parity ? "original" : "cache" });
  const of = (view: StepView): StepChange => {
    const isSink = view.positions.less(sinks).cast("float32");
    return { stays: leastGoes(view.positions.add<tf.Tensor3D>(isSink.mul(1e9)), view, options) };
  };
  return { ...policy, everyStep: { slots, of } };
}

/** StreamingLLM in the catalogue. */
export const streamingLLMMethod: CacheMethod = {
  paper: "Xiao et al., StreamingLLM, 2024",
  section: "3.2, arXiv:2309.17453",
  tier: 1,
  traceable: true,
  golden: ["streaming_llm"],
  cost: "none",
  differs: "from kvpress in positions, which are counted anew",
  breaks: { U9: "it keeps the first and the last" },
  create: (options) => streamingLLM(options),
};
