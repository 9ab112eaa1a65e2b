/**
 * Splits TypeScript into tokens: enough to find statements and brackets without being misled by strings, comments,
 * templates and regular expressions. The kernel's own parser stays the judge of what is right.
 *
 * @module
 */

/** A piece of source. Comments are no tokens. A template is one token, with all that stands in it. */
export interface Token {
  kind: "word" | "string" | "template" | "number" | "regex" | "sign";
  text: string;
  start: number;
  end: number;
  /** Brackets that are open before it. */
  depth: number;
}

const WORD = /[\p{ID_Start}$_#\\][\p{ID_Continue}$\u200c\u200d\\]*/uy;
const NUMBER = /\.?\d(?:[eE][+-]|[\w.])*/y;
const SPACE = /(?:\s|\/\/[^\n]*|\/\*[\s\S]*?\*\/)+/y;
const REGEX = /\/(?:\\.|\[(?:\\.|[^\]\\\n])*\]|[^/\\[\n])+\/[a-z]*/y;
const SIGN = /=>|\?\.(?!\d)|\.\.\.|\+\+|--|[^\s]/y;
/** After these words a slash starts a regular expression. */
const BEFORE_VALUE = new Set(
  "return typeof case in of delete void throw new instanceof await yield else do".split(" "),
);

/**
 * The tokens of a source.
 *
 * @throws When a string or template does not end.
 */
export function tokensOf(source: string): Token[] {
  const tokens: Token[] = [];
  let depth = 0;
  const match = (pattern: RegExp, at: number): string | undefined => {
    pattern.lastIndex = at;
    return pattern.exec(source)?.[0];
  };
  for (let at = 0; at < source.length;) {
    const space = match(SPACE, at);
    if (space) {
      at += space.length;
      continue;
    }
    const first = source[at];
    const add = (kind: Token["kind"], text: string) =>
      tokens.push({ kind, text, start: at, end: at + text.length, depth });
    const word = match(WORD, at);
    const number = word === undefined ? match(NUMBER, at) : undefined;
    if (word !== undefined) add("word", word);
    else if (number !== undefined) add("number", number);
    else if (first === '"' || first === "'") add("string", source.slice(at, endOfString(source, at)));
    else if (first === "`") add("template", source.slice(at, endOfTemplate(source, at)));
    else {
      const regex = first === "/" && startsValue(tokens.at(-1)) ? match(REGEX, at) : undefined;
      if (regex !== undefined) add("regex", regex);
      else {
        const sign = match(SIGN, at)!;
        if (")]}".includes(sign)) depth--;
        add("sign", sign);
        if ("([{".includes(sign)) depth++;
      }
    }
    at = tokens.at(-1)!.end;
  }
  return tokens;
}

function startsValue(before: Token | undefined): boolean {
  if (!before) return true;
  if (before.kind === "word") return BEFORE_VALUE.has(before.text);
  return before.kind === "sign" && ![")", "]", "}", "++", "--"].includes(before.text);
}

function endOfString(source: string, start: number): number {
  for (let at = start + 1; at < source.length && source[at] !== "\n"; at++) {
    if (source[at] === "\\") at++;
    else if (source[at] === source[start]) return at + 1;
  }
  throw new SyntaxError("a string does not end");
}

function endOfTemplate(source: string, start: number): number {
  for (let at = start + 1; at < source.length; at++) {
    if (source[at] === "\\") at++;
    else if (source[at] === "`") return at + 1;
    else if (source.startsWith("${", at)) at = endOfHole(source, at + 2);
  }
  throw new SyntaxError("a template does not end");
}

/** The brace that ends a `${`. */
function endOfHole(source: string, start: number): number {
  let open = 1;
  for (let at = start; at < source.length; at++) {
    const char = source[at];
    if (char === '"' || char === "'") at = endOfString(source, at) - 1;
    else if (char === "`") at = endOfTemplate(source, at) - 1;
    else if (source.startsWith("//", at)) at = (source.indexOf("\n", at) + 1 || source.length) - 1;
    else if (source.startsWith("/*", at)) at = (source.indexOf("*/", at) + 2 || source.length) - 1;
    else if (char === "{") open++;
    else if (char === "}" && --open === 0) return at;
  }
  throw new SyntaxError("a template does not end");
}

/** The index of the bracket that closes the one at this index; the number of tokens where none does. */
export function closing(tokens: Token[], open: number): number {
  for (let at = open + 1; at < tokens.length; at++) {
    if (tokens[at].depth === tokens[open].depth && ")]}".includes(tokens[at].text) && tokens[at].kind === "sign") {
      return at;
    }
  }
  return tokens.length;
}
