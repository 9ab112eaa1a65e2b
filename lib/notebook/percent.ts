/**
 * Notebooks as TypeScript text, for writing in an editor and for review: jupytext's percent form. A cell begins with
 * `// %%` and its tags and metadata; words stand in comments; outputs stay out.
 *
 * There and back nothing is lost but the outputs: ids, metadata and attachments stand in the cells' first lines, the
 * notebook's metadata in a YAML header. jupytext (https://jupytext.readthedocs.io, version 1.19) reads and writes the same
 * form; what it has no word for (ids, attachments, blank lines at a cell's end) it keeps as metadata.
 *
 * @module
 */
import { parse as parseYaml, stringify } from "yaml";
import { type Cell, type Json, type Notebook, sourceOf } from "./notebook.ts";

/** A cell's first line in the text form. */
const MARKER = /^\s*\/\/\s*(?:%%(%*)(?:\s+(.*))?|<codecell>\s*|In\[[0-9 ]*\]:?\s*)$/;
/** What would be taken for a first line, below any number of comment marks. */
const LIKE_MARKER = /^\s*(?:\/\/\s*)*(?:%%%*(?:\s.*)?|<codecell>\s*|In\[[0-9 ]*\]:?\s*)$/;
/** What jupytext takes for a magic command in code, and writes below one more comment mark. */
const LIKE_MAGIC = /^\s*(?:\/\/ ?)*%{1,3}[a-zA-Z]/;
const COMMENT = /^(\s*)\/\/ ?/;
const KEY = /^[a-zA-Z0-9_.@/-]+$/;
/** Keys that mean something else in a first line; such metadata stand under `cell_metadata`. */
const RESERVED = ["id", "attachments", "blank_lines_at_end", "cell_metadata", "title", "cell_type", "cell_depth"]
  .concat("language", "region_name", "active", "incorrectly_encoded_metadata", "lines_to_next_cell");
const REPRESENTATION = { extension: ".ts", format_name: "percent", format_version: "1.3" };

type Metadata = Record<string, Json>;

/**
 * A notebook as text.
 *
 * @throws RangeError for a notebook of a format later than 4.5, which may hold what this form has no place for.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * const cells = [
 *   { cell_type: "markdown" as const, id: "a", metadata: {}, source: "# Words" },
 *   { cell_type: "code" as const, id: "b", metadata: { tags: ["parameters"] }, source: "const r = 8;" },
 * ];
 * const text = toPercent({ cells, metadata: {}, nbformat: 4, nbformat_minor: 5 });
 * assert.ok(text.endsWith('// %% [markdown] id="a"\n// # Words\n\n// %% id="b" tags=["parameters"]\nconst r = 8;\n'));
 * assert.equal(fromPercent(text, "some.ts").cells[1].source, "const r = 8;");
 * ```
 */
export function toPercent(notebook: Notebook): string {
  if (notebook.nbformat_minor !== 5) {
    throw new RangeError(`the notebook has format 4.${notebook.nbformat_minor}, but only 4.5 can be converted`);
  }
  const { jupytext = {}, ...metadata } = notebook.metadata;
  const header = {
    jupyter: { jupytext: { text_representation: REPRESENTATION, ...(jupytext as Metadata) }, ...metadata },
  };
  const yaml = yamlOf(header);
  const lines = ["---", ...yaml.trimEnd().split("\n"), "---"].map((line) => line ? `// ${line}` : "//");
  return [lines.join("\n"), ...notebook.cells.map(cellText)].join("\n\n") + "\n";
}

/** As PyYAML reads it too: YAML 1.1, in which these characters end a line unless they are written as numbers. */
function yamlOf(value: Json): string {
  const lineEnd = /[\x85\u2028\u2029]/g;
  return stringify(value, {
    schema: "yaml-1.1",
    version: "1.1",
    lineWidth: 0,
    blockQuote: false,
    aliasDuplicateObjects: false,
    ...(lineEnd.test(JSON.stringify(value))
      ? { defaultStringType: "QUOTE_DOUBLE", defaultKeyType: "QUOTE_DOUBLE" }
      : {}),
  }).replace(lineEnd, (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`);
}

function cellText(cell: Cell): string {
  const lines = sourceOf(cell).split("\n");
  let blank = 0;
  if (cell.cell_type === "code") {
    while (lines.at(-1) === "") lines.pop(), blank++;
  } else if (lines.join() === "") lines.pop();

  const { title, ...metadata } = cell.metadata as Metadata;
  const words = typeof title === "string" && /^[^[\]{}=%\s][^[\]{}=\n]*[^[\]{}=\s]$/.test(title) ? title : undefined;
  const plain: Metadata = { id: cell.id };
  const odd: Metadata = title === undefined || words ? {} : { title };
  for (const [key, value] of Object.entries(metadata)) {
    if (RESERVED.includes(key) || !KEY.test(key)) odd[key] = value;
    else plain[key] = value;
  }
  if (cell.attachments !== undefined) plain.attachments = cell.attachments;
  if (Object.keys(odd).length) plain.cell_metadata = odd;
  if (blank !== (cell.cell_type === "code" && lines.length === 0 ? 1 : 0)) plain.blank_lines_at_end = blank;

  const first = [
    "// %%",
    ...(words ? [words] : []),
    ...(cell.cell_type === "code" ? [] : [`[${cell.cell_type}]`]),
    ...Object.entries(plain).map(([key, value]) => `${key}=${JSON.stringify(value)}`),
  ].join(" ");
  const body = lines.map((line) => {
    if (cell.cell_type !== "code") return LIKE_MARKER.test(line) ? `// // ${line}` : line ? `// ${line}` : "//";
    const isTaken = LIKE_MAGIC.test(line) || (COMMENT.test(line) && LIKE_MARKER.test(line));
    return isTaken ? line.replace(/^\s*/, "$&// ") : line;
  });
  return [first, ...body].join("\n");
}

/**
 * The notebook in a text; its code cells have no outputs.
 *
 * @param text In the percent form, written by `toPercent()`, by jupytext or by hand. Cells without an id get `cell-1`, ...
 * @param name What the text is called in errors.
 * @throws RangeError in one sentence that names the line of a header or a cell's first line that cannot be read.
 */
export function fromPercent(text: string, name: string): Notebook {
  const ends = /^[^\n]*\r\n/.test(text) ? /\r\n/g : /\n/g; // a text from Windows, or a line end inside a cell
  const lines = text.replace(/^\ufeff/, "").replace(ends, "\n").replace(/\n$/, "").split("\n");
  const { metadata, next } = readHeader(lines, name);
  const starts = lines.flatMap((line, index) => index >= next && MARKER.test(line) ? [index] : []);
  const cells: Cell[] = [];
  const before = lines.slice(next, starts[0] ?? lines.length);
  if (before.some((line) => line.trim())) cells.push(cellOf({ type: "code", metadata: {} }, before));
  for (const [n, start] of starts.entries()) {
    const first = readFirstLine(lines[start], `${name}:${start + 1}`);
    cells.push(cellOf(first, lines.slice(start + 1, starts[n + 1] ?? lines.length)));
  }
  const taken = new Set(cells.map(({ id }) => id));
  cells.forEach((cell, index) => cell.id ||= freeId(`cell-${index + 1}`, taken));
  return { cells, metadata, nbformat: 4, nbformat_minor: 5 };
}

function freeId(wish: string, taken: Set<string>): string {
  let id = wish;
  for (let n = 2; taken.has(id); n++) id = `${wish}-${n}`;
  taken.add(id);
  return id;
}

function readHeader(lines: string[], name: string): { metadata: Metadata; next: number } {
  const isFence = (line?: string) => /^\/\/ ?---\s*$/.test(line ?? "");
  // jupytext begins a text with letters beyond ASCII, at times, with a line that tells Python its encoding
  const first = /^\/\/ -\*- coding: [-\w]+ -\*-$/.test(lines[0] ?? "") ? 1 : 0;
  if (!isFence(lines[first])) return { metadata: {}, next: 0 };
  const end = lines.findIndex((line, index) => index > first && isFence(line));
  if (end < 0) {
    throw new RangeError(`${name}:${first + 1} begins a header that has no end; close it with a line "// ---"`);
  }
  let read: { jupyter?: Metadata } | null;
  try {
    const yaml = lines.slice(first + 1, end).map((line) => line.replace(/^\/\/ ?/, "")).join("\n");
    read = parseYaml(yaml, { schema: "yaml-1.1", version: "1.1" });
  } catch (error) {
    const [why] = (error as Error).message.split("\n");
    throw new RangeError(`the header of ${name} is not YAML (${why}); correct it, or take it away`);
  }
  const { jupytext, ...metadata } = read?.jupyter ?? {};
  const { text_representation: form, ...others } = (jupytext ?? {}) as Metadata;
  const isOurs = form && !(form as Metadata).jupytext_version; // what jupytext says about itself stays
  if (form && !isOurs) others.text_representation = form;
  if (Object.keys(others).length) metadata.jupytext = others;
  return { metadata, next: end + 1 };
}

interface FirstLine {
  type: Cell["cell_type"];
  metadata: Metadata;
}

/** `// %% title [markdown] key="value" tags=["a"]` */
function readFirstLine(line: string, where: string): FirstLine {
  const [, , options = ""] = MARKER.exec(line)!;
  const [, before, type = "code", after] = /^([^[\]{}=]*)\[(markdown|md|raw)\](.*)$/.exec(options) ?? [];
  const start = after === undefined ? options.search(/(?:^|\s)[a-zA-Z0-9_.@/-]+=|\{/) : -1;
  const title = before ?? (start < 0 ? options : options.slice(0, start));
  const rest = (after ?? (start < 0 ? "" : options.slice(start))).trim();
  const metadata = rest.startsWith("{") ? readJson(rest, where) as Metadata : readPairs(rest, where);
  if (title.trim()) metadata.title = title.trim();
  return { type: type === "md" ? "markdown" : type as Cell["cell_type"], metadata };
}

function readPairs(text: string, where: string): Metadata {
  const metadata: Metadata = {};
  let rest = text.trim();
  while (rest) {
    const [, key, equals, value = ""] = /^([a-zA-Z0-9_.@/-]+)(=?)\s*([\s\S]*)$/.exec(rest) ?? [];
    if (!key) throw new RangeError(`${where} has ${rest} where key="value" belongs; correct the cell's first line`);
    if (!equals) {
      metadata[key] = null;
      rest = value;
      continue;
    }
    const end = endOfJson(value, where);
    metadata[key] = readJson(value.slice(0, end), where);
    rest = value.slice(end).trim();
  }
  return metadata;
}

/** Where the JSON value ends with which a text begins. */
function endOfJson(text: string, where: string): number {
  const [string] = /^"(?:\\.|[^"\\])*"/.exec(text) ?? [];
  if (string) return string.length;
  if (!/^[[{]/.test(text)) return /^\S*/.exec(text)![0].length;
  let depth = 0;
  for (const { 0: part, index } of text.matchAll(/"(?:\\.|[^"\\])*"|[[\]{}]/g)) {
    if (part === "[" || part === "{") depth++;
    if (part === "]" || part === "}") depth--;
    if (depth === 0) return index + 1;
  }
  throw new RangeError(`${where} has a value without its end: ${text.slice(0, 40)}; correct the cell's first line`);
}

function readJson(text: string, where: string): Json {
  try {
    return JSON.parse(text);
  } catch {
    throw new RangeError(`${where} has a value that is not JSON: ${text.slice(0, 40)}; correct the cell's first line`);
  }
}

function cellOf({ type, metadata: all }: FirstLine, lines: string[]): Cell {
  const { id = "", attachments, cell_metadata = {}, blank_lines_at_end, ...metadata } = all;
  while (lines.at(-1) === "") lines.pop(); // between cells
  const body = lines.map((line) => {
    const text = type === "code" ? line : line.replace(/^\/\/ ?/, "");
    const isMarked = LIKE_MARKER.test(text) || (type === "code" && LIKE_MAGIC.test(text));
    return isMarked ? text.replace(COMMENT, "$1") : text;
  });
  if (type === "code") body.push(...Array(Number(blank_lines_at_end ?? (body.length ? 0 : 1))).fill(""));
  return {
    cell_type: type,
    id: String(id),
    metadata: { ...metadata, ...(cell_metadata as Metadata) },
    source: body.join("\n"),
    ...(attachments === undefined ? {} : { attachments }),
    ...(type === "code" ? { execution_count: null, outputs: [] } : {}),
  };
}

/**
 * Brings the outputs of an earlier version of the notebook back: those of cells with the same id and the same source.
 *
 * @returns How many code cells have kept theirs.
 */
export function keepOutputs(notebook: Notebook, earlier: Notebook): number {
  const byId = new Map(earlier.cells.map((cell) => [cell.id, cell]));
  const kept = notebook.cells.filter((cell) => {
    const before = byId.get(cell.id);
    const isSame = cell.cell_type === "code" && before?.cell_type === "code" && sourceOf(before) === sourceOf(cell);
    if (isSame) Object.assign(cell, { outputs: before.outputs ?? [], execution_count: before.execution_count ?? null });
    return isSame;
  });
  return kept.length;
}
