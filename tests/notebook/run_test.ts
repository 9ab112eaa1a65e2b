import assert from "node:assert/strict";
import { type Notebook, notebookText, parseNotebook } from "../../lib/notebook/notebook.ts";
import { runNotebook } from "../../lib/notebook/run.ts";

interface Source {
  source: string;
  tags?: string[];
}

/** A notebook in a folder of its own, with these code cells. */
async function withNotebook(cells: (string | Source)[], use: (path: string) => Promise<void>): Promise<void> {
  const folder = Deno.makeTempDirSync();
  const path = `${folder}/some.ipynb`;
  const all = cells.map((cell, index) => {
    const { source, tags } = typeof cell === "string" ? { source: cell, tags: undefined } : cell;
    const metadata = tags ? { tags } : {};
    return { cell_type: "code", id: `c${index}`, metadata, source, outputs: [], execution_count: null };
  });
  Deno.writeTextFileSync(path, JSON.stringify({ cells: all, metadata: {}, nbformat: 4, nbformat_minor: 5 }));
  try {
    await use(path);
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
}

Deno.test("a notebook runs in its own folder, and its outputs are saved only when asked for", async () => {
  await withNotebook(["Deno.writeTextFileSync('made.txt', 'x')", "6 * 7"], async (path) => {
    const before = Deno.readTextFileSync(path);
    const { problem, written, notebook } = await runNotebook(path);
    assert.deepEqual([problem, written], [undefined, false]);
    assert.equal(Deno.readTextFileSync(path), before);
    assert.ok(Deno.statSync(path.replace("some.ipynb", "made.txt")).isFile);
    assert.deepEqual(notebook.cells.map((cell) => cell.execution_count), [1, 2]);
  });
});

Deno.test("saving is deterministic: the second run leaves the file as it is, byte for byte", async () => {
  const cells = ["console.log('a'); console.error('b')", "", "({ b: 1, a: [1, 2] })"];
  await withNotebook(cells, async (path) => {
    assert.equal((await runNotebook(path, { write: true })).written, true);
    const text = Deno.readTextFileSync(path);
    const modified = Deno.statSync(path).mtime;
    assert.equal((await runNotebook(path, { write: true })).written, false);
    assert.equal(Deno.readTextFileSync(path), text);
    assert.deepEqual(Deno.statSync(path).mtime, modified);

    const notebook = parseNotebook(text, path);
    assert.equal(notebookText(notebook), text);
    assert.deepEqual(notebook.cells.map(({ execution_count }) => execution_count), [1, null, 2]);
    assert.deepEqual(notebook.cells.map(({ id }) => id), ["c0", "c1", "c2"]);
    assert.equal((notebook.metadata.kernelspec as { name: string }).name, "tessera");
    assert.deepEqual([...Deno.readDirSync(path.replace("/some.ipynb", ""))].map(({ name }) => name), ["some.ipynb"]);
  });
});

Deno.test("a notebook with an error names the cell and the message, and is not saved", async () => {
  await withNotebook(["1", "2;\n\nthrow new RangeError('too far')", "Deno.exit()"], async (path) => {
    const before = Deno.readTextFileSync(path);
    const { problem, written } = await runNotebook(path, { write: true });
    assert.match(problem ?? "", /^cell 2, line 3: RangeError: too far$/);
    assert.equal(written, false);
    assert.equal(Deno.readTextFileSync(path), before);
  });
});

Deno.test("a syntax error or an unknown package has its words", async () => {
  await withNotebook(["1", "const a = 1;\nconst = ;"], async (path) => {
    assert.match((await runNotebook(path)).problem ?? "", /^cell 2, line 2(, column \d+)?: SyntaxError: /);
  });
  await withNotebook([`import "npm:tessera-no-such-package@9.9.9";`], async (path) => {
    assert.match((await runNotebook(path)).problem ?? "", /^cell 1.*package/);
  });
});

Deno.test("an error in a timer of an earlier cell fails the notebook too", async () => {
  const cells = [
    "setTimeout(() => { throw new Error('late') }, 20); 1",
    "await new Promise((done) => setTimeout(done, 200))",
  ];
  await withNotebook(cells, async (path) => {
    assert.equal((await runNotebook(path)).problem, "after cell 2, in code that nobody awaits: late");
  });
});

Deno.test("a cell tagged raises-exception may fail, one tagged skip-execution is not run", async () => {
  const cells = [{ source: "throw new Error('on purpose')", tags: ["raises-exception"] }, {
    source: "Deno.exit(3)",
    tags: ["skip-execution"],
  }, "'end'"];
  await withNotebook(cells, async (path) => {
    const { problem, notebook } = await runNotebook(path);
    assert.equal(problem, undefined);
    assert.deepEqual(notebook.cells.map((cell) => cell.execution_count), [1, null, 2]);
  });
});

Deno.test("a cell that takes too long is stopped and named", async () => {
  await withNotebook(["1", "while (true);"], async (path) => {
    const { problem } = await runNotebook(path, { cellLimitSeconds: 0.3 });
    assert.equal(problem, "cell 2: took longer than 0.3 s; raise the limit with --limit SECONDS");
  });
});

Deno.test("a kernel that dies is a problem of the notebook, not of the runner", async () => {
  await withNotebook(["Deno.kill(Deno.pid, 'SIGKILL'); await new Promise(() => {})"], async (path) => {
    assert.match((await runNotebook(path)).problem ?? "", /cell 1: the kernel ended by itself/);
  });
});

Deno.test("parameters: a cell after the tagged one gives them other values, and is gone in the next run", async () => {
  const cells = [
    { source: "const r = 8, who = 'tome';\nlet steps = [1];", tags: ["parameters"] },
    "console.log(r, who, steps.length)",
  ];
  await withNotebook(cells, async (path) => {
    const printed = ({ notebook }: { notebook: Notebook }) => JSON.stringify(notebook.cells.at(-1)!.outputs);
    const set = await runNotebook(path, { settings: ["r=4", "who=12", "steps=[1, 2, 3]"], write: true });
    assert.equal(set.problem, undefined);
    assert.match(printed(set), /4 12 3/);
    const saved = parseNotebook(Deno.readTextFileSync(path), path);
    assert.deepEqual(saved.cells.map(({ metadata }) => metadata.tags?.[0]), [
      "parameters",
      "injected-parameters",
      undefined,
    ]);
    const usual = await runNotebook(path, { write: true });
    assert.match(printed(usual), /8 tome 1/);
    assert.equal(parseNotebook(Deno.readTextFileSync(path), path).cells.length, 2);
  });
});

Deno.test("a setting that does not fit is one sentence, before anything runs", async () => {
  const cells = [{ source: "const r = 8, who = 'x';", tags: ["parameters"] }, "Deno.writeTextFileSync('ran', '')"];
  await withNotebook(cells, async (path) => {
    const refused = (setting: string, why: RegExp) => assert.rejects(runNotebook(path, { settings: [setting] }), why);
    await refused("R=4", /some\.ipynb has no parameter R; it has r, who$/);
    await refused("r=many", /r is a number in .*some\.ipynb \(8\), but --set r=many gives a text; give a number$/);
    await refused("r", /--set takes name=value, but got r; as in --set r=8$/);
    assert.equal([...Deno.readDirSync(path.replace("/some.ipynb", ""))].length, 1);
  });
  await withNotebook(["1"], async (path) => {
    await assert.rejects(runNotebook(path, { settings: ["r=4"] }), /has no cell tagged parameters; tag the one/);
  });
});

Deno.test("a notebook for another kernel is not run", async () => {
  await withNotebook(["print('x')"], async (path) => {
    const notebook = JSON.parse(Deno.readTextFileSync(path));
    notebook.metadata.kernelspec = { name: "python3", language: "python", display_name: "Python 3" };
    Deno.writeTextFileSync(path, JSON.stringify(notebook));
    await assert.rejects(
      runNotebook(path, { write: true }),
      /asks for the kernel python3, which is for python; choose/,
    );
    assert.equal(JSON.parse(Deno.readTextFileSync(path)).metadata.kernelspec.name, "python3");
  });
});

Deno.test("--output leaves the notebook alone, and an existing file where it should go", async () => {
  await withNotebook(["6 * 7"], async (path) => {
    const before = Deno.readTextFileSync(path);
    const output = path.replace("some", "other");
    assert.equal((await runNotebook(path, { output })).written, true);
    assert.equal(Deno.readTextFileSync(path), before);
    const made = Deno.readTextFileSync(output);
    assert.match(made, /"42"/);
    await assert.rejects(runNotebook(path, { output }), /other\.ipynb exists already and stays as it is; remove it/);
    assert.equal(Deno.readTextFileSync(output), made);
  });
});

Deno.test("a notebook that somebody saves while it runs stays as they saved it", async () => {
  await withNotebook(["Deno.writeTextFileSync('some.ipynb', 'theirs')"], async (path) => {
    const { problem, written } = await runNotebook(path, { write: true });
    assert.match(problem ?? "", /was changed while the notebook ran, and stays as it is now; run it again/);
    assert.deepEqual([written, Deno.readTextFileSync(path)], [false, "theirs"]);
  });
});

Deno.test("a notebook that cannot be run stays as it is, byte for byte", async () => {
  const broken = ["{", "[]", `{"nbformat":3,"nbformat_minor":0,"cells":[]}`];
  for (const text of broken) {
    await withNotebook([], async (path) => {
      Deno.writeTextFileSync(path, text);
      await assert.rejects(runNotebook(path, { write: true }));
      assert.equal(Deno.readTextFileSync(path), text);
    });
  }
  for (const cell of ["while (true);", "Deno.kill(Deno.pid, 'SIGKILL'); await new Promise(() => {})"]) {
    await withNotebook(["1", cell], async (path) => {
      const before = Deno.readTextFileSync(path);
      assert.ok((await runNotebook(path, { write: true, cellLimitSeconds: 1 })).problem);
      assert.equal(Deno.readTextFileSync(path), before);
    });
  }
});

Deno.test("saved outputs name no path of this machine", async () => {
  const root = Deno.realPathSync(new URL("../../", import.meta.url));
  await withNotebook([
    `console.log(${JSON.stringify(`${root}/lib/stop.ts`)}, "file://" + ${JSON.stringify(`${root}/data`)})`,
  ], async (path) => {
    const { notebook } = await runNotebook(path);
    assert.deepEqual(notebook.cells[0].outputs, [{
      output_type: "stream",
      name: "stdout",
      text: ["lib/stop.ts data\n"],
    }]);
  });
});

Deno.test("deno task notebooks prints a line per notebook, and one sentence for bad input", async () => {
  const run = async (...args: string[]) => {
    const script = new URL("../../lib/notebook/notebooks.ts", import.meta.url).pathname;
    const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), { args: ["run", "-A", script, ...args] })
      .output();
    return { code, text: new TextDecoder().decode(stdout) + new TextDecoder().decode(stderr) };
  };
  await withNotebook(["6 * 7"], async (path) => {
    const both = await run(path.replace("/some.ipynb", ""), "/nowhere.ipynb");
    assert.equal(both.code, 1);
    assert.match(both.text, /^ok +\d+\.\d s {2}.*some\.ipynb$/m);
    assert.match(both.text, /^FAIL .*nowhere\.ipynb does not exist/m);
    const missing = await run(path, "--set", "r=1");
    assert.match(missing.text, /^FAIL .*has no cell tagged parameters/m);
    assert.match((await run(path, "--output", path)).text, /^FAIL .*exists already and stays as it is/m);
  });
  await withNotebook(["1", "throw new Error('no')"], async (path) => {
    assert.match((await run(path)).text, /^FAIL .*some\.ipynb, cell 2.*: Error: no$/m);
  });
  assert.match((await run("--set")).text, /--set takes name=value, but got nothing/);
  assert.match((await run("--limit", "x", "a.ipynb")).text, /--limit takes a number of seconds above 0, but got x/);
  assert.match((await run("--wirte", "a.ipynb")).text, /--wirte is not an option/);
});
