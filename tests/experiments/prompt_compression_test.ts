/** The page about prompt compression says what its rows say, and they hold what was asked of the stages. */
import assert from "node:assert/strict";
import { fromCSV } from "../../lib/experiment/mod.ts";
import { readmeOf } from "../../experiments/prompt_compression/report.ts";

const text = (name: string) =>
  Deno.readTextFileSync(new URL(`../../experiments/prompt_compression/${name}`, import.meta.url));
const rows = fromCSV(text("rows.csv"), "rows.csv");

Deno.test("the page of prompt compression is what its rows say", () => assert.equal(text("README.md"), readmeOf(rows)));

Deno.test("no stage of prompt compression but the model takes more than half of its time", () => {
  assert.ok(rows.length >= 5);
  for (const row of rows.filter(({ modelSeconds }) => Number(modelSeconds) > 0)) {
    assert.ok(Number(row.largestOtherShare) < 0.5, `${row.method}: ${row.largestOtherShare}`);
  }
});
