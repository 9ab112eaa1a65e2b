/**
 * Visits: what health records are here, whatever they come from. A table of patients, each with visits in the order of time,
 * each with codes.
 *
 * Times are hours since 1970-01-01 00:00. In de-identified records the years are moved, each patient's by another number:
 * compare times within a patient only.
 *
 * @module
 */

/** What a code says of a patient. */
export type CodeKind = "diagnosis" | "procedure" | "drug";

/** A code in a visit. */
export interface VisitCode {
  /** The coding system's name: `ICD9CM`. */
  readonly system: string;
  readonly code: string;
  readonly kind: CodeKind;
  /** When it was recorded, in hours; absent where only the visit is known. */
  readonly hour?: number;
  /** What the source calls it: a drug's name. */
  readonly text?: string;
}

/** One visit: a stay in hospital, or an encounter. */
export interface Visit {
  readonly id: string;
  /** Admission, in hours. */
  readonly start: number;
  /** Discharge, in hours; null where it is unknown, or hidden from a model. */
  readonly end: number | null;
  /** `EMERGENCY`, `ELECTIVE`, ...; as the source has it. */
  readonly kind: string;
  readonly codes: readonly VisitCode[];
  /** Whether the patient died in this visit; null where it is unknown, or hidden from a model. */
  readonly died: boolean | null;
}

/** A patient. */
export interface Patient {
  readonly id: string;
  /** As the source has it: `F`, `M`. */
  readonly sex: string;
  /** As the source has it. */
  readonly ethnicity: string;
  /** Birth, in hours; null where it is unknown. */
  readonly born: number | null;
  /** Death, in hours; null where it is unknown or has not happened. */
  readonly died: number | null;
  /** By time of admission. */
  readonly visits: readonly Visit[];
}

/** Patients and their visits. */
export interface VisitTable {
  /** For titles and records of results. */
  readonly name: string;
  readonly patients: readonly Patient[];
  /** Names of the coding systems that occur. */
  readonly systems: readonly string[];
  /** What was left out on the way here, by reason. Nothing is dropped without being counted. */
  readonly dropped: Readonly<Record<string, number>>;
  /** SHA-256 of what was read; empty where nothing was. */
  readonly hash: string;
}

/** Options of {@link visitTable}. */
export interface VisitTableOptions {
  readonly name: string;
  /** The coding systems that codes may be of. */
  readonly systems: readonly string[];
  /** What becomes of a visit without codes. Default: "refuse". "drop" counts it. */
  readonly withoutCodes?: "refuse" | "drop" | "keep";
  readonly dropped?: Readonly<Record<string, number>>;
  readonly hash?: string;
}

/**
 * Checks patients once, at the door, so that everything behind it may trust them.
 *
 * @throws {RangeError} One sentence: a patient or a visit that is there twice, a visit without codes, times that go
 *   backwards (a visit before the one before it, a discharge before the admission), a code of a system that was not declared.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * const visit = (start: number) => ({
 *   id: `${start}`, start, end: start + 48, kind: "EMERGENCY", died: false,
 *   codes: [{ system: "ICD9CM", code: "038.9", kind: "diagnosis" as const }],
 * });
 * const patient = { id: "1", sex: "F", ethnicity: "", born: null, died: null };
 * const options = { name: "one patient", systems: ["ICD9CM"] };
 * const table = visitTable([{ ...patient, visits: [visit(0), visit(500)] }], options);
 * assert.equal(table.patients[0].visits.length, 2);
 * assert.throws(() => visitTable([{ ...patient, visits: [visit(500), visit(0)] }], options), /goes back in time/);
 * ```
 */
export function visitTable(patients: readonly Patient[], options: VisitTableOptions): VisitTable {
  const { name, systems, withoutCodes = "refuse", hash = "" } = options;
  const declared = new Set(systems);
  const seen = new Set<string>();
  let empty = 0, gone = 0;
  const kept = patients.flatMap((patient): Patient[] => {
    if (seen.has(patient.id)) {
      throw new RangeError(`${name} has the patient ${patient.id} twice; join the visits of both`);
    }
    seen.add(patient.id);
    const visits = patient.visits.filter((visit) => {
      if (visit.codes.length || withoutCodes === "keep") return true;
      if (withoutCodes === "drop") {
        empty++;
        return false;
      }
      throw new RangeError(
        `visit ${visit.id} of patient ${patient.id} has no codes; pass withoutCodes: "drop" to leave such visits out, ` +
          'or "keep"',
      );
    });
    checkTimes(patient.id, visits);
    for (const visit of visits) {
      const foreign = visit.codes.find(({ system }) => !declared.has(system));
      if (foreign) {
        throw new RangeError(
          `visit ${visit.id} of patient ${patient.id} has the code ${foreign.system}:${foreign.code}, but ${name} declares ` +
            `only the coding systems ${systems.join(", ")}; add ${foreign.system} to systems`,
        );
      }
    }
    if (!visits.length && withoutCodes === "drop") {
      gone++;
      return [];
    }
    return [{ ...patient, visits }];
  });
  const dropped: Record<string, number> = { ...options.dropped };
  if (empty) dropped["visits without codes"] = (dropped["visits without codes"] ?? 0) + empty;
  if (gone) dropped["patients without a visit"] = (dropped["patients without a visit"] ?? 0) + gone;
  return { name, patients: kept, systems: [...systems], dropped, hash };
}

function checkTimes(patient: string, visits: readonly Visit[]): void {
  const ids = new Set<string>();
  visits.forEach(({ id, start, end }, i) => {
    if (ids.has(id)) throw new RangeError(`patient ${patient} has the visit ${id} twice; join the codes of both`);
    ids.add(id);
    if (!Number.isFinite(start)) {
      throw new RangeError(`visit ${id} of patient ${patient} begins at ${start}; give its hour`);
    }
    if (i > 0 && start < visits[i - 1].start) {
      throw new RangeError(
        `patient ${patient} goes back in time: visit ${id} begins ${
          hours(visits[i - 1].start - start)
        } before the one in ` +
          "front of it; sort visits by time",
      );
    }
    if (end !== null && !(end >= start)) {
      throw new RangeError(
        `visit ${id} of patient ${patient} goes back in time: it ends ${
          hours(start - end)
        } before it begins; correct its times`,
      );
    }
  });
}

function hours(count: number): string {
  return `${Number(count.toFixed(1))} h`;
}

/**
 * Some of a table's patients, by their places.
 *
 * @throws {RangeError} Where a place is none.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * const patient = (id: string) => ({ id, sex: "F", ethnicity: "", born: null, died: null, visits: [] });
 * const table = visitTable([patient("a"), patient("b")], { name: "two", systems: [] });
 * assert.deepEqual(selectPatients(table, [1]).patients.map(({ id }) => id), ["b"]);
 * ```
 */
export function selectPatients(table: VisitTable, places: readonly number[]): VisitTable {
  const wrong = places.find((place) => !(place in table.patients));
  if (wrong !== undefined) {
    throw new RangeError(`there is no patient ${wrong}; ${table.name} has ${table.patients.length}, counted from 0`);
  }
  return { ...table, patients: places.map((place) => table.patients[place]) };
}
