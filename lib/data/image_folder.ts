/**
 * Images of one's own: a folder with one folder of PNG or JPEG files per class.
 *
 * @module
 */
import { basename, extname, join } from "node:path";
import { pathOf, readBytes, sha256, writeAtomically } from "./files.ts";
import { decodeImage, type Image } from "./image.ts";
import type { ImageSet } from "./image_set.ts";

/** What images of a folder are made into. */
export interface ImageFolderOptions {
  /** Width and height in pixels: the middle square of each image is cut out and scaled to it. */
  readonly size: number;
  /** Default: 3. */
  readonly channels?: 1 | 3;
  /** Order of the classes. Default: the names of the folders, by the alphabet. */
  readonly classes?: readonly string[];
}

const ENDINGS = [".png", ".jpg", ".jpeg"];

/**
 * Reads a folder of labelled images: `folder/CLASS/NAME.png`. Files by name, classes by `classes`.
 *
 * Costs one decoded image of memory beside the result.
 *
 * @returns The images, [count, size, size, channels], with `files`: the path of each below the folder.
 * @throws {Error} One sentence: where the folder is missing, a file cannot be decoded, or no class folder holds an image.
 * @throws {RangeError} Where `size` is no whole number from 1, or a folder is none of `classes`.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * const folder = await Deno.makeTempDir();
 * const grey = { width: 4, height: 2, channels: 1 as const, data: new Uint8Array(8).fill(100) };
 * await writeImage(`${folder}/cat/a.png`, grey);
 * await writeImage(`${folder}/dog/b.png`, grey);
 * const set = await readImageFolder(folder, { size: 2, channels: 1 });
 * assert.deepEqual([set.count, set.classes, [...set.labels], set.files], [2, ["cat", "dog"], [0, 1], ["cat/a.png", "dog/b.png"]]);
 * await Deno.remove(folder, { recursive: true });
 * ```
 */
export async function readImageFolder(
  folder: string | URL,
  { size, channels = 3, classes }: ImageFolderOptions,
): Promise<ImageSet & { readonly files: readonly string[] }> {
  if (!Number.isInteger(size) || size < 1) {
    throw new RangeError(`size must be a whole number of pixels from 1, but it is ${size}; a vit-nano takes 28`);
  }
  const root = pathOf(folder);
  const folders = namesIn(root, (entry) => entry.isDirectory);
  const strange = classes && folders.find((name) => !classes.includes(name));
  if (strange) {
    throw new RangeError(
      `${root} has a folder ${strange}, but the classes are ${classes.join(", ")}; rename it, or add it`,
    );
  }
  const known = classes ?? folders;
  const found = folders.flatMap((name) =>
    namesIn(join(root, name), (entry) => entry.isFile && ENDINGS.includes(extname(entry.name).toLowerCase()))
      .map((file) => ({ file: `${name}/${file}`, label: known.indexOf(name) }))
  );
  if (!found.length) {
    throw new Error(`${root} holds no images; put PNG or JPEG files into one folder per class: ${root}/cat/1.png`);
  }
  const images = new Uint8Array(found.length * size * size * channels);
  const hashes: string[] = [];
  for (const [i, { file }] of found.entries()) {
    const bytes = await readBytes(join(root, file));
    images.set(
      (await middleSquare(await decodeImage(bytes, file, { channels }), size)).data,
      i * size * size * channels,
    );
    hashes.push(sha256(bytes));
  }
  return {
    name: basename(root),
    split: "all",
    images,
    labels: Uint8Array.from(found, ({ label }) => label),
    count: found.length,
    height: size,
    width: size,
    channels,
    classes: known,
    source: "a folder of images",
    license: "as its owner says",
    hash: sha256(new TextEncoder().encode(hashes.join())),
    files: found.map(({ file }) => file),
  };
}

/**
 * Writes an image as PNG. The file appears complete or not at all; missing folders are made.
 *
 * @throws {Error} One sentence with the file's name, where it cannot be written or does not end in .png.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { readImage } from "tessera/data/mod.ts";
 * const folder = await Deno.makeTempDir();
 * await writeImage(`${folder}/dot.png`, { width: 1, height: 1, channels: 1, data: Uint8Array.of(7) });
 * assert.deepEqual([...(await readImage(`${folder}/dot.png`, { channels: 1 })).data], [7]);
 * await Deno.remove(folder, { recursive: true });
 * ```
 */
export async function writeImage(file: string | URL, { width, height, channels, data }: Image): Promise<void> {
  const path = pathOf(file);
  if (extname(path).toLowerCase() !== ".png") {
    throw new Error(`images are written as PNG, but the file is ${path}; end its name in .png`);
  }
  const { default: sharp } = await import("sharp");
  const bytes = await sharp(data, { raw: { width, height, channels } }).png().toBuffer();
  await Deno.mkdir(join(path, ".."), { recursive: true });
  await writeAtomically(path, Uint8Array.from(bytes));
}

/** The middle square of an image, scaled. */
async function middleSquare({ width, height, channels, data }: Image, size: number): Promise<Image> {
  const side = Math.min(width, height);
  if (width === size && height === size) return { width, height, channels, data };
  const { default: sharp } = await import("sharp");
  const made = await sharp(data, { raw: { width, height, channels } })
    .extract({ left: (width - side) >> 1, top: (height - side) >> 1, width: side, height: side })
    .resize(size, size)
    .toColourspace(channels === 1 ? "b-w" : "srgb")
    .raw()
    .toBuffer();
  return { width: size, height: size, channels, data: new Uint8Array(made) };
}

function namesIn(folder: string, which: (entry: Deno.DirEntry) => boolean): string[] {
  try {
    return [...Deno.readDirSync(folder)].filter((entry) => which(entry) && !entry.name.startsWith("."))
      .map(({ name }) => name).sort();
  } catch (cause) {
    throw new Error(`there is no folder ${folder}; check the name (paths start at ${Deno.cwd()})`, { cause });
  }
}
