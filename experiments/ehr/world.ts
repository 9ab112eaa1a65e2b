/**
 * The planted world as the models see it: patients in three splits that share nobody, and a hospital that codes otherwise.
 *
 * @module
 */
import { plantedPatients, plantedTasks, refuseShared, type VisitTable } from "../../lib/data/mod.ts";
import { type PlantedWorld, plantedWorld, reservedCount, type TokenTable } from "../../lib/tokenization/mod.ts";
import { type CodeInput, CodeVectors, type Rows, type TokenRows } from "./code_input.ts";
import { type Labels, Records } from "./records.ts";

export { plantedTasks };

/** Sizes of the splits. */
export interface SplitSizes {
  readonly train: number;
  readonly validation: number;
  readonly test: number;
}

/** Training and validation as in the specification of MedTok, section 7.2; 600 of its 1,500 test patients. */
export const splitSizes: SplitSizes = { train: 800, validation: 500, test: 600 };

/** Patients of a planted world, with their labels. */
export interface PlantedSplits {
  readonly world: PlantedWorld;
  readonly tables: Readonly<Record<keyof SplitSizes | "shift", VisitTable>>;
  readonly labels: Labels;
}

/**
 * Draws the patients of a world. `shift` is another hospital, that codes in a system which is rare in the others.
 */
export function plantedSplits(seed: number, sizes: SplitSizes = splitSizes): PlantedSplits {
  const world = plantedWorld({ seed });
  const drawn = {
    train: plantedPatients(world.planted, { patients: sizes.train, seed: 0 }),
    validation: plantedPatients(world.planted, { patients: sizes.validation, seed: 1 }),
    test: plantedPatients(world.planted, { patients: sizes.test, seed: 2 }),
    shift: plantedPatients(world.planted, { patients: sizes.test, seed: 3, mix: "shift" }),
  };
  const tables = Object.fromEntries(Object.entries(drawn).map(([name, { table }]) => [name, table]));
  refuseShared(tables);
  return {
    world,
    tables: tables as PlantedSplits["tables"],
    labels: {
      names: drawn.train.labels,
      values: new Map(Object.values(drawn).flatMap(({ values }) => [...values])),
    },
  };
}

/** All splits as records for one kind of tokens. They share one shape. */
export function plantedRecords(
  { world, tables, labels }: PlantedSplits,
  input: CodeInput,
): { vectors: CodeVectors; records: Record<keyof SplitSizes | "shift", Records>; kindOf: (id: number) => number } {
  const vectors = new CodeVectors(input);
  const { codes, concepts } = world.planted;
  const place = new Map(codes.map(({ system, code }, i) => [`${system}:${code}`, i]));
  const index = (system: string, code: string) => place.get(`${system}:${code}`);
  const each = input.mode === "sequence" ? input.tokens.slots : 1;
  const shape = { visits: 5, codes: 7 * each };
  const of = (table: VisitTable) => new Records(table, { index, vectors, labels, shape, sexes: ["F", "M"] });
  const kinds = codes.map(({ concept }) => ({ diagnosis: 1, procedure: 2, drug: 3 })[concepts[concept].kind]);
  return {
    vectors,
    records: {
      train: of(tables.train),
      validation: of(tables.validation),
      test: of(tables.test),
      shift: of(tables.shift),
    },
    // a token of several codes is no kind of its own: it counts as a diagnosis
    kindOf: (id) => input.mode === "sequence" || id < reservedCount ? 1 : kinds[id - reservedCount],
  };
}

/** A table's vectors as rows. */
export function vectorsOf(table: TokenTable): Rows {
  const rows = table.codes.length;
  return { data: table.embeddings, rows, width: table.embeddings.length / rows };
}

/** A table's tokens as rows. */
export function tokensOf(table: TokenTable): TokenRows {
  const codes = table.codes.length;
  return {
    ids: table.tokens,
    weights: table.weights,
    codes,
    each: table.tokens.length / codes,
    slots: table.slots.length,
    vocabulary: table.config.N,
  };
}
