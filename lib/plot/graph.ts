/**
 * Drawings of graphology graphs, with their counts.
 *
 * @module
 */
import { UndirectedGraph } from "graphology";
import { brief } from "./alternative_text.ts";
import { type Bundle, counted, display, safely } from "./display.ts";
import { type Figure, figure, type Trace } from "./figure.ts";
import { inkColour, palette, symbols } from "./look.ts";

/** What is read of a graph. Graphology's graphs have it, directed or not, with parallel edges or without. */
export interface DrawnGraph {
  readonly order: number;
  readonly size: number;
  nodes(): string[];
  getNodeAttributes(node: string): Record<string, unknown>;
  forEachEdge(
    callback: (
      edge: string,
      attributes: Record<string, unknown>,
      source: string,
      target: string,
      sourceAttributes: unknown,
      targetAttributes: unknown,
      undirected: boolean,
    ) => void,
  ): void;
}

/** How a graph is drawn. */
export interface GraphOptions {
  title?: string;
  /** The node attribute that is written at a node. Default: "label", and the node's key where it has none. */
  label?: string;
  /** The node attribute whose values are told apart by colour and shape. */
  group?: string;
  /**
   * "layers": from top to bottom, each node below all that lead to it, for graphs whose edges have a direction and make no
   * circle. Default: a circle for few nodes, springs for more.
   */
  layout?: "layers";
  /** What the figure shows, in words. Default: the counts, and the nodes with the most edges. */
  alt?: string;
}

/** Above these a drawing shows nothing but a tangle. */
const MOST_NODES = 300;
const MOST_EDGES = 2000;

/** Up to this many nodes have their names written beside them. */
const MOST_LABELS = 40;

/** Up to this many nodes stand on a circle. */
const ON_CIRCLE = 10;

/**
 * A drawing of a graph: few nodes on a circle, more of them placed by springs. Of more than 300 nodes those with the
 * most edges are drawn. The same graph gives the same drawing.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { UndirectedGraph } from "graphology";
 * const graph = new UndirectedGraph();
 * graph.mergeEdge("diabetes", "insulin");
 * graph.mergeEdge("diabetes", "metformin");
 * const fig = graphFigure(graph);
 * assert.equal(fig.alt, "Graph of 3 nodes and 2 edges; most edges: diabetes 2, insulin 1, metformin 1.");
 * ```
 */
export function graphFigure(graph: DrawnGraph, options: GraphOptions = {}): Figure {
  const { title, label = "label", group } = options;
  const edges: Edge[] = [];
  const degree = new Map(graph.nodes().map((node) => [node, 0]));
  graph.forEachEdge((_edge, _attributes, source, target, _a, _b, undirected) => {
    edges.push({ source, target, directed: !undirected });
    degree.set(source, degree.get(source)! + 1);
    degree.set(target, degree.get(target)! + 1);
  });
  const byDegree = [...degree].sort((a, b) => b[1] - a[1]);
  const kept = new Set(byDegree.slice(0, MOST_NODES).map(([node]) => node));
  const nodes = graph.nodes().filter((node) => kept.has(node));
  const between = edges.filter(({ source, target }) => kept.has(source) && kept.has(target) && source !== target);
  const drawn = between.length <= MOST_EDGES
    ? between
    : Array.from({ length: MOST_EDGES }, (_, k) => between[Math.floor(k * between.length / MOST_EDGES)]);
  const place = options.layout === "layers"
    ? inLayers(nodes, between)
    : nodes.length <= ON_CIRCLE
    ? onCircle(nodes)
    : bySprings(nodes, between);
  const name = (node: string) => brief(graph.getNodeAttributes(node)[label] ?? node);

  const counts = `${counted(graph.order, "node")} and ${counted(graph.size, "edge")}`;
  const most = byDegree.slice(0, 3).map(([node, count]) => `${name(node)} ${count}`).join(", ");
  const notes = [];
  if (nodes.length < graph.order) {
    notes.push(`thinned: ${nodes.length} of ${counted(graph.order, "node")} drawn, those with the most edges`);
  }
  if (drawn.length < between.length) notes.push(`thinned: ${MOST_EDGES} of ${between.length} edges drawn`);
  const data = [
    ...edgeTraces(drawn, place),
    ...nodeTraces(nodes, place, {
      name,
      degree,
      beside: options.layout === "layers",
      group: (node) => group === undefined ? "nodes" : brief(graph.getNodeAttributes(node)[group]),
    }),
  ];
  const hidden = { visible: false, automargin: false };
  const layout = {
    title: { text: title ?? `Graph: ${counts}` },
    width: 640,
    height: 480,
    margin: { l: 20, r: 20, t: 48, b: notes.length ? 36 : 16 },
    showlegend: group !== undefined,
    xaxis: { ...hidden, range: [-1.25, 1.25] },
    yaxis: { ...hidden, range: [-1.15, 1.15], scaleanchor: "x" },
    ...notes.length && { annotations: [thinnedNote(notes)] },
  };
  const alt = options.alt ?? `Graph of ${counts}${graph.size ? `; most edges: ${most}` : ""}.`;
  return figure(data, layout, { alt, notes });
}

interface Edge {
  source: string;
  target: string;
  directed: boolean;
}

type Places = Map<string, readonly [number, number]>;

function thinnedNote(notes: string[]): object {
  return {
    text: notes.join("; "),
    font: { size: 11, color: "#777777" },
    showarrow: false,
    xref: "paper",
    yref: "paper",
    x: 0,
    y: 0,
    xanchor: "left",
    yanchor: "top",
  };
}

function edgeTraces(edges: Edge[], place: Places): Trace[] {
  const trace = (some: Edge[], style: object): Trace[] => {
    if (!some.length) return [];
    const ends = some.map(({ source, target }) => [place.get(source)!, place.get(target)!]);
    return [{
      type: "scatter",
      x: ends.flatMap(([a, b]) => [a[0], b[0], null]),
      y: ends.flatMap(([a, b]) => [a[1], b[1], null]),
      line: { color: "#b8b8c0", width: 1 },
      hoverinfo: "skip",
      showlegend: false,
      ...style,
    }];
  };
  const arrow = { symbol: "arrow", angleref: "previous", color: "#8a8a94", standoff: 7 };
  const directed = edges.filter((edge) => edge.directed);
  return [
    ...trace(edges.filter((edge) => !edge.directed), { mode: "lines" }),
    ...trace(directed, {
      mode: "lines+markers",
      marker: { ...arrow, size: directed.flatMap(() => [0, 8, 0]) },
    }),
  ];
}

function nodeTraces(
  nodes: string[],
  place: Places,
  { name, degree, beside, group }: {
    name(node: string): string;
    degree: Map<string, number>;
    /** Names stand to the right of nodes, where edges run up and down. */
    beside: boolean;
    group(node: string): string;
  },
): Trace[] {
  const groups = [...new Set(nodes.map(group))];
  const written = nodes.length <= MOST_LABELS;
  const highest = Math.max(...nodes.map((node) => degree.get(node)!), 1);
  return groups.map((title, k) => {
    const own = nodes.filter((node) => group(node) === title);
    const smallest = written ? 11 : 5;
    return {
      type: "scatter",
      mode: written ? "markers+text" : "markers",
      name: title,
      x: own.map((node) => place.get(node)![0]),
      y: own.map((node) => place.get(node)![1]),
      text: own.map(name),
      textposition: own.map((node) =>
        beside ? "middle right" : place.get(node)![1] >= 0 ? "top center" : "bottom center"
      ),
      textfont: { size: 11, color: inkColour },
      cliponaxis: false,
      marker: {
        color: palette[k % palette.length],
        symbol: symbols[k % symbols.length],
        // the area, which the eye compares, grows with the number of edges
        size: own.map((node) => smallest * Math.sqrt(1 + 2 * degree.get(node)! / highest)),
        line: { color: "white", width: 1 },
        opacity: 1,
      },
      hovertext: own.map((node) => `${name(node)}<br>${counted(degree.get(node)!, "edge")}`),
      hovertemplate: "%{hovertext}<extra></extra>",
    };
  });
}

function onCircle(nodes: string[]): Places {
  return new Map(nodes.map((node, k) => {
    const angle = Math.PI / 2 - 2 * Math.PI * k / nodes.length; // the first on top, then clockwise
    return [node, nodes.length === 1 ? [0, 0] : [Math.cos(angle), Math.sin(angle)]];
  }));
}

/** Each node one layer below the lowest that leads to it; within a layer near the middle of those. */
function inLayers(nodes: string[], edges: Edge[]): Places {
  const sources = Map.groupBy(edges, ({ target }) => target);
  const layer = new Map<string, number>();
  const layerOf = (node: string, on: readonly string[]): number => {
    if (on.includes(node)) throw new RangeError(`layers need a graph without circles, but ${node} leads to itself`);
    const known = layer.get(node);
    if (known !== undefined) return known;
    const above = (sources.get(node) ?? []).map(({ source }) => layerOf(source, [...on, node]));
    layer.set(node, Math.max(-1, ...above) + 1);
    return layer.get(node)!;
  };
  for (const node of nodes) layerOf(node, []);
  const targets = Map.groupBy(edges, ({ source }) => source);
  for (const node of nodes) { // what nothing leads to stands just above what it is for
    const below = targets.get(node)?.map(({ target }) => layer.get(target)!);
    if (!sources.has(node) && below) layer.set(node, Math.min(...below) - 1);
  }

  const rows = Map.groupBy(nodes, (node) => layer.get(node)!);
  const last = Math.max(1, ...rows.keys());
  const place: Places = new Map();
  for (const row of [...rows.keys()].sort((a, b) => a - b)) {
    const own = rows.get(row)!;
    const middle = (node: string) => {
      const above = (sources.get(node) ?? []).flatMap(({ source }) => place.get(source)?.[0] ?? []);
      return above.length ? above.reduce((sum, x) => sum + x, 0) / above.length : 0;
    };
    const ordered = own.map((node, k) => ({ node, at: middle(node), k })).sort((a, b) => a.at - b.at || a.k - b.k);
    const wide = own.length > 1 ? Math.min(1, 0.3 * (own.length - 1)) : 0;
    ordered.forEach(({ node, at }, k) => {
      const x = own.length > 1 ? -wide + 2 * wide * k / (own.length - 1) : Math.max(-1, Math.min(1, at));
      place.set(node, [x, 1 - 2 * row / last]);
    });
  }
  return place;
}

/** Steps of the springs; enough for 300 nodes to come to rest. */
const STEPS = 120;

/** Strength of the pull to the middle; a larger one brings nodes without edges closer. */
const PULL = 3;

/**
 * Fruchterman and Reingold (1991), "Graph drawing by force-directed placement": edges pull, all nodes push, and the
 * longest step shrinks. Begins on a spiral, not at random, so that the drawing is always the same.
 */
function bySprings(nodes: string[], edges: Edge[]): Places {
  const count = nodes.length;
  const index = new Map(nodes.map((node, k) => [node, k]));
  const ends = edges.map(({ source, target }) => [index.get(source)!, index.get(target)!]);
  const angle = (k: number) => k * 2.399963; // the golden angle
  const radius = (k: number) => Math.sqrt((k + 0.5) / count);
  const x = Float64Array.from(nodes, (_, k) => radius(k) * Math.cos(angle(k)));
  const y = Float64Array.from(nodes, (_, k) => radius(k) * Math.sin(angle(k)));
  const ideal = 1.6 / Math.sqrt(count);
  const [pushX, pushY] = [new Float64Array(count), new Float64Array(count)];

  for (let step = 0; step < STEPS; step++) {
    pushX.fill(0);
    pushY.fill(0);
    const move = (a: number, b: number, force: (distance: number) => number) => {
      const [dx, dy] = [x[a] - x[b], y[a] - y[b]];
      const distance = Math.max(1e-6, Math.hypot(dx, dy));
      const f = force(distance) / distance;
      pushX[a] += dx * f;
      pushY[a] += dy * f;
      pushX[b] -= dx * f;
      pushY[b] -= dy * f;
    };
    for (let a = 0; a < count; a++) {
      for (let b = 0; b < a; b++) move(a, b, (distance) => ideal * ideal / distance);
    }
    for (const [a, b] of ends) move(a, b, (distance) => -distance * distance / ideal);
    const longest = 0.15 * (1 - step / STEPS);
    for (let k = 0; k < count; k++) {
      // a pull to the middle keeps separate parts of the graph together
      const [dx, dy] = [pushX[k] - PULL * x[k], pushY[k] - PULL * y[k]];
      const length = Math.max(1e-9, Math.hypot(dx, dy));
      x[k] += dx / length * Math.min(length, longest);
      y[k] += dy / length * Math.min(length, longest);
    }
  }
  return new Map(nodes.map((node, k) => [node, [fitted(x, k), fitted(y, k)]]));
}

/** A coordinate scaled to [-1, 1]. */
function fitted(values: Float64Array, k: number): number {
  let [low, high] = [Infinity, -Infinity];
  for (const value of values) [low, high] = [Math.min(low, value), Math.max(high, value)];
  return high > low ? 2 * (values[k] - low) / (high - low) - 1 : 0;
}

/** Gives every graphology graph a display: its drawing, or its counts where it has no node. */
export function installGraphDisplay(): void {
  const Graph = Object.getPrototypeOf(UndirectedGraph) as { prototype: object }; // the class of all of them
  Object.defineProperty(Graph.prototype, display, {
    configurable: true,
    value: function (this: DrawnGraph): Promise<Bundle> {
      return safely("the graph", () => {
        if (!this.order) return { "text/plain": "Graph: 0 nodes and 0 edges" };
        return graphFigure(this)[display]();
      });
    },
  });
}
