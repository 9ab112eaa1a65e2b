/**
 * Workloads of cache policies, in this library.
 *
 * @module
 */
import { tf } from "tessera/tensor/mod.ts";
import { applyChange, type CachePolicy, cacheView } from "tessera/nn/mod.ts";
import {
  adaKV,
  chunkKV,
  criticalKV,
  expectedAttention,
  keyDiff,
  knorm,
  lagKV,
  merged,
  observedAttention,
  snapKV,
  streamingLLM,
  think,
  tova,
} from "tessera/reduction/mod.ts";
import type { Job } from "../workloads/cache.ts";
import { inferred, patternTensor, type Ready } from "./worker.ts";

/** Each with the budget; sizes as the peer has them. */
const policies: Readonly<Record<string, (keep: number) => CachePolicy>> = {
  streaming: (keep) => streamingLLM({ keep }),
  h2o: (keep) => observedAttention({ keep }),
  tova: (keep) => tova({ keep }),
  snapkv: (keep) => snapKV({ keep, window: 64 }),
  knorm: (keep) => knorm({ keep }),
  keydiff: (keep) => keyDiff({ keep }),
  expected: (keep) => expectedAttention({ keep }),
  lagkv: (keep) => lagKV({ keep }),
  think: () => think({ removeChannels: 0.5 }),
  adakv: (keep) => adaKV(keyDiff({ keep })),
  critical: (keep) => criticalKV(knorm({ keep })),
  chunkkv: (keep) => chunkKV(knorm({ keep })),
  merged: (keep) => merged(knorm({ keep })),
};

/** Makes a workload ready. */
export function prepare({ method, heads, tokens, channels, keep }: Job): Ready {
  const shape = [1, heads, tokens, channels], width = heads * channels;
  const inputs = [...[910, 911, 912].map((salt) => patternTensor(salt, shape)), patternTensor(913, [width, width])];
  const policy = policies[method](keep);
  const body = (...[keys, values, queries, output]: tf.Tensor[]) => {
    const view = cacheView({
      keys: keys as tf.Tensor4D,
      values: values as tf.Tensor4D,
      queries: queries as tf.Tensor4D,
      queriesBeforeRotary: queries as tf.Tensor4D,
      weights: { o: output as tf.Tensor2D },
    });
    const change = policy.afterPrompt!([view])[0] ?? {};
    // heads of different lengths are told by a mask; channels are set to 0 where they are
    if (change.stays) return change.stays;
    if (!change.keep) return change.keys!;
    const { layer } = applyChange(view, change);
    return tf.stack([layer.keys, layer.values]);
  };
  const ready = inferred(body, inputs);
  // what stays lies in another order in the peer: the mean of the absolute values is the same
  return { ...ready, check: ready.check.slice(0, 1) };
}
