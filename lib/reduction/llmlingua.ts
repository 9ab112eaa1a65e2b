/**
 * LLMLingua: go through a prompt in segments and keep of each the tokens that surprise a small language model most, given
 * what has been kept so far.
 *
 * Jiang et al., "LLMLingua: Compressing Prompts for Accelerated Inference of Large Language Models", EMNLP 2023,
 * arXiv:2310.05736, section 4.2; the budget controller of section 4.1, which leaves out whole demonstrations first, is
 * `longllmlingua.ts` without a question. Checked against the authors' code (tests/golden, `llmlingua.segment_step`,
 * `llmlingua.iterative`, `llmlingua.dynamic_ratio`). Differs from it in judging a token by its own surprise, where the code
 * decides by that of the next one, and in keeping as many tokens as asked, the last segment included, where the code keeps
 * one fewer per segment and leaves the rest of the text as it is (`parity: true`).
 *
 * @module
 */
import { tick } from "../stop.ts";
import { BudgetOutOfRange } from "../nn/reduction_errors.ts";
import {
  type CompressedText,
  compressedText,
  keepHighest,
  type LanguageScorer,
  logProbabilitiesOf,
  protectedTokens,
  scoreTokens,
  Stages,
  type TextOptions,
  tokensOf,
  tokensToKeep,
} from "./text.ts";

/** Options of LLMLingua. */
export type LLMLinguaOptions = TextOptions & {
  /** Tokens of a segment; `iterative_size` in the code. Default: 200, or half of the model's context where that is less. */
  readonly segment?: number;
  /** The authors' shifted mask, strict threshold and uncompressed rest. Default: false. */
  readonly parity?: boolean;
};

/**
 * Compresses a text. Costs n / segment runs of the model, each over what was kept and the segment, up to its context: they
 * follow from one another, so they cannot be joined.
 *
 * @throws {ReductionError} For an empty text, or a scorer that does not give one value per token.
 * @throws {BudgetOutOfRange} For a rate outside (0, 1], or a segment that does not fit into the context.
 *
 * @example
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
 * const { compressed } = await llmlingua(scorer, "it is a wonderful day in an unusual year", { keep: 3, segment: 3 });
 * assert.equal(compressed, "it wonderful unusual");
 * ```
 */
export async function llmlingua(
  scorer: LanguageScorer,
  text: string,
  options: LLMLinguaOptions,
): Promise<CompressedText> {
  const { parity = false } = options;
  const segment = segmentOf(scorer, options.segment);
  const stages = new Stages();
  const tokens = await stages.time("tokens", () => tokensOf(scorer, text));
  const all = tokens.ids.length, keep = tokensToKeep(options, all);
  const mustStay = protectedTokens(text, tokens, options.protect);
  const decide = parity ? compressAsAuthors : compressIteratively;
  const decision = keep === all
    ? {
      kept: new Uint8Array(all).fill(1),
      score: (await stages.time("model", () => scoreTokens(scorer, tokens.ids))).values.map((v) => -v),
    }
    : await decide(scorer, tokens.ids, { rates: [{ end: all, rate: keep / all }], segment, mustStay, stages });
  return compressedText({
    method: "LLMLingua",
    text,
    tokens,
    requestedRate: keep / all,
    notes: sightNote(scorer, all),
    stages,
    ...decision,
  });
}

/**
 * That a text is longer than what the model can look at, as a note; none where it is not.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * assert.deepEqual(sightNote({ name: "small", context: 9 }, 8), []);
 * assert.match(sightNote({ name: "small", context: 9 }, 12)[0], /^the text has 12 tokens and small looks at 9: the beginning/);
 * ```
 */
export function sightNote({ name, context }: Pick<LanguageScorer, "name" | "context">, tokens: number): string[] {
  if (tokens <= context) return [];
  return [
    `the text has ${tokens} tokens and ${name} looks at ${context}: the beginning of what was kept was left out of its sight`,
  ];
}

/**
 * The tokens of a segment: what was asked, or what fits.
 *
 * @throws {BudgetOutOfRange} Where it is no whole number from 2 to the context.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * assert.deepEqual([segmentOf({ context: 512 }), segmentOf({ context: 64 })], [200, 32]);
 * ```
 */
export function segmentOf({ context }: Pick<LanguageScorer, "context">, segment?: number): number {
  if (segment === undefined) return Math.max(2, Math.min(200, Math.floor(context / 2)));
  if (Number.isInteger(segment) && segment >= 2 && segment <= context) return segment;
  throw new BudgetOutOfRange(
    `a segment must have a whole number of tokens from 2 to the model's context of ${context}, but it is ${segment}`,
  );
}

/** Up to which token which share stays. */
export interface SegmentRate {
  /** Token after the last one that this is said of. */
  readonly end: number;
  readonly rate: number;
}

/** What {@link compressIteratively} goes by. */
export interface IterativeOptions {
  /** In order; the last one's end is the number of tokens. */
  readonly rates: readonly SegmentRate[];
  readonly segment: number;
  readonly mustStay?: Uint8Array;
  readonly stages?: Stages;
  /** Tokens that stand before all others in the model's sight, and are not part of the text: a question. */
  readonly prefix?: Int32Array;
  /** Score of a token: its surprise without the prefix minus that with it. Default: its surprise. */
  readonly contrast?: boolean;
}

/**
 * Segment by segment: the surprise of each token given the prefix and what was kept, then the highest of them stay. The
 * first token of the text always does. What a segment rounds away the next one makes up for.
 *
 * @returns `kept` and `score`, per token.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * const scorer = { name: "ids", context: 8, logProbabilities: (all: readonly Int32Array[]) => all.map((ids) => Float32Array.from(ids, (id) => -id)) };
 * const { kept } = await compressIteratively(scorer, Int32Array.of(1, 2, 9, 3, 8, 4), { rates: [{ end: 6, rate: 0.5 }], segment: 3 });
 * assert.deepEqual([...kept], [1, 0, 0, 0, 1, 1]); // one of the first three, and the first stays; two of the others
 * ```
 */
export async function compressIteratively(
  scorer: Pick<LanguageScorer, "name" | "context" | "logProbabilities">,
  ids: Int32Array,
  { rates, segment, mustStay, stages = new Stages(), prefix = new Int32Array(), contrast = false }: IterativeOptions,
): Promise<{ kept: Uint8Array; score: Float32Array }> {
  const kept = new Uint8Array(ids.length), score = new Float32Array(ids.length);
  const before: number[] = []; // ids of what was kept
  let wanted = 0, staying = 0;
  for (const [start, end, rate] of segments(rates, segment)) {
    await tick();
    const now = ids.subarray(start, end);
    const room = Math.max(0, scorer.context - now.length);
    const asked = prefix.subarray(0, room);
    const sights = [sight(asked, before, room, now), ...(contrast ? [sight(new Int32Array(), before, room, now)] : [])];
    const given = await stages.time("model", () => logProbabilitiesOf(scorer, sights));
    await stages.time("choice", () => {
      const own = given.map((values) => values.subarray(values.length - now.length));
      for (let i = 0; i < now.length; i++) score[start + i] = contrast ? own[0][i] - own[1][i] : -own[0][i];
      const must = Uint8Array.from(now, (_, i) => mustStay?.[start + i] || start + i === 0 ? 1 : 0);
      wanted += rate * now.length;
      const stays = keepHighest(
        score.subarray(start, end),
        Math.min(now.length, Math.max(0, Math.floor(wanted - staying + 1e-6))),
        must,
      );
      kept.set(stays, start);
      for (let i = 0; i < now.length; i++) {
        if (!stays[i]) continue;
        before.push(now[i]);
        staying++;
      }
    });
  }
  return { kept, score };
}

/** Segments of at most `size` tokens, none of which reaches over a change of the rate. */
function* segments(rates: readonly SegmentRate[], size: number): Generator<[start: number, end: number, rate: number]> {
  let start = 0;
  for (const { end, rate } of rates) {
    for (; start < end; start = Math.min(end, start + size)) yield [start, Math.min(end, start + size), rate];
  }
}

/** What the model sees: the prefix, as much of what was kept as there is room for, the segment. */
function sight(prefix: Int32Array, before: readonly number[], room: number, now: Int32Array): Int32Array {
  const shown = room > prefix.length ? before.slice(-(room - prefix.length)) : [];
  const all = new Int32Array(prefix.length + shown.length + now.length);
  all.set(prefix);
  all.set(shown, prefix.length);
  all.set(now, prefix.length + shown.length);
  return all;
}

/**
 * The authors' threshold: the value at rank `int(length * ratio) - 1` of the losses in descending order.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * assert.equal(thresholdAsAuthors([4, 1, 3, 2], 0.5), 3);
 * ```
 */
export function thresholdAsAuthors(loss: ArrayLike<number>, ratio: number): number {
  if (ratio === 1) return -Infinity;
  const sorted = Float64Array.from(loss).sort().reverse();
  return sorted[Math.max(0, Math.min(sorted.length - 1, Math.trunc(sorted.length * ratio) - 1))];
}

/** Where the authors' loop stands: ids that are left, the losses that it remembers, flags, the end of what was seen. */
export interface AuthorsState {
  /** Ids that are left. */
  readonly ids: readonly number[];
  /** Entry j is the loss of the token after token j. */
  readonly loss: readonly number[];
  readonly end: number;
  /** Tokens that stay whatever their loss. */
  readonly keepFlag?: readonly number[];
  /** Losses without the question, from `start` on; the score is these minus `loss`. */
  readonly selfLoss?: readonly number[];
  /** Places in the text of `ids`; default: their order. */
  readonly places?: readonly number[];
}

/**
 * One step of the authors' loop (`get_compressed_input`): token j stays where the loss of token j + 1 is above the threshold;
 * all before `end - size` and from `end` on stay; so does the last one, and what has a flag. With flags, the second of two
 * split tokens goes.
 *
 * @param state Before the step.
 * @param threshold See {@link thresholdAsAuthors}.
 * @returns After the step.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * const { ids, end } = stepAsAuthors({ ids: [10, 11, 12, 13], loss: [1, 5, 1], end: 3 }, { threshold: 2, size: 3 });
 * assert.deepEqual([ids, end], [[11, 13], 1]);
 * ```
 */
export function stepAsAuthors(
  { ids, loss, end, keepFlag, selfLoss, places = ids.map((_, i) => i) }: AuthorsState,
  { threshold, size, start = 0, splitToken = 13 }: {
    threshold: number;
    size: number;
    start?: number;
    splitToken?: number;
  },
): Required<Pick<AuthorsState, "ids" | "loss" | "end" | "places">> & Pick<AuthorsState, "keepFlag" | "selfLoss"> {
  const stays: boolean[] = selfLoss
    ? loss.map((value, j) => j < start ? value > 0 : selfLoss[j - start] - value > threshold)
    : loss.map((value) => value > threshold);
  stays.push(loss[0] > 0); // the code fills up with the first token's loss above 0: true
  for (let j = 0; j < stays.length; j++) if (j >= end || j < end - size) stays[j] = true;
  const lossLeft = loss.filter((_, j) => stays[j]);
  while (selfLoss && stays.length < selfLoss.length + start + 1) stays.push(true);
  const selfLeft = selfLoss?.filter((_, j) => stays[start + j]);
  while (stays.length < ids.length) stays.push(true);
  stays.length = ids.length;
  if (keepFlag) {
    let last = -1;
    for (let j = 0; j < ids.length; j++) if (keepFlag[j]) stays[j] = true;
    for (let j = Math.max(0, end - size); j < Math.min(end, ids.length); j++) {
      if (!stays[j]) continue;
      if (ids[j] === splitToken && last === splitToken && !keepFlag[j]) stays[j] = false;
      else last = ids[j];
    }
  }
  const left = <T>(values: readonly T[]) => values.filter((_, j) => stays[j]);
  return {
    ids: left(ids),
    places: left(places),
    loss: lossLeft,
    end: end - stays.slice(0, end).filter((one) => !one).length,
    ...(keepFlag ? { keepFlag: left(keepFlag) } : {}),
    ...(selfLeft ? { selfLoss: selfLeft } : {}),
  };
}

/**
 * How the authors' code shares a target among segments (`get_dynamic_compression_ratio`): for each segment its parts as
 * [length, ratio]. Each document counts two more tokens, and the first segment is one shorter.
 *
 * @param lengths Tokens of each document.
 * @param dynamicRatio What is added to the ratio of each document.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * assert.deepEqual(segmentRatios([6], { target: 3, size: 4, dynamicRatio: [0] }), [[[3, 1 / 3]], [[4, 1 / 3]], [[1, 1 / 3]]]);
 * ```
 */
export function segmentRatios(
  lengths: readonly number[],
  { target, size, dynamicRatio }: { target: number; size: number; dynamicRatio: readonly number[] },
): [length: number, ratio: number][][] {
  const counted = lengths.map((length) => length + 2);
  const base = target / (counted.reduce((sum, length) => sum + length, 0) + 1);
  const result: [number, number][][] = [];
  let open: [number, number][] = [], filled = 1;
  for (const [d, length] of counted.entries()) {
    const ratio = Math.max(0, Math.min(1, base + dynamicRatio[d]));
    if (filled + length < size) {
      filled += length;
      open.push([length, ratio]);
      continue;
    }
    result.push([...open, [size - filled, ratio]]);
    filled += length - size;
    if (filled > size) {
      const whole = Math.floor(filled / size);
      for (let k = 0; k < whole; k++) result.push([[size, ratio]]);
      filled -= whole * size;
    }
    open = filled ? [[filled, ratio]] : [];
  }
  if (open.length) result.push(open);
  return result;
}

/**
 * The authors' whole loop (`iterative_compress_prompt`), without a question: `parity: true`. What is left of the last segment
 * stays as it is; thresholds are taken over all losses that are remembered, those of tokens far ahead included.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * const scorer = { name: "ids", context: 8, logProbabilities: (all: readonly Int32Array[]) => all.map((ids) => Float32Array.from(ids, (id) => -id)) };
 * const { kept } = await compressAsAuthors(scorer, Int32Array.of(1, 2, 9, 3, 8, 4), { rates: [{ end: 6, rate: 0.5 }], segment: 3 });
 * assert.deepEqual([...kept], [0, 0, 0, 0, 0, 1]); // half was asked: short texts lose most
 * ```
 */
export async function compressAsAuthors(
  scorer: Pick<LanguageScorer, "name" | "context" | "logProbabilities">,
  ids: Int32Array,
  { rates, segment: size, mustStay, stages = new Stages(), ratios }: IterativeOptions & {
    /** From {@link segmentRatios}; default: of one document with the rate of `rates`. */
    readonly ratios?: readonly (readonly [length: number, ratio: number][])[];
  },
): Promise<{ kept: Uint8Array; score: Float32Array }> {
  const plan = ratios ?? segmentRatios([ids.length], { target: rates[0].rate * ids.length, size, dynamicRatio: [0] });
  const score = new Float32Array(ids.length);
  let state: AuthorsState & { places: readonly number[] } = {
    ids: [...ids],
    places: Array.from(ids.keys()),
    loss: [],
    end: Math.min(size, ids.length),
    ...(mustStay?.some(Boolean) ? { keepFlag: [...mustStay] } : {}),
  };
  let known = 0; // tokens whose losses are final
  for (let turn = 0; state.end <= state.ids.length && plan[turn]; turn++) {
    await tick();
    const seen = turn ? state.end : state.ids.length;
    const from = Math.max(0, seen - scorer.context);
    const values = turn
      ? (await stages.time("model", () => logProbabilitiesOf(scorer, [Int32Array.from(state.ids.slice(from, seen))])))[
        0
      ]
      : (await stages.time("model", () => scoreTokens(scorer, ids))).values;
    const loss = [...state.loss];
    while (loss.length < seen - 1) loss.push(0);
    for (let j = Math.max(known, from); j < seen - 1; j++) {
      loss[j] = -values[j + 1 - (turn ? from : 0)];
      score[state.places[j]] = loss[j];
    }
    state = { ...state, loss };
    known = state.end - size;
    await stages.time("choice", () => {
      for (const [length, ratio] of plan[turn]) {
        const threshold = thresholdAsAuthors(state.loss, ratio);
        const next = stepAsAuthors({ ...state, end: state.end - size + length }, { threshold, size: length });
        state = { ...next, end: next.end + size };
      }
    });
  }
  const kept = new Uint8Array(ids.length);
  for (const place of state.places) kept[place] = 1;
  return { kept, score };
}
