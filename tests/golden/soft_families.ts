/**
 * Golden cases of soft assignment, learned predictors and transforms.
 *
 * @module
 */
import assert from "node:assert/strict";
import { tf } from "../../lib/tensor/mod.ts";
import type { LinearParameters, NormParameters } from "../../lib/nn/layers.ts";
import { applyMap, membership } from "../../lib/nn/token_map.ts";
import type { Reducer } from "../../lib/nn/reducer.ts";
import {
  attentionMaps,
  classAttention,
  dctMatrix,
  dynamicvit,
  type DynamicViTParameters,
  headVotes,
  keepLogits,
  learnedCount,
  mergePatches,
  type ModelSizes,
  patchmerger,
  pruneAndMerge,
  resample,
  sinkhorn,
  sit,
  type SiTParameters,
  slimmingShares,
  tokenLearnerV1,
  transport,
} from "../../lib/reduction/mod.ts";
import { packBelow } from "../../lib/reduction/spvit.ts";
import { unitLength } from "../../lib/reduction/similarity.ts";
import { assertClose, type GoldenCase } from "./cases.ts";
import { assertKept, type Family, number, run, stagesOf, tensor3, vitOf } from "./model_cases.ts";

type Weights = Record<string, unknown>;

/** The families of this file. */
export const softFamilies: Readonly<Record<string, Family>> = {
  "sit.token_slimming": ({ inputs, outputs }) => {
    const x = tensor3(inputs.x);
    const shares = slimmingShares(x, sitOf(inputs.weights as Weights, ""));
    assertClose(shares.arraySync(), outputs.assignment, "assignment");
    assertClose(tf.matMul(shares, x).arraySync(), outputs.tokens, "tokens");
  },
  "vit_sit.forward": (entry, all) => {
    const { stages, sizes, weights } = stagedModel(entry, all);
    const parameters = stages.layers.map((_, i) => sitOf(weights, `cluster_layers.${i}.`));
    assertSoft(entry, all, sit({ ...stages, sizes, parameters, parity: true }));
  },
  "patchmerger.forward": ({ params, inputs, outputs }) => {
    const parameters = { queries: matrix(inputs.queries), norm: normOf(inputs, "norm") };
    const { shares, x } = mergePatches(tensor3(inputs.x), parameters, params.scaled_attention === true);
    // the reference gives tokens and attention side by side, image by image
    const expected = outputs.y as number[][][][];
    const [batch, outputsCount, channels] = x.shape;
    if (expected.length !== 2 && batch !== expected.length) {
      throw new Error("a pair of tokens and attention is expected");
    }
    assertClose(x.arraySync(), expected[0], `y[0] of ${outputsCount} x ${channels}`);
    assertClose(shares.arraySync(), expected[1], "y[1]");
  },
  "vit_patchmerger.forward": (entry, all) => {
    const { stages, sizes, weights } = stagedModel(entry, all);
    const parameters = stages.layers.map((_, i) => ({
      queries: matrix(weights[`cluster_layers.${i}.queries`]),
      norm: normOf(weights, `cluster_layers.${i}.norm`),
    }));
    assertSoft(entry, all, patchmerger({ ...stages, sizes, parameters, parity: true }));
  },
  "sinkhorn.log_optimal_transport": ({ params, inputs, outputs }) => {
    const options = { epsilon: number(params.eps), iterations: number(params.iters) };
    assertClose(transport(tensor3(inputs.scores), options).arraySync(), outputs.plan, "plan");
  },
  "sinkhorn.layer": ({ params, inputs, outputs }) => {
    const unit = unitLength(tensor3(inputs.x));
    const centres = unitLength(matrix(inputs.v).expandDims<tf.Tensor3D>(0)).tile<tf.Tensor3D>([unit.shape[0], 1, 1]);
    const options = { epsilon: number(params.eps), iterations: number(params.iters) };
    const plan = transport(tf.matMul<tf.Tensor3D>(centres, unit, false, true), options);
    assertClose(plan.arraySync(), outputs.weights, "weights");
    assertClose(tf.matMul(plan, unit).arraySync(), outputs.tokens, "tokens");
  },
  "vit_sinkhorn.forward": (entry, all) => {
    const { stages, sizes, weights } = stagedModel(entry, all);
    const parameters = stages.layers.map((_, i) => ({ centres: matrix(weights[`cluster_layers.${i}.v`]) }));
    const options = { epsilon: number(entry.params.sinkhorn_eps), iterations: number(entry.params.cluster_iters) };
    assertSoft(entry, all, sinkhorn({ ...stages, sizes, parameters, ...options, parity: true }));
  },
  "dynamicvit.predictor": ({ inputs, outputs }) => {
    const policy = tensor3(inputs.policy).squeeze<tf.Tensor2D>([2]);
    const logits = keepLogits(tensor3(inputs.x), policy, predictorOf(inputs.weights as Weights, ""));
    assertClose(logits.arraySync(), outputs.log_keep, "log_keep");
  },
  "vit_dynamicvit.forward": (entry, all) => {
    const { stages, sizes, weights } = stagedModel(entry, all);
    const parameters = stages.layers.map((_, i) => predictorOf(weights, `score_predictor.${i}.`));
    const { output } = run(entry, all, dynamicvit({ ...stages, sizes, parameters, parity: true }));
    assertClose(output.logits.arraySync(), entry.outputs.logits, "logits");
    assertClose(output.tokens.arraySync(), entry.outputs.last_tokens, "last_tokens");
    assertKept(output, entry, (kept) => kept);
  },
  "tokenlearner.v1": ({ inputs, outputs }) => {
    const weights = inputs.weights as Weights;
    const norm = { weight: vector(weights["LayerNorm_0/scale"]), bias: vector(weights["LayerNorm_0/bias"]) };
    const kernels = [0, 1, 2, 3].map((i) => tf.tensor4d(weights[`Conv_${i}/kernel`] as number[][][][]));
    const tokens = tokenLearnerV1(tf.tensor4d(inputs.x as number[][][][]), { norm, kernels });
    assertClose(tokens.arraySync(), outputs.tokens, "tokens");
  },
  "tokenlearner.v11": ({ inputs, outputs }) => {
    const weights = inputs.weights as Weights;
    const dense = (i: number) => ({
      weight: matrix(weights[`token_masking/Dense_${i}/kernel`]).transpose<tf.Tensor2D>(),
      bias: vector(weights[`token_masking/Dense_${i}/bias`]),
    });
    const norm = { weight: vector(weights["LayerNorm_0/scale"]), bias: vector(weights["LayerNorm_0/bias"]) };
    const image = tf.tensor4d(inputs.x as number[][][][]);
    const [batch, rows, columns, channels] = image.shape;
    const x = image.reshape<tf.Tensor3D>([batch, rows * columns, channels]);
    const maps = attentionMaps(x, { norm, fc1: dense(0), fc2: dense(1) });
    assertClose(tf.matMul(maps, x).arraySync(), outputs.tokens, "tokens");
  },
  "perceiver.resampler": ({ params, inputs, outputs }) => {
    const weights = inputs.weights as Weights;
    const layers = Array.from({ length: number(params.depth) }, (_, i) => {
      const at = `layers.${i}`;
      const both = matrix(weights[`${at}.0.to_kv.weight`]);
      const [k, v] = tf.split<tf.Tensor2D>(both, 2, 0);
      return {
        normPatches: normOf(weights, `${at}.0.norm_media`),
        normLatents: normOf(weights, `${at}.0.norm_latents`),
        q: { weight: matrix(weights[`${at}.0.to_q.weight`]) },
        k: { weight: k },
        v: { weight: v },
        proj: { weight: matrix(weights[`${at}.0.to_out.weight`]) },
        norm: normOf(weights, `${at}.1.0`),
        fc1: { weight: matrix(weights[`${at}.1.1.weight`]) },
        fc2: { weight: matrix(weights[`${at}.1.3.weight`]) },
      };
    });
    const parameters = { latents: matrix(weights.latents), layers, norm: normOf(weights, "norm") };
    assertClose(
      resample(tensor3(inputs.x), parameters, number(params.heads)).x.arraySync(),
      outputs.latents,
      "latents",
    );
  },
  "spvit.predictor": ({ params, inputs, outputs }) => {
    const weights = inputs.weights as Weights;
    const policy = tensor3(inputs.policy).squeeze<tf.Tensor2D>([2]);
    const votes = headVotes(tensor3(inputs.x), policy, {
      squeeze: [linearOf(weights, "senet.0"), linearOf(weights, "senet.2")],
      norm: normOf(weights, "in_conv.0.0"),
      embed: linearOf(weights, "in_conv.0.1"),
      out: [linearOf(weights, "out_conv.0.0"), linearOf(weights, "out_conv.0.2"), linearOf(weights, "out_conv.0.4")],
    }, number(params.num_heads));
    assertClose(votes.arraySync(), outputs.log_scores, "log_scores");
  },
  "spvit.package_token": ({ inputs, outputs }) => {
    // one image: the code divides by what was dropped in the whole batch
    const dropped = tensor3(inputs.drop_decision).squeeze<tf.Tensor2D>([2]);
    const keep = dropped.size - tf.sum<tf.Scalar>(dropped).arraySync();
    const map = packBelow(tf.sub(1, dropped), { keep, parity: true });
    const { x } = applyMap(map, tensor3(inputs.spatial_x));
    assertClose(x.slice([0, keep, 0], [1, 1, -1]).arraySync(), outputs.package_token, "package_token");
  },
  "spvit.package_token_soft": ({ inputs, outputs }) => {
    const dropped = tensor3(inputs.drop_decision).squeeze<tf.Tensor2D>([2]);
    const score = tensor3(inputs.softmax_scores).slice([0, 0, 0], [-1, -1, 1]).squeeze<tf.Tensor2D>([2]);
    const keep = dropped.size - tf.sum<tf.Scalar>(dropped).arraySync();
    // what is dropped is chosen by the case; its weights are the scores, and the code's sum is ours times their total
    const chosen = tf.where(dropped.cast("bool"), score, tf.add(score, 10)) as tf.Tensor2D;
    const map = packBelow(chosen, { keep });
    const { x } = applyMap(map, tensor3(inputs.spatial_x));
    const total = tf.sum<tf.Scalar>(tf.mul(score, dropped)).arraySync();
    assertClose(x.slice([0, keep, 0], [1, 1, -1]).mul(total).arraySync(), outputs.package_token, "package_token");
  },
  "dct.truncate": ({ params, inputs, outputs }) => {
    const special = Number(params.class_token === true);
    const x = tensor3(inputs.x);
    const patches = x.slice([0, special, 0]) as tf.Tensor3D;
    const keep = Math.ceil(patches.shape[1] * number(params.ratio));
    const rows = tf.tensor2d(dctMatrix(patches.shape[1], keep, true)).expandDims<tf.Tensor3D>(0);
    const y = tf.matMul(rows.tile<tf.Tensor3D>([x.shape[0], 1, 1]), patches);
    assertClose(tf.concat([x.slice([0, 0, 0], [-1, special, -1]), y], 1).arraySync(), outputs.tokens, "tokens");
  },
  "diffrate.kept_number": ({ params, inputs, outputs }) => {
    const logits = tf.tensor1d(inputs.logits as number[]);
    const options = { patches: number(params.patch_number), granularity: number(params.granularity) };
    const { kept, probability, mask } = learnedCount(logits, options);
    assertClose(kept.arraySync(), outputs.kept_token_number, "kept_token_number");
    assertClose(probability.arraySync(), outputs.token_probability, "token_probability");
    assertClose(mask.arraySync(), outputs.mask, "mask");
    const pull = tf.grad((logits) => learnedCount(logits as tf.Tensor1D, options).mask.sum())(logits);
    assert.ok(pull.abs().max().arraySync() as number > 0, "no gradient reaches the logits");
  },
  "diffrate.block_step": ({ params, inputs, outputs }) => {
    const x = tensor3(inputs.x), size = tensor3(inputs.size).squeeze<tf.Tensor2D>([2]);
    const looks = classAttention(tf.tensor4d(inputs.attn as number[][][][]));
    const counts = { pruneKept: number(params.prune_kept) - 1, mergeKept: number(params.merge_kept) - 1 };
    const patches = x.slice([0, 1, 0]) as tf.Tensor3D;
    const { map, similarity } = pruneAndMerge(patches, looks, { ...counts, parity: true });
    const tokens = tf.concat([x.slice([0, 0, 0], [-1, 1, -1]) as tf.Tensor3D, applyMap(map, patches).x], 1);
    assertClose(tokens.arraySync(), outputs.tokens, "tokens");
    // the code's sizes: those of merged patches times their cosines
    const counted = tf.mul(size.slice([0, 1]), similarity).expandDims(2);
    const sizes = tf.concat([size.slice([0, 0], [-1, 1]).expandDims(2), tf.matMul(membership(map), counted)], 1);
    assertClose(sizes.arraySync(), outputs.size, "size");
    const source = (outputs.source as number[][][]).map((rows) => rows.slice(1).map((row) => row.slice(1)));
    assertClose(membership(map).arraySync(), source, "source");
  },
};

function stagedModel(entry: GoldenCase, all: readonly GoldenCase[]): {
  stages: { keep: number[]; layers: number[] };
  sizes: ModelSizes;
  weights: Weights;
} {
  const model = vitOf(entry, all);
  const { width, heads, depth } = model.config;
  const sizes = { width, heads, layers: depth, grid: model.grid, specialTokens: 1 };
  return { stages: stagesOf(entry, all), sizes, weights: entry.inputs.extra_weights as Weights };
}

function assertSoft(entry: GoldenCase, all: readonly GoldenCase[], reducer: Reducer): void {
  const { output } = run(entry, all, reducer);
  assertClose(output.logits.arraySync(), entry.outputs.logits, "logits");
  assertClose(output.tokens.arraySync(), entry.outputs.last_tokens, "last_tokens");
  for (const [layer, expected] of Object.entries(entry.outputs.assignment as Record<string, number[][]>)) {
    const map = output.maps[Number(layer)];
    if (map?.kind !== "soft") throw new Error(`block ${layer} reduced nothing`);
    const most = map.matrix.slice([0, 1, 1]).argMax(1); // the output that takes most of each patch
    const shares = reducer.name === "sinkhorn" ? map.mass!.slice([0, 1, 1]).argMax(1) : most;
    assertClose(shares.arraySync(), expected, `assignment.${layer}`);
  }
}

function sitOf(weights: Weights, at: string): SiTParameters {
  return {
    scale: tf.tensor(weights[`${at}scale`] as number[][][]),
    norm: normOf(weights, `${at}weight.0`),
    fc1: linearOf(weights, `${at}weight.1`),
    fc2: linearOf(weights, `${at}weight.3`),
  };
}

function predictorOf(weights: Weights, at: string): DynamicViTParameters {
  const layer = (i: number) => linearOf(weights, `${at}out_conv.${i}`);
  return {
    norm: normOf(weights, `${at}in_conv.0`),
    embed: linearOf(weights, `${at}in_conv.1`),
    out: [layer(0), layer(2), layer(4)],
  };
}

function linearOf(weights: Weights, name: string): LinearParameters {
  return { weight: matrix(weights[`${name}.weight`]), bias: vector(weights[`${name}.bias`]) };
}

function normOf(weights: Weights, name: string): NormParameters {
  return { weight: vector(weights[`${name}.weight`]), bias: vector(weights[`${name}.bias`]) };
}

function matrix(values: unknown): tf.Tensor2D {
  return tf.tensor2d(values as number[][]);
}

function vector(values: unknown): tf.Tensor1D {
  return tf.tensor1d(values as number[]);
}
