/**
 * What is measured: each workload as plain sizes, which this library's worker and its peers read alike.
 *
 * @module
 */

/** The sizes of a Vision Transformer. */
export interface Sizes {
  readonly image: number;
  readonly patch: number;
  readonly width: number;
  readonly depth: number;
  readonly heads: number;
  readonly classes: number;
}

/** What a worker is told to do. */
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

/** This library's ways to run. */
export const ways = ["xla", "graph", "eager", "wasm", "cpu"] as const;
/** The others. */
export const peers = ["torch", "jax"] as const;
/** All that is measured. */
export const systems = [...ways, ...peers] as const;
export type Way = typeof ways[number];
export type Peer = typeof peers[number];
export type System = typeof systems[number];

/** How the systems are called in tables. */
export const titles: Readonly<Record<System, string>> = {
  xla: "compiled, XLA",
  graph: "compiled, graph",
  eager: "TensorFlow, one operation at a time",
  wasm: "WebAssembly",
  cpu: "JavaScript",
  torch: "PyTorch, eager",
  jax: "JAX, jit",
};

/** A workload. */
export interface Workload {
  readonly title: string;
  readonly job: Job;
  /** Which of our ways is meant by "ours". */
  readonly ours: Way;
  /** Least ratio of PyTorch's time to ours that is aimed at. */
  readonly goal?: number;
  /** Multiplications and additions of one call in matrix products; 0 where there are none to speak of. */
  readonly flops: number;
  /** The golden case that a peer has to reproduce, by its name; absent where the method is nobody's. */
  readonly golden?: string;
  /** Ways that make no sense for it. */
  readonly without?: readonly System[];
}

const small: Sizes = { image: 224, patch: 16, width: 192, depth: 4, heads: 3, classes: 10 };
const deit: Sizes = { image: 224, patch: 16, width: 384, depth: 12, heads: 6, classes: 1000 };
const batch = 8;

/** Of a block's four linear layers and two products of attention, for one image. */
function blockFlops(tokensIn: number, tokensOut: number, width: number): number {
  const linear = 2 * width * width;
  return tokensIn * 4 * linear + 4 * tokensIn * tokensIn * width + tokensOut * 8 * linear;
}

/** Of a ViT, for one image; `tokens` enter and leave each block. */
function vitFlops({ image, patch, width, classes }: Sizes, tokens: readonly (readonly [number, number])[]): number {
  const patches = (image / patch) ** 2;
  return 2 * patches * 3 * patch * patch * width + 2 * width * classes +
    tokens.reduce((sum, [before, after]) => sum + blockFlops(before, after, width), 0);
}

const full = (sizes: Sizes) => Array.from({ length: sizes.depth }, () => [197, 197] as const);
const merging = Array.from({ length: 12 }, (_, l) => [197 - 13 * l, 197 - 13 * (l + 1)] as const);
const evitTokens = [197, 197, 197, 197, 140, 140, 140, 100, 100, 100, 72, 72, 72];
const fusing = Array.from({ length: 12 }, (_, l) => [evitTokens[l], evitTokens[l + 1]] as const);
const keep = fusing.map(([before, after]) => before === after ? 0 : after - 2);

function tomeCall(batch: number, tokens: number, channels: number, r: number): Workload {
  return {
    title: `one ToMe call on ${batch} x ${tokens} x ${channels}, r = ${r}`,
    job: { kind: "tome", batch, tokens, channels, r },
    ours: "xla",
    goal: 1,
    flops: 2 * batch * Math.ceil(tokens / 2) * Math.floor(tokens / 2) * channels,
    golden: "tome.bipartite_soft_matching",
  };
}

function partOfBlock(part: "linear" | "attention" | "norm" | "gelu", title: string, flops: number): Workload {
  return {
    title: `${title} of a ViT block (width 192, 197 tokens, batch 8)`,
    job: { kind: "part", part, batch, tokens: 197, width: 192, heads: 3 },
    ours: "xla",
    flops,
    without: ["graph", "eager", "wasm", "cpu"],
  };
}

/** Forward and backward: each product of the forward pass has two in the backward pass. */
const STEP = 3;

/** Every workload under its name. */
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
    golden: "vit.forward",
  },
  vit_step: {
    title: "4-layer ViT training step, batch 8, Adam",
    job: { kind: "vit_step", batch, sizes: small },
    ours: "xla",
    goal: 1.7,
    flops: STEP * batch * vitFlops(small, full(small)),
    golden: "vit.forward",
  },
  vit_inference: {
    title: "4-layer ViT inference, batch 8",
    job: { kind: "vit", batch, sizes: small },
    ours: "xla",
    goal: 1.7,
    flops: batch * vitFlops(small, full(small)),
    golden: "vit.forward",
  },
  deit: {
    title: "DeiT-S inference, batch 8",
    job: { kind: "vit", batch, sizes: deit },
    ours: "xla",
    goal: 2,
    flops: batch * vitFlops(deit, full(deit)),
    golden: "vit.forward",
  },
  deit_tome: {
    title: "DeiT-S with ToMe, r = 13, batch 8",
    job: { kind: "vit_tome", batch, sizes: deit, r: 13 },
    ours: "xla",
    goal: 2,
    flops: batch * vitFlops(deit, merging),
    golden: "vit_tome.forward",
  },
  deit_evit: {
    title: "DeiT-S with EViT, keep rate 0.7, batch 8",
    job: { kind: "vit_evit", batch, sizes: deit, keepRate: 0.7, keep },
    ours: "xla",
    flops: batch * vitFlops(deit, fusing),
    golden: "vit_evit.forward",
  },
  tome_1x197x384: tomeCall(1, 197, 384, 16),
  tome_8x197x384: tomeCall(8, 197, 384, 16),
  tome_1x1025x384: tomeCall(1, 1025, 384, 128),
  tome_1x4097x64: tomeCall(1, 4097, 64, 1024),
  part_linear: partOfBlock("linear", "the four linear layers", batch * 197 * 24 * 192 * 192),
  part_attention: partOfBlock("attention", "attention between its linear layers", batch * 4 * 197 * 197 * 192),
  part_norm: partOfBlock("norm", "the two layer norms", 0),
  part_gelu: partOfBlock("gelu", "the GELU", 0),
  small_op: {
    title: "one addition of 8 x 8 numbers",
    job: { kind: "small_op" },
    ours: "eager",
    flops: 0,
    without: ["xla", "graph"],
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
    without: ["xla", "graph"],
  },
  download: {
    title: "64 MB from a tensor into an array of its own",
    job: { kind: "download", megabytes: 64 },
    ours: "eager",
    flops: 0,
    without: ["xla", "graph"],
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
} as const satisfies Readonly<Record<string, Workload>>;

/** The name of a workload. */
export type WorkloadName = keyof typeof workloads;

/** What a block's forward pass consists of. */
export const parts = ["part_linear", "part_attention", "part_norm", "part_gelu"] as const;

/** All names. */
export const workloadNames = Object.keys(workloads) as WorkloadName[];

/** A trained number of a model, without training: its place in timm's naming, its shape, and how large it is. */
export interface Parameter {
  readonly name: string;
  readonly shape: readonly number[];
  readonly scale: number;
  /** Added to all; 1 for the weights of norms. */
  readonly offset: number;
}

/** The parameters of a ViT in the order in which {@link pattern} numbers them. */
export function vitParameters({ image, patch, width, depth, classes }: Sizes): Parameter[] {
  const list: Parameter[] = [];
  const add = (name: string, shape: readonly number[], scale: number, offset = 0) =>
    list.push({ name, shape, scale, offset });
  const dense = (name: string, inputs: number, outputs: number) => {
    add(`${name}.weight`, [outputs, inputs], Math.sqrt(3 / inputs));
    add(`${name}.bias`, [outputs], 0.1);
  };
  const norm = (name: string) => {
    add(`${name}.weight`, [width], 0.1, 1);
    add(`${name}.bias`, [width], 0.1);
  };
  add("cls_token", [1, 1, width], 0.5);
  add("pos_embed", [1, (image / patch) ** 2 + 1, width], 0.5);
  add("patch_embed.proj.weight", [width, 3, patch, patch], Math.sqrt(3 / (3 * patch * patch)));
  add("patch_embed.proj.bias", [width], 0.1);
  for (let l = 0; l < depth; l++) {
    norm(`blocks.${l}.norm1`);
    dense(`blocks.${l}.attn.qkv`, width, 3 * width);
    dense(`blocks.${l}.attn.proj`, width, width);
    norm(`blocks.${l}.norm2`);
    dense(`blocks.${l}.mlp.fc1`, width, 4 * width);
    dense(`blocks.${l}.mlp.fc2`, 4 * width, width);
  }
  norm("norm");
  dense("head", width, classes);
  return list;
}

/**
 * Numbers in [-scale, scale) that look like noise and are the same in every language: a mixed counter, not a generator.
 * The peers hold the same lines in Python.
 */
export function pattern(salt: number, count: number, scale = 1, offset = 0): Float32Array<ArrayBuffer> {
  const values = new Float32Array(count);
  const start = Math.imul(salt + 1, 0x85ebca77);
  for (let i = 0; i < count; i++) {
    let h = (Math.imul(i, 0x9e3779b1) + start) | 0;
    h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
    h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
    h ^= h >>> 16;
    values[i] = offset + scale * ((h >>> 8) / 2 ** 23 - 1);
  }
  return values;
}
