/**
 * PNG and JPEG images, read by sharp.
 *
 * @module
 */
import { basename } from "node:path";
import { pathOf, readBytes } from "./files.ts";

/** An image: pixels 0..255, [height, width, channels] in row-major order. */
export interface Image {
  width: number;
  height: number;
  /** 1: grey; 3: red, green, blue; 4: with opacity. */
  channels: 1 | 3 | 4;
  data: Uint8Array;
}

/** What an image must be; where it is not, reading it is an error. */
export interface ImageOptions {
  /** Refuse an image of another width (in pixels). */
  width?: number;
  /** Refuse an image of another height (in pixels). */
  height?: number;
  /** What to return, whatever the file holds. Default: 3. Opacity that is not asked for is dropped. */
  channels?: 1 | 3 | 4;
}

/**
 * Reads a PNG or JPEG file. Pixels are those of the file: colour profiles are not applied, nothing is scaled. A JPEG's
 * note on how the camera was held is followed.
 *
 * @throws {Error} One sentence with the file's name: where it is missing, not an image, damaged, or of another size
 *   than `width` and `height` say.
 * @throws {RangeError} Where an option is not possible.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { dataFolder } from "tessera/data/mod.ts";
 * const cat = await readImage(new URL("skimage-images/chelsea.png", dataFolder));
 * assert.deepEqual([cat.width, cat.height, cat.channels], [451, 300, 3]);
 * assert.deepEqual([...cat.data.slice(0, 3)], [143, 120, 104]);
 * ```
 */
export async function readImage(file: string | URL, options: ImageOptions = {}): Promise<Image> {
  return await decodeImage(await readBytes(file), pathOf(file), options);
}

/**
 * Decodes the bytes of a PNG or JPEG file.
 *
 * @param name How error messages call it.
 * @throws {Error | RangeError} As `readImage`.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { dataFolder } from "tessera/data/mod.ts";
 * const bytes = await Deno.readFile(new URL("skimage-images/rocket.jpg", dataFolder));
 * const rocket = await decodeImage(bytes, "rocket", { channels: 1 });
 * assert.equal(rocket.data.length, 640 * 427);
 * ```
 */
export async function decodeImage(bytes: Uint8Array, name: string, options: ImageOptions = {}): Promise<Image> {
  const { width, height, channels = 3 } = options;
  if (![1, 3, 4].includes(channels)) {
    throw new RangeError(`channels must be 1 (grey), 3 (colour) or 4 (with opacity), but it is ${channels}`);
  }
  for (const [side, length] of Object.entries({ width, height })) {
    if (length !== undefined && !(Number.isInteger(length) && length > 0)) {
      throw new RangeError(`${side} must be a number of pixels > 0, but it is ${length}; leave it out to take any`);
    }
  }
  const isPng = bytes[0] === 0x89 && bytes[1] === 0x50;
  const isJpeg = bytes[0] === 0xff && bytes[1] === 0xd8;
  if (!isPng && !isJpeg) {
    throw new Error(`${name} is not an image that can be read; pass a PNG or a JPEG file`);
  }
  // Loaded here because it takes 70 ms, and most programs read no image file.
  const { default: sharp } = await import("sharp");
  let decoded;
  try {
    let image = sharp(bytes, { ignoreIcc: true }).autoOrient().toColourspace(channels === 1 ? "b-w" : "srgb");
    image = channels === 4 ? image.ensureAlpha() : image.removeAlpha();
    decoded = await image.raw({ depth: "uchar" }).toBuffer({ resolveWithObject: true });
  } catch (cause) {
    const why = cause instanceof Error ? cause.message.trim() : String(cause);
    throw new Error(`${name} cannot be decoded (${why}); it is cut short or damaged, get it again`, { cause });
  }
  const { info } = decoded;
  if ((width ?? info.width) !== info.width || (height ?? info.height) !== info.height) {
    throw new Error(
      `${basename(name)} is ${info.width} x ${info.height} pixels, but ${width ?? "any"} x ${height ?? "any"} ` +
        "(width x height) are needed; resize it, or pass another image",
    );
  }
  return { width: info.width, height: info.height, channels, data: new Uint8Array(decoded.data) };
}
