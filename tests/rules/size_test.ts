/** Sizes: a clone stays small, and a notebook opens at once. */
import assert from "node:assert/strict";
import type { Notebook } from "../../lib/notebook/notebook.ts";
import { projectFiles, root, textOf } from "./project.ts";

const MEGABYTE = 1e6;
const NOTEBOOK_LIMIT = 1.5 * MEGABYTE;
const FILE_LIMIT = 5 * MEGABYTE;
const PROJECT_LIMIT = 60 * MEGABYTE;
/** Jupyter drops larger ones, and everything after them. */
const OUTPUT_LIMIT = 1 * MEGABYTE;

const inMegabytes = (bytes: number) => `${(bytes / MEGABYTE).toFixed(2)} MB`;

function sizeComplaints(files: { path: string; bytes: number }[]): string[] {
  const complaints = files.flatMap(({ path, bytes }) => {
    const limit = path.endsWith(".ipynb") ? NOTEBOOK_LIMIT : FILE_LIMIT;
    return bytes > limit ? [`${path} has ${inMegabytes(bytes)}; at most ${inMegabytes(limit)} is allowed`] : [];
  });
  const total = files.reduce((sum, { bytes }) => sum + bytes, 0);
  if (total > PROJECT_LIMIT) {
    complaints.push(`all files have ${inMegabytes(total)}; at most ${inMegabytes(PROJECT_LIMIT)} is allowed`);
  }
  return complaints;
}

function outputComplaints(path: string, { cells }: Pick<Notebook, "cells">): string[] {
  return cells.flatMap(({ outputs = [] }, index) =>
    outputs.flatMap((output) => {
      const bytes = new TextEncoder().encode(JSON.stringify(output)).length;
      return bytes > OUTPUT_LIMIT
        ? [`${path}, cell ${index + 1}: one output has ${inMegabytes(bytes)}; show less`]
        : [];
    })
  );
}

Deno.test("no file is too large, nor all of them together", () => {
  const files = projectFiles().map((path) => ({ path, bytes: Deno.statSync(`${root}/${path}`).size }));
  assert.ok(files.length > 50, `only ${files.length} files were found`);
  assert.deepEqual(sizeComplaints(files), []);
});

Deno.test("no saved output is too large", () => {
  const notebooks = projectFiles().filter((path) => path.endsWith(".ipynb"));
  assert.deepEqual(notebooks.flatMap((path) => outputComplaints(path, JSON.parse(textOf(path)))), []);
});

Deno.test("the rules about size find a large notebook, file, project and output", () => {
  const sizes = (path: string, bytes: number) => sizeComplaints([{ path, bytes }]);
  assert.deepEqual(sizes("notebooks/a.ipynb", 1.5e6), []);
  assert.match(sizes("notebooks/a.ipynb", 1.6e6)[0], /a\.ipynb has 1\.60 MB; at most 1\.50 MB/);
  assert.deepEqual(sizes("data/a.gz", 5e6), []);
  assert.match(sizes("data/a.gz", 5.1e6)[0], /5\.10 MB/);
  const many = Array.from({ length: 13 }, (_, i) => ({ path: `data/${i}.gz`, bytes: 4.9e6 }));
  assert.match(sizeComplaints(many)[0], /all files have 63\.70 MB/);

  const cellShowing = (text: string): Notebook["cells"][number] => ({
    cell_type: "code",
    id: "a",
    metadata: {},
    source: "",
    outputs: [{ output_type: "display_data", data: { "text/plain": [text] }, metadata: {} }],
  });
  assert.deepEqual(outputComplaints("a.ipynb", { cells: [cellShowing("x".repeat(1e5))] }), []);
  assert.match(
    outputComplaints("a.ipynb", { cells: [cellShowing("x".repeat(1e6))] })[0],
    /cell 1: one output has 1\.00/,
  );
});

Deno.test("without git the files are found by walking, and what set-up makes is left out", () => {
  const walked = projectFiles("no-such-program");
  assert.ok(walked.includes("tests/rules/size_test.ts"));
  assert.deepEqual(walked.filter((path) => /(^|\/)(node_modules|\.venv|\.git)\//.test(path)), []);
  assert.deepEqual(projectFiles().filter((path) => !walked.includes(path)), []);
});
