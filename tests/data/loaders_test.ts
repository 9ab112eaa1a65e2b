import assert from "node:assert/strict";
import { cpSync } from "node:fs";
import {
  type ImageSet,
  mnist,
  normalize,
  photographs,
  pneumoniaMnist,
  selectImages,
  vitNano,
} from "../../lib/data/mod.ts";

function countsOf(set: ImageSet): number[] {
  const counts = set.classes.map(() => 0);
  for (const label of set.labels) counts[label]++;
  return counts;
}

Deno.test("mnist.load() splits the 10,000 official test images into 8,000 and 2,000", async () => {
  const [train, test] = [await mnist.load("train"), await mnist.load("test")];
  assert.deepEqual([train.count, test.count], [8000, 2000]);
  for (const set of [train, test]) {
    assert.deepEqual([set.height, set.width, set.channels, set.classes.length], [28, 28, 1, 10]);
    assert.equal(set.images.length, set.count * 784);
    assert.equal(set.labels.length, set.count);
    assert.equal(set.license, "CC BY-SA 3.0");
    assert.match(set.hash, /^[0-9a-f]{64}$/);
  }
  assert.deepEqual([...train.labels.slice(0, 10)], [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]);
  const whole = countsOf(train).map((count, digit) => count + countsOf(test)[digit]);
  assert.deepEqual(whole, [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]); // the published counts
  // The first image is a 7: its bar begins in row 7, at column 6.
  assert.deepEqual([...train.images.slice(7 * 28 + 5, 7 * 28 + 10)], [0, 84, 185, 159, 151]);
});

Deno.test("pneumoniaMnist.load() has the official sizes and class counts", async () => {
  for (const [split, counts] of [["train", [1214, 3494]], ["validation", [135, 389]], ["test", [234, 390]]] as const) {
    const set = await pneumoniaMnist.load(split);
    assert.equal(set.split, split);
    assert.equal(set.count, counts[0] + counts[1]);
    assert.deepEqual(countsOf(set), counts);
    assert.equal(set.images.length, set.count * 784);
  }
});

Deno.test("loaders keep what they have read", async () => {
  assert.equal(await mnist.load("test"), await mnist.load("test"));
  assert.equal(await vitNano.load("mnist"), await vitNano.load("mnist"));
});

Deno.test("vitNano.load() gives models whose weights fit their shape, and first labels that are those of the test set", async () => {
  const sets = { mnist: await mnist.load("test"), pneumonia: await pneumoniaMnist.load("test") };
  for (const name of vitNano.names) {
    const { config, tensors, expected } = await vitNano.load(name);
    assert.equal(config.patches, (config.imageSize / config.patchSize) ** 2);
    assert.equal(config.classes, sets[name].classes.length);
    assert.deepEqual(tensors.get("pos_embed")?.shape, [1, config.patches + 1, config.dim]);
    assert.deepEqual(tensors.get("blocks.3.mlp.fc1.weight")?.shape, [config.mlpDim, config.dim]);
    assert.equal([...tensors.keys()].filter((key) => key.endsWith("attn.qkv.weight")).length, config.depth);

    assert.equal(expected.testImages, sets[name].count);
    assert.deepEqual(expected.firstLabels, [...sets[name].labels.slice(0, 8)]);
    assert.deepEqual([expected.firstLogits.length, expected.firstLogits[0].length], [8, config.classes]);
    assert.deepEqual([expected.classAttention.length, expected.classAttention[0].length], [config.depth, 49]);
    assert.deepEqual(expected.pruned.map((row) => row.patchesKept), [49, 37, 25, 12, 6]);
    assert.equal(expected.pruned[0].byAttention, expected.testAccuracy);
  }
  assert.equal((await vitNano.load("pneumonia")).expected.testAuroc, 0.9492);
});

Deno.test("normalize() maps pixels to -1..1 and refuses images of another size", async () => {
  const test = await mnist.load("test");
  const { data, shape, dtype } = normalize(selectImages(test, [0, 5]));
  assert.deepEqual([shape, dtype], [[2, 28, 28, 1], "float32"]);
  const pixel = test.images[5 * 784 + 300];
  assert.equal(data[784 + 300], Math.fround((pixel / 255 - 0.5) / 0.5));

  const images = new Uint8Array(32 * 32);
  assert.throws(
    () => normalize({ images, count: 1, height: 32, width: 32, channels: 1 }),
    /^RangeError: vit-nano takes images of 28 x 28 pixels in grey, but these are 32 x 32 with 1 channel; resize them$/,
  );
  assert.throws(
    () => normalize({ images, count: 1, height: 28, width: 28, channels: 3 }),
    /but these are 28 x 28 with 3 channels; resize them$/,
  );
  assert.throws(
    () => normalize({ images, count: 1, height: 28, width: 28, channels: 1 }),
    /^RangeError: 1 images of 28 x 28 are 784 pixels, but there are 1024$/,
  );
});

Deno.test("selectImages() takes the images asked for, in that order, with their labels", async () => {
  const test = await pneumoniaMnist.load("test");
  const chosen = selectImages(test, [3, 0, 3]);
  assert.deepEqual([...chosen.labels], [test.labels[3], test.labels[0], test.labels[3]]);
  assert.deepEqual(chosen.images.subarray(784, 1568), test.images.subarray(0, 784));
  assert.deepEqual([chosen.count, chosen.split], [3, "test"]);
  assert.throws(
    () => selectImages(test, [624]),
    /^RangeError: image 624 is not in the set; pass indices from 0 to 623$/,
  );
  assert.throws(() => selectImages(test, [-1]), /^RangeError: image -1 is not in the set/);
});

Deno.test("photographs.load() gives six colour photographs and their 224 x 224 crops", async () => {
  assert.deepEqual(photographs.names, ["astronaut", "chelsea", "coffee", "ihc", "retina", "rocket"]);
  for (const name of photographs.names) {
    const [whole, crop] = [await photographs.load(name), await photographs.load(name, { crop: 224 })];
    assert.ok(whole.width >= 300 && whole.height >= 300);
    for (const image of [whole, crop]) {
      assert.equal(image.channels, 3);
      assert.equal(image.data.length, image.width * image.height * 3);
      assert.ok(image.license.length > 0);
    }
    assert.deepEqual([crop.width, crop.height], [224, 224]);
    assert.notEqual(whole.hash, crop.hash);
  }
});

Deno.test("a name that does not exist does not compile, and at run time the message lists those that do", async () => {
  await assert.rejects(
    // @ts-expect-error: a split of PneumoniaMNIST, not of MNIST
    mnist.load("validation"),
    /^RangeError: there is no split of MNIST named "validation"; choose one of "train", "test"$/,
  );
  await assert.rejects(
    // @ts-expect-error: the folder's name for it
    pneumoniaMnist.load("val"),
    /^RangeError: there is no split of PneumoniaMNIST named "val"; choose one of "train", "validation", "test"$/,
  );
  await assert.rejects(
    // @ts-expect-error: misspelt
    vitNano.load("mnsit"),
    /^RangeError: there is no vit-nano model named "mnsit"; choose one of "mnist", "pneumonia"$/,
  );
  await assert.rejects(
    // @ts-expect-error: misspelt
    photographs.load("chelsie"),
    /^RangeError: there is no photograph named "chelsie"; choose one of "astronaut", .*"rocket"$/,
  );
  await assert.rejects(
    // @ts-expect-error: only one size of crops is here
    photographs.load("chelsea", { crop: 256 }),
    /^RangeError: crops are 224 pixels wide, but crop is 256; pass 224, or leave it out for the original$/,
  );
});

Deno.test("in a copy without data/, each loader names the missing file and says how to restore it", async () => {
  const root = await Deno.makeTempDir();
  try {
    cpSync(new URL("../../lib/", import.meta.url), `${root}/lib`, { recursive: true });

    const here: typeof import("../../lib/data/mod.ts") = await import(`file://${root}/lib/data/mod.ts`);
    const cases: [() => Promise<unknown>, string][] = [
      [() => here.mnist.load("test"), "mnist-t10k/t10k-images-idx3-ubyte.gz"],
      [() => here.pneumoniaMnist.load("validation"), "pneumoniamnist/val-images-idx3-ubyte.gz"],
      [() => here.photographs.load("rocket"), "skimage-images/rocket.jpg"],
      [() => here.photographs.load("rocket", { crop: 224 }), "skimage-images/crops224/rocket.png"],
      [() => here.vitNano.load("mnist"), "vit-nano/config.json"],
    ];
    for (const [load, file] of cases) {
      const message = `data/${file} is missing; restore it with: git checkout -- data/${file}`;
      await assert.rejects(load, { name: "Error", message });
    }
  } finally {
    await Deno.remove(root, { recursive: true });
  }
});
