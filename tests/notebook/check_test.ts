import assert from "node:assert/strict";
import { check, type PartResult } from "../../lib/notebook/check_parts.ts";
import { deadLinks } from "../../lib/notebook/links.ts";
import { type Cell, parseNotebook, sourceOf } from "../../lib/notebook/notebook.ts";

type Source = [type: Cell["cell_type"], source: string];

/** Looks at a notebook of these cells; the findings are without its path. */
async function findingsIn(cells: Source[], fix = false): Promise<{ findings: string[]; path: string; text: string }> {
  const folder = Deno.makeTempDirSync({ prefix: "tessera-check-" });
  const path = `${folder}/some.ipynb`;
  const all = cells.map(([cell_type, source], index) => ({ cell_type, id: `c${index}`, metadata: {}, source }));
  Deno.writeTextFileSync(path, JSON.stringify({ cells: all, metadata: {}, nbformat: 4, nbformat_minor: 5 }));
  try {
    const results: PartResult[] = [];
    const failed = await check({ notebooks: [path], fix, report: (result) => results.push(result) });
    const findings = results.flatMap(({ findings }) => findings);
    assert.equal(failed, findings.length);
    return { findings: findings.map((text) => text.replace(`${path}, `, "")), path, text: Deno.readTextFileSync(path) };
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
}

Deno.test("deno task check finds each kind of mistake in a notebook, with cell and line", async () => {
  const { findings } = await findingsIn([
    ["markdown", "# Words\n[a page](missing.md)\n[a heading](#nowhere), [another](#words)"],
    ["code", `import { mulberry32 } from "tessera/random.ts";\nimport { tick } from "tessera/stop.ts";`],
    ["code", "const random = mulberry32(1);\n\nconst seed: string = random();"],
    ["code", "// a name may be declared again\nconst seed = 2;\nseed.length;"],
    ["code", "let   never = 1;\nnever;"],
  ]);
  const found = (start: string, words: RegExp) =>
    assert.ok(
      findings.some((text) => text.startsWith(start) && words.test(text)),
      `${start} in ${findings.join("\n")}`,
    );
  found("cell 1, line 2: ", /links to missing\.md, which does not exist/);
  found("cell 1, line 3: ", /no such heading/);
  found("cell 2, line 2: ", /`tick` is never used/);
  found("cell 3, line 3: ", /Type 'number' is not assignable to type 'string'/);
  found("cell 4, line 3: ", /Property 'length' does not exist on type '2'/);
  found("cell 5, line 1: ", /is not formatted; deno task check --fix does it/);
  found("cell 5, line 1: ", /`never` is never reassigned/);
  assert.equal(findings.length, 7);
});

Deno.test("deno task check finds nothing in a notebook that is right", async () => {
  const { findings } = await findingsIn([
    ["markdown", "# Words"],
    ["code", `import { mulberry32 } from "tessera/random.ts";\n\nconst random = mulberry32(1);\nrandom()`],
    ["code", "function stub(x: number): number {\n  throw new Error('your turn');\n}".replaceAll("'", '"')],
    ["code", ""],
    ["code", "// @ts-expect-error a number has no length\n(1).length"],
  ]);
  assert.deepEqual(findings, []);
});

Deno.test("a cell that is not TypeScript is named, and the other parts go on", async () => {
  const { findings } = await findingsIn([["markdown", "[a](b.md)"], ["code", "const a = 1;\nf(a;"]]);
  assert.deepEqual(findings, [
    "cell 2, line 2: ')' expected.",
    "cell 1, line 1: links to b.md, which does not exist",
  ]);
});

Deno.test("deno task check --fix writes cells in the right format, and the last value stays without a semicolon", async () => {
  const { findings, text, path } = await findingsIn([["code", "const a  = 'x'\na"], ["code", "1;"]], true);
  assert.deepEqual(findings, []);
  assert.deepEqual(parseNotebook(text, path).cells.map(sourceOf), ['const a = "x";\na', "1;"]);
});

Deno.test("a file that is no notebook is one sentence of the check", async () => {
  const results: PartResult[] = [];
  await check({ notebooks: ["/nowhere/x.ipynb"], report: (result) => results.push(result) });
  assert.match(results.flatMap(({ findings }) => findings).join(), /x\.ipynb does not exist; give the path/);
});

Deno.test("links to headings are found as GitHub and as JupyterLab write them", () => {
  const markdown = '# What we saw: `r`, and *why*\n## A [link](a.md)\n<a id="here"></a>';
  const links = ["#what-we-saw-r-and-why", "#What-we-saw:-r,-and-why", "#a-link", "#here", "#there", "../b.md#c"];
  const page = `${markdown}\n${links.map((link) => `[x](${link})`).join("\n")}`;
  const shelf = { exists: () => true, markdownOf: () => "# D" };
  const dead = deadLinks("docs/a.md", page, shelf);
  assert.deepEqual(dead.map(({ message }) => message), [
    "links to #there, but the page has no such heading",
    "links to #c, but ../b.md has no such heading",
  ]);
});
