/**
 * LongLLMLingua: a question decides which documents stay and which of their tokens; the best documents stand where a model
 * looks most, first and last.
 *
 * Jiang et al., "LongLLMLingua: Accelerating and Enhancing LLMs in Long Context Scenarios via Prompt Compression", ACL 2024,
 * arXiv:2310.06839, section 4. Checked against the authors' code (tests/golden, `longllmlingua.rank_and_budget`,
 * `llmlingua.segment_step` with losses without the question). Differs from it as `llmlingua.ts` does, and in the rates of the
 * documents, which are scaled so that the whole budget is spent.
 *
 * @module
 */
import { ReductionError } from "../nn/reduction_errors.ts";
import { tick } from "../stop.ts";
import { compressIteratively, segmentOf, type SegmentRate, sightNote } from "./llmlingua.ts";
import {
  type CompressedText,
  compressedText,
  type LanguageScorer,
  logProbabilitiesOf,
  protectedTokens,
  scoreTokens,
  Stages,
  type TextOptions,
  tokensOf,
  tokensToKeep,
} from "./text.ts";

/** What stands between two documents. */
const BETWEEN = "\n\n";

/** Options of LongLLMLingua. */
export type LongLLMLinguaOptions = TextOptions & {
  /** What the documents are to answer. Without one they are ranked by their own perplexity, and tokens by their surprise. */
  readonly question?: string;
  /** Put behind the question where documents are ranked. Default: a sentence that says that they hold the answer. */
  readonly assertion?: string;
  /** Tokens of a segment. Default: as LLMLingua's. */
  readonly segment?: number;
  /** Tokens beyond the budget up to which documents are taken before tokens are dropped. Default: 100. */
  readonly documentBudget?: number;
  /** How much more of the best document stays than of the worst, halved: rates run from + to - this. Default: 0.3. */
  readonly dynamicRatio?: number;
  /** "twoStage": best first, second best last, and so on inwards. Default: "twoStage" with a question, else "original". */
  readonly order?: "original" | "ranked" | "twoStage";
};

/** A compressed set of documents. */
export interface CompressedDocuments extends CompressedText {
  /** Documents from the most relevant to the least. */
  readonly ranking: readonly number[];
  /** Documents that are in `compressed`, in its order. */
  readonly documents: readonly number[];
}

/**
 * Compresses documents for a question. Costs a run of the model per document for the ranking, then as LLMLingua, twice with
 * a question.
 *
 * @param documents Any texts; `text` of the answer is all of them with an empty line between two.
 * @throws {ReductionError} Where there is no document, a document or the question is empty, or the scorer is broken.
 *
 * @example The document that speaks of the question comes first
 * ```ts
 * import assert from "node:assert/strict";
 * import { unitsOf } from "tessera/reduction/text_units.ts";
 * const scorer = { // a word is likely where it has been read before
 *   name: "seen before", context: 64,
 *   tokenize: (text: string) => {
 *     const words = unitsOf(text, "word");
 *     return { ids: Int32Array.from(words, ([from, to]) => text.slice(from, to).trim().length), starts: Int32Array.from(words, ([from]) => from), ends: Int32Array.from(words, ([, to]) => to) };
 *   },
 *   logProbabilities: (all: readonly Int32Array[]) => all.map((ids) => Float32Array.from(ids, (id, i) => ids.indexOf(id) < i ? -1 : -5)),
 * };
 * const { ranking } = await longllmlingua(scorer, ["a bb ccc", "dddd eeeee ffffff"], { question: "eeeee ffffff", assertion: "", keepRate: 0.5 });
 * assert.deepEqual(ranking, [1, 0]);
 * ```
 */
export async function longllmlingua(
  scorer: LanguageScorer,
  documents: readonly string[],
  options: LongLLMLinguaOptions,
): Promise<CompressedDocuments> {
  const { question, assertion = " These documents hold the answer to this question.", documentBudget = 100 } = options;
  if (!documents.length) throw new ReductionError("there are no documents; pass an array of at least one text");
  if (question !== undefined && !/\S/.test(question)) {
    throw new ReductionError("the question is empty; pass one with words, or none");
  }
  const segment = segmentOf(scorer, options.segment);
  const order = options.order ?? (question === undefined ? "original" : "twoStage");
  const stages = new Stages();
  const text = documents.join(BETWEEN);
  const parts = await stages.time("tokens", () => documents.map((document) => tokensOf(scorer, document)));
  const starts: number[] = [];
  for (const d of parts.keys()) starts.push(d ? starts[d - 1] + parts[d - 1].ids.length : 0);
  const all = parts.reduce((sum, { ids }) => sum + ids.length, 0);
  const keep = tokensToKeep(options, all);
  let at = 0;
  const offsets = documents.map((document) => {
    const here = at;
    at += document.length + BETWEEN.length;
    return here;
  });
  const tokens = {
    ids: Int32Array.from(parts.flatMap(({ ids }) => [...ids])),
    starts: Int32Array.from(parts.flatMap((part, d) => Array.from(part.starts, (place) => place + offsets[d]))),
    ends: Int32Array.from(parts.flatMap((part, d) => Array.from(part.ends, (place) => place + offsets[d]))),
  };

  const asked = question === undefined ? undefined : await stages.time(
    "tokens",
    () => ({ ids: tokensOf(scorer, question).ids, ranked: tokensOf(scorer, question + assertion).ids }),
  );
  if (asked && asked.ranked.length >= scorer.context) {
    throw new ReductionError(
      `the question has ${asked.ranked.length} tokens, and ${scorer.name} looks at ${scorer.context}; ask a shorter one`,
    );
  }
  const losses = await stages.time("model", () => documentLosses(scorer, parts.map(({ ids }) => ids), asked?.ranked));
  const ranking = rankDocuments(losses, question === undefined ? "descending" : "ascending");
  const chosen = chooseDocuments(ranking, parts.map(({ ids }) => ids.length), {
    budget: keep + documentBudget,
    order,
    dynamicRatio: options.dynamicRatio ?? (question === undefined ? 0 : 0.3),
  });

  const lengths = chosen.documents.map((d) => parts[d].ids.length);
  const rates = scaledRates(lengths, chosen.dynamicRatio, keep);
  const places = chosen.documents.flatMap((d, k) => Array.from({ length: lengths[k] }, (_, i) => starts[d] + i));
  const mustStay = protectedTokens(text, tokens, options.protect);
  const decision = await compressIteratively(scorer, Int32Array.from(places, (place) => tokens.ids[place]), {
    rates,
    segment,
    mustStay: Uint8Array.from(places, (place) => mustStay[place]),
    stages,
    ...(asked ? { prefix: asked.ids, contrast: true } : {}),
  });
  const kept = mustStay.slice(), score = new Float32Array(all).fill(NaN); // not judged: in documents that went
  places.forEach((place, i) => {
    kept[place] = decision.kept[i];
    score[place] = decision.score[i];
  });
  const dropped = documents.length - chosen.documents.length;
  const answer = compressedText({
    method: "LongLLMLingua",
    text,
    tokens,
    kept,
    score,
    requestedRate: keep / all,
    notes: [
      ...(dropped ? [`${dropped} of ${documents.length} documents went as a whole`] : []),
      ...sightNote(scorer, places.length + (asked?.ids.length ?? 0)),
    ],
    stages,
    order: chosen.documents.map((d) => [starts[d], starts[d] + parts[d].ids.length] as const),
  });
  return { ...answer, compressed: betweenDocuments(answer, offsets), ranking, documents: chosen.documents };
}

/** The spans again as a text, with an empty line where one document ends and another begins. */
function betweenDocuments({ spans, text }: CompressedText, offsets: readonly number[]): string {
  const documentOf = (place: number) => offsets.findLastIndex((offset) => offset <= place);
  let last = -1;
  return spans.map(([start, end]) => {
    const document = documentOf(start);
    const between = last >= 0 && document !== last ? BETWEEN : "";
    last = document;
    return between + text.slice(start, end);
  }).join("");
}

/** Documents that are read together. */
const TOGETHER = 4;

/**
 * For each document the mean loss of the question read behind it, or of the document itself where there is no question. A
 * document that does not fit into the context beside the question is read in pieces, of which the best counts.
 *
 * @param question Tokens of the question and of what is said behind it.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * const scorer = { name: "n", context: 4, logProbabilities: (all: readonly Int32Array[]) => all.map((ids) => new Float32Array(ids.length).fill(-ids[0])) };
 * assert.deepEqual(await documentLosses(scorer, [Int32Array.of(3, 1), Int32Array.of(2, 1)], Int32Array.of(7)), [3, 2]);
 * ```
 */
export async function documentLosses(
  scorer: Pick<LanguageScorer, "name" | "context" | "logProbabilities">,
  documents: readonly Int32Array[],
  question?: Int32Array,
): Promise<number[]> {
  const mean = (values: Float32Array) => -values.reduce((sum, value) => sum + value, 0) / values.length;
  if (!question) {
    const own: number[] = [];
    for (const ids of documents) own.push(mean((await scoreTokens(scorer, ids)).values));
    return own;
  }
  const room = scorer.context - question.length;
  const pieces = documents.flatMap((ids, document) => {
    const begins = Array.from({ length: Math.ceil(ids.length / room) }, (_, k) => k * room);
    return begins.map((begin) => {
      const piece = ids.subarray(Math.max(0, Math.min(begin, ids.length - room)), begin + room);
      return { document, ids: Int32Array.of(...piece, ...question) };
    });
  }).sort((a, b) => a.ids.length - b.ids.length); // so that those run together are of like length
  const losses = documents.map(() => Infinity);
  for (let first = 0; first < pieces.length; first += TOGETHER) {
    await tick();
    const now = pieces.slice(first, first + TOGETHER);
    const given = await logProbabilitiesOf(scorer, now.map(({ ids }) => ids));
    for (const [k, { document }] of now.entries()) {
      losses[document] = Math.min(losses[document], mean(given[k].subarray(given[k].length - question.length)));
    }
  }
  return losses;
}

/**
 * Documents from the most relevant to the least: by ascending loss of the question, or by descending loss of their own where
 * there is none (what surprises most). Equal losses: the lower number first.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * assert.deepEqual(rankDocuments([3, 1, 2], "ascending"), [1, 2, 0]);
 * ```
 */
export function rankDocuments(losses: readonly number[], direction: "ascending" | "descending"): number[] {
  const sign = direction === "ascending" ? 1 : -1;
  return Array.from(losses.keys()).sort((a, b) => sign * (losses[a] - losses[b]) || a - b);
}

/** How documents are chosen. */
export interface ChooseDocumentsOptions {
  /** Tokens; the document that crosses it is still taken. */
  readonly budget: number;
  readonly order: "original" | "ranked" | "twoStage";
  /** Rates run from + to - this, from the best of those taken to the worst. */
  readonly dynamicRatio: number;
  /** Documents that are taken first, whatever their rank. */
  readonly forced?: readonly number[];
}

/**
 * Takes documents in the order of their rank until the budget is spent, and says how much more or less of each may stay.
 *
 * @param lengths Tokens of each document.
 * @returns `documents` in their new order, and `dynamicRatio` of each of these.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * const { documents, dynamicRatio } = chooseDocuments([2, 0, 1], [5, 5, 5], { budget: 12, order: "twoStage", dynamicRatio: 0.5 });
 * assert.deepEqual([documents, dynamicRatio], [[2, 1, 0], [0.5, -0.5, 0]]);
 * ```
 */
export function chooseDocuments(
  ranking: readonly number[],
  lengths: readonly number[],
  { budget, order, dynamicRatio, forced = [] }: ChooseDocumentsOptions,
): { documents: number[]; dynamicRatio: number[] } {
  const taken = [...forced];
  let left = budget;
  for (const document of ranking) {
    left -= lengths[document];
    if (!taken.includes(document)) taken.push(document);
    if (left < 0) break;
  }
  const last = taken.length - 1;
  const ratio = new Map(taken.map((document, rank) => [document, last ? dynamicRatio * (last - 2 * rank) / last : 0]));
  const documents = order === "original"
    ? [...taken].sort((a, b) => a - b)
    : order === "ranked"
    ? taken
    : [...taken.filter((_, rank) => rank % 2 === 0), ...taken.filter((_, rank) => rank % 2 === 1).reverse()];
  return { documents, dynamicRatio: documents.map((document) => ratio.get(document)!) };
}

/**
 * A rate for each document, base + its dynamic ratio within 0 and 1, where the base is such that `keep` tokens stay in all.
 *
 * @returns For `compressIteratively`: up to which token which rate.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * assert.deepEqual(scaledRates([10, 10], [0.25, -0.25], 10), [{ end: 10, rate: 0.75 }, { end: 20, rate: 0.25 }]);
 * ```
 */
export function scaledRates(lengths: readonly number[], dynamicRatio: readonly number[], keep: number): SegmentRate[] {
  const ratesFor = (base: number) => dynamicRatio.map((more) => Math.max(0, Math.min(1, base + more)));
  const staying = (base: number) => ratesFor(base).reduce((sum, rate, d) => sum + rate * lengths[d], 0);
  let low = -1, high = 2;
  for (let i = 0; i < 60; i++) {
    const middle = (low + high) / 2;
    if (staying(middle) < keep) low = middle;
    else high = middle;
  }
  let end = 0;
  return ratesFor(high).map((rate, d) => ({ end: end += lengths[d], rate: Math.round(rate * 1e9) / 1e9 }));
}

/**
 * Subsequence recovery (the paper's section 4.4): words of an answer that were read in the compressed text become what stands
 * there in the original, with what was dropped in between.
 *
 * @param answer What a model said after reading `compressed`.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { compressedText, Stages } from "tessera/reduction/text.ts";
 * const tokens = { ids: new Int32Array(3), starts: Int32Array.of(0, 3, 8), ends: Int32Array.of(3, 8, 14) };
 * const read = compressedText({ method: "by hand", text: "Dr. Anna Ramirez", tokens: { ...tokens, ends: Int32Array.of(3, 8, 16) }, kept: Uint8Array.of(1, 0, 1), score: new Float32Array(3), requestedRate: 1, stages: new Stages() });
 * assert.equal(recoverAnswer("It was Dr. Ramirez", read), "It was Dr. Anna Ramirez");
 * ```
 */
export function recoverAnswer(answer: string, { text, spans }: Pick<CompressedText, "text" | "spans">): string {
  const compressed = spans.map(([start, end]) => text.slice(start, end)).join("");
  const words = answer.split(" ");
  const recovered: string[] = [];
  for (let from = 0; from < words.length;) {
    let to = from;
    while (to < words.length && compressed.includes(words.slice(from, to + 1).join(" "))) to++;
    const phrase = words.slice(from, to).join(" ");
    recovered.push(to > from + 1 || (to > from && phrase.length > 0) ? original(phrase) : words[from]);
    from = Math.max(to, from + 1);
  }
  return recovered.join(" ");

  /** The stretch of the original between the first and the last character of a stretch of the compressed text. */
  function original(phrase: string): string {
    const start = compressed.indexOf(phrase), end = start + phrase.length;
    let before = 0, first = -1, last = -1;
    for (const [a, b] of spans) {
      const length = b - a;
      if (first < 0 && start < before + length) first = a + start - before;
      if (end <= before + length) {
        last = a + end - before;
        break;
      }
      before += length;
    }
    return first < 0 || last < first ? phrase : text.slice(first, last);
  }
}
