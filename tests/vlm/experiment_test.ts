/** What experiments/vlm/README.md says, held against the rows that lie beside it. */
import assert from "node:assert/strict";
import { fromCSV } from "../../lib/experiment/mod.ts";

const text = Deno.readTextFileSync(new URL("../../experiments/vlm/rows.csv", import.meta.url));
const rows = fromCSV(text) as readonly Record<string, string | number>[];

/** Means over the seeds. */
function mean(of: "colour" | "half", method: string, keep: number, positions = "original"): number {
  const found = rows.filter((row) => row.method === method && row.keep === keep && row.positions === positions);
  assert.ok(found.length >= 3, `${method}, ${keep}, ${positions}: ${found.length} rows`);
  return found.reduce((sum, row) => sum + Number(row[of]), 0) / found.length;
}

Deno.test("before the first block it matters which tokens stay", () => {
  assert.ok(mean("colour", "random", 16) < 0.85 && mean("half", "random", 16) < 0.9);
  assert.ok(mean("colour", "divprune", 16) > mean("colour", "random", 16) + 0.15);
  assert.ok(mean("half", "divprune", 16) > mean("half", "random", 16) + 0.05);
});

Deno.test("with 8 tokens no method that does not know the question finds more colours than pooling", () => {
  const blind = ["random", "token norm", "divprune", "fastervlm", "vispruner", "visionzip", "prumerge", "prumergePlus"];
  for (const method of blind) assert.ok(mean("colour", method, 8) < mean("colour", "pooling", 8), method);
});

Deno.test("the question helps, and somebody else's does not", () => {
  for (const method of ["cdpruner", "trim"]) {
    for (const keep of [16, 8]) {
      const own = mean("colour", method, keep), others = mean("colour", `${method}, another's question`, keep);
      assert.ok(own > 0.95, `${method} with ${keep}: ${own}`);
      assert.ok(others < mean("colour", "random", keep) + 0.03, `${method} with ${keep}: ${others}`);
      for (const blind of ["divprune", "fastervlm", "vispruner", "token norm"]) {
        assert.ok(own >= mean("colour", blind, keep) - 0.005, `${blind} with ${keep}`);
      }
    }
  }
});

Deno.test("places matter to questions about places alone", () => {
  for (const method of ["divprune", "cdpruner"]) {
    const lost = (of: "colour" | "half") => mean(of, method, 16) - mean(of, method, 16, "reindex");
    assert.ok(lost("half") > 0.2, `${method}: half ${lost("half")}`);
    assert.ok(lost("colour") < 0.1, `${method}: colour ${lost("colour")}`);
  }
});

Deno.test("before block 1 nothing matters", () => {
  for (const method of ["random, block 1", "fastv", "sparsevlm", "dart", "pyramiddrop"]) {
    assert.ok(mean("colour", method, 8) > 0.98 && mean("half", method, 8) > 0.98, method);
  }
});
