/**
 * Keeps displayed figures small: numbers rounded to what the eye can see, and, above the limit, fewer points and
 * smaller images.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import type { PlotlySpec } from "./static_svg.ts";

type Trace = PlotlySpec["data"][number];

/** Significant digits that are kept of each number. */
const DIGITS = 5;

/**
 * A copy that JSON can hold, with numbers rounded to five significant digits. In an array the digits are also enough
 * to tell apart a ten-thousandth of its range, so that years, positions and times keep their differences.
 * Integers stay as they are. Typed arrays become arrays; NaN and infinities become null, which plotly draws as a gap.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * assert.deepEqual(rounded([0.1 + 0.2, 10 / 3, NaN]), [0.3, 3.3333, null]);
 * assert.deepEqual(rounded([1000.001, 1000.002]), [1000.001, 1000.002]);
 * ```
 */
export function rounded(value: unknown): unknown {
  if (typeof value === "number") return roundedNumber(value, -Infinity);
  if (typeof value === "bigint") return Number(value);
  if (ArrayBuffer.isView(value)) return rounded([...value as unknown as Iterable<unknown>]);
  if (Array.isArray(value)) {
    const decimals = decimalsForRange(value);
    return value.map((item) => typeof item === "number" ? roundedNumber(item, decimals) : rounded(item));
  }
  if (value && typeof value === "object" && !(value instanceof Date)) {
    return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, rounded(item)]));
  }
  return value;
}

function decimalsForRange(values: readonly unknown[]): number {
  let [lowest, highest] = [Infinity, -Infinity];
  for (const value of values) {
    if (typeof value !== "number" || !Number.isFinite(value)) continue;
    lowest = Math.min(lowest, value);
    highest = Math.max(highest, value);
  }
  return highest > lowest ? DIGITS - 1 - Math.floor(Math.log10(highest - lowest)) : -Infinity;
}

function roundedNumber(value: number, decimals: number): number | null {
  if (!Number.isFinite(value)) return null;
  if (Number.isInteger(value)) return value;
  const own = DIGITS - 1 - Math.floor(Math.log10(Math.abs(value)));
  const most = Math.max(own, decimals);
  return most > 100 ? value : Number(value.toFixed(Math.max(0, most)));
}

/** Points that a trace draws: the length of its longest column, or the cells of its matrix. */
export function pointsOf(trace: Trace): number {
  if (isMatrix(trace.z)) return trace.z.length * (trace.z[0]?.length ?? 0);
  let points = 0;
  for (const column of [trace.x, trace.y, trace.values, trace.r, trace.lat]) {
    if (Array.isArray(column)) points = Math.max(points, column.length);
  }
  return points;
}

function isMatrix(z: unknown): z is unknown[][] {
  return Array.isArray(z) && Array.isArray(z[0]);
}

/** Bytes that a point costs in the JSON and the SVG together; measured on figures of 1,000 points. */
function bytesPerPoint(trace: Trace): number {
  if (isMatrix(trace.z)) return 10;
  if (trace.type !== "scatter" && trace.type !== "scattergl" && trace.type !== undefined) return 400;
  const mode = typeof trace.mode === "string" ? trace.mode : "markers";
  if (mode.includes("text")) return 700;
  return mode.includes("markers") ? 400 : 45;
}

/** A first guess of a figure's bytes, before it is drawn. */
export function estimatedBytes(spec: PlotlySpec): number {
  return spec.data.reduce((total, trace) => total + pointsOf(trace) * bytesPerPoint(trace), 0);
}

/**
 * The figure with fewer points, so that its estimated size is `bytes`. Small traces stay whole: what is taken comes
 * from the largest. Lines keep the lowest and the highest value of each stretch, so that spikes stay visible; other
 * traces keep every k-th point, heat maps the mean of blocks.
 *
 * @returns The thinned figure, and a sentence, or undefined where nothing had to go.
 */
export function thinned(spec: PlotlySpec, bytes: number): { spec: PlotlySpec; note?: string } {
  if (estimatedBytes(spec) <= bytes) return { spec };
  const costs = spec.data.map((trace) => pointsOf(trace) * bytesPerPoint(trace));
  const share = shareOfEach(costs, bytes);
  const data = spec.data.map((trace, k) => {
    if (costs[k] <= share) return trace;
    return thinnedTrace(trace, Math.max(2, Math.floor(share / bytesPerPoint(trace))));
  });
  const [before, after] = [spec.data, data].map((traces) => traces.reduce((sum, trace) => sum + pointsOf(trace), 0));
  return {
    spec: { data, layout: spec.layout },
    note: `thinned: ${after.toLocaleString("en-US")} of ${before.toLocaleString("en-US")} points shown`,
  };
}

/** The cap that makes the capped costs add up to the total. */
function shareOfEach(costs: number[], total: number): number {
  const sorted = [...costs].sort((a, b) => a - b);
  let left = total;
  for (let k = 0; k < sorted.length; k++) {
    const share = left / (sorted.length - k);
    if (sorted[k] > share) return share;
    left -= sorted[k];
  }
  return Infinity;
}

function thinnedTrace(trace: Trace, keep: number): Trace {
  if (isMatrix(trace.z)) return thinnedMatrix(trace, keep);
  const points = pointsOf(trace);
  const lines = typeof trace.mode === "string" && trace.mode.includes("lines") && Array.isArray(trace.y);
  const chosen = lines ? extremes(trace.y as unknown[], keep) : everyKth(points, keep);
  return picked(trace, points, chosen) as Trace;
}

function everyKth(points: number, keep: number): number[] {
  return Array.from({ length: Math.min(keep, points) }, (_, k) => Math.floor(k * points / keep));
}

/** Per stretch of the line the places of its lowest and its highest value, in order. */
function extremes(values: unknown[], keep: number): number[] {
  const stretches = Math.max(1, Math.floor(keep / 2));
  const chosen: number[] = [];
  for (let s = 0; s < stretches; s++) {
    const [start, end] = [s, s + 1].map((k) => Math.floor(k * values.length / stretches));
    let [lowest, highest] = [start, start];
    for (let k = start; k < end; k++) {
      if (Number(values[k]) < Number(values[lowest])) lowest = k;
      if (Number(values[k]) > Number(values[highest])) highest = k;
    }
    chosen.push(...new Set([lowest, highest].sort((a, b) => a - b)));
  }
  return chosen;
}

/** Arrays that do not run along the points, whatever their length. */
const NOT_COLUMNS = new Set(["colorscale", "domain", "range", "dimensions", "transforms", "selectedpoints"]);

function picked(object: Trace, points: number, chosen: number[], depth = 0): unknown {
  return Object.fromEntries(
    Object.entries(object).map(([key, value]) => {
      if (NOT_COLUMNS.has(key)) return [key, value];
      if (Array.isArray(value) && value.length === points) return [key, chosen.map((k) => value[k])];
      const nested = value && typeof value === "object" && !Array.isArray(value) && depth < 2;
      return [key, nested ? picked(value as Trace, points, chosen, depth + 1) : value];
    }),
  );
}

function thinnedMatrix(trace: Trace, keep: number): Trace {
  const z = trace.z as unknown[][];
  const [rows, columns] = [z.length, z[0].length];
  const block = Math.ceil(Math.sqrt(rows * columns / keep));
  const starts = (length: number) => Array.from({ length: Math.ceil(length / block) }, (_, k) => k * block);
  const numbers = typeof z[0][0] === "number" || z[0][0] === null;
  const out: Record<string, unknown> = { ...trace };
  for (const name of ["text", "hovertext", "customdata"]) {
    if (isMatrix(out[name])) delete out[name]; // a text per cell has no mean
  }
  out.z = starts(rows).map((row) =>
    starts(columns).map((column) => numbers ? blockMean(z, row, column, block) : z[row][column])
  );
  for (const [name, length] of [["x", columns], ["y", rows]] as const) {
    const values = trace[name];
    if (Array.isArray(values)) {
      out[name] = starts(length).map((k) => {
        const part = values.slice(k, k + block);
        return typeof part[0] === "number" ? part.reduce((sum, v) => sum + v, 0) / part.length : part[0];
      });
    } else {
      const [first, step] = [trace[name + "0"], trace["d" + name]].map((v, k) => typeof v === "number" ? v : k);
      out[name + "0"] = first + step * (block - 1) / 2;
      out["d" + name] = step * block;
    }
  }
  return out;
}

function blockMean(z: unknown[][], row: number, column: number, block: number): number | null {
  let [sum, count] = [0, 0];
  for (const line of z.slice(row, row + block)) {
    for (const value of line.slice(column, column + block)) {
      if (typeof value !== "number") continue;
      sum += value;
      count++;
    }
  }
  return count ? sum / count : null;
}

/** Images below this many characters stay as they are. */
const SMALL_IMAGE = 20_000;

/**
 * The layout with its large images as JPEG, and, where `scale` is below 1, with fewer pixels. A photograph is then
 * about a tenth of its size; drawings with few colours are smaller as PNG and stay so.
 *
 * @returns The layout, whether pixels were lost, and how many images could become smaller still.
 */
export async function smallerImages(
  layout: PlotlySpec["layout"],
  scale: number,
): Promise<{ layout: PlotlySpec["layout"]; reduced: boolean; images: number }> {
  const images = layout.images;
  if (!Array.isArray(images)) return { layout, reduced: false, images: 0 };
  let reduced = false;
  let large = 0;
  const out = await Promise.all(images.map(async (image: Trace) => {
    const given = typeof image.source === "string" ? image.source : "";
    const match = given.match(/^data:image\/png;base64,(.*)$/s);
    if (!match || given.length < SMALL_IMAGE) return image;
    large++;
    const { default: sharp } = await import("sharp");
    const original = sharp(Buffer.from(match[1], "base64"));
    const { width, hasAlpha } = await original.metadata();
    if (hasAlpha && !(await original.stats()).isOpaque) return image;
    const resized = scale < 1 ? original.resize({ width: Math.max(16, Math.round(width * scale)) }) : original;
    const jpeg = await resized.flatten().jpeg({ quality: 88, chromaSubsampling: "4:4:4" }).toBuffer();
    const source = "data:image/jpeg;base64," + jpeg.toString("base64");
    if (source.length >= given.length) return image;
    reduced ||= scale < 1;
    return { ...image, source };
  }));
  return { layout: { ...layout, images: out }, reduced, images: large };
}
