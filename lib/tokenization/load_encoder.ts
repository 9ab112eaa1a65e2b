/**
 * Text encoders from the files that their `save` has written, whichever kind they are.
 *
 * @module
 */
import { readSafetensors } from "../data/mod.ts";
import { type DescriptionEncoder, loadLSA, vectorsFromFile, wordVectors } from "./text_encoder.ts";
import { loadWordPieceTransformer } from "./wordpiece_transformer.ts";

/**
 * Reads a text encoder: TF-IDF and SVD, a word-piece transformer, vectors of a file, or random word vectors.
 *
 * @throws {Error} Where the file holds none.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { wordVectors } from "tessera/tokenization/mod.ts";
 * const file = await Deno.makeTempFile({ suffix: ".safetensors" });
 * const encoder = wordVectors({ dim: 4, seed: 7 });
 * await encoder.save!(file);
 * const code = [{ system: "A", code: "1", description: "acute cough" }];
 * assert.deepEqual((await loadEncoder(file)).encode(code, 3), encoder.encode(code, 3));
 * await Deno.remove(file);
 * ```
 */
export async function loadEncoder(file: string | URL): Promise<DescriptionEncoder> {
  const { metadata } = await readSafetensors(file);
  switch (metadata.encoder) {
    case "lsa":
      return loadLSA(file);
    case "word pieces":
      return loadWordPieceTransformer(file);
    case "vectors":
      return vectorsFromFile(file, { name: metadata.name });
    case "words":
      return wordVectors({ dim: Number(metadata.dim), seed: Number(metadata.seed) });
    default:
      throw new Error(`${file} holds no text encoder; pass a file that an encoder's save() has written`);
  }
}
