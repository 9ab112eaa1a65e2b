/**
 * Cohorts: which patients a study is about, step by step, with what is left after each step; and splits by patient.
 *
 * @module
 */
import { random } from "../random.ts";
import { type Patient, selectPatients, type Visit, type VisitTable, visitTable } from "./visits.ts";

/** A step: which patients stay, or which of their visits. Its name says what is kept. */
export type CohortStep =
  | { readonly name: string; readonly patients: (patient: Patient) => boolean }
  | { readonly name: string; readonly visits: (visit: Visit, patient: Patient) => boolean };

/** What is there after a step. */
export interface CohortStage {
  readonly stage: string;
  readonly patients: number;
  readonly visits: number;
  readonly codes: number;
  /** Patients that the step has taken away. */
  readonly lost: number;
}

/** What {@link cohort} returns; it shows itself as the table of its stages. */
export interface Cohort {
  readonly table: VisitTable;
  readonly stages: readonly CohortStage[];
}

/**
 * Builds a cohort. A patient who has no visit left after a step about visits is gone.
 *
 * @throws {RangeError} Where a step leaves nobody, naming it.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { mimic3Demo } from "tessera/data/mod.ts";
 * const { stages } = cohort(await mimic3Demo.load(), [
 *   { name: "emergencies", visits: ({ kind }) => kind === "EMERGENCY" },
 *   { name: "two visits or more", patients: ({ visits }) => visits.length >= 2 },
 * ]);
 * assert.deepEqual(stages.map(({ patients }) => patients), [100, 91, 14]);
 * ```
 */
export function cohort(table: VisitTable, steps: readonly CohortStep[]): Cohort {
  const stages = [stageOf("all", table, table.patients.length)];
  for (const step of steps) {
    const patients = "patients" in step ? table.patients.filter(step.patients) : table.patients.map((patient) => (
      { ...patient, visits: patient.visits.filter((visit) => step.visits(visit, patient)) }
    )).filter(({ visits }) => visits.length > 0);
    if (!patients.length) {
      throw new RangeError(
        `nobody of ${table.name} is left after "${step.name}" (there were ${table.patients.length}); ease that step`,
      );
    }
    const before = table.patients.length;
    table = { ...table, patients };
    stages.push(stageOf(step.name, table, before));
  }
  const display = () => {
    const columns = ["stage", "patients", "visits", "codes", "lost"] as const;
    const line = (cells: readonly (string | number)[]) => `| ${cells.join(" | ")} |`;
    const rows = stages.map((stage) => line(columns.map((column) => stage[column])));
    const text = [line(columns), "| --- | ---: | ---: | ---: | ---: |", ...rows].join("\n");
    return { "text/markdown": text, "text/plain": text };
  };
  return Object.defineProperty({ table, stages }, Symbol.for("Jupyter.display"), { value: display });
}

function stageOf(stage: string, { patients }: VisitTable, before: number): CohortStage {
  const visits = patients.flatMap(({ visits }) => visits);
  return {
    stage,
    patients: patients.length,
    visits: visits.length,
    codes: visits.reduce((sum, { codes }) => sum + codes.length, 0),
    lost: before - patients.length,
  };
}

/** Options of {@link splitPatients}. */
export interface SplitOptions<Name extends string> {
  /** Shares of the patients, which sum to 1. */
  readonly shares: Readonly<Record<Name, number>>;
  /** Default: 0. */
  readonly seed?: number;
  /** Of whom equal shares are wanted in every part: a label, by the patient. Default: nothing is looked at. */
  readonly stratifyBy?: (patient: Patient) => string | number;
}

/**
 * Splits a table by patient: no patient is in two parts. Nobody is drawn twice, so that test data have the prevalence that
 * the table has.
 *
 * @throws {RangeError} Where shares do not sum to 1, or a part would be empty.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { mimic3Demo } from "tessera/data/mod.ts";
 * const { train, test } = splitPatients(await mimic3Demo.load(), { shares: { train: 0.8, test: 0.2 } });
 * assert.deepEqual([train.patients.length, test.patients.length], [80, 20]);
 * ```
 */
export function splitPatients<Name extends string>(
  table: VisitTable,
  { shares, seed = 0, stratifyBy = () => "" }: SplitOptions<Name>,
): Record<Name, VisitTable> {
  const names = Object.keys(shares) as Name[];
  const sum = names.reduce((all, name) => all + shares[name], 0);
  if (!names.every((name) => shares[name] > 0) || Math.abs(sum - 1) > 1e-9) {
    throw new RangeError(`shares must be above 0 and sum to 1, but they sum to ${sum}; change them`);
  }
  const draw = random(seed, "split");
  const places = Object.fromEntries(names.map((name) => [name, [] as number[]])) as Record<Name, number[]>;
  const strata = Map.groupBy(table.patients.keys(), (place) => stratifyBy(table.patients[place]));
  for (const [stratum, own] of [...strata].sort(([a], [b]) => a < b ? -1 : 1)) {
    const order = draw.stream(`${stratum}`).shuffle(own);
    let upTo = 0, from = 0;
    for (const name of names) {
      upTo += shares[name];
      const end = Math.round(upTo * order.length);
      places[name].push(...order.slice(from, end));
      from = end;
    }
  }
  const parts = names.map((name) => {
    if (!places[name].length) {
      throw new RangeError(
        `the part ${name} would have none of ${table.patients.length} patients; give it a larger share`,
      );
    }
    const part = selectPatients(table, places[name].sort((a, b) => a - b));
    return [name, { ...part, name: `${table.name}, ${name}` }];
  });
  const split = Object.fromEntries(parts) as Record<Name, VisitTable>;
  refuseShared(split);
  return split;
}

/**
 * Refuses a split that shares a patient. A patient's examples are told by the part of their ids before "#", so that parts of
 * examples may be checked too.
 *
 * @throws {RangeError} Naming the patient and both parts.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { mimic3Demo } from "tessera/data/mod.ts";
 * const table = await mimic3Demo.load();
 * assert.throws(() => refuseShared({ train: table, test: table }), /patient 10006 is in train and in test/);
 * ```
 */
export function refuseShared(parts: Readonly<Record<string, VisitTable>>): void {
  const seen = new Map<string, string>();
  for (const [name, { patients }] of Object.entries(parts)) {
    for (const id of new Set(patients.map(({ id }) => id.split("#")[0]))) {
      const before = seen.get(id);
      if (before !== undefined) {
        throw new RangeError(
          `patient ${id} is in ${before} and in ${name}; split by patient (splitPatients), not by visit or example`,
        );
      }
      seen.set(id, name);
    }
  }
}

/**
 * A table with every patient's visits changed, and checked again.
 *
 * @param change Gives a patient's new visits; none: the patient is left out.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { mimic3Demo } from "tessera/data/mod.ts";
 * const first = mapVisits(await mimic3Demo.load(), ({ visits }) => visits.slice(0, 1));
 * assert.ok(first.patients.every(({ visits }) => visits.length === 1));
 * ```
 */
export function mapVisits(table: VisitTable, change: (patient: Patient) => readonly Visit[]): VisitTable {
  const patients = table.patients.map((patient) => ({ ...patient, visits: change(patient) }));
  return visitTable(patients.filter(({ visits }) => visits.length > 0), { ...table, withoutCodes: "keep" });
}
