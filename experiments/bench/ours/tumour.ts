/**
 * Workloads of the simulated tumour growth, in this library.
 *
 * @module
 */
import { flatten, tf } from "tessera/tensor/mod.ts";
import { loadParameters, type LSTMMasks, trainable } from "tessera/nn/mod.ts";
import { cohortFrom, fullPolicy, tumourConstants, type TumourPatients } from "tessera/data/simulated/tumour.ts";
import { causalTransformerLayers, type CausalTransformerParameters } from "../../tumour/models/causal_transformer.ts";
import { clefLayers, clefLoss, type TumourCLEFParameters } from "../../tumour/models/clef.ts";
import { crnLayers, crnLoss, type CRNParameters } from "../../tumour/models/crn.ts";
import type { Batch } from "../../tumour/models/parts.ts";
import { transformerLoss } from "../../tumour/train_transformer.ts";
import { type Parameter, pattern } from "../workload.ts";
import type { Job } from "../workloads/tumour.ts";
import { many, numbersOf, patternTensor, type Ready, trained } from "./worker.ts";

/** Makes a workload ready. */
export function prepare(job: Job, parameters: readonly Parameter[]): Ready {
  if (job.kind === "simulate") return simulated(job);
  const { batch, steps, hidden } = job;
  const inputs = [
    patternTensor<tf.Tensor3D>(900, [batch, steps, 4]),
    patternTensor<tf.Tensor3D>(901, [batch, steps, 4]),
    patternTensor<tf.Tensor3D>(902, [batch, steps, 1]),
    patternTensor<tf.Tensor3D>(903, [batch, steps, 1]),
    patternTensor<tf.Tensor2D>(904, [batch, 1]),
  ];
  const active = tf.ones<tf.Rank.R3>([batch, steps, 1]);
  const batchOf = ([prevTreatments, currentTreatments, prevOutputs, outputs, staticFeatures]: tf.Tensor[]) =>
    ({ prevTreatments, currentTreatments, prevOutputs, outputs, staticFeatures, active }) as Batch;
  // one mask per sequence for output, hidden state and cell; the same ones for everybody
  const [output, h, c] = [905, 906, 907].map((salt) =>
    patternTensor<tf.Tensor2D>(salt, [batch, hidden]).greater(-0.8).cast("float32").div<tf.Tensor2D>(0.9)
  );
  const masks: LSTMMasks = { output, h, c };
  const numbers = numbersOf(parameters);
  const constant = (value: number) => tf.keep(tf.scalar(value));
  switch (job.kind) {
    case "crn_step": {
      const model = trainable(loadParameters(crnLayers(job), numbers)) as CRNParameters;
      const alpha = constant(0.5);
      return trained(model, (...given) => crnLoss(batchOf(given), model, alpha, { masks }).loss, inputs);
    }
    case "clef_step": {
      const model = trainable(loadParameters(clefLayers(job), numbers)) as TumourCLEFParameters;
      const scaling = { volume: { mean: 10, std: 60 }, type: { mean: 2, std: 0.8 } };
      return trained(model, (...given) => clefLoss(batchOf(given), model, scaling, { masks }), inputs);
    }
    case "ct_step": {
      const made = () =>
        trainable(loadParameters(causalTransformerLayers(job), numbers)) as unknown as CausalTransformerParameters;
      const models = { present: made(), averaged: made() };
      const [alpha, decay] = [constant(0.01), constant(0.9)];
      // the averages are no parameters of the optimizer, in no system
      const loss = (...given: tf.Tensor[]) => transformerLoss(batchOf(given), models, { alpha, decay, balanced: true });
      for (const weight of flatten(models.averaged).values()) (weight as tf.Variable).trainable = false;
      return trained(models.present, loss, inputs);
    }
  }
}

function simulated({ patients: count, days, gamma }: Extract<Job, { kind: "simulate" }>): Ready {
  const column = (salt: number, low: number, high: number) =>
    Float64Array.from(pattern(salt, count), (value) => low + (high - low) * (value + 1) / 2);
  const alpha = column(2, 0.02, 0.3);
  const patients: TumourPatients = {
    count,
    stage: new Uint8Array(count),
    type: new Uint8Array(count).fill(2),
    volume: column(1, 1, 400),
    alpha,
    beta: alpha.map((value) => value / 10),
    betaC: column(3, 0.026, 0.032),
    rho: column(4, 0.001, 0.012),
    capacity: new Float64Array(count).fill(tumourConstants.capacity),
  };
  const uniform = (salt: number) => pattern(salt, count * days, 0.5, 0.5);
  const noise = pattern(10, count * days, tumourConstants.noise);
  const draws = { noise, recovery: uniform(11), chemo: uniform(12), radio: uniform(13) };
  const policy = fullPolicy({ gamma });
  const run = () => cohortFrom(patients, policy, draws, { days, split: "train" });
  const { volume, length, chemo } = run();
  const mean = (values: ArrayLike<number>) => Array.from(values).reduce((sum, value) => sum + value, 0) / values.length;
  return { ...many(() => void run(), 1), check: [mean(volume), mean(length), mean(chemo)] };
}
