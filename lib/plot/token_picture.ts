/**
 * What a token reduction did to an image: patches of one colour are one token now, faded patches are dropped,
 * untouched patches are tokens of their own.
 *
 * A reduction is given as plain numbers: the output slot of each patch, -1 where it is dropped.
 *
 * @module
 */
import { brief, plainText } from "./alternative_text.ts";
import { counted } from "./display.ts";
import { type Figure, figure, type Trace } from "./figure.ts";
import { manyColours } from "./look.ts";
import { checkGrid, imageAt, panelLayout, type Place } from "./panels.ts";
import type { Picture } from "./png.ts";
import { figureSlider } from "./slider.ts";

/** An image and what became of its patches. */
export interface TokenPicture {
  image: Picture;
  /** Patches as [rows, columns]. */
  grid: readonly [number, number];
  /**
   * Output slot of each patch, row by row; -1 where the patch is dropped; patches with the same slot are one token.
   * With one number more than there are patches, the first is that of the class token.
   */
  slot: ArrayLike<number>;
  /** Below the picture. Default: how many tokens are left, merged and dropped. `""` for none. */
  caption?: string;
}

/** What token pictures can be told. */
export interface TokenPictureOptions {
  title?: string;
  /** Width of each picture in pixels. Default: 320, less where several are in a row. */
  pictureWidth?: number;
  /** What the figure shows, in words. Default: the counts of tokens. */
  alt?: string;
}

/**
 * An image with its patches: merged groups coloured, with borders; dropped patches faded; the pointer shows token, slot
 * and size of the group.
 *
 * @throws RangeError where the slots do not fit the grid or the image's data do not fit its size.
 *
 * @example Four patches: the upper two are merged, one is dropped
 * ```ts
 * import assert from "node:assert/strict";
 * const image = { width: 2, height: 2, channels: 1, data: [0, 50, 100, 150] };
 * const fig = tokenPicture({ image, grid: [2, 2], slot: [0, 0, 1, -1] });
 * assert.equal(fig.alt, "Image of 2 x 2 patches. 4 patches → 2 tokens: 1 group of 2, 1 alone, 1 dropped.");
 * ```
 */
export function tokenPicture(picture: TokenPicture & TokenPictureOptions): Figure {
  const { title, pictureWidth, alt, ...rest } = picture;
  return tokenPictures([rest], { title, pictureWidth, alt });
}

/**
 * Several token pictures side by side, such as one per method or per layer. A group has the same colour in all of
 * them, as long as its first patch is the same.
 *
 * @param options `columns`: pictures in a row, by default up to 4.
 * @throws RangeError where there is no picture, or one as `tokenPicture` refuses.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * const image = { width: 2, height: 2, channels: 1, data: [0, 50, 100, 150] };
 * const fig = tokenPictures([
 *   { image, grid: [2, 2], slot: [0, 1, 2, 3], caption: "before" },
 *   { image, grid: [2, 2], slot: [0, 0, 1, 1], caption: "after" },
 * ]);
 * assert.deepEqual(fig.data.map((trace) => trace.name), ["before", "after"]);
 * ```
 */
export function tokenPictures(
  pictures: readonly TokenPicture[],
  options: TokenPictureOptions & { columns?: number } = {},
): Figure {
  if (!pictures?.length) throw new RangeError("there is nothing to draw: pass at least one token picture");
  const { title, pictureWidth, columns = Math.ceil(pictures.length / Math.ceil(pictures.length / 4)) } = options;
  const maps = pictures.map(readMap);
  const captions = pictures.map(({ caption }, k) => caption ?? countsText(maps[k]));
  const panels = pictures.map(({ image }, k) => ({ image, caption: captions[k] }));
  const { layout, places } = panelLayout(panels, { title, columns, pictureWidth });
  const colours = coloursOf(maps);
  const overlays = maps.map((map, k) => imageAt(overlay(map, places[k], colours), places[k], "above"));
  const alt = options.alt ?? maps.map((map, k) => {
    const said = pictures[k].caption && plainText(pictures[k].caption);
    return `${said ? `${said}: image` : "Image"} of ${map.rows} x ${map.columns} patches. ${spoken(countsText(map))}.`;
  }).join(" ");
  return figure(
    maps.map((map, k) => hoverTrace(map, places[k], spoken(captions[k]))),
    { ...layout, images: [...layout.images, ...overlays] },
    { alt },
  );
}

/** One position of the slider. */
export interface TokenFrame {
  /** What the slider shows at this position, such as 0.5 for a keep rate. */
  label: string | number;
  /** As in {@link TokenPicture}. */
  slot: ArrayLike<number>;
  /** Below the picture. Default: how many tokens are left, merged and dropped. */
  caption?: string;
}

/** What a token picture with a slider can be told. */
export interface TokenSliderOptions extends TokenPictureOptions {
  image: Picture;
  /** Patches as [rows, columns]. */
  grid: readonly [number, number];
  /** What the slider changes: "keepRate", "layer". */
  name: string;
  /** Index of the frame that is shown first, and where no script runs. Default: the middle one. */
  active?: number;
}

/**
 * A token picture with a slider over frames that are computed beforehand. Where no script runs, the picture of the
 * active frame is shown.
 *
 * @throws RangeError where there is no frame, `active` is none of them, or a frame is as `tokenPicture` refuses.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * const image = { width: 2, height: 2, channels: 1, data: [0, 50, 100, 150] };
 * const frames = [{ label: 1, slot: [0, 1, 2, 3] }, { label: 0.5, slot: [0, 0, 1, 1] }];
 * const fig = tokenSlider(frames, { image, grid: [2, 2], name: "keepRate" });
 * assert.equal((fig.layout.sliders as { active: number }[])[0].active, 1);
 * ```
 */
export function tokenSlider(frames: readonly TokenFrame[], options: TokenSliderOptions): Figure {
  if (!frames?.length) throw new RangeError("there is nothing to draw: pass at least one frame");
  const { image, grid, name, title, pictureWidth, active = Math.floor(frames.length / 2) } = options;
  if (!Number.isInteger(active) || active < 0 || active >= frames.length) {
    throw new RangeError(`active must be the index of a frame, 0 to ${frames.length - 1}, but it is ${active}`);
  }
  const maps = frames.map(({ slot }) => readMap({ image, grid, slot }));
  const captions = frames.map(({ caption }, k) => caption ?? countsText(maps[k]));
  const { layout, places } = panelLayout([{ image, caption: captions[active] }], {
    title,
    columns: 1,
    pictureWidth,
    below: 76,
  });
  const colours = coloursOf(maps);
  const data = maps.map((map, k) => ({ ...hoverTrace(map, places[0], spoken(captions[k])), visible: k === active }));
  const overlays = maps.map((map, k) => ({
    ...imageAt(overlay(map, places[0], colours), places[0], "above"),
    visible: k === active,
  }));
  const steps = frames.map(({ label }, k) => ({
    label: brief(label),
    method: "update",
    args: [
      { visible: frames.map((_, other) => other === k) },
      {
        "annotations[0].text": captions[k],
        // image 0 is the photograph
        ...Object.fromEntries(frames.map((_, other) => [`images[${other + 1}].visible`, other === k])),
      },
    ],
  }));
  const slider = figureSlider(steps, active, `${name}: `);
  const alt = options.alt ??
    `Image of ${grid[0]} x ${grid[1]} patches with a slider over ${name} from ${brief(frames[0].label)} to ` +
      `${brief(frames.at(-1)!.label)}; shown is ${brief(frames[active].label)}: ${spoken(captions[active])}.`;
  return figure(data, { ...layout, images: [...layout.images, ...overlays], sliders: [slider] }, { alt });
}

/** What is drawn for each patch. */
export interface PatchMap {
  rows: number;
  columns: number;
  patches: Patch[];
}

/** One patch: which token it is now, and with whom. */
export interface Patch {
  token: number;
  slot: number;
  /** Tokens in its group: 1 alone, 0 dropped. */
  size: number;
  /** First token of its group. */
  leader: number;
  /** The tokens of its group, the class token too where it is in it. */
  members: readonly number[];
}

/** The slots of a picture as patches, refused where they do not fit its grid. */
export function readMap({ grid, slot }: TokenPicture): PatchMap {
  checkGrid(grid);
  const [rows, columns] = grid;
  const count = rows * columns;
  const classTokens = (slot?.length ?? 0) - count;
  if (classTokens !== 0 && classTokens !== 1) {
    throw new RangeError(
      `a grid of ${rows} x ${columns} needs ${count} slots, or ${count + 1} with a class token, ` +
        `but there are ${slot?.length}`,
    );
  }
  const slots = Array.from(slot);
  const members = new Map<number, number[]>();
  slots.forEach((value, token) => {
    if (!Number.isInteger(value) || value < -1) {
      throw new RangeError(`slots are integers from 0 up, or -1 for dropped, but slot[${token}] is ${value}`);
    }
    members.set(value, [...members.get(value) ?? [], token]);
  });
  const patches = slots.map((value, token) => {
    const group = members.get(value)!;
    return { token, slot: value, size: value < 0 ? 0 : group.length, leader: group[0], members: group };
  });
  return { rows, columns, patches: patches.slice(classTokens) };
}

/** "49 patches → 25 tokens<br>12 groups of 2 to 5, 10 alone, 3 dropped". */
export function countsText({ patches }: PatchMap): string {
  const dropped = patches.filter(({ slot }) => slot < 0).length;
  const alone = patches.filter(({ size }) => size === 1).length;
  const groups = new Map(patches.filter(({ size }) => size > 1).map(({ slot, size }) => [slot, size]));
  const sizes = [...groups.values()];
  const [low, high] = [Math.min(...sizes), Math.max(...sizes)];
  const parts = [
    groups.size && `${counted(groups.size, "group")} of ${low === high ? low : `${low} to ${high}`}`,
    alone && `${alone} alone`,
    dropped && `${dropped} dropped`,
  ].filter(Boolean);
  const tokens = alone + groups.size;
  const head = `${counted(patches.length, "patch", "patches")} → ${counted(tokens, "token")}`;
  return `${head}<br>${groups.size || dropped ? parts.join(", ") : "nothing is reduced"}`;
}

/** A caption as part of a sentence. */
export function spoken(caption: string): string {
  return plainText(caption.replace("<br>", ": "));
}

/** A colour for each group, by its first token, the largest groups first; the same in all pictures of a figure. */
export function coloursOf(maps: readonly PatchMap[]): Map<number, string> {
  const largest = new Map<number, number>();
  for (const { patches } of maps) {
    for (const { leader, size } of patches) {
      if (size > 1) largest.set(leader, Math.max(size, largest.get(leader) ?? 0));
    }
  }
  const leaders = [...largest].sort((a, b) => b[1] - a[1] || a[0] - b[0]).map(([leader]) => leader);
  const colours = manyColours(leaders.length);
  return new Map(leaders.map((leader, k) => [leader, colours[k]]));
}

/** What the pointer reads: an invisible heat map of the slots, with a text for each patch. */
export function hoverTrace(map: PatchMap, place: Place, name: string, score?: ArrayLike<number>): Trace {
  const { rows, columns, patches } = map;
  const { left, top, width, height } = place;
  const inRows = <T>(f: (patch: Patch) => T) =>
    Array.from({ length: rows }, (_, row) => patches.slice(row * columns, (row + 1) * columns).map(f));
  return {
    type: "heatmap",
    name,
    z: inRows(({ slot }) => slot),
    x0: left + width / columns / 2,
    dx: width / columns,
    y0: top + height / rows / 2,
    dy: height / rows,
    opacity: 0,
    showscale: false,
    text: inRows((patch) => patchText(patch, score?.[patches.indexOf(patch)])),
    hovertemplate: "%{text}<extra></extra>",
  };
}

/** Members of a group that the pointer's text names one by one. */
const MOST_NAMED = 12;

function patchText({ token, slot, size, members }: Patch, score?: number): string {
  const scored = score === undefined || Number.isNaN(score) ? "" : `<br>score ${brief(score)}`;
  if (slot < 0) return `token ${token}, dropped${scored}`;
  if (size < 2) return `token ${token} → slot ${slot}<br>alone${scored}`;
  const more = members.length > MOST_NAMED ? `, and ${members.length - MOST_NAMED} more` : "";
  return `token ${token} → slot ${slot}<br>one of ${size} tokens: ${
    members.slice(0, MOST_NAMED).join(", ")
  }${more}${scored}`;
}

/** Pixels of the overlay for one of the page, so that lines are sharp on dense screens too. */
const DENSITY = 2;

/**
 * How groups are drawn: half of the white line between them and the coloured line inside, in pixels of the page, and
 * the opacity (0..255) of the colour inside. Among many groups the image is seen only where the colours are light.
 */
const FEW_GROUPS = { most: 16, gap: 0.75, border: 2, tint: 96 };
const MANY_GROUPS = { gap: 0, border: 2, tint: 32 };

const GRID_LINE = [255, 255, 255, 80];
const GAP_LINE = [255, 255, 255, 235];
const FADED = [255, 255, 255, 200];
const UNTOUCHED = [255, 255, 255, 0];

/** What lies over the image, as an image: tints and borders of the groups, the veil over dropped patches, the grid. */
export function overlay({ rows, columns, patches }: PatchMap, place: Place, colours: Map<number, string>): Picture {
  const side = Math.max(4, Math.round(DENSITY * place.width / columns));
  const tall = Math.max(4, Math.round(DENSITY * place.height / rows));
  const [width, height] = [side * columns, tall * rows];
  const data = new Uint8Array(width * height * 4);
  const thin = Math.min(side, tall) < 16 ? 0.5 : 1; // small patches must not be all border
  const groups = new Set(patches.filter(({ size }) => size > 1).map(({ slot }) => slot)).size;
  const { gap, border, tint } = groups > FEW_GROUPS.most ? MANY_GROUPS : FEW_GROUPS;
  const style = { gap: gap * DENSITY * thin, border: (gap + border) * DENSITY * thin, tint };

  for (let y = 0; y < height; y++) {
    const row = Math.floor(y / tall);
    for (let x = 0; x < width; x++) {
      const column = Math.floor(x / side);
      const patch = patches[row * columns + column];
      const inPatch = { x: x - column * side, y: y - row * tall };
      const edge = distanceToOthers(patches, { rows, columns, row, column }, inPatch, { side, tall });
      const line = Math.min(inPatch.x, inPatch.y, side - 1 - inPatch.x, tall - 1 - inPatch.y) < 0.5;
      data.set(inkAt(patch, edge, line, style, colours), 4 * (y * width + x));
    }
  }
  return { width, height, channels: 4, data };
}

function inkAt(
  patch: Patch,
  edge: number,
  gridLine: boolean,
  { gap, border, tint }: { gap: number; border: number; tint: number },
  colours: Map<number, string>,
): number[] {
  if (patch.size > 1) {
    if (edge < gap) return GAP_LINE;
    const colour = hexChannels(colours.get(patch.leader)!);
    if (edge < border) return [...colour, 255];
    return gridLine ? GRID_LINE : [...colour, tint];
  }
  if (patch.slot < 0) return FADED;
  return gridLine ? GRID_LINE : UNTOUCHED;
}

/** Pixels from a place inside a patch to the nearest of the eight neighbours that belongs to another token. */
function distanceToOthers(
  patches: readonly Patch[],
  { rows, columns, row, column }: { rows: number; columns: number; row: number; column: number },
  { x, y }: { x: number; y: number },
  { side, tall }: { side: number; tall: number },
): number {
  const own = patches[row * columns + column];
  if (own.size < 2) return Infinity;
  let nearest = Infinity;
  for (const down of [-1, 0, 1]) {
    for (const right of [-1, 0, 1]) {
      const inside = row + down >= 0 && row + down < rows && column + right >= 0 && column + right < columns;
      if (inside && patches[(row + down) * columns + column + right].slot === own.slot) continue;
      const across = right < 0 ? x : right > 0 ? side - 1 - x : 0;
      const along = down < 0 ? y : down > 0 ? tall - 1 - y : 0;
      nearest = Math.min(nearest, Math.max(across, along));
    }
  }
  return nearest;
}

function hexChannels(colour: string): number[] {
  return [1, 3, 5].map((start) => parseInt(colour.slice(start, start + 2), 16));
}
