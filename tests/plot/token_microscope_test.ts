import assert from "node:assert/strict";
import { agreement, type MicroscopeMethod, tokenMicroscope } from "tessera/plot/mod.ts";

const image = { width: 6, height: 6, channels: 1, data: new Uint8Array(36).fill(128) };
const grid = [3, 3] as const;
const merging: MicroscopeMethod = {
  name: "merging",
  layers: [
    { slot: [0, 0, 1, 2, 3, 4, 5, 6, 7], score: [0.9, 0.9, 0.1, 0, 0, 0, 0, 0, NaN] },
    { slot: [0, 0, 1, 2, 3, 4, 5, 6, 0] },
  ],
};
const pruning: MicroscopeMethod = {
  name: "pruning",
  layers: [{ slot: [0, 1, 2, 3, 4, 5, 6, 7, -1] }, { slot: [0, 1, 2, 3, 4, 5, 6, -1, -1] }],
};

interface Slider {
  active: number;
  steps: { label: string; args: [{ visible: boolean[] }, Record<string, unknown>] }[];
}

Deno.test("the microscope begins with the untouched image and shows each layer of both methods", () => {
  const fig = tokenMicroscope([merging, pruning], { image, grid });
  const [{ active, steps }] = fig.layout.sliders as Slider[];
  assert.equal(active, 2);
  assert.deepEqual(steps.map(({ label }) => label), ["0", "1", "2"]);
  const images = fig.layout.images as { visible?: boolean }[];
  assert.equal(images.length, 2 + 2 * 3); // two photographs, and an overlay for each method and position
  for (const [at, { args: [{ visible }, relayout] }] of steps.entries()) {
    assert.equal(visible.length, fig.data.length);
    const heat = fig.data.filter((trace, i) => visible[i] && trace.type === "heatmap");
    assert.equal(heat.length, 2); // one for each method
    const shown = Object.entries(relayout).filter(([key, value]) => key.startsWith("images") && value === true);
    assert.equal(shown.length, 2);
    const now = images.slice(2).map(({ visible }) => visible);
    if (at === active) assert.deepEqual(now, images.slice(2).map((_, i) => relayout[`images[${i + 2}].visible`]));
  }
  assert.match(String(steps[0].args[1]["annotations[0].text"]), /9 patches → 9 tokens<br>nothing is reduced/);
});

Deno.test("the pointer reads sources and score; a group in two pieces has a number", () => {
  const fig = tokenMicroscope([merging], { image, grid, active: 1 });
  const texts = fig.data.filter(({ type }) => type === "heatmap").map(({ text }) => (text as string[][]).flat());
  assert.equal(texts[1][0], "token 0 → slot 0<br>one of 2 tokens: 0, 1<br>score 0.9");
  assert.equal(texts[1][8], "token 8 → slot 7<br>alone"); // it had no score
  const numbers = fig.data.filter(({ mode }) => mode === "text");
  assert.equal(numbers.length, 1); // in layer 1 the group is in one piece, in layer 2 it is not
  assert.deepEqual(numbers[0].text, ["1", "1", "1"]);
});

Deno.test("agreement is computed, layer by layer", () => {
  assert.deepEqual(agreement([0, 1, 2, -1], [0, 1, -1, 2]), { kept: 0.5, groups: 1 });
  assert.ok(Number.isNaN(agreement([0, -1], [-1, 0]).groups));
  const fig = tokenMicroscope([merging, pruning], { image, grid });
  const [{ steps }] = fig.layout.sliders as Slider[];
  const texts = steps.map(({ args: [, relayout] }) => String(relayout["annotations[2].text"]));
  assert.match(texts[0], /Jaccard 1\.00, groups: adjusted Rand 1\.00/);
  assert.match(texts[2], /Jaccard 0\.78/); // seven of nine patches are in both
  assert.match(fig.alt, /both keep 78 % of what one of them keeps/);
});

Deno.test("the static picture shows the active layer and where the slider stands", async () => {
  const svg = await tokenMicroscope([merging, pruning], { image, grid, title: "Two methods" }).toSVG();
  assert.ok(svg.includes("layer: 2") && svg.includes("merging") && svg.includes("pruning"));
});

Deno.test("the microscope refuses what it cannot show with one sentence", () => {
  const shorter = { name: "shorter", layers: pruning.layers.slice(1) };
  assert.throws(() => tokenMicroscope([], { image, grid }), /one method or two, but there are 0/);
  assert.throws(() => tokenMicroscope([merging, shorter], { image, grid }), /same number of layers, but they have 2,1/);
  assert.throws(() => tokenMicroscope([merging], { image, grid, active: 3 }), /0 to 2, but it is 3/);
  assert.throws(() => tokenMicroscope([merging], { image, grid: [2, 2] }), /needs 4 slots/);
});
