/**
 * Selective Context: drop the stretches of a prompt that a language model would have guessed anyway.
 *
 * Li et al., "Compressing Context to Enhance Inference Efficiency of Large Language Models", EMNLP 2023, arXiv:2310.06201,
 * section 3. Checked against the authors' code (tests/golden, `selective_context.mask`, `selective_context.phrase_info`).
 * Differs from it in the budget, which counts tokens where theirs is a percentile over stretches (`parity: true`), and in
 * its phrases, which are function words with the content words behind them where theirs are spaCy's noun chunks.
 *
 * @module
 */
import {
  type CompressedText,
  compressedText,
  type LanguageScorer,
  protectedTokens,
  scoreTokens,
  Stages,
  type TextOptions,
  type TextTokens,
  tokensOf,
  tokensToKeep,
  windowNote,
} from "./text.ts";
import { type Span, type UnitLevel, unitOfTokens, unitsOf } from "./text_units.ts";

/** Options of Selective Context. */
export type SelectiveContextOptions = TextOptions & {
  /** What is kept or dropped as a whole. Default: "phrase". */
  readonly level?: UnitLevel | "token";
  /** Tokens that a window shares with the one before, where the text is longer than the context. */
  readonly overlap?: number;
  /** The authors' budget: a percentile over stretches, however long they are. Default: false. */
  readonly parity?: boolean;
};

/**
 * Compresses a text to the phrases that the model finds least likely. Costs one run of the model over the text.
 *
 * @returns The budget is kept: of the phrases that fit, in the order of their scores, all stay.
 * @throws {ReductionError} For an empty text, or a scorer that does not give one value per token.
 * @throws {BudgetOutOfRange} For a rate outside (0, 1].
 *
 * @example A model that has seen every word but one
 * ```ts
 * import assert from "node:assert/strict";
 * import { unitsOf } from "tessera/reduction/text_units.ts";
 * const scorer = {
 *   name: "words", context: 8,
 *   tokenize: (text: string) => {
 *     const words = unitsOf(text, "word");
 *     return { ids: Int32Array.from(words, ([from, to]) => to - from), starts: Int32Array.from(words, ([from]) => from), ends: Int32Array.from(words, ([, to]) => to) };
 *   },
 *   logProbabilities: (all: readonly Int32Array[]) => all.map((ids) => Float32Array.from(ids, (id) => -id)),
 * };
 * const { compressed } = await selectiveContext(scorer, "it is an extraordinary day", { keepRate: 0.4, level: "word" });
 * assert.equal(compressed, " extraordinary day");
 * ```
 */
export async function selectiveContext(
  scorer: LanguageScorer,
  text: string,
  options: SelectiveContextOptions,
): Promise<CompressedText> {
  const { level = "phrase", overlap, parity = false } = options;
  const stages = new Stages();
  const tokens = await stages.time("tokens", () => tokensOf(scorer, text));
  const all = tokens.ids.length, keep = tokensToKeep(options, all);
  const { values, windows } = await stages.time("model", () => scoreTokens(scorer, tokens.ids, { overlap }));
  return await stages.time("choice", () => {
    const information = values.map((value) => -value);
    const units = level === "token" ? undefined : unitsOf(text, level);
    const unit = units ? unitOfTokens(tokens.starts, units) : Int32Array.from(values, (_, token) => token);
    const score = units ? unitInformation(information, unit, units.length) : information;
    const mustStay = protectedTokens(text, tokens, options.protect);
    const size = new Int32Array(score.length), forced = new Uint8Array(score.length);
    unit.forEach((u, token) => {
      size[u]++;
      if (mustStay[token]) forced[u] = 1;
    });
    const stays = parity
      ? keepAbovePercentile(score, 1 - keep / all).kept.map((one, u) => one | forced[u])
      : keepWithin(score, size, keep, forced);
    return {
      method: "Selective Context",
      text,
      tokens,
      kept: Uint8Array.from(unit, (u) => stays[u]),
      score: Float32Array.from(unit, (u) => score[u]),
      requestedRate: keep / all,
      notes: windowNote(scorer.name, scorer.context, all, windows),
      stages,
    };
  }).then(compressedText);
}

/**
 * The self-information of each unit: the mean of its tokens'. 0 for a unit in which no token begins.
 *
 * @param information Of each token, -ln p.
 * @param unit The unit of each token.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * assert.deepEqual([...unitInformation(Float32Array.of(8, 4, 1), Int32Array.of(0, 0, 1), 2)], [6, 1]);
 * ```
 */
export function unitInformation(information: ArrayLike<number>, unit: Int32Array, units: number): Float32Array {
  const sum = new Float64Array(units), count = new Int32Array(units);
  for (let token = 0; token < unit.length; token++) {
    sum[unit[token]] += information[token];
    count[unit[token]]++;
  }
  return Float32Array.from(sum, (total, u) => count[u] ? total / count[u] : 0);
}

/**
 * The self-information of phrases whose limits are not those of tokens, as the authors' code has it: a token that reaches
 * over several phrases is shared equally among them, and a phrase has the mean of what it got.
 *
 * @param phrases In characters, ascending.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * const tokens = { starts: Int32Array.of(0, 2), ends: Int32Array.of(2, 6) };
 * assert.deepEqual([...phraseInformation([8, 4], tokens, [[0, 3], [3, 6]])], [5, 2]);
 * ```
 */
export function phraseInformation(
  information: ArrayLike<number>,
  { starts, ends }: Pick<TextTokens, "starts" | "ends">,
  phrases: readonly Span[],
): Float32Array {
  const sum = new Float64Array(phrases.length), count = new Int32Array(phrases.length);
  let first = 0;
  for (let token = 0; token < starts.length; token++) {
    while (first + 1 < phrases.length && phrases[first][1] <= starts[token]) first++;
    let last = first;
    while (last + 1 < phrases.length && phrases[last + 1][0] < ends[token]) last++;
    for (let p = first; p <= last; p++) {
      sum[p] += information[token] / (last - first + 1);
      count[p]++;
    }
  }
  return Float32Array.from(sum, (total, p) => count[p] ? total / count[p] : 0);
}

/**
 * The authors' choice: what lies strictly below the percentile is dropped.
 *
 * @param share Of the units, to be dropped, 0 to 1.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * const { kept, threshold } = keepAbovePercentile([1, 2, 3, 4, 5], 0.5);
 * assert.deepEqual([[...kept], threshold], [[0, 0, 1, 1, 1], 3]);
 * ```
 */
export function keepAbovePercentile(
  score: ArrayLike<number>,
  share: number,
): { kept: Uint8Array; threshold: number } {
  const threshold = percentile(score, 100 * share);
  return { kept: Uint8Array.from(score, (value) => value >= threshold ? 1 : 0), threshold };
}

/**
 * A percentile as numpy has it by default: linear between neighbours.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * assert.equal(percentile([4, 1, 2], 75), 3);
 * ```
 */
export function percentile(values: ArrayLike<number>, percent: number): number {
  const sorted = Float64Array.from(values).sort();
  const at = (sorted.length - 1) * Math.min(100, Math.max(0, percent)) / 100;
  const low = Math.floor(at);
  return sorted[low] + (at - low) * (sorted[Math.min(low + 1, sorted.length - 1)] - sorted[low]);
}

/**
 * Units by descending score as long as the next one fits; those that must stay come first. At least one stays. A larger
 * budget keeps all that a smaller one keeps.
 *
 * @param size Tokens of each unit.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * assert.deepEqual([...keepWithin([3, 9, 5], [1, 2, 2], 3)], [0, 1, 0]); // 5 would be next and does not fit
 * ```
 */
export function keepWithin(
  score: ArrayLike<number>,
  size: ArrayLike<number>,
  tokens: number,
  mustStay?: ArrayLike<number>,
): Uint8Array {
  const kept = Uint8Array.from(size, (_, u) => mustStay?.[u] ? 1 : 0);
  let left = tokens;
  for (let u = 0; u < kept.length; u++) if (kept[u]) left -= size[u];
  const order = Array.from(kept.keys()).filter((u) => !kept[u] && size[u] > 0).sort((a, b) =>
    score[b] - score[a] || a - b
  );
  for (const [rank, u] of order.entries()) {
    left -= size[u];
    if (left < 0 && !(rank === 0 && left + size[u] === tokens)) break;
    kept[u] = 1;
    if (left < 0) break;
  }
  return kept;
}
