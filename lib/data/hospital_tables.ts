/**
 * Hospital tables as visits: MIMIC-III, MIMIC-IV, and the CSV files that MedTok's repository expects of other sources.
 *
 * Johnson et al., "MIMIC-III, a freely accessible critical care database", Scientific Data 2016, doi:10.1038/sdata.2016.35;
 * Johnson et al., "MIMIC-IV", Scientific Data 2023, doi:10.1038/s41597-022-01899-x; Su et al., ICML 2025, arXiv:2502.04397
 * (`MedTok_EHR_Tutorial`). MIMIC itself needs credentials; its demo is in `data/mimic3-demo`.
 *
 * @module
 */
import { pathOf, readBytes, sha256 } from "./files.ts";
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

/** Which tables they are. */
export type HospitalLayout = "MIMIC-III" | "MIMIC-IV" | "MedTok";

/** Options of {@link readHospitalTables}. */
export interface HospitalOptions extends Pick<VisitTableOptions, "withoutCodes"> {
  /** Default: MIMIC-III. */
  readonly layout?: HospitalLayout;
  /** Default: the layout's. */
  readonly name?: string;
}

/** Columns of one table, by what they mean here; a list where names differ between releases. */
type Columns<Meaning extends string> = Readonly<Record<Meaning, string | readonly string[]>>;

interface Layout {
  readonly version: string;
  readonly patients:
    & Columns<"patient" | "sex" | "died">
    & Partial<Columns<"born" | "anchorAge" | "anchorYear" | "race">>;
  readonly admissions: Columns<"patient" | "visit" | "start" | "end" | "kind"> & Partial<Columns<"died" | "race">>;
  /** `version` is "9" or "10"; without it all are ICD-9. */
  readonly diagnoses: Columns<"patient" | "visit" | "code"> & Partial<Columns<"version">>;
  readonly procedures: Columns<"patient" | "visit" | "code"> & Partial<Columns<"version">>;
  readonly drugs: Columns<"patient" | "visit" | "code"> & Partial<Columns<"start" | "name">>;
  readonly files: Readonly<Record<"patients" | "admissions" | "diagnoses" | "procedures" | "drugs", string>>;
  /** The coding system of the drugs. */
  readonly drugSystem: string;
}

const mimic = { patient: "subject_id", visit: "hadm_id" } as const;
const mimicFiles = {
  patients: "patients",
  admissions: "admissions",
  diagnoses: "diagnoses_icd",
  procedures: "procedures_icd",
  drugs: "prescriptions",
};
const icd = { ...mimic, code: "icd_code", version: "icd_version" };
const repository = { patient: "patient_id", visit: "visit_id" } as const;

const layouts: Record<HospitalLayout, Layout> = {
  "MIMIC-III": {
    version: "MIMIC-III v1.4",
    patients: { patient: "subject_id", sex: "gender", born: "dob", died: "dod" },
    admissions: {
      ...mimic,
      start: "admittime",
      end: "dischtime",
      kind: "admission_type",
      died: "hospital_expire_flag",
      race: "ethnicity",
    },
    diagnoses: { ...mimic, code: "icd9_code" },
    procedures: { ...mimic, code: "icd9_code" },
    drugs: { ...mimic, code: "ndc", start: "startdate", name: "drug" },
    files: mimicFiles,
    drugSystem: "NDC",
  },
  "MIMIC-IV": {
    version: "MIMIC-IV v3.1",
    patients: {
      patient: "subject_id",
      sex: "gender",
      anchorAge: "anchor_age",
      anchorYear: "anchor_year",
      died: "dod",
    },
    admissions: {
      ...mimic,
      start: "admittime",
      end: "dischtime",
      kind: "admission_type",
      died: "hospital_expire_flag",
      race: ["race", "ethnicity"],
    },
    diagnoses: icd,
    procedures: icd,
    drugs: { ...mimic, code: "ndc", start: "starttime", name: "drug" },
    files: mimicFiles,
    drugSystem: "NDC",
  },
  MedTok: {
    version: "the tables of MedTok's repository",
    patients: { patient: "patient_id", sex: "Gender", born: "dob", died: "dod", race: "Race" },
    admissions: { ...repository, start: "start", end: "end", kind: "visit_type" },
    diagnoses: { ...repository, code: "code_val", version: "icd_version" },
    procedures: { ...repository, code: "code_val", version: "icd_version" },
    drugs: { ...repository, code: "code_val" },
    files: {
      patients: "patients",
      admissions: "admissions",
      diagnoses: "diagnoses",
      procedures: "procedures",
      drugs: "prescriptions",
    },
    drugSystem: "RXNORM",
  },
};

/**
 * Reads a folder of hospital tables (`.csv` or `.csv.gz`, names in upper or lower case): patients, admissions, diagnoses,
 * procedures, prescriptions. A visit is an admission; a code that is recorded in it several times counts once. Codes are written
 * as their systems write them: `995.91`, procedures `36.05`.
 *
 * What has no place is counted in `dropped`: rows without a code (in prescriptions, the code 0), rows of no admission.
 *
 * @throws {Error} One sentence: a missing file, or a missing column with the layout's version; then what `visitTable` refuses.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { dataFolder } from "tessera/data/mod.ts";
 * const table = await readHospitalTables(new URL("mimic3-demo/", dataFolder));
 * assert.equal(table.patients.length, 100);
 * ```
 */
export async function readHospitalTables(folder: string | URL, options: HospitalOptions = {}): Promise<VisitTable> {
  const { layout: kind = "MIMIC-III", withoutCodes = "drop" } = options;
  if (!Object.hasOwn(layouts, kind)) {
    throw new RangeError(
      `there is no layout named ${JSON.stringify(kind)}; choose one of ${Object.keys(layouts).join(", ")}`,
    );
  }
  const layout = layouts[kind];
  const read = await reader(pathOf(folder), layout.version);
  const dropped: Record<string, number> = {};
  const drop = (reason: string) => dropped[reason] = (dropped[reason] ?? 0) + 1;

  const people = await read(layout.files.patients, layout.patients);
  const stays = await read(layout.files.admissions, layout.admissions);
  const codes = new Map<string, Map<string, VisitCode>>(stays.rows.map(({ visit }) => [visit, new Map()]));
  const put = (visit: string, code: VisitCode | undefined, what: string) => {
    if (!code) return drop(`${what} without a code`);
    const own = codes.get(visit);
    if (!own) return drop(`${what} of no admission`);
    const name = `${code.kind} ${code.system}:${code.code}`;
    const before = own.get(name);
    if (!before || (code.hour ?? Infinity) < (before.hour ?? Infinity)) own.set(name, code);
  };
  const diagnoses = await read(layout.files.diagnoses, layout.diagnoses);
  for (const { visit, code, version = "9" } of diagnoses.rows) {
    put(visit, icdCode(code, version, "diagnosis"), "diagnoses");
  }
  const procedures = await read(layout.files.procedures, layout.procedures);
  for (const { visit, code, version = "9" } of procedures.rows) {
    put(visit, icdCode(code, version, "procedure"), "procedures");
  }
  const drugs = await read(layout.files.drugs, layout.drugs);
  for (const { visit, code, start, name } of drugs.rows) {
    const hour = start ? hoursOf(start) : undefined;
    put(
      visit,
      /^0*$/.test(code) ? undefined : {
        system: layout.drugSystem,
        code,
        kind: "drug",
        ...(hour !== undefined ? { hour } : {}),
        ...(name ? { text: name } : {}),
      },
      "prescriptions",
    );
  }

  const byPatient = Map.groupBy(stays.rows, ({ patient }) => patient);
  const known = new Set(people.rows.map(({ patient }) => patient));
  for (const [patient, own] of byPatient) if (!known.has(patient)) own.forEach(() => drop("admissions of no patient"));
  const patients = people.rows.map((row): Patient => {
    const own = byPatient.get(row.patient) ?? [];
    const visits = own.map((stay): Visit => ({
      id: stay.visit,
      start: needed(stay.start, `${layout.version}: the ${stays.column("start")} of ${stay.visit}`),
      end: stay.end ? hoursOf(stay.end) ?? null : null,
      kind: stay.kind,
      codes: [...codes.get(stay.visit)!.values()],
      died: stay.died === undefined || stay.died === "" ? null : stay.died === "1",
    })).sort((a, b) => a.start - b.start);
    return {
      id: row.patient,
      sex: row.sex,
      ethnicity: row.race ?? own[0]?.race ?? "",
      born: bornOf(row),
      died: row.died ? hoursOf(row.died) ?? null : null,
      visits,
    };
  });
  return visitTable(patients, {
    name: options.name ?? layout.version,
    systems: [
      ...new Set(patients.flatMap(({ visits }) => visits.flatMap(({ codes }) => codes.map(({ system }) => system)))),
    ]
      .sort(),
    withoutCodes,
    dropped,
    hash: sha256(...[people, stays, diagnoses, procedures, drugs].map(({ bytes }) => bytes)),
  });
}

interface ReadTable<Meaning extends string> {
  readonly rows: readonly ({ readonly [M in Meaning]: string } & Readonly<Record<string, string | undefined>>)[];
  readonly bytes: Uint8Array;
  column(meaning: Meaning): string;
}

async function reader(folder: string, version: string) {
  const names = new Map<string, string>();
  try {
    for await (const { name, isFile } of Deno.readDir(folder)) if (isFile) names.set(name.toLowerCase(), name);
  } catch (cause) {
    throw new Error(`${folder} is no folder that can be read; name the folder of ${version}`, { cause });
  }
  return async <Meaning extends string>(
    table: string,
    columns: Readonly<Partial<Record<Meaning, string | readonly string[]>>>,
  ): Promise<ReadTable<Meaning>> => {
    const name = names.get(`${table}.csv`) ?? names.get(`${table}.csv.gz`);
    if (!name) throw new Error(`${folder} has no ${table}.csv or ${table}.csv.gz, which ${version} has; add it`);
    const bytes = await readBytes(`${folder.replace(/\/$/, "")}/${name}`);
    const text = await plainText(bytes, name);
    const header = text.slice(0, text.search(/\r?\n|$/)).split(",").map((cell) => cell.replaceAll('"', "").trim());
    const meanings = Object.keys(columns) as Meaning[];
    const places = meanings.map((meaning) => {
      const wanted = [columns[meaning]!].flat() as string[];
      const found = header.find((column) => wanted.some((one) => one.toLowerCase() === column.toLowerCase()));
      if (found) return found;
      throw new Error(
        `${name} has no column ${JSON.stringify(wanted[0])}, which ${version} has; it has ${header.join(", ")}`,
      );
    });
    const rows = textRows(text, places, name, ",").map((cells) =>
      Object.fromEntries(cells.map((cell, i) => [meanings[i], cell]))
    );
    return { rows: rows as never, bytes, column: (meaning) => places[meanings.indexOf(meaning)] };
  };
}

/** The text of a CSV file, decompressed where its name says so. */
export async function plainText(bytes: Uint8Array<ArrayBuffer>, name: string): Promise<string> {
  if (!name.endsWith(".gz")) return new TextDecoder().decode(bytes);
  try {
    return await new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).text();
  } catch (cause) {
    throw new Error(`${name} cannot be decompressed; get it again, or decompress it yourself`, { cause });
  }
}

/** As its system writes it: a dot after three characters of a diagnosis (four of an E code), after two digits of a procedure. */
export function icdCode(text: string, version: string, kind: CodeKind): VisitCode | undefined {
  const plain = text.trim().toUpperCase().replace(".", "");
  if (!plain) return undefined;
  const nine = version === "9";
  if (!nine && kind === "procedure") return { system: "ICD10PCS", code: plain, kind };
  const at = kind === "procedure" ? 2 : nine && plain.startsWith("E") ? 4 : 3;
  const code = plain.length > at ? `${plain.slice(0, at)}.${plain.slice(at)}` : plain;
  return { system: !nine ? "ICD10CM" : kind === "procedure" ? "ICD9PROC" : "ICD9CM", code, kind };
}

/**
 * `2164-10-23 21:09:00` or `2164-10-23` as hours since 1970-01-01 00:00; a time zone is not looked at. Undefined where it is no
 * such time.
 */
export function hoursOf(text: string): number | undefined {
  const parts = /^(\d{4})-(\d\d)-(\d\d)(?:[ T](\d\d):(\d\d)(?::(\d\d)(?:\.\d+)?)?)?/.exec(text.trim());
  if (!parts) return undefined;
  const [year, month, day, hour, minute, second] = parts.slice(1).map((part) => Number(part ?? 0));
  return Date.UTC(year, month - 1, day, hour, minute, second) / 3_600_000;
}

function needed(text: string, what: string): number {
  const hour = hoursOf(text);
  if (hour === undefined) {
    throw new Error(`${what} is ${JSON.stringify(text)}, which is no time; write 2164-10-23 21:09:00`);
  }
  return hour;
}

/** MIMIC-III gives the day, with 300 years added to who is over 89; MIMIC-IV an age in a year. */
function bornOf({ born, anchorAge, anchorYear }: Readonly<Record<string, string | undefined>>): number | null {
  if (born) return hoursOf(born) ?? null;
  if (!anchorAge || !anchorYear) return null;
  return hoursOf(`${Number(anchorYear) - Number(anchorAge)}-01-01`) ?? null;
}
