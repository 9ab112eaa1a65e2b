/**
 * BEHRT: a BERT over the codes of all visits; each place is the sum of a code, the age at the visit, a segment that changes
 * from visit to visit, and the visit's position. Trained to guess masked codes before it sees a label.
 *
 * Li et al., "BEHRT: Transformer for Electronic Health Records", Scientific Reports 10:7155, 2020, arXiv:1907.09538.
 * Checked against the authors' code (tests/golden, `behrt.*`). Theirs builds a sinusoid of positions and then overwrites it
 * with frozen random numbers; ours keeps the sinusoid. Their layer norms add 1e-12, ours too.
 *
 * Sizes are the caller's; the paper's: 6 layers, 12 heads, width 288, MLP 512, 64 tokens.
 *
 * @module
 */
import {
  activate,
  block,
  blockLayer,
  type Described,
  dropout,
  embeddingLayer,
  gelu,
  initialise,
  layerNorm,
  linear,
  linearLayer,
  normal,
  normLayer,
  parameter,
  trainable,
} from "../../../lib/nn/mod.ts";
import { random } from "../../../lib/random.ts";
import { foldIn, gatherTokens, randomUniform, tf, tidy } from "../../../lib/tensor/mod.ts";
import { reserved, reservedCount } from "../../../lib/tokenization/mod.ts";
import { codeInputLayers, type CodeInputParameters, type CodeVectors } from "../code_input.ts";
import {
  binaryCrossEntropy,
  codeMask,
  disposeParameters,
  type EHRModel,
  maskedCrossEntropy,
  type Stage,
} from "../model.ts";
import type { RecordBatch } from "../records.ts";

/** Sizes, and what can be switched off. */
export interface BEHRTConfig {
  readonly width: number;
  readonly layers: number;
  readonly heads: number;
  readonly mlpWidth: number;
  /** Rows of the tables of ages (months) and positions. */
  readonly ages: number;
  readonly positions: number;
  readonly outputs: number;
  readonly dropout: number;
  /** Which of the three stand beside the code. Default: all. */
  readonly features?: { readonly age?: boolean; readonly segment?: boolean; readonly position?: boolean };
  /** Default: true. */
  readonly pretrain?: boolean;
}

/** Describes BEHRT without its codes. */
export function behrtLayers(config: BEHRTConfig) {
  const { width, layers, mlpWidth, ages, positions, outputs } = config;
  const rows = (count: number) => embeddingLayer(count, width, normal(width ** -0.5));
  return {
    age: rows(ages),
    segment: rows(2),
    position: { weight: parameter<tf.Rank.R2>([positions, width], () => sinusoid(positions, width)) },
    norm: normLayer(width),
    blocks: Array.from({ length: layers }, () => blockLayer(width, mlpWidth)),
    pooler: linearLayer(width, width),
    guess: { dense: linearLayer(width, width), norm: normLayer(width) },
    head: linearLayer(width, outputs),
  };
}

/** Parameters that {@link behrtLayers} describes. */
export type BEHRTParameters = Described<ReturnType<typeof behrtLayers>>;

/**
 * The table of positions as it was meant: even columns a sine, odd ones a cosine, of row / 10000^(2 column / width), where
 * column is the column itself.
 *
 * @returns [rows x width]
 */
export function sinusoid(rows: number, width: number): Float32Array {
  return Float32Array.from({ length: rows * width }, (_, i) => {
    const [row, column] = [Math.floor(i / width), i % width];
    const angle = row / 10_000 ** (2 * column / width);
    return column % 2 === 0 ? Math.sin(angle) : Math.cos(angle);
  });
}

/** Rows of the table of ages: padding and unknown first, then one for each month (or so many) below the highest age. */
export function ageRows(maxYears: number, months = 1): number {
  return 2 + maxYears * 12 / months;
}

/** The row of an age in months; padding is 0, an unknown age 1. */
export function ageRow(months: number): number {
  return months + 2;
}

/**
 * Segment and position of tokens in a row: both go on behind each separator, which belongs to the visit that it ends.
 *
 * @param isSeparator Of each token.
 */
export function visitPlaces(isSeparator: readonly boolean[]): { segment: number[]; position: number[] } {
  const position = isSeparator.map((_, i) => isSeparator.slice(0, i).filter(Boolean).length);
  return { segment: position.map((visit) => visit % 2), position };
}

/** What the encoder reads: [batch, tokens] each. */
export interface BEHRTInput {
  readonly age: tf.Tensor2D;
  readonly segment: tf.Tensor2D;
  readonly position: tf.Tensor2D;
  /** 1 where there is a token. */
  readonly mask: tf.Tensor2D;
}

const EPSILON = 1e-12;

/**
 * States of all places.
 *
 * @param words [batch, tokens, width]: the vectors of the codes.
 * @returns The embedding and the last layer, [batch, tokens, width].
 */
export function behrtEncode(
  words: tf.Tensor3D,
  input: BEHRTInput,
  parameters: Pick<BEHRTParameters, "age" | "segment" | "position" | "norm" | "blocks">,
  { heads, dropout: rate, features = {} }: Pick<BEHRTConfig, "heads" | "dropout" | "features">,
  key?: tf.Tensor1D,
): { embedding: tf.Tensor3D; states: tf.Tensor3D } {
  return tidy(() => {
    let sum = words;
    for (const name of ["segment", "age", "position"] as const) {
      if (features[name] === false) continue;
      sum = sum.add(rowsOf(parameters[name].weight, input[name]));
    }
    const embedding = layerNorm(sum, parameters.norm, EPSILON);
    let x = dropout(embedding, rate, key && foldIn(key, 0));
    parameters.blocks.forEach((each, i) => {
      const own = key && foldIn(key, i + 1);
      x = block(x, each, { heads, mask: input.mask, norm: "post", epsilon: EPSILON, dropout: rate, key: own }).x;
    });
    return { embedding, states: x };
  });
}

/** The first place's state through a linear layer and tanh, [batch, width]. */
export function behrtPool(states: tf.Tensor3D, { pooler }: Pick<BEHRTParameters, "pooler">): tf.Tensor2D {
  return tidy(() => {
    const [batch, , width] = states.shape;
    return activate(
      linear(states.slice([0, 0, 0], [batch, 1, width]).reshape<tf.Tensor2D>([batch, width]), pooler),
      "tanh",
    );
  });
}

/** Logits of the codes at some places: tied to their vectors. */
export function behrtGuess(
  states: tf.Tensor3D,
  table: tf.Tensor2D,
  { dense, norm }: BEHRTParameters["guess"],
  bias?: tf.Tensor1D,
): tf.Tensor3D {
  return tidy(() => {
    const hidden = layerNorm(gelu(linear(states, dense)), norm, EPSILON);
    return linear(hidden, { weight: table, bias });
  });
}

/** Rows of a table at int32 [batch, tokens], as [batch, tokens, width]; places beyond its end get its last row. */
export function rowsOf(table: tf.Tensor2D, index: tf.Tensor): tf.Tensor3D {
  return tidy(() => {
    const last = tf.scalar(table.shape[0] - 1, "int32");
    const flat = tf.minimum(index, last).reshape<tf.Tensor2D>([1, index.size]);
    return gatherTokens(table.expandDims<tf.Tensor3D>(0), flat).reshape([...index.shape, table.shape[1]]);
  });
}

/**
 * All visits in a row: a class token, then each visit's codes and a separator (the unknown token's row), as [batch, tokens].
 */
export function behrtSequence(batch: RecordBatch): BEHRTInput & { codes: tf.Tensor2D } {
  return tidy(() => {
    const [size, visits, places] = batch.codes.shape;
    const mask = codeMask(batch);
    const there = tf.greater(batch.visitKind, tf.scalar(0, "int32"));
    const separator = tf.where(
      there,
      tf.fill<tf.Rank.R2>([size, visits], SEPARATOR, "int32"),
      tf.zerosLike(batch.visitKind),
    );
    const row = (values: tf.Tensor3D, last: tf.Tensor2D, first: tf.Tensor2D) =>
      tf.concat([first, tf.concat([values, last.expandDims<tf.Tensor3D>(2)], 2).reshape<tf.Tensor2D>([size, -1])], 1);
    const wide = (values: tf.Tensor2D) =>
      row(values.expandDims<tf.Tensor3D>(2).tile([1, 1, places]), values, first(values));
    const first = (values: tf.Tensor2D) => values.slice([0, 0], [size, 1]);
    const order = tf.range(0, visits, 1, "int32").reshape([1, visits]).tile([size, 1]) as tf.Tensor2D;
    return {
      codes: row(batch.codes, separator, tf.fill<tf.Rank.R2>([size, 1], reserved.CLS, "int32")),
      age: wide(batch.ageMonths.add(tf.scalar(ageRow(0), "int32")).toInt() as tf.Tensor2D),
      segment: wide(tf.mod(order, tf.scalar(2, "int32")).toInt() as tf.Tensor2D),
      position: wide(order),
      mask: row(mask, there.cast("float32") as tf.Tensor2D, tf.ones([size, 1])),
    };
  });
}

/** The separator between visits shares the row of "missing": no visit has both. */
const SEPARATOR = reserved.MISSING;

/** Which places are to be guessed, with what they show instead, and what stood there (-1 elsewhere). */
export function maskCodes(
  codes: tf.Tensor2D,
  count: number,
  rate: number,
  key: tf.Tensor1D,
): { shown: tf.Tensor2D; labels: tf.Tensor2D } {
  return tidy(() => {
    const shape = codes.shape;
    const real = tf.greaterEqual(codes, tf.scalar(reservedCount, "int32"));
    const chosen = tf.logicalAnd(real, tf.less(randomUniform(foldIn(key, 0), shape), tf.scalar(rate)));
    const fate = randomUniform(foldIn(key, 1), shape); // BERT's: 80 % masked, 10 % another code, 10 % as it is
    const other = randomUniform(foldIn(key, 2), shape).mul(count - reservedCount).floor().toInt().add(
      tf.scalar(reservedCount, "int32"),
    );
    const hidden = tf.where(
      tf.less(fate, tf.scalar(0.8)),
      tf.fill(shape, reserved.MASK, "int32"),
      tf.where(tf.less(fate, tf.scalar(0.9)), other, codes),
    );
    return {
      shown: tf.where(chosen, hidden, codes).toInt() as tf.Tensor2D,
      labels: tf.where(chosen, codes, tf.fill(shape, -1, "int32")).toInt() as tf.Tensor2D,
    };
  });
}

/** BEHRT on health records. */
export function behrt(vectors: CodeVectors, config: BEHRTConfig, seed: number): EHRModel {
  const described = {
    codes: codeInputLayers(vectors.input, config.width),
    bias: parameter<tf.Rank.R1>([vectors.count]),
    ...behrtLayers(config),
  };
  const parameters = trainable(initialise(described, random(seed, "behrt")), (name) => !name.startsWith("position"));
  const encode = (codes: tf.Tensor2D, table: tf.Tensor2D, input: BEHRTInput, key?: tf.Tensor1D) =>
    behrtEncode(rowsOf(table, codes), input, parameters, config, key).states;
  const tableOf = () => vectors.table(parameters.codes as CodeInputParameters);
  const logits = (batch: RecordBatch, key?: tf.Tensor1D) =>
    tidy(() => {
      const { codes, ...input } = behrtSequence(batch);
      return linear(behrtPool(encode(codes, tableOf(), input, key), parameters), parameters.head);
    });
  const guess: Stage = {
    name: "guess masked codes",
    loss: (batch, key) =>
      tidy(() => {
        const { codes, ...input } = behrtSequence(batch);
        const table = tableOf();
        const { shown, labels } = maskCodes(codes, vectors.count, 0.15, foldIn(key, 100));
        const states = encode(shown, table, input, foldIn(key, 101));
        return maskedCrossEntropy(behrtGuess(states, table, parameters.guess, parameters.bias), labels);
      }),
  };
  return {
    name: "BEHRT",
    parameters,
    stages: [
      ...(config.pretrain === false ? [] : [guess]),
      { name: "labels", loss: (batch, key) => tidy(() => binaryCrossEntropy(logits(batch, key), batch.labels)) },
    ],
    logits,
    dispose: () => disposeParameters(parameters),
  };
}
