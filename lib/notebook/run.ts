/**
 * `deno task notebooks [PATH...] [--set name=value] [--write]`: runs notebooks from top to bottom in a fresh kernel, each in
 * its own folder, and fails when any cell has an error output, with notebook, cell, line and message. With `--write` the
 * outputs are saved, in the same bytes for the same results. No Python takes part.
 *
 * @module
 */
import { dirname, resolve } from "node:path";
import { syntaxErrors } from "./cells.ts";
import { type CellResult, Kernel } from "./client.ts";
import {
  type Json,
  kernelProblem,
  type Notebook,
  notebookText,
  type Output,
  OutputCollector,
  readNotebook,
  sourceOf,
  splitLines,
} from "./notebook.ts";
import { setParameters } from "./parameters.ts";
import { exists, KERNEL_NAME, KERNEL_TITLE, root, textOf, writeWhole } from "./paths.ts";

/** Options of `runNotebook()`. */
export interface RunOptions {
  /** Save the outputs when the notebook ran without an error. Default: false. */
  write?: boolean;
  /** How long one cell may take, in seconds. Default: 600. */
  cellLimitSeconds?: number;
  /** Values for the parameters of the cell tagged `parameters`, each as name=value. */
  settings?: string[];
  /** Save the notebook with its outputs here, and leave the one that was read alone. */
  output?: string;
}

/** What came of one notebook. */
export interface RunResult {
  /** The notebook with its new outputs. */
  notebook: Notebook;
  /** What failed, in which cell and line; undefined when every cell ran. */
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
 * @throws One sentence, before anything has run, when the file is missing, is not a notebook of format 4.5, asks for another
 *   kernel, does not declare a parameter, or when there is a file where the output should go. What goes wrong inside the
 *   notebook is in the result's `problem`; then nothing is saved.
 */
export async function runNotebook(path: string, options: RunOptions = {}): Promise<RunResult> {
  const { write = false, cellLimitSeconds = 600, settings = [], output } = options;
  const start = performance.now();
  const notebook = readNotebook(path);
  const before = textOf(path);
  const wrongKernel = kernelProblem(notebook, path);
  if (wrongKernel) throw new RangeError(wrongKernel);
  if (output && exists(output)) {
    throw new RangeError(`${output} exists already and stays as it is; remove it, or give another name to --output`);
  }
  setParameters(notebook, settings, path);
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
  if (write && !problem && textOf(path) !== before) {
    problem = "the file was changed while the notebook ran, and stays as it is now; run it again";
  }
  let written = false;
  if (!problem && output) written = writeWhole(output, notebookText(notebook));
  else if (!problem && write) written = writeWhole(path, notebookText(notebook));
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
    const problem = problemOf(cell.outputs, result, sourceOf(cell), count);
    if (problem && !cell.metadata.tags?.includes("raises-exception")) return `cell ${index + 1}${problem}`;
    const late = collector.collect(kernel.takeLate(), count).find(({ output_type }) => output_type === "error");
    if (late?.output_type === "error") return `after cell ${index + 1}, in code that nobody awaits: ${late.evalue}`;
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

/** ", line 3: RangeError: too far", as far as it is known. */
function problemOf(outputs: Output[], { status }: CellResult, source: string, count: number): string | undefined {
  const error = outputs.find((output) => output.output_type === "error");
  if (error) {
    const line = lineOf(error.traceback, count);
    return `${line ? `, line ${line}` : ""}: ${error.ename}: ${error.evalue}`;
  }
  if (status === "ok") return undefined;
  const [wrong] = syntaxErrors(source, 0);
  if (wrong) return `, line ${wrong.line}: SyntaxError: ${wrong.message}`;
  return ": failed, and the kernel gives no text: probably an unknown package";
}

/** The line of the cell at which it failed; where the error arose in an earlier cell, the line that led there. */
function lineOf(traceback: string[], count: number): string | undefined {
  return new RegExp(`\\bcell \\[${count}\\], line (\\d+)`).exec(traceback.join("\n"))?.[1];
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
