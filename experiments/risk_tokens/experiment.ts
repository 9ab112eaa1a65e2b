/**
 * Figure 7 of MedTok where the answer is known: which tokens do patients have more than others, of whom a model says that
 * they will fall ill? Do the codes behind those tokens stand for what makes people ill?
 *
 * Of the patients who have not had a condition, the tenth with the highest predicted risk is the group; every token that they
 * or the others have is mapped back to the group's codes ({@link cohortReport}). In this world a condition comes from two
 * mechanisms that stand in the graph alone, so that the share of such codes behind the most enriched tokens can be counted.
 * Beside the predicted group stand those who did fall ill, a tenth drawn at random, and the tenth that truly has most of the
 * mechanisms, which is the most that such a list can show.
 *
 * Su et al., "Multimodal Medical Code Tokenizer", ICML 2025, arXiv:2502.04397, figure 7.
 *
 * @module
 */
import { defineExperiment } from "../../lib/experiment/mod.ts";
import { random } from "../../lib/random.ts";
import { auprc, mean } from "../../lib/stats.ts";
import { cohortReport } from "../../lib/tokenization/mod.ts";
import { training } from "../ehr/experiment.ts";
import { makeModel } from "../ehr/models/mod.ts";
import { medtokTable } from "../ehr/tables.ts";
import { predictor, trainEHR } from "../ehr/train.ts";
import { plantedRecords, vectorsOf } from "../ehr/world.ts";
import { conditions, newDiagnoses, tasks } from "../new_diagnoses/world.ts";

const sizes = { train: 800, validation: 400, test: 1000 }, fastSizes = { train: 200, validation: 100, test: 200 };
const FAST_STEPS = 40;
/** Tokens at each end of the list that are looked at, and how often a token must occur: the paper asks for more than 100. */
const LISTED = 15, LEAST = 100, FAST_LEAST = 20;

export default defineExperiment({
  name: "risk_tokens",
  version: 1,
  question: "Do tokens that are frequent in a high-risk group lead back to what makes its patients ill?",
  grid: { tokens: ["MedTok", "MedTok without graph", "MedTok without text"] },
  seeds: [0, 1, 2, 3, 4],
  fast: { grid: { tokens: ["MedTok"] }, seeds: [0] },
  rowSeconds: 60,
  async row({ tokens: which }, { seed, signal, fast }) {
    const world = newDiagnoses(seed, fast ? fastSizes : sizes);
    const table = await medtokTable(which, seed, { ...(fast ? { steps: FAST_STEPS } : {}), signal });
    const { vectors, records, kindOf } = plantedRecords(world, { mode: "vector", vectors: vectorsOf(table) });
    const model = makeModel("reference", { vectors, records: records.train, kindOf, seed });
    await trainEHR(model, records.train, records.validation, {
      ...training,
      ...(fast ? { epochs: 3 } : {}),
      ...{ seed, signal },
    });
    const predict = predictor(model);
    const guessed = await predict(records.test);
    predict.dispose();
    model.dispose();
    vectors.dispose();

    const { codes, concepts } = world.world.planted;
    const place = new Map(codes.map(({ system, code }, i) => [`${system}:${code}`, i]));
    const placesOf = world.tables.test.patients.map(({ visits }) =>
      visits.flatMap(({ codes }) => codes.map(({ system, code }) => place.get(`${system}:${code}`)!))
    );
    const ids = world.tables.test.patients.map(({ id }) => id);
    return conditions.flatMap((condition, c) => {
      const column = tasks.indexOf(condition);
      const { modules } = world.conditions[c];
      const isCause = (at: number) => modules.includes(concepts[codes[at].concept].module);
      const asked = ids.flatMap((id, row) => world.atRisk.get(id)![column] ? [row] : []);
      const truth = asked.map((row) => world.labels.values.get(ids[row])![column]);
      const draw = random(seed, `a group of ${condition}`);
      const risk = asked.map((row) => guessed[row][column]);
      const scores = {
        "highest predicted risk": risk,
        "fell ill": truth,
        "most of the mechanisms": asked.map((row) => mean(placesOf[row].map((at) => Number(isCause(at))))),
        "drawn at random": asked.map(() => draw.uniform()),
      };
      const all = mean(asked.flatMap((row) => placesOf[row].map((at) => Number(isCause(at)))));
      return Object.entries(scores).map(([group, score]) => {
        const size = group === "fell ill" ? truth.reduce((sum, one) => sum + one, 0) : Math.ceil(asked.length / 10);
        const chosen = new Set(
          score.map((value, i) => ({ value, i })).sort((a, b) => b.value - a.value || a.i - b.i).slice(0, size)
            .map(({ i }) => i),
        );
        const listed = cohortReport(
          table,
          asked.map((row) => placesOf[row]),
          asked.map((_, i) => chosen.has(i)),
          fast ? FAST_LEAST : LEAST,
        );
        const causes = (rows: typeof listed) => {
          const behind = rows.flatMap(({ codes }) => codes.map((name) => Number(isCause(place.get(name)!))));
          return behind.length ? rounded(mean(behind)) : null;
        };
        return {
          condition,
          group,
          patients: chosen.size,
          fellIll: rounded(mean([...chosen].map((i) => truth[i]))),
          prevalence: rounded(mean(truth)),
          auprc: new Set(truth).size > 1 ? rounded(auprc(truth, risk)) : null,
          listed: listed.length,
          most: causes(listed.slice(0, LISTED)),
          least: causes(listed.slice(-LISTED)),
          everywhere: rounded(all),
        };
      });
    });
  },
});

function rounded(value: number): number {
  return Number(value.toFixed(4));
}
