/** SynthLab's table, as it was computed and committed: the order of its rows, and what its page says about them. */
import assert from "node:assert/strict";
import { fromCSV } from "../../lib/experiment/mod.ts";
import { mean } from "../../lib/stats.ts";
import { readmeOf } from "../../experiments/synthlab/report.ts";

const folder = new URL("../../experiments/synthlab/", import.meta.url);
const rows = fromCSV(Deno.readTextFileSync(new URL("rows.csv", folder)));

function scores(model: string, task: "immediate" | "delayed", column = "mae"): number[] {
  const found = rows.filter((row) => row.model === model && row.task === task).map((row) => row[column] as number);
  assert.ok(found.length > 0, `no rows of ${model}`);
  return found;
}

Deno.test("CLEF as in the repository has at least 15 % less immediate error than its twin in raw units, on three seeds", () => {
  const clef = scores("CLEF, base mean, raw units", "immediate");
  const twin = scores("non-CLEF, raw units", "immediate");
  assert.deepEqual([clef.length, twin.length], [3, 3]);
  clef.forEach((value, seed) => assert.ok(value <= 0.85 * twin[seed], `${value} and ${twin[seed]}`));
});

Deno.test("SynthLab's rows stand in the order of the specification", () => {
  const immediate = (model: string) => mean(scores(model, "immediate"));
  const delayed = (model: string) => mean(scores(model, "delayed"));
  const order = [
    "CLEF+, base last",
    "last observed value",
    "CLEF, centred",
    "CLEF, base mean, raw units",
    "historical mean",
    "non-CLEF, raw units",
  ].map(immediate);
  assert.ok(order.every((value, i) => i === 0 || value > order[i - 1]), order.join(" < "));
  // z-scoring the twin takes the whole gap away
  assert.ok(immediate("non-CLEF, z-scored") < immediate("CLEF, base mean, raw units"));
  assert.ok(delayed("non-CLEF, z-scored") < delayed("CLEF, base mean, raw units"));
  // the last value wins at once, the mean later
  assert.ok(immediate("last observed value") < immediate("historical mean"));
  assert.ok(delayed("historical mean") < delayed("last observed value"));
});

Deno.test("the simple rows lie within 3 % of the specification", () => {
  const close = (model: string, task: "immediate" | "delayed", expected: number) =>
    assert.ok(Math.abs(mean(scores(model, task)) / expected - 1) < 0.03, model);
  close("historical mean", "immediate", 10.83);
  close("historical mean", "delayed", 12.75);
  close("last observed value", "immediate", 7.27);
  close("last observed value", "delayed", 13.43);
});

Deno.test("the experiment's page is what its rows say", async () => {
  assert.equal(Deno.readTextFileSync(new URL("README.md", folder)), await readmeOf());
});
