/**
 * G-Net: an LSTM predicts the next day from history and treatment; a plan is answered by many simulated futures, to each of
 * which residuals are added that were seen on patients held out.
 *
 * Li, Wu, Hoang, et al., "G-Net: a Recurrent Network Approach to G-Computation for Counterfactual Prediction Under a Dynamic
 * Treatment Regime", ML4H 2021, arXiv:2003.10551; as in Melnychuk et al., ICML 2022, arXiv:2204.07258. Golden cases
 * `gnet.forward`, `gnet.monte_carlo`. The code's fifty futures are one object under fifty names, so that its mean is none;
 * here each future is its own.
 *
 * @module
 */
import { linear, type LinearDescription, linearLayer, type LinearParameters } from "../../../lib/nn/mod.ts";
import { tf, tidy } from "../../../lib/tensor/mod.ts";
import {
  type Batch,
  type HeadSizes,
  overActive,
  recurrentLayers,
  type RecurrentParameters,
  variationalLSTM,
  type VariationalOptions,
} from "./parts.ts";

/** A network for one part of what is predicted: linear, ELU, linear. */
export type ConditionalNet = Readonly<Record<0 | 2, LinearParameters>>;

/** Parameters. */
export interface GNetParameters {
  readonly repr_net: RecurrentParameters;
  readonly r_outcome_vitals_head: {
    readonly linear1: LinearParameters;
    /** The second predicts from what the first has predicted too, and so on. */
    readonly cond_nets: readonly ConditionalNet[];
  };
}

/** Describes a G-Net for the tumour's volume. */
export function gnetLayers({ hidden, br, fc, treatments = 4 }: HeadSizes): {
  repr_net: ReturnType<typeof recurrentLayers>;
  r_outcome_vitals_head: { linear1: LinearDescription; cond_nets: Record<0 | 2, LinearDescription>[] };
} {
  return {
    repr_net: recurrentLayers(treatments + 2, hidden),
    r_outcome_vitals_head: {
      linear1: linearLayer(hidden, br),
      cond_nets: [{ 0: linearLayer(br, fc), 2: linearLayer(fc, 1) }],
    },
  };
}

/** What further is measured each day, [rows, steps, vitals]. */
export interface MeasuredVitals {
  readonly values: tf.Tensor3D;
  /** On the next day, one step less. */
  readonly next: tf.Tensor3D;
}

/** What the LSTM reads: the treatment of the day, vitals, the volume and the patient's type. */
export function gnetInput(
  { currentTreatments, prevOutputs, staticFeatures }: Batch,
  vitals?: tf.Tensor3D,
): tf.Tensor3D {
  const steps = prevOutputs.shape[1];
  const fixed = tf.tile(staticFeatures.expandDims(1), [1, steps, 1]);
  return tf.concat([currentTreatments, ...(vitals ? [vitals] : []), prevOutputs, fixed], 2) as tf.Tensor3D;
}

/** The next day's volume, and its vitals, [rows, steps, 1 + vitals]. */
export function gnetOutcome(
  batch: Batch,
  { repr_net, r_outcome_vitals_head }: GNetParameters,
  options?: VariationalOptions & { readonly vitals?: tf.Tensor3D },
): tf.Tensor3D {
  return tidy(() =>
    headOf(variationalLSTM(gnetInput(batch, options?.vitals), repr_net, options), r_outcome_vitals_head)
  );
}

/** The head, on what the LSTM gives: [rows, steps, hidden] to [rows, steps, 1 + vitals]. */
export function headOf(
  encoded: tf.Tensor3D,
  { linear1, cond_nets }: GNetParameters["r_outcome_vitals_head"],
): tf.Tensor3D {
  const r = tf.elu(linear(encoded, linear1));
  const made: tf.Tensor3D[] = [];
  for (const { 0: first, 2: second } of cond_nets) {
    const input = tf.concat([...made.toReversed(), r], 2); // what was predicted last stands first
    made.push(linear(tf.elu(linear(input, first)), second));
  }
  return made.length === 1 ? made[0] : tf.concat(made, 2);
}

/** Squared error of the volume; where there are vitals, plus theirs. */
export function gnetLoss(
  batch: Batch,
  parameters: GNetParameters,
  options: VariationalOptions & { readonly vitals?: MeasuredVitals } = {},
): tf.Scalar {
  const { vitals, ...rest } = options;
  const predicted = gnetOutcome(batch, parameters, { ...rest, ...(vitals ? { vitals: vitals.values } : {}) });
  const squared = predicted.slice([0, 0, 0], [-1, -1, 1]).sub(batch.outputs).square();
  const loss = overActive(squared.squeeze([2]), batch);
  if (!vitals) return loss;
  const steps = batch.outputs.shape[1] - 1;
  const active = batch.active.slice([0, 1, 0], [-1, steps, 1]) as tf.Tensor3D;
  const ahead = predicted.slice([0, 0, 1], [-1, steps, -1]).sub(vitals.next).square().mean(2);
  return loss.add<tf.Scalar>(overActive(ahead, { active }));
}

/** Residuals of patients that were held out. */
export interface Residuals {
  /** [patients, steps, 1], truth minus prediction. */
  readonly values: tf.Tensor3D;
  /** [patients] */
  readonly length: readonly number[];
}

/** Options of {@link monteCarlo}. */
export interface MonteCarloOptions {
  /** [rows]: the first step whose volume is not known. */
  readonly splits: readonly number[];
  /** Days beyond the first prediction. */
  readonly horizon: number;
  /** Futures of each row; in the papers 50. */
  readonly samples: number;
  /** Which held-out patient's residual each row gets, asked for step by step and future by future. */
  readonly draw: (step: number, sample: number) => readonly number[];
}

/**
 * The mean of simulated futures. What is averaged is each future's prediction; the residual enters the next day only.
 *
 * @param predict The next volume at each step, [rows, steps, 1].
 * @returns For 2 to horizon + 1 days ahead, [rows, horizon, 1].
 */
export function monteCarlo(
  batch: Batch,
  residuals: Residuals,
  { splits, horizon, samples, draw }: MonteCarloOptions,
  predict: (batch: Batch) => tf.Tensor3D,
): tf.Tensor3D {
  return tidy(() => {
    const [rows, steps] = batch.prevOutputs.shape;
    const at = (step: (split: number) => number) =>
      tf.oneHot(tf.tensor1d(splits.map(step), "int32"), steps).reshape([rows, steps, 1]);
    const held = residuals.values.squeeze<tf.Tensor2D>([2]);
    const width = held.shape[1];
    const futures = Array.from({ length: samples }, () => batch.prevOutputs);
    const sums: tf.Tensor[] = [];
    for (let s = 0; s <= horizon; s++) {
      const [from, to] = [at((split) => split - 1 + s), at((split) => split + s)];
      let sum: tf.Tensor = tf.zeros([rows, 1, 1]);
      for (let sample = 0; sample < samples; sample++) {
        const predicted = predict({ ...batch, prevOutputs: futures[sample] });
        const next = predicted.mul(from).sum(1, true);
        sum = sum.add(next);
        const patients = draw(s, sample);
        const places = patients.map((patient, row) =>
          patient * width + Math.min(splits[row] - 1 + s, residuals.length[patient] - 1)
        );
        if (s === horizon) continue;
        const drawn = tf.gather(held.flatten(), tf.tensor1d(places, "int32")).reshape([rows, 1, 1]);
        const filled = tf.where(to.cast("bool"), tf.broadcastTo(next.add(drawn), [rows, steps, 1]), futures[sample]);
        futures[sample] = filled as tf.Tensor3D;
      }
      if (s > 0) sums.push(sum.div(samples));
    }
    return tf.concat(sums, 1) as tf.Tensor3D;
  });
}
