/**
 * Merge on evict: the value of what goes is mixed into that of the kept token whose key it resembles most.
 *
 * Wan et al., "LOOK-M: Look-Once Optimization in KV Cache for Efficient Multimodal Long-Context Inference", EMNLP 2024,
 * arXiv:2406.18139, section 3.3 (`mergePivot`, `mergeWeighted`: keys too); Zhang et al., "CaM: Cache Merging for
 * Memory-efficient LLMs Inference", ICML 2024 (doi 10.5555/3692070.3694465), section 4 (`mergeAhead`). Checked against
 * kvpress (tests/golden, `kv_merging`, `cam`) and the KVCache-Factory (`kvcache_factory.merge_kv`). Differs from them in
 * nothing but the order of what stays.
 *
 * Every later query comes after all tokens of the cache, so that a token may join an earlier one. Within a sequence that
 * still looks at itself it may not: see `refuseMergesIntoPast`.
 *
 * What a merge loses, for keys k_i with mean k and values v_i with mean v in place of m tokens: mass, since
 * m exp(q·k) <= sum exp(q·k_i), and the part Cov(v, k) q. Both vanish where the keys are alike.
 *
 * @module
 */
import { CausalityViolation } from "../../nn/reduction_errors.ts";
import { foldIn, randomUniform, stableTopK, tf, tidy } from "../../tensor/mod.ts";
import { directions, isAmong, lengths, sumsAt, takeTokens } from "./heads.ts";
import { type CacheNeed, type CachePolicy, type CacheView, needInCache } from "../../nn/cache_policy.ts";
import { attentionReceivedBy } from "./h2o.ts";
import { withChange } from "./part_of_view.ts";
import type { CacheMethod } from "./method.ts";
import { knorm } from "./knorm.ts";

/** Options of {@link mergeEvicted}. */
export interface MergeOptions {
  /** Least cosine of keys that join. Default: 0. */
  readonly threshold?: number;
  /** Share of the evicted that join, the most alike of each head. Default: 1. */
  readonly fraction?: number;
}

/** Keys and values of a cache. */
export interface KeysAndValues {
  /** [batch, keyHeads, n, channels] */
  readonly keys: tf.Tensor4D;
  /** [batch, keyHeads, n, channels] */
  readonly values: tf.Tensor4D;
}

/** Places that are not in `index` int32, [batch, keyHeads, k], in order: int32, [batch, keyHeads, n - k]. */
export function evictedPlaces(index: tf.Tensor3D, n: number): tf.Tensor3D {
  return tidy(() => stableTopK(tf.logicalNot(isAmong(index, n)).cast<tf.Tensor3D>("float32"), n - index.shape[2]));
}

/** For each evicted token the kept one whose key it resembles most: its slot int32, and the cosine, [batch, keyHeads, m]. */
export function nearestKept(
  keys: tf.Tensor4D,
  kept: tf.Tensor3D,
  gone: tf.Tensor3D,
): { slot: tf.Tensor3D; cosine: tf.Tensor3D } {
  return tidy(() => {
    const unit = directions(keys);
    const cosine = tf.matMul(takeTokens(unit, gone), takeTokens(unit, kept), false, true);
    return { slot: cosine.argMax<tf.Tensor3D>(3), cosine: cosine.max<tf.Tensor3D>(3) };
  });
}

/**
 * The values of what stays, with those of what goes mixed in: v ← (v + Σ w v_e) / (1 + Σ w) with
 * w = max(cos, 0) ‖v_e‖ / (‖v_e‖ + ‖v‖). Keys are left alone, and with them their rotary positions.
 *
 * @param kept int32 places, [batch, keyHeads, k].
 * @returns [batch, keyHeads, n, channels]: values of all tokens, with something mixed into those that stay.
 *
 * @example Two equal keys, one of which goes: its value is averaged in
 * ```ts
 * import assert from "node:assert/strict";
 * import { tf } from "tessera/tensor/mod.ts";
 * const keys = tf.tensor4d([[[[1, 0], [0, 1], [1, 0]]]]), values = tf.tensor4d([[[[1, 0], [5, 5], [0, 1]]]]);
 * const merged = mergeEvicted({ keys, values }, tf.tensor3d([[[0, 1]]], [1, 1, 2], "int32")).arraySync()[0][0];
 * assert.deepEqual(merged[0].map((value) => value.toFixed(3)), ["0.667", "0.333"]);
 * assert.deepEqual(merged[1], [5, 5]);
 * ```
 */
export function mergeEvicted(
  { keys, values }: KeysAndValues,
  kept: tf.Tensor3D,
  { threshold = 0, fraction = 1 }: MergeOptions = {},
): tf.Tensor4D {
  const n = keys.shape[2];
  if (kept.shape[2] === n) return values;
  return tidy(() => {
    const gone = evictedPlaces(kept, n);
    const { slot, cosine } = nearestKept(keys, kept, gone);
    const into = takeTokens(kept, slot), norms = lengths(values);
    const going = takeTokens(values, gone), own = takeTokens(norms, gone), other = takeTokens(norms, into);
    const gate = tf.maximum(tf.scalar(threshold), fraction < 1 ? quantile(cosine, 1 - fraction) : tf.scalar(-Infinity));
    const weight = cosine.relu().mul(own).div(own.add(other).add(1e-8))
      .mul<tf.Tensor3D>(cosine.greaterEqual(gate).cast("float32"));
    const sum = sumsAt(into, going.mul<tf.Tensor4D>(weight.expandDims(3)), n);
    return values.add(sum).div(sumsAt(into, weight, n).add(1).expandDims(3));
  });
}

/** The quantile `q` of each head by linear interpolation: [batch, keyHeads, 1]. */
function quantile(x: tf.Tensor3D, q: number): tf.Tensor3D {
  const m = x.shape[2], at = q * (m - 1), low = Math.floor(at);
  const sorted = tf.topk(x, m).values.reverse(2);
  const value = (place: number) => sorted.slice<tf.Tensor3D>([0, 0, Math.min(m - 1, place)], [-1, -1, 1]);
  return value(low).mul<tf.Tensor3D>(1 - (at - low)).add(value(low + 1).mul(at - low));
}

/**
 * LOOK-M's pivotal merging: each evicted key and value is averaged with its target, then all of these with the target.
 *
 * @param kept int32 places, [batch, keyHeads, k].
 */
export function mergePivot(cache: KeysAndValues, kept: tf.Tensor3D): KeysAndValues {
  return mergeBoth(cache, kept, (all, going, into) => {
    const n = all.shape[2], halves = going.add<tf.Tensor4D>(takeTokens(all, into)).div<tf.Tensor4D>(2);
    const count = sumsAt(into, tf.ones<tf.Rank.R3>(into.shape), n).add(1).expandDims(3);
    return all.add<tf.Tensor4D>(sumsAt(into, halves, n)).div(count);
  });
}

/** LOOK-M's weighted merging: (target + Σ w x) / (1 + Σ w), w = (cos + 1) / 2. */
export function mergeWeighted(cache: KeysAndValues, kept: tf.Tensor3D): KeysAndValues {
  return mergeBoth(cache, kept, (all, going, into, cosine) => {
    const n = all.shape[2], weight = tf.maximum<tf.Tensor3D>(cosine.add(1).div(2), tf.scalar(1e-6));
    const sum = sumsAt(into, going.mul<tf.Tensor4D>(weight.expandDims(3)), n);
    return all.add<tf.Tensor4D>(sum).div(sumsAt(into, weight, n).add(1).expandDims(3));
  });
}

function mergeBoth(
  { keys, values }: KeysAndValues,
  kept: tf.Tensor3D,
  merge: (all: tf.Tensor4D, going: tf.Tensor4D, into: tf.Tensor3D, cosine: tf.Tensor3D) => tf.Tensor4D,
): KeysAndValues {
  const n = keys.shape[2];
  if (kept.shape[2] === n) return { keys, values };
  return tidy(() => {
    const gone = evictedPlaces(kept, n);
    const { slot, cosine } = nearestKept(keys, kept, gone);
    const of = (x: tf.Tensor4D) => merge(x, takeTokens(x, gone), takeTokens(kept, slot), cosine);
    return { keys: of(keys), values: of(values) };
  });
}

/** What {@link mergeAhead} needs beside the values. */
export interface AheadOptions {
  /** int32, [batch, keyHeads, m]: what is merged. */
  readonly gone: tf.Tensor3D;
  /** [batch, keyHeads, n] bool: what stays. */
  readonly stays: tf.Tensor3D;
  /** Attention that each token has received, [batch, keyHeads, n]. */
  readonly received: tf.Tensor3D;
  /** Kept neighbours behind it that share a token. */
  readonly neighbours: number;
  /** Uniform draws, [batch, keyHeads, m]. */
  readonly draws: tf.Tensor3D;
}

/**
 * CaM: the value of an evicted token is added, in equal parts, to the next `neighbours` kept tokens behind it, with the
 * probability of its attention over the mean of theirs.
 *
 * @returns `values` [batch, keyHeads, n, channels] of all tokens, and the probabilities [batch, keyHeads, m].
 */
export function mergeAhead(
  values: tf.Tensor4D,
  { gone, stays, received, neighbours, draws }: AheadOptions,
): { values: tf.Tensor4D; probability: tf.Tensor3D } {
  return tidy(() => {
    const counts = stays.cast("float32").cumsum<tf.Rank.R3>(2); // kept tokens up to each place
    const at = takeTokens(counts, gone).expandDims(3);
    const behind = counts.expandDims(2).sub(at); // [batch, keyHeads, m, n]: 1 for the first kept one behind
    const inWindow = tf.logicalAnd(
      tf.logicalAnd(behind.greater(0), behind.lessEqual(neighbours)),
      stays.expandDims(2),
    ).cast<tf.Tensor4D>("float32");
    const length = tf.maximum(inWindow.sum(3), tf.scalar(1));
    const mean = inWindow.mul(received.expandDims(2)).sum(3).div(length);
    const probability = takeTokens(received, gone).div(mean.add(1e-12)).clipByValue(0, 1) as tf.Tensor3D;
    const given = draws.less(probability).cast("float32").div(length).expandDims(3);
    const parts = inWindow.mul<tf.Tensor4D>(given); // [batch, keyHeads, m, n]
    return { values: values.add(tf.matMul(parts, takeTokens(values, gone), true, false)), probability };
  });
}

/**
 * Refuses a merge that would carry a later token to an earlier place of a sequence that still looks at itself: the tokens
 * between them would see what comes after them. (After a prompt has been read, its cache may be merged either way.)
 *
 * @param from Positions of what is merged; `into`: of what each joins.
 * @throws {CausalityViolation} Where one joins an earlier token.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * assert.throws(() => refuseMergesIntoPast([5], [2], "mine"), /token 5 would be merged into token 2/);
 * ```
 */
export function refuseMergesIntoPast(from: ArrayLike<number>, into: ArrayLike<number>, method: string): void {
  for (let i = 0; i < from.length; i++) {
    if (into[i] >= from[i]) continue;
    throw new CausalityViolation(
      `${method}: token ${from[i]} would be merged into token ${into[i]}, so that those between them see what comes ` +
        "later; merge into later tokens, or after the prompt has been read",
    );
  }
}

/** Options of {@link merged}. */
export interface MergedOptions extends MergeOptions {
  /**
   * "values": into the nearest kept one by key, keys left alone. "pivot", "weighted": LOOK-M's, keys too, which mixes
   * their rotary positions. "ahead": CaM's, into the next ones behind, by chance. Default: "values".
   */
  readonly how?: "values" | "pivot" | "weighted" | "ahead";
  /** Kept tokens behind it that share one, for "ahead". Default: 32. */
  readonly neighbours?: number;
}

/**
 * A policy whose evicted tokens are merged into those that stay.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { knorm } from "tessera/reduction/cache/mod.ts";
 * assert.equal(merged(knorm({ keepRate: 0.5 })).name, "knorm, merged");
 * ```
 */
export function merged(policy: CachePolicy, options: MergedOptions = {}): CachePolicy {
  const { how = "values", neighbours = 32 } = options;
  const name = `${policy.name}, merged`;
  const ahead: CacheNeed[] = how === "ahead" ? ["attention", "key"] : [];
  const mix = (view: CacheView, keep: tf.Tensor3D): Partial<KeysAndValues> => {
    if (how === "values") return { values: mergeEvicted(view, keep, options) };
    if (how === "pivot") return mergePivot(view, keep);
    if (how === "weighted") return mergeWeighted(view, keep);
    const n = view.tokens, gone = evictedPlaces(keep, n);
    const received = attentionReceivedBy(needInCache(view, "attention", name)(), view.keyHeads);
    const draws = randomUniform(foldIn(needInCache(view, "key", name), 1), gone.shape) as tf.Tensor3D;
    return { values: mergeAhead(view.values, { gone, stays: isAmong(keep, n), received, neighbours, draws }).values };
  };
  return {
    ...policy,
    name,
    needs: [...policy.needs, ...ahead],
    afterPrompt: (views) => {
      const changes = policy.afterPrompt?.(views) ?? [];
      return views.map((view, layer) => {
        const change = changes[layer];
        if (change?.stays) {
          throw new RangeError(
            `${policy.name} keeps different numbers of tokens in its heads, but merging needs the same in each; ` +
              "merge by the policy inside",
          );
        }
        if (!change?.keep) return change;
        const { keep } = change;
        return tidy(() => ({ ...change, ...mix(withChange(view, change), keep) }));
      });
    },
  };
}

/** Merge on evict in the catalogue. */
export const mergedMethod: CacheMethod = {
  paper: "Wan et al., LOOK-M, 2024; kvpress (around Knorm)",
  section: "3.3, arXiv:2406.18139",
  tier: 1,
  traceable: true,
  golden: ["kv_merging", "cam", "kvcache_factory.merge_kv"],
  cost: "(n - k) k d more than the policy inside",
  differs: "in nothing",
  breaks: { values: "that is what it does" },
  create: (options) => merged(knorm(options)),
};
