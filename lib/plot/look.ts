/**
 * How figures look here: one template for fonts, colours, grid and margins, so that every figure of every notebook
 * can be read beside every other.
 *
 * @module
 */

/**
 * The colours of Okabe and Ito (2008), "Color Universal Design", which readers with any of the common colour
 * vision deficiencies can tell apart. Their yellow is left out: on white it cannot be read.
 */
export const palette: readonly string[] = [
  "#0072B2", // blue
  "#D55E00", // vermilion
  "#009E73", // bluish green
  "#CC79A7", // reddish purple
  "#E69F00", // orange
  "#56B4E9", // sky blue
  "#555555", // grey, in place of their black, which is the colour of text
];

/** Marker shapes, in step with the palette, so that a figure printed in grey can still be read. */
export const symbols: readonly string[] = [
  "circle",
  "square",
  "diamond",
  "triangle-up",
  "x",
  "triangle-down",
  "star",
];

/**
 * Fonts of figures. The first two have the widths that the static pictures are laid out with; machines without them
 * (most Linux servers) usually have DejaVu Sans. Unquoted on purpose: quotes would be escaped inside SVG.
 */
export const fontFamily = "Helvetica, Arial, DejaVu Sans, sans-serif";

/** Width of a figure in pixels: readable in a notebook and on a web page of text. */
export const figureWidth = 620;

/** Height of a figure in pixels. */
export const figureHeight = 400;

/** Dark grey of text and axes. */
export const inkColour = "#222222";

/** Light grey of the grid. */
export const gridColour = "#e6e6e6";

/** Sequential colour scale (viridis, the one of matplotlib), dark for low. */
export const sequential = "Viridis";

/** Diverging colour scale from blue over white to vermilion, for values around a midpoint. */
export const diverging: readonly (readonly [number, string])[] = [
  [0, "#00507d"],
  [0.25, "#5fa8d3"],
  [0.5, "#f7f7f7"],
  [0.75, "#e8955a"],
  [1, "#9c4400"],
];

const axis = {
  automargin: true,
  gridcolor: gridColour,
  gridwidth: 1,
  linecolor: "#888888",
  linewidth: 1,
  showline: true,
  ticks: "outside",
  tickcolor: "#888888",
  ticklen: 4,
  tickfont: { size: 12 },
  title: { font: { size: 13 }, standoff: 10 },
  zeroline: false,
};

/** The template of all figures. */
const template = {
  layout: {
    colorway: palette,
    font: { family: fontFamily, size: 13, color: inkColour },
    paper_bgcolor: "white",
    plot_bgcolor: "white",
    title: { font: { size: 15 }, x: 0, xref: "paper", xanchor: "left", yanchor: "top", yref: "container" },
    margin: { l: 60, r: 24, t: 52, b: 52 },
    xaxis: axis,
    yaxis: axis,
    legend: { font: { size: 12 }, bgcolor: "rgba(255,255,255,0.8)", tracegroupgap: 4 },
    hoverlabel: { font: { family: fontFamily, size: 12 }, namelength: -1 },
    hovermode: "closest",
  },
};

/** Pixels between the upper edge of a figure and its title. */
const TITLE_DROP = 14;

/** The template that `figure()` puts into each layout. What the layout says itself wins over it. */
export function templateFor(height: unknown): object {
  // plotly places titles by a fraction of the height; a tall figure's title would slide into the figure
  const pixels = typeof height === "number" && height > TITLE_DROP ? height : figureHeight;
  const y = Number((1 - TITLE_DROP / pixels).toFixed(4));
  return { layout: { ...template.layout, title: { ...template.layout.title, y } } };
}

/**
 * A colour of the palette with an opacity, as plotly and SVG read it.
 *
 * @param colour `#rrggbb`.
 * @param opacity From 0 (invisible) to 1.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * assert.equal(withOpacity("#0072B2", 0.5), "rgba(0,114,178,0.5)");
 * ```
 */
export function withOpacity(colour: string, opacity: number): string {
  const [red, green, blue] = [1, 3, 5].map((start) => parseInt(colour.slice(start, start + 2), 16));
  return `rgba(${red},${green},${blue},${opacity})`;
}

/**
 * `count` colours that can be told apart as well as that many can: the palette first, then hues around the circle
 * in steps of the golden angle, in three lightnesses.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * assert.equal(new Set(manyColours(40)).size, 40);
 * assert.equal(manyColours(1)[0], palette[0]);
 * ```
 */
export function manyColours(count: number): string[] {
  // grey is not used: over a grey picture it would not be seen
  const bright = palette.slice(0, 6);
  return Array.from({ length: count }, (_, k) => k < bright.length ? bright[k] : hueColour(k));
}

function hueColour(k: number): string {
  const hue = (k * 137.508) % 360;
  const lightness = [0.5, 0.68, 0.36][k % 3];
  const saturation = 0.75;
  const channel = (offset: number) => {
    const place = (offset + hue / 30) % 12;
    const reach = saturation * Math.min(lightness, 1 - lightness);
    const value = lightness - reach * Math.max(-1, Math.min(place - 3, 9 - place, 1));
    return Math.round(255 * value).toString(16).padStart(2, "0");
  };
  return `#${channel(0)}${channel(8)}${channel(4)}`;
}
