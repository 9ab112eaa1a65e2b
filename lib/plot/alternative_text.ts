/**
 * Figures in words, for readers who do not see them and for viewers that show text only.
 *
 * @module
 */
import { counted } from "./display.ts";
import { pointsOf } from "./fit.ts";
import type { PlotlySpec } from "./static_svg.ts";

/** The text of a title, which plotly takes as a string or as { text }; without markup. */
export function titleText(title: unknown): string {
  const text = typeof title === "string" ? title : (title as { text?: unknown } | undefined)?.text;
  return typeof text === "string" ? plainText(text) : "";
}

/** Plotly's markup (`<br>`, `<b>`, `<sup>`) taken out of a text. */
export function plainText(text: string): string {
  return text.replace(/<br\s*\/?>/g, " ").replace(/<\/?(b|i|em|strong|sub|sup|span|a)(\s[^>]*)?>/g, "").trim();
}

/** "tokens kept" and "accuracy" of a figure's first pair of axes; "" where an axis has no title. */
function axisTitles(layout: PlotlySpec["layout"]): { x: string; y: string } {
  const title = (axis: unknown) => titleText((axis as { title?: unknown } | undefined)?.title);
  return { x: title(layout.xaxis), y: title(layout.yaxis) };
}

/** Traces that a reader counts: not those drawn only for the look (bands, borders), which take no part in hovering. */
function countedTraces(spec: PlotlySpec): PlotlySpec["data"] {
  return spec.data.filter((trace) => trace.hoverinfo !== "skip" && trace.visible !== false);
}

/** The line of text that goes with a figure: title, axes, how much is in it, and the alternative text. */
export function figureText(spec: PlotlySpec, alt: string, notes: readonly string[]): string {
  const { x, y } = axisTitles(spec.layout);
  const traces = countedTraces(spec);
  const points = traces.reduce((sum, trace) => sum + pointsOf(trace), 0);
  const axes = [x && `x: ${x}`, y && `y: ${y}`].filter(Boolean).join(", ");
  const size = `${counted(traces.length, "trace")}, ${counted(points, "point")}`;
  const head = [titleText(spec.layout.title), axes, size].filter(Boolean).join("; ");
  return [sentence(`Figure: ${head}`), sentence(alt), ...notes.map(sentence)].filter(Boolean).join(" ");
}

function sentence(text: string): string {
  return !text || /[.!?]$/.test(text) ? text : text + ".";
}

/** Traces that are told one by one; of more, only the number is told. */
const TOLD = 8;

/**
 * What a figure shows, derived from its traces: the kind of chart, and for each trace its name, where it starts and
 * ends, or its lowest and highest value.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * const line = { type: "scatter", mode: "lines", name: "ToMe", x: [49, 25], y: [0.98, 0.95] };
 * const layout = { xaxis: { title: "tokens" }, yaxis: { title: "accuracy" } };
 * assert.equal(
 *   derivedAlt({ data: [line], layout }),
 *   "Line chart of accuracy against tokens: ToMe from 0.98 at 49 to 0.95 at 25.",
 * );
 * ```
 */
export function derivedAlt(spec: PlotlySpec): string {
  const traces = countedTraces(spec);
  if (!traces.length) return `${titleText(spec.layout.title) || "A figure"} without data.`;
  const { x, y } = axisTitles(spec.layout);
  const subject = y && x ? ` of ${y} against ${x}` : y || x ? ` of ${y || x}` : "";
  const kinds = [...new Set(traces.map(kindOf))];
  const kind = kinds.length === 1 ? kinds[0] : "chart";
  const told = traces.slice(0, TOLD).map(traceText);
  if (traces.length > TOLD) told.push(`and ${traces.length - TOLD} more`);
  const text = `${kind}${subject}: ${told.join("; ")}.`;
  return text[0].toUpperCase() + text.slice(1);
}

function kindOf(trace: PlotlySpec["data"][number]): string {
  if (trace.type === "bar") return "bar chart";
  if (trace.type === "heatmap") return "heat map";
  if (trace.type === undefined || trace.type === "scatter" || trace.type === "scattergl") {
    return typeof trace.mode === "string" && !trace.mode.includes("lines") ? "scatter plot" : "line chart";
  }
  return String(trace.type);
}

function traceText(trace: PlotlySpec["data"][number]): string {
  const name = typeof trace.name === "string" && trace.name ? plainText(trace.name) + " " : "";
  const kind = kindOf(trace);
  const values = [trace.z, trace.y, trace.values].find(Array.isArray)?.flat().map(Number).filter(Number.isFinite) ?? [];
  if (!values.length) return `${name}without values`;
  if (kind === "line chart" && Array.isArray(trace.x) && Array.isArray(trace.y)) {
    const at = (k: number) => `${brief((trace.y as unknown[])[k])} at ${brief((trace.x as unknown[])[k])}`;
    const known = trace.y.flatMap((value, k) => typeof value === "number" && Number.isFinite(value) ? [k] : []);
    if (known.length === 1) return `${name}${at(known[0])}`;
    if (known.length) return `${name}from ${at(known[0])} to ${at(known.at(-1)!)}`;
  }
  if (kind === "bar chart" && Array.isArray(trace.x) && trace.orientation !== "h" && trace.x.length <= TOLD) {
    const y = trace.y as unknown[];
    return name + trace.x.map((category, k) => `${brief(category)} ${brief(y[k])}`).join(", ");
  }
  const [lowest, highest] = values.reduce(([low, high], v) => [Math.min(low, v), Math.max(high, v)], [
    Infinity,
    -Infinity,
  ]);
  return `${name}${counted(values.length, "value")} from ${brief(lowest)} to ${brief(highest)}`;
}

/** A value in few digits. */
export function brief(value: unknown): string {
  if (typeof value !== "number") return plainText(String(value ?? "unknown"));
  return Number.isInteger(value) ? String(value) : String(Number(value.toPrecision(3)));
}
