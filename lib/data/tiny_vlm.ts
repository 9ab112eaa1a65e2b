/**
 * tiny-vlm: the weights of a vision-language model of 204,000 parameters, trained on simulated images and questions, with
 * the numbers that it must give. The model itself: experiments/vlm/models/tiny_vlm.ts.
 *
 * Trained for this project; data/tiny-vlm/SOURCE.md says how.
 *
 * @module
 */
import { readDataFile, remember, sha256 } from "./files.ts";
import type { NumericArray } from "./numeric_array.ts";
import { parseSafetensors } from "./safetensors.ts";

/** What training gave: data/tiny-vlm/training.json. */
export interface TinyVLMTraining {
  /** What everything random came from. */
  readonly seed: number;
  /** Seed of the test images. */
  readonly testSeed: number;
  readonly testImages: number;
  readonly steps: number;
  readonly seconds: number;
  readonly backend: string;
  /** Share of right answers on the test images, by kind of question. */
  readonly accuracy: { readonly colour: number; readonly half: number; readonly twin: number };
  /** The same with 16 of 64 image tokens left, chosen at random before the first block. */
  readonly random16: { readonly colour: number; readonly half: number; readonly twin: number };
  /** Logits of the first test image's twelve questions, [12, words]. */
  readonly firstLogits: readonly (readonly number[])[];
  /** Loss and test accuracy along the way. */
  readonly log: readonly {
    readonly step: number;
    readonly loss: number;
    readonly colour: number;
    readonly half: number;
    readonly twin: number;
    readonly agreement: number;
  }[];
}

/** The trained weights. */
export interface TinyVLMWeights {
  readonly tensors: Map<string, NumericArray>;
  readonly training: TinyVLMTraining;
  readonly source: string;
  readonly license: string;
  /** SHA-256 of the weights' file. */
  readonly hash: string;
}

const read = remember(async (file: string): Promise<TinyVLMWeights> => {
  const bytes = await readDataFile(file);
  const training = JSON.parse(new TextDecoder().decode(await readDataFile("tiny-vlm/training.json")));
  return {
    tensors: parseSafetensors(bytes, `data/${file}`).tensors,
    training,
    source: "trained for this project (data/tiny-vlm/SOURCE.md)",
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
 * const { tensors, training } = await tinyVLM.load();
 * assert.deepEqual(tensors.get("projector.weight")?.shape, [64, 16]);
 * assert.ok(Math.min(...Object.values(training.accuracy)) > 0.95);
 * ```
 */
export const tinyVLM: { load(): Promise<TinyVLMWeights> } = { load: () => read("tiny-vlm/weights.safetensors") };
