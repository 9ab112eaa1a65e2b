/**
 * The policies that are asked, at one share of the slots.
 *
 * @module
 */
import type { CachePolicy } from "tessera/nn/mod.ts";
import {
  byScore,
  type CacheScore,
  expectedAttention,
  keyDiff,
  knorm,
  lagKV,
  observedAttention,
  randomEviction,
  snapKV,
  streamingLLM,
  tova,
} from "tessera/reduction/mod.ts";
import { tf } from "tessera/tensor/mod.ts";

/** Keys, or values, that are long matter: what knorm says, the other way round. */
const longest = (of: "keys" | "values"): CacheScore => ({
  name: `longest ${of}`,
  needs: [],
  of: (view) => view[of].norm(2, 3) as tf.Tensor3D,
});

/** Every so-manyth slot, and of the others the last. */
const strided: CacheScore = {
  name: "strided",
  needs: [],
  of: ({ keys, tokens, keyHeads }, keep) => {
    const chosen = new Set(Array.from({ length: keep }, (_, i) => Math.floor((i + 0.5) * tokens / keep)));
    const row = Array.from({ length: tokens }, (_, place) => (chosen.has(place) ? tokens : 0) + place);
    return tf.tensor3d([[row]]).tile([keys.shape[0], keyHeads, 1]);
  },
};

/** What is asked for first, and of the rest the last. */
function oracle(wanted: readonly number[][]): CacheScore {
  return {
    name: "oracle",
    needs: [],
    of: ({ tokens, keyHeads }) =>
      tf.tensor3d(wanted.map((row) => [row.map((value, place) => value * tokens + place)])).tile([1, keyHeads, 1]),
  };
}

/** Policies by name; `wanted` is what the oracle knows: see `Batch`. */
export function policiesFor(keepRate: number, wanted: readonly number[][]): Record<string, CachePolicy | undefined> {
  const budget = { keepRate };
  return {
    none: undefined,
    oracle: byScore(oracle(wanted), budget),
    random: randomEviction(budget),
    strided: byScore(strided, budget),
    // a mask keeps each key at its place, as kvpress does; the paper counts places anew
    StreamingLLM: streamingLLM({ ...budget, parity: true }),
    Knorm: knorm(budget),
    "longest keys": byScore(longest("keys"), budget),
    "longest values": byScore(longest("values"), budget),
    KeyDiff: keyDiff(budget),
    ObservedAttention: observedAttention(budget),
    "H2O's sum": observedAttention({ ...budget, normalised: false }),
    TOVA: tova(budget),
    SnapKV: snapKV({ ...budget, window: 8 }),
    "SnapKV, not pooled": snapKV({ ...budget, window: 8, kernel: 1 }),
    ExpectedAttention: expectedAttention(budget),
    LagKV: lagKV(budget),
  };
}
