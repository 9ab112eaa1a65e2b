/** The committed rows of the Pareto experiment: its page is what they say, and its controls do what controls must. */
import assert from "node:assert/strict";
import experiment from "../../experiments/pareto/experiment.ts";
import { figureOf, readmeOf } from "../../experiments/pareto/report.ts";
import { cellsOf, fromCSV } from "../../lib/experiment/mod.ts";
import { mean } from "../../lib/stats.ts";

const folder = new URL("../../experiments/pareto/", import.meta.url);
const rows = fromCSV(Deno.readTextFileSync(new URL("rows.csv", folder)));

function accuracy(data: string, method: string, r: number): number {
  const found = rows.filter((row) => row.data === data && row.method === method && row.r === r);
  assert.equal(found.length, experiment.seeds.length, `rows of ${method} at ${r} on ${data}`);
  return mean(found.map((row) => Number(row.accuracy)));
}

Deno.test("there is a row for each cell and seed, and the page is written from them", () => {
  assert.equal(rows.length, cellsOf(experiment).length);
  assert.equal(Deno.readTextFileSync(new URL("README.md", folder)), readmeOf(rows));
});

Deno.test("on digits merging loses less than chance and than pooling at every budget", () => {
  for (const r of experiment.grid.r) {
    for (const control of ["random", "pooling"]) {
      assert.ok(accuracy("mnist", "tome", r) > accuracy("mnist", control, r), `ToMe and ${control} at ${r}`);
    }
  }
});

Deno.test("on X-rays chance is within two points of ToMe: such data cannot rank methods", () => {
  assert.ok(Math.abs(accuracy("pneumonia", "random", 4) - accuracy("pneumonia", "tome", 4)) < 0.02);
});

Deno.test("the figures have both controls and a front", () => {
  for (const data of ["mnist", "pneumonia"] as const) {
    for (const cost of ["macs", "timeShare"] as const) {
      assert.match(figureOf(rows, data, cost).alt, /on the front: /);
    }
  }
});
