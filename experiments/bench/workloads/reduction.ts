/**
 * Workloads of `reduction`: single calls of methods, and DeiT-S with them inside.
 *
 * @module
 */
import { type GoldenCase, type GoldenCases, type Sizes, vitFlops, vitParameters, type Workload } from "../workload.ts";
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
    flops: batch * vitFlops(deit, fusing),
    parameters: vitParameters(deit),
    golden: "vit_evit.forward",
  },
  tome_1x197x384: tomeCall(1, 197, 384, 16),
  tome_8x197x384: tomeCall(8, 197, 384, 16),
  tome_1x1025x384: tomeCall(1, 1025, 384, 128),
  tome_1x4097x64: tomeCall(1, 4097, 64, 1024),
} as const satisfies Readonly<Record<string, Workload<Job>>>;

/** What the area's peers have to reproduce. */
export const golden: readonly GoldenCases[] = [
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
