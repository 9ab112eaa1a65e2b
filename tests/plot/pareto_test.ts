import assert from "node:assert/strict";
import { pareto, paretoFront, paretoPoints, type ParetoRow } from "tessera/plot/mod.ts";

const row = (method: string, setting: number, seed: number, cost: number, value: number): ParetoRow => ({
  method,
  setting,
  seed,
  cost,
  value,
});
const rows = [
  row("tome", 4, 1, 10, 0.9),
  row("tome", 4, 2, 10, 0.9),
  row("tome", 8, 1, 6, 0.8),
  row("tome", 8, 2, 6, 0.8),
  row("random", 4, 1, 10, 0.85),
  row("random", 4, 2, 10, 0.81),
  row("random", 8, 1, 5, 0.7),
  row("pooling", 8, 1, 7, 0.79),
];

Deno.test("points are means over seeds, and the front holds those that nothing beats", () => {
  const points = paretoPoints(rows);
  assert.deepEqual(points.map(({ method, setting }) => `${method} ${setting}`), [
    "random 8",
    "tome 8",
    "pooling 8",
    "tome 4",
    "random 4",
  ]);
  assert.deepEqual(paretoFront(points).map(({ method, setting }) => `${method} ${setting}`), [
    "random 8",
    "tome 8",
    "tome 4",
  ]);
});

Deno.test("equal points are both on the front: neither beats the other", () => {
  const twins = paretoPoints([row("a", 1, 1, 3, 0.5), row("b", 1, 1, 3, 0.5)]);
  assert.equal(paretoFront(twins).length, 2);
});

Deno.test("pareto() draws a band where there are seeds, dashes the controls and rings the front", async () => {
  const fig = pareto(rows, { x: "MACs", y: "accuracy", title: "T" });
  const names = fig.data.map(({ name }) => name);
  assert.deepEqual(names, ["tome, band", "tome", "random, band", "random", "pooling", "the front"]);
  const dashed = fig.data.filter(({ line }) => (line as { dash?: string } | undefined)?.dash === "dash");
  assert.deepEqual(dashed.map(({ name }) => name), ["random", "pooling"]);
  assert.deepEqual(fig.data[1].y, [0.8, 0.9]);
  assert.deepEqual(fig.data.at(-1)!.x, [5, 6, 10]);
  assert.ok((await fig.toSVG()).includes("the front"));
});

Deno.test("pareto() refuses to be drawn without its controls", () => {
  assert.throws(() => pareto(rows.filter(({ method }) => method !== "random")), /without random cannot say/);
});
