/**
 * Patients of the planted world: visits with its codes, and labels whose cause is known.
 *
 * A patient has one to three active modules (mechanisms) and a frailty. Codes of active modules are frequent, severe ones are
 * frequent where the patient is frail. Labels depend on what the patient's codes stand for, never on how they are written:
 *
 * | labels | depend on | so they need |
 * | --- | --- | --- |
 * | mortality | share of severe codes, risk of their modules | text and graph |
 * | readmission | weight of their modules, a little the severe share | mostly the graph |
 * | five drugs | share of codes in four modules each | the graph |
 * | six phenotypes | share of codes in four categories each | the text |
 *
 * Times, ages and sexes are drawn too, so that models that need them can run; they say nothing about the labels.
 *
 * @module
 */
import { type Random, random } from "../../random.ts";
import { type Patient, type Visit, type VisitTable, visitTable } from "../visits.ts";
import { type PlantedCodes, plantedFactors } from "./planted_codes.ts";

/** Options of {@link plantedPatients}. */
export interface PlantedPatientsOptions {
  /** Default: 800. */
  readonly patients?: number;
  /**
   * Which patients: other numbers give other patients of the same world. What the labels depend on is drawn from the world's
   * seed. Default: 0.
   */
  readonly seed?: number;
  /**
   * Shares of the coding systems A, B and C. "in": .5, .4, .1. "shift": .02, .08, .90, a hospital that codes in the system that
   * is rare elsewhere. Default: "in".
   */
  readonly mix?: "in" | "shift";
}

/** What {@link plantedPatients} returns. */
export interface PlantedPatients {
  readonly table: VisitTable;
  /** Names of the labels. */
  readonly labels: readonly string[];
  /** 0 or 1 for each label, by the patient's id: labels are joined to inputs by id, never by place. */
  readonly values: ReadonlyMap<string, Uint8Array>;
}

const DRUGS = 5, PHENOTYPES = 6, OWNED = 4;

/**
 * Labels of a planted patient, by task. In a mean over tasks each of the four counts once, however many labels it has.
 */
export const plantedTasks = {
  mortality: ["mortality"],
  readmission: ["readmission"],
  drugs: Array.from({ length: DRUGS }, (_, i) => `drug ${i}`),
  phenotypes: Array.from({ length: PHENOTYPES }, (_, i) => `phenotype ${i}`),
} as const satisfies Record<string, readonly string[]>;

/** What the labels of a world depend on; drawn once, from the world's seed. */
export interface PlantedCauses {
  /** Of dying, per module. */
  readonly risk: Float32Array;
  /** Of coming back, per module. */
  readonly weight: Float32Array;
  /** Four modules per drug, four categories per phenotype. */
  readonly drugModules: readonly (readonly number[])[];
  readonly phenotypeCategories: readonly (readonly number[])[];
}

const mixes = { in: { A: 0.5, B: 0.4, C: 0.1 }, shift: { A: 0.02, B: 0.08, C: 0.9 } };

/**
 * What the labels of a planted world depend on.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { plantedCodes } from "tessera/data/mod.ts";
 * const { drugModules } = plantedCauses(plantedCodes({ concepts: 6 }));
 * assert.deepEqual(drugModules.map((modules) => modules.length), [4, 4, 4, 4, 4]);
 * ```
 */
export function plantedCauses({ seed }: Pick<PlantedCodes, "seed">): PlantedCauses {
  const draw = random(seed, "planted causes");
  const { modules, categories } = plantedFactors;
  const owned = (name: string, of: number, count: number) =>
    Array.from({ length: count }, (_, i) => draw.stream(`${name} ${i}`).permutation(of).slice(0, OWNED));
  return {
    risk: draw.stream("risk").normals(modules, 0, 0.5),
    weight: draw.stream("weight").normals(modules, 0, 0.6),
    drugModules: owned("drug", modules, DRUGS),
    phenotypeCategories: owned("phenotype", categories, PHENOTYPES),
  };
}

/**
 * Draws patients of a planted world.
 *
 * @throws {RangeError} Where the number of patients or the mix makes no sense.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { plantedCodes } from "tessera/data/mod.ts";
 * const { table, labels, values } = plantedPatients(plantedCodes({ concepts: 40 }), { patients: 3 });
 * assert.equal(table.patients.length, 3);
 * assert.equal(values.get(table.patients[0].id)?.length, labels.length);
 * ```
 */
export function plantedPatients(planted: PlantedCodes, options: PlantedPatientsOptions = {}): PlantedPatients {
  const { patients: count = 800, seed = 0, mix = "in" } = options;
  if (!Number.isInteger(count) || count < 1) {
    throw new RangeError(`patients must be a whole number from 1, but it is ${count}`);
  }
  if (!Object.hasOwn(mixes, mix)) {
    throw new RangeError(`a mix of coding systems is "in" or "shift", but it is ${JSON.stringify(mix)}`);
  }
  const causes = plantedCauses(planted);
  const frequency = frequenciesOf(planted, mixes[mix]);
  const draw = random(planted.seed, "planted patients").stream(`${seed}`);
  const values = new Map<string, Uint8Array>();
  const patients = Array.from({ length: count }, (_, i): Patient => {
    const own = draw.stream(`patient ${i}`);
    const { patient, places } = patientOf(`${mix} ${seed}.${i}`, planted, frequency, own.stream("codes"));
    values.set(patient.id, labelsOf(places, planted, causes, own.stream("labels")));
    return patient;
  });
  const table = visitTable(patients, {
    name: `planted patients (${planted.world}, ${mix}, world ${planted.seed}, seed ${seed})`,
    systems: ["A", "B", "C"],
  });
  return { table, labels: Object.values(plantedTasks).flat(), values };
}

/** How frequent a code is for a patient of whom nothing is known: Zipf's law over a random order, times its system's share. */
function frequenciesOf({ codes, world, seed }: PlantedCodes, share: Record<"A" | "B" | "C", number>): Float64Array {
  const rank = random(seed, "planted ranks").permutation(codes.length);
  const exponent = world === "easy" ? 0.7 : 0.9;
  return Float64Array.from(codes, ({ system }, i) => (rank[i] + 1) ** -exponent * share[system]);
}

const DAY = 24;

function patientOf(
  id: string,
  { codes, concepts }: PlantedCodes,
  frequency: Float64Array,
  draw: Random,
): { patient: Patient; places: number[] } {
  const active = new Set(draw.permutation(plantedFactors.modules).slice(0, 1 + draw.categorical([0.5, 0.35, 0.15])));
  const frailty = beta(1.2, 3, draw);
  const upTo = new Float64Array(codes.length);
  let total = 0;
  codes.forEach(({ concept }, i) => {
    const { module, severe } = concepts[concept];
    total += frequency[i] * (active.has(module) ? 6 : 0.35) * (severe ? 0.4 + 3 * frailty : 1);
    upTo[i] = total;
  });
  const visits: Visit[] = [];
  const places: number[] = [];
  let start = draw.uniform(0, 365 * DAY);
  const visitCount = 2 + draw.integer(4);
  for (let v = 0; v < visitCount; v++) {
    const chosen = new Set<number>();
    const size = Math.min(3 + draw.integer(5), codes.length);
    while (chosen.size < size) chosen.add(placeIn(upTo, draw.uniform() * total));
    places.push(...chosen);
    const end = start + draw.uniform(1, 10) * DAY;
    visits.push({
      id: `${id}.${v}`,
      start,
      end,
      kind: draw.choice(["EMERGENCY", "ELECTIVE"]),
      codes: [...chosen].map((place) => {
        const { system, code, concept } = codes[place];
        return { system, code, kind: concepts[concept].kind };
      }),
      died: null, // labels are drawn for the patient, not for a visit
    });
    start = end + draw.uniform(5, 400) * DAY;
  }
  const born = visits[0].start - draw.uniform(30, 90) * 365.25 * DAY;
  return { patient: { id, sex: draw.choice(["F", "M"]), ethnicity: "", born, died: null, visits }, places };
}

/** The first place whose running sum is above a value. */
function placeIn(upTo: Float64Array, value: number): number {
  let low = 0, high = upTo.length - 1;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (upTo[middle] > value) high = middle;
    else low = middle + 1;
  }
  return low;
}

/** Jöhnk's method: two powers of uniform numbers, kept where they sum to at most 1 (Devroye 1986, chapter IX.3.5). */
function beta(a: number, b: number, draw: Random): number {
  for (;;) {
    const x = draw.uniform() ** (1 / a), y = draw.uniform() ** (1 / b);
    if (x + y <= 1 && x + y > 0) return x / (x + y);
  }
}

function labelsOf(
  places: readonly number[],
  { codes, concepts }: PlantedCodes,
  { risk, weight, drugModules, phenotypeCategories }: PlantedCauses,
  draw: Random,
): Uint8Array {
  const own = places.map((place) => concepts[codes[place].concept]);
  const meanOf = (value: (concept: typeof own[number]) => number) =>
    own.reduce((sum, concept) => sum + value(concept), 0) / own.length;
  const severe = meanOf((concept) => Number(concept.severe)) - 0.33;
  const logits = [
    9 * severe + 5 * meanOf(({ module }) => risk[module]) - 2.9 + 0.4 * draw.normal(),
    2 * severe + 8 * meanOf(({ module }) => weight[module]) - 0.6 + 0.4 * draw.normal(),
    ...drugModules.map((modules) => 14 * meanOf(({ module }) => Number(modules.includes(module))) - 3.2),
    ...phenotypeCategories.map((some) => 16 * meanOf(({ category }) => Number(some.includes(category))) - 4),
  ];
  return Uint8Array.from(logits, (logit) => Number(draw.uniform() < 1 / (1 + Math.exp(-logit))));
}
