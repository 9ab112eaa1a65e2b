/**
 * What would have happened: the two counterfactual test sets of the tumour benchmark. For each day of each patient, the
 * next volume under all four treatments; and ten plans of treatment for the days after the next.
 *
 * Melnychuk, Frauen and Feuerriegel, "Causal Transformer for Estimating Counterfactual Outcomes", ICML 2022,
 * arXiv:2204.07258, section 5.1 and its code; golden cases `cancer.counterfactual_one_step`,
 * `cancer.counterfactual_treatment_sequences`, `cancer.test_set_one_step`, `cancer.test_set_treatment_seq`.
 *
 * The reference stores one row per answer with the patient's whole history in it, 700,000 rows. Here a history is stored
 * once, and an answer names its patient and day; {@link oneStepRows} and {@link sequenceRows} give the reference's rows.
 *
 * @module
 */
import { random } from "../../random.ts";
import {
  type FullPolicy,
  fullPolicy,
  grown,
  seedOf,
  treatmentProbability,
  tumourConstants,
  tumourDiameter,
  type TumourPatients,
  tumourPatients,
  type TumourPolicy,
  type TumourRows,
} from "./tumour.ts";

/**
 * Whose tumour the policy looks at while test patients are simulated. "repo": row i of the output for patient i, as the
 * reference's code does by mistake; the published tables depend on it, so it is the default, the one exception to our rule
 * that the default is right. "correct": the patient's own tumour.
 */
export type TestPolicy = "repo" | "correct";

/** Test patients as they were treated, until each of their origins. */
export interface TumourHistories {
  readonly patients: TumourPatients;
  readonly days: number;
  readonly policy: FullPolicy;
  readonly testPolicy: TestPolicy;
  /** cm³, [patients, days]. */
  readonly volume: Float64Array;
  /** [patients, days]: what was given, from day 0 on. */
  readonly chemo: Uint8Array;
  readonly radio: Uint8Array;
  /** [patients]: origins, days 0 to origins - 1; the volume is known one day further. */
  readonly origins: Int32Array;
}

/** Test set 1: the next day under all four treatments. */
export interface OneStepTestSet {
  readonly kind: "one-step";
  readonly histories: TumourHistories;
  /** Answers; four in a row belong together, the first of them is what happened. */
  readonly rows: number;
  /** [rows] */
  readonly patient: Int32Array;
  /** [rows]: the origin, the last day that is known. */
  readonly day: Int32Array;
  /** [rows]: what is given on that day. */
  readonly chemo: Uint8Array;
  readonly radio: Uint8Array;
  /** [rows]: cm³ on the next day. */
  readonly volume: Float64Array;
}

/** Test set 2: plans of treatment. */
export interface SequenceTestSet {
  readonly kind: "sequences";
  readonly plans: SequencePlans;
  readonly histories: TumourHistories;
  readonly rows: number;
  /** Days that a plan has. The origin's own treatment is what happened; the plan starts on the day after. */
  readonly horizon: number;
  readonly patient: Int32Array;
  readonly day: Int32Array;
  /** [rows, horizon]: on days origin + 1 to origin + horizon. */
  readonly chemo: Uint8Array;
  readonly radio: Uint8Array;
  /** [rows, horizon]: cm³ on days origin + 2 to origin + horizon + 1. */
  readonly volume: Float64Array;
}

/** "sliding": one treatment on one of the days; "random": a coin for each treatment and day. */
export type SequencePlans = "sliding" | "random";

/** What chance decides about test patients. */
export interface TestDraws {
  /** [patients, days + horizon] */
  readonly noise: ArrayLike<number>;
  /** [patients, days] */
  readonly recovery: ArrayLike<number>;
  readonly chemo: ArrayLike<number>;
  readonly radio: ArrayLike<number>;
}

/** Options of {@link oneStepTestSet} and {@link sequenceTestSet}. */
export interface TumourTestOptions extends TumourPolicy {
  /** How many; in the papers 1,000. */
  readonly patients: number;
  readonly seed: number;
  /** Default: "repo". */
  readonly testPolicy?: TestPolicy;
  /** Default: 60. */
  readonly days?: number;
}

/**
 * Test set 1: every day of every patient, under all four treatments.
 *
 * @example Four rows share a history
 * ```ts
 * import assert from "node:assert/strict";
 * const test = oneStepTestSet({ patients: 2, seed: 10, gamma: 4 });
 * assert.equal(test.rows % 4, 0);
 * assert.equal(new Set([0, 1, 2, 3].map((row) => 2 * test.chemo[row] + test.radio[row])).size, 4);
 * assert.equal(test.volume[0], test.histories.volume[1]); // the first of them is what happened
 * ```
 */
export function oneStepTestSet(options: TumourTestOptions): OneStepTestSet {
  const { testPolicy = "repo", days = tumourConstants.days } = options;
  const { patients, draws } = testPatients(options, "one step", days, 0);
  return oneStepFrom(patients, fullPolicy(options), draws, { days, testPolicy });
}

/**
 * Test set 2: every day of every patient, under ten plans for the days after the next.
 *
 * @param horizon Days that a plan has. Default: 5, so that answers reach from 2 to 6 days ahead.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * const test = sequenceTestSet({ patients: 1, seed: 10, gamma: 4, plans: "sliding" });
 * assert.deepEqual([...test.chemo.slice(0, 5)], [1, 0, 0, 0, 0]);
 * assert.equal(test.volume.length, 5 * test.rows);
 * ```
 */
export function sequenceTestSet(
  options: TumourTestOptions & { readonly plans: SequencePlans; readonly horizon?: number },
): SequenceTestSet {
  const { testPolicy = "repo", days = tumourConstants.days, plans, horizon = 5 } = options;
  const { patients, draws } = testPatients(options, "sequences", days, horizon);
  const coins = random(options.seed, "tumour plans");
  const planned = plans === "sliding" ? slidingPlans(horizon) : () => {
    return Uint8Array.from({ length: 2 * horizon * 2 * horizon }, () => coins.integer(2));
  };
  return sequencesFrom(patients, fullPolicy(options), draws, { days, testPolicy, horizon, plans, planned });
}

function testPatients({ patients: count, seed }: TumourTestOptions, set: string, days: number, horizon: number) {
  const from = random(seed, `tumour test, ${set}`);
  const draws: TestDraws = {
    noise: from.stream("noise").normals(count * (days + horizon), 0, tumourConstants.noise),
    recovery: from.stream("recovery").uniforms(count * days),
    chemo: from.stream("chemo").uniforms(count * days),
    radio: from.stream("radio").uniforms(count * days),
  };
  return { patients: tumourPatients(count, seedOf(seed, `test, ${set}`)), draws };
}

/** The plans of a day, [plans, horizon, 2] with chemotherapy first. */
export type Planned = () => ArrayLike<number>;

/** Plan k gives chemotherapy on its day k, plan horizon + k radiotherapy. */
export function slidingPlans(horizon: number): Planned {
  const plans = new Uint8Array(2 * horizon * horizon * 2);
  for (let k = 0; k < horizon; k++) {
    plans[(k * horizon + k) * 2] = 1;
    plans[((horizon + k) * horizon + k) * 2 + 1] = 1;
  }
  return () => plans;
}

/** How to make a test set from given draws. */
export interface TestSetOptions {
  readonly days: number;
  readonly testPolicy: TestPolicy;
}

/** Test set 1 from given draws. */
export function oneStepFrom(
  patients: TumourPatients,
  policy: FullPolicy,
  draws: TestDraws,
  { days, testPolicy }: TestSetOptions,
): OneStepTestSet {
  const walk = new Walk(patients, policy, draws, { days, testPolicy, horizon: 0 });
  const most = patients.count * (days - 1) * 4;
  const patient = new Int32Array(most), day = new Int32Array(most);
  const chemo = new Uint8Array(most), radio = new Uint8Array(most);
  const volume = new Float64Array(most);
  let rows = 0;
  walk.through((step) => {
    const { i, t, factual, volume: now, concentrationBefore, noise, next } = step;
    const answer = (treatment: number, outcome: number) => {
      patient[rows] = i;
      day[rows] = t;
      chemo[rows] = treatment >> 1;
      radio[rows] = treatment & 1;
      volume[rows] = outcome;
      walk.write(rows++, i, t, outcome);
    };
    answer(factual, next);
    for (let other = 0; other < 4; other++) { // none, radio, chemo, both
      if (other === factual) continue;
      const dose = tumourConstants.radioDose * (other & 1);
      const given = concentrationBefore * tumourConstants.chemoLeft + tumourConstants.chemoDose * (other >> 1);
      answer(other, grown(patients, i, now, given, dose, noise)); // not clipped, unlike what happened
    }
  });
  const cut = <A extends Int32Array | Uint8Array | Float64Array>(array: A) => array.slice(0, rows) as A;
  return {
    kind: "one-step",
    ...{ histories: walk.histories, rows, patient: cut(patient), day: cut(day) },
    ...{ chemo: cut(chemo), radio: cut(radio), volume: cut(volume) },
  };
}

/** Test set 2 from given draws. */
export function sequencesFrom(
  patients: TumourPatients,
  policy: FullPolicy,
  draws: TestDraws,
  { days, testPolicy, horizon, plans, planned }: TestSetOptions & {
    readonly horizon: number;
    readonly plans: SequencePlans;
    readonly planned: Planned;
  },
): SequenceTestSet {
  const walk = new Walk(patients, policy, draws, { days, testPolicy, horizon });
  const each = 2 * horizon;
  const most = patients.count * (days - 1) * each;
  const patient = new Int32Array(most), day = new Int32Array(most);
  const chemo = new Uint8Array(most * horizon), radio = new Uint8Array(most * horizon);
  const volume = new Float64Array(most * horizon);
  const { chemoDose, chemoLeft, radioDose } = tumourConstants;
  const { rho, betaC, alpha, beta, capacity } = patients;
  let rows = 0;
  walk.through(({ i, t, next, concentration }) => {
    const plan = planned();
    for (let k = 0; k < each; k++) {
      let now = next, given = concentration;
      const start = rows * horizon;
      for (let s = 0; s < horizon; s++) {
        const at = (k * horizon + s) * 2;
        chemo[start + s] = plan[at];
        radio[start + s] = plan[at + 1];
        given = given * chemoLeft + chemoDose * plan[at];
        const dose = radioDose * plan[at + 1];
        const noise = draws.noise[i * (days + horizon) + t + 2 + s];
        now = now * (1 + rho[i] * Math.log(capacity[i] / (now + 1e-7) + 1e-7) - betaC[i] * given -
          (alpha[i] * dose + beta[i] * dose * dose) + noise);
        volume[start + s] = now;
      }
      walk.write(rows, i, t, next, volume, start); // before it is known whether the row stays
      if (Number.isNaN(now)) continue; // the logarithm of a negative volume: the row is left out
      patient[rows] = i;
      day[rows] = t;
      rows++;
    }
  });
  return {
    ...{ kind: "sequences", plans, histories: walk.histories, rows, horizon },
    ...{ patient: patient.slice(0, rows), day: day.slice(0, rows) },
    ...{ chemo: chemo.slice(0, rows * horizon), radio: radio.slice(0, rows * horizon) },
    volume: volume.slice(0, rows * horizon),
  };
}

/** A day of a test patient. */
interface Step {
  i: number;
  t: number;
  /** 2 x chemotherapy + radiotherapy. */
  factual: number;
  volume: number;
  /** Concentration of chemotherapy on the day before, and on this day. */
  concentrationBefore: number;
  concentration: number;
  noise: number;
  /** The volume of the next day, between 0 and the deadly one. */
  next: number;
}

/** Simulates test patients day by day, and keeps the first rows of the output, which the reference's policy looks at. */
class Walk {
  readonly histories: TumourHistories & { readonly origins: Int32Array };
  readonly #draws: TestDraws;
  readonly #horizon: number;
  /** The first rows of the reference's output, as diameters, [patients, days + horizon]. */
  readonly #output: Float64Array;
  readonly #width: number;

  constructor(
    patients: TumourPatients,
    policy: FullPolicy,
    draws: TestDraws,
    { days, testPolicy, horizon }: TestSetOptions & { readonly horizon: number },
  ) {
    const n = patients.count;
    this.histories = {
      ...{ patients, days, policy, testPolicy, volume: new Float64Array(n * days) },
      ...{ chemo: new Uint8Array(n * days), radio: new Uint8Array(n * days), origins: new Int32Array(n) },
    };
    this.#draws = draws;
    this.#horizon = horizon;
    this.#width = days + horizon;
    this.#output = new Float64Array(n * this.#width);
  }

  through(each: (step: Step) => void): void {
    const { patients, days, policy, testPolicy, volume, chemo, radio, origins } = this.histories;
    const { deadlyVolume, cellsPerCm3, chemoDose, chemoLeft, radioDose } = tumourConstants;
    const own = new Float64Array(days);
    for (let i = 0; i < patients.count; i++) {
      const row = i * days;
      volume[row] = patients.volume[i];
      own[0] = tumourDiameter(volume[row]);
      let concentrationBefore = 0;
      for (let t = 0; t < days - 1; t++) {
        const from = Math.max(t - policy.window - policy.lag, 0), to = Math.max(t - policy.lag + 1, 0);
        const looked = testPolicy === "repo" ? this.#output : own;
        const start = testPolicy === "repo" ? i * this.#width : 0;
        let sum = 0;
        for (let s = from; s < to; s++) sum += looked[start + s];
        const mean = sum / (to - from);
        const at = row + t;
        radio[at] = Number(this.#draws.radio[at] < treatmentProbability(policy.radio, mean));
        chemo[at] = Number(this.#draws.chemo[at] < treatmentProbability(policy.chemo, mean));
        const concentration = concentrationBefore * chemoLeft + chemoDose * chemo[at];
        const noise = this.#draws.noise[i * this.#width + t + 1];
        const free = grown(patients, i, volume[at], concentration, radioDose * radio[at], noise);
        const next = Math.min(Math.max(free, 0), deadlyVolume);
        volume[at + 1] = next;
        own[t + 1] = tumourDiameter(next);
        origins[i] = t + 1;
        const factual = 2 * chemo[at] + radio[at];
        each({ i, t, factual, volume: volume[at], concentrationBefore, concentration, noise, next });
        if (next >= deadlyVolume || this.#draws.recovery[at] <= Math.exp(-cellsPerCm3 * next)) break;
        concentrationBefore = concentration;
      }
    }
  }

  /** Writes a row of the output: the history to the origin, the next day, and what comes after it. */
  write(row: number, i: number, t: number, next: number, after?: Float64Array, start = 0): void {
    if (this.histories.testPolicy !== "repo" || row >= this.histories.patients.count) return;
    const at = row * this.#width;
    for (let s = 0; s <= t; s++) {
      this.#output[at + s] = tumourDiameter(this.histories.volume[i * this.histories.days + s]);
    }
    this.#output[at + t + 1] = tumourDiameter(next);
    for (let s = 0; s < this.#horizon; s++) this.#output[at + t + 2 + s] = tumourDiameter(after![start + s]);
  }
}

/**
 * What happened to test patients, one row each: what an encoder has to read, once per patient.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * const { histories } = oneStepTestSet({ patients: 2, seed: 10, gamma: 4 });
 * assert.equal(historyRows(histories).rows, 2);
 * ```
 */
export function historyRows({ patients, days, volume, chemo, radio, origins }: TumourHistories): TumourRows {
  return { rows: patients.count, days, split: "test", volume, chemo, radio, length: origins, type: patients.type };
}

/**
 * The reference's rows of test set 1: each answer with its whole history.
 *
 * @param which Which answers. Default: all, which at full size takes half a gigabyte.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * const rows = oneStepRows(oneStepTestSet({ patients: 1, seed: 10, gamma: 4 }), [0]);
 * assert.deepEqual([rows.rows, rows.length[0], rows.days], [1, 1, 60]);
 * ```
 */
export function oneStepRows(test: OneStepTestSet, which?: readonly number[]): TumourRows {
  return rowsOf(test, which, 0, (row, at, rows) => {
    const t = test.day[row];
    rows.chemo[at + t] = test.chemo[row];
    rows.radio[at + t] = test.radio[row];
    rows.volume[at + t + 1] = test.volume[row];
    return t + 1;
  });
}

/**
 * The reference's rows of test set 2: each answer with its whole history.
 *
 * @param which Which answers. Default: all, which at full size takes a gigabyte.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * const test = sequenceTestSet({ patients: 1, seed: 10, gamma: 4, plans: "random" });
 * const rows = sequenceRows(test, [0]);
 * assert.deepEqual([rows.rows, rows.length[0], rows.days], [1, 6, 65]);
 * ```
 */
export function sequenceRows(test: SequenceTestSet, which?: readonly number[]): TumourRows {
  const { horizon, histories: { days, volume } } = test;
  return rowsOf(test, which, horizon, (row, at, rows) => {
    const t = test.day[row];
    rows.volume[at + t + 1] = volume[test.patient[row] * days + t + 1];
    for (let s = 0; s < horizon; s++) {
      rows.chemo[at + t + 1 + s] = test.chemo[row * horizon + s];
      rows.radio[at + t + 1 + s] = test.radio[row * horizon + s];
      rows.volume[at + t + 2 + s] = test.volume[row * horizon + s];
    }
    return t + 1 + horizon;
  });
}

function rowsOf(
  { histories, patient, day, rows: count }: OneStepTestSet | SequenceTestSet,
  which: readonly number[] = Array.from({ length: count }, (_, row) => row),
  horizon: number,
  end: (row: number, at: number, rows: { volume: Float64Array; chemo: Uint8Array; radio: Uint8Array }) => number,
): TumourRows {
  const days = histories.days + horizon, rows = which.length;
  const volume = new Float64Array(rows * days);
  const chemo = new Uint8Array(rows * days), radio = new Uint8Array(rows * days);
  const length = new Int32Array(rows), type = new Uint8Array(rows);
  which.forEach((row, place) => {
    if (!(row >= 0 && row < count)) {
      throw new RangeError(`the test set has rows 0 to ${count - 1}, but ${row} is asked for`);
    }
    const from = patient[row] * histories.days, to = from + day[row] + 1;
    const at = place * days;
    volume.set(histories.volume.subarray(from, to), at);
    chemo.set(histories.chemo.subarray(from, to), at);
    radio.set(histories.radio.subarray(from, to), at);
    length[place] = end(row, at, { volume, chemo, radio });
    type[place] = histories.patients.type[patient[row]];
  });
  return { rows, days, split: "test", volume, chemo, radio, length, type };
}
