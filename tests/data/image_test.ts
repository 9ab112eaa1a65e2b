import assert from "node:assert/strict";
import sharp from "sharp";
import { dataFolder, decodeImage, readImage } from "../../lib/data/mod.ts";
import { random } from "../../lib/random.ts";

const cat = new URL("skimage-images/chelsea.png", dataFolder);

Deno.test("decodeImage() gives back the pixels that a PNG was made of, for every number of channels", async () => {
  const generator = random(1, "image");
  for (const channels of [1, 3, 4] as const) {
    const [width, height] = [1 + generator.integer(9), 1 + generator.integer(9)];
    const data = Uint8Array.from({ length: width * height * channels }, () => generator.integer(256));
    const png = await sharp(data, { raw: { width, height, channels } }).png().toBuffer();
    const image = await decodeImage(png, "a test", { width, height, channels });
    assert.deepEqual(image, { width, height, channels, data });
  }
});

Deno.test("decodeImage() turns grey into colour and drops opacity, but keeps the colours under it", async () => {
  const grey = await sharp(Uint8Array.of(7, 200), { raw: { width: 2, height: 1, channels: 1 } }).png().toBuffer();
  assert.deepEqual((await decodeImage(grey, "grey")).data, Uint8Array.of(7, 7, 7, 200, 200, 200));
  const clear = await sharp(Uint8Array.of(9, 8, 7, 0), { raw: { width: 1, height: 1, channels: 4 } }).png().toBuffer();
  assert.deepEqual((await decodeImage(clear, "clear")).data, Uint8Array.of(9, 8, 7));
});

Deno.test("readImage() gives the pixels that Pillow gives, though the file holds a colour profile", async () => {
  const { data, width } = await readImage(cat);
  const pixel = (x: number, y: number) => [...data.subarray(3 * (y * width + x), 3 * (y * width + x) + 3)];
  assert.deepEqual([pixel(0, 0), pixel(100, 50), pixel(450, 299), pixel(230, 120)], [[143, 120, 104], [120, 84, 52], [
    162,
    138,
    128,
  ], [185, 143, 119]]);
});

Deno.test("decodeImage() follows a JPEG's note on how the camera was held", async () => {
  const raw = { width: 16, height: 8, channels: 3 as const };
  const jpeg = await sharp(new Uint8Array(16 * 8 * 3), { raw }).withMetadata({ orientation: 6 }).jpeg().toBuffer();
  const { width, height } = await decodeImage(jpeg, "held upright");
  assert.deepEqual([width, height], [8, 16]);
});

Deno.test("readImage() says in one sentence what is wrong with an image", async () => {
  const bytes = await Deno.readFile(cat);
  const cases: [() => Promise<unknown>, RegExp][] = [
    [
      () => readImage(cat, { width: 28, height: 28 }),
      /^Error: chelsea\.png is 451 x 300 pixels, but 28 x 28 \(width x height\) are needed; resize it, or pass another/,
    ],
    [() => readImage(cat, { height: 224 }), /^Error: chelsea\.png is 451 x 300 pixels, but any x 224 /],
    [() => readImage("no.png"), /^Error: there is no file no\.png; check the name/],
    [
      () => readImage(new URL("vit-nano/config.json", dataFolder)),
      /^Error: .*config\.json is not an image that can be read; pass a PNG or a JPEG file$/,
    ],
    [() => decodeImage(new Uint8Array(), "empty"), /^Error: empty is not an image that can be read; pass a PNG/],
    [() => decodeImage(bytes.subarray(0, 20_000), "cut"), /^Error: cut cannot be decoded \(.*\); it is cut short or/],
    [() => decodeImage(bytes.subarray(0, 20), "cut"), /^Error: cut cannot be decoded \(.*\); it is cut short or/],
    [() => readImage(cat, { channels: JSON.parse("2") }), /^RangeError: channels must be 1 .* but it is 2$/],
    [() => readImage(cat, { width: 0 }), /^RangeError: width must be a number of pixels > 0, but it is 0; leave it/],
  ];
  for (const [call, message] of cases) await assert.rejects(call, message);
});

Deno.test("a JPEG that is cut short is an error, not a half grey picture", async () => {
  const bytes = await Deno.readFile(new URL("skimage-images/rocket.jpg", dataFolder));
  await assert.rejects(decodeImage(bytes.subarray(0, 60_000), "rocket"), /^Error: rocket cannot be decoded \(/);
});
