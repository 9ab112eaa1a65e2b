/**
 * What golden cases of whole models share: the ViT of a case with its weights, its stages, which tokens it kept.
 *
 * @module
 */
import { tf } from "../../lib/tensor/mod.ts";
import type { SlotMap, TokenMap } from "../../lib/nn/token_map.ts";
import type { Reducer } from "../../lib/nn/reducer.ts";
import { ViT, type ViTConfig, type ViTOutput } from "../../lib/nn/vit.ts";
import { assertClose, type GoldenCase } from "./cases.ts";

/** Runs one case; throws with the first difference. `all` holds the other cases, for shared weights. */
export type Family = (entry: GoldenCase, all: readonly GoldenCase[]) => void | Promise<void>;

/** Runs one case and frees its tensors. */
export async function runCase(family: Family, entry: GoldenCase, all: readonly GoldenCase[]): Promise<void> {
  tf.engine().startScope(); // what tidy does, which waits for nobody
  try {
    await family(entry, all);
  } finally {
    tf.engine().endScope();
  }
}

/** Runs the ViT of a case, with the weights of `shared.vit_weights` of the same file (or else of any). */
export function run(
  entry: GoldenCase,
  all: readonly GoldenCase[],
  reducer?: Reducer,
): { model: ViT; output: ViTOutput } {
  const model = vitOf(entry, all);
  const images = tf.tensor4d(entry.inputs.image as number[][][][]).transpose<tf.Tensor4D>([0, 2, 3, 1]);
  return { model, output: model.forward(images, { ...(reducer ? { reducer } : {}) }) };
}

export function vitOf(entry: GoldenCase, all: readonly GoldenCase[]): ViT {
  const shared = all.filter((other) => other.name === "shared.vit_weights");
  const found = shared.find((other) => other.file === entry.file) ?? shared[0];
  if (!found) throw new Error("no case shared.vit_weights in the folder, but its weights are needed");
  const { params } = found;
  const config: ViTConfig = {
    imageSize: number(params.img_size),
    patchSize: number(params.patch_size),
    channels: number(params.in_chans),
    width: number(params.embed_dim),
    depth: number(params.depth),
    heads: number(params.num_heads),
    mlpWidth: Math.trunc(number(params.embed_dim) * number(params.mlp_ratio)),
    classes: number(params.num_classes),
    normEpsilon: number(params.layer_norm_eps),
  };
  const weights = Object.entries(found.inputs.weights as Record<string, number[]>).map(([name, values]) => {
    const tensor = tf.tensor(values, undefined, "float32");
    return [name, { shape: tensor.shape, dtype: "float32", data: tensor.dataSync<"float32">() }] as const;
  });
  return ViT.fromArrays(config, new Map(weights));
}

/** Haurum et al.'s stages: counts are whole numbers of the patches at the start, truncated as Python does it. */
export function stagesOf(
  { params, inputs, file }: GoldenCase,
  all: readonly GoldenCase[],
): { keep: number[]; layers: number[] } {
  const weights = all.find((other) => other.name === "shared.vit_weights" && other.file === file);
  const side = (inputs.image as number[][][][])[0][0].length / number(weights?.params.patch_size);
  const patches = params.init_n === undefined ? side * side : number(params.init_n);
  const layers = params.reduction_loc as number[];
  const rates = params.keep_rate as number[];
  const each = rates.length === 1 ? layers.map((_, stage) => rates[0] ** (stage + 1)) : rates;
  return { keep: each.map((rate) => Math.trunc(patches * rate)), layers };
}

export function assertKept(output: ViTOutput, { outputs }: GoldenCase, adjust: (kept: number[]) => number[]): void {
  for (const [layer, expected] of Object.entries(outputs.kept as Record<string, number[][]>)) {
    const map = output.maps[Number(layer)];
    if (map?.kind !== "slots") throw new Error(`block ${layer} kept all its tokens`);
    const kept = keptTokens(map).map((row) => adjust(row.slice(1).map((token) => token - 1))); // patches count from 0
    assertClose(kept, expected, `kept.${layer}`);
  }
}

/** The token in each output slot, in the order of the slots (the first one where several share it). */
export function keptTokens(map: TokenMap): number[][] {
  const { slot, outputs } = map as SlotMap;
  return slot.arraySync().map((row) => Array.from({ length: outputs }, (_, output) => row.indexOf(output)));
}

export function tensor3(values: unknown): tf.Tensor3D {
  return tf.tensor3d(values as number[][][]);
}

export function number(value: unknown): number {
  if (typeof value === "number") return value;
  throw new Error(`a number is expected in the case, but it is ${JSON.stringify(value)}`);
}
