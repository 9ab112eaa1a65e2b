/**
 * Pictures in rows, each with a caption, on one pair of hidden axes whose unit is a pixel of the page.
 *
 * @module
 */
import { figureWidth, inkColour } from "./look.ts";
import { checkPicture, enlarge, type Picture, pictureAddress } from "./png.ts";
import { textWidth } from "./svg_geometry.ts";

/** A picture with its caption, before it has a place. */
export interface Panel {
  image: Picture;
  caption?: string;
  /** Colour of the caption. */
  colour?: string;
}

/** How panels are laid out. */
export interface PanelOptions {
  title?: string;
  /** Pictures in a row. */
  columns: number;
  /** Width of each picture in pixels. Default: what the page allows, at most 320. */
  pictureWidth?: number;
  /** Free pixels below the pictures, for a slider. */
  below?: number;
}

/** Where a picture lies on the axes, in pixels from the top left. */
export interface Place {
  left: number;
  top: number;
  width: number;
  height: number;
}

const GAP = 14;
const SIDE = 12;
const CAPTION_SIZE = 12;
const LINE_HEIGHT = 16;
const WIDEST = 320;

/** Images of fewer pixels in a row are enlarged with hard edges. */
const SMALL_IMAGE = 100;

/** The layout that shows the pictures, and the place of each. The n-th annotation is the caption of the n-th picture. */
export function panelLayout(
  panels: readonly Panel[],
  options: PanelOptions,
): { layout: Record<string, unknown> & { images: object[] }; places: Place[] } {
  const { title, below = 0 } = options;
  const columns = Math.min(options.columns, panels.length);
  const free = figureWidth - 2 * SIDE - (columns - 1) * GAP;
  const width = options.pictureWidth ?? Math.min(WIDEST, Math.floor(free / columns));

  const captions = panels.map(({ caption = "" }) => wrapped(caption, width));
  const places: Place[] = [];
  let top = 0;
  for (let first = 0; first < panels.length; first += columns) {
    const row = panels.slice(first, first + columns);
    const height = Math.max(...row.map(({ image }) => Math.round(width * image.height / image.width)));
    row.forEach(({ image }, k) => {
      const own = Math.round(width * image.height / image.width);
      places.push({ left: k * (width + GAP), top, width, height: own });
    });
    const lines = Math.max(...captions.slice(first, first + columns).map((lines) => lines.length));
    top += height + (lines ? lines * LINE_HEIGHT + 8 : 0) + GAP;
  }
  // a title, and a single picture's caption, may need more room than the pictures
  const asked = title ? textWidth(title, 15) : 0;
  const plotWidth = Math.max(columns * (width + GAP) - GAP, Math.min(Math.ceil(asked), figureWidth - 2 * SIDE));
  const plotHeight = top - GAP;

  const margin = { l: SIDE, r: SIDE, t: title ? 44 : SIDE, b: SIDE + below };
  const axis = { visible: false, fixedrange: true, automargin: false };
  const layout = {
    ...title && { title: { text: title } },
    width: plotWidth + margin.l + margin.r,
    height: plotHeight + margin.t + margin.b,
    margin,
    showlegend: false,
    dragmode: false,
    xaxis: { ...axis, range: [0, plotWidth] },
    yaxis: { ...axis, range: [plotHeight, 0], scaleanchor: "x", constrain: "domain" },
    images: panels.map(({ image }, k) => photographAt(image, places[k])),
    annotations: panels.map(({ colour = inkColour }, k) => ({
      text: captions[k].join("<br>"),
      visible: captions[k].length > 0,
      showarrow: false,
      font: { size: CAPTION_SIZE, color: colour },
      x: places[k].left + places[k].width / 2,
      y: places[k].top + places[k].height + 4,
      xanchor: "center",
      yanchor: "top",
    })),
  };
  return { layout, places };
}

function photographAt(image: Picture, place: Place): object {
  checkPicture(image);
  // browsers smooth what they enlarge: right for a photograph, but a digit of 28 pixels would be a blur
  const scale = image.width < SMALL_IMAGE ? Math.ceil(1.5 * place.width / image.width) : 1;
  return imageAt(enlarge(image, scale), place, "below");
}

/**
 * An image that fills a place, as plotly's layout wants it. Of two images at one place and in one layer plotly draws
 * only one, so what lies over another image belongs into the layer above.
 */
export function imageAt(image: Picture, { left, top, width, height }: Place, layer: "below" | "above"): object {
  return {
    source: pictureAddress(image),
    xref: "x",
    yref: "y",
    x: left,
    y: top,
    sizex: width,
    sizey: height,
    xanchor: "left",
    yanchor: "top",
    sizing: "stretch",
    layer,
  };
}

/** A caption broken into lines that fit; `<br>` breaks too. */
export function wrapped(caption: string, width: number): string[] {
  if (!caption) return [];
  return caption.split(/<br\s*\/?>/).flatMap((part) => {
    const lines: string[] = [];
    for (const word of part.split(" ")) {
      const longer = lines.length ? `${lines.at(-1)} ${word}` : word;
      if (lines.length && textWidth(longer, CAPTION_SIZE) <= width) lines[lines.length - 1] = longer;
      else lines.push(word);
    }
    return lines;
  });
}

/** Segments [x0, y0, x1, y1] as the columns of one line trace, with gaps between them. */
export function segmentColumns(segments: readonly (readonly number[])[]): {
  x: (number | null)[];
  y: (number | null)[];
} {
  return {
    x: segments.flatMap(([x0, , x1]) => [x0, x1, null]),
    y: segments.flatMap(([, y0, , y1]) => [y0, y1, null]),
  };
}

/** Refuses a grid that the picture cannot have. */
export function checkGrid(grid: readonly [number, number]): void {
  const [rows, columns] = grid ?? [];
  if (!Number.isInteger(rows) || !Number.isInteger(columns) || rows < 1 || columns < 1) {
    throw new RangeError(`grid must be [rows, columns] of patches, both at least 1, but it is [${rows}, ${columns}]`);
  }
}
