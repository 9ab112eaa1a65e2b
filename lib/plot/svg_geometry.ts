/**
 * The measurements that plotly asks a browser for while it draws: how wide a text is, what box an element fills,
 * how long a path is.
 *
 * @module
 */

/** What is read of an element, in linkedom or in any other document. */
export interface SvgNode {
  readonly nodeName: string;
  readonly childNodes: Iterable<SvgNode>;
  readonly parentNode: SvgNode | null;
  readonly textContent: string | null;
  /** Absent in nodes that are text. */
  getAttribute?(name: string): string | null;
}

/** A rectangle in the coordinates of the picture. */
export interface Box {
  x: number;
  y: number;
  width: number;
  height: number;
}

/** Advance widths of Helvetica (and Arial) in 1/1000 of the font size, for the characters 0x20 to 0x7e. */
const HELVETICA = [
  ...[278, 278, 355, 556, 556, 889, 667, 191, 333, 333, 389, 584, 278, 333, 278, 278], // space to /
  ...[556, 556, 556, 556, 556, 556, 556, 556, 556, 556, 278, 278, 584, 584, 584, 556], // 0 to ?
  ...[1015, 667, 667, 722, 722, 667, 611, 778, 722, 278, 500, 667, 556, 833, 722, 778], // @ to O
  ...[667, 778, 722, 667, 611, 722, 667, 944, 667, 667, 611, 278, 278, 278, 469, 556], // P to _
  ...[333, 556, 556, 500, 556, 556, 278, 556, 556, 222, 222, 500, 222, 833, 556, 556], // ` to o
  ...[556, 556, 333, 500, 278, 556, 500, 722, 500, 500, 500, 334, 260, 334, 584], // p to ~
];

/**
 * DejaVu Sans, which replaces Helvetica on many Linux machines, is about a sixth wider. Room is left for the wider
 * one, so that no label is cut off on either.
 */
const ALLOWANCE = 1.15;

/**
 * Width of a text in pixels.
 *
 * @param fontSize In pixels.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * assert.ok(textWidth("mm", 10) > textWidth("ii", 10));
 * ```
 */
export function textWidth(text: string, fontSize: number): number {
  let width = 0;
  for (const character of text) {
    const code = character.codePointAt(0)!;
    if (code >= 0x20 && code <= 0x7e) width += HELVETICA[code - 0x20];
    else if (code === 0x2212) width += 584; // the minus sign of plotly's negative ticks
    else width += code > 0x2e80 ? 1000 : 556; // East Asian characters and emoji fill a square
  }
  return width * fontSize * ALLOWANCE / 1000;
}

const EMPTY: Box = { x: 0, y: 0, width: 0, height: 0 };

function number(value: string | null | undefined, otherwise = 0): number {
  const parsed = parseFloat(value ?? "");
  return Number.isFinite(parsed) ? parsed : otherwise;
}

/** A property given as a style or as an attribute, on the element or on one around it. */
function inherited(node: SvgNode, property: string): string | undefined {
  const pattern = new RegExp(`${property}:\\s*([^;]+)`);
  for (let e: SvgNode | null = node; e?.getAttribute; e = e.parentNode) {
    const value = e.getAttribute("style")?.match(pattern)?.[1] ?? e.getAttribute(property);
    if (value) return value;
  }
  return undefined;
}

/** The box of an element in its own coordinates: SVG's getBBox. Elements that show nothing give an empty box. */
export function boundingBox(node: SvgNode): Box {
  const tag = node.nodeName.toLowerCase();
  const attribute = (name: string) => number(node.getAttribute?.(name));
  if (tag === "rect" || tag === "image") {
    return { x: attribute("x"), y: attribute("y"), width: attribute("width"), height: attribute("height") };
  }
  if (tag === "text" || tag === "tspan") return textBox(node);
  if (tag === "path") return pathBox(node.getAttribute?.("d") ?? "");
  if (tag !== "g" && tag !== "svg") return EMPTY;
  const boxes = [];
  for (const child of node.childNodes) {
    if (!child.getAttribute) continue;
    const box = boundingBox(child);
    if (box.width || box.height) boxes.push(transformed(box, child.getAttribute("transform")));
  }
  return union(boxes);
}

/** The box of an element on the page: getBoundingClientRect. */
export function pageBox(node: SvgNode): Box & { left: number; top: number; right: number; bottom: number } {
  let box = boundingBox(node);
  for (let e: SvgNode | null = node; e?.getAttribute; e = e.parentNode) {
    box = transformed(box, e.getAttribute("transform"));
  }
  return { ...box, left: box.x, top: box.y, right: box.x + box.width, bottom: box.y + box.height };
}

function textBox(node: SvgNode): Box {
  const fontSize = number(inherited(node, "font-size"), 12);
  const lines = [...node.childNodes].filter((child) => child.getAttribute?.("class") === "line");
  const texts = lines.length ? lines.map((line) => line.textContent ?? "") : [node.textContent ?? ""];
  const width = Math.max(...texts.map((text) => textWidth(text, fontSize)));
  if (!width) return EMPTY;
  const anchor = inherited(node, "text-anchor");
  const shift = anchor === "middle" ? width / 2 : anchor === "end" ? width : 0;
  return {
    x: number(node.getAttribute?.("x")) - shift,
    y: number(node.getAttribute?.("y")) - fontSize,
    width,
    height: 1.2 * fontSize * texts.length,
  };
}

function pathBox(path: string): Box {
  if (!path) return EMPTY;
  let [left, top, right, bottom] = [Infinity, Infinity, -Infinity, -Infinity];
  for (const { x, y } of polyline(path)) {
    left = Math.min(left, x);
    top = Math.min(top, y);
    right = Math.max(right, x);
    bottom = Math.max(bottom, y);
  }
  return Number.isFinite(left + right) ? { x: left, y: top, width: right - left, height: bottom - top } : EMPTY;
}

function union(boxes: Box[]): Box {
  if (!boxes.length) return EMPTY;
  const x = Math.min(...boxes.map((box) => box.x));
  const y = Math.min(...boxes.map((box) => box.y));
  const right = Math.max(...boxes.map((box) => box.x + box.width));
  const bottom = Math.max(...boxes.map((box) => box.y + box.height));
  return { x, y, width: right - x, height: bottom - y };
}

/** The upright box around a box after a transform attribute: translate, rotate and scale, read from the right. */
function transformed(box: Box, transform: string | null): Box {
  if (!transform) return box;
  let corners = [[box.x, box.y], [box.x + box.width, box.y], [box.x, box.y + box.height]];
  corners.push([box.x + box.width, box.y + box.height]);
  const steps = [...transform.matchAll(/(translate|rotate|scale)\(([^)]*)\)/g)].reverse();
  for (const [, name, list] of steps) {
    const [a = 0, b, c = 0] = list.split(/[\s,]+/).filter(Boolean).map(Number);
    if (name === "translate") corners = corners.map(([x, y]) => [x + a, y + (b ?? 0)]);
    else if (name === "scale") corners = corners.map(([x, y]) => [x * a, y * (b ?? a)]);
    else {
      const [cos, sin, cx] = [Math.cos(a * Math.PI / 180), Math.sin(a * Math.PI / 180), b ?? 0];
      corners = corners.map(([x, y]) => [
        cx + (x - cx) * cos - (y - c) * sin,
        c + (x - cx) * sin + (y - c) * cos,
      ]);
    }
  }
  const x = Math.min(...corners.map((corner) => corner[0]));
  const y = Math.min(...corners.map((corner) => corner[1]));
  return {
    x,
    y,
    width: Math.max(...corners.map((corner) => corner[0])) - x,
    height: Math.max(...corners.map((corner) => corner[1])) - y,
  };
}

interface PathPoint {
  x: number;
  y: number;
  /** Length of the path up to here. */
  length: number;
}

/** Straight pieces that a curve is cut into. */
const PIECES = 12;

/** A path as points with running lengths. Arcs count as their chords: plotly measures only lines and splines. */
export function polyline(path: string): PathPoint[] {
  const tokens = path.match(/[a-zA-Z]|-?\d*\.?\d+(?:e[-+]?\d+)?/g) ?? [];
  const points: PathPoint[] = [];
  let [x, y, startX, startY, command] = [0, 0, 0, 0, ""];
  const go = (toX: number, toY: number, pen: "down" | "up" = "down") => {
    const length = points.at(-1)?.length ?? 0;
    const step = pen === "up" || !points.length ? 0 : Math.hypot(toX - x, toY - y);
    points.push({ x: toX, y: toY, length: length + step });
    [x, y] = [toX, toY];
  };

  for (let k = 0; k < tokens.length;) {
    if (/[a-z]/i.test(tokens[k])) command = tokens[k++];
    const kind = command.toUpperCase();
    const [fromX, fromY] = kind === command ? [0, 0] : [x, y]; // small letters are relative
    const next = () => Number(tokens[k++]);
    if (kind === "Z") go(startX, startY);
    else if (kind === "H") go(next() + fromX, y);
    else if (kind === "V") go(x, next() + fromY);
    else if (kind === "M") {
      [startX, startY] = [next() + fromX, next() + fromY];
      go(startX, startY, "up");
      command = command === "m" ? "l" : "L"; // further pairs are lines
    } else if (kind === "A") {
      k += 5;
      go(next() + fromX, next() + fromY);
    } else {
      const order = { C: 3, S: 2, Q: 2 }[kind] ?? 1;
      const control = [[x, y]];
      for (let j = 0; j < order; j++) control.push([next() + fromX, next() + fromY]);
      const pieces = order > 1 ? PIECES : 1;
      for (let j = 1; j <= pieces; j++) {
        const [toX, toY] = deCasteljau(control, j / pieces);
        go(toX, toY);
      }
    }
  }
  return points.length ? points : [{ x: 0, y: 0, length: 0 }];
}

/** The point of a Bezier curve at `t` in [0, 1]. */
function deCasteljau(control: number[][], t: number): number[] {
  let points = control;
  while (points.length > 1) {
    points = points.slice(1).map(([x, y], k) => [
      points[k][0] + (x - points[k][0]) * t,
      points[k][1] + (y - points[k][1]) * t,
    ]);
  }
  return points[0];
}

/** Length of a path: getTotalLength. */
export function pathLength(path: string): number {
  return polyline(path).at(-1)!.length;
}

/** The point of a path at a length: getPointAtLength. */
export function pointAtLength(path: string, length: number): { x: number; y: number } {
  const points = polyline(path);
  const found = points.findIndex((point) => point.length >= length);
  const k = found < 0 ? points.length - 1 : found;
  const [before, after] = [points[Math.max(0, k - 1)], points[k]];
  const t = Math.min(1, (length - before.length) / (after.length - before.length || 1));
  return { x: before.x + t * (after.x - before.x), y: before.y + t * (after.y - before.y) };
}
