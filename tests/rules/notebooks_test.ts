/** Every notebook is one that a stranger can read without running it, and run from top to bottom. */
import assert from "node:assert/strict";
import { dirname, join, normalize } from "node:path";
import { check } from "../../notebooks/exercises.ts";
import { type Cell, type Notebook, type Output, parseNotebook, sourceOf } from "../../lib/notebook/notebook.ts";
import { exerciseNames } from "../../lib/plot/mod.ts";
import { brokenLinks, projectFiles, textOf } from "./project.ts";

const FAMILIES: Record<string, string> = {
  0: "start",
  1: "reduction",
  2: "tokenization",
  3: "editing",
  4: "claims",
  9: "internals",
};
const PLOTLY = "application/vnd.plotly.v1+json";
/** A time that was measured: another one in the next run. */
const TIMING = /\b\d+(\.\d+)? ?(ms|s|seconds?|minutes?)\b/;
/** What a viewer on the web removes, or should. */
const ACTIVE_HTML = /<script|<iframe|<object|<embed|javascript:|\son[a-z]+\s*=/i;

/** What the rules need to know of the rest of the project. */
interface Surroundings {
  exists(path: string): boolean;
  /** The exercises that `check` knows. */
  exercises: readonly string[];
  /** Text of the solutions to a notebook; undefined where there are none. */
  solutionsOf(path: string): string | undefined;
}

/** Everything that is wrong with a notebook, a sentence each. */
function complaints(path: string, notebook: Notebook, surroundings: Surroundings): string[] {
  const code = notebook.cells.filter((cell) => cell.cell_type === "code" && sourceOf(cell).trim());
  return [
    ...nameComplaints(path),
    ...formatComplaints(notebook),
    ...titleComplaints(notebook),
    ...runComplaints(code),
    ...code.flatMap(({ outputs = [], metadata }, index) =>
      outputs.flatMap((output) => outputComplaints(output, metadata.tags ?? [])).map((text) => `[${index + 1}] ${text}`)
    ),
    ...linkComplaints(path, notebook, surroundings),
    ...importComplaints(path, code, surroundings),
    ...exerciseComplaints(path, code, surroundings),
  ].map((text) => `${path}: ${text}`);
}

function nameComplaints(path: string): string[] {
  const name = path.split("/").at(-1)!;
  const [, family] = /^(\d)\d_[a-z0-9_]+\.ipynb$/.exec(name) ?? [];
  if (!family) return ["the name is not two digits and words_in_snake_case"];
  if (FAMILIES[family]) return [];
  const families = Object.entries(FAMILIES).map(([digit, about]) => `${digit}x ${about}`).join(", ");
  return [`there is no family ${family}x; the families are ${families}`];
}

function formatComplaints({ nbformat, nbformat_minor, metadata, cells }: Notebook): string[] {
  const found: string[] = [];
  if (nbformat !== 4 || nbformat_minor !== 5) found.push(`the format is ${nbformat}.${nbformat_minor}, not 4.5`);
  const kernel = (metadata.kernelspec as { name?: string } | undefined)?.name;
  if (kernel !== "tessera") found.push(`the kernel is ${kernel}, not tessera`);
  const ids = cells.map(({ id }) => id);
  const twice = ids.filter((id, index) => ids.indexOf(id) !== index);
  if (twice.length) found.push(`the cell id ${twice[0]} occurs twice`);
  if (ids.some((id) => !/^[a-zA-Z0-9_-]{1,64}$/.test(id ?? ""))) found.push("a cell has no valid id");
  return found;
}

function titleComplaints({ cells }: Notebook): string[] {
  const first = cells[0];
  const isTitle = first?.cell_type === "markdown" && /^# \S/.test(sourceOf(first));
  return isTitle ? [] : ["the first cell is not a title (markdown that starts with '# ')"];
}

function runComplaints(code: Cell[]): string[] {
  const ran = code.filter(({ metadata }) => !metadata.tags?.includes("skip-execution"));
  const counts = ran.map((cell) => cell.execution_count);
  if (counts.some((count, index) => count !== index + 1)) {
    return [`the cells were not run once from top to bottom (${counts.join(", ")}); run deno task notebooks --write`];
  }
  return ran.some(({ outputs }) => outputs?.length) ? [] : ["there are no saved outputs"];
}

function outputComplaints(output: Output, tags: string[]): string[] {
  if (output.output_type === "error") {
    return tags.includes("raises-exception") ? [] : [`an error is saved: ${output.ename}: ${output.evalue}`];
  }
  const found: string[] = [];
  const words = output.output_type === "stream"
    ? output.text
    : [output.data["text/plain"], output.data["text/markdown"]];
  const [timing] = TIMING.exec(words.flat().join("")) ?? [];
  if (timing) found.push(`"${timing}" differs from run to run; take timings from committed rows`);
  if (output.output_type === "stream") return found;
  if (!("text/plain" in output.data)) found.push("an output has no text for viewers that show nothing else");
  const html = [output.data["text/html"] ?? ""].flat().join("");
  if (ACTIVE_HTML.test(html)) found.push("the HTML holds a script, which viewers remove");
  if (PLOTLY in output.data && !("image/svg+xml" in output.data || "image/png" in output.data)) {
    found.push("a plotly figure has no static picture beside it");
  }
  if (PLOTLY in output.data && html) found.push("a figure has HTML, which is blank in many viewers");
  return found;
}

function linkComplaints(path: string, { cells }: Notebook, { exists }: Surroundings): string[] {
  const prose = cells.filter((cell) => cell.cell_type === "markdown").map(sourceOf);
  return prose.flatMap((text) => brokenLinks(path, text, exists));
}

function importComplaints(path: string, code: Cell[], { exists }: Surroundings): string[] {
  const text = code.map(sourceOf).join("\n");
  const imported = [...text.matchAll(/(?:\bfrom|\bimport)\s*\(?\s*["']([^"']+)["']/g)].map(([, specifier]) =>
    specifier
  );
  return imported.flatMap((specifier) => {
    if (/^(jsr|https?):/.test(specifier)) return [`it imports ${specifier}, which not every network reaches`];
    const target = specifier.startsWith("tessera/")
      ? specifier.replace("tessera/", "lib/")
      : /^\.{1,2}\//.test(specifier)
      ? normalize(join(dirname(path), specifier))
      : undefined;
    if (target && !exists(target)) return [`it imports ${specifier}, which does not exist`];
    return target?.startsWith("tests/") ? [`it imports ${specifier}, a part of the tests`] : [];
  });
}

/** Exercises belong to every notebook but those that start. */
function exerciseComplaints(path: string, code: Cell[], { solutionsOf, exercises }: Surroundings): string[] {
  const names = code.flatMap(exercisesOf);
  if (!names.length) return /\/0\d_[^/]*$/.test(path) ? [] : ['there is no exercise: no cell calls check("name", ...)'];
  const solutions = solutionsOf(path);
  if (solutions === undefined) return [`its solutions are missing: ${solutionPath(path)}`];
  const unknown = names.filter((name) => !exercises.includes(name));
  const unsolved = names.filter((name) => !solutions.includes(`"${name}"`));
  return [
    ...unknown.map((name) => `there is no exercise "${name}" in notebooks/exercises.ts`),
    ...unsolved.map((name) => `the exercise "${name}" is missing in ${solutionPath(path)}`),
  ];
}

function exercisesOf(cell: Cell): string[] {
  return [...sourceOf(cell).matchAll(/\bcheck\(\s*"([^"]+)"/g)].map(([, name]) => name);
}

function solutionPath(path: string): string {
  return path.replace(/([^/]+)\.ipynb$/, "solutions/$1.ts");
}

const files = projectFiles();
const notebooks = files.filter((path) => /^notebooks\/[^.][^/]*\.ipynb$/.test(path));
const real: Surroundings = {
  exists: (path) => files.some((file) => file === path || file.startsWith(`${path.replace(/\/$/, "")}/`)),
  exercises: exerciseNames(),
  solutionsOf: (path) => files.includes(solutionPath(path)) ? textOf(solutionPath(path)) : undefined,
};

Deno.test("there are notebooks, and no two of them have the same number", () => {
  const numbers = notebooks.map((path) => path.split("/").at(-1)!.slice(0, 2));
  assert.ok(numbers.length >= 2);
  assert.deepEqual(numbers.filter((number, index) => numbers.indexOf(number) !== index), []);
});

Deno.test("every exercise stands in a notebook", () => {
  assert.equal(typeof check, "function"); // importing it is what defines the exercises
  const cells = notebooks.flatMap((path) => parseNotebook(textOf(path), path).cells);
  const used = cells.filter((cell) => cell.cell_type === "code").flatMap(exercisesOf);
  assert.deepEqual(exerciseNames().filter((name) => !used.includes(name)), []);
});

for (const path of notebooks) {
  Deno.test(`${path} can be read without running it, and links only to what exists`, () => {
    assert.deepEqual(complaints(path, parseNotebook(textOf(path), path), real), []);
  });
}

/** A notebook that breaks no rule. */
function goodNotebook(): Notebook {
  const markdown = (id: string, source: string): Cell => ({ cell_type: "markdown", id, metadata: {}, source });
  const code = (id: string, count: number, source: string, data: Record<string, string>): Cell => ({
    cell_type: "code",
    id,
    metadata: {},
    source,
    execution_count: count,
    outputs: [{ output_type: "execute_result", data, metadata: {}, execution_count: count }],
  });
  return {
    nbformat: 4,
    nbformat_minor: 5,
    metadata: { kernelspec: { name: "tessera", display_name: "T", language: "typescript" } },
    cells: [
      markdown("a", "# A question\nSee [the start](00_start.ipynb#data) and [a page](https://example.org)."),
      code("b", 1, 'import { a } from "tessera/a.ts";\na', {
        [PLOTLY]: "{}",
        "image/svg+xml": "<svg/>",
        "text/plain": "a",
      }),
      code("c", 2, 'check("name", f)', { "text/html": "<b>not solved</b>", "text/plain": "197 tokens" }),
    ],
  };
}

Deno.test("each rule about notebooks finds what breaks it", () => {
  const surroundings: Surroundings = {
    exists: (path) => ["notebooks/00_start.ipynb", "lib/a.ts"].includes(path),
    exercises: ["name"],
    solutionsOf: () => 'export const solutions = { "name": f };',
  };
  const judge = (change: (notebook: Notebook) => void, path = "notebooks/10_a.ipynb", around = surroundings) => {
    const notebook = goodNotebook();
    change(notebook);
    return complaints(path, notebook, around).join("\n");
  };
  const resultOf = ({ cells }: Notebook, index: number) =>
    cells[index].outputs![0] as Output & { output_type: "execute_result" };

  assert.equal(judge(() => {}), "");
  assert.equal(judge(({ cells }) => cells.pop(), "notebooks/00_a.ipynb"), "", "a start needs no exercise");
  assert.match(judge(() => {}, "notebooks/Merge.ipynb"), /two digits/);
  assert.match(judge(() => {}, "notebooks/70_a.ipynb"), /no family 7x/);
  assert.match(judge((notebook) => notebook.nbformat_minor = 4), /the format is 4\.4/);
  assert.match(judge(({ metadata }) => delete metadata.kernelspec), /the kernel is undefined/);
  assert.match(judge(({ cells }) => cells[1].id = "a"), /the cell id a occurs twice/);
  assert.match(judge(({ cells }) => cells[1].id = "a b"), /no valid id/);
  assert.match(judge(({ cells }) => cells.shift()), /first cell is not a title/);
  assert.match(judge(({ cells }) => cells[2].execution_count = 7), /not run once from top to bottom \(1, 7\)/);
  assert.match(judge(({ cells }) => cells[1].execution_count = null), /not run once/);
  assert.match(judge(({ cells }) => cells.forEach((cell) => delete cell.outputs)), /no saved outputs/);
  const error: Output = { output_type: "error", ename: "Error", evalue: "broken", traceback: [] };
  assert.match(judge(({ cells }) => cells[1].outputs!.push(error)), /\[1\] an error is saved: Error: broken/);
  assert.match(
    judge((notebook) => resultOf(notebook, 2).data["text/html"] = ["<b ", "onclick='x()'>"]),
    /holds a script/,
  );
  assert.match(judge((notebook) => delete resultOf(notebook, 1).data["image/svg+xml"]), /no static picture/);
  assert.match(judge((notebook) => delete resultOf(notebook, 1).data["text/plain"]), /an output has no text/);
  assert.match(judge((notebook) => resultOf(notebook, 1).data["text/html"] = "<b>"), /a figure has HTML/);
  assert.match(judge((notebook) => resultOf(notebook, 2).data["text/plain"] = "in 1.23 s"), /"1\.23 s" differs/);
  const stream: Output = { output_type: "stream", name: "stdout", text: ["a\n", "12 ms\n"] };
  assert.match(judge(({ cells }) => cells[1].outputs!.push(stream)), /"12 ms" differs/);
  assert.match(judge(() => {}, undefined, { ...surroundings, exercises: [] }), /no exercise "name"/);
  assert.match(judge(({ cells }) => cells[0].source = "# A\n[next](11_b.ipynb)"), /links to 11_b\.ipynb/);
  assert.match(judge(({ cells }) => cells[0].source = '# A\n<img src="pictures/a.png">'), /links to pictures\/a\.png/);
  assert.match(judge(({ cells }) => cells[1].source = 'import { b } from "tessera/b.ts"'), /imports tessera\/b\.ts/);
  assert.match(judge(({ cells }) => cells[1].source = 'await import("jsr:@std/assert")'), /not every network/);
  assert.match(judge(({ cells }) => cells.pop()), /no exercise/);
  assert.match(judge(({ cells }) => cells[2].source = 'check("other", f)'), /"other" is missing/);
  const unsolved = { ...surroundings, solutionsOf: () => undefined };
  assert.match(judge(() => {}, undefined, unsolved), /solutions are missing: notebooks\/solutions\/10_a\.ts/);
});
