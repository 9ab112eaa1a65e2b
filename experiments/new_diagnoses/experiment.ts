/**
 * Models of health records with their own codes and with MedTok, on what table 4 of the paper asks: a long stay, coming back,
 * dying, and four diagnoses that are new.
 *
 * The paper's patients are those of EHRShot, which need credentials; ours are simulated, with rare labels of known cause
 * ({@link newDiagnoses}). A seed is that of the world, of its tokenizer and of the model.
 *
 * Su et al., "Multimodal Medical Code Tokenizer", ICML 2025, arXiv:2502.04397, table 4.
 *
 * @module
 */
import { defineExperiment } from "../../lib/experiment/mod.ts";
import { auprc, mean } from "../../lib/stats.ts";
import { training } from "../ehr/experiment.ts";
import { codeInput } from "../ehr/inputs.ts";
import { makeModel } from "../ehr/models/mod.ts";
import { labelsOf, predictor, trainEHR } from "../ehr/train.ts";
import { plantedRecords } from "../ehr/world.ts";
import { newDiagnoses, tasks } from "./world.ts";

/** Sizes of the splits; rare labels need more test patients than the other experiments have. */
const sizes = { train: 800, validation: 400, test: 1000 }, fastSizes = { train: 200, validation: 100, test: 200 };
const FAST_STEPS = 40;

export default defineExperiment({
  name: "new_diagnoses",
  version: 1,
  question: "Do models of health records foresee rare, new diagnoses better with MedTok than with their own codes?",
  grid: {
    model: ["ETHOS", "GT-BEHRT", "MulT-EHR", "TransformEHR", "BEHRT", "reference"],
    tokens: ["own codes", "MedTok"],
  },
  seeds: [0, 1, 2, 3, 4],
  fast: { grid: { model: ["BEHRT", "reference"] }, seeds: [0] },
  rowSeconds: 60,
  async row({ model: name, tokens }, { seed, signal, fast }) {
    const world = newDiagnoses(seed, fast ? fastSizes : sizes);
    const { vectors, records, kindOf } = plantedRecords(
      world,
      await codeInput(tokens, world, seed, signal, fast ? FAST_STEPS : undefined),
    );
    const model = makeModel(name, { vectors, records: records.train, kindOf, seed });
    const run = await trainEHR(model, records.train, records.validation, {
      ...training,
      ...(fast ? { epochs: 3, pretrainEpochs: 1 } : {}),
      ...{ seed, signal },
    });
    const predict = predictor(model);
    const guessed = await predict(records.test, seed);
    predict.dispose();
    model.dispose();
    vectors.dispose();
    const truth = labelsOf(records.test), ids = world.tables.test.patients.map(({ id }) => id);
    const scores = tasks.map((task, column) => {
      const asked = ids.flatMap((id, row) => world.atRisk.get(id)![column] ? [row] : []);
      const labels = asked.map((row) => truth[row][column]);
      return {
        task,
        // a task of which nobody, or everybody, has the label has no average precision
        auprc: new Set(labels).size > 1 ? auprc(labels, asked.map((row) => guessed[row][column])) : null,
        prevalence: mean(labels),
        asked: asked.length,
      };
    });
    return scores.map((score) => ({
      task: score.task,
      auprc: score.auprc === null ? null : rounded(score.auprc),
      prevalence: rounded(score.prevalence),
      asked: score.asked,
      bestEpoch: run.bestEpoch ?? null,
      trainSeconds: Number(run.seconds.toFixed(1)),
    }));
  },
  paper: {
    cite: "Su et al., ICML 2025, arXiv:2502.04397, table 4: AUPRC on EHRShot, which needs credentials",
    table: new URL("./paper.csv", import.meta.url),
    compare: "auprc",
  },
});

function rounded(value: number): number {
  return Number(value.toFixed(4));
}
