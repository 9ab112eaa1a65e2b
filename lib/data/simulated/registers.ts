/**
 * Simulated texts that write into registers: what a tiny state-space model is trained to remember, so that it is known which
 * tokens a later answer needs.
 *
 * A text is a row of fillers among which words such as "b=5" set one of four registers; later words overwrite earlier ones.
 * Behind it stand four questions, "b?", whose answers are the last values. So at most four of the words matter; all others,
 * overwritten ones included, could go. Selective copying, as in Gu and Dao, "Mamba", 2023, arXiv:2312.00752, section 4.1.1,
 * with overwriting.
 *
 * @module
 */
import { random } from "../../random.ts";

const REGISTERS = ["a", "b", "c", "d"], VALUES = 8, FILLERS = 16;
const WORDS: readonly string[] = [
  "<start>",
  ...Array.from({ length: VALUES }, (_, value) => `${value}`),
  ...REGISTERS.map((name) => `${name}?`),
  ...Array.from({ length: FILLERS }, (_, filler) => `~${filler}`),
  ...REGISTERS.flatMap((name) => Array.from({ length: VALUES }, (_, value) => `${name}=${value}`)),
];
const FIRST_VALUE = 1, FIRST_QUESTION = FIRST_VALUE + VALUES, FIRST_FILLER = FIRST_QUESTION + REGISTERS.length;
const FIRST_SET = FIRST_FILLER + FILLERS;

/** Options of the simulation. */
export interface RegistersOptions {
  /** Number of texts. */
  readonly texts: number;
  /** Where the random numbers start; the same seed gives the same texts. */
  readonly seed: number;
  /** Tokens before the questions, <start> included. Default: 48. */
  readonly length?: number;
  /** Words that set a register; each register is set at least once. Default: 12. */
  readonly sets?: number;
}

/** Texts, each followed by a question for each register in random order. */
export interface Registers {
  readonly texts: number;
  /** Tokens before the questions. */
  readonly length: number;
  /** Questions of a text: 4. */
  readonly questions: number;
  /** [texts, length + 4], indices into `words`. */
  readonly tokens: Int32Array;
  /** [texts, 4], indices into `words`: what is to be said at each question. */
  readonly answer: Int32Array;
  /** Where the word stands that each answer needs, [texts, 4]. */
  readonly needed: Int32Array;
  readonly words: readonly string[];
  readonly seed: number;
}

/**
 * Draws texts and asks for every register.
 *
 * @throws {RangeError} Where the number of texts, their length or the number of words that set makes no sense.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * const { words, tokens, answer, needed, length } = registers({ texts: 1, seed: 1 });
 * const register = words[tokens[length]][0]; // the first question's
 * assert.equal(words[tokens[needed[0]]], `${register}=${words[answer[0]]}`);
 * ```
 */
export function registers({ texts, seed, length = 48, sets = 12 }: RegistersOptions): Registers {
  const questions = REGISTERS.length;
  for (
    const [what, value, least, most] of [["texts", texts, 1, Infinity], ["sets", sets, questions, Infinity], [
      "the length",
      length,
      sets + 1,
      Infinity,
    ]] as const
  ) {
    if (Number.isInteger(value) && value >= least && value <= most) continue;
    throw new RangeError(`${what} must be a whole number from ${least}, but it is ${value}`);
  }
  const row = length + questions;
  const tokens = new Int32Array(texts * row);
  const answer = new Int32Array(texts * questions), needed = new Int32Array(texts * questions);
  for (let text = 0; text < texts; text++) {
    const draw = random(seed, `text ${text}`);
    const mine = tokens.subarray(text * row, (text + 1) * row);
    for (let t = 1; t < length; t++) mine[t] = FIRST_FILLER + draw.integer(FILLERS);
    const places = draw.permutation(length - 1).slice(0, sets).sort((a, b) => a - b).map((place) => place + 1);
    const which = draw.shuffle(Array.from({ length: sets }, (_, s) => s < questions ? s : draw.integer(questions)));
    const last = new Int32Array(questions);
    for (const [s, place] of places.entries()) {
      mine[place] = FIRST_SET + which[s] * VALUES + draw.integer(VALUES);
      last[which[s]] = place;
    }
    for (const [q, register] of draw.permutation(questions).entries()) {
      mine[length + q] = FIRST_QUESTION + register;
      needed[text * questions + q] = last[register];
      answer[text * questions + q] = FIRST_VALUE + (mine[last[register]] - FIRST_SET) % VALUES;
    }
  }
  return { texts, length, questions, tokens, answer, needed, words: WORDS, seed };
}
