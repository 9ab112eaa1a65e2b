import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { staticSVG } from "tessera/plot/static_svg.ts";
import { asKept, goldenFigures, goldenFile } from "./golden_figures.ts";

const line = { type: "scatter", x: [1, 2, 3], y: [1, 4, 2] };

for (const [name, make] of Object.entries(goldenFigures)) {
  Deno.test(`the picture of ${name} is the one that is kept`, async () => {
    const kept = (await Deno.readTextFile(goldenFile(name))).trimEnd().split("\n");
    const drawn = (await asKept(await make().toSVG())).split("\n");
    drawn.forEach((element, k) => assert.equal(element, kept[k], `line ${k + 1} of ${name}.svg.txt`));
    assert.equal(drawn.length, kept.length);
  });
}

Deno.test("a picture has the same bytes each time, also when others are drawn at the same time", async () => {
  const alone = await staticSVG({ data: [line], layout: {} });
  const other = { data: [{ ...line, type: "bar" }], layout: {} };
  const together = await Promise.all([staticSVG(other), staticSVG({ data: [line], layout: {} }), staticSVG(other)]);
  assert.equal(together[1], alone);
  assert.equal(together[0], together[2]);
  assert.notEqual(together[0], alone);
});

Deno.test("a picture has the same bytes in another process", async () => {
  const program = fileURLToPath(new URL("./golden_figures.ts", import.meta.url));
  const { stdout } = await new Deno.Command(Deno.execPath(), { args: ["run", "-A", program, "curves"] }).output();
  assert.equal(new TextDecoder().decode(stdout).trimEnd(), await goldenFigures.curves().toSVG());
});

Deno.test("two pictures on one page do not share ids", async () => {
  const ids = (svg: string) => new Set([...svg.matchAll(/\sid="([^"]+)"/g)].map(([, id]) => id));
  const [a, b] = [
    await staticSVG({ data: [line], layout: {} }),
    await staticSVG({ data: [{ ...line, y: [2, 4, 2] }], layout: {} }),
  ];
  assert.deepEqual([...ids(a)].filter((id) => ids(b).has(id)), []);
});

Deno.test("drawing puts nothing on globalThis, and takes no random numbers from the program", async () => {
  const before = Reflect.ownKeys(globalThis).length;
  const random = Math.random;
  let taken = 0;
  Math.random = () => {
    taken++;
    return random();
  };
  try {
    await staticSVG({ data: [line], layout: {} });
  } finally {
    Math.random = random;
  }
  assert.equal(taken, 0);
  assert.equal(Reflect.ownKeys(globalThis).length, before);
  assert.ok(!("document" in globalThis));
});

Deno.test("text in a picture keeps its digits, although coordinates are shortened", async () => {
  const svg = await staticSVG({ data: [line], layout: { title: { text: "pi is 3.14159265" } } });
  assert.ok(svg.includes("pi is 3.14159265"));
  assert.ok(!/ d="[^"]*\.\d{3}/.test(svg));
});

Deno.test("scattergl is drawn as scatter", async () => {
  const svg = await staticSVG({ data: [{ ...line, type: "scattergl", mode: "markers" }], layout: {} });
  assert.equal(svg.match(/class="point"/g)?.length, 3);
});

for (const type of ["scatter3d", "surface", "scattermap", "splom"]) {
  Deno.test(`a trace of type ${type} is refused with one sentence`, async () => {
    await assert.rejects(staticSVG({ data: [{ type }], layout: {} }), /of type \w+ has no static picture/);
  });
}

Deno.test("after a drawing that failed the next one succeeds", async () => {
  await assert.rejects(staticSVG({ data: [{ type: "surface" }], layout: {} }));
  assert.ok((await staticSVG({ data: [line], layout: {} })).startsWith("<svg"));
});

for (
  const [what, trace] of Object.entries({
    "error bars": { ...line, error_y: { type: "data", array: [1, 1, 1] } },
    "a heat map": { type: "heatmap", z: [[1, 2], [3, 4]] },
    "a contour map": { type: "contour", z: [[1, 2, 3], [3, 4, 5], [1, 2, 1]], contours: { showlabels: true } },
    "a violin": { type: "violin", y: [1, 2, 2, 3, 5] },
    "a box plot": { type: "box", y: [1, 2, 2, 3, 5] },
    "a pie": { type: "pie", values: [1, 2], labels: ["a", "b"] },
    "a sankey diagram": { type: "sankey", node: { label: ["a", "b"] }, link: { source: [0], target: [1], value: [1] } },
  })
) {
  Deno.test(`plotly draws ${what} without a browser`, async () => {
    const svg = await staticSVG({ data: [trace], layout: { width: 300, height: 200 } });
    assert.ok(/<(path|image)\b/.test(svg));
    assert.ok(!svg.includes("NaN"));
  });
}
