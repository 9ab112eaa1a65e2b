/**
 * The tumour benchmark, two to six days ahead: volumes under a plan of treatment, where nothing is seen after the origin.
 *
 * Two kinds of plans: one treatment on one of five days (`sliding`), and fair coins for each treatment and day (`random`).
 * Models are those of {@link ../tumour/experiment.ts}, of the same sizes; CRN and RMSN have a decoder on top, G-Net draws
 * futures, the Causal Transformer and CLEF feed their own predictions back; CLEF is asked without the days between, too. All
 * answer the half a million rows of the benchmark; G-Net, which draws fifty futures of each, answers a tenth of them.
 *
 * @module
 */
import type { SequencePlans } from "../../lib/data/mod.ts";
import { defineExperiment } from "../../lib/experiment/mod.ts";
import { sequenceNRMSE } from "../tumour/metrics.ts";
import { lastValue, oracle, population } from "../tumour/models/simple.ts";
import type { Predictor } from "../tumour/models/predictor.ts";
import { trainCLEF, trainCRN, trainCRNDecoder } from "../tumour/train.ts";
import { trainCLEFAhead } from "../tumour/train_clef_ahead.ts";
import { trainGNet } from "../tumour/train_gnet.ts";
import { trainMSM } from "../tumour/train_msm.ts";
import { trainRMSN } from "../tumour/train_rmsn.ts";
import { trainCausalTransformer } from "../tumour/train_transformer.ts";
import { sampleRows, type TumourWorld, tumourWorld } from "../tumour/world.ts";

/** Answers of each kind of plan that G-Net is judged by. */
const SAMPLED = 50_000;
const FAST_ROWS = 2000, FAST_EPOCHS = 3;

/** How a row's model is trained. */
interface Options {
  readonly seed: number;
  readonly signal: AbortSignal;
  readonly epochs?: number;
}

/** What answers plans, and perhaps is to be given back. */
type Asked = Pick<Predictor, "sequences"> & { dispose?(): void };

const made = {
  "last value": () => lastValue,
  POP: (world) => population(world.train.patients),
  ORACLE: () => oracle,
  MSM: (world) => trainMSM(world),
  "CLEF, chained": trainCLEF,
  "CLEF, delayed": trainCLEFAhead,
  CRN: async (world, options) => {
    const encoder = await trainCRN(world, options);
    const decoder = await trainCRNDecoder(world, encoder, options);
    const dispose = () => [encoder, decoder].forEach((model) => model.dispose());
    return { sequences: decoder.sequences, dispose };
  },
  RMSN: trainRMSN,
  "G-Net": trainGNet,
  CT: trainCausalTransformer,
  "CT (α=0)": (world, options) => trainCausalTransformer(world, { ...options, balanced: false }),
} as const satisfies Record<string, (world: TumourWorld, options: Options) => Asked | Promise<Asked>>;

export default defineExperiment({
  name: "tumour_ahead",
  version: 1,
  question: "How far ahead can a plan of treatment be answered, and is it better to go day by day or in one step?",
  grid: {
    gamma: [0, 1, 2, 3, 4],
    model: [
      "last value",
      "POP",
      "ORACLE",
      "MSM",
      "CLEF, chained",
      "CLEF, delayed",
      "CRN",
      "RMSN",
      "G-Net",
      "CT",
      "CT (α=0)",
    ],
  },
  seeds: [10, 101, 1010, 10101, 101010],
  fast: {
    grid: { gamma: [4], model: ["last value", "POP", "ORACLE", "MSM", "CLEF, chained", "CLEF, delayed", "CRN"] },
    seeds: [10],
  },
  rowSeconds: 800,
  async row({ gamma, model }, { seed, signal, fast }) {
    const world = tumourWorld({ gamma, seed, ...(fast ? { trainPatients: 500, testPatients: 100 } : {}) });
    const started = performance.now();
    const asked: Asked = await made[model](world, { seed, signal, ...(fast ? { epochs: FAST_EPOCHS } : {}) });
    const trainingSeconds = Number(((performance.now() - started) / 1000).toFixed(1));
    const lines: { plan: SequencePlans; tau: number; error: number; answers: number; trainingSeconds: number }[] = [];
    for (const plan of ["sliding", "random"] as const) {
      const all = world.sequences(plan);
      const test = fast ? sampleRows(all, FAST_ROWS, seed) : model === "G-Net" ? sampleRows(all, SAMPLED, seed) : all;
      const errors = sequenceNRMSE(test, await asked.sequences(test));
      errors.forEach((error, s) =>
        lines.push({ plan, tau: s + 2, error: Number(error.toFixed(5)), answers: test.rows, trainingSeconds })
      );
    }
    asked.dispose?.();
    return lines;
  },
  paper: {
    cite:
      "Melnychuk et al. 2022, arXiv:2204.07258, tables 10 and 11 as updated in the README of its code after March 2024",
    table: new URL("./paper.csv", import.meta.url),
    compare: "error",
  },
});
