/**
 * Texts by a rule of order two: the next symbol is a function of the two before it, a table drawn at random. Everything of a
 * text can be known, but for its first two symbols; noise is put into targets alone, so that it is known which are clean.
 *
 * @module
 */
import { random } from "../../../lib/random.ts";

/** Symbols of the alphabet, tokens of a text. */
export const SYMBOLS = 32, TOKENS = 48;

/** Texts, and what a model is told to predict of them. */
export interface NoisyTexts {
  /** int32, [texts, TOKENS] */
  readonly tokens: Int32Array;
  /** What stands for the next symbol, [texts, TOKENS - 1]: the symbol, or noise. */
  readonly targets: Int32Array;
  /** 1 where the target is the next symbol and the rule gives it, [texts, TOKENS - 1]. */
  readonly clean: Float32Array;
}

/**
 * Draws texts.
 *
 * @param noise Probability that a target is a symbol drawn at random.
 * @param rule Seed of the rule; the same for training, reference and test.
 */
export function noisyTexts(
  { texts, noise, rule, seed }: { texts: number; noise: number; rule: number; seed: number },
): NoisyTexts {
  const of = random(rule, "rule");
  const table = Int32Array.from({ length: SYMBOLS * SYMBOLS }, () => of.integer(SYMBOLS));
  const draw = random(seed, "texts");
  const tokens = new Int32Array(texts * TOKENS);
  const targets = new Int32Array(texts * (TOKENS - 1)), clean = new Float32Array(targets.length);
  for (let text = 0; text < texts; text++) {
    const own = tokens.subarray(text * TOKENS, (text + 1) * TOKENS);
    own[0] = draw.integer(SYMBOLS);
    own[1] = draw.integer(SYMBOLS);
    for (let i = 2; i < TOKENS; i++) own[i] = table[own[i - 2] * SYMBOLS + own[i - 1]];
    for (let i = 0; i < TOKENS - 1; i++) {
      const noisy = draw.bernoulli(noise), at = text * (TOKENS - 1) + i;
      targets[at] = noisy ? draw.integer(SYMBOLS) : own[i + 1];
      clean[at] = Number(i > 0 && targets[at] === own[i + 1]);
    }
  }
  return { tokens, targets, clean };
}
