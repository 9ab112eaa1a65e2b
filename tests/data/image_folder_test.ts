import assert from "node:assert/strict";
import { pneumoniaMnist, readImage, readImageFolder, selectImages, writeImage } from "tessera/data/mod.ts";

async function withFolder(use: (folder: string) => Promise<void>): Promise<void> {
  const folder = await Deno.makeTempDir({ prefix: "tessera-images-" });
  try {
    await use(folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

Deno.test("images written as PNG come back from their folders, pixel by pixel and with their labels", async () => {
  await withFolder(async (folder) => {
    const some = selectImages(await pneumoniaMnist.load("test"), [0, 1, 2, 3, 4, 5]);
    for (let i = 0; i < some.count; i++) {
      const data = some.images.subarray(i * 784, (i + 1) * 784);
      await writeImage(`${folder}/${some.classes[some.labels[i]]}/${i}.png`, {
        width: 28,
        height: 28,
        channels: 1,
        data,
      });
    }
    const set = await readImageFolder(folder, { size: 28, channels: 1, classes: some.classes });
    assert.equal(set.count, 6);
    for (const [k, file] of set.files.entries()) {
      const i = Number(file.match(/(\d+)\.png$/)![1]);
      assert.equal(set.labels[k], some.labels[i]);
      assert.deepEqual(set.images.subarray(k * 784, (k + 1) * 784), some.images.subarray(i * 784, (i + 1) * 784));
    }
    assert.equal((await readImageFolder(folder, { size: 28, channels: 1 })).hash, set.hash);
  });
});

Deno.test("another size is the middle square, scaled", async () => {
  await withFolder(async (folder) => {
    const data = Uint8Array.from({ length: 8 * 4 }, (_, i) => i % 8 < 2 || i % 8 > 5 ? 255 : 100); // white sides
    await writeImage(`${folder}/a/wide.png`, { width: 8, height: 4, channels: 1, data });
    const { images } = await readImageFolder(folder, { size: 2, channels: 1 });
    assert.deepEqual([...images], [100, 100, 100, 100]);
    assert.equal((await readImageFolder(folder, { size: 2 })).channels, 3);
  });
});

Deno.test("a folder that cannot be read is refused in one sentence", async () => {
  await withFolder(async (folder) => {
    await assert.rejects(
      readImageFolder(`${folder}/nowhere`, { size: 2 }),
      /there is no folder .*nowhere; check the name/,
    );
    await assert.rejects(
      readImageFolder(folder, { size: 2 }),
      /holds no images; put PNG or JPEG files into one folder/,
    );
    await assert.rejects(
      readImageFolder(folder, { size: 0 }),
      /size must be a whole number of pixels from 1, but it is 0/,
    );
    await Deno.mkdir(`${folder}/cat`);
    await Deno.writeTextFile(`${folder}/cat/broken.png`, "no picture");
    await assert.rejects(readImageFolder(folder, { size: 2 }), /cat\/broken\.png is not an image that can be read/);
    await assert.rejects(
      readImageFolder(folder, { size: 2, classes: ["dog"] }),
      /has a folder cat, but the classes are dog/,
    );
    const dot = { width: 1, height: 1, channels: 1 as const, data: Uint8Array.of(1) };
    await assert.rejects(writeImage(`${folder}/dot.gif`, dot), /written as PNG, but the file is .*dot\.gif/);
    await assert.rejects(readImage(`${folder}/dot.gif`), /there is no file/); // nothing half written
  });
});
