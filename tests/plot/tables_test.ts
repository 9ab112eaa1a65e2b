import assert from "node:assert/strict";
import { DirectedGraph, MultiUndirectedGraph, UndirectedGraph } from "graphology";
import pl from "nodejs-polars";
import { graphFigure, installDisplays, table } from "tessera/plot/mod.ts";

interface Shown {
  "text/html": string;
  "text/plain": string;
}

async function shown(value: object): Promise<Shown> {
  return await (Reflect.get(value, Symbol.for("Jupyter.display")) as () => Promise<Shown>).call(value);
}

Deno.test("an arquero table shows itself with its counts", async () => {
  const { "text/html": html, "text/plain": text } = await shown(table([
    { method: "ToMe", accuracy: 0.97123456 },
    { method: "<EViT>", accuracy: null },
  ]));
  assert.equal(text, "method  accuracy\nToMe     0.97123\n<EViT>\n2 rows x 2 columns");
  assert.match(html, /^<table>.*<td style="text-align: left">&lt;EViT&gt;<\/td>.*<\/table><p>2 rows x 2 columns<\/p>$/);
  assert.ok(!html.includes("<script"));
});

Deno.test("a table that was filtered and one of columns show themselves too", async () => {
  const whole = table({ a: new Float64Array([1, 2, 3]), b: ["x", "y", "z"] });
  assert.match((await shown(whole.slice(0, 1)))["text/plain"], /1 row x 2 columns$/);
  assert.match((await shown(table([])))["text/plain"], /0 rows x 0 columns$/);
});

Deno.test("of a large table the first rows and columns are shown, and it says so", async () => {
  const row = Object.fromEntries(Array.from({ length: 30 }, (_, k) => [`c${k}`, "x".repeat(1000)]));
  const bundle = await shown(table(Array.from({ length: 50 }, () => row)));
  assert.match(bundle["text/plain"], /50 rows x 30 columns; shown are the first 20 rows and the first 20 columns$/);
  assert.ok(JSON.stringify(bundle).length < 200_000);
});

Deno.test("table() refuses what is no table with one sentence", () => {
  assert.throws(() => table([1] as never), /rows are objects, but row 0 is 1/);
  assert.throws(() => table(3 as never), /an array of rows or an object of columns, but it is number/);
  assert.throws(() => table({ a: [1], b: [] }), /must have one length, but a has 1 and b has 0/);
});

Deno.test("a Polars frame shows itself with its counts, however it was made", async () => {
  const frame = pl.DataFrame({ a: [1.5, 2, null], b: ["x", "<y>", null] });
  assert.match((await shown(frame))["text/plain"], /^ *a +b\n1\.5 +x\n.*\n\n?3 rows x 2 columns$/s);
  assert.match(
    (await shown(frame))["text/html"],
    /<td style="text-align: left">&lt;y&gt;<\/td>.*<p>3 rows x 2 columns<\/p>$/,
  );
  assert.match((await shown(frame.filter(pl.col("a").gt(1.6))))["text/plain"], /1 row x 2 columns$/);
  const long = await pl.DataFrame({ k: Array.from({ length: 100_000 }, (_, k) => k) }).lazy().collect();
  assert.match((await shown(long))["text/plain"], /100,000 rows x 1 column; shown are the first 20 rows$/);
});

Deno.test("installing the displays again changes nothing", async () => {
  installDisplays();
  installDisplays();
  assert.match((await shown(pl.DataFrame({ a: [1] })))["text/plain"], /1 row x 1 column$/);
});

Deno.test("a table's display never throws", async () => {
  const broken = table([{ a: 1 }]);
  Object.defineProperty(broken, "columnNames", {
    value: () => {
      throw new Error("no names today");
    },
  });
  assert.deepEqual(await shown(broken), { "text/plain": "the table cannot be shown: no names today" } as never);
  const loop: Record<string, unknown> = {};
  loop.self = loop;
  assert.match((await shown(table([{ loop }])))["text/plain"], /cannot be shown/);
});

Deno.test("a graph draws itself with its counts, the same each time", async () => {
  const graph = new UndirectedGraph();
  for (let k = 0; k < 30; k++) graph.mergeEdge(`n${k}`, `n${(k * 7 + 3) % 30}`);
  const bundle = await shown(graph);
  assert.match(bundle["text/plain"], new RegExp(`Graph of 30 nodes and ${graph.size} edges`));
  assert.ok("image/svg+xml" in bundle);
  assert.ok(!("text/html" in bundle));
  assert.deepEqual(await shown(graph), bundle);
});

Deno.test("graphs of every kind draw themselves, also with loops, parallel edges, or nothing in them", async () => {
  const parallel = new MultiUndirectedGraph();
  parallel.addNode("a");
  parallel.addEdge("a", "a");
  parallel.addEdge("a", "a");
  assert.match((await shown(parallel))["text/plain"], /1 node and 2 edges/);
  assert.match((await shown(new DirectedGraph()))["text/plain"], /0 nodes and 0 edges/);
});

Deno.test("graphFigure() in layers puts each node below all that lead to it, and refuses circles", () => {
  const graph = new DirectedGraph();
  for (const [from, to] of [["x", "product"], ["w", "product"], ["product", "sum"], ["axes", "sum"], ["x", "sum"]]) {
    graph.mergeEdge(from, to);
  }
  const { x, y, text } = graphFigure(graph, { layout: "layers" }).data.at(-1) as {
    x: number[];
    y: number[];
    text: string[];
  };
  const height = Object.fromEntries(text.map((name, i) => [name, y[i]]));
  graph.forEachEdge((_edge, _attributes, from, to) => assert.ok(height[from] > height[to], `${from} above ${to}`));
  assert.equal(height.axes, height.product, "a constant stands just above what it is for");
  assert.equal(new Set(x.map((at, i) => `${at} ${y[i]}`)).size, 5, "no two in one place");
  graph.mergeEdge("sum", "x");
  assert.throws(() => graphFigure(graph, { layout: "layers" }), /layers need a graph without circles/);
});

Deno.test("graphFigure() draws arrows where edges are directed, and groups apart", () => {
  const graph = new DirectedGraph();
  graph.addNode("d", { kind: "disease", label: "Diabetes" });
  graph.addNode("m", { kind: "drug" });
  graph.addEdge("m", "d");
  const fig = graphFigure(graph, { group: "kind" });
  const [edges, diseases, drugs] = fig.data as { name: string; text: string[]; marker: { symbol: string } }[];
  assert.equal(edges.marker.symbol, "arrow");
  assert.deepEqual([diseases.name, diseases.text], ["disease", ["Diabetes"]]);
  assert.deepEqual([drugs.name, drugs.text], ["drug", ["m"]]);
});

Deno.test("of more than 300 nodes those with the most edges are drawn, and text and figure say so", async () => {
  const graph = new UndirectedGraph();
  for (let k = 1; k < 500; k++) graph.mergeEdge("hub", `n${k}`);
  const bundle = await shown(graph) as unknown as Record<string, string>;
  assert.match(bundle["text/plain"], /thinned: 300 of 500 nodes drawn, those with the most edges/);
  assert.ok(bundle["image/svg+xml"].includes("thinned: 300 of 500 nodes"));
  assert.ok(JSON.stringify(bundle).length < 1_000_000);
});
