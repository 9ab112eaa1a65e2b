/**
 * Codes as padded tensors: text states, nodes, and normalised adjacency.
 *
 * Every batch of a configuration has the same shapes but for the number of codes, so that a compiled step is traced once and
 * a code's result does not depend on what stands beside it.
 *
 * @module
 */
import type { Random } from "../random.ts";
import { tf, tidy } from "../tensor/mod.ts";
import type { MedTokConfig } from "./config.ts";
import { normaliseEdges } from "./graph_encoder.ts";
import type { MedTokBatch } from "./medtok.ts";
import type { CodeInput } from "./open_codes.ts";
import type { DescriptionEncoder } from "./text_encoder.ts";

/** Stands in `nodes` for a node that the knowledge graph does not have. */
export const unknownNode = -1;

/** What a batch's shapes depend on. */
export type BatchShape = Pick<MedTokConfig, "textDim" | "textLength" | "nodeRows" | "maxNodes" | "edgeDrop">;

/** Options of {@link batchOf}. */
export interface BatchOptions {
  /** Draws the edges that the augmented view drops; absent: there is no augmented view. */
  readonly augment?: Random;
  /** Rows of padding are added up to this many codes; they are copies of nothing: no text, no graph. */
  readonly padTo?: number;
}

/**
 * A batch.
 *
 * @throws {RangeError} Where a description is empty, a node is not in the table, or a subgraph is too large; and where the
 *   encoder has another width than the configuration.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { medtokConfig, wordVectors } from "tessera/tokenization/mod.ts";
 * const code = {
 *   system: "A", code: "1", description: "severe fever", nodes: Int32Array.of(3, 7), edges: Int32Array.of(0, 1, 1, 0),
 * };
 * const { nodes, adjacency } = batchOf([code], wordVectors(), medtokConfig("lite", { maxNodes: 3, nodeRows: 12 }));
 * assert.deepEqual(nodes.arraySync(), [[3, 7, 0]]);
 * assert.deepEqual(adjacency.arraySync()[0][0], [0.5, 0.5, 0]);
 * ```
 */
export function batchOf(
  codes: readonly CodeInput[],
  encoder: DescriptionEncoder,
  shape: BatchShape,
  { augment, padTo = codes.length }: BatchOptions = {},
): MedTokBatch {
  const { textDim, textLength, nodeRows, maxNodes, edgeDrop } = shape;
  if (encoder.dim !== textDim) {
    throw new RangeError(
      `the text encoder has ${encoder.dim} channels, but textDim is ${textDim}; make them equal`,
    );
  }
  const empty = codes.find(({ description }) => !description.trim());
  if (empty) {
    throw new RangeError(
      `the description of ${empty.system}:${empty.code} is empty; give it a text, or leave the code out`,
    );
  }
  const text = encoder.encode(codes, textLength);
  const count = padTo;
  const states = padded(text.states, count * textLength * textDim);
  const textMask = padded(text.mask, count * textLength);
  const nodes = new Int32Array(count * maxNodes);
  const nodeMask = new Float32Array(count * maxNodes), pooled = new Float32Array(count * maxNodes);
  const adjacency = new Float32Array(count * maxNodes ** 2);
  const augmented = augment && new Float32Array(count * maxNodes ** 2);
  const same = new Int32Array(count);
  const seen = new Map<string, number>();
  for (let i = 0; i < count; i++) {
    const own = codes[i]?.nodes ?? new Int32Array();
    const edges = codes[i]?.edges ?? new Int32Array();
    if (own.length > maxNodes) {
      throw new RangeError(
        `the subgraph of ${codes[i].system}:${codes[i].code} has ${own.length} nodes, but maxNodes is ${maxNodes}; ` +
          "take a smaller subgraph, or a larger maxNodes",
      );
    }
    const at = i * maxNodes;
    own.forEach((node, k) => nodes[at + k] = rowOf(node, nodeRows, codes[i]));
    nodeMask.fill(1, at, at + own.length);
    pooled.fill(1, at, at + own.length);
    if (own.length === 0) {
      nodes[at] = nodeRows - 1; // "no graph": attention has something to look at, the mean has not
      nodeMask[at] = 1;
      if (i >= codes.length) textMask[i * textLength] = 1;
    }
    const size = Math.max(1, own.length), half = edges.length / 2;
    const put = (into: Float32Array, source: ArrayLike<number>, target: ArrayLike<number>) => {
      const { source: s, target: t, weight } = normaliseEdges(size, source, target);
      weight.forEach((value, e) => into[(at + t[e]) * maxNodes + s[e]] += value);
    };
    const [source, target] = [edges.subarray(0, half), edges.subarray(half)];
    put(adjacency, source, target);
    if (augmented) {
      const stays = Array.from(source, () => augment.uniform() >= edgeDrop);
      put(augmented, source.filter((_, e) => stays[e]), target.filter((_, e) => stays[e]));
    }
    const key = `${own.join()};${edges.join()}`;
    same[i] = seen.get(key) ?? i;
    seen.set(key, same[i]);
  }
  return tidy(() => ({
    text: tf.tensor3d(states, [count, textLength, textDim]),
    textMask: tf.tensor2d(textMask, [count, textLength]),
    nodes: tf.tensor2d(nodes, [count, maxNodes], "int32"),
    nodeMask: tf.tensor2d(nodeMask, [count, maxNodes]),
    pooled: tf.tensor2d(pooled, [count, maxNodes]),
    adjacency: tf.tensor3d(adjacency, [count, maxNodes, maxNodes]),
    augmentedAdjacency: augmented && tf.tensor3d(augmented, [count, maxNodes, maxNodes]),
    same: tf.tensor1d(same, "int32"),
  }));
}

function rowOf(node: number, nodeRows: number, code: CodeInput): number {
  if (node === unknownNode) return nodeRows - 2;
  if (Number.isInteger(node) && node >= 0 && node < nodeRows - 2) return node;
  throw new RangeError(
    `${code.system}:${code.code} has the node ${node}, which is not in the graph of ${nodeRows - 2} nodes; ` +
      "give unknownNode for one that is new",
  );
}

function padded(values: Float32Array, length: number): Float32Array {
  if (values.length === length) return values;
  const longer = new Float32Array(length);
  longer.set(values);
  return longer;
}
