/**
 * Diagnoses that are new: labels of the planted world in the shape of EHRShot's, rare, and asked only of patients who have
 * not had them.
 *
 * A condition has codes of its own, which are those of a category of words. Whoever has one of them on record has had it,
 * and cannot be newly diagnosed. Of the others, it strikes those who have much of its two mechanisms (modules), a little more
 * the severely ill. Categories stand in a code's text and mechanisms in the graph alone, so that who is still at risk is read
 * from words, and who will fall ill from the graph. A long stay depends on nothing that is recorded: no model can know it.
 *
 * @module
 */
import { plantedFactors, plantedTasks, type VisitTable } from "../../lib/data/mod.ts";
import { random } from "../../lib/random.ts";
import { mean } from "../../lib/stats.ts";
import { type PlantedSplits, plantedSplits, type SplitSizes } from "../ehr/world.ts";

/** The conditions, by their number. */
export const conditions = ["condition 0", "condition 1", "condition 2", "condition 3"] as const;

/** Tasks in the shape of table 4: a long stay, coming back, dying, and four new diagnoses. */
export const tasks = ["long stay", "readmission", "mortality", ...conditions] as const;

/** How each condition is made. */
export interface Condition {
  /** Whose codes are the condition. */
  readonly category: number;
  /** That bring it about. */
  readonly modules: readonly number[];
  /** Log odds of somebody who has none of its mechanisms and nothing severe: how rare it is. */
  readonly base: number;
}

/** Patients of a world, what is asked of them, and of whom it may be asked. */
export interface NewDiagnoses extends PlantedSplits {
  readonly conditions: readonly Condition[];
  /** For each patient, by id: whether each of {@link tasks} may be asked. */
  readonly atRisk: ReadonlyMap<string, readonly boolean[]>;
}

/** From common to rare, as hypertension is more common than cancer of the pancreas. */
const BASES = [-3, -3.3, -3.9, -4.5];

/** What the conditions of a world are; drawn once, from the world's seed. */
export function conditionsOf(seed: number): Condition[] {
  const draw = random(seed, "planted conditions");
  const categories = draw.stream("categories").permutation(plantedFactors.categories);
  const modules = draw.stream("modules").permutation(plantedFactors.modules);
  return BASES.map((base, i) => ({
    category: categories[i],
    modules: [...modules.slice(2 * i, 2 * i + 2)],
    base,
  }));
}

/**
 * Draws the patients of a world with the labels of table 4.
 *
 * A label is 0 where the question may not be asked: somebody who has a condition is not newly diagnosed with it. In a score
 * only those at risk count.
 */
export function newDiagnoses(seed: number, sizes?: SplitSizes): NewDiagnoses {
  const splits = plantedSplits(seed, sizes);
  const { codes, concepts } = splits.world.planted;
  const own = conditionsOf(seed);
  const conceptOf = new Map(codes.map(({ system, code, concept }) => [`${system}:${code}`, concepts[concept]]));
  const values = new Map<string, Uint8Array>(), atRisk = new Map<string, boolean[]>();
  for (const { patients } of Object.values<VisitTable>(splits.tables)) {
    for (const { id, visits } of patients) {
      const had = visits.flatMap(({ codes }) => codes.map(({ system, code }) => conceptOf.get(`${system}:${code}`)!));
      const draw = random(seed, `new diagnoses of ${id}`);
      const severe = mean(had.map(({ severe }) => Number(severe)));
      const struck = own.map(({ category: whose, modules, base }) => {
        const free = !had.some(({ category }) => category === whose);
        const logit = base + 9 * mean(had.map(({ module }) => Number(modules.includes(module)))) + 2 * severe;
        const falls = draw.uniform() < 1 / (1 + Math.exp(-logit));
        return { free, falls: free && falls };
      });
      const { died, back } = before(splits, id);
      values.set(
        id,
        Uint8Array.from([draw.uniform() < 0.25, back, died, ...struck.map(({ falls }) => falls)].map(Number)),
      );
      atRisk.set(id, [true, true, true, ...struck.map(({ free }) => free)]);
    }
  }
  return { ...splits, labels: { names: tasks, values }, conditions: own, atRisk };
}

/** Mortality and readmission as the planted world has them. */
function before({ labels }: PlantedSplits, id: string): { died: boolean; back: boolean } {
  const own = labels.values.get(id)!;
  const of = (name: string) => own[labels.names.indexOf(name)] === 1;
  return { died: of(plantedTasks.mortality[0]), back: of(plantedTasks.readmission[0]) };
}
