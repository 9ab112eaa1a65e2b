/**
 * Tiny Shakespeare: a million characters of plays, the text on which small language models have been trained ever since.
 *
 * Karpathy, "The Unreasonable Effectiveness of Recurrent Neural Networks", 2015; data/tinyshakespeare/SOURCE.md.
 *
 * @module
 */
import { readDataFile, remember, sha256 } from "./files.ts";

/** The plays. */
export interface Shakespeare {
  /** 1,115,394 characters: speeches below the name of who speaks, an empty line between them. */
  readonly text: string;
  readonly source: string;
  readonly license: string;
  /** SHA-256 of the file. */
  readonly hash: string;
}

const load = remember(async (_: "all"): Promise<Shakespeare> => {
  const bytes = await readDataFile("tinyshakespeare/input.txt");
  return {
    text: new TextDecoder().decode(bytes),
    source: "William Shakespeare, as Tiny Shakespeare (data/tinyshakespeare/SOURCE.md)",
    license: "public domain",
    hash: sha256(bytes),
  };
});

/**
 * The plays; read at the first call, the same at later ones. A missing file is an error that says so.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * const { text } = await shakespeare.load();
 * assert.equal(text.length, 1_115_394);
 * assert.equal(text.slice(0, 14), "First Citizen:");
 * ```
 */
export const shakespeare: { load(): Promise<Shakespeare> } = { load: () => load("all") };
