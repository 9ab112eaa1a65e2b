/** What may stand in no file: paths of somebody's machine, hosts of package registries, words of unfinished work. */
import assert from "node:assert/strict";
import { sourceOf } from "../../lib/notebook/notebook.ts";
import { isText, lineAt, projectFiles, root, textOf } from "./project.ts";
import { scan } from "./source.ts";

/** Written in two parts, so that this file passes. */
const UNFINISHED = [
  "TO" + "DO",
  "FIX" + "ME",
  "X" + "XX",
  "TB" + "D",
  "HA" + "CK",
  "lorem" + " ipsum",
  "coming" + " soon",
  "place" + "holder",
  "for " + "now",
  "not " + "implemented",
  "not yet " + "implemented",
];
/** Files that may hold one of these, and why. */
const SPEAK_OF_THEM: Record<string, string> = {
  "tests/golden.ts": "prints `unknown` for families of golden cases that we have no method for",
  "lib/plot/exercise.ts": "knows a reader's stub by these words",
};
/** TensorFlow's op for the input of a graph has one of these words as its name. */
const NAMES_THE_OP = /^((lib|tests)\/tensor\/|notebooks\/90_compile)/;
/** Praise instead of facts; see the prose of README.md and the notebooks. */
const EMPTY_WORDS = ["simply", "powerful", "seamless", "seamlessly"];
const REGISTRIES = [
  "registry." + "npmjs.org",
  "npm." + "jsr.io",
  "files." + "pythonhosted.org",
  "pypi.org/simple",
  "registry.yarnpkg.com",
  "jsr.io",
  "esm.sh",
  "unpkg.com",
  "cdn.jsdelivr.net",
  "cdn.plot.ly",
];

/** What this machine should not leave in a file. */
interface Machine {
  /** Folders, as absolute paths. */
  folders: string[];
  /** Hosts that packages come from. */
  hosts: string[];
}

const environment = (name: string) => Deno.env.get(name) ?? "";

const thisMachine: Machine = {
  folders: ["/root", "/work", root, environment("HOME")].filter((path) => path.length > 4),
  hosts: [
    ...REGISTRIES,
    ...["NPM_CONFIG_REGISTRY", "npm_config_registry", "PIP_INDEX_URL", "UV_INDEX_URL", "UV_DEFAULT_INDEX"].flatMap(
      (name) => {
        const host = URL.canParse(environment(name)) ? new URL(environment(name)).hostname : "";
        return /^$|^(localhost|127\.|\[)/.test(host) ? [] : [host];
      },
    ),
  ],
};

const literally = (text: string) => text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");

/** Paths and hosts in a text. */
function machineWords(text: string, { folders, hosts }: Machine): string[] {
  const plain = text.replaceAll("file://", " ").replaceAll("\\\\", "\\");
  const found = folders.filter((path) =>
    new RegExp(`(?<![\\w/.~:-])${literally(path)}(?=[/\\\\"'\`\\s)\\]]|$)`, "m").test(plain)
  ).map((path) => `the path ${path}`);
  const people = /(?<![\w/.~:-])(\/home|\/Users|[A-Z]:\\Users)[/\\](?!you\b|me\b|user\b|name\b)\w+/.exec(plain);
  if (people) found.push(`the path ${people[0]}`);
  const lower = text.toLowerCase();
  return [...found, ...hosts.filter((host) => lower.includes(host)).map((host) => `the host ${host}`)];
}

/** Words of unfinished work in a text. */
function unfinishedWords(text: string): string[] {
  return UNFINISHED.filter((word) => new RegExp(`\\b${word}\\b`, /^[A-Z]+$/.test(word) ? "" : "i").test(text));
}

/** What people wrote in a file: of a notebook its cells, without outputs. */
function writtenText(path: string): string {
  const text = textOf(path);
  return path.endsWith(".ipynb") ? JSON.parse(text).cells.map(sourceOf).join("\n\n") : text;
}

const files = projectFiles().filter(isText);
/** Numbers and texts of others, kept as they came. */
const isOthers = (path: string) => /^(data|tests\/golden)\//.test(path);

Deno.test("no file names a path of this machine or the host of a package registry", () => {
  assert.ok(files.length > 50, `only ${files.length} text files were found`);
  const found = files.filter((path) => path !== "tests/rules/words_test.ts").flatMap((path) =>
    machineWords(textOf(path), thisMachine).map((word) => `${path} holds ${word}`)
  );
  assert.deepEqual(found, []);
});

Deno.test("deno.lock names no host at all", () => {
  assert.ok(
    !textOf("deno.lock").includes("://"),
    "deno.lock holds an address; write it again without a registry's settings",
  );
});

Deno.test("no file holds a word of unfinished work", () => {
  const found = files.filter((path) => !isOthers(path)).flatMap((path) =>
    unfinishedWords(writtenText(path))
      .filter((word) => !(path in SPEAK_OF_THEM && word.endsWith("implemented")))
      .filter((word) => !(NAMES_THE_OP.test(path) && word === "place" + "holder"))
      .map((word) => `${path} holds "${word}"`)
  );
  assert.deepEqual(found, []);
});

/** Code without types, and checks that are switched off. */
function unchecked(source: string): string[] {
  const { code } = scan(source);
  const untyped = /(?::|\bas\b|[<|&])\s*any\b|,\s*any\s*(?=[>,\]])/g;
  const off = new RegExp("@ts-" + "(?:ignore|nocheck)\\b|deno-lint-ignore" + "-file\\b", "g");
  return [
    ...[...code.matchAll(untyped)].map(({ 0: text, index }) => `${lineAt(code, index)} has no type: ${text}`),
    ...[...source.matchAll(off)].map(({ 0: text, index }) => `${lineAt(source, index)} switches a check off: ${text}`),
  ];
}

Deno.test("all code has types, and no check is switched off for a line of types or a whole file", () => {
  const found = files.filter((path) => path.endsWith(".ts")).flatMap((path) =>
    unchecked(textOf(path)).map((text) => `${path}:${text}`)
  );
  assert.deepEqual(found, []);
});

Deno.test("prose says what is true, without praise", () => {
  const prose = files.filter((path) => /\.(md|ipynb)$/.test(path) && !isOthers(path));
  const found = prose.flatMap((path) =>
    EMPTY_WORDS.filter((word) => new RegExp(`\\b${word}\\b`, "i").test(writtenText(path))).map((word) =>
      `${path}: "${word}"`
    )
  );
  assert.deepEqual(found, []);
});

Deno.test("the rules about words find what they look for, and leave the rest alone", () => {
  const machine: Machine = { folders: ["/srv/me/tessera", "/root"], hosts: ["packages.example.org"] };
  const found = (text: string) => machineWords(text, machine).join();
  assert.match(found(`open "/srv/me/tessera/lib/a.ts"`), /the path \/srv\/me\/tessera/);
  assert.match(found("at file:///srv/me/tessera/lib/a.ts:3"), /the path/);
  assert.match(found("cd /root"), /the path \/root/);
  assert.match(found("/home/" + "anna/project"), /the path \/home\/anna/);
  assert.match(found("C:\\\\Users\\\\" + "anna"), /the path C:\\Users\\anna/);
  assert.match(found("https://Packages.example.org/simple"), /the host/);
  assert.equal(found("tests/root of x, a/srv/me/tessera/b, https://example.org/root/x, /rooted, /srv/me/tessera2"), "");

  assert.deepEqual(unfinishedWords("// " + "TO" + "DO: later; " + "Lorem" + " ipsum"), [
    "TO" + "DO",
    "lorem" + " ipsum",
  ]);
  assert.deepEqual(unfinishedWords("todos, HACKS, a method, XXXX"), []);
  assert.deepEqual(unfinishedWords("Not " + "implemented, a " + "Place" + "holder"), [
    "place" + "holder",
    "not " + "implemented",
  ]);
  assert.deepEqual(unfinishedWords("for nowhere, implemented"), []);

  for (
    const code of ["let a: any = 1;", "f(a as any)", "let a: any[];", "let a: Record<string, any>;", "let a: x | any;"]
  ) {
    assert.match(unchecked("\n" + code).join(), /^2 has no type/, code);
  }
  for (const mark of ["@ts-" + "ignore", "@ts-" + "nocheck", "deno-lint-ignore" + "-file"]) {
    assert.match(unchecked(`// ${mark}`).join(), /^1 switches a check off/);
  }
  assert.deepEqual(unchecked(`// a: any\nconst anyOf = "x: any", a: unknown = { any: 1, anything };`), []);
});
