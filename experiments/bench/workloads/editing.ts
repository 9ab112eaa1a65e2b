/**
 * Workloads of `editing`: CLEF's training step, its inference, and generation at a near and at a far horizon.
 *
 * @module
 */
import { presets } from "tessera/editing/mod.ts";
import { type CLEFConfig, clefSpec } from "tessera/editing/clef.ts";
import type { GoldenCases, Parameter, Workload } from "../workload.ts";

/** What a worker of this area is told to do; histories have one record a day. */
export type Job = {
  readonly kind: "clef_step" | "clef_generate";
  readonly batch: number;
  /** Days from the last record to the target. */
  readonly days: number;
  readonly config: CLEFConfig & { readonly encoder: { readonly kind: "transformer" } };
};

/** How the area is called on the page. */
export const title = "Editing";

const VARIABLES = 50;
const RECORDS = 50;
/** The authors' width of a diagnosis. */
const CONDITION = 128;
/** Ten channels each; the authors' four and six do not divide 50. */
const HEADS = 5;

/** The authors' configuration for patients; the feed-forward layers are as wide as the model, as everything in it. */
function configOf(layers: number) {
  const encoder = { kind: "transformer", heads: HEADS, layers } as const;
  return { ...presets.repo({ variables: VARIABLES, conditionWidth: CONDITION, records: RECORDS, encoder }), encoder };
}

/** CLEF's parameters under the authors' names. */
function parametersOf(config: CLEFConfig): Parameter[] {
  return Object.entries(clefSpec(config)).map(([name, { shape }]) => {
    if (name.includes("embed_")) return { name, shape, scale: 1, offset: 0 };
    const [, inputs] = shape;
    if (inputs === undefined) return { name, shape, scale: 0.1, offset: Number(name.endsWith("weight")) };
    return { name, shape, scale: Math.sqrt(3 / inputs), offset: 0 };
  });
}

/** Multiplications and additions of one run forward. */
function flopsOf(batch: number, layers: number): number {
  const square = VARIABLES * VARIABLES;
  const layer = RECORDS * (6 * square + 2 * RECORDS * VARIABLES); // four projections, two layers, two products of attention
  return 2 * batch * (layers * layer + 4 * square + CONDITION * VARIABLES);
}

const shared = {
  systems: ["xla", "graph", "torch"],
  golden: "clef.model_forward",
} as const;

function step(layers: number): Workload<Job> {
  const config = configOf(layers);
  return {
    ...shared,
    title: `CLEF training step: ${layers} layers, ${HEADS} heads, 50 records of 50 variables, batch 32, dropout, Adam`,
    job: { kind: "clef_step", batch: 32, days: 1, config },
    ours: "graph", // takes less time than XLA here, and is made in a second
    goal: 2,
    flops: 3 * flopsOf(32, layers), // each product of the forward pass has two in the backward pass
    parameters: parametersOf(config),
  };
}

function generation(title: string, batch: number, days: number): Workload<Job> {
  const config = configOf(8);
  return {
    ...shared,
    title,
    job: { kind: "clef_generate", batch, days, config },
    ours: "xla",
    goal: 1.5,
    flops: flopsOf(batch, 8),
    parameters: parametersOf(config),
  };
}

/** The area's workloads under their names. */
export const workloads = {
  clef_step_8: step(8),
  clef_step_2: step(2),
  clef_forward_8: generation("CLEF inference: 8 layers, 50 records of 50 variables, batch 32", 32, 1),
  clef_delayed_1: generation("CLEF, one history of 50 records: the state 1 day ahead, in one call", 1, 1),
  clef_delayed_30: generation("CLEF, one history of 50 records: the state 30 days ahead, in one call", 1, 30),
} as const satisfies Readonly<Record<string, Workload<Job>>>;

/** What the area's peers have to reproduce: the authors' states, one of them from a history with an empty record. */
export const golden: readonly GoldenCases[] = [{
  file: "whole_models.json",
  name: "clef.model_forward",
  output: "x_next",
  which: ({ params }) => params.nconcepts !== 0 && params.condition === true && params.concept_ones === false,
}];
