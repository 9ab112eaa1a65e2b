/**
 * The peers: an environment of their own with PyTorch and JAX, made on demand, and the golden cases that each has to
 * reproduce before its times count.
 *
 * @module
 */
import { fileURLToPath } from "node:url";
import { goldenOutputs } from "./contest.ts";
import { peers } from "./workloads.ts";

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

interface GoldenCase {
  readonly name: string;
  readonly params: Record<string, unknown>;
  readonly inputs: Record<string, unknown>;
  readonly outputs: Record<string, unknown>;
}

/** Below `tests/golden/`: where the cases are, and which of their outputs the peers give. */
const CASES = [
  { file: "reduction.json", name: "tome.bipartite_soft_matching", output: "merged_weighted" },
  { file: "whole_models.json", name: "vit.forward", output: "logits" },
  { file: "whole_models.json", name: "vit_tome.forward", output: "logits" },
  { file: "whole_models.json", name: "vit_evit.forward", output: "logits" },
] as const;

/** As for our own code, see tests/golden/README.md. */
const TOLERANCE = 1e-4;

/** For each golden case and peer ("vit.forward torch"), whether the peer reproduces it. */
export async function goldenOfPeers(python: string, threads: number): Promise<Map<string, boolean>> {
  const results = new Map<string, boolean>();
  const chosen = CASES.flatMap(({ file, name, output }) => {
    const all = JSON.parse(Deno.readTextFileSync(`${root}tests/golden/${file}`)).cases as GoldenCase[];
    const shared = all.find((entry) => entry.name === "shared.vit_weights");
    return all.filter((entry) => entry.name === name && !entry.params.distill_token)
      .map((entry) => ({ name, expected: entry.outputs[output], message: forPeer(entry, shared) }));
  });
  for (const peer of peers) {
    const outputs = await goldenOutputs(peer, chosen.map(({ message }) => message), { threads, python });
    if (typeof outputs === "string") continue; // it is not there; its rows say so
    chosen.forEach(({ name, expected }, i) => {
      const key = `${name} ${peer}`;
      results.set(key, (results.get(key) ?? true) && isClose(outputs[i], expected));
    });
  }
  return results;
}

/** A case in the terms of the peers' own code: sizes, tokens to merge or keep in each block. */
function forPeer({ name, params, inputs }: GoldenCase, shared: GoldenCase | undefined): object {
  if (!name.startsWith("vit")) return { name, params, inputs };
  const p = shared!.params as Record<string, number>;
  const sizes = {
    image: p.img_size,
    patch: p.patch_size,
    channels: p.in_chans,
    width: p.embed_dim,
    depth: p.depth,
    heads: p.num_heads,
    hidden: Math.trunc(p.embed_dim * p.mlp_ratio),
    classes: p.num_classes,
    epsilon: p.layer_norm_eps,
  };
  const message = { name, params, inputs, sizes, weights: shared!.inputs.weights };
  if (name === "vit_tome.forward") return { ...message, r: mergesPerBlock(params.r as number | number[], p.depth) };
  if (name === "vit_evit.forward") {
    const layers = params.reduction_loc as number[];
    const rates = params.keep_rate as number[];
    const keep = Array(p.depth).fill(0) as number[];
    layers.forEach((layer, stage) => {
      const rate = rates.length === 1 ? rates[0] ** (stage + 1) : rates[stage];
      keep[layer] = Math.trunc((params.init_n as number) * rate);
    });
    return { ...message, keep };
  }
  return message;
}

/** The authors' schedule: a number, or a number and how much earlier blocks merge more. */
function mergesPerBlock(r: number | number[], depth: number): number[] {
  if (typeof r === "number") return Array(depth).fill(r) as number[];
  const [mean, inflect] = r;
  const low = Math.trunc(mean * (1 - inflect));
  const step = (2 * mean - 2 * low) / (depth - 1);
  return Array.from({ length: depth }, (_, layer) => Math.trunc(low + step * layer));
}

function isClose(actual: unknown, expected: unknown): boolean {
  if (Array.isArray(expected)) {
    return Array.isArray(actual) && actual.length === expected.length &&
      expected.every((entry, i) => isClose(actual[i], entry));
  }
  return Math.abs((actual as number) - (expected as number)) <= TOLERANCE * (1 + Math.abs(expected as number));
}
