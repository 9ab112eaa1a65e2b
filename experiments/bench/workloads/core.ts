/**
 * Workloads of `nn`, `train` and `tensor`: models, their training steps, their parts, and single operations.
 *
 * @module
 */
import {
  blockFlops,
  type GoldenCase,
  type GoldenCases,
  type Parameter,
  type Sizes,
  vitFlops,
  vitParameters,
  type Workload,
} from "../workload.ts";

/** What a worker of this area is told to do. */
export type Job =
  | { readonly kind: "mlp_step"; readonly batch: number; readonly width: number }
  | {
    readonly kind: "block_step";
    readonly batch: number;
    readonly tokens: number;
    readonly width: number;
    readonly heads: number;
  }
  | { readonly kind: "vit_step" | "vit"; readonly batch: number; readonly sizes: Sizes }
  | {
    readonly kind: "part";
    readonly part: "linear" | "attention" | "norm" | "gelu";
    readonly batch: number;
    readonly tokens: number;
    readonly width: number;
    readonly heads: number;
  }
  | { readonly kind: "small_op" | "compiled_call" }
  | { readonly kind: "upload" | "download"; readonly megabytes: number }
  | { readonly kind: "scan"; readonly steps: number; readonly batch: number; readonly width: number };

/** How the area is called on the page. */
export const title = "Models and operations";

const small: Sizes = { image: 224, patch: 16, width: 192, depth: 4, heads: 3, classes: 10 };
/** DeiT-S. */
export const deit: Sizes = { image: 224, patch: 16, width: 384, depth: 12, heads: 6, classes: 1000 };
const batch = 8;

/** Tokens that enter and leave the blocks of a ViT that keeps all. */
const full = (sizes: Sizes) => Array.from({ length: sizes.depth }, () => [197, 197] as const);

/** The parameters of one block, in timm's naming. */
function blockParameters(width: number): Parameter[] {
  const sizes = { image: 16, patch: 16, width, depth: 1, heads: 1, classes: 1 };
  return vitParameters(sizes).filter(({ name }) => name.startsWith("blocks.0."));
}

function partOfBlock(part: "linear" | "attention" | "norm" | "gelu", title: string, flops: number): Workload<Job> {
  return {
    title: `${title} of a ViT block (width 192, 197 tokens, batch 8)`,
    job: { kind: "part", part, batch, tokens: 197, width: 192, heads: 3 },
    ours: "xla",
    flops,
    systems: ["xla", "torch", "jax"],
  };
}

/** Forward and backward: each product of the forward pass has two in the backward pass. */
const STEP = 3;
/** A single operation has no compiled form. */
const uncompiled = ["eager", "wasm", "cpu", "torch", "jax"] as const;

/** The area's workloads under their names. */
export const workloads = {
  mlp_step: {
    title: "MLP training step: batch 64, three layers of 256, Adam",
    job: { kind: "mlp_step", batch: 64, width: 256 },
    ours: "xla",
    goal: 1.2,
    flops: STEP * 2 * 64 * 256 * 256 * 3,
  },
  block_step: {
    title: "ViT block training step: width 192, 3 heads, 197 tokens, batch 8, Adam",
    job: { kind: "block_step", batch, tokens: 197, width: 192, heads: 3 },
    ours: "xla",
    goal: 1.7,
    flops: STEP * batch * blockFlops(197, 197, 192),
    parameters: blockParameters(192),
    golden: "vit.forward",
  },
  vit_step: {
    title: "4-layer ViT training step, batch 8, Adam",
    job: { kind: "vit_step", batch, sizes: small },
    ours: "xla",
    goal: 1.7,
    flops: STEP * batch * vitFlops(small, full(small)),
    parameters: vitParameters(small),
    golden: "vit.forward",
  },
  vit_inference: {
    title: "4-layer ViT inference, batch 8",
    job: { kind: "vit", batch, sizes: small },
    ours: "xla",
    goal: 1.7,
    flops: batch * vitFlops(small, full(small)),
    parameters: vitParameters(small),
    golden: "vit.forward",
  },
  deit: {
    title: "DeiT-S inference, batch 8",
    job: { kind: "vit", batch, sizes: deit },
    ours: "xla",
    goal: 2,
    flops: batch * vitFlops(deit, full(deit)),
    parameters: vitParameters(deit),
    golden: "vit.forward",
  },
  part_linear: partOfBlock("linear", "the four linear layers", batch * 197 * 24 * 192 * 192),
  part_attention: partOfBlock("attention", "attention between its linear layers", batch * 4 * 197 * 197 * 192),
  part_norm: partOfBlock("norm", "the two layer norms", 0),
  part_gelu: partOfBlock("gelu", "the GELU", 0),
  small_op: {
    title: "one addition of 8 x 8 numbers",
    job: { kind: "small_op" },
    ours: "eager",
    flops: 0,
    systems: uncompiled,
  },
  compiled_call: {
    title: "one call of a compiled function: 2 (x + 1) of 8 x 8 numbers",
    job: { kind: "compiled_call" },
    ours: "xla",
    flops: 0,
  },
  upload: {
    title: "64 MB from JavaScript or NumPy into a tensor",
    job: { kind: "upload", megabytes: 64 },
    ours: "eager",
    flops: 0,
    systems: uncompiled,
  },
  download: {
    title: "64 MB from a tensor into an array of its own",
    job: { kind: "download", megabytes: 64 },
    ours: "eager",
    flops: 0,
    systems: uncompiled,
  },
  scan_64: {
    title: "a recurrent network over 64 steps (batch 8, width 64), unrolled",
    job: { kind: "scan", steps: 64, batch, width: 64 },
    ours: "xla",
    flops: 0,
  },
  scan_256: {
    title: "the same over 256 steps",
    job: { kind: "scan", steps: 256, batch, width: 64 },
    ours: "xla",
    flops: 0,
  },
} as const satisfies Readonly<Record<string, Workload<Job>>>;

/** What a block's forward pass consists of. */
export const parts = ["part_linear", "part_attention", "part_norm", "part_gelu"] as const;

/** What the area's peers have to reproduce. */
export const golden: readonly GoldenCases[] = [
  { file: "whole_models.json", name: "vit.forward", output: "logits", which: withoutDistillation, asked: modelCase },
];

/** Cases of the peers' ViT, which has no distillation token. */
export function withoutDistillation({ params }: GoldenCase): boolean {
  return !params.distill_token;
}

/** A case of a whole ViT: its sizes and weights beside it. */
export function modelCase({ name, params, inputs }: GoldenCase, all: readonly GoldenCase[]): object {
  const shared = all.find((entry) => entry.name === "shared.vit_weights")!;
  const p = shared.params as Record<string, number>;
  const sizes = {
    image: p.img_size,
    patch: p.patch_size,
    channels: p.in_chans,
    width: p.embed_dim,
    depth: p.depth,
    heads: p.num_heads,
    hidden: Math.trunc(p.embed_dim * p.mlp_ratio),
    classes: p.num_classes,
    epsilon: p.layer_norm_eps,
  };
  return { name, params, inputs, sizes, weights: shared.inputs.weights };
}
