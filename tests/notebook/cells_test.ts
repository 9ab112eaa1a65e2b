import assert from "node:assert/strict";
import { declaredNames, moduleOf, syntaxErrors } from "../../lib/notebook/cells.ts";
import type { Notebook } from "../../lib/notebook/notebook.ts";

/** A notebook of these code cells. */
function notebookOf(...sources: string[]): Notebook {
  const cells = sources.map((source, index) => ({ cell_type: "code" as const, id: `c${index}`, metadata: {}, source }));
  return { cells, metadata: {}, nbformat: 4, nbformat_minor: 5 };
}

/** Where the line of the module that holds a text comes from. */
function placeOf(text: string, ...sources: string[]) {
  const module = moduleOf(notebookOf(...sources), "/folder/some.ipynb");
  return module.places[module.text.split("\n").findIndex((line) => line.includes(text))];
}

Deno.test("every line of the module knows its cell, imports in the middle of a cell too", () => {
  const cells = ["const a = 1;\n\nimport { b } from 'node:path';\nb", "// only words", "a +\n  here"];
  assert.deepEqual(placeOf("const a", ...cells), { cell: 1, line: 1 });
  assert.deepEqual(placeOf("import { b }", ...cells), { cell: 1, line: 3 });
  assert.deepEqual(placeOf("here", ...cells), { cell: 3, line: 2 });
  const several = "import {\n  posix,\n  win32, // the other\n} from 'node:path';\nconst c = posix;";
  assert.deepEqual(placeOf("win32", several), { cell: 1, line: 3 });
  assert.deepEqual(placeOf("const c", several), { cell: 1, line: 5 });
});

Deno.test("relative imports start at the notebook, wherever the module lies", () => {
  const { text } = moduleOf(
    notebookOf(
      `import { a } from "./a.ts";\nconst b = await import("../b.ts");\ntype C = import("./c.ts").C;`,
      `const text = "./a.ts"; import { d } from "tessera/stop.ts";`,
    ),
    "/folder/some.ipynb",
  );
  for (
    const part of ["file:///folder/a.ts", "file:///b.ts", "file:///folder/c.ts", `= "./a.ts"`, '"tessera/stop.ts"']
  ) {
    assert.ok(text.includes(part), `${part} in ${text}`);
  }
});

Deno.test("a name that is declared again opens a block; an import that is repeated is left out", () => {
  const { text, findings } = moduleOf(
    notebookOf(
      "import { join } from 'node:path';\nconst r = 1;",
      "import { join, resolve } from 'node:path';\nconst r = 'one';",
      "interface r {}",
      "r",
    ),
    "some.ipynb",
  );
  assert.equal(text.match(/\bjoin\b/g)?.length, 1);
  assert.match(text, /import \{ resolve \} from 'node:path';/);
  assert.equal(text.match(/^\{$/gm)?.length, 2);
  assert.match(text, /^\}\}$/m);
  assert.deepEqual(findings, []);
});

Deno.test("an import that gives a name another meaning is found, because the module cannot say it", () => {
  const { findings } = moduleOf(
    notebookOf("import { join } from 'node:path';", "import { join } from 'node:path/win32';"),
    "some.ipynb",
  );
  assert.equal(findings.length, 1);
  assert.equal(findings[0].cell, 2);
  assert.match(findings[0].message, /join is join of node:path\/win32 here, but it was join of node:path before/);
});

Deno.test("syntax errors have the compiler's words and their line", () => {
  assert.deepEqual(syntaxErrors("const a = 1;\nf(a;", 7), [{ cell: 7, line: 2, message: "')' expected." }]);
  assert.deepEqual(syntaxErrors("await f();\nimport { a } from 'b';\na as number", 1), []);
});

Deno.test("declaredNames() sees patterns, functions, classes and types, and not what is inside them", () => {
  const source = `let a; var { b, c: { d }, ...e } = f; async function g() { const h = 1; } class I {} enum J {}
    type K = 1; interface L {} import { m } from "n"; for (const o of p) {}`;
  assert.deepEqual(declaredNames(source), ["a", "b", "d", "e", "g", "I", "J", "K", "L"]);
});
