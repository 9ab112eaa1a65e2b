/**
 * Workloads of the simulated tumour growth: the simulator, and training steps of its models at their published sizes.
 *
 * @module
 */
import type { GoldenCases, Parameter, Workload } from "../workload.ts";

/** What a worker of this area is told to do. */
export type Job =
  | { readonly kind: "simulate"; readonly patients: number; readonly days: number; readonly gamma: number }
  | {
    readonly kind: "crn_step" | "clef_step" | "ct_step";
    readonly batch: number;
    readonly steps: number;
    readonly hidden: number;
    readonly br: number;
    readonly fc: number;
  };

/** How the area is called on the page. */
export const title = "Tumour growth";

/** What is published for gamma 0; the models read a treatment (4), a volume and a type. */
const crn = { batch: 128, steps: 59, hidden: 24, br: 18, fc: 36 } as const;
const ct = { batch: 128, steps: 59, hidden: 16, br: 12, fc: 24 } as const;
const INPUTS = 6;
const TREATMENTS = 4;
const FURTHEST = 15;
const HEADS = 2;

/** Collects parameters in the order in which they are numbered. */
function described(
  fill: (
    dense: (name: string, inputs: number, outputs: number, extra?: number[]) => void,
    add: (name: string, shape: number[], scale: number, offset?: number) => void,
  ) => void,
): Parameter[] {
  const list: Parameter[] = [];
  const add = (name: string, shape: number[], scale: number, offset = 0) =>
    void list.push({ name, shape, scale, offset });
  fill((name, inputs, outputs, extra = []) => {
    add(`${name}.weight`, [outputs, inputs, ...extra], Math.sqrt(3 / inputs));
    add(`${name}.bias`, [outputs], 0.1);
  }, add);
  return list;
}

function lstmParameters(add: (name: string, shape: number[], scale: number) => void, hidden: number): void {
  const scale = 1 / Math.sqrt(hidden);
  add("lstm.lstm_layers.0.weight_ih", [4 * hidden, INPUTS], scale);
  add("lstm.lstm_layers.0.weight_hh", [4 * hidden, hidden], scale);
  add("lstm.lstm_layers.0.bias_ih", [4 * hidden], scale);
  add("lstm.lstm_layers.0.bias_hh", [4 * hidden], scale);
}

function headParameters(
  dense: (name: string, inputs: number, outputs: number) => void,
  { hidden, br, fc }: { readonly hidden: number; readonly br: number; readonly fc: number },
): void {
  const head = "br_treatment_outcome_head";
  dense(`${head}.linear1`, hidden, br);
  dense(`${head}.linear2`, br, fc);
  dense(`${head}.linear3`, fc, TREATMENTS);
  dense(`${head}.linear4`, br + TREATMENTS, fc);
  dense(`${head}.linear5`, fc, 1);
}

const crnParameters = described((dense, add) => {
  lstmParameters(add, crn.hidden);
  headParameters(dense, crn);
});

const clefParameters = described((dense, add) => {
  lstmParameters(add, crn.hidden);
  dense("linear1", crn.hidden, crn.br);
  dense("head.gate", TREATMENTS, crn.br);
  dense("head.fc1", crn.br, crn.fc);
  dense("head.fc2", crn.fc, 1);
});

const ctParameters = described((dense, add) => {
  const { hidden } = ct;
  const norm = (name: string) => {
    add(`${name}.layer_norm.weight`, [hidden], 0.1, 1);
    add(`${name}.layer_norm.bias`, [hidden], 0.1);
  };
  for (const which of ["k", "v"]) {
    add(`self_positional_encoding_${which}.embeddings_table.weight`, [2 * FURTHEST + 1, hidden / HEADS], 0.3);
  }
  const block = "transformer_blocks.0";
  for (const attention of ["self_attention_o", "self_attention_t", "cross_attention_ot", "cross_attention_to"]) {
    for (const k of [0, 1, 2]) dense(`${block}.${attention}.linear_layers.${k}`, hidden, hidden);
    norm(`${block}.${attention}`);
  }
  for (const k of [0, 1]) {
    dense(`${block}.feed_forwards.${k}.conv1`, hidden, 4 * hidden, [1]);
    dense(`${block}.feed_forwards.${k}.conv2`, 4 * hidden, hidden, [1]);
    norm(`${block}.feed_forwards.${k}`);
  }
  headParameters(dense, ct);
  dense("treatments_input_transformation", TREATMENTS, hidden);
  dense("outputs_input_transformation", 1, hidden);
  dense("static_input_transformation", 1, hidden);
});

/** Multiplications and additions of an LSTM and its head in a training step, one product forward and two back. */
const recurrentFlops = 3 * 2 * crn.batch * crn.steps *
  (4 * crn.hidden * (INPUTS + crn.hidden) + crn.hidden * crn.br + 2 * crn.fc * (crn.br + TREATMENTS));
/** Of a Transformer's: four attentions, each with positions for keys and values; once more for the averaged weights. */
const transformerFlops = 4 * 2 * ct.batch * ct.steps *
  (4 * (3 * ct.hidden * ct.hidden + 4 * ct.steps * ct.hidden) + 2 * 8 * ct.hidden * ct.hidden);
/** XLA cannot compile TensorFlow's LSTM cells, and unrolled sums and products take it minutes. */
const graphAndTorch = ["graph", "torch"] as const;

/** The area's workloads under their names. */
export const workloads = {
  tumour_simulator: {
    title:
      "tumour growth of 200 patients over 60 days; the peer is a loop over patients in NumPy, as the originals have it",
    job: { kind: "simulate", patients: 200, days: 60, gamma: 4 },
    ours: "eager",
    goal: 20,
    flops: 0,
    systems: ["eager", "torch"],
  },
  crn_step: {
    title: "CRN training step: batch 128, 59 days, LSTM of 24, gradient reversal, Adam",
    job: { kind: "crn_step", ...crn },
    ours: "graph",
    goal: 1.5,
    flops: recurrentFlops,
    systems: graphAndTorch,
    parameters: crnParameters,
    golden: "crn.encoder",
  },
  tumour_clef_step: {
    title: "the same with CLEF's head",
    job: { kind: "clef_step", ...crn },
    ours: "graph",
    goal: 1.5,
    flops: recurrentFlops,
    systems: graphAndTorch,
    parameters: clefParameters,
    golden: "crn.encoder",
  },
  ct_step: {
    title: "Causal Transformer training step: batch 128, 59 days, width 16, domain confusion, averaged weights, Adam",
    job: { kind: "ct_step", ...ct },
    ours: "graph",
    goal: 1.5,
    flops: transformerFlops,
    systems: graphAndTorch,
    parameters: ctParameters,
    golden: "ct.forward",
  },
} as const satisfies Readonly<Record<string, Workload<Job>>>;

/** What the area's peers have to reproduce. */
export const golden: readonly GoldenCases[] = [
  { file: "more_models.json", name: "crn.encoder", output: "outcome" },
  {
    file: "more_models.json",
    name: "ct.forward",
    output: "outcome",
    which: ({ params }) => params.dim_vitals === 0 && params.num_layer === 1,
  },
];
