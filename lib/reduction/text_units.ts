/**
 * Stretches of a text that a reader would not cut: words, phrases, sentences. Each owns the white space before it, so that
 * units side by side are the text again.
 *
 * @module
 */

/** How a text is cut. */
export type UnitLevel = "word" | "phrase" | "sentence";

/** A stretch of a text: [start, end) in characters. */
export type Span = readonly [start: number, end: number];

/** English words that open a phrase: determiners, prepositions, conjunctions, pronouns, auxiliaries. */
const OPENING = new Set(
  ("a an the this that these those my your his her its our their some any no each every all both " +
    "of in on at by for with to from into onto over under about after before between through during without within " +
    "against among as like than and or but nor so if because while when where who whom whose which what how although " +
    "though since until unless i you he she it we they me him us them is are was were be been being am do does did " +
    "have has had will would shall should can could may might must not there here then")
    .split(" "),
);

const sentences = new Intl.Segmenter("en", { granularity: "sentence" });

/**
 * Cuts a text into units. Words are runs without white space. Phrases are Liberman and Church's "chinks and chunks": some
 * function words, then content words until the next function word or mark; a sentence is what Unicode says it is.
 *
 * Liberman and Church, "Text analysis and word pronunciation in text-to-speech synthesis", 1992 (phrases).
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * const text = "The old cat sat on a mat. It slept.";
 * const cut = (level: UnitLevel) => unitsOf(text, level).map(([start, end]) => text.slice(start, end));
 * assert.deepEqual(cut("phrase"), ["The old cat sat", " on a mat.", " It slept."]);
 * assert.deepEqual(cut("sentence"), ["The old cat sat on a mat.", " It slept."]);
 * ```
 */
export function unitsOf(text: string, level: UnitLevel): Span[] {
  if (level === "sentence") {
    const starts = [...sentences.segment(text)].map(({ index }) => index);
    // white space goes with what follows
    const cuts = starts.slice(1).map((index) => text.slice(0, index).trimEnd().length).filter((index) => index > 0);
    return between(text, cuts);
  }
  const words = [...text.matchAll(/\S+/g)];
  const ends = words.map((word) => word.index + word[0].length);
  if (level === "word") return between(text, ends.slice(0, -1));
  const cuts: number[] = [];
  let content = false; // whether the phrase has a content word already
  words.forEach((word, i) => {
    const opens = OPENING.has(word[0].toLowerCase().replace(/[^a-z']/g, ""));
    const afterMark = i > 0 && /[.,;:!?)"”]$/.test(words[i - 1][0]);
    if (i > 0 && (afterMark || (opens && content))) {
      cuts.push(ends[i - 1]);
      content = false;
    }
    content ||= !opens;
  });
  return between(text, cuts);
}

function between(text: string, cuts: readonly number[]): Span[] {
  const places = [0, ...cuts, text.length];
  return places.slice(1).map((end, i): Span => [places[i], end]).filter(([start, end]) => end > start);
}

/**
 * The unit in which each token begins: the last whose first character is not after it.
 *
 * @param starts First character of each token, ascending.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * assert.deepEqual([...unitOfTokens([0, 2, 5], [[0, 4], [4, 9]])], [0, 0, 1]);
 * ```
 */
export function unitOfTokens(starts: ArrayLike<number>, units: readonly Span[]): Int32Array {
  const unit = new Int32Array(starts.length);
  let u = 0;
  for (let t = 0; t < starts.length; t++) {
    while (u + 1 < units.length && units[u + 1][0] <= starts[t]) u++;
    unit[t] = u;
  }
  return unit;
}
