/** References: of every method, of the three papers, and CITATION.cff itself. */
import assert from "node:assert/strict";
import { parse } from "yaml";
import { cite } from "../lib/cite.ts";
import { cacheCatalogue, catalogue, textCatalogue, tome } from "../lib/reduction/mod.ts";

Deno.test("cite() prints authors, title, venue, year and preprint, by name, by the function, by number", async () => {
  const { text } = await cite("tome");
  assert.equal(
    text,
    'Bolya et al., "Token Merging: Your ViT But Faster", ICLR 2023, [arXiv:2210.09461](https://arxiv.org/abs/2210.09461). ' +
      "In this library: `lib/reduction/tome.ts`.",
  );
  for (const same of [tome, "ToMe", "tome()"]) assert.equal(`${await cite(same)}`, text);
  assert.match(`${await cite("arXiv:2210.09461")}`, /^Bolya et al., "Token Merging: Your ViT But Faster", ICLR 2023/);
  assert.deepEqual(Reflect.get(await cite("tome"), Symbol.for("Jupyter.display"))(), {
    "text/markdown": text,
    "text/plain": text,
  });
  assert.match(`${await cite("vispruner")}`, /^Zhang et al., "Beyond Text-Visual Attention.*ICCV 2025/); // one preprint of
  assert.match(`${await cite("fastervlm")}`, /^Zhang et al., "\[CLS\] Attention is All You Need/); // two names
  assert.match(`${await cite("rmsNorm")}`, /^Zhang and Sennrich, "Root Mean Square[^\n]*$/); // of two in one file its own
  assert.equal(`${await cite("lengthRewards")}`.split("\n\n").length, 3);
});

Deno.test("every method of the catalogues that names a preprint has its reference, with the year of the catalogue", async () => {
  const facts = [
    ...catalogue.names.map((name) => ({ name, ...catalogue.get(name) })),
    ...cacheCatalogue.names.map((name) => ({ name, ...cacheCatalogue.methods[name] })),
    ...textCatalogue.rows().map(({ method, paper, section }) => ({
      name: String(method),
      paper: String(paper),
      section: String(section),
    })),
  ].filter(({ section }) => section.includes("arXiv:"));
  assert.ok(facts.length > 60);
  for (const { name, paper, section } of facts) {
    const text = `${await cite(name)}`;
    for (const [number] of section.matchAll(/arXiv:\d{4}\.\d{5}/g)) {
      assert.ok(text.includes(number), `${name} names ${number}, and cite gives: ${text}`);
    }
    const year = /\d{4}/.exec(paper)?.[0];
    if (year) assert.match(text, new RegExp(`\\b${year}, \\[arXiv`), `${name} is of ${year}, and cite gives: ${text}`);
  }
});

Deno.test("the three papers have all their authors; an unknown name is answered in one sentence", async () => {
  assert.match(`${await cite("medtok")}`, /^Xiaorui Su, .*, Marinka Zitnik, "Multimodal .*", ICML 2025, .*2502.04397/);
  assert.match(`${await cite("beyond")}`, /^Zhenglun Kong, .*, 2025, .*2505.18227/);
  assert.match(
    `${await cite("tessera")}`,
    /^The Tessera authors, .* MIT.*\n\n- Xiaorui Su.*\n- Michelle M. Li.*\n- Zhen/,
  );
  assert.match(`${await cite("tmoe")}`, /^there is no reference for tmoe; there are tome$/);
  assert.equal(
    `${await cite("zzzz")}`,
    "there is no reference for zzzz; the catalogues of lib/reduction list the names",
  );
  assert.match(`${await cite("")}`, /^there is no reference for \(no name\)/);
});

Deno.test("CITATION.cff is of version 1.2.0 and lists the three papers", async () => {
  const text = await Deno.readTextFile(new URL("../CITATION.cff", import.meta.url));
  const file = parse(text, { strict: true, uniqueKeys: true });
  assert.equal(file["cff-version"], "1.2.0");
  for (const key of ["message", "title", "authors"]) assert.ok(file[key]?.length, `${key} is needed`);
  assert.equal(file.type, "software");
  assert.match(await Deno.readTextFile(new URL("../LICENSE", import.meta.url)), new RegExp(`^${file.license} `));
  const numbers = file.references.map(({ identifiers }: { identifiers: { value: string }[] }) => identifiers[0].value);
  assert.deepEqual(numbers, ["arXiv:2502.04397", "arXiv:2502.03569", "arXiv:2505.18227"]);
  for (const reference of file.references) {
    assert.ok(["conference-paper", "article"].includes(reference.type));
    assert.ok(Number.isInteger(reference.year) && reference.title && reference.authors.length > 1);
    assert.equal(reference.url, `https://arxiv.org/abs/${reference.identifiers[0].value.slice("arXiv:".length)}`);
  }
});
