/** Published layouts of ViT weights: files made here under timm's and Hugging Face's names give the same model. */
import assert from "node:assert/strict";
import { type NumericArray, writeSafetensors } from "tessera/data/mod.ts";
import { huggingFaceNames, loadViT, saveParameters, ViT, type ViTConfig } from "tessera/nn/mod.ts";
import { random } from "tessera/random.ts";
import { tf, tidy } from "tessera/tensor/mod.ts";
import { reducers } from "tessera/reduction/mod.ts";
import { assertClose, normalTensor } from "../tensor/agreement.ts";

const small = { imageSize: 16, patchSize: 4, channels: 3, width: 64, depth: 2, heads: 1, mlpWidth: 96, classes: 5 };

/** A model with large weights and biases, so that each of them counts. */
function model(config: ViTConfig): ViT {
  const rule = () => (shape: readonly number[], numbers: ReturnType<typeof random>) =>
    numbers.normals(shape.reduce((a, b) => a * b, 1), 0.1, 0.3);
  return ViT.create(config, random(3, "init"), rule);
}

/** The names of a block, as they stand in google/vit-base-patch16-224 and facebook/deit-base-distilled-patch16-224. */
const blockOfHuggingFace = [
  "attention.attention.query.weight",
  "attention.attention.query.bias",
  "attention.attention.key.weight",
  "attention.attention.key.bias",
  "attention.attention.value.weight",
  "attention.attention.value.bias",
  "attention.output.dense.weight",
  "attention.output.dense.bias",
  "intermediate.dense.weight",
  "intermediate.dense.bias",
  "output.dense.weight",
  "output.dense.bias",
  "layernorm_before.weight",
  "layernorm_before.bias",
  "layernorm_after.weight",
  "layernorm_after.bias",
];

const layouts = {
  "timm's ViT": {
    distilled: false,
    names: undefined,
    others: [
      "cls_token",
      "pos_embed",
      "patch_embed.proj.weight",
      "patch_embed.proj.bias",
      "norm.weight",
      "norm.bias",
      "head.weight",
      "head.bias",
    ],
  },
  "timm's distilled DeiT": {
    distilled: "two heads",
    names: undefined,
    others: [
      "cls_token",
      "dist_token",
      "pos_embed",
      "patch_embed.proj.weight",
      "patch_embed.proj.bias",
      "norm.weight",
      "norm.bias",
      "head.weight",
      "head.bias",
      "head_dist.weight",
      "head_dist.bias",
    ],
  },
  "Hugging Face's ViT": {
    distilled: false,
    names: huggingFaceNames("vit."),
    others: [
      "vit.embeddings.cls_token",
      "vit.embeddings.position_embeddings",
      "vit.embeddings.patch_embeddings.projection.weight",
      "vit.embeddings.patch_embeddings.projection.bias",
      "vit.layernorm.weight",
      "vit.layernorm.bias",
      "classifier.weight",
      "classifier.bias",
    ],
  },
  "Hugging Face's DeiT": {
    distilled: "one head",
    names: huggingFaceNames("deit."),
    others: [
      "deit.embeddings.cls_token",
      "deit.embeddings.distillation_token",
      "deit.embeddings.position_embeddings",
      "deit.embeddings.patch_embeddings.projection.weight",
      "deit.embeddings.patch_embeddings.projection.bias",
      "deit.layernorm.weight",
      "deit.layernorm.bias",
      "classifier.weight",
      "classifier.bias",
    ],
  },
  "Hugging Face's DeiT with its teacher's head": {
    distilled: "two heads",
    names: huggingFaceNames("deit.", true),
    others: [
      "deit.embeddings.cls_token",
      "deit.embeddings.distillation_token",
      "deit.embeddings.position_embeddings",
      "deit.embeddings.patch_embeddings.projection.weight",
      "deit.embeddings.patch_embeddings.projection.bias",
      "deit.layernorm.weight",
      "deit.layernorm.bias",
      "cls_classifier.weight",
      "cls_classifier.bias",
      "distillation_classifier.weight",
      "distillation_classifier.bias",
    ],
  },
} as const;

async function withFile(arrays: Map<string, NumericArray>, body: (file: string) => Promise<void>): Promise<void> {
  const file = await Deno.makeTempFile({ suffix: ".safetensors" });
  try {
    await writeSafetensors(file, arrays);
    await body(file);
  } finally {
    await Deno.remove(file);
  }
}

for (const [layout, { distilled, names, others }] of Object.entries(layouts)) {
  Deno.test(`${layout} loads from a file in its layout, and gives the same logits`, async () => {
    const original = model({ ...small, distilled, normEpsilon: names ? 1e-12 : 1e-6 });
    const arrays = await saveParameters(original.weights, names);
    const ofBlocks = names
      ? [0, 1].flatMap((layer) =>
        blockOfHuggingFace.map((name) => `${others[0].split(".")[0]}.encoder.layer.${layer}.${name}`)
      )
      : [...arrays.keys()].filter((name) =>
        /^blocks\.[01]\.(norm[12]|attn\.(qkv|proj)|mlp\.fc[12])\.(weight|bias)$/.test(name)
      );
    assert.deepEqual([...arrays.keys()].toSorted(), [...others, ...ofBlocks].toSorted());
    await withFile(arrays, async (file) => {
      const loaded = await loadViT(file);
      assert.deepEqual({ ...loaded.config, distilled: loaded.config.distilled ?? false }, original.config);
      tidy(() => {
        const images = normalTensor<tf.Tensor4D>("images", [2, 16, 16, 3]);
        const expected = original.forward(images);
        const got = loaded.forward(images);
        assertClose(got.logits, expected.logits, 1e-6, layout);
        assert.equal(got.tokens.shape[1], distilled ? 18 : 17);
        const reduced = loaded.forward(images, { reducer: reducers.tome({ r: 2 }) });
        assert.equal(reduced.tokens.shape[1], distilled ? 14 : 13);
      });
      loaded.dispose();
    });
    original.dispose();
  });
}

Deno.test("query, key and value are not mixed up: a file whose key is 0 attends to all alike", async () => {
  const original = model(small);
  const arrays = await saveParameters(original.weights, huggingFaceNames("vit."));
  for (const layer of [0, 1]) {
    for (const kind of ["weight", "bias"]) {
      (arrays.get(`vit.encoder.layer.${layer}.attention.attention.key.${kind}`)!.data as Float32Array).fill(0);
    }
  }
  await withFile(arrays, async (file) => {
    const loaded = await loadViT(file);
    tidy(() => {
      const { attention } = loaded.forward(normalTensor<tf.Tensor4D>("images", [1, 16, 16, 3]));
      for (const looked of attention) assertClose(looked, tf.fill(looked.shape, 1 / 17), 1e-5, "attention");
    });
    loaded.dispose();
  });
  original.dispose();
});

Deno.test("a file that is another model is refused, in one sentence that names what is wrong", async () => {
  const original = model(small);
  const arrays = await saveParameters(original.weights);
  const with_ = (change: (copy: Map<string, NumericArray>) => void) => {
    const copy = new Map(arrays);
    change(copy);
    return copy;
  };
  const scale: NumericArray = { shape: [64], dtype: "float32", data: new Float32Array(64) };
  const cases: [Map<string, NumericArray>, RegExp][] = [
    [with_((copy) => copy.delete("cls_token")), /holds no class token under timm's name/],
    [with_((copy) => copy.delete("head.weight")), /weight head.weight is not in it; load one with its head/],
    [with_((copy) => copy.delete("blocks.1.attn.qkv.bias")), /weight blocks.1.attn.qkv.bias is missing among/],
    [with_((copy) => copy.set("blocks.0.ls1.gamma", scale)), /weight blocks.0.ls1.gamma would not be used/],
    [
      with_((copy) => copy.set("blocks.1.norm1.bias", { ...scale, shape: [32, 2] })),
      /must have shape \[64\], but it has/,
    ],
    [
      with_((copy) => copy.set("pos_embed", { shape: [1, 13, 64], dtype: "float32", data: new Float32Array(832) })),
      /positions for 12 patches/,
    ],
  ];
  for (const [changed, why] of cases) {
    await withFile(changed, async (file) => await assert.rejects(loadViT(file), why));
  }
  await assert.rejects(loadViT(new URL("../../data/vit-nano/mnist.safetensors", import.meta.url)), /pass \{ heads \}/);
  original.dispose();
});
