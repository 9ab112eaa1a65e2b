/**
 * Differences with their intervals, one below the other beside a line at zero: a forest plot.
 *
 * @module
 */
import { plainText } from "./alternative_text.ts";
import type { ChartOptions } from "./charts.ts";
import { type Figure, figure, type Trace } from "./figure.ts";
import { figureWidth, inkColour, palette, symbols } from "./look.ts";

/** A difference and its interval. */
export interface Difference {
  readonly name: string;
  readonly value: number;
  readonly low: number;
  readonly high: number;
  /** Lines of one group share a colour, a marker and an entry of the legend, such as a verdict. */
  readonly group?: string;
}

/** Pixels of a line, and of what stands above and below them all. */
const LINE = 26, AROUND = 120;

/** The line at 0, which everything is read against. */
const ZERO = { zeroline: true, zerolinecolor: inkColour, zerolinewidth: 1.5 };

/**
 * A forest plot: each difference as a point on its interval, beside a line at zero.
 *
 * @param differences From top to bottom; in the units of what was measured.
 * @throws {RangeError} Where there is none, two have one name, or a value lies outside its interval.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * const { alt } = forest([
 *   { name: "ToMe - random", value: 0.08, low: 0.05, high: 0.11 },
 *   { name: "ToMe - pooling", value: 0.01, low: -0.02, high: 0.04 },
 * ]);
 * assert.match(alt, /ToMe - random 0.08 \[0.05, 0.11\]; .* The intervals of 1 of 2 exclude 0/);
 * ```
 */
export function forest(differences: readonly Difference[], options: Omit<ChartOptions, "log" | "lines"> = {}): Figure {
  if (!differences.length) throw new RangeError("there is nothing to draw: pass at least one difference");
  const names = differences.map(({ name }) => name);
  const twice = names.find((name, i) => names.indexOf(name) !== i);
  if (twice !== undefined) throw new RangeError(`two differences are called "${twice}"; give each a name of its own`);
  const wrong = differences.find(({ value, low, high }) => !(low <= value && value <= high));
  if (wrong) {
    throw new RangeError(
      `"${wrong.name}" is ${wrong.value}, outside its interval from ${wrong.low} to ${wrong.high}; pass low <= value <= high`,
    );
  }
  const { title, x = "difference", y, xRange, width = figureWidth, height = AROUND + LINE * differences.length } =
    options;
  const groups = [...Map.groupBy(differences, ({ group = "" }) => group)];
  const data = groups.map(([group, lines], k): Trace => ({
    type: "scatter",
    mode: "markers",
    name: group || "difference",
    x: lines.map(({ value }) => value),
    y: lines.map(({ name }) => name),
    marker: { color: palette[k % palette.length], symbol: symbols[k % symbols.length], size: 9 },
    error_x: {
      type: "data",
      symmetric: false,
      array: lines.map(({ value, high }) => high - value),
      arrayminus: lines.map(({ value, low }) => value - low),
      color: palette[k % palette.length],
      thickness: 1.6,
      width: 5,
    },
    text: lines.map(({ low, high }) => `[${short(low)}, ${short(high)}]`),
    hovertemplate: `%{y}<br>%{x:.3~g} %{text}${group && `<br>${plainText(group)}`}<extra></extra>`,
  }));
  const layout = {
    ...title && { title: { text: title } },
    margin: { l: 60, r: 24, t: title ? 52 : 24, b: 52 },
    width,
    height,
    showlegend: groups.length > 1,
    legend: { orientation: "h", x: 0, y: 1, yanchor: "bottom" },
    xaxis: { title: { text: x }, range: [...xRange ?? aroundZero(differences)], ...ZERO },
    yaxis: {
      ...y && { title: { text: y } },
      type: "category",
      categoryorder: "array",
      categoryarray: names.toReversed(),
      range: [-0.6, names.length - 0.4],
    },
  };
  const apart = differences.filter(({ low, high }) => low > 0 || high < 0).length;
  const said = differences.map(({ name, value, low, high, group }) =>
    `${name} ${short(value)} [${short(low)}, ${short(high)}]${group ? `, ${group}` : ""}`
  ).join("; ");
  const alt = options.alt ??
    `${
      title ? `${title}. ` : ""
    }Forest plot of ${x}: ${said}. The intervals of ${apart} of ${differences.length} exclude 0.`;
  return figure(data, layout, { alt });
}

/** What a figure of verdicts needs of a card. */
export interface JudgedClaim {
  readonly claim: { readonly id: string };
  readonly verdict: { readonly verdict: string; readonly differences: readonly Omit<Difference, "group">[] };
}

/**
 * The differences of claims to each of their controls, coloured by verdict. A claim that could not be judged has none; it
 * is named below the figure.
 *
 * @param cards What `judge` gives.
 * @throws {RangeError} Where no card has a difference.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * const differences = [{ name: "random", value: 0.1, low: 0.05, high: 0.15 }];
 * const fig = verdictsFigure([
 *   { claim: { id: "C4a" }, verdict: { verdict: "supported", differences } },
 *   { claim: { id: "C4b" }, verdict: { verdict: "not interpretable", differences: [] } },
 * ]);
 * assert.match(fig.alt, /C4a against random 0.1 \[0.05, 0.15\], supported/);
 * assert.deepEqual(fig.notes, ["C4b: not interpretable"]);
 * ```
 */
export function verdictsFigure(
  cards: readonly JudgedClaim[],
  options: Omit<ChartOptions, "log" | "lines"> = {},
): Figure {
  const lines = cards.flatMap(({ claim, verdict }) =>
    verdict.differences.map(({ name, value, low, high }) => ({
      name: `${claim.id} against ${name}`,
      value,
      low,
      high,
      group: verdict.verdict,
    }))
  );
  const silent = cards.filter(({ verdict }) => !verdict.differences.length);
  const chart = forest(lines, { x: "paired difference, 95 % interval", ...options });
  return figure(chart.data, chart.layout, {
    alt: chart.alt,
    notes: silent.map(({ claim, verdict }) => `${claim.id}: ${verdict.verdict}`),
  });
}

/** From the lowest to the highest end of an interval, with 0 and some air. */
function aroundZero(differences: readonly Difference[]): [number, number] {
  const low = Math.min(0, ...differences.map((one) => one.low)),
    high = Math.max(0, ...differences.map((one) => one.high));
  const air = 0.06 * (high - low || 1);
  return [low - air, high + air];
}

function short(value: number): string {
  return String(Number(value.toPrecision(3)));
}
