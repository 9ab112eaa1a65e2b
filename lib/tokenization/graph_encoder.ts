/**
 * The graph encoder: two graph convolutions over a code's subgraph, on learned node vectors.
 *
 * Kipf & Welling, "Semi-Supervised Classification with Graph Convolutional Networks", ICLR 2017, arXiv:1609.02907, equation
 * 2. Checked against PyTorch Geometric and the authors' code (tests/golden, `pyg.gcn_conv`, `medtok.gcn_encoder`).
 *
 * @module
 */
import { segmentSum, tf, tidy } from "../tensor/mod.ts";
import { gatherTokens } from "../tensor/mod.ts";
import { linear, type LinearParameters } from "../nn/mod.ts";

/** Options of {@link normaliseEdges}, with PyTorch Geometric's names. */
export interface GCNOptions {
  /** Give each node a loop to itself. A loop that is there replaces the added one. Default: true. */
  readonly addSelfLoops?: boolean;
  /** An added loop counts twice. Default: false. */
  readonly improved?: boolean;
  /** Divide by the square roots of both ends' degrees. Default: true. */
  readonly normalize?: boolean;
}

/** Edges with their weights in a graph convolution: the non-zero entries of D^-1/2 (A + I) D^-1/2. */
export interface WeightedEdges {
  readonly source: Int32Array;
  readonly target: Int32Array;
  readonly weight: Float32Array;
}

/**
 * Edges and loops with the weights that a graph convolution gives them. Parallel edges add up. A node's degree is the sum
 * of the weights of its incoming edges.
 *
 * @param source Places of nodes.
 * @param weight Of each edge. Default: 1.
 *
 * @example A path of two nodes
 * ```ts
 * import assert from "node:assert/strict";
 * const { weight } = normaliseEdges(2, [0, 1], [1, 0]);
 * assert.deepEqual([...weight], [0.5, 0.5, 0.5, 0.5]); // two edges, two loops, all degrees 2
 * ```
 */
export function normaliseEdges(
  nodes: number,
  source: ArrayLike<number>,
  target: ArrayLike<number>,
  weight?: ArrayLike<number>,
  { addSelfLoops = true, improved = false, normalize = true }: GCNOptions = {},
): WeightedEdges {
  const from: number[] = [], to: number[] = [], value: number[] = [];
  const loop = new Float64Array(nodes).fill(improved ? 2 : 1);
  for (let i = 0; i < source.length; i++) {
    const own = weight ? weight[i] : 1;
    if (addSelfLoops && source[i] === target[i]) {
      loop[source[i]] = own; // of several loops the last one counts, as in PyTorch Geometric
      continue;
    }
    from.push(source[i]);
    to.push(target[i]);
    value.push(own);
  }
  if (addSelfLoops) {
    for (let node = 0; node < nodes; node++) {
      from.push(node);
      to.push(node);
      value.push(loop[node]);
    }
  }
  if (normalize) {
    const degree = new Float64Array(nodes);
    to.forEach((node, i) => degree[node] += value[i]);
    const inverse = degree.map((sum) => sum > 0 ? 1 / Math.sqrt(sum) : 0);
    from.forEach((node, i) => value[i] *= inverse[node] * inverse[to[i]]);
  }
  return { source: Int32Array.from(from), target: Int32Array.from(to), weight: Float32Array.from(value) };
}

/**
 * One graph convolution over one graph, given as edges.
 *
 * @param x [nodes, in]
 * @param parameters weight [out, in], bias [out].
 * @returns [nodes, out]
 *
 * @example A node alone passes through the linear layer
 * ```ts
 * import assert from "node:assert/strict";
 * import { tf } from "tessera/tensor/mod.ts";
 * const y = gcnConv(tf.tensor2d([[3]]), normaliseEdges(1, [], []), { weight: tf.tensor2d([[2]]) });
 * assert.deepEqual(y.arraySync(), [[6]]);
 * ```
 */
export function gcnConv(x: tf.Tensor2D, edges: WeightedEdges, { weight, bias }: LinearParameters): tf.Tensor2D {
  return tidy(() => {
    const projected = linear(x, { weight });
    const place = tf.tensor2d(edges.source, [1, edges.source.length], "int32");
    const messages = gatherTokens(projected.expandDims<tf.Tensor3D>(0), place).squeeze<tf.Tensor2D>([0])
      .mul<tf.Tensor2D>(tf.tensor2d(edges.weight, [edges.weight.length, 1]));
    const sum = segmentSum(messages, tf.tensor1d(edges.target, "int32"), x.shape[0]);
    return bias ? sum.add(bias) : sum;
  });
}

/** Parameters of the graph encoder: a vector per node of the knowledge graph, and two convolutions. */
export interface GraphEncoderParameters {
  readonly nodes: { readonly weight: tf.Tensor2D };
  readonly gcn: readonly [LinearParameters, LinearParameters];
}

/**
 * Two graph convolutions with a ReLU between, over many small graphs at once.
 *
 * @param x [graphs, nodes, in], padded.
 * @param adjacency [graphs, nodes, nodes]: entry [t, s] is the weight of the edge from s to t, see {@link normaliseEdges};
 *   0 where there is none or padding.
 * @returns [graphs, nodes, out]. Rows of padding hold the bias; whoever pools must leave them out.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { tf } from "tessera/tensor/mod.ts";
 * const one = { weight: tf.tensor2d([[1]]) };
 * const y = encodeGraphs(tf.tensor3d([[[-2], [5]]]), tf.tensor3d([[[1, 0], [0, 1]]]), [one, one]);
 * assert.deepEqual(y.arraySync(), [[[0], [5]]]); // two nodes without an edge between them
 * ```
 */
export function encodeGraphs(
  x: tf.Tensor3D,
  adjacency: tf.Tensor3D,
  gcn: readonly [LinearParameters, LinearParameters],
): tf.Tensor3D {
  return tidy(() => {
    const layer = (input: tf.Tensor3D, { weight, bias }: LinearParameters) => {
      const mixed = tf.matMul(adjacency, linear(input, { weight })) as tf.Tensor3D;
      return bias ? mixed.add<tf.Tensor3D>(bias) : mixed;
    };
    return layer(tf.relu(layer(x, gcn[0])), gcn[1]);
  });
}

/**
 * The mean of the nodes that count.
 *
 * @param x [graphs, nodes, channels]
 * @param counts [graphs, nodes]: 1 for a node that counts, 0 for padding. Where none counts, the mean is 0.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { tf } from "tessera/tensor/mod.ts";
 * assert.deepEqual(meanOfNodes(tf.tensor3d([[[1], [3], [99]]]), tf.tensor2d([[1, 1, 0]])).arraySync(), [[2]]);
 * ```
 */
export function meanOfNodes(x: tf.Tensor3D, counts: tf.Tensor2D): tf.Tensor2D {
  return tidy(() => {
    const sum = tf.mul(x, counts.expandDims(2)).sum(1);
    return tf.div<tf.Tensor2D>(sum, counts.sum(1, true).maximum(1));
  });
}
