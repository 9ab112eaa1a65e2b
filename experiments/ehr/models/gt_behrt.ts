/**
 * GT-BEHRT: each visit is a graph, of its codes and one node that reads them out, with typed edges; a graph transformer makes
 * a vector of it, and a BERT reads the vectors of all visits. Trained in two steps before it sees a label: on codes that are
 * masked in their visit's graph, and on a code that is missing from a visit, with the visit's type, seen from the history.
 *
 * Poulain & Beheshti, "Graph Transformers on EHRs: Better Representation Improves Downstream Performance", ICLR 2024.
 * Checked against the authors' code (tests/golden, `gt_behrt.*`). There, the norms in the graph run over all nodes of a
 * batch, so that one patient's result depends on the others; here they run over one visit's (`parity: true` follows them).
 * Ages, days of the year and positions are sinusoids here, frozen random numbers there.
 *
 * Sizes are the caller's; the paper's: width 540 (5 x 108), 6 layers, 12 heads, MLP 512, three graph layers of 2 heads.
 *
 * @module
 */
import {
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
  type NormParameters,
  parameter,
  trainable,
} from "../../../lib/nn/mod.ts";
import { random } from "../../../lib/random.ts";
import { foldIn, gatherTokens, randomUniform, segmentSum, tf, tidy } from "../../../lib/tensor/mod.ts";
import { reserved } from "../../../lib/tokenization/mod.ts";
import { codeInputLayers, type CodeInputParameters, type CodeVectors } from "../code_input.ts";
import {
  binaryCrossEntropy,
  codeMask,
  disposeParameters,
  type EHRModel,
  maskedCrossEntropy,
  type Stage,
  visitMask,
} from "../model.ts";
import type { RecordBatch } from "../records.ts";
import { behrtGuess, behrtPool, maskCodes, rowsOf, sinusoid } from "./behrt.ts";

/** Sizes, and what can be switched off. */
export interface GTBEHRTConfig {
  /** Of a node, and of each of the five parts of a visit. */
  readonly part: number;
  readonly layers: number;
  readonly heads: number;
  readonly mlpWidth: number;
  readonly ages: number;
  readonly positions: number;
  /** Types of visits, padding included. The authors': 11. */
  readonly visitTypes: number;
  readonly outputs: number;
  readonly dropout: number;
  /** Heads of the graph's layers. Default: 2. */
  readonly graphHeads?: number;
  /** Whether edges have types. Default: true. */
  readonly typedEdges?: boolean;
  /** Whether codes of one visit see one another, and not the reading node alone. Default: true. */
  readonly codeEdges?: boolean;
  /** Which pre-training there is. Default: both. */
  readonly pretrain?: "both" | "none";
}

/** Types of edges: from the reading node to each kind of code, within a kind, and between two kinds. */
export const EDGE_TYPES = 7;
const KINDS = 4; // the reading node, diagnosis, procedure, drug

/** The type of an edge between nodes of two kinds. */
function edgeType(a: number, b: number): number {
  if (a > b) return edgeType(b, a);
  if (a === 0) return Math.max(0, b - 1);
  return a === b ? 3 : a + b + 1; // 1 + 2: 4, 1 + 3: 5, 2 + 3: 6
}

/** Describes one layer of the graph transformer. The layer that averages its heads has a projection too, unused. */
export function graphLayer(width: number, heads: number) {
  const wide = () => linearLayer(width, heads * width);
  return {
    key: wide(),
    query: wide(),
    value: wide(),
    edge: linearLayer(width, heads * width, { bias: false }),
    norm1: normLayer(width),
    norm2: normLayer(width),
    proj: linearLayer(heads * width, width),
    ffn: linearLayer(width, width),
    ffn2: linearLayer(width, width),
  };
}

/** Parameters that {@link graphLayer} describes. */
export type GraphLayerParameters = Described<ReturnType<typeof graphLayer>>;

/** Whether the heads of a layer are joined and projected, or averaged. */
export type Heads = {
  readonly heads: number;
  readonly join: boolean;
  readonly dropout?: number;
  readonly key?: tf.Tensor1D | undefined;
};

/** A norm: of node states, by its parameters. */
export type GraphNorm<T extends tf.Tensor> = (x: T, parameters: NormParameters) => T;

/**
 * The authors' norms in a graph: one mean and variance over all nodes and channels.
 *
 * @param graph int32 [nodes]: which graph each is of; then each graph has its own, and epsilon is added to the variance.
 *   Without it, all nodes of the batch are one graph, and epsilon is added to the standard deviation.
 */
export function normOverNodes(graph?: tf.Tensor1D, graphs = 1): GraphNorm<tf.Tensor2D> {
  return (x, { weight, bias }) =>
    tidy(() => {
      if (!graph) {
        const centred = x.sub(x.mean());
        return centred.div(centred.square().mean().sqrt().add(1e-5)).mul(weight).add<tf.Tensor2D>(bias);
      }
      const count = segmentSum(tf.onesLike(x).sum(1) as tf.Tensor1D, graph, graphs).reshape([graphs, 1]);
      const of = (values: tf.Tensor2D) => {
        const mean = segmentSum(values.sum(1).expandDims<tf.Tensor2D>(1), graph, graphs).div(count);
        return gatherTokens(mean.expandDims<tf.Tensor3D>(0), graph.expandDims<tf.Tensor2D>(0)).squeeze<tf.Tensor2D>([
          0,
        ]);
      };
      const centred = x.sub<tf.Tensor2D>(of(x));
      return centred.mul(of(centred.square()).add(1e-5).rsqrt()).mul(weight).add<tf.Tensor2D>(bias);
    });
}

/**
 * A layer over any graph, given as edges: what the authors' code does.
 *
 * @param x [nodes, width]
 * @param source int32 [edges]; `target` the same: a node gathers from the sources of its incoming edges.
 * @param edges [edges, width]: their vectors, added to keys and to values.
 */
export function graphTransformerOverEdges(
  x: tf.Tensor2D,
  source: tf.Tensor1D,
  target: tf.Tensor1D,
  edges: tf.Tensor2D,
  parameters: GraphLayerParameters,
  { heads, join }: Heads,
  norms: readonly [GraphNorm<tf.Tensor2D>, GraphNorm<tf.Tensor2D>],
): { x: tf.Tensor2D; attention: tf.Tensor2D } {
  return tidy(() => {
    const [nodes, width] = x.shape;
    const normed = norms[0](x, parameters.norm1);
    const pick = (values: tf.Tensor2D, at: tf.Tensor1D) =>
      gatherTokens(values.expandDims<tf.Tensor3D>(0), at.expandDims<tf.Tensor2D>(0)).reshape<tf.Tensor3D>([
        -1,
        heads,
        width,
      ]);
    const edge = linear(edges, parameters.edge).reshape<tf.Tensor3D>([-1, heads, width]);
    const query = pick(linear(normed, parameters.query), target);
    const key = pick(linear(normed, parameters.key), source).add(edge);
    const value = pick(linear(normed, parameters.value), source).add<tf.Tensor3D>(edge);
    const logits = query.mul(key).sum(2).div(Math.sqrt(width)) as tf.Tensor2D;
    const odds = logits.sub(logits.max()).exp() as tf.Tensor2D;
    const sums = segmentSum(odds, target, nodes);
    const attention = odds.div<tf.Tensor2D>(pickRows(sums, target));
    const messages = segmentSum(value.mul<tf.Tensor3D>(attention.expandDims(2)), target, nodes); // [nodes, heads, width]
    const joined = join ? linear(messages.reshape<tf.Tensor2D>([nodes, -1]), parameters.proj) : messages.mean(1);
    return { x: afterMessages(x, joined as tf.Tensor2D, parameters, norms[1], 0), attention };
  });
}

function pickRows(x: tf.Tensor2D, at: tf.Tensor1D): tf.Tensor2D {
  return gatherTokens(x.expandDims<tf.Tensor3D>(0), at.expandDims<tf.Tensor2D>(0)).squeeze<tf.Tensor2D>([0]);
}

function afterMessages<T extends tf.Tensor>(
  x: T,
  messages: T,
  { norm2, ffn, ffn2 }: GraphLayerParameters,
  norm: GraphNorm<T>,
  rate: number,
  key?: tf.Tensor1D,
): T {
  const added = tf.add<T>(dropout(messages, rate, key && foldIn(key, 1)), x);
  const thought = dropout(gelu(linear(norm(added, norm2), ffn)), rate, key && foldIn(key, 2));
  return tf.add<T>(dropout(linear(thought, ffn2), rate, key && foldIn(key, 3)), added);
}

/** Visits as graphs, all of one size: node 0 reads out. */
export interface VisitGraphs {
  /** [graphs, nodes, kinds]: one 1 for each node, none for padding. */
  readonly kinds: tf.Tensor3D;
  /** [graphs, nodes, nodes]: 1 where the first may look at the second. */
  readonly edges: tf.Tensor3D;
}

/**
 * The same layer over many small graphs whose edges have the type of their two ends: no list of edges, only products. An
 * edge's vector depends on two kinds, so what it adds to a logit is one of four numbers per node.
 *
 * @param x [graphs, nodes, width]
 * @param types [edge types, width]
 */
export function graphTransformer(
  x: tf.Tensor3D,
  graphs: VisitGraphs,
  types: tf.Tensor2D | undefined,
  parameters: GraphLayerParameters,
  { heads, join, dropout: rate = 0, key }: Heads,
): tf.Tensor3D {
  return tidy(() => {
    const [count, nodes, width] = x.shape;
    const there = graphs.kinds.sum(2, true) as tf.Tensor3D;
    const norm: GraphNorm<tf.Tensor3D> = (y, p) => normOverVisit(y, there, p);
    const normed = norm(x, parameters.norm1);
    const split = (values: tf.Tensor3D) =>
      values.reshape([count, nodes, heads, width]).transpose<tf.Tensor4D>([2, 0, 1, 3]); // [heads, graphs, nodes, width]
    const [query, keys, values] = (["query", "key", "value"] as const).map((name) =>
      split(linear(normed, parameters[name]))
    );
    let logits = tf.matMul(query, keys, false, true);
    const kinds = graphs.kinds.expandDims(0) as tf.Tensor4D; // [1, graphs, nodes, kinds]
    const edge = types &&
      linear(types, parameters.edge).reshape([EDGE_TYPES, heads, width]).transpose<tf.Tensor3D>([1, 0, 2]);
    if (edge) {
      // what a node's edge to each kind adds: of all types, those of its own kind
      const ofTypes = tf.matMul(query.reshape<tf.Tensor3D>([heads, count * nodes, width]), edge, false, true);
      const ofPairs = tf.matMul(ofTypes.reshape([-1, EDGE_TYPES]), typeOfPairs()) // [.., own kind x other kind]
        .reshape([heads, count, nodes, KINDS, KINDS]).mul(kinds.expandDims(4)).sum(3);
      logits = logits.add(tf.matMul(ofPairs, kinds.tile([heads, 1, 1, 1]), false, true));
    }
    const allowed = graphs.edges.expandDims(0);
    const scaled = logits.div(Math.sqrt(width)).mul(allowed).add(tf.sub(1, allowed).mul(-1e9));
    const attention = dropout(tf.softmax(scaled, 3).mul<tf.Tensor4D>(allowed), rate, key && foldIn(key, 0));
    let messages = tf.matMul(attention, values); // [heads, graphs, nodes, width]
    if (edge) {
      const toKinds = tf.matMul(attention, kinds.tile([heads, 1, 1, 1])); // how much a node looks at each kind
      const toPairs = kinds.expandDims(4).mul(toKinds.expandDims(3)).reshape([-1, KINDS * KINDS]);
      const toTypes = tf.matMul(toPairs, typeOfPairs(), false, true).reshape<tf.Tensor3D>([heads, -1, EDGE_TYPES]);
      messages = messages.add(tf.matMul(toTypes, edge).reshape(messages.shape));
    }
    const joined = join
      ? linear(messages.transpose([1, 2, 0, 3]).reshape<tf.Tensor3D>([count, nodes, heads * width]), parameters.proj)
      : messages.mean<tf.Tensor3D>(0);
    return afterMessages(x, joined, parameters, norm, rate, key);
  });
}

/** [types, kinds x kinds]: 1 where two kinds make an edge of this type. */
function typeOfPairs(): tf.Tensor2D {
  const pairs = new Float32Array(EDGE_TYPES * KINDS * KINDS);
  for (let a = 0; a < KINDS; a++) {
    for (let b = 0; b < KINDS; b++) pairs[edgeType(a, b) * KINDS ** 2 + a * KINDS + b] = 1;
  }
  return tf.tensor2d(pairs, [EDGE_TYPES, KINDS ** 2]);
}

/** Norm over the nodes and channels of each visit. */
function normOverVisit(x: tf.Tensor3D, there: tf.Tensor3D, { weight, bias }: NormParameters): tf.Tensor3D {
  return tidy(() => {
    const count = tf.maximum(there.sum([1, 2], true).mul(x.shape[2]), 1);
    const centred = x.sub(x.mul(there).sum([1, 2], true).div(count));
    const variance = centred.square().mul(there).sum([1, 2], true).div(count);
    return centred.mul(variance.add(1e-5).rsqrt()).mul(weight).add<tf.Tensor3D>(bias);
  });
}

/** Describes GT-BEHRT without its codes. */
export function gtBEHRTLayers(config: GTBEHRTConfig) {
  const { part, layers, mlpWidth, ages, positions, visitTypes, outputs, graphHeads = 2 } = config;
  const width = 5 * part;
  const rows = (count: number) => embeddingLayer(count, part, normal(part ** -0.5));
  const frozen = (count: number) => ({ weight: parameter<tf.Rank.R2>([count, part], () => sinusoid(count, part)) });
  return {
    edgeTypes: rows(EDGE_TYPES),
    graph: Array.from({ length: 3 }, () => graphLayer(part, graphHeads)),
    visitType: rows(visitTypes),
    frozen: { age: frozen(ages), dayOfYear: frozen(367), position: frozen(positions) },
    classToken: parameter<tf.Rank.R2>([1, width], normal(1)),
    join: {
      norm: normLayer(width),
      dense1: linearLayer(width, width),
      dense2: linearLayer(width, width),
      last: normLayer(width),
    },
    blocks: Array.from({ length: layers }, () => blockLayer(width, mlpWidth)),
    pooler: linearLayer(width, width),
    head: linearLayer(width, outputs),
  };
}

/** Parameters that {@link gtBEHRTLayers} describes. */
export type GTBEHRTParameters = Described<ReturnType<typeof gtBEHRTLayers>>;

/** What stands beside a visit's vector, int32 [batch, visits] each. */
export interface VisitFeatures {
  readonly type: tf.Tensor2D;
  readonly position: tf.Tensor2D;
  readonly age: tf.Tensor2D;
  readonly dayOfYear: tf.Tensor2D;
}

/** The class token and all visits, as the BERT reads them: [batch, 1 + visits, width]. */
export function visitEmbeddings(
  visits: tf.Tensor3D,
  { type, position, age, dayOfYear }: VisitFeatures,
  { visitType, frozen, classToken, join }: Pick<GTBEHRTParameters, "visitType" | "frozen" | "classToken" | "join">,
): tf.Tensor3D {
  return tidy(() => {
    const parts = [
      visits,
      rowsOf(visitType.weight, type),
      rowsOf(frozen.position.weight, position),
      rowsOf(frozen.age.weight, age),
      rowsOf(frozen.dayOfYear.weight, dayOfYear),
    ];
    const first = classToken.expandDims<tf.Tensor3D>(0).tile([visits.shape[0], 1, 1]);
    const all = layerNorm(tf.concat([first, tf.concat(parts, 2)], 1) as tf.Tensor3D, join.norm);
    return layerNorm(gelu(linear(gelu(linear(all, join.dense1)), join.dense2)), join.last);
  });
}

/** The BERT over visits; states [batch, 1 + visits, width]. */
export function encodeVisits(
  embeddings: tf.Tensor3D,
  mask: tf.Tensor2D,
  blocks: GTBEHRTParameters["blocks"],
  { heads, dropout: rate }: Pick<GTBEHRTConfig, "heads" | "dropout">,
  key?: tf.Tensor1D,
): tf.Tensor3D {
  return tidy(() => {
    let x = embeddings;
    blocks.forEach((each, i) => {
      const own = key && foldIn(key, i);
      x = block(x, each, { heads, mask, norm: "post", epsilon: 1e-12, dropout: rate, key: own }).x;
    });
    return x;
  });
}

/** GT-BEHRT on health records. */
export function gtBEHRT(vectors: CodeVectors, config: GTBEHRTConfig, seed: number): EHRModel {
  const { part, graphHeads = 2, dropout: rate, visitTypes, typedEdges = true, codeEdges = true } = config;
  const described = {
    codes: codeInputLayers(vectors.input, part),
    ...gtBEHRTLayers(config),
    guess: { dense: linearLayer(part, part), norm: normLayer(part) },
    missing: { dense: linearLayer(5 * part, part), norm: normLayer(part) },
    typeHead: linearLayer(5 * part, visitTypes),
  };
  const parameters = trainable(initialise(described, random(seed, "gt-behrt")), (name) => !name.startsWith("frozen"));
  const tableOf = () => vectors.table(parameters.codes as CodeInputParameters);

  /** States of all nodes of all visits, [batch x visits, 1 + codes, part]. */
  const nodesOf = (batch: RecordBatch, codes: tf.Tensor3D, table: tf.Tensor2D, key?: tf.Tensor1D) => {
    const [size, visits, places] = codes.shape;
    const graphs = size * visits;
    const reading = <T extends tf.Tensor>(value: number, rest: T) =>
      tf.concat([tf.fill([graphs, 1], value, "int32"), rest.reshape([graphs, places])], 1) as tf.Tensor2D;
    const isThere = tf.greater(codes, tf.scalar(0, "int32")).cast("int32");
    const kind = reading(1, batch.kinds.add(tf.scalar(1, "int32")).mul(isThere)); // 0: padding
    const kinds = tf.oneHot(kind, KINDS + 1).slice([0, 0, 1], [-1, -1, KINDS]).cast("float32") as tf.Tensor3D;
    const there = kinds.sum(2).expandDims(2);
    const pairs = tf.matMul(there, there, false, true).mul(tf.sub(1, tf.eye(places + 1)));
    const isReading = kinds.slice([0, 0, 0], [-1, -1, 1]);
    const star = tf.maximum(isReading, isReading.transpose([0, 2, 1]));
    const edges = (codeEdges ? pairs : pairs.mul(star)) as tf.Tensor3D;
    let x = rowsOf(table, reading(reserved.CLS, codes));
    parameters.graph.forEach((layer, i) => {
      const options = { heads: graphHeads, join: i < 2, dropout: rate, key: key && foldIn(key, i) };
      x = graphTransformer(x, { kinds, edges }, typedEdges ? parameters.edgeTypes.weight : undefined, layer, options);
      if (i < 2) x = gelu(x);
    });
    return x;
  };
  const statesOf = (
    batch: RecordBatch,
    codes: tf.Tensor3D,
    table: tf.Tensor2D,
    types: tf.Tensor2D,
    key?: tf.Tensor1D,
  ) => {
    const [size, visits] = codes.shape;
    const nodes = nodesOf(batch, codes, table, key && foldIn(key, 0));
    const read = nodes.slice([0, 0, 0], [-1, 1, -1]).reshape<tf.Tensor3D>([size, visits, part]);
    const order = tf.range(0, visits, 1, "int32").reshape([1, visits]).tile([size, 1]) as tf.Tensor2D;
    const features = { type: types, position: order, age: batch.ageMonths, dayOfYear: batch.dayOfYear };
    const mask = tf.concat([tf.ones([size, 1]), visitMask(batch)], 1) as tf.Tensor2D;
    return encodeVisits(
      visitEmbeddings(read, features, parameters),
      mask,
      parameters.blocks,
      config,
      key && foldIn(key, 1),
    );
  };
  const logits = (batch: RecordBatch, key?: tf.Tensor1D) =>
    tidy(() =>
      linear(behrtPool(statesOf(batch, batch.codes, tableOf(), batch.visitKind, key), parameters), parameters.head)
    );

  const inVisit: Stage = {
    name: "guess codes masked in their visit",
    epochs: 0.5,
    loss: (batch, key) =>
      tidy(() => {
        const [size, visits, places] = batch.codes.shape;
        const flat = batch.codes.reshape<tf.Tensor2D>([size * visits, places]);
        const table = tableOf();
        const { shown, labels } = maskCodes(flat, vectors.count, 0.15, foldIn(key, 0));
        const nodes = nodesOf(batch, shown.reshape([size, visits, places]), table, foldIn(key, 1));
        const guessed = behrtGuess(nodes.slice([0, 1, 0], [-1, places, -1]), table, parameters.guess);
        return maskedCrossEntropy(guessed, labels);
      }),
  };
  const inHistory: Stage = {
    name: "guess a visit's missing code and its type",
    epochs: 0.5,
    loss: (batch, key) =>
      tidy(() => {
        const [size, visits, places] = batch.codes.shape;
        const there = codeMask(batch);
        const hides = tf.less(randomUniform(foldIn(key, 0), [size, visits]), tf.scalar(0.3)).cast("float32")
          .mul(visitMask(batch));
        // one of its codes, each as likely
        const order = randomUniform(foldIn(key, 1), [size, visits, places]).add(there).argMax(2).toInt() as tf.Tensor2D;
        const isMissing = tf.oneHot(order, places).cast("int32").mul(hides.toInt().expandDims(2)) as tf.Tensor3D;
        const target = batch.codes.mul(isMissing).sum(2).toInt() as tf.Tensor2D;
        const left = batch.codes.mul(tf.sub(tf.scalar(1, "int32"), isMissing)).toInt() as tf.Tensor3D;
        const table = tableOf();
        const hidden = batch.visitKind.mul(tf.sub(tf.scalar(1, "int32"), hides.toInt())).toInt() as tf.Tensor2D;
        const states = statesOf(batch, left, table, hidden, foldIn(key, 2)).slice([0, 1, 0], [-1, visits, -1]);
        const none = tf.fill<tf.Rank.R2>([size, visits], -1, "int32");
        const isHidden = tf.greater(hides, tf.scalar(0));
        const code = maskedCrossEntropy(
          behrtGuess(states, table, parameters.missing),
          tf.where(isHidden, target, none).toInt(),
        );
        const type = maskedCrossEntropy(
          linear(states, parameters.typeHead),
          tf.where(isHidden, batch.visitKind, none).toInt(),
        );
        return code.add<tf.Scalar>(type);
      }),
  };
  return {
    name: "GT-BEHRT",
    parameters,
    stages: [
      ...(config.pretrain === "none" ? [] : [inVisit, inHistory]),
      { name: "labels", loss: (batch, key) => tidy(() => binaryCrossEntropy(logits(batch, key), batch.labels)) },
    ],
    logits,
    dispose: () => disposeParameters(parameters),
  };
}
