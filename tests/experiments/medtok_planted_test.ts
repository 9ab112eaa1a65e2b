import assert from "node:assert/strict";
import { fromCSV, type Row } from "../../lib/experiment/mod.ts";
import { claims, readmeOf } from "../../experiments/medtok_planted/report.ts";

const folder = new URL("../../experiments/medtok_planted/", import.meta.url);
const rows: readonly Row[] = fromCSV(await Deno.readTextFile(new URL("rows.csv", folder)), "rows.csv");

Deno.test("the planted world's page is what its rows say", async () => {
  assert.equal(await Deno.readTextFile(new URL("README.md", folder)), await readmeOf(rows));
});

Deno.test("what must hold on the planted world holds for every seed that was run; that the shared slots leak is not hidden", () => {
  const verdicts = new Map(claims(rows).map(({ claim, verdict }) => [claim as string, verdict]));
  const leak = [...verdicts.keys()].filter((claim) => claim.includes("from the shared slots"));
  assert.equal(leak.length, 1);
  for (const [claim, verdict] of verdicts) {
    if (!leak.includes(claim)) assert.equal(verdict, "supported", claim);
    else assert.notEqual(verdict, "not run");
  }
});
