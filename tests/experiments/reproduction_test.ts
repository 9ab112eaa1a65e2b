/** The pages of experiments, and the matrix of all tables and figures, are those that the committed rows give. */
import assert from "node:assert/strict";
import { reproduce } from "../../lib/experiment/reproduce.ts";

Deno.test("every experiment has rows, and every page written by `task reproduce` equals them", async () => {
  const { pages, complaints } = await reproduce();
  assert.deepEqual(complaints, []);
  for (const [path, text] of pages) {
    const committed = await Deno.readTextFile(new URL(`../../experiments/${path}`, import.meta.url));
    assert.equal(committed, text, `experiments/${path} is older than its rows; run deno task reproduce`);
  }
});
