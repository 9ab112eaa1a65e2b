/** Doc comments: what is exported is explained, what a reader calls has an example, and a method names its paper. */
import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { relative } from "node:path";
import { deno, projectFiles, root, textOf } from "./project.ts";

/** What `deno doc --json` says, as far as the rules need it. */
interface JsDoc {
  doc?: string;
  tags?: { kind: string }[];
}
interface Declaration {
  kind: string;
  declarationKind: string;
  jsDoc?: JsDoc;
  location: { filename: string; line: number };
  def?: { returnType?: { repr?: string }; target?: { filename: string; line: number } };
}
interface DocumentedModule {
  module_doc?: JsDoc;
  symbols: { name: string; declarations: Declaration[] }[];
}
/** By path from the root. */
type Documentation = Record<string, DocumentedModule>;

async function documentation(files: string[]): Promise<Documentation> {
  const { code, out, err } = await deno(["doc", "--json", ...files]);
  assert.equal(code, 0, err);
  const { nodes } = JSON.parse(out) as { nodes: Record<string, DocumentedModule> };
  return Object.fromEntries(Object.entries(nodes).map(([address, node]) => [pathOf(address), node]));
}

const pathOf = (address: string) => address.startsWith("file:") ? relative(root, fileURLToPath(address)) : address;
const isDescribed = (doc?: JsDoc) => Boolean(doc?.doc?.trim());
const hasExample = (doc?: JsDoc) => Boolean(doc?.tags?.some(({ kind }) => kind === "example"));

/**
 * Whether readers call it: it stands at the top of lib, or a folder's mod.ts hands it on. Other exports are for the files
 * beside them.
 */
function isPublic(path: string, line: number, all: Documentation): boolean {
  if (/^lib\/[^/]+$|\/mod\.ts$/.test(path)) return true;
  const references = all[path.replace(/[^/]+$/, "mod.ts")]?.symbols ?? [];
  return references.some(({ declarations }) =>
    declarations.some(({ def }) => def?.target && pathOf(def.target.filename) === path && def.target.line === line)
  );
}

/** `export *` shows what other files declare, too; it is looked at there. */
const isOf = (path: string, filename: string) => pathOf(filename) === path;

/** What the top of a method's file has to say: whose idea it is, and how we know that it is that. */
function methodComplaints(text: string, families: readonly string[]): string[] {
  const found: string[] = [];
  if (!/arXiv:\d{4}\.\d{4,5}|\bdoi\b/i.test(text)) found.push("does not name its paper at its top (arXiv or doi)");
  const named = [...text.matchAll(/`(\w+\.[\w*]+)`/g)].map(([, name]) => name);
  const plain = [...text.matchAll(/`(\w+)`/g)].map(([, name]) => name).filter((name) => families.includes(name));
  if (!named.length && !plain.length && !/\bcontrol\b/.test(text)) {
    found.push("names no golden cases, nor says that it is a control");
  }
  const isKnown = (name: string) => families.some((family) => new RegExp(`^${name.replace("*", ".*")}$`).test(family));
  return [
    ...found,
    ...named.filter((name) => !isKnown(name)).map((name) => `names \`${name}\`, but there is no such case`),
  ];
}

/** The families of golden cases. */
function goldenFamilies(): string[] {
  return projectFiles().filter((path) => /^tests\/golden\/.*\.json$/.test(path)).flatMap((path) =>
    (JSON.parse(textOf(path)) as { cases?: { name: string }[] }).cases?.map(({ name }) => name) ?? []
  );
}

/** Everything that is missing, a sentence each. */
function complaints(all: Documentation, families: readonly string[] = []): string[] {
  return Object.entries(all).flatMap(([path, { module_doc, symbols }]) => {
    const found: string[] = [];
    if (!isDescribed(module_doc) || !module_doc?.tags?.some(({ kind }) => kind === "module")) {
      found.push(`${path} does not say at its top, with @module, what it is for`);
    }
    for (const { name, declarations } of symbols) {
      const own = declarations.filter(({ kind, declarationKind, location }) =>
        kind !== "reference" && declarationKind === "export" && isOf(path, location.filename)
      );
      if (!own.length) continue;
      // of overloads and of a type and value of one name, one explains all
      const where = `${path}:${own[0].location.line + 1} ${name}`;
      if (!own.some(({ jsDoc }) => isDescribed(jsDoc))) found.push(`${where} has no doc comment`);
      else if (
        own.some(({ kind }) => kind === "function") && own.some(({ location }) => isPublic(path, location.line, all)) &&
        !own.some(({ jsDoc }) => hasExample(jsDoc))
      ) found.push(`${where}() has no @example`);
    }
    const isMethod = path.startsWith("lib/reduction/") && !path.endsWith("/mod.ts") &&
      symbols.some(({ declarations }) =>
        declarations.some(({ def }) => /^(Reducer|\w*Policy)$/.test(def?.returnType?.repr ?? ""))
      );
    if (isMethod) found.push(...methodComplaints(module_doc?.doc ?? "", families).map((text) => `${path} ${text}`));
    return found;
  });
}

Deno.test("every export of lib has a doc comment, every public function an example, every method its paper", async () => {
  const all = await documentation(projectFiles().filter((path) => /^lib\/.*\.ts$/.test(path)));
  assert.ok(Object.keys(all).length > 20);
  assert.ok(isPublic("lib/reduction/topk.ts", functionLine(all, "lib/reduction/topk.ts", "topk"), all));
  assert.ok(!isPublic("lib/reduction/prune.ts", functionLine(all, "lib/reduction/prune.ts", "pruningBudget"), all));
  assert.deepEqual(complaints(all, goldenFamilies()), []);
});

function functionLine(all: Documentation, path: string, name: string): number {
  return all[path].symbols.find((symbol) => symbol.name === name)!.declarations[0].location.line;
}

Deno.test("the rules about doc comments find a bare function, type and file, and a method without its paper", () => {
  const exported = (name: string, kind: string, jsDoc?: JsDoc, def?: Declaration["def"]) => ({
    name,
    declarations: [{ kind, declarationKind: "export", jsDoc, location: { filename: "", line: 0 }, def }],
  });
  const module_doc = { doc: "A file.", tags: [{ kind: "module" }] };
  const example = { doc: "Text.", tags: [{ kind: "example" }] };
  const reducer = { returnType: { repr: "Reducer" } };
  const judge = (path: string, module: DocumentedModule, rest: Documentation = {}) => {
    const filename = `file://${root}/${path}`;
    for (const { declarations } of module.symbols) declarations.forEach(({ location }) => location.filename = filename);
    return complaints({ [path]: structuredClone(module), ...rest }, ["tome.parse_r"]);
  };

  assert.deepEqual(judge("lib/a.ts", { module_doc, symbols: [exported("f", "function", example)] }), []);
  assert.match(judge("lib/a.ts", { symbols: [] })[0], /does not say at its top/);
  assert.match(
    judge("lib/a.ts", { module_doc, symbols: [exported("f", "function")] })[0],
    /a\.ts:1 f has no doc comment/,
  );
  assert.match(judge("lib/a.ts", { module_doc, symbols: [exported("T", "interface")] })[0], /T has no doc comment/);
  const bare: DocumentedModule = { module_doc, symbols: [exported("f", "function", { doc: "Text." })] };
  assert.match(judge("lib/a.ts", bare)[0], /f\(\) has no @example/);
  assert.deepEqual(judge("lib/x/inner.ts", bare), [], "for the files beside it only");
  const target = { filename: `file://${root}/lib/x/inner.ts`, line: 0 };
  const door: DocumentedModule = { module_doc, symbols: [exported("f", "reference", undefined, { target })] };
  assert.match(judge("lib/x/inner.ts", bare, { "lib/x/mod.ts": door })[0], /f\(\) has no @example/);

  const method: DocumentedModule = { module_doc, symbols: [exported("f", "function", example, reducer)] };
  assert.match(judge("lib/reduction/f.ts", method)[0], /does not name its paper/);
  const saying = (doc: string) => judge("lib/reduction/f.ts", { ...method, module_doc: { ...module_doc, doc } }).join();
  assert.equal(saying("Bolya et al., arXiv:2210.09461. Checked: `tome.*`."), "");
  assert.equal(saying("doi 10.1/x: the control for every method."), "");
  assert.match(saying("Checked: `tome.parse_r`."), /does not name its paper/);
  assert.match(saying("arXiv:2210.09461"), /names no golden cases/);
  assert.match(saying("arXiv:2210.09461, `tome.nothing`"), /`tome\.nothing`, but there is no such case/);
  assert.match(judge("lib/a.ts", { module_doc: { doc: "A file." }, symbols: [] })[0], /with @module/);
});
