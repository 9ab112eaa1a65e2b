/**
 * The peers: an environment of their own with PyTorch and JAX, made on demand, and the golden cases that each has to
 * reproduce before its times count.
 *
 * @module
 */
import { fileURLToPath } from "node:url";
import { goldenOutputs } from "./contest.ts";
import { type GoldenCase, type GoldenCases, peers } from "./workload.ts";
import { areaNames, areaOf, areas, workload, type WorkloadName } from "./workloads.ts";

const root = fileURLToPath(new URL("../../", import.meta.url));
const venv = `${root}.venv-bench`;

/**
 * PyTorch's build for the CPU: 190 MB to fetch, 1,500 MB installed together with JAX. Where the index of pip has only the
 * build for CUDA, which brings gigabytes along, PyTorch is not measured; PIP_FIND_LINKS or PIP_EXTRA_INDEX_URL can name a
 * place that has the other one.
 */
const PACKAGES = { torch: ["torch==2.13.0+cpu", "numpy"], jax: ["jax==0.10.2", "numpy"] } as const;

/** Makes the environment, where it is not there; the Python in it, or one sentence on why there is none. */
export async function preparePeers(say: (text: string) => void): Promise<{ python?: string; why: string }> {
  const python = `${venv}/bin/python`;
  if (await succeeds([python, "-c", "import torch, jax"])) return { python, why: "" };
  say("Setting up .venv-bench with PyTorch 2.13 (CPU) and JAX 0.10.2: about 1,500 MB");
  if (!await succeeds(["python3", "-m", "venv", venv])) {
    return { why: "no python3 with venv made the environment .venv-bench" };
  }
  for (const peer of peers) {
    const start = performance.now();
    const made = await succeeds([`${venv}/bin/pip`, "install", "--quiet", ...PACKAGES[peer]]);
    const seconds = ((performance.now() - start) / 1000).toFixed(1);
    say(
      `  ${PACKAGES[peer].join(", ")}: ${made ? `${await megabytes(venv)} MB so far` : "cannot be had"}, ${seconds} s`,
    );
  }
  return await succeeds([python, "-c", "import numpy"])
    ? { python, why: "" }
    : { why: "pip installed none of the peers into .venv-bench" };
}

async function succeeds([program, ...args]: string[]): Promise<boolean> {
  try {
    const { success } = await new Deno.Command(program, { args, stdin: "null", stdout: "null", stderr: "null" })
      .output();
    return success;
  } catch {
    return false;
  }
}

async function megabytes(folder: string): Promise<number> {
  const { stdout } = await new Deno.Command("du", { args: ["-sm", folder], stderr: "null" }).output();
  return parseInt(new TextDecoder().decode(stdout), 10);
}

/** As for our own code, see tests/golden/README.md. */
const TOLERANCE = 1e-4;

/** For each golden case of these workloads and each peer ("vit.forward torch"), whether the peer reproduces it. */
export async function goldenOfPeers(
  names: readonly WorkloadName[],
  python: string,
  threads: number,
): Promise<Map<string, boolean>> {
  const results = new Map<string, boolean>();
  for (const area of areaNames) {
    const own = names.filter((name) => areaOf(name) === area).map(workload);
    for (const peer of peers) {
      const asked = own.filter(({ systems }) => !systems || systems.includes(peer)).map(({ golden }) => golden);
      const cases = areas[area].golden.filter(({ name }) => asked.includes(name)).flatMap(casesOf);
      if (!cases.length) continue;
      const outputs = await goldenOutputs(peer, area, cases.map(({ message }) => message), { threads, python });
      if (typeof outputs === "string") continue; // it is not there; its rows say so
      cases.forEach(({ name, expected }, i) => {
        const key = `${name} ${peer}`;
        results.set(key, (results.get(key) ?? true) && isClose(outputs[i], expected));
      });
    }
  }
  return results;
}

function casesOf({ file, name, output, which, asked }: GoldenCases) {
  const all = JSON.parse(Deno.readTextFileSync(`${root}tests/golden/${file}`)).cases as GoldenCase[];
  return all.filter((one) => one.name === name && (which?.(one) ?? true)).map((one) => ({
    name,
    expected: one.outputs[output],
    message: asked?.(one, all) ?? { name, params: one.params, inputs: one.inputs },
  }));
}

function isClose(actual: unknown, expected: unknown): boolean {
  if (Array.isArray(expected)) {
    return Array.isArray(actual) && actual.length === expected.length &&
      expected.every((entry, i) => isClose(actual[i], entry));
  }
  return Math.abs((actual as number) - (expected as number)) <= TOLERANCE * (1 + Math.abs(expected as number));
}
