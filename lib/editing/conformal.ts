/**
 * Intervals around generated states that hold the truth as often as promised, whatever the model: split conformal
 * prediction, per variable and horizon.
 *
 * Lei et al., "Distribution-Free Predictive Inference for Regression", Journal of the American Statistical Association 113,
 * 2018, doi:10.1080/01621459.2017.1307116, section 2.2. The promise is for new subjects like those of the calibration, over
 * all of them together; it says nothing about conditions or edits that the calibration did not see.
 *
 * @module
 */
import type { Trajectories } from "../data/mod.ts";
import type { CLEF } from "./clef.ts";
import { type Answerer, evaluate, type EvaluateOptions, type KeptState, WARM_UP } from "./evaluate.ts";

/** Options of {@link calibrate}. */
export interface CalibrateOptions extends Pick<EvaluateOptions, "task" | "warmUp" | "most"> {
  /** How often an interval shall hold the truth. Default: 0.9. */
  readonly level?: number;
  /** Horizons are grouped by these hours; targets beyond the last are a group too. Default: 24, 48, 96. */
  readonly edges?: readonly number[];
}

/** Half widths of intervals, from subjects that the model was not trained on. */
export interface ConformalIntervals {
  readonly level: number;
  readonly edges: readonly number[];
  /** [horizon group][variable], in the variable's unit; infinite where there were too few calibration values. */
  readonly halfWidth: readonly (readonly number[])[];
  /** Calibration values behind each. */
  readonly counts: readonly (readonly number[])[];
  /**
   * The interval around a state.
   *
   * @param hours From the history's end to the state.
   */
  around(state: ArrayLike<number>, hours: number): { readonly low: number[]; readonly high: number[] };
}

interface Residual {
  readonly variable: number;
  readonly group: number;
  readonly error: number;
}

/**
 * Measures how far a model is off on subjects that it has not seen, and makes intervals of that.
 *
 * @param calibration Subjects used neither for training nor for testing.
 * @throws {RangeError} Where the level is out of range or the edges do not ascend.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { synthLab } from "tessera/data/mod.ts";
 * import { baselines } from "tessera/editing/mod.ts";
 * const [calibration, test] = [2, 3].map((seed) => synthLab({ subjects: 200, seed }));
 * const intervals = await calibrate(baselines.lastValue(), calibration, { task: "delayed" });
 * const { share } = await coverage(intervals, baselines.lastValue(), test, { task: "delayed" });
 * assert.ok(Math.abs(share - 0.9) < 0.02);
 * ```
 */
export async function calibrate(
  model: CLEF | Answerer,
  calibration: Trajectories,
  options: CalibrateOptions,
): Promise<ConformalIntervals> {
  const { level = 0.9, edges = [24, 48, 96] } = options;
  if (!(level > 0 && level < 1)) throw new RangeError(`a level lies in (0, 1), such as 0.9, but it is ${level}`);
  if (edges.some((edge, i) => i > 0 && edge <= edges[i - 1])) {
    throw new RangeError(`the edges of horizons must ascend, but they are ${edges.join(", ")}; sort them`);
  }
  const residuals = await residualsOf(model, calibration, options, edges);
  const byCell = Map.groupBy(residuals, ({ group, variable }) => `${group} ${variable}`);
  const table = <T>(of: (errors: number[]) => T) =>
    Array.from(
      { length: edges.length + 1 },
      (_, group) =>
        calibration.variables.map((_, v) => of((byCell.get(`${group} ${v}`) ?? []).map(({ error }) => error))),
    );
  const halfWidth = table((errors) => {
    const rank = Math.ceil((errors.length + 1) * level); // one more than there are: the new subject's
    return rank > errors.length ? Infinity : Float64Array.from(errors).sort()[rank - 1];
  });
  return {
    level,
    edges,
    halfWidth,
    counts: table((errors) => errors.length),
    around(state, hours) {
      const widths = halfWidth[groupOf(hours, edges)];
      const shifted = (sign: number) => Array.from(widths, (width, v) => state[v] + sign * width);
      return { low: shifted(-1), high: shifted(1) };
    },
  };
}

/**
 * How often intervals hold the truth on other subjects, in all and per horizon group.
 *
 * @example See {@link calibrate}
 * ```ts
 * import assert from "node:assert/strict";
 * import { synthLab } from "tessera/data/mod.ts";
 * import { baselines } from "tessera/editing/mod.ts";
 * const data = synthLab({ subjects: 100, seed: 2 });
 * const intervals = await calibrate(baselines.lastValue(), data, { task: "immediate", edges: [24] });
 * const { byGroup } = await coverage(intervals, baselines.lastValue(), data, { task: "immediate" });
 * assert.equal(byGroup.length, 2);
 * ```
 */
export async function coverage(
  { halfWidth, edges }: ConformalIntervals,
  model: CLEF | Answerer,
  test: Trajectories,
  options: Pick<CalibrateOptions, "task" | "warmUp" | "most">,
): Promise<{ share: number; count: number; byGroup: { share: number; count: number }[] }> {
  const residuals = await residualsOf(model, test, options, edges);
  const shareOf = (some: readonly Residual[]) => {
    const held = some.filter(({ error, group, variable }) => error <= halfWidth[group][variable]).length;
    return { share: held / some.length, count: some.length };
  };
  const byGroup = Array.from(
    { length: edges.length + 1 },
    (_, g) => shareOf(residuals.filter(({ group }) => group === g)),
  );
  return { ...shareOf(residuals), byGroup };
}

async function residualsOf(
  model: CLEF | Answerer,
  data: Trajectories,
  { task, warmUp = WARM_UP, most }: Pick<CalibrateOptions, "task" | "warmUp" | "most">,
  edges: readonly number[],
): Promise<Residual[]> {
  const { states } = await evaluate(model, data, { task, warmUp, keep: true, ...(most ? { most } : {}) });
  const subjects = new Map(data.subjects.map((subject) => [subject.id, subject]));
  const width = data.variables.length;
  return states.flatMap(({ id, target, state }: KeptState): Residual[] => {
    const { hours, values, missing } = subjects.get(id)!;
    const last = task === "immediate" ? target - 1 : warmUp;
    const group = groupOf(hours[target] - hours[last], edges);
    return state.flatMap((value, variable) => {
      const at = target * width + variable;
      return missing[at] ? [] : [{ variable, group, error: Math.abs(value - values[at]) }];
    });
  });
}

function groupOf(hours: number, edges: readonly number[]): number {
  const found = edges.findIndex((edge) => hours <= edge);
  return found < 0 ? edges.length : found;
}
