/**
 * The Pareto figure: what a result costs, method by method. Which of them is worth its price is on the front: the points
 * for which no other is both cheaper and better.
 *
 * Random choice and pooling always belong into it: without them no method can be called smart.
 *
 * @module
 */
import { type ChartOptions, type Curve, curves } from "./charts.ts";
import { counted } from "./display.ts";
import { type Figure, figure } from "./figure.ts";

/** One run: a method at one setting and seed. */
export interface ParetoRow {
  readonly method: string;
  /** What was set, such as the tokens removed; rows of one method and setting make one point, over their seeds. */
  readonly setting: string | number;
  readonly seed: number;
  /** What it costs, on the x axis. */
  readonly cost: number;
  /** What it gives, on the y axis; higher is better. */
  readonly value: number;
}

/** What a Pareto figure can be told. */
export interface ParetoOptions extends ChartOptions {
  /** Methods that must be among the rows, drawn with dashes. Default: random and pooling. */
  readonly controls?: readonly string[];
}

/** The mean of one method at one setting. */
export interface ParetoPoint {
  readonly method: string;
  readonly setting: string | number;
  readonly cost: number;
  readonly value: number;
}

/**
 * The means over seeds, one per method and setting, in the order of their costs.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * const row = { method: "tome", setting: 8, cost: 1 };
 * assert.deepEqual(paretoPoints([{ ...row, seed: 1, value: 0.8 }, { ...row, seed: 2, value: 0.9 }])[0].value, 0.8500000000000001);
 * ```
 */
export function paretoPoints(rows: readonly ParetoRow[]): ParetoPoint[] {
  return [...grouped(rows)].map(([, group]) => ({
    method: group[0].method,
    setting: group[0].setting,
    cost: average(group.map(({ cost }) => cost)),
    value: average(group.map(({ value }) => value)),
  })).sort((a, b) => a.cost - b.cost || b.value - a.value);
}

/**
 * The points that no other beats: none is as cheap and better, or cheaper and as good.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * const at = (cost: number, value: number) => ({ method: "m", setting: cost, cost, value });
 * assert.deepEqual(paretoFront([at(1, 0.7), at(2, 0.6), at(3, 0.9)]).map(({ cost }) => cost), [1, 3]);
 * ```
 */
export function paretoFront(points: readonly ParetoPoint[]): ParetoPoint[] {
  const beaten = (a: ParetoPoint) =>
    points.some((b) => b.cost <= a.cost && b.value >= a.value && (b.cost < a.cost || b.value > a.value));
  return points.filter((point) => !beaten(point)).sort((a, b) => a.cost - b.cost);
}

/**
 * Draws value against cost: a curve per method with a band over its seeds, controls dashed, the front ringed.
 *
 * @throws {RangeError} Where a control is missing among the methods.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * const row = (method: string, cost: number, value: number) => ({ method, setting: cost, seed: 1, cost, value });
 * const rows = [row("tome", 1, 0.9), row("random", 1, 0.7), row("pooling", 1, 0.8)];
 * assert.match(pareto(rows, { x: "MACs", y: "accuracy" }).alt, /on the front: tome at 1/);
 * assert.throws(() => pareto(rows.slice(0, 2)), /without pooling/);
 * ```
 */
export function pareto(rows: readonly ParetoRow[], options: ParetoOptions = {}): Figure {
  const { controls = ["random", "pooling"], ...chartOptions } = options;
  const methods = [...new Set(rows.map(({ method }) => method))];
  for (const control of controls) {
    if (!methods.includes(control)) {
      throw new RangeError(
        `a Pareto figure without ${control} cannot say whether a method is smart; add its rows, or name other controls`,
      );
    }
  }
  const series = [...methods.filter((m) => !controls.includes(m)), ...controls].map((method): Curve => {
    const groups = [...grouped(rows.filter((row) => row.method === method)).values()]
      .sort((a, b) => average(a.map(({ cost }) => cost)) - average(b.map(({ cost }) => cost)));
    const values = groups.map((group) => group.map(({ value }) => value));
    const band = values.some((of) => of.length > 1)
      ? { low: values.map((of) => Math.min(...of)), high: values.map((of) => Math.max(...of)) }
      : {};
    return {
      name: method,
      x: groups.map((group) => average(group.map(({ cost }) => cost))),
      y: values.map(average),
      ...band,
      dash: controls.includes(method),
    };
  });
  const chart = curves(series, chartOptions);
  const front = paretoFront(paretoPoints(rows));
  const rings = {
    type: "scatter",
    mode: "markers",
    name: "the front",
    x: front.map(({ cost }) => cost),
    y: front.map(({ value }) => value),
    marker: { symbol: "circle-open", size: 14, color: "#222222", line: { width: 1.5 } },
    hoverinfo: "skip",
  };
  const seeds = new Set(rows.map(({ seed }) => seed)).size;
  const onFront = front.map(({ method, setting }) => `${method} at ${setting}`).join(", ");
  const alt = options.alt ??
    `${options.y ?? "Value"} against ${options.x ?? "cost"} of ${
      counted(methods.length, "method")
    }; on the front: ${onFront}.`;
  const band = seeds > 1 ? [`Bands: lowest to highest of ${seeds} seeds, line: their mean`] : [];
  return figure([...chart.data, rings], chart.layout, {
    alt,
    notes: ["Rings: no other method is both cheaper and better", ...band],
  });
}

function grouped(rows: readonly ParetoRow[]): Map<string, ParetoRow[]> {
  return Map.groupBy(rows, ({ method, setting }) => JSON.stringify([method, setting]));
}

function average(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}
