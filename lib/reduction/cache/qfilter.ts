/**
 * Q-Filters: keep the keys that lie far along the one direction in which a head's queries point.
 *
 * Godey et al., "Q-Filters: Leveraging QK Geometry for Efficient KV Cache Compression", 2025, arXiv:2503.02812, section 3.
 * Checked against kvpress (tests/golden, `qfilter`). Differs from it in nothing but the order of what stays, by score
 * there (`parity: true`); the filters are computed here from any queries, theirs are files made for certain models.
 *
 * @module
 */
import { tf, tidy } from "../../tensor/mod.ts";
import { byScore, type CacheOptions, type ScoredPolicy } from "./policy.ts";
import type { CacheMethod } from "./method.ts";

/**
 * How far each key lies along its head's filter, negated: [batch, keyHeads, n].
 *
 * @param filters [keyHeads, channels]
 */
export function filterScore(keys: tf.Tensor4D, filters: tf.Tensor2D): tf.Tensor3D {
  const [heads, channels] = filters.shape;
  if (heads !== keys.shape[1] || channels !== keys.shape[3]) {
    throw new RangeError(
      `the filters are [${filters.shape}], but the cache has ${keys.shape[1]} key heads of ${
        keys.shape[3]
      } channels; ` +
        "calibrate them on the same model",
    );
  }
  // not as a product of matrices: TensorFlow.js does not repeat one batch for several, and reads beyond its end
  return tidy(() => keys.mul(filters.reshape([1, heads, 1, channels])).sum<tf.Tensor3D>(3).neg());
}

/**
 * The filters of one layer: for each key head the direction along which its queries lie, the first right singular vector
 * of the queries, turned so that they lie along it and not against it.
 *
 * @param queries [batch, heads, n, channels], before or after rotary positions, from any text of a thousand tokens.
 * @param steps Of the power iteration. Default: 64.
 * @returns [keyHeads, channels], each of length 1.
 *
 * @example Queries along the first channel
 * ```ts
 * import assert from "node:assert/strict";
 * import { tf } from "tessera/tensor/mod.ts";
 * const filter = queryFilters(tf.tensor4d([[[[2, 0], [3, 0.1]]]]), 1).arraySync()[0];
 * assert.ok(filter[0] > 0.99);
 * ```
 */
export function queryFilters(queries: tf.Tensor4D, keyHeads: number, steps = 64): tf.Tensor2D {
  const [batch, heads, n, channels] = queries.shape;
  return tidy(() => {
    const rows = queries.transpose([1, 0, 2, 3]).reshape<tf.Tensor3D>([
      keyHeads,
      (heads / keyHeads) * batch * n,
      channels,
    ]);
    const mean = rows.mean<tf.Tensor3D>(1, true);
    const moments = tf.matMul(rows, rows, true, false); // symmetric: its first eigenvector is the one that is sought
    // begins near the mean, where queries lie, and at every axis a little, so that it is never orthogonal to the answer
    const axes = tf.tensor3d([[Array.from({ length: channels }, (_, c) => 1e-3 / (c + 1))]]);
    let direction = tf.add<tf.Tensor3D>(mean, axes);
    for (let step = 0; step < steps; step++) direction = unit(tf.matMul(direction, moments));
    const along = direction.mul(mean).sum(2, true);
    const sign = tf.sub(along.greaterEqual(0).cast("float32").mul(2), 1);
    return direction.mul(sign).squeeze<tf.Tensor2D>([1]);
  });
}

function unit(x: tf.Tensor3D): tf.Tensor3D {
  return x.div(tf.maximum(x.norm(2, 2, true), tf.scalar(1e-12)));
}

/**
 * Q-Filters as a policy.
 *
 * @param options `filters`: one [keyHeads, channels] for each layer, from {@link queryFilters}.
 * @throws {RangeError} Where they are of another model.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { tf } from "tessera/tensor/mod.ts";
 * assert.equal(qFilter({ keepRate: 0.5, filters: [tf.tensor2d([[1, 0]])] }).name, "qfilter");
 * ```
 */
export function qFilter(options: CacheOptions & { readonly filters: readonly tf.Tensor2D[] }): ScoredPolicy {
  const { filters } = options;
  return byScore({
    name: "qfilter",
    needs: [],
    of: ({ keys, layer, layers }) => {
      if (filters.length !== layers) {
        throw new RangeError(
          `qfilter has filters for ${filters.length} layers, but the model has ${layers}; calibrate them on the same model`,
        );
      }
      return filterScore(keys, filters[layer]);
    },
  }, options);
}

/** Q-Filters in the catalogue. */
export const qFilterMethod: CacheMethod = {
  paper: "Godey et al., Q-Filters, 2025",
  section: "3, arXiv:2503.02812",
  tier: 2,
  traceable: true,
  golden: ["qfilter"],
  cost: "n d",
  differs: "in nothing; filters are calibrated here",
  breaks: {},
  create: (options, sizes) =>
    qFilter({
      ...options,
      filters: Array.from({ length: sizes.layers }, () => tf.ones<tf.Rank.R2>([sizes.keyHeads, sizes.channels])),
    }),
};
