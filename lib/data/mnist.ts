/**
 * MNIST, handwritten digits: the 10,000 images of its test set, the first 8,000 of which serve for training here.
 *
 * LeCun, Cortes, Burges, "The MNIST database of handwritten digits"; data/mnist-t10k/SOURCE.md.
 *
 * @module
 */
import { type ImageLoader, imageLoader } from "./image_set.ts";

const files = {
  images: "mnist-t10k/t10k-images-idx3-ubyte.gz",
  labels: "mnist-t10k/t10k-labels-idx1-ubyte.gz",
};

/**
 * MNIST digits of 28 x 28 pixels: `"train"` (8,000 images) and `"test"` (2,000). Not the official split, whose training
 * images are not here: accuracies are not comparable with those of papers.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * const test = await mnist.load("test");
 * assert.equal(test.count, 2000);
 * assert.deepEqual([...test.labels.slice(0, 4)], [4, 9, 9, 7]);
 * ```
 */
export const mnist: ImageLoader<"train" | "test"> = imageLoader({
  name: "MNIST",
  splits: { train: { ...files, to: 8000 }, test: { ...files, from: 8000 } },
  classes: [..."0123456789"],
  source: "LeCun, Cortes, Burges: MNIST, the 10,000 test images (data/mnist-t10k/SOURCE.md)",
  license: "CC BY-SA 3.0",
});
