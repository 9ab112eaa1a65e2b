/**
 * A writer for PNG files: what the canvas of the static pictures and the images inside figures are stored as.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { deflateSync } from "node:zlib";

/** An image as plain numbers. `sharp(file).raw()` and the image loaders of `lib/data` give this form. */
export interface Picture {
  /** Pixels per row. */
  width: number;
  /** Rows. */
  height: number;
  /** 1 is grey, 3 is RGB, 4 is RGB and opacity. */
  channels: number;
  /** Values from 0 to 255, row by row, the channels of a pixel side by side: height x width x channels numbers. */
  data: ArrayLike<number>;
}

/**
 * Refuses what is no picture, with one sentence.
 *
 * @param name What to call it in the message.
 */
export function checkPicture(picture: Picture, name = "the image"): void {
  const { width, height, channels, data } = picture ?? {};
  if (!Number.isInteger(width) || !Number.isInteger(height) || width < 1 || height < 1) {
    throw new RangeError(`${name} must have a width and a height of at least 1, but it is ${width} x ${height}`);
  }
  if (channels !== 1 && channels !== 3 && channels !== 4) {
    throw new RangeError(`${name} must have 1, 3 or 4 channels, but it has ${channels}`);
  }
  if (data?.length !== width * height * channels) {
    throw new RangeError(
      `${name} of ${height} x ${width} x ${channels} needs ${width * height * channels} numbers, ` +
        `but data has ${data?.length}`,
    );
  }
  for (let k = 0; k < data.length; k++) {
    if (!(data[k] >= 0 && data[k] <= 255)) {
      throw new RangeError(
        `${name} must hold values from 0 to 255, but data[${k}] is ${data[k]}; multiply values in [0, 1] by 255`,
      );
    }
  }
}

/**
 * A picture with each pixel drawn as a square of `scale` x `scale`, so that small images stay crisp where a viewer
 * would smooth them.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * const big = enlarge({ width: 2, height: 1, channels: 1, data: [0, 255] }, 2);
 * assert.deepEqual([...big.data as Uint8Array], [0, 0, 255, 255, 0, 0, 255, 255]);
 * ```
 */
export function enlarge(picture: Picture, scale: number): Picture {
  const { width, height, channels, data } = picture;
  const wide = width * scale;
  const out = new Uint8Array(wide * height * scale * channels);
  for (let row = 0; row < height * scale; row++) {
    const from = Math.floor(row / scale) * width;
    for (let column = 0; column < wide; column++) {
      const source = (from + Math.floor(column / scale)) * channels;
      const target = (row * wide + column) * channels;
      for (let c = 0; c < channels; c++) out[target + c] = Math.round(data[source + c]);
    }
  }
  return { width: wide, height: height * scale, channels, data: out };
}

/**
 * The bytes of a PNG file. Images of at most 256 colours are written with a palette, which makes token pictures and
 * heat maps small; others with the filter that suits each row.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * const bytes = encodePNG({ width: 1, height: 1, channels: 3, data: [255, 0, 0] });
 * assert.deepEqual([...bytes.subarray(1, 4)], [80, 78, 71]); // "PNG"
 * ```
 */
export function encodePNG(picture: Picture): Uint8Array {
  const { width, height, channels } = picture;
  const pixels = Uint8Array.from(picture.data, Math.round);
  const indexed = channels === 1 ? undefined : withPalette(pixels, channels);

  const header = new Uint8Array(13);
  const view = new DataView(header.buffer);
  view.setUint32(0, width);
  view.setUint32(4, height);
  header[8] = 8; // bits per value
  header[9] = indexed ? 3 : channels === 1 ? 0 : channels === 3 ? 2 : 6; // colour type

  const rows = indexed ? unfiltered(indexed.index, width) : filtered(pixels, width * channels, channels);
  return Buffer.concat([
    Uint8Array.of(137, 80, 78, 71, 13, 10, 26, 10),
    chunk("IHDR", header),
    ...(indexed ? [chunk("PLTE", indexed.colours), chunk("tRNS", indexed.opacities)] : []),
    chunk("IDAT", deflateSync(rows, { level: 9 })),
    chunk("IEND", new Uint8Array()),
  ]);
}

/** A picture as a `data:` address, which is how images travel inside figures. */
export function pictureAddress(picture: Picture): string {
  return "data:image/png;base64," + Buffer.from(encodePNG(picture)).toString("base64");
}

/** The palette and the index of each pixel, or undefined where there are more than 256 colours. */
function withPalette(pixels: Uint8Array, channels: number) {
  const known = new Map<number, number>();
  const index = new Uint8Array(pixels.length / channels);
  for (let k = 0; k < index.length; k++) {
    const at = k * channels;
    const opacity = channels === 4 ? pixels[at + 3] : 255;
    const colour = pixels[at] + 256 * (pixels[at + 1] + 256 * (pixels[at + 2] + 256 * opacity));
    let place = known.get(colour);
    if (place === undefined) {
      if (known.size === 256) return undefined;
      place = known.size;
      known.set(colour, place);
    }
    index[k] = place;
  }
  const colours = [...known.keys()];
  return {
    index,
    colours: Uint8Array.from(colours.flatMap((c) => [c % 256, Math.floor(c / 256) % 256, Math.floor(c / 65536) % 256])),
    opacities: Uint8Array.from(colours, (c) => Math.floor(c / 16777216)),
  };
}

function unfiltered(bytes: Uint8Array, rowLength: number): Uint8Array {
  const rows = bytes.length / rowLength;
  const out = new Uint8Array(rows * (rowLength + 1));
  for (let row = 0; row < rows; row++) {
    out.set(bytes.subarray(row * rowLength, (row + 1) * rowLength), row * (rowLength + 1) + 1);
  }
  return out;
}

/** Each row by the PNG filter (none, sub, up, average, Paeth) with the smallest sum of absolute differences. */
function filtered(bytes: Uint8Array, rowLength: number, step: number): Uint8Array {
  const rows = bytes.length / rowLength;
  const out = new Uint8Array(rows * (rowLength + 1));
  const candidate = new Uint8Array(rowLength);
  for (let row = 0; row < rows; row++) {
    const target = row * (rowLength + 1);
    let smallest = Infinity;
    for (let filter = 0; filter < 5; filter++) {
      let total = 0;
      for (let k = 0; k < rowLength; k++) {
        const at = row * rowLength + k;
        const left = k >= step ? bytes[at - step] : 0;
        const up = row ? bytes[at - rowLength] : 0;
        const corner = row && k >= step ? bytes[at - rowLength - step] : 0;
        const guess = [0, left, up, (left + up) >> 1, filter === 4 ? paeth(left, up, corner) : 0][filter];
        const difference = (bytes[at] - guess) & 255;
        candidate[k] = difference;
        total += difference < 128 ? difference : 256 - difference;
      }
      if (total < smallest) {
        smallest = total;
        out[target] = filter;
        out.set(candidate, target + 1);
      }
    }
  }
  return out;
}

/** The neighbour nearest to left + up - corner (PNG specification, section 9.4). */
function paeth(left: number, up: number, corner: number): number {
  const guess = left + up - corner;
  const [a, b, c] = [Math.abs(guess - left), Math.abs(guess - up), Math.abs(guess - corner)];
  return a <= b && a <= c ? left : b <= c ? up : corner;
}

const CRC = Uint32Array.from({ length: 256 }, (_, n) => {
  for (let k = 0; k < 8; k++) n = n & 1 ? 0xedb88320 ^ (n >>> 1) : n >>> 1;
  return n >>> 0;
});

function chunk(type: string, data: Uint8Array): Uint8Array {
  const out = new Uint8Array(data.length + 12);
  const view = new DataView(out.buffer);
  view.setUint32(0, data.length);
  out.set(new TextEncoder().encode(type), 4);
  out.set(data, 8);
  let crc = ~0;
  for (const byte of out.subarray(4, data.length + 8)) crc = CRC[(crc ^ byte) & 255] ^ (crc >>> 8);
  view.setUint32(data.length + 8, ~crc >>> 0);
  return out;
}
