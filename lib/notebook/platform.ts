/**
 * What works where: which build of TensorFlow a machine gets, and what takes its place where there is none.
 *
 * @module
 */

/** The builds of TensorFlow's library; "none" leaves the fallback backends. */
export type TensorFlowBuild = "cpu" | "cuda" | "none";

/** What a machine is, as far as set-up cares. */
export interface Machine {
  os: typeof Deno.build.os;
  arch: typeof Deno.build.arch;
  /** GPUs as `nvidia-smi -L` lists them; empty when there are none. */
  gpus: string[];
  /** TESSERA_TENSORFLOW; undefined when it is not set. */
  wish?: string;
}

/** What set-up does there, and why. */
export interface PlatformPlan {
  tensorflow: TensorFlowBuild;
  /** One sentence for the user when it is not the ordinary CPU build. */
  note?: string;
}

/**
 * Chooses the build of TensorFlow for a machine.
 *
 * @throws RangeError when TESSERA_TENSORFLOW is neither none, cpu nor cuda.
 *
 * @example A Mac computes with the wasm backend
 * ```ts
 * import assert from "node:assert/strict";
 * assert.equal(planFor({ os: "darwin", arch: "aarch64", gpus: [] }).tensorflow, "none");
 * assert.equal(planFor({ os: "linux", arch: "x86_64", gpus: [] }).tensorflow, "cpu");
 * ```
 */
export function planFor({ os, arch, gpus, wish }: Machine): PlatformPlan {
  if (wish && !["none", "cpu", "cuda"].includes(wish)) {
    throw new RangeError(
      `TESSERA_TENSORFLOW must be none, cpu or cuda, but it is ${wish}; leave it unset to let set-up choose`,
    );
  }
  if (wish === "none") {
    return { tensorflow: "none", note: "TESSERA_TENSORFLOW=none: no TensorFlow library; the wasm backend computes." };
  }
  if (os !== "linux" || arch !== "x86_64") {
    const stop = os === "windows" ? ", and Stop in JupyterLab ends synchronous cells only" : "";
    return {
      tensorflow: "none",
      note:
        `On ${nameOf(os)} ${
          nameOf(arch)
        } TensorFlow's library is not set up (it was tried on Linux x64 only): the wasm ` +
        `backend computes, then cpu; notebooks, figures and inference work, training is slow or not possible${stop}.`,
    };
  }
  if (wish === "cuda" || (gpus.length > 0 && wish !== "cpu")) {
    const found = gpus.length > 0 ? gpus.join("; ") : "TESSERA_TENSORFLOW=cuda";
    return {
      tensorflow: "cuda",
      note: `${found}: the CUDA build. It follows the packages' own metadata and has never been run on a GPU by us; ` +
        "TESSERA_TENSORFLOW=cpu takes the tried CPU build.",
    };
  }
  return { tensorflow: "cpu" };
}

function nameOf(part: string): string {
  return { darwin: "macOS", windows: "Windows", linux: "Linux", x86_64: "x64", aarch64: "arm64" }[part] ?? part;
}

/**
 * The variables that the CUDA build needs before its library is loaded.
 *
 * @param sitePackages The folder of the Python environment that has tensorflow/ and nvidia/.
 */
export function cudaEnvironment(sitePackages: string): Record<string, string> {
  return {
    TF_FORCE_GPU_ALLOW_GROWTH: "true", // else the first process takes all of the GPU's memory
    XLA_FLAGS: `--xla_gpu_cuda_data_dir=${sitePackages}/nvidia/cuda_nvcc`,
  };
}

/**
 * Asks `nvidia-smi -L` for GPUs.
 *
 * @returns One line per GPU, such as "GPU 0: NVIDIA L4"; empty when the program is missing or fails.
 */
export async function listGpus(): Promise<string[]> {
  try {
    const { success, stdout } = await new Deno.Command("nvidia-smi", {
      args: ["-L"],
      stdin: "null",
      stderr: "null",
      signal: AbortSignal.timeout(10_000),
    }).output();
    if (!success) return [];
    const lines = new TextDecoder().decode(stdout).split("\n").filter((line) => /^GPU \d+:/.test(line));
    return lines.map((line) => line.replace(/ \(UUID.*/, "").trim());
  } catch {
    return [];
  }
}
