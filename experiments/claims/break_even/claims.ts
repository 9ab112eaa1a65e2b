/**
 * D1-f: claims about operations and time.
 *
 * @module
 */
import { bySeed, type Claim, type Row } from "../../../lib/experiment/mod.ts";

const FEW = 49, MANY = 784;
const of = (rows: readonly Row[], method: string, tokens: number, column: string) =>
  bySeed(rows, { method, tokens }, column);
const whole = (values: readonly number[]) => values.map(() => 1);

const common = {
  data:
    "A Vision Transformer of 192 channels and six blocks, compiled, on one thread of a CPU that others used at the time; half of " +
    "the tokens go, a twelfth in each block. A seed is a measurement, in turn with the unreduced model; shares are of its time",
  notebook: "90_compile",
  publishedFor: [{
    says: "twice the throughput of large ViTs at half of the tokens",
    source: "Bolya et al., ICLR 2023, arXiv:2210.09461",
  }],
  publishedAgainst: [{
    says: "26 times fewer prompt tokens, 40 % fewer operations, and 4.2 % less time",
    source: "Mu et al., Gisting, NeurIPS 2023, arXiv:2304.08467",
  }],
} as const;

/** The cards of this experiment. */
export const claims: readonly Claim[] = [
  {
    ...common,
    id: "D1-f-few",
    claim: `With ${FEW} tokens to begin with, ToMe makes the model faster`,
    mechanism: "fewer tokens are fewer operations",
    controls: "the whole model; pruning at random, the cheapest choice there is, stands in the table",
    expected: "lower than 1, barely: finding pairs costs as much as a small block saves",
    change: "another machine, batch or compiler",
    evidence: (rows) => {
      const treatment = of(rows, "tome", FEW, "timeShare");
      return { treatment, against: { "the whole model": whole(treatment) }, expect: "lower" };
    },
  },
  {
    ...common,
    id: "D1-f-many",
    claim: `With ${MANY} tokens to begin with, ToMe makes the model faster`,
    mechanism: "what a block saves grows faster with the tokens than what finding pairs costs",
    controls: "the whole model",
    expected: "lower than 1",
    change: "another machine, batch or compiler",
    evidence: (rows) => {
      const treatment = of(rows, "tome", MANY, "timeShare");
      return { treatment, against: { "the whole model": whole(treatment) }, expect: "lower" };
    },
  },
  {
    ...common,
    id: "D1-f-count",
    claim: `With ${MANY} tokens to begin with, ToMe saves as large a share of time as of multiply-accumulates, or more`,
    mechanism: "if multiplications are what takes the time",
    controls: "the share that is counted; dropping at random, which has nothing to find out, by the same token",
    expected: "higher: finding pairs, sorting and gathering are not counted",
    change: "a model whose multiplications weigh more: wider, or longer",
    evidence: (rows) => ({
      treatment: of(rows, "tome", MANY, "timeShare"),
      against: { "the counted share": of(rows, "tome", MANY, "macsShare") },
      expect: "lower",
    }),
  },
];
