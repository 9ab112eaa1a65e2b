/**
 * What is predicted of patients: labels made from visits, and inputs that hold nothing of what they are made from.
 *
 * Tasks of Su et al., ICML 2025, arXiv:2502.04397, appendix C; phenotypes of Harutyunyan et al., "Multitask learning and
 * benchmarking with clinical time series data", Scientific Data 2019, doi:10.1038/s41597-019-0103-9.
 *
 * An example is a patient as known at some moment: visits before it, death and discharge after it hidden. `findLeaks` looks for
 * what is from later, whoever has made the input.
 *
 * @module
 */
import { ccs } from "./ccs.ts";
import type { Patient, Visit, VisitCode, VisitTable } from "./visits.ts";

/** A prediction task. */
export interface VisitTask {
  readonly name: string;
  /** `classes`: exactly one of the labels is 1. `labels`: any number of them. */
  readonly kind: "binary" | "classes" | "labels";
  /** Inputs. A patient's id is that of the patient; with several examples of one, `patient#visit`. */
  readonly table: VisitTable;
  readonly labels: readonly string[];
  /** 0 or 1 for each label, by the id of the input. */
  readonly values: ReadonlyMap<string, Uint8Array>;
  /** The moment of the prediction, in hours, by the id of the input: nothing later is known. */
  readonly until: ReadonlyMap<string, number>;
  /** Patients or visits of which no example is made, by reason. */
  readonly leftOut: Readonly<Record<string, number>>;
}

/** Options of every task. */
export interface TaskOptions {
  /** Whether each patient gives one example, of the last visit that can be labelled, or one per visit. Default: "last". */
  readonly examples?: "last" | "every";
}

interface Example {
  readonly visit: Visit;
  readonly input: readonly Visit[];
  readonly until: number;
  readonly values: readonly (0 | 1 | boolean)[];
}

/** Makes a task from what each visit of a patient gives: an example, or the reason why it gives none. */
function taskFrom(
  table: VisitTable,
  { name, kind, labels }: Pick<VisitTask, "name" | "kind" | "labels">,
  { examples = "last" }: TaskOptions,
  exampleOf: (patient: Patient, place: number) => Example | string,
): VisitTask {
  const leftOut: Record<string, number> = {};
  const values = new Map<string, Uint8Array>(), until = new Map<string, number>();
  const patients: Patient[] = [];
  for (const patient of table.patients) {
    const made = patient.visits.map((_, place) => exampleOf(patient, place));
    const usable = made.filter((each): each is Example => typeof each !== "string");
    for (const reason of examples === "every" || !usable.length ? made : []) {
      if (typeof reason === "string") leftOut[reason] = (leftOut[reason] ?? 0) + 1;
    }
    for (const example of examples === "last" ? usable.slice(-1) : usable) {
      const id = examples === "last" ? patient.id : `${patient.id}#${example.visit.id}`;
      patients.push({ ...asKnown(patient, example.input, example.until), id });
      values.set(id, Uint8Array.from(example.values, Number));
      until.set(id, example.until);
    }
  }
  if (!patients.length) {
    const why = Object.entries(leftOut).map(([reason, count]) => `${count}: ${reason}`).join("; ");
    throw new RangeError(`no example of ${name} can be made of ${table.name} (${why}); take other data`);
  }
  const task = {
    name,
    kind,
    labels,
    table: { ...table, name: `${table.name}, ${name}`, patients },
    values,
    until,
    leftOut,
  };
  refuseLeaks(task);
  return task;
}

/** A patient at a moment: what comes later is hidden. */
function asKnown(patient: Patient, visits: readonly Visit[], until: number): Patient {
  return {
    ...patient,
    died: patient.died !== null && patient.died <= until ? patient.died : null,
    visits: visits.map((visit) => {
      const over = visit.end !== null && visit.end <= until;
      return { ...visit, end: over ? visit.end : null, died: over ? visit.died : null };
    }),
  };
}

/** The moment before a visit begins. */
const before = (visit: Visit) => visit.start - 1e-6;

/** Visits that begin before another one and have ended by then, as far as one knows. */
function earlier({ visits }: Patient, place: number): readonly Visit[] {
  return visits.slice(0, place).filter(({ start }) => start < visits[place].start);
}

/** Codes that are dated after a moment are not known then; codes without an hour count as known at the end of their visit. */
function knownBy(visits: readonly Visit[], until: number): readonly Visit[] {
  return visits.map((visit) => ({
    ...visit,
    codes: visit.codes.filter(({ hour }) => (hour ?? visit.end ?? visit.start) <= until),
  }))
    .filter(({ codes }) => codes.length > 0);
}

/**
 * Mortality: whether the patient dies in the next visit, from the visits before it.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { mimic3Demo } from "tessera/data/mod.ts";
 * const { values, leftOut } = mortalityTask(await mimic3Demo.load());
 * assert.equal(values.size, 14); // of 100: the others have one visit
 * assert.equal(leftOut["no earlier visit"], 86);
 * ```
 */
export function mortalityTask(table: VisitTable, options: TaskOptions = {}): VisitTask {
  return taskFrom(table, { name: "mortality", kind: "binary", labels: ["dies"] }, options, (patient, place) => {
    const visit = patient.visits[place];
    const input = knownBy(earlier(patient, place), before(visit));
    if (!input.length) return "no earlier visit";
    if (visit.died === null) return "unknown whether the patient died";
    return { visit, input, until: before(visit), values: [visit.died] };
  });
}

/** Options of {@link readmissionTask}. */
export interface ReadmissionOptions extends TaskOptions {
  /** Default: 15. */
  readonly days?: number;
  /**
   * From where days are counted. "admission": from the earlier admission, as in MedTok's paper. "discharge": from its end, what
   * hospitals call readmission. Default: "discharge".
   */
  readonly from?: "admission" | "discharge";
}

/**
 * Readmission: whether the next visit begins within some days, known at the discharge of the one before. Of a last visit nobody
 * knows what comes after it: it gives no example, as in the paper, so that this is asked of patients who do come back.
 *
 * @throws {RangeError} Where `days` is not above 0.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { mimic3Demo } from "tessera/data/mod.ts";
 * const { values } = readmissionTask(await mimic3Demo.load(), { days: 30 });
 * assert.equal(values.size, 14);
 * ```
 */
export function readmissionTask(table: VisitTable, options: ReadmissionOptions = {}): VisitTask {
  const { days = 15, from = "discharge" } = options;
  if (!(days > 0)) throw new RangeError(`days must be above 0, but it is ${days}`);
  const task = { name: `readmission in ${days} days`, kind: "binary", labels: ["comes back"] } as const;
  return taskFrom(table, task, options, (patient, place) => {
    const [last, visit] = [patient.visits[place - 1], patient.visits[place]];
    if (!last) return "no earlier visit";
    const left = last.end ?? last.start;
    // who comes back before the other stay has ended was moved, not readmitted
    if (visit.start <= left) return "begins before the visit before it has ended";
    const input = knownBy(patient.visits.slice(0, place), left);
    if (!input.length) return "no earlier codes";
    const counted = visit.start - (from === "admission" ? last.start : left);
    return { visit, input, until: left, values: [counted <= days * 24] };
  });
}

/** Classes of {@link lengthOfStayTask}: under a day, one to seven days, eight to fourteen, more. */
const stays = [
  "under a day",
  "1 day",
  ...Array.from({ length: 6 }, (_, i) => `${i + 2} days`),
  "8 to 14 days",
  "over 14 days",
];

/**
 * Length of stay in ten classes, from the visits up to and with the one that is asked about; its end and its outcome are hidden.
 * Diagnoses of a hospital are coded at discharge: with them (the paper's form) it is a question about the past.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { mimic3Demo } from "tessera/data/mod.ts";
 * const { labels, values } = lengthOfStayTask(await mimic3Demo.load());
 * assert.deepEqual([labels.length, values.size], [10, 100]);
 * ```
 */
export function lengthOfStayTask(table: VisitTable, options: TaskOptions = {}): VisitTask {
  return taskFrom(table, { name: "length of stay", kind: "classes", labels: stays }, options, (patient, place) => {
    const visit = patient.visits[place];
    if (visit.end === null) return "unknown when the visit ended";
    const days = Math.floor((visit.end - visit.start) / 24);
    const at = days < 8 ? days : days <= 14 ? 8 : 9;
    // hours of codes would tell how long it lasted
    const own = { ...visit, end: null, died: null, codes: visit.codes.map(withoutHour) };
    const until = visit.end - 1e-6;
    const input = [...knownBy(earlier(patient, place), visit.start), own].filter(({ codes }) => codes.length);
    if (!input.length) return "no codes";
    return { visit, input, until, values: stays.map((_, i) => i === at) };
  });
}

function withoutHour({ hour: _, ...code }: VisitCode): VisitCode {
  return code;
}

/** Harutyunyan et al., table 1: 25 acute-care conditions and their CCS categories. (MedTok keeps 24 and does not say which.) */
const conditions: readonly (readonly [name: string, category: number])[] = [
  ["acute and unspecified renal failure", 157],
  ["acute cerebrovascular disease", 109],
  ["acute myocardial infarction", 100],
  ["cardiac dysrhythmias", 106],
  ["chronic kidney disease", 158],
  ["chronic obstructive pulmonary disease", 127],
  ["complications of surgical or medical care", 238],
  ["conduction disorders", 105],
  ["congestive heart failure", 108],
  ["coronary atherosclerosis", 101],
  ["diabetes with complications", 50],
  ["diabetes without complication", 49],
  ["disorders of lipid metabolism", 53],
  ["essential hypertension", 98],
  ["fluid and electrolyte disorders", 55],
  ["gastrointestinal hemorrhage", 153],
  ["hypertension with complications", 99],
  ["other liver diseases", 151],
  ["other lower respiratory disease", 133],
  ["other upper respiratory disease", 134],
  ["pleurisy, pneumothorax, pulmonary collapse", 130],
  ["pneumonia", 122],
  ["respiratory failure", 131],
  ["septicemia", 2],
  ["shock", 249],
];

/**
 * Phenotypes: which of 25 acute-care conditions a visit has, by CCS category of its ICD-9-CM diagnoses. Input are the visits
 * before it and its own procedures and drugs: its diagnoses are what the labels are made from, so they are hidden.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { mimic3Demo } from "tessera/data/mod.ts";
 * const { labels, values } = await phenotypeTask(await mimic3Demo.load());
 * const septic = [...values.values()].filter((value) => value[labels.indexOf("septicemia")]).length;
 * assert.ok(septic > 10);
 * ```
 */
export async function phenotypeTask(table: VisitTable, options: TaskOptions = {}): Promise<VisitTask> {
  const { rows } = await ccs.load();
  const categoryOf = new Map(rows.map(({ icd9, category }) => [icd9, category]));
  const task = { name: "phenotypes", kind: "labels", labels: conditions.map(([name]) => name) } as const;
  return taskFrom(table, task, options, (patient, place) => {
    const visit = patient.visits[place];
    const diagnoses = visit.codes.filter(({ system }) => system === "ICD9CM");
    if (!diagnoses.length) return "no diagnosis in ICD-9-CM";
    const own = new Set(diagnoses.map(({ code }) => categoryOf.get(code.replace(".", ""))));
    const until = visit.end ?? visit.start;
    const rest = { ...visit, died: null, codes: visit.codes.filter(({ kind }) => kind !== "diagnosis") };
    const input = knownBy([...earlier(patient, place), rest], until);
    if (!input.length) return "nothing but diagnoses";
    return { visit, input, until, values: conditions.map(([, category]) => own.has(category)) };
  });
}

/** A drug, by its ATC code or by what its name holds. */
export interface Drug {
  readonly name: string;
  readonly atc: string;
  readonly matches: RegExp;
}

/** The five drugs of MedTok's paper. Flushes of a catheter are no treatment with heparin. */
const drugs: readonly Drug[] = [
  { name: "vancomycin", atc: "J01XA01", matches: /vancomycin/i },
  { name: "levofloxacin", atc: "J01MA12", matches: /levofloxacin/i },
  { name: "heparin", atc: "B01AB01", matches: /heparin(?!.*(flush|lock))/i },
  { name: "metoprolol", atc: "C07AB02", matches: /metoprolol/i },
  { name: "atorvastatin", atc: "C10AA05", matches: /atorvastatin/i },
];

/**
 * Drug recommendation: which of some drugs a visit has, from the visits before it and its own diagnoses and procedures. A visit
 * with none of them counts too (the authors' code leaves it out, which makes every drug look more frequent than it is).
 *
 * @param wanted Default: vancomycin, levofloxacin, heparin, metoprolol, atorvastatin.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { mimic3Demo } from "tessera/data/mod.ts";
 * const { labels, values } = drugTask(await mimic3Demo.load());
 * assert.deepEqual([labels.length, values.size], [5, 100]);
 * ```
 */
export function drugTask(table: VisitTable, options: TaskOptions = {}, wanted: readonly Drug[] = drugs): VisitTask {
  const task = { name: "drug recommendation", kind: "labels", labels: wanted.map(({ name }) => name) } as const;
  return taskFrom(table, task, options, (patient, place) => {
    const visit = patient.visits[place];
    const given = visit.codes.filter(({ kind }) => kind === "drug");
    const has = ({ atc, matches }: Drug) =>
      given.some(({ system, code, text }) =>
        system === "ATC" ? code === atc : text !== undefined && matches.test(text)
      );
    const own = { ...visit, died: null, codes: visit.codes.filter(({ kind }) => kind !== "drug") };
    const until = visit.end ?? visit.start;
    const input = knownBy([...earlier(patient, place), own], until);
    if (!input.length) return "nothing but drugs";
    return { visit, input, until, values: wanted.map(has) };
  });
}

/** Options of {@link nextVisitTask}. */
export interface NextVisitOptions extends TaskOptions {
  /** Codes of the labels: those in at least so many visits. Default: 10. */
  readonly least?: number;
  /** Default: diagnoses. */
  readonly kind?: VisitCode["kind"];
}

/**
 * Next visit: which codes it has, from the visits before it. A label is `SYSTEM:CODE`.
 *
 * @throws {RangeError} Where no code is frequent enough.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { mimic3Demo } from "tessera/data/mod.ts";
 * const { labels } = nextVisitTask(await mimic3Demo.load(), { least: 30 });
 * assert.ok(labels.includes("ICD9CM:401.9")); // essential hypertension
 * ```
 */
export function nextVisitTask(table: VisitTable, options: NextVisitOptions = {}): VisitTask {
  const { least = 10, kind = "diagnosis" } = options;
  const counts = new Map<string, number>();
  const namesOf = ({ codes }: Visit) =>
    new Set(codes.filter((code) => code.kind === kind).map(({ system, code }) => `${system}:${code}`));
  for (const { visits } of table.patients) {
    for (const visit of visits) for (const name of namesOf(visit)) counts.set(name, (counts.get(name) ?? 0) + 1);
  }
  const labels = [...counts].filter(([, count]) => count >= least).map(([name]) => name).sort();
  if (!labels.length) {
    throw new RangeError(`no code of kind ${kind} is in ${least} visits of ${table.name}; lower least`);
  }
  return taskFrom(table, { name: "next visit", kind: "labels", labels }, options, (patient, place) => {
    const visit = patient.visits[place];
    const input = knownBy(earlier(patient, place), before(visit));
    if (!input.length) return "no earlier visit";
    const own = namesOf(visit);
    return { visit, input, until: before(visit), values: labels.map((label) => own.has(label)) };
  });
}

/**
 * What inputs hold that is from after their prediction: visits that begin later, codes that are dated later, discharges, deaths.
 * A sentence each; none where all is well.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { mimic3Demo } from "tessera/data/mod.ts";
 * const table = await mimic3Demo.load();
 * const task = mortalityTask(table);
 * assert.deepEqual(findLeaks(task), []);
 * const [leak] = findLeaks({ ...task, table }); // whole patients, the visits that are asked about among them
 * assert.match(leak, /^the input of patient 10059 for mortality holds the patient's death, which is 150\.5 h after/);
 * ```
 */
export function findLeaks(task: Pick<VisitTask, "name" | "table" | "until">): string[] {
  const leaks: string[] = [];
  for (const { id, visits, died } of task.table.patients) {
    const until = task.until.get(id);
    if (until === undefined) continue;
    const say = (what: string, hour: number) =>
      leaks.push(
        `the input of patient ${id} for ${task.name} holds ${what} ${
          (hour - until).toFixed(1)
        } h after the prediction; ` +
          "cut it off there",
      );
    if (died !== null && died > until) say("the patient's death, which is", died);
    for (const visit of visits) {
      if (visit.start > until) say(`visit ${visit.id}, which begins`, visit.start);
      else if (visit.end !== null && visit.end > until) say(`the end of visit ${visit.id}, which is`, visit.end);
      else if (visit.died !== null && visit.end === null) {
        leaks.push(
          `the input of patient ${id} for ${task.name} says whether visit ${visit.id}, of which the end is hidden, ended in ` +
            "death; hide it too",
        );
      }
      for (const { system, code, hour } of visit.codes) {
        if (hour !== undefined && hour > until) {
          say(`the code ${system}:${code} of visit ${visit.id}, which is dated`, hour);
        }
      }
    }
  }
  return leaks;
}

/**
 * Refuses a task whose input is from the future.
 *
 * @throws {RangeError} The first leak, and how many there are.
 *
 * @example
 * ```ts
 * import { mimic3Demo } from "tessera/data/mod.ts";
 * refuseLeaks(mortalityTask(await mimic3Demo.load())); // nothing happens
 * ```
 */
export function refuseLeaks(task: Pick<VisitTask, "name" | "table" | "until">): void {
  const [first, ...rest] = findLeaks(task);
  if (first !== undefined) throw new RangeError(rest.length ? `${first} (and ${rest.length} more)` : first);
}
