/**
 * A cell's import statements as what the kernel makes of them anyway: `const { a } = await import("b")`. Written out before
 * types are taken away, since an import that this cell does not use may be for the next one.
 *
 * @module
 */
import type { Edit } from "./text_edits.ts";
import { closing, type Token } from "./tokens.ts";

/** The changes that replace the import statements of a source; lines stay where they are. */
export function importEdits(source: string, tokens: Token[]): Edit[] {
  const edits: Edit[] = [];
  tokens.forEach((token, at) => {
    if (token.text !== "import" || token.kind !== "word" || token.depth > 0 || !startsStatement(source, tokens, at)) {
      return;
    }
    const edit = editOf(source, tokens, at);
    if (edit) edits.push(edit);
  });
  return edits;
}

function startsStatement(source: string, tokens: Token[], at: number): boolean {
  const before = tokens[at - 1];
  const next = tokens[at + 1];
  if (next?.text === "(" || next?.text === ".") return false; // import() and import.meta
  return !before || [";", "}"].includes(before.text) || source.slice(before.end, tokens[at].start).includes("\n");
}

function editOf(source: string, tokens: Token[], at: number): Edit | undefined {
  const from = tokens.findIndex((token, index) => index > at && token.kind === "string" && token.depth === 0);
  if (from < 0) return undefined;
  let last = from;
  let options = "";
  if (tokens[last + 1]?.text === "with" && tokens[last + 2]?.text === "{") {
    const close = closing(tokens, last + 2);
    if (close === tokens.length) return undefined;
    options = `, { with: ${source.slice(tokens[last + 2].start, tokens[close].end)} }`;
    last = close;
  }
  if (tokens[last + 1]?.text === ";") last++;

  const clause = tokens.slice(at + 1, from);
  const statement = statementFor(clause, `await import(${tokens[from].text}${options})`);
  if (statement === undefined) return undefined;
  const replaced = source.slice(tokens[at].start, tokens[last].end);
  return {
    start: tokens[at].start,
    end: tokens[last].end,
    text: statement + "\n".repeat(replaced.split("\n").length - statement.split("\n").length),
  };
}

/** The statement for what stands between `import` and the module's name; undefined where it is something else. */
function statementFor(clause: Token[], module: string): string | undefined {
  if (clause.length === 0) return `void ${module};`; // no value to show
  if (clause.at(-1)?.text !== "from") return undefined;
  const words = clause.slice(0, -1);
  // `import type from "a"` imports a default of that name; `import type A from`, `import type { A } from` only types
  if (words[0].text === "type" && words.length > 1 && words[1].text !== ",") return ";";

  const parts: string[] = [];
  let whole: string | undefined;
  for (let at = 0; at < words.length; at++) {
    const { text, kind } = words[at];
    if (text === "{") {
      const close = closing(words, at);
      const named = splitAtCommas(words.slice(at + 1, close)).filter((words) => !isType(words));
      parts.push(...named.map(([name, as, local]) => as ? `${name.text}: ${local.text}` : name.text));
      at = close;
    } else if (text === "*") {
      whole = words[at + 2]?.text;
      at += 2;
    } else if (kind === "word") parts.push(`default: ${text}`);
    else if (text !== ",") return undefined;
  }
  if (whole === undefined) return `const { ${parts.join(", ")} } = ${module};`;
  return `const ${whole} = ${module}${parts.length ? `, { ${parts.join(", ")} } = ${whole}` : ""};`;
}

function splitAtCommas(tokens: Token[]): Token[][] {
  const parts: Token[][] = [[]];
  for (const token of tokens) {
    if (token.text === ",") parts.push([]);
    else parts.at(-1)!.push(token);
  }
  return parts.filter((part) => part.length > 0);
}

/** `{ type A }` and `{ type A as B }` name types; `{ type }` and `{ type as A }` name something called "type". */
function isType(words: Token[]): boolean {
  return words[0].text === "type" && (words.length === 2 || words.length === 4);
}
