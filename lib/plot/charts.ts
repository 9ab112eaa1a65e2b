/**
 * The charts that notebooks need again and again, from plain arrays: curves with bands, bars with error bars,
 * scatter plots, histograms and heat maps.
 *
 * Each returns a {@link Figure}; what a chart cannot do is done by giving plotly's own traces to `figure()`.
 *
 * @module
 */
import { brief, plainText } from "./alternative_text.ts";
import { counted } from "./display.ts";
import { type Figure, figure, type Trace } from "./figure.ts";
import { diverging, figureHeight, figureWidth, inkColour, palette, sequential, symbols, withOpacity } from "./look.ts";

/** A column of numbers. NaN is a gap, which is not drawn and is counted in the figure's text. */
export type Numbers = ArrayLike<number>;

/** What all charts can be told. */
export interface ChartOptions {
  title?: string;
  /** Title of the x axis, with its unit: "time (hours)". */
  x?: string;
  /** Title of the y axis, with its unit. */
  y?: string;
  /** Axes with a logarithmic scale; their values must be above 0. */
  log?: "x" | "y" | "xy";
  /** Lowest and highest value of the x axis. Default: from the data. */
  xRange?: readonly [number, number];
  /** Lowest and highest value of the y axis. Default: from the data. */
  yRange?: readonly [number, number];
  /** Pixels. Default: 620. */
  width?: number;
  /** Pixels. Default: 400. */
  height?: number;
  /** What the figure shows, in words. Default: derived from the data. */
  alt?: string;
  /** Straight lines at a value, with a label, such as the accuracy of the whole model. */
  lines?: readonly { axis: "x" | "y"; at: number; label?: string }[];
}

/** One curve: either `y`, or `seeds`, whose mean is then drawn. */
export interface Curve {
  name: string;
  x: Numbers;
  y?: Numbers;
  /** Lower edge of the band, one number per point, or together with `high` the error of each point. */
  low?: Numbers;
  /** Upper edge of the band. */
  high?: Numbers;
  /** Runs with different seeds, [seeds, points]. The band then goes from the lowest to the highest run. */
  seeds?: readonly Numbers[];
  /** `#rrggbb`. Default: the next colour of the palette. */
  colour?: string;
  /** Line as dashes, for a baseline. */
  dash?: boolean;
}

/**
 * Curves, with bands where there are seeds or intervals.
 *
 * @throws RangeError where a curve is empty or its columns differ in length; where a logarithmic axis meets a value of
 *   0 or below.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * const fig = curves([
 *   { name: "ToMe", x: [49, 25, 13], y: [0.98, 0.97, 0.93] },
 *   { name: "random", x: [49, 25, 13], seeds: [[0.98, 0.9, 0.7], [0.98, 0.88, 0.66]] },
 * ], { x: "tokens kept", y: "accuracy" });
 * assert.deepEqual(fig.data.map((trace) => trace.name), ["ToMe", "random, band", "random"]);
 * ```
 */
export function curves(series: readonly Curve[], options: ChartOptions = {}): Figure {
  needSome(series, "curve");
  const notes: string[] = [];
  const data: Trace[] = [];
  series.forEach((curve, k) => {
    const { name } = curve;
    const x = column(curve.x, name, "x");
    const { y, low, high } = meanAndBand(curve);
    sameLength(name, { x, y, ...low && { low }, ...high && { high } });
    checkLog(name, { x, y }, options.log);
    noteGaps(notes, name, y);
    const colour = curve.colour ?? palette[k % palette.length];
    if (low && high) data.push(band(name, x, low, high, colour));
    data.push({
      type: "scatter",
      mode: x.length > 60 ? "lines" : "lines+markers",
      name,
      x,
      y,
      line: { color: colour, width: 2, ...curve.dash && { dash: "dash" } },
      marker: { color: colour, size: 7, symbol: symbols[k % symbols.length] },
      legendgroup: name,
      hovertemplate: `${plainText(name)}<br>${options.x ?? "x"}: %{x}<br>${options.y ?? "y"}: %{y:.4~g}<extra></extra>`,
    });
  });
  const seeds = [...new Set(series.flatMap((curve) => curve.seeds ? [curve.seeds.length] : []))];
  if (seeds.length) notes.push(`Bands: lowest to highest of ${seeds.join(" or ")} seeds, line: their mean`);
  return chart(data, options, notes, series.length > 1);
}

function meanAndBand(curve: Curve): { y: number[]; low?: number[]; high?: number[] } {
  const { name, seeds } = curve;
  if (seeds) {
    if (!seeds.length) throw new RangeError(`curve "${name}" has no seeds; pass at least one run, or y`);
    const runs = seeds.map((run) => column(run, name, "a run of seeds"));
    sameLength(name, Object.fromEntries(runs.map((run, k) => [`seed ${k}`, run])));
    const across = (f: (values: number[]) => number) => runs[0].map((_, k) => f(runs.map((run) => run[k])));
    return {
      y: across((values) => values.reduce((sum, v) => sum + v, 0) / values.length),
      low: across((values) => Math.min(...values)),
      high: across((values) => Math.max(...values)),
    };
  }
  if (!curve.y) throw new RangeError(`curve "${name}" has neither y nor seeds; pass one of them`);
  if (!curve.low !== !curve.high) {
    throw new RangeError(`curve "${name}" has only one edge of its band; pass both low and high`);
  }
  return {
    y: column(curve.y, name, "y"),
    low: curve.low && column(curve.low, name, "low"),
    high: curve.high && column(curve.high, name, "high"),
  };
}

/** A transparent area: along the upper edge, and back along the lower one. Points without a number are skipped. */
function band(name: string, x: number[], low: number[], high: number[], colour: string): Trace {
  const known = x.flatMap((_, k) => Number.isFinite(low[k]) && Number.isFinite(high[k]) ? [k] : []);
  const back = known.toReversed();
  return {
    type: "scatter",
    mode: "lines",
    name: `${name}, band`,
    x: [...known, ...back].map((k) => x[k]),
    y: [...known.map((k) => high[k]), ...back.map((k) => low[k])],
    fill: "toself",
    fillcolor: withOpacity(colour, 0.18),
    line: { width: 0, color: colour },
    hoverinfo: "skip",
    showlegend: false,
    legendgroup: name,
  };
}

/** One group of bars, side by side with those of the other groups at each category. */
export interface BarGroup {
  name: string;
  /** Names of the categories along the x axis. */
  x: readonly string[];
  y: Numbers;
  /** Error bars: half their length, one number per bar. */
  error?: Numbers;
  /** Error bars: their lower ends; with `high`. */
  low?: Numbers;
  /** Error bars: their upper ends. */
  high?: Numbers;
  /** `#rrggbb`. Default: the next colour of the palette. */
  colour?: string;
}

/**
 * Bars, in groups where there are several, with error bars where given.
 *
 * @throws RangeError where a group is empty or its columns differ in length.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * const fig = bars([{ name: "accuracy", x: ["ToMe", "EViT"], y: [0.97, 0.96], error: [0.01, 0.02] }], { y: "accuracy" });
 * assert.equal(fig.data[0].type, "bar");
 * ```
 */
export function bars(groups: readonly BarGroup[], options: ChartOptions = {}): Figure {
  needSome(groups, "group of bars");
  const notes: string[] = [];
  const data = groups.map((group, k): Trace => {
    const { name, x } = group;
    const y = column(group.y, name, "y");
    sameLength(name, { x, y });
    noteGaps(notes, name, y);
    return {
      type: "bar",
      name,
      x: [...x],
      y,
      marker: { color: group.colour ?? palette[k % palette.length] },
      ...errorBars(group, y),
      hovertemplate: `%{x}<br>${plainText(name)}: %{y:.4~g}<extra></extra>`,
    };
  });
  return chart(data, options, notes, groups.length > 1, {
    xaxis: { type: "category", showgrid: false },
    barmode: "group",
    bargap: 0.3,
  });
}

function errorBars({ name, error, low, high }: BarGroup, y: number[]): Trace {
  const style = { type: "data", visible: true, color: inkColour, thickness: 1.2, width: 4 };
  if (error) {
    const array = column(error, name, "error");
    sameLength(name, { y, error: array });
    return { error_y: { ...style, array } };
  }
  if (!low && !high) return {};
  if (!low || !high) throw new RangeError(`bars "${name}" have one end of their error bars; pass both low and high`);
  const [lower, upper] = [column(low, name, "low"), column(high, name, "high")];
  sameLength(name, { y, low: lower, high: upper });
  return {
    error_y: {
      ...style,
      symmetric: false,
      array: upper.map((value, k) => value - y[k]),
      arrayminus: lower.map((value, k) => y[k] - value),
    },
  };
}

/** One cloud of points. */
export interface PointCloud {
  name: string;
  x: Numbers;
  y: Numbers;
  /** What is shown when the pointer is on a point. */
  text?: readonly string[];
  /** `#rrggbb`. Default: the next colour of the palette. */
  colour?: string;
}

/**
 * Points.
 *
 * @throws RangeError where a cloud is empty or its columns differ in length; where a logarithmic axis meets a value of
 *   0 or below.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * const fig = scatter([{ name: "images", x: [1, 2], y: [3, NaN] }]);
 * assert.equal(fig.notes[0], "images: 1 of 2 values is not a number and is left out");
 * ```
 */
export function scatter(clouds: readonly PointCloud[], options: ChartOptions = {}): Figure {
  needSome(clouds, "cloud of points");
  const notes: string[] = [];
  const data = clouds.map((cloud, k): Trace => {
    const { name, text } = cloud;
    const [x, y] = [column(cloud.x, name, "x"), column(cloud.y, name, "y")];
    sameLength(name, { x, y, ...text && { text } });
    checkLog(name, { x, y }, options.log);
    noteGaps(notes, name, y);
    const many = x.length > 300;
    return {
      type: "scatter",
      mode: "markers",
      name,
      x,
      y,
      marker: {
        color: cloud.colour ?? palette[k % palette.length],
        size: many ? 4 : 7,
        opacity: many ? 0.6 : 0.85,
        symbol: symbols[k % symbols.length],
      },
      ...text && { text: [...text] },
      hovertemplate: `${text ? "%{text}<br>" : ""}${plainText(name)} (%{x:.4~g}, %{y:.4~g})<extra></extra>`,
    };
  });
  return chart(data, options, notes, clouds.length > 1);
}

/** One set of values to be counted. */
export interface Sample {
  name: string;
  values: Numbers;
  /** `#rrggbb`. Default: the next colour of the palette. */
  colour?: string;
}

/**
 * How often values fall into each of `bins` intervals of equal width, which are the same for all samples.
 *
 * The counting is done here, so that a figure of a million values is small.
 *
 * @param options `share: true` draws fractions of each sample instead of counts.
 * @throws RangeError where a sample has no finite value or `bins` is not a positive integer.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * const fig = histogram([{ name: "scores", values: [0, 0.1, 0.9, 1] }], { bins: 2 });
 * assert.deepEqual(fig.data[0].y, [2, 2]);
 * ```
 */
export function histogram(
  samples: readonly Sample[],
  { bins = 30, share = false, ...options }: ChartOptions & { bins?: number; share?: boolean } = {},
): Figure {
  needSome(samples, "sample");
  if (!Number.isInteger(bins) || bins < 1) throw new RangeError(`bins must be an integer from 1 up, but it is ${bins}`);
  const notes: string[] = [];
  const finite = samples.map(({ name, values }) => {
    const all = column(values, name, "values");
    noteGaps(notes, name, all);
    const kept = all.filter(Number.isFinite);
    if (!kept.length) throw new RangeError(`sample "${name}" holds no finite number; leave it out`);
    return kept;
  });
  let [low, high] = [Infinity, -Infinity];
  for (const values of finite) {
    for (const value of values) [low, high] = [Math.min(low, value), Math.max(high, value)];
  }
  const width = (high - low) / bins || 1;
  const centres = Array.from({ length: bins }, (_, k) => low + (k + 0.5) * width);
  const data = samples.map(({ name, colour }, k): Trace => {
    const counts = new Array<number>(bins).fill(0);
    for (const value of finite[k]) counts[Math.min(bins - 1, Math.floor((value - low) / width))]++;
    return {
      type: "bar",
      name,
      x: centres,
      y: share ? counts.map((count) => count / finite[k].length) : counts,
      width,
      marker: {
        color: withOpacity(colour ?? palette[k % palette.length], samples.length > 1 ? 0.6 : 1),
        line: { color: "white", width: samples.length > 1 ? 0 : 0.5 },
      },
      hovertemplate: `around %{x:.4~g}: %{y:.4~g}<extra>${plainText(name)}</extra>`,
    };
  });
  const told = samples.map(({ name }, k) => {
    const sorted = finite[k].toSorted((a, b) => a - b);
    const [least, middle, most] = [0, Math.floor(sorted.length / 2), sorted.length - 1].map((at) => brief(sorted[at]));
    return `${plainText(name)}, ${
      counted(sorted.length, "value")
    } from ${least} to ${most}, half of them below ${middle}`;
  });
  const alt = `Histogram${options.x ? ` of ${options.x}` : ""}: ${told.join("; ")}.`;
  const titled = { ...options, y: options.y ?? (share ? "fraction" : "count"), alt: options.alt ?? alt };
  return chart(data, titled, notes, samples.length > 1, { barmode: "overlay", bargap: 0 });
}

/** What a heat map can be told, besides what all charts can. */
export interface HeatmapOptions extends ChartOptions {
  /** Names of the columns. Default: 0, 1, 2, ... */
  columns?: readonly (string | number)[];
  /** Names of the rows, from the top. Default: 0, 1, 2, ... */
  rows?: readonly (string | number)[];
  /** What the colours mean, with the unit. */
  colours?: string;
  /** The value that is drawn white; the scale then goes both ways from it. */
  midpoint?: number;
  /** Values at the ends of the colour scale. Default: from the data. */
  valueRange?: readonly [number, number];
  /** Write the values into the cells. Default: where there are at most 144. */
  text?: boolean;
}

/**
 * A matrix in colours, the first row at the top.
 *
 * @param values [rows, columns]; NaN is left blank.
 * @throws RangeError where the matrix is empty, its rows differ in length, or names do not fit its size.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * const fig = heatmap([[1, 0.5], [0.5, 1]], { colours: "similarity" });
 * assert.deepEqual(fig.data[0].z, [[1, 0.5], [0.5, 1]]);
 * ```
 */
export function heatmap(values: readonly Numbers[], options: HeatmapOptions = {}): Figure {
  if (!values?.length || !values[0]?.length) {
    throw new RangeError("a heat map needs at least one row and one column, but the matrix is empty");
  }
  const z = values.map((row, k) => {
    if (row.length !== values[0].length) {
      throw new RangeError(
        `the rows of a heat map must have one length, but row 0 has ${values[0].length} and row ${k} has ${row.length}`,
      );
    }
    return column(row, "heat map", `row ${k}`);
  });
  const { columns, rows, midpoint, valueRange, colours } = options;
  for (const [what, names, length] of [["columns", columns, z[0].length], ["rows", rows, z.length]] as const) {
    if (names && names.length !== length) {
      throw new RangeError(`the heat map has ${length} ${what}, but ${names.length} names are given for them`);
    }
  }
  const notes: string[] = [];
  const flat = z.flat();
  noteGaps(notes, "heat map", flat);
  const finite = flat.filter(Number.isFinite);
  const [low, high] = valueRange ?? finite.reduce(([a, b], v) => [Math.min(a, v), Math.max(b, v)], [
    Infinity,
    -Infinity,
  ]);
  const reach = midpoint === undefined ? 0 : Math.max(high - midpoint, midpoint - low) || 1;
  const cells = z.length * z[0].length;
  const written = options.text ?? cells <= 144;
  const trace: Trace = {
    type: "heatmap",
    name: colours ?? "value",
    z,
    ...columns && { x: columns.map(String) },
    ...rows && { y: rows.map(String) },
    colorscale: midpoint === undefined ? sequential : diverging,
    zmin: midpoint === undefined ? low : midpoint - reach,
    zmax: midpoint === undefined ? high : midpoint + reach,
    ...written && { texttemplate: "%{z:.3~g}", textfont: { size: cells > 64 ? 10 : 12 } },
    colorbar: { title: { text: colours ?? "", side: "right" }, thickness: 14, outlinewidth: 0, tickfont: { size: 11 } },
    hovertemplate: `${options.y ?? "row"} %{y}<br>${options.x ?? "column"} %{x}<br>${colours ?? "value"}: %{z:.4~g}` +
      "<extra></extra>",
  };
  return chart([trace], options, notes, false, {
    xaxis: { ...columns && { type: "category" }, showgrid: false, ticks: "" },
    yaxis: { ...rows && { type: "category" }, autorange: "reversed", showgrid: false, ticks: "" },
  });
}

/** Puts titles, axes and lines around traces. */
function chart(
  data: Trace[],
  options: ChartOptions,
  notes: string[],
  showlegend: boolean,
  extra: Record<string, object | string | number> = {},
): Figure {
  const { title, width = figureWidth, height = figureHeight, log = "", lines = [], alt } = options;
  const axis = (name: "x" | "y") => {
    const range = name === "x" ? options.xRange : options.yRange;
    const logarithmic = log.includes(name);
    return {
      ...options[name] && { title: { text: options[name] } },
      ...logarithmic && { type: "log", dtick: 1, minor: { showgrid: true, gridcolor: "#f3f3f3" } },
      ...range && { range: logarithmic ? range.map(Math.log10) : [...range] },
      ...extra[`${name}axis`] as object,
    };
  };
  const layout = {
    ...title && { title: { text: title } },
    ...!title && { margin: { l: 60, r: 24, t: 24, b: 52 } },
    width,
    height,
    showlegend,
    ...extra,
    xaxis: axis("x"),
    yaxis: axis("y"),
    ...lines.length && { shapes: lines.map(referenceLine), annotations: lines.flatMap(lineLabel(log)) },
  };
  return figure(data, layout, { alt, notes });
}

type Line = NonNullable<ChartOptions["lines"]>[number];

function referenceLine({ axis, at }: Line): object {
  const style = { type: "line", layer: "below", line: { color: "#777777", width: 1.2, dash: "dot" } };
  return axis === "y"
    ? { ...style, xref: "paper", x0: 0, x1: 1, y0: at, y1: at }
    : { ...style, yref: "paper", y0: 0, y1: 1, x0: at, x1: at };
}

/** On a logarithmic axis plotly places annotations by the logarithm, and shapes by the value. */
const lineLabel = (log: string) => ({ axis, at, label }: Line): object[] => {
  if (!label) return [];
  const place = log.includes(axis) ? Math.log10(at) : at;
  const style = { text: label, showarrow: false, font: { size: 11, color: "#666666" } };
  return axis === "y"
    ? [{ ...style, xref: "paper", x: 0.01, xanchor: "left", y: place, yanchor: "bottom" }]
    : [{ ...style, yref: "paper", y: 1, yanchor: "top", x: place, xanchor: "left" }];
};

function needSome(list: readonly unknown[], what: string): void {
  if (!Array.isArray(list)) throw new TypeError(`pass an array of objects, one per ${what}, not ${typeof list}`);
  if (!list.length) throw new RangeError(`there is nothing to draw: pass at least one ${what}`);
}

/** A column as an array; refuses none and an empty one. */
function column(values: Numbers | undefined, name: string, what: string): number[] {
  if (!values || typeof values !== "object" || !("length" in values)) {
    throw new TypeError(`"${name}" needs ${what} as an array of numbers, but it is ${typeof values}`);
  }
  if (!values.length) throw new RangeError(`"${name}" has an empty ${what}; pass at least one number`);
  return Array.from(values);
}

function sameLength(name: string, columns: Record<string, ArrayLike<unknown>>): void {
  const lengths = Object.entries(columns).map(([what, values]) => ({ what, length: values.length }));
  const other = lengths.find(({ length }) => length !== lengths[0].length);
  if (other) {
    throw new RangeError(
      `the columns of "${name}" must have one length, but ${lengths[0].what} has ${lengths[0].length} and ` +
        `${other.what} has ${other.length}`,
    );
  }
}

function checkLog(name: string, columns: Record<"x" | "y", number[]>, log = ""): void {
  for (const axis of ["x", "y"] as const) {
    const low = log.includes(axis) ? columns[axis].find((value) => value <= 0) : undefined;
    if (low !== undefined) {
      throw new RangeError(`a logarithmic ${axis} axis shows values above 0, but "${name}" has ${low}; leave it out`);
    }
  }
}

function noteGaps(notes: string[], name: string, values: number[]): void {
  const gaps = values.filter((value) => !Number.isFinite(value)).length;
  if (!gaps) return;
  const verb = gaps === 1 ? "is not a number and is" : "are not numbers and are";
  notes.push(`${name}: ${gaps} of ${counted(values.length, "value")} ${verb} left out`);
}
