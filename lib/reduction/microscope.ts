/**
 * Looking at methods at work inside a Vision Transformer: collects, layer by layer, where every patch of one image went
 * and on which score, and hands it to the token microscope of `lib/plot`.
 *
 * @module
 */
import type { Reducer } from "../nn/reducer.ts";
import { composeMaps, identityMap, slotsOf, type TokenMap } from "../nn/token_map.ts";
import type { ViT } from "../nn/vit.ts";
import { type Figure, type MicroscopeLayer, type Picture, tokenMicroscope } from "../plot/mod.ts";
import { randomKey, tf, tidy } from "../tensor/mod.ts";
import type { Score } from "./compose.ts";
import { classAttentionScore } from "./scores.ts";

/** One method to be looked at. */
export interface Specimen {
  readonly reducer: Reducer;
  /** Above its picture. Default: the reducer's name. */
  readonly name?: string;
  /**
   * What the pointer shows as the score of each patch. Default: how much the class token looks at it; nothing for a
   * method that stands before its block, where nobody has looked yet.
   */
  readonly score?: Score;
}

/** How a model is looked at. */
export interface LookOptions {
  /** The image as people see it; its patches are the model's. */
  readonly picture: Picture;
  readonly title?: string;
  /** Seed of the random numbers that a method asks for. Default: 1. */
  readonly seed?: number;
  /** Position of the slider that is shown first, 0 = before any block. Default: the last. */
  readonly active?: number;
}

/**
 * What became of each patch of one image in each block of a model.
 *
 * Runs the model once and reads one map per block back: costs a forward pass.
 *
 * @param image [1, imageSize, imageSize, channels], preprocessed as the model wants it.
 * @returns For each block the slot of every patch so far (-1 where it was dropped) and its score in that block.
 *
 * @example With nothing removed, each patch stays where it is
 * ```ts
 * import assert from "node:assert/strict";
 * import { tf } from "tessera/tensor/mod.ts";
 * import { ViT } from "tessera/nn/mod.ts";
 * import { reducers } from "tessera/reduction/mod.ts";
 * const layers = patchesByLayer(await ViT.load("mnist"), tf.zeros([1, 28, 28, 1]), { reducer: reducers.tome({ r: 0 }) });
 * assert.equal(layers.length, 4);
 * assert.deepEqual(layers[3].slot[48], 49); // slot 0 is the class token's
 * ```
 */
export function patchesByLayer(
  model: ViT,
  image: tf.Tensor4D,
  { reducer, score = reducer.hook === "beforeBlock" ? undefined : classAttentionScore }: Specimen,
  seed = 1,
): MicroscopeLayer[] {
  if (image.shape[0] !== 1) {
    throw new RangeError(`a microscope looks at one image, but the batch has ${image.shape[0]}; pass one of them`);
  }
  return tidy(() => {
    const scores = new Map<number, ArrayLike<number>>();
    const watched: Reducer = {
      ...reducer,
      needs: [...new Set([...reducer.needs, ...(score?.needs ?? [])])],
      plan: (place) => reducer.plan(place),
      reduce: (view) => {
        if (score) scores.set(view.layer, score.of(view).dataSync());
        return reducer.reduce(view);
      },
    };
    const { maps } = model.forward(image, { reducer: watched, key: randomKey(seed) });
    const [rows, columns] = model.grid;
    const specialTokens = model.config.distilled ? 2 : 1;
    const tokens = rows * columns + specialTokens;
    let soFar: TokenMap = identityMap(1, tokens);
    let before = slotsOf(soFar).slice(specialTokens);
    return maps.map((map, layer): MicroscopeLayer => {
      if (map) soFar = composeMaps(soFar, map);
      const seen = scores.get(layer);
      const arrived = before;
      before = slotsOf(soFar).slice(specialTokens);
      const scored = seen && arrived.map((slot) => slot < specialTokens ? NaN : seen[slot - specialTokens]);
      return { slot: before, ...(scored ? { score: scored } : {}) };
    });
  });
}

/**
 * The token microscope over a model: one method, or two side by side, with a slider over the blocks.
 *
 * @param image [1, imageSize, imageSize, channels], preprocessed as the model wants it.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { mnist, normalize, selectImages } from "tessera/data/mod.ts";
 * import { ViT } from "tessera/nn/mod.ts";
 * import { reducers } from "tessera/reduction/mod.ts";
 * import { tf } from "tessera/tensor/mod.ts";
 * const digit = selectImages(await mnist.load("test"), [0]);
 * const { data, shape } = normalize(digit);
 * const picture = { width: 28, height: 28, channels: 1, data: digit.images };
 * const figure = microscope(await ViT.load("mnist"), tf.tensor4d(data, shape), [
 *   { reducer: reducers.tome({ r: 8 }) },
 *   { reducer: reducers.topk({ r: 8 }) },
 * ], { picture });
 * assert.match(figure.alt, /tome.*topk.*In agreement: both keep/);
 * ```
 */
export function microscope(
  model: ViT,
  image: tf.Tensor4D,
  specimens: readonly Specimen[],
  { picture, title, seed, active }: LookOptions,
): Figure {
  const methods = specimens.map((specimen) => ({
    name: specimen.name ?? specimen.reducer.name,
    layers: patchesByLayer(model, image, specimen, seed),
  }));
  return tokenMicroscope(methods, {
    image: picture,
    grid: model.grid,
    slider: "after block",
    ...(title === undefined ? {} : { title }),
    ...(active === undefined ? {} : { active }),
  });
}
