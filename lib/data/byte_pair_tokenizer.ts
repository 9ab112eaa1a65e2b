/**
 * The tokenizer of llama2.c: pieces of text with a score each; the adjacent pair whose joined piece scores best is joined
 * until no pair can be.
 *
 * Byte pair encoding: Sennrich, Haddow and Birch, ACL 2016, arXiv:1508.07909, section 3.2, in the form of SentencePiece
 * (Kudo and Richardson, EMNLP 2018, arXiv:1808.06226): a space before the text, bytes for characters without a piece.
 *
 * @module
 */

/** Text to tokens and back. */
export interface BytePairTokenizer {
  /** The token that every text begins with. */
  readonly begin: number;
  /** The token that ends a text. */
  readonly end: number;
  /** How each token reads. */
  readonly pieces: readonly string[];
  /** Tokens of a text, without `begin`. */
  encode(text: string): number[];
  /**
   * The same with their places: token i reads `text.slice(starts[i], ends[i])`. The tokens of a character that is written in
   * bytes stand at its end, but for the first one, which has it.
   */
  tokenize(text: string): { ids: Int32Array; starts: Int32Array; ends: Int32Array };
  /** Text of tokens; `begin` and `end` are left out. The space that `encode` puts before a text stays. */
  decode(tokens: readonly number[]): string;
}

/** Ids 0 to 2 are unknown, begin and end; from 3 on the 256 bytes. */
const BEGIN = 1, END = 2, FIRST_BYTE = 3, FIRST_PIECE = FIRST_BYTE + 256;

/**
 * Reads a tokenizer from llama2.c's file: the longest piece's length (int32); for each token its score (float32), its
 * length (int32) and its bytes.
 *
 * @throws {Error} If the file ends before all tokens are read, or goes on behind them.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * assert.throws(() => bytePairTokenizer(new Uint8Array(4), 512), /ends within token 0 of 512/);
 * ```
 */
export function bytePairTokenizer(file: Uint8Array, vocabulary: number): BytePairTokenizer {
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
  const bytes: Uint8Array[] = [];
  const scores: number[] = [];
  const pieces: string[] = [];
  let at = 4;
  for (let token = 0; token < vocabulary; token++) {
    const length = at + 8 <= file.length ? view.getInt32(at + 4, true) : Infinity;
    if (at + 8 + length > file.length) {
      throw new Error(
        `the tokenizer's file ends within token ${token} of ${vocabulary}; pass the size it was made for`,
      );
    }
    scores.push(view.getFloat32(at, true));
    const piece = file.slice(at + 8, at + 8 + length);
    pieces.push(new TextDecoder().decode(piece));
    bytes.push(token >= FIRST_BYTE && token < FIRST_PIECE ? Uint8Array.of(token - FIRST_BYTE) : piece);
    at += 8 + length;
  }
  if (at !== file.length) {
    throw new Error(
      `the tokenizer's file goes on for ${file.length - at} bytes behind token ${vocabulary - 1}; ` +
        "pass the size it was made for",
    );
  }
  const byPiece = new Map(pieces.slice(FIRST_PIECE).map((piece, i) => [piece, FIRST_PIECE + i]));
  const join = (text: string): number[] => {
    const tokens = [...text].flatMap((character) => {
      const known = byPiece.get(character);
      return known !== undefined ? [known] : [...new TextEncoder().encode(character)].map((byte) => byte + FIRST_BYTE);
    });
    for (;;) {
      let best = -Infinity, place = -1, joined = -1;
      for (let i = 0; i + 1 < tokens.length; i++) {
        const pair = byPiece.get(pieces[tokens[i]] + pieces[tokens[i + 1]]);
        if (pair !== undefined && scores[pair] > best) [best, place, joined] = [scores[pair], i, pair];
      }
      if (place < 0) return tokens;
      tokens.splice(place, 2, joined);
    }
  };
  // no piece reaches into another word, so words are joined each by itself; a word that has been seen is known
  const byWord = !pieces.slice(FIRST_PIECE).some((piece) => piece.lastIndexOf(" ") > 0);
  const known = new Map<string, { ids: number[]; lengths: number[] }>();
  const read = (word: string) => {
    const found = known.get(word);
    if (found) return found;
    const ids = join(word);
    let left = 0, rest = word;
    const lengths = ids.map((id) => {
      if (id >= FIRST_PIECE) {
        rest = rest.slice(pieces[id].length);
        return pieces[id].length;
      }
      if (left > 0) return left--, 0;
      const [character] = rest; // its first byte; the others follow
      left = new TextEncoder().encode(character).length - 1;
      rest = rest.slice(character.length);
      return character.length;
    });
    if (known.size > 50_000) known.clear();
    known.set(word, { ids, lengths });
    return { ids, lengths };
  };
  const wordsOf = (text: string) => byWord ? ` ${text}`.match(/ [^ ]*|[^ ]+/g)! : [` ${text}`];
  const encode = (text: string): number[] => text === "" ? [] : wordsOf(text).flatMap((word) => read(word).ids);
  const tokenize = (text: string) => {
    const words = text === "" ? [] : wordsOf(text).map(read);
    const ids = Int32Array.from(words.flatMap((word) => word.ids));
    let end = -1; // the space that is put before a text is not one of its characters
    const ends = Int32Array.from(words.flatMap((word) => word.lengths), (length) => end += length);
    return { ids, starts: Int32Array.from(ends, (_, i) => i ? ends[i - 1] : 0), ends };
  };
  const decode = (tokens: readonly number[]): string => {
    const read = tokens.filter((token) => token !== BEGIN && token !== END).flatMap((token) => {
      if (bytes[token] === undefined) {
        throw new RangeError(`a token lies in 0 to ${vocabulary - 1}, but one is ${token}; pass what the model gave`);
      }
      return [...bytes[token]];
    });
    return new TextDecoder().decode(Uint8Array.from(read));
  };
  return { begin: BEGIN, end: END, pieces, encode, tokenize, decode };
}
