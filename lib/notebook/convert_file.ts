/**
 * Converting a notebook's file to text and back, with care for what is there already.
 *
 * @module
 */
import { exists, writeWhole } from "./paths.ts";
import { type Notebook, notebookText, readNotebook } from "./notebook.ts";
import { fromPercent, keepOutputs, toPercent } from "./percent.ts";

/** Options of `convert()`. */
export interface ConvertOptions {
  /** The file to write; else the same name with the other ending. */
  to?: string;
  /** Write over an existing file; a notebook keeps the outputs of cells that are the same. Default: false. */
  replace?: boolean;
}

/** What was written. */
export interface Converted {
  path: string;
  /** What has become of it, in a few words. */
  note: string;
}

/**
 * Converts a file.
 *
 * @throws RangeError in one sentence when the file is not what it should be, or another one is where the output should go;
 *   then nothing is written.
 */
export function convert(direction: "to-ts" | "from-ts", from: string, options: ConvertOptions = {}): Converted {
  const [ending, other] = direction === "to-ts" ? [".ipynb", ".ts"] : [".ts", ".ipynb"];
  if (!from.endsWith(ending)) throw new RangeError(`${from} does not end in ${ending}, as ${direction} needs it`);
  const to = options.to ?? from.slice(0, -ending.length) + other;
  if (!to.endsWith(other)) throw new RangeError(`${to} does not end in ${other}, as ${direction} makes it`);
  const isThere = exists(to);
  if (isThere && !options.replace) {
    const how = direction === "to-ts" ? "--force writes over it" : "--update writes over it and keeps outputs";
    throw new RangeError(`${to} exists already and stays as it is; ${how}`);
  }
  if (direction === "to-ts") {
    const written = writeWhole(to, toPercent(read(from)));
    return { path: to, note: written ? "written" : "unchanged" };
  }
  const notebook = fromPercent(textOf(from), from);
  const kept = isThere ? keepOutputs(notebook, read(to)) : 0;
  const code = notebook.cells.filter(({ cell_type }) => cell_type === "code").length;
  const written = writeWhole(to, notebookText(notebook));
  return { path: to, note: `${written ? "written" : "unchanged"}, ${kept} of ${code} code cells keep their outputs` };
}

function read(path: string): Notebook {
  try {
    return readNotebook(path);
  } catch (error) {
    throw new RangeError((error as Error).message);
  }
}

function textOf(path: string): string {
  try {
    return Deno.readTextFileSync(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) {
      throw new RangeError(`${path} does not exist; give the path of a .ts file`);
    }
    throw new RangeError(`${path} cannot be read (${(error as Error).message})`);
  }
}
