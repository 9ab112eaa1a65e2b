/**
 * Shorter reasoning, as a training signal: traces in which the least important tokens are left out (TokenSkip), and rewards
 * that make a length worth something.
 *
 * - Xia et al., "TokenSkip: Controllable Chain-of-Thought Compression in LLMs", EMNLP 2025, arXiv:2502.12067, section 3.
 * - Rewards: Aggarwal and Welleck, "L1: Controlling How Long A Reasoning Model Thinks", 2025, arXiv:2503.04697, section 3
 *   (exact and most length); Luo et al., "O1-Pruner", 2025, arXiv:2501.12570, section 3 (beside a reference's length); Hou et
 *   al., "ThinkPrune", 2025, arXiv:2504.01296, section 3 (a limit that is tightened).
 *
 * No code of theirs decides a number here, so there are no golden cases; laws and examples worked out by hand hold it, and
 * keepRate 1, which changes nothing, is its control. Differs from TokenSkip in scoring by whatever compressor it is given,
 * LLMLingua-2 among them.
 *
 * @module
 */
import { BudgetOutOfRange } from "../nn/reduction_errors.ts";
import type { Random } from "../random.ts";
import type { CompressedText } from "./text.ts";

/** The rates that TokenSkip trains with. */
export const TOKENSKIP_RATES: readonly number[] = [0.5, 0.6, 0.7, 0.8, 0.9, 1];

/** A question with a way to its answer. */
export interface ReasoningTrace {
  readonly question: string;
  readonly reasoning: string;
  readonly answer: string;
}

/** A trace to learn from, in which some of the reasoning is left out. */
export interface SkippedTrace extends ReasoningTrace {
  /** The rate that the model is told. */
  readonly keepRate: number;
  /** The share of tokens that stayed: not quite the same. */
  readonly achievedRate: number;
  /** What the model reads, up to the answer's end. */
  readonly text: string;
}

/** How traces are made. */
export interface TokenSkipOptions {
  /** Default: {@link TOKENSKIP_RATES}. */
  readonly rates?: readonly number[];
  /** Draws the rate of each trace. */
  readonly random: Random;
  /** Stands around the rate. Default: " <sep> ". */
  readonly separator?: string;
}

/**
 * TokenSkip's training set: each trace with a rate, and its reasoning at that rate; at rate 1 it stays as it is.
 *
 * @param compress A compressor at a rate: `(text, keepRate) => llmlingua2(classifier, text, { keepRate })`.
 * @throws {BudgetOutOfRange} If a rate lies outside (0, 1].
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { random } from "tessera/random.ts";
 * import { compressedText, Stages } from "tessera/reduction/text.ts";
 * const half = (text: string, keepRate: number) => {
 *   const tokens = { ids: new Int32Array(2), starts: Int32Array.of(0, 3), ends: Int32Array.of(3, text.length) };
 *   return compressedText({ method: "half", text, tokens, kept: Uint8Array.of(1, 0), score: new Float32Array(2), requestedRate: keepRate, stages: new Stages() });
 * };
 * const trace = { question: "1 + 2?", reasoning: "1+2 makes 3", answer: "3" };
 * const [{ text }] = await tokenSkip([trace], half, { rates: [0.5], random: random(1) });
 * assert.equal(text, "1 + 2? <sep> 0.5 <sep> 1+2\n3");
 * ```
 */
export async function tokenSkip(
  traces: readonly ReasoningTrace[],
  compress: (text: string, keepRate: number) => CompressedText | Promise<CompressedText>,
  { rates = TOKENSKIP_RATES, random, separator = " <sep> " }: TokenSkipOptions,
): Promise<SkippedTrace[]> {
  for (const rate of rates) {
    if (!(rate > 0 && rate <= 1)) throw new BudgetOutOfRange(`rates must lie in (0, 1], but one is ${rate}; mend it`);
  }
  const made: SkippedTrace[] = [];
  for (const trace of traces) {
    const keepRate = random.choice(rates);
    const short = keepRate === 1 ? undefined : await compress(trace.reasoning, keepRate);
    const reasoning = short?.compressed ?? trace.reasoning;
    made.push({
      ...trace,
      reasoning,
      keepRate,
      achievedRate: short?.achievedRate ?? 1,
      text: `${trace.question}${separator}${keepRate}${separator}${reasoning}\n${trace.answer}`,
    });
  }
  return made;
}

/**
 * L1's reward for an exact length: 1 for a right answer, less `alpha` for each token that it is off the target.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * assert.equal(exactLengthReward({ right: true, length: 120, target: 100, alpha: 0.01 }), 0.8);
 * ```
 */
export function exactLengthReward({ right, length, target, alpha }: LengthReward): number {
  return Number(right) - alpha * Math.abs(target - length);
}

/** What a reward for a length goes by. */
export interface LengthReward {
  readonly right: boolean;
  /** Tokens that were used. */
  readonly length: number;
  /** Tokens that were asked for, or that are allowed. */
  readonly target: number;
  /** What a token is worth. */
  readonly alpha: number;
  /** Reward at the target, of {@link mostLengthReward}. Default: 0.5. */
  readonly delta?: number;
}

/**
 * L1's reward for a length that is not to be exceeded: a right answer, times 0 to 1 by how far below the target it is.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * const at = (length: number) => mostLengthReward({ right: true, length, target: 100, alpha: 0.01 });
 * assert.deepEqual([40, 100, 120, 200].map((length) => Math.round(100 * at(length)) / 100), [1, 0.5, 0.3, 0]);
 * ```
 */
export function mostLengthReward({ right, length, target, alpha, delta = 0.5 }: LengthReward): number {
  return Number(right) * Math.min(1, Math.max(0, alpha * (target - length) + delta));
}

/**
 * O1-Pruner's reward: how much shorter than a reference's mean length, plus `lambda` times how much more accurate.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * assert.equal(efficiencyReward({ length: 100, referenceLength: 150, accuracy: 1, referenceAccuracy: 0.75, lambda: 2 }), 1);
 * ```
 */
export function efficiencyReward({ length, referenceLength, accuracy, referenceAccuracy, lambda }: {
  readonly length: number;
  readonly referenceLength: number;
  readonly accuracy: number;
  readonly referenceAccuracy: number;
  readonly lambda: number;
}): number {
  return referenceLength / length - 1 + lambda * (accuracy - referenceAccuracy);
}

/**
 * ThinkPrune's reward: a right answer within the limit, else nothing.
 *
 * @param limits Of the rounds of training, falling; the round's is used, the last one after them.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * assert.deepEqual([0, 1].map((round) => limitReward({ right: true, length: 3500, limits: [4000, 3000], round })), [1, 0]);
 * ```
 */
export function limitReward({ right, length, limits, round }: {
  readonly right: boolean;
  readonly length: number;
  readonly limits: readonly number[];
  readonly round: number;
}): number {
  return Number(right && length <= limits[Math.min(round, limits.length - 1)]);
}

/**
 * Which positions a policy gradient is taken of: the share of them with the highest entropy (Wang et al., "Beyond the 80/20
 * Rule", 2025, arXiv:2506.01939, section 5; theirs is 0.2). 1 where a position counts; equal entropies: the earlier first.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * assert.deepEqual([...highEntropy([0.1, 2, 0.5, 1, 0], 0.4)], [0, 1, 0, 1, 0]);
 * ```
 */
export function highEntropy(entropy: ArrayLike<number>, share = 0.2): Uint8Array {
  if (!(share > 0 && share <= 1)) throw new BudgetOutOfRange(`share must lie in (0, 1], but it is ${share}`);
  const keep = Math.max(1, Math.floor(entropy.length * share + 1e-9));
  const order = Array.from({ length: entropy.length }, (_, t) => t).sort((a, b) => entropy[b] - entropy[a] || a - b);
  const chosen = new Uint8Array(entropy.length);
  for (const place of order.slice(0, keep)) chosen[place] = 1;
  return chosen;
}
