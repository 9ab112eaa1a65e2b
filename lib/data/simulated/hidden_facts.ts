/**
 * Simulated texts that hide facts: what a tiny language model is trained to find again, so that it is known which tokens of
 * a text an answer needs.
 *
 * A text is a chain of filler words in which names are followed, once each, by the thing that they have: "... the river
 * anna lamp ran past ...". Then it is asked "? anna", and the answer is "lamp". Names, things and places are drawn anew for
 * every text, so that nothing can be known without reading. Associative recall, as in Arora et al., "Zoology: Measuring and
 * Improving Recall in Efficient Language Models", ICLR 2024, arXiv:2312.04927, section 3.
 *
 * @module
 */
import { random } from "../../random.ts";

const NAMES = "anna ben carl dora emil fay greg hana ivan june kai lena mo nora otto pia quin rosa sven tess".split(
  " ",
);
const THINGS = "apple bell coin drum egg fan glove hat ink jar key lamp map nut oar pen quilt ring shoe tea".split(" ");
const FILLERS =
  "the a old quiet sun river hill road bird rain ran sang fell over past under and while slowly far home ."
    .split(" ");
const WORDS: readonly string[] = ["<start>", "?", ...NAMES, ...THINGS, ...FILLERS];
const FIRST_NAME = 2, FIRST_THING = FIRST_NAME + NAMES.length, FIRST_FILLER = FIRST_THING + THINGS.length;
/** Words that may follow a filler; which ones is the same for all texts. */
const FOLLOWERS = (() => {
  const draw = random(64, "followers");
  return FILLERS.map(() => Array.from({ length: 4 }, () => FIRST_FILLER + draw.integer(FILLERS.length)));
})();

/** Options of the simulation. */
export interface HiddenFactsOptions {
  /** Number of texts. */
  readonly texts: number;
  /** Where the random numbers start; the same seed gives the same texts. */
  readonly seed: number;
  /** Tokens before the questions, <start> included: a number, or the least and the most. Default: 96. */
  readonly length?: number | readonly [least: number, most: number];
  /** Facts in a text; fewer where they would fill more than half of it. Default: 10. */
  readonly facts?: number;
}

/** Texts with facts, each followed by questions for all of them in random order. */
export interface HiddenFacts {
  readonly texts: number;
  /** Tokens of a row: the longest text and three for each question. */
  readonly rowLength: number;
  /** [texts, rowLength], indices into `words`; 0 behind the last question of a shorter text. */
  readonly tokens: Int32Array;
  /** Tokens before the questions, [texts]. */
  readonly lengths: Int32Array;
  /** Facts of each text, [texts]. */
  readonly facts: Int32Array;
  /** Where the name of each question stands in its row, [texts, facts]: the answer comes right after it. -1: no question. */
  readonly asked: Int32Array;
  /** Where the same name stands in the text, [texts, facts]; the thing is right after it. */
  readonly told: Int32Array;
  /** The answers, [texts, facts], indices into `words`. */
  readonly answer: Int32Array;
  readonly words: readonly string[];
  readonly seed: number;
}

/**
 * Draws texts and asks for all of their facts.
 *
 * @throws {RangeError} Where the number of texts, their length or the number of facts makes no sense.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * const { words, tokens, told, asked, answer } = hiddenFacts({ texts: 1, seed: 1, length: 16, facts: 2 });
 * const said = Array.from(tokens, (token) => words[token]);
 * assert.equal(said[0], "<start>");
 * assert.equal(said[asked[0]], said[told[0]]); // the name that is asked for is one that the text has
 * assert.equal(said[told[0] + 1], words[answer[0]]); // and the answer stands behind it
 * ```
 */
export function hiddenFacts({ texts, seed, length = 96, facts = 10 }: HiddenFactsOptions): HiddenFacts {
  const [least, most] = typeof length === "number" ? [length, length] : length;
  check("texts", texts, 1, Infinity);
  check("the length", least, 8, Infinity);
  check("the longest length", most, least, Infinity);
  check("facts", facts, 1, NAMES.length);
  const rowLength = most + 3 * facts;
  const made = {
    tokens: new Int32Array(texts * rowLength),
    lengths: new Int32Array(texts),
    facts: new Int32Array(texts),
    asked: new Int32Array(texts * facts).fill(-1),
    told: new Int32Array(texts * facts).fill(-1),
    answer: new Int32Array(texts * facts),
  };
  for (let text = 0; text < texts; text++) {
    const draw = random(seed, `text ${text}`);
    const tokens = least + draw.integer(most - least + 1);
    const hidden = Math.min(facts, Math.floor((tokens - 1) / 4));
    const names = draw.permutation(NAMES.length).slice(0, hidden);
    // where the facts stand among the fillers: `hidden` of all gaps, each gap once
    const fillers = tokens - 1 - 2 * hidden;
    const gaps = draw.permutation(fillers + 1).slice(0, hidden).sort((a, b) => a - b);
    const row = made.tokens.subarray(text * rowLength, (text + 1) * rowLength);
    let at = 1, fact = 0, word = FIRST_FILLER + draw.integer(FILLERS.length);
    const places: number[] = [];
    for (let filler = 0; filler <= fillers; filler++) {
      while (gaps[fact] === filler) {
        places.push(at);
        row[at++] = FIRST_NAME + names[fact++];
        row[at++] = FIRST_THING + draw.integer(THINGS.length);
      }
      if (filler === fillers) break;
      row[at++] = word;
      word = draw.choice(FOLLOWERS[word - FIRST_FILLER]);
    }
    for (const [question, which] of draw.permutation(hidden).entries()) {
      row[at++] = 1;
      made.asked[text * facts + question] = at;
      made.told[text * facts + question] = places[which];
      row[at++] = row[places[which]];
      made.answer[text * facts + question] = row[at++] = row[places[which] + 1];
    }
    made.lengths[text] = tokens;
    made.facts[text] = hidden;
  }
  return { texts, rowLength, ...made, words: WORDS, seed };
}

function check(what: string, value: number, least: number, most: number): void {
  if (Number.isInteger(value) && value >= least && value <= most) return;
  const range = most === Infinity ? `from ${least}` : `from ${least} to ${most}`;
  throw new RangeError(`${what} must be a whole number ${range}, but it is ${value}`);
}
