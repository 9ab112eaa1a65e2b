/**
 * tiny-ssm: the weights of a state-space model that remembers registers (`registers`), with the numbers that it must give.
 * The model itself: experiments/tiny_ssm/models/tiny_ssm.ts.
 *
 * Trained for this project; data/tiny-ssm/SOURCE.md says how.
 *
 * @module
 */
import { readDataFile, remember, sha256 } from "./files.ts";
import type { NumericArray } from "./numeric_array.ts";
import { parseSafetensors } from "./safetensors.ts";

/** Shares of right answers with some of the tokens left. */
export interface TinySSMArms {
  /** What is left runs as if nothing else had been there. */
  readonly naive: number;
  /** The state decays over what has gone. */
  readonly aware: number;
}

/** What training gave: data/tiny-ssm/training.json. */
export interface TinySSMTraining {
  /** What everything random came from. */
  readonly seed: number;
  /** Seed of the test texts. */
  readonly testSeed: number;
  readonly testTexts: number;
  readonly steps: number;
  readonly seconds: number;
  readonly backend: string;
  /** Share of right answers about the test texts. */
  readonly accuracy: number;
  /** The same with half of the tokens gone before the second block: a random half, or none that an answer needs. */
  readonly half: { readonly random: TinySSMArms; readonly needed: TinySSMArms; readonly positiveSum: TinySSMArms };
  /** Half of the tokens gone before the second block: the less important half has joined the more important one. */
  readonly torSsm: number;
  /** Logits of the first test text's first answer. */
  readonly firstLogits: readonly number[];
  /** Loss and accuracy along the way. */
  readonly log: readonly { readonly step: number; readonly loss: number; readonly accuracy: number }[];
}

/** The trained weights. */
export interface TinySSMWeights {
  readonly tensors: Map<string, NumericArray>;
  readonly training: TinySSMTraining;
  readonly source: string;
  readonly license: string;
  /** SHA-256 of the weights' file. */
  readonly hash: string;
}

const read = remember(async (file: string): Promise<TinySSMWeights> => {
  const bytes = await readDataFile(file);
  const training = JSON.parse(new TextDecoder().decode(await readDataFile("tiny-ssm/training.json")));
  return {
    tensors: parseSafetensors(bytes, `data/${file}`).tensors,
    training,
    source: "trained for this project (data/tiny-ssm/SOURCE.md)",
    license: "free to use",
    hash: sha256(bytes),
  };
});

/**
 * The trained weights; read at the first call, the same at later ones. A missing file is an error that says so.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * const { tensors, training } = await tinySSM.load();
 * assert.deepEqual(tensors.get("blocks.0.logA")?.shape, [64, 8]);
 * assert.ok(training.accuracy >= 0.9);
 * ```
 */
export const tinySSM: { load(): Promise<TinySSMWeights> } = { load: () => read("tiny-ssm/weights.safetensors") };
