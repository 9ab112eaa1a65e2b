/**
 * LLMLingua-2: a small classifier that looks both ways says of each word whether it must stay.
 *
 * Pan et al., "LLMLingua-2: Data Distillation for Efficient and Faithful Task-Agnostic Prompt Compression", ACL Findings
 * 2024, arXiv:2403.12968, section 4. Checked against the authors' code (tests/golden, `llmlingua2.word_threshold`). Differs
 * from it in the budget, which is met to the word, where theirs is a percentile rounded to whole percents and counted in
 * tokens of another model (`parity: true`, with our own tokens).
 *
 * @module
 */
import { ReductionError } from "../nn/reduction_errors.ts";
import { tick } from "../stop.ts";
import { keepWithin, percentile, unitInformation } from "./selective_context.ts";
import {
  type CompressedText,
  compressedText,
  type LanguageScorer,
  protectedTokens,
  Stages,
  type TextOptions,
  tokensOf,
  tokensToKeep,
} from "./text.ts";
import { unitOfTokens, unitsOf } from "./text_units.ts";

/** What says of tokens whether they stay. */
export interface TokenClassifier extends Pick<LanguageScorer, "name" | "context" | "tokenize"> {
  /** For each sequence of at most `context` tokens: the probability, 0 to 1, that each of them stays. */
  keepProbabilities(sequences: readonly Int32Array[]): Float32Array[] | Promise<Float32Array[]>;
}

/** Options of LLMLingua-2. */
export type LLMLingua2Options = TextOptions & {
  /** Words with a digit stay. Default: false. */
  readonly keepDigits?: boolean;
  /** Of protected words that follow one another and are equal, the first alone stays. Default: false. */
  readonly dropConsecutive?: boolean;
  /** A word's probability: the mean of its tokens', or that of its first one. Default: "mean". */
  readonly word?: "mean" | "first";
  /** The authors' percentile. Default: false. */
  readonly parity?: boolean;
};

/**
 * Compresses a text to the words that the classifier wants most. The text is read in pieces that end with a sentence, so that
 * each piece costs one run of the classifier, and pieces are run together.
 *
 * @throws {ReductionError} For an empty text, or a classifier that does not give one probability per token.
 * @throws {BudgetOutOfRange} For a rate outside (0, 1].
 *
 * @example A classifier that likes long words
 * ```ts
 * import assert from "node:assert/strict";
 * import { unitsOf } from "tessera/reduction/text_units.ts";
 * const classifier = {
 *   name: "long words", context: 8,
 *   tokenize: (text: string) => {
 *     const words = unitsOf(text, "word");
 *     return { ids: Int32Array.from(words, ([from, to]) => to - from), starts: Int32Array.from(words, ([from]) => from), ends: Int32Array.from(words, ([, to]) => to) };
 *   },
 *   keepProbabilities: (all: readonly Int32Array[]) => all.map((ids) => Float32Array.from(ids, (id) => id / 20)),
 * };
 * const { compressed } = await llmlingua2(classifier, "a meeting on Tuesday", { keepRate: 0.5 });
 * assert.equal(compressed, " meeting Tuesday");
 * ```
 */
export async function llmlingua2(
  classifier: TokenClassifier,
  text: string,
  options: LLMLingua2Options,
): Promise<CompressedText> {
  const { keepDigits = false, dropConsecutive = false, word = "mean", parity = false } = options;
  const stages = new Stages();
  const tokens = await stages.time("tokens", () => tokensOf(classifier, text));
  const all = tokens.ids.length, keep = tokensToKeep(options, all);
  const pieces = await stages.time("pieces", () => piecesOf(text, tokens.starts, classifier.context));
  const probability = await stages.time("model", () => probabilities(classifier, tokens.ids, pieces));
  return await stages.time("choice", () => {
    const words = unitsOf(text, "word");
    const unit = unitOfTokens(tokens.starts, words);
    const score = wordProbabilities(probability, unit, words.length, word);
    const mustStay = protectedTokens(text, tokens, options.protect);
    const size = new Int32Array(words.length), forced = new Uint8Array(words.length);
    unit.forEach((u, token) => {
      size[u]++;
      if (mustStay[token]) forced[u] = 1;
    });
    const said = (u: number) => text.slice(...words[u]).trim();
    if (keepDigits) words.forEach((_, u) => forced[u] ||= /\d/.test(said(u)) ? 1 : 0);
    const stays = parity
      ? keepWordsAsAuthors(score, size, 1 - keep / all).map((one, u) => one | forced[u])
      : keepWithin(score, size, keep, forced);
    if (dropConsecutive) {
      for (let u = 1; u < words.length; u++) if (forced[u] && stays[u - 1] && said(u) === said(u - 1)) stays[u] = 0;
    }
    return {
      method: "LLMLingua-2",
      text,
      tokens,
      kept: Uint8Array.from(unit, (u) => stays[u]),
      score: Float32Array.from(unit, (u) => score[u]),
      requestedRate: keep / all,
      notes: pieces.length > 1
        ? [
          `the text has ${all} tokens and ${classifier.name} looks at ${classifier.context}: read in ${pieces.length} pieces`,
        ]
        : [],
      stages,
    };
  }).then(compressedText);
}

/**
 * Pieces of at most `context` tokens that end with a sentence where one ends within them: [first, after last) tokens.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * assert.deepEqual(piecesOf("ab cd. ef", [0, 2, 6], 2), [[0, 2], [2, 3]]);
 * ```
 */
export function piecesOf(text: string, starts: ArrayLike<number>, context: number): [first: number, end: number][] {
  const sentence = unitOfTokens(starts, unitsOf(text, "sentence"));
  const pieces: [number, number][] = [];
  let first = 0;
  while (first < starts.length) {
    let end = Math.min(starts.length, first + context);
    if (end < starts.length) {
      let cut = end;
      while (cut > first && sentence[cut - 1] === sentence[end]) cut--;
      if (cut > first) end = cut; // else one sentence is longer than the context, and is cut
    }
    pieces.push([first, end]);
    first = end;
  }
  return pieces;
}

/** Pieces run together. */
const TOGETHER = 16;

async function probabilities(
  classifier: TokenClassifier,
  ids: Int32Array,
  pieces: readonly (readonly [number, number])[],
): Promise<Float32Array> {
  const result = new Float32Array(ids.length);
  for (let k = 0; k < pieces.length; k += TOGETHER) {
    await tick();
    const now = pieces.slice(k, k + TOGETHER);
    const given = await classifier.keepProbabilities(now.map(([first, end]) => ids.subarray(first, end)));
    for (const [p, [first, end]] of now.entries()) {
      if (given[p]?.length !== end - first) {
        throw new ReductionError(
          `the classifier ${classifier.name} gave ${given[p]?.length ?? "no"} values for ${
            end - first
          } tokens; it must ` +
            "give one each",
        );
      }
      const broken = given[p].findIndex((value) => !(value >= 0 && value <= 1));
      if (broken >= 0) {
        throw new ReductionError(
          `the classifier ${classifier.name} gave ${given[p][broken]} for token ${
            first + broken
          }, but a probability lies ` +
            "in [0, 1]; look at its last layer",
        );
      }
      result.set(given[p], first);
    }
  }
  return result;
}

/**
 * The probability of each word: the mean of its tokens', or that of its first one.
 *
 * @param word The word of each token, ascending.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * assert.deepEqual([...wordProbabilities([0.5, 1, 0.25], Int32Array.of(0, 0, 1), 2)], [0.75, 0.25]);
 * assert.deepEqual([...wordProbabilities([0.5, 1, 0.25], Int32Array.of(0, 0, 1), 2, "first")], [0.5, 0.25]);
 * ```
 */
export function wordProbabilities(
  probability: ArrayLike<number>,
  word: Int32Array,
  words: number,
  mode: "mean" | "first" = "mean",
): Float32Array {
  if (mode === "mean") return unitInformation(probability, word, words);
  const first = new Float32Array(words);
  for (let token = word.length - 1; token >= 0; token--) first[word[token]] = probability[token];
  return first;
}

/**
 * The authors' threshold: the percentile `int(100 * share + 1)` over the words, each as often as it has tokens.
 *
 * @param tokens Of each word.
 * @param share To be dropped.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * assert.equal(wordThreshold([0.1, 0.9], [1, 99], 0.5), 0.9);
 * ```
 */
export function wordThreshold(probability: ArrayLike<number>, tokens: ArrayLike<number>, share: number): number {
  const repeated = Array.from(probability).flatMap((value, word) => Array<number>(tokens[word]).fill(value));
  return percentile(repeated, Math.trunc(100 * share + 1));
}

/**
 * The authors' choice: words strictly above the threshold; where the threshold is 1, those with 1.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * assert.deepEqual([...keepWordsAsAuthors([0.1, 0.9, 0.5], [1, 1, 1], 0.5)], [0, 1, 0]);
 * ```
 */
export function keepWordsAsAuthors(
  probability: ArrayLike<number>,
  tokens: ArrayLike<number>,
  share: number,
): Uint8Array {
  const threshold = wordThreshold(probability, tokens, share);
  return Uint8Array.from(probability, (value) => value > threshold || (threshold === 1 && value === 1) ? 1 : 0);
}
