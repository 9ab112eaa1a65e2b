/**
 * VQGraph as a tokenizer of codes: a graph convolution makes a state of each node of the knowledge graph, a codebook gives
 * the state one token, and the token must rebuild the node and its edges.
 *
 * Yang et al., "VQGraph: Rethinking Graph Representation Space for Bridging GNNs and MLPs", ICLR 2024, arXiv:2308.02117.
 * Checked against the authors' code (tests/golden, `vqgraph.*`): rows that a batch does not use are pulled to unit length,
 * rows that are looked up are not normalised again, and no dead row is replaced.
 *
 * @module
 */
import {
  type Described,
  initialise,
  linear,
  linearLayer,
  type LinearParameters,
  normal,
  parameter,
  trainable,
} from "../../../lib/nn/mod.ts";
import { random } from "../../../lib/random.ts";
import { gatherTokens, stopGradient, straightThrough, tf, tidy } from "../../../lib/tensor/mod.ts";
import { adam, examples, fit, trainStep } from "../../../lib/train/mod.ts";
import { type KnowledgeGraph, unitRows } from "../../../lib/tokenization/mod.ts";
import { disposeParameters } from "../model.ts";
import type { Rows } from "../code_input.ts";

/** A codebook that follows its states by a moving average. */
export interface EMACodebook {
  /** [rows, width] */
  readonly codebook: tf.Tensor2D;
  /** [rows]: how many states a row had. */
  readonly clusterSize: tf.Tensor1D;
  /** [rows, width]: sums of states; of the Euclidean form alone. */
  readonly sums?: tf.Tensor2D | undefined;
}

/** Options of {@link quantizeEMA}. */
export interface EMAOptions {
  /** By cosine, or by Euclidean distance. Default: true. */
  readonly cosine?: boolean;
  /** Default: 0.8. */
  readonly decay?: number;
  /** Default: 0.25. */
  readonly commitment?: number;
}

/** What {@link quantizeEMA} gives. */
export interface EMAQuantized {
  /** [states, width]: the row, with the gradient of the state. */
  readonly quantized: tf.Tensor2D;
  /** int32 [states] */
  readonly indices: tf.Tensor1D;
  /** [states, rows]: cosine, or minus the distance. */
  readonly similarity: tf.Tensor2D;
  /** Commitment of the raw states. */
  readonly loss: tf.Scalar;
  /** The codebook after this batch; the lookup was before. */
  readonly next: EMACodebook;
}

/**
 * The nearest row of each state, and the codebook moved towards the states that it had.
 *
 * @param x [states, width]
 */
export function quantizeEMA(
  x: tf.Tensor2D,
  { codebook, clusterSize, sums }: EMACodebook,
  { cosine = true, decay = 0.8, commitment = 0.25 }: EMAOptions = {},
): EMAQuantized {
  return tidy(() => {
    const states = stopGradient(cosine ? unitRows(x) : x);
    const rows = cosine ? unitRows(codebook) : codebook;
    const inner = tf.matMul(states, rows, false, true);
    const squares = states.square().sum(1, true).add(rows.square().sum(1));
    const similarity = (cosine ? inner : tf.relu(squares.sub(inner.mul(2))).sqrt().neg()) as tf.Tensor2D;
    const indices = similarity.argMax(1).toInt() as tf.Tensor1D;
    const row = gatherTokens(codebook.expandDims<tf.Tensor3D>(0), indices.expandDims<tf.Tensor2D>(0))
      .squeeze<tf.Tensor2D>([0]); // as it is stored: not of unit length
    const loss = x.sub(stopGradient(row)).square().mean().mul<tf.Scalar>(commitment);
    const oneHot = tf.oneHot(indices, codebook.shape[0]).cast("float32") as tf.Tensor2D;
    const counts = oneHot.sum(0) as tf.Tensor1D;
    const total = tf.matMul(oneHot, states, true, false);
    const moved = <T extends tf.Tensor>(old: T, now: tf.Tensor) => old.mul(decay).add<T>(now.mul(1 - decay));
    const nextSize = moved(clusterSize, counts);
    const next = { clusterSize: nextSize, codebook: codebook, sums };
    if (cosine) {
      const mean = unitRows(total.div<tf.Tensor2D>(tf.maximum(counts, 1).expandDims(1)));
      const isUsed = tf.greater(counts, tf.scalar(0)).expandDims(1);
      next.codebook = moved(codebook, tf.where(isUsed.tile([1, x.shape[1]]), mean, rows));
    } else {
      next.sums = moved(sums ?? codebook, total);
      const epsilon = 1e-5, whole = nextSize.sum();
      const smooth = nextSize.add(epsilon).div(whole.add(codebook.shape[0] * epsilon)).mul(whole); // Laplace
      next.codebook = next.sums.div<tf.Tensor2D>(smooth.expandDims(1));
    }
    return { quantized: straightThrough(row, x), indices, similarity, loss, next };
  });
}

/** D_in^-1/2 Aᵀ D_out^-1/2 of directed edges, without loops, [nodes, nodes]; and A itself. */
export function normalisedAdjacency(nodes: number, source: ArrayLike<number>, target: ArrayLike<number>) {
  const adjacency = new Float32Array(nodes * nodes);
  const out = new Float64Array(nodes), into = new Float64Array(nodes);
  for (let e = 0; e < source.length; e++) {
    adjacency[source[e] * nodes + target[e]] += 1;
    out[source[e]]++;
    into[target[e]]++;
  }
  const scaled = new Float32Array(nodes * nodes);
  for (let e = 0; e < source.length; e++) {
    scaled[target[e] * nodes + source[e]] += 1 / Math.sqrt(Math.max(1, out[source[e]]) * Math.max(1, into[target[e]]));
  }
  const shape: [number, number] = [nodes, nodes];
  return { adjacency: tf.tensor2d(adjacency, shape), normalised: tf.tensor2d(scaled, shape) };
}

/** Describes VQGraph's GCN teacher. */
export function vqgraphLayers(inputs: number, hidden: number, outputs: number) {
  return {
    graph_layer_1: linearLayer(inputs, inputs),
    graph_layer_2: linearLayer(inputs, hidden),
    decoder_1: linearLayer(inputs, inputs),
    decoder_2: linearLayer(inputs, inputs),
    linear: linearLayer(hidden, outputs),
  };
}

/** Parameters that {@link vqgraphLayers} describes. */
export type VQGraphParameters = Described<ReturnType<typeof vqgraphLayers>>;

/** Weights of what the tokens must rebuild. */
export interface VQGraphWeights {
  /** Default: 0.03. */
  readonly edge?: number;
  /** Default: 0.001. */
  readonly node?: number;
}

/**
 * The teacher: states, tokens, and what they rebuild.
 *
 * @param x [nodes, inputs]
 */
export function vqgraphTeacher(
  x: tf.Tensor2D,
  { adjacency, normalised }: { adjacency: tf.Tensor2D; normalised: tf.Tensor2D },
  parameters: VQGraphParameters,
  book: EMACodebook,
  { edge = 0.03, node = 0.001 }: VQGraphWeights = {},
): { h: tf.Tensor2D; hidden: tf.Tensor2D; logits: tf.Tensor2D; loss: tf.Scalar; tokens: EMAQuantized } {
  return tidy(() => {
    const convolve = (y: tf.Tensor2D, layer: LinearParameters) =>
      tf.relu(tf.matMul(normalised, linear(y, { weight: layer.weight })).add<tf.Tensor2D>(layer.bias!));
    const h = convolve(x, parameters.graph_layer_1);
    const tokens = quantizeEMA(h, book);
    const forEdges = linear(tokens.quantized, parameters.decoder_1);
    const forNodes = linear(tokens.quantized, parameters.decoder_2);
    const nodeLoss = h.sub(forNodes).square().mean().mul(node);
    const inner = tf.matMul(forEdges, forEdges, false, true);
    const [least, most] = [inner.min(), inner.max()];
    const rebuilt = inner.sub(least).div(most.sub(least));
    const edgeLoss = adjacency.sub(rebuilt).square().mean().sqrt().mul(edge);
    const hidden = convolve(forEdges, parameters.graph_layer_2);
    const loss = nodeLoss.add(edgeLoss).add<tf.Scalar>(tokens.loss);
    return { h, hidden, logits: linear(hidden, parameters.linear), loss, tokens };
  });
}

/** Options of {@link vqgraphVectors}. */
export interface VQGraphOptions {
  /** Default: 64. */
  readonly width?: number;
  /** Rows of the codebook. Default: 120. */
  readonly rows?: number;
  /** Default: 200. */
  readonly steps?: number;
  readonly seed?: number;
}

/**
 * Trains VQGraph on a knowledge graph, node types being what it classifies, and gives each code the mean of its nodes' rows.
 *
 * Nodes have no features, so they start from random ones, which are trained.
 *
 * @param nodesOf The nodes of each code, by place in the graph.
 */
export async function vqgraphVectors(
  graph: KnowledgeGraph,
  nodesOf: readonly (readonly number[])[],
  { width = 64, rows = 120, steps = 200, seed = 0 }: VQGraphOptions = {},
): Promise<Rows & { readonly used: number }> {
  const nodes = graph.nodes.length;
  // both directions of each edge are among the neighbours
  const source = Int32Array.from(graph.neighbours);
  const target = Int32Array.from({ length: source.length });
  for (let node = 0; node < nodes; node++) target.fill(node, graph.offsets[node], graph.offsets[node + 1]);
  const matrices = normalisedAdjacency(nodes, source, target);
  const kinds = [...new Set(graph.nodes.map(({ kind }) => kind))];
  const labels = tf.tensor1d(graph.nodes.map(({ kind }) => kinds.indexOf(kind)), "int32");
  const draw = random(seed, "vqgraph");
  const described = {
    ...vqgraphLayers(width, width, kinds.length),
    features: parameter<tf.Rank.R2>([nodes, width], normal(1)),
  };
  const parameters = trainable(initialise(described, draw));
  const book = {
    codebook: tf.variable(unitRows(tf.tensor2d(draw.stream("codebook").normals(rows * width), [rows, width])), false),
    clusterSize: tf.variable(tf.zeros<tf.Rank.R1>([rows]), false),
  };
  const step = trainStep(
    (_: tf.Tensor) => {
      const { logits, loss, tokens } = vqgraphTeacher(parameters.features, matrices, parameters, book);
      book.codebook.assign(tokens.next.codebook);
      book.clusterSize.assign(tokens.next.clusterSize);
      const type = tf.logSoftmax(logits).mul(tf.oneHot(labels, kinds.length)).sum(1).mean().neg();
      return loss.add(type);
    },
    adam({ learningRate: 5e-3 }),
    parameters,
  );
  const data = examples(tf.zeros([1]));
  await fit({ step, data, epochs: steps, batch: 1, seed, show: false });
  step.dispose();
  const { indices, stored } = tidy(() => {
    const { tokens } = vqgraphTeacher(parameters.features, matrices, parameters, book);
    return { indices: tokens.indices.dataSync(), stored: book.codebook.dataSync() };
  });
  disposeParameters({ ...parameters, ...book, ...matrices, labels });
  const vectors = new Float32Array(nodesOf.length * width);
  nodesOf.forEach((own, code) => {
    for (const node of own) {
      for (let j = 0; j < width; j++) vectors[code * width + j] += stored[indices[node] * width + j] / own.length;
    }
  });
  return { data: vectors, rows: nodesOf.length, width, used: new Set(indices).size };
}
