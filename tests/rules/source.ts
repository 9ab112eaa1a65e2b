/**
 * TypeScript without what only looks like code: the rules about imports and words must not stumble over a comment or
 * over a test that has a program in a string.
 *
 * @module
 */
import { lineAt } from "./project.ts";

/** Source in which strings are numbered and comments and regular expressions are blank; lines stay where they are. */
export interface Scanned {
  /** A string stands as its number: `"0"`; a piece of a template as `` `0` ``. */
  code: string;
  strings: string[];
}

const comment = /\/\/[^\n]*|\/\*[\s\S]*?\*\//y;
const string = /"((?:\\[\s\S]|[^"\\\n])*)"|'((?:\\[\s\S]|[^'\\\n])*)'/y;
const templateText = /(?:\\[\s\S]|\$(?!\{)|[^`\\$])*/y;
const regularExpression = /\/(?![*/])(?:\\.|\[(?:\\.|[^\]\\\n])*\]|[^/\\[\n])+\/[a-z]*/y;
/** What a regular expression can follow; after anything else `/` divides. */
const beforeExpression = /(?:^|[=(,:;[!&|?{+*-]|=>|\b(?:return|typeof|case|in|of|await|throw))\s*$/;

/** Takes comments, strings, templates and regular expressions out of TypeScript. */
export function scan(source: string): Scanned {
  const strings: string[] = [];
  const openBraces: number[] = []; // for each `${` that is open, the braces that are open inside it
  let code = "", at = 0;

  const take = (pattern: RegExp): RegExpExecArray | null => {
    pattern.lastIndex = at;
    const found = pattern.exec(source);
    if (found) at += found[0].length;
    return found;
  };
  const lines = (text: string) => "\n".repeat(text.split("\n").length - 1);
  const readTemplate = () => {
    const [text] = take(templateText)!;
    code += `\`${strings.push(text) - 1}\`${lines(text)}`;
    if (source.startsWith("${", at)) openBraces.push(0), at += 2, code += "(";
    else at++; // the closing mark
  };

  while (at < source.length) {
    const blank = take(comment);
    if (blank) {
      code += lines(blank[0]) || " ";
      continue;
    }
    const literal = take(string);
    if (literal) {
      code += `"${strings.push(literal[1] ?? literal[2]) - 1}"`;
      continue;
    }
    if (source[at] === "/" && beforeExpression.test(code.slice(-40)) && take(regularExpression)) {
      code += "/ /";
      continue;
    }
    const character = source[at++];
    const inner = openBraces.length - 1;
    if (character === "`") readTemplate();
    else if (character === "}" && openBraces[inner] === 0) openBraces.pop(), code += ")", readTemplate();
    else {
      if (inner >= 0 && character === "{") openBraces[inner]++;
      if (inner >= 0 && character === "}") openBraces[inner]--;
      code += character;
    }
  }
  return { code, strings };
}

/** What a module imports, by whatever form; `specifier` is undefined where it is computed while the program runs. */
export interface Import {
  specifier: string | undefined;
  line: number;
}

/** All imports: `import`, `export ... from`, `import()`, `typeof import()`, `require()`. */
export function importsOf(source: string): Import[] {
  const { code, strings } = scan(source);
  const written =
    /(?<![.\w])(?:import|from)\s*"(\d+)"|(?<![.\w])(?:import|require(?:\.resolve)?)\s*\(\s*"(\d+)"\s*[,)]/g;
  const computed = /(?<![.\w])import\s*\((?!\s*"\d+"\s*[,)])/g;
  return [
    ...[...code.matchAll(written)].map(({ 1: plain, 2: called, index }) => ({
      specifier: strings[Number(plain ?? called)],
      index,
    })),
    ...[...code.matchAll(computed)].map(({ index }) => ({ specifier: undefined, index })),
  ].map(({ specifier, index }) => ({ specifier, line: lineAt(code, index) }));
}
