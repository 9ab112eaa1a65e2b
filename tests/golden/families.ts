/**
 * How each family of golden cases is computed here: the case gives sizes, options and inputs, nothing is assumed.
 *
 * @module
 */
import { tf } from "../../lib/tensor/mod.ts";
import { applyMap, membership, unmerge } from "../../lib/nn/token_map.ts";
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
import { assertClose } from "./cases.ts";
import { clusteringFamilies } from "./clustering_families.ts";
import { softFamilies } from "./soft_families.ts";
import { mergingFamilies } from "./merging_families.ts";
import { assertKept, type Family, keptTokens, number, run, stagesOf, tensor3, vitOf } from "./model_cases.ts";
import { editingFamilies } from "./editing_families.ts";
import { ehrFamilies } from "./ehr_families.ts";
import { tokenizationFamilies } from "./tokenization_families.ts";
import { cacheFamilies } from "./cache_families.ts";
import { languageFamilies } from "./language_families.ts";
import { tumourFamilies } from "./tumour_families.ts";
import { tumourModelFamilies } from "./tumour_model_families.ts";
import { textFamilies } from "./text_families.ts";
import { stateSpaceFamilies } from "./state_space_families.ts";

export { type Family, keptTokens, runCase } from "./model_cases.ts";

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
    const { output } = run(entry, all, topk({ ...stagesOf(entry, all), parity: true }));
    assertClose(output.logits.arraySync(), entry.outputs.logits, "logits");
    assertClose(output.tokens.arraySync(), entry.outputs.last_tokens, "last_tokens");
    assertKept(output, entry, (slots) => slots);
  },
  "vit_evit.forward": (entry, all) => {
    const { output } = run(entry, all, evit({ ...stagesOf(entry, all), parity: true }));
    assertClose(output.logits.arraySync(), entry.outputs.logits, "logits");
    assertClose(output.tokens.arraySync(), entry.outputs.last_tokens, "last_tokens");
    assertKept(output, entry, (kept) => [...kept.slice(0, -1), -1]); // the last one is the fused token
  },
  ...clusteringFamilies,
  ...mergingFamilies,
  ...softFamilies,
  ...editingFamilies,
  ...ehrFamilies,
  ...tokenizationFamilies,
  ...languageFamilies,
  ...cacheFamilies,
  ...tumourFamilies,
  ...tumourModelFamilies,
  ...textFamilies,
  ...stateSpaceFamilies,
};

function scheduleOf(r: unknown, form: unknown): Schedule {
  if (form === "schedule") {
    const [start, inflect] = r as [number, number];
    return { r: start, inflect };
  }
  return r as Schedule;
}
