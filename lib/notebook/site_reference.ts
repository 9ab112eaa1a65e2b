/**
 * What the site says of the library: what `deno doc` finds in it, and the catalogues of methods. Both are asked for in
 * processes of their own: pages about the library are made without importing it.
 *
 * @module
 */
import { fileURLToPath } from "node:url";
import ts from "typescript";
import { isFolder, nameOf, namesIn, root, textOf } from "./paths.ts";

/** An exported name. */
export interface ApiSymbol {
  name: string;
  kind: "function" | "class" | "interface" | "type" | "variable";
  /** Its file, from the project's root, and the line, from 1. */
  file: string;
  line: number;
  /** TypeScript, without bodies of functions. */
  signature: string;
  /** Markdown. */
  doc: string;
  params: { name: string; doc: string }[];
  returns?: string;
  throws: { type?: string; doc: string }[];
  examples: string[];
}

/** A door of the library: a folder's mod.ts, or a file at its top. */
export interface ApiModule {
  /** "reduction", "reduction/cache", "random". */
  name: string;
  file: string;
  doc: string;
  symbols: ApiSymbol[];
  /** Names that other doors own, handed on here. */
  handedOn: { name: string; file: string; line: number }[];
}

/** One row of a catalogue. */
export type MethodRow = Record<string, string | number>;

/** Everything about the library that pages are made of. */
export interface Reference {
  modules: ApiModule[];
  catalogues: { models: MethodRow[]; caches: MethodRow[]; text: MethodRow[] };
}

interface DocTag {
  kind: string;
  name?: string;
  doc?: string;
  tsType?: { repr?: string };
}
interface JsDoc {
  doc?: string;
  tags?: DocTag[];
}
interface Declaration {
  kind: string;
  declarationKind: string;
  jsDoc?: JsDoc;
  location: { filename: string; line: number; col: number };
  def?: { target?: { filename: string; line: number } };
}
interface DocumentedModule {
  module_doc?: JsDoc;
  symbols: { name: string; declarations: Declaration[] }[];
}

/** Prints the three catalogues. It runs on plain JavaScript, which starts fastest. */
const CATALOGUES = `
import { cacheCatalogue, catalogue, textCatalogue } from "tessera/reduction/mod.ts";
const rows = { models: catalogue.rows({ seeds: 0 }), caches: cacheCatalogue.rows({ seeds: 0 }), text: textCatalogue.rows() };
console.log(JSON.stringify(rows));
`;

/** The folders of lib with a mod.ts, and the files at its top. */
function doors(folder = "lib"): string[] {
  const names = namesIn(`${root}/${folder}`);
  return names.flatMap((name) => {
    const path = `${folder}/${name}`;
    if (isFolder(`${root}/${path}`)) return path === "lib/notebook" ? [] : doors(path); // it is for no notebook
    return name === "mod.ts" || (folder === "lib" && name.endsWith(".ts")) ? [path] : [];
  });
}

/** Asks for all of it; takes seconds. */
export async function readReference(): Promise<Reference> {
  const files = doors();
  const [doc, catalogues] = await Promise.all([
    output(["doc", "--json", ...files]),
    output(["eval", "--no-check", CATALOGUES], { TESSERA_BACKEND: "cpu", TF_CPP_MIN_LOG_LEVEL: "2" }),
  ]);
  const { nodes } = JSON.parse(doc) as { nodes: Record<string, DocumentedModule> };
  const byFile = new Map(Object.entries(nodes).map(([address, node]) => [pathOf(address), node]));
  return { modules: files.map((file) => moduleOf(file, byFile.get(file)!)), catalogues: JSON.parse(catalogues) };
}

async function output(args: string[], env: Record<string, string> = {}): Promise<string> {
  const { success, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args,
    cwd: root,
    env: { NO_COLOR: "1", DENO_NO_UPDATE_CHECK: "1", ...env },
    stdin: "null",
  }).output();
  if (!success) throw new Error(`deno ${args[0]} failed: ${new TextDecoder().decode(stderr).trim()}`);
  return new TextDecoder().decode(stdout);
}

const pathOf = (address: string) => nameOf(fileURLToPath(address));

function moduleOf(file: string, { module_doc, symbols }: DocumentedModule): ApiModule {
  const own: ApiSymbol[] = [], handedOn: ApiModule["handedOn"] = [];
  for (const { name, declarations } of symbols) {
    const exported = declarations.filter(({ declarationKind }) => declarationKind === "export");
    const reference = exported.find(({ def }) => def?.target)?.def?.target;
    if (reference) handedOn.push({ name, file: pathOf(reference.filename), line: reference.line + 1 });
    else if (exported.length) own.push(symbolOf(name, exported));
  }
  const name = file.replace(/^lib\//, "").replace(/(\/mod)?\.ts$/, "");
  return { name, file, doc: module_doc?.doc ?? "", symbols: own, handedOn };
}

function symbolOf(name: string, declarations: Declaration[]): ApiSymbol {
  const [{ location, kind }] = declarations;
  const jsDoc = declarations.find(({ jsDoc }) => jsDoc?.doc?.trim())?.jsDoc ?? {};
  const tags = (kind: string) => jsDoc.tags?.filter((tag) => tag.kind === kind) ?? [];
  return {
    name,
    kind: kind === "typeAlias" || kind === "namespace" ? "type" : kind as ApiSymbol["kind"],
    file: pathOf(location.filename),
    line: location.line + 1,
    signature: declarations.map(({ location }) => signatureAt(location)).filter(Boolean).join("\n"),
    doc: jsDoc.doc ?? "",
    params: tags("param").map(({ name = "", doc = "" }) => ({ name, doc })),
    returns: tags("return")[0]?.doc,
    throws: tags("throws").map(({ tsType, doc = "" }) => ({ type: tsType?.repr, doc })),
    examples: tags("example").map(({ doc = "" }) => doc),
  };
}

const sources = new Map<string, ts.SourceFile>();

/** A declaration as it is written, without its comment and without bodies. */
function signatureAt({ filename, line, col }: Declaration["location"]): string {
  const path = fileURLToPath(filename);
  let source = sources.get(path);
  if (!source) sources.set(path, source = ts.createSourceFile(path, textOf(path), ts.ScriptTarget.Latest, true));
  const at = source.getPositionOfLineAndCharacter(line, col);
  const statement = source.statements.find((node) => node.getStart(source) <= at && at < node.end);
  return statement ? withoutBodies(statement, source) : "";
}

function withoutBodies(statement: ts.Statement, source: ts.SourceFile): string {
  const text = (from: number, to: number) => source.text.slice(from, to).trimEnd();
  const start = statement.getStart(source);
  if (ts.isFunctionDeclaration(statement)) return text(start, statement.body?.getStart(source) ?? statement.end);
  if (ts.isVariableStatement(statement)) {
    const [{ name, type, initializer }] = statement.declarationList.declarations;
    const whole = text(start, statement.end);
    const given = type || !initializer || whole.split("\n").length <= 12;
    return !type && given ? whole : text(start, (type ?? name).end);
  }
  if (!ts.isClassDeclaration(statement)) return text(start, statement.end);
  const members = statement.members.filter((member) => !isPrivate(member)).map((member) => {
    // with its comment: a member has no entry of its own
    const from = ts.getLeadingCommentRanges(source.text, member.getFullStart())?.at(-1)?.pos ?? member.getStart(source);
    const end = "body" in member && member.body ? (member.body as ts.Node).getStart(source) : member.end;
    return `  ${text(from, end).replace(/;?$/, ";")}`;
  });
  const head = text(
    start,
    source.text.indexOf("{", (statement.heritageClauses ?? statement.typeParameters)?.end ?? start),
  );
  return `${head} {\n${members.join("\n\n")}\n}`;
}

function isPrivate(member: ts.ClassElement): boolean {
  if (member.name && ts.isPrivateIdentifier(member.name)) return true;
  const modifiers = ts.canHaveModifiers(member) ? ts.getModifiers(member) ?? [] : [];
  return modifiers.some(({ kind }) => kind === ts.SyntaxKind.PrivateKeyword) ||
    ts.isClassStaticBlockDeclaration(member);
}
