/**
 * The microscope over a text: which tokens stay, which are dropped, and how they were judged, with a slider over layers,
 * rates or methods.
 *
 * @module
 */
import { type Figure, figure, type Trace } from "./figure.ts";
import { figureSlider } from "./slider.ts";

/** A text whose reduction is to be looked at. */
export interface TextLook {
  readonly text: string;
  /** First character of each token in the text. */
  readonly starts: ArrayLike<number>;
  /** Character after each token. */
  readonly ends: ArrayLike<number>;
  /** One for each layer, rate or method; the same tokens in each. */
  readonly layers: readonly {
    readonly label: string;
    /** 1 where a token stays. */
    readonly kept: ArrayLike<number>;
    /** By what each was judged, higher = stays; NaN where it was not judged. */
    readonly score: ArrayLike<number>;
  }[];
}

/** What a microscope over a text can be told. */
export interface TextFigureOptions {
  readonly title?: string;
  /** What the slider is over. Default: "layer". */
  readonly slider?: string;
  /** Which layer is shown first. Default: the last. */
  readonly active?: number;
  /** Characters of a line. Default: 84. */
  readonly columns?: number;
}

const FONT = "DejaVu Sans Mono, Menlo, Consolas, monospace";
/** Paler than the text upon it in every shade. */
const SHADES = [[0, "#f7fbff"], [0.5, "#c6dbef"], [1, "#6baed6"]];
const CHARACTER = 7.4, LINE = 21;

interface Piece {
  readonly token: number;
  readonly text: string;
  readonly line: number;
  readonly column: number;
}

/**
 * Draws a text with its tokens: those that stay on a shade that is darker the higher they were judged, those that were
 * dropped grey and struck through.
 *
 * Shades go by rank among the layer's scores, so that one very high score does not make all others pale.
 *
 * @throws {RangeError} If there is no layer, or layers differ in their tokens.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * const layers = [{ label: "0.5", kept: [0, 1], score: [0.1, 0.9] }];
 * const fig = textFigure({ text: "the fox", starts: [0, 3], ends: [3, 7], layers });
 * assert.match(fig.alt, /1 of 2 tokens stay: " fox"/);
 * ```
 */
export function textFigure(look: TextLook, options: TextFigureOptions = {}): Figure {
  const { text, starts, ends, layers } = look;
  const { slider = "layer", active = layers.length - 1, columns = 84, title } = options;
  if (layers.length === 0) throw new RangeError("a microscope needs at least one layer, but there is none; pass some");
  const count = starts.length;
  const other = [ends, ...layers.flatMap(({ kept, score }) => [kept, score])].find((of) => of.length !== count);
  if (other) {
    throw new RangeError(
      `every layer needs all tokens, but there are ${count} starts and ${other.length} in another list; pass one per token`,
    );
  }
  if (!layers[active]) throw new RangeError(`active must be a layer, 0 to ${layers.length - 1}, but it is ${active}`);
  const pieces = inLines(look, columns);
  const lines = 1 + Math.max(0, ...pieces.map(({ line }) => line));
  const data: Trace[] = [];
  for (const [at, { kept, score }] of layers.entries()) {
    const rank = ranks(score);
    const shade: (number | null)[][] = Array.from({ length: lines }, () => Array(columns).fill(null));
    const words = [{ of: 1, x: [] as number[], y: [] as number[], text: [] as string[], said: [] as string[] }, {
      of: 0,
      x: [],
      y: [],
      text: [],
      said: [],
    }];
    for (const { token, text, line, column } of pieces) {
      const stays = kept[token] ? 1 : 0;
      if (stays) shade[line].fill(rank[token], column, column + text.length);
      const list = words[1 - stays];
      const word = text.trim();
      const before = word === "" ? 0 : text.length - text.trimStart().length;
      list.x.push(column + before + (word.length || text.length) / 2 - 0.5);
      list.y.push(line);
      const safe = (word || "·").replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
      list.text.push(stays ? safe : `<s>${safe}</s>`);
      list.said.push(`token ${token}: ${stays ? "stays" : "dropped"}<br>score ${Number(score[token]).toPrecision(3)}`);
    }
    const visible = at === active;
    data.push({
      type: "heatmap",
      z: shade,
      colorscale: SHADES,
      zmin: 0,
      zmax: 1,
      showscale: false,
      hoverinfo: "skip",
      visible,
      name: "score",
    });
    for (const { of, x, y, text, said } of words) {
      data.push({
        type: "scatter",
        mode: "text",
        name: of ? "kept" : "dropped",
        x,
        y,
        text,
        customdata: said,
        hovertemplate: "%{customdata}<extra></extra>",
        textfont: { family: FONT, size: 12, color: of ? "#111111" : "#9a9a9a" },
        visible,
      });
    }
  }
  const stays = (at: number) => Array.from(layers[at].kept).filter(Boolean).length;
  const caption = (at: number) => `${stays(at)} of ${count} tokens stay`;
  const steps = layers.map(({ label }, at) => ({
    label,
    method: "update",
    args: [
      { visible: layers.flatMap((_, own) => [own === at, own === at, own === at]) },
      { "annotations[0].text": caption(at) },
    ],
  }));
  const first = Array.from({ length: count }, (_, token) => token).filter((token) => layers[active].kept[token]).slice(
    0,
    12,
  )
    .map((token) => JSON.stringify(text.slice(starts[token], ends[token])));
  const alt = `Text of ${count} tokens with a slider over ${slider}; shown is ${layers[active].label}. ` +
    `${caption(active)}: ${first.join(", ")}${stays(active) > 12 ? ", ..." : ""}.`;
  const top = title ? 66 : 34, bottom = layers.length > 1 ? 74 : 10;
  // long labels stand in the middle of their ticks: the slider ends before the picture does
  const longest = Math.max(...[layers[0], layers[layers.length - 1]].map(({ label }) => label.length));
  const inward = Math.min(0.2, Math.max(0, 3.2 * longest - 12) / (columns * CHARACTER));
  return figure(data, {
    ...(title ? { title: { text: title } } : {}),
    width: Math.round(columns * CHARACTER) + 24,
    height: lines * LINE + top + bottom,
    margin: { l: 12, r: 12, t: top, b: bottom },
    showlegend: false,
    hovermode: "closest",
    xaxis: { visible: false, range: [-0.5, columns - 0.5], fixedrange: true },
    yaxis: { visible: false, range: [lines - 0.5, -0.5], fixedrange: true },
    annotations: [{
      text: caption(active),
      showarrow: false,
      font: { size: 12 },
      xref: "paper",
      yref: "paper",
      x: 0,
      y: 1,
      xanchor: "left",
      yanchor: "bottom",
      yshift: 4,
    }],
    ...(layers.length > 1
      ? { sliders: [{ ...figureSlider(steps, active, `${slider}: `), x: inward, len: 1 - 2 * inward }] }
      : {}),
  }, { alt });
}

/** Where each token stands: lines are broken at spaces, and at the text's own ends of lines; a long token is cut. */
function inLines({ text, starts, ends }: TextLook, columns: number): Piece[] {
  const pieces: Piece[] = [];
  let line = 0, column = 0;
  for (let token = 0; token < starts.length; token++) {
    for (const [i, part] of text.slice(starts[token], ends[token]).split("\n").entries()) {
      if (i > 0) [line, column] = [line + 1, 0];
      let rest = part;
      const next = /^\S*/.exec(text.slice(ends[token]))![0].length; // the word may go on in the next token
      if (column > 0 && /^\s/.test(rest) && column + rest.length + (i === 0 ? next : 0) > columns) {
        [line, column, rest] = [line + 1, 0, rest.trimStart()];
      }
      while (rest.length > 0) {
        if (column >= columns) [line, column] = [line + 1, 0];
        const fits = rest.slice(0, columns - column);
        pieces.push({ token, text: fits, line, column });
        column += fits.length;
        rest = rest.slice(fits.length);
      }
    }
  }
  return pieces;
}

/** Rank of each score among them, 0 to 1; equal scores have one rank; 0 where there is none. */
function ranks(score: ArrayLike<number>): number[] {
  const sorted = [...new Set(Array.from(score).filter((value) => !Number.isNaN(value)))].sort((a, b) => a - b);
  const rank = new Map(sorted.map((value, i) => [value, sorted.length === 1 ? 1 : i / (sorted.length - 1)]));
  return Array.from(score, (value) => rank.get(value) ?? 0);
}
