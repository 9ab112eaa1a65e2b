/**
 * The token microscope: what became of every patch, layer by layer, under one or two methods.
 *
 * One figure with a slider over the layers. Groups have colours, borders and, where a group is not in one piece, a
 * number; dropped patches are faded; the pointer shows from which patches a token is made, and the score on which the
 * method decided. With two methods, each layer also says how much they agree: on which patches stay (Jaccard index) and
 * on which belong together (adjusted Rand index).
 *
 * Everything is given as plain numbers; `microscope` in `lib/reduction` collects them from a model.
 *
 * @module
 */
import { adjustedRandIndex, jaccard } from "../stats.ts";
import { plainText } from "./alternative_text.ts";
import { type Figure, figure, type Trace } from "./figure.ts";
import { imageAt, panelLayout, type Place } from "./panels.ts";
import type { Picture } from "./png.ts";
import { figureSlider } from "./slider.ts";
import {
  coloursOf,
  countsText,
  hoverTrace,
  overlay,
  type PatchMap,
  readMap,
  spoken,
  type TokenPictureOptions,
} from "./token_picture.ts";

/** What one method did, from the image to the last layer. */
export interface MicroscopeMethod {
  /** Above its picture: "ToMe, r = 8". */
  readonly name: string;
  /** The state after each layer: element 0 is the state after the first one. */
  readonly layers: readonly MicroscopeLayer[];
}

/** Where every patch is after a layer. */
export interface MicroscopeLayer {
  /** As in `TokenPicture`: output slot of each patch of the image, -1 where it has been dropped. */
  readonly slot: ArrayLike<number>;
  /** The method's score of each patch (of the token that it was part of) in this layer; NaN where it had none. */
  readonly score?: ArrayLike<number>;
}

/** What a microscope can be told. */
export interface MicroscopeOptions extends TokenPictureOptions {
  readonly image: Picture;
  /** Patches as [rows, columns]. */
  readonly grid: readonly [number, number];
  /** What the slider is over. Default: "layer". */
  readonly slider?: string;
  /** Names of the slider's positions after 0. Default: 1, 2, ... */
  readonly labels?: readonly (string | number)[];
  /** Which position is shown first, 0 = the image before any layer. Default: the last. */
  readonly active?: number;
}

/** Agreement of two reductions of the same patches. */
export interface Agreement {
  /** Patches that both keep, over patches that one of them keeps; 1 where both keep all. */
  readonly kept: number;
  /** Adjusted Rand index of the groups among the patches that both keep; NaN where there are fewer than two. */
  readonly groups: number;
}

/**
 * How far two reductions agree: on which patches stay at all, and on which patches become one token.
 *
 * @param a Output slot of each patch, -1 where it is dropped; `b` likewise.
 * @throws {RangeError} Where the two are about different numbers of patches.
 *
 * @example The same groups under other numbers, and one patch that only the first keeps
 * ```ts
 * import assert from "node:assert/strict";
 * assert.deepEqual(agreement([0, 0, 1, 1], [5, 5, 2, 2]), { kept: 1, groups: 1 });
 * assert.equal(agreement([0, 1, 2, 3], [0, 1, 2, -1]).kept, 0.75);
 * ```
 */
export function agreement(a: ArrayLike<number>, b: ArrayLike<number>): Agreement {
  const kept = jaccard(Array.from(a, (slot) => slot >= 0), Array.from(b, (slot) => slot >= 0));
  const both = Array.from(a, (_, i) => i).filter((i) => a[i] >= 0 && b[i] >= 0);
  const groups = both.length < 2 ? NaN : adjustedRandIndex(both.map((i) => a[i]), both.map((i) => b[i]));
  return { kept, groups };
}

/**
 * Draws the microscope.
 *
 * @param methods One or two methods on the same image and the same number of layers.
 * @throws {RangeError} Where there is no method or more than two, their layers differ in number, `active` is no position,
 *   or slots do not fit the grid.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * const image = { width: 2, height: 2, channels: 1, data: [0, 50, 100, 150] };
 * const merging = { name: "merging", layers: [{ slot: [0, 0, 1, 2] }, { slot: [0, 0, 1, 1] }] };
 * const pruning = { name: "pruning", layers: [{ slot: [0, 1, 2, -1] }, { slot: [0, -1, 1, -1] }] };
 * const fig = tokenMicroscope([merging, pruning], { image, grid: [2, 2] });
 * assert.match(fig.alt, /both keep 50 % of what one of them keeps/);
 * ```
 */
export function tokenMicroscope(methods: readonly MicroscopeMethod[], options: MicroscopeOptions): Figure {
  if (methods.length < 1 || methods.length > 2) {
    throw new RangeError(`a microscope shows one method or two, but there are ${methods.length}; choose`);
  }
  const depth = methods[0].layers.length;
  if (methods.some(({ layers }) => layers.length !== depth)) {
    throw new RangeError(
      `both methods need the same number of layers, but they have ${methods.map(({ layers }) => layers.length)}; ` +
        "run them in the same model",
    );
  }
  const { image, grid, title, pictureWidth, slider = "layer", active = depth } = options;
  if (!Number.isInteger(active) || active < 0 || active > depth) {
    throw new RangeError(`active must be a position of the slider, 0 to ${depth}, but it is ${active}`);
  }
  const patches = grid[0] * grid[1];
  const before: MicroscopeLayer = { slot: Array.from({ length: patches }, (_, i) => i) };
  const positions = Array.from({ length: depth + 1 }, (_, at) => at);
  const states = methods.map(({ layers }) =>
    [before, ...layers].map(({ slot, score }) => ({ map: readMap({ image, grid, slot }), slot, score }))
  );
  const colours = coloursOf(states.flatMap((layers) => layers.map(({ map }) => map)));
  const caption = (method: number, at: number) => {
    const { map } = states[method][at];
    return `${methods[method].name}<br>${countsText(map)}`;
  };
  const inWords = (method: number, at: number) =>
    `${plainText(methods[method].name)}: ${spoken(countsText(states[method][at].map))}`;
  const agreements = methods.length < 2
    ? undefined
    : positions.map((at) =>
      agreement(withoutClass(states[0][at].slot, patches), withoutClass(states[1][at].slot, patches))
    );

  const below = 76;
  const { layout, places } = panelLayout(
    methods.map((_, k) => ({ image, caption: longest(positions.map((at) => caption(k, at))) })),
    { title, columns: methods.length, pictureWidth, below },
  );
  const data: Trace[] = [];
  const overlays: object[] = [];
  const shownAt: number[] = []; // position of the slider of each trace and each overlay
  const tracesAt: number[] = [];
  for (const [k, layers] of states.entries()) {
    for (const [at, { map, score }] of layers.entries()) {
      const visible = at === active;
      data.push({
        ...hoverTrace(map, places[k], inWords(k, at), score && withoutClass(score, patches)),
        visible,
      });
      tracesAt.push(at);
      const numbers = numbersTrace(map, places[k], image);
      if (numbers) {
        data.push({ ...numbers, visible });
        tracesAt.push(at);
      }
      overlays.push({ ...imageAt(overlay(map, places[k], colours), places[k], "above"), visible });
      shownAt.push(at);
    }
  }
  const annotations: Record<string, unknown>[] = (layout.annotations as object[]).map((annotation, k) => ({
    ...annotation,
    text: caption(k, active),
  }));
  if (agreements) {
    annotations.push({
      text: agreementText(agreements[active]),
      showarrow: false,
      font: { size: 12 },
      xref: "paper",
      yref: "paper",
      x: 0.5,
      y: 1,
      xanchor: "center",
      yanchor: "bottom",
      yshift: 4,
    });
  }
  const steps = positions.map((at) => ({
    label: at === 0 ? "0" : String(options.labels?.[at - 1] ?? at),
    method: "update",
    args: [
      { visible: tracesAt.map((own) => own === at) },
      {
        ...Object.fromEntries(methods.map((_, k) => [`annotations[${k}].text`, caption(k, at)])),
        ...(agreements ? { [`annotations[${methods.length}].text`]: agreementText(agreements[at]) } : {}),
        ...Object.fromEntries(shownAt.map((own, i) => [`images[${methods.length + i}].visible`, own === at])),
      },
    ],
  }));
  const margin = layout.margin as { t: number };
  const room = agreements && !title ? 20 : agreements ? 14 : 0; // for the line of agreement above the pictures
  const said = methods.map((_, k) => `${inWords(k, active)}.`).join(" ");
  const alt = options.alt ??
    `Image of ${grid[0]} x ${
        grid[1]
      } patches with a slider over ${slider} from 0 to ${depth}; shown is ${active}. ${said}` +
      (agreements ? ` In agreement: ${spokenAgreement(agreements[active])}.` : "");
  return figure(data, {
    ...layout,
    height: (layout.height as number) + room,
    margin: { ...margin, t: margin.t + room },
    annotations,
    images: [...layout.images, ...overlays],
    sliders: [figureSlider(steps, active, `${slider}: `)],
  }, { alt });
}

/** Numbers on the patches of groups that are not in one piece: by colour alone they could not be told apart in grey. */
function numbersTrace(map: PatchMap, { left, top, width, height }: Place, image: Picture): Trace | undefined {
  const { rows, columns, patches } = map;
  const scattered = scatteredGroups(map);
  const [across, down] = [width / columns, height / rows];
  if (!scattered.length || Math.min(across, down) < 14) return undefined;
  const marks = patches.flatMap(({ slot }, i) => {
    const group = scattered.indexOf(slot);
    if (group < 0) return [];
    const [row, column] = [Math.floor(i / columns), i % columns];
    const colour = brightness(image, { rows, columns, row, column }) > 128 ? "#000000" : "#ffffff";
    return [{ x: left + (column + 0.5) * across, y: top + (row + 0.5) * down, text: String(group + 1), colour }];
  });
  return {
    type: "scatter",
    mode: "text",
    x: marks.map(({ x }) => x),
    y: marks.map(({ y }) => y),
    text: marks.map(({ text }) => text),
    textfont: {
      size: Math.max(8, Math.min(13, Math.round(Math.min(across, down) / 3))),
      weight: 700, // the tint of the groups lies over it
      color: marks.map(({ colour }) => colour),
    },
    hoverinfo: "skip",
  };
}

/** Mean brightness of the middle of a patch, where its number stands; 0 (black) to 255. */
function brightness(
  { width, height, channels, data }: Picture,
  { rows, columns, row, column }: { rows: number; columns: number; row: number; column: number },
): number {
  const colours = Math.min(channels, 3); // a fourth channel is opacity
  const [across, down] = [width / columns, height / rows];
  let sum = 0, count = 0;
  for (let y = Math.floor((row + 0.3) * down); y < (row + 0.7) * down; y++) {
    for (let x = Math.floor((column + 0.3) * across); x < (column + 0.7) * across; x++) {
      for (let c = 0; c < colours; c++, count++) sum += data[(y * width + x) * channels + c];
    }
  }
  return sum / count;
}

/** Slots of the groups whose patches do not hang together by their edges, in the order of their first patch. */
function scatteredGroups({ rows, columns, patches }: PatchMap): number[] {
  const members = new Map<number, number[]>();
  for (const [i, { slot, size }] of patches.entries()) {
    if (size > 1) members.set(slot, [...members.get(slot) ?? [], i]);
  }
  const inOnePiece = (group: readonly number[]) => {
    const left = new Set(group);
    const reach = [group[0]];
    left.delete(group[0]);
    for (let at = reach.pop(); at !== undefined; at = reach.pop()) {
      const [row, column] = [Math.floor(at / columns), at % columns];
      for (const [down, right] of [[-1, 0], [1, 0], [0, -1], [0, 1]]) {
        const [r, c] = [row + down, column + right];
        const other = r * columns + c;
        if (r >= 0 && r < rows && c >= 0 && c < columns && left.delete(other)) reach.push(other);
      }
    }
    return left.size === 0;
  };
  return [...members].filter(([, group]) => !inOnePiece(group)).map(([slot]) => slot);
}

function withoutClass(values: ArrayLike<number>, patches: number): number[] {
  return Array.from(values).slice(values.length - patches);
}

function agreementText({ kept, groups }: Agreement): string {
  const alike = Number.isNaN(groups) ? "" : `, groups: adjusted Rand ${groups.toFixed(2)}`;
  return `agreement: kept patches: Jaccard ${kept.toFixed(2)}${alike}`;
}

function spokenAgreement({ kept, groups }: Agreement): string {
  const alike = Number.isNaN(groups) ? "" : `; adjusted Rand index of the groups ${groups.toFixed(2)}`;
  return `both keep ${Math.round(100 * kept)} % of what one of them keeps${alike}`;
}

/** The caption with most lines: the layout must have room for each. */
function longest(captions: readonly string[]): string {
  return captions.reduce((a, b) => plainText(b).length > plainText(a).length ? b : a);
}
