import assert from "node:assert/strict";
import { bars, curves, type Figure, heatmap, histogram, scatter } from "tessera/plot/mod.ts";

const axisTitle = (fig: Figure, axis: "xaxis" | "yaxis") =>
  (fig.layout[axis] as { title: { text: string } }).title.text;

Deno.test("curves() draws a line for each curve, named, with titled axes", () => {
  const fig = curves([
    { name: "ToMe", x: [1, 2], y: [3, 4] },
    { name: "EViT", x: new Float32Array([1, 2]), y: [5, 6], dash: true },
  ], { title: "T", x: "tokens", y: "accuracy" });
  assert.deepEqual(fig.data.map(({ name, x, y }) => ({ name, x, y })), [
    { name: "ToMe", x: [1, 2], y: [3, 4] },
    { name: "EViT", x: [1, 2], y: [5, 6] },
  ]);
  assert.equal((fig.layout.title as { text: string }).text, "T");
  assert.equal(axisTitle(fig, "xaxis"), "tokens");
  assert.equal(axisTitle(fig, "yaxis"), "accuracy");
  assert.equal(fig.layout.showlegend, true);
});

Deno.test("curves() draws the mean of the seeds, and a band from the lowest to the highest", () => {
  const fig = curves([{ name: "random", x: [1, 2], seeds: [[1, 4], [3, 8]] }]);
  const [band, line] = fig.data;
  assert.deepEqual(line.y, [2, 6]);
  assert.deepEqual(band.x, [1, 2, 2, 1]);
  assert.deepEqual(band.y, [3, 8, 4, 1]);
  assert.equal(band.fill, "toself");
  assert.match(String(band.fillcolor), /^rgba\(.*,0\.\d+\)$/);
  assert.match(fig.notes[0], /lowest to highest of 2 seeds/);
});

Deno.test("curves() draws the band between low and high", () => {
  const [band] = curves([{ name: "a", x: [1, 2], y: [2, 2], low: [1, NaN], high: [3, 3] }]).data;
  assert.deepEqual([band.x, band.y], [[1, 1], [3, 1]]); // where an edge is no number there is no band
});

Deno.test("curves() makes NaN a gap, and counts it in the text", () => {
  const fig = curves([{ name: "a", x: [1, 2, 3], y: [1, NaN, 3] }]);
  assert.equal(fig.notes[0], "a: 1 of 3 values is not a number and is left out");
});

Deno.test("a logarithmic axis takes its range in values", () => {
  const fig = curves([{ name: "a", x: [1, 100], y: [1, 2] }], { log: "x", xRange: [1, 1000] });
  const { type, range } = fig.layout.xaxis as { type: string; range: number[] };
  assert.equal(type, "log");
  assert.deepEqual(range.map(Math.round), [0, 3]);
});

Deno.test("reference lines lie at their value, with their label, also on a logarithmic axis", () => {
  const fig = curves([{ name: "a", x: [1, 100], y: [1, 2] }], {
    log: "x",
    lines: [{ axis: "x", at: 10, label: "limit" }, { axis: "y", at: 1.5 }],
  });
  const shapes = fig.layout.shapes as { x0: number; y0: number }[];
  assert.deepEqual(shapes.map(({ x0, y0 }) => [x0, y0]), [[10, 0], [0, 1.5]]);
  const [label] = fig.layout.annotations as { text: string; x: number }[];
  assert.deepEqual([label.text, label.x], ["limit", 1]);
});

Deno.test("bars() draws groups with error bars", () => {
  const fig = bars([
    { name: "MNIST", x: ["a", "b"], y: [1, 2], error: [0.1, 0.2] },
    { name: "X-ray", x: ["a", "b"], y: [3, 4], low: [2, 3], high: [5, 5] },
  ], { y: "accuracy" });
  const [first, second] = fig.data as { error_y: { array: number[]; arrayminus?: number[] } }[];
  assert.deepEqual(first.error_y.array, [0.1, 0.2]);
  assert.deepEqual(second.error_y.array, [2, 1]);
  assert.deepEqual(second.error_y.arrayminus, [1, 1]);
  assert.equal(fig.layout.barmode, "group");
});

Deno.test("histogram() counts every value once, in bins that all samples share", () => {
  const fig = histogram([{ name: "a", values: [0, 1, 2, 3, 4] }, { name: "b", values: [4, 4, NaN] }], { bins: 4 });
  assert.deepEqual(fig.data.map(({ y }) => y), [[1, 1, 1, 2], [0, 0, 0, 2]]);
  assert.deepEqual(fig.data[0].x, fig.data[1].x);
  assert.match(fig.alt, /^Histogram: a, 5 values from 0 to 4, half of them below 2/);
  assert.match(fig.notes[0], /b: 1 of 3 values/);
  assert.deepEqual(histogram([{ name: "a", values: [1, 1] }], { share: true, bins: 1 }).data[0].y, [1]);
});

Deno.test("heatmap() keeps the rows from the top, writes small matrices out, and centres a diverging scale", () => {
  const fig = heatmap([[1, -3], [NaN, 2]], { rows: ["r", "s"], columns: [1, 2], midpoint: 0, x: "drug" });
  const [trace] = fig.data;
  assert.deepEqual([trace.zmin, trace.zmax], [-3, 3]);
  assert.deepEqual([trace.x, trace.y], [["1", "2"], ["r", "s"]]);
  assert.equal((fig.layout.yaxis as { autorange: string }).autorange, "reversed");
  assert.ok(trace.texttemplate);
  assert.equal(heatmap(Array.from({ length: 20 }, () => new Float32Array(20))).data[0].texttemplate, undefined);
  assert.equal(axisTitle(fig, "xaxis"), "drug");
});

Deno.test("charts refuse what they cannot draw with one sentence", () => {
  const x = [1, 2];
  const refusals: [() => unknown, RegExp][] = [
    [() => curves([]), /pass at least one curve/],
    [() => curves({} as never), /pass an array of objects, one per curve/],
    [() => curves([{ name: "a", x, y: [1] }]), /columns of "a" must have one length, but x has 2 and y has 1/],
    [() => curves([{ name: "a", x: [], y: [] }]), /"a" has an empty x/],
    [() => curves([{ name: "a", x }]), /"a" has neither y nor seeds/],
    [() => curves([{ name: "a", x, seeds: [] }]), /"a" has no seeds/],
    [() => curves([{ name: "a", x, seeds: [[1, 2], [1]] }]), /seed 0 has 2 and seed 1 has 1/],
    [() => curves([{ name: "a", x, y: x, low: x }]), /only one edge of its band/],
    [
      () => curves([{ name: "a", x, y: [0, 1] }], { log: "y" }),
      /logarithmic y axis shows values above 0, but "a" has 0/,
    ],
    [() => curves([{ name: "a", x, y: 3 as never }]), /"a" needs y as an array of numbers, but it is number/],
    [() => bars([{ name: "a", x: ["b"], y: x }]), /x has 1 and y has 2/],
    [() => bars([{ name: "a", x: ["b"], y: [1], low: [0] }]), /one end of their error bars/],
    [() => scatter([{ name: "a", x, y: x, text: ["one"] }]), /x has 2 and text has 1/],
    [() => histogram([{ name: "a", values: [NaN] }]), /holds no finite number/],
    [() => histogram([{ name: "a", values: [1] }], { bins: 0 }), /bins must be an integer from 1 up, but it is 0/],
    [() => heatmap([]), /the matrix is empty/],
    [() => heatmap([[1, 2], [1]]), /row 0 has 2 and row 1 has 1/],
    [() => heatmap([[1, 2]], { columns: ["a"] }), /has 2 columns, but 1 names are given/],
  ];
  for (const [call, message] of refusals) assert.throws(call, message);
});
