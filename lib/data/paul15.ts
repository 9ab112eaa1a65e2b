/**
 * Paul15: mouse blood formation, single cells ordered along a branching course, as trajectories of 23 genes.
 *
 * Paul et al., "Transcriptional Heterogeneity and Lineage Commitment in Myeloid Progenitors", Cell 163 (7), 2015,
 * doi:10.1016/j.cell.2015.11.013; pseudotime of Monocle 2 as prepared for BranchedGP; data/paul15-hematopoiesis/SOURCE.md.
 *
 * @module
 */
import { random } from "../random.ts";
import { remember } from "./files.ts";
import { readGzipText, textRows } from "./text_table.ts";
import { oneHotConditions, type Trajectories, trajectories } from "./trajectories.ts";

/** The fates: branch 1 is the stem, 2 and 3 follow it. */
const FATES = ["branch 2", "branch 3"] as const;

interface Cells {
  readonly genes: string[];
  readonly expression: number[][];
  readonly state: number[];
  readonly pseudotime: number[];
}

const cells = remember(async (_: "all"): Promise<Cells> => {
  const { text } = await readGzipText("paul15-hematopoiesis/hematoData.csv.gz");
  const genes = text.slice(0, text.indexOf("\n")).trim().split(",").slice(1);
  const monocle = (await readGzipText("paul15-hematopoiesis/hematoMonocle.csv.gz")).text;
  const course = textRows(monocle, ["State", "StretchedPseudotime"], "hematoMonocle.csv.gz", ",");
  return {
    genes,
    expression: textRows(text, genes, "hematoData.csv.gz", ",").map((row) => row.map(Number)),
    state: course.map(([state]) => Number(state)),
    pseudotime: course.map(([, time]) => Number(time)),
  };
});

/** The data set. */
export const paul15 = {
  /**
   * Trajectories from the stem to one of the two fates. A cell is destroyed when it is measured, so each trajectory is made
   * of different cells: its records are means over small random groups of cells that lie close in pseudotime. The condition
   * of every record after the branching is its fate. Time is pseudotime, a unit of it written as 100 hours.
   *
   * @param perFate Trajectories of each fate. Default: 40.
   * @param records Records of each. Default: 20.
   * @param cellsPerRecord Cells that a record is the mean of. Default: 10.
   *
   * @example
   * ```ts
   * import assert from "node:assert/strict";
   * const data = await paul15.load({ seed: 1 });
   * assert.deepEqual([data.subjects.length, data.variables.length], [80, 23]);
   * ```
   */
  async load(
    { seed, perFate = 40, records = 20, cellsPerRecord = 10 }: {
      readonly seed: number;
      readonly perFate?: number;
      readonly records?: number;
      readonly cellsPerRecord?: number;
    },
  ): Promise<Trajectories> {
    const { genes, expression, state, pseudotime } = await cells("all");
    const from = random(seed, "paul15");
    const branching = Math.max(...pseudotime.filter((_, cell) => state[cell] === 1));
    const subjects = FATES.flatMap((fate, f) => {
      const own = state.flatMap((branch, cell) => branch === 1 || branch === f + 2 ? [cell] : [])
        .sort((a, b) => pseudotime[a] - pseudotime[b]);
      return Array.from({ length: perFate }, (_, number) => {
        const windows = Array.from({ length: records }, (_, k) => {
          const [low, high] = [k, k + 1].map((edge) => Math.floor(edge * own.length / records));
          return own.slice(low, high);
        });
        const groups = windows.map((window) => Array.from({ length: cellsPerRecord }, () => from.choice(window)));
        const mean = (group: readonly number[], of: (cell: number) => number) =>
          group.reduce((sum, cell) => sum + of(cell), 0) / group.length;
        const times = groups.map((group) => mean(group, (cell) => pseudotime[cell]));
        return {
          id: `${fate} ${number}`,
          hours: times.map((time) => 100 * time),
          values: groups.map((group) => genes.map((_, v) => mean(group, (cell) => expression[cell][v]))),
          conditions: times.map((time) => time > branching ? fate : "None"),
        };
      });
    });
    return trajectories(subjects, {
      name: "Paul15, blood formation along pseudotime",
      variables: genes.map((name) => ({ name, unit: "normalised expression" })),
      conditions: oneHotConditions(FATES),
    });
  },
};
