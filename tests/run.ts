/**
 * `deno task test`: sets up what is missing, then checks types and style, runs every test file, the examples in doc
 * comments, and notebooks. One line per part with its counts and seconds; the last line is `N passed, N failed`.
 *
 * The quick run leaves out what takes long; `--full` has it all and is made before a change is called done.
 *
 * @module
 */
import { relative } from "node:path";
import { root, setUpBeforeImports, SetUpError } from "../lib/notebook/setup.ts";

const HELP = `deno task test [--full] [--only TEXT] [FILE...]

  --full       also what takes long: laws with 200 seeds, soak tests, set-ups from scratch, all notebooks
  --only TEXT  only the parts whose name holds TEXT: "reduction", "doc examples", "notebooks/10"
  FILE         only these test files

The last line is "N passed, N failed"; the exit code is 1 where something failed.`;

/** Notebooks that are run every time; others only with --full, or where something that they use has changed. */
const ALWAYS_RUN = /\/(00|10)_[^/]*\.ipynb$/;
/** A test file that takes longer in the quick run should move its slow tests to --full. */
const SLOW_SECONDS = 20;

/** What came of one part. */
interface Result {
  passed: number;
  failed: number;
  skipped: number;
  /** What to show where something failed, or what a skipped test says. */
  output: string;
}

/** Something that is run and counted: a test file, a notebook. */
interface Part {
  name: string;
  run(): Promise<Result>;
}

if (Deno.args.includes("--help")) {
  console.log(HELP);
  Deno.exit(0);
}
const full = Deno.args.includes("--full");
const onlyAt = Deno.args.indexOf("--only");
const only = onlyAt < 0 ? undefined : Deno.args[onlyAt + 1];
const files = Deno.args.filter((arg, i) => !arg.startsWith("--") && (onlyAt < 0 || i !== onlyAt + 1));
const unknown = Deno.args.find((arg) => arg.startsWith("--") && !["--full", "--only"].includes(arg));
if (unknown || (onlyAt >= 0 && !only)) {
  console.error(unknown ? `there is no option ${unknown}; see --help` : "--only needs a text; see --help");
  Deno.exit(2);
}

try {
  await setUpBeforeImports({ pythonOptional: true });
} catch (error) {
  if (!(error instanceof SetUpError)) throw error;
  console.error(error.message);
  console.log("0 passed, 1 failed");
  Deno.exit(1);
}

const scratch = Deno.makeTempDirSync({ prefix: "tessera-test-" });
const environment = {
  NO_COLOR: "1",
  DENO_NO_UPDATE_CHECK: "1",
  TF_CPP_MIN_LOG_LEVEL: "2",
  ...(full ? { TESSERA_FULL: "1" } : {}),
};
let foundBackend: string | undefined;
/** The process that runs just now. */
let child: Deno.ChildProcess | undefined;
const started = performance.now();
const times: { name: string; seconds: number }[] = [];
const total = { passed: 0, failed: 0, skipped: 0 };

Deno.addSignalListener("SIGINT", () => {
  try {
    child?.kill("SIGTERM");
  } catch {
    // it has ended by itself: a terminal's Ctrl-C reaches it too
  }
  Deno.removeSync(scratch, { recursive: true });
  console.log(`stopped; ${total.passed} passed, ${total.failed} failed until then`);
  Deno.exit(130);
});

for (const part of (await parts()).filter(({ name }) => !only || name.includes(only))) {
  const start = performance.now();
  const result = await part.run();
  const seconds = (performance.now() - start) / 1000;
  times.push({ name: part.name, seconds });
  for (const key of ["passed", "failed", "skipped"] as const) total[key] += result[key];

  const counts = [
    `${result.passed} passed`,
    ...(result.failed ? [`${result.failed} failed`] : []),
    ...(result.skipped ? [`${result.skipped} skipped`] : []),
  ].join(", ");
  const slow = !full && seconds > SLOW_SECONDS && part.name.endsWith("_test.ts") ? "  (slow)" : "";
  console.log(`${result.failed ? "FAIL" : "ok  "} ${seconds.toFixed(1).padStart(6)} s  ${part.name}: ${counts}${slow}`);
  const why = result.output.split("\n").filter((line) => result.skipped && /\.\.\. ignored|^skipped/.test(line));
  if (result.failed) console.log(indent(ending(result.output)));
  else if (why.length) console.log(indent(why.join("\n")));
}
Deno.removeSync(scratch, { recursive: true });

const slowest = times.toSorted((a, b) => b.seconds - a.seconds).slice(0, 5);
const list = slowest.map(({ name, seconds }) => `${name} ${seconds.toFixed(0)} s`).join(", ");
console.log(`\n${((performance.now() - started) / 1000).toFixed(0)} s in all; longest: ${list}`);
const skipped = total.skipped ? `, ${total.skipped} skipped` : "";
console.log(`${total.passed} passed, ${total.failed} failed${skipped}`);
Deno.exit(total.failed || !times.length ? 1 : 0);

async function parts(): Promise<Part[]> {
  if (files.length) return files.map((file) => testFile(relative(root, Deno.realPathSync(file))));
  const all = walk(`${root}/tests`).filter((path) => path.endsWith("_test.ts")).map((path) => relative(root, path));
  // the browser comes last: it is the longest
  const ordered = all.toSorted((a, b) =>
    Number(a.includes("/browser/")) - Number(b.includes("/browser/")) || (a < b ? -1 : 1)
  );
  return [
    command("check", ["run", "-A", "--no-check", "lib/notebook/check.ts"]), // types, format, lint, arrows, links
    ...ordered.filter((path) => !path.includes("/browser/")).map(testFile),
    docExamples(),
    ...(await notebooks()).map(notebook),
    ...ordered.filter((path) => path.includes("/browser/")).map(testFile),
  ];
}

/** A command that succeeds or not, counted as one test. */
function command(name: string, args: string[]): Part {
  return {
    name,
    run: async () => {
      const { success, output } = await deno([...args]);
      return { passed: Number(success), failed: Number(!success), skipped: 0, output };
    },
  };
}

function testFile(path: string): Part {
  return { name: path, run: () => denoTest([path]) };
}

/** The examples in doc comments, on plain JavaScript, which starts fastest: each of them is a program of its own. */
function docExamples(): Part {
  return { name: "doc examples", run: () => denoTest(["--doc", "--parallel", "lib/"], { TESSERA_BACKEND: "cpu" }) };
}

async function denoTest(args: string[], env: Record<string, string> = {}): Promise<Result> {
  const report = `${scratch}/junit.xml`;
  // types have been checked, for all files at once
  const { success, output } = await deno(["test", "-A", "--no-check", `--junit-path=${report}`, ...args], env);
  const cases = read(report).match(/<testcase [^>]*(\/>|>[\s\S]*?<\/testcase>)/g) ?? [];
  const failed = cases.filter((text) => /<(failure|error)[ >]/.test(text)).length;
  const skipped = cases.filter((text) => text.includes("<skipped")).length;
  const passed = cases.length - failed - skipped;
  read(report) && Deno.removeSync(report);
  if (success && cases.length) return { passed, failed, skipped, output };
  // a file that crashes or holds no test has failed, whatever it counted
  return { passed, failed: Math.max(1, failed), skipped, output: cases.length ? output : `${output}\nno test was run` };
}

function notebook(path: string): Part {
  const run = command(path, ["run", "-A", "--no-check", "lib/notebook/notebooks.ts", path]);
  if (path.includes("/00_") || backendName() === "tensorflow" || (full && backendName() === "wasm")) return run;
  const why = `skipped on ${backendName()}, where it takes minutes` + (backendName() === "wasm" ? ": see --full" : "");
  return { name: path, run: () => Promise.resolve({ passed: 0, failed: 0, skipped: 1, output: why }) };
}

/** What computes here: asked of the library once, in a process of its own. */
function backendName(): string {
  if (foundBackend === undefined) {
    const code = 'import { backend } from "tessera/tensor/mod.ts"; console.log(backend.name)';
    const { stdout } = new Deno.Command(Deno.execPath(), { args: ["eval", code], cwd: root, stderr: "null" })
      .outputSync();
    foundBackend = new TextDecoder().decode(stdout).trim() || "tensorflow"; // where it does not start, the tests say why
  }
  return foundBackend;
}

/** All notebooks with --full; else the first ones, and those of which the code or something it imports has changed. */
async function notebooks(): Promise<string[]> {
  // not at the top: it needs packages, which set-up has just installed
  const { changedNotebooks, projectNotebooks } = await import("../lib/notebook/project_notebooks.ts");
  const all = projectNotebooks();
  const changed = full ? all : await changedNotebooks(all, changedFiles());
  return all.filter((path) => ALWAYS_RUN.test(path) || changed.includes(path)).map((path) => relative(root, path));
}

/** Files that differ from the last commit; none where there is no git. */
function changedFiles(): string[] {
  const git = (...args: string[]) => {
    try {
      const { stdout } = new Deno.Command("git", { args, cwd: root, stderr: "null" }).outputSync();
      return new TextDecoder().decode(stdout).split("\n").filter(Boolean);
    } catch {
      return [];
    }
  };
  return [...git("diff", "--name-only", "HEAD"), ...git("ls-files", "--others", "--exclude-standard")];
}

async function deno(args: string[], env: Record<string, string> = {}): Promise<{ success: boolean; output: string }> {
  child = new Deno.Command(Deno.execPath(), {
    args,
    cwd: root,
    env: { ...environment, ...env },
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const [{ success }, out, err] = await Promise.all([
    child.status,
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
  ]);
  return { success, output: (out + err).trim() };
}

function walk(folder: string): string[] {
  return [...Deno.readDirSync(folder)].flatMap(({ name, isDirectory }) =>
    isDirectory ? walk(`${folder}/${name}`) : [`${folder}/${name}`]
  );
}

function read(path: string): string {
  try {
    return Deno.readTextFileSync(path);
  } catch {
    return "";
  }
}

/** What is not about tests that passed; of a long output the last lines, where the failures are summed up. */
function ending(text: string): string {
  const lines = text.split("\n").filter((line) => !/ \.\.\. ok \(/.test(line));
  return lines.length <= 150
    ? lines.join("\n")
    : [`(${lines.length - 150} lines left out)`, ...lines.slice(-150)].join("\n");
}

function indent(text: string): string {
  return text.replace(/^/gm, "      ");
}
