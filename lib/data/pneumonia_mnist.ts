/**
 * PneumoniaMNIST: chest X-rays of children, 28 x 28 pixels, with and without pneumonia. Not for clinical use.
 *
 * Yang et al., "MedMNIST v2", Scientific Data 2023; images of Kermany et al. 2018; data/pneumoniamnist/SOURCE.md.
 *
 * @module
 */
import { type ImageLoader, imageLoader } from "./image_set.ts";

function files(prefix: string) {
  return {
    images: `pneumoniamnist/${prefix}-images-idx3-ubyte.gz`,
    labels: `pneumoniamnist/${prefix}-labels-idx1-ubyte.gz`,
  };
}

/**
 * PneumoniaMNIST in its official split: `"train"` (4,708 images), `"validation"` (524), `"test"` (624). In the training
 * set all normal images come before all with pneumonia: shuffle it.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * const test = await pneumoniaMnist.load("test");
 * assert.equal(test.count, 624);
 * assert.equal(test.classes[test.labels[0]], "pneumonia");
 * ```
 */
export const pneumoniaMnist: ImageLoader<"train" | "validation" | "test"> = imageLoader({
  name: "PneumoniaMNIST",
  splits: { train: files("train"), validation: files("val"), test: files("test") },
  classes: ["normal", "pneumonia"],
  source: "Yang et al. 2023, MedMNIST v2, from Kermany et al. 2018 (data/pneumoniamnist/SOURCE.md)",
  license: "CC BY 4.0",
});
