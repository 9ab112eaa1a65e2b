/**
 * eICU demo: laboratory panels of real patients in intensive care, open data.
 *
 * Johnson et al., "eICU Collaborative Research Database Demo (version 2.0.1)", PhysioNet 2021, doi:10.13026/4mxk-na84;
 * Pollard et al., Scientific Data 2018, doi:10.1038/sdata.2018.178; data/eicu-demo/SOURCE.md.
 *
 * @module
 */
import { remember } from "./files.ts";
import { readGzipText, textRows } from "./text_table.ts";
import { NO_CONDITION, oneHotConditions, type RawTrajectory, type Trajectories, trajectories } from "./trajectories.ts";

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
};

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
