/**
 * Workloads of `tokenization`: MedTok's training step at the authors' sizes, and quantising many codes.
 *
 * @module
 */
import { flatten } from "tessera/tensor/mod.ts";
import { type Description, isDescription } from "tessera/nn/mod.ts";
import { type MedTokConfig, medtokConfig, medtokLayers } from "tessera/tokenization/mod.ts";
import type { GoldenCases, Parameter, Workload } from "../workload.ts";

/** What a worker of this area is told to do. */
export type Job =
  | { readonly kind: "medtok_step"; readonly batch: number; readonly config: MedTokConfig }
  | {
    readonly kind: "quantize";
    readonly count: number;
    readonly rows: number;
    readonly width: number;
    readonly K: number;
    /** Embeddings at once. */
    readonly block: number;
  };

/** How the area is called on the page. */
export const title = "Tokenization";

/** MedTok's parameters with the names that `medtokLayers` gives them. */
function medtokParameters(config: MedTokConfig): Parameter[] {
  return [...flatten<Description>(medtokLayers(config), isDescription)].map(([name, { shape }]) => {
    if (name === "nodes.weight" || name === "codebook.weight") return { name, shape, scale: 1.7, offset: 0 };
    if (name.includes(".norm.")) return { name, shape, scale: 0.1, offset: Number(name.endsWith("weight")) };
    return { name, shape, scale: Math.sqrt(3 / (shape[1] ?? 300)), offset: 0 };
  });
}

/** Forward and backward: each product of the forward pass has two in the backward pass. */
const STEP = 3;

function medtokStep(batch: number): Workload<Job> {
  const config = medtokConfig("repo", { batch });
  const { N, d, textDim, textLength, graphIn, graphHidden, maxNodes, xLayers } = config;
  const text = textLength * textDim * d;
  const graph = maxNodes * (graphIn * graphHidden + graphHidden * d) + maxNodes ** 2 * (graphHidden + d);
  // queries and what goes on of one text position and of all nodes; keys and values of both sides
  const attention = xLayers * (2 * d * d * (1 + maxNodes) + 2 * d * d * (textLength + maxNodes) +
    2 * d * maxNodes * (1 + textLength));
  const search = 2 * N * d + 4 * Math.floor(N / 3) * d;
  return {
    title: `MedTok training step, the code's sizes, batch ${batch}`,
    job: { kind: "medtok_step", batch, config },
    ours: "graph",
    systems: ["graph", "torch"],
    goal: 1.7,
    flops: 2 * batch * (STEP * (text + 2 * graph + attention) + search),
    parameters: medtokParameters(config),
    golden: "medtok.quantizer_forward",
    atMost: { rounds: 5, ms: 2000 },
  };
}

/** The area's workloads under their names. */
export const workloads = {
  medtok_step_32: medtokStep(32),
  medtok_step_256: medtokStep(256),
  medtok_quantize: {
    title: "MedTok: 10,000 codes against 21,000 codewords of 64, top 5",
    job: { kind: "quantize", count: 10_000, rows: 21_000, width: 64, K: 5, block: 500 },
    ours: "graph",
    systems: ["graph", "torch"],
    goal: 3,
    flops: 2 * 10_000 * 21_000 * 64,
    golden: "medtok.quantizer_forward",
    atMost: { rounds: 5, ms: 2000 },
  },
} as const satisfies Readonly<Record<string, Workload<Job>>>;

/** What the area's peers have to reproduce: what the quantiser makes of an embedding and of a cross-attended one. */
export const golden: readonly GoldenCases[] = ["shared_text", "shared_graph", "specific_text", "specific_graph_aug"]
  .map((
    output,
  ) => ({
    file: "whole_models.json",
    name: "medtok.quantizer_forward",
    output,
    asked: ({ name, params, inputs }) => ({ name, params, inputs, output }),
  }));
