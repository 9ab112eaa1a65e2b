/**
 * Lung tumours under chemotherapy and radiotherapy: the law of growth, simulated patients, and cohorts whose treatment
 * depends on the tumour. Because the law is known, so is what would have happened under any other treatment.
 *
 * Geng, Paganetti and Grassberger, "Prediction of Treatment Response for Combined Chemo- and Radiation Therapy for
 * Non-Small Cell Lung Cancer Patients Using a Bio-Mathematical Model", Scientific Reports 7, 2017,
 * doi:10.1038/s41598-017-13646-z; as a benchmark of confounding: Lim, Alaa and van der Schaar, "Forecasting Treatment
 * Responses Over Time Using Recurrent Marginal Structural Networks", NeurIPS 2018; constants and order of draws as in
 * Melnychuk, Frauen and Feuerriegel, "Causal Transformer", ICML 2022, arXiv:2204.07258, whose simulator the golden cases
 * `cancer.generate_params`, `cancer.simulate_factual` and `cancer.treatment_probabilities` were computed with. The unit of
 * time is a day, volumes are in cm³.
 *
 * @module
 */
import { type Random, random, truncatedNormalQuantile } from "../../random.ts";

/** The constants of the benchmark. */
export const tumourConstants = {
  /** cm: a tumour of this diameter is fatal. */
  deadlyDiameter: 13,
  /** cm³: the volume at which a patient dies, and what errors are divided by. */
  deadlyVolume: tumourVolume(13),
  /** cm³: towards which a tumour grows. */
  capacity: tumourVolume(30),
  cellsPerCm3: 5.8e8,
  chemoDose: 5,
  /** What is left of a dose of chemotherapy after a day: its half-life is a day. */
  chemoLeft: 0.5,
  /** Gy. */
  radioDose: 2,
  /** Standard deviation of the noise in the relative growth of a day. */
  noise: 0.01,
  /** Days over which the treatment policy averages the diameter. */
  window: 15,
  /** Days that are simulated. */
  days: 60,
} as const;

/** Stages of lung cancer, with how the initial diameter is distributed: log-normal, truncated (cm), and its frequency. */
export const tumourStages = [
  { name: "I", mean: 1.72, std: 4.70, low: 0.3, high: 5, count: 1432 },
  { name: "II", mean: 1.96, std: 1.63, low: 0.3, high: 13, count: 128 },
  { name: "IIIA", mean: 1.91, std: 9.40, low: 0.3, high: 13, count: 1306 },
  { name: "IIIB", mean: 2.76, std: 6.87, low: 0.3, high: 13, count: 7248 },
  { name: "IV", mean: 3.86, std: 8.82, low: 0.3, high: 13, count: 12840 },
] as const;

const ALPHA = { mean: 0.0398, std: 0.168 };
const RHO = { mean: 7e-5, std: 7.23e-3 };
/** Correlation of alpha and rho: tumours that grow fast respond to radiation. */
const CORRELATION = 0.87;
const ALPHA_PER_BETA = 10;
const BETA_C = { mean: 0.028, std: 0.0007 };
/** How much more a patient of the responding type responds, of the population's mean. */
const RESPONSE = 0.1;

/**
 * cm³ of a ball of a diameter in cm.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * assert.equal(tumourVolume(13).toFixed(4), "1150.3465");
 * ```
 */
export function tumourVolume(diameter: number): number {
  return Math.PI * diameter ** 3 / 6;
}

/**
 * cm across a ball of a volume in cm³; of a negative volume, which too much radiation leaves, no number.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * assert.equal(tumourDiameter(tumourVolume(13)).toFixed(9), "13.000000000");
 * ```
 */
export function tumourDiameter(volume: number): number {
  return 2 * (volume / (4 / 3 * Math.PI)) ** (1 / 3); // the cube root of a negative number would be a number
}

/** Patients: one number each. */
export interface TumourPatients {
  readonly count: number;
  /** Index into {@link tumourStages}. */
  readonly stage: Uint8Array;
  /** cm³ at the start. */
  readonly volume: Float64Array;
  /** 1: responds better to radiotherapy; 2; 3: responds better to chemotherapy. The only thing that models are told. */
  readonly type: Uint8Array;
  /** Response to radiation, linear and quadratic in the dose. */
  readonly alpha: Float64Array;
  readonly beta: Float64Array;
  /** Response to chemotherapy. */
  readonly betaC: Float64Array;
  /** Rate of growth. */
  readonly rho: Float64Array;
  /** cm³ towards which the tumour grows. */
  readonly capacity: Float64Array;
}

/** What chance decides about patients, in the order of the reference. */
export interface TumourPatientDraws {
  /** In [0, 1), one per patient. */
  readonly stage: ArrayLike<number>;
  /** In (0, 1), one per patient of each stage. */
  readonly diameter: readonly ArrayLike<number>[];
  /** Rounds of pairs of alpha and rho; those that are not both positive are left out. */
  readonly alphaRho: readonly (readonly (readonly [alpha: number, rho: number])[])[];
  /** 0 to 2. */
  readonly type: ArrayLike<number>;
  /** In (0, 1), one per patient. */
  readonly betaC: ArrayLike<number>;
  /** Which patient comes where. */
  readonly order: ArrayLike<number>;
}

/**
 * Simulated patients.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * const patients = tumourPatients(3, 1);
 * assert.ok(patients.alpha.every((alpha, i) => alpha > 0 && patients.beta[i] === alpha / 10));
 * ```
 */
export function tumourPatients(count: number, seed: number): TumourPatients {
  checkCount(count);
  return patientsFrom(drawPatients(count, random(seed, "tumour patients")));
}

function drawPatients(count: number, from: Random): TumourPatientDraws {
  const stage = from.uniforms(count);
  const perStage = tumourStages.map(() => 0);
  for (const u of stage) perStage[stageOf(u)]++;
  const open = (length: number) => Float64Array.from({ length }, () => from.uniform() + 2 ** -33);
  const diameter = perStage.map(open);
  const alphaRho: [number, number][][] = [];
  for (let accepted = 0; accepted < count;) {
    const pairs = Array.from({ length: count }, (): [number, number] => {
      const [first, second] = [from.normal(), from.normal()];
      const mixed = CORRELATION * first + Math.sqrt(1 - CORRELATION ** 2) * second;
      return [ALPHA.mean + ALPHA.std * first, RHO.mean + RHO.std * mixed];
    });
    alphaRho.push(pairs);
    accepted += pairs.filter(([alpha, rho]) => alpha > 0 && rho > 0).length;
  }
  const type = Array.from({ length: count }, () => from.integer(3));
  return { stage, diameter, alphaRho, type, betaC: open(count), order: from.permutation(count) };
}

/** The first stage whose cumulative share is above u. */
function stageOf(u: number): number {
  const total = tumourStages.reduce((sum, { count }) => sum + count, 0);
  let sum = 0;
  const found = tumourStages.findIndex(({ count }) => (sum += count) / total > u);
  return found < 0 ? tumourStages.length - 1 : found;
}

/** Patients from given draws. */
export function patientsFrom(draws: TumourPatientDraws): TumourPatients {
  const count = draws.stage.length;
  const stages = Array.from(draws.stage, stageOf).sort((a, b) => a - b); // listed by stage before they are shuffled
  const diameters = tumourStages.flatMap(({ mean, std, low, high }, stage) => {
    const [from, to] = [(Math.log(low) - mean) / std, (Math.log(high) - mean) / std];
    const valueAt = truncatedNormalQuantile(0, 1, from, to);
    return Array.from(draws.diameter[stage], (u) => Math.exp(std * valueAt(u) + mean));
  });
  const pairs = draws.alphaRho.flat().filter(([alpha, rho]) => alpha > 0 && rho > 0).slice(0, count);
  const place = (i: number) => draws.order[i];
  const numbers = (valueOf: (at: number) => number) =>
    Float64Array.from({ length: count }, (_, i) => valueOf(place(i)));
  const betaCAt = truncatedNormalQuantile(0, 1, -40, Infinity); // so far below that nothing is cut
  const typeOf = (at: number) => draws.type[at] + 1;
  const alphaOf = (at: number) => pairs[at][0] + (typeOf(at) === 1 ? RESPONSE * ALPHA.mean : 0);
  return {
    count,
    stage: Uint8Array.from({ length: count }, (_, i) => stages[place(i)]),
    type: Uint8Array.from({ length: count }, (_, i) => typeOf(place(i))),
    volume: numbers((at) => tumourVolume(diameters[at])),
    alpha: numbers(alphaOf),
    beta: numbers((at) => alphaOf(at) / ALPHA_PER_BETA),
    betaC: numbers((at) =>
      BETA_C.mean + BETA_C.std * betaCAt(draws.betaC[at]) +
      (typeOf(at) === 3 ? RESPONSE * BETA_C.mean : 0)
    ),
    rho: numbers((at) => pairs[at][1]),
    capacity: new Float64Array(count).fill(tumourConstants.capacity),
  };
}

/** How treatment is chosen: the larger the tumour was, the likelier. */
export interface TumourPolicy {
  /** Confounding strength of chemotherapy and of radiotherapy, from 0 (a coin is tossed); the papers have 0 to 4. */
  readonly gamma: number | { readonly chemo: number; readonly radio: number };
  /** Days over which the diameter is averaged. Default: 15. */
  readonly window?: number;
  /** Days before that the policy does not know yet. Default: 0. */
  readonly lag?: number;
}

/** A policy with all its numbers. */
export interface FullPolicy {
  readonly chemo: number;
  readonly radio: number;
  readonly window: number;
  readonly lag: number;
}

/** Checks a policy and fills in what is not said. */
export function fullPolicy({ gamma, window = tumourConstants.window, lag = 0 }: TumourPolicy): FullPolicy {
  const { chemo, radio } = typeof gamma === "number" ? { chemo: gamma, radio: gamma } : gamma;
  for (const value of [chemo, radio]) {
    if (!(value >= 0 && value <= 10)) {
      throw new RangeError(
        `gamma is how strongly a tumour decides its treatment, 0 to 10, but it is ${value}; pass 0 to 4`,
      );
    }
  }
  checkWhole("window", window, 1);
  checkWhole("lag", lag, 0);
  return { chemo, radio, window, lag };
}

/** The probability of a treatment where the mean diameter is known: a sigmoid around half the deadly diameter. */
export function treatmentProbability(gamma: number, meanDiameter: number): number {
  const { deadlyDiameter } = tumourConstants;
  return 1 / (1 + Math.exp(-gamma / deadlyDiameter * (meanDiameter - deadlyDiameter / 2)));
}

/**
 * cm³ a day later: growth that slows down towards the capacity (Gompertz), minus what chemotherapy and radiation kill.
 *
 * @param i Which of the patients.
 * @param chemo Concentration of chemotherapy in the blood.
 * @param dose Gy of radiation on this day.
 * @param noise What chance adds to the relative growth.
 *
 * @example Untreated, a tumour grows
 * ```ts
 * import assert from "node:assert/strict";
 * const patients = tumourPatients(1, 1);
 * assert.ok(nextTumourVolume(patients, 0, 10, { chemo: 0, dose: 0, noise: 0 }) > 10);
 * assert.throws(() => nextTumourVolume(patients, 0, -1, { chemo: 0, dose: 0, noise: 0 }), /below 0/);
 * ```
 */
export function nextTumourVolume(
  patients: TumourPatients,
  i: number,
  volume: number,
  { chemo, dose, noise }: { readonly chemo: number; readonly dose: number; readonly noise: number },
): number {
  if (!(volume >= 0)) {
    throw new RangeError(`a volume cannot lie below 0 cm³, but it is ${volume}; a tumour that is gone has volume 0`);
  }
  return grown(patients, i, volume, chemo, dose, noise);
}

/** {@link nextTumourVolume} unchecked, for loops. */
export function grown(
  { rho, betaC, alpha, beta, capacity }: TumourPatients,
  i: number,
  volume: number,
  chemo: number,
  dose: number,
  noise: number,
): number {
  return volume * (1 + rho[i] * Math.log(capacity[i] / volume) - betaC[i] * chemo -
    (alpha[i] * dose + beta[i] * dose * dose) + noise);
}

/** What chance decides in a cohort; each [patients, days]. */
export interface TumourCohortDraws {
  readonly noise: ArrayLike<number>;
  readonly recovery: ArrayLike<number>;
  readonly chemo: ArrayLike<number>;
  readonly radio: ArrayLike<number>;
}

/** Where rows come from; only those of "train" may be looked at for the scaling. */
export type TumourSplit = "train" | "validation" | "test";

/** Trajectories, one per row: [rows, days] each; 0 after a row's end. */
export interface TumourRows {
  readonly rows: number;
  readonly days: number;
  readonly split: TumourSplit;
  /** cm³. */
  readonly volume: Float64Array;
  /** 1 where treatment is given: after the volume of the same day was measured, before that of the next. */
  readonly chemo: Uint8Array;
  readonly radio: Uint8Array;
  /** [rows]: number of days that have a known next day, the model's inputs. */
  readonly length: Int32Array;
  /** [rows]: the patient's type. */
  readonly type: Uint8Array;
}

/** What happened to a cohort. */
export interface TumourCohort extends TumourRows {
  readonly patients: TumourPatients;
  readonly policy: FullPolicy;
  /** Concentration of chemotherapy, [rows, days]. */
  readonly chemoConcentration: Float64Array;
  /** With which probability each treatment was given, [rows, days]. */
  readonly chemoProbability: Float64Array;
  readonly radioProbability: Float64Array;
  /** [rows]: 1 where the patient died, or recovered. */
  readonly died: Uint8Array;
  readonly recovered: Uint8Array;
}

/** Options of {@link tumourCohort}. */
export interface TumourCohortOptions extends TumourPolicy {
  readonly patients: number;
  readonly seed: number;
  readonly split: TumourSplit;
  /** Default: 60. */
  readonly days?: number;
}

/**
 * A cohort under the policy: until recovery, death or the last day.
 *
 * @throws {RangeError} Where gamma or a size makes no sense.
 *
 * @example Without confounding a coin decides
 * ```ts
 * import assert from "node:assert/strict";
 * const cohort = tumourCohort({ patients: 2, seed: 10, split: "train", gamma: 0 });
 * assert.equal(cohort.chemoProbability[1], 0.5);
 * assert.throws(() => tumourCohort({ patients: 2, seed: 10, split: "train", gamma: -1 }), /0 to 10, but it is -1/);
 * ```
 */
export function tumourCohort(options: TumourCohortOptions): TumourCohort {
  const { patients: count, seed, split, days = tumourConstants.days } = options;
  const policy = fullPolicy(options);
  checkWhole("the number of days", days, 2);
  const patients = tumourPatients(count, seedOf(seed, split));
  const from = random(seed, `tumour ${split}`);
  const draws = {
    noise: from.stream("noise").normals(count * days, 0, tumourConstants.noise),
    recovery: from.stream("recovery").uniforms(count * days),
    chemo: from.stream("chemo").uniforms(count * days),
    radio: from.stream("radio").uniforms(count * days),
  };
  return cohortFrom(patients, policy, draws, { days, split });
}

/** Patients of another split are others. */
export function seedOf(seed: number, split: string): number {
  return random(seed, `tumour patients, ${split}`).integer(2 ** 31);
}

/** A cohort from given draws. */
export function cohortFrom(
  patients: TumourPatients,
  policy: FullPolicy,
  draws: TumourCohortDraws,
  { days, split }: { readonly days: number; readonly split: TumourSplit },
): TumourCohort {
  const n = patients.count;
  const cells = n * days;
  const volume = new Float64Array(cells), chemoConcentration = new Float64Array(cells);
  const chemo = new Uint8Array(cells), radio = new Uint8Array(cells);
  const chemoProbability = new Float64Array(cells), radioProbability = new Float64Array(cells);
  const length = new Int32Array(n), died = new Uint8Array(n), recovered = new Uint8Array(n);
  const diameters = new Float64Array(days);
  const { deadlyVolume, cellsPerCm3, chemoDose, chemoLeft, radioDose } = tumourConstants;
  const same = policy.chemo === policy.radio;
  for (let i = 0; i < n; i++) {
    const row = i * days;
    volume[row] = patients.volume[i];
    diameters[0] = tumourDiameter(volume[row]);
    let dose = 0, t = 1;
    for (; t < days; t++) {
      const at = row + t;
      const before = chemoConcentration[at - 1];
      volume[at] = grown(patients, i, volume[at - 1], before, dose, draws.noise[at]);
      const mean = meanOfWindow(diameters, t, policy);
      const p = treatmentProbability(policy.chemo, mean);
      const q = same ? p : treatmentProbability(policy.radio, mean);
      chemoProbability[at] = p;
      radioProbability[at] = q;
      radio[at] = Number(draws.radio[at] < q);
      chemo[at] = Number(draws.chemo[at] < p);
      dose = radioDose * radio[at];
      chemoConcentration[at] = before * chemoLeft + chemoDose * chemo[at];
      if (volume[at] > deadlyVolume) {
        volume[at] = deadlyVolume;
        died[i] = 1;
        break;
      }
      if (draws.recovery[at] < Math.exp(-cellsPerCm3 * volume[at])) { // below 0 as well
        volume[at] = 0;
        recovered[i] = 1;
        break;
      }
      diameters[t] = tumourDiameter(volume[at]);
    }
    length[i] = Math.min(t, days - 1);
  }
  return {
    ...{ rows: n, days, split, volume, chemo, radio, length, type: patients.type },
    ...{ patients, policy, chemoConcentration, chemoProbability, radioProbability, died, recovered },
  };
}

/** The mean diameter that the policy looks at on day t: of the days before it, `lag` days late. */
function meanOfWindow(diameters: Float64Array, t: number, { window, lag }: FullPolicy): number {
  if (t < lag) return 0; // nothing is known yet, which the reference takes for no tumour
  const from = Math.max(t - window - lag, 0), to = Math.max(t - lag, 0);
  let sum = 0;
  for (let s = from; s < to; s++) sum += diameters[s];
  return sum / (to - from); // on day `lag` of nothing: no number, and no treatment, as in the reference
}

function checkCount(count: number): void {
  checkWhole("the number of patients", count, 1);
}

function checkWhole(what: string, value: number, least: number): void {
  if (!Number.isInteger(value) || value < least) {
    throw new RangeError(`${what} must be a whole number from ${least}, but it is ${value}`);
  }
}
