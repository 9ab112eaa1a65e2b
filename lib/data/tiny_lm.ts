/**
 * tiny-lm: the weights of a Llama of 107,000 parameters that finds hidden facts again (`hiddenFacts`), with the numbers that
 * it must give. Small enough to look into, and it is known which tokens of a text its answers need.
 *
 * Trained for this project; data/tiny-lm/SOURCE.md says how.
 *
 * @module
 */
import { readDataFile, remember, sha256 } from "./files.ts";
import type { NumericArray } from "./numeric_array.ts";
import { parseSafetensors } from "./safetensors.ts";
import { hiddenFacts } from "./simulated/hidden_facts.ts";

/** The sizes of the model, as `Llama` of `lib/nn` takes them. */
export interface TinyLMConfig {
  readonly vocabulary: number;
  readonly width: number;
  readonly depth: number;
  readonly heads: number;
  readonly keyHeads: number;
  readonly mlpWidth: number;
  readonly context: number;
}

/** What training gave: data/tiny-lm/training.json. */
export interface TinyLMTraining {
  readonly config: TinyLMConfig;
  /** What everything random came from. */
  readonly seed: number;
  /** Seed of the test texts. */
  readonly testSeed: number;
  readonly testTexts: number;
  readonly steps: number;
  readonly seconds: number;
  readonly backend: string;
  /** Share of right answers about the test texts of 96 tokens with ten facts, everything in sight. */
  readonly recall: number;
  /** The same for texts of other lengths. */
  readonly recallByLength: Readonly<Record<string, number>>;
  /** The same for facts in the first fifth of a text, ... the last. */
  readonly recallByDepth: readonly number[];
  /** The same where half of the text's tokens, drawn at random, cannot be looked at by the questions. */
  readonly randomHalf: number;
  /** Who knows which things a text names, and guesses one of them, is right so often. */
  readonly chance: number;
  /** Logits of the first test text's first answer. */
  readonly firstLogits: readonly number[];
  /** Loss and recall along the way. */
  readonly log: readonly { readonly step: number; readonly loss: number; readonly recall: number }[];
}

/** The trained weights, and words to tokens and back. */
export interface TinyLMWeights {
  readonly config: TinyLMConfig;
  /** Under Hugging Face's names. */
  readonly tensors: Map<string, NumericArray>;
  /** Words with a space between two; <start> begins a text. */
  readonly tokenizer: {
    readonly begin: number;
    encode(text: string): number[];
    decode(tokens: readonly number[]): string;
  };
  readonly training: TinyLMTraining;
  readonly source: string;
  readonly license: string;
  /** SHA-256 of the weights' file. */
  readonly hash: string;
}

const read = remember(async (file: string): Promise<TinyLMWeights> => {
  const bytes = await readDataFile(file);
  const training: TinyLMTraining = JSON.parse(new TextDecoder().decode(await readDataFile("tiny-lm/training.json")));
  const { words } = hiddenFacts({ texts: 1, seed: 0 });
  const tokenOf = new Map(words.map((word, token) => [word, token]));
  return {
    config: training.config,
    tensors: parseSafetensors(bytes, `data/${file}`).tensors,
    tokenizer: {
      begin: 0,
      encode: (text) =>
        text.split(/\s+/).filter(Boolean).map((word) => {
          const token = tokenOf.get(word);
          if (token !== undefined) return token;
          throw new RangeError(`${word} is not among the ${words.length} words of tiny-lm; use those of hiddenFacts()`);
        }),
      decode: (tokens) => tokens.filter((token) => token !== 0).map((token) => words[token]).join(" "),
    },
    training,
    source: "trained for this project (data/tiny-lm/SOURCE.md)",
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
 * const { config, training, tokenizer } = await tinyLM.load();
 * assert.equal(config.vocabulary, 64);
 * assert.ok(training.recall >= 0.9);
 * assert.equal(tokenizer.decode(tokenizer.encode("? anna lamp")), "? anna lamp");
 * ```
 */
export const tinyLM: { load(): Promise<TinyLMWeights> } = { load: () => read("tiny-lm/weights.safetensors") };
