/**
 * Workloads of electronic health records: one training step of each model that is compared, with labels.
 *
 * @module
 */
import { type GoldenCases, oursAndTorch, type Parameter, type Workload } from "../workload.ts";

/** The models. */
export type Model = "BEHRT" | "TransformEHR" | "GT-BEHRT" | "MulT-EHR" | "ETHOS";

/** Sizes that all have. */
export interface RecordSizes {
  readonly batch: number;
  readonly visits: number;
  readonly codes: number;
  readonly vocabulary: number;
  readonly width: number;
  readonly layers: number;
  readonly heads: number;
  readonly mlpWidth: number;
  readonly outputs: number;
}

/** What a worker of this area is told to do. */
export interface Job {
  readonly kind: "recordsStep";
  readonly model: Model;
  readonly sizes: RecordSizes;
  /** Tokens of a timeline, and those of its vocabulary that are no code. */
  readonly timeline: { readonly tokens: number; readonly special: number };
}

/** How the area is called on the page. */
export const title = "Health records";

const sizes: RecordSizes = {
  batch: 32,
  visits: 10,
  codes: 50,
  vocabulary: 2000,
  width: 64,
  layers: 2,
  heads: 4,
  mlpWidth: 128,
  outputs: 13,
};
const timeline = { tokens: 530, special: 62 };
const RESERVED = 5;

/** Parameters of each model under our names, in the order in which `pattern` numbers them. */
function parametersOf(model: Model): Parameter[] {
  const list: Parameter[] = [];
  const { vocabulary, width, layers, mlpWidth, outputs, visits, codes } = sizes;
  const add = (name: string, shape: readonly number[], scale: number, offset = 0) =>
    list.push({ name, shape, scale, offset });
  const rows = (name: string, count: number, channels = width) => add(name, [count, channels], 0.2);
  const dense = (name: string, inputs: number, outs: number, bias = true) => {
    add(`${name}.weight`, [outs, inputs], Math.sqrt(1 / inputs));
    if (bias) add(`${name}.bias`, [outs], 0.1);
  };
  const norm = (name: string, channels = width) => {
    add(`${name}.weight`, [channels], 0.1, 1);
    add(`${name}.bias`, [channels], 0.1);
  };
  const block = (name: string, channels = width) => {
    norm(`${name}.norm1`, channels);
    dense(`${name}.attn.qkv`, channels, 3 * channels);
    dense(`${name}.attn.proj`, channels, channels);
    norm(`${name}.norm2`, channels);
    dense(`${name}.mlp.fc1`, channels, mlpWidth);
    dense(`${name}.mlp.fc2`, mlpWidth, channels);
  };
  const layersOf = (name: string, each: (at: string) => void) => {
    for (let l = 0; l < layers; l++) each(`${name}.${l}`);
  };
  const codeRows = (channels = width) => {
    rows("codes.reserved", RESERVED, channels);
    rows("codes.rows", vocabulary, channels);
  };
  switch (model) {
    case "BEHRT":
      codeRows();
      rows("age.weight", 1322);
      rows("segment.weight", 2);
      norm("norm");
      layersOf("blocks", block);
      dense("pooler", width, width);
      dense("head", width, outputs);
      break;
    case "TransformEHR":
      codeRows();
      rows("encoder.position.weight", visits * codes + 1);
      rows("encoder.offset.weight", 1460);
      norm("encoder.norm");
      layersOf("encoder.blocks", block);
      rows("decoder.position.weight", visits * codes + 1);
      norm("decoder.norm");
      layersOf("decoder.layers", (at) => {
        dense(`${at}.own.qkv`, width, 3 * width);
        dense(`${at}.own.proj`, width, width);
        norm(`${at}.ownNorm`);
        for (const part of ["q", "k", "v", "proj"]) dense(`${at}.cross.${part}`, width, width);
        norm(`${at}.crossNorm`);
        dense(`${at}.mlp.fc1`, width, mlpWidth);
        dense(`${at}.mlp.fc2`, mlpWidth, width);
        norm(`${at}.norm`);
      });
      dense("head.dense", width, width);
      dense("head.out", width, outputs);
      break;
    case "GT-BEHRT": {
      const part = width / 4, whole = 5 * part;
      codeRows(part);
      rows("edgeTypes.weight", 7, part);
      for (let l = 0; l < 3; l++) {
        for (const name of ["key", "query", "value"]) dense(`graph.${l}.${name}`, part, 2 * part);
        dense(`graph.${l}.edge`, part, 2 * part, false);
        norm(`graph.${l}.norm1`, part);
        norm(`graph.${l}.norm2`, part);
        if (l < 2) dense(`graph.${l}.proj`, 2 * part, part);
        dense(`graph.${l}.ffn`, part, part);
        dense(`graph.${l}.ffn2`, part, part);
      }
      rows("visitType.weight", 3, part);
      rows("classToken", 1, whole);
      norm("join.norm", whole);
      dense("join.dense1", whole, whole);
      dense("join.dense2", whole, whole);
      norm("join.last", whole);
      layersOf("blocks", (at) => block(at, whole));
      dense("pooler", whole, whole);
      dense("head", whole, outputs);
      break;
    }
    case "MulT-EHR": {
      codeRows();
      rows("patient.weight", 3);
      rows("visit.weight", 3);
      rows("position.weight", visits);
      for (let t = 0; t < 5; t++) dense(`adapt.${t}`, width, width);
      const per = width / sizes.heads;
      for (const stack of ["layers", "random"]) {
        layersOf(stack, (at) => {
          add(`${at}.relation_pri`, [8, sizes.heads], 0.1, 1);
          for (const name of ["att", "msg"]) add(`${at}.relation_${name}`, [8, sizes.heads, per, per], 0.4);
          add(`${at}.skip`, [5], 0.1, 1);
          for (const name of ["k", "q", "v", "a"]) {
            for (let t = 0; t < 5; t++) dense(`${at}.${name}_linears.${t}`, width, width);
          }
          for (let t = 0; t < 5; t++) norm(`${at}.norms.${t}`);
        });
      }
      dense("head", width, outputs);
      break;
    }
    case "ETHOS":
      codeRows();
      rows("special", timeline.special);
      rows("position.weight", timeline.tokens);
      layersOf("blocks", block);
      norm("norm");
  }
  return list;
}

/** Of a transformer over rows of tokens, forwards and backwards. */
function transformerFlops(rows: number, tokens: number, width: number, layers: number): number {
  return 3 * rows * tokens * layers * (8 * width ** 2 + 4 * width * sizes.mlpWidth + 4 * tokens * width);
}

function stepOf(model: Model, flops: number, what: string): Workload<Job> {
  const { batch, visits, codes } = sizes;
  return {
    title: `${model} training step: batch ${batch}, ${visits} visits of ${codes} codes (${what}), Adam`,
    job: { kind: "recordsStep", model, sizes, timeline },
    ours: "xla",
    systems: oursAndTorch,
    goal: 1.5,
    flops,
    parameters: parametersOf(model),
  };
}

const all = sizes.visits * sizes.codes;

/** The area's workloads under their names. */
export const workloads = {
  behrt_step: stepOf(
    "BEHRT",
    transformerFlops(sizes.batch, all + sizes.visits + 1, sizes.width, sizes.layers),
    "two layers of width 64 over 511 tokens",
  ),
  transformehr_step: stepOf(
    "TransformEHR",
    transformerFlops(sizes.batch, all, sizes.width, sizes.layers),
    "two and two layers of width 64 over 500 tokens",
  ),
  gt_behrt_step: stepOf(
    "GT-BEHRT",
    transformerFlops(sizes.batch * sizes.visits, sizes.codes + 1, 32, 3),
    "320 graphs of 51 nodes, 816,000 typed edges",
  ),
  mult_ehr_step: stepOf(
    "MulT-EHR",
    3 * 2 * sizes.layers * 8 * sizes.width ** 2 * (sizes.vocabulary + sizes.batch * sizes.visits),
    "2,357 nodes, 32,640 edges, two stacks",
  ),
  ethos_step: stepOf(
    "ETHOS",
    transformerFlops(sizes.batch, timeline.tokens, sizes.width, sizes.layers) +
      6 * sizes.batch * timeline.tokens * sizes.width * (sizes.vocabulary + RESERVED + timeline.special),
    "two layers of width 64 over 530 tokens, 2,067 words",
  ),
} as const satisfies Readonly<Record<string, Workload<Job>>>;

/** What the area's peers have to reproduce: nothing here; their losses are held against ours, and those against the authors'. */
export const golden: readonly GoldenCases[] = [];
