/**
 * The case study with true twins: what happens to a patient with type 1 diabetes whose concepts are edited by hand, and whether
 * the generated days come nearer to the person they would be without the disease.
 *
 * The paper matches patients of a private cohort to similar ones without the disease, and halves the concept of glucose on
 * each of ten days. Here each patient has a simulated twin with the same chance and without the disease. A seed is that of
 * both sets of people and of the model. Distances are of mean panels, in standard deviations of the training set.
 *
 * @module
 */
import { t1dTwins, type Trajectories } from "../../lib/data/mod.ts";
import { CLEF, type Edit, editTrajectory, firstRecords, presets, scalingOf, train } from "../../lib/editing/mod.ts";
import { defineExperiment, type Row } from "../../lib/experiment/mod.ts";
import { mean } from "../../lib/stats.ts";

const DAYS = 10, HISTORY = 9;

const protocols: Record<string, Edit["concepts"]> = {
  "nothing edited": undefined,
  "glucose set to 0.5": { glucose: { set: 0.5 } },
  "glucose set to 2": { glucose: { set: 2 } },
  "white cells set to 0.5": { WBC: { set: 0.5 } },
  "both set to 0.5": { glucose: { set: 0.5 }, WBC: { set: 0.5 } },
  "potassium set to 0.5": { potassium: { set: 0.5 } },
};

export default defineExperiment({
  name: "t1d_edits",
  version: 1,
  question:
    "Does halving the concept of glucose bring a patient with diabetes nearer to the healthy twin, and what follows?",
  grid: { base: ["mean", "last"] },
  seeds: [1, 2, 3],
  fast: { seeds: [1] },
  rowSeconds: 60,
  async row({ base }, { seed, signal, fast }) {
    const { diabetic, healthy } = t1dTwins({ pairs: fast ? 20 : 60, seed: 30 + 100 * seed });
    const names = diabetic.variables.map(({ name }) => name), width = names.length;
    const others = t1dTwins({ pairs: fast ? 100 : 300, seed: 31 + 100 * seed });
    const half = others.diabetic.subjects.length / 2;
    const mixed: Trajectories = {
      ...others.diabetic,
      name: "training",
      subjects: [
        ...others.diabetic.subjects.slice(0, half),
        ...others.healthy.subjects.slice(half).map((subject) => ({ ...subject, id: `healthy ${subject.id}` })),
      ],
    };
    const scaling = scalingOf(mixed);
    const encoder = { kind: "transformer", heads: 4, layers: 2 } as const;
    const sizes = { variables: width, conditionWidth: mixed.conditions.width, records: 32, encoder } as const;
    const model = CLEF.create({ ...presets.repo(sizes), centred: true, base }, seed);
    const learned = { epochs: fast ? 5 : 20, batch: 128, learningRate: 1e-3, seed, show: false, signal };
    await train(model, mixed, learned);

    const days = Array.from({ length: DAYS }, (_, day) => 24 * (day + 1));
    const twins = healthy.subjects.map(({ values, missing }) =>
      names.map((_, v) => {
        const seen = Array.from({ length: DAYS + 1 }, (_, k) => (HISTORY + k) * width + v).filter((at) => !missing[at]);
        return mean(seen.map((at) => values[at]));
      })
    );
    const panels = async (concepts: Edit["concepts"]): Promise<number[][]> => {
      const edits = days.map((hours) => ({ hours, ...(concepts ? { concepts } : {}) }));
      const made: number[][] = [];
      for (const subject of diabetic.subjects) {
        signal.throwIfAborted();
        const history = firstRecords(subject, HISTORY);
        const { states } = await editTrajectory(model, history, diabetic, edits, { mode: "chained" });
        made.push(names.map((_, v) => mean(states.map(({ state }) => state[v]))));
      }
      return made;
    };
    const away = (panel: readonly number[], pair: number) =>
      panel.map((value, v) => Math.abs(value - twins[pair][v]) / scaling.std[v]).filter(Number.isFinite);
    const plain = await panels(undefined);
    const rows: Row[] = [];
    for (const [protocol, concepts] of Object.entries(protocols)) {
      const edited = concepts ? await panels(concepts) : plain;
      const distance = edited.map((panel, pair) => mean(away(panel, pair)));
      const before = plain.map((panel, pair) => mean(away(panel, pair)));
      const ratio = (name: string) =>
        mean(edited.map((panel, pair) => panel[names.indexOf(name)] / plain[pair][names.indexOf(name)]));
      rows.push({
        protocol,
        distance: rounded(mean(distance)),
        nearer: rounded(mean(distance.map((value, pair) => Number(value < before[pair])))),
        glucose: rounded(ratio("glucose")),
        whiteCells: rounded(ratio("WBC")),
        pairs: distance.length,
      });
    }
    model.dispose();
    return rows;
  },
});

function rounded(value: number): number {
  return Number(value.toFixed(4));
}
