/**
 * vit-nano: two tiny Vision Transformers, trained on MNIST and on PneumoniaMNIST, with the numbers that they must give.
 *
 * Trained for this project; data/vit-nano/SOURCE.md says how.
 *
 * @module
 */
import { oneOf, readDataFile, remember, sha256 } from "./files.ts";
import type { ImageSet } from "./image_set.ts";
import { parseSafetensors } from "./safetensors.ts";

/** The shape of the model. */
export interface VitNanoConfig {
  /** Pixels along one side of the image: 28. */
  imageSize: number;
  channels: number;
  /** Pixels along one side of a patch: 4. */
  patchSize: number;
  /** Patches of an image: 49. The class token comes on top. */
  patches: number;
  /** Channels of a token: 48. */
  dim: number;
  /** Number of blocks: 4. */
  depth: number;
  heads: number;
  /** Channels inside the MLP: 96. */
  mlpDim: number;
  /** Number of classes. */
  classes: number;
}

/** Weights of one name, in the layout of timm's VisionTransformer: linear layers are [out, in]. */
export interface Weights {
  shape: number[];
  dtype: "float32";
  data: Float32Array;
}

/** What the trained model gave where it was trained (PyTorch, CPU). */
export interface VitNanoExpected {
  testAccuracy: number;
  testImages: number;
  /** Only for the X-rays: area under the ROC curve of the test set. */
  testAuroc?: number;
  firstLabels: number[];
  /** Logits of the first eight test images, [8, classes]. */
  firstLogits: number[][];
  /** Attention of the class token to the patches for the first test image, averaged over the heads, [depth, patches]. */
  classAttention: number[][];
  /** Test accuracy when patches are dropped after the attention of block 2: those the class token attends to least, or any. */
  pruned: { patchesKept: number; byAttention: number; atRandom: number }[];
}

/** A trained model: its shape, its weights, and what it must give. */
export interface VitNano {
  name: VitNanoName;
  config: VitNanoConfig;
  tensors: Map<string, Weights>;
  expected: VitNanoExpected;
  source: string;
  license: string;
  /** SHA-256 of the weights' file. */
  hash: string;
}

const names = ["mnist", "pneumonia"] as const;

/** The data sets that a vit-nano was trained on. */
export type VitNanoName = typeof names[number];

/** The files' own names. */
interface ConfigFile {
  image_size: number;
  channels: number;
  patch_size: number;
  patches: number;
  dim: number;
  depth: number;
  heads: number;
  mlp_dim: number;
  classes: Record<VitNanoName, number>;
}

interface ExpectedFile {
  test_accuracy: number;
  test_images: number;
  test_auc?: number;
  first_8_test_labels: number[];
  first_8_logits: number[][];
  cls_attention_of_first_image_per_block: number[][];
  prune_by_cls_attention_in_block_2: { patch_tokens_kept: number; topk: number; random: number }[];
}

const read = remember(async (name: VitNanoName): Promise<VitNano> => {
  const config: ConfigFile = await readJson("vit-nano/config.json");
  const expected: ExpectedFile = await readJson(`vit-nano/${name}.expected.json`);
  const file = `vit-nano/${name}.safetensors`;
  const bytes = await readDataFile(file);

  const tensors = new Map<string, Weights>();
  for (const [key, { shape, data }] of parseSafetensors(bytes, `data/${file}`).tensors) {
    if (!(data instanceof Float32Array)) throw new Error(`data/${file} holds ${key} as ${data.constructor.name}`);
    tensors.set(key, { shape, dtype: "float32", data });
  }
  return {
    name,
    config: {
      imageSize: config.image_size,
      channels: config.channels,
      patchSize: config.patch_size,
      patches: config.patches,
      dim: config.dim,
      depth: config.depth,
      heads: config.heads,
      mlpDim: config.mlp_dim,
      classes: config.classes[name],
    },
    tensors,
    expected: {
      testAccuracy: expected.test_accuracy,
      testImages: expected.test_images,
      testAuroc: expected.test_auc,
      firstLabels: expected.first_8_test_labels,
      firstLogits: expected.first_8_logits,
      classAttention: expected.cls_attention_of_first_image_per_block,
      pruned: expected.prune_by_cls_attention_in_block_2.map((row) => ({
        patchesKept: row.patch_tokens_kept,
        byAttention: row.topk,
        atRandom: row.random,
      })),
    },
    source: "trained for this project (data/vit-nano/SOURCE.md)",
    license: "free to use",
    hash: sha256(bytes),
  };
});

async function readJson<Shape>(name: string): Promise<Shape> {
  const text = new TextDecoder().decode(await readDataFile(name));
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new Error(`data/${name} is not JSON; restore it with: git checkout -- data/${name}`, { cause });
  }
}

/**
 * The trained models: `names`, and `load`, which reads one at the first call and returns the same at later ones. A missing
 * file or an unknown name is an error that says so.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * const { config, tensors, expected } = await vitNano.load("mnist");
 * assert.deepEqual(tensors.get("head.weight")?.shape, [10, config.dim]);
 * assert.equal(expected.testAccuracy, 0.9785);
 * ```
 */
export const vitNano: {
  names: readonly VitNanoName[];
  load(name: VitNanoName): Promise<VitNano>;
} = {
  names,
  load: async (name) => await read(oneOf(name, names, "vit-nano model")),
};

/** Images as a model takes them: float32 [count, height, width, channels]. */
export interface NormalizedImages {
  shape: [count: number, height: number, width: number, channels: number];
  dtype: "float32";
  data: Float32Array;
}

/**
 * Pixels as vit-nano takes them: (pixel / 255 - 0.5) / 0.5, so from -1 to 1.
 *
 * @param set Images of 28 x 28 x 1 pixels, [count, 28, 28, 1]: a loaded set, or anything with these fields.
 * @returns float32 [count, 28, 28, 1].
 * @throws {RangeError} Where the images have another size.
 *
 * @example Black is -1, white is 1
 * ```ts
 * import assert from "node:assert/strict";
 * const images = new Uint8Array(28 * 28).fill(255);
 * images[0] = 0;
 * const { data, shape } = normalize({ images, count: 1, height: 28, width: 28, channels: 1 });
 * assert.deepEqual([data[0], data[1]], [-1, 1]);
 * assert.deepEqual(shape, [1, 28, 28, 1]);
 * ```
 */
export function normalize(
  set: Pick<ImageSet, "images" | "count" | "height" | "width" | "channels">,
): NormalizedImages {
  const { images, count, height, width, channels } = set;
  if (height !== 28 || width !== 28 || channels !== 1) {
    throw new RangeError(
      `vit-nano takes images of 28 x 28 pixels in grey, but these are ${width} x ${height} with ${channels} ` +
        `channel${channels === 1 ? "" : "s"}; resize them`,
    );
  }
  if (images.length !== count * 28 * 28) {
    throw new RangeError(`${count} images of 28 x 28 are ${count * 784} pixels, but there are ${images.length}`);
  }
  return { shape: [count, 28, 28, 1], dtype: "float32", data: Float32Array.from(images, (p) => (p / 255 - 0.5) / 0.5) };
}
