/**
 * Published weights of Vision Transformers: safetensors files under timm's names (ViT, DeiT, distilled DeiT) or under
 * Hugging Face's (`ViTForImageClassification`, `DeiTForImageClassification`, `DeiTForImageClassificationWithTeacher`).
 *
 * Dosovitskiy et al., ICLR 2021, arXiv:2010.11929; Touvron et al., "Training data-efficient image transformers &
 * distillation through attention", ICML 2021, arXiv:2012.12877.
 *
 * @module
 */
import { type NumericArray, readSafetensors } from "../data/mod.ts";
import type { NameMap } from "./parameters.ts";
import { ViT, type ViTConfig } from "./vit.ts";

/** What a file of weights does not say. */
export interface LoadViTOptions {
  /** Default: one per 64 channels, as all of ViT's and DeiT's published sizes have. */
  readonly heads?: number;
  /** Added to variances. Default: 1e-6 under timm's names, 1e-12 under Hugging Face's. */
  readonly normEpsilon?: number;
}

/**
 * A Vision Transformer from a safetensors file. All sizes but the number of heads follow from the weights' shapes.
 *
 * Images must be preprocessed as the model was trained: of DeiT (pixel / 255 - mean) / std with ImageNet's mean
 * (0.485, 0.456, 0.406) and std (0.229, 0.224, 0.225), of Google's ViT with 0.5 for all of them.
 *
 * @param file A safetensors file.
 * @throws {Error} If the file is no such model, or has weights that this model has no place for.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { dataFolder } from "tessera/data/mod.ts";
 * const model = await loadViT(new URL("vit-nano/mnist.safetensors", dataFolder), { heads: 4 });
 * assert.equal(model.config.depth, 4);
 * ```
 */
export async function loadViT(file: string | URL, options: LoadViTOptions = {}): Promise<ViT> {
  return viTFromArrays((await readSafetensors(file)).tensors, String(file), options);
}

/**
 * The same from arrays that have been read.
 *
 * @param what How errors call them.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * assert.throws(() => viTFromArrays(new Map(), "nothing"), /nothing holds no class token/);
 * ```
 */
export function viTFromArrays(
  arrays: ReadonlyMap<string, NumericArray>,
  what: string,
  options: LoadViTOptions = {},
): ViT {
  const layout = layoutOf(arrays, what);
  const config = configOf(arrays, layout, what, options);
  return ViT.fromArrays(config, arrays, { names: layout.names, ignore: layout.ignore });
}

interface Layout {
  readonly names: NameMap;
  /** Weights that have no part in classification. */
  readonly ignore: (name: string) => boolean;
  readonly normEpsilon: number;
}

function layoutOf(arrays: ReadonlyMap<string, NumericArray>, what: string): Layout {
  if (arrays.has("cls_token")) return { names: (name) => name, ignore: () => false, normEpsilon: 1e-6 };
  const prefix = ["vit.", "deit.", ""].find((prefix) => arrays.has(`${prefix}embeddings.cls_token`));
  if (prefix === undefined) {
    throw new Error(
      `${what} holds no class token under timm's name (cls_token) or Hugging Face's (vit.embeddings.cls_token); ` +
        "load a Vision Transformer with a class token",
    );
  }
  const teacher = arrays.has("cls_classifier.weight");
  return {
    names: huggingFaceNames(prefix, teacher),
    ignore: (name) => name.startsWith(`${prefix}pooler.`),
    normEpsilon: 1e-12,
  };
}

/**
 * timm's names of a Vision Transformer as Hugging Face's.
 *
 * @param prefix "vit.", "deit." or "".
 * @param teacher Whether there are two heads, one of them for the distillation token.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * const names = huggingFaceNames("vit.");
 * assert.equal(names("blocks.3.mlp.fc1.bias"), "vit.encoder.layer.3.intermediate.dense.bias");
 * ```
 */
export function huggingFaceNames(prefix: string, teacher = false): NameMap {
  const outside: Record<string, string> = {
    cls_token: `${prefix}embeddings.cls_token`,
    dist_token: `${prefix}embeddings.distillation_token`,
    pos_embed: `${prefix}embeddings.position_embeddings`,
    "patch_embed.proj": `${prefix}embeddings.patch_embeddings.projection`,
    norm: `${prefix}layernorm`,
    head: teacher ? "cls_classifier" : "classifier",
    head_dist: "distillation_classifier",
  };
  const inBlock: Record<string, string> = {
    norm1: "layernorm_before",
    "attn.proj": "attention.output.dense",
    norm2: "layernorm_after",
    "mlp.fc1": "intermediate.dense",
    "mlp.fc2": "output.dense",
  };
  return (name) => {
    if (name in outside) return outside[name];
    const [, owner, kind] = name.match(/^(.*)\.(weight|bias)$/)!;
    const [, layer, part] = owner.match(/^blocks\.(\d+)\.(.*)$/) ?? [];
    if (layer === undefined) return `${outside[owner]}.${kind}`;
    const path = `${prefix}encoder.layer.${layer}`;
    if (part !== "attn.qkv") return `${path}.${inBlock[part]}.${kind}`;
    return ["query", "key", "value"].map((one) => `${path}.attention.attention.${one}.${kind}`);
  };
}

function configOf(
  arrays: ReadonlyMap<string, NumericArray>,
  { names, normEpsilon }: Layout,
  what: string,
  options: LoadViTOptions,
): ViTConfig {
  const fileName = (name: string) => names(name) as string; // none of those asked for here is in parts
  const has = (name: string) => arrays.has(fileName(name));
  const shape = (name: string, rank: number): readonly number[] => {
    const array = arrays.get(fileName(name));
    if (array?.shape.length === rank) return array.shape;
    const found = array ? `has shape [${array.shape}]` : "is not in it";
    throw new Error(
      `${what} is no Vision Transformer for classification: weight ${fileName(name)} ${found}; load one with its head`,
    );
  };
  const [, , width] = shape("cls_token", 3);
  const [, channels, patchSize] = shape("patch_embed.proj.weight", 4);
  const distilled = has("dist_token");
  const patches = shape("pos_embed", 3)[1] - (distilled ? 2 : 1);
  const side = Math.sqrt(patches);
  if (!Number.isInteger(side)) {
    throw new Error(`${what} has positions for ${patches} patches, which make no square; this model needs a square`);
  }
  let depth = 0;
  while (has(`blocks.${depth}.norm1.weight`)) depth++;
  const heads = options.heads ?? width / 64;
  if (!Number.isInteger(heads)) {
    throw new Error(`${what} has ${width} channels, no multiple of 64, so that the heads must be told; pass { heads }`);
  }
  return {
    imageSize: side * patchSize,
    patchSize,
    channels,
    width,
    depth,
    heads,
    mlpWidth: shape("blocks.0.mlp.fc1.weight", 2)[0],
    classes: shape("head.weight", 2)[0],
    normEpsilon: options.normEpsilon ?? normEpsilon,
    ...(distilled ? { distilled: has("head_dist.weight") ? "two heads" : "one head" } : {}),
  };
}
