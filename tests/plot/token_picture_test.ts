import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import sharp from "sharp";
import { type Figure, imageGrid, tokenPicture, tokenPictures, tokenSlider } from "tessera/plot/mod.ts";

const image = { width: 4, height: 4, channels: 1, data: new Uint8Array(16).fill(128) };
const grid = [2, 2] as const;

interface ImageSpec {
  source: string;
  layer: string;
  visible?: boolean;
}

const imagesOf = (fig: Figure) => fig.layout.images as ImageSpec[];

/** RGBA of the overlay at the middle of each patch of a 2 x 2 grid. */
async function middles(fig: Figure): Promise<number[][]> {
  const { source } = imagesOf(fig).find(({ layer, visible }) => layer === "above" && visible !== false)!;
  const bytes = Buffer.from(source.slice(source.indexOf(",") + 1), "base64");
  const { data, info } = await sharp(bytes).ensureAlpha().raw().toBuffer({ resolveWithObject: true });
  return [[1, 1], [1, 3], [3, 1], [3, 3]].map(([row, column]) => {
    const at = 4 * (Math.floor(row * info.height / 4) * info.width + Math.floor(column * info.width / 4));
    return [...data.subarray(at, at + 4)];
  });
}

Deno.test("tokenPicture() tints merged patches alike, fades dropped ones, and leaves lone ones untouched", async () => {
  const [a, b, alone, dropped] = await middles(tokenPicture({ image, grid, slot: [0, 0, 1, -1] }));
  assert.deepEqual(a, b);
  assert.ok(a[3] > 0 && a[3] < 255, "the image is seen through the tint");
  assert.notDeepEqual(a.slice(0, 3), [255, 255, 255]);
  assert.equal(alone[3], 0);
  assert.deepEqual(dropped.slice(0, 3), [255, 255, 255]);
  assert.ok(dropped[3] > 150 && dropped[3] < 255, "a dropped patch is faded, not gone");
});

Deno.test("tokenPicture() tells token, slot and size of the group where the pointer is", () => {
  const [trace] = tokenPicture({ image, grid, slot: [0, 0, 1, -1] }).data;
  assert.deepEqual(trace.z, [[0, 0], [1, -1]]);
  assert.deepEqual(trace.text, [
    ["token 0 → slot 0<br>one of 2 tokens: 0, 1", "token 1 → slot 0<br>one of 2 tokens: 0, 1"],
    ["token 2 → slot 1<br>alone", "token 3, dropped"],
  ]);
});

Deno.test("tokenPicture() takes the class token as the first of one slot more", () => {
  const fig = tokenPicture({ image, grid, slot: [0, 1, 0, 2, 2] });
  assert.deepEqual(fig.data[0].z, [[1, 0], [2, 2]]);
  assert.equal((fig.data[0].text as string[][])[0][1], "token 2 → slot 0<br>one of 2 tokens: 0, 2"); // with the class token
});

Deno.test("tokenPicture() counts tokens, groups and dropped patches in caption and alternative text", () => {
  const fig = tokenPicture({ image, grid, slot: [0, 0, 1, -1], title: "T" });
  const [caption] = fig.layout.annotations as { text: string }[];
  assert.equal(caption.text, "4 patches → 2 tokens<br>1 group of 2, 1 alone, 1 dropped");
  assert.equal(fig.alt, "Image of 2 x 2 patches. 4 patches → 2 tokens: 1 group of 2, 1 alone, 1 dropped.");
  assert.match(tokenPicture({ image, grid, slot: [0, 1, 2, 3] }).alt, /4 tokens: nothing is reduced/);
});

Deno.test("a group keeps its colour over all pictures of a figure, as long as its first patch is the same", async () => {
  const slots = [[0, 0, 1, 1], [0, 0, 0, 1]];
  const fig = tokenPictures(slots.map((slot) => ({ image, grid, slot })));
  const overlays = imagesOf(fig).filter(({ layer }) => layer === "above");
  const colours = await Promise.all(overlays.map(async (overlay) => {
    const own = { ...fig, layout: { ...fig.layout, images: [overlay] } };
    return (await middles(own))[0];
  }));
  assert.deepEqual(colours[0], colours[1]);
});

Deno.test("a picture of a photograph and its display are small", async () => {
  const cat = await Deno.readFile(new URL("../../data/skimage-images/crops224/chelsea.png", import.meta.url));
  const data = await sharp(Buffer.from(cat)).removeAlpha().raw().toBuffer();
  const fig = tokenPicture({
    image: { width: 224, height: 224, channels: 3, data },
    grid: [14, 14],
    slot: Array.from({ length: 196 }, (_, k) => k < 98 ? k >> 1 : k),
  });
  const show = Reflect.get(fig, Symbol.for("Jupyter.display")) as () => Promise<unknown>;
  const size = JSON.stringify(await show()).length;
  assert.ok(size < 120_000, `${size} bytes`); // a notebook holds ten of them
});

Deno.test("tokenSlider() shows one frame at a time, the middle one at first", async () => {
  const frames = [[0, 1, 2, 3], [0, 0, 1, 2], [0, 0, 0, 0]].map((slot, k) => ({ label: k, slot }));
  const fig = tokenSlider(frames, { image, grid, name: "layer" });
  assert.deepEqual(fig.data.map(({ visible }) => visible), [false, true, false]);
  assert.deepEqual(imagesOf(fig).map(({ visible }) => visible), [undefined, false, true, false]);
  const [{ active, steps }] = fig.layout.sliders as { active: number; steps: { label: string; args: object[] }[] }[];
  assert.equal(active, 1);
  assert.deepEqual(steps.map(({ label }) => label), ["0", "1", "2"]);
  assert.deepEqual(steps[2].args, [
    { visible: [false, false, true] },
    {
      "annotations[0].text": "4 patches → 1 token<br>1 group of 4",
      "images[1].visible": false,
      "images[2].visible": false,
      "images[3].visible": true,
    },
  ]);
  assert.match(fig.alt, /slider over layer from 0 to 2; shown is 1: 4 patches → 3 tokens/);
  const svg = await fig.toSVG();
  assert.ok(svg.includes("layer: 1")); // without a script the slider says where it stands
});

Deno.test("imageGrid() puts images in even rows, with captions and patch lines", async () => {
  const images = Array.from(
    { length: 10 },
    (_, k) => ({ image, caption: `digit ${k}`, colour: k ? "#222222" : "#D55E00" }),
  );
  const fig = imageGrid([...images.slice(0, 9), { ...images[9], grid }], { title: "Digits" });
  const places = fig.layout.images as { x: number; y: number }[];
  assert.equal(new Set(places.map(({ y }) => y)).size, 2);
  assert.equal(places.filter(({ y }) => y === 0).length, 5);
  const captions = fig.layout.annotations as { text: string; font: { color: string } }[];
  assert.deepEqual([captions[0].text, captions[0].font.color], ["digit 0", "#D55E00"]);
  assert.equal((fig.data[1].x as unknown[]).length, 3 * 6); // 3 lines across, 3 down, each with a gap
  assert.match(fig.alt, /^10 images: digit 0; digit 1;/);
  assert.ok((await fig.toSVG()).includes("digit 9"));
});

Deno.test("small images are enlarged with hard edges, photographs are not", async () => {
  const size = async (width: number) => {
    const picture = { width, height: width, channels: 1, data: new Uint8Array(width * width) };
    const { source } = imagesOf(imageGrid([{ image: picture }]))[0];
    return (await sharp(Buffer.from(source.slice(source.indexOf(",") + 1), "base64")).metadata()).width;
  };
  assert.ok(await size(28) >= 320);
  assert.equal(await size(224), 224);
});

Deno.test("token pictures refuse what they cannot draw with one sentence", () => {
  const slot = [0, 1, 2, 3];
  const refusals: [() => unknown, RegExp][] = [
    [() => tokenPicture({ image, grid, slot: [0] }), /needs 4 slots, or 5 with a class token, but there are 1/],
    [() => tokenPicture({ image, grid, slot: [0, 1, 2, -2] }), /slot\[3\] is -2/],
    [() => tokenPicture({ image, grid, slot: [0, 1, 2, 0.5] }), /slot\[3\] is 0.5/],
    [() => tokenPicture({ image, grid: [0, 2], slot }), /grid must be .* but it is \[0, 2\]/],
    [() => tokenPicture({ image: { ...image, width: 5 }, grid, slot }), /4 x 5 x 1 needs 20 numbers, but data has 16/],
    [() => tokenPicture({ image: { ...image, channels: 2 }, grid, slot }), /1, 3 or 4 channels, but it has 2/],
    [
      () => tokenPicture({ image: { ...image, data: Array(16).fill(300) }, grid, slot }),
      /0 to 255, but data\[0\] is 300/,
    ],
    [() => tokenPicture({ image: { ...image, data: Array(16).fill(NaN) }, grid, slot }), /data\[0\] is NaN/],
    [() => tokenPictures([]), /at least one token picture/],
    [() => tokenSlider([], { image, grid, name: "r" }), /at least one frame/],
    [() => tokenSlider([{ label: 1, slot }], { image, grid, name: "r", active: 1 }), /0 to 0, but it is 1/],
    [() => imageGrid([]), /at least one image/],
    [() => imageGrid([{ image }], { columns: 0 }), /columns must be an integer from 1 up, but it is 0/],
  ];
  for (const [call, message] of refusals) assert.throws(call, message);
});
