/**
 * How each family of golden cases is computed here: the case gives sizes, options and inputs, nothing is assumed.
 *
 * @module
 */
import { tf } from "../../lib/tensor/mod.ts";
import { applyMap, membership, type SlotMap, type TokenMap, unmerge } from "../../lib/nn/token_map.ts";
import { ViT, type ViTConfig, type ViTOutput } from "../../lib/nn/vit.ts";
import type { Reducer } from "../../lib/nn/reducer.ts";
import {
  bipartiteSoftMatching,
  classAttention,
  evit,
  fuseInattentive,
  kthBipartiteSoftMatching,
  mergeSchedule,
  pruneByScore,
  type Schedule,
  tome,
  topk,
  unmergeAsAuthors,
} from "../../lib/reduction/mod.ts";
import { assertClose, type GoldenCase } from "./cases.ts";
import { editingFamilies } from "./editing_families.ts";
import { tokenizationFamilies } from "./tokenization_families.ts";

/** Runs one case; throws with the first difference. `all` holds the other cases, for shared weights. */
export type Family = (entry: GoldenCase, all: readonly GoldenCase[]) => void;

/** The families that are implemented; the rest is reported as unknown. */
export const families: Readonly<Record<string, Family>> = {
  "tome.bipartite_soft_matching": ({ params, inputs, outputs }) => {
    const x = tensor3(inputs.x);
    const map = bipartiteSoftMatching(tensor3(inputs.metric), {
      r: number(params.r),
      classToken: params.class_token === true,
      distillToken: params.distill_token === true,
      parity: true,
    });
    const merged = applyMap(map, x);
    assertClose(merged.x.arraySync(), outputs.merged_mean, "merged_mean");
    assertClose(merged.x.arraySync(), outputs.merged_weighted, "merged_weighted");
    assertClose(merged.size.expandDims(2).arraySync(), outputs.size, "size");
    assertClose(membership(map).arraySync(), outputs.source, "source");
    const back = params.distill_token === true ? unmergeAsAuthors(map, merged.x) : unmerge(map, merged.x);
    assertClose(back.arraySync(), outputs.unmerged, "unmerged");
  },
  "tome.merge_wavg_sized": ({ params, inputs, outputs }) => {
    const map = bipartiteSoftMatching(tensor3(inputs.metric), {
      r: number(params.r),
      classToken: params.class_token === true,
      distillToken: params.distill_token === true,
      parity: true,
    });
    const merged = applyMap(map, tensor3(inputs.x), tensor3(inputs.size).squeeze<tf.Tensor2D>([2]));
    assertClose(merged.x.arraySync(), outputs.merged, "merged");
    assertClose(merged.size.expandDims(2).arraySync(), outputs.size, "size");
  },
  "tome.kth_bipartite_soft_matching": ({ params, inputs, outputs }) => {
    const map = kthBipartiteSoftMatching(tensor3(inputs.metric), { k: number(params.k), parity: true });
    const merged = applyMap(map, tensor3(inputs.x)).x;
    assertClose(merged.arraySync(), outputs.merged_mean, "merged_mean");
    // the authors' unmerge leaves the tokens out that did not fill a group
    const whole = map.outputs * number(params.k);
    assertClose(unmerge(map, merged).slice([0, 0, 0], [-1, whole, -1]).arraySync(), outputs.unmerged, "unmerged");
  },
  "tome.parse_r": ({ inputs, outputs }) => {
    const schedule = mergeSchedule(scheduleOf(inputs.r, inputs.form), number(inputs.num_layers));
    assertClose(schedule, outputs.r_per_layer, "r_per_layer");
  },
  "topk.cls_attention": ({ params, inputs, outputs }) => {
    const attention = classAttention(tf.tensor4d(inputs.attn as number[][][][]));
    assertClose(attention.arraySync(), outputs.cls_attn, "cls_attn");
    const map = pruneByScore(attention, { keep: number(params.keep), parity: true });
    assertClose(keptTokens(map), outputs.kept_idx, "kept_idx");
    assertClose(applyMap(map, tensor3(inputs.tokens_without_cls)).x.arraySync(), outputs.kept, "kept");
  },
  "evit.inattentive_fusion": ({ params, inputs, outputs }) => {
    const keep = number(params.keep);
    const map = fuseInattentive(tf.tensor2d(inputs.cls_attn as number[][]), { keep, parity: true });
    assertClose(keptTokens(map).map((row) => row.slice(0, keep)), outputs.kept_idx, "kept_idx");
    const slots = map.slot.arraySync();
    const fused = slots.map((row) => row.flatMap((slot, token) => slot === keep ? [token] : []));
    assertClose(fused, outputs.complement_idx, "complement_idx");
    const { x } = applyMap(map, tensor3(inputs.tokens_without_cls));
    assertClose(x.slice([0, keep, 0], [-1, 1, -1]).arraySync(), outputs.fused_token, "fused_token");
  },
  "shared.vit_weights": (entry) => void vitOf(entry, [entry]),
  "vit.forward": (entry, all) => {
    const { output } = run(entry, all);
    assertClose(output.features.arraySync(), entry.outputs.features, "features");
    assertClose(output.logits.arraySync(), entry.outputs.logits, "logits");
  },
  "vit_tome.forward": (entry, all) => {
    const { params, outputs } = entry;
    const reducer = tome({
      r: scheduleOf(params.r, params.form),
      proportionalAttention: params.prop_attn === true,
      parity: true,
    });
    const { model, output } = run(entry, all, reducer);
    assertClose(model.tokenCounts(reducer).map((count) => count.out), outputs.tokens_per_layer, "tokens_per_layer");
    assertClose(output.tokens.arraySync(), outputs.last_tokens, "last_tokens");
    assertClose(output.size.expandDims(2).arraySync(), outputs.size, "size");
    assertClose(membership(model.composed(output)).arraySync(), outputs.source, "source");
    assertClose(output.logits.arraySync(), outputs.logits, "logits");
  },
  "vit_topk.forward": (entry, all) => {
    const { output } = run(entry, all, topk({ ...stagesOf(entry), parity: true }));
    assertClose(output.logits.arraySync(), entry.outputs.logits, "logits");
    assertClose(output.tokens.arraySync(), entry.outputs.last_tokens, "last_tokens");
    assertKept(output, entry, (slots) => slots);
  },
  "vit_evit.forward": (entry, all) => {
    const { output } = run(entry, all, evit({ ...stagesOf(entry), parity: true }));
    assertClose(output.logits.arraySync(), entry.outputs.logits, "logits");
    assertClose(output.tokens.arraySync(), entry.outputs.last_tokens, "last_tokens");
    assertKept(output, entry, (kept) => [...kept.slice(0, -1), -1]); // the last one is the fused token
  },
  ...editingFamilies,
  ...tokenizationFamilies,
};

/** Runs the ViT of a case, with the weights of `shared.vit_weights` of the same file (or else of any). */
function run(entry: GoldenCase, all: readonly GoldenCase[], reducer?: Reducer): { model: ViT; output: ViTOutput } {
  const model = vitOf(entry, all);
  const images = tf.tensor4d(entry.inputs.image as number[][][][]).transpose<tf.Tensor4D>([0, 2, 3, 1]);
  return { model, output: model.forward(images, { ...(reducer ? { reducer } : {}) }) };
}

function vitOf(entry: GoldenCase, all: readonly GoldenCase[]): ViT {
  const shared = all.filter((other) => other.name === "shared.vit_weights");
  const found = shared.find((other) => other.file === entry.file) ?? shared[0];
  if (!found) throw new Error("no case shared.vit_weights in the folder, but its weights are needed");
  const { params } = found;
  const config: ViTConfig = {
    imageSize: number(params.img_size),
    patchSize: number(params.patch_size),
    channels: number(params.in_chans),
    width: number(params.embed_dim),
    depth: number(params.depth),
    heads: number(params.num_heads),
    mlpWidth: Math.trunc(number(params.embed_dim) * number(params.mlp_ratio)),
    classes: number(params.num_classes),
    normEpsilon: number(params.layer_norm_eps),
  };
  const weights = Object.entries(found.inputs.weights as Record<string, number[]>).map(([name, values]) => {
    const tensor = tf.tensor(values, undefined, "float32");
    return [name, { shape: tensor.shape, dtype: "float32", data: tensor.dataSync<"float32">() }] as const;
  });
  return ViT.fromArrays(config, new Map(weights));
}

/** Haurum et al.'s stages: counts are whole numbers of the patches at the start, truncated as Python does it. */
function stagesOf({ params }: GoldenCase): { keep: number[]; layers: number[] } {
  const layers = params.reduction_loc as number[];
  const rates = params.keep_rate as number[];
  const each = rates.length === 1 ? layers.map((_, stage) => rates[0] ** (stage + 1)) : rates;
  return { keep: each.map((rate) => Math.trunc(number(params.init_n) * rate)), layers };
}

function assertKept(output: ViTOutput, { outputs }: GoldenCase, adjust: (kept: number[]) => number[]): void {
  for (const [layer, expected] of Object.entries(outputs.kept as Record<string, number[][]>)) {
    const map = output.maps[Number(layer)];
    if (map?.kind !== "slots") throw new Error(`block ${layer} kept all its tokens`);
    const kept = keptTokens(map).map((row) => adjust(row.slice(1).map((token) => token - 1))); // patches count from 0
    assertClose(kept, expected, `kept.${layer}`);
  }
}

/** The token in each output slot, in the order of the slots (the first one where several share it). */
export function keptTokens(map: TokenMap): number[][] {
  const { slot, outputs } = map as SlotMap;
  return slot.arraySync().map((row) => Array.from({ length: outputs }, (_, output) => row.indexOf(output)));
}

function scheduleOf(r: unknown, form: unknown): Schedule {
  if (form === "schedule") {
    const [start, inflect] = r as [number, number];
    return { r: start, inflect };
  }
  return r as Schedule;
}

function tensor3(values: unknown): tf.Tensor3D {
  return tf.tensor3d(values as number[][][]);
}

function number(value: unknown): number {
  if (typeof value === "number") return value;
  throw new Error(`a number is expected in the case, but it is ${JSON.stringify(value)}`);
}
