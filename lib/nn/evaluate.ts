/**
 * Running a classifier over a set of images, under a reducer: how often it is right, and with what certainty we know.
 *
 * @module
 */
import { type ImageSet, normalize } from "../data/mod.ts";
import { auroc, type Interval, proportionInterval } from "../stats.ts";
import { tick } from "../stop.ts";
import { backend, randomKey, tf, tidy } from "../tensor/mod.ts";
import type { Reducer } from "./reducer.ts";
import type { ViT } from "./vit.ts";

/** Options of an evaluation. */
export interface EvaluateOptions {
  /** Removes tokens inside the model. Default: none. */
  readonly reducer?: Reducer;
  /** Seed of the random numbers a reducer asks for. Default: 1. */
  readonly seed?: number;
  /** Images at a time; the result does not depend on it, but for a random reducer. Default: 250. */
  readonly batch?: number;
}

/** What came out, and how. */
export interface Evaluation {
  /** Fraction of images whose class was right. */
  readonly accuracy: number;
  /** 95 % Wilson interval of the accuracy, as a sample of images. */
  readonly interval: Interval;
  /** Area under the ROC curve of class 1; only where there are two classes. */
  readonly auroc?: number;
  readonly images: number;
  /** For each image 1 where its class was right, else 0; for paired comparisons of two reducers. */
  readonly right: Uint8Array;
  /** Tokens after the last block, special ones included. */
  readonly tokens: number;
  /** Multiply-accumulates of one image. */
  readonly macs: number;
  readonly seed: number;
  /** What computed it. */
  readonly backend: string;
}

/**
 * Accuracy of `model` on `set`. Can be stopped; lets the notebook breathe between batches.
 *
 * @example The trained digits model with half of its patches pooled
 * ```ts
 * import assert from "node:assert/strict";
 * import { mnist, selectImages } from "tessera/data/mod.ts";
 * import { ViT } from "tessera/nn/vit.ts";
 * const some = selectImages(await mnist.load("test"), [0, 1, 2, 3, 4, 5, 6, 7]);
 * const result = await evaluate(await ViT.load("mnist"), some);
 * assert.equal(result.accuracy, 1);
 * ```
 */
export async function evaluate(
  model: ViT,
  set: ImageSet,
  { reducer, seed = 1, batch = 250 }: EvaluateOptions = {},
): Promise<Evaluation> {
  const size = set.height * set.width * set.channels;
  const scores: number[] = []; // logit of class 1 minus that of class 0
  const right = new Uint8Array(set.count);
  for (let start = 0; start < set.count; start += batch) {
    await tick();
    const count = Math.min(batch, set.count - start);
    const { data, shape } = normalize({
      ...set,
      count,
      images: set.images.subarray(start * size, (start + count) * size),
    });
    const logits = tidy(() => {
      const key = randomKey(seed, start);
      return model.forward(tf.tensor4d(data, shape), { key, ...(reducer ? { reducer } : {}) }).logits;
    });
    const rows = logits.arraySync();
    logits.dispose();
    for (const [i, row] of rows.entries()) {
      right[start + i] = Number(row.indexOf(Math.max(...row)) === set.labels[start + i]);
      if (row.length === 2) scores.push(row[1] - row[0]);
    }
  }
  const hits = right.reduce((sum, one) => sum + one, 0);
  return {
    accuracy: hits / set.count,
    interval: proportionInterval(hits, set.count),
    ...(scores.length ? { auroc: auroc(Array.from(set.labels), scores) } : {}),
    images: set.count,
    right,
    tokens: model.tokenCounts(reducer).at(-1)!.out,
    macs: model.macs(reducer),
    seed,
    backend: `${backend}`,
  };
}
