/**
 * How the golden cases of vision-language methods are computed here; see `families.ts`.
 *
 * @module
 */
import assert from "node:assert/strict";
import { tf } from "../../lib/tensor/mod.ts";
import { rotary } from "../../lib/nn/mod.ts";
import { applyMap, type SlotMap } from "../../lib/nn/token_map.ts";
import type { BlockView } from "../../lib/nn/reducer.ts";
import { attendedAndDiverse } from "../../lib/reduction/vispruner.ts";
import { contextual } from "../../lib/reduction/visionzip.ts";
import { dartCounts, dartPlaces } from "../../lib/reduction/dart.ts";
import { dppOrder, relevance } from "../../lib/reduction/cdpruner.ts";
import { divprune, maxMinOrder } from "../../lib/reduction/divprune.ts";
import { dycokeMap, dycokePlan } from "../../lib/reduction/dycoke.ts";
import { fastv, ofLastWord } from "../../lib/reduction/fastv.ts";
import { outliers } from "../../lib/reduction/outliers.ts";
import { pruMergeMap, pruMergePlaces } from "../../lib/reduction/prumerge.ts";
import { pyramiddrop } from "../../lib/reduction/pyramiddrop.ts";
import { ratedBy, raterAttention, raters, recycledCounts, recycleRated } from "../../lib/reduction/sparsevlm.ts";
import { best } from "../../lib/reduction/select.ts";
import { trimScore } from "../../lib/reduction/trim.ts";
import { fastervlm, towerAttention } from "../../lib/reduction/fastervlm.ts";
import { pruneByScore } from "../../lib/reduction/prune.ts";
import { pack } from "../../lib/reduction/combine.ts";
import { layerNorm, linear } from "../../lib/nn/layers.ts";
import { assertClose, type GoldenCase } from "./cases.ts";

type Family = (entry: GoldenCase) => void;

/** The families of vision-language methods. */
export const languageFamilies: Readonly<Record<string, Family>> = {
  "divprune.select": ({ params, inputs, outputs }) => {
    const features = tf.tensor3d([inputs.features as number[][]]);
    const keep = staying(divprune({ keepRate: params.ratio as number, parity: true }), features.shape[1]);
    assertClose(maxMinOrder(features, keep).arraySync()[0], outputs.order, "order");
  },
  "cdpruner.select": ({ params, inputs, outputs }) => {
    const features = tensor3(inputs.features);
    const texts = tf.tensor2d(inputs.text_embeds as number[][]).expandDims<tf.Tensor3D>(0)
      .tile<tf.Tensor3D>([features.shape[0], 1, 1]);
    const relevant = relevance(tensor3(inputs.image_embeds), texts, { parity: true });
    const order = dppOrder(features, relevant, params.keep as number);
    assertClose(order.arraySync(), outputs.order, "order");
    assertClose(maskOf(order.arraySync(), features.shape[1]), numbers(outputs.mask), "mask");
  },
  "vispruner.select": ({ params, inputs, outputs }) => {
    const features = tensor3(inputs.features);
    const order = attendedAndDiverse(features, tensor3(inputs.attentions).mean<tf.Tensor2D>(1), {
      keep: params.keep as number,
      importantRatio: params.important_ratio as number,
    });
    assertClose(maskOf(order.arraySync(), features.shape[1]), numbers(outputs.mask), "mask");
  },
  "fastervlm.select": ({ params, inputs, outputs }) => {
    const view = imageView(tensor3(inputs.features), { classAttention: tensor3(inputs.attentions) });
    assertClose(towerAttention("fastervlm").of(view).arraySync(), outputs.scores, "scores");
    const map = fastervlm({ keep: [params.keep as number], layers: [0] }).reduce(view) as SlotMap;
    assertClose(map.slot.arraySync().map((row) => row.map((slot) => Number(slot >= 0))), numbers(outputs.mask), "mask");
  },
  "visionzip.tokens": ({ params, inputs, outputs }) => {
    const attention = tf.tensor4d(inputs.attn as number[][][][]);
    const hidden = tensor3(inputs.hidden), keys = tensor3(inputs.key_metric).expandDims<tf.Tensor4D>(1);
    const dominant = params.dominant as number, made = params.contextual as number;
    const view = { ...imageView(hidden), keys, specialTokens: 1 }; // token 0 is the class token
    const score = attention.slice([0, 0, 0, 1], [-1, -1, 1, -1]).squeeze<tf.Tensor3D>([2]).sum<tf.Tensor2D>(1);
    const choice = best.choose(score, dominant, view);
    const combine = contextual({ share: made / (dominant + made), parity: true });
    assert.equal((combine.made as (n: number, wanted: number) => number)(0, dominant + made), made);
    assertClose(
      applyMap(combine.combine({ ...choice, made }, score, view), hidden).x.arraySync(),
      outputs.tokens,
      "tokens",
    );
    const order = pruneByScore(score, { keep: dominant, specialTokens: 1, parity: true }).slot.arraySync();
    const found = order.map((row) => Array.from({ length: dominant + 1 }, (_, slot) => row.indexOf(slot)));
    assertClose(found, outputs.dominant_idx, "dominant_idx");
  },
  "prumerge.tokens": (entry) => pruMergeTokens(entry, false),
  "prumerge_plus.tokens": (entry) => pruMergeTokens(entry, true),
  "fastv.select": ({ params, inputs, outputs }) => {
    const attention = tf.tensor4d(inputs.attn as number[][][][]);
    const [start, images] = [params.image_start as number, params.image_length as number];
    const ofText = textAttention(attention, start, images);
    assertClose(ofLastWord(ofText).arraySync()[0], outputs.image_scores, "image_scores");
    const view = {
      ...imageView(tf.zeros([attention.shape[0], images, 1])),
      layer: 2,
      text: { x: anyText, attention: ofText },
    };
    const map = fastv({ keep: [params.keep as number], layers: [2] }).reduce(view) as SlotMap;
    const kept = keptWithText(map, start, images, attention.shape[3]);
    assertClose(kept[0], outputs.keep_idx, "keep_idx");
    assertClose(kept, outputs.position_ids, "position_ids"); // the original ones
  },
  "sparsevlm.raters": ({ params, inputs, outputs }) => {
    const hidden = tensor3(inputs.hidden);
    const [start, text] = [params.visual_start as number, params.text_start as number];
    const image = hidden.slice([0, start, 0], [-1, text - start, -1]) as tf.Tensor3D;
    const found = raters(image, hidden.slice([0, text, 0]) as tf.Tensor3D);
    assertClose(found.relevance.arraySync(), outputs.relevance, "relevance");
    const [row] = found.rates.arraySync() as number[][];
    assertClose(row.flatMap((rates, word) => rates ? [word] : []), outputs.rater_idx, "rater_idx");
  },
  "sparsevlm.score": ({ params, inputs, outputs }) => {
    const attention = tf.tensor4d(inputs.attn as number[][][][]);
    const [start, text] = [params.visual_start as number, params.text_start as number];
    const ofText = attention.slice([0, 0, text, start], [-1, -1, -1, text - start]) as tf.Tensor4D;
    const words = ofText.shape[2], rating = inputs.rater_idx as number[];
    const rates = tf.tensor2d(
      [Array.from({ length: words }, (_, word) => Number(rating.includes(word)))],
      undefined,
      "bool",
    );
    const score = ratedBy(ofText, rates);
    assertClose(score.arraySync(), outputs.scores, "scores");
    const { stays } = best.choose(score, params.keep as number, imageView(tf.zeros([1, text - start, 1])));
    assertClose(stays.arraySync(), numbers(outputs.keep_mask), "keep_mask");
    assert.deepEqual(raterAttention.needs, ["text"]);
  },
  "sparsevlm.recycle": ({ inputs, outputs }) => {
    const scores = tf.tensor2d(inputs.scores as number[][]), tokens = scores.shape[1];
    const stays = tf.tensor2d(inputs.keep_mask as number[][], undefined, "bool");
    const keep = (inputs.keep_mask as number[][])[0].reduce((sum, stay) => sum + stay, 0), gone = tokens - keep;
    // the case gives the tokens that are dropped; what stays has no part in it
    const dropped = tensor3(inputs.dropped_tokens);
    const places = (inputs.keep_mask as number[][])[0].map((stay, place) => stay ? -1 : place).filter((p) => p >= 0);
    const all = Array.from(
      { length: tokens },
      (_, p) => places.includes(p) ? dropped.arraySync()[0][places.indexOf(p)] : [0, 0, 0],
    );
    const x = tf.tensor3d([all]);
    const { clusters } = recycledCounts(gone);
    assertClose(clusters, outputs.cluster_num, "cluster_num");
    const map = recycleRated({ parity: true }).combine(
      { stays, keep, made: clusters },
      scores,
      imageView(x),
    ) as SlotMap;
    const [slots] = map.slot.arraySync();
    const order = (outputs.recycled_rank as number[]).map((rank) => places[rank]).toSorted((a, b) => a - b);
    assertClose(slots.flatMap((slot, place) => slot >= keep ? [place] : []), order, "recycled_rank");
    assertClose(applyMap(map, x).x.slice([0, keep, 0]).arraySync(), outputs.merged, "merged");
  },
  "dart.select": ({ params, inputs, outputs }) => {
    const keys = tf.tensor4d(inputs.keys as number[][][][]), hidden = tensor3(inputs.hidden);
    const [start, images] = [params.image_start as number, params.image_length as number];
    const behind = start + images;
    const wanted = images * (1 - (params.reduction_ratio as number));
    const counts = dartCounts(wanted, {
      textTokens: keys.shape[2] - behind,
      pivots: params.pivot_image as number,
      parity: true,
    });
    assert.equal(params.pivot_text, params.pivot_image);
    const stays = dartPlaces({
      imageKeys: keys.slice([0, 0, start, 0], [-1, -1, images, -1]) as tf.Tensor4D,
      textKeys: keys.slice([0, 0, behind, 0]) as tf.Tensor4D,
      image: hidden.slice([0, start, 0], [-1, images, -1]) as tf.Tensor3D,
      text: hidden.slice([0, behind, 0]) as tf.Tensor3D,
    }, counts);
    const [row] = stays.arraySync() as number[][];
    assertClose(row.flatMap((stay, token) => stay ? [start + token] : []), outputs.retained_sorted, "retained_sorted");
  },
  "pyramiddrop.stage": ({ params, inputs, outputs }) => {
    const hidden = tensor3(inputs.hidden);
    const heads = params.num_heads as number, [, tokens, width] = hidden.shape;
    const [start] = params.image_start as number[], [images] = params.image_tokens as number[];
    const ratios = params.image_token_ratio_list as number[], stage = params.stage as number;
    const [prompt] = params.prompt_len as number[];
    const project = (weight: unknown) =>
      rotary(
        linear(hidden, { weight: tf.tensor2d(weight as number[][]) }).reshape([1, tokens, heads, width / heads])
          .transpose<tf.Tensor4D>([0, 2, 1, 3]),
        tf.range(0, tokens).expandDims<tf.Tensor2D>(0),
      );
    const logits = tf.matMul(project(inputs.wq), project(inputs.wk), false, true).mul(Math.sqrt(heads / width));
    const causal = tf.linalg.bandPart(tf.ones([tokens, tokens]), -1, 0);
    const attention = tf.softmax(logits.add(tf.sub(1, causal).mul(-1e9)) as tf.Tensor4D, 3);
    const words = prompt - start; // of the prompt, what stands behind the image
    const ofText = textAttention(attention, start, images).slice([0, 0, 0, 0], [-1, -1, words, -1]);
    const view = {
      ...imageView(tf.zeros([1, images, 1])),
      layer: 1,
      text: { x: anyText, attentionAhead: ofText as tf.Tensor4D },
    };
    const reducer = pyramiddrop({ keepRate: [ratios[stage + 1]], layers: [1], parity: true });
    const kept = keptWithText(reducer.reduce(view) as SlotMap, start, images, tokens);
    assertClose(kept, outputs.kept_idx, "kept_idx");
    assertClose(kept.map((row) => row.map((_, place) => place)), outputs.position_ids, "position_ids"); // counted anew
  },
  "trim.tokens": ({ params, inputs, outputs }) => {
    const features = tensor3(inputs.features);
    const norm = { weight: tf.tensor1d(inputs.ln_weight as number[]), bias: tf.tensor1d(inputs.ln_bias as number[]) };
    const projection = { weight: tf.tensor2d(inputs.projection as number[][]) };
    const patches = linear(layerNorm(features, norm, 1e-5), projection);
    const texts = tf.tensor2d(inputs.text_features as number[][]).expandDims<tf.Tensor3D>(0);
    const score = trimScore(patches, texts, { negated: true });
    const tokens = features.shape[1];
    const given = params.k as number;
    const count = given > 0 ? given : outliers(score.reshape([1, -1])).dataSync()[0];
    assert.equal(count + 1, outputs.count, "count");
    const view = imageView(features);
    const choice = best.choose(score, count, view);
    const map = pack.combine(choice, tf.ones([features.shape[0], tokens]), view); // equal weights: the mean
    assertClose(applyMap(map, features).x.arraySync(), outputs.tokens, "tokens");
  },
  "dycoke.ttm": ({ params, inputs, outputs }) => {
    const features = tf.tensor3d([inputs.features as number[][]]);
    const perFrame = params.tokens_per_frame as number;
    const frames = features.shape[1] / perFrame;
    const map = dycokeMap(features, dycokePlan(frames, perFrame, params.merging_ratio as number, true), true);
    assertClose(applyMap(map, features).x.arraySync()[0], outputs.tokens, "tokens");
  },
};

/** PruMerge's attention is one softmax over the whole width, the class token's row without its own column. */
function pruMergeTokens({ params, inputs, outputs }: GoldenCase, plus: boolean): void {
  const features = tensor3(inputs.features), q = tensor3(inputs.q), k = tensor3(inputs.k);
  const logits = tf.matMul(q.slice([0, 0, 0], [-1, 1, -1]), k, false, true).mul<tf.Tensor3D>(q.shape[2] ** -0.5);
  const attention = tf.softmax(logits, 2).slice([0, 0, 1], [-1, -1, -1]).squeeze<tf.Tensor2D>([1]);
  const keys = k.slice([0, 1, 0]) as tf.Tensor3D;
  const ratio = params.adaptive ? undefined : params.reduction_ratio as number;
  const places = pruMergePlaces(attention, { ratio, plus, parity: true });
  assertClose(places, outputs.kept_idx, "kept_idx");
  const map = pruMergeMap({ attention, keys }, tf.tensor2d(places, undefined, "int32"), { parity: true });
  assertClose(applyMap(map, features).x.arraySync(), outputs.tokens, "tokens");
}

/** How many of `tokens` stay under a reducer that acts before the first block. */
function staying(reducer: ReturnType<typeof divprune>, tokens: number): number {
  const place = { layer: 0, layers: 1, tokens, initialTokens: tokens, specialTokens: 0, grid: [1, tokens] as const };
  return tokens - reducer.plan(place).achieved;
}

/** A view of image tokens alone, with what is given of the tower. */
function imageView(x: tf.Tensor3D, vision?: { classAttention: tf.Tensor3D }): BlockView {
  const [batch, tokens] = x.shape;
  const place = { layer: 0, layers: 4, tokens, initialTokens: tokens, specialTokens: 0, grid: [1, tokens] as const };
  const others = {
    keys: tf.zeros<tf.Rank.R4>([batch, 1, tokens, 1]),
    patchEmbeddings: tf.zeros<tf.Rank.R3>([batch, tokens, 1]),
    textEmbeddings: tf.zeros<tf.Rank.R3>([batch, 1, 1]),
  };
  const size = tf.ones<tf.Rank.R2>([batch, tokens]);
  return { ...place, x, size, ...(vision ? { vision: { ...others, ...vision } } : {}) };
}

/** Rows of the text behind the image, columns of the image. */
function textAttention(attention: tf.Tensor4D, start: number, images: number): tf.Tensor4D {
  return attention.slice([0, 0, start + images, start], [-1, -1, -1, images]) as tf.Tensor4D;
}

/** Places of the whole sequence that stay: what stands around the image, and what is kept of it. */
function keptWithText(map: SlotMap, start: number, images: number, tokens: number): number[][] {
  return map.slot.arraySync().map((row) =>
    Array.from({ length: tokens }, (_, place) => place).filter((place) => {
      const inImage = place >= start && place < start + images;
      return !inImage || row[place - start] >= 0;
    })
  );
}

const anyText = tf.zeros<tf.Rank.R3>([1, 1, 1]);

function maskOf(order: number[][], tokens: number): number[][] {
  return order.map((row) => Array.from({ length: tokens }, (_, token) => Number(row.includes(token))));
}

function numbers(mask: unknown): number[][] {
  return (mask as (boolean | number)[][]).map((row) => row.map(Number));
}

function tensor3(values: unknown): tf.Tensor3D {
  return tf.tensor3d(values as number[][][]);
}
