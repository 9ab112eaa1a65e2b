import assert from "node:assert/strict";
import {
  codesOfVisits,
  drawable,
  egoGraph,
  type GraphEdge,
  knowledgeGraph,
  neighboursOf,
  openCodes,
} from "../../lib/tokenization/mod.ts";
import { mimic3Demo } from "../../lib/data/mod.ts";
import { random } from "../../lib/random.ts";

const node = (id: string) => ({ id, label: id.toUpperCase(), kind: "thing" });
const edge = (source: string, target: string, relation = "is a"): GraphEdge => ({ source, target, relation });

Deno.test("a knowledge graph has every edge in both directions, parallel ones too, and counts those without ends", () => {
  const graph = knowledgeGraph(["a", "b", "c"].map(node), [
    edge("a", "b"),
    edge("b", "a", "treats"),
    edge("c", "c"),
    edge("a", "nowhere"),
  ]);
  assert.deepEqual([...neighboursOf(graph, 0)], [1, 1]);
  assert.deepEqual([...neighboursOf(graph, 1)], [0, 0]);
  assert.deepEqual([...neighboursOf(graph, 2)], [2], "a loop is one entry");
  assert.equal(graph.leftOut, 1);
  assert.throws(() => knowledgeGraph([node("a"), node("a")], []), /two nodes have the id a/);
});

Deno.test("an ego graph equals the one found by looking through all edges", () => {
  const draw = random(3, "ego");
  for (let round = 0; round < 20; round++) {
    const names = Array.from({ length: 30 }, (_, i) => `n${i}`);
    const edges = Array.from({ length: 60 }, () => edge(draw.choice(names), draw.choice(names)));
    const graph = knowledgeGraph(names.map(node), edges);
    const root = draw.integer(30), hops = draw.integer(4);
    const inside = new Set([root]);
    for (let hop = 0; hop < hops; hop++) {
      const before = [...inside];
      for (const { source, target } of edges) {
        const [a, b] = [graph.indexOf(source)!, graph.indexOf(target)!];
        if (before.includes(a)) inside.add(b);
        if (before.includes(b)) inside.add(a);
      }
    }
    const { nodes, edges: found } = egoGraph(graph, [root], { hops });
    assert.deepEqual([...nodes], [...inside].sort((a, b) => a - b));
    const half = found.length / 2;
    const pairs = Array.from({ length: half }, (_, k) => `${nodes[found[k]]}-${nodes[found[half + k]]}`).sort();
    const expected = edges.flatMap(({ source, target }) => {
      const [a, b] = [graph.indexOf(source)!, graph.indexOf(target)!];
      if (!inside.has(a) || !inside.has(b)) return [];
      return a === b ? [`${a}-${a}`] : [`${a}-${b}`, `${b}-${a}`];
    }).sort();
    assert.deepEqual(pairs, expected);
  }
});

Deno.test("a small ego graph keeps the code's own nodes, then the neighbours with the fewest neighbours", () => {
  const graph = knowledgeGraph(["hub", "own", "rare", "x", "y"].map(node), [
    edge("own", "hub"),
    edge("own", "rare"),
    edge("hub", "x"),
    edge("hub", "y"),
  ]);
  const names = (maxNodes: number, hops = 1) =>
    [...egoGraph(graph, [1], { maxNodes, hops }).nodes].map((k) => graph.nodes[k].id);
  assert.deepEqual(names(1), ["own"]);
  assert.deepEqual(names(2), ["own", "rare"]);
  assert.deepEqual(names(64), ["hub", "own", "rare"]);
  assert.deepEqual(names(64, 2), ["hub", "own", "rare", "x", "y"]);
  assert.deepEqual(egoGraph(graph, []), { nodes: new Int32Array(), edges: new Int32Array() });
});

Deno.test("a node that is not in the graph is one sentence", () => {
  const graph = knowledgeGraph(["a", "b"].map(node), [edge("a", "b")]);
  assert.throws(() => egoGraph(graph, [7]), {
    name: "RangeError",
    message: "there is no node 7 in the graph; its nodes are 0 to 1, see indexOf()",
  });
  assert.throws(() => egoGraph(graph, [0], { maxNodes: 0 }), /maxNodes must be a whole number from 1, but it is 0/);
  assert.throws(() => egoGraph(graph, [0], { hops: -1 }), /hops must be a whole number from 0/);
});

Deno.test("the open codes have real texts and subgraphs, and ICD-9 codes reach the graph by their mappings", async () => {
  const { graph, codes } = await openCodes({ systems: ["ICD10CM", "ICD9CM"], codesOnly: true });
  assert.equal(graph.nodes.length, 45_335 + 6_574 + 4_677);
  assert.deepEqual(
    new Map([...Map.groupBy(codes, ({ system }) => system)].map(([key, own]) => [key, own.length])),
    new Map([["ICD10CM", 45_017], ["ICD9CM", 15_072]]),
  );
  const idsOf = (system: string, code: string) => {
    const found = codes.find((each) => each.system === system && each.code === code)!;
    return [...found.nodes].map((k) => graph.nodes[k].id);
  };
  assert.deepEqual(idsOf("ICD10CM", "E11.9"), ["ICD10CM:E11", "ICD10CM:E11.9"]);
  assert.deepEqual(idsOf("ICD9CM", "250.00"), ["ICD10CM:E11", "ICD10CM:E11.9"]);
  assert.ok(idsOf("ICD10CM", "G30").includes("DOID:10652"), "Alzheimer's disease, in Hetionet and the ontology");
  const [alzheimer] = codes.filter(({ code }) => code === "G30");
  const drawn = drawable(graph, alzheimer);
  assert.equal(drawn.order, alzheimer.nodes.length);
  assert.equal(drawn.getNodeAttribute("DOID:10652", "label"), "Alzheimer's disease");
});

Deno.test("the codes of real patients have texts and places in the graph as far as the open data know them", async () => {
  const { graph, codes, withoutText, withoutGraph } = await codesOfVisits(await mimic3Demo.load(), { maxNodes: 24 });
  const of = (system: string) => codes.filter((code) => code.system === system);
  const placed = (system: string) => of(system).filter(({ nodes }) => nodes.length).length / of(system).length;
  assert.equal(codes.length, new Set(codes.map(({ system, code }) => `${system}:${code}`)).size);
  assert.ok(placed("ICD9CM") > 0.9 && placed("NDC") > 0.5 && placed("ICD9PROC") === 0);
  assert.equal(withoutText, of("ICD9PROC").length, "nobody here knows the texts of ICD-9's procedures");
  assert.equal(withoutGraph, codes.filter(({ nodes }) => nodes.length === 0).length);
  const pressure = codes.find(({ system, code }) => system === "ICD9CM" && code === "401.9")!;
  assert.ok([...pressure.nodes].some((node) => graph.nodes[node].id === "ICD10CM:I10"));
  const metoprolol = of("NDC").find(({ description }) => description === "Metoprolol Tartrate")!;
  assert.ok([...metoprolol.nodes].some((node) => graph.nodes[node].label === "Metoprolol"));
  assert.ok(codes.every(({ description }) => description.trim() && !/\((Begin|End) /.test(description)));
});
