/**
 * Random words: the control of every method that compresses texts. What it keeps is right by chance; a score that does no
 * better at the same rate is none.
 *
 * Its place among controls: specification of claims after Kong et al., "Token Reduction Should Go Beyond Efficiency in
 * Generative Models", 2025, arXiv:2505.18227, section 3.
 *
 * @module
 */
import { random } from "../random.ts";
import { keepWithin } from "./selective_context.ts";
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

/** Options of {@link randomWords}. */
export type RandomWordsOptions = TextOptions & {
  readonly seed: number;
};

/**
 * Keeps words by chance. Of one seed, a larger budget keeps all that a smaller one keeps.
 *
 * @throws {ReductionError} For an empty text.
 * @throws {BudgetOutOfRange} For a rate outside (0, 1].
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { unitsOf } from "tessera/reduction/text_units.ts";
 * const tokenize = (text: string) => {
 *   const words = unitsOf(text, "word");
 *   return { ids: new Int32Array(words.length), starts: Int32Array.from(words, ([from]) => from), ends: Int32Array.from(words, ([, to]) => to) };
 * };
 * const { achievedRate } = await randomWords({ tokenize }, "one two three four", { keepRate: 0.5, seed: 1 });
 * assert.equal(achievedRate, 0.5);
 * ```
 */
export async function randomWords(
  tokenizer: Pick<LanguageScorer, "tokenize">,
  text: string,
  options: RandomWordsOptions,
): Promise<CompressedText> {
  const stages = new Stages();
  const tokens = await stages.time("tokens", () => tokensOf(tokenizer, text));
  const all = tokens.ids.length, keep = tokensToKeep(options, all);
  return await stages.time("choice", () => {
    const words = unitsOf(text, "word"), unit = unitOfTokens(tokens.starts, words);
    const score = random(options.seed, "words").uniforms(words.length);
    const mustStay = protectedTokens(text, tokens, options.protect);
    const size = new Int32Array(words.length), forced = new Uint8Array(words.length);
    unit.forEach((u, token) => {
      size[u]++;
      if (mustStay[token]) forced[u] = 1;
    });
    const stays = keepWithin(score, size, keep, forced);
    return {
      method: "random words",
      text,
      tokens,
      kept: Uint8Array.from(unit, (u) => stays[u]),
      score: Float32Array.from(unit, (u) => score[u]),
      requestedRate: keep / all,
      stages,
    };
  }).then(compressedText);
}
