/**
 * What `deno task check` looks at: format, lint, types, arrows, links. Each part says where a mistake is: file and line, in
 * a notebook cell and line.
 *
 * @module
 */
import { relative, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { codeCells, type Finding, moduleOf, type NotebookModule, syntaxErrors } from "./cells.ts";
import { deadLinks, type Shelf } from "./links.ts";
import { type Notebook, notebookText, readNotebook, sourceOf, splitLines } from "./notebook.ts";
import { exists, isFolder, nameOf, namesIn, root, textOf, walk, whereTheUserIs, writeWhole } from "./paths.ts";
import { moduleFolder, modulePathOf, projectNotebooks } from "./project_notebooks.ts";

/** What came of one part. */
export interface PartResult {
  name: string;
  /** What was looked at. */
  what: string;
  /** One entry per mistake; it may have several lines. */
  findings: string[];
  seconds: number;
}

/** Options of `check()`. */
export interface CheckOptions {
  /** Write files and cells in the right format. */
  fix?: boolean;
  /** These notebooks only, and nothing else; none means the whole project. */
  notebooks?: string[];
  /** Called when a part is done. */
  report?: (result: PartResult) => void;
}

const SOURCES = ["lib", "tests", "experiments", "notebooks"];
/** A notebook that is looked at. */
interface Looked {
  path: string;
  /** How it is called in findings: the path from the project's root. */
  name: string;
  notebook: Notebook;
  /** Its code; undefined where it is not TypeScript. */
  module?: NotebookModule;
  /** Where the module is written. */
  modulePath: string;
}

/** Runs all parts, two at a time, and counts the mistakes. */
export async function check({ fix = false, notebooks = [], report = () => {} }: CheckOptions = {}): Promise<number> {
  const whole = notebooks.length === 0;
  const sources = whole ? SOURCES.filter((folder) => isFolder(`${root}/${folder}`)) : [];
  const unreadable: string[] = [];
  const looked = (whole ? projectNotebooks() : notebooks.map(whereTheUserIs)).flatMap((path) => {
    try {
      return [look(path, unreadable)];
    } catch (error) {
      unreadable.push((error as Error).message);
      return [];
    }
  });
  if (whole) forgetOthers(looked);

  let failed = 0;
  const part = async (name: string, what: string, find: () => string[] | Promise<string[]>) => {
    const start = performance.now();
    const findings = await find();
    failed += findings.length;
    report({ name, what, findings, seconds: (performance.now() - start) / 1000 });
  };
  const cells = looked.reduce((sum, { notebook }) => sum + codeCells(notebook).length, 0);
  const all = `${sources.map((folder) => `${folder}, `).join("")}${cells} cells of ${looked.length} notebooks`;

  await part("notebooks", `${looked.length} are notebooks in TypeScript`, () => unreadable);
  await Promise.all([
    part("types", `${all}${whole ? ", examples" : ""}`, () => typeFindings(sources, looked)),
    (async () => {
      await part("format", all, () => formatFindings(sources, looked, fix));
      await part("lint", all, () => lintFindings(sources, looked));
      if (whole) await part("arrows", "imports between folders", arrowFindings);
      await part("links", whole ? "Markdown and notebooks" : "notebooks", () => linkFindings(looked, whole));
    })(),
  ]);
  return failed;
}

function look(path: string, findings: string[]): Looked {
  const notebook = readNotebook(path);
  const name = nameOf(path);
  const wrong = codeCells(notebook).flatMap(({ cell, source }) => syntaxErrors(source, cell));
  const modulePath = modulePathOf(path);
  if (wrong.length) {
    findings.push(...wrong.map((finding) => inNotebook(name, finding)));
    return { path, name, notebook, modulePath };
  }
  const module = moduleOf(notebook, path);
  findings.push(...module.findings.map((finding) => inNotebook(name, finding)));
  writeWhole(modulePath, module.text);
  return { path, name, notebook, module, modulePath };
}

/** Modules of notebooks that are gone. */
function forgetOthers(looked: Looked[]): void {
  const known = looked.map(({ modulePath }) => modulePath);
  for (const name of namesIn(moduleFolder)) {
    const path = `${moduleFolder}/${name}`;
    if (!known.includes(path)) Deno.removeSync(path, { recursive: true });
  }
}

function inNotebook(name: string, { cell, line, message }: Finding): string {
  return `${name}, cell ${cell}, line ${line}: ${message}`;
}

/** A place in a file as people read it: a line of a notebook's module is a cell and a line. Undefined where it is neither. */
function placeOf(address: string, line: number, looked: Looked[]): string | undefined {
  const path = address.startsWith("file:") ? fileURLToPath(address) : address;
  const from = looked.find(({ modulePath }) => modulePath === path);
  if (from) {
    const place = from.module?.places[line - 1];
    return place && `${from.name}, cell ${place.cell}, line ${place.line}`;
  }
  // an example in a doc comment: the lines that it takes in its file, and one line that imports the file before it
  const [, file, first] = /^(.*)\$(\d+)-\d+\.\w+$/.exec(path) ?? /^(.*)#(\d+)-\d+\.\w+$/.exec(address) ?? [];
  if (file) {
    const shown = file.startsWith("file:") ? fileURLToPath(file) : file;
    return `${nameOf(shown)}:${Number(first) + line - 1} (example)`;
  }
  return `${nameOf(path)}:${line}`;
}

/** All types in one run of the compiler, which Deno remembers for the next time. */
async function typeFindings(sources: string[], looked: Looked[]): Promise<string[]> {
  const modules = looked.filter(({ module }) => module).map(({ modulePath }) => relative(root, modulePath));
  if (sources.length + modules.length === 0) return [];
  const { success, text } = await deno(["check", "--doc", ...sources, ...modules]);
  if (success) return [];
  const blocks = text.split(/\n\n(?=TS\d+ \[)/);
  const findings = blocks.flatMap((block) => {
    const lines = block.replace(/^Check .*$/gm, "").trim().split("\n");
    const at = lines.findIndex((line) => /^ {4}at file:\/\//.test(line));
    const [, address, line] = /at (file:.*):(\d+):\d+$/.exec(lines[at] ?? "") ?? [];
    if (!address) return [];
    const message = lines.slice(0, at - 2).join("\n"); // then the line itself, and a mark below it
    return [`${placeOf(address, Number(line), looked) ?? "between the cells"}: ${message}`];
  });
  return findings.length ? findings : [text];
}

interface LintReport {
  diagnostics: { filename: string; range: { start: { line: number } }; message: string; code: string; hint?: string }[];
  errors: { file_path: string; message: string }[];
}

async function lintFindings(sources: string[], looked: Looked[]): Promise<string[]> {
  const modules = looked.filter(({ module }) => module).map(({ modulePath }) => relative(root, modulePath));
  if (sources.length + modules.length === 0) return [];
  const { out, text } = await deno(["lint", "--json", ...sources, ...modules]);
  if (!out.trim().startsWith("{")) return [text];
  const { diagnostics, errors } = JSON.parse(out) as LintReport;
  return [
    ...errors.map(({ file_path, message }) => `${nameOf(file_path)}: ${message}`),
    ...diagnostics.flatMap(({ filename, range: { start }, message, code, hint }) => {
      const from = looked.find(({ modulePath }) => `file://${modulePath}` === filename);
      // a stub may leave its arguments alone, and a cell may name what the reader will want; an import should be used
      if (from && code === "no-unused-vars" && start.line > from.module!.importLines) return [];
      const place = placeOf(filename, start.line, looked);
      return place ? [`${place}: ${message} (${code})${hint ? `; ${hint}` : ""}`] : [];
    }),
  ];
}

/** Files as `deno fmt` has it, and cells too, but that the last value of a cell may stand without a semicolon. */
async function formatFindings(sources: string[], looked: Looked[], fix: boolean): Promise<string[]> {
  const findings: string[] = [];
  if (sources.length) {
    const { success, text } = await deno(["fmt", ...(fix ? [] : ["--check"]), ...sources]);
    const files = [...text.matchAll(/^from (.+):$/gm)].map(([, path]) => nameOf(path));
    if (!success && !files.length) findings.push(text);
    findings.push(...files.map((file) => `${file} is not formatted; deno task check --fix does it`));
  }
  for (const { name, path, notebook, wrong } of await formattedCells(looked)) {
    if (fix && wrong.length) {
      for (const { cell, text } of wrong) notebook.cells[cell - 1].source = splitLines(text);
      writeWhole(path, notebookText(notebook));
    } else {
      findings.push(
        ...wrong.map(({ cell, line }) =>
          inNotebook(name, { cell, line, message: "is not formatted; deno task check --fix does it" })
        ),
      );
    }
  }
  return findings;
}

interface WrongFormat {
  cell: number;
  /** The first line that differs. */
  line: number;
  /** The cell in the right format. */
  text: string;
}

async function formattedCells(looked: Looked[]): Promise<(Looked & { wrong: WrongFormat[] })[]> {
  const folder = Deno.makeTempDirSync({ prefix: "tessera-format-" });
  try {
    const cells = looked.filter(({ module }) => module).flatMap(({ name, notebook }, n) =>
      codeCells(notebook).map(({ cell, source }) => ({ name, cell, source, file: `${folder}/${n}_${cell}.ts` }))
    );
    if (!cells.length) return [];
    for (const { file, source } of cells) Deno.writeTextFileSync(file, source);
    const { fmt } = JSON.parse(textOf(`${root}/deno.json`)) as { fmt: { lineWidth: number } };
    const { success, text } = await deno(["fmt", "--no-config", "--line-width", String(fmt.lineWidth), folder]);
    if (!success) throw new Error(`the cells cannot be formatted: ${text}`);
    return looked.map((from) => ({
      ...from,
      wrong: cells.filter(({ name }) => name === from.name).flatMap(({ cell, source, file }) => {
        const text = likeTheCell(Deno.readTextFileSync(file), source);
        if (text === source) return [];
        const [now, then] = [source.split("\n"), text.split("\n")];
        return [{ cell, line: now.findIndex((line, i) => line !== then[i]) + 1 || now.length, text }];
      }),
    }));
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
}

/** A formatted file as a cell: no line end at its end, and a semicolon there only where the cell has one. */
function likeTheCell(formatted: string, source: string): string {
  const text = formatted.trimEnd();
  return source.trimEnd().endsWith(";") ? text : text.replace(/;$/, "");
}

/** The test that walks the import graph. */
async function arrowFindings(): Promise<string[]> {
  const { success, text } = await deno(["test", "-A", "-q", "--no-check", "tests/rules/arrows_test.ts"]);
  return success ? [] : [text.trim()];
}

function linkFindings(looked: Looked[], whole: boolean): string[] {
  const shelf: Shelf = {
    exists: (path) => exists(resolve(root, path)),
    markdownOf: (path) => markdownOf(resolve(root, path)),
  };
  const pages = whole
    ? [
      ...namesIn(root).map((name) => `${root}/${name}`),
      ...SOURCES.concat("data").flatMap((folder) => walk(`${root}/${folder}`)),
    ]
    : [];
  const inPages = pages.filter((path) => path.endsWith(".md")).map(nameOf).flatMap((name) =>
    deadLinks(name, textOf(`${root}/${name}`), shelf).map(({ line, message }) => `${name}:${line}: ${message}`)
  );
  const inCells = looked.flatMap(({ name, notebook }) => {
    const all = markdownIn(notebook);
    return notebook.cells.flatMap((cell, index) =>
      cell.cell_type !== "markdown" ? [] : deadLinks(name, sourceOf(cell), {
        ...shelf,
        markdownOf: (path) => path === name ? all : shelf.markdownOf(path),
      }).map(({ line, message }) => inNotebook(name, { cell: index + 1, line, message }))
    );
  });
  return [...inPages, ...inCells];
}

function markdownOf(path: string): string | undefined {
  try {
    return path.endsWith(".ipynb") ? markdownIn(readNotebook(path)) : Deno.readTextFileSync(path);
  } catch {
    return undefined; // a folder, or no notebook: another part says so
  }
}

function markdownIn({ cells }: Notebook): string {
  return cells.filter((cell) => cell.cell_type === "markdown").map(sourceOf).join("\n\n");
}

async function deno(args: string[]): Promise<{ success: boolean; out: string; text: string }> {
  const { success, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args,
    cwd: root,
    env: { NO_COLOR: "1", DENO_NO_UPDATE_CHECK: "1" },
    stdin: "null",
  }).output();
  const [out, err] = [stdout, stderr].map((bytes) => new TextDecoder().decode(bytes));
  return { success, out, text: (out + err).replace(/\n?Stack backtrace:[\s\S]*$/, "").trim() };
}
