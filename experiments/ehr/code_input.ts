/**
 * How codes become vectors at the door of a model: the same patients seen through other tokens.
 *
 * | mode | a code is | trained |
 * | --- | --- | --- |
 * | `learned` | a row of its own: the tokenizer that the models came with | the row |
 * | `vector` | its frozen vector (MedTok's, or any other), standardised, through one linear layer | the layer |
 * | `init` | a row of its own that starts from its vector | the row |
 * | `tokens` | the weighted sum of the rows of its tokens: the vocabulary is that of the tokens | the tokens' rows |
 * | `sequence` | several places in the sequence, one for each of its tokens | the tokens' rows |
 *
 * Su et al., "Multimodal Medical Code Tokenizer", ICML 2025, arXiv:2502.04397, section 4.1 and appendix B.3: vectors for
 * initialisation, tokens added to the vocabulary for ETHOS; the authors' tutorial looks frozen vectors up.
 *
 * Ids 0 to 4 are reserved in every mode (padding, unknown, missing, mask, class token); what follows are codes, or tokens.
 *
 * @module
 */
import { type Described, type Description, linear, linearLayer, normal, parameter } from "../../lib/nn/mod.ts";
import { tf, tidy } from "../../lib/tensor/mod.ts";
import { reservedCount } from "../../lib/tokenization/mod.ts";

/** What a code is to a model. */
export type CodeInput =
  | { readonly mode: "learned"; readonly rows: number }
  | { readonly mode: "vector" | "init"; readonly vectors: Rows }
  | { readonly mode: "tokens"; readonly tokens: TokenRows; readonly slots?: "sum" | "concatenate" }
  | { readonly mode: "sequence"; readonly tokens: TokenRows };

/** Numbers as rows. */
export interface Rows {
  readonly data: Float32Array;
  readonly rows: number;
  readonly width: number;
}

/** Tokens of codes: so many for each, slot after slot. */
export interface TokenRows {
  /** [codes x each]: rows of the codebook. */
  readonly ids: Int32Array;
  /** [codes x each]: how much each counts; a slot's sum to 1. */
  readonly weights: Float32Array;
  readonly codes: number;
  readonly each: number;
  /** Equal parts of `each`. */
  readonly slots: number;
  /** Rows of the codebook. */
  readonly vocabulary: number;
}

/** Modes by name. */
export type CodeMode = CodeInput["mode"];

/** Describes what is trained of an input, for a model of this width. */
export function codeInputLayers(input: CodeInput, width: number) {
  const reserved = parameter<tf.Rank.R2>([reservedCount, width], normal(width ** -0.5));
  return { reserved, ...ownLayers(input, width) };
}

function ownLayers(input: CodeInput, width: number): Record<string, Description | object> {
  const rows = (count: number) => ({ rows: parameter<tf.Rank.R2>([count, width], normal(width ** -0.5)) });
  switch (input.mode) {
    case "learned":
      return rows(input.rows);
    case "vector":
      return { projection: linearLayer(input.vectors.width, width) };
    case "init": {
      // a random projection keeps angles; its rows have the length that learned rows start with
      const { vectors } = input;
      const start: Description = parameter<tf.Rank.R2>([vectors.rows, width], (_, draw) => {
        const projection = draw.stream("projection").normals(vectors.width * width, 0, 1 / vectors.width ** 0.5);
        return tidy(() => {
          const x = tf.tensor2d(standardised(vectors), [vectors.rows, vectors.width]);
          const y = tf.matMul(x, tf.tensor2d(projection, [vectors.width, width])).mul(width ** -0.5);
          return y.dataSync<"float32">();
        });
      });
      return { rows: start };
    }
    case "tokens": {
      if (input.slots !== "concatenate") return rows(input.tokens.vocabulary);
      const own = parameter<tf.Rank.R2>([input.tokens.vocabulary, width], normal(width ** -0.5));
      return { rows: own, projection: linearLayer(input.tokens.slots * width, width) };
    }
    case "sequence":
      return rows(input.tokens.vocabulary);
  }
}

/** Parameters that {@link codeInputLayers} describes. */
export type CodeInputParameters = Described<ReturnType<typeof codeInputLayers>>;

/** A vector for every id: reserved ones first, then codes (or tokens, in the mode `sequence`). */
export class CodeVectors {
  readonly input: CodeInput;
  /** Number of ids. */
  readonly count: number;
  /** What is frozen: standardised vectors, or how much of each token is in each code. */
  readonly #frozen: readonly tf.Tensor2D[];

  constructor(input: CodeInput) {
    this.input = input;
    this.count = reservedCount + idsOf(input);
    this.#frozen = frozenOf(input);
  }

  /** [ids, width]; one product for all codes is less work than one per place in a batch. */
  table(parameters: CodeInputParameters): tf.Tensor2D {
    return tidy(() => tf.concat([parameters.reserved as tf.Tensor2D, this.#codes(parameters)], 0));
  }

  #codes(parameters: CodeInputParameters): tf.Tensor2D {
    const { rows, projection } = parameters as unknown as {
      rows: tf.Tensor2D;
      projection: { weight: tf.Tensor2D; bias: tf.Tensor1D };
    };
    switch (this.input.mode) {
      case "learned":
      case "init":
      case "sequence":
        return rows;
      case "vector":
        return linear(this.#frozen[0], projection);
      case "tokens": {
        const parts = this.#frozen.map((shares) => tf.matMul(shares, rows));
        if (this.input.slots !== "concatenate") return tf.addN(parts) as tf.Tensor2D;
        return linear(tf.concat(parts, 1) as tf.Tensor2D, projection);
      }
    }
  }

  /** The ids that stand for a code in a sequence: itself, or its tokens. */
  idsOf(code: number): readonly number[] {
    if (this.input.mode !== "sequence" || code < reservedCount) return [code];
    const { ids, each, slots } = this.input.tokens;
    const from = (code - reservedCount) * each;
    // the nearest token of each slot: 4 places for a code
    return Array.from({ length: slots }, (_, slot) => reservedCount + ids[from + slot * (each / slots)]);
  }

  dispose(): void {
    tf.dispose([...this.#frozen]);
  }
}

function idsOf(input: CodeInput): number {
  switch (input.mode) {
    case "learned":
      return input.rows;
    case "vector":
    case "init":
      return input.vectors.rows;
    case "tokens":
      return input.tokens.codes;
    case "sequence":
      return input.tokens.vocabulary;
  }
}

function frozenOf(input: CodeInput): tf.Tensor2D[] {
  if (input.mode === "vector") {
    const { vectors } = input;
    return [tf.keep(tf.tensor2d(standardised(vectors), [vectors.rows, vectors.width]))];
  }
  if (input.mode !== "tokens") return [];
  const { ids, weights, codes, each, slots, vocabulary } = input.tokens;
  const groups = input.slots === "concatenate" ? slots : 1;
  return Array.from({ length: groups }, (_, group) => {
    const shares = new Float32Array(codes * vocabulary);
    const [from, to] = [group * each / groups, (group + 1) * each / groups];
    for (let code = 0; code < codes; code++) {
      for (let i = from; i < to; i++) shares[code * vocabulary + ids[code * each + i]] += weights[code * each + i];
    }
    return tf.keep(tf.tensor2d(shares, [codes, vocabulary]));
  });
}

/**
 * Mean 0 and standard deviation 1 in each dimension. MedTok's vectors are short (entries around 0.06); unstandardised, a
 * model needs most of its training to scale them up.
 */
export function standardised({ data, rows, width }: Rows): Float32Array {
  const out = new Float32Array(data.length);
  for (let j = 0; j < width; j++) {
    let sum = 0, squares = 0;
    for (let i = 0; i < rows; i++) sum += data[i * width + j];
    const mean = sum / rows;
    for (let i = 0; i < rows; i++) squares += (data[i * width + j] - mean) ** 2;
    const scale = squares > 0 ? 1 / Math.sqrt(squares / rows) : 0;
    for (let i = 0; i < rows; i++) out[i * width + j] = (data[i * width + j] - mean) * scale;
  }
  return out;
}
