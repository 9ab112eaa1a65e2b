/**
 * T1D twins: SynthLab's patients with and without type 1 diabetes, otherwise the same in everything, noise included.
 *
 * Stands in for the CLEF paper's matched cohorts, which are made from credentialed records: there a diabetic patient is
 * matched with a similar healthy one; here the healthy twin is the true counterfactual.
 *
 * @module
 */
import type { Trajectories } from "../trajectories.ts";
import { type LabWorld, randomEmbeddings, simulateSubject } from "./lab_world.ts";
import { synthLabWorld } from "./synth_lab.ts";

const DIABETES = "E10";
const variable = (name: string) => synthLabWorld.variables.findIndex((each) => each.name === name);

/** SynthLab, and a condition that stays: it raises glucose by 82 % and, coupled to it, white blood cells by 28 %. */
const twinWorld: LabWorld = {
  ...synthLabWorld,
  conditions: [...synthLabWorld.conditions, {
    token: DIABETES,
    effect: { [variable("glucose")]: 0.6, [variable("WBC")]: 0.25 },
    fadesInHours: Infinity,
  }],
  table: randomEmbeddings([...synthLabWorld.conditions.map(({ token }) => token), DIABETES], 32, 7),
};

/** Pairs: subject i of one is the twin of subject i of the other. */
export interface Twins {
  readonly diabetic: Trajectories;
  readonly healthy: Trajectories;
}

/**
 * Simulates pairs of twins.
 *
 * @example Glucose and white blood cells differ, and nothing else
 * ```ts
 * import assert from "node:assert/strict";
 * const { diabetic, healthy } = t1dTwins({ pairs: 1, seed: 1 });
 * const ratios = diabetic.subjects[0].values.map((value, at) => value / healthy.subjects[0].values[at]);
 * const moved = new Set([...ratios].flatMap((ratio, at) => Math.abs(ratio - 1) > 1e-3 ? [at % 16] : []));
 * assert.deepEqual([...moved].map((v) => diabetic.variables[v].name), ["glucose", "WBC"]);
 * ```
 */
export function t1dTwins(
  { pairs, seed, records = 20 }: { readonly pairs: number; readonly seed: number; readonly records?: number },
): Twins {
  const cohort = (token: string): Trajectories => ({
    name: `T1D twins (simulated), ${token === DIABETES ? "diabetic" : "healthy"}`,
    variables: twinWorld.variables,
    // no other condition acts, so that the twins differ by the disease alone
    subjects: Array.from({ length: pairs }, (_, subject) => {
      const conditions = Object.fromEntries(Array.from({ length: records }, (_, k) => [k, k === 0 ? token : "None"]));
      return simulateSubject(twinWorld, { seed, subject, records }, { conditions });
    }),
    conditions: twinWorld.table,
    actsOn: twinWorld.actsOn,
  });
  return { diabetic: cohort(DIABETES), healthy: cohort("None") };
}
