/**
 * What the compression of a text is: any text goes in, kept stretches with their character offsets come out. Methods
 * (`selective_context.ts`, `llmlingua.ts`, ...) decide which tokens stay; scoring a text that is longer than the model's
 * context, budgets, protected words, offsets and the time of each stage are written here, once for all of them.
 *
 * Offsets are those of JavaScript strings (UTF-16 units), so that `text.slice(start, end)` is the stretch.
 *
 * @module
 */
import { BudgetConflict, BudgetOutOfRange, ReductionError } from "../nn/reduction_errors.ts";
import type { TextLook } from "../plot/text_microscope.ts";
import { tick } from "../stop.ts";

/** A text in tokens: ids, and where each token stands in the text. */
export interface TextTokens {
  readonly ids: Int32Array;
  /** First character of each token. */
  readonly starts: Int32Array;
  /** Character after each token. */
  readonly ends: Int32Array;
}

/** What a causal language model must be able to do for a text to be compressed with it. */
export interface LanguageScorer {
  readonly name: string;
  /** Tokens that it can score at once. */
  readonly context: number;
  /** A text in tokens, in order, without special ones. */
  tokenize(text: string): TextTokens;
  /**
   * For each sequence of at most `context` tokens: ln p(token i | tokens before it), one number per token. The first one
   * is conditioned on the beginning of a text.
   */
  logProbabilities(sequences: readonly Int32Array[]): Float32Array[] | Promise<Float32Array[]>;
}

/** How much of a text may stay, in tokens: exactly one of the two. */
export type TextBudget = { readonly keepRate: number } | { readonly keep: number };

/** What every compressor of texts can be told. */
export type TextOptions = TextBudget & {
  /** Strings, or a pattern, of which every token stays, whatever its score. */
  readonly protect?: readonly string[] | RegExp;
};

/** A text after its reduction. */
export interface CompressedText {
  readonly method: string;
  /** What went in. */
  readonly text: string;
  /** What came out: the stretches one after another. */
  readonly compressed: string;
  readonly tokens: TextTokens;
  /** For each token, 1 where it stays. */
  readonly kept: Uint8Array;
  /** For each token, by what it was judged: higher = stays. */
  readonly score: Float32Array;
  /** Kept stretches of `text` as [start, end), in the order of `compressed`. */
  readonly spans: readonly (readonly [start: number, end: number])[];
  /** Share of tokens that may stay. */
  readonly requestedRate: number;
  /** Share of tokens that stay. */
  readonly achievedRate: number;
  /** What a reader should know of this run: windows, why the two rates differ. */
  readonly notes: readonly string[];
  /** Seconds by stage. */
  readonly seconds: Readonly<Record<string, number>>;
}

/** Times the stages of a run; a stage that occurs several times is added up. */
export class Stages {
  readonly seconds: Record<string, number> = {};

  /** Runs a stage and adds its time. */
  async time<T>(stage: string, work: () => T | Promise<T>): Promise<T> {
    const start = performance.now();
    try {
      return await work();
    } finally {
      this.seconds[stage] = (this.seconds[stage] ?? 0) + (performance.now() - start) / 1000;
    }
  }
}

/**
 * Tokens that may stay, of `tokens`; at least one.
 *
 * @throws {BudgetConflict} Both ways of saying it at once, or none.
 * @throws {BudgetOutOfRange} A rate outside (0, 1], or a number of tokens that is not from 1 to all.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * assert.deepEqual([tokensToKeep({ keepRate: 0.7 }, 10), tokensToKeep({ keep: 3 }, 10)], [7, 3]);
 * ```
 */
export function tokensToKeep(budget: TextBudget, tokens: number): number {
  const { keepRate, keep } = budget as { keepRate?: number; keep?: number };
  if ((keepRate === undefined) === (keep === undefined)) {
    throw new BudgetConflict(
      `a text's budget is either keepRate or keep, but ${keep === undefined ? "neither" : "both"} is given; pass one`,
    );
  }
  if (keepRate !== undefined) {
    if (!(keepRate > 0 && keepRate <= 1)) {
      throw new BudgetOutOfRange(`keepRate must lie in (0, 1], but it is ${keepRate}; to remove nothing, pass 1`);
    }
    return Math.max(1, Math.floor(tokens * keepRate + 1e-9));
  }
  if (!Number.isInteger(keep) || keep! < 1 || keep! > tokens) {
    throw new BudgetOutOfRange(
      `keep must be a whole number of tokens from 1 to the ${tokens} of the text, but it is ${keep}; pass one of these`,
    );
  }
  return keep!;
}

/**
 * A text in tokens, checked: it is not empty, and the offsets are in order.
 *
 * @throws {ReductionError} Where there is nothing to compress, or the tokenizer's answer is none.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * const words = { tokenize: (text: string) => ({ ids: Int32Array.of(7), starts: Int32Array.of(0), ends: Int32Array.of(text.length) }) };
 * assert.equal(tokensOf(words, "word").ids[0], 7);
 * assert.throws(() => tokensOf(words, ""), /the text is empty/);
 * ```
 */
export function tokensOf(scorer: Pick<LanguageScorer, "tokenize">, text: string): TextTokens {
  if (!/\S/.test(text)) throw new ReductionError("the text is empty, so that nothing can be kept; pass one with words");
  const tokens = scorer.tokenize(text);
  const { ids, starts, ends } = tokens;
  if (!ids.length || starts.length !== ids.length || ends.length !== ids.length) {
    throw new ReductionError(
      `a tokenizer must give an id, a start and an end for each token, but it gave ${ids.length}, ${starts.length} and ` +
        `${ends.length}; mend it`,
    );
  }
  return tokens;
}

/** Options of {@link scoreTokens}. */
export interface ScoreTokensOptions {
  /** Tokens of the window before that a window begins with, so that its first ones know what they follow. Default: a quarter of the context. */
  readonly overlap?: number;
  /** Windows that the model gets at once. Default: 4. */
  readonly batch?: number;
}

/**
 * The log-probability of every token, given those before it; in windows that overlap where there are more tokens than the
 * model can look at. A token is scored in the window that shows it most of what stands before.
 *
 * Costs n / (context - overlap) windows.
 *
 * @returns `values` [n]; `windows`: how many there were.
 * @throws {ReductionError} Where the scorer gives another number of values than there are tokens, or one that is no number.
 *
 * @example A model for which every token is as likely as its window is long
 * ```ts
 * import assert from "node:assert/strict";
 * const scorer = { name: "count", context: 4, logProbabilities: (all: readonly Int32Array[]) => all.map((ids) => new Float32Array(ids.length).fill(-ids.length)) };
 * const { values, windows } = await scoreTokens(scorer, new Int32Array(6), { overlap: 2 });
 * assert.deepEqual([windows, [...values]], [2, [-4, -4, -4, -4, -4, -4]]);
 * ```
 */
export async function scoreTokens(
  scorer: Pick<LanguageScorer, "name" | "context" | "logProbabilities">,
  ids: Int32Array,
  { overlap = Math.floor(scorer.context / 4), batch = 4 }: ScoreTokensOptions = {},
): Promise<{ values: Float32Array; windows: number }> {
  const { context } = scorer;
  if (!Number.isInteger(overlap) || overlap < 0 || overlap >= context) {
    throw new RangeError(
      `overlap must be a whole number from 0 to below the context of ${context}, but it is ${overlap}`,
    );
  }
  const values = new Float32Array(ids.length);
  const starts = [0];
  while (starts.at(-1)! + context < ids.length) {
    starts.push(Math.min(starts.at(-1)! + context - overlap, ids.length - context)); // all windows are of one length
  }
  let done = 0;
  for (let first = 0; first < starts.length; first += batch) {
    await tick();
    const begins = starts.slice(first, first + batch);
    const given = await logProbabilitiesOf(scorer, begins.map((begin) => ids.subarray(begin, begin + context)));
    for (const [k, begin] of begins.entries()) {
      values.set(given[k].subarray(done - begin), done);
      done = begin + given[k].length;
    }
  }
  return { values, windows: starts.length };
}

/**
 * What the scorer says of some sequences, checked.
 *
 * @throws {ReductionError} Where it gives another number of values than there are tokens, or one that is no number.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * const short = { name: "short", logProbabilities: () => [new Float32Array(1)] };
 * await assert.rejects(logProbabilitiesOf(short, [new Int32Array(2)]), /short gave 1 values for 2 tokens/);
 * ```
 */
export async function logProbabilitiesOf(
  scorer: Pick<LanguageScorer, "name" | "logProbabilities">,
  sequences: readonly Int32Array[],
): Promise<Float32Array[]> {
  const given = await scorer.logProbabilities(sequences);
  for (const [k, { length }] of sequences.entries()) {
    const values = given[k];
    if (values?.length !== length) {
      throw new ReductionError(
        `the scorer ${scorer.name} gave ${values?.length ?? "no"} values for ${length} tokens; it must give one each`,
      );
    }
    const broken = values.findIndex((value) => !(value <= 1e-4));
    if (broken >= 0) {
      throw new ReductionError(
        `the scorer ${scorer.name} gave ${values[broken]} for token ${broken}, but a log-probability is at most 0; ` +
          "look at the model",
      );
    }
  }
  return given;
}

/**
 * Which tokens must stay: those that share a character with a protected string.
 *
 * @returns For each token, 1 where it must stay.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * const tokens = { ids: new Int32Array(3), starts: Int32Array.of(0, 2, 4), ends: Int32Array.of(2, 4, 6) };
 * assert.deepEqual([...protectedTokens("ab12cd", tokens, /\d+/)], [0, 1, 0]);
 * ```
 */
export function protectedTokens(
  text: string,
  { starts, ends }: TextTokens,
  protect?: TextOptions["protect"],
): Uint8Array {
  const stays = new Uint8Array(starts.length);
  if (protect === undefined) return stays;
  const pattern = protect instanceof RegExp
    ? new RegExp(protect.source, protect.flags.includes("g") ? protect.flags : protect.flags + "g")
    : new RegExp(
      protect.filter(Boolean).map((word) => word.replace(/[.*+?^${}()|[\]\\]/g, "\\$&")).join("|") || "$^",
      "g",
    );
  let token = 0;
  for (const match of text.matchAll(pattern)) {
    if (!match[0]) continue;
    const end = match.index + match[0].length;
    while (token < starts.length && ends[token] <= match.index) token++;
    for (let t = token; t < starts.length && starts[t] < end; t++) stays[t] = 1;
  }
  return stays;
}

/**
 * The `count` highest scores, equal ones the lower place first; those that must stay come before all others, and count.
 *
 * @returns For each token, 1 where it stays. More than `count` stay only where more must.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * assert.deepEqual([...keepHighest([0.5, 2, 2, 1], 2)], [0, 1, 1, 0]);
 * assert.deepEqual([...keepHighest([0.5, 2, 2, 1], 2, [1, 0, 0, 0])], [1, 1, 0, 0]);
 * ```
 */
export function keepHighest(score: ArrayLike<number>, count: number, mustStay?: ArrayLike<number>): Uint8Array {
  const kept = Uint8Array.from({ length: score.length }, (_, i) => mustStay?.[i] ? 1 : 0);
  let left = count;
  for (const one of kept) left -= one;
  if (left <= 0) return kept;
  const open = Float64Array.from(score).map((value, i) => kept[i] ? -Infinity : value);
  const sorted = open.slice().sort(); // ascending
  const threshold = sorted[Math.max(0, sorted.length - left)];
  let above = 0;
  for (const value of open) if (value > threshold) above++;
  let ties = left - above;
  for (let i = 0; i < open.length; i++) {
    if (kept[i]) continue;
    if (open[i] > threshold) kept[i] = 1;
    else if (open[i] === threshold && ties-- > 0) kept[i] = 1;
  }
  return kept;
}

/** What a method has found, from which {@link compressedText} makes its answer. */
export interface TextDecision {
  readonly method: string;
  readonly text: string;
  readonly tokens: TextTokens;
  readonly kept: Uint8Array;
  readonly score: Float32Array;
  readonly requestedRate: number;
  readonly notes?: readonly string[];
  readonly stages: Stages;
  /** Stretches of tokens as [first, after last), in the order in which they are to be read. Default: the text's. */
  readonly order?: readonly (readonly [first: number, end: number])[];
}

/**
 * The answer of a compressor: stretches of the text, the text that they make, rates, time.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * const tokens = { ids: new Int32Array(3), starts: Int32Array.of(0, 2, 4), ends: Int32Array.of(2, 4, 6) };
 * const answer = compressedText({ method: "by hand", text: "ab12cd", tokens, kept: Uint8Array.of(1, 0, 1), score: new Float32Array(3), requestedRate: 1, stages: new Stages() });
 * assert.deepEqual([answer.compressed, answer.spans], ["abcd", [[0, 2], [4, 6]]]);
 * assert.match(answer.notes[0], /^1 of 3 tokens went, though none was to go/);
 * ```
 */
export function compressedText(decision: TextDecision): CompressedText {
  const { method, text, tokens, kept, score, requestedRate, stages } = decision;
  const { starts, ends } = tokens;
  const all = starts.length;
  const start = performance.now();
  const spans: [number, number][] = [];
  for (const [first, end] of decision.order ?? [[0, all]]) {
    let open: [number, number] | undefined;
    for (let t = first; t < end; t++) {
      if (!kept[t]) continue;
      if (open && starts[t] <= open[1]) open[1] = Math.max(open[1], ends[t]);
      else spans.push(open = [starts[t], ends[t]]);
    }
  }
  const compressed = spans.map(([from, to]) => text.slice(from, to)).join("");
  stages.seconds.text = (stages.seconds.text ?? 0) + (performance.now() - start) / 1000;
  const staying = kept.reduce((sum, one) => sum + one, 0);
  const wanted = Math.max(1, Math.floor(requestedRate * all + 1e-9));
  const notes = [...decision.notes ?? []];
  if (staying !== wanted) {
    notes.push(
      `${all - staying} of ${all} tokens went, though ${all - wanted || "none"} ${
        all - wanted === 1 ? "was" : wanted === all ? "was" : "were"
      } to go`,
    );
  }
  return {
    method,
    text,
    compressed,
    tokens,
    kept,
    score,
    spans,
    requestedRate,
    achievedRate: staying / all,
    notes,
    seconds: stages.seconds,
  };
}

/**
 * Several reductions of one text, one above the other: what `textFigure` of `lib/plot` shows with a slider.
 *
 * @param label Of each; default: the method and its rate.
 * @throws {RangeError} Where they are not of the same text in the same tokens.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * const tokens = { ids: new Int32Array(1), starts: Int32Array.of(0), ends: Int32Array.of(2) };
 * const one = compressedText({ method: "by hand", text: "ab", tokens, kept: Uint8Array.of(1), score: new Float32Array(1), requestedRate: 1, stages: new Stages() });
 * assert.deepEqual(lookAtText([one]).layers.map(({ label }) => label), ["by hand, 100 %"]);
 * ```
 */
export function lookAtText(
  results: readonly CompressedText[],
  label = (result: CompressedText) => `${result.method}, ${Math.round(100 * result.achievedRate)} %`,
): TextLook {
  const [first] = results;
  if (!first) throw new RangeError("there is nothing to look at: pass at least one compressed text");
  const { text, tokens: { starts, ends } } = first;
  if (results.some((other) => other.text !== text || other.tokens.starts.length !== starts.length)) {
    throw new RangeError("the reductions are not of one text in the same tokens; look at each by itself");
  }
  return {
    text,
    starts,
    ends,
    layers: results.map((result) => ({ label: label(result), kept: result.kept, score: result.score })),
  };
}

/**
 * One text through the layers of a model: what stays after each, and by which score (SpAtten's `cascade`, say).
 *
 * @param layers `score` and `kept` of each layer, one number per token.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * const tokens = { ids: new Int32Array(1), starts: Int32Array.of(0), ends: Int32Array.of(2) };
 * const look = lookAtLayers("ab", tokens, { score: [[0.5], [0.25]], kept: [[1], [0]] });
 * assert.deepEqual(look.layers.map(({ label, kept }) => [label, kept[0]]), [["1", 1], ["2", 0]]);
 * ```
 */
export function lookAtLayers(
  text: string,
  { starts, ends }: TextTokens,
  { score, kept }: { readonly score: readonly ArrayLike<number>[]; readonly kept: readonly ArrayLike<number>[] },
): TextLook {
  return {
    text,
    starts,
    ends,
    layers: kept.map((stays, layer) => ({ label: `${layer + 1}`, kept: stays, score: score[layer] })),
  };
}

/**
 * How many windows there were, as a note; none for one window.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * assert.deepEqual(windowNote("small", 4, 10, 1), []);
 * assert.match(windowNote("small", 4, 10, 3)[0], /^the text has 10 tokens and small looks at 4: scored in 3 windows/);
 * ```
 */
export function windowNote(name: string, context: number, tokens: number, windows: number): string[] {
  if (windows <= 1) return [];
  return [`the text has ${tokens} tokens and ${name} looks at ${context}: scored in ${windows} windows that overlap`];
}
