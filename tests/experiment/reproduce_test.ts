/** From rows to pages: the table beside the paper's, and the matrix of all tables and figures. */
import assert from "node:assert/strict";
import { matrixOf } from "../../lib/experiment/reproduce.ts";
import { Laboratory } from "./laboratory.ts";

const HEADER = "paper,table,what,experiment,reason,seeds,hours";

Deno.test("pages and matrix are written from rows; an experiment without rows fails the command", async () => {
  using lab = new Laboratory();
  const paper = `paper: { cite: "A 2023", table: new URL("./paper.csv", import.meta.url), compare: "y" }`;
  lab.declare(
    "known",
    `grid: { a: [1, 2] }, seeds: [1, 2, 3], row: ({ a }, { seed }) => ({ y: a + seed / 10 }), ${paper}`,
  );
  Deno.writeTextFileSync(`${lab.folder}/known/paper.csv`, "a,y\n1,1.2\n2,9\n");
  Deno.writeTextFileSync(
    `${lab.folder}/tables.csv`,
    `${HEADER}\nCLEF,Table 9,one,known,,3,0.1\nMedTok,Table 3,two,,"credentialed data",,\n`,
  );
  assert.equal((await lab.run("command", ["run", "known"])).code, 0);
  const good = await lab.run("reproduce", []);
  assert.equal(good.code, 0, good.err);
  assert.match(good.out, /known: 6 of 6 rows; within interval \(1\), differs \(1\)/);
  const page = Deno.readTextFileSync(`${lab.folder}/known/README.md`);
  assert.match(page, /All 6 rows/);
  assert.match(page, /\| 1 \| 1.200 \| .* \| within interval \| ours is 0.952 to 1.45, published 1.2 \|/);
  const matrix = Deno.readTextFileSync(`${lab.folder}/README.md`);
  assert.match(matrix, /1 of 2 have an experiment/);
  assert.match(matrix, /\[known\]\(known\/README.md\) \| within interval \(1\), differs \(1\)/);
  assert.match(matrix, /\| MedTok \| Table 3 \| two \| - \| credentialed data \|/);

  lab.declare("unrun", "grid: { a: [1] }, row: () => ({ y: 1 })");
  const bad = await lab.run("reproduce", []);
  assert.equal(bad.code, 1);
  assert.match(
    bad.err,
    /^unrun: experiment unrun has no committed rows of its version 1; run `task experiment run unrun`/,
  );

  // rows of another version are as good as none
  const declared = `${lab.folder}/known/experiment.ts`;
  Deno.writeTextFileSync(declared, Deno.readTextFileSync(declared).replace("version: 1", "version: 2"));
  assert.match((await lab.run("reproduce", ["known"])).err, /known has no committed rows of its version 2/);
});

Deno.test("a line of tables.csv that says nothing, or too much, is refused", () => {
  const line = { paper: "CLEF", table: "Table 9", what: "x", experiment: null, reason: null, seeds: null, hours: null };
  const words = new Map([["known", ["differs"]]]);
  assert.throws(() => matrixOf([line], words), /CLEF, Table 9 .* needs an experiment or the reason why there is none/);
  assert.throws(() => matrixOf([{ ...line, experiment: "known", reason: "x" }], words), /give one of them/);
  assert.throws(
    () => matrixOf([{ ...line, experiment: "nowhere" }], words),
    /names the experiment nowhere, which there is not/,
  );
  const { hours: _, ...short } = line;
  assert.throws(() => matrixOf([short], words), /tables.csv has no column hours; it needs paper, table/);
});
