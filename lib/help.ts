/**
 * `help("tome")` or `help(tome)` in a notebook: the doc comment and the example of anything in lib, and where it stands.
 *
 * @module
 */
import { fileURLToPath } from "node:url";
import type ts from "typescript";

/** Something of lib with its explanation. */
interface Documented {
  name: string;
  /** From the project's root. */
  path: string;
  line: number;
  /** As it is declared, without its body. */
  signature: string;
  /** The doc comment, in Markdown. */
  doc: string;
}

/** An explanation that shows itself in a notebook, and is its text elsewhere. */
export interface Help {
  /** In Markdown. */
  readonly text: string;
  toString(): string;
}

const lib = fileURLToPath(new URL("./", import.meta.url));
let known: Promise<Documented[]> | undefined;

/**
 * Explains a function, class, type or value that lib exports: signature, doc comment, example, place.
 *
 * @param what Its name, or the function itself.
 * @returns Text that a notebook shows. For a name that lib does not have, the names that resemble it.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * const { text } = await help("mulberry32");
 * assert.match(text, /lib\/random\.ts/);
 * assert.equal((await help(help)).text.includes("Explains a function"), true);
 * ```
 */
export async function help(what: string | { readonly name: string }): Promise<Help> {
  const name = typeof what === "string" ? what.replace(/\(\)$/, "") : what.name;
  known ??= readLib();
  const all = await known;
  const found = all.filter((entry) => entry.name === name);
  const text = found.length ? found.map(markdownOf).join("\n\n---\n\n") : unknown(name, all);
  const shown = { text, toString: () => text };
  return Object.assign(shown, {
    [Symbol.for("Jupyter.display")]: () => ({ "text/markdown": text, "text/plain": text }),
  });
}

function unknown(name: string, all: Documented[]): string {
  const wanted = name.toLowerCase();
  const near = [...new Set(all.map((entry) => entry.name))].filter((other) => {
    const lower = other.toLowerCase();
    return wanted.length > 1 && (lower.includes(wanted) || wanted.includes(lower));
  }).slice(0, 12);
  return `lib has nothing named ${name || "(no name)"}${near.length ? `; it has ${near.join(", ")}` : ""}`;
}

function markdownOf({ path, line, signature, doc }: Documented): string {
  return `\`\`\`ts\n${signature}\n\`\`\`\n\n${doc || "It has no doc comment."}\n\n*${path}:${line}*`;
}

async function readLib(): Promise<Documented[]> {
  const { default: compiler } = await import("typescript"); // only when somebody asks: it takes a third of a second
  return filesOf(lib).flatMap((path) => documentedIn(compiler, path));
}

function filesOf(folder: string): string[] {
  return [...Deno.readDirSync(folder)].sort((a, b) => a.name < b.name ? -1 : 1).flatMap(({ name, isDirectory }) => {
    if (isDirectory) return filesOf(`${folder}${name}/`);
    return name.endsWith(".ts") && !name.endsWith(".d.ts") ? [folder + name] : [];
  });
}

function documentedIn(compiler: typeof ts, path: string): Documented[] {
  const source = Deno.readTextFileSync(path);
  const file = compiler.createSourceFile(path, source, compiler.ScriptTarget.ESNext, true);
  return file.statements.flatMap((statement) => {
    const isExported = compiler.canHaveModifiers(statement) &&
      compiler.getModifiers(statement)?.some(({ kind }) => kind === compiler.SyntaxKind.ExportKeyword);
    if (!isExported) return [];
    const names = compiler.isVariableStatement(statement)
      ? statement.declarationList.declarations.map(({ name }) => name.getText(file))
      : [(statement as ts.DeclarationStatement).name?.getText(file) ?? ""];
    const start = statement.getStart(file);
    const comment = compiler.getLeadingCommentRanges(source, statement.pos)?.findLast(({ pos }) =>
      source.startsWith("/**", pos)
    );
    return names.filter(Boolean).map((name) => ({
      name,
      path: `lib/${path.slice(lib.length)}`,
      line: file.getLineAndCharacterOfPosition(start).line + 1,
      signature: signatureOf(compiler, statement, file),
      doc: comment ? proseOf(source.slice(comment.pos, comment.end)) : "",
    }));
  });
}

/** The declaration without the body of a function or of a long value. */
function signatureOf(compiler: typeof ts, statement: ts.Statement, file: ts.SourceFile): string {
  const text = statement.getText(file).replace(/^export (default )?/, "");
  if (compiler.isFunctionDeclaration(statement) && statement.body) {
    return text.slice(0, text.length - statement.body.getText(file).length).trim();
  }
  if (compiler.isClassDeclaration(statement)) return text.slice(0, text.indexOf("{")).trim();
  const lines = text.split("\n");
  return lines.length > 25 ? [...lines.slice(0, 20), "  // ..."].join("\n") : text;
}

/** A doc comment as Markdown: tags become words. */
function proseOf(comment: string): string {
  return comment.replace(/^\/\*\*\s?|\s*\*\/$/g, "").replace(/^[ \t]*\* ?/gm, "")
    .replace(/\{@link\s+([^}|]+)[^}]*\}/g, "`$1`")
    .replace(/^@param (?:\{[^}]*\} )?(\S+)/gm, "- `$1`:")
    .replace(/^@returns?/gm, "\n**Returns**").replace(/^@throws/gm, "\n**Throws**")
    .replace(/^@example[ \t]*(.*)$/gm, (_, title) => `\n**Example.** ${title}`.trimEnd() + "\n")
    .replace(/\n{3,}/g, "\n\n").trim();
}
