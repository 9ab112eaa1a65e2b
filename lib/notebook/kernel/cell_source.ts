/**
 * What of a cell is sent to the Deno kernel, and the way back from the kernel's line numbers to the cell's.
 *
 * The kernel takes the types out of a cell, prints it anew and runs that; its stack traces name lines of the new text. We do
 * the first step ourselves, with the same parser (`stripTypeScriptTypes` of Deno's node:module), and so get a source map,
 * and words for a syntax error. In that text, whose form is regular, three things are added:
 *
 * - in front, a name for stack traces and a call that says which cell begins;
 * - around what a top-level `await` waits for, `__tessera.wait(...)`, which Stop can end;
 * - around a last expression, `__tessera.last(...)`, since the kernel loses `NaN`, `1n` and `null`.
 *
 * A source with which any of this fails is sent as it is.
 *
 * @module
 */
import { SourceMap, stripTypeScriptTypes } from "node:module";
import { importEdits } from "./imports.ts";
import { type Edit, EditedText, type Place, placeOf } from "./text_edits.ts";
import { closing, type Token, tokensOf } from "./tokens.ts";

/** Why a source cannot be parsed. */
export interface SyntaxProblem extends Place {
  message: string;
}

/** A cell as it is sent. */
export interface CellSource {
  /** What the kernel runs. */
  code: string;
  /** Why it cannot be parsed; the kernel says only that it failed. */
  problem?: SyntaxProblem;
  /** Where in the cell a place of the kernel's text is. */
  locate(place: Place): Place | undefined;
  /** Where in the cell the n-th `await` is that Stop can end. */
  locateAwait(index: number): Place | undefined;
}

/** By what name stack traces name a cell: the id that `sourceFor()` got. */
export const cellFile = (id: number) => `$cell_${id}`;

/** Prepares a cell's source for the kernel. */
export function sourceFor(source: string, id: number): CellSource {
  const nothing = { locate: () => undefined, locateAwait: () => undefined };
  const asObject = source.trimStart().startsWith("{") && !source.trimEnd().endsWith(";");
  // the kernel reads `{ a: 1 }` as an object, if it can
  for (const text of asObject ? [`(${source}\n)`, source] : [source]) {
    const sent = withoutTypes(text, id, asObject && text !== source ? 1 : 0);
    if (sent) return sent;
  }
  return { code: source, problem: problemOf(source), ...nothing };
}

function withoutTypes(source: string, id: number, shift: number): CellSource | undefined {
  try {
    const imports = new EditedText(source, importEdits(source, tokensOf(source)));
    const plain = transpile(imports.text);
    const { edits, awaits } = editsFor(plain);
    let added = new EditedText(plain, edits);
    try {
      transpile(added.text);
    } catch {
      added = new EditedText(plain, []);
    }
    const toPlain = lazy(() => mapOf(added.text));
    const toSource = lazy(() => mapOf(imports.text));
    const back = (place: Place | undefined): Place | undefined => {
      if (!place) return undefined;
      const { line, column } = imports.before(place);
      return { line, column: line === 1 ? Math.max(1, column - shift) : column };
    };
    return {
      code: `//# sourceURL=${cellFile(id)}\n__tessera.enter(${id});\n${added.text}`,
      locate(place) {
        const inAdded = original(toPlain(), { ...place, line: place.line - LINES_IN_FRONT });
        return back(inAdded && original(toSource(), added.before(inAdded)));
      },
      locateAwait(index) {
        return awaits[index] === undefined ? undefined : back(original(toSource(), placeOf(plain, awaits[index])));
      },
    };
  } catch {
    return undefined; // sent as it is, and the kernel judges it
  }
}

const LINES_IN_FRONT = 2;

/** TypeScript as the kernel's own parser prints it, with its source map where it is asked for. Throws when it is none. */
function transpile(source: string, sourceMap = false): string {
  const options = { mode: "transform" as "strip", sourceMap }; // the types know only one mode
  return stripTypeScriptTypes(source, options);
}

/** What is added to a text that was printed by the transpiler: each top-level statement starts a line. */
function editsFor(plain: string): { edits: Edit[]; awaits: number[] } {
  const tokens = tokensOf(plain);
  const awaits: number[] = [];
  const edits: Edit[] = [];
  const wrap = (from: number, to: number, before: string, after: string) => {
    edits.push({ start: tokens[from].start, end: tokens[from].start, text: before });
    edits.push({ start: tokens[to].end, end: tokens[to].end, text: after });
  };
  for (const at of topLevelAwaits(tokens)) {
    const each = tokens[at - 1]?.text === "for";
    const [from, to] = (each ? iterated(tokens, at) : operand(tokens, at)) ?? [];
    if (from === undefined || to === undefined) continue;
    awaits.push(tokens[at].start);
    wrap(from, to, `__tessera.${each ? "each" : "wait"}(`, `, ${awaits.length - 1})`);
  }
  const last = lastExpression(plain, tokens);
  if (last) {
    edits.unshift({ start: tokens[last[0]].start, end: tokens[last[0]].start, text: "__tessera.last((" });
    edits.push({ start: tokens[last[1]].end, end: tokens[last[1]].end, text: "))" });
  }
  return { edits, awaits };
}

/** The indices of `await` outside of functions. */
function topLevelAwaits(tokens: Token[]): number[] {
  const found: number[] = [];
  for (let at = 0; at < tokens.length; at++) {
    const { text, kind } = tokens[at];
    if (kind === "sign" && text === "{" && startsFunction(tokens, at)) at = closing(tokens, at);
    else if (kind === "word" && text === "await" && ![".", "?."].includes(tokens[at - 1]?.text)) found.push(at);
  }
  return found;
}

const TAKES_PARENTHESES = new Set(["if", "for", "while", "switch", "catch", "with", "await"]);

/** Whether a brace starts the body of a function: it follows `=>`, or parentheses that no statement asks for. */
function startsFunction(tokens: Token[], brace: number): boolean {
  const before = tokens[brace - 1];
  if (before?.text === "=>") return true;
  if (before?.text !== ")") return false;
  let open = brace - 2;
  while (open >= 0 && !(tokens[open].text === "(" && tokens[open].depth === before.depth)) open--;
  return !TAKES_PARENTHESES.has(tokens[open - 1]?.text);
}

const NO_OPERAND = new Set(["async", "function", "class", "using", "typeof", "void", "delete", "await", "yield"]);

/** The first and last token of what an `await` waits for, a chain such as `a.b(c)[d]`; undefined for anything else. */
function operand(tokens: Token[], at: number): [number, number] | undefined {
  const first = at + 1;
  let last = first;
  while (tokens[last]?.text === "new") last++;
  const { kind, text } = tokens[last] ?? {};
  if (kind === "sign" && (text === "(" || text === "[")) last = closing(tokens, last);
  else if (kind !== "word" || NO_OPERAND.has(text)) return undefined;
  while (true) {
    const next = tokens[last + 1];
    if (next?.text === "(" || next?.text === "[") last = closing(tokens, last + 1);
    else if (next?.kind === "template") last++;
    else if (next?.text === "." || next?.text === "?.") {
      const { kind, text } = tokens[last + 2] ?? {};
      if (kind === "word") last += 2;
      else if (text === "(" || text === "[") last = closing(tokens, last + 2);
      else return undefined;
    } else break;
  }
  return last < tokens.length && tokens[last + 1]?.text !== "=>" ? [first, last] : undefined;
}

/** The first and last token of what a `for await` goes through. */
function iterated(tokens: Token[], at: number): [number, number] | undefined {
  const open = at + 1;
  if (tokens[open]?.text !== "(") return undefined;
  const close = closing(tokens, open);
  const of = tokens.findIndex((token, index) =>
    index > open && index < close && token.text === "of" && token.kind === "word" &&
    token.depth === tokens[open].depth + 1
  );
  return of < 0 || of + 1 >= close ? undefined : [of + 1, close - 1];
}

const NO_EXPRESSION = new Set(
  "const let var function class if for while do switch try throw return break continue debugger import export".split(
    " ",
  ),
);

/** The first and last token of a last statement that is an expression. */
function lastExpression(plain: string, tokens: Token[]): [number, number] | undefined {
  const first = tokens.findLastIndex(({ depth, start, text, kind }) =>
    depth === 0 && (start === 0 || plain[start - 1] === "\n") && !(kind === "sign" && ")]}".includes(text))
  );
  const last = tokens.length - 1;
  if (first < 0 || tokens[last].text !== ";" || first === last) return undefined;
  const { kind, text } = tokens[first];
  const next = tokens[first + 1];
  if (kind === "word" && (NO_EXPRESSION.has(text) || next.text === ":")) return undefined;
  if (kind === "word" && text === "async" && next.text === "function") return undefined;
  if (kind === "word" && (text === "using" || text === "await" && next.text === "using")) return undefined;
  return kind === "sign" && text === "{" ? undefined : [first, last - 1];
}

function mapOf(source: string): SourceMap {
  const text = transpile(source, true);
  return new SourceMap(JSON.parse(atob(text.slice(text.lastIndexOf("base64,") + 7))));
}

function original(map: SourceMap, { line, column }: Place): Place | undefined {
  const entry = map.findEntry(line - 1, column - 1);
  return "originalLine" in entry ? { line: entry.originalLine + 1, column: entry.originalColumn + 1 } : undefined;
}

function lazy<T>(make: () => T): () => T {
  let made: { value: T } | undefined;
  return () => (made ??= { value: make() }).value;
}

/** Why a source is no TypeScript; undefined where it is. */
function problemOf(source: string): SyntaxProblem | undefined {
  try {
    transpile(source);
  } catch (error) {
    const text = (error as Error).message.replace(/^SyntaxError: /, "");
    const [, line, column] = text.match(/:(\d+):(\d+)\s*$/) ?? [];
    return { message: text.split("\n")[0], line: Number(line) || 1, column: Number(column) || 1 };
  }
}
