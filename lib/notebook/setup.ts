/**
 * Set-up: what a fresh clone needs, done once, checked at every start.
 *
 * Each step leaves a stamp in .venv/tessera: "started" before it, "done" after it. A step is skipped when its stamp is
 * done, what it depends on is the same, and its most important files are there; then all of set-up costs under 0.1 s. A
 * stamp that says "started" means that somebody switched off in the middle: the step is done again, from clean.
 *
 * `deno run -A lib/notebook/setup.ts [--plan]`; `--plan` only prints what would be done.
 *
 * @module
 */
import { SetUpError } from "./command.ts";
import { judgeDeno, shadowedDeno } from "./deno_check.ts";
import { writeJupyterFiles } from "./kernelspec.ts";
import { exists, namesIn, root, sitePackages, textOf, venvProgram, writeWhole } from "./paths.ts";
import { requirements } from "./pins.ts";
import { cudaEnvironment, listGpus, planFor, type PlatformPlan } from "./platform.ts";
import { type Effort, installedTensorFlow, stampFolder, stampPath, type Step, stepsFor } from "./steps.ts";

export { SetUpError } from "./command.ts";
export { root, venv, venvProgram } from "./paths.ts";

/** Options of `setUp()`. */
export interface SetUpOptions {
  /**
   * Go on without what comes from Python (JupyterLab, TensorFlow's library) when it cannot be had, and say so. The tests do
   * this. Default: false.
   */
  pythonOptional?: boolean;
}

/** What `setUp()` leaves. */
export interface SetUpResult {
  /** JupyterLab is there. */
  jupyter: boolean;
  /** The build of TensorFlow's library that is there. */
  tensorflow: PlatformPlan["tensorflow"];
  /** Whether anything had to be done. */
  changed: boolean;
  /** Why something is missing that was wanted, in one sentence. */
  problem?: string;
}

/**
 * Makes everything ready that is not ready yet, and prints each step with its size and seconds. Quiet when there is nothing
 * to do. Two at the same time wait for one another.
 *
 * @throws SetUpError in one sentence that says what to do: no network, no Python, a Deno that must not be used, a disk that
 *   is full.
 */
export async function setUp(options: SetUpOptions = {}): Promise<SetUpResult> {
  const deno = judgeDeno();
  if (deno.status === "refused") throw new SetUpError(deno.detail);
  if (deno.status === "warning") console.error(`Note: ${deno.detail}.`);
  const shadow = shadowedDeno();
  if (shadow) throw new SetUpError(shadow);

  using _lock = await lock();
  const plan = choosePlan(await knownGpus());
  let changed = false;
  let problem: string | undefined;
  for (const step of stepsFor(plan.tensorflow)) {
    const reason = whyToDo(step);
    if (reason === undefined) continue;
    if (!changed) announce(plan);
    changed = true;
    try {
      await doStep(step, reason);
    } catch (error) {
      if (!(error instanceof SetUpError)) throw error;
      if (step.optional) {
        console.log(`    going on without it: ${error.message.split("\n")[0]}`);
        continue;
      }
      if (!(step.python && options.pythonOptional)) throw error;
      problem = error.message;
      break;
    }
  }
  const jupyter = exists(venvProgram("jupyter-lab"));
  if (jupyter) writeJupyterFiles();
  if (problem) console.log(`Going on without JupyterLab or the TensorFlow library. ${problem}`);
  return { jupyter, tensorflow: installedTensorFlow(), changed, problem };
}

/**
 * Set-up for a command that needs packages itself. Deno looks into node_modules once, when it starts: where something was
 * installed only now, the same command is run again in a new process, and this one ends with its exit code.
 *
 * @throws SetUpError as {@link setUp}.
 */
export async function setUpBeforeImports(options: SetUpOptions = {}): Promise<SetUpResult> {
  const second = Deno.env.has(SECOND_START);
  Deno.env.delete(SECOND_START); // what this command starts is started for the first time
  const result = await setUp(options);
  if (!result.changed || second) return result;
  const { code } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", Deno.mainModule, ...Deno.args],
    env: { [SECOND_START]: "1" },
  }).spawn().status;
  Deno.exit(code);
}

/** Set in a command that is run again after set-up, so that a set-up that never settles does not start it for ever. */
const SECOND_START = "TESSERA_SECOND_START";

interface Stamp {
  state: "started" | "done";
  key: string;
}

function stampOf(step: Step): Stamp | undefined {
  try {
    return JSON.parse(textOf(stampPath(step.name))) as Stamp;
  } catch {
    return undefined;
  }
}

function writeStamp(step: Step, state: Stamp["state"]): void {
  writeWhole(stampPath(step.name), JSON.stringify({ state, key: step.key() }));
}

/** Why a step has to be done; undefined when it has not, an empty reason for the first time. */
function whyToDo(step: Step): string | undefined {
  const stamp = stampOf(step);
  const missing = step.missing();
  if (stamp?.state === "started") return "the last set-up did not finish";
  if (stamp && missing) return `${missing} is missing`;
  if (!stamp) return "";
  if (stamp.key !== step.key()) return "something it depends on has changed";
}

async function doStep(step: Step, reason: string): Promise<void> {
  print(`  ${step.label.padEnd(36)} ${`${step.megabytes} MB`.padStart(8)} `);
  const start = performance.now();
  const stamp = stampOf(step);
  const broken = stamp?.state === "started" || (stamp !== undefined && step.missing() !== undefined);
  const efforts: Effort[] = broken ? ["again", "afresh"] : ["usual", "again"];
  writeStamp(step, "started");
  try {
    for (const effort of efforts) {
      await step.install(effort);
      if (!step.missing()) break;
    }
  } catch (error) {
    print("failed\n");
    throw error;
  }
  const missing = step.missing();
  if (missing) {
    print("failed\n");
    throw new SetUpError(
      `${step.label}: installed, but ${missing} is still missing; remove ${root}/.venv and run it again.`,
    );
  }
  writeStamp(step, "done");
  print(`${((performance.now() - start) / 1000).toFixed(1).padStart(7)} s${reason && `  (${reason})`}\n`);
}

function print(text: string): void {
  Deno.stdout.writeSync(new TextEncoder().encode(text));
}

function announce({ note }: PlatformPlan): void {
  console.log("Setting up what is missing (sizes are about what lands on disk):");
  if (note) console.log(`  ${note}`);
}

/** What this machine gets. A CUDA build that is there stays, also where no GPU is seen: it computes on the CPU too. */
function choosePlan(gpus: string[]): PlatformPlan {
  const wish = Deno.env.get("TESSERA_TENSORFLOW") || undefined;
  const plan = planFor({ os: Deno.build.os, arch: Deno.build.arch, gpus, wish });
  if (plan.tensorflow === "cpu" && !wish && installedTensorFlow() === "cuda") return { tensorflow: "cuda" };
  return plan;
}

/** `nvidia-smi` can take seconds: it is asked again only when it or the driver's list of devices has changed. */
async function knownGpus(): Promise<string[]> {
  const program = (Deno.env.get("PATH") ?? "").split(":").map((folder) => `${folder}/nvidia-smi`).find(exists);
  if (!program) return [];
  const asked = [program, Deno.statSync(program).mtime?.getTime(), ...namesIn("/proc/driver/nvidia/gpus")].join(" ");
  const file = `${stampFolder}/gpus.json`;
  try {
    const known = JSON.parse(textOf(file)) as { asked: string; gpus: string[] };
    if (known.asked === asked) return known.gpus;
  } catch {
    // not asked yet
  }
  const gpus = await listGpus();
  writeWhole(file, JSON.stringify({ asked, gpus }));
  return gpus;
}

/**
 * Waits until no other set-up of this folder is under way. The operating system holds the lock, so it goes with the process
 * that has it, however that ends; the process id in the file is for the message.
 */
async function lock(): Promise<Disposable> {
  let file: Deno.FsFile;
  try {
    Deno.mkdirSync(stampFolder, { recursive: true });
    file = Deno.openSync(`${stampFolder}/lock`, { read: true, write: true, create: true });
  } catch (error) {
    throw new SetUpError(`${root} cannot be written (${(error as Error).message}); set-up needs a folder of your own.`);
  }
  if (!file.tryLockSync(true)) {
    const holder = textOf(`${stampFolder}/lock`) || "unknown";
    console.log(`Another set-up (process ${holder}) is under way; waiting for it.`);
    await file.lock(true);
  }
  file.truncateSync();
  file.writeSync(new TextEncoder().encode(String(Deno.pid)));
  return { [Symbol.dispose]: () => file.close() };
}

/** Prints what set-up would do here, without doing it. */
async function printPlan(): Promise<void> {
  const plan = choosePlan(await listGpus());
  console.log(`TensorFlow: ${plan.tensorflow}${plan.note ? `\n  ${plan.note}` : ""}`);
  for (const step of stepsFor(plan.tensorflow)) {
    const reason = whyToDo(step);
    const state = reason === undefined ? "ready" : reason ? `to do: ${reason}` : "to do";
    console.log(`${step.label.padEnd(36)} ${`${step.megabytes} MB`.padStart(8)}  ${state}`);
    for (const pin of requirements(step.pins)) console.log(`    ${pin}`);
  }
  if (plan.tensorflow === "cuda") {
    console.log("Environment variables of the kernel:");
    const packages = sitePackages() ?? `${root}/.venv/lib/python3.N/site-packages`;
    for (const [name, value] of Object.entries(cudaEnvironment(packages))) console.log(`    ${name}=${value}`);
  }
}

/** Runs a program's main function; a reason why set-up cannot go on is printed as one sentence, without a stack. */
export async function withSetUpErrors(main: () => Promise<number>): Promise<never> {
  try {
    Deno.exit(await main());
  } catch (error) {
    if (!(error instanceof SetUpError || error instanceof RangeError)) throw error;
    console.error(error.message);
    Deno.exit(1);
  }
}

if (import.meta.main) {
  await withSetUpErrors(async () => {
    if (Deno.args.includes("--plan")) {
      await printPlan();
      return 0;
    }
    const start = performance.now();
    await setUp();
    console.log(`Ready (${((performance.now() - start) / 1000).toFixed(2)} s).`);
    return 0;
  });
}
