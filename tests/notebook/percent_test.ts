import assert from "node:assert/strict";
import { convert } from "../../lib/notebook/convert_file.ts";
import { type Cell, type Notebook, notebookText, parseNotebook, sourceOf } from "../../lib/notebook/notebook.ts";
import { exists, root } from "../../lib/notebook/paths.ts";
import { fromPercent, keepOutputs, toPercent } from "../../lib/notebook/percent.ts";
import { projectNotebooks } from "../../lib/notebook/project_notebooks.ts";
import { mulberry32 } from "../../lib/random.ts";

function cell(cell_type: Cell["cell_type"], id: string, source: string, more: Partial<Cell> = {}): Cell {
  const code = cell_type === "code" ? { execution_count: null, outputs: [] } : {};
  return { cell_type, id, metadata: {}, source, ...code, ...more };
}

function notebookOf(cells: Cell[], metadata: Notebook["metadata"] = {}): Notebook {
  return { cells, metadata, nbformat: 4, nbformat_minor: 5 };
}

function thereAndBack(notebook: Notebook): Notebook {
  return fromPercent(toPercent(notebook), "some.ts");
}

/** A notebook with everything that a text form may lose. */
const odd = notebookOf([
  cell("markdown", "words", "# Title\n\n  indented\n// a comment\n%% no cell\n// %% nor this\n\n", {
    metadata: { tags: ["a b", 'with "quotes"', "="], nested: { deep: [1, null, { x: "} ]" }] } },
  }),
  cell("markdown", "picture", "![a dot](attachment:dot.png)", {
    attachments: { "dot.png": { "image/png": "iVBORw0KGgo=\n" } },
  }),
  cell("raw", "raw", "", { metadata: { format: "text/restructuredtext" } }),
  cell("raw", "raw-2", "---\ntitle: x\n---"),
  cell("code", "empty", ""),
  cell("code", "line-ends", "\n\na\n\n\n"),
  cell("code", "only-line-ends", "\n\n"),
  cell(
    "code",
    "like-cells",
    "// %% not a cell\n// // %%\n  // %%\n`\n%% text\n%d\n// %time\n`\n// In[3]:\n// <codecell>\n%% x",
  ),
  cell("code", "space", "  indented();\n   \n"),
  cell("code", "meta", "1", {
    metadata: {
      id: "another",
      title: "a [title] = x",
      "a key": 1,
      attachments: 2,
      cell_metadata: { y: 3 },
      none: null,
    },
  }),
  cell("code", "titled", "1", { metadata: { title: "A plain title", collapsed: true, execution: { "a=b": "c d" } } }),
  cell("code", "unicode", 'const é = "\u2028\u00a0 \\u0041 // %%";\r\n// tab\t'),
], {
  kernelspec: { display_name: "TypeScript", language: "typescript", name: "tessera" },
  language_info: { name: "typescript", version: "6.0.3" },
  yaml: ["yes", "on", "1:30", "2026-01-01", "~", "", "a: b", "# c", " x ", "1e3", "0x1", "é\n"],
  numbers: { a: 1, b: 1.5, c: -0.25, d: 1e21, e: null, f: false },
  jupytext: { formats: "ipynb,ts:percent" },
  "a key: with": { "": ["\u2028"] },
});

Deno.test("a notebook with everything odd comes back as it was, outputs aside", () => {
  assert.equal(notebookText(thereAndBack(odd)), notebookText(odd));
});

Deno.test("made-up notebooks come back as they were", () => {
  const random = mulberry32(7);
  const pieces = [
    "// %%",
    "%%",
    "//",
    "// ",
    "%a",
    "",
    "  ",
    "x = 1;",
    "`",
    "[markdown]",
    "---",
    "In[1]:",
    'id="a"',
    "\t",
    "//%%",
  ];
  const pick = () => pieces[Math.floor(random() * pieces.length)];
  for (let n = 0; n < 300; n++) {
    const cells = Array.from({ length: 3 }, (_, i) => {
      const source = Array.from({ length: Math.floor(random() * 5) }, () => pick() + (random() < 0.2 ? pick() : ""))
        .join("\n");
      return cell((["code", "markdown", "raw"] as const)[Math.floor(random() * 3)], `c${i}`, source);
    });
    const notebook = notebookOf(cells);
    assert.equal(notebookText(thereAndBack(notebook)), notebookText(notebook), toPercent(notebook));
  }
});

Deno.test("every notebook of the project comes back byte for byte, with its outputs", () => {
  for (const path of projectNotebooks()) {
    const text = Deno.readTextFileSync(path);
    const notebook = parseNotebook(text, path);
    const back = thereAndBack(notebook);
    assert.equal(keepOutputs(back, notebook), notebook.cells.filter(({ cell_type }) => cell_type === "code").length);
    assert.equal(notebookText(back), text, path);
  }
});

Deno.test("text by hand is read too: no header, titles, bare cells, two blank lines, no ids", () => {
  const text =
    'const a = 1;\n\n\n// %% A title tags=["parameters"]\na\n\n\n// %% [md]\n// Words\n\n//%%\n2\n\n// %% {"tags": ["x"]}\n3\n';
  const { cells } = fromPercent(text, "hand.ts");
  assert.deepEqual(cells.map(({ cell_type }) => cell_type), ["code", "code", "markdown", "code", "code"]);
  assert.deepEqual(cells.map(sourceOf), ["const a = 1;", "a", "Words", "2", "3"]);
  assert.deepEqual(cells[1].metadata, { tags: ["parameters"], title: "A title" });
  assert.deepEqual(cells[4].metadata, { tags: ["x"] });
  assert.equal(new Set(cells.map(({ id }) => id)).size, 5);
  assert.deepEqual(fromPercent(text.replaceAll("\n", "\r\n"), "windows.ts").cells, cells);
});

Deno.test("a text that cannot be read is one sentence with its line", () => {
  assert.throws(() => fromPercent("// ---\n// a: 1", "x.ts"), /^RangeError: x\.ts:1 begins a header that has no end/);
  assert.throws(() => fromPercent("// ---\n// a: [\n// ---", "x.ts"), /the header of x\.ts is not YAML/);
  assert.throws(() => fromPercent("1\n// %% tags=['a']", "x.ts"), /x\.ts:2 has a value that is not JSON: \['a'\]/);
  assert.throws(() => fromPercent("// %% tags=[1", "x.ts"), /x\.ts:1 has a value without its end/);
});

Deno.test("files: nothing is written over without being asked, and an update keeps the outputs of what is the same", () => {
  const folder = Deno.makeTempDirSync({ prefix: "tessera-percent-" });
  const [path, text] = [`${folder}/a.ipynb`, `${folder}/a.ts`];
  try {
    const output = { output_type: "stream" as const, name: "stdout", text: ["x\n"] };
    const notebook = notebookOf([
      cell("code", "a", "1", { outputs: [output] }),
      cell("code", "b", "2", { outputs: [output] }),
    ]);
    Deno.writeTextFileSync(path, notebookText(notebook));
    const before = Deno.readTextFileSync(path);
    assert.equal(convert("to-ts", path).path, text);
    assert.throws(() => convert("to-ts", path), /a\.ts exists already and stays as it is; --force writes over it/);
    assert.throws(
      () => convert("from-ts", text),
      /a\.ipynb exists already and stays as it is; --update writes over it/,
    );
    assert.equal(convert("from-ts", text, { replace: true }).note, "unchanged, 2 of 2 code cells keep their outputs");
    assert.equal(Deno.readTextFileSync(path), before);

    Deno.writeTextFileSync(text, Deno.readTextFileSync(text).replace("\n2\n", "\n3\n"));
    assert.equal(convert("from-ts", text, { replace: true }).note, "written, 1 of 2 code cells keep their outputs");
    Deno.writeTextFileSync(path, "{ half");
    assert.throws(() => convert("from-ts", text, { replace: true }), /a\.ipynb is not JSON/);
    assert.throws(() => convert("to-ts", path, { replace: true }), /a\.ipynb is not JSON/);
    assert.equal(Deno.readTextFileSync(path), "{ half");
    assert.throws(() => convert("to-ts", text), /does not end in \.ipynb, as to-ts needs it/);
    assert.throws(() => convert("from-ts", `${folder}/none.ts`), /none\.ts does not exist/);
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
});

Deno.test("no notebook is committed a second time as text", () => {
  const folders = ["notebooks", "experiments"].map((name) => `${root}/${name}`);
  const texts = folders.flatMap((folder) => [...Deno.readDirSync(folder)].map(({ name }) => `${folder}/${name}`))
    .filter((path) => path.endsWith(".ts") && !/\/\d[^/]*$/.test(path)); // git ignores those that begin with a digit
  assert.deepEqual(texts.filter((path) => Deno.readTextFileSync(path).startsWith("// ---\n// jupyter:")), []);
});

/** jupytext of the pinned version, in an environment of its own; made with the project's Python. */
async function jupytext(folder: string): Promise<string> {
  const run = async (program: string, args: string[]) => {
    const { success, stderr } = await new Deno.Command(program, { args, stdout: "null", stderr: "piped" }).output();
    assert.ok(success, new TextDecoder().decode(stderr));
  };
  await run("python3", ["-m", "venv", `${folder}/venv`]);
  await run(`${folder}/venv/bin/pip`, ["install", "-q", "jupytext==1.19.6"]);
  return `${folder}/venv/bin/jupytext`;
}

Deno.test(
  "jupytext reads what we write, and we read what it writes",
  { ignore: !Deno.env.has("TESSERA_FULL") },
  async () => {
    const folder = Deno.makeTempDirSync({ prefix: "tessera-jupytext-" });
    try {
      const program = await jupytext(folder);
      const [text, notebookFile] = [`${folder}/a.ts`, `${folder}/a.ipynb`];
      const run = async (...args: string[]) => {
        const { success, stderr } = await new Deno.Command(program, { args, stdout: "null" }).output();
        assert.ok(success, new TextDecoder().decode(stderr));
      };
      /** What both forms have: kinds, sources without blanks at their ends, tags. */
      const seen = ({ cells }: Notebook) =>
        cells.map((cell) => [cell.cell_type, sourceOf(cell).trimEnd(), cell.metadata.tags ?? []]);

      // in markdown it has no way to write a line that looks like a cell
      const plain = structuredClone(odd);
      plain.cells = plain.cells.filter(({ id }) => !["words", "like-cells", "unicode"].includes(id));
      delete plain.metadata["a key: with"]; // and Python ends a line where JavaScript does not
      const projects = projectNotebooks().map((path) => parseNotebook(Deno.readTextFileSync(path), path));
      for (const notebook of [plain, ...projects]) {
        Deno.writeTextFileSync(text, toPercent(notebook));
        await run("--to", "ipynb", "--output", notebookFile, text);
        const theirs = parseNotebook(Deno.readTextFileSync(notebookFile), notebookFile);
        assert.deepEqual(seen(theirs), seen(notebook));
        // and once more through their writer: what we keep in a cell's first line has come through
        await run("--to", "ts:percent", "--output", text, notebookFile);
        const back = fromPercent(Deno.readTextFileSync(text), text);
        assert.deepEqual(seen(back), seen(notebook));
        assert.deepEqual(back.cells.map(({ id }) => id), notebook.cells.map(({ id }) => id));
        assert.deepEqual(
          back.cells.map(({ attachments }) => attachments),
          notebook.cells.map(({ attachments }) => attachments),
        );

        Deno.writeTextFileSync(notebookFile, notebookText(notebook));
        await run("--to", "ts:percent", "--output", text, notebookFile);
        assert.deepEqual(seen(fromPercent(Deno.readTextFileSync(text), text)), seen(notebook));
      }
      assert.ok(exists(text));
    } finally {
      Deno.removeSync(folder, { recursive: true });
    }
  },
);
