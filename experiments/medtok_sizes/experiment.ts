/**
 * MedTok's sizes on the planted world: rows of the codebook, weights of the two packing losses, codewords per slot. One is
 * changed at a time; what the tokens are worth is read off the reference model of health records.
 *
 * The paper's codebooks of 3,000 to 24,000 rows serve 617,490 codes; ours stand to 360, the size that the planted world has
 * elsewhere, as the paper's stand to 12,000. A seed is that of the world, of the tokenizer and of the model.
 *
 * @module
 */
import { defineExperiment } from "../../lib/experiment/mod.ts";
import {
  leakReport,
  type MedTokConfig,
  medtokConfig,
  pairAUC,
  plantedWorld,
  trainMedTok,
  usage,
  wordVectors,
} from "../../lib/tokenization/mod.ts";
import { makeModel } from "../ehr/models/mod.ts";
import { predictor, taskScores, trainEHR } from "../ehr/train.ts";
import { plantedRecords, plantedSplits, plantedTasks, splitSizes, vectorsOf } from "../ehr/world.ts";

/** Rows of a codebook here for each 1,000 of the paper's. */
const ROWS_PER_THOUSAND = 30;
const STEPS = 200, EPOCHS = 4;

/** What each setting changes in the preset `lite`: N = 360, λ = β = 0.1, K = 5. */
function changes(setting: string): Partial<MedTokConfig> {
  const [name, value] = setting.split(" = ");
  switch (name) {
    case "N":
      return { N: ROWS_PER_THOUSAND * Number(value) / 1000 };
    case "K":
      return { K: Number(value) };
    default:
      return { beta: Number(value), lambda: Number(value) };
  }
}

export default defineExperiment({
  name: "medtok_sizes",
  version: 1,
  question: "Do more codewords, other weights of the losses, or more codewords per slot make better tokens?",
  grid: {
    setting: [
      "N = 3000",
      "N = 6000",
      "N = 9000",
      "N = 12000",
      "N = 15000",
      "N = 18000",
      "N = 21000",
      "N = 24000",
      "weights = 0.01",
      "weights = 0.2",
      "weights = 0.3",
      "weights = 0.4",
      "weights = 0.5",
      "K = 1",
      "K = 2",
      "K = 10",
    ],
  },
  seeds: [0, 1, 2],
  fast: { grid: { setting: ["N = 3000", "N = 12000", "K = 1"] }, seeds: [0] },
  rowSeconds: 60,
  async row({ setting }, { seed, signal, fast }) {
    const splits = plantedSplits(seed, fast ? { train: 200, validation: 100, test: 200 } : splitSizes);
    const world = plantedWorld({ seed });
    const nodeRows = world.graph.nodes.length + 2;
    const config = medtokConfig("lite", { nodeRows, seed, steps: fast ? 40 : STEPS, ...changes(setting) });
    const { tokenizer } = await trainMedTok(world.codes, {
      ...{ config, encoder: wordVectors(), graph: world.graph, show: false, signal },
    });
    const table = await tokenizer.encodeBatch(world.codes, { show: false });
    tokenizer.dispose();
    const concept = world.planted.codes.map((code) => code.concept);
    const { concepts } = world.planted;
    const { probes } = leakReport(
      table,
      [{ name: "module", values: concept.map((i) => concepts[i].module) }, {
        name: "category",
        values: concept.map((i) => concepts[i].category),
      }],
      concept,
    );
    const best = (factor: string) =>
      Math.max(...probes.filter((probe) => probe.factor === factor).map(({ accuracy }) => accuracy));

    const { vectors, records, kindOf } = plantedRecords(splits, { mode: "vector", vectors: vectorsOf(table) });
    const model = makeModel("reference", { vectors, records: records.train, kindOf, seed, without: "whole" });
    const options = { epochs: fast ? 2 : EPOCHS, pretrainEpochs: 0, batch: 32, learningRate: 2e-3, seed, signal };
    await trainEHR(model, records.train, records.validation, options);
    const predict = predictor(model);
    const { tasks, mean } = taskScores(await predict(records.test, seed), records.test, plantedTasks);
    predict.dispose();
    model.dispose();
    vectors.dispose();
    return {
      auprc: rounded(mean),
      ...Object.fromEntries(Object.entries(tasks).map(([task, value]) => [task, rounded(value)])),
      module: rounded(best("module")),
      category: rounded(best("category")),
      pairAUC: rounded(pairAUC(table, concept)),
      rows: config.N,
      rowsUsed: usage(table).used,
    };
  },
  paper: {
    cite:
      "Su et al. 2025, arXiv:2502.04397v2, figure 5A: average AUPRC on MIMIC-III, which needs credentials; points " +
      "measured in the drawing, to 0.005",
    table: new URL("./paper.csv", import.meta.url),
    compare: "auprc",
    as: "order",
  },
});

function rounded(value: number): number {
  return Number(value.toFixed(4));
}
