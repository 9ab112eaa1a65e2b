/**
 * What policies do within a step that makes a token, where one slot must become free for the next.
 *
 * @module
 */
import type { CachePlace, StepView } from "../../nn/cache_policy.ts";
import { tf, tidy } from "../../tensor/mod.ts";
import type { CacheOptions } from "./policy.ts";

/**
 * The size that a cache has while text is made: `keep`, or what the prompt has left. Undefined: nothing ever goes.
 *
 * A rate is one of the prompt, as H2O counts it: later the cache does not grow.
 */
export function sizeOf(options: CacheOptions): ((place: CachePlace) => number) | undefined {
  if ("keep" in options) {
    const { keep } = options;
    return ({ layer }) => typeof keep === "number" ? keep : keep[layer];
  }
  const given = "keepRate" in options ? options.keepRate : options.remove;
  const all = "keepRate" in options ? 1 : 0;
  if ([given].flat().every((value) => value === all)) return undefined;
  return ({ tokens }) => tokens;
}

/**
 * Which slots stay: all but the one with the lowest score, once there are more than the cache holds. The new token stays.
 * Traced; reads nothing back.
 *
 * @param score [batch, keyHeads, slots]
 * @returns [batch, keyHeads, slots]: 1 where a slot stays.
 */
export function leastGoes(score: tf.Tensor3D, view: StepView, options: CacheOptions): tf.Tensor3D {
  const slots = score.shape[2];
  return tidy(() => {
    const isFree = view.positions.less(0), isNew = tf.equal(view.positions, view.position);
    const never = tf.logicalOr(isFree, isNew);
    const lowest = tf.where<tf.Tensor>(never, tf.scalar(3e38), score).argMin(2);
    const goes = tf.oneHot(lowest.cast("int32"), slots).cast<tf.Tensor3D>("float32");
    return tf.sub<tf.Tensor3D>(1, goes.mul(mustGo(isFree, view, options)));
  });
}

/** 1 where a token must go: with a rate always, since the cache is full from the prompt on; else where it is full. */
function mustGo(isFree: tf.Tensor, { layer }: StepView, options: CacheOptions): tf.Tensor | number {
  if (!("keep" in options)) return 1;
  const keep = typeof options.keep === "number" ? options.keep : options.keep[layer];
  const count = tf.sub(isFree.shape.at(-1)!, isFree.cast("float32").sum(2, true));
  return count.greater(keep).cast("float32");
}
