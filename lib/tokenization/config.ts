/**
 * What makes one MedTok differ from another, and three presets of it.
 *
 * `paper` reads the equations of Su et al., ICML 2025, arXiv:2502.04397, cleanly: three regions that do not mix, the KL term
 * on. `repo` is what the authors' code does: shared slots search the whole codebook, no KL term, alignment of the encoders'
 * features. `lite` is `paper` at a size that trains on a CPU in a minute.
 *
 * @module
 */
import type { Slot } from "./codebook.ts";
import type { Reading } from "./cross_attention.ts";

/** Names of the presets. */
export type PresetName = "paper" | "repo" | "lite";

/** All that a MedTok is made with. Letters are the paper's. */
export interface MedTokConfig {
  readonly preset: PresetName;
  /** Rows of the codebook. The paper: 12,000 for in-patient, 24,000 for out-patient use; the code: 21,000. */
  readonly N: number;
  /** Codewords per slot. Not in the paper; in the code 5. */
  readonly K: number;
  /** Channels of a codeword. */
  readonly d: number;
  /** Channels of the text encoder's states. */
  readonly textDim: number;
  /** Tokens of a text, the first for the whole of it. What is longer is cut. */
  readonly textLength: number;
  /** Channels of a node's learned vector, and inside the graph encoder. */
  readonly graphIn: number;
  readonly graphHidden: number;
  /** Rows of the table of nodes: the knowledge graph's nodes, one for unknown nodes, one for "no graph". */
  readonly nodeRows: number;
  /** Nodes of a subgraph at most. */
  readonly maxNodes: number;
  readonly heads: number;
  /** Layers of the cross-attention. */
  readonly xLayers: number;
  /** Rate of dropout: of text states, which makes the augmented view, and in the cross-attention. */
  readonly dropout: number;
  /** Probability that a directed edge is left out of the augmented view. */
  readonly edgeDrop: number;
  /** τ, temperature of InfoNCE. */
  readonly tau: number;
  /** β, weight of the alignment; λ, weight of the orthogonality. 0.1 for in-patient, 0.01 for out-patient use. */
  readonly beta: number;
  readonly lambda: number;
  /** Weight of the commitment beside the codebook loss. */
  readonly betaCommit: number;
  readonly klWeight: number;
  readonly klTemperature: number;
  /** Weights of the shared and of the specific packing loss: 0 leaves it out. Default: 1. */
  readonly sharedWeight: number;
  readonly specificWeight: number;
  /** Where shared slots look: in the middle region, or in all rows. */
  readonly sharedRows: "middle" | "all";
  /** What is aligned: the encoders' pooled features, or the shared embeddings. */
  readonly alignOn: "features" | "shared";
  readonly commitOn: "raw" | "normalized";
  readonly detachWeights: boolean;
  /** Rows that compete in InfoNCE; a batch that is smaller competes as a whole. */
  readonly nceGroup: number;
  /** Whether codes with equal subgraphs are no negatives of each other. */
  readonly nceMaskDuplicates: boolean;
  /** Who reads whom in the cross-attention. Other than "both": an ablation. */
  readonly crossAttention: Reading;
  /** Other than "both": an ablation with the specific slot of one modality alone. */
  readonly modality: "both" | "text" | "graph";
  readonly batch: number;
  readonly steps: number;
  readonly lr: number;
  /** Largest norm of the gradients together. */
  readonly clip: number;
  readonly seed: number;
}

const paper: MedTokConfig = {
  preset: "paper",
  N: 12_000,
  K: 5,
  d: 64,
  textDim: 768,
  textLength: 512,
  graphIn: 64,
  graphHidden: 128,
  nodeRows: 130_000,
  maxNodes: 64,
  heads: 4,
  xLayers: 2,
  dropout: 0.1,
  edgeDrop: 0.1,
  tau: 0.07,
  beta: 0.1,
  lambda: 0.1,
  betaCommit: 0.25,
  klWeight: 1,
  klTemperature: 1,
  sharedWeight: 1,
  specificWeight: 1,
  sharedRows: "middle",
  alignOn: "shared",
  commitOn: "raw",
  detachWeights: false,
  nceGroup: 256,
  nceMaskDuplicates: false,
  crossAttention: "both",
  modality: "both",
  batch: 1024,
  steps: 3000,
  lr: 1e-4,
  clip: 1,
  seed: 0,
};

/** The presets. */
export const presets: Readonly<Record<PresetName, MedTokConfig>> = {
  paper,
  repo: { ...paper, preset: "repo", N: 21_000, klWeight: 0, sharedRows: "all", alignOn: "features" },
  lite: {
    ...paper,
    preset: "lite",
    N: 360,
    textDim: 96,
    textLength: 8,
    nodeRows: 612,
    maxNodes: 24,
    // the anchors of the prototype were made with the code's alignment
    alignOn: "features",
    nceMaskDuplicates: true,
    batch: 256,
    steps: 900,
    lr: 1e-3,
  },
};

/**
 * A configuration: a preset, and what is to be different.
 *
 * @throws {RangeError} Where a number makes no sense, in one sentence.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * const config = medtokConfig("lite", { K: 3 });
 * assert.deepEqual([config.N, config.K], [360, 3]);
 * assert.throws(() => medtokConfig("lite", { K: 500 }), /K must be .* from 1 to 120/);
 * ```
 */
export function medtokConfig(preset: PresetName, changes: Partial<Omit<MedTokConfig, "preset">> = {}): MedTokConfig {
  if (!Object.hasOwn(presets, preset)) {
    throw new RangeError(
      `there is no preset named ${JSON.stringify(preset)}; choose one of ${Object.keys(presets).join(", ")}`,
    );
  }
  const unknown = Object.keys(changes).find((key) => !Object.hasOwn(presets[preset], key));
  if (unknown !== undefined) {
    throw new RangeError(`a MedTok has no setting ${unknown}; its settings are ${Object.keys(paper).join(", ")}`);
  }
  const config: MedTokConfig = { ...presets[preset], ...changes, preset };
  const whole = (name: keyof MedTokConfig, least: number, most = Infinity, why = "") => {
    const value = config[name];
    if (!Number.isInteger(value) || (value as number) < least || (value as number) > most) {
      const range = most === Infinity ? `from ${least}` : `from ${least} to ${most}`;
      throw new RangeError(`${name} must be a whole number ${range}${why}, but it is ${value}`);
    }
  };
  whole("N", 3);
  whole("K", 1, Math.floor(config.N / 3), ", the rows of a region");
  for (const name of ["d", "textDim", "textLength", "graphIn", "graphHidden", "maxNodes", "heads"] as const) {
    whole(name, 1);
  }
  for (const name of ["xLayers", "nceGroup", "batch", "steps"] as const) whole(name, 1);
  whole("nodeRows", 2);
  if (config.d % config.heads !== 0) {
    throw new RangeError(`heads must divide d, but ${config.d} / ${config.heads} is not whole; change heads`);
  }
  if (config.batch > config.nceGroup && config.batch % config.nceGroup !== 0) {
    throw new RangeError(
      `a batch of ${config.batch} is no whole number of groups of ${config.nceGroup}; change batch or nceGroup`,
    );
  }
  for (const name of ["dropout", "edgeDrop"] as const) {
    if (!(config[name] >= 0 && config[name] < 1)) {
      throw new RangeError(`${name} must lie in [0, 1), but it is ${config[name]}`);
    }
  }
  for (const name of ["tau", "klTemperature", "lr", "clip"] as const) {
    if (!(config[name] > 0)) throw new RangeError(`${name} must be above 0, but it is ${config[name]}`);
  }
  return Object.freeze(config);
}

/**
 * The slots that a configuration has: four, or one where a modality is left out.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * assert.deepEqual(slotsOf(medtokConfig("lite", { modality: "graph" })), ["graphSpecific"]);
 * ```
 */
export function slotsOf({ modality }: Pick<MedTokConfig, "modality">): readonly Slot[] {
  if (modality === "text") return ["textSpecific"];
  if (modality === "graph") return ["graphSpecific"];
  return ["textSpecific", "graphSpecific", "textShared", "graphShared"];
}
