import assert from "node:assert/strict";
import { committedRows, orders, readmeOf, switchedOff, withAndWithout } from "../../../experiments/ehr/report.ts";
import { readmeOf as readmeOfAnswers } from "../../../experiments/medical_qa/report.ts";
import { fromCSV } from "../../../lib/experiment/mod.ts";

const at = (path: string) => new URL(`../../../experiments/${path}`, import.meta.url);
const rows = await committedRows();

Deno.test("the pages of the health records' rows say what the rows say", async () => {
  assert.equal(await Deno.readTextFile(at("ehr/README.md")), readmeOf(rows));
  const answers = fromCSV(await Deno.readTextFile(at("medical_qa/rows.csv")), "rows.csv");
  assert.equal(await Deno.readTextFile(at("medical_qa/README.md")), readmeOfAnswers(answers));
});

Deno.test("on the planted world MedTok is ahead of what it is expected to be ahead of, in the mean over seeds", () => {
  const all = orders(rows);
  assert.ok(all.length > 0);
  const asserted = all.filter(({ better, seeds }) => better === "MedTok" && seeds >= 2);
  assert.ok(asserted.length >= 2);
  for (const { better, worse, measure, difference } of asserted) {
    assert.ok(difference > 0, `${better} over ${worse} (${measure}): ${difference}`);
  }
});

Deno.test("five models gain by MedTok in the mean over three worlds, and none loses beyond the noise of seeds", () => {
  const gains = withAndWithout(rows).filter(({ gain, seeds }) => typeof gain === "number" && seeds === 3);
  assert.ok(gains.filter(({ gain }) => Number(gain) > 0).length >= 5);
  for (const { model, gain, high } of gains) assert.ok(Number(high) > 0, `${model}: ${gain}, at most ${high}`);
});

Deno.test("what is switched off changes a committed number", () => {
  for (const { model, without, difference } of switchedOff(rows)) {
    assert.notEqual(difference, 0, `${model} with ${without}`);
  }
});
