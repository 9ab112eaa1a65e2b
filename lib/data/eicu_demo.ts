/**
 * eICU demo: laboratory panels and visits of real patients in intensive care, open data.
 *
 * Johnson et al., "eICU Collaborative Research Database Demo (version 2.0.1)", PhysioNet 2021, doi:10.13026/4mxk-na84;
 * Pollard et al., Scientific Data 2018, doi:10.1038/sdata.2018.178; data/eicu-demo/SOURCE.md.
 *
 * @module
 */
import { remember, sha256 } from "./files.ts";
import { icdCode } from "./hospital_tables.ts";
import { readGzipText, textRows } from "./text_table.ts";
import { NO_CONDITION, oneHotConditions, type RawTrajectory, type Trajectories, trajectories } from "./trajectories.ts";
import { type Patient, type Visit, type VisitCode, type VisitTable, visitTable } from "./visits.ts";

/** Options of {@link eicuDemo}. */
export interface EicuLabsOptions {
  /** Laboratory values that at least this share of the hospital stays have. Default: 0.8, as in the CLEF paper. */
  readonly minimumShare?: number;
  /** Draws within so many hours of the first one are one record. Default: 1. */
  readonly mergeHours?: number;
  /** Hospital stays with at least so many records. Default: 2. */
  readonly minimumRecords?: number;
}

/** The panels, and what had to be done to get them. */
export interface EicuLabs {
  readonly data: Trajectories;
  /** Results that were averaged with others of the same record and name. */
  readonly averaged: number;
  /**
   * Unit stays that would lie over each other if each began on the same day, as in the authors' code; on the hospital's
   * own clock, which is used here, none do.
   */
  readonly overlapping: { readonly sameDay: number; readonly hospitalClock: number };
}

interface Stay {
  readonly hospitalStay: string;
  /** Minutes from hospital admission to the unit's. */
  readonly begins: number;
  readonly ends: number;
  /** Hour of the day of the hospital's admission. */
  readonly admittedAt: number;
}

interface Tables {
  readonly stays: ReadonlyMap<string, Stay>;
  readonly labs: { stay: string; minute: number; name: string; value: number; unit: string }[];
  readonly treatments: { stay: string; minute: number; area: string }[];
}

const tables = remember(async (_: "all"): Promise<Tables> => {
  const read = async (name: string, columns: string[]) => {
    const { text } = await readGzipText(`eicu-demo/${name}.csv.gz`);
    return textRows(text.replace(/\n{2,}$/, "\n"), columns, `${name}.csv.gz`, ","); // one of them ends in empty lines
  };
  const [patients, labs, treatments] = await Promise.all([
    read("patient", [
      "patientunitstayid",
      "patienthealthsystemstayid",
      "hospitaladmitoffset",
      "unitdischargeoffset",
      "hospitaladmittime24",
    ]),
    read("lab", ["patientunitstayid", "labresultoffset", "labname", "labresult", "labmeasurenamesystem"]),
    read("treatment", ["patientunitstayid", "treatmentoffset", "treatmentstring"]),
  ]);
  return {
    stays: new Map(patients.map(([stay, hospitalStay, admitted, discharged, time]) => {
      const [hour, minute] = time.split(":").map(Number);
      const begins = -Number(admitted);
      return [stay, { hospitalStay, begins, ends: begins + Number(discharged), admittedAt: hour + minute / 60 }];
    })),
    labs: labs.filter((row) => row[3] !== "").map(([stay, minute, name, value, unit]) => (
      { stay, minute: Number(minute), name, value: Number(value), unit: unit || "1" }
    )),
    treatments: treatments.map(([stay, minute, path]) => ({ stay, minute: Number(minute), area: path.split("|")[0] })),
  };
});

/** The data set. */
export const eicuDemo = {
  /**
   * The laboratory panels. A subject is one hospital stay, on the hospital's own clock: hour 0 is midnight before admission
   * (only the time of day is true, the day is 1 January 1970). The conditions of a record are the areas of the treatments
   * that were started since the record before (cardiovascular, pulmonary, ...), joined by ";".
   *
   * @example
   * ```ts
   * import assert from "node:assert/strict";
   * const { data, overlapping } = await eicuDemo.labs();
   * assert.ok(data.variables.some(({ name, unit }) => name === "glucose" && unit === "mg/dL"));
   * assert.equal(overlapping.hospitalClock, 0);
   * ```
   */
  async labs(options: EicuLabsOptions = {}): Promise<EicuLabs> {
    const { minimumShare = 0.8, mergeHours = 1, minimumRecords = 2 } = options;
    const { stays, labs, treatments } = await tables("all");
    const known = labs.filter(({ stay }) => stays.has(stay));
    const staysWith = Map.groupBy(known, ({ name }) => name);
    const all = new Set(known.map(({ stay }) => stays.get(stay)!.hospitalStay)).size;
    const share = (name: string) =>
      new Set(staysWith.get(name)!.map(({ stay }) => stays.get(stay)!.hospitalStay)).size / all;
    const names = [...staysWith.keys()].filter((name) => share(name) >= minimumShare).sort();
    if (!names.length) {
      throw new RangeError(`no laboratory value is in ${minimumShare} of the stays; lower minimumShare`);
    }
    const column = new Map(names.map((name, v) => [name, v]));
    const unitOf = (name: string) => {
      const units = new Set(staysWith.get(name)!.map(({ unit }) => unit));
      if (units.size > 1) throw new RangeError(`${name} has the units ${[...units].join(" and ")}; convert one`);
      return [...units][0];
    };
    const onClock = (stay: string, minute: number) => {
      const { begins, admittedAt } = stays.get(stay)!;
      return admittedAt + (begins + minute) / 60;
    };
    let averaged = 0;
    const byHospitalStay = Map.groupBy(
      known.filter(({ name }) => column.has(name)),
      ({ stay }) => stays.get(stay)!.hospitalStay,
    );
    const started = Map.groupBy(
      treatments.filter(({ stay }) => stays.has(stay)),
      ({ stay }) => stays.get(stay)!.hospitalStay,
    );
    const subjects = [...byHospitalStay].map(([id, results]): RawTrajectory => {
      const timed = results.map((result) => ({ ...result, hour: onClock(result.stay, result.minute) }))
        .sort((a, b) => a.hour - b.hour);
      const records: { hour: number; cells: number[][] }[] = [];
      for (const { hour, name, value } of timed) {
        let record = records.at(-1);
        if (!record || hour - record.hour >= mergeHours && hour > record.hour) {
          record = { hour, cells: names.map(() => []) };
          records.push(record);
        }
        const cell = record.cells[column.get(name)!];
        if (cell.length) averaged++;
        cell.push(value);
      }
      const areas = (started.get(id) ?? []).map(({ stay, minute, area }) => ({ hour: onClock(stay, minute), area }));
      return {
        id,
        hours: records.map(({ hour }) => hour),
        values: records.map(({ cells }) =>
          cells.map((cell) => cell.length ? cell.reduce((sum, value) => sum + value, 0) / cell.length : null)
        ),
        conditions: records.map(({ hour }, k) => {
          const since = areas.filter((area) => area.hour <= hour && (k === 0 || area.hour > records[k - 1].hour));
          return [...new Set(since.map(({ area }) => area))].sort().join(";") || NO_CONDITION;
        }),
      };
    }).filter(({ hours }) => hours.length >= minimumRecords).sort((a, b) => Number(a.id) - Number(b.id));
    const tokens = [...new Set(treatments.map(({ area }) => area))].sort();
    const data = trajectories(subjects, {
      name: "eICU demo, laboratory panels",
      variables: names.map((name) => ({ name, unit: unitOf(name) })),
      conditions: oneHotConditions(tokens),
    });
    return { data, averaged, overlapping: overlaps([...stays.values()]) };
  },

  /**
   * Visits: a patient's stays in hospital, with diagnoses (ICD-9-CM and ICD-10-CM, as both are recorded), treatments (system
   * `EICU`, the path as its code) and drugs (system `HICL`, First Databank's numbers, with the drug's name). A stay's parts in
   * several units are one visit.
   *
   * Of two stays of a patient the data say only the year and the age: a visit begins on 1 January of the year of its discharge at
   * its hour of the day, and where a year has several, in the order of age, then of the stays' numbers, a week after the one
   * before it has ended. Times within a visit are true, times between visits are not.
   *
   * @example
   * ```ts
   * import assert from "node:assert/strict";
   * const { patients, systems } = await eicuDemo.visits();
   * assert.equal(patients.length, 97);
   * assert.deepEqual(systems, ["EICU", "HICL", "ICD10CM", "ICD9CM"]);
   * ```
   */
  visits: (): Promise<VisitTable> => visits("all"),
};

const WEEK = 7 * 24;

const visits = remember(async (_: "all"): Promise<VisitTable> => {
  const read = async (name: string, columns: string[]) => {
    const { text, hash } = await readGzipText(`eicu-demo/${name}.csv.gz`);
    return { rows: textRows(text.replace(/\n{2,}$/, "\n"), columns, `${name}.csv.gz`, ","), hash };
  };
  const stay = "patientunitstayid";
  const [people, diagnoses, treatments, drugs] = await Promise.all([
    read("patient", [
      stay,
      "patienthealthsystemstayid",
      "uniquepid",
      "gender",
      "age",
      "ethnicity",
      "hospitaladmitoffset",
      "hospitaladmittime24",
      "hospitaldischargeoffset",
      "hospitaldischargeyear",
      "hospitaldischargestatus",
      "unittype",
    ]),
    read("diagnosis", [stay, "diagnosisoffset", "icd9code", "diagnosisstring"]),
    read("treatment", [stay, "treatmentoffset", "treatmentstring"]),
    read("medication", [stay, "drugstartoffset", "drughiclseqno", "drugname", "drugordercancelled"]),
  ]);
  const dropped: Record<string, number> = {};
  const drop = (reason: string) => dropped[reason] = (dropped[reason] ?? 0) + 1;
  // codes by unit stay, with minutes since the admission to the unit
  const codes = new Map<string, { minute: number; code: Omit<VisitCode, "hour"> }[]>();
  const put = (unit: string, minute: string, code: Omit<VisitCode, "hour">) => {
    const own = codes.get(unit) ?? [];
    own.push({ minute: Number(minute), code });
    codes.set(unit, own);
  };
  for (const [unit, minute, both, text] of diagnoses.rows) {
    const parts = both.split(",").map((part) => part.trim()).filter(Boolean);
    if (!parts.length) drop("diagnoses without a code");
    for (const part of parts) {
      // ICD-9-CM: three digits, V and two, E and three; all else that begins with a letter is ICD-10-CM
      const nine = /^(\d{3}|V\d\d(\.|$)|E\d{3})/.test(part);
      put(unit, minute, { ...icdCode(part, nine ? "9" : "10", "diagnosis")!, text });
    }
  }
  for (const [unit, minute, text] of treatments.rows) {
    put(unit, minute, { system: "EICU", code: text, kind: "procedure", text });
  }
  for (const [unit, minute, number, name, cancelled] of drugs.rows) {
    if (cancelled === "Yes") drop("drug orders that were cancelled");
    else if (!number) drop("drugs without a code");
    else {put(unit, minute, {
        system: "HICL",
        code: String(Number(number)),
        kind: "drug",
        ...(name ? { text: name } : {}),
      });}
  }
  const patients = [...Map.groupBy(people.rows, ([, , patient]) => patient)].map(([id, units]): Patient => {
    const ageOf = (text: string) => text === "" ? null : Number(text.replace("> 89", "90"));
    const stays = [...Map.groupBy(units, ([, hospitalStay]) => hospitalStay)]
      .map(([hospitalStay, own]) => ({
        hospitalStay,
        own,
        first: own[0],
        year: Number(own[0][9]),
        age: ageOf(own[0][4]),
      }))
      .sort((a, b) =>
        a.year - b.year || (a.age ?? 0) - (b.age ?? 0) || Number(a.hospitalStay) - Number(b.hospitalStay)
      );
    let before = -Infinity;
    const visits = stays.map(({ hospitalStay, own, first, year }): Visit => {
      const [hour, minute] = first[7].split(":").map(Number);
      const start = Math.max(Date.UTC(year, 0, 1) / 3_600_000 + hour + minute / 60, before + WEEK);
      const end = start + (Number(first[8]) - Number(first[6])) / 60;
      before = end;
      const found = new Map<string, VisitCode>();
      for (const row of own) {
        for (const { minute, code } of codes.get(row[0]) ?? []) {
          const name = `${code.kind} ${code.system}:${code.code}`;
          const at = start + (minute - Number(row[6])) / 60;
          if (at < (found.get(name)?.hour ?? Infinity)) found.set(name, { ...code, hour: at });
        }
      }
      return {
        id: hospitalStay,
        start,
        end,
        kind: first[11],
        codes: [...found.values()].sort((a, b) => a.hour! - b.hour!),
        died: first[10] === "" ? null : first[10] === "Expired",
      };
    });
    const { age } = stays[0];
    return {
      id,
      sex: units[0][3] === "Female" ? "F" : units[0][3] === "Male" ? "M" : units[0][3],
      ethnicity: units[0][5],
      born: age === null ? null : visits[0].start - age * 365.25 * 24,
      died: null,
      visits,
    };
  });
  return visitTable(patients, {
    name: "eICU demo",
    systems: ["EICU", "HICL", "ICD10CM", "ICD9CM"],
    withoutCodes: "drop",
    dropped,
    hash: sha256(...[people, diagnoses, treatments, drugs].map(({ hash }) => new TextEncoder().encode(hash))),
  });
});

function overlaps(stays: readonly Stay[]): EicuLabs["overlapping"] {
  const count = (spans: (stay: Stay) => [number, number]) =>
    [...Map.groupBy(stays, ({ hospitalStay }) => hospitalStay).values()].reduce((sum, own) => {
      const sorted = own.map(spans).sort(([a], [b]) => a - b);
      return sum + sorted.filter(([begins], i) => i > 0 && begins < sorted[i - 1][1]).length;
    }, 0);
  return {
    sameDay: count(({ begins, ends }) => [0, ends - begins]),
    hospitalClock: count(({ begins, ends }) => [begins, ends]),
  };
}
