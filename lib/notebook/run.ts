/**
 * `deno task notebooks PATH... [--write]`: runs notebooks from top to bottom in a fresh kernel, each in its own folder,
 * and fails when any cell has an error output. With `--write` the outputs are saved, in the same bytes for the same
 * results.
 *
 * @module
 */
import { dirname, relative, resolve } from "node:path";
import { type CellResult, Kernel } from "./client.ts";
import {
  type Json,
  type Notebook,
  notebookText,
  type Output,
  OutputCollector,
  readNotebook,
  sourceOf,
  splitLines,
} from "./notebook.ts";
import { isFolder, KERNEL_NAME, KERNEL_TITLE, root, whereTheUserIs, writeWhole } from "./paths.ts";
import { setUp, withSetUpErrors } from "./setup.ts";

/** Options of `runNotebook()`. */
export interface RunOptions {
  /** Save the outputs when the notebook ran without an error. Default: false. */
  write?: boolean;
  /** How long one cell may take, in seconds. Default: 600. */
  cellLimitSeconds?: number;
}

/** What came of one notebook. */
export interface RunResult {
  /** The notebook with its new outputs. */
  notebook: Notebook;
  /** What failed and in which cell; undefined when every cell ran. */
  problem?: string;
  /** True when the file has changed on disk. */
  written: boolean;
  /** From the start of the kernel to its end. */
  seconds: number;
}

const STOP_GRACE_SECONDS = 5;

/**
 * Runs one notebook in a fresh kernel. It stops at the first cell with an error output, unless the cell is tagged
 * `raises-exception`; cells tagged `skip-execution` are left as they are.
 *
 * @param path Path of an .ipynb file; its folder is the kernel's working folder.
 * @throws One sentence when the file is missing or is not a notebook of format 4.5. What goes wrong inside the notebook is
 *   in the result's `problem`.
 */
export async function runNotebook(path: string, options: RunOptions = {}): Promise<RunResult> {
  const { write = false, cellLimitSeconds = 600 } = options;
  const start = performance.now();
  const notebook = readNotebook(path);
  const kernel = await Kernel.start({ cwd: dirname(resolve(path)) });
  let problem: string | undefined;
  try {
    problem = await runCells(kernel, notebook, cellLimitSeconds);
    if (!problem) await completeMetadata(kernel, notebook);
  } catch (error) {
    problem = (error as Error).message;
  } finally {
    await kernel.shutdown();
  }
  const written = write && !problem && writeWhole(path, notebookText(notebook));
  return { notebook, problem, written, seconds: (performance.now() - start) / 1000 };
}

async function runCells(kernel: Kernel, notebook: Notebook, limitSeconds: number): Promise<string | undefined> {
  const collector = new OutputCollector();
  let count = 0;
  for (const [index, cell] of notebook.cells.entries()) {
    if (cell.cell_type !== "code" || cell.metadata.tags?.includes("skip-execution")) continue;
    delete cell.metadata.execution; // JupyterLab's timings: different in each run
    cell.outputs = [];
    cell.execution_count = null;
    if (!sourceOf(cell).trim()) continue;

    cell.execution_count = ++count;
    const result = await withLimit(kernel, sourceOf(cell), limitSeconds).catch((error) => {
      throw new Error(`cell ${index + 1}: ${error.message}`);
    });
    cell.outputs = collector.collect(result.messages, count).map(withoutMachinePaths);
    const problem = problemOf(cell.outputs, result);
    if (problem && !cell.metadata.tags?.includes("raises-exception")) return `cell ${index + 1}: ${problem}`;
  }
}

/** Runs a cell; when it takes too long, presses Stop and reports that. */
async function withLimit(kernel: Kernel, code: string, limitSeconds: number): Promise<CellResult> {
  const running = kernel.execute(code);
  running.catch(() => {}); // awaited below, or given up
  const result = await Promise.race([running, after(limitSeconds)]);
  if (result) return result;
  kernel.interrupt();
  await Promise.race([running, after(STOP_GRACE_SECONDS)]);
  throw new Error(`took longer than ${limitSeconds} s; raise the limit with --limit SECONDS`);
}

function after(seconds: number): Promise<undefined> {
  return new Promise((resolve) => Deno.unrefTimer(setTimeout(() => resolve(undefined), seconds * 1000)));
}

function problemOf(outputs: Output[], { status }: CellResult): string | undefined {
  const error = outputs.find((output) => output.output_type === "error");
  if (error) return `${error.ename}: ${error.evalue}`;
  if (status === "ok") return undefined;
  return "failed, and the kernel gives no text: probably a syntax error or an unknown package";
}

/** Saved outputs are the same on every machine: paths inside the project are shown from its root. */
function withoutMachinePaths(output: Output): Output {
  const clean = (text: string) => text.replaceAll(`file://${root}/`, "").replaceAll(`${root}/`, "");
  if (output.output_type === "stream") return { ...output, text: splitLines(clean(output.text.join(""))) };
  if (output.output_type === "error") {
    return { ...output, evalue: clean(output.evalue), traceback: output.traceback.map(clean) };
  }
  return output;
}

/** A notebook asks for our kernel, and says its language for web viewers; what JupyterLab wrote about it stays. */
async function completeMetadata(kernel: Kernel, notebook: Notebook): Promise<void> {
  notebook.metadata.kernelspec = { display_name: KERNEL_TITLE, language: "typescript", name: KERNEL_NAME };
  notebook.metadata.language_info = await kernel.languageInfo() as Json;
}

/** Notebooks named on the command line; a folder stands for the notebooks in it. */
function findNotebooks(paths: string[]): string[] {
  return paths.flatMap((given) => {
    const path = whereTheUserIs(given);
    if (!isFolder(path)) return [path];
    const entries = [...Deno.readDirSync(path)].map(({ name }) => name).filter((name) => !name.startsWith(".")).sort();
    return entries.flatMap((name) => {
      const inside = `${path}/${name}`;
      return isFolder(inside) ? findNotebooks([inside]) : name.endsWith(".ipynb") ? [inside] : [];
    });
  });
}

const USAGE = `Usage: deno task notebooks PATH... [--write] [--limit SECONDS]

Runs notebooks (or all notebooks of a folder) in a fresh kernel each and fails when a cell has an error output.
  --write          save the outputs; a notebook whose results are the same stays as it is, byte for byte
  --limit SECONDS  how long one cell may take (600)
`;

async function main(args: string[]): Promise<number> {
  const paths: string[] = [];
  let write = false;
  let cellLimitSeconds = 600;
  for (let index = 0; index < args.length; index++) {
    const arg = args[index];
    if (arg === "--help" || arg === "-h") {
      console.log(USAGE);
      return 0;
    } else if (arg === "--write") write = true;
    else if (arg === "--limit") {
      cellLimitSeconds = Number(args[++index]);
      if (!(cellLimitSeconds > 0)) {
        console.error(`--limit takes a number of seconds above 0, but got ${args[index] ?? "nothing"}`);
        return 2;
      }
    } else if (arg.startsWith("-")) {
      console.error(`${arg} is not an option of deno task notebooks; see --help`);
      return 2;
    } else paths.push(arg);
  }
  const notebooks = findNotebooks(paths);
  if (notebooks.length === 0) {
    console.error(paths.length ? `No .ipynb files in ${paths.join(", ")}.` : USAGE);
    return 2;
  }

  await setUp({ pythonOptional: true });
  let failed = 0;
  for (const path of notebooks) {
    const name = relative(Deno.cwd(), path);
    try {
      const { problem, written, seconds } = await runNotebook(path, { write, cellLimitSeconds });
      const note = problem ? `  ${problem}` : write ? (written ? "  written" : "  unchanged") : "";
      console.log(`${problem ? "FAIL" : "ok  "} ${seconds.toFixed(1).padStart(6)} s  ${name}${note}`);
      if (problem) failed++;
    } catch (error) {
      console.log(`FAIL           ${name}  ${(error as Error).message}`);
      failed++;
    }
  }
  return failed ? 1 : 0;
}

if (import.meta.main) await withSetUpErrors(() => main(Deno.args));
