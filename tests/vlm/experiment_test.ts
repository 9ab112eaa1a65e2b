/** What the rows of experiments/vlm show: before which block, and for which question, it matters which tokens stay. */
import assert from "node:assert/strict";
import { differing } from "../../experiments/vlm/report.ts";
import { fromCSV } from "../../lib/experiment/mod.ts";

const text = Deno.readTextFileSync(new URL("../../experiments/vlm/rows.csv", import.meta.url));
const rows = fromCSV(text) as readonly Record<string, string | number>[];

type Kind = "colour" | "half" | "twin";
const kinds: Kind[] = ["colour", "half", "twin"];

/** Means over the seeds. */
function mean(of: Kind, method: string, keep: number, positions = "original"): number {
  const found = rows.filter((row) => row.method === method && row.keep === keep && row.positions === positions);
  assert.ok(found.length >= 3, `${method}, ${keep}, ${positions}: ${found.length} rows`);
  return found.reduce((sum, row) => sum + Number(row[of]), 0) / found.length;
}

Deno.test("before the first block it matters which tokens stay, to every question", () => {
  for (const kind of kinds) {
    assert.ok(mean(kind, "random", 16) < 0.85, kind);
    assert.ok(mean(kind, "divprune", 16) > mean(kind, "random", 16) + 0.1, kind);
  }
});

Deno.test("with 8 tokens no method that does not know the question finds clearly more colours than pooling, but some more twins", () => {
  const blind = ["random", "token norm", "divprune", "fastervlm", "vispruner", "visionzip", "prumerge", "prumergePlus"];
  for (const method of blind) assert.ok(mean("colour", method, 8) < mean("colour", "pooling", 8) + 0.01, method);
  for (const method of ["visionzip", "prumerge", "fastervlm", "divprune"]) {
    assert.ok(mean("twin", method, 8) > mean("twin", "pooling", 8), method);
  }
});

Deno.test("the question helps where it names what the answer needs, and somebody else's does not", () => {
  for (const method of ["cdpruner", "trim"]) {
    for (const keep of [16, 8]) {
      const own = mean("colour", method, keep), others = mean("colour", `${method}, another's question`, keep);
      assert.ok(own > 0.95, `${method} with ${keep}: ${own}`);
      assert.ok(others < own - 0.15, `${method} with ${keep}: ${others}`);
    }
    assert.ok(mean("colour", `${method}, another's question`, 8) < mean("colour", "random", 8) + 0.03, method);
    assert.ok(mean("twin", method, 8) < mean("twin", "random", 8) - 0.1, `${method} throws the twin away`);
  }
});

Deno.test("places matter to questions about places alone, and hardly after the first blocks", () => {
  for (const method of ["divprune", "cdpruner", "divprune, block 2"]) {
    const lost = (of: Kind) => mean(of, method, 16) - mean(of, method, 16, "reindex");
    if (method === "divprune, block 2") assert.ok(lost("half") > 0.02 && lost("half") < 0.1, `half ${lost("half")}`);
    else assert.ok(lost("half") > 0.2, `${method}: half ${lost("half")}`);
    for (const kind of ["colour", "twin"] as const) assert.ok(lost(kind) < 0.1, `${method}: ${kind} ${lost(kind)}`);
  }
});

Deno.test("before block 2 methods differ in the question that needs a second look", () => {
  const twin = (method: string) => mean("twin", method, 8);
  assert.ok(twin("pyramiddrop") > 0.97 && twin("divprune, block 2") > 0.95);
  assert.ok(twin("dart") < twin("divprune, block 2") - 0.05 && twin("dart") > twin("random, block 2") + 0.05);
  for (const method of ["fastv", "sparsevlm"]) assert.ok(twin(method) < twin("random, block 2") + 0.03, method);
  assert.ok(twin("withdrawn, block 2") < twin("random, block 2") - 0.2);
  assert.ok(twin("withdrawn, block 3") > 0.97, "before block 3 the image is not needed any more");
});

Deno.test("before block 2 the questions that need one look are decided", () => {
  const there = [
    "random, block 2",
    "withdrawn, block 2",
    "fastv",
    "sparsevlm",
    "dart",
    "pyramiddrop",
    "divprune, block 2",
  ];
  for (const method of there) {
    assert.ok(mean("colour", method, 8) > 0.98 && mean("half", method, 8) > 0.94, method);
  }
});

Deno.test("the page says of a method that it is above a control where the interval over seeds says so, and else not", () => {
  const made = ["a", "b", "c", "base"].flatMap((method) =>
    [1, 2, 3].map((seed) => ({
      method,
      keep: 8,
      positions: "original",
      seed,
      colour: { a: 0.8, b: 0.2, c: seed === 1 ? 0.9 : 0.3, base: 0.5 }[method]! +
        seed / 1000 * (method === "base" ? 1 : 2),
    }))
  );
  const found = differing(made, ["a", "b", "c", "base"], () => "base", 8, "colour");
  assert.deepEqual(found, { above: ["a"], below: ["b"], level: ["c"] });
});
