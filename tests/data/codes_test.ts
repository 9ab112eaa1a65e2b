import assert from "node:assert/strict";
import { ccs, diseaseOntology, gems, hetionet, icd10cm, readGzipText, textRows } from "../../lib/data/mod.ts";

Deno.test("icd10cm.load() is one tree: every row but a chapter stands after its parent", async () => {
  const { rows, links } = await icd10cm.load();
  const counts = Object.fromEntries(
    [...Map.groupBy(rows, ({ level }) => level)].map(([level, own]) => [level, own.length]),
  );
  assert.deepEqual(counts, { chapter: 22, block: 296, category: 1911, subcategory: 43106 });
  const seen = new Set<string>();
  for (const { code, parent, level } of rows) {
    assert.ok(parent === null ? level === "chapter" : seen.has(parent), `${code} before its parent ${parent}`);
    assert.ok(!seen.has(code), `${code} twice`);
    seen.add(code);
  }
  assert.equal(links.length, 10_270);
  assert.ok(links.every(({ code }) => seen.has(code)));
});

Deno.test("icd10cm: a longer code is matched to its longest listed prefix, a range to the codes in it", async () => {
  const { resolve, targets, links } = await icd10cm.load();
  assert.equal(resolve("S52.501A")?.code, "S52.501");
  assert.equal(resolve("E11.9")?.code, "E11.9");
  assert.equal(resolve("E11.")?.code, "E11");
  assert.equal(resolve("Q"), undefined);
  assert.deepEqual(targets("N18.1..N18.6"), ["N18.1", "N18.2", "N18.3", "N18.4", "N18.5", "N18.6"]);
  const nothing = links.filter(({ target }) => targets(target).length === 0).map(({ target }) => target);
  assert.deepEqual(nothing, ["V94.X", "T63.81..R63.83"], "misprints of the tabular list");
});

Deno.test("the graphs' edges join nodes that exist", async () => {
  const network = await hetionet.load();
  const nodes = new Set(network.nodes.map(({ id }) => id));
  assert.equal(nodes.size, 4813);
  const loose = network.edges.filter(({ source, target }) => !nodes.has(source) || !nodes.has(target));
  assert.deepEqual(loose, []);
  assert.ok(network.edges.every(({ license }) => /^CC/.test(license)));

  const ontology = await diseaseOntology.load();
  const terms = new Set(ontology.terms.map(({ id }) => id));
  assert.equal(terms.size, 6574);
  assert.deepEqual(ontology.isA.filter(({ child, parent }) => !terms.has(child) || !terms.has(parent)), []);
});

Deno.test("gems and ccs agree on diabetes, and ccs has its published sizes", async () => {
  const [{ rows: mappings }, { rows }] = [await gems.load(), await ccs.load()];
  assert.equal(mappings.length, 25_342);
  assert.deepEqual(mappings.find(({ icd9 }) => icd9 === "25000"), {
    icd9: "25000",
    icd10: "E119",
    approximate: true,
    noMap: false,
    combination: false,
    scenario: 0,
    choiceList: 0,
  });
  assert.equal(rows.length, 15_072);
  assert.equal(new Set(rows.map(({ category }) => category)).size, 283);
  assert.equal(new Set(rows.map(({ levels }) => levels[0].code)).size, 18);
  assert.equal(rows.find(({ icd9 }) => icd9 === "28732")?.description, "'EVANS' SYNDROME' (Begin 2005)");
});

Deno.test("a text table says which column is missing, which line is too short, which file is not there", async () => {
  assert.throws(() => textRows("a\tb\n1\t2\n", ["c"], "t.tsv"), /t\.tsv has no column "c"; it has a, b/);
  assert.throws(() => textRows("a\tb\n1\n", ["a"], "t.tsv"), /t\.tsv, line 2: 2 fields are expected, but there are 1/);
  assert.deepEqual(textRows('a\tb\n1\t"x\ty"\n', ["b"], "t.tsv"), [["x\ty"]]);
  await assert.rejects(readGzipText("nothing/x.tsv.gz"), /data\/nothing\/x\.tsv\.gz is missing; restore it/);
  await assert.rejects(readGzipText("vit-nano/config.json"), /cannot be decompressed/);
});
