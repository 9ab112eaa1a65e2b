import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import sharp from "sharp";
import { encodePNG } from "tessera/plot/png.ts";
import { mulberry32 } from "tessera/random.ts";

for (const channels of [1, 3, 4]) {
  for (const colours of [3, 256]) {
    Deno.test(`a PNG of ${channels} channels and up to ${colours ** channels} colours reads back as it was`, async () => {
      const next = mulberry32(channels);
      const data = Uint8Array.from({ length: 30 * 20 * channels }, () => Math.floor(next() * colours));
      const png = encodePNG({ width: 30, height: 20, channels, data });
      const image = sharp(Buffer.from(png));
      const read = channels === 1
        ? image.toColourspace("b-w")
        : channels === 3
        ? image.removeAlpha()
        : image.ensureAlpha();
      assert.deepEqual(new Uint8Array(await read.raw().toBuffer()), data);
    });
  }
}
