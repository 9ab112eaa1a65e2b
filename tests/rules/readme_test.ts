/** Every command and link in README.md and CONTRIBUTING.md works; every link in the other Markdown files leads somewhere. */
import assert from "node:assert/strict";
import { DENO_VERSION } from "../../lib/notebook/pins.ts";
import { brokenLinks, deno, exists, lineAt, projectFiles, root, textOf } from "./project.ts";

const pages = ["README.md", "CONTRIBUTING.md"];
const tasks: readonly string[] = Object.keys(JSON.parse(textOf("deno.json")).tasks);

/** How a command is tried. */
interface Trial {
  /** Arguments of deno; absent where the command is only looked at. */
  args?: string[];
  env?: Record<string, string>;
  /** Options that the output has to explain: those of the command, where it is run with --help instead. */
  explains?: string[];
}

/** The forms that a command may have. What is not among them fails, so that nothing goes untried. */
const forms: readonly [form: RegExp, trial: (found: RegExpMatchArray) => Trial | string][] = [
  [/^(?:npx --yes deno@(\S+)|deno) (.+)$/, ([, version = DENO_VERSION, rest]) => {
    if (version !== DENO_VERSION) return `Deno ${version}; this project uses ${DENO_VERSION}`;
    return denoTrial(rest.split(/\s+/));
  }],
  [/^git clone \S+(?: \S+)?$/, () => ({})], // not run: there may be no network
  [/^cd \S+$/, () => ({})], // into what was cloned
  [/^(?:sh )?\.\/?(\S+)$/, ([, path]) => exists(`.${path}`) ? {} : `.${path} does not exist`], // .ci/run: installs
];

/** `words`: what follows `deno`. Long tasks are run with --help, which must then explain the options that are used. */
function denoTrial(words: string[]): Trial | string {
  const [command, name] = words;
  if (command === "task" && !tasks.includes(name)) return `deno.json has no task ${name}`;
  const rest = words.slice(command === "task" ? 2 : 1);
  const isThere = (path: string) => exists(path) || (rest[0] === "from-ts" && exists(path.replace(/ts$/, "ipynb"))); // made
  const missing = rest.find((word) => /[/.]/.test(word) && !word.startsWith("-") && !isThere(word));
  if (missing) return `${missing} does not exist`;
  if (command === "task" && name === "golden" && rest.length === 0) return { args: words }; // takes seconds
  const options = rest.filter((word) => word.startsWith("-")).map((word) => word.replace(/=.*/, ""));
  if (command === "task") return { args: ["task", name, "--help"], explains: options };
  if (!["run", "test", "lint", "fmt", "check"].includes(command)) return `deno ${command} is not tried by this test`;
  return { args: [command, "--help"], explains: options };
}

/** The commands in the shell blocks of a page. */
function commandsIn(markdown: string): { command: string; line: number }[] {
  return [...markdown.matchAll(/^ *```(?:sh|bash|shell|console)\n([\s\S]*?)^ *```/gm)].flatMap((block) =>
    block[1].replace(/\\\n\s*/g, " ").split("\n").flatMap((text, n) =>
      text.replace(/(^|\s)#.*/, "").split("&&").map((part) => part.trim().replace(/^\$ /, ""))
        .filter((command) => command !== "")
        .map((command) => ({ command, line: lineAt(markdown, block.index) + 1 + n }))
    )
  );
}

/** How a command is tried, or one sentence on why it cannot be. */
function trialOf(command: string): Trial | string {
  const [, prefix, rest] = command.match(/^((?:[A-Z_]+=\S* +)*)(.*)$/)!;
  const env: Record<string, string> = {};
  for (const [, name, value] of prefix.matchAll(/([A-Z_]+)=(\S*)/g)) {
    if (!environment.has(name)) return `nothing reads the environment variable ${name}`;
    env[name] = name === "GOLDEN" && value === "folder" ? "tests/golden" : value;
  }
  for (const [form, trial] of forms) {
    const found = rest.match(form);
    if (!found) continue;
    const result = trial(found);
    return typeof result === "string" ? result : { ...result, env };
  }
  return "the table in tests/rules/readme_test.ts does not say how to try it";
}

/** The environment variables that the project reads. */
const environment = new Set(
  projectFiles().filter((path) => path.endsWith(".ts") && !path.startsWith("tests/rules/"))
    .flatMap((path) => [...textOf(path).matchAll(/\benv\.(?:get|has)\("(\w+)"\)/g)].map(([, name]) => name)),
);

/** Runs a trial; the result is what went wrong, or undefined. */
async function fails({ args, env, explains = [] }: Trial): Promise<string | undefined> {
  if (!args) return undefined;
  const { code, out, err } = await deno(args, { ...env, [inside]: "1" });
  const output = out + err;
  if (code !== 0) return `deno ${args.join(" ")} failed: ${output.trim().split("\n").at(-1)}`;
  const unexplained = explains.find((option) => !output.includes(option));
  return unexplained && `deno ${args.join(" ")} says nothing about ${unexplained}`;
}

/** Set for the commands: should `task test --help` ever run the tests, they do not try the commands again. */
const inside = "TESSERA_TRYING_COMMANDS";

for (const page of pages) {
  Deno.test(`every command in ${page} works`, { ignore: Deno.env.has(inside) }, async () => {
    assert.ok(exists(page), `${page} does not exist; a stranger looks there first`);
    const text = textOf(page);
    const commands = commandsIn(text);
    assert.ok(commands.length > 0, `${page} has no commands in \`\`\`sh blocks`);
    const tried = new Map<string, Promise<string | undefined>>();
    const problems = await Promise.all(commands.map(async ({ command, line }) => {
      const trial = trialOf(command);
      const key = JSON.stringify(trial);
      if (typeof trial !== "string" && !tried.has(key)) tried.set(key, fails(trial));
      const why = typeof trial === "string" ? trial : await tried.get(key);
      return why ? [`${page}:${line}: ${command}: ${why}`] : [];
    }));
    assert.deepEqual(problems.flat(), []);
  });

  Deno.test(`every file that ${page} names exists`, () => {
    assert.ok(exists(page), `${page} does not exist; a stranger looks there first`);
    const text = textOf(page);
    assert.deepEqual(missingFiles(page, text, exists), []);
  });
}

Deno.test("the program in README.md runs, and its types are right", async () => {
  const programs = [...textOf("README.md").matchAll(/^```ts\n([\s\S]*?)^```/gm)].map(([, program]) => program);
  assert.ok(programs.length > 0, "README.md shows no program");
  for (const program of programs) {
    const path = `tests/rules/readme_program_${crypto.randomUUID()}.check.ts`;
    Deno.writeTextFileSync(`${root}/${path}`, program);
    try {
      const { code, out, err } = await deno(["run", "-A", "--check", path], {});
      assert.equal(code, 0, out + err);
      assert.match(out, /^0\.9\d+ /); // the accuracy, first
    } finally {
      Deno.removeSync(`${root}/${path}`);
    }
  }
});

/** Paths in code marks; `NAME` in one stands for any. */
function missingFiles(page: string, text: string, isThere: (path: string) => boolean): string[] {
  return [...text.matchAll(/`((?:lib|tests|notebooks|experiments|data)\/[\w./-]+)`/g)]
    .filter(([, path]) => !path.includes("NAME") && !isThere(path) && !isThere(`${path}.ipynb`))
    .map(([, path]) => `${page}: names ${path}, which does not exist`);
}

Deno.test("every link and picture in Markdown leads to a file", () => {
  const pages = projectFiles().filter((path) => path.endsWith(".md"));
  assert.deepEqual(pages.flatMap((path) => brokenLinks(path, textOf(path))), []);
});

Deno.test("a command that cannot be tried is refused", async () => {
  const page =
    "```sh\n# first\nnpx --yes deno@1.0.0 task start\n$ GOLDEN=folder deno task golden && rm \\\n  -rf x\n```\n";
  assert.deepEqual(commandsIn(page), [
    { command: "npx --yes deno@1.0.0 task start", line: 3 },
    { command: "GOLDEN=folder deno task golden", line: 4 },
    { command: "rm  -rf x", line: 4 },
  ]);
  assert.match(String(trialOf("npx --yes deno@1.0.0 task start")), /this project uses/);
  assert.match(String(trialOf("deno task nothing")), /no task nothing/);
  assert.match(String(trialOf("deno task test tests/none_test.ts")), /does not exist/);
  assert.match(String(trialOf("deno publish")), /not tried/);
  assert.match(String(trialOf("SOME_NAME=1 deno task test")), /nothing reads/);
  assert.match(String(trialOf("rm -rf x")), /does not say how/);
  assert.deepEqual(trialOf("GOLDEN=folder deno task golden"), {
    args: ["task", "golden"],
    env: { GOLDEN: "tests/golden" },
  });
  assert.match(String(await fails({ args: ["check", "no_such_file.ts"] })), /failed/);
  assert.match(String(await fails({ args: ["fmt", "--help"], explains: ["--no-such-option"] })), /says nothing about/);
});

Deno.test("a link or a name that leads nowhere is refused", () => {
  const page =
    '# A\n[a](b.md) ![c](<d.png>)\n<img src="e.svg">\n[f]: g.md\n[h](#a) [i](mailto:x@y) `[j](k)`\n```\n[l](m)\n```\n';
  assert.deepEqual(brokenLinks("docs/a.md", page, (path) => path === "docs/b.md").map((why) => why.split(",")[0]), [
    "docs/a.md:2 links to d.png",
    "docs/a.md:3 links to e.svg",
    "docs/a.md:4 links to g.md",
  ]);
  assert.equal(missingFiles("a.md", "`lib/none.ts` `lib/reduction/NAME.ts` `lib/nn`", exists).length, 1);
});
