/**
 * A set of labelled images of one size, as the loaders of MNIST and PneumoniaMNIST return it.
 *
 * @module
 */
import { oneOf, readDataFile, remember, sha256 } from "./files.ts";
import { parseIdx } from "./idx.ts";

/** Labelled images of one size. Loaders keep what they have read and hand out the same arrays again: do not write into them. */
export interface ImageSet<Split extends string = string> {
  /** The data set's name. */
  name: string;
  split: Split;
  /** Pixels 0..255, [count, height, width, channels] in row-major order. */
  images: Uint8Array;
  /** The class of each image, as an index into `classes`, [count]. */
  labels: Uint8Array;
  count: number;
  height: number;
  width: number;
  channels: number;
  /** What the labels mean. */
  classes: readonly string[];
  /** Where the data come from. */
  source: string;
  license: string;
  /** SHA-256 of the files that were read, images then labels. */
  hash: string;
}

/**
 * Some images of a set, in the order asked for: a batch, a class, a shuffled set.
 *
 * @param indices Which images; one may come twice.
 * @throws {RangeError} Where an index is not an image of the set.
 *
 * @example The first two zeros of MNIST's test images
 * ```ts
 * import assert from "node:assert/strict";
 * import { mnist } from "tessera/data/mod.ts";
 * const test = await mnist.load("test");
 * const zeros = [...test.labels.keys()].filter((i) => test.labels[i] === 0);
 * const two = selectImages(test, zeros.slice(0, 2));
 * assert.deepEqual([...two.labels], [0, 0]);
 * assert.equal(two.images.length, 2 * 28 * 28);
 * ```
 */
export function selectImages<Set extends ImageSet>(set: Set, indices: ArrayLike<number>): Set {
  const size = set.height * set.width * set.channels;
  const images = new Uint8Array(indices.length * size);
  const labels = new Uint8Array(indices.length);
  Array.from(indices).forEach((index, i) => {
    if (!Number.isInteger(index) || index < 0 || index >= set.count) {
      throw new RangeError(`image ${index} is not in the set; pass indices from 0 to ${set.count - 1}`);
    }
    images.set(set.images.subarray(index * size, (index + 1) * size), i * size);
    labels[i] = set.labels[index];
  });
  return { ...set, images, labels, count: indices.length };
}

/** What a data set of two IDX files a split is: where the files lie and what is true of all splits. */
export interface ImageFolder<Split extends string> {
  name: string;
  /** For each split: the image and the label file below `data/`, and which of their images belong to it (default: all). */
  splits: Record<Split, { images: string; labels: string; from?: number; to?: number }>;
  classes: readonly string[];
  source: string;
  license: string;
}

/**
 * The loader of a data set of IDX files: what `mnist` and `pneumoniaMnist` are.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * const labels = "mnist-t10k/t10k-labels-idx1-ubyte.gz";
 * const images = "mnist-t10k/t10k-images-idx3-ubyte.gz";
 * const one = imageLoader({
 *   name: "one digit",
 *   splits: { all: { images, labels, to: 1 } },
 *   classes: [..."0123456789"],
 *   source: "MNIST",
 *   license: "CC BY-SA 3.0",
 * });
 * assert.equal((await one.load("all")).labels[0], 7);
 * ```
 */
export function imageLoader<Split extends string>(folder: ImageFolder<Split>): ImageLoader<Split> {
  const splits = Object.keys(folder.splits) as Split[];
  const load = remember((split: Split) => loadSplit(folder, split));
  return {
    name: folder.name,
    splits,
    classes: folder.classes,
    // An async function, so that a misspelt split rejects as a missing file does.
    load: async (split) => await load(oneOf(split, splits, `split of ${folder.name}`)),
  };
}

/** A data set that can be loaded, one split at a time. */
export interface ImageLoader<Split extends string> {
  name: string;
  splits: readonly Split[];
  classes: readonly string[];
  /**
   * Reads a split at the first call, and returns the same set again at later ones.
   *
   * @throws {RangeError} Where the split does not exist; the message lists those that do.
   * @throws {Error} Where a file is missing or damaged; the message names it and says how to restore it.
   */
  load(split: Split): Promise<ImageSet<Split>>;
}

async function loadSplit<Split extends string>(folder: ImageFolder<Split>, split: Split): Promise<ImageSet<Split>> {
  const files = folder.splits[split];
  const imageBytes = await readDataFile(files.images);
  const labelBytes = await readDataFile(files.labels);
  const pixels = parseIdx(imageBytes, `data/${files.images}`);
  const classOf = parseIdx(labelBytes, `data/${files.labels}`);

  if (!(pixels.data instanceof Uint8Array) || pixels.shape.length !== 3) {
    throw new Error(
      `data/${files.images} holds ${pixels.dtype} [${pixels.shape}]; images must be uint8 [count, height, width]`,
    );
  }
  const [total, height, width] = pixels.shape;
  if (!(classOf.data instanceof Uint8Array) || classOf.shape.length !== 1 || classOf.shape[0] !== total) {
    throw new Error(
      `data/${files.labels} holds ${classOf.dtype} [${classOf.shape}]; for ${total} images it must be uint8 [${total}]`,
    );
  }
  const { from = 0, to = total } = files;
  const labels = classOf.data.subarray(from, to);
  const unknown = labels.find((label) => label >= folder.classes.length);
  if (unknown !== undefined) {
    throw new Error(
      `data/${files.labels} has label ${unknown}, but ${folder.name} has ${folder.classes.length} classes`,
    );
  }
  return {
    name: folder.name,
    split,
    images: pixels.data.subarray(from * height * width, to * height * width),
    labels,
    count: to - from,
    height,
    width,
    channels: 1,
    classes: folder.classes,
    source: folder.source,
    license: folder.license,
    hash: sha256(imageBytes, labelBytes),
  };
}
