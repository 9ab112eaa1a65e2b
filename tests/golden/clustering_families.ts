/**
 * Golden cases of sampling, clustering and fixed patterns.
 *
 * @module
 */
import { tf } from "../../lib/tensor/mod.ts";
import { softmaxWithPolicy } from "../../lib/nn/attention.ts";
import { applyMap } from "../../lib/nn/token_map.ts";
import {
  ats,
  centreDistances,
  type Distance,
  dpcKnn,
  dpcknn,
  fixedPattern,
  kmedoids,
  kMedoidsFit,
  mergeClusters,
  sampled,
  samplePoints,
  significance,
} from "../../lib/reduction/mod.ts";
import { shareOf } from "../../lib/reduction/dpcknn.ts";
import { contiguousThresholds, patternThreshold } from "../../lib/reduction/fixed_pattern.ts";
import { assertClose, type GoldenCase } from "./cases.ts";
import { type Family, keptTokens, number, run, stagesOf, tensor3 } from "./model_cases.ts";

/** The families of this file. */
export const clusteringFamilies: Readonly<Record<string, Family>> = {
  "dynamicvit.softmax_with_policy": ({ params, inputs, outputs }) => {
    const scores = tf.tensor4d(inputs.scores as number[][][][]);
    const policy = tensor3(inputs.policy).squeeze<tf.Tensor2D>([2]);
    assertClose(softmaxWithPolicy(scores, policy, number(params.eps)).arraySync(), outputs.attn, "attn");
  },
  "ats.adaptive_token_sampling": ({ params, inputs, outputs }) => {
    const attention = tf.tensor4d(inputs.attn as number[][][][]);
    const points = samplePoints(number(params.sample_count), true);
    assertClose(points, outputs.sample_steps, "sample_steps");
    const score = significance(attention, tf.tensor4d(inputs.values as number[][][][]));
    const ids = sampled(score, points, true).arraySync().map((
      row,
    ) => [0, ...row.flatMap((yes, i) => yes ? [i + 1] : [])]);
    const mask = outputs.mask as number[][];
    const real = (outputs.sampled_ids as number[][]).map((row, image) => row.filter((_, i) => mask[image][i]));
    assertClose(ids, real, "sampled_ids");
    // rows of the attention, head by head: the reference goes on with these alone
    for (const [image, row] of ids.entries()) {
      const rows = tf.gather(attention.slice([image], [1]), tf.tensor1d(row, "int32"), 2).arraySync() as number[][][][];
      const expected = (outputs.attn as number[][][][])[image].map((head) => head.filter((_, i) => mask[image][i]));
      assertClose(rows[0], expected, `attn[${image}]`);
    }
  },
  "vit_ats.forward": (entry, all) => {
    const { params, outputs } = entry;
    const stages = stagesOf(entry, all);
    // several numbers are sample counts, of which one is the class token's
    const counts = params.keep_rate as number[];
    const keep = counts.length > 1 ? counts.map((count) => count - 1) : stages.keep;
    const { output } = run(entry, all, ats({ keep, layers: stages.layers, parity: true }));
    assertClose(output.logits.arraySync(), outputs.logits, "logits");
    for (const [layer, expected] of Object.entries(outputs.kept as Record<string, number[][]>)) {
      const map = output.maps[Number(layer)]!;
      const kept = keptTokens(map).map((row) => row.slice(1).filter((token) => token >= 0).map((token) => token - 1));
      assertClose(kept, expected.map((row) => row.filter((token) => token >= 0)), `kept.${layer}`);
    }
    for (const [image, size] of output.size.arraySync().entries()) {
      const real = size.filter((s) => s > 0).length;
      const ours = output.tokens.arraySync()[image].slice(0, real);
      assertClose(ours, (outputs.last_tokens as number[][][])[image].slice(0, real), `last_tokens[${image}]`);
    }
  },
  "kmedoids.k_medoids_fit": ({ params, inputs, outputs }) => {
    const x = tensor3(inputs.x);
    const weight = tensor3(inputs.token_weight).squeeze<tf.Tensor2D>([2]);
    const clusters = number(params.clusters), iterations = number(params.iterations);
    const { centres, assignment } = kMedoidsFit(x, { clusters, iterations, weight, parity: true });
    assertClose(centres.arraySync(), outputs.center_idx, "center_idx");
    assertClose(assignment.arraySync(), outputs.assignment, "assignment");
    assertClose(tf.gather(x, centres, 1, 1).arraySync(), outputs.centers, "centers");
  },
  "vit_kmedoids.forward": (entry, all) => {
    const iterations = number(entry.params.cluster_iters);
    const { output } = run(entry, all, kmedoids({ ...stagesOf(entry, all), iterations, parity: true }));
    assertClose(output.logits.arraySync(), entry.outputs.logits, "logits");
    assertClose(output.tokens.arraySync(), entry.outputs.last_tokens, "last_tokens");
    assertAssigned(output, entry);
  },
  "dpcknn.cluster_and_merge": ({ params, inputs, outputs }) => {
    const x = tensor3(inputs.x);
    const found = dpcKnn(x, { clusters: number(params.clusters), neighbours: number(params.k) });
    assertClose(found.centres.arraySync(), outputs.center_idx, "center_idx");
    assertClose(found.assignment.arraySync(), outputs.assignment, "assignment");
    assertClose(applyMap(mergeClusters(found, { parity: true }), x).x.arraySync(), outputs.merged, "merged");
  },
  "dpcknn.ctm_scored": ({ params, inputs, outputs }) => {
    const x = tensor3(inputs.x);
    const found = dpcKnn(x, { clusters: number(params.clusters), neighbours: number(params.k) });
    assertClose(found.centres.arraySync(), outputs.center_idx, "center_idx");
    assertClose(found.assignment.arraySync(), outputs.assignment, "assignment");
    const { "score.weight": weight, "score.bias": bias } = inputs.weights as Record<string, number[]>;
    const share = shareOf(x, { weight: tf.tensor2d(weight as unknown as number[][]), bias: tf.tensor1d(bias) });
    const map = mergeClusters(found, { parity: true, share });
    assertClose(applyMap(map, x).x.arraySync(), outputs.merged, "merged");
    assertClose(map.weight!.expandDims(2).arraySync(), outputs.agg_weight, "agg_weight");
  },
  "vit_dpcknn.forward": (entry, all) => {
    const { params, inputs, outputs } = entry;
    const extra = (inputs.extra_weights ?? {}) as Record<string, number[] | number[][]>;
    const stages = stagesOf(entry, all);
    const scores = params.equal_weight === true ? undefined : stages.layers.map((_, stage) => ({
      weight: tf.tensor2d(extra[`cluster_layers.${stage}.score.weight`] as number[][]),
      bias: tf.tensor1d(extra[`cluster_layers.${stage}.score.bias`] as number[]),
    }));
    const neighbours = number(params.k_neighbors);
    const reducer = dpcknn({ ...stages, neighbours, parity: true, ...(scores ? { scores } : {}) });
    const { output } = run(entry, all, reducer);
    assertClose(output.logits.arraySync(), outputs.logits, "logits");
    assertClose(output.tokens.arraySync(), outputs.last_tokens, "last_tokens");
    assertAssigned(output, entry);
  },
  "heuristic.pattern": ({ params, outputs }) => {
    const side = number(params.grid), depth = number(params.depth);
    const distances = centreDistances([side, side], params.pattern as Distance, true);
    assertClose(rowsOf(distances, side), outputs.distances, "distances");
    const counts = params.num_tokens as number[] | undefined;
    const farthest = Math.max(...distances);
    let thresholds: number[];
    if (counts) {
      const places = params.reduction_loc as number[];
      thresholds = Array.from({ length: depth }, (_, layer) => {
        const stage = places.filter((place) => place <= layer).length - 1;
        return stage < 0 ? farthest : patternThreshold(distances, counts[stage]);
      });
    } else {
      const from = number(params.start_stage), to = number(params.end_stage);
      const least = params.min_radius === null ? Math.min(...distances) : number(params.min_radius);
      thresholds = contiguousThresholds(farthest, least, { layers: depth, from, to });
    }
    assertClose(thresholds, outputs.threshold_per_layer, "threshold_per_layer");
    for (const [layer, expected] of Object.entries(outputs.kept as Record<string, number[]>)) {
      const kept = distances.flatMap((value, patch) => value <= thresholds[Number(layer)] + 1e-6 ? [patch] : []);
      assertClose(kept, expected, `kept.${layer}`);
    }
  },
  "vit_heuristic.forward": (entry, all) => {
    const { params, outputs } = entry;
    const layers = params.reduction_loc as number[];
    const distance = params.pattern as Distance;
    const kept = outputs.kept_absolute as Record<string, number[][]>;
    // the contiguous mode counts by its line of distances; the pattern itself is the same
    const keep = layers.map((layer) => kept[layer][0].length);
    const contiguous = params.not_contiguous !== true;
    const budget = contiguous ? { keep, layers } : stagesOf(entry, all);
    const { output } = run(entry, all, fixedPattern({ ...budget, distance, parity: true }));
    assertClose(output.logits.arraySync(), outputs.logits, "logits"); // a masked patch is seen by none, as a removed one
    const last = kept[layers.at(-1)!];
    assertClose(keptAbsolute(output), last, "kept_absolute");
    const all17 = outputs.last_tokens as number[][][];
    const expected = all17.map((tokens, image) => [tokens[0], ...last[image].map((patch) => tokens[patch + 1])]);
    assertClose(output.tokens.arraySync(), expected, "last_tokens");
  },
};

/** Which original patches are left in the end. */
function keptAbsolute({ maps }: ReturnType<typeof run>["output"]): number[][] {
  let kept: number[][] | undefined;
  for (const map of maps) {
    if (!map) continue;
    const rows = keptTokens(map).map((row) => row.slice(1).map((token) => token - 1));
    kept = kept ? rows.map((row, image) => row.map((patch) => kept![image][patch])) : rows;
  }
  return kept!;
}

/** Centres and assignments of the blocks that cluster; patches count from 0. */
function assertAssigned(output: ReturnType<typeof run>["output"], { outputs }: GoldenCase): void {
  for (const [layer, expected] of Object.entries(outputs.assignment as Record<string, number[][]>)) {
    const map = output.maps[Number(layer)];
    if (map?.kind !== "slots") throw new Error(`block ${layer} clustered nothing`);
    assertClose(
      map.slot.arraySync().map((row) => row.slice(1).map((slot) => slot - 1)),
      expected,
      `assignment.${layer}`,
    );
    const centre = map.anchor!.arraySync() as number[][];
    const slots = map.slot.arraySync();
    const centres = slots.map((row, image) =>
      Array.from(
        { length: map.outputs - 1 },
        (_, c) => row.findIndex((slot, i) => slot === c + 1 && centre[image][i]) - 1,
      )
    );
    assertClose(centres, (outputs.kept as Record<string, number[][]>)[layer], `kept.${layer}`);
  }
}

function rowsOf(values: readonly number[], side: number): number[][] {
  return Array.from({ length: side }, (_, row) => values.slice(row * side, (row + 1) * side));
}
