/**
 * Semi-synthetic lite: patients with 25 vital signs, two outcomes and three treatments that depend on both; with true
 * counterfactuals. The second world of the models that are compared on tumours.
 *
 * The recipe is that of Melnychuk, Frauen and Feuerriegel, "Causal Transformer for Estimating Counterfactual Outcomes", ICML
 * 2022, arXiv:2204.07258, appendix on semi-synthetic MIMIC-III, with the constants of its configuration; their vital signs
 * come from credentialed records, ours are autoregressive series, so that numbers are not comparable with the paper's. What
 * the recipe leaves open is ours: which vital signs a function reads, and the shapes of the three trends.
 *
 * @module
 */
import { type Random, random } from "../../random.ts";

const VITALS = 25;
/** How much of a vital sign stays from step to step. */
const MEMORY = 0.9;
const COMPONENTS = 100;

/** What makes an outcome: a function of vital signs, a smooth wandering, and a trend. */
const outcomeParts = [
  { ofVitals: 0.9, wandering: 0.4, white: 0.005, trend: 2.0 },
  { ofVitals: 1.0, wandering: 0.5, white: 0.001, trend: 3.5 },
] as const;

/** Control points of the trends (degree 4), and how frequent they are. */
const trends = [
  { name: "fast decline", points: [0.5, -0.2, -0.7, -0.9, -1], share: 0.35 },
  { name: "mild decline", points: [0.5, 0.3, 0.1, -0.1, -0.3], share: 0.35 },
  { name: "stable", points: [0.5, 0.5, 0.5, 0.5, 0.5], share: 0.3 },
] as const;

/** Steps whose outcomes a treatment's propensity averages, how strongly it follows them and the vitals, and its effect. */
const treatmentParts = [
  { window: 3, byOutcome: 2.5, byVitals: 2.5, bias: 0, effect: -1, lasts: 20, actsOn: [0] },
  { window: 3, byOutcome: 2.0, byVitals: 0.25, bias: 1, effect: -1, lasts: 20, actsOn: [0, 1] },
  { window: 20, byOutcome: 1.5, byVitals: 0.25, bias: 0, effect: -0.75, lasts: 7, actsOn: [1] },
] as const;

/** Numbers of outcomes and of treatments. */
const OUTCOMES = outcomeParts.length, TREATMENTS = treatmentParts.length;

/** Simulated patients. */
export interface SemiSynthetic {
  readonly patients: number;
  readonly steps: number;
  /** [patients, steps, 25] */
  readonly vitals: Float64Array;
  /** [patients, steps, 2]: without any treatment, and as they were. */
  readonly untreated: Float64Array;
  readonly outcomes: Float64Array;
  /** [patients, steps, 3]: what was given, and how likely it was. */
  readonly treatments: Uint8Array;
  readonly propensities: Float64Array;
  /**
   * A patient's outcomes had other treatments been given from a step on: [steps, 2].
   *
   * @param from The first step of the plan.
   * @param plan [steps of the plan, 3]; what comes after the plan is not treated.
   */
  counterfactual(patient: number, from: number, plan: readonly (readonly number[])[]): Float64Array;
}

/**
 * Simulates patients.
 *
 * @param steps Default: 60.
 *
 * @example What was given gives what happened; without it no outcome is lower
 * ```ts
 * import assert from "node:assert/strict";
 * const world = semiSynthetic({ patients: 2, seed: 1, steps: 10 });
 * const given = Array.from({ length: 10 }, (_, t) => [0, 1, 2].map((k) => world.treatments[3 * t + k]));
 * assert.deepEqual(world.counterfactual(0, 0, given), world.outcomes.slice(0, 20));
 * assert.ok(world.counterfactual(0, 0, []).every((value, at) => value >= world.outcomes[at]));
 * ```
 */
export function semiSynthetic(
  { patients, seed, steps = 60 }: { readonly patients: number; readonly seed: number; readonly steps?: number },
): SemiSynthetic {
  for (const [what, value] of Object.entries({ patients, steps })) {
    if (!Number.isInteger(value) || value < 1) {
      throw new RangeError(`${what} must be a whole number from 1, but it is ${value}`);
    }
  }
  const structure = random(seed, "semi-synthetic structure");
  const ofOutcome = outcomeParts.map((_, k) => fourierFeatures(structure.stream(`outcome ${k}`), 0.005, 40));
  const ofTreatment = treatmentParts.map((_, k) => fourierFeatures(structure.stream(`treatment ${k}`), 0.01, 30));
  const wander = smoothWandering(steps, 25);
  const vitals = new Float64Array(patients * steps * VITALS);
  const untreated = new Float64Array(patients * steps * OUTCOMES);
  const outcomes = new Float64Array(untreated.length);
  const treatments = new Uint8Array(patients * steps * TREATMENTS);
  const propensities = new Float64Array(treatments.length);
  const sight = (patient: number, t: number) => {
    const at = (patient * steps + t) * VITALS;
    return vitals.subarray(at, at + VITALS);
  };

  for (let patient = 0; patient < patients; patient++) {
    const from = random(seed, `semi-synthetic patient ${patient}`);
    for (let v = 0; v < VITALS; v++) {
      let value = from.normal();
      for (let t = 0; t < steps; t++) {
        vitals[(patient * steps + t) * VITALS + v] = value;
        value = MEMORY * value + Math.sqrt(1 - MEMORY ** 2) * from.normal();
      }
    }
    outcomeParts.forEach(({ ofVitals, wandering, white, trend }, k) => {
      const { points } = trends[from.categorical(trends.map(({ share }) => share))];
      const smooth = wander(from);
      for (let t = 0; t < steps; t++) {
        const noise = Math.sqrt(white) * from.normal();
        untreated[(patient * steps + t) * OUTCOMES + k] = ofVitals * ofOutcome[k](sight(patient, t)) +
          wandering * (smooth[t] + noise) + trend * bezier(points, steps > 1 ? t / (steps - 1) : 0);
      }
    });
    const start = patient * steps * OUTCOMES;
    const now = untreated.slice(start, start + steps * OUTCOMES);
    for (let t = 0; t < steps; t++) {
      const likely = treatmentParts.map((part, k) => propensity(part, now, t, ofTreatment[k](sight(patient, t))));
      const at = (patient * steps + t) * TREATMENTS;
      likely.forEach((p, k) => {
        propensities[at + k] = p;
        treatments[at + k] = Number(from.bernoulli(p));
      });
      treat(now, steps, t, treatments.subarray(at, at + TREATMENTS), likely);
    }
    outcomes.set(now, start);
  }

  const counterfactual = (patient: number, from: number, plan: readonly (readonly number[])[]) => {
    if (!(patient >= 0 && patient < patients)) {
      throw new RangeError(`there are patients 0 to ${patients - 1}, but ${patient} is asked for`);
    }
    if (!(from >= 0 && from + plan.length <= steps)) {
      throw new RangeError(
        `a plan lies within steps 0 to ${steps - 1}, but it is ${plan.length} steps from ${from} on`,
      );
    }
    const start = patient * steps * OUTCOMES;
    const now = untreated.slice(start, start + steps * OUTCOMES);
    for (let t = 0; t < from + plan.length; t++) {
      const at = (patient * steps + t) * TREATMENTS;
      const features = ofTreatment.map((feature) => feature(sight(patient, t)));
      const likely = treatmentParts.map((part, k) => propensity(part, now, t, features[k]));
      treat(now, steps, t, t < from ? treatments.subarray(at, at + TREATMENTS) : plan[t - from], likely);
    }
    return now;
  };
  return { patients, steps, vitals, untreated, outcomes, treatments, propensities, counterfactual };
}

/** How likely a treatment is: the higher the outcomes of late that it acts on, the likelier. */
function propensity(
  { window, byOutcome, byVitals, bias, actsOn }: typeof treatmentParts[number],
  outcomes: Float64Array,
  t: number,
  feature: number,
): number {
  let sum = 0, count = 0;
  for (let s = Math.max(0, t - window); s <= t; s++) {
    for (const k of actsOn) {
      sum += outcomes[s * OUTCOMES + k];
      count++;
    }
  }
  return 1 / (1 + Math.exp(-(bias + byOutcome * sum / count + byVitals * feature)));
}

/** Changes what comes after a step: of the futures under each treatment alone, the lowest. */
function treat(
  outcomes: Float64Array,
  steps: number,
  t: number,
  given: ArrayLike<number>,
  propensities: readonly number[],
): void {
  for (let k = 0; k < OUTCOMES; k++) {
    for (let s = t + 1; s < steps; s++) {
      let lowest = 0;
      treatmentParts.forEach(({ effect, lasts, actsOn }, which) => {
        const lag = s - t;
        if (!given[which] || lag > lasts || !(actsOn as readonly number[]).includes(k)) return;
        lowest = Math.min(lowest, propensities[which] * effect / Math.sqrt(lag));
      });
      outcomes[s * OUTCOMES + k] += lowest;
    }
  }
}

/**
 * A random smooth function of three vital signs: random Fourier features of a Gaussian kernel.
 *
 * Rahimi and Recht, "Random Features for Large-Scale Kernel Machines", NeurIPS 2007.
 */
function fourierFeatures(from: Random, gamma: number, scale: number): (vitals: ArrayLike<number>) => number {
  const read = from.permutation(VITALS).slice(0, 3);
  const frequencies = Array.from({ length: COMPONENTS }, () => read.map(() => Math.sqrt(2 * gamma) * from.normal()));
  const phases = Array.from({ length: COMPONENTS }, () => from.uniform(0, 2 * Math.PI));
  const weights = Array.from({ length: COMPONENTS }, () => scale / Math.sqrt(COMPONENTS) * from.normal());
  const valueAt = (x: readonly number[]) => {
    let sum = 0;
    for (let c = 0; c < COMPONENTS; c++) {
      const angle = frequencies[c].reduce((total, frequency, v) => total + frequency * x[v], phases[c]);
      sum += weights[c] * Math.sqrt(2 / COMPONENTS) * Math.cos(angle);
    }
    return sum;
  };
  const middle = valueAt([0, 0, 0]); // an average patient has 0
  return (vitals) => valueAt(read.map((v) => vitals[v])) - middle;
}

/** Draws from a Gaussian process with a Matérn kernel (5/2) over the steps. */
function smoothWandering(steps: number, length: number): (from: Random) => Float64Array {
  const root = new Float64Array(steps * steps); // Cholesky's lower triangle
  for (let a = 0; a < steps; a++) {
    for (let b = 0; b <= a; b++) {
      const scaled = Math.sqrt(5) * (a - b) / length;
      let left = (1 + scaled + scaled ** 2 / 3) * Math.exp(-scaled) + (a === b ? 1e-6 : 0);
      for (let k = 0; k < b; k++) left -= root[a * steps + k] * root[b * steps + k];
      root[a * steps + b] = a === b ? Math.sqrt(left) : left / root[b * steps + b];
    }
  }
  return (from) => {
    const independent = Array.from({ length: steps }, () => from.normal());
    return Float64Array.from({ length: steps }, (_, a) => {
      let sum = 0;
      for (let b = 0; b <= a; b++) sum += root[a * steps + b] * independent[b];
      return sum;
    });
  };
}

/** A curve by its control points, at 0 to 1. */
function bezier(points: readonly number[], at: number): number {
  let row = [...points];
  while (row.length > 1) row = row.slice(1).map((value, k) => row[k] * (1 - at) + value * at);
  return row[0];
}
