/**
 * Schedules: the learning rate of each update.
 *
 * @module
 */

/** The learning rate of an update, counted from 0. */
export type Schedule = (update: number) => number;

/**
 * The same rate always; what a number stands for.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * assert.equal(constantRate(0.1)(7), 0.1);
 * ```
 */
export function constantRate(rate: number): Schedule {
  if (!(rate >= 0 && rate < Infinity)) throw new RangeError(`a learning rate must be a number >= 0, but it is ${rate}`);
  return () => rate;
}

/** Options of {@link cosineRate} and {@link linearRate}. */
export interface DecayOptions {
  /** The highest rate, from which it goes down. */
  readonly peak: number;
  /** Updates until it has gone down; after them it stays. */
  readonly updates: number;
  /** Updates at the start in which it rises evenly from 0 to the peak, counted among `updates`. Default: 0. */
  readonly warmup?: number;
  /** What it goes down to. Default: 0. */
  readonly final?: number;
}

/**
 * Half a cosine from the peak down, after a warm-up. Without one it is PyTorch's `CosineAnnealingLR`, with one and
 * `final: 0` Hugging Face's `get_cosine_schedule_with_warmup`.
 *
 * Loshchilov and Hutter, "SGDR: Stochastic Gradient Descent with Warm Restarts", ICLR 2017, arXiv:1608.03983, equation 5.
 *
 * @throws {RangeError} If `updates` or `warmup` is no whole number, the warm-up is longer than all, or the rate would rise.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * const rate = cosineRate({ peak: 1, updates: 6, warmup: 2 });
 * assert.deepEqual([0, 1, 2, 4, 6].map((update) => Math.round(1e6 * rate(update)) / 1e6), [0, 0.5, 1, 0.5, 0]);
 * ```
 */
export function cosineRate(options: DecayOptions): Schedule {
  return decay(options, (progress) => (1 + Math.cos(Math.PI * progress)) / 2);
}

/**
 * A straight line from the peak down, after a warm-up. With `final: 0` Hugging Face's `get_linear_schedule_with_warmup`.
 *
 * @throws {RangeError} As {@link cosineRate}.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * const rate = linearRate({ peak: 1, updates: 4 });
 * assert.deepEqual([0, 1, 2, 3, 4, 5].map(rate), [1, 0.75, 0.5, 0.25, 0, 0]);
 * ```
 */
export function linearRate(options: DecayOptions): Schedule {
  return decay(options, (progress) => 1 - progress);
}

/** @param left How much of the way from `final` to `peak` is left, by the fraction of the way down. */
function decay({ peak, updates, warmup = 0, final = 0 }: DecayOptions, left: (progress: number) => number): Schedule {
  constantRate(peak);
  constantRate(final);
  if (!Number.isInteger(updates) || updates < 1 || !Number.isInteger(warmup) || warmup < 0 || warmup >= updates) {
    throw new RangeError(
      `a schedule needs a whole number of updates above its warm-up, but they are ${updates} and ${warmup}`,
    );
  }
  if (final > peak) {
    throw new RangeError(
      `a schedule goes down, but its final rate ${final} lies above its peak ${peak}; lower \`final\`, or raise \`peak\``,
    );
  }
  return (update) => {
    if (update < warmup) return peak * update / warmup;
    return final + (peak - final) * left(Math.min(1, (update - warmup) / (updates - warmup)));
  };
}

/**
 * A rate that is multiplied by `factor` at each of some updates: PyTorch's `MultiStepLR`.
 *
 * @param at Numbers of updates, counted from 0.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * const rate = stepRate({ start: 1, at: [2, 4], factor: 0.5 });
 * assert.deepEqual([0, 1, 2, 3, 4].map(rate), [1, 1, 0.5, 0.5, 0.25]);
 * ```
 */
export function stepRate({ start, at, factor = 0.1 }: {
  start: number;
  at: readonly number[];
  factor?: number;
}): Schedule {
  constantRate(start);
  return (update) => start * factor ** at.filter((step) => step <= update).length;
}
