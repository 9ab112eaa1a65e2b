/**
 * Models of health records on the planted world, with their own codes and with MedTok: what tokens do for a model, what each
 * part of a tokenizer does, and what each model loses without what makes it what it is.
 *
 * A setting is a model, what a code is to it, and what is switched off. A seed is that of the world, of its tokenizer and of
 * the model.
 *
 * @module
 */
import { defineExperiment } from "../../lib/experiment/mod.ts";
import { codeInput, type InputName, inputNames } from "./inputs.ts";
import { type Ablation, ablations, makeModel, type ModelName } from "./models/mod.ts";
import { predictor, taskScores, trainEHR } from "./train.ts";
import { plantedRecords, plantedSplits, plantedTasks, splitSizes } from "./world.ts";

const models = Object.keys(ablations) as ModelName[];

/** What a setting is, by its name. */
export interface Setting {
  readonly model: ModelName;
  readonly input: InputName;
  readonly without: Ablation;
}

/** `BEHRT | MedTok | no age` */
export function settingName({ model, input, without }: Setting): string {
  return [model, input, ...(without === "whole" ? [] : [without])].join(" | ");
}

/** Tokenizers under one model; models with their own codes and with MedTok; models without one of their parts. */
export const settings: readonly Setting[] = [
  ...inputNames.map((input): Setting => ({ model: "reference", input, without: "whole" })),
  ...models.slice(1).flatMap((model) =>
    (["own codes", "MedTok"] as const).map((input): Setting => ({ model, input, without: "whole" }))
  ),
  ...models.flatMap((model) => ablations[model].map((without): Setting => ({ model, input: "MedTok", without }))),
];

/** How each is trained. */
export const training = { epochs: 8, pretrainEpochs: 2, batch: 32, learningRate: 2e-3 } as const;

/** Patients and steps of the tokenizer in the small run. */
const fastSizes = { train: 200, validation: 100, test: 200 }, FAST_STEPS = 40;

export default defineExperiment({
  name: "ehr",
  version: 1,
  question: "Does a model of health records predict better with MedTok than with its own codes, and by what?",
  grid: { setting: settings.map(settingName) },
  seeds: [0, 1, 2],
  fast: {
    grid: { setting: ["reference | own codes", "reference | MedTok", "BEHRT | own codes", "BEHRT | MedTok"] },
    seeds: [0],
  },
  rowSeconds: 60,
  async row({ setting }, { seed, signal, fast }) {
    const { model: name, input, without } = settings.find((each) => settingName(each) === setting)!;
    const splits = plantedSplits(seed, fast ? fastSizes : splitSizes);
    const { vectors, records, kindOf } = plantedRecords(
      splits,
      await codeInput(input, splits, seed, signal, fast ? FAST_STEPS : undefined),
    );
    const model = makeModel(name, { vectors, records: records.train, kindOf, seed, without });
    const run = await trainEHR(model, records.train, records.validation, {
      ...training,
      ...(fast ? { epochs: 3, pretrainEpochs: 1 } : {}),
      ...{ seed, signal },
    });
    const predict = predictor(model);
    const tested = taskScores(await predict(records.test, seed), records.test, plantedTasks);
    const shifted = taskScores(await predict(records.shift, seed), records.shift, plantedTasks);
    predict.dispose();
    model.dispose();
    vectors.dispose();
    const { auprc, auroc, f1, skipped } = tested.scores;
    return {
      model: name,
      tokens: input,
      without,
      ...rounded(tested.tasks),
      mean: round(tested.mean),
      shiftMean: round(shifted.mean),
      auprcMicro: round(auprc.micro),
      aurocMacro: round(auroc.macro),
      f1Macro: round(f1.macro),
      f1Micro: round(f1.micro),
      skipped: skipped.length,
      bestEpoch: run.bestEpoch ?? null,
      steps: run.steps,
      trainSeconds: Number(run.seconds.toFixed(1)),
    };
  },
  paper: {
    cite: "Su et al., ICML 2025, arXiv:2502.04397, table 3: AUPRC on MIMIC-III and MIMIC-IV, which need credentials",
    table: new URL("./paper.csv", import.meta.url),
    compare: "mortality",
  },
});

function round(value: number | null): number | null {
  return value === null ? null : Number(value.toFixed(4));
}

function rounded(values: Record<string, number>): Record<string, number | null> {
  return Object.fromEntries(Object.entries(values).map(([name, value]) => [name, round(value)]));
}
