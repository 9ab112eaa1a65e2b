/**
 * What a workload is: plain sizes, which this library's worker and its peers read alike, and who takes part.
 *
 * @module
 */

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

/** All of ours and PyTorch, without JAX. */
export const withoutJax = [...ways, "torch"] as const;
/** Our compiled function and PyTorch: enough where the fallbacks' price is known from other rows. */
export const oursAndTorch = ["xla", "torch"] as const;

/** What a worker is told to do; each area has a union of its own, told apart by `kind`. */
export interface AnyJob {
  readonly kind: string;
}

/** What a worker gets: the job, its area, and the parameters to make up. */
export type Message = AnyJob & { readonly area: string; readonly parameters: readonly Parameter[] };

/** A workload. */
export interface Workload<Job extends AnyJob = AnyJob> {
  readonly title: string;
  readonly job: Job;
  /** Which of our ways is meant by "ours". */
  readonly ours: Way;
  /** Who is measured. Default: everybody. */
  readonly systems?: readonly System[];
  /** Least ratio of PyTorch's time to ours that is aimed at. */
  readonly goal?: number;
  /** Multiplications and additions of one call in matrix products; 0 where there are none to speak of. */
  readonly flops: number;
  /** The parameters that a worker has to make up, in the order in which {@link pattern} numbers them. */
  readonly parameters?: readonly Parameter[];
  /** The golden case that a peer has to reproduce, by its name; absent where the method is nobody's. */
  readonly golden?: string;
  /** At most so many rounds, and milliseconds of calls in each; for rows of which there are many. */
  readonly atMost?: { readonly rounds: number; readonly ms: number };
}

/** A case of `tests/golden`. */
export interface GoldenCase {
  readonly name: string;
  readonly params: Readonly<Record<string, unknown>>;
  readonly inputs: Readonly<Record<string, unknown>>;
  readonly outputs: Readonly<Record<string, unknown>>;
}

/** Golden cases that the peers of an area have to reproduce. */
export interface GoldenCases {
  /** Below `tests/golden/`. */
  readonly file: string;
  readonly name: string;
  /** Which of the case's outputs the peers give. */
  readonly output: string;
  /** Which of the cases with this name. Default: all. */
  readonly which?: (one: GoldenCase) => boolean;
  /** The case in the terms of the peers' own code. Default: its name, params and inputs. */
  readonly asked?: (one: GoldenCase, all: readonly GoldenCase[]) => object;
}

/** The sizes of a Vision Transformer. */
export interface Sizes {
  readonly image: number;
  readonly patch: number;
  readonly width: number;
  readonly depth: number;
  readonly heads: number;
  readonly classes: number;
}

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

/** Multiplications and additions of a block's four linear layers and two products of attention, for one image. */
export function blockFlops(tokensIn: number, tokensOut: number, width: number): number {
  const linear = 2 * width * width;
  return tokensIn * 4 * linear + 4 * tokensIn * tokensIn * width + tokensOut * 8 * linear;
}

/** Multiplications and additions of a ViT, for one image; `tokens` enter and leave each block. */
export function vitFlops(
  { image, patch, width, classes }: Sizes,
  tokens: readonly (readonly [number, number])[],
): number {
  const patches = (image / patch) ** 2;
  return 2 * patches * 3 * patch * patch * width + 2 * width * classes +
    tokens.reduce((sum, [before, after]) => sum + blockFlops(before, after, width), 0);
}
