/**
 * Figures as values: plotly traces and a layout, which show themselves in a notebook and can be saved.
 *
 * In a notebook a figure is the plotly JSON (live in JupyterLab: hover, zoom, sliders), a static SVG drawn by
 * plotly.js itself (for viewers that run no scripts) and a line of text with the alternative text.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { derivedAlt, figureText, titleText } from "./alternative_text.ts";
import { type Bundle, bundleBytes, display, displayLimitBytes, errorText, escapeMarkup, safely } from "./display.ts";
import { estimatedBytes, rounded, smallerImages, thinned } from "./fit.ts";
import { figureHeight, figureWidth, templateFor } from "./look.ts";
import { hashNumber, type PlotlySpec, staticSVG } from "./static_svg.ts";

/** One trace of plotly: `{ type: "scatter", x: [...], y: [...], ... }`. */
export type Trace = Readonly<Record<string, unknown>>;

/** The layout of plotly: titles, axes, annotations. */
export type Layout = Readonly<Record<string, unknown>>;

/** Words that go with a figure. */
export interface FigureOptions {
  /** What the figure shows, for those who do not see it. Default: derived from the traces. */
  alt?: string;
  /** Sentences that are shown after the alternative text, such as what was left out. */
  notes?: readonly string[];
}

/** A figure: its data can be read, changed by making another one, shown and saved. */
export interface Figure {
  readonly data: readonly Trace[];
  readonly layout: Layout;
  /** What the figure shows, in words. */
  readonly alt: string;
  readonly notes: readonly string[];
  /**
   * The figure as SVG, the same bytes each time, with the alternative text in it.
   *
   * @throws Error for 3D and map traces, which have no static picture.
   */
  toSVG(): Promise<string>;
  /**
   * Writes the figure as `.svg`, `.png` (twice the size in pixels) or `.json` (plotly's own form). The file appears
   * complete or not at all. Text in a PNG needs a font on the machine (Debian: `fonts-dejavu-core`); without any it
   * stays blank.
   *
   * @throws RangeError for another ending, Error where the folder does not exist.
   */
  save(path: string | URL): Promise<void>;
  /** What a notebook shows. Never throws, and stays below 1 MB: above it, points are thinned, and the figure says so. */
  [display](): Promise<Bundle>;
}

/**
 * Makes a figure of plotly traces and a layout. It has the fonts, colours and grid of all our figures; what the
 * layout says wins.
 *
 * @param data Traces, as plotly names them. Typed arrays may be used.
 * @param layout Layout, as plotly names it. Default size: 620 x 400 pixels.
 * @throws TypeError where `data` is not an array of objects or `layout` not an object.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * const fig = figure([{ type: "bar", x: ["ToMe", "EViT"], y: [0.97, 0.96] }], { yaxis: { title: "accuracy" } });
 * assert.equal(fig.alt, "Bar chart of accuracy: ToMe 0.97, EViT 0.96.");
 * const svg = await fig.toSVG(); // or: await fig.save("accuracy.png")
 * assert.ok(svg.includes('role="img"'));
 * ```
 */
export function figure(data: readonly Trace[], layout: Layout = {}, options: FigureOptions = {}): Figure {
  if (!Array.isArray(data) || data.some((trace) => trace === null || typeof trace !== "object")) {
    throw new TypeError(`a figure needs an array of traces, but data is ${kindOf(data)}; pass [{ type, x, y }]`);
  }
  if (layout === null || typeof layout !== "object") {
    throw new TypeError(`a figure's layout must be an object, but it is ${kindOf(layout)}; pass {} for the default`);
  }
  const sized = { width: figureWidth, height: figureHeight, ...layout };
  const complete = { template: templateFor(sized.height), ...sized };
  const spec: PlotlySpec = { data: data.map(withPlainArrays), layout: complete };
  const alt = options.alt ?? altOrNothing(spec);
  const notes = options.notes ?? [];
  const value = { data: spec.data, layout: spec.layout, alt, notes };
  // the methods are not enumerable, so that the figure prints, compares and is stored as the data that it is
  const methods = {
    toSVG: () => describedSVG(clean(spec), alt),
    save: (path: string | URL) => save(spec, alt, path),
    [display]: () => safely("the figure", () => bundle(spec, alt, notes)),
    [Symbol.for("Deno.customInspect")]: () => figureText(spec, alt, notes),
  };
  for (const name of Reflect.ownKeys(methods)) {
    Object.defineProperty(value, name, { value: Reflect.get(methods, name), enumerable: false });
  }
  return value as Figure;
}

function kindOf(value: unknown): string {
  return value === null ? "null" : Array.isArray(value) ? "an array with something else in it" : typeof value;
}

/** Text derived from strange traces must not stop a figure from being made. */
function altOrNothing(spec: PlotlySpec): string {
  try {
    return derivedAlt(spec);
  } catch {
    return titleText(spec.layout.title) || "A figure.";
  }
}

/** Typed arrays, which JSON would store as objects, as arrays. */
function withPlainArrays(trace: Trace): Trace {
  return Object.fromEntries(
    Object.entries(trace).map(([key, value]) => {
      if (ArrayBuffer.isView(value)) return [key, [...value as unknown as Iterable<unknown>]];
      const rows = Array.isArray(value) && value.some(ArrayBuffer.isView);
      return [
        key,
        rows ? value.map((row) => ArrayBuffer.isView(row) ? [...row as unknown as Iterable<unknown>] : row) : value,
      ];
    }),
  );
}

/** What is drawn and stored: plain JSON with rounded numbers. */
function clean({ data, layout }: PlotlySpec): PlotlySpec {
  return rounded({ data, layout }) as PlotlySpec;
}

/** The SVG with a role, a title and a description for screen readers. */
async function describedSVG(spec: PlotlySpec, alt: string): Promise<string> {
  const svg = await staticSVG(spec);
  const id = hashNumber(svg).toString(36);
  const title = escapeMarkup(titleText(spec.layout.title) || "Figure");
  return svg.replace(
    /^<svg ([^>]*)>/,
    (_, attributes: string) =>
      `<svg role="img" aria-labelledby="title-${id} desc-${id}" ${attributes}>` +
      `<title id="title-${id}">${title}</title><desc id="desc-${id}">${escapeMarkup(alt)}</desc>`,
  );
}

const PLOTLY = "application/vnd.plotly.v1+json";

/** Buttons that no reader of these figures needs are left out of plotly's bar. */
const config = { displaylogo: false, modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"] };

/**
 * What a notebook shows of a figure that another will soon replace: plotly's own form and the text, without a picture.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * const bundle = liveBundle(figure([{ type: "bar", x: ["a"], y: [1] }]));
 * assert.deepEqual(Object.keys(bundle), ["application/vnd.plotly.v1+json", "text/plain"]);
 * ```
 */
export function liveBundle({ data, layout, alt, notes }: Figure): Bundle {
  const spec = clean({ data, layout });
  return { [PLOTLY]: { ...spec, config }, "text/plain": figureText(spec, alt, notes) };
}

/** Shapes and annotations beyond which a static picture would take minutes; that many cannot be read anyway. */
const MOST_MARKS = 2000;

async function bundle(original: PlotlySpec, alt: string, given: readonly string[]): Promise<Bundle> {
  const spec = clean(original);
  let budget = displayLimitBytes * 0.9;
  for (let scale = 1; scale > 0.05; scale *= 0.7) {
    const { spec: fewer, note } = thinned(spec, budget);
    const { layout, reduced, images } = await smallerImages(fewer.layout, scale);
    const said = [note, reduced ? "images reduced" : undefined].filter((text) => text !== undefined);
    const shown = { data: fewer.data, layout: withCornerNote(layout, said) };
    const live = { [PLOTLY]: { ...shown, config } };
    const text = (more: string[] = []) => figureText(shown, alt, [...given, ...said, ...more]);

    let bytes = bundleBytes(live);
    if (bytes <= displayLimitBytes) {
      const { svg, why } = await pictureOrReason(shown, alt);
      const made = svg
        ? { ...live, "image/svg+xml": svg, "text/plain": text() }
        : { ...live, "text/plain": text([why]) };
      bytes = bundleBytes(made);
      if (bytes <= displayLimitBytes) return made;
    }
    const points = Math.min(budget, estimatedBytes(fewer));
    if (points < displayLimitBytes / 100 && !images) break; // there is nothing left to thin
    budget = points * Math.min(0.8, displayLimitBytes / bytes);
  }
  return { "text/plain": figureText(original, alt, [...given, "It is too large to be shown here; save() writes it"]) };
}

async function pictureOrReason(spec: PlotlySpec, alt: string): Promise<{ svg?: string; why: string }> {
  const marks = [spec.layout.shapes, spec.layout.annotations].map((list) => Array.isArray(list) ? list.length : 0);
  const count = marks[0] + marks[1];
  if (count > MOST_MARKS) return { why: `no static picture: ${count} shapes and annotations are too many` };
  try {
    return { svg: await describedSVG(spec, alt), why: "" };
  } catch (error) {
    return { why: `no static picture: ${errorText(error)}` };
  }
}

/** Says in the figure itself what was left out of it. */
function withCornerNote(layout: Layout, notes: string[]): Layout {
  if (!notes.length) return layout;
  const note = {
    text: notes.join("; "),
    font: { size: 10, color: "#777777" },
    showarrow: false,
    xref: "paper",
    yref: "paper",
    x: 1,
    y: 1,
    xanchor: "right",
    yanchor: "bottom",
  };
  return { ...layout, annotations: [...Array.isArray(layout.annotations) ? layout.annotations : [], note] };
}

async function save(spec: PlotlySpec, alt: string, path: string | URL): Promise<void> {
  const target = path instanceof URL ? decodeURIComponent(path.pathname) : path;
  const ending = target.match(/\.[^./\\]*$/)?.[0].toLowerCase() ?? "";
  if (ending === ".json") return await write(target, JSON.stringify(clean(spec)));
  if (ending === ".svg") return await write(target, await describedSVG(clean(spec), alt));
  if (ending === ".png") return await write(target, await png(await describedSVG(clean(spec), alt)));
  throw new RangeError(`a figure is saved as .svg, .png or .json, but the file is ${target}; choose one of these`);
}

/** An SVG as PNG with two pixels per unit. */
async function png(svg: string): Promise<Uint8Array> {
  const { default: sharp } = await import("sharp"); // 30 MB, needed only here and for photographs
  return await sharp(Buffer.from(svg), { density: 144 }).png().toBuffer();
}

/** Writes beside the target and renames, so that nobody sees half a file. */
async function write(target: string, content: string | Uint8Array): Promise<void> {
  const part = `${target}.${crypto.randomUUID()}.part`;
  try {
    await (typeof content === "string" ? Deno.writeTextFile(part, content) : Deno.writeFile(part, content));
    await Deno.rename(part, target);
  } catch (error) {
    await Deno.remove(part).catch(() => {});
    throw new Error(`the figure cannot be written to ${target}: ${errorText(error)}; does the folder exist?`);
  }
}
