/**
 * Workloads of `reduction`: single calls of methods, and DeiT-S with them inside.
 *
 * @module
 */
import {
  type GoldenCase,
  type GoldenCases,
  oursAndTorch,
  type Parameter,
  type Sizes,
  vitFlops,
  vitParameters,
  type Workload,
} from "../workload.ts";
import { deit, modelCase, withoutDistillation } from "./core.ts";

/** What a worker of this area is told to do. */
export type Job =
  | { readonly kind: "vit_tome"; readonly batch: number; readonly sizes: Sizes; readonly r: number }
  | {
    readonly kind: "vit_evit";
    readonly batch: number;
    readonly sizes: Sizes;
    readonly keepRate: number;
    /** Patches kept beside the fused one in each block, 0 where the block keeps all. */
    readonly keep: readonly number[];
  }
  | {
    readonly kind: "tome";
    readonly batch: number;
    readonly tokens: number;
    readonly channels: number;
    readonly r: number;
  }
  | {
    readonly kind: "call";
    readonly method: string;
    readonly batch: number;
    /** With the class token. */
    readonly tokens: number;
    readonly channels: number;
    readonly heads: number;
    /** Patches that stay. */
    readonly keep: number;
    /** Whether the numbers are those of the authors' form, and whether they are drawn, so that nobody gets the same. */
    readonly parity: boolean;
    readonly drawn: boolean;
  }
  | {
    readonly kind: "vit_method";
    readonly method: string;
    readonly batch: number;
    readonly sizes: Sizes;
    /** Patches that stay after each of these blocks. */
    readonly keep: readonly number[];
    readonly layers: readonly number[];
    readonly parity: boolean;
    readonly drawn: boolean;
  };

/** How the area is called on the page. */
export const title = "Token reduction";

const batch = 8;
const merging = Array.from({ length: 12 }, (_, l) => [197 - 13 * l, 197 - 13 * (l + 1)] as const);
const evitTokens = [197, 197, 197, 197, 140, 140, 140, 100, 100, 100, 72, 72, 72];
const fusing = Array.from({ length: 12 }, (_, l) => [evitTokens[l], evitTokens[l + 1]] as const);
const keep = fusing.map(([before, after]) => before === after ? 0 : after - 2);

function tomeCall(batch: number, tokens: number, channels: number, r: number): Workload<Job> {
  return {
    title: `one ToMe call on ${batch} x ${tokens} x ${channels}, r = ${r}`,
    job: { kind: "tome", batch, tokens, channels, r },
    ours: "xla",
    goal: 1,
    flops: 2 * batch * Math.ceil(tokens / 2) * Math.floor(tokens / 2) * channels,
    golden: "tome.bipartite_soft_matching",
  };
}

/** What is to be known of a method for measuring it. */
interface Measured {
  readonly title: string;
  /** Not the default but the authors' form is held against the peer, which is written like it. Default: true. */
  readonly parity?: boolean;
  /** The method draws: what comes out is nobody else's. */
  readonly drawn?: boolean;
  /** It reads values back, so that it runs one operation at a time. */
  readonly eager?: true;
  readonly golden?: string;
  /** Its parameters where it keeps so many of `width` channels. */
  readonly parameters?: (width: number, keep: number) => Parameter[];
}

const dense = (name: string, inputs: number, outputs: number): Parameter[] => [
  { name: `${name}.weight`, shape: [outputs, inputs], scale: Math.sqrt(3 / inputs), offset: 0 },
  { name: `${name}.bias`, shape: [outputs], scale: 0.1, offset: 0 },
];
const norm = (width: number): Parameter[] => [
  { name: "norm.weight", shape: [width], scale: 0.1, offset: 1 },
  { name: "norm.bias", shape: [width], scale: 0.1, offset: 0 },
];

/** The first tier of methods for images, under their names in the catalogue. */
export const methods = {
  tome: { title: "ToMe", golden: "tome.bipartite_soft_matching" },
  kthBipartite: { title: "k-th bipartite", golden: "tome.kth_bipartite_soft_matching" },
  randomBipartite: { title: "random bipartite", golden: "tome.random_bipartite", drawn: true },
  tomesd: { title: "ToMeSD", golden: "tomesd.bipartite_soft_matching_2d" },
  pitome: { title: "PiToMe", golden: "pitome.vision" },
  tofu: { title: "ToFu", golden: "tofu.merge" },
  mctf: { title: "MCTF", golden: "mctf.merge" },
  atc: { title: "ATC", golden: "atc.cluster_merge", eager: true },
  topk: { title: "Top-K", golden: "topk.cls_attention" },
  evit: { title: "EViT", golden: "evit.inattentive_fusion" },
  dynamicvit: {
    title: "DynamicViT",
    golden: "dynamicvit.predictor",
    parameters: (width) => [
      ...norm(width),
      ...dense("embed", width, width),
      ...dense("out.0", width, width / 2),
      ...dense("out.1", width / 2, width / 4),
      ...dense("out.2", width / 4, 2),
    ],
  },
  ats: { title: "ATS", parity: false },
  fixedPattern: { title: "fixed pattern", parity: false },
  sit: {
    title: "SiT",
    golden: "sit.token_slimming",
    parameters: (width, keep) => [
      ...norm(width),
      ...dense("fc1", width, width / 2),
      ...dense("fc2", width / 2, keep),
      { name: "scale", shape: [1, 1, 1], scale: 0, offset: 1 },
    ],
  },
  patchmerger: {
    title: "PatchMerger",
    golden: "patchmerger.forward",
    parameters: (width, keep) => [
      ...norm(width),
      { name: "queries", shape: [keep, width], scale: Math.sqrt(3 / width), offset: 0 },
    ],
  },
  sinkhorn: {
    title: "Sinkhorn",
    golden: "sinkhorn.log_optimal_transport",
    parameters: (width, keep) => [{ name: "centres", shape: [keep, width], scale: 1, offset: 0 }],
  },
  kmedoids: { title: "K-Medoids", golden: "kmedoids.k_medoids_fit", parity: false },
  dpcknn: { title: "DPC-KNN", golden: "dpcknn.cluster_and_merge" },
} as const satisfies Readonly<Record<string, Measured>>;

/** The name of a measured method. */
export type MethodName = keyof typeof methods;
const methodNames = Object.keys(methods) as MethodName[];
const measured = (name: MethodName): Measured => methods[name];

/** There are many of these: each is measured shortly. */
const briefly = { rounds: 3, ms: 100 };

/** The method's own parameters, numbered by the block in which they stand. */
function ownParameters(name: MethodName, width: number, keep: readonly number[]): Parameter[] {
  const { parameters } = measured(name);
  return keep.flatMap((left, stage) =>
    (parameters?.(width, left) ?? []).map((one) => ({ ...one, name: `reduce.${stage}.${one.name}` }))
  );
}

const channels = 384, heads = 6;

function methodCall(method: MethodName, batch: number, patches: number): Workload<Job> {
  const { title, parity = true, drawn = false, eager = false, golden } = measured(method);
  const tokens = patches + 1, keep = Math.floor(0.7 * patches);
  return {
    title: `one ${title} call on ${batch} x ${tokens} x ${channels}, ${keep} of ${patches} patches stay`,
    job: { kind: "call", method, batch, tokens, channels, heads, keep, parity, drawn },
    ours: eager ? "eager" : "xla",
    goal: 1,
    flops: 0,
    systems: eager ? ["eager", "torch"] : oursAndTorch,
    parameters: ownParameters(method, channels, [keep]),
    ...(golden ? { golden } : {}),
    atMost: briefly,
  };
}

/** Patches left after blocks 3, 6 and 9 of DeiT-S at keep rate 0.7. */
const left = [137, 96, 67], reducing = [3, 6, 9];

function deitWith(method: MethodName): Workload<Job> {
  const { title, parity = true, drawn = false, eager = false, golden } = measured(method);
  const counts = [196, 196, 196, 196, 137, 137, 137, 96, 96, 96, 67, 67, 67].map((patches) => patches + 1);
  const tokens = Array.from({ length: 12 }, (_, layer) => [counts[layer], counts[layer + 1]] as const);
  return {
    title: `DeiT-S with ${title}, keep rate 0.7, batch ${batch}`,
    job: { kind: "vit_method", method, batch, sizes: deit, keep: left, layers: reducing, parity, drawn },
    ours: eager ? "eager" : "xla",
    goal: 1.7,
    flops: batch * vitFlops(deit, tokens),
    systems: eager ? ["eager", "torch"] : oursAndTorch,
    parameters: [...vitParameters(deit), ...ownParameters(method, deit.width, left)],
    ...(golden ? { golden } : {}),
    atMost: { rounds: 3, ms: 300 },
  };
}

type CallName = `${MethodName}_${"1x197" | "8x197" | "1x1025"}`;
type InModelName = `deit_with_${Exclude<MethodName, "tome" | "evit">}`;

const calls = Object.fromEntries(
  methodNames.flatMap((name) => [
    [`${name}_1x197`, methodCall(name, 1, 196)],
    [`${name}_8x197`, methodCall(name, 8, 196)],
    [`${name}_1x1025`, methodCall(name, 1, 1024)],
  ]),
) as Readonly<Record<CallName, Workload<Job>>>;

const inModels = Object.fromEntries(
  methodNames.filter((name) => name !== "tome" && name !== "evit") // they have rows of their own, in all ways
    .map((name) => [`deit_with_${name}`, deitWith(name)]),
) as Readonly<Record<InModelName, Workload<Job>>>;

/** The area's workloads under their names. */
export const workloads = {
  deit_tome: {
    title: "DeiT-S with ToMe, r = 13, batch 8",
    job: { kind: "vit_tome", batch, sizes: deit, r: 13 },
    ours: "xla",
    goal: 2,
    flops: batch * vitFlops(deit, merging),
    parameters: vitParameters(deit),
    golden: "vit_tome.forward",
  },
  deit_evit: {
    title: "DeiT-S with EViT, keep rate 0.7, batch 8",
    job: { kind: "vit_evit", batch, sizes: deit, keepRate: 0.7, keep },
    ours: "xla",
    goal: 1.7,
    flops: batch * vitFlops(deit, fusing),
    parameters: vitParameters(deit),
    golden: "vit_evit.forward",
  },
  tome_1x197x384: tomeCall(1, 197, 384, 16),
  tome_8x197x384: tomeCall(8, 197, 384, 16),
  tome_1x1025x384: tomeCall(1, 1025, 384, 128),
  tome_1x4097x64: tomeCall(1, 4097, 64, 1024),
  ...calls,
  ...inModels,
} as const satisfies Readonly<Record<string, Workload<Job>>>;

/** What the area's peers have to reproduce. */
export const golden: readonly GoldenCases[] = [
  { file: "reduction.json", name: "tome.kth_bipartite_soft_matching", output: "merged_mean" },
  { file: "reduction.json", name: "tomesd.bipartite_soft_matching_2d", output: "merged_mean" },
  { file: "reduction.json", name: "topk.cls_attention", output: "kept_idx" },
  { file: "reduction.json", name: "evit.inattentive_fusion", output: "fused_token" },
  { file: "reduction.json", name: "kmedoids.k_medoids_fit", output: "centers" },
  { file: "reduction.json", name: "dpcknn.cluster_and_merge", output: "merged" },
  { file: "reduction.json", name: "sinkhorn.log_optimal_transport", output: "plan" },
  { file: "reduction.json", name: "patchmerger.forward", output: "y" },
  { file: "more_methods.json", name: "tome.random_bipartite", output: "merged_mean" },
  { file: "more_methods.json", name: "pitome.vision", output: "merged" },
  { file: "more_methods.json", name: "atc.cluster_merge", output: "merged" },
  // the peer has the method's own form: a class token; both ways, weighted by attention
  { file: "more_methods.json", name: "tofu.merge", output: "mlerp", which: ({ params }) => !!params.class_token },
  { file: "more_methods.json", name: "mctf.merge", output: "merged", which: ({ params }) => params.pooling_type === 1 },
  { file: "whole_models.json", name: "dynamicvit.predictor", output: "log_keep" },
  { file: "whole_models.json", name: "sit.token_slimming", output: "assignment" },
  {
    file: "reduction.json",
    name: "tome.bipartite_soft_matching",
    output: "merged_weighted",
    which: withoutDistillation,
  },
  {
    file: "whole_models.json",
    name: "vit_tome.forward",
    output: "logits",
    which: withoutDistillation,
    asked: (one, all) => ({ ...modelCase(one, all), r: mergesPerBlock(one.params.r as number | number[], depth(all)) }),
  },
  {
    file: "whole_models.json",
    name: "vit_evit.forward",
    output: "logits",
    which: withoutDistillation,
    asked: (one, all) => ({ ...modelCase(one, all), keep: keptPerBlock(one, depth(all)) }),
  },
];

function depth(all: readonly GoldenCase[]): number {
  return all.find(({ name }) => name === "shared.vit_weights")!.params.depth as number;
}

/** The authors' schedule: a number, or a number and how much earlier blocks merge more. */
function mergesPerBlock(r: number | number[], depth: number): number[] {
  if (typeof r === "number") return Array(depth).fill(r) as number[];
  const [mean, inflect] = r;
  const low = Math.trunc(mean * (1 - inflect));
  const step = (2 * mean - 2 * low) / (depth - 1);
  return Array.from({ length: depth }, (_, layer) => Math.trunc(low + step * layer));
}

/** Patches that each block keeps beside the fused one. */
function keptPerBlock({ params }: GoldenCase, depth: number): number[] {
  const rates = params.keep_rate as number[];
  const keep = Array(depth).fill(0) as number[];
  (params.reduction_loc as number[]).forEach((layer, stage) => {
    const rate = rates.length === 1 ? rates[0] ** (stage + 1) : rates[stage];
    keep[layer] = Math.trunc((params.init_n as number) * rate);
  });
  return keep;
}
