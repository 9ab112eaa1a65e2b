/**
 * Errors on the tumour benchmark, in percent of the deadly volume, and how much of the treatment a representation tells.
 *
 * Three ways to average the errors of rows exist in the reference's code, with very different numbers; which one a table
 * has is not said there. Melnychuk, Frauen and Feuerriegel, "Causal Transformer", ICML 2022, arXiv:2204.07258; golden cases
 * `nrmse.one_step`, `nrmse.multi_step`. Its one-step table fits `last` and neither of the others.
 *
 * @module
 */
import { type OneStepTestSet, type SequenceTestSet, tumourConstants } from "../../lib/data/mod.ts";

/** Normalised root mean squared errors, in percent of the deadly volume. */
export interface NRMSE {
  /** Mean over the rows at each step, plain mean over the steps, root. */
  readonly orig: number;
  /** Over all active entries together. */
  readonly all: number;
  /** Over the last active entry of each row: the counterfactual answers alone. */
  readonly last: number;
}

/** Squared errors, gathered step by step. */
class Errors {
  readonly #sums: Float64Array;
  readonly #counts: Float64Array;
  #last = 0;
  #rows = 0;

  constructor(steps: number) {
    this.#sums = new Float64Array(steps);
    this.#counts = new Float64Array(steps);
  }

  /** An entry that occurs in so many rows. */
  add(step: number, squared: number, times = 1): void {
    this.#sums[step] += times * squared;
    this.#counts[step] += times;
  }

  /** The last entry of a row. */
  end(squared: number): void {
    this.#last += squared;
    this.#rows++;
  }

  percent(deadlyVolume: number): NRMSE {
    const sum = (values: Float64Array) => values.reduce((total, value) => total + value, 0);
    const reached = [...this.#sums.keys()].filter((step) => this.#counts[step] > 0);
    const orig = reached.reduce((total, step) => total + this.#sums[step] / this.#counts[step], 0) / reached.length;
    const percent = (mean: number) => 100 * Math.sqrt(mean) / deadlyVolume;
    return {
      orig: percent(orig),
      all: percent(sum(this.#sums) / sum(this.#counts)),
      last: percent(this.#last / this.#rows),
    };
  }
}

/** Errors of rows of one-step predictions, each array [rows, steps], predicted and true in cm³. */
export function maskedNRMSE({ rows, steps, predicted, truth, active, deadlyVolume = tumourConstants.deadlyVolume }: {
  readonly rows: number;
  readonly steps: number;
  readonly predicted: ArrayLike<number>;
  readonly truth: ArrayLike<number>;
  readonly active: ArrayLike<number>;
  readonly deadlyVolume?: number;
}): NRMSE {
  const errors = new Errors(steps);
  for (let row = 0; row < rows; row++) {
    let last = NaN;
    for (let t = 0; t < steps; t++) {
      const at = row * steps + t;
      if (active[at] === 0) continue;
      last = (predicted[at] - truth[at]) ** 2;
      errors.add(t, last);
    }
    errors.end(last);
  }
  return errors.percent(deadlyVolume);
}

/**
 * Errors on test set 1. The same numbers as {@link maskedNRMSE} over its rows: an entry of the history stands in the four
 * rows of every later origin.
 *
 * @param predicted cm³ on the next day for each patient, day and treatment, [patients, days - 1, 4]; treatments in the
 *   order of the one-hot vectors: none, chemotherapy, radiotherapy, both.
 */
export function oneStepNRMSE(test: OneStepTestSet, predicted: ArrayLike<number>): NRMSE {
  const { days, origins } = test.histories;
  const steps = days - 1;
  const errors = new Errors(steps);
  for (let row = 0; row < test.rows; row++) {
    const i = test.patient[row], t = test.day[row];
    const squared = (predicted[(i * steps + t) * 4 + test.chemo[row] + 2 * test.radio[row]] - test.volume[row]) ** 2;
    errors.add(t, squared);
    errors.end(squared);
    if (row % 4 === 0 && origins[i] - 1 > t) errors.add(t, squared, 4 * (origins[i] - 1 - t)); // what happened
  }
  return errors.percent(tumourConstants.deadlyVolume);
}

/**
 * Errors for each day ahead, over rows whose truth is known on all days.
 *
 * @param predicted cm³, [rows, horizon]
 * @returns From the second day ahead on.
 */
export function horizonNRMSE({ rows, horizon, predicted, truth, deadlyVolume = tumourConstants.deadlyVolume }: {
  readonly rows: number;
  readonly horizon: number;
  readonly predicted: ArrayLike<number>;
  readonly truth: ArrayLike<number>;
  readonly deadlyVolume?: number;
}): Float64Array {
  const sums = new Float64Array(horizon);
  let counted = 0;
  for (let row = 0; row < rows; row++) {
    let known = true;
    for (let s = 0; s < horizon; s++) known &&= !Number.isNaN(truth[row * horizon + s]);
    if (!known) continue;
    counted++;
    for (let s = 0; s < horizon; s++) sums[s] += (predicted[row * horizon + s] - truth[row * horizon + s]) ** 2;
  }
  return sums.map((sum) => 100 * Math.sqrt(sum / counted) / deadlyVolume);
}

/** Errors on test set 2, for 2 to horizon + 1 days ahead. */
export function sequenceNRMSE(test: SequenceTestSet, predicted: ArrayLike<number>): Float64Array {
  return horizonNRMSE({ rows: test.rows, horizon: test.horizon, predicted, truth: test.volume });
}
