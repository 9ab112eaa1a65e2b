/**
 * Fitting a marginal structural model to the tumour benchmark, and asking it.
 *
 * @module
 */
import { historyRows, sequenceRows, type TumourRows, tumourTensors } from "../../lib/data/mod.ts";
import { fitMSM, fitPropensities, type MSM, msmOneStep, msmSequences, msmWeights } from "./models/msm.ts";
import type { Predictor } from "./models/predictor.ts";
import type { TumourWorld } from "./world.ts";

/** Answers that are worked out together. */
const TOGETHER = 4096;

/**
 * Fits it.
 *
 * @param horizon Days beyond the first. Default: 5.
 * @param parity As the authors' code: weights by the probability of being treated, whatever was given; beyond a day it looks
 *   at the true next volume. Default: false.
 */
export function trainMSM(
  world: TumourWorld,
  { horizon = 5, parity = false }: { readonly horizon?: number; readonly parity?: boolean } = {},
): Predictor & { readonly model: MSM } {
  const tensors = world.tensors("multilabel");
  const weights = msmWeights(tensors, fitPropensities(tensors), { parity });
  const model = fitMSM(tensors, weights, horizon);
  const { mean, std } = world.scaling.volume;
  const scaled = (rows: TumourRows) => tumourTensors(rows, world.scaling, { mode: "multilabel" });
  return {
    model,
    oneStep(test) {
      const rows = historyRows(test.histories);
      const steps = rows.days - 1;
      const predicted = new Float32Array(rows.rows * steps * 4);
      for (let treatment = 0; treatment < 4; treatment++) {
        // what is given now enters the plan, not the past: all days can be asked about together
        const tensors = scaled(rows);
        for (let cell = 0; cell < rows.rows * steps; cell++) {
          tensors.currentTreatments[cell * 2] = treatment & 1;
          tensors.currentTreatments[cell * 2 + 1] = treatment >> 1;
        }
        msmOneStep(tensors, model, { parity }).forEach((value, cell) =>
          predicted[cell * 4 + treatment] = value * std + mean
        );
      }
      return predicted;
    },
    sequences(test) {
      if (test.horizon > horizon) {
        throw new RangeError(
          `the model was fitted for ${horizon} days beyond the first, but the test set has ${test.horizon}`,
        );
      }
      const predicted = new Float32Array(test.rows * test.horizon);
      for (let first = 0; first < test.rows; first += TOGETHER) {
        const which = Array.from({ length: Math.min(TOGETHER, test.rows - first) }, (_, k) => first + k);
        const values = msmSequences(scaled(sequenceRows(test, which)), model, test.horizon, { parity });
        predicted.set(values.map((value) => value * std + mean), first * test.horizon);
      }
      return predicted;
    },
  };
}
