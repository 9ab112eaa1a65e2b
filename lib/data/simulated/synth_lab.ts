/**
 * SynthLab: simulated laboratory panels of 16 variables under 12 conditions, irregular in time, with true counterfactuals.
 *
 * Stands in for credentialed hospital data (eICU, MIMIC-IV), which cannot be passed on. The constants are those of our
 * specification of CLEF's experiments, drawn once and rounded; the names say which panel the levels resemble, not more.
 *
 * @module
 */
import { type Trajectories, type Trajectory } from "../trajectories.ts";
import { type Change, type LabWorld, randomEmbeddings, simulateSubject } from "./lab_world.ts";

const variables = [
  ["sodium", "mmol/L"],
  ["potassium", "mmol/L"],
  ["chloride", "mmol/L"],
  ["bicarbonate", "mmol/L"],
  ["urea nitrogen", "mg/dL"],
  ["creatinine", "mg/dL"],
  ["glucose", "mg/dL"],
  ["calcium", "mg/dL"],
  ["magnesium", "mg/dL"],
  ["phosphate", "mg/dL"],
  ["WBC", "K/uL"],
  ["haemoglobin", "g/dL"],
  ["haematocrit", "%"],
  ["platelets", "K/uL"],
  ["MCV", "fL"],
  ["MCH", "pg"],
].map(([name, unit]) => ({ name, unit }));

const effects: readonly Record<number, number>[] = [
  { 1: 0.622, 6: 0.517, 12: -0.775 },
  { 0: -0.576, 3: 0.405, 6: 0.635 },
  { 2: 0.779, 7: -0.505, 11: 0.534 },
  { 0: 0.581, 8: 0.579, 10: -0.766 },
  { 4: 0.411, 8: -0.597, 14: 0.337 },
  { 0: -0.675, 2: 0.654, 4: -0.577 },
  { 2: -0.621, 5: 0.639, 12: 0.503 },
  { 1: 0.678, 4: 0.533, 8: -0.552 },
  { 0: -0.693, 2: 0.656, 5: -0.524 },
  { 0: 0.639, 11: -0.632, 12: 0.579 },
  { 3: -0.515, 6: -0.446, 8: -0.800 },
  { 5: 0.489, 7: -0.774, 15: -0.745 },
];

const fadesInHours = [49.62, 108.90, 71.41, 89.81, 31.04, 107.19, 54.04, 71.47, 43.01, 64.34, 103.49, 103.45];

/** Row, column, size. */
const coupling: readonly (readonly [number, number, number])[] = [
  [0, 3, -0.014],
  [0, 6, -0.006],
  [0, 8, 0.280],
  [0, 9, -0.021],
  [0, 12, -0.091],
  [0, 15, -0.156],
  [2, 9, -0.181],
  [2, 10, 0.035],
  [3, 8, 0.031],
  [3, 13, 0.035],
  [4, 6, 0.191],
  [5, 0, 0.059],
  [5, 6, 0.088],
  [5, 7, 0.161],
  [5, 9, -0.046],
  [5, 12, -0.246],
  [5, 13, 0.087],
  [6, 2, -0.090],
  [6, 7, 0.057],
  [6, 9, -0.002],
  [6, 11, -0.414],
  [6, 12, -0.019],
  [6, 14, 0.102],
  [7, 3, 0.118],
  [7, 8, -0.024],
  [7, 15, -0.028],
  [8, 1, 0.118],
  [8, 2, 0.157],
  [9, 0, -0.128],
  [9, 11, 0.182],
  [9, 12, 0.336],
  [9, 15, 0.033],
  [10, 5, -0.124],
  [10, 14, 0.075],
  [11, 4, -0.111],
  [11, 7, 0.105],
  [11, 9, -0.156],
  [13, 1, 0.055],
  [13, 4, -0.091],
  [14, 4, 0.045],
  [14, 5, -0.016],
  [14, 8, -0.081],
  [14, 9, -0.092],
  [14, 11, -0.004],
  [15, 14, 0.106],
];

const tokens = effects.map((_, c) => `C${c}`);

/** The world of {@link synthLab}. */
export const synthLabWorld: LabWorld = {
  variables,
  mean: [140, 4.1, 104, 25, 18, 1.0, 120, 8.7, 1.9, 3.4, 9.5, 10.5, 31.5, 215, 90, 29.5],
  std: [
    ...[0.2375, 0.3192, 0.2827, 0.1176, 0.1400, 0.3121, 0.0516, 0.2964],
    ...[0.2891, 0.1904, 0.1409, 0.1335, 0.1265, 0.1835, 0.2014, 0.2160],
  ],
  betweenSubjects: 0.75,
  memoryHours: [
    ...[82.91, 58.94, 84.74, 96.25, 75.39, 132.94, 105.90, 62.73],
    ...[58.79, 195.63, 61.05, 56.21, 86.31, 192.03, 64.31, 120.93],
  ],
  coupling: coupling.map(([row, column, size]) => ({ row, column, size })),
  conditions: effects.map((effect, c) => ({ token: tokens[c], effect, fadesInHours: fadesInHours[c] })),
  table: randomEmbeddings(tokens, 32, 7),
  gap: { medianHours: 18, logStd: 0.8 },
  conditionRate: 0.25,
  missingRate: 0.1,
  actsOn: "same record",
};

/** A simulated data set that can be asked what would have been. */
export interface SimulatedTrajectories extends Trajectories {
  /**
   * What would have happened to a subject: the same noise, another condition or time.
   *
   * @param place Its place in `subjects`.
   */
  counterfactual(place: number, change: Change): Trajectory;
}

/**
 * SynthLab.
 *
 * @param subjects How many.
 * @param seed Seeds 1, 2 and 3 are training, validation and test in our experiments.
 *
 * @example The condition of record 3 taken away: nothing before it changes
 * ```ts
 * import assert from "node:assert/strict";
 * const data = synthLab({ subjects: 2, seed: 1 });
 * const other = data.counterfactual(0, { conditions: { 3: "C0" } });
 * assert.deepEqual(other.values.slice(0, 48), data.subjects[0].values.slice(0, 48));
 * assert.notDeepEqual(other.values.slice(48, 64), data.subjects[0].values.slice(48, 64));
 * ```
 */
export function synthLab(
  { subjects, seed, records = 20 }: { readonly subjects: number; readonly seed: number; readonly records?: number },
): SimulatedTrajectories {
  return simulatedFrom(synthLabWorld, "SynthLab (simulated)", { subjects, seed, records });
}

/** A data set of a world. */
export function simulatedFrom(
  world: LabWorld,
  name: string,
  { subjects, seed, records }: { readonly subjects: number; readonly seed: number; readonly records: number },
): SimulatedTrajectories {
  return {
    name,
    variables: world.variables,
    subjects: Array.from({ length: subjects }, (_, subject) => simulateSubject(world, { seed, subject, records })),
    conditions: world.table,
    actsOn: world.actsOn,
    counterfactual: (place, change) => simulateSubject(world, { seed, subject: place, records }, change),
  };
}
