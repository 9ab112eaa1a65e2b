/**
 * What needs no training: the volume stays (LOCF); the true law of growth with the population's mean parameters (POP); the
 * law with each patient's own, without the noise (ORACLE), which no model can beat.
 *
 * The law: Geng et al., Scientific Reports 7, 2017, doi:10.1038/s41598-017-13646-z; see lib/data/simulated/tumour.ts.
 *
 * @module
 */
import {
  type OneStepTestSet,
  type SequenceTestSet,
  tumourConstants,
  type TumourHistories,
  type TumourPatients,
} from "../../../lib/data/mod.ts";
import type { Predictor } from "./predictor.ts";

/** Last observation carried forward. */
export const lastValue: Predictor = {
  oneStep({ histories: { patients, days, volume } }) {
    const steps = days - 1;
    return Float32Array.from({ length: patients.count * steps * 4 }, (_, at) => {
      const cell = Math.floor(at / 4);
      return volume[Math.floor(cell / steps) * days + cell % steps];
    });
  },
  sequences({ rows, horizon, patient, day, histories: { days, volume } }) {
    return Float32Array.from({ length: rows * horizon }, (_, at) => {
      const row = Math.floor(at / horizon);
      return volume[patient[row] * days + day[row]];
    });
  },
};

/** The law with the mean parameters of the training patients. */
export function population({ alpha, beta, betaC, rho, capacity }: TumourPatients): Predictor {
  const mean = (values: Float64Array) => values.reduce((sum, value) => sum + value, 0) / values.length;
  const means = [alpha, beta, betaC, rho, capacity].map(mean);
  return byLaw(({ patients: { count } }) => means.map((value) => new Float64Array(count).fill(value)));
}

/** The law with each patient's own parameters. */
export const oracle: Predictor = byLaw((
  { patients: { alpha, beta, betaC, rho, capacity } },
) => [alpha, beta, betaC, rho, capacity]);

function byLaw(parametersOf: (histories: TumourHistories) => Float64Array[]): Predictor {
  const { chemoDose, chemoLeft, radioDose } = tumourConstants;
  const lawOf = (histories: TumourHistories) => {
    const [alpha, beta, betaC, rho, capacity] = parametersOf(histories);
    return (i: number, volume: number, chemo: number, dose: number) =>
      volume <= 0 ? 0 : volume *
        (1 + rho[i] * Math.log(capacity[i] / volume) - betaC[i] * chemo - alpha[i] * dose - beta[i] * dose ** 2);
  };
  return {
    oneStep(test: OneStepTestSet) {
      const { patients, days, volume } = test.histories;
      const law = lawOf(test.histories);
      const concentration = concentrations(test.histories);
      const steps = days - 1;
      const predicted = new Float32Array(patients.count * steps * 4);
      for (let i = 0; i < patients.count; i++) {
        for (let t = 0; t < test.histories.origins[i]; t++) {
          const left = t > 0 ? concentration[i * days + t - 1] * chemoLeft : 0;
          for (let treatment = 0; treatment < 4; treatment++) {
            const chemo = left + chemoDose * (treatment & 1);
            const at = (i * steps + t) * 4 + treatment;
            predicted[at] = law(i, volume[i * days + t], chemo, radioDose * (treatment >> 1));
          }
        }
      }
      return predicted;
    },
    sequences(test: SequenceTestSet) {
      const { days, volume, radio } = test.histories;
      const law = lawOf(test.histories);
      const concentration = concentrations(test.histories);
      const predicted = new Float32Array(test.rows * test.horizon);
      for (let row = 0; row < test.rows; row++) {
        const i = test.patient[row], from = i * days + test.day[row];
        let chemo = concentration[from];
        let now = law(i, volume[from], chemo, radioDose * radio[from]); // one day ahead: what was given is known
        for (let s = 0; s < test.horizon; s++) {
          const at = row * test.horizon + s;
          chemo = chemo * chemoLeft + chemoDose * test.chemo[at];
          now = law(i, now, chemo, radioDose * test.radio[at]);
          predicted[at] = now;
        }
      }
      return predicted;
    },
  };
}

/** Concentration of chemotherapy on each day of what happened, [patients, days]. */
function concentrations({ patients, days, chemo }: TumourHistories): Float64Array {
  const { chemoDose, chemoLeft } = tumourConstants;
  const concentration = new Float64Array(patients.count * days);
  for (let at = 0; at < concentration.length; at++) {
    concentration[at] = (at % days ? concentration[at - 1] * chemoLeft : 0) + chemoDose * chemo[at];
  }
  return concentration;
}
