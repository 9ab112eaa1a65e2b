/**
 * Images side by side with captions: a look at the data.
 *
 * @module
 */
import { plainText } from "./alternative_text.ts";
import { counted } from "./display.ts";
import { type Figure, figure } from "./figure.ts";
import { checkGrid, panelLayout, type Place, segmentColumns } from "./panels.ts";
import type { Picture } from "./png.ts";

/** An image with what is said below it. */
export interface CaptionedImage {
  image: Picture;
  /** Below the image; broken into lines where it is too long. */
  caption?: string;
  /** Colour of the caption, such as vermilion for a wrong prediction. */
  colour?: string;
  /** Lines between the patches: [rows, columns]. */
  grid?: readonly [number, number];
}

/** How images are laid out. */
export interface ImageGridOptions {
  title?: string;
  /** Images in a row. Default: up to 8. */
  columns?: number;
  /** Width of each image in pixels. Default: what the page allows, at most 320. */
  pictureWidth?: number;
  /** What the figure shows, in words. Default: the captions. */
  alt?: string;
}

/**
 * Images in rows, small ones enlarged without smoothing.
 *
 * @throws RangeError where there is no image, or one whose data do not fit its size.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * const image = { width: 2, height: 2, channels: 1, data: [0, 255, 255, 0] };
 * const fig = imageGrid([{ image, caption: "7, read as 7" }, { image, caption: "2, read as 3" }]);
 * assert.equal(fig.alt, "2 images: 7, read as 7; 2, read as 3.");
 * ```
 */
export function imageGrid(images: readonly CaptionedImage[], options: ImageGridOptions = {}): Figure {
  if (!images?.length) throw new RangeError("there is nothing to draw: pass at least one image");
  const { title, columns = bestColumns(images.length), pictureWidth } = options;
  if (!Number.isInteger(columns) || columns < 1) {
    throw new RangeError(`columns must be an integer from 1 up, but it is ${columns}`);
  }
  const { layout, places } = panelLayout(images, { title, columns, pictureWidth });
  const captions = images.map(({ caption = "" }) => plainText(caption));
  const centres = {
    type: "scatter",
    mode: "markers",
    name: "images",
    x: places.map(({ left, width }) => left + width / 2),
    y: places.map(({ top, height }) => top + height / 2),
    text: captions,
    marker: { opacity: 0, size: 20 },
    hovertemplate: "%{text}<extra></extra>",
  };
  const lines = images.flatMap(({ grid }, k) => grid ? gridLines(grid, places[k]) : []);
  const patches = {
    type: "scatter",
    mode: "lines",
    name: "patches",
    ...segmentColumns(lines),
    line: { color: "rgba(150,150,150,0.75)", width: 1 },
    hoverinfo: "skip",
  };
  const told = captions.filter(Boolean);
  const alt = options.alt ??
    counted(images.length, "image") + (told.length ? `: ${told.slice(0, 12).join("; ")}` : "") +
      (told.length > 12 ? `; and ${told.length - 12} more.` : ".");
  return figure(lines.length ? [centres, patches] : [centres], layout, { alt });
}

/** Rows as even as possible, of at most 8. */
function bestColumns(count: number): number {
  return Math.ceil(count / Math.ceil(count / 8));
}

/** Lines between the patches and around them, as segments in pixels. */
export function gridLines(grid: readonly [number, number], { left, top, width, height }: Place): number[][] {
  checkGrid(grid);
  const [rows, columns] = grid;
  const across = Array.from({ length: rows + 1 }, (_, k) => top + k * height / rows);
  const down = Array.from({ length: columns + 1 }, (_, k) => left + k * width / columns);
  return [...across.map((y) => [left, y, left + width, y]), ...down.map((x) => [x, top, x, top + height])];
}
