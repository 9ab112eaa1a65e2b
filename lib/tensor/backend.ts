/**
 * Which backend computes: TensorFlow, else WebAssembly, else plain JavaScript; chosen once, when this is imported.
 *
 * @module
 */
import { createRequire } from "node:module";
import { dirname } from "node:path";
import * as tf from "@tensorflow/tfjs";
import { repairGradients, repairTensorFlow, repairWasm, type TensorFlowBackend } from "./kernels.ts";
import { cpuInfo, findTensorFlow, gpuModel, loadTensorFlow, whyNoTensorFlow, WrongVersion } from "./load.ts";

/** Names of the backends, in the order of preference. */
export type BackendName = "tensorflow" | "wasm" | "cpu";

const NAMES: readonly BackendName[] = ["tensorflow", "wasm", "cpu"];

/** What computes, for people and for the record of a result. */
export interface Backend {
  readonly name: BackendName;
  /** TensorFlow's version, or TensorFlow.js' where that computes by itself. */
  readonly version: string;
  /** TensorFlow.js' version. */
  readonly tfjs: string;
  /** "CPU", or the GPU's model. */
  readonly device: string;
  /** Threads that an op may use. */
  readonly threads: number;
  /** The processor's model. */
  readonly cpu: string;
  /** All of it in one line. */
  toString(): string;
}

/** tfjs-node's backend where TensorFlow computes, else undefined: the door to ops that tfjs has no function for. */
export let tensorflow: TensorFlowBackend | undefined;

/**
 * The backend in use. It shows itself in a notebook, `String(backend)` is one line, and `JSON.stringify(backend)` belongs
 * into the record of every result.
 *
 * Environment variables, read once: `TESSERA_BACKEND=tensorflow|wasm|cpu` forces one, `TESSERA_THREADS=n` sets
 * TensorFlow's threads (the others have one). Without them TensorFlow is taken, else wasm, else cpu, and what is not
 * TensorFlow is said on standard error.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { tf } from "tessera/tensor/mod.ts";
 * assert.equal(backend.name, tf.getBackend());
 * assert.ok(String(backend).includes(backend.version));
 * ```
 */
export const backend: Backend = await choose();

/**
 * Whether ops are being recorded instead of run: then no tensor has a value.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * assert.equal(isTracing(), false);
 * ```
 */
export function isTracing(): boolean {
  return tensorflow?.binding.interceptor !== undefined;
}

async function choose(): Promise<Backend> {
  tf.env().set("PROD", true); // keeps tfjs' banner and advice off the terminal
  tf.env().set("DEPRECATION_WARNINGS_ENABLED", false);
  repairGradients();
  const forced = forcedBackend();
  const threads = wantedThreads();
  if (forced !== undefined) {
    const result = await start(forced, threads);
    if (typeof result === "string") {
      throw new Error(
        `TESSERA_BACKEND=${forced} cannot be had: ${result}; unset it, or run \`deno task start\` to repair`,
      );
    }
    return result;
  }
  const reasons: string[] = [];
  for (const name of NAMES) {
    const result = await start(name, threads);
    if (typeof result === "string") {
      reasons.push(result);
    } else {
      if (reasons.length > 0) console.error(`${reasons.join("; ")}; using ${name}, which is slower`);
      return result;
    }
  }
  throw new Error(`no backend starts: ${reasons.join("; ")}`);
}

/** Starts a backend, or says why it cannot be had. */
async function start(name: BackendName, threads: number | undefined): Promise<Backend | string> {
  try {
    if (name === "tensorflow") return whyNoTensorFlow() ?? startTensorFlow(threads);
    if (name === "wasm") await prepareWasm();
    if (!await tf.setBackend(name)) return `tfjs cannot start its ${name} backend`;
    return describe({ name, version: tf.version["tfjs-core"], device: "CPU", threads: 1 });
  } catch (error) {
    if (error instanceof WrongVersion) throw error; // a set-up gone wrong, not one without TensorFlow
    return `${name} does not load (${String(error instanceof Error ? error.message : error).split("\n")[0]})`;
  }
}

function startTensorFlow(threads: number | undefined): Backend {
  const binding = loadTensorFlow(findTensorFlow()!, threads);
  tensorflow = tf.backend() as unknown as TensorFlowBackend;
  repairTensorFlow(tensorflow);
  return describe({
    name: "tensorflow",
    version: binding.TF_Version,
    device: binding.isUsingGpuDevice() ? gpuModel() ?? "GPU" : "CPU",
    threads: threads ?? navigator.hardwareConcurrency,
  });
}

/** tfjs' wasm backend has threads in browsers only: in Node and Deno it looks for a worker that is not there. */
async function prepareWasm(): Promise<void> {
  const { setWasmPaths } = await import("@tensorflow/tfjs-backend-wasm");
  setWasmPaths(dirname(createRequire(import.meta.url).resolve("@tensorflow/tfjs-backend-wasm")) + "/");
  repairWasm();
}

function describe(parts: Pick<Backend, "name" | "version" | "device" | "threads">): Backend {
  const value = { ...parts, tfjs: tf.version["tfjs-core"], cpu: cpuInfo().model };
  const { name, version, device, threads, cpu } = value;
  const who = name === "tensorflow" ? `TensorFlow ${version}` : `TensorFlow.js ${version} with its ${name} backend`;
  const where = device === "CPU" ? cpu : `${device}, ${cpu}`;
  const text = `${who} on ${where}, ${threads} ${threads === 1 ? "thread" : "threads"}`;
  Object.defineProperty(value, "toString", { value: () => text });
  Object.defineProperty(value, Symbol.for("Jupyter.display"), { value: () => ({ "text/plain": text }) });
  return Object.freeze(value);
}

function forcedBackend(): BackendName | undefined {
  const text = Deno.env.get("TESSERA_BACKEND");
  if (!text) return undefined;
  const name = NAMES.find((known) => known === text);
  if (name !== undefined) return name;
  throw new RangeError(
    `TESSERA_BACKEND must be ${NAMES.join(" or ")}, but it is "${text}"; unset it to have one chosen`,
  );
}

function wantedThreads(): number | undefined {
  const text = Deno.env.get("TESSERA_THREADS");
  if (!text) return undefined;
  const count = Number(text);
  if (Number.isInteger(count) && count >= 1 && count <= 1024) return count;
  throw new RangeError(
    `TESSERA_THREADS must be a whole number from 1 to 1024, but it is "${text}"; unset it for all cores`,
  );
}
