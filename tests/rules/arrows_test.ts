/**
 * The import graph: arrows go down only, so that someone who teaches token reduction can take `reduction/`, `nn/` and what
 * is below them, and nothing breaks.
 */
import assert from "node:assert/strict";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { type Notebook, sourceOf } from "../../lib/notebook/notebook.ts";
import { deno, lineAt, projectFiles, root, textOf } from "./project.ts";
import { importsOf as importsIn, scan } from "./source.ts";

/** One import: of a file by its path from the root, or of something else by its full specifier. */
interface Import {
  from: string;
  to: string;
}

const GROUND = ["tensor", "random", "stats", "stop"];

/** What each part of lib may import, besides itself. A new part needs a line here. */
const MAY_IMPORT: Record<string, string[]> = {
  help: [],
  cite: ["help", "reduction"],
  random: [],
  stats: [],
  stop: [],
  tensor: ["random"],
  data: GROUND,
  plot: GROUND,
  nn: [...GROUND, "data"],
  train: [...GROUND, "data", "plot"],
  tokenization: [...GROUND, "data", "plot", "nn", "train"],
  reduction: [...GROUND, "data", "plot", "nn", "train"],
  editing: [...GROUND, "data", "nn", "train"],
  experiment: [...GROUND, "data", "plot"],
  notebook: ["stop"],
};

/** Which folders at the top may import which. */
const TOP_MAY_IMPORT: Record<string, string[]> = {
  lib: ["lib"],
  experiments: ["lib", "experiments"],
  notebooks: ["lib", "experiments", "notebooks"],
  tests: ["lib", "experiments", "notebooks", "tests"],
};

/** Packages that one part of lib alone knows. Tests may compare with them. */
const KNOWN_BY_ONE: { packages: RegExp; part: string }[] = [
  { packages: /^npm:\/?@tensorflow\//, part: "tensor" },
  { packages: /^npm:\/?(plotly|linkedom)/, part: "plot" },
];

/** "reduction" for lib/reduction/tome.ts, "stop" for lib/stop.ts. */
function partOf(path: string): string {
  return path.split("/")[1].replace(/\.ts$/, "");
}

/** What is wrong with an import, in one sentence; undefined where it points down. */
function complaint({ from, to }: Import): string | undefined {
  const top = from.split("/")[0];
  if (/^(jsr|https?):/.test(to)) {
    return `${from} imports ${to}, which not every network reaches; take a package of npm, named in deno.json`;
  }
  const owner = KNOWN_BY_ONE.find(({ packages }) => packages.test(to));
  if (owner && top !== "tests" && !(top === "lib" && partOf(from) === owner.part)) {
    return `${from} imports ${to}, but only lib/${owner.part} may; import what you need from there`;
  }
  if (/^(npm|node|file):/.test(to)) return undefined;
  if (!/^(lib|tests|notebooks|experiments)\//.test(to)) {
    return `${from} imports ${to}, which is not in the import map; name the package in deno.json`;
  }

  const target = to.split("/")[0];
  if (top !== "tests" && top !== "lib" && to.startsWith("lib/notebook/")) {
    return `${from} imports ${to}, but lib/notebook runs notebooks and is for none of them`;
  }
  if (!TOP_MAY_IMPORT[top]?.includes(target)) return `${from} imports ${to}, but ${top} may not know ${target}`;
  if (top !== "lib") return undefined;
  const part = partOf(from);
  const allowed = MAY_IMPORT[part];
  if (!allowed) return `${from} lies in lib/${part}, which has no line in tests/rules/arrows_test.ts; add it`;
  if (part === partOf(to) || allowed.includes(partOf(to))) return undefined;
  const list = allowed.length ? `only ${allowed.join(", ")}` : "nothing of lib";
  return `${from} imports ${to}, but ${part} may import ${list}; move down what both want, or take it as an argument`;
}

interface InfoModule {
  specifier: string;
  dependencies?: { specifier: string; code?: { specifier?: string }; type?: { specifier?: string } }[];
}

/** All imports of some files, as Deno itself reads them: types, re-exports and literal `import()` too. */
async function importsOf(files: string[]): Promise<Import[]> {
  const entry = Deno.makeTempFileSync({ suffix: ".ts" });
  try {
    Deno.writeTextFileSync(
      entry,
      files.map((file) => `import ${JSON.stringify(`file://${root}/${file}`)};\n`).join(""),
    );
    const { code, out, err } = await deno(["info", "--json", "--config", `${root}/deno.json`, "--frozen", entry]);
    assert.equal(code, 0, err);
    const asPath = (specifier: string) =>
      specifier.startsWith("file:") ? asPackage(relative(root, fileURLToPath(specifier))) : specifier;
    const { modules } = JSON.parse(out) as { modules: InfoModule[] };
    const read = modules.flatMap(({ specifier, dependencies = [] }) => {
      const from = asPath(specifier);
      return dependencies.flatMap(({ specifier: written, code, type }) =>
        [...new Set([code?.specifier ?? type?.specifier ?? written, type?.specifier ?? written])]
          .filter((to) => /^[a-z]+:/.test(to)).map((to) => ({ from, to: asPath(to) }))
      );
    }).filter(({ from }) => files.includes(from));
    const named = files.flatMap((file) => [
      ...addressedModules(file, textOf(file)),
      ...writtenImports(file, textOf(file)),
    ]);
    return [...read, ...named];
  } finally {
    Deno.removeSync(entry);
  }
}

/** A file of an installed package as the package, in the way of the import map; other paths as they are. */
function asPackage(path: string): string {
  const [, name, version] = path.match(/^node_modules\/\.deno\/([^/]+)@([^/@]+)\//) ?? [];
  return name ? `npm:${name.replace("+", "/")}@${version}` : path;
}

/** Modules that are named without being imported: for a worker, for another process. */
function addressedModules(from: string, text: string): Import[] {
  const pattern = /(?:import\.meta\.resolve|new URL)\(\s*["'`](\.{1,2}\/[^"'`]+\.[cm]?[jt]s)["'`]/g;
  return [...text.matchAll(pattern)].map(([, to]) => ({ from, to: join(dirname(from), to) }));
}

const importMap: Record<string, string> = JSON.parse(textOf("deno.json")).imports;

/** The imports of a piece of source, `require()` too, of which Deno does not know. What is not in the import map stays. */
function writtenImports(from: string, source: string): Import[] {
  return importsIn(source).filter(({ specifier }) => specifier !== undefined).map(({ specifier }) => {
    if (/^\.{1,2}\//.test(specifier!)) return { from, to: join(dirname(from), specifier!) };
    if (specifier!.startsWith("tessera/")) return { from, to: specifier!.replace("tessera/", "lib/") };
    const entry = Object.keys(importMap).find((name) => specifier === name || specifier!.startsWith(`${name}/`));
    return { from, to: entry ? importMap[entry] : specifier! };
  });
}

/** Loads what people declare in experiments/, of which lib knows no more than the shape. */
const LOADS_BY_NAME = "lib/experiment/declared.ts";

/** Where lib imports by a name that is only known when it runs: an arrow that nobody sees. */
function hiddenImports(from: string, source: string): string[] {
  if (from === LOADS_BY_NAME) return [];
  return importsIn(source).filter(({ specifier }) => specifier === undefined)
    .map(({ line }) => `${from}:${line} computes what it imports; write the name`);
}

/** The code cells of all notebooks. Each is read alone, since it may end without a semicolon. */
function codeCells(): { path: string; source: string }[] {
  return projectFiles().filter((path) => path.endsWith(".ipynb")).flatMap((path) => {
    const { cells } = JSON.parse(textOf(path)) as Pick<Notebook, "cells">;
    return cells.filter((cell) => cell.cell_type === "code").map((cell) => ({ path, source: sourceOf(cell) }));
  });
}

/** Packages from elsewhere, in comments and examples too. */
function foreignImports(from: string, text: string): string[] {
  return [...text.matchAll(/\b(?:from|import)\s*\(?\s*["'](?:jsr|https?):/g)]
    .map(({ index }) => `${from}:${lineAt(text, index)} imports from elsewhere than npm`);
}

const isSource = (path: string) => /^(lib|tests|notebooks|experiments)\/.*\.ts$/.test(path);

Deno.test("imports point down: lib knows no notebook, a method no other family, a figure no method", async () => {
  const files = projectFiles().filter(isSource);
  const imports = await importsOf(files);
  assert.ok(imports.length > files.length, `only ${imports.length} imports were found in ${files.length} files`);
  assert.deepEqual([...new Set(imports.map(complaint))].filter(Boolean), []);
});

Deno.test("a notebook imports what lies below it, and packages that are in the import map", () => {
  const cells = codeCells();
  assert.ok(cells.length > 10);
  const imports = cells.flatMap(({ path, source }) => writtenImports(path, source));
  assert.deepEqual(imports.map(complaint).filter(Boolean), []);
});

Deno.test("no import is hidden, and none comes from elsewhere than npm, examples and the import map included", () => {
  const files = projectFiles().filter(isSource);
  const hidden = files.filter((path) => path.startsWith("lib/")).flatMap((path) => hiddenImports(path, textOf(path)));
  const foreign = files.filter((path) => !path.startsWith("tests/rules/")).flatMap((path) =>
    foreignImports(path, textOf(path))
  );
  const unpinned = Object.values(importMap).filter((to) => !/^(\.\/.*|npm:.+@\d+\.\d+\.\d+)$/.test(to));
  assert.deepEqual([...hidden, ...foreign, ...unpinned], []);
});

Deno.test("the rules about source find what they look for, and only in code", () => {
  const to = (source: string) => writtenImports("lib/data/a.ts", source).map((entry) => entry.to);
  assert.deepEqual(to(`require("@tensorflow/tfjs/dist/a.js")`), ["npm:@tensorflow/tfjs@4.22.0"]);
  assert.deepEqual(to(`import {\n  a, // here\n} from '../plot/mod.ts'`), ["lib/plot/mod.ts"]);
  assert.match(complaint({ from: "notebooks/10_a.ipynb", to: "lodash" })!, /not in the import map/);
  assert.match(complaint({ from: "notebooks/10_a.ipynb", to: "lib/notebook/setup.ts" })!, /for none of them/);
  const looksLike = [
    `// import "./a.ts"`,
    'const program = `import "${name}"; import { a } from \'./b.ts\'; ${`{}`} from "./c.ts"`;',
    `const text = "import './d.ts'", quote = /["'\`]/, half = a / b, list = Array.from("./e.ts");`,
    `import type { F } from "./f.ts";`,
  ].join("\n");
  assert.deepEqual(to(looksLike), ["lib/data/f.ts"]);
  assert.equal(importsIn(looksLike)[0].line, 4);
  assert.match(hiddenImports("lib/a.ts", `\nawait import("./" + name)`)[0], /a\.ts:2 computes/);
  assert.deepEqual(hiddenImports("lib/a.ts", `await import("./a.ts"); import.meta.resolve(name)`), []);
  assert.match(foreignImports("a.ts", `/**\n * import { a } from "jsr:@std/a";\n */`)[0], /a\.ts:2/);
});

Deno.test("the rule about imports finds an arrow up, an arrow sideways and a package in the wrong place", () => {
  const wrong = [
    ["lib/nn/vit.ts", "lib/reduction/tome.ts", /nn may import only/],
    ["lib/reduction/tome.ts", "lib/editing/clef.ts", /reduction may import only/],
    ["lib/plot/figure.ts", "lib/data/mnist.ts", /plot may import only/],
    ["lib/nn/vit.ts", "lib/plot/mod.ts", /nn may import only/],
    ["lib/random.ts", "lib/stats.ts", /nothing of lib/],
    ["lib/notebook/run.ts", "lib/plot/mod.ts", /only stop/],
    ["lib/new_part/mod.ts", "lib/stop.ts", /has no line/],
    ["lib/nn/vit.ts", "tests/golden/cases.ts", /may not know tests/],
    ["experiments/a/experiment.ts", "notebooks/exercises.ts", /may not know notebooks/],
    ["lib/nn/vit.ts", "npm:/@tensorflow/tfjs@4.22.0", /only lib\/tensor may/],
    ["notebooks/exercises.ts", "npm:linkedom@0.18.15", /only lib\/plot may/],
    ["lib/data/idx.ts", "jsr:@std/assert", /not every network/],
    ["tests/a_test.ts", "https://example.org/a.ts", /not every network/],
  ] as const;
  for (const [from, to, why] of wrong) assert.match(complaint({ from, to }) ?? "no complaint", why);
  const right = [
    ["lib/reduction/tome.ts", "lib/nn/token_map.ts"],
    ["lib/tensor/load.ts", "npm:/@tensorflow/tfjs-node-gpu@4.22.0"],
    ["lib/notebook/run.ts", "lib/notebook/client.ts"],
    ["tests/golden.ts", "notebooks/exercises.ts"],
    ["notebooks/exercises.ts", "experiments/models/deit.ts"],
    ["lib/data/files.ts", "node:crypto"],
  ] as const;
  for (const [from, to] of right) assert.equal(complaint({ from, to }), undefined);
});

Deno.test("the graph holds types, re-exports, imports inside functions and modules named by address", async () => {
  const imports = await importsOf(["lib/data/table.ts", "lib/nn/mod.ts", "lib/nn/reducer.ts"]);
  const has = (from: string, to: RegExp) => imports.some((entry) => entry.from === from && to.test(entry.to));
  assert.ok(has("lib/nn/reducer.ts", /^lib\/nn\/token_map\.ts$/), "import type");
  assert.ok(has("lib/nn/mod.ts", /^lib\/nn\/vit\.ts$/), "export from");
  assert.ok(has("lib/data/table.ts", /^npm:.*polars/), "import()");
  const text =
    `start(new URL("../reduction/tome.ts", import.meta.url)); import.meta.resolve('./a.ts'); new URL("../../")`;
  assert.deepEqual(addressedModules("lib/nn/b.ts", text).map(({ to }) => to), ["lib/reduction/tome.ts", "lib/nn/a.ts"]);
});

/** Where source draws without a seed. Comments and strings do not count, nor do ids (`randomUUID`): they are no results. */
function unseededRandomness(source: string): number[] {
  const { code } = scan(source);
  const draw = /\bMath\s*(?:\?\.|\.)\s*random\b|\bMath\s*\[|\}\s*=\s*Math\b(?!\s*\.)|getRandomValues/g;
  const packages = importsIn(source).filter(({ specifier }) => specifier === "seedrandom");
  return [...[...code.matchAll(draw)].map(({ index }) => lineAt(code, index)), ...packages.map(({ line }) => line)];
}

/**
 * May name the global generator: the test that puts a counter in its place, to prove that drawing leaves it alone.
 * (lib/plot/static_svg.ts hands plotly a `Math` of its own, whose numbers come from lib/random.ts.)
 */
const NAMES_THE_GENERATOR = ["lib/random.ts", "tests/plot/static_svg_test.ts"];

Deno.test("lib/random.ts is the only source of randomness", () => {
  const files = projectFiles().filter((path) => isSource(path) && !NAMES_THE_GENERATOR.includes(path));
  const sources = [...files.map((path) => ({ path, source: textOf(path) })), ...codeCells()];
  const found = sources.flatMap(({ path, source }) =>
    unseededRandomness(source).map((line) => `${path}:${line} draws without a seed; use lib/random.ts`)
  );
  assert.deepEqual(found, []);
});

Deno.test("the rule about randomness finds a draw, and leaves comments alone", () => {
  assert.deepEqual(unseededRandomness("const a = 1;\nconst b = Math.random();\n// not Math.random()\n"), [2]);
  assert.deepEqual(unseededRandomness("/** Math.random()\n */\ncrypto.getRandomValues(a); randomUUID();"), [3]);
  assert.deepEqual(unseededRandomness('const { random } = Math;\nMath["random"]();\nimport s from "seedrandom";'), [
    1,
    2,
    3,
  ]);
});
