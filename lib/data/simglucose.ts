/**
 * simglucose: a day of 30 virtual people with type 1 diabetes, and their parameters.
 *
 * Xie, "simglucose v0.2.1" (2018), github.com/jxx123/simglucose; data/simglucose/SOURCE.md.
 *
 * @module
 */
import { remember } from "./files.ts";
import { type GlucoseInput, type GlucosePatient, simulateGlucose } from "./simulated/glucose.ts";
import { readGzipText, textRows } from "./text_table.ts";
import { NO_CONDITION, oneHotConditions, type Trajectories, trajectories } from "./trajectories.ts";

/** Minutes between samples of the original. */
const SAMPLE_MINUTES = 3;

interface Sample {
  hours: number;
  /** mg/dL */
  glucose: number;
  sensor: number;
  /** g a minute, over the sample that follows */
  carbohydrates: number;
  /** U a minute, over the sample that follows */
  insulin: number;
}

const samples = remember(async (_: "all"): Promise<Map<string, Sample[]>> => {
  const { text } = await readGzipText("simglucose/trajectories.csv.gz");
  const found = new Map<string, Sample[]>();
  const columns = ["patient", "Time", "BG", "CGM", "CHO", "insulin"];
  for (const [patient, time, ...numbers] of textRows(text, columns, "trajectories.csv.gz", ",")) {
    const [glucose, sensor, carbohydrates, insulin] = numbers.map((cell) => cell === "" ? 0 : Number(cell));
    const hours = Date.parse(time.replace(" ", "T") + "Z") / 3_600_000;
    found.set(patient, [...found.get(patient) ?? [], { hours, glucose, sensor, carbohydrates, insulin }]);
  }
  return found;
});

const parameters = remember(async (_: "all"): Promise<{ name: string; parameters: GlucosePatient }[]> => {
  const { text } = await readGzipText("simglucose/vpatient_params.csv.gz");
  const names = text.slice(0, text.indexOf("\n")).trim().split(",");
  return textRows(text, names, "vpatient_params.csv.gz", ",").map(([name, ...numbers]) => (
    { name, parameters: Object.fromEntries(numbers.map((cell, i) => [names[i + 1], Number(cell)])) }
  ));
});

/** The data set, its patients, and what would have been. */
export const simglucose = {
  /**
   * The recorded day: glucose in the blood and as the sensor saw it, carbohydrates eaten and insulin given since the record
   * before. The condition "meal" stands at the first record after a meal began.
   *
   * @param everyMinutes A multiple of 3. Default: 15.
   *
   * @example
   * ```ts
   * import assert from "node:assert/strict";
   * const data = await simglucose.load();
   * assert.deepEqual([data.subjects.length, data.subjects[0].hours.length], [30, 97]);
   * ```
   */
  async load({ everyMinutes = 15 }: { readonly everyMinutes?: number } = {}): Promise<Trajectories> {
    const stride = everyMinutes / SAMPLE_MINUTES;
    if (!Number.isInteger(stride) || stride < 1) {
      throw new RangeError(
        `everyMinutes must be a multiple of ${SAMPLE_MINUTES}, but it is ${everyMinutes}; take 3 or 15`,
      );
    }
    const subjects = [...await samples("all")].map(([id, day]) => {
      const kept = day.flatMap((_, k) => k % stride === 0 ? [k] : []);
      const since = (k: number) => day.slice(Math.max(0, k - stride), k);
      const sum = (k: number, part: "carbohydrates" | "insulin") =>
        since(k).reduce((total, sample) => total + sample[part] * SAMPLE_MINUTES, 0);
      return {
        id,
        hours: kept.map((k) => day[k].hours),
        values: kept.map((k) => [day[k].glucose, day[k].sensor, sum(k, "carbohydrates"), sum(k, "insulin")]),
        conditions: kept.map((k) => since(k).some(({ carbohydrates }) => carbohydrates > 0) ? "meal" : NO_CONDITION),
      };
    });
    return trajectories(subjects, {
      name: "simglucose, one day of 30 virtual patients",
      variables: [
        { name: "glucose", unit: "mg/dL" },
        { name: "sensor glucose", unit: "mg/dL" },
        { name: "carbohydrates", unit: "g" },
        { name: "insulin", unit: "U" },
      ],
      conditions: oneHotConditions(["meal"]),
    });
  },

  /** The 30 patients by name, with the parameters of their equations. */
  patients: (): Promise<{ name: string; parameters: GlucosePatient }[]> => parameters("all"),

  /** What was eaten and injected, minute by minute. A meal stands in the last minute of its sample, with which the
   * recorded glucose fits best (the file does not say the minute). */
  async inputs(patient: string): Promise<GlucoseInput[]> {
    const day = (await samples("all")).get(patient);
    if (!day) {
      throw new RangeError(`simglucose has no patient ${JSON.stringify(patient)}; they are called adult#001 and so on`);
    }
    return day.slice(0, -1).flatMap(({ carbohydrates, insulin }) =>
      Array.from({ length: SAMPLE_MINUTES }, (_, minute) => (
        { carbohydrates: minute === SAMPLE_MINUTES - 1 ? carbohydrates * SAMPLE_MINUTES : 0, insulin }
      ))
    );
  },

  /**
   * The true counterfactual: the same patient, the same meals, the insulin of each minute times a factor from an hour on.
   *
   * @param fromHour Hours after the day's start. Default: 0.
   * @returns Glucose in mg/dL every `everyMinutes` minutes, as `load` has it.
   *
   * @example Half the insulin, more glucose
   * ```ts
   * import assert from "node:assert/strict";
   * const [full, half] = await Promise.all([1, 0.5].map((factor) => simglucose.withInsulin("adult#001", { factor })));
   * assert.ok(half[96] > full[96]);
   * ```
   */
  async withInsulin(
    patient: string,
    { factor, fromHour = 0, everyMinutes = 15 }: {
      readonly factor: number;
      readonly fromHour?: number;
      readonly everyMinutes?: number;
    },
  ): Promise<Float64Array> {
    if (!(factor >= 0)) {
      throw new RangeError(`insulin is multiplied by a number from 0, but it is ${factor}; for half pass 0.5`);
    }
    const found = (await parameters("all")).find(({ name }) => name === patient);
    const inputs = await simglucose.inputs(patient);
    const changed = inputs.map(({ carbohydrates, insulin }, minute) => (
      { carbohydrates, insulin: minute >= fromHour * 60 ? insulin * factor : insulin }
    ));
    return simulateGlucose(found!.parameters, changed).filter((_, minute) => minute % everyMinutes === 0);
  },
};
