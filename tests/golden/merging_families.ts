/**
 * Golden cases of matching and merging beyond ToMe.
 *
 * @module
 */
import { tf } from "../../lib/tensor/mod.ts";
import { applyMap, membership, type SlotMap, unmerge } from "../../lib/nn/token_map.ts";
import {
  atcMap,
  bipartiteSoftMatching,
  cellTokens,
  completeMatching,
  dropLeaving,
  energy,
  fuse,
  type Linkage,
  mergeIntoCells,
  mlerp,
  piToMeMatching,
  randomMatching,
} from "../../lib/reduction/mod.ts";
import { withSpecialTokens } from "../../lib/reduction/special.ts";
import { viewAfter } from "../../lib/reduction/views.ts";
import { assertClose } from "./cases.ts";
import { type Family, number, tensor3 } from "./model_cases.ts";

/** The families of this file. */
export const mergingFamilies: Readonly<Record<string, Family>> = {
  "tome.random_bipartite": ({ params, inputs, outputs }) => {
    const draw = tensor3(inputs.rand).squeeze<tf.Tensor2D>([2]);
    const map = randomMatching(tensor3(inputs.metric), draw, { r: number(params.r), parity: true });
    const { x } = applyMap(map, tensor3(inputs.x));
    assertClose(x.arraySync(), outputs.merged_mean, "merged_mean");
    assertClose(membership(map).arraySync(), outputs.source, "source");
    assertClose(unmerge(map, x).arraySync(), outputs.unmerged, "unmerged");
  },
  "tomesd.bipartite_soft_matching_2d": ({ params, inputs, outputs }) => {
    const metric = tensor3(inputs.metric);
    const cells = cellTokens([number(params.h), number(params.w)], [number(params.sy), number(params.sx)]);
    const row = Array.from({ length: metric.shape[1] }, (_, token) => cells.includes(token) ? 1 : 0);
    const joinable = tf.tensor2d(Array(metric.shape[0]).fill(row), undefined, "bool");
    const r = Math.min(number(params.r), row.length - cells.length);
    const map = mergeIntoCells(metric, joinable, { r, parity: true });
    const { x } = applyMap(map, tensor3(inputs.x));
    assertClose(x.arraySync(), outputs.merged_mean, "merged_mean");
    assertClose(unmerge(map, x).arraySync(), outputs.unmerged, "unmerged");
  },
  "pitome.vision": ({ params, inputs, outputs }) => {
    const special = Number(params.class_token === true);
    const metric = tensor3(inputs.metric).slice([0, special, 0]) as tf.Tensor3D;
    const margin = number(params.margin);
    assertClose(energy(metric, { margin }).arraySync(), outputs.energy, "energy");
    const r = Math.floor(metric.shape[1] - metric.shape[1] * number(params.ratio));
    const pairing = params.variant === "pitome" ? "dense" : "alternate";
    const map = withSpecialTokens(piToMeMatching(metric, { r, margin, pairing, parity: true }), special);
    assertMerged(map, inputs, outputs);
  },
  "pitome.text": ({ params, inputs, outputs }) => {
    const special = Number(params.class_token === true);
    const metric = tensor3(inputs.metric).slice([0, special, 0]) as tf.Tensor3D;
    const r = Math.floor(metric.shape[1] - metric.shape[1] * number(params.ratio));
    const options = { r, margin: number(params.margin), pairing: "halves", kernel: "gaussian", parity: true } as const;
    const map = withSpecialTokens(piToMeMatching(metric, options), special);
    assertMerged(map, inputs, outputs);
    const mask = tf.tensor2d(inputs.attention_mask as number[][]);
    const merged = tf.mul(membership(map), mask.expandDims(1)).max(2);
    assertClose(merged.arraySync(), outputs.attention_mask, "attention_mask");
  },
  "tofu.merge": ({ params, inputs, outputs }) => {
    const metric = tensor3(inputs.metric), x = tensor3(inputs.x);
    const tokens = metric.shape[1];
    const map = bipartiteSoftMatching(metric, {
      r: Math.floor(tokens - tokens * number(params.ratio)),
      classToken: params.class_token === true,
      parity: true,
    });
    assertClose(membership(map).arraySync(), outputs.source, "source");
    assertClose(applyMap(mlerp(map, x, true), x).x.arraySync(), outputs.mlerp, "mlerp");
    assertClose(applyMap(dropLeaving(map), x).x.arraySync(), outputs.prune, "prune");
  },
  "mctf.merge": ({ params, inputs, outputs }) => {
    const x = tensor3(inputs.x), attention = tf.tensor4d(inputs.attn as number[][][][]);
    const size = tensor3(inputs.size).squeeze<tf.Tensor2D>([2]);
    const map = fuse(x, attention, size, {
      r: number(params.r),
      specialTokens: number(params.num_protected),
      temperatures: {
        similarity: number(params.tau_sim),
        information: number(params.tau_info),
        size: number(params.tau_size),
      },
      bothWays: params.bidirection === 1,
      weightBy: params.pooling_type === 1 ? "attention" : params.pooling_type === 0 ? "size" : "none",
      parity: true,
    });
    assertMerged(map, inputs, outputs, size);
    if (outputs.attn_next === undefined || outputs.attn_next === null) return;
    const place = {
      layer: 0,
      layers: 1,
      initialTokens: map.tokens,
      specialTokens: 1,
      grid: [1, map.tokens - 1] as const,
    };
    const next = viewAfter({ ...place, tokens: map.tokens, x, size, attention }, map);
    assertClose(next.attention!.arraySync(), outputs.attn_next, "attn_next");
  },
  "crossget.reduce": ({ params, inputs, outputs }) => {
    const size = tensor3(inputs.size).squeeze<tf.Tensor2D>([2]);
    const query = tensor3(inputs.query);
    const last = query.slice([0, query.shape[1] - 1, 0], [-1, 1, -1]).squeeze<tf.Tensor2D>([1]); // the cross token's
    const options = { r: number(params.r), front: 1, back: 1, size, parity: true };
    const merged = applyMap(completeMatching(tensor3(inputs.metric), last, options), tensor3(inputs.x), size);
    assertClose(merged.x.arraySync(), outputs.tokens, "tokens");
    assertClose(merged.size.expandDims(2).arraySync(), outputs.size, "size");
  },
  "atc.cluster_merge": ({ params, inputs, outputs }) => {
    const metric = tensor3(inputs.metric);
    const special = Number(params.class_token === true);
    // with a class token the authors cluster the n - 1 others into n - r
    const clusters = metric.shape[1] - number(params.r);
    const patches = metric.slice([0, special, 0]) as tf.Tensor3D;
    const map = withSpecialTokens(atcMap(patches, { clusters, linkage: params.linkage as Linkage }), special);
    const groups = map.slot.arraySync().map((row) =>
      Array.from({ length: map.outputs }, (_, slot) => row.flatMap((s, token) => s === slot ? [token] : []))
    );
    assertClose(groups, outputs.groups, "groups");
    assertMerged(map, inputs, { ...outputs, source: membership(map).arraySync() });
  },
};

function assertMerged(
  map: SlotMap,
  inputs: Record<string, unknown>,
  outputs: Record<string, unknown>,
  size = tensor3(inputs.size).squeeze<tf.Tensor2D>([2]),
): void {
  assertClose(membership(map).arraySync(), outputs.source, "source");
  const merged = applyMap(map, tensor3(inputs.x), size);
  assertClose(merged.size.expandDims(2).arraySync(), outputs.size, "size");
  assertClose(merged.x.arraySync(), outputs.merged, "merged");
}
