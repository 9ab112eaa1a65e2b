import assert from "node:assert/strict";
import { compile, straightThrough, tf } from "../../lib/tensor/mod.ts";
import { codebookRegions, quantize, quantizeMany, type Slot, slotRegions, slots } from "../../lib/tokenization/mod.ts";
import { random } from "../../lib/random.ts";
import { assertClose } from "../golden/cases.ts";
import { quantiserInputs } from "./waves.ts";

/** Golden vectors of an independent implementation in PyTorch, float64. */
const golden: {
  slot: Slot;
  sharedRows: "middle" | "all";
  tokens: number[][];
  first: number[];
  quantized: number[];
  vq: number;
}[] = [
  {
    slot: "textSpecific",
    sharedRows: "middle",
    tokens: [[0, 1], [1, 0], [1, 2]],
    first: [.638758, .784118, .879119],
    quantized: [.362470, .511319, .273211, -.171657],
    vq: .150026,
  },
  {
    slot: "graphSpecific",
    sharedRows: "middle",
    tokens: [[7, 8], [8, 7], [8, 6]],
    first: [.696681, .900457, .815706],
    quantized: [.018557, .419937, .503517, .206045],
    vq: .198536,
  },
  {
    slot: "textShared",
    sharedRows: "middle",
    tokens: [[5, 4], [5, 4], [5, 4]],
    first: [.535319, .666546, .706020],
    quantized: [.465588, .231911, -.177272, -.452299],
    vq: .344086,
  },
  {
    slot: "graphShared",
    sharedRows: "middle",
    tokens: [[4, 3], [4, 5], [5, 3]],
    first: [.643806, .701779, .920894],
    quantized: [.153937, .466705, .426280, .063255],
    vq: .269315,
  },
  {
    slot: "textShared",
    sharedRows: "all",
    tokens: [[1, 8], [1, 5], [5, 1]],
    first: [.511632, .515150, .536977],
    quantized: [.631676, .342659, -.205676, -.598359],
    vq: .353380,
  },
  {
    slot: "graphShared",
    sharedRows: "all",
    tokens: [[0, 7], [8, 4], [2, 5]],
    first: [.578379, .551173, .522691],
    quantized: [.020450, .566870, .684294, .283858],
    vq: .193531,
  },
];

Deno.test("quantize() gives the golden tokens, weights and losses in every slot", () => {
  const { codebook, ...inputs } = quantiserInputs();
  for (const { slot, sharedRows, tokens, first, quantized, vq } of golden) {
    const region = slotRegions(9, sharedRows)[slot];
    const result = quantize(inputs[slot], codebook, { region, K: 2 });
    const where = `${slot}, ${sharedRows}`;
    assert.deepEqual(result.tokens.arraySync(), tokens, where);
    assertClose(result.weights.arraySync().map((row) => row[0]), first, where, 1e-5);
    assertClose(result.quantized.arraySync()[0], quantized, where, 1e-5);
    assertClose(result.codebookLoss.arraySync(), vq, where, 1e-5);
    assertClose(result.commitment.arraySync(), vq, where, 1e-5);
  }
});

Deno.test("the gradients of one slot have the golden norms, and part of the codebook loss reaches the embedding", () => {
  const { codebook, textSpecific } = quantiserInputs();
  const options = { region: codebookRegions(9).text, K: 2 };
  const norms = (loss: (e: tf.Tensor2D, C: tf.Tensor2D) => tf.Scalar) =>
    // tfjs stops where a gradient is cut altogether: 0 times the sum keeps both connected
    tf.grads((e: tf.Tensor, C: tf.Tensor) => loss(e as tf.Tensor2D, C as tf.Tensor2D).add(e.sum().add(C.sum()).mul(0)))(
      [
        textSpecific,
        codebook,
      ],
    )
      .map((gradient) => gradient.norm().arraySync());
  const both = norms((e, C) => {
    const { codebookLoss, commitment } = quantize(e, C, options);
    return tf.add(codebookLoss, commitment.mul(0.25));
  });
  assertClose(both, [0.063628, 0.091509], "vq + 0.25 commitment", 1e-5);
  const alone = norms((e, C) => quantize(e, C, options).codebookLoss);
  assertClose(alone[0], 0.025166, "vq alone, to the embedding", 1e-5);
  const detached = norms((e, C) => quantize(e, C, { ...options, detachWeights: true }).codebookLoss);
  assert.equal(detached[0], 0);
});

Deno.test("straight through: the value is the codeword's, the gradient the embedding's, and the codebook gets none", () => {
  const { codebook, textSpecific } = quantiserInputs();
  const U = tf.randomUniform([3, 4], -1, 1, "float32", 7);
  const { out, quantized } = quantize(textSpecific, codebook, { K: 2 });
  assertClose(out.arraySync(), quantized.arraySync(), "value", 1e-7);
  const [toEmbedding, toCodebook] = tf.grads((e: tf.Tensor, C: tf.Tensor) =>
    quantize(e as tf.Tensor2D, C as tf.Tensor2D, { K: 2 }).out.mul(U).sum().add(C.sum().mul(0)) as tf.Scalar
  )([textSpecific, codebook]);
  assert.deepEqual(toEmbedding.arraySync(), U.arraySync());
  assert.equal(toCodebook.abs().max().arraySync(), 0);
  const [toHard] = tf.grads((hard: tf.Tensor) =>
    straightThrough(hard, textSpecific).mul(U).sum().add(hard.sum().mul(0))
  )(
    [quantized],
  );
  assert.equal(toHard.abs().max().arraySync(), 0);
});

Deno.test("tokens lie in their region, are distinct, and nearer ones come first with weights that sum to 1", () => {
  const draw = random(1, "codebook");
  for (const rows of [9, 31, 100]) {
    for (const sharedRows of ["middle", "all"] as const) {
      const codebook = tf.tensor2d(draw.normals(rows * 6), [rows, 6]);
      const embedding = tf.tensor2d(draw.normals(20 * 6), [20, 6]);
      for (const slot of slots) {
        const region = slotRegions(rows, sharedRows)[slot];
        const { tokens, distances, weights } = quantize(embedding, codebook, { region, K: 3 });
        const far = distances.arraySync(), weight = weights.arraySync();
        tokens.arraySync().forEach((row, i) => {
          assert.equal(new Set(row).size, 3);
          assert.ok(row.every((token) => token >= region.start && token < region.start + region.count));
          assert.ok(far[i][0] <= far[i][1] && far[i][1] <= far[i][2] && far[i][0] >= -1e-6 && far[i][2] <= 4 + 1e-6);
          assert.ok(Math.abs(weight[i].reduce((a, b) => a + b) - 1) < 1e-6);
          assert.ok(weight[i][0] >= weight[i][1] && weight[i][1] >= weight[i][2] && weight[i][2] >= 0);
          assert.ok(weight[i][0] / weight[i][2] <= Math.exp(4) * (1 + 1e-6));
        });
      }
    }
  }
});

Deno.test("the length of an embedding or of a codeword changes no token; equal codewords: the lower row first", () => {
  const draw = random(2, "codebook");
  const codebook = tf.tensor2d(draw.normals(60 * 8), [60, 8]);
  const embedding = tf.tensor2d(draw.normals(30 * 8), [30, 8]);
  const tokens = (e: tf.Tensor2D, C: tf.Tensor2D) => quantize(e, C, { K: 5 }).tokens.arraySync();
  const plain = tokens(embedding, codebook);
  assert.deepEqual(tokens(embedding.mul(17.3), codebook), plain);
  const lengths = tf.tensor2d(draw.uniforms(60, 0.1, 9), [60, 1]);
  assert.deepEqual(tokens(embedding, codebook.mul(lengths)), plain);
  const twins = tf.tensor2d([[0, 1], [1, 0], [1, 0], [1, 0]]);
  assert.deepEqual(quantize(tf.tensor2d([[3, 0]]), twins, { K: 3 }).tokens.arraySync(), [[1, 2, 3]]);
});

Deno.test("the paper's regions never mix; in the authors' code shared slots may use every row", () => {
  const rows = (sharedRows: "middle" | "all") => {
    const regions = slotRegions(21_000, sharedRows);
    return slots.map((slot) => [regions[slot].start, regions[slot].start + regions[slot].count]);
  };
  assert.deepEqual(rows("middle"), [[0, 7000], [14_000, 21_000], [7000, 14_000], [7000, 14_000]]);
  assert.deepEqual(rows("all"), [[0, 7000], [14_000, 21_000], [0, 21_000], [0, 21_000]]);
  assert.deepEqual(codebookRegions(19).graph, { start: 13, count: 6 });
});

Deno.test("K above the region is one sentence", () => {
  const { codebook, textSpecific } = quantiserInputs();
  assert.throws(() => quantize(textSpecific, codebook, { region: codebookRegions(9).text, K: 4 }), {
    name: "RangeError",
    message:
      "K must be a whole number from 1 to 3, the rows of the region, but it is 4; take a smaller K or a larger " +
      "codebook",
  });
  assert.throws(() => quantize(textSpecific, codebook, { K: 0 }), /K must be a whole number from 1 to 9/);
  assert.throws(() => quantize(textSpecific, codebook, { K: 1, region: { start: 8, count: 2 } }), /cannot start at 8/);
  assert.throws(() => codebookRegions(2), /a whole number of rows from 3, but it is 2/);
});

Deno.test("many embeddings in blocks have the tokens, weights and vectors of one call, whatever the block", async () => {
  const draw = random(8, "many");
  const codebook = tf.tensor2d(draw.normals(90 * 8), [90, 8]);
  const numbers = draw.normals(70 * 8);
  const region = codebookRegions(90).shared;
  const { tokens, weights, quantized } = quantize(tf.tensor2d(numbers, [70, 8]), codebook, { region, K: 5 });
  for (const block of [7, 32, 500]) {
    const many = await quantizeMany(numbers, codebook, { region, K: 5, block });
    assert.deepEqual(many.tokens, tokens.dataSync());
    assertClose([...many.weights], [...weights.dataSync()], "weights", 1e-6);
    assertClose([...many.vectors], [...quantized.dataSync()], "vectors", 1e-6);
  }
  await assert.rejects(
    quantizeMany(numbers.subarray(1), codebook, { K: 1 }),
    /559 numbers are no whole number of vectors/,
  );
  await assert.rejects(quantizeMany(numbers, codebook, { K: 91 }), /K must be a whole number from 1 to 90/);
});

Deno.test("a large codebook is searched group by group: the same tokens, ties included, and the same gradients", () => {
  const draw = random(4, "groups");
  const rows = Array.from({ length: 1200 }, () => [...draw.normals(6)].map((value) => Math.round(value * 2) || 1));
  const embedding = tf.tensor2d(Array.from({ length: 40 }, () => [4, ...[...draw.normals(5)].map(Math.round)]));
  // with one row more, which is far from all, the columns have no divisor and are sorted as a whole
  const whole = tf.tensor2d([...rows, [-1, 0, 0, 0, 0, 0]]);
  const grouped = tf.tensor2d(rows);
  const K = 5;
  const expected = quantize(embedding, whole, { K }), got = quantize(embedding, grouped, { K });
  const distances = expected.distances.arraySync();
  assert.ok(distances.some((row) => new Set(row.map((value) => value.toFixed(6))).size < K), "some are ties");
  assert.deepEqual(got.tokens.arraySync(), expected.tokens.arraySync());
  assertClose(got.weights.arraySync(), expected.weights.arraySync(), "weights", 1e-6);
  const gradients = (codebook: tf.Tensor2D) =>
    tf.grads((x, rows) => {
      const { out, codebookLoss, commitment } = quantize(x as tf.Tensor2D, rows as tf.Tensor2D, { K });
      return tf.addN([out.square().sum(), codebookLoss, commitment]);
    })([embedding, codebook]).map((gradient) => gradient.slice([0, 0], [40, 6]).arraySync());
  assertClose(gradients(grouped), gradients(whole), "gradients", 1e-6);
  const compiled = compile((x: tf.Tensor2D, rows: tf.Tensor2D) => quantize(x, rows, { K }).tokens, { xla: false });
  assert.deepEqual(compiled(embedding, grouped).arraySync(), expected.tokens.arraySync());
  compiled.dispose();
});
