/**
 * Event tables as visits: MEDS, and the tables of OMOP's common data model.
 *
 * Medical Event Data Standard 0.3: Arnrich et al., "Medical Event Data Standard (MEDS): Facilitating Machine Learning for
 * Health", ICLR 2024 workshop on time series for health; columns `subject_id`, `time`, `code`, `numeric_value`. OMOP Common Data
 * Model 5.4, OHDSI. Samples of both are in `data/event-samples`, simulated.
 *
 * @module
 */
import { pathOf, readBytes, sha256 } from "./files.ts";
import { hoursOf, icdCode, plainText } from "./hospital_tables.ts";
import { readTable } from "./table.ts";
import { textRows } from "./text_table.ts";
import {
  type CodeKind,
  type Patient,
  type Visit,
  type VisitCode,
  type VisitTable,
  visitTable,
  type VisitTableOptions,
} from "./visits.ts";

/** Which system the codes of a vocabulary belong to here, and what they say. */
export interface Vocabulary {
  readonly system: string;
  readonly kind: CodeKind;
}

/** Vocabularies by the names that MEDS and OMOP tables have for them, in upper case without marks. */
const vocabularies: Readonly<Record<string, Vocabulary>> = {
  ICD9CM: { system: "ICD9CM", kind: "diagnosis" },
  ICD10CM: { system: "ICD10CM", kind: "diagnosis" },
  SNOMED: { system: "SNOMED", kind: "diagnosis" },
  ICD9PROC: { system: "ICD9PROC", kind: "procedure" },
  ICD10PCS: { system: "ICD10PCS", kind: "procedure" },
  CPT4: { system: "CPT", kind: "procedure" },
  HCPCS: { system: "HCPCS", kind: "procedure" },
  RXNORM: { system: "RXNORM", kind: "drug" },
  NDC: { system: "NDC", kind: "drug" },
  ATC: { system: "ATC", kind: "drug" },
};

/** Vocabularies of measurements, which have no place in a visit of codes: they are counted. */
const measured = new Set(["LOINC", "LAB", "VITAL", "VITALS", "UCUM", "BLOODPRESSURE", "SUBJECTFLUIDOUTPUT"]);

/** Options of {@link readMeds} and {@link readOmop}. */
export interface EventTableOptions extends Pick<VisitTableOptions, "withoutCodes"> {
  readonly name?: string;
  /** Vocabularies that are not known here: `{ GTIN: { system: "GTIN", kind: "drug" } }`. */
  readonly vocabularies?: Readonly<Record<string, Vocabulary>>;
  /** What becomes of a code of another vocabulary. Default: "refuse". "drop" counts it. */
  readonly unknownVocabulary?: "refuse" | "drop";
  /** Of MEDS events that name no visit: after so many hours without one a new visit begins. Default: 24. */
  readonly gapHours?: number;
}

const MEDS = "MEDS 0.3";

interface Event {
  readonly subject: string;
  /** NaN where it has none: what is true at all times. */
  readonly hour: number;
  readonly code: string;
  readonly visit: string;
}

/**
 * Reads MEDS events, `.parquet` or `.csv`: `subject_id`, `time`, `code`, `numeric_value`, and where there is one the visit
 * (`hadm_id`, `visit_id` or `encounter_id`).
 *
 * A code is `VOCABULARY//CODE` or `VOCABULARY/CODE`, MIMIC's `DIAGNOSIS//ICD//10//E119` too. `MEDS_BIRTH`, `MEDS_DEATH`,
 * `GENDER//F`, `RACE//...` say something of the patient; `HOSPITAL_ADMISSION//...` and `HOSPITAL_DISCHARGE//...` begin and end a
 * visit. Without visits and admissions, events are one visit until there is none for `gapHours`.
 *
 * @throws {Error} One sentence: a table of another version (naming the column that tells), a time that cannot be read, a
 *   vocabulary that is not known; then what `visitTable` refuses.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { dataFolder } from "tessera/data/mod.ts";
 * const { patients } = await readMeds(new URL("event-samples/meds.csv", dataFolder));
 * assert.deepEqual(patients.map(({ visits }) => visits.length), [2, 1]);
 * ```
 */
export async function readMeds(file: string | URL, options: EventTableOptions = {}): Promise<VisitTable> {
  const { gapHours = 24, withoutCodes = "drop" } = options;
  const { events, hash } = await medsEvents(file);
  const dropped: Record<string, number> = {};
  const drop = (reason: string) => dropped[reason] = (dropped[reason] ?? 0) + 1;
  const codeOf = coder(options, drop);
  const patients = [...Map.groupBy(events, ({ subject }) => subject)].map(([id, own]): Patient => {
    const person = { sex: "", ethnicity: "", born: null as number | null, died: null as number | null };
    const inTime = own.map((event, place) => ({ ...event, place })).sort((a, b) =>
      a.hour - b.hour || a.place - b.place
    );
    const visits = new Map<string, { visit: Visit; codes: Map<string, VisitCode>; last: number; open: boolean }>();
    let current: string | undefined;
    for (const { hour, code, visit } of inTime) {
      const [head, ...rest] = code.split("//");
      if (code === "MEDS_BIRTH") person.born = hour;
      else if (code === "MEDS_DEATH") person.died = hour;
      else if (head === "GENDER" || head === "SEX") person.sex = rest.join("//");
      else if (head === "RACE" || head === "ETHNICITY") person.ethnicity = rest.join("//");
      else if (Number.isNaN(hour)) drop("events without a time");
      else {
        const admitted = head === "HOSPITAL_ADMISSION";
        const before = current === undefined ? undefined : visits.get(current)!;
        const goesOn = before &&
          (visit ? visit === current : !admitted && (before.open || hour - before.last <= gapHours));
        if (!goesOn) {
          current = visit || `${id}.${visits.size}`;
          if (!visits.has(current)) {
            visits.set(current, {
              visit: {
                id: current,
                start: hour,
                end: null,
                kind: admitted ? rest[0] ?? "" : "",
                codes: [],
                died: null,
              },
              codes: new Map(),
              last: hour,
              open: admitted,
            });
          }
        }
        const own = visits.get(current!)!;
        own.last = hour;
        if (head === "HOSPITAL_DISCHARGE") {
          own.visit = { ...own.visit, end: hour, died: /DIED|DEAD|EXPIRED/i.test(rest.join(" ")) };
          own.open = false;
        } else if (!admitted) {
          const found = codeOf(code, `${pathOf(file)}: subject ${id}`);
          const name = found && `${found.kind} ${found.system}:${found.code}`;
          if (found && !own.codes.has(name!)) own.codes.set(name!, { ...found, hour });
        }
      }
    }
    const all = [...visits.values()].map(({ visit, codes }) => ({ ...visit, codes: [...codes.values()] }));
    return { id, ...person, visits: all.sort((a, b) => a.start - b.start) };
  });
  return finished(patients, { name: options.name ?? `${MEDS} events`, withoutCodes, dropped, hash });
}

/** Reads events as text, whatever file they are in. */
async function medsEvents(file: string | URL): Promise<{ events: Event[]; hash: string }> {
  const path = pathOf(file);
  const bytes = await readBytes(file);
  const wanted = ["subject_id", "time", "code", "numeric_value"];
  const visitColumns = ["hadm_id", "visit_id", "encounter_id"];
  const check = (columns: readonly string[]) => {
    const missing = wanted.find((column) => !columns.includes(column));
    if (missing === undefined) return;
    const older = columns.includes("patient_id") || columns.includes("timestamp") || columns.includes("events");
    throw new Error(
      `${path} is no table of ${MEDS}: it has no column ${JSON.stringify(missing)}${
        older ? ", as tables of MEDS before 0.3 have not (they say patient_id and timestamp)" : ""
      }; it has ${columns.join(", ")}; convert it with the MEDS package`,
    );
  };
  let rows: string[][];
  if (/\.parquet$/i.test(path)) {
    const frame = await readTable(file);
    check(frame.columns);
    const visit = visitColumns.find((column) => frame.columns.includes(column));
    const cells = ["subject_id", "time", "code", ...(visit ? [visit] : [])].map((name) =>
      [...frame.getColumn(name).toArray()].map(textOf)
    );
    rows = cells[0].map((_, i) => cells.map((column) => column[i]));
  } else {
    const text = await plainText(bytes, path);
    const columns = text.slice(0, text.search(/\r?\n|$/)).split(",");
    check(columns);
    const visit = visitColumns.find((column) => columns.includes(column));
    rows = textRows(text, ["subject_id", "time", "code", ...(visit ? [visit] : [])], path, ",");
  }
  const events = rows.map(([subject, time, code, visit = ""], i): Event => {
    const hour = time === "" ? NaN : hoursOf(time);
    if (hour === undefined) {
      throw new Error(
        `${path}, event ${i + 1}: the column "time" of ${MEDS} holds ${
          JSON.stringify(time)
        }, which is no time; write ` +
          "2164-10-23 21:09:00",
      );
    }
    return { subject, hour, code, visit };
  });
  return { events, hash: sha256(bytes) };
}

function textOf(value: unknown): string {
  if (value === null || value === undefined) return "";
  return value instanceof Date ? value.toISOString() : String(value);
}

/** From a table's text to a code; undefined where it is a measurement, or of a vocabulary that may be dropped. */
function coder(options: EventTableOptions, drop: (reason: string) => void) {
  const { unknownVocabulary = "refuse" } = options;
  const known = { ...vocabularies, ...options.vocabularies };
  return (text: string, where: string): VisitCode | undefined => {
    const parts = text.split(/\/\/|\//).filter(Boolean);
    // MIMIC's: DIAGNOSIS//ICD//10//E119
    if (parts.length >= 4 && parts[1] === "ICD" && (parts[0] === "DIAGNOSIS" || parts[0] === "PROCEDURE")) {
      return icdCode(parts[3], parts[2], parts[0] === "DIAGNOSIS" ? "diagnosis" : "procedure");
    }
    const name = parts[0].toUpperCase().replace(/[^A-Z0-9]/g, "");
    const code = parts.slice(1).join("/");
    if (measured.has(name)) return void drop("measurements");
    const vocabulary = Object.hasOwn(known, name) ? known[name] : known[parts[0]];
    if (!vocabulary || !code) {
      if (unknownVocabulary === "drop") return void drop(`codes of ${parts[0]}`);
      throw new Error(
        `${where} has the code ${text}, and no coding system is declared for ${
          parts[0]
        }; add it to vocabularies, or pass ` +
          'unknownVocabulary: "drop"',
      );
    }
    const { system, kind } = vocabulary;
    if (/^ICD\d+(CM|PROC|PCS)$/.test(system)) return icdCode(code, system.startsWith("ICD9") ? "9" : "10", kind);
    return { system, code, kind };
  };
}

const OMOP = "OMOP CDM 5.4";

/** Tables of events in OMOP: their column of concepts and of time, and what a code of SNOMED means there. */
const omopTables = {
  condition_occurrence: { concept: "condition_concept_id", start: "condition_start", kind: "diagnosis" },
  procedure_occurrence: { concept: "procedure_concept_id", start: "procedure", kind: "procedure" },
  drug_exposure: { concept: "drug_concept_id", start: "drug_exposure_start", kind: "drug" },
} as const;

/**
 * Reads a folder of OMOP tables (`.csv` or `.csv.gz`): `person`, `visit_occurrence`, `concept`, and whichever of
 * `condition_occurrence`, `procedure_occurrence`, `drug_exposure` and `death` are there. Concepts become the codes of their
 * vocabularies; the concept 0 is "no matching concept" and is counted.
 *
 * @throws {Error} One sentence: a missing table, a missing column with the version, a concept that `concept` does not have, a
 *   vocabulary that is not known; then what `visitTable` refuses.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { dataFolder } from "tessera/data/mod.ts";
 * const { patients } = await readOmop(new URL("event-samples/omop/", dataFolder));
 * assert.equal(patients[0].visits[0].codes[0].system, "SNOMED");
 * ```
 */
export async function readOmop(folder: string | URL, options: EventTableOptions = {}): Promise<VisitTable> {
  const { withoutCodes = "drop" } = options;
  const at = pathOf(folder).replace(/\/$/, "");
  const parts: Uint8Array[] = [];
  const read = async (table: string, columns: readonly string[], optional: readonly string[] = []) => {
    for (const name of [`${table}.csv`, `${table}.csv.gz`]) {
      if (!await Deno.stat(`${at}/${name}`).then(() => true, () => false)) continue;
      const bytes = await readBytes(`${at}/${name}`);
      parts.push(bytes);
      const text = await plainText(bytes, name);
      const header = text.slice(0, text.search(/\r?\n|$/)).split(",");
      const missing = columns.find((column) => !column.split("|").some((one) => header.includes(one)));
      if (missing !== undefined) {
        const wanted = missing.split("|").map((one) => JSON.stringify(one)).join(" or ");
        throw new Error(`${name} has no column ${wanted}, which ${OMOP} has; it has ${header.join(", ")}`);
      }
      const chosen = columns.map((column) => column.split("|").find((one) => header.includes(one))!);
      const extra = optional.filter((column) => header.includes(column));
      const rows = textRows(text, [...chosen, ...extra], name, ",");
      return rows.map((cells) => ({
        cells,
        extra: (column: string) => cells[chosen.length + extra.indexOf(column)] ?? "",
      }));
    }
    return undefined;
  };
  const need = <T>(rows: T | undefined, table: string): T => {
    if (rows) return rows;
    throw new Error(`${at} has no ${table}.csv, which ${OMOP} has; add it`);
  };
  const time = (text: string, what: string) => {
    const hour = hoursOf(text);
    if (hour === undefined) {
      throw new Error(
        `${what} of ${OMOP} is ${JSON.stringify(text)}, which is no time; write 2019-04-02 or 2019-04-02 09:30:00`,
      );
    }
    return hour;
  };
  const dropped: Record<string, number> = {};
  const drop = (reason: string) => dropped[reason] = (dropped[reason] ?? 0) + 1;
  const codeOf = coder(options, drop);
  const concepts = new Map(
    need(await read("concept", ["concept_id", "vocabulary_id", "concept_code", "concept_name"]), "concept")
      .map(({ cells: [id, vocabulary, code, name] }) => [id, { vocabulary, code, name }]),
  );
  const people = need(
    await read("person", ["person_id", "gender_concept_id", "birth_datetime|year_of_birth"], ["race_source_value"]),
    "person",
  );
  const stays = need(
    await read("visit_occurrence", [
      "visit_occurrence_id",
      "person_id",
      "visit_start_datetime|visit_start_date",
      "visit_end_datetime|visit_end_date",
      "visit_concept_id",
    ]),
    "visit_occurrence",
  );
  const codes = new Map<string, Map<string, VisitCode>>(stays.map(({ cells: [id] }) => [id, new Map()]));
  for (const [table, { concept, start, kind }] of Object.entries(omopTables)) {
    const rows = await read(table, ["visit_occurrence_id", concept, `${start}_datetime|${start}_date`]);
    for (const { cells: [visit, id, when] } of rows ?? []) {
      const own = codes.get(visit);
      const found = concepts.get(id);
      if (id === "0") drop("events without a matching concept");
      else if (!own) drop(`rows of ${table} of no visit`);
      else if (!found) {
        throw new Error(
          `${table}.csv has the concept ${id}, which concept.csv has not; take both from one release of ${OMOP}`,
        );
      } else {
        const code = codeOf(`${found.vocabulary}//${found.code}`, `${table}.csv`);
        // SNOMED has procedures and drugs, too: the table says what it is
        const name = code && `${kind} ${code.system}:${code.code}`;
        if (!code || own.has(name!)) continue;
        own.set(name!, { ...code, kind, hour: time(when, `${table}.csv: the time`), text: found.name });
      }
    }
  }
  const deaths = new Map(
    (await read("death", ["person_id", "death_datetime|death_date"]) ?? []).map((
      { cells: [person, when] },
    ) => [person, when]),
  );
  const byPerson = Map.groupBy(stays, ({ cells: [, person] }) => person);
  const patients = people.map(({ cells: [id, gender, born], extra }): Patient => ({
    id,
    sex: { 8532: "F", 8507: "M" }[gender] ?? gender,
    ethnicity: extra("race_source_value"),
    born: time(/^\d{4}$/.test(born) ? `${born}-01-01` : born, "person.csv: the birth"),
    died: deaths.has(id) ? time(deaths.get(id)!, "death.csv: the death") : null,
    visits: (byPerson.get(id) ?? []).map(({ cells: [visit, , start, end, kind] }): Visit => ({
      id: visit,
      start: time(start, "visit_occurrence.csv: the start"),
      end: end ? time(end, "visit_occurrence.csv: the end") : null,
      kind: concepts.get(kind)?.name ?? kind,
      codes: [...codes.get(visit)!.values()],
      died: null,
    })).sort((a, b) => a.start - b.start),
  }));
  return finished(patients, { name: options.name ?? `${OMOP} tables`, withoutCodes, dropped, hash: sha256(...parts) });
}

function finished(patients: readonly Patient[], options: Omit<VisitTableOptions, "systems">): VisitTable {
  const codes = patients.flatMap(({ visits }) => visits.flatMap(({ codes }) => codes));
  return visitTable(patients, { ...options, systems: [...new Set(codes.map(({ system }) => system))].sort() });
}
