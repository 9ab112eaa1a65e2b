/**
 * The project's notebooks, and which of them have to be run again: those of which the code, or something that it imports,
 * is not what it was when the notebook last ran through.
 *
 * What a notebook ran with is kept as a hash in `.venv/tessera`, so it is not committed. In a fresh clone nothing is known:
 * there a notebook counts as run in the state of the last commit (all notebooks are run before a change is called done), and
 * only what differs from that commit makes it run. From then on every change is noticed, committed or not. Data files do not
 * count: they do not change.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { codeCells, moduleOf, syntaxErrors } from "./cells.ts";
import { readNotebook } from "./notebook.ts";
import { exists, isFolder, nameOf, root, textOf, walk, whereTheUserIs, writeWhole } from "./paths.ts";
import { stampFolder } from "./steps.ts";

/** Notebooks as modules. It is not in deno.json's `exclude`, so that Deno looks into it, and keeps what it has checked. */
export const moduleFolder = `${stampFolder}/notebooks`;
/** What each notebook last ran with. */
const RECORD = `${stampFolder}/ran.json`;

/** The project's notebooks, without copies that begin with a dot. */
export function projectNotebooks(): string[] {
  return ["notebooks", "experiments"].flatMap((folder) => walk(`${root}/${folder}`))
    .filter((path) => path.endsWith(".ipynb"));
}

/** Notebooks named on a command line: a folder stands for the notebooks in it, nothing for all of the project. */
export function findNotebooks(paths: string[]): string[] {
  if (paths.length === 0) return projectNotebooks();
  return paths.map(whereTheUserIs).flatMap((path) =>
    isFolder(path) ? walk(path).filter((name) => name.endsWith(".ipynb")) : [path]
  );
}

/** Where a notebook's module is written. */
export function modulePathOf(path: string): string {
  return `${moduleFolder}/${nameOf(path).replace(/\.ipynb$/, "").replace(/[^\w.-]+/g, "__")}.ts`;
}

/** Asks Deno which of the project's files each notebook imports, through all steps. A notebook with a mistake has none. */
export async function importsOf(paths: string[]): Promise<Map<string, string[]>> {
  const modules = paths.flatMap((path) => {
    const notebook = readNotebook(path);
    if (codeCells(notebook).some(({ source, cell }) => syntaxErrors(source, cell).length)) return [];
    const module = modulePathOf(path);
    writeWhole(module, moduleOf(notebook, path).text);
    return [{ path, module: nameOf(module) }];
  });
  const graphs = await Promise.all(modules.map(async ({ path, module }) => {
    const { stdout } = await new Deno.Command(Deno.execPath(), {
      args: ["info", "--json", module],
      cwd: root,
      env: { NO_COLOR: "1", DENO_NO_UPDATE_CHECK: "1" },
      stdin: "null",
      stderr: "null",
    }).output();
    const { modules = [] } = JSON.parse(new TextDecoder().decode(stdout) || "{}") as {
      modules?: { specifier: string }[];
    };
    const files = modules.filter(({ specifier }) => specifier.startsWith("file:"))
      .map(({ specifier }) => nameOf(fileURLToPath(specifier)))
      .filter((name) => !/^(node_modules|\.venv)\//.test(name));
    return [path, files.sort()] as const;
  }));
  return new Map(graphs);
}

/** What a notebook's results come from: its code, what that imports, and the packages. */
function hashOf(path: string, imports: string[]): string {
  const hash = createHash("sha256").update(textOf(`${root}/deno.lock`));
  for (const { source } of codeCells(readNotebook(path))) hash.update(`\0${source}`);
  for (const file of imports) hash.update(`\0${file}\0${textOf(resolve(root, file))}`);
  return hash.digest("hex");
}

type RunRecord = Record<string, string>;

function readRecord(path: string): RunRecord {
  try {
    return JSON.parse(textOf(path) || "{}");
  } catch {
    return {}; // half written, by an older version: as in a fresh clone
  }
}

function writeRecord(path: string, record: RunRecord): void {
  const there = Object.entries(record).filter(([name]) => exists(resolve(root, name))); // not of notebooks that are gone
  writeWhole(path, JSON.stringify(Object.fromEntries(there), null, 1) + "\n");
}

/** Notes that a notebook has run through as it is now. */
export async function rememberRun(path: string, recordPath = RECORD): Promise<void> {
  const imports = await importsOf([path]);
  const hash = hashOf(path, imports.get(path) ?? []);
  writeRecord(recordPath, { ...readRecord(recordPath), [nameOf(path)]: hash });
}

/**
 * The notebooks that have to be run again; see the top of this file.
 *
 * @param differs The files that differ from the last commit; none where there is no git.
 */
export async function changedNotebooks(
  paths: string[],
  differs: string[] = [],
  recordPath = RECORD,
): Promise<string[]> {
  const imports = await importsOf(paths);
  const record = readRecord(recordPath);
  const changed = paths.filter((path) => {
    const used = imports.get(path) ?? [];
    const hash = hashOf(path, used);
    const known = record[nameOf(path)];
    if (known !== undefined) return known !== hash;
    if ([nameOf(path), ...used].some((file) => differs.includes(file))) return true;
    record[nameOf(path)] = hash; // taken over from the last commit
    return false;
  });
  writeRecord(recordPath, record);
  return changed;
}
