/**
 * The codebook: one table of codewords in three regions, and the soft choice of the K nearest.
 *
 * Su et al., "Multimodal Medical Code Tokenizer", ICML 2025, arXiv:2502.04397, section 3.2. Checked against the authors'
 * code (tests/golden, `medtok.specific_embedding`, `medtok.get_shared_info`, `medtok.quantizer_forward`). The paper's
 * distance is "Euclidean" and its softmax has a sign slip; the code's are taken: the squared distance of unit vectors, and
 * softmax of minus it. The paper's straight-through formula, read literally, sends the gradient to the codebook; the
 * code's sends it to the embedding.
 *
 * @module
 */
import { tick } from "../stop.ts";
import {
  compile,
  type Compiled,
  gatherTokens,
  stableTopK,
  stopGradient,
  straightThrough,
  tf,
  tidy,
} from "../tensor/mod.ts";

/** The four places where a code gets K tokens each, always in this order. */
export type Slot = "textSpecific" | "graphSpecific" | "textShared" | "graphShared";

/** The slots in their order. */
export const slots: readonly Slot[] = ["textSpecific", "graphSpecific", "textShared", "graphShared"];

/** Rows of the codebook: from `start`, `count` of them. */
export interface Region {
  readonly start: number;
  readonly count: number;
}

/** Names of the three regions. */
export type RegionName = "text" | "shared" | "graph";

/**
 * The three regions: the first third of the rows is the text's, the last third the graph's, what lies between is shared.
 *
 * @param rows N, at least 3. Thirds are rounded down.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * assert.deepEqual(codebookRegions(10), {
 *   text: { start: 0, count: 3 },
 *   shared: { start: 3, count: 4 },
 *   graph: { start: 7, count: 3 },
 * });
 * ```
 */
export function codebookRegions(rows: number): Record<RegionName, Region> {
  if (!Number.isInteger(rows) || rows < 3) {
    throw new RangeError(`a codebook of three regions has a whole number of rows from 3, but it is ${rows}`);
  }
  const third = Math.floor(rows / 3);
  return {
    text: { start: 0, count: third },
    shared: { start: third, count: rows - 2 * third },
    graph: { start: rows - third, count: third },
  };
}

/**
 * Where each slot looks for its codewords.
 *
 * @param sharedRows "middle", the paper's: shared slots look in the shared region. "all", the code's: everywhere.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * assert.deepEqual(slotRegions(9, "middle").textShared, { start: 3, count: 3 });
 * assert.deepEqual(slotRegions(9, "all").textShared, { start: 0, count: 9 });
 * ```
 */
export function slotRegions(rows: number, sharedRows: "middle" | "all" = "middle"): Record<Slot, Region> {
  const { text, shared, graph } = codebookRegions(rows);
  const both = sharedRows === "all" ? { start: 0, count: rows } : shared;
  return { textSpecific: text, graphSpecific: graph, textShared: both, graphShared: both };
}

/** Options of {@link quantize}. */
export interface QuantizeOptions {
  /** Rows to choose from. Default: all. */
  readonly region?: Region;
  /** K: codewords per embedding. */
  readonly K: number;
  /** Compare the codeword with the embedding as it is, or scaled to length 1. Default: "raw", as in the code. */
  readonly commitOn?: "raw" | "normalized";
  /** Keep the gradient of the codebook loss out of the weights. Default: false, as in the code. */
  readonly detachWeights?: boolean;
}

/** What {@link quantize} returns. */
export interface Quantized {
  /** [batch, d]: the value of `quantized`, the gradient of the embedding. */
  readonly out: tf.Tensor2D;
  /** [batch, d]: the weighted sum of unit codewords. */
  readonly quantized: tf.Tensor2D;
  /** int32, [batch, K]: rows of the whole codebook, nearest first; equal distances: the lower row first. */
  readonly tokens: tf.Tensor2D;
  /** [batch, K]: not negative, sum 1, not increasing. */
  readonly weights: tf.Tensor2D;
  /** [batch, K]: squared distances of unit vectors, 0 to 4, ascending. */
  readonly distances: tf.Tensor2D;
  /** Mean of (quantized - sg(embedding))²: moves codewords (and, through the weights, a little the embedding). */
  readonly codebookLoss: tf.Scalar;
  /** Mean of (sg(quantized) - embedding)², not yet weighted: keeps embeddings near their codewords. */
  readonly commitment: tf.Scalar;
}

/**
 * The K nearest codewords of each embedding, weighted by softmax of minus their squared distance.
 *
 * The choice itself has no gradient: distances of the chosen rows are computed again, so that the weights have one.
 *
 * @param embedding [batch, d]
 * @param codebook [N, d]
 * @throws {RangeError} Where K is larger than the region, or the region not inside the codebook.
 *
 * @example Nearest first, and the direction alone counts
 * ```ts
 * import assert from "node:assert/strict";
 * import { tf } from "tessera/tensor/mod.ts";
 * const codebook = tf.tensor2d([[1, 0], [0, 5], [-1, 0]]);
 * const { tokens, distances } = quantize(tf.tensor2d([[0, 3]]), codebook, { K: 2 });
 * assert.deepEqual(tokens.arraySync(), [[1, 0]]);
 * assert.deepEqual(distances.arraySync(), [[0, 2]]);
 * ```
 */
export function quantize(embedding: tf.Tensor2D, codebook: tf.Tensor2D, options: QuantizeOptions): Quantized {
  const [N, d] = codebook.shape;
  const { region = { start: 0, count: N }, K, commitOn = "raw", detachWeights = false } = options;
  checkRegion(region, K, N);
  return tidy(() => {
    const batch = embedding.shape[0];
    const unit = unitRows(embedding);
    const local = nearest(stopGradient(unit), stopGradient(rowsOf(codebook, region)), K);
    const tokens = local.add<tf.Tensor2D>(tf.scalar(region.start, "int32"));
    const picked = gatherTokens(codebook.expandDims<tf.Tensor3D>(0), tokens.reshape([1, batch * K]));
    const codewords = unitRows(picked).reshape<tf.Tensor3D>([batch, K, d]);
    const cosine = tf.mul(codewords, unit.expandDims(1)).sum<tf.Tensor2D>(2);
    const distances = tf.sub<tf.Tensor2D>(2, cosine.mul(2));
    const weights = tf.softmax(distances.neg<tf.Tensor2D>());
    const used = detachWeights ? stopGradient(weights) : weights;
    const quantized = tf.mul(codewords, used.expandDims(2)).sum<tf.Tensor2D>(1);
    const target = commitOn === "raw" ? embedding : unit;
    return {
      out: straightThrough(quantized, embedding),
      quantized,
      tokens,
      weights,
      distances,
      codebookLoss: tf.sub(quantized, stopGradient(target)).square().mean() as tf.Scalar,
      commitment: tf.sub(stopGradient(quantized), target).square().mean() as tf.Scalar,
    };
  });
}

/**
 * Places of the `K` rows with the largest cosine, largest first.
 *
 * @param unit [batch, d], of length 1.
 * @param rows [rows, d], of any length.
 * @returns int32, [batch, K]
 */
function nearest(unit: tf.Tensor2D, rows: tf.Tensor2D, K: number): tf.Tensor2D {
  return largest(tf.matMul(unit, unitRows(rows), false, true) as tf.Tensor2D, K);
}

/**
 * `stableTopK` of many columns: the K largest lie in the K groups of columns whose maxima are largest (of equal ones, the
 * earlier groups), so that only these are sorted. The same places, ties included; a maximum costs a fraction of a heap.
 *
 * @returns int32, [rows, K]
 */
function largest(scores: tf.Tensor2D, K: number): tf.Tensor2D {
  const [rows, columns] = scores.shape;
  const width = groupWidth(columns, K);
  if (width === undefined) return stableTopK(scores, K);
  const groups = scores.reshape<tf.Tensor3D>([rows, columns / width, width]);
  const best = stableTopK(groups.max<tf.Tensor2D>(2), K);
  // in the order of columns again, so that of equal scores the earlier column comes first
  const order = stableTopK(best.cast<tf.Tensor2D>("float32").neg<tf.Tensor2D>(), K);
  const chosen = tf.gather(best, order, 1, 1) as tf.Tensor2D;
  const candidates = tf.gather(groups, chosen, 1, 1).reshape<tf.Tensor2D>([rows, K * width]);
  const within = stableTopK(candidates, K);
  const group = within.div<tf.Tensor2D>(tf.scalar(width, "int32"));
  const start = (tf.gather(chosen, group, 1, 1) as tf.Tensor2D).sub<tf.Tensor2D>(group).mul(tf.scalar(width, "int32"));
  return start.add<tf.Tensor2D>(within);
}

/** A divisor of the columns near the root of columns / K, where that is worth it; undefined where there is none. */
function groupWidth(columns: number, K: number): number | undefined {
  const aim = Math.sqrt(columns / K);
  if (columns < 1000) return undefined;
  for (let away = 0; away < aim; away++) {
    for (const width of [Math.round(aim) + away, Math.round(aim) - away]) {
      if (width > 1 && columns % width === 0 && columns / width > 2 * K) return width;
    }
  }
  return undefined;
}

/**
 * Squared distances of unit vectors, `2 - 2 cos`, to every codeword of a region.
 *
 * @returns [batch, region.count], 0 to 4.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { tf } from "tessera/tensor/mod.ts";
 * const distances = codewordDistances(tf.tensor2d([[2, 0]]), tf.tensor2d([[1, 0], [0, 1], [-9, 0]]));
 * assert.deepEqual(distances.arraySync(), [[0, 2, 4]]);
 * ```
 */
export function codewordDistances(
  embedding: tf.Tensor2D,
  codebook: tf.Tensor2D,
  region: Region = { start: 0, count: codebook.shape[0] },
): tf.Tensor2D {
  return tidy(() => {
    const cosine = tf.matMul(unitRows(embedding), unitRows(rowsOf(codebook, region)), false, true);
    return tf.sub<tf.Tensor2D>(2, cosine.mul(2));
  });
}

/**
 * Rows scaled to length 1; a row of zeros stays one.
 *
 * @param x [..., d]
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { tf } from "tessera/tensor/mod.ts";
 * assert.deepEqual(unitRows(tf.tensor2d([[0, 2], [0, 0]])).arraySync(), [[0, 1], [0, 0]]);
 * ```
 */
export function unitRows<T extends tf.Tensor>(x: T): T {
  return tidy(() => tf.div<T>(x, x.square().sum(-1, true).maximum(1e-24).sqrt()));
}

/** What {@link quantizeMany} returns. */
export interface QuantizedMany {
  /** [count, K] rows of the codebook, nearest first. */
  readonly tokens: Int32Array;
  /** [count, K] */
  readonly weights: Float32Array;
  /** [count, d]: the weighted sums of unit codewords. */
  readonly vectors: Float32Array;
}

/** Options of {@link quantizeMany}. */
export interface QuantizeManyOptions extends QuantizeOptions {
  /** Embeddings at once. A block needs 4 bytes for each of them and each row of the region. Default: 500. */
  readonly block?: number;
}

/**
 * {@link quantize} without gradients for any number of embeddings, in blocks of bounded memory, each one compiled call; Stop
 * ends it between two blocks.
 *
 * @param embeddings [count, d] row by row.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { tf } from "tessera/tensor/mod.ts";
 * const codebook = tf.tensor2d([[1, 0], [0, 5], [-1, 0]]);
 * const { tokens } = await quantizeMany(Float32Array.of(0, 3, 2, 1), codebook, { K: 1, block: 1 });
 * assert.deepEqual([...tokens], [1, 0]);
 * ```
 */
export async function quantizeMany(
  embeddings: Float32Array,
  codebook: tf.Tensor2D,
  { block = 500, ...options }: QuantizeManyOptions,
): Promise<QuantizedMany> {
  const [N, d] = codebook.shape;
  const { region = { start: 0, count: N }, K } = options;
  checkRegion(region, K, N);
  if (!Number.isInteger(block) || block < 1) {
    throw new RangeError(`block must be a whole number from 1, but it is ${block}`);
  }
  if (embeddings.length % d !== 0) {
    throw new RangeError(`${embeddings.length} numbers are no whole number of vectors of ${d}`);
  }
  const count = embeddings.length / d;
  const tokens = new Int32Array(count * K), weights = new Float32Array(count * K);
  const vectors = new Float32Array(count * d);
  // unit rows once, not once per block; the product with them is all that a block has to do
  const rows = tidy(() => unitRows(rowsOf(codebook, region)).clone());
  const one = searchOf(K);
  try {
    for (let from = 0; from < count; from += block) {
      const part = embeddings.subarray(from * d, (from + block) * d);
      const input = tf.tensor2d(part, [part.length / d, d]);
      const result = one(input, rows);
      const local = await result.tokens.data();
      for (let i = 0; i < local.length; i++) tokens[from * K + i] = local[i] + region.start;
      weights.set(await result.weights.data(), from * K);
      vectors.set(await result.vectors.data(), from * d);
      tf.dispose([input, result.tokens, result.weights, result.vectors]);
      await tick();
    }
  } finally {
    rows.dispose();
  }
  return { tokens, weights, vectors };
}

interface Searched {
  readonly tokens: tf.Tensor;
  readonly weights: tf.Tensor;
  readonly vectors: tf.Tensor;
}

const searches = new Map<number, Compiled<[tf.Tensor2D, tf.Tensor2D], Searched>>();

/** The search for K rows: traced once for each shape, not once for each call. */
function searchOf(K: number): Compiled<[tf.Tensor2D, tf.Tensor2D], Searched> {
  let search = searches.get(K);
  if (!search) {
    const body = (embedding: tf.Tensor2D, rows: tf.Tensor2D) => {
      const unit = unitRows(embedding);
      const tokens = largest(tf.matMul(unit, rows, false, true) as tf.Tensor2D, K);
      const chosen = gatherTokens(rows.expandDims<tf.Tensor3D>(0), tokens.reshape([1, tokens.size]))
        .reshape<tf.Tensor3D>([embedding.shape[0], K, rows.shape[1]]);
      const distances = tf.sub<tf.Tensor2D>(2, tf.mul(chosen, unit.expandDims(1)).sum<tf.Tensor2D>(2).mul(2));
      const weights = tf.softmax(distances.neg<tf.Tensor2D>());
      return { tokens, weights, vectors: tf.mul(chosen, weights.expandDims(2)).sum(1) };
    };
    searches.set(K, search = compile(body, { xla: false }));
  }
  return search;
}

function rowsOf(codebook: tf.Tensor2D, { start, count }: Region): tf.Tensor2D {
  return start === 0 && count === codebook.shape[0] ? codebook : codebook.slice([start, 0], [count, -1]);
}

function checkRegion({ start, count }: Region, K: number, N: number): void {
  if (!(Number.isInteger(start) && Number.isInteger(count) && start >= 0 && count >= 1 && start + count <= N)) {
    throw new RangeError(`a region of a codebook of ${N} rows cannot start at ${start} and have ${count} rows`);
  }
  if (!Number.isInteger(K) || K < 1 || K > count) {
    throw new RangeError(
      `K must be a whole number from 1 to ${count}, the rows of the region, but it is ${K}; take a smaller K or a ` +
        "larger codebook",
    );
  }
}
