/**
 * The steps of set-up: how each tells that its work is whole, and how it does it.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { runProgram, SetUpError } from "./command.ts";
import { exists, namesIn, root, sitePackages, sizeOf, textOf, venv, venvBin, venvProgram } from "./paths.ts";
import {
  jupyter,
  megabytesOf,
  NODE_MODULES_MEGABYTES,
  type Pin,
  requirements,
  tensorflowCpu,
  tensorflowCuda,
  uv,
  VENV_MEGABYTES,
} from "./pins.ts";
import type { TensorFlowBuild } from "./platform.ts";
import { findPython, installPackages, pip } from "./python.ts";

/** How hard a step tries: "usual" leaves what is there, "again" replaces it, "afresh" also fetches it again. */
export type Effort = "usual" | "again" | "afresh";

/** One step of set-up. */
export interface Step {
  /** Names its stamp. */
  name: string;
  label: string;
  megabytes: number;
  /** Python packages it installs. */
  pins: Pin[];
  /** Belongs to the Python environment, which Deno's part of the tests can do without. */
  python: boolean;
  /** May fail without harm; set-up goes on. */
  optional?: boolean;
  /** What the result depends on; when it changes, the step is done again. */
  key(): string;
  /** What is missing or broken, from a few looks at files; undefined when all is whole. */
  missing(): string | undefined;
  install(effort: Effort): Promise<void>;
}

/** The folder of stamps and of the lock; it outlives the Python environment around it. */
export const stampFolder = `${venv}/tessera`;

/** Where a step's stamp lies. */
export function stampPath(step: string): string {
  return `${stampFolder}/${step}.json`;
}

/** All steps, in order. */
export function stepsFor(build: TensorFlowBuild): Step[] {
  return [
    nodeModules,
    environment(build !== "none"),
    installer,
    jupyterLab,
    ...(build === "none" ? [] : [tensorflow(build)]),
  ];
}

const nodeModules: Step = {
  name: "node_modules",
  label: "Packages of npm (node_modules)",
  megabytes: NODE_MODULES_MEGABYTES,
  pins: [],
  python: false,
  key() {
    const hash = createHash("sha256").update(Deno.version.deno);
    for (const file of ["deno.json", "deno.lock"]) hash.update(textOf(`${root}/${file}`));
    return hash.digest("hex");
  },
  missing() {
    const { imports = {} } = JSON.parse(textOf(`${root}/deno.json`)) as { imports?: Record<string, string> };
    for (const target of Object.values(imports)) {
      const name = /^npm:(@?[^@]+)/.exec(target)?.[1];
      if (name && !exists(`${root}/node_modules/${name}/package.json`)) return `node_modules/${name}`;
    }
  },
  async install(effort) {
    if (effort !== "usual") removeFolder(`${root}/node_modules`);
    const again = effort === "afresh" ? ["--reload"] : [];
    await runProgram(this.label, Deno.execPath(), ["install", "-q", "--frozen", ...again], {
      DENO_NO_UPDATE_CHECK: "1",
    });
  },
};

function environment(forTensorFlow: boolean): Step {
  return {
    name: "python",
    label: "Python environment (.venv)",
    megabytes: VENV_MEGABYTES,
    pins: [],
    python: true,
    key() {
      // an environment cannot be moved, and breaks when the Python under it is replaced by another
      let base = "";
      try {
        base = Deno.realPathSync(venvProgram("python"));
      } catch {
        // none yet
      }
      return `${root} ${base}`;
    },
    missing() {
      if (!exists(venvProgram("python"))) return ".venv/bin/python";
      if (!textOf(`${venv}/pyvenv.cfg`)) return ".venv/pyvenv.cfg";
      const pipProgram = namesIn(venvBin).find((name) => /^pip3?(\.exe)?$/.test(name));
      if (!pipProgram) return ".venv/bin/pip";
      const moved = Deno.build.os !== "windows" &&
        !textOf(`${venvBin}/${pipProgram}`).slice(0, 1000).includes(`${venv}/`);
      if (moved) return "an environment of this folder (the project was moved)";
    },
    async install(effort) {
      if (effort === "usual" && !this.missing() && await pipRuns()) return; // somebody made it; take it over
      const python = await findPython(forTensorFlow);
      for (const name of namesIn(venv)) {
        if (`${venv}/${name}` !== stampFolder) removeFolder(`${venv}/${name}`);
      }
      for (const { name } of [installer, jupyterLab, tensorflow("cpu")]) removeFolder(stampPath(name)); // gone with it
      await runProgram(this.label, python, ["-m", "venv", venv]);
    },
  };
}

async function pipRuns(): Promise<boolean> {
  try {
    await runProgram("", venvProgram("python"), ["-c", "import pip, venv"]);
    return true;
  } catch (error) {
    if (error instanceof SetUpError) return false;
    throw error;
  }
}

const installer: Step = {
  name: "installer",
  label: "Installer (uv)",
  megabytes: megabytesOf([uv]),
  pins: [uv],
  python: true,
  optional: true,
  key: () => requirements([uv]).join(),
  missing: () => missingPackage([uv]) ?? (exists(venvProgram("uv")) ? undefined : ".venv/bin/uv"),
  async install(effort) {
    await pip(this.label, ["install", ...(effort === "usual" ? [] : ["--force-reinstall"]), ...requirements([uv])]);
  },
};

const jupyterLab: Step = {
  name: "jupyter",
  label: "JupyterLab and its plotly renderer",
  megabytes: megabytesOf(jupyter),
  pins: jupyter,
  python: true,
  key: () => requirements(jupyter).join(),
  missing() {
    if (!exists(venvProgram("jupyter-lab"))) return ".venv/bin/jupyter-lab";
    const renderer = "share/jupyter/labextensions/jupyterlab-plotly/package.json";
    if (!exists(`${venv}/${renderer}`)) return `.venv/${renderer}`;
    return missingPackage(jupyter);
  },
  async install(effort) {
    await installPackages(this.label, jupyter, {
      dependencies: true,
      again: effort !== "usual",
      withoutCache: effort === "afresh",
    });
  },
};

const LIBRARIES = ["tensorflow/libtensorflow_cc.so.2", "tensorflow/libtensorflow_framework.so.2"];

function tensorflow(build: "cpu" | "cuda"): Step {
  const pins = build === "cpu" ? tensorflowCpu : tensorflowCuda;
  return {
    name: "tensorflow",
    label: build === "cpu" ? "TensorFlow library, CPU" : "TensorFlow library, CUDA",
    megabytes: megabytesOf(pins),
    pins,
    python: true,
    key: () => requirements(pins).join(),
    missing() {
      const missing = missingPackage(pins);
      if (missing) return missing;
      const packages = sitePackages()!;
      const record = textOf(`${packages}/${infoFolder(pins[0])}/RECORD`); // a line is path,hash,size
      for (const library of LIBRARIES) {
        const line = record.slice(record.indexOf(`${library},`)).split("\n", 1)[0];
        if (sizeOf(`${packages}/${library}`) !== Number(line.split(",")[2])) return `all of ${library}`;
      }
    },
    async install(effort) {
      // both builds fill the same folder: one must be gone before the other comes
      const others = (build === "cpu" ? tensorflowCuda : tensorflowCpu).filter((pin) => !missingPackage([pin]));
      if (others.length > 0) await pip(this.label, ["uninstall", "-y", ...others.map(({ name }) => name)]);
      await installPackages(this.label, pins, {
        dependencies: false,
        again: effort !== "usual",
        withoutCache: effort === "afresh",
      });
    },
  };
}

/** The build of TensorFlow's library that is installed and whole. */
export function installedTensorFlow(): TensorFlowBuild {
  for (const build of ["cuda", "cpu"] as const) {
    if (!tensorflow(build).missing()) return build;
  }
  return "none";
}

function infoFolder({ name, version }: Pin): string {
  return `${name.replaceAll("-", "_")}-${version}.dist-info`;
}

/** The first of the packages that is not installed at its version. */
function missingPackage(pins: Pin[]): string | undefined {
  const packages = sitePackages();
  for (const pin of pins) {
    if (!packages || !exists(`${packages}/${infoFolder(pin)}/RECORD`)) return `${pin.name} ${pin.version}`;
  }
}

function removeFolder(path: string): void {
  try {
    Deno.removeSync(path, { recursive: true });
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
}
