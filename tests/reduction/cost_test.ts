/** What methods that choose one token after another cost at many tokens: counted, and held against what they say. */
import assert from "node:assert/strict";
import { random } from "../../lib/random.ts";
import { tf, tidy } from "../../lib/tensor/mod.ts";
import { dppOrder } from "../../lib/reduction/cdpruner.ts";
import { maxMinOrder } from "../../lib/reduction/divprune.ts";

/** Multiplications in matrix products, element by element and in squares, and the most bytes that were alive at once. */
async function costOf(
  run: () => tf.Tensor,
  atLeast: number,
): Promise<{ macs: number; bytes: number; largest: number }> {
  const before = tf.memory().numBytes;
  const profile = await tf.profile(() => tidy(() => run()));
  let macs = 0, largest = 0;
  for (const { name, inputShapes, outputShapes } of profile.kernels) {
    const sizes = outputShapes.map((shape) => tf.util.sizeFromShape(shape));
    largest = Math.max(largest, ...sizes);
    if (name === "BatchMatMul") {
      const [[, rows, inner], second] = inputShapes as number[][];
      const columns = second[1] === inner ? second[2] : second[1];
      macs += inputShapes[0]![0] * rows * inner * columns;
    } else if (["Multiply", "Square"].includes(name) && sizes[0] >= atLeast) macs += sizes[0];
  }
  return { macs, bytes: profile.peakBytes - before, largest };
}

const channels = 24;
function tokens(n: number): tf.Tensor3D {
  return tf.tensor3d(random(n, "cost").normals(n * channels), [1, n, channels]);
}

Deno.test("DivPrune costs n²C + nkC multiplications and never holds n x n numbers, up to 4096 tokens", async () => {
  for (const n of [1024, 2048, 4096]) {
    const features = tokens(n), keep = n / 64;
    const { macs, bytes, largest } = await costOf(() => maxMinOrder(features, keep), n * channels);
    const said = n ** 2 * channels + n * (keep - 1) * channels;
    const lengths = 2 * n * channels; // to bring tokens to length 1
    assert.ok(macs >= said && macs <= said + lengths, `${n}: ${macs} multiplications, ${said} are said`);
    const memory = 4 * (n * channels + Math.min(n, 512) * n);
    assert.ok(bytes < 1.25 * memory, `${n}: ${bytes} bytes, ${memory} are said`);
    assert.ok(largest <= 512 * n, `${n}: a tensor of ${largest} numbers`);
    features.dispose();
  }
});

Deno.test("CDPruner costs 3nkC multiplications and memory that does not grow with k, up to 4096 tokens", async () => {
  for (const n of [1024, 2048, 4096]) {
    const features = tokens(n), relevance = tf.fill<tf.Rank.R2>([1, n], 0.5);
    const peak: number[] = [];
    for (const keep of [8, 16]) {
      const { macs, bytes, largest } = await costOf(() => dppOrder(features, relevance, keep), n * channels);
      const said = 3 * n * keep * channels;
      assert.ok(macs >= said && macs <= said + 4 * n * channels, `${n}: ${macs} multiplications, ${said} are said`);
      assert.ok(bytes < 1.25 * 20 * n * channels, `${n}: ${bytes} bytes, ${20 * n * channels} are said`);
      assert.ok(largest <= n * channels, `${n}: a tensor of ${largest} numbers`);
      peak.push(bytes);
    }
    assert.ok(peak[1] < peak[0] * 1.05, `${peak}`);
    tf.dispose([features, relevance]);
  }
});
