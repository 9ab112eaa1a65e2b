/**
 * Static pictures of plotly figures without a browser: plotly.js itself, over a document that linkedom keeps in
 * memory. Nothing is put on globalThis, because libraries that find a `document` there take Deno for a browser;
 * plotly gets all that it needs as parameters of a function.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { createRequire } from "node:module";
import { parseHTML } from "linkedom";
import { mulberry32 } from "../random.ts";
import { Canvas } from "./canvas.ts";
import { boundingBox, pageBox, pathLength, pointAtLength, type SvgNode } from "./svg_geometry.ts";

/** What plotly draws: traces and a layout. */
export interface PlotlySpec {
  data: readonly Readonly<Record<string, unknown>>[];
  layout: Readonly<Record<string, unknown>>;
}

interface Plotly {
  toImage(
    figure: PlotlySpec,
    options: { format: "svg"; imageDataOnly: true; width: number; height: number },
  ): Promise<string>;
}

type Values = Record<PropertyKey, unknown>;

/** Trace types that plotly draws with WebGL or with map tiles: there is no SVG of them. */
const WITHOUT_PICTURE =
  /^(scatter3d|surface|mesh3d|cone|streamtube|volume|isosurface|splom|parcoords|scatterpolargl|.*map(box)?)$/;
const DRAWN_ALTHOUGH_MAP = new Set(["heatmap", "treemap"]);

/** Plotly draws in timers; when nothing has come after this long, nothing will. */
const PATIENCE_SECONDS = 60;

/** The drawing in progress. Drawings run one after the other, so that each has its own random numbers. */
const drawing = {
  random: mulberry32(1),
  fail: (_error: unknown): void => {},
  timers: new Set<ReturnType<typeof setTimeout>>(),
};
let queue: Promise<unknown> = Promise.resolve();
let loaded: Plotly | undefined;

/**
 * The SVG of a figure, the same bytes each time: plotly's random element ids come from a hash of the figure, which
 * also keeps two pictures on one page from sharing ids.
 *
 * The first call loads plotly.js (about half a second).
 *
 * @param spec `layout.width` and `layout.height` set the size, in pixels.
 * @throws Error for trace types that have no static picture (3D, maps), and for what plotly cannot draw.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * const svg = await staticSVG({ data: [{ type: "bar", x: ["a", "b"], y: [1, 2] }], layout: {} });
 * assert.ok(svg.startsWith("<svg"));
 * ```
 */
export function staticSVG(spec: PlotlySpec): Promise<string> {
  const picture = queue.then(() => draw(spec));
  queue = picture.catch(() => {}); // the next drawing does not fail with this one
  return picture;
}

async function draw(spec: PlotlySpec): Promise<string> {
  for (const { type } of spec.data) {
    if (typeof type === "string" && WITHOUT_PICTURE.test(type) && !DRAWN_ALTHOUGH_MAP.has(type)) {
      throw new Error(`a trace of type ${type} has no static picture; it is drawn only where scripts run`);
    }
  }
  const copy = structuredClone({
    data: spec.data.map((trace) => trace.type === "scattergl" ? { ...trace, type: "scatter" } : trace),
    layout: spec.layout,
  });
  const { width, height } = sizeOf(spec.layout);
  drawing.random = mulberry32(hashNumber(JSON.stringify(copy)));

  const plotly = loaded ??= loadPlotly();
  try {
    const svg = await new Promise<string>((resolve, reject) => {
      drawing.fail = reject;
      const limit = setTimeout(
        () => reject(new Error(`plotly did not finish a picture in ${PATIENCE_SECONDS} s`)),
        PATIENCE_SECONDS * 1000,
      );
      drawing.timers.add(limit);
      plotly.toImage(copy, { format: "svg", imageDataOnly: true, width, height }).then(resolve, reject);
    });
    return shortenNumbers(svg.startsWith("%3C") ? decodeURIComponent(svg) : svg);
  } finally {
    for (const timer of drawing.timers) clearTimeout(timer);
    drawing.timers.clear();
    drawing.fail = () => {};
  }
}

/** Width and height of a layout in pixels; plotly's own defaults where it does not say. */
export function sizeOf(layout: PlotlySpec["layout"]): { width: number; height: number } {
  const { width, height } = layout;
  return { width: typeof width === "number" ? width : 700, height: typeof height === "number" ? height : 450 };
}

/** 32 bits of the SHA-256 of a text. */
export function hashNumber(text: string): number {
  return createHash("sha256").update(text).digest().readUInt32LE();
}

/** A hundredth of a pixel is enough. Only attributes that hold coordinates are touched, never text. */
function shortenNumbers(svg: string): string {
  return svg.replace(
    /(\s(?:d|transform|x|y|x1|x2|y1|y2|cx|cy|r|width|height|points)=")([^"]*)"/g,
    (_, name: string, value: string) =>
      name + value.replace(/-?\d*\.\d{3,}(e-?\d+)?/g, (digits) => String(Number(Number(digits).toFixed(2)))) + '"',
  );
}

function loadPlotly(): Plotly {
  const window = parseHTML("<!DOCTYPE html><html><head></head><body></body></html>") as unknown as
    & Record<"Element" | "SVGElement" | "HTMLElement" | "HTMLCanvasElement", { prototype: object }>
    & Values;
  addMeasurements(window);
  addCanvas(window);
  const stubs = browserStubs(window);

  // plotly reads and writes both bare names and properties of window
  const self: unknown = new Proxy(window, {
    get: (target, key) => {
      if (key === "window" || key === "self") return self;
      return Object.hasOwn(stubs, key) ? stubs[key] : target[key];
    },
    set: (target, key, value) => {
      target[key] = value;
      return true;
    },
  });

  const module: { exports: Plotly } = { exports: {} as Plotly };
  const parameters: Values = {
    ...stubs,
    module,
    exports: module.exports,
    window: self,
    self,
    document: window.document,
    navigator: { userAgent: "deno" },
    Math: Object.assign(Object.create(Math), { random: () => drawing.random() }),
  };
  for (const name of ["Element", "SVGElement", "HTMLElement", "Node", "DOMParser"]) parameters[name] = window[name];
  const source = Deno.readTextFileSync(createRequire(import.meta.url).resolve("plotly.js-dist-min"));
  new Function(...Object.keys(parameters), source)(...Object.values(parameters));
  return module.exports;
}

function define(target: object, name: string, value: unknown): void {
  Object.defineProperty(target, name, { value, configurable: true, writable: true });
}

function addMeasurements(window: Record<"Element" | "SVGElement" | "HTMLElement", { prototype: object }>): void {
  for (const { prototype } of [window.Element, window.SVGElement, window.HTMLElement]) {
    define(prototype, "getBBox", function (this: SvgNode) {
      return boundingBox(this);
    });
    define(prototype, "getBoundingClientRect", function (this: SvgNode) {
      return pageBox(this);
    });
    define(prototype, "getComputedTextLength", function (this: SvgNode) {
      return boundingBox(this).width;
    });
    define(prototype, "getTotalLength", function (this: SvgNode) {
      return pathLength(this.getAttribute?.("d") ?? "");
    });
    define(prototype, "getPointAtLength", function (this: SvgNode, length: number) {
      return pointAtLength(this.getAttribute?.("d") ?? "", length);
    });
  }
  // linkedom gives "PATH" also inside SVG; plotly compares with "path"
  Object.defineProperty(window.SVGElement.prototype, "nodeName", {
    configurable: true,
    get(this: { localName: string }) {
      return this.localName;
    },
  });
}

function addCanvas(window: Record<"HTMLCanvasElement", { prototype: object }>): void {
  const canvases = new WeakMap<object, Canvas>();
  type CanvasElement = { getAttribute(name: string): string | null; width?: number; height?: number };
  const canvasOf = (element: CanvasElement) => {
    let canvas = canvases.get(element);
    if (!canvas) {
      canvas = new Canvas(() => ({
        width: Number(element.getAttribute("width") ?? element.width ?? 300),
        height: Number(element.getAttribute("height") ?? element.height ?? 150),
      }));
      canvases.set(element, canvas);
    }
    return canvas;
  };
  define(window.HTMLCanvasElement.prototype, "getContext", function (this: CanvasElement, kind: string) {
    return kind === "2d" ? canvasOf(this) : null;
  });
  define(window.HTMLCanvasElement.prototype, "toDataURL", function (this: CanvasElement) {
    return canvasOf(this).toDataURL();
  });
}

/** What a browser's window has and linkedom lacks. */
function browserStubs(window: Values): Values {
  const noStyle = new Proxy({}, { get: (_, key) => key === "getPropertyValue" ? () => "" : "" });
  const getComputedStyle = () => noStyle;
  const matchMedia = () => ({ matches: false, addListener() {}, addEventListener() {} });
  class XMLSerializer {
    serializeToString(node: { outerHTML: string }): string {
      return node.outerHTML;
    }
  }
  // an error in one of plotly's timers must reject our promise, not end the process
  const later = (callback: (...values: unknown[]) => void, milliseconds = 0, ...values: unknown[]) => {
    const timer = setTimeout(() => {
      drawing.timers.delete(timer);
      try {
        callback(...values);
      } catch (error) {
        drawing.fail(error);
      }
    }, milliseconds);
    drawing.timers.add(timer);
    return timer;
  };
  // d3 asks document.defaultView, which is the window below our proxy
  for (const [name, value] of Object.entries({ getComputedStyle, matchMedia, XMLSerializer })) {
    try {
      window[name] = value;
    } catch {
      // linkedom has it as a read-only property
    }
  }
  return {
    getComputedStyle,
    matchMedia,
    XMLSerializer,
    setTimeout: later,
    requestAnimationFrame: later,
    URL: { createObjectURL: () => "", revokeObjectURL() {} },
    devicePixelRatio: 1,
  };
}
