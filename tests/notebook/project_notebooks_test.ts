import assert from "node:assert/strict";
import { changedNotebooks, findNotebooks, importsOf, rememberRun } from "../../lib/notebook/project_notebooks.ts";

Deno.test("a notebook runs again when its code or something that it imports has changed, and only then", async () => {
  const folder = Deno.makeTempDirSync({ prefix: "tessera-changed-" });
  const [path, record] = [`${folder}/some.ipynb`, `${folder}/ran.json`];
  const write = (source: string, words = "# Words") => {
    const cells = [
      { cell_type: "markdown", id: "a", metadata: {}, source: words },
      { cell_type: "code", id: "b", metadata: {}, source, outputs: [], execution_count: null },
    ];
    Deno.writeTextFileSync(path, JSON.stringify({ cells, metadata: {}, nbformat: 4, nbformat_minor: 5 }));
  };
  const changed = async (differs: string[] = []) => (await changedNotebooks([path], differs, record)).length;
  try {
    Deno.writeTextFileSync(`${folder}/part.ts`, `export * from "./deeper.ts";`);
    Deno.writeTextFileSync(`${folder}/deeper.ts`, "export const a = 1;");
    write(`import { a } from "./part.ts";`);
    const used = (await importsOf([path])).get(path);
    assert.deepEqual(used, [`${folder}/deeper.ts`, `${folder}/part.ts`]);

    assert.equal(await changed([`${folder}/deeper.ts`]), 1, "unknown, and not as committed");
    assert.equal(await changed(), 0, "unknown, as committed");
    Deno.writeTextFileSync(`${folder}/deeper.ts`, "export const a = 2;");
    assert.equal(await changed(), 1, "what it imports has changed");
    assert.equal(await changed(), 1, "and it was not run yet");
    await rememberRun(path, record);
    assert.equal(await changed([path]), 0, "it has run as it is");
    write(`import { a } from "./part.ts";`, "# Other words");
    assert.equal(await changed(), 0, "words do not change results");
    write(`import { a } from "./part.ts";\na`);
    assert.equal(await changed(), 1, "its code has changed");
    Deno.writeTextFileSync(record, "{ half");
    assert.equal(await changed([path]), 1, "a record that cannot be read is as none");
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
});

Deno.test("without paths all notebooks of the project are meant, and a folder means those in it", () => {
  const all = findNotebooks([]);
  assert.ok(all.some((path) => path.endsWith("notebooks/00_start.ipynb")));
  assert.deepEqual(findNotebooks(["notebooks"]), all.filter((path) => /\/notebooks\/[^/]*$/.test(path)));
});
