/**
 * tiny-keep: the weights of a classifier that says of each token of a story whether it should stay, with what it reached. The
 * model itself: lib/reduction/keep_classifier.ts.
 *
 * Trained for this project; data/tiny-keep/SOURCE.md says how.
 *
 * @module
 */
import { readDataFile, remember, sha256 } from "./files.ts";
import type { NumericArray } from "./numeric_array.ts";
import { parseSafetensors } from "./safetensors.ts";

/** What training gave: data/tiny-keep/training.json. */
export interface TinyKeepTraining {
  /** What everything random came from. */
  readonly seed: number;
  readonly steps: number;
  readonly seconds: number;
  readonly backend: string;
  /** Stories that were learned from, and others that it was tested on. */
  readonly trainStories: number;
  readonly testStories: number;
  /** How well it tells words that stay from words that go, on the test stories: area under the ROC curve. */
  readonly auroc: number;
  /** The same of a table that knows how often each token's words stayed in the training stories. */
  readonly aurocByToken: number;
  /** Loss and AUROC along the way. */
  readonly log: readonly { readonly step: number; readonly loss: number; readonly auroc: number }[];
}

/** The trained weights. */
export interface TinyKeepWeights {
  readonly tensors: Map<string, NumericArray>;
  readonly training: TinyKeepTraining;
  readonly source: string;
  readonly license: string;
  /** SHA-256 of the weights' file. */
  readonly hash: string;
}

const read = remember(async (file: string): Promise<TinyKeepWeights> => {
  const bytes = await readDataFile(file);
  const training = JSON.parse(new TextDecoder().decode(await readDataFile("tiny-keep/training.json")));
  return {
    tensors: parseSafetensors(bytes, `data/${file}`).tensors,
    training,
    source: "trained for this project (data/tiny-keep/SOURCE.md)",
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
 * const { tensors, training } = await tinyKeep.load();
 * assert.deepEqual(tensors.get("head.weight")?.shape, [1, 64]);
 * assert.ok(training.auroc > training.aurocByToken);
 * ```
 */
export const tinyKeep: { load(): Promise<TinyKeepWeights> } = { load: () => read("tiny-keep/weights.safetensors") };
