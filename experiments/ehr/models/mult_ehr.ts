/**
 * MulT-EHR: patients, visits and codes as one graph of several types, read by a heterogeneous graph transformer; several
 * tasks share it. A second, random stack stands for what only correlates: its own prediction is pushed to chance, and the
 * prediction must stay right when its features are added (causal debiasing).
 *
 * Chan et al., "Multi-task Heterogeneous Graph Learning on Electronic Health Records", Neural Networks 180, 2024,
 * arXiv:2408.07569; the transformer: Hu et al., "Heterogeneous Graph Transformer", WWW 2020, arXiv:2003.01332.
 * Checked against the authors' code (tests/golden, `mult_ehr.*`): attention is normalised per relation and then averaged over
 * the relations that reach a node; they sum the divergence of the random stack over rows (`parity: true`), here it is a mean.
 *
 * The graph of a batch has its patients, their visits, and every code: a code hears from all visits of the batch, so that a
 * patient's result depends on who else is in the graph, as in the paper (labels never enter). Left out: TransE vectors as
 * node features; codes start from what the tokenizer gives.
 *
 * Sizes are the caller's; the paper's: 2 layers, hidden 64 to 128, 4 to 8 heads, weight of the causal terms 0.005.
 *
 * @module
 */
import {
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
  ones,
  parameter,
  trainable,
  xavierUniform,
} from "../../../lib/nn/mod.ts";
import { random } from "../../../lib/random.ts";
import { foldIn, gatherTokens, segmentSum, stopGradient, tf, tidy } from "../../../lib/tensor/mod.ts";
import { codeInputLayers, type CodeInputParameters, type CodeVectors } from "../code_input.ts";
import { binaryCrossEntropy, disposeParameters, type EHRModel } from "../model.ts";
import type { RecordBatch } from "../records.ts";

/** A kind of edge, and between which types of nodes it runs. */
export interface Relation {
  readonly source: string;
  readonly name: string;
  readonly target: string;
}

/** What kinds of nodes and edges a graph has. */
export interface GraphSchema {
  /** Types of nodes, in the order in which nodes stand. */
  readonly types: readonly string[];
  readonly relations: readonly Relation[];
}

/** A graph: edges as places in one list of nodes, type after type. */
export interface HeteroGraph {
  /** Nodes of each type. */
  readonly counts: readonly number[];
  /** int32 [edges]: row of the source among the messages: relation after relation, each with its source type's nodes. */
  readonly source: tf.Tensor1D;
  /** int32 [edges]: the target among all nodes. */
  readonly target: tf.Tensor1D;
  /** int32 [edges]: relation and target: relation after relation, each with its target type's nodes; negative: no edge. */
  readonly slot: tf.Tensor1D;
}

/** Describes a layer of the heterogeneous graph transformer. */
export function hgtLayer({ types, relations }: GraphSchema, width: number, heads: number, { norm = true } = {}) {
  const per = width / heads;
  const perType = () => types.map(() => linearLayer(width, width));
  return {
    relation_pri: parameter<tf.Rank.R2>([relations.length, heads], ones),
    relation_att: parameter<tf.Rank.R4>([relations.length, heads, per, per], xavierUniform()),
    relation_msg: parameter<tf.Rank.R4>([relations.length, heads, per, per], xavierUniform()),
    skip: parameter<tf.Rank.R1>([types.length], ones),
    k_linears: perType(),
    q_linears: perType(),
    v_linears: perType(),
    a_linears: perType(),
    norms: norm ? types.map(() => normLayer(width)) : [],
  };
}

/** Parameters that {@link hgtLayer} describes. */
export type HGTLayerParameters = Described<ReturnType<typeof hgtLayer>>;

/**
 * One layer of the heterogeneous graph transformer.
 *
 * All relations are worked on together: keys and messages of each relation are made for its source type's nodes, laid one
 * below the other, and picked once per edge.
 *
 * @param nodes Of each type, [nodes, width].
 */
export function hgt(
  nodes: readonly tf.Tensor2D[],
  { types, relations }: GraphSchema,
  graph: HeteroGraph,
  parameters: HGTLayerParameters,
  { heads, dropout: rate = 0, key }: {
    readonly heads: number;
    readonly dropout?: number;
    readonly key?: tf.Tensor1D | undefined;
  },
): tf.Tensor2D[] {
  return tidy(() => {
    const width = nodes[0].shape[1], per = width / heads;
    const typeOf = (name: string) => types.indexOf(name);
    const split = (x: tf.Tensor2D) => x.reshape<tf.Tensor3D>([-1, heads, per]).transpose<tf.Tensor3D>([1, 0, 2]);
    const projected = (linears: HGTLayerParameters["k_linears"]) => nodes.map((x, t) => split(linear(x, linears[t])));
    const [k, q, v] = [
      projected(parameters.k_linears),
      projected(parameters.q_linears),
      projected(parameters.v_linears),
    ];
    const turned = (of: readonly tf.Tensor3D[], by: tf.Tensor4D) =>
      tf.concat(
        relations.map(({ source }, r) => {
          const turn = by.slice([r, 0, 0, 0], [1, -1, -1, -1]).reshape<tf.Tensor3D>([heads, per, per]);
          return tf.matMul(of[typeOf(source)], turn); // [heads, nodes, per]
        }),
        1,
      ).transpose([1, 0, 2]).reshape<tf.Tensor2D>([-1, width]);
    const pick = (rows: tf.Tensor2D, at: tf.Tensor1D) =>
      gatherTokens(rows.expandDims<tf.Tensor3D>(0), at.expandDims<tf.Tensor2D>(0)).reshape<tf.Tensor3D>([
        -1,
        heads,
        per,
      ]);
    const keys = pick(turned(k, parameters.relation_att), graph.source);
    const messages = pick(turned(v, parameters.relation_msg), graph.source);
    const queries = pick(
      tf.concat(q, 1).transpose([1, 0, 2]).reshape<tf.Tensor2D>([-1, width]),
      graph.target,
    );
    const sizes = relations.map(({ target }) => graph.counts[typeOf(target)]);
    const starts = sizes.map((_, r) => sizes.slice(0, r).reduce((sum, size) => sum + size, 0));
    const slots = starts.at(-1)! + sizes.at(-1)!;
    const relationOf = tf.tensor1d(sizes.flatMap((size, r) => new Array(size).fill(r)), "int32");
    const isEdge = tf.greaterEqual(graph.slot, tf.scalar(0, "int32")).cast("float32").expandDims<tf.Tensor2D>(1);
    const safe = tf.maximum(graph.slot, tf.scalar(0, "int32")) as tf.Tensor1D;
    // priors of the relation that an edge is of
    const prior = rows(
      parameters.relation_pri,
      rows(relationOf.cast("float32").expandDims(1) as tf.Tensor2D, safe)
        .flatten().toInt() as tf.Tensor1D,
    );
    const logits = queries.mul(keys).sum(2).mul(prior).div<tf.Tensor2D>(Math.sqrt(per));
    const odds = stableOdds(logits, isEdge, graph.slot, safe, slots);
    const sums = segmentSum(odds, graph.slot, slots);
    // where there is no edge, 0 / 1: a tiny divisor would make its gradient NaN
    const weights = odds.div<tf.Tensor2D>(rows(sums, safe).mul(isEdge).add(tf.sub(1, isEdge)));
    const gathered = segmentSum(messages.mul<tf.Tensor3D>(weights.expandDims(2)), graph.slot, slots).reshape([
      slots,
      width,
    ]);
    const reached = tf.greater(segmentSum(isEdge, graph.slot, slots), tf.scalar(0)).cast("float32"); // [slots, 1]
    return nodes.map((x, t) => {
      const own = relations.flatMap(({ target }, r) => target === types[t] ? [r] : []);
      const parts = own.map((r) => gathered.slice([starts[r], 0], [sizes[r], -1]));
      const count = tf.addN(own.map((r) => reached.slice([starts[r], 0], [sizes[r], 1])));
      const mean = tf.addN(parts).div<tf.Tensor2D>(tf.maximum(count, 1)); // over the relations that reach the node
      const heard = dropout(linear(mean, parameters.a_linears[t]), rate, key && foldIn(key, t));
      const gate = parameters.skip.slice(t, 1).sigmoid();
      const mixed = heard.mul(gate).add<tf.Tensor2D>(x.mul(tf.sub(1, gate)));
      return parameters.norms.length ? layerNorm(mixed, parameters.norms[t]) : mixed;
    });
  });
}

function rows(x: tf.Tensor2D, at: tf.Tensor1D): tf.Tensor2D {
  return gatherTokens(x.expandDims<tf.Tensor3D>(0), at.expandDims<tf.Tensor2D>(0)).squeeze<tf.Tensor2D>([0]);
}

/** exp of logits, each less the mean of its slot: the largest of a slot is at least 1, so that no sum is 0. */
function stableOdds(
  logits: tf.Tensor2D,
  isEdge: tf.Tensor2D,
  slot: tf.Tensor1D,
  safe: tf.Tensor1D,
  slots: number,
): tf.Tensor2D {
  const fixed = stopGradient(logits);
  const mean = segmentSum(fixed, slot, slots).div<tf.Tensor2D>(tf.maximum(segmentSum(isEdge, slot, slots), 1));
  return tf.minimum(logits.sub(rows(mean, safe)), 60).exp().mul(isEdge);
}

/**
 * Kullback-Leibler divergence of two rows of logits, of the first from the second.
 *
 * @param reduction "sum": over rows too, as the authors' code; "mean": over rows.
 */
export function klDivergence(p: tf.Tensor2D, q: tf.Tensor2D, reduction: "sum" | "mean" = "mean"): tf.Scalar {
  return tidy(() => {
    const rowwise = tf.softmax(p).mul(tf.logSoftmax(p).sub(tf.logSoftmax(q))).sum(1);
    return (reduction === "sum" ? rowwise.sum() : rowwise.mean()) as tf.Scalar;
  });
}

/** Sizes, and what can be switched off. */
export interface MulTEHRConfig {
  readonly width: number;
  readonly layers: number;
  readonly heads: number;
  readonly outputs: number;
  /** Visits that have a row of their own. */
  readonly positions: number;
  readonly sexes: number;
  readonly dropout: number;
  /** Weight of the causal terms; 0 leaves the random stack out. Default: 0.005. */
  readonly causal?: number;
  /** Labels that are trained on: several tasks, or only some. Default: all. */
  readonly tasks?: readonly number[];
}

/** Types and relations of health records. */
export const recordSchema: GraphSchema = {
  types: ["diagnosis", "drug", "patient", "procedure", "visit"],
  relations: [
    ...(["diagnosis", "drug", "procedure"] as const).flatMap((kind) => [
      { source: kind, name: "is in", target: "visit" },
      { source: "visit", name: "has", target: kind },
    ]),
    { source: "patient", name: "makes", target: "visit" },
    { source: "visit", name: "is of", target: "patient" },
  ],
};

/** MulT-EHR on health records. `kindOf` says of each id whether it is a diagnosis (1), a procedure (2) or a drug (3). */
export function multEHR(
  vectors: CodeVectors,
  kindOf: (id: number) => number,
  config: MulTEHRConfig,
  seed: number,
): EHRModel {
  const { width, heads, layers, causal = 0.005, dropout: rate } = config;
  const { types, relations } = recordSchema;
  const described = {
    codes: codeInputLayers(vectors.input, width),
    patient: embeddingLayer(config.sexes + 1, width, normal(width ** -0.5)),
    visit: embeddingLayer(3, width, normal(width ** -0.5)),
    position: embeddingLayer(config.positions, width, normal(width ** -0.5)),
    adapt: types.map(() => linearLayer(width, width)),
    layers: Array.from({ length: layers }, () => hgtLayer(recordSchema, width, heads)),
    random: causal > 0 ? Array.from({ length: layers }, () => hgtLayer(recordSchema, width, heads)) : [],
    head: linearLayer(width, config.outputs),
  };
  const parameters = trainable(initialise(described, random(seed, "mult-ehr")));

  // where each id stands among the nodes of its kind
  const kinds = Array.from({ length: vectors.count }, (_, id) => kindOf(id));
  const kindNumber: Record<string, number> = { diagnosis: 1, procedure: 2, drug: 3 };
  const members = new Map(
    Object.entries(kindNumber).map(([name, n]) => [
      name,
      kinds.flatMap((kind, id) => kind === n ? [id] : []),
    ]),
  );
  const local = new Int32Array(vectors.count);
  for (const ids of members.values()) ids.forEach((id, place) => local[id] = place);

  const statesOf = (batch: RecordBatch, key?: tf.Tensor1D): { states: tf.Tensor2D; noise: tf.Tensor2D | undefined } => {
    const [size, visits, places] = batch.codes.shape;
    const counts = types.map((type) => {
      if (type === "patient") return size;
      return type === "visit" ? size * visits : Math.max(1, members.get(type)!.length);
    });
    const count = (type: string) => counts[types.indexOf(type)];
    const before = (at: number, of: (relation: Relation) => string) =>
      relations.slice(0, at).reduce((sum, relation) => sum + count(of(relation)), 0);
    const nodeStart = (type: string) => counts.slice(0, types.indexOf(type)).reduce((sum, n) => sum + n, 0);
    const place = (source: string, target: string) =>
      relations.findIndex((relation) => relation.source === source && relation.target === target);
    const sourceStart = (source: string, target: string) => before(place(source, target), (r) => r.source);
    const slotStart = (source: string, target: string) => before(place(source, target), (r) => r.target);

    // per id: where its messages and its slots begin, for its kind
    const names = kinds.map((kind) => Object.keys(kindNumber).find((name) => kindNumber[name] === kind)!);
    const perId = (of: (name: string) => number) => tf.tensor1d(names.map((name, id) => of(name) + local[id]), "int32");
    const startOf = (of: (name: string) => number) => tf.tensor1d(names.map((name) => of(name)), "int32");
    const flat = batch.codes.flatten().toInt() as tf.Tensor1D;
    const at = (values: tf.Tensor1D) => tf.gather(values, flat);
    const visit = tf.range(0, size * visits, 1, "int32").expandDims(1).tile([1, places]).flatten();
    const there = tf.greater(flat, tf.scalar(0, "int32"));
    const only = (values: tf.Tensor, when: tf.Tensor) =>
      tf.where(when, values, tf.fill(values.shape as [number], -1, "int32"));
    const oneVisit = tf.range(0, size * visits, 1, "int32");
    const itsPatient = tf.range(0, size, 1, "int32").expandDims(1).tile([1, visits]).flatten();
    const visitThere = tf.greater(batch.visitKind.flatten(), tf.scalar(0, "int32"));
    const plus = (values: tf.Tensor, n: number) => values.add(tf.scalar(n, "int32")).toInt();
    const parts = [
      { // codes to visits
        source: at(perId((name) => sourceStart(name, "visit"))),
        target: plus(visit, nodeStart("visit")),
        slot: only(at(startOf((name) => slotStart(name, "visit"))).add(visit).toInt(), there),
      },
      { // visits to codes
        source: at(startOf((name) => sourceStart("visit", name))).add(visit).toInt(),
        target: at(perId(nodeStart)),
        slot: only(at(perId((name) => slotStart("visit", name))), there),
      },
      {
        source: plus(itsPatient, sourceStart("patient", "visit")),
        target: plus(oneVisit, nodeStart("visit")),
        slot: only(plus(oneVisit, slotStart("patient", "visit")), visitThere),
      },
      {
        source: plus(oneVisit, sourceStart("visit", "patient")),
        target: plus(itsPatient, nodeStart("patient")),
        slot: only(plus(itsPatient, slotStart("visit", "patient")), visitThere),
      },
    ];
    const joined = (of: "source" | "target" | "slot") => tf.concat(parts.map((part) => part[of])) as tf.Tensor1D;
    const graph: HeteroGraph = { counts, source: joined("source"), target: joined("target"), slot: joined("slot") };

    const table = vectors.table(parameters.codes as CodeInputParameters);
    const order = tf.range(0, visits, 1, "int32").reshape([1, visits]).tile([size, 1]).flatten() as tf.Tensor1D;
    const last = tf.minimum(order, tf.scalar(config.positions - 1, "int32")) as tf.Tensor1D;
    const features = types.map((type, t) => {
      const x = type === "patient"
        ? rows(parameters.patient.weight, batch.sex)
        : type === "visit"
        ? rows(parameters.visit.weight, batch.visitKind.flatten()).add<tf.Tensor2D>(
          rows(parameters.position.weight, last),
        )
        : rows(table, tf.tensor1d(members.get(type)!.length ? members.get(type)! : [0], "int32"));
      return gelu(linear(dropout(x, rate, key && foldIn(key, t)), parameters.adapt[t]));
    });
    const run = (stack: readonly HGTLayerParameters[], seedOf: number) => {
      let nodes = features;
      stack.forEach((layer, i) => {
        nodes = hgt(nodes, recordSchema, graph, layer, { heads, dropout: rate, key: key && foldIn(key, seedOf + i) });
      });
      return nodes[types.indexOf("patient")];
    };
    return {
      states: run(parameters.layers, 10),
      noise: parameters.random.length && key ? run(parameters.random, 20) : undefined,
    };
  };
  const chosen = config.tasks && tf.keep(tf.tensor1d([...config.tasks], "int32"));
  const only = (x: tf.Tensor2D) => chosen ? tf.gather(x, chosen, 1) : x;
  return {
    name: "MulT-EHR",
    parameters,
    stages: [{
      name: "labels",
      loss: (batch, key) =>
        tidy(() => {
          const { states, noise } = statesOf(batch, key);
          const labels = only(batch.labels);
          const loss = binaryCrossEntropy(only(linear(states, parameters.head)), labels);
          if (!noise) return loss;
          const random = only(linear(noise, parameters.head)).flatten().expandDims<tf.Tensor2D>(1);
          const asTwo = tf.concat([tf.zerosLike(random), random], 1) as tf.Tensor2D;
          const chance = klDivergence(tf.zerosLike(asTwo), asTwo);
          const intervened = binaryCrossEntropy(only(linear(states.add<tf.Tensor2D>(noise), parameters.head)), labels);
          return loss.add<tf.Scalar>(chance.add(intervened).mul(causal));
        }),
    }],
    logits: (batch, key) => tidy(() => linear(statesOf(batch, key).states, parameters.head)),
    dispose: () => {
      disposeParameters(parameters);
      chosen?.dispose();
    },
  };
}
