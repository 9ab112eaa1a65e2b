/**
 * The microscope over a cache of keys and values: which head still holds which token, and how much of the attention that it
 * would pay is on tokens that it has dropped; with a slider over time.
 *
 * Everything is given as plain numbers; `cacheMicroscope` in `lib/reduction` collects them from a model.
 *
 * @module
 */
import { type Figure, figure, type Trace } from "./figure.ts";
import { figureWidth, palette } from "./look.ts";
import { figureSlider } from "./slider.ts";

/** A cache at one time. */
export interface CacheFrame {
  /** Tokens that have been read or made so far. */
  readonly time: number;
  /** [heads][time]: 1 where the head holds the token, 0 where it has dropped it. */
  readonly held: readonly ArrayLike<number>[];
  /** [heads]: share of the next token's attention, with the full cache, that is on what the head has dropped; 0 to 1. */
  readonly lost: ArrayLike<number>;
}

/** What a microscope over a cache can be told. */
export interface CacheFigureOptions {
  readonly title?: string;
  /** Names of the heads, from the top. Default: 0, 1, ... */
  readonly heads?: readonly string[];
  /** How each token reads, for the pointer. */
  readonly tokens?: readonly string[];
  /** Length of the prompt: a line stands behind it. */
  readonly prompt?: number;
  /** Which frame is shown first. Default: the last. */
  readonly active?: number;
}

const HELD = palette[0], DROPPED = "#f0dcc8";

/**
 * Draws a cache over time: heads from the top, tokens from the left; dark where a head holds the token, pale where it has
 * dropped it. To the right the attention that each head has lost.
 *
 * @throws {RangeError} If there is no frame, or frames differ in their heads.
 *
 * @example A head that forgets the first of two tokens
 * ```ts
 * import assert from "node:assert/strict";
 * const fig = cacheFigure([
 *   { time: 1, held: [[1]], lost: [0] },
 *   { time: 2, held: [[0, 1]], lost: [0.4] },
 * ]);
 * assert.match(fig.alt, /at 2 tokens 1 of 2 slots are held, .* 40 % of the attention lies on what was dropped/);
 * ```
 */
export function cacheFigure(frames: readonly CacheFrame[], options: CacheFigureOptions = {}): Figure {
  if (frames.length === 0) throw new RangeError("a microscope needs at least one frame, but there is none; pass some");
  const heads = frames[0].held.length;
  const other = frames.find(({ held, lost }) => held.length !== heads || lost.length !== heads);
  if (heads === 0 || other) {
    throw new RangeError(
      `every frame needs the same heads, but there are ${heads} and ${other?.held.length ?? 0}; look at one model`,
    );
  }
  const { active = frames.length - 1, tokens, prompt } = options;
  if (!frames[active]) {
    throw new RangeError(`active must be a frame, 0 to ${frames.length - 1}, but it is ${active}`);
  }
  const names = options.heads ?? Array.from({ length: heads }, (_, head) => String(head));
  const longest = Math.max(...frames.map(({ time }) => time));
  const percent = (share: number) => `${Math.round(100 * share)} %`;
  const mean = ({ lost }: CacheFrame) => Array.from(lost).reduce((sum, share) => sum + share, 0) / heads;
  const count = ({ held }: CacheFrame) => held.reduce((sum, row) => sum + Array.from(row).filter(Boolean).length, 0);
  const caption = (frame: CacheFrame) =>
    `${count(frame)} of ${heads * frame.time} slots held; ${percent(mean(frame))} of the attention lost`;
  const data = frames.flatMap((frame, at): Trace[] => [
    {
      type: "heatmap",
      name: "held",
      z: frame.held.map((row) => Array.from(row)),
      y: names,
      ...(tokens ? { text: names.map(() => tokens.slice(0, frame.time)) } : {}),
      colorscale: [[0, DROPPED], [1, HELD]],
      zmin: 0,
      zmax: 1,
      showscale: false,
      xgap: longest > 150 ? 0 : 0.5,
      ygap: 1,
      hovertemplate: `head %{y}<br>token %{x}${tokens ? ": %{text}" : ""}<br>held: %{z}<extra></extra>`,
      visible: at === active,
    },
    {
      type: "bar",
      name: "attention lost",
      orientation: "h",
      x: Array.from(frame.lost),
      y: names,
      xaxis: "x2",
      marker: { color: palette[1] },
      hovertemplate: "head %{y}<br>lost: %{x:.1%}<extra></extra>",
      visible: at === active,
    },
  ]);
  const steps = frames.map((frame, at) => ({
    label: String(frame.time),
    method: "update",
    args: [
      { visible: frames.flatMap((_, own) => [own === at, own === at]) },
      { "annotations[0].text": caption(frame) },
    ],
  }));
  const shown = frames[active];
  const alt = `Cache of ${heads} heads with a slider over time: at ${shown.time} tokens ${count(shown)} of ` +
    `${heads * shown.time} slots are held, and ${percent(mean(shown))} of the attention lies on what was dropped.`;
  return figure(data, {
    ...(options.title ? { title: { text: options.title } } : {}),
    width: figureWidth + 80,
    height: 150 + Math.max(14, Math.min(20, 400 / heads)) * heads,
    margin: { l: 74, r: 20, t: options.title ? 66 : 34, b: 96 },
    showlegend: false,
    bargap: 0.25,
    xaxis: {
      title: { text: "token" },
      domain: [0, 0.78],
      range: [-0.5, longest - 0.5],
      showgrid: false,
      zeroline: false,
    },
    xaxis2: {
      title: { text: "attention lost" },
      domain: [0.82, 1],
      range: [0, 1],
      tickformat: ".0%",
      nticks: 3,
      anchor: "y",
    },
    yaxis: { type: "category", autorange: "reversed", showgrid: false, ticks: "", tickfont: { size: 10 } },
    annotations: [{
      text: caption(shown),
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
    ...(prompt === undefined ? {} : {
      shapes: [{
        type: "line",
        x0: prompt - 0.5,
        x1: prompt - 0.5,
        yref: "paper",
        y0: 0,
        y1: 1,
        line: { color: "#777777", width: 1.2, dash: "dot" },
      }],
    }),
    sliders: [{ ...figureSlider(steps, active, "tokens so far: "), pad: { t: 46, b: 0 } }],
  }, { alt });
}
