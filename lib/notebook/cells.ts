/**
 * A notebook's code cells as TypeScript: one module per notebook, in which every line knows its cell, so that the compiler
 * and the linter can be asked about notebooks; and what a cell declares.
 *
 * In a notebook a later cell may declare a name again, and import in the middle. In the module imports stand at the top, and
 * a cell that declares a name again opens a block that reaches to the end.
 *
 * @module
 */
import { dirname, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import ts from "typescript";
import { type Notebook, sourceOf } from "./notebook.ts";

/** A place in a notebook: cells are counted from 1 over all kinds, lines from 1 in their cell. */
export interface Place {
  cell: number;
  line: number;
}

/** Something wrong at a place. */
export interface Finding extends Place {
  message: string;
}

/** A notebook's code as one module. */
export interface NotebookModule {
  text: string;
  /** For each line of the text, where it comes from; undefined for lines that no cell has. */
  places: (Place | undefined)[];
  /** The first lines, which hold the imports. */
  importLines: number;
  /** Imports that give a name another meaning, which a module cannot do. */
  findings: Finding[];
}

interface Line {
  text: string;
  place?: Place;
}

/** What is not TypeScript in a cell, in the compiler's words. */
export function syntaxErrors(source: string, cell: number): Finding[] {
  const { diagnostics = [] } = ts.transpileModule(source, {
    reportDiagnostics: true,
    compilerOptions: { target: ts.ScriptTarget.ESNext, module: ts.ModuleKind.ESNext },
  });
  return diagnostics.map(({ start = 0, messageText }) => ({
    cell,
    line: source.slice(0, start).split("\n").length,
    message: ts.flattenDiagnosticMessageText(messageText, " "),
  }));
}

/** The code cells that hold something, with their numbers. */
export function codeCells({ cells }: Notebook): { cell: number; source: string }[] {
  return cells.flatMap((cell, index) =>
    cell.cell_type === "code" && sourceOf(cell).trim() ? [{ cell: index + 1, source: sourceOf(cell) }] : []
  );
}

/**
 * The names that a piece of source declares at its top: variables, functions, classes, types; not what it imports.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * assert.deepEqual(declaredNames("const r = 8, [a, { b }] = pair; function f(x: number) {}"), ["r", "a", "b", "f"]);
 * ```
 */
export function declaredNames(source: string): string[] {
  return parse(source).statements.flatMap(namesOf);
}

/** The plain variables (no patterns) that a piece of source declares at its top. */
export function topVariables(source: string): { name: string; initializer?: ts.Expression; isConst: boolean }[] {
  return parse(source).statements.filter(ts.isVariableStatement).flatMap(({ declarationList }) =>
    declarationList.declarations.flatMap(({ name, initializer }) =>
      ts.isIdentifier(name)
        ? [{ name: name.text, initializer, isConst: Boolean(declarationList.flags & ts.NodeFlags.Const) }]
        : []
    )
  );
}

/**
 * Puts the code cells of a notebook into one module.
 *
 * @param notebook Cells without syntax errors; see `syntaxErrors()`.
 * @param path Where the notebook lies: its relative imports start there.
 *
 * @example A name that is declared twice
 * ```ts
 * import assert from "node:assert/strict";
 * const code = (id: string, source: string) => ({ cell_type: "code" as const, id, metadata: {}, source });
 * const cells = [code("a", "const r = 4;"), code("b", 'const r = "four";')];
 * const { text, places } = moduleOf({ cells, metadata: {}, nbformat: 4, nbformat_minor: 5 }, "some.ipynb");
 * const line = text.split("\n").findIndex((line) => line.includes("four"));
 * assert.deepEqual(places[line], { cell: 2, line: 1 });
 * ```
 */
export function moduleOf(notebook: Notebook, path: string): NotebookModule {
  const imports: Line[] = [{ text: "export {};" }];
  const body: Line[] = [];
  const findings: Finding[] = [];
  const imported = new Map<string, string>(); // what each name is
  let taken = new Set<string>(); // in the innermost block
  let blocks = 0;
  const openBlock = () => {
    body.push({ text: "{" });
    taken = new Set();
    blocks++;
  };

  for (const { cell, source } of codeCells(notebook)) {
    const file = parse(source);
    const declared = file.statements.flatMap(namesOf);
    if (declared.some((name) => taken.has(name) || imported.has(name))) openBlock();

    let rest = source;
    for (const statement of file.statements.filter(ts.isImportDeclaration)) {
      const start = statement.getStart(file);
      const { line, character } = file.getLineAndCharacterOfPosition(start);
      const names = importedNames(statement, file);
      for (const { name, what } of names) {
        const before = taken.has(name) ? "declared" : imported.get(name);
        if (before === undefined || before === what) continue;
        const message = `${name} is ${what} here, but it was ${before} before; import it under another name`;
        findings.push({ cell, line: line + 1, message });
      }
      const text = importOf(names.filter(({ name }) => !imported.has(name) && !taken.has(name)), statement, file);
      for (const { name, what } of names) imported.set(name, what);
      const lines = (" ".repeat(character) + text).split("\n");
      imports.push(...lines.map((text, index) => ({ text, place: { cell, line: line + 1 + index } })));
      rest = rest.slice(0, start) + source.slice(start, statement.end).replace(/[^\n]/g, " ") +
        rest.slice(statement.end);
    }
    for (const name of declared) taken.add(name);
    body.push(...rest.split("\n").map((text, index) => ({ text, place: { cell, line: index + 1 } })));
    body.push({ text: ";" }); // the last value of a cell may stand without
  }
  if (blocks) body.push({ text: "}".repeat(blocks) });

  const lines = [...imports, ...body];
  const text = absoluteImports(lines.map(({ text }) => text).join("\n") + "\n", path);
  return { text, places: lines.map(({ place }) => place), importLines: imports.length, findings };
}

/** A name that an import brings, and what it is. */
interface ImportedName {
  name: string;
  what: string;
  /** As it is written: "a", "type a", "a as b", "* as a". */
  text: string;
  kind: "default" | "all" | "named";
}

function importedNames(statement: ts.ImportDeclaration, file: ts.SourceFile): ImportedName[] {
  const from = (statement.moduleSpecifier as ts.StringLiteral).text;
  const { name, namedBindings } = statement.importClause ?? {};
  const found: ImportedName[] = [];
  if (name) found.push({ name: name.text, what: `default of ${from}`, text: name.text, kind: "default" });
  if (namedBindings && ts.isNamespaceImport(namedBindings)) {
    const { text } = namedBindings.name;
    found.push({ name: text, what: `all of ${from}`, text: namedBindings.getText(file), kind: "all" });
  } else if (namedBindings) {
    for (const element of namedBindings.elements) {
      const what = `${(element.propertyName ?? element.name).text} of ${from}`;
      found.push({ name: element.name.text, what, text: element.getText(file), kind: "named" });
    }
  }
  return found;
}

/** An import's text with some of its names only, on as many lines; empty without names. */
function importOf(names: ImportedName[], statement: ts.ImportDeclaration, file: ts.SourceFile): string {
  const text = statement.getText(file);
  if (names.length === importedNames(statement, file).length) return text;
  const named = names.filter(({ kind }) => kind === "named").map(({ text }) => text);
  const parts = names.filter(({ kind }) => kind !== "named").map(({ text }) => text);
  if (named.length) parts.push(`{ ${named.join(", ")} }`);
  const type = /^import\s+type\b/.test(text) ? "type " : "";
  const shorter = parts.length
    ? `import ${type}${parts.join(", ")} from ${statement.moduleSpecifier.getText(file)};`
    : "";
  return shorter + text.replace(/[^\n]/g, "");
}

/** The module lies elsewhere than its notebook: relative imports become absolute. */
function absoluteImports(text: string, path: string): string {
  const file = parse(text);
  const folder = dirname(resolve(path));
  const found: ts.StringLiteralLike[] = [];
  const visit = (node: ts.Node): void => {
    const specifier = ts.isImportDeclaration(node)
      ? node.moduleSpecifier
      : ts.isCallExpression(node) && node.expression.kind === ts.SyntaxKind.ImportKeyword
      ? node.arguments[0]
      : ts.isImportTypeNode(node) && ts.isLiteralTypeNode(node.argument)
      ? node.argument.literal
      : undefined;
    if (specifier && ts.isStringLiteralLike(specifier) && /^\.{1,2}\//.test(specifier.text)) found.push(specifier);
    ts.forEachChild(node, visit);
  };
  visit(file);
  return found.reverse().reduce((text, literal) => {
    const address = pathToFileURL(resolve(folder, literal.text)).href;
    return text.slice(0, literal.getStart(file)) + JSON.stringify(address) + text.slice(literal.end);
  }, text);
}

function parse(source: string): ts.SourceFile {
  return ts.createSourceFile("cell.ts", source, ts.ScriptTarget.ESNext, true, ts.ScriptKind.TS);
}

function namesOf(statement: ts.Statement): string[] {
  if (ts.isVariableStatement(statement)) {
    return statement.declarationList.declarations.flatMap(({ name }) => namesInPattern(name));
  }
  const isNamed = ts.isFunctionDeclaration(statement) || ts.isClassDeclaration(statement) ||
    ts.isInterfaceDeclaration(statement) || ts.isTypeAliasDeclaration(statement) || ts.isEnumDeclaration(statement) ||
    ts.isModuleDeclaration(statement);
  return isNamed && statement.name ? [statement.name.text] : [];
}

function namesInPattern(name: ts.BindingName): string[] {
  if (ts.isIdentifier(name)) return [name.text];
  return name.elements.flatMap((element) => ts.isBindingElement(element) ? namesInPattern(element.name) : []);
}
