/**
 * A person with type 1 diabetes, by the equations of the UVA/Padova simulator of 2008: stomach, gut, glucose, insulin, and
 * what a sensor under the skin sees. Because the equations are known, so is what would have happened under other insulin.
 *
 * Dalla Man, Rizza and Cobelli, "Meal Simulation Model of the Glucose-Insulin System", IEEE Transactions on Biomedical
 * Engineering 54 (10), 2007, doi:10.1109/TBME.2007.893506; parameters and conventions of Xie, simglucose (2018). A test holds
 * it against simglucose's own trajectories (30 patients, a day each): on average within 0.5 mg/dL, at worst within 7, because
 * the file gives a meal's time to three minutes only. For research, not for treatment.
 *
 * @module
 */

/** Parameters of one virtual patient, under simglucose's names. */
export type GlucosePatient = Readonly<Record<string, number>>;

/** What happens to a patient in one minute. */
export interface GlucoseInput {
  /** Grams of carbohydrates of a meal that is announced in this minute; it is eaten at 5 g a minute. */
  readonly carbohydrates: number;
  /** Units of insulin in this minute, basal and bolus together. */
  readonly insulin: number;
}

/** Grams that a patient eats in a minute. */
const EATING_RATE = 5;
/** Steps of the integrator in a minute. */
const STEPS = 2;

/**
 * Glucose under the skin, minute by minute.
 *
 * @param inputs One per minute.
 * @returns mg/dL at the start and after each minute: one number more than there are inputs.
 *
 * @example With the insulin that keeps it in balance, glucose stays where it is
 * ```ts
 * import assert from "node:assert/strict";
 * import { simglucose } from "tessera/data/mod.ts";
 * const [{ parameters }] = await simglucose.patients();
 * const basal = { carbohydrates: 0, insulin: parameters.u2ss * parameters.BW / 6000 };
 * const glucose = simulateGlucose(parameters, Array.from({ length: 60 }, () => basal));
 * assert.ok(Math.abs(glucose[60] - parameters.Gb) < 0.1);
 * ```
 */
export function simulateGlucose(patient: GlucosePatient, inputs: readonly GlucoseInput[]): Float64Array {
  let state = Float64Array.from({ length: 13 }, (_, i) => {
    // simglucose's file writes x0_ 1 to x0_ 9 with a blank
    const value = patient[`x0_ ${i + 1}`] ?? patient[`x0_${i + 1}`];
    if (value === undefined) {
      throw new RangeError(`the patient has no start value x0_${i + 1}; take one of simglucose's`);
    }
    return value;
  });
  const glucose = new Float64Array(inputs.length + 1);
  glucose[0] = state[12] / patient.Vg;
  let planned = 0, eaten = 0, stomachBefore = 0, ateBefore = false;
  inputs.forEach(({ carbohydrates, insulin }, minute) => {
    planned += carbohydrates;
    const eating = Math.min(EATING_RATE, planned);
    planned -= eating;
    if (eating > 0 && !ateBefore) [stomachBefore, eaten] = [state[0] + state[1], 0];
    eaten += eating;
    ateBefore = eating > 0;
    // grams added to milligrams: what simglucose did when it made its trajectories, which a meal then leaves at full speed
    const meal = stomachBefore + eaten;
    for (let step = 0; step < STEPS; step++) {
      state = rungeKutta((x) => slopes(x, patient, eating * 1000, insulin * 6000 / patient.BW, meal), state, 1 / STEPS);
    }
    glucose[minute + 1] = state[12] / patient.Vg;
  });
  return glucose;
}

/** The slopes of the thirteen states, per minute. */
function slopes(
  x: Float64Array,
  p: GlucosePatient,
  food: number,
  insulin: number,
  meal: number,
): Float64Array {
  const d = new Float64Array(13);
  // stomach, solid and liquid, and gut (mg); how fast the stomach empties depends on how full it is
  const full = x[0] + x[1];
  let emptying = p.kmax;
  if (meal > 0) {
    const [alpha, beta] = [5 / (2 * meal * (1 - p.b)), 5 / (2 * meal * p.d)];
    emptying = p.kmin +
      (p.kmax - p.kmin) / 2 * (Math.tanh(alpha * (full - p.b * meal)) - Math.tanh(beta * (full - p.d * meal)) + 2);
  }
  d[0] = food - p.kmax * x[0];
  d[1] = p.kmax * x[0] - emptying * x[1];
  d[2] = emptying * x[1] - p.kabs * x[2];
  const appearance = p.f * p.kabs * x[2] / p.BW;
  // glucose in plasma and tissue (mg/kg)
  const production = Math.max(0, p.kp1 - p.kp2 * x[3] - p.kp3 * x[8]);
  const excretion = x[3] > p.ke2 ? p.ke1 * (x[3] - p.ke2) : 0;
  const use = (p.Vm0 + p.Vmx * x[6]) * x[4] / (p.Km0 + x[4]);
  d[3] = production + appearance - p.Fsnc - excretion - p.k1 * x[3] + p.k2 * x[4];
  d[4] = -use + p.k1 * x[3] - p.k2 * x[4];
  // insulin in plasma (pmol/kg), its action, liver, and two depots under the skin
  d[5] = -(p.m2 + p.m4) * x[5] + p.m1 * x[9] + p.ka1 * x[10] + p.ka2 * x[11];
  const concentration = x[5] / p.Vi;
  d[6] = p.p2u * (concentration - p.Ib - x[6]);
  d[7] = -p.ki * (x[7] - concentration);
  d[8] = -p.ki * (x[8] - x[7]);
  d[9] = -(p.m1 + p.m30) * x[9] + p.m2 * x[5];
  d[10] = insulin - (p.ka1 + p.kd) * x[10];
  d[11] = p.kd * x[10] - p.ka2 * x[11];
  d[12] = p.ksc * (x[3] - x[12]);
  for (const i of [3, 4, 5, 9, 10, 11, 12]) if (x[i] < 0) d[i] = 0; // what is gone stays gone
  return d;
}

/** One step of the classical Runge-Kutta method. */
function rungeKutta(slope: (x: Float64Array) => Float64Array, x: Float64Array, h: number): Float64Array<ArrayBuffer> {
  const moved = (by: Float64Array, factor: number) => Float64Array.from(x, (value, i) => value + factor * by[i]);
  const k1 = slope(x);
  const k2 = slope(moved(k1, h / 2));
  const k3 = slope(moved(k2, h / 2));
  const k4 = slope(moved(k3, h));
  return Float64Array.from(x, (value, i) => value + h / 6 * (k1[i] + 2 * k2[i] + 2 * k3[i] + k4[i]));
}
