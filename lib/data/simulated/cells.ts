/**
 * WOT-like: simulated trajectories of gene expression, regular in time, in small steps, where a transcription factor moves
 * some genes; with counterfactuals that share a prefix.
 *
 * Stands in for the CLEF paper's cells (a Waddington-OT model of reprogramming, Schiebinger et al., Cell 176 (4), 2019,
 * doi:10.1016/j.cell.2019.01.006), whose simulation is not published. Numbers from it are not comparable with the paper's.
 *
 * @module
 */
import { random } from "../../random.ts";
import { NO_CONDITION, type Trajectory } from "../trajectories.ts";
import { type LabWorld, randomEmbeddings } from "./lab_world.ts";
import { simulatedFrom, type SimulatedTrajectories } from "./synth_lab.ts";

/** Hours of one step: half a unit of the original's time, as its authors write it. */
const STEP_HOURS = 5;
const FACTORS = Array.from({ length: 12 }, (_, f) => `TF${f}`);

/** Trajectories of cells, and for each the one that another factor would have taken. */
export interface SimulatedCells extends SimulatedTrajectories {
  /** The same cell under another factor from `divergeAt` on: all records before are the same. */
  readonly counterfactuals: readonly Trajectory[];
  /** The first record that differs. */
  readonly divergeAt: number;
}

/**
 * Simulates cells. A condition stored at a record acts on the next one, as in the paper's data.
 *
 * @param genes Default: 256.
 * @param records Default: 20; the paper has up to 37.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * const data = wotLike({ trajectories: 2, seed: 1, genes: 8 });
 * const [factual, other] = [data.subjects[0], data.counterfactuals[0]];
 * assert.deepEqual(other.values.slice(0, 10 * 8), factual.values.slice(0, 10 * 8));
 * assert.notDeepEqual(other.values.slice(10 * 8), factual.values.slice(10 * 8));
 * ```
 */
export function wotLike(
  { trajectories, seed, genes = 256, records = 20, divergeAt = 10 }: {
    readonly trajectories: number;
    readonly seed: number;
    readonly genes?: number;
    readonly records?: number;
    readonly divergeAt?: number;
  },
): SimulatedCells {
  if (!Number.isInteger(divergeAt) || divergeAt < 1 || divergeAt >= records) {
    throw new RangeError(
      `a counterfactual diverges at a record from 1 to ${records - 1}, but divergeAt is ${divergeAt}; the paper has 10`,
    );
  }
  const data = simulatedFrom(cellWorld(genes), "WOT-like (simulated)", { subjects: trajectories, seed, records });
  const other = random(seed, "other factor");
  const counterfactuals = data.subjects.map(({ conditions }, place) => {
    const shift = 1 + other.integer(FACTORS.length - 1);
    const changed: Record<number, string> = {};
    for (let k = divergeAt - 1; k < records; k++) {
      // at the branching there is a factor in any case
      const token = conditions[k] === NO_CONDITION && k === divergeAt - 1 ? FACTORS[0] : conditions[k];
      if (token !== NO_CONDITION) changed[k] = FACTORS[(FACTORS.indexOf(token) + shift) % FACTORS.length];
    }
    return data.counterfactual(place, { conditions: changed });
  });
  return { ...data, counterfactuals, divergeAt };
}

function cellWorld(genes: number): LabWorld {
  const from = random(7, `cells ${genes}`); // the structure is the same for every seed of the data
  const several = <T>(count: number, draw: () => T) => Array.from({ length: count }, draw);
  return {
    variables: Array.from({ length: genes }, (_, g) => ({ name: `gene ${g}`, unit: "normalised expression" })),
    mean: several(genes, () => Math.exp(from.normal(0, 0.7))),
    std: several(genes, () => 0.02),
    betweenSubjects: 10, // cells differ by much more than they fluctuate
    memoryHours: several(genes, () => from.uniform(20, 100)),
    coupling: several(
      2 * genes,
      () => ({ row: from.integer(genes), column: from.integer(genes), size: from.normal(0, 0.15) }),
    ),
    conditions: FACTORS.map((token) => {
      const moved = several(Math.max(1, Math.round(genes / 16)), () => from.integer(genes));
      const effect = Object.fromEntries(
        moved.map((gene) => [gene, (from.bernoulli(0.5) ? 1 : -1) * from.uniform(0.05, 0.3)]),
      );
      return { token, effect, fadesInHours: from.uniform(100, 400) };
    }),
    table: randomEmbeddings(FACTORS, 32, 8),
    gap: { medianHours: STEP_HOURS, logStd: 0 },
    conditionRate: 0.25,
    missingRate: 0,
    actsOn: "next record",
  };
}
