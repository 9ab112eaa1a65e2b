/**
 * The ViT that several areas measure.
 *
 * @module
 */
import { tf } from "tessera/tensor/mod.ts";
import { loadParameters, trainable, ViT, vitLayers } from "tessera/nn/mod.ts";
import type { Parameter, Sizes } from "../workload.ts";
import { numbersOf, patternTensor } from "./worker.ts";

/** A ViT with the numbers that the peers have. */
export function modelOf(sizes: Sizes, parameters: readonly Parameter[], trained: boolean): ViT {
  const { image: imageSize, patch: patchSize, width, depth, heads, classes } = sizes;
  const config = { imageSize, patchSize, channels: 3, width, depth, heads, mlpWidth: 4 * width, classes };
  const weights = loadParameters(vitLayers(config), numbersOf(parameters));
  return new ViT(config, trained ? trainable(weights) : weights);
}

/** Images for it. */
export function imagesOf({ image }: Sizes, batch: number): tf.Tensor4D {
  return tf.tidy(() => patternTensor<tf.Tensor4D>(900, [batch, 3, image, image]).transpose([0, 2, 3, 1]));
}
