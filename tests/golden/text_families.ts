/**
 * How the golden cases of text reduction are computed here; see `families.ts`.
 *
 * @module
 */
import assert from "node:assert/strict";
import { compressAsAuthors, segmentRatios, stepAsAuthors, thresholdAsAuthors } from "../../lib/reduction/llmlingua.ts";
import { keepWordsAsAuthors, wordProbabilities, wordThreshold } from "../../lib/reduction/llmlingua2.ts";
import { chooseDocuments, rankDocuments } from "../../lib/reduction/longllmlingua.ts";
import { keepAbovePercentile, phraseInformation } from "../../lib/reduction/selective_context.ts";
import { aboveShareOfHighest, aboveThreshold, ltpThreshold, meanAttention } from "../../lib/reduction/ltp.ts";
import { compose } from "../../lib/reduction/compose.ts";
import { powerSignificance, significanceScore, softExtract } from "../../lib/reduction/powerbert.ts";
import { lookedAtMost, spatten, spattenKeepRate } from "../../lib/reduction/spatten.ts";
import { applyMap } from "../../lib/nn/token_map.ts";
import { tf } from "../../lib/tensor/mod.ts";
import { assertClose, type GoldenCase } from "./cases.ts";

type Family = (entry: GoldenCase) => void | Promise<void>;

/** The families of text reduction. */
export const textFamilies: Readonly<Record<string, Family>> = {
  "selective_context.mask": ({ params, inputs, outputs }) => {
    const units = inputs.units as string[];
    const { kept, threshold } = keepAbovePercentile(inputs.self_info as number[], params.reduce_ratio as number);
    assertClose(threshold, outputs.threshold, "threshold");
    const context = units.filter((_, u) => kept[u]).join(params.level === "sent" ? " " : "");
    assert.equal(context, outputs.context);
    assert.deepEqual(units.filter((_, u) => !kept[u]), outputs.dropped);
  },
  "selective_context.phrase_info": ({ inputs, outputs }) => {
    const tokens = placed(inputs.tokens as string[]);
    // white space behind a chunk belongs to the next phrase
    const chunks = inputs.chunks as [text: string, space: string][];
    const phrases = chunks.map(([text], c) => (c ? chunks[c - 1][1] : "") + text);
    const { starts, ends } = placed(phrases);
    const spans = Array.from(starts, (start, p) => [start, ends[p]] as const);
    assert.deepEqual(phrases, outputs.phrases);
    assertClose(
      [...phraseInformation(inputs.token_info as number[], tokens, spans)],
      outputs.phrase_info,
      "phrase_info",
    );
  },
  "llmlingua.segment_step": ({ params, inputs, outputs }) => {
    const loss = inputs.loss as number[], start = params.start as number;
    const selfLoss = inputs.self_loss as number[] | undefined;
    const contrast = selfLoss ? loss.slice(start).map((value, j) => selfLoss[j] - value) : loss;
    const threshold = thresholdAsAuthors(contrast, params.ratio as number);
    assertClose(threshold, outputs.threshold, "threshold");
    const after = stepAsAuthors({
      ids: inputs.input_ids as number[],
      loss,
      end: params.end as number,
      ...(inputs.keep_flag ? { keepFlag: inputs.keep_flag as number[] } : {}),
      ...(selfLoss ? { selfLoss } : {}),
    }, { threshold, size: params.iterative_size as number, start, splitToken: params.split_token_id as number });
    assert.deepEqual(after.ids, outputs.kept_input_ids);
    assert.equal(after.end, outputs.end);
    assertClose(after.loss, outputs.loss_after, "loss_after");
  },
  "llmlingua.iterative": async ({ params, inputs, outputs }) => {
    assert.ok(!params.start && !params.condition_compare && !params.keep_split, "our loop has no question in parity");
    const logits = inputs.bigram_logits as number[][], texts = inputs.texts as number[][];
    const split = 13;
    const ids = Int32Array.from(texts.flatMap((text, t) => t ? [split, split, ...text] : text));
    const scorer = {
      name: "bigrams",
      context: 1000,
      logProbabilities: (all: readonly Int32Array[]) => all.map(bigrams),
    };
    function bigrams(sequence: Int32Array): Float32Array {
      return sequence.length
        ? Float32Array.from(sequence, (id, i) => i ? logSoftmax(logits[sequence[i - 1]])[id] : 0)
        : new Float32Array();
    }
    const size = params.iterative_size as number;
    const ratios = segmentRatios(texts.map(({ length }) => length), {
      target: params.target_token as number,
      size,
      dynamicRatio: inputs.dynamic_ratio as number[],
    });
    const { kept } = await compressAsAuthors(scorer, ids, {
      rates: [{ end: ids.length, rate: 1 }],
      segment: size,
      ratios,
    });
    assert.deepEqual([...ids.filter((_, t) => kept[t])], outputs.compressed_ids);
  },
  "llmlingua.dynamic_ratio": ({ params, inputs, outputs }) => {
    assert.ok(!params.start, "a question is not counted here");
    const segments = segmentRatios(inputs.token_lengths as number[], {
      target: params.target_token as number,
      size: params.iterative_size as number,
      dynamicRatio: inputs.dynamic_ratio as number[],
    });
    assertClose(segments, outputs.segments, "segments");
  },
  "longllmlingua.rank_and_budget": ({ params, inputs, outputs }) => {
    const ranking = rankDocuments(
      inputs.ppl as number[],
      params.condition_in_question === "none" ? "descending" : "ascending",
    );
    assert.deepEqual(ranking, outputs.ranking);
    const target = params.target_token as number;
    const { documents, dynamicRatio } = chooseDocuments(ranking, inputs.token_lengths as number[], {
      budget: added(target < 0 ? 100 : target, params.context_budget as string),
      order: params.reorder_context === "two_stage"
        ? "twoStage"
        : params.reorder_context === "original"
        ? "original"
        : "ranked",
      dynamicRatio: params.dynamic_context_compression_ratio as number,
      forced: (inputs.force_context_ids as number[] | null) ?? [],
    });
    assert.deepEqual(documents, outputs.kept);
    assertClose(dynamicRatio, outputs.dynamic_ratio, "dynamic_ratio");
  },
  "llmlingua2.word_threshold": ({ params, inputs, outputs }) => {
    assert.ok(
      !params.drop_consecutive && !(params.force_tokens as string[]).length,
      "the choice alone is compared here",
    );
    const probabilities = inputs.word_token_probs as number[][];
    const word = Int32Array.from(probabilities.flatMap((tokens, w) => tokens.map(() => w)));
    const mode = params.convert_mode as "mean" | "first", counts = inputs.gpt_token_counts as number[];
    const words = [...wordProbabilities(probabilities.flat(), word, probabilities.length, mode)];
    assertClose(words, outputs.word_probs, "word_probs");
    const exact = probabilities.map((tokens) =>
      mode === "first" ? tokens[0] : tokens.reduce((a, b) => a + b) / tokens.length
    );
    assertClose(wordThreshold(exact, counts, params.reduce_rate as number), outputs.threshold, "threshold");
    const labels = [...keepWordsAsAuthors(exact, counts, params.reduce_rate as number)];
    assert.deepEqual(labels, outputs.word_labels);
    assert.deepEqual((inputs.words as string[]).filter((_, w) => labels[w]), outputs.kept_words);
  },
  "ltp.absolute_threshold": ({ params, inputs, outputs }) => {
    const attention = tf.tensor4d(inputs.attention_probs as number[][][][]);
    const scores = meanAttention(attention, sizes(inputs.lengths as number[], attention.shape[2]), true);
    assertClose(scores.arraySync(), outputs.scores, "scores");
    const base = ltpThreshold(
      params.final_token_threshold as number,
      params.layer as number,
      params.num_layers as number,
    );
    const threshold = base + (params.learned_offset as number);
    assertClose(threshold, outputs.threshold, "threshold");
    assert.deepEqual(booleans(aboveThreshold(scores, tf.scalar(threshold))), outputs.keep);
  },
  "ltp.relative_threshold": ({ params, inputs, outputs }) => {
    const attention = tf.tensor4d(inputs.attention_probs as number[][][][]);
    const scores = meanAttention(attention, sizes(inputs.lengths as number[], attention.shape[2]), true);
    assert.deepEqual(booleans(aboveShareOfHighest(scores, params.token_threshold as number)), outputs.keep);
  },
  "spatten.cascade_pruner": ({ params, inputs, outputs }) => {
    const layer = params.layer as number,
      layers = params.num_layers as number,
      keepRate = params.token_keep_rate as number;
    assertClose(spattenKeepRate(keepRate, layer, layers), outputs.keep_rate, "keep_rate");
    const attention = tf.tensor4d(inputs.attention_probs as number[][][][]);
    const [tokens] = inputs.lengths as number[];
    assert.equal(tokens, attention.shape[2], "a padded case is not compared here");
    const place = { layer, layers, tokens, initialTokens: tokens, specialTokens: 0, grid: [1, tokens] as const };
    const count = tokens - spatten({ keepRate }).plan(place).achieved;
    assert.deepEqual(booleans(lookedAtMost(attention, count)), outputs.keep);
  },
  "powerbert.extract": ({ params, inputs, outputs }) => {
    const attention = tf.tensor4d(inputs.attn as number[][][][]), x = tf.tensor3d(inputs.x as number[][][]);
    const significance = powerSignificance(attention);
    assertClose(significance.arraySync(), outputs.significance, "significance");
    const tokens = x.shape[1], keep = params.keep as number;
    const view = {
      layer: 0,
      layers: 1,
      tokens,
      initialTokens: tokens,
      specialTokens: 1,
      grid: [1, tokens - 1] as const,
    };
    const reducer = compose({ score: significanceScore })({ keep: [keep - 1], layers: [0] }); // the class token is one of them
    const map = reducer.reduce({ ...view, x, size: tf.ones([1, tokens]), attention });
    assertClose(applyMap(map, x).x.arraySync(), outputs.hard, "hard");
    const soft = softExtract(x, significance, tf.tensor1d(inputs.retention as number[]));
    assertClose(soft.arraySync(), outputs.soft, "soft");
  },
};

/** 1 for the tokens of each text, 0 for its padding. */
function sizes(lengths: readonly number[], tokens: number): tf.Tensor2D {
  return tf.tensor2d(lengths.map((length) => Array.from({ length: tokens }, (_, t) => t < length ? 1 : 0)));
}

function booleans(mask: tf.Tensor2D): boolean[][] {
  return mask.arraySync().map((row) => row.map(Boolean));
}

/** Where pieces stand that follow one another. */
function placed(pieces: readonly string[]): { starts: Int32Array; ends: Int32Array } {
  let at = 0;
  const ends = Int32Array.from(pieces, ({ length }) => at += length);
  return { starts: Int32Array.from(ends, (end, p) => end - pieces[p].length), ends };
}

function logSoftmax(logits: readonly number[]): number[] {
  const top = Math.max(...logits);
  const sum = Math.log(logits.reduce((total, value) => total + Math.exp(value - top), 0)) + top;
  return logits.map((value) => value - sum);
}

/** A budget such as "+100" or "*1.5". */
function added(target: number, budget: string): number {
  const [, sign, amount] = /^([+*-])([\d.]+)$/.exec(budget) ?? [];
  if (!sign) throw new Error(`the budget ${budget} is not read here`);
  return sign === "*" ? target * Number(amount) : target + Number(sign + amount);
}
