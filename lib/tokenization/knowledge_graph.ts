/**
 * Knowledge graphs as adjacency lists made once, and the small subgraph around a code.
 *
 * The subgraph of MedTok (Su et al., ICML 2025, arXiv:2502.04397, appendix A) is "node-centred"; its radius and size are
 * not published. Here: all nodes within `hops` of the code's own, at most `maxNodes`, with every edge between them. The
 * authors' code looks through the whole edge list for every code; a list of neighbours per node makes that a few steps.
 *
 * @module
 */
import { UndirectedGraph } from "graphology";

/** A node of a knowledge graph. */
export interface GraphNode {
  /** Unique: `ICD10CM:E11.9`, `DOID:9352`. */
  readonly id: string;
  /** What it is called. */
  readonly label: string;
  /** What sort of thing it is: `disease`, `gene`. */
  readonly kind: string;
}

/** An edge of a knowledge graph, by the ids of its ends. */
export interface GraphEdge {
  readonly source: string;
  readonly target: string;
  readonly relation: string;
}

/**
 * A graph in compressed sparse rows: the neighbours of node v are `neighbours[offsets[v] .. offsets[v + 1]]`, ascending.
 * Every edge is there in both directions, as in PrimeKG; parallel edges of different relations stay parallel.
 */
export interface KnowledgeGraph {
  readonly nodes: readonly GraphNode[];
  /** [nodes + 1] */
  readonly offsets: Int32Array;
  /** [2 x edges] */
  readonly neighbours: Int32Array;
  /** [2 x edges], an index into `relationNames`. */
  readonly relations: Uint16Array;
  readonly relationNames: readonly string[];
  /** Edges whose ends were not both nodes, left out and counted. */
  readonly leftOut: number;
  /** The number of a node, by its id. */
  indexOf(id: string): number | undefined;
}

/**
 * Makes a knowledge graph from nodes and edges.
 *
 * @throws {RangeError} Where two nodes have one id.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * const node = (id: string) => ({ id, label: id, kind: "thing" });
 * const graph = knowledgeGraph([node("a"), node("b"), node("c")], [
 *   { source: "a", target: "b", relation: "is a" },
 *   { source: "b", target: "c", relation: "is a" },
 * ]);
 * assert.deepEqual([...neighboursOf(graph, 1)], [0, 2]);
 * ```
 */
export function knowledgeGraph(nodes: readonly GraphNode[], edges: readonly GraphEdge[]): KnowledgeGraph {
  const index = new Map<string, number>();
  for (const [i, { id }] of nodes.entries()) {
    if (index.has(id)) throw new RangeError(`two nodes have the id ${id}; give each its own`);
    index.set(id, i);
  }
  const relationIndex = new Map<string, number>();
  const from = new Int32Array(2 * edges.length), to = new Int32Array(2 * edges.length);
  const kind = new Uint16Array(2 * edges.length);
  let count = 0, leftOut = 0;
  for (const { source, target, relation } of edges) {
    const [a, b] = [index.get(source), index.get(target)];
    if (a === undefined || b === undefined) {
      leftOut++;
      continue;
    }
    let name = relationIndex.get(relation);
    if (name === undefined) relationIndex.set(relation, name = relationIndex.size);
    for (const [s, t] of a === b ? [[a, b]] : [[a, b], [b, a]]) {
      from[count] = s;
      to[count] = t;
      kind[count++] = name;
    }
  }
  const order = Uint32Array.from({ length: count }, (_, i) => i)
    .sort((x, y) => from[x] - from[y] || to[x] - to[y] || kind[x] - kind[y]);
  const offsets = new Int32Array(nodes.length + 1);
  for (let i = 0; i < count; i++) offsets[from[i] + 1]++;
  for (let v = 0; v < nodes.length; v++) offsets[v + 1] += offsets[v];
  return {
    nodes,
    offsets,
    neighbours: Int32Array.from(order, (i) => to[i]),
    relations: Uint16Array.from(order, (i) => kind[i]),
    relationNames: [...relationIndex.keys()],
    leftOut,
    indexOf: (id) => index.get(id),
  };
}

/**
 * The neighbours of a node, ascending; one that is reached by several relations is there as often.
 *
 * @throws {RangeError} Where there is no node of that number.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * const node = (id: string) => ({ id, label: id, kind: "thing" });
 * const graph = knowledgeGraph([node("a"), node("b")], [{ source: "a", target: "b", relation: "is a" }]);
 * assert.deepEqual([...neighboursOf(graph, 1)], [0]);
 * ```
 */
export function neighboursOf(graph: KnowledgeGraph, node: number): Int32Array {
  checkNode(graph, node);
  return graph.neighbours.subarray(graph.offsets[node], graph.offsets[node + 1]);
}

function checkNode(graph: KnowledgeGraph, node: number): void {
  if (!Number.isInteger(node) || node < 0 || node >= graph.nodes.length) {
    throw new RangeError(
      `there is no node ${node} in the graph; its nodes are 0 to ${graph.nodes.length - 1}, see indexOf()`,
    );
  }
}

/** The part of a knowledge graph that belongs to one code. */
export interface Subgraph {
  /** Numbers of nodes in the whole graph, ascending. */
  readonly nodes: Int32Array;
  /** [2, edges] row by row: all sources, then all targets, as places in `nodes`. */
  readonly edges: Int32Array;
}

/** How large a subgraph may become. */
export interface EgoOptions {
  /** How many edges away from the code's own nodes. Default: 1. */
  readonly hops?: number;
  /** Nodes at most: the code's own first, then nearer ones, of these the ones with fewer neighbours. Default: 64. */
  readonly maxNodes?: number;
}

/**
 * The subgraph around some nodes, with every edge between the nodes that are in it.
 *
 * @param roots The code's own nodes; none gives an empty subgraph.
 * @throws {RangeError} Where a node is not in the graph, or an option makes no sense.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * const node = (id: string) => ({ id, label: id, kind: "thing" });
 * const graph = knowledgeGraph(["a", "b", "c"].map(node), [
 *   { source: "a", target: "b", relation: "is a" },
 *   { source: "b", target: "c", relation: "is a" },
 * ]);
 * const { nodes, edges } = egoGraph(graph, [0]);
 * assert.deepEqual([...nodes], [0, 1]);
 * assert.deepEqual([...edges], [0, 1, 1, 0]); // from 0 to 1 and from 1 to 0
 * ```
 */
export function egoGraph(graph: KnowledgeGraph, roots: ArrayLike<number>, options: EgoOptions = {}): Subgraph {
  const { hops = 1, maxNodes = 64 } = options;
  if (!Number.isInteger(hops) || hops < 0) {
    throw new RangeError(`hops must be a whole number from 0, but it is ${hops}`);
  }
  if (!Number.isInteger(maxNodes) || maxNodes < 1) {
    throw new RangeError(`maxNodes must be a whole number from 1, but it is ${maxNodes}`);
  }
  const { offsets, neighbours } = graph;
  const degree = (node: number) => offsets[node + 1] - offsets[node];
  const chosen = new Set<number>();
  let shell: number[] = [];
  for (let i = 0; i < roots.length; i++) {
    checkNode(graph, roots[i]);
    if (chosen.size < maxNodes && !chosen.has(roots[i])) {
      chosen.add(roots[i]);
      shell.push(roots[i]);
    }
  }
  for (let hop = 0; hop < hops && chosen.size < maxNodes; hop++) {
    const reached = new Set<number>();
    for (const node of shell) {
      for (let k = offsets[node]; k < offsets[node + 1]; k++) {
        if (!chosen.has(neighbours[k])) reached.add(neighbours[k]);
      }
    }
    shell = [...reached].sort((a, b) => degree(a) - degree(b) || a - b).slice(0, maxNodes - chosen.size);
    for (const node of shell) chosen.add(node);
  }

  const nodes = Int32Array.from(chosen).sort();
  const place = new Map<number, number>();
  nodes.forEach((node, i) => place.set(node, i));
  const sources: number[] = [], targets: number[] = [];
  nodes.forEach((node, i) => {
    for (let k = offsets[node]; k < offsets[node + 1]; k++) {
      const other = place.get(neighbours[k]);
      if (other === undefined) continue;
      sources.push(i);
      targets.push(other);
    }
  });
  return { nodes, edges: Int32Array.from([...sources, ...targets]) };
}

/**
 * A subgraph as a graphology graph, which draws itself in a notebook: node attributes `label` and `kind`, edge attribute
 * `relation`. Each pair of directions is one undirected edge here.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * const node = (id: string) => ({ id, label: id, kind: "thing" });
 * const graph = knowledgeGraph([node("a"), node("b")], [{ source: "a", target: "b", relation: "is a" }]);
 * const drawn = drawable(graph, egoGraph(graph, [0]));
 * assert.deepEqual([drawn.order, drawn.size], [2, 1]);
 * ```
 */
export function drawable(graph: KnowledgeGraph, { nodes }: Subgraph): UndirectedGraph {
  const drawn = new UndirectedGraph({ allowSelfLoops: true });
  const inside = new Set(nodes);
  for (const node of nodes) {
    const { id, label, kind } = graph.nodes[node];
    drawn.addNode(id, { label, kind });
  }
  for (const node of nodes) {
    for (let k = graph.offsets[node]; k < graph.offsets[node + 1]; k++) {
      const other = graph.neighbours[k];
      if (!inside.has(other) || other < node) continue;
      drawn.mergeEdge(graph.nodes[node].id, graph.nodes[other].id, {
        relation: graph.relationNames[graph.relations[k]],
      });
    }
  }
  return drawn;
}
