/**
 * A small transformer over word pieces, trained here on the descriptions themselves by guessing pieces that are hidden: a
 * text encoder that knows word order and parts of words, without anybody's weights.
 *
 * Devlin et al., "BERT: Pre-training of Deep Bidirectional Transformers", NAACL 2019, arXiv:1810.04805, sections 3 and A.1
 * (15 % of the pieces are guessed; of these 80 % are masked, 10 % replaced, 10 % left). Word pieces: Sennrich et al., "Neural
 * Machine Translation of Rare Words with Subword Units", ACL 2016, arXiv:1508.07909 (the most frequent pair is joined), cut
 * greedily from the left as BERT does.
 *
 * @module
 */
import {
  block,
  blockLayer,
  type BlockParameters,
  crossEntropy,
  embedding,
  embeddingLayer,
  initialise,
} from "../nn/mod.ts";
import {
  layerNorm,
  loadParameters,
  normal,
  normLayer,
  type NormParameters,
  saveParameters,
  trainable,
} from "../nn/mod.ts";
import { readSafetensors, writeSafetensors } from "../data/mod.ts";
import { type Random, random } from "../random.ts";
import { compile, flatten, foldIn, tf, tidy } from "../tensor/mod.ts";
import { adamW, type Fit, fit, trainStep } from "../train/mod.ts";
import { type DescriptionEncoder, wordsOf } from "./text_encoder.ts";

const [PAD, UNK, CLS, MASK] = [0, 1, 2, 3];
const SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[MASK]"];

/** Pieces of words; one that goes on begins with `##`. */
export interface WordPieces {
  readonly pieces: readonly string[];
  /** Numbers of the pieces of a text, without a class token. A word with an unknown letter is one `[UNK]`. */
  encode(text: string): number[];
}

/**
 * Learns word pieces: letters first, then again and again the most frequent pair of neighbours becomes one.
 *
 * @param size Pieces at most, four special ones included.
 * @throws {RangeError} Where the texts have more letters than that.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * const { pieces, encode } = wordPieces(["fever fevers fever", "never"], 20);
 * assert.deepEqual(encode("fevers").map((piece) => pieces[piece]), ["fever", "##s"]);
 * ```
 */
export function wordPieces(texts: readonly string[], size: number): WordPieces {
  const counts = new Map<string, number>();
  for (const text of texts) for (const word of wordsOf(text)) counts.set(word, (counts.get(word) ?? 0) + 1);
  const words = [...counts].map(([word, count]) => (
    { count, parts: [...word].map((letter, i) => i === 0 ? letter : `##${letter}`) }
  ));
  const letters = [...new Set(words.flatMap(({ parts }) => parts))].sort();
  const pieces = [...SPECIAL, ...letters];
  if (pieces.length > size) {
    throw new RangeError(`the texts have ${letters.length} letters, for which ${size} pieces are too few; allow more`);
  }
  while (pieces.length < size) {
    const pairs = new Map<string, number>();
    for (const { count, parts } of words) {
      for (let i = 1; i < parts.length; i++) {
        const pair = `${parts[i - 1]} ${parts[i]}`;
        pairs.set(pair, (pairs.get(pair) ?? 0) + count);
      }
    }
    let [best, most] = ["", 1];
    for (const [pair, count] of pairs) {
      if (count > most || (count === most && most > 1 && pair < best)) [best, most] = [pair, count];
    }
    if (best === "") break; // every pair that is left occurs once
    const [left, right] = best.split(" ");
    const joined = left + right.slice(2);
    for (const word of words) {
      if (!word.parts.includes(left)) continue;
      const parts: string[] = [];
      for (const part of word.parts) {
        if (part === right && parts.at(-1) === left) parts[parts.length - 1] = joined;
        else parts.push(part);
      }
      word.parts = parts;
    }
    if (!pieces.includes(joined)) pieces.push(joined);
  }
  return cutting(pieces);
}

/** Cuts words into known pieces, the longest first. */
function cutting(pieces: readonly string[]): WordPieces {
  const numbers = new Map(pieces.map((piece, i) => [piece, i]));
  const cut = (word: string): number[] => {
    const found: number[] = [];
    for (let start = 0; start < word.length;) {
      let end = word.length;
      while (end > start && !numbers.has((start > 0 ? "##" : "") + word.slice(start, end))) end--;
      if (end === start) return [UNK];
      found.push(numbers.get((start > 0 ? "##" : "") + word.slice(start, end))!);
      start = end;
    }
    return found;
  };
  return { pieces, encode: (text) => wordsOf(text).flatMap(cut) };
}

/** Options of {@link trainWordPieceTransformer}. */
export interface WordPieceTransformerOptions {
  /** Pieces. Default: 2000. */
  readonly pieces?: number;
  /** Channels of a state. Default: 96. */
  readonly width?: number;
  /** Default: 2 layers of 4 heads. */
  readonly layers?: number;
  readonly heads?: number;
  /** Pieces of a text, the class token included; what is longer is cut. Default: 32. */
  readonly length?: number;
  /** Default: 3 epochs of batches of 256 at learning rate 1e-3. */
  readonly epochs?: number;
  readonly batch?: number;
  readonly learningRate?: number;
  /** Default: 0. */
  readonly seed?: number;
  /** Default: true. */
  readonly show?: boolean;
}

/** A word-piece transformer that has been trained. */
export interface WordPieceEncoder extends DescriptionEncoder {
  readonly words: WordPieces;
  readonly parameters: object;
  /** What `loadWordPieceTransformer` reads. */
  save(file: string | URL): Promise<void>;
  /** Frees its weights. */
  dispose(): void;
}

/** A word-piece transformer that was trained just now. */
export interface WordPieceTransformer extends WordPieceEncoder {
  /** Its training: the loss is the cross-entropy of hidden pieces. */
  readonly run: Fit;
}

interface Parameters {
  readonly pieces: { readonly weight: tf.Tensor2D };
  readonly positions: { readonly weight: tf.Tensor2D };
  readonly blocks: readonly BlockParameters[];
  readonly norm: NormParameters;
}

/** Texts that are encoded at once, always as many: a text's states do not depend on what stands beside it. */
const BLOCK = 64;

/**
 * Trains a word-piece transformer on texts. As an encoder, its first state is the mean of a text's pieces (guessing pieces
 * trains no class token), the others are the pieces.
 *
 * @throws {RangeError} Where heads do not divide the width.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * const texts = ["acute fever", "acute cough", "chronic fever", "chronic cough"];
 * const encoder = await trainWordPieceTransformer(texts, {
 *   pieces: 40, width: 8, layers: 1, heads: 2, length: 8, epochs: 1, batch: 4, show: false,
 * });
 * const { mask } = encoder.encode([{ system: "A", code: "1", description: "acute fever" }], 8);
 * assert.equal(mask[0], 1);
 * encoder.dispose();
 * ```
 */
export async function trainWordPieceTransformer(
  texts: readonly string[],
  options: WordPieceTransformerOptions = {},
): Promise<WordPieceTransformer> {
  const { pieces: size = 2000, width = 96, layers = 2, heads = 4, length = 32, epochs = 3, batch = 256 } = options;
  const { learningRate = 1e-3, seed = 0, show = true } = options;
  if (width % heads !== 0) throw new RangeError(`heads must divide the width, but ${width} / ${heads} is not whole`);
  const words = wordPieces(texts, size);
  const shape = { pieces: words.pieces.length, width, layers, heads, length };
  const parameters = trainable(initialise(layersOf(shape), random(seed, "word pieces"))) as unknown as Parameters;
  const rows = texts.map((text) => rowOf(words.encode(text), length));
  const statesOf = (ids: tf.Tensor2D, key?: tf.Tensor1D) => statesFrom(ids, parameters, heads, key);
  const loss = (ids: tf.Tensor2D, targets: tf.Tensor1D, places: tf.Tensor1D, key: tf.Tensor1D) => {
    const hidden = tf.gather(statesOf(ids, key).reshape<tf.Tensor2D>([-1, width]), places);
    return crossEntropy(tf.matMul(hidden, parameters.pieces.weight, false, true), targets);
  };
  const step = trainStep(loss, adamW({ learningRate }), parameters, { clip: 1 });
  const run = await fit({
    step,
    data: {
      count: texts.length,
      batch: (examples, { random: draw, key }) => {
        const chosen = [...examples];
        while (chosen.length < batch) chosen.push(draw.integer(texts.length)); // one shape, so that it is traced once
        const hidden = hide(chosen.map((i) => rows[i]), length, words.pieces.length, draw);
        return [
          tf.tensor2d(hidden.ids, [batch, length], "int32"),
          tf.tensor1d(hidden.targets, "int32"),
          tf.tensor1d(hidden.places, "int32"),
          key.clone(),
        ] as [tf.Tensor2D, tf.Tensor1D, tf.Tensor1D, tf.Tensor1D];
      },
    },
    epochs,
    batch,
    seed,
    show,
  });
  step.dispose();

  return { ...encoderFrom(words, parameters, shape, seed), run };
}

/** What a transformer's shape is made of. */
interface Shape {
  readonly pieces: number;
  readonly width: number;
  readonly layers: number;
  readonly heads: number;
  readonly length: number;
}

function layersOf({ pieces, width, layers, length }: Shape) {
  return {
    pieces: embeddingLayer(pieces, width, normal(0.02)),
    positions: embeddingLayer(length, width, normal(0.02)),
    blocks: Array.from({ length: layers }, () => blockLayer(width, 2 * width)),
    norm: normLayer(width),
  };
}

function statesFrom(ids: tf.Tensor2D, parameters: Parameters, heads: number, key?: tf.Tensor1D): tf.Tensor3D {
  const mask = tf.notEqual(ids, tf.scalar(PAD, "int32")).cast("float32");
  const start = tf.add<tf.Tensor3D>(embedding(ids, parameters.pieces), parameters.positions.weight);
  const x = parameters.blocks.reduce(
    (x, own, i) => block(x, own, { heads, mask, dropout: 0.1, key: key && foldIn(key, i) }).x,
    start,
  );
  return layerNorm(x, parameters.norm);
}

function encoderFrom(words: WordPieces, parameters: Parameters, shape: Shape, seed: number): WordPieceEncoder {
  const { width, layers, heads, length } = shape;
  const encodeBlock = compile((ids: tf.Tensor2D) => statesFrom(ids, parameters, heads), { xla: false });
  return {
    name: `word-piece transformer (${width}, ${layers} layers, ${words.pieces.length} pieces, seed ${seed})`,
    dim: width,
    words,
    parameters,
    encode(codes, wanted) {
      const states = new Float32Array(codes.length * wanted * width), mask = new Float32Array(codes.length * wanted);
      for (let from = 0; from < codes.length; from += BLOCK) {
        const own = codes.slice(from, from + BLOCK).map((code) => rowOf(words.encode(code.description), length));
        const ids = new Int32Array(BLOCK * length);
        ids.fill(CLS); // rows of padding need something to look at
        own.forEach((row, i) => ids.set(row, i * length));
        const values = tidy(() => encodeBlock(tf.tensor2d(ids, [BLOCK, length], "int32")).dataSync());
        own.forEach((row, i) => {
          const at = (from + i) * wanted;
          const pieces = Math.max(1, row.findLastIndex((piece) => piece !== PAD)); // without the class token
          mask[at] = 1;
          for (let p = 1; p <= pieces; p++) {
            const source = (i * length + p) * width;
            for (let k = 0; k < width; k++) states[at * width + k] += values[source + k] / pieces;
            if (p >= wanted || row[p] === PAD) continue;
            mask[at + p] = 1;
            states.set(values.subarray(source, source + width), (at + p) * width);
          }
        });
      }
      return { states, mask };
    },
    async save(file) {
      await writeSafetensors(file, await saveParameters(parameters), {
        encoder: "word pieces",
        pieces: JSON.stringify(words.pieces),
        shape: JSON.stringify(shape),
        seed: String(seed),
      });
    },
    dispose() {
      encodeBlock.dispose();
      for (const tensor of flatten(parameters).values()) tensor.dispose();
    },
  };
}

/**
 * Reads an encoder that a word-piece transformer's `save` has written.
 *
 * @throws {Error} Where the file holds something else.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * const file = await Deno.makeTempFile({ suffix: ".safetensors" });
 * await assert.rejects(loadWordPieceTransformer(file));
 * await Deno.remove(file);
 * ```
 */
export async function loadWordPieceTransformer(file: string | URL): Promise<WordPieceEncoder> {
  const { tensors, metadata } = await readSafetensors(file);
  if (metadata.encoder !== "word pieces") {
    throw new Error(`${file} holds no word-piece transformer; pass a file that its save() has written`);
  }
  const shape = JSON.parse(metadata.shape) as Shape;
  const parameters = loadParameters(layersOf(shape), tensors) as unknown as Parameters;
  for (const tensor of flatten(parameters).values()) tf.keep(tensor);
  return encoderFrom(cutting(JSON.parse(metadata.pieces) as string[]), parameters, shape, Number(metadata.seed));
}

function rowOf(pieces: readonly number[], length: number): Int32Array {
  const row = new Int32Array(length); // PAD
  row[0] = CLS;
  pieces.slice(0, length - 1).forEach((piece, i) => row[i + 1] = piece);
  return row;
}

/** Hides pieces: a fixed number per batch, so that shapes do not change. */
function hide(rows: readonly Int32Array[], length: number, count: number, draw: Random) {
  const ids = new Int32Array(rows.length * length);
  rows.forEach((row, i) => ids.set(row, i * length));
  const real: number[] = [];
  ids.forEach((piece, at) => {
    if (piece !== PAD && piece !== CLS) real.push(at);
  });
  const places = Int32Array.from({ length: rows.length }, () => draw.choice(real)); // about 15 % of seven pieces each
  const targets = places.map((at) => ids[at]);
  for (const at of places) {
    const chance = draw.uniform();
    if (chance < 0.8) ids[at] = MASK;
    else if (chance < 0.9) ids[at] = SPECIAL.length + draw.integer(count - SPECIAL.length);
  }
  return { ids, places, targets };
}
