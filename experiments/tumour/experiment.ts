/**
 * The tumour benchmark, one day ahead: does a head that multiplies the present volume err less than one that adds, and does
 * balancing help?
 *
 * Sizes, learning rates and epochs are the published ones of the Causal Transformer's code for CRN; the head of CLEF has
 * CRN's. Every model of a seed sees the same patients.
 *
 * @module
 */
import { tumourCohort, tumourTensors } from "../../lib/data/mod.ts";
import { defineExperiment } from "../../lib/experiment/mod.ts";
import { random } from "../../lib/random.ts";
import { tf, tidy } from "../../lib/tensor/mod.ts";
import { balanceOf } from "./balance.ts";
import { oneStepNRMSE } from "./metrics.ts";
import { batchOf } from "./models/parts.ts";
import type { Predictor } from "./models/predictor.ts";
import { lastValue, oracle, population } from "./models/simple.ts";
import { type OneStepModel, trainCLEF, trainCRN } from "./train.ts";
import { trainGNet } from "./train_gnet.ts";
import { trainMSM } from "./train_msm.ts";
import { trainRMSN } from "./train_rmsn.ts";
import { trainCausalTransformer } from "./train_transformer.ts";
import type { Fit } from "../../lib/train/mod.ts";
import { type TumourWorld, tumourWorld } from "./world.ts";

const trained = {
  "CRN": trainCRN,
  "CRN (α=0)": (world, options) => trainCRN(world, { ...options, balanced: false }),
  "CLEF head": trainCLEF,
  "G-Net": trainGNet,
  "RMSN": (world, options) => trainRMSN(world, { ...options, horizon: 0 }),
  "CT": trainCausalTransformer,
  "CT (α=0)": (world, options) => trainCausalTransformer(world, { ...options, balanced: false }),
} as const satisfies Record<
  string,
  (world: TumourWorld, options: { seed: number; signal: AbortSignal; epochs?: number }) => Promise<TrainedModel>
>;

/** A trained model; those with one representation of a history are diagnosed. */
interface TrainedModel extends Pick<Predictor, "oneStep"> {
  dispose(): void;
  readonly fit?: Fit;
  readonly represent?: OneStepModel["represent"];
}

export default defineExperiment({
  name: "tumour",
  version: 1,
  question: "Does a model that multiplies the present volume answer what-if questions better than one that adds to it?",
  grid: {
    gamma: [0, 1, 2, 3, 4],
    model: [
      "last value",
      "POP",
      "ORACLE",
      "MSM",
      "CLEF head",
      "CRN",
      "CRN (α=0)",
      "G-Net",
      "RMSN",
      "CT",
      "CT (α=0)",
    ],
  },
  seeds: [10, 101, 1010, 10101, 101010],
  fast: {
    grid: { gamma: [4], model: ["last value", "POP", "ORACLE", "MSM", "CLEF head", "CRN", "CRN (α=0)"] },
    seeds: [10, 101],
  },
  rowSeconds: 500,
  async row({ gamma, model }, { seed, signal, fast }) {
    const world = tumourWorld({ gamma, seed, ...(fast ? { trainPatients: 1000, testPatients: 200 } : {}) });
    const test = world.oneStep();
    const rounded = (value: number) => Number(value.toFixed(5));
    const errorsOf = (predicted: Float32Array) => {
      const { orig, all, last } = oneStepNRMSE(test, predicted);
      return { orig: rounded(orig), all: rounded(all), last: rounded(last) };
    };
    const none = { treatmentTold: null, discrepancy: null, epochs: null, trainingSeconds: null };
    switch (model) {
      case "last value":
        return { ...errorsOf(await lastValue.oneStep(test)), ...none };
      case "POP":
        return { ...errorsOf(await population(world.train.patients).oneStep(test)), ...none };
      case "ORACLE":
        return { ...errorsOf(await oracle.oneStep(test)), ...none };
      case "MSM":
        return { ...errorsOf(await trainMSM(world, { horizon: 0 }).oneStep(test)), ...none };
      default: {
        const made: TrainedModel = await trained[model](world, { seed, signal, ...(fast ? { epochs: 5 } : {}) });
        const errors = errorsOf(await made.oneStep(test));
        const found = made.represent && diagnose(world, made.represent);
        made.dispose();
        return {
          ...errors,
          treatmentTold: found ? rounded(found.treatmentTold) : null,
          discrepancy: found ? rounded(found.discrepancy) : null,
          epochs: made.fit?.epochs ?? null,
          trainingSeconds: made.fit ? Number(made.fit.seconds.toFixed(1)) : null,
        };
      }
    }
  },
  paper: {
    cite: "Melnychuk et al. 2022, arXiv:2204.07258, table 9 as updated in the README of its code after March 2024",
    table: new URL("./paper.csv", import.meta.url),
    compare: "last",
  },
});

/** Days of the validation cohort, at which the representation is looked at. */
const DAYS = 4000;

function diagnose({ gamma, seed, scaling }: TumourWorld, represent: OneStepModel["represent"]) {
  const cohort = tumourCohort({ patients: 1000, seed, split: "validation", gamma });
  const tensors = tumourTensors(cohort, scaling);
  const batch = batchOf(tensors);
  const represented = tidy(() => represent(batch));
  const [, steps, width] = represented.shape;
  const values = represented.dataSync<"float32">();
  tf.dispose([represented, ...Object.values(batch)]);
  const from = random(seed, "days of the balance");
  const cells = Array.from({ length: DAYS }, () => {
    const row = from.integer(cohort.rows);
    return [row, from.integer(cohort.length[row])];
  });
  return balanceOf(
    cells.map(([row, t]) => values.slice((row * steps + t) * width, (row * steps + t + 1) * width)),
    cells.map(([row, t]) => cohort.chemo[row * cohort.days + t] + 2 * cohort.radio[row * cohort.days + t]),
    seed,
  );
}
