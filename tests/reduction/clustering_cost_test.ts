/** Clustering of many patches costs what its doc comment says: multiplications and the largest tensors, counted. */
import assert from "node:assert/strict";
import { random } from "../../lib/random.ts";
import { backend, tf } from "../../lib/tensor/mod.ts";
import { dpcKnn, kMedoidsFit } from "../../lib/reduction/mod.ts";
import { blocksOf } from "../../lib/reduction/blocks_of_rows.ts";

const channels = 16;
const sizes = [512, 2048, 4096];

/** Multiplications of all matrix products of `run`, and the number of elements of the largest tensor that it made. */
async function count(run: () => unknown): Promise<{ macs: number; largest: number; extraBytes: number }> {
  const before = tf.memory().numBytes;
  const profile = await tf.profile(() => {
    tf.dispose(run() as tf.TensorContainer);
  });
  let macs = 0, largest = 0;
  for (const { name, inputShapes, outputShapes } of profile.kernels) {
    for (const shape of outputShapes) largest = Math.max(largest, tf.util.sizeFromShape(shape));
    if (name === "BatchMatMul") {
      macs += tf.util.sizeFromShape(outputShapes[0]) * channelsOf(inputShapes, outputShapes[0]);
    }
  }
  return { macs, largest, extraBytes: profile.peakBytes - before };
}

/** The dimension that a product sums over. */
function channelsOf(inputs: (number[] | null)[], output: number[]): number {
  return Math.round(Math.sqrt(
    tf.util.sizeFromShape(inputs[0]!) * tf.util.sizeFromShape(inputs[1]!) / tf.util.sizeFromShape(output) / output[0],
  ));
}

function patches(tokens: number): tf.Tensor3D {
  const rng = random(tokens, "cost");
  return tf.tensor3d(rng.normals(tokens * channels), [1, tokens, channels]);
}

Deno.test({
  name: "DPC-KNN at 512, 2048 and 4096 patches multiplies as often as it says, and makes no tokens x tokens matrix",
  ignore: backend.name !== "tensorflow",
  async fn() {
    for (const n of sizes) {
      const x = patches(n), k = n / 8;
      const { macs, largest, extraBytes } = await count(() => dpcKnn(x, { clusters: k }));
      const passes = blocksOf(n).length === 1 ? 1 : 2;
      assert.equal(macs, passes * n * n * channels + n * k * channels, `${n} patches`);
      const block = Math.max(blocksOf(n)[0] * n, n * k);
      assert.ok(largest <= block, `${n} patches: ${largest} numbers in one tensor`);
      assert.ok(extraBytes < 10 * 4 * block, `${n} patches: ${extraBytes} bytes`);
      if (n > 1448) assert.ok(largest < n * n / 1.9, "a tokens x tokens matrix");
      x.dispose();
    }
  },
});

Deno.test({
  name: "K-Medoids at 512, 2048 and 4096 patches multiplies as often as it says, and makes no tokens x tokens matrix",
  ignore: backend.name !== "tensorflow",
  async fn() {
    for (const n of sizes) {
      const x = patches(n), k = n / 16, iterations = 2;
      const weight = tf.ones<tf.Rank.R2>([1, n]);
      const { macs, largest, extraBytes } = await count(() => kMedoidsFit(x, { clusters: k, iterations, weight }));
      const inBlocks = iterations * n * n * channels + (iterations + 1) * n * k * channels;
      assert.equal(macs, blocksOf(n).length === 1 ? n * n * channels : inBlocks, `${n} patches`);
      const block = Math.max(blocksOf(n)[0] * n, n * k);
      assert.ok(largest <= block, `${n} patches: ${largest} numbers in one tensor`);
      assert.ok(extraBytes < 10 * 4 * block, `${n} patches: ${extraBytes} bytes`);
      if (n > 1448) assert.ok(largest < n * n / 1.9, "a tokens x tokens matrix");
      tf.dispose([x, weight]);
    }
  },
});
