/** What of a cell is sent to the kernel, and the way back from its lines: without a kernel. */
import assert from "node:assert/strict";
import { sourceFor } from "../../lib/notebook/kernel/cell_source.ts";

/** The lines that are sent, without the two in front. */
const sent = (cell: string) => sourceFor(cell, 7).code.split("\n").slice(2).join("\n").trim();

Deno.test("an import becomes what the kernel makes of it, and none is lost because this cell does not use it", () => {
  const cases = [
    ['import "a";', '__tessera.last((void await __tessera.wait(import("a"), 0)));'],
    ['import a from "b";', 'const { default: a } = await __tessera.wait(import("b"), 0);'],
    ['import { a, type T, b as c } from "d"', 'const { a, b: c } = await __tessera.wait(import("d"), 0);'],
    ['import * as a from "b"', 'const a = await __tessera.wait(import("b"), 0);'],
    ['import a, * as b from "c"', 'const b = await __tessera.wait(import("c"), 0), { default: a } = b;'],
    ['import type { T } from "a";', ""],
    ['import type from "a";', 'const { default: type } = await __tessera.wait(import("a"), 0);'],
  ];
  for (const [cell, code] of cases) assert.equal(sent(cell).replace(/^;$/, ""), code, cell);
  assert.equal(sent("const text = `import a from 'b'`;"), "const text = `import a from 'b'`;");
});

Deno.test("Stop reaches what the top level awaits, and functions stay as they are", () => {
  const cases = [
    ["await f(1)[2].g`x`.h;", "__tessera.last((await __tessera.wait(f(1)[2].g`x`.h, 0)));"],
    ["const a = 1 + await f<number>(1) * 2;", "const a = 1 + await __tessera.wait(f(1), 0) * 2;"],
    ["const f = async () => { await g(); };", "const f = async ()=>{\n  await g();\n};"],
    ["if (a) { await b; }", "if (a) {\n  await __tessera.wait(b, 0);\n}"],
    ["for await (const a of b(1)) {}", "for await (const a of __tessera.each(b(1), 0)){}"],
    ["await using a = b();", "await using a = b();"],
    ["class A { async m() { await 1; } }", "class A {\n  async m() {\n    await 1;\n  }\n}"],
  ];
  for (const [cell, code] of cases) assert.equal(sent(cell), code, cell);
});

Deno.test("a last expression is shown, a last statement is not", () => {
  for (const cell of ["a", "'x; y'", "`a\nb ${'`'}`", "f(() => { return 1; })", "null // why", "a\n  .b()", "-1"]) {
    assert.match(sent(cell), /^__tessera\.last\(\([\s\S]+\)\);/, cell);
  }
  for (
    const cell of [
      "let a = 1",
      "function f() {}",
      "async function f() {}",
      "class A {}",
      "if (a) b",
      "a: for (;;) {}",
      "",
      "// a",
    ]
  ) {
    assert.doesNotMatch(sent(cell), /__tessera\.last/, cell);
  }
  assert.match(sent("{ a: 1 }"), /^__tessera\.last\(\(\(\{\n {2}a: 1\n\}\)\)\);/);
  assert.match(sent("/}/.test('}')"), /^__tessera\.last\(\(\/}\/\.test\('}'\)\)\);/);
});

Deno.test("a place in what the kernel runs leads back to the cell", () => {
  const cell =
    "import { a } from 'b';\ntype T = { x: 1 };\n\nenum E { A }\nconst f = (x: T) => { throw new Error('e'); };\n\nf(null!)";
  const { code, locate } = sourceFor(cell, 3);
  const find = (text: string) => {
    const before = code.slice(0, code.indexOf(text));
    return locate({ line: before.split("\n").length, column: before.length - before.lastIndexOf("\n") });
  };
  assert.deepEqual(find("new Error"), { line: 5, column: 29 });
  assert.deepEqual(find("f(null)"), { line: 7, column: 1 });
  assert.deepEqual(sourceFor("\n\nawait f();", 3).locateAwait(0), { line: 3, column: 1 });
});

Deno.test("what cannot be parsed is sent as it is, with the reason", () => {
  const { code, problem } = sourceFor("f(\n  (", 1);
  assert.equal(code, "f(\n  (");
  assert.deepEqual(problem, { message: "Expression expected", line: 2, column: 4 });
  assert.equal(sourceFor("const a = <div>text</div>;", 1).code, "const a = <div>text</div>;"); // the kernel knows JSX
});
