/**
 * `deno task doctor [--json]`: looks at everything a notebook needs, by using it: a kernel is started, a cell is run, Stop
 * is pressed, TensorFlow computes. It changes nothing.
 *
 * @module
 */
import { statfsSync } from "node:fs";
import { type CellResult, Kernel } from "./client.ts";
import { judgeDeno, shadowedDeno } from "./deno_check.ts";
import { exists, isFolder, KERNEL_TITLE, kernelspecFolder, namesIn, root, sizeOf, textOf } from "./paths.ts";
import { listGpus } from "./platform.ts";
import { installedTensorFlow, type Step, stepsFor } from "./steps.ts";

/** What came of one check. */
export interface Check {
  name: string;
  status: "ok" | "warning" | "failed" | "absent";
  /** What was seen, and what to do about it. */
  detail: string;
}

type Verdict = Omit<Check, "name">;

const CELL_LIMIT_MS = 20_000;
const TENSOR_LIMIT_MS = 60_000;
const LITTLE_DISK_GB = 3;
const SET_UP = "npx --yes deno@2.9.6 task start sets it up";

/** Runs all checks, one after another. A check that fails in an unforeseen way is a failed check. */
export async function examine(): Promise<Check[]> {
  const checks: Check[] = [];
  const add = async (name: string, check: () => Verdict | Promise<Verdict>) => {
    try {
      checks.push({ name, ...await check() });
    } catch (error) {
      checks.push({ name, status: "failed", detail: (error as Error).message });
    }
  };
  await add("deno", checkDeno);
  await add("packages", () => checkStep("node_modules"));
  await add("kernel", checkKernel);
  await add("stop", checkStop);
  await add("tensorflow", checkTensorFlow);
  await add("backend", checkBackend);
  await add("gpu", checkGpu);
  await add("jupyterlab", checkJupyterLab);
  await add("disk", checkDisk);
  await add("data", () => checkData(`${root}/data`));
  return checks;
}

function checkDeno(): Verdict {
  const shadow = shadowedDeno();
  if (shadow) return { status: "failed", detail: shadow };
  const { status, detail } = judgeDeno();
  return { status: status === "refused" ? "failed" : status, detail };
}

function checkStep(name: Step["name"]): Verdict {
  const step = stepsFor("none").find((step) => step.name === name)!;
  const missing = step.missing();
  return missing
    ? { status: "failed", detail: `${missing} is missing; ${SET_UP}` }
    : { status: "ok", detail: `${step.label}, as in deno.lock` };
}

async function withKernel<T>(use: (kernel: Kernel) => Promise<T>): Promise<T> {
  const folder = `${root}/notebooks`;
  const kernel = await Kernel.start({ cwd: isFolder(folder) ? folder : root });
  try {
    return await use(kernel);
  } finally {
    await kernel.shutdown();
  }
}

/** Runs a cell, and does not wait for ever. */
async function runCell(kernel: Kernel, code: string): Promise<CellResult> {
  const result = await Promise.race([kernel.execute(code), after(CELL_LIMIT_MS)]);
  if (!result) throw new Error(`the kernel did not answer within ${CELL_LIMIT_MS / 1000} s to: ${code}`);
  return result;
}

function after(ms: number): Promise<undefined> {
  return new Promise((resolve) => Deno.unrefTimer(setTimeout(() => resolve(undefined), ms)));
}

async function checkKernel(): Promise<Verdict> {
  const start = performance.now();
  return await withKernel(async (kernel) => {
    const started = performance.now() - start;
    const { messages } = await runCell(kernel, "6 * 7");
    const data = messages.find(({ header }) => header.msg_type === "execute_result")?.content.data;
    const shown = (data as Record<string, unknown> | undefined)?.["text/plain"];
    if (shown !== "42") throw new Error(`the cell "6 * 7" gave ${shown ?? "nothing"} instead of 42`);
    return { status: "ok", detail: `started in ${started.toFixed(0)} ms; the cell "6 * 7" gave 42` };
  });
}

/** Presses Stop on a cell that waits and on one that loops; the kernel must go on living. */
async function checkStop(): Promise<Verdict> {
  if (Deno.build.os === "windows") {
    return { status: "warning", detail: "on Windows Stop ends synchronous cells only; not tried" };
  }
  return await withKernel(async (kernel) => {
    await runCell(kernel, `import { sleep } from ${JSON.stringify(new URL("../stop.ts", import.meta.url).href)};`);
    const waiting = await secondsToStop(kernel, "await sleep(30_000);");
    const looping = await secondsToStop(kernel, "while (true);");
    const { status } = await runCell(kernel, "1 + 1");
    if (status !== "ok") throw new Error("after Stop the kernel runs no further cell");
    return {
      status: "ok",
      detail: `a waiting cell ended after ${waiting.toFixed(2)} s, a loop after ${
        looping.toFixed(2)
      } s; the kernel lives`,
    };
  });
}

async function secondsToStop(kernel: Kernel, code: string): Promise<number> {
  const BEFORE_PRESS = 0.3;
  setTimeout(() => kernel.interrupt(), BEFORE_PRESS * 1000);
  const { status, seconds } = await runCell(kernel, code);
  if (status !== "error") throw new Error(`Stop did not end the cell ${code}`);
  return seconds - BEFORE_PRESS;
}

function checkTensorFlow(): Verdict {
  const build = installedTensorFlow();
  if (build === "none") {
    return { status: "absent", detail: `no TensorFlow library, a fallback backend computes; on Linux x64 ${SET_UP}` };
  }
  const step = stepsFor(build).find(({ name }) => name === "tensorflow")!;
  return {
    status: build === "cuda" ? "warning" : "ok",
    detail: `${step.pins[0].name} ${step.pins[0].version} is whole` +
      (build === "cuda" ? "; the CUDA build has never been run on a GPU by us" : ""),
  };
}

/** What lib/tensor says about itself; it is asked in a process of its own, where it may fail. */
interface Backend {
  name: string;
  version: string;
  device: string;
  threads: number;
  cpu: string;
}

const ASK_BACKEND = `
import { backend, tf } from "tessera/tensor/mod.ts";
const [sum] = tf.add(tf.tensor1d([1]), 2).dataSync();
if (sum !== 3) throw new Error("1 + 2 gave " + sum);
console.log(JSON.stringify(backend));
`;

async function checkBackend(): Promise<Verdict> {
  const { success, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["eval", ASK_BACKEND],
    cwd: root,
    env: { TF_CPP_MIN_LOG_LEVEL: "2", NO_COLOR: "1", DENO_NO_UPDATE_CHECK: "1" },
    stdin: "null",
    signal: AbortSignal.timeout(TENSOR_LIMIT_MS),
  }).output();
  if (!success) {
    const said = new TextDecoder().decode(stderr).trim().split("\n")[0];
    throw new Error(`lib/tensor cannot compute 1 + 2: ${said}`);
  }
  const backend = JSON.parse(new TextDecoder().decode(stdout).trim().split("\n").at(-1)!) as Backend;
  const expected = installedTensorFlow() === "none" || backend.name === "tensorflow" || Deno.env.get("TESSERA_BACKEND");
  return {
    status: expected ? "ok" : "warning",
    detail:
      `${backend.name} ${backend.version} on ${backend.device}, ${backend.threads} threads, ${backend.cpu}; 1 + 2 = 3` +
      (expected ? "" : "; the TensorFlow library is installed but not used"),
  };
}

async function checkGpu(): Promise<Verdict> {
  const gpus = await listGpus();
  if (gpus.length === 0) return { status: "absent", detail: "nvidia-smi lists none; the CPU computes" };
  if (installedTensorFlow() !== "cuda") {
    return { status: "warning", detail: `${gpus.join("; ")}, but the CUDA build is not installed; ${SET_UP}` };
  }
  return { status: "warning", detail: `${gpus.join("; ")}; computing on it has never been tried by us` };
}

function checkJupyterLab(): Verdict {
  const step = stepsFor("none").find(({ name }) => name === "jupyter")!;
  const missing = step.missing();
  if (missing) return { status: "absent", detail: `${missing} is missing; ${SET_UP}` };
  const spec = textOf(`${kernelspecFolder}/kernel.json`);
  if (!spec) return { status: "failed", detail: `the kernel "${KERNEL_TITLE}" is not registered; ${SET_UP}` };
  const { argv } = JSON.parse(spec) as { argv: string[] };
  if (!exists(argv[0])) {
    return {
      status: "warning",
      detail: `the kernel names a Deno that is gone (${argv[0]}); the next start corrects it`,
    };
  }
  const names = step.pins.map(({ name, version }) => `${name} ${version}`).join(", ");
  return { status: "ok", detail: `${names}; the plotly renderer and the kernel "${KERNEL_TITLE}" are registered` };
}

function checkDisk(): Verdict {
  const { bavail, bsize } = statfsSync(root);
  const free = (bavail * bsize) / 1e9;
  const detail = `${free.toFixed(1)} GB free where the project lies`;
  if (free < LITTLE_DISK_GB) return { status: "warning", detail: `${detail}; a full set-up takes about 2.2 GB` };
  return { status: "ok", detail };
}

/**
 * Every data set has its SOURCE.md, and no file of it is empty or was deleted.
 *
 * @param folder The folder of data sets.
 */
export async function checkData(folder: string): Promise<Verdict> {
  const sets = namesIn(folder).filter((name) => isFolder(`${folder}/${name}`));
  if (sets.length === 0) return { status: "failed", detail: `${folder} has no data sets; is the clone complete?` };
  const problems: string[] = [];
  for (const set of sets) {
    const names = namesIn(`${folder}/${set}`);
    if (!names.includes("SOURCE.md")) problems.push(`${set} has no SOURCE.md`);
    if (names.every((name) => name === "SOURCE.md")) problems.push(`${set} has no files`);
    for (const name of names) {
      if (sizeOf(`${folder}/${set}/${name}`) === 0) problems.push(`${set}/${name} is empty`);
    }
  }
  for (const name of await deletedFiles(folder)) problems.push(`${name} is missing`);
  if (problems.length === 0) return { status: "ok", detail: `${sets.length} data sets: ${sets.join(", ")}` };
  return { status: "failed", detail: `${problems.join("; ")}; git restores them: git checkout -- data` };
}

/** Files that git knows and that are gone; none where there is no git. */
async function deletedFiles(folder: string): Promise<string[]> {
  try {
    const { success, stdout } = await new Deno.Command("git", {
      args: ["ls-files", "--deleted"],
      cwd: folder,
      stdin: "null",
      stderr: "null",
    }).output();
    return success ? new TextDecoder().decode(stdout).split("\n").filter(Boolean) : [];
  } catch {
    return [];
  }
}

/** The checks as a table for people. */
export function tableOf(checks: Check[]): string {
  const width = Math.max(...checks.map(({ name }) => name.length));
  return checks.map(({ name, status, detail }) => `${name.padEnd(width)}  ${status.padEnd(7)}  ${detail}`).join("\n");
}

if (import.meta.main) {
  if (Deno.args.includes("--help") || Deno.args.includes("-h")) {
    console.log(
      "Usage: deno task doctor [--json]\n\nChecks everything a notebook needs, by using it. Exit code 1 when a check failed.",
    );
    Deno.exit(0);
  }
  const checks = await examine();
  console.log(Deno.args.includes("--json") ? JSON.stringify({ checks }, null, 2) : tableOf(checks));
  Deno.exit(checks.some(({ status }) => status === "failed") ? 1 : 0);
}
