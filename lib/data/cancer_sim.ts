/**
 * cancer-sim: simulated lung tumours under chemotherapy and radiotherapy whose assignment depends on the tumour, with true
 * alternative futures.
 *
 * Geng et al., "Prediction of Treatment Response for Combined Chemo- and Radiation Therapy", Scientific Reports 7, 2017,
 * doi:10.1038/s41598-017-13646-z; made with the Causal Transformer's code (Melnychuk et al., ICML 2022, arXiv:2204.07258);
 * data/cancer-sim/SOURCE.md.
 *
 * @module
 */
import { oneOf, remember } from "./files.ts";
import { readGzipText, textRows } from "./text_table.ts";
import { NO_CONDITION, oneHotConditions, type Trajectories, trajectories } from "./trajectories.ts";

const splits = ["train", "test"] as const;
const TREATMENTS = ["chemo", "radio"];

/** What would follow a patient's day under one plan. */
export interface TumourFuture {
  readonly patient: string;
  readonly day: number;
  /** 0-4: chemotherapy on one of the five next days; 5-9: radiotherapy. */
  readonly option: number;
  readonly chemo: readonly number[];
  readonly radio: readonly number[];
  /** cm³ on the six days that follow; the first is under what was really given, the plan acts from the second on. */
  readonly volumes: readonly number[];
}

const numbers = async (name: string, columns: string[]): Promise<number[][]> =>
  textRows((await readGzipText(`cancer-sim/${name}.csv.gz`)).text, columns, `${name}.csv.gz`, ",")
    .map((cells) => cells.map(Number));

const load = remember(
  async (name: "factual_train" | "factual_test" | "counterfactual_histories"): Promise<Trajectories> => {
    const rows = await numbers(name, ["patient", "day", "tumour_volume_cm3", "chemo", "radio"]);
    const subjects = [...Map.groupBy(rows, ([patient]) => patient)].map(([id, days]) => ({
      id,
      hours: days.map(([, day]) => 24 * day),
      values: days.map(([, , volume]) => [volume]),
      conditions: days.map(([, , , chemo, radio]) =>
        TREATMENTS.filter((_, i) => [chemo, radio][i]).join(";") || NO_CONDITION
      ),
    }));
    return trajectories(subjects, {
      name: `cancer-sim, ${name}`,
      variables: [{ name: "tumour volume", unit: "cm³" }],
      conditions: oneHotConditions(TREATMENTS),
      actsOn: "next record", // treatment of a day moves the volume of the next
    });
  },
);

/** The data set. */
export const cancerSim = {
  /**
   * What happened: 400 patients to train on, 100 to test, until recovery, death or day 59.
   *
   * @example
   * ```ts
   * import assert from "node:assert/strict";
   * const data = await cancerSim.load("test");
   * assert.equal(data.subjects.length, 100);
   * ```
   */
  load: (split: typeof splits[number]): Promise<Trajectories> =>
    load(`factual_${oneOf(split, splits, "split of cancer-sim")}`),

  /**
   * What happened to twelve more patients, and for each of their days ten alternative futures, computed by the simulator.
   *
   * @example
   * ```ts
   * import assert from "node:assert/strict";
   * const { futures } = await cancerSim.counterfactuals();
   * assert.equal(futures.length, 7080);
   * ```
   */
  async counterfactuals(): Promise<{ histories: Trajectories; futures: TumourFuture[] }> {
    const numbered = (name: string, count: number) => Array.from({ length: count }, (_, i) => `${name}_${i + 1}`);
    const columns = [
      "patient",
      "day",
      "option",
      ...numbered("chemo", 5),
      ...numbered("radio", 5),
      ...numbered("volume", 6),
    ];
    const rows = await numbers("counterfactual_futures", columns);
    const futures = rows.map(([patient, day, option, ...rest]) => ({
      patient: String(patient),
      day,
      option,
      chemo: rest.slice(0, 5),
      radio: rest.slice(5, 10),
      volumes: rest.slice(10),
    }));
    return { histories: await load("counterfactual_histories"), futures };
  },
};
