/**
 * Notebook files: what is in them, reading with checks, and writing the way Jupyter does, so that saving in JupyterLab
 * and saving here give the same bytes.
 *
 * Format: https://nbformat.readthedocs.io/en/latest/format_description.html, version 4.5
 *
 * @module
 */
import type { Message } from "./message.ts";

/** A value of JSON. */
export type Json = null | boolean | number | string | Json[] | { [key: string]: Json };

/** One output of a cell. */
export type Output =
  | { output_type: "stream"; name: string; text: string[] }
  | { output_type: "error"; ename: string; evalue: string; traceback: string[] }
  | { output_type: "display_data"; data: Record<string, Json>; metadata: Record<string, Json> }
  | {
    output_type: "execute_result";
    data: Record<string, Json>;
    metadata: Record<string, Json>;
    execution_count: number | null;
  };

/** One cell; only code cells have outputs. */
export interface Cell {
  cell_type: "code" | "markdown" | "raw";
  id: string;
  metadata: { tags?: string[]; execution?: Json; [key: string]: Json | undefined };
  source: string | string[];
  execution_count?: number | null;
  outputs?: Output[];
  attachments?: Json;
}

/** A whole notebook. */
export interface Notebook {
  cells: Cell[];
  metadata: { [key: string]: Json };
  nbformat: 4;
  nbformat_minor: number;
}

/**
 * Reads a notebook.
 *
 * @param path Path of an .ipynb file.
 * @throws One sentence when the file is missing, is not JSON, or is not a notebook of format 4.5 or a later 4.
 */
export function readNotebook(path: string): Notebook {
  let text: string;
  try {
    text = Deno.readTextFileSync(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) {
      throw new Error(`${path} does not exist; give the path of an .ipynb file`);
    }
    throw new Error(`${path} cannot be read (${(error as Error).message}); give the path of an .ipynb file`);
  }
  return parseNotebook(text, path);
}

/**
 * Takes the text of a notebook file apart; see `readNotebook()`.
 *
 * @param text Content of the file.
 * @param name What the file is called in errors.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * const text = `{ "cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5 }`;
 * assert.deepEqual(parseNotebook(text, "empty.ipynb").cells, []);
 * ```
 */
export function parseNotebook(text: string, name: string): Notebook {
  let notebook: Partial<Notebook>;
  try {
    notebook = JSON.parse(text);
  } catch (error) {
    throw new Error(`${name} is not JSON (${(error as Error).message}); is it a notebook, saved to its end?`);
  }
  const { nbformat, nbformat_minor } = notebook ?? {};
  if (typeof nbformat !== "number" || !Array.isArray(notebook.cells)) {
    throw new Error(
      `${name} is JSON but not a notebook: it has no cells or no nbformat; give a file saved by JupyterLab`,
    );
  }
  if (nbformat !== 4 || typeof nbformat_minor !== "number" || nbformat_minor < 5) {
    throw new Error(
      `${name} has notebook format ${nbformat}.${nbformat_minor}, but 4.5 is needed; open it in JupyterLab and save it`,
    );
  }
  for (const [index, cell] of notebook.cells.entries()) {
    const isSource = typeof cell?.source === "string" || Array.isArray(cell?.source);
    if (!isSource || !["code", "markdown", "raw"].includes(cell.cell_type)) {
      throw new Error(
        `cell ${index + 1} of ${name} has no source or no known type; open the file in JupyterLab and save it`,
      );
    }
    cell.metadata ??= {};
    cell.id ??= `cell-${index + 1}`;
  }
  return { ...notebook, metadata: notebook.metadata ?? {} } as Notebook;
}

/** Kernels that run these notebooks: ours, and Deno's own. */
const OUR_KERNELS = ["tessera", "deno"];

/**
 * Why our kernel should not run a notebook: it is made for another one.
 *
 * @returns One sentence; undefined where the kernel is ours or none is named.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * const metadata = { kernelspec: { name: "python3", language: "python" } };
 * const notebook = { cells: [], metadata, nbformat: 4 as const, nbformat_minor: 5 };
 * assert.match(kernelProblem(notebook, "some.ipynb")!, /asks for the kernel python3/);
 * ```
 */
export function kernelProblem({ metadata }: Notebook, name: string): string | undefined {
  const { name: kernel, language } = (metadata.kernelspec ?? {}) as { name?: string; language?: string };
  if (kernel === undefined || OUR_KERNELS.includes(kernel)) return undefined;
  const what = language ? `, which is for ${language}` : "";
  return `${name} asks for the kernel ${kernel}${what}; choose the kernel "TypeScript (Deno, Tessera)" in JupyterLab and ` +
    "save it, or run it with that kernel";
}

/**
 * The text of a notebook file: keys sorted, one space per level, strings split into lines, as Jupyter writes it. The same
 * notebook gives the same bytes.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * const text = notebookText({ cells: [], metadata: {}, nbformat: 4, nbformat_minor: 5 });
 * assert.equal(text.split("\n")[1], ' "cells": [],');
 * ```
 */
export function notebookText(notebook: Notebook): string {
  const cells = notebook.cells.map((cell) => ({ ...cell, source: splitLines(sourceOf(cell)) }));
  return JSON.stringify(sortKeys({ ...notebook, cells } as unknown as Json), null, 1) + "\n";
}

/** A cell's source as one string. */
export function sourceOf(cell: Cell): string {
  return typeof cell.source === "string" ? cell.source : cell.source.join("");
}

/** Splits a text into lines that keep their ends, where Python's splitlines(True) does, which Jupyter uses. */
export function splitLines(text: string): string[] {
  return text.split(/(?<=\n|\r(?!\n)|[\v\f\x85\u2028\u2029])/).filter((line) => line !== "");
}

function sortKeys(value: Json): Json {
  if (Array.isArray(value)) return value.map(sortKeys);
  if (value === null || typeof value !== "object") return value;
  return Object.fromEntries(Object.keys(value).sort().map((key) => [key, sortKeys(value[key])]));
}

/** Collects what a kernel publishes into the outputs of cells; one collector per notebook, for updates across cells. */
export class OutputCollector {
  #shown = new Map<string, { data: Record<string, Json>; metadata: Record<string, Json> }[]>();

  /** The outputs of one cell. */
  collect(messages: Message[], executionCount: number): Output[] {
    const outputs: Output[] = [];
    let clearFirst = false;
    for (const { header, content } of messages) {
      if (header.msg_type === "clear_output") {
        if (content.wait) clearFirst = true;
        else outputs.length = 0;
        continue;
      }
      if (header.msg_type === "update_display_data") {
        for (const output of this.#shown.get(displayId(content)) ?? []) Object.assign(output, bundleOf(content));
        continue;
      }
      const output = this.#outputOf(header.msg_type, content, executionCount);
      if (!output) continue;
      if (clearFirst) {
        outputs.length = 0;
        clearFirst = false;
      }
      const last = outputs.at(-1);
      if (output.output_type === "stream" && last?.output_type === "stream" && last.name === output.name) {
        last.text = splitLines(last.text.join("") + output.text.join(""));
      } else outputs.push(output);
    }
    return outputs;
  }

  #outputOf(type: string, content: Record<string, unknown>, executionCount: number): Output | undefined {
    if (type === "stream") {
      return { output_type: "stream", name: String(content.name), text: splitLines(String(content.text)) };
    }
    if (type === "error") {
      const traceback = Array.isArray(content.traceback) ? content.traceback.map(String) : [];
      return { output_type: "error", ename: String(content.ename), evalue: String(content.evalue), traceback };
    }
    if (type !== "display_data" && type !== "execute_result") return undefined;
    const output: Output = type === "display_data"
      ? { output_type: type, ...bundleOf(content) }
      : { output_type: type, ...bundleOf(content), execution_count: executionCount };
    const id = displayId(content);
    if (id) this.#shown.set(id, [...this.#shown.get(id) ?? [], output]);
    return output;
  }
}

function displayId(content: Record<string, unknown>): string {
  return (content.transient as { display_id?: string } | undefined)?.display_id ?? "";
}

/** A MIME bundle as notebooks store it: text in lines, JSON as objects. */
function bundleOf(content: Record<string, unknown>): { data: Record<string, Json>; metadata: Record<string, Json> } {
  const data = Object.entries((content.data ?? {}) as Record<string, Json>).map(([type, value]) => [
    type,
    typeof value === "string" && type !== "application/json" ? splitLines(value) : value,
  ]);
  return { data: Object.fromEntries(data), metadata: (content.metadata ?? {}) as Record<string, Json> };
}
