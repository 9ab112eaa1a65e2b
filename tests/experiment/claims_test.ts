/** Cards from made-up rows: each verdict, the page of all cards, and experiments that lie among the claims. */
import assert from "node:assert/strict";
import { bySeed, type Claim, judge, type Row, type VerdictWord } from "../../lib/experiment/mod.ts";
import { root } from "../../lib/notebook/setup.ts";
import { Laboratory } from "./laboratory.ts";

const claim: Claim = {
  id: "X1",
  claim: "Merging keeps more than pruning",
  mechanism: "a mean holds a part of each",
  publishedFor: [],
  publishedAgainst: [],
  data: "made up",
  controls: "pruning",
  expected: "higher",
  change: "other rows",
  evidence: (rows) => ({
    treatment: bySeed(rows, { arm: "merge" }, "accuracy"),
    against: { pruning: bySeed(rows, { arm: "prune" }, "accuracy") },
    expect: "higher",
    whole: bySeed(rows, { arm: "whole" }, "accuracy"),
  }),
};

/** Rows of three arms; seeds stand in no order. */
function rowsOf(merge: number[], prune: number[], whole = 0.95): Row[] {
  return merge.flatMap((value, seed) => [
    { arm: "merge", seed, accuracy: value },
    { arm: "prune", seed, accuracy: prune[seed] },
    { arm: "whole", seed, accuracy: whole },
  ]).toReversed();
}

Deno.test("a claim is judged by its rows: each of the four verdicts", () => {
  const prune = [0.7, 0.72, 0.69, 0.71, 0.7];
  const cases: [Row[], VerdictWord][] = [
    [rowsOf(prune.map((x, i) => x + 0.1 + i / 100), prune), "supported"],
    [rowsOf(prune.map((x, i) => x - 0.1 - i / 100), prune), "refuted"],
    [rowsOf(prune.map((x, i) => x + (i % 2 ? 0.1 : -0.1)), prune), "undecided"],
    [rowsOf(prune.map((x, i) => x + 0.1 + i / 100), prune, 0.5), "not interpretable"],
    [rowsOf([0.9, 0.9], [0.1, 0.2]), "not interpretable"],
  ];
  for (const [rows, word] of cases) assert.equal(judge(claim, rows).verdict.verdict, word);
  assert.throws(() => judge(claim, []), {
    message: 'column accuracy has no row where {"arm":"merge"}; run the experiment',
  });
});

Deno.test("an experiment among the claims is run and reproduced, and its card stands on the page", async () => {
  using lab = new Laboratory();
  Deno.writeTextFileSync(`${lab.folder}/tables.csv`, "paper,table,what,experiment,reason,seeds,hours\nA,T,x,,why,,\n");
  lab.declare(
    "claims/merging",
    `grid: { arm: ["merge", "prune"] }, seeds: [0, 1, 2], row: ({ arm }, { seed }) => ({ y: arm === "merge" ? 2 + seed / 10 : 1 })`,
  );
  const module = `${lab.folder}/claims/merging/experiment.ts`;
  Deno.writeTextFileSync(module, Deno.readTextFileSync(module).replace('"claims/merging"', '"merging"'));
  Deno.writeTextFileSync(
    `${lab.folder}/claims/open.csv`,
    "id,claim,design\nX1,merging is better,both arms\nX2,it is cheaper,a clock\n",
  );
  Deno.writeTextFileSync(
    `${lab.folder}/claims/merging/claims.ts`,
    `import { bySeed } from "file://${root}/lib/experiment/mod.ts";
const text = { mechanism: "m", publishedFor: [], publishedAgainst: [], data: "d", controls: "c", expected: "e", change: "x" };
export const claims = [{ ...text, id: "X1-a", claim: "Merging is better", evidence: (rows) => ({
  treatment: bySeed(rows, { arm: "merge" }, "y"), against: { pruning: bySeed(rows, { arm: "prune" }, "y") }, expect: "higher",
}) }];
`,
  );
  const unrun = await lab.run("reproduce", []);
  assert.equal(unrun.code, 1);
  assert.match(unrun.err, /^merging: experiment merging has no committed rows of its version 1/);
  const run = await lab.run("command", ["run", "merging"]);
  assert.equal(run.code, 0, run.err);
  const good = await lab.run("reproduce", []);
  assert.equal(good.code, 0, good.err);
  assert.match(Deno.readTextFileSync(`${lab.folder}/claims/merging/README.md`), /All 6 rows/);
  const page = Deno.readTextFileSync(`${lab.folder}/claims/README.md`);
  assert.match(page, /1 card: 1 supported, 0 refuted/);
  assert.match(
    page,
    /\| X1-a \| Merging is better \| \*\*supported\*\* \| 1\.1 \[.*\] against pruning \| 3 \| \[rows\]\(merging\/README.md\)/,
  );
  assert.match(page, /\| X2 \| it is cheaper \| a clock \|/);
  assert.doesNotMatch(page, /merging is better/); // a design that a card has come of is not open
});
