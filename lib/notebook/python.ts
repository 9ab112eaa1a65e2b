/**
 * Finding a Python, and installing packages into the project's own environment with uv or pip.
 *
 * @module
 */
import { runProgram, SetUpError } from "./command.ts";
import { exists, venvProgram } from "./paths.ts";
import { type Pin, PYTHON_MINORS, requirements } from "./pins.ts";

const CANDIDATES = Deno.build.os === "windows"
  ? ["py", "python"]
  : ["python3", "python", "python3.13", "python3.12", "python3.11", "python3.10"];

/** Prints the version first, so that a Python without venv is told from no Python. */
const PROBE = "import sys; print(*sys.version_info[:2], flush=True); import venv, ensurepip";

/**
 * Finds a Python that can make the environment.
 *
 * @param forTensorFlow Whether it must be one for which there is a TensorFlow wheel.
 * @returns The program's name.
 * @throws SetUpError that says what to install.
 */
export async function findPython(forTensorFlow: boolean): Promise<string> {
  const { first, lastForTensorFlow } = PYTHON_MINORS;
  let tooOld: string | undefined;
  let tooNew: string | undefined;
  let withoutVenv: string | undefined;
  for (const program of CANDIDATES) {
    const found = await probe(program);
    if (!found) continue;
    const name = `Python ${found.major}.${found.minor} (${program})`;
    if (found.major < 3 || found.minor < first) tooOld ??= name;
    else if (forTensorFlow && found.minor > lastForTensorFlow) tooNew ??= name;
    else if (!found.venv) withoutVenv ??= name;
    else return program;
  }
  if (withoutVenv) {
    throw new SetUpError(
      `${withoutVenv} lacks the venv module, which makes the project's own environment; install it (Debian, Ubuntu: ` +
        "apt-get install python3-venv) and run the same command again.",
    );
  }
  if (tooNew) {
    throw new SetUpError(
      `There is no TensorFlow 2.21 for ${tooNew}; install a Python from 3.${first} to 3.${lastForTensorFlow} beside it, or ` +
        "set TESSERA_TENSORFLOW=none to do without.",
    );
  }
  const has = tooOld ? `${tooOld} is too old` : "There is no Python on the PATH";
  throw new SetUpError(
    `${has}, and JupyterLab and the TensorFlow library come as Python packages; install Python 3.${first} or later ` +
      "(Debian, Ubuntu: apt-get install python3 python3-venv) and run the same command again.",
  );
}

async function probe(program: string): Promise<{ major: number; minor: number; venv: boolean } | undefined> {
  try {
    const { success, stdout } = await new Deno.Command(program, { args: ["-c", PROBE], stdin: "null", stderr: "null" })
      .output();
    const [major, minor] = new TextDecoder().decode(stdout).trim().split(" ").map(Number);
    return Number.isInteger(major) && Number.isInteger(minor) ? { major, minor, venv: success } : undefined;
  } catch {
    return undefined;
  }
}

/** How to install. */
export interface InstallOptions {
  /** Install what the packages depend on as well. */
  dependencies: boolean;
  /** Install again what seems to be there, because it is not whole. */
  again?: boolean;
  /** Fetch everything again, because what the installer keeps is not whole either. */
  withoutCache?: boolean;
}

/**
 * Installs pinned packages into the project's environment, by uv where it is there, else by pip.
 *
 * @throws SetUpError in one sentence.
 */
export async function installPackages(label: string, pins: Pin[], options: InstallOptions): Promise<void> {
  const { dependencies, again = false, withoutCache = false } = options;
  const python = venvProgram("python");
  const common = [...(dependencies ? [] : ["--no-deps"]), ...requirements(pins)];
  if (exists(venvProgram("uv"))) {
    const flags = [...(again ? ["--reinstall"] : []), ...(withoutCache ? ["--no-cache"] : [])];
    await runProgram(
      label,
      venvProgram("uv"),
      ["pip", "install", "-q", "--python", python, ...flags, ...common],
      QUICK_TO_GIVE_UP,
    );
  } else {
    const flags = [...(again ? ["--force-reinstall"] : []), ...(withoutCache ? ["--no-cache-dir"] : [])];
    await pip(label, ["install", ...flags, ...common]);
  }
}

const QUICK_TO_GIVE_UP = { UV_HTTP_RETRIES: "1" };

/** Runs the environment's own pip. */
export async function pip(label: string, args: string[]): Promise<void> {
  const quiet = ["-q", "--disable-pip-version-check", "--no-input", "--retries", "1", "--timeout", "30"];
  await runProgram(label, venvProgram("python"), ["-m", "pip", ...args.slice(0, 1), ...quiet, ...args.slice(1)]);
}
