import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import sharp from "sharp";
import { curves, displayLimitBytes, type Figure, figure, heatmap, imageGrid, scatter } from "tessera/plot/mod.ts";
import { mulberry32 } from "tessera/random.ts";

const display = Symbol.for("Jupyter.display") as unknown as keyof Figure;
const PLOTLY = "application/vnd.plotly.v1+json";

interface Shown {
  [PLOTLY]: { data: Record<string, unknown>[]; layout: Record<string, unknown> };
  "image/svg+xml": string;
  "text/plain": string;
}

async function shown(fig: Figure): Promise<Shown> {
  return await (fig[display] as () => Promise<unknown>)() as Shown;
}

const line = { type: "scatter", name: "ToMe", x: [49, 25], y: [0.979, 0.96] };
const layout = {
  title: { text: "A title" },
  xaxis: { title: { text: "tokens" } },
  yaxis: { title: { text: "accuracy" } },
};

Deno.test("a figure shows plotly's JSON, a picture and text, and no HTML", async () => {
  const bundle = await shown(figure([line], layout));
  assert.deepEqual(Object.keys(bundle), [PLOTLY, "image/svg+xml", "text/plain"]);
  assert.deepEqual(bundle[PLOTLY].data[0], line);
  assert.equal((bundle[PLOTLY].layout.xaxis as { title: { text: string } }).title.text, "tokens");
  JSON.stringify(bundle);
});

Deno.test("a figure's text has title, axes, counts and the alternative text", async () => {
  const fig = figure([line], layout, { alt: "Accuracy falls", notes: ["One image was left out"] });
  assert.equal(
    (await shown(fig))["text/plain"],
    "Figure: A title; x: tokens, y: accuracy; 1 trace, 2 points. Accuracy falls. One image was left out.",
  );
});

Deno.test("without alternative text one is derived from the traces", () => {
  assert.equal(
    figure([line], layout).alt,
    "Line chart of accuracy against tokens: ToMe from 0.979 at 49 to 0.96 at 25.",
  );
  assert.equal(figure([], layout).alt, "A title without data.");
});

Deno.test("the picture says what it is and what it shows, with markup made safe", async () => {
  const svg = await figure([line], { title: { text: "a <b>bold</b> & odd title" } }, { alt: 'x < y & "z"' }).toSVG();
  const [, titleId, descriptionId] = svg.match(/^<svg role="img" aria-labelledby="(\S+) (\S+)"/)!;
  assert.ok(svg.includes(`<title id="${titleId}">a bold &amp; odd title</title>`));
  assert.ok(svg.includes(`<desc id="${descriptionId}">x &lt; y &amp; &quot;z&quot;</desc>`));
});

Deno.test("a figure is data: it can be copied, compared and stored", () => {
  const fig = figure([line], layout);
  assert.deepEqual(Object.keys(fig), ["data", "layout", "alt", "notes"]);
  assert.deepEqual(structuredClone({ ...fig }).data, [line]);
  assert.deepEqual(JSON.parse(JSON.stringify(fig)).data, [line]);
});

Deno.test("typed arrays and numbers that JSON cannot hold are shown", async () => {
  const fig = figure([{ type: "scatter", x: new Float32Array([0.1, 2]), y: [NaN, Infinity], customdata: [1n, 2n] }]);
  const [trace] = (await shown(fig))[PLOTLY].data;
  assert.deepEqual(trace, { type: "scatter", x: [0.1, 2], y: [null, null], customdata: [1, 2] });
});

Deno.test("the same figure gives the same display", async () => {
  const make = () => curves([{ name: "a", x: [1, 2, 3], seeds: [[1 / 3, 2 / 3, 1], [0.1, 0.2, 0.3]] }]);
  assert.deepEqual(await shown(make()), await shown(make()));
});

Deno.test("what is no figure is refused with one sentence", () => {
  assert.throws(() => figure({} as never), /needs an array of traces, but data is object/);
  assert.throws(() => figure([null] as never), /needs an array of traces/);
  assert.throws(() => figure([], null as never), /layout must be an object, but it is null/);
});

for (
  const [what, data, bad] of [
    ["an unknown type of trace", [{ type: "no such type", x: 3 }], {}],
    ["columns that are no arrays", [{ type: "scatter", x: 3, y: { a: 1 } }], {}],
    ["a matrix with holes", [{ type: "heatmap", z: [[1], null, 3] }], {}],
    ["a layout of the wrong kind", [line], { title: 3, xaxis: "x", width: NaN }],
    ["a width below 0", [line], { width: -100 }],
    ["an unknown trace in three dimensions", [{ type: "scatter3d", x: [1], y: [1], z: [1] }], {}],
    ["a value that JSON refuses", [{ type: "scatter", x: [Symbol("x")], y: [() => 1] }], {}],
  ] as const
) {
  Deno.test(`showing a figure never throws: ${what}`, async () => {
    const text = (await shown(figure(data as never, bad)))["text/plain"];
    assert.equal(typeof text, "string");
  });
}

Deno.test("showing a figure never throws: data that contain themselves", async () => {
  const trace: Record<string, unknown> = { type: "scatter", x: [1] };
  trace.meta = trace;
  assert.match((await shown(figure([trace])))["text/plain"], /the figure cannot be shown: /);
});

Deno.test("a trace without a static picture is shown live, and the text says why there is no picture", async () => {
  const bundle = await shown(figure([{ type: "scatter3d", x: [1], y: [1], z: [1] }]));
  assert.ok(bundle[PLOTLY]);
  assert.ok(!("image/svg+xml" in bundle));
  assert.match(bundle["text/plain"], /no static picture: a trace of type scatter3d/);
});

function bytes(bundle: Shown): number {
  return new TextEncoder().encode(JSON.stringify(bundle)).length;
}

const noise = (count: number, seed: number) => Array.from({ length: count }, mulberry32(seed));

Deno.test("100,000 points are thinned to at most 1 MB, and figure and text say so", async () => {
  const bundle = await shown(scatter([{ name: "points", x: noise(1e5, 1), y: noise(1e5, 2) }]));
  assert.ok(bytes(bundle) <= displayLimitBytes, `${bytes(bundle)} bytes`);
  const left = (bundle[PLOTLY].data[0].x as number[]).length;
  assert.ok(left > 500, `${left} points`);
  const said = `thinned: ${left.toLocaleString("en-US")} of 100,000 points shown`;
  assert.ok(bundle["text/plain"].includes(said), bundle["text/plain"]);
  assert.ok((bundle[PLOTLY].layout.annotations as { text: string }[]).some(({ text }) => text === said));
  assert.ok(bundle["image/svg+xml"].includes(said));
});

Deno.test("a thinned line keeps its spikes, and its columns stay side by side", async () => {
  const y = noise(2e5, 3);
  y[123_456] = 50;
  const bundle = await shown(
    curves([{ name: "signal", x: y.map((_, k) => k), y }, { name: "short", x: [1, 2], y: [1, 2] }]),
  );
  assert.ok(bytes(bundle) <= displayLimitBytes, `${bytes(bundle)} bytes`);
  const [signal, short] = bundle[PLOTLY].data as { x: number[]; y: number[] }[];
  assert.equal(signal.x.length, signal.y.length);
  assert.equal(signal.x[signal.y.indexOf(50)], 123_456);
  assert.deepEqual(short.x, [1, 2]); // what is small stays whole
});

Deno.test("a large heat map is shown as means of blocks", async () => {
  const rows = Array.from({ length: 600 }, (_, k) => noise(600, k));
  const bundle = await shown(heatmap(rows, { colours: "noise" }));
  assert.ok(bytes(bundle) <= displayLimitBytes, `${bytes(bundle)} bytes`);
  const [{ z, dx, x0 }] = bundle[PLOTLY].data as { z: number[][]; dx: number; x0: number }[];
  assert.equal(dx, Math.ceil(600 / z.length));
  assert.equal(x0, (dx - 1) / 2);
  assert.ok(
    Math.abs(z[0][0] - rows.slice(0, dx).flatMap((row) => row.slice(0, dx)).reduce((a, b) => a + b) / dx ** 2) < 1e-4,
  );
  assert.match(bundle["text/plain"], /thinned: [\d,]+ of 360,000 points shown/);
});

Deno.test("large photographs are reduced to at most 1 MB, and the text says so", async () => {
  const data = Uint8Array.from(noise(1200 * 1200 * 3, 5), (value) => 255 * value); // noise cannot be compressed
  const image = { width: 1200, height: 1200, channels: 3, data };
  const bundle = await shown(imageGrid([{ image, caption: "noise" }]));
  assert.ok(bytes(bundle) <= displayLimitBytes, `${bytes(bundle)} bytes`);
  assert.match(bundle["text/plain"], /images reduced/);
});

Deno.test("what cannot be made small enough is told in text", async () => {
  const shapes = Array.from({ length: 20_000 }, (_, k) => ({ type: "line", x0: k, x1: k, y0: 0, y1: 1 }));
  const bundle = await shown(figure([line], { shapes }));
  assert.deepEqual(Object.keys(bundle), ["text/plain"]);
  assert.match(bundle["text/plain"], /too large to be shown here; save\(\) writes it\./);
});

Deno.test("a figure of thousands of shapes is shown live, and the text says why there is no picture", async () => {
  const shapes = Array.from({ length: 3000 }, (_, k) => ({ type: "line", x0: k, x1: k, y0: 0, y1: 1 }));
  const bundle = await shown(figure([line], { shapes }));
  assert.deepEqual(Object.keys(bundle), [PLOTLY, "text/plain"]);
  assert.match(bundle["text/plain"], /no static picture: 3000 shapes and annotations are too many/);
});

async function inFolder(work: (folder: string) => Promise<void>): Promise<void> {
  const folder = await Deno.makeTempDir();
  try {
    await work(folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

Deno.test("save() writes SVG, PNG of twice the size, and JSON, and leaves nothing else", async () => {
  await inFolder(async (folder) => {
    const fig = figure([line], layout);
    for (const name of ["a.svg", "a.png", "a.JSON"]) await fig.save(`${folder}/${name}`);
    await fig.save(new URL(`file://${folder}/b%20c.svg`));
    const names = [...Deno.readDirSync(folder)].map(({ name }) => name).sort();
    assert.deepEqual(names, ["a.JSON", "a.png", "a.svg", "b c.svg"]);

    assert.equal(await Deno.readTextFile(`${folder}/a.svg`), await fig.toSVG());
    const { width, height } = await sharp(Buffer.from(await Deno.readFile(`${folder}/a.png`))).metadata();
    assert.deepEqual([width, height], [1240, 800]);
    assert.deepEqual(JSON.parse(await Deno.readTextFile(`${folder}/a.JSON`)).data, [line]);
  });
});

Deno.test("save() refuses another ending before it draws, and a folder that is not there, with one sentence", async () => {
  await inFolder(async (folder) => {
    const fig = figure([line]);
    await assert.rejects(fig.save(`${folder}/a.pdf`), /saved as \.svg, \.png or \.json, but the file is .*a\.pdf/);
    await assert.rejects(fig.save(`${folder}/without_ending`), RangeError);
    await assert.rejects(fig.save(`${folder}/missing/a.svg`), /cannot be written to .*does the folder exist\?/);
    assert.deepEqual([...Deno.readDirSync(folder)], []);
  });
});

Deno.test("a 3D figure cannot be saved as a picture, and nothing half written stays", async () => {
  await inFolder(async (folder) => {
    const fig = figure([{ type: "scatter3d", x: [1], y: [1], z: [1] }]);
    await assert.rejects(fig.save(`${folder}/a.svg`), /no static picture/);
    assert.deepEqual([...Deno.readDirSync(folder)], []);
  });
});
