/**
 * What is compared: the same codes of the planted world as each tokenizer gives them to a model.
 *
 * @module
 */
import { random } from "../../lib/random.ts";
import { wordsOf } from "../../lib/tokenization/mod.ts";
import type { CodeInput, TokenRows } from "./code_input.ts";
import { vqgraphVectors } from "./models/vqgraph.ts";
import { medtokSettings, medtokTable } from "./tables.ts";
import { type PlantedSplits, tokensOf, vectorsOf } from "./world.ts";

/** Names of what a code can be. */
export const inputNames = [
  "own codes",
  "description words",
  "code pieces",
  "random vectors",
  "VQGraph",
  "MedTok",
  "MedTok without graph",
  "MedTok without text",
  "MedTok, codebook loss alone",
  "MedTok, codebook, shared and KL",
  "MedTok, codebook and specific",
  "MedTok as a start",
  "MedTok tokens",
  "MedTok as a sequence",
] as const;

/** The name of what a code is to a model. */
export type InputName = (typeof inputNames)[number];

/** Pieces of texts as tokens with equal weights. */
export function bagOfPieces(pieces: readonly (readonly string[])[]): TokenRows {
  const vocabulary = [...new Set(pieces.flat())].sort();
  const place = new Map(vocabulary.map((piece, i) => [piece, i]));
  const each = Math.max(...pieces.map(({ length }) => length));
  const ids = new Int32Array(pieces.length * each), weights = new Float32Array(pieces.length * each);
  pieces.forEach((own, code) =>
    own.forEach((piece, i) => {
      ids[code * each + i] = place.get(piece)!;
      weights[code * each + i] = 1 / own.length;
    })
  );
  return { ids, weights, codes: pieces.length, each, slots: 1, vocabulary: vocabulary.length };
}

/**
 * What codes are to a model. MedTok's vectors are frozen unless the name says otherwise.
 *
 * @param steps That a MedTok is trained for; default: as many as `medtokTable` takes.
 */
export async function codeInput(
  name: InputName,
  { world }: PlantedSplits,
  seed: number,
  signal?: AbortSignal,
  steps?: number,
): Promise<CodeInput> {
  const { codes } = world.planted;
  const table = (which: keyof typeof medtokSettings) =>
    medtokTable(which, seed, {
      ...(signal ? { signal } : {}),
      ...(steps ? { steps } : {}),
    });
  switch (name) {
    case "own codes":
      return { mode: "learned", rows: codes.length };
    case "description words":
      return { mode: "tokens", tokens: bagOfPieces(codes.map(({ description }) => wordsOf(description))) };
    case "code pieces": // a letter and pairs of digits, as word pieces cut an unknown word
      return { mode: "tokens", tokens: bagOfPieces(codes.map(({ code }) => code.match(/[A-Z]|\d\d?|\./g)!)) };
    case "random vectors":
      return {
        mode: "vector",
        vectors: { data: random(seed, "random vectors").normals(codes.length * 256), rows: codes.length, width: 256 },
      };
    case "VQGraph": // a code is the node of its concept
      return {
        mode: "vector",
        vectors: await vqgraphVectors(world.graph, codes.map(({ concept }) => [concept]), { seed }),
      };
    case "MedTok as a start":
      return { mode: "init", vectors: vectorsOf(await table("MedTok")) };
    case "MedTok tokens":
      return { mode: "tokens", tokens: tokensOf(await table("MedTok")) };
    case "MedTok as a sequence":
      return { mode: "sequence", tokens: tokensOf(await table("MedTok")) };
    default:
      return { mode: "vector", vectors: vectorsOf(await table(name)) };
  }
}
