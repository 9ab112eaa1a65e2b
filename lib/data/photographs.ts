/**
 * Six photographs that may be used freely: five scenes and a stained tissue section.
 *
 * From scikit-image; data/skimage-images/SOURCE.md says who took each.
 *
 * @module
 */
import { oneOf, readDataFile, sha256 } from "./files.ts";
import { decodeImage, type Image } from "./image.ts";

const originals = {
  astronaut: { file: "astronaut.png", license: "public domain (NASA)" },
  chelsea: { file: "chelsea.png", license: "CC0 (Stefan van der Walt)" },
  coffee: { file: "coffee.png", license: "CC0 (Rachel Michetti)" },
  ihc: { file: "ihc.png", license: "no known copyright restrictions" },
  retina: { file: "retina.jpg", license: "CC0 1.0 (Mikael Haggstrom)" },
  rocket: { file: "rocket.jpg", license: "public domain (SpaceX)" },
};

/** The names of the photographs. */
export type PhotographName = keyof typeof originals;

/** A photograph in colour, [height, width, 3]. */
export interface Photograph extends Image {
  name: PhotographName;
  source: string;
  license: string;
  /** SHA-256 of the file. */
  hash: string;
}

const names = Object.keys(originals) as PhotographName[];

async function load(name: PhotographName, options: { crop?: 224 } = {}): Promise<Photograph> {
  const { file, license } = originals[oneOf(name, names, "photograph")];
  const { crop } = options;
  if (crop !== undefined && crop !== 224) {
    throw new RangeError(`crops are 224 pixels wide, but crop is ${crop}; pass 224, or leave it out for the original`);
  }
  const path = `skimage-images/${crop ? `crops224/${name}.png` : file}`;
  const bytes = await readDataFile(path);
  const image = await decodeImage(bytes, `data/${path}`, { width: crop, height: crop });
  return {
    ...image,
    name,
    source: `scikit-image ${file} (data/skimage-images/SOURCE.md)`,
    license,
    hash: sha256(bytes),
  };
}

/**
 * The photographs: `names`, and `load`, which reads one as it is, or with `{ crop: 224 }` its centre as 224 x 224 pixels
 * (14 x 14 patches of 16, as ViT-B/16 sees it). A missing file or an unknown name is an error that says so.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * const cat = await photographs.load("chelsea", { crop: 224 });
 * assert.equal(cat.data.length, 224 * 224 * 3);
 * assert.equal(cat.license, "CC0 (Stefan van der Walt)");
 * ```
 */
export const photographs: { names: readonly PhotographName[]; load: typeof load } = { names, load };
