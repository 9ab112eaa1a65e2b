/** The pages of experiments, and the matrix of all tables and figures, are those that the committed rows give. */
import assert from "node:assert/strict";
import { experimentAt, experimentNames, folderOf, moduleOf } from "../../lib/experiment/declared.ts";
import { planOf } from "../../lib/experiment/run.ts";
import { Store } from "../../lib/experiment/store.ts";
import { reproduce } from "../../lib/experiment/reproduce.ts";

Deno.test("every experiment has rows, and every page written by `task reproduce` equals them", async () => {
  const { pages, complaints } = await reproduce();
  assert.deepEqual(complaints, []);
  for (const [path, text] of pages) {
    const committed = await Deno.readTextFile(new URL(`../../experiments/${path}`, import.meta.url));
    assert.equal(committed, text, `experiments/${path} is older than its rows; run deno task reproduce`);
  }
});

Deno.test("every experiment has a small run, whose rows are all there and take under two minutes together", async () => {
  for (const name of experimentNames()) {
    const { experiment, module } = await experimentAt(moduleOf(name), true);
    assert.ok(experiment.fast, `${name} names no part of its grid for --fast`);
    const rows = new Store(folderOf(module, experiment)).collected();
    const seconds = new Map(rows.map((row) => [String(row.key), Number(row.seconds)]));
    const missing = planOf(experiment).filter(({ key }) => !seconds.has(key));
    assert.equal(missing.length, 0, `run \`task experiment run ${name} --fast\` and commit fast/rows.csv`);
    const sum = [...seconds.values()].reduce((sum, value) => sum + value, 0);
    assert.ok(sum < 120, `the small run of ${name} took ${sum.toFixed(0)} s`);
  }
});
