/**
 * The figures whose pictures are kept under golden/. Run as a program, it prints the SVG of the one that is named; so a
 * test can compare a fresh process with its own.
 *
 * To write the files anew after a wanted change: `deno run -A tests/plot/golden_figures.ts --write`, then look at them.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { Buffer } from "node:buffer";
import sharp from "sharp";
import { curves, type Figure, tokenPicture } from "tessera/plot/mod.ts";

const image = {
  width: 8,
  height: 8,
  channels: 1,
  data: Array.from({ length: 64 }, (_, k) => (k * 37) % 256),
};

export const goldenFigures: Record<string, () => Figure> = {
  curves: () =>
    curves([
      { name: "ToMe", x: [49, 25, 13], y: [0.979, 0.97, 0.93] },
      { name: "random", x: [49, 25, 13], seeds: [[0.979, 0.9, 0.7], [0.979, 0.88, 0.66], [0.979, 0.91, 0.71]] },
    ], { title: "Accuracy of fewer tokens", x: "tokens kept", y: "accuracy", lines: [{ axis: "y", at: 0.979 }] }),
  token_picture: () =>
    tokenPicture({
      image,
      grid: [4, 4],
      slot: [0, 0, 1, 2, 0, 3, 4, 2, 5, 6, 4, 4, -1, -1, 7, 7],
      title: "Four groups, two dropped",
      pictureWidth: 160,
    }),
};

/**
 * An SVG with each embedded PNG replaced by a hash of its pixels, and without the ids, which come from a hash of the
 * figure's bytes: compressed bytes may differ from one processor to another, what is seen may not.
 */
export async function asKept(svg: string): Promise<string> {
  const found = [...new Set(svg.match(/data:image\/png;base64,[^"]+/g) ?? [])];
  for (const address of found) {
    const bytes = Buffer.from(address.slice(address.indexOf(",") + 1), "base64");
    const { data, info } = await sharp(bytes).ensureAlpha().raw().toBuffer({ resolveWithObject: true });
    const hash = createHash("sha256").update(data).digest("hex").slice(0, 16);
    svg = svg.replaceAll(address, `pixels:${info.width}x${info.height}:${hash}`);
  }
  const [, own] = svg.match(/"title-(\w+) desc/)!;
  const [, plotlys] = svg.match(/"defs-(\w+)"/)!;
  svg = svg.replaceAll(own, "ID").replaceAll(plotlys, "ID").replace(/\btrace[0-9a-f]{6}\b/g, "traceID");
  return svg.replaceAll("><", ">\n<"); // one element per line, so that a difference can be read
}

export function goldenFile(name: string): URL {
  return new URL(`./golden/${name}.svg.txt`, import.meta.url);
}

if (import.meta.main) {
  const [name] = Deno.args;
  if (name === "--write") {
    for (const [each, make] of Object.entries(goldenFigures)) {
      await Deno.writeTextFile(goldenFile(each), await asKept(await make().toSVG()) + "\n");
    }
  } else console.log(await goldenFigures[name]().toSVG());
}
