/**
 * Finds TensorFlow's library, refuses another version than the one that is tested, and loads
 * `@tensorflow/tfjs-node-gpu` on our binding.
 *
 * @module
 */
import Module, { createRequire } from "node:module";
import { dirname } from "node:path";
import { fileURLToPath } from "node:url";
import { TensorFlowBinding } from "./binding.ts";
import { libraryVersion } from "./capi.ts";

/** The version of TensorFlow that the binding is written and tested for. */
export const TENSORFLOW_VERSION = "2.21.0";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));
const BINDING_KEY = Symbol.for("tessera.tensorflow.binding");
const require = createRequire(import.meta.url);

/** TensorFlow was found, but it is not the version that the binding is tested with. */
export class WrongVersion extends Error {
  override readonly name = "WrongVersion";
}

/**
 * Says why TensorFlow cannot be had here, as the first part of a sentence; undefined where it can.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * if (Deno.build.os === "darwin") assert.equal(whyNoTensorFlow()?.startsWith("TensorFlow is used on Linux x64 only"), true);
 * ```
 */
export function whyNoTensorFlow(): string | undefined {
  const { os, arch } = Deno.build;
  if (os !== "linux" || arch !== "x86_64") return `TensorFlow is used on Linux x64 only, and this is ${os} ${arch}`;
  const { flags } = cpuInfo(); // none if /proc cannot be read: then nothing is known
  if (flags.length > 0 && !flags.includes("avx")) return "TensorFlow needs a processor with AVX, and this one has none";
  if (findTensorFlow() === undefined) return "TensorFlow is not installed (no package tensorflow in .venv)";
  return undefined;
}

/**
 * The folder `tensorflow/` of the wheel in the project's .venv, or undefined.
 *
 * @param root The project's folder, with a slash at the end.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * assert.equal(findTensorFlow("/there/is/none/"), undefined);
 * ```
 */
export function findTensorFlow(root = ROOT): string | undefined {
  const lib = `${root}.venv/lib`;
  for (const python of listFolder(lib).filter((name) => name.startsWith("python3."))) {
    const folder = `${lib}/${python}/site-packages/tensorflow`;
    if (listFolder(folder).includes("libtensorflow_cc.so.2")) return folder;
  }
  return undefined;
}

/**
 * The processor's model and what it can do, from /proc/cpuinfo; elsewhere its architecture alone.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * assert.notEqual(cpuInfo().model, "");
 * ```
 */
export function cpuInfo(): { model: string; flags: string[] } {
  const text = readText("/proc/cpuinfo");
  const field = (name: string) => new RegExp(`^${name}\\s*:\\s*(.*)$`, "m").exec(text)?.[1].trim();
  return { model: field("model name") ?? Deno.build.arch, flags: field("flags")?.split(" ") ?? [] };
}

/**
 * The model of the first NVIDIA GPU, as its driver has it.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * assert.notEqual(gpuModel(), ""); // undefined where there is none
 * ```
 */
export function gpuModel(): string | undefined {
  const gpus = "/proc/driver/nvidia/gpus";
  const first = listFolder(gpus)[0];
  return first && /^Model:\s*(.*)$/m.exec(readText(`${gpus}/${first}/information`))?.[1].trim();
}

/**
 * Throws unless the version is the one that the binding is tested with: the C API promises little, and wrong numbers
 * would be worse than none.
 *
 * @throws {WrongVersion} With what is there and what to do.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * checkVersion("2.21.0", "tensorflow");
 * assert.throws(() => checkVersion("2.20.0", "tensorflow"), /2\.20\.0/);
 * ```
 */
export function checkVersion(version: string, folder: string): void {
  if (version === TENSORFLOW_VERSION) return;
  throw new WrongVersion(
    `TensorFlow must be ${TENSORFLOW_VERSION}, but ${folder} holds ${version || "one without a version"}; ` +
      "run `deno task start`, which installs the right one, or set TESSERA_BACKEND=wasm",
  );
}

/**
 * Loads the library, then `@tensorflow/tfjs-node-gpu`, which registers itself as the backend "tensorflow" and becomes
 * the one in use. Call it where {@link whyNoTensorFlow} has no objection.
 *
 * @param folder Where the library is, see {@link findTensorFlow}.
 * @param threads For one op, and for ops beside each other; undefined leaves it to TensorFlow: all cores.
 * @throws {WrongVersion} If it is another version.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * const folder = whyNoTensorFlow() === undefined ? findTensorFlow() : undefined;
 * if (folder) assert.equal(loadTensorFlow(folder, 2).TF_Version, "2.21.0");
 * ```
 */
export function loadTensorFlow(folder: string, threads: number | undefined): TensorFlowBinding {
  // TensorFlow reads these while it is loaded. What the user has set stays.
  setDefault("TF_CPP_MIN_LOG_LEVEL", "2"); // errors only
  setDefault("TF_FORCE_GPU_ALLOW_GROWTH", "true"); // else it takes the whole GPU at once
  const cuda = `${dirname(folder)}/nvidia/cuda_nvcc`; // there with the wheel's CUDA packages only
  if (listFolder(cuda).length > 0) setDefault("XLA_FLAGS", `--xla_gpu_cuda_data_dir=${cuda}`);

  checkVersion(libraryVersion(folder, Deno.env.get("TF_CPP_MIN_LOG_LEVEL") !== "0"), folder);
  const binding = new TensorFlowBinding({ folder, version: TENSORFLOW_VERSION, threads });
  Reflect.set(globalThis, BINDING_KEY, binding);
  restoreNodeUtil();
  withAddonPath(fileURLToPath(new URL("./tfjs_binding.cjs", import.meta.url)), () => {
    require("@tensorflow/tfjs-node-gpu");
  });
  return binding;
}

function setDefault(name: string, value: string): void {
  if (Deno.env.get(name) === undefined) Deno.env.set(name, value);
}

function readText(path: string): string {
  try {
    return Deno.readTextFileSync(path);
  } catch {
    return "";
  }
}

function listFolder(path: string): string[] {
  try {
    return Array.from(Deno.readDirSync(path), (entry) => entry.name);
  } catch {
    return [];
  }
}

/** The package calls two functions of `node:util` that have been removed since. */
function restoreNodeUtil(): void {
  const util: Record<string, unknown> = require("node:util");
  util.isNullOrUndefined ??= (value: unknown) => value === null || value === undefined;
  util.isArray ??= Array.isArray;
}

/**
 * While `load` runs, `require("@mapbox/node-pre-gyp")`, which the package asks for the path of its compiled addon,
 * answers with `path`. Only that one name is caught.
 */
function withAddonPath(path: string, load: () => void): void {
  const loader = Module as unknown as { _load(id: string, ...rest: unknown[]): unknown };
  const original = loader._load;
  loader._load = function (id, ...rest) {
    return id === "@mapbox/node-pre-gyp" ? { find: () => path } : original.call(this, id, ...rest);
  };
  try {
    load();
  } finally {
    loader._load = original;
  }
}
