/** Descriptions of parameters: what they start from, their number, their costs, and what is refused. */
import assert from "node:assert/strict";
import type { NumericArray } from "tessera/data/mod.ts";
import * as nn from "tessera/nn/mod.ts";
import { random } from "tessera/random.ts";
import { flatten, randomKey, tf, tidy } from "tessera/tensor/mod.ts";

const large = [200, 100] as const;
const numbersOf = (from: nn.Initialiser, shape: readonly number[] = large) => [...from(shape, random(5, "numbers"))];
const mean = (values: number[]) => values.reduce((a, b) => a + b, 0) / values.length;
function std(values: number[]): number {
  const centre = mean(values);
  return Math.sqrt(mean(values.map((value) => (value - centre) ** 2)));
}

/** Fails unless 20,000 numbers lie evenly within ± bound: all inside, close to the ends, with the right spread. */
function assertUniform(values: number[], bound: number, what: string): void {
  assert.ok(values.every((value) => Math.abs(value) <= bound * (1 + 1e-6)), `${what}: outside ± ${bound}`);
  assert.ok(Math.max(...values) > 0.99 * bound && Math.min(...values) < -0.99 * bound, `${what}: ends of ± ${bound}`);
  assert.ok(Math.abs(std(values) / (bound / Math.sqrt(3)) - 1) < 0.03, `${what}: ${std(values)}`);
}

Deno.test("initialisers have the bounds and spreads of PyTorch and timm", () => {
  const [fanIn, fanOut] = [100, 200];
  assertUniform(numbersOf(nn.xavierUniform()), Math.sqrt(6 / (fanIn + fanOut)), "Xavier");
  assertUniform(numbersOf(nn.xavierUniform(2)), 2 * Math.sqrt(6 / (fanIn + fanOut)), "Xavier with gain");
  assertUniform(numbersOf(nn.kaimingUniform()), Math.sqrt(6 / fanIn), "Kaiming");
  assertUniform(numbersOf(nn.kaimingUniform({ fan: "out" })), Math.sqrt(6 / fanOut), "Kaiming by fan-out");
  assertUniform(numbersOf(nn.kaimingUniform({ slope: Math.sqrt(5) })), 1 / Math.sqrt(fanIn), "PyTorch's default");
  const spreads: [nn.Initialiser, number][] = [
    [nn.xavierNormal(), Math.sqrt(2 / (fanIn + fanOut))],
    [nn.kaimingNormal(), Math.sqrt(2 / fanIn)],
    [nn.kaimingNormal({ fan: "out", slope: 1 }), Math.sqrt(1 / fanOut)],
    [nn.normal(), 1],
    [nn.truncatedNormal(0.02), 0.02],
  ];
  for (const [from, expected] of spreads) {
    const values = numbersOf(from);
    assert.ok(Math.abs(std(values) / expected - 1) < 0.03, `${std(values)}, expected ${expected}`);
    assert.ok(Math.abs(mean(values)) < 0.03 * expected);
  }
  assert.ok(numbersOf(nn.truncatedNormal(1)).every((value) => Math.abs(value) <= 2));
  const patches = numbersOf(nn.kaimingUniform(), [50, 3, 8, 8]); // of a convolution the fan-in is channels x area
  assertUniform(patches, Math.sqrt(6 / 192), "a convolution");
});

Deno.test("layers start as PyTorch's do", () => {
  const parameters = tidy(() => {
    const described = {
      linear: nn.linearLayer(100, 200),
      attn: nn.attentionLayer(64),
      lstm: nn.lstmLayer(30, 64),
      words: nn.embeddingLayer(300, 64),
      norm: nn.normLayer(8),
    };
    return new Map([...flatten(nn.initialise(described, random(1)))].map(([name, t]) => [name, [...t.dataSync()]]));
  });
  const at = (name: string) => parameters.get(name)!;
  assertUniform(at("linear.weight"), 1 / 10, "nn.Linear's weight");
  assert.ok(at("linear.bias").every((value) => Math.abs(value) <= 1 / 10) && std(at("linear.bias")) > 0.04);
  assertUniform(at("attn.qkv.weight"), Math.sqrt(6 / (64 + 192)), "in_proj_weight: Xavier over all three together");
  assertUniform(at("attn.proj.weight"), 1 / 8, "out_proj");
  for (const name of ["attn.qkv.bias", "attn.proj.bias", "norm.bias"]) {
    assert.ok(at(name).every((value) => value === 0));
  }
  for (const name of ["weight_ih", "weight_hh"]) assertUniform(at(`lstm.${name}`), 1 / 8, name);
  assert.ok(Math.abs(std(at("words.weight")) - 1) < 0.03);
  assert.deepEqual(at("norm.weight"), Array(8).fill(1));
});

Deno.test("another layer changes the numbers of none", () => {
  tidy(() => {
    const one = nn.initialise({ a: nn.linearLayer(3, 2) }, random(1));
    const two = nn.initialise({ before: nn.linearLayer(9, 9), a: nn.linearLayer(3, 2) }, random(1));
    assert.deepEqual(one.a.weight.arraySync(), two.a.weight.arraySync());
    assert.notDeepEqual(one.a.weight.dataSync()[0], two.before.weight.dataSync()[0]);
  });
});

Deno.test("numbers of parameters and costs follow from one description, and are those that papers print", () => {
  const deit = { imageSize: 224, patchSize: 16, channels: 3, depth: 12, classes: 1000 };
  const sizes = [[192, 3, "5.7"], [384, 6, "22.1"], [768, 12, "86.6"]] as const; // Touvron et al., table 1
  for (const [width, heads, millions] of sizes) {
    const described = nn.vitLayers({ ...deit, width, heads, mlpWidth: 4 * width });
    assert.equal((nn.countParameters(described) / 1e6).toFixed(1), millions);
    const blocks = described.blocks.reduce((sum, block) => sum + nn.blockMACs(block, { in: 197, out: 197 }), 0);
    const macs = blocks + nn.linearMACs(described.head, 1) + 196 * 768 * width;
    const counts = Array(12).fill({ in: 197, out: 197 });
    const shape = { width, depth: 12, mlpWidth: 4 * width, patches: 196, patchValues: 768, classes: 1000 };
    assert.equal(macs, nn.vitMACs(shape, counts));
  }
  const self = nn.attentionMACs(nn.attentionLayer(8), 10);
  assert.equal(nn.attentionMACs(nn.crossAttentionLayer(8), 10), self);
  assert.equal(nn.attentionMACs(nn.attentionLayer(8), 10, 4), nn.attentionMACs(nn.crossAttentionLayer(8), 10, 4));
  const tied = tf.zeros([3, 3]);
  assert.equal(nn.countParameters({ a: tied, b: [tied] }), 9);
});

Deno.test("saved parameters load again under any names, in parts too", async () => {
  const described = { attn: nn.attentionLayer(4), norm: nn.normLayer(4) };
  const parameters = nn.initialise(described, random(1));
  const names = (name: string) =>
    name.startsWith("attn.qkv.") ? ["q", "k", "v"].map((part) => `${part}/${name}`) : name;
  const arrays = await nn.saveParameters(parameters, names);
  assert.deepEqual(arrays.get("k/attn.qkv.weight")!.shape, [4, 4]);
  const loaded = nn.loadParameters(described, arrays, { names });
  for (const [name, tensor] of flatten(loaded)) {
    assert.deepEqual(tensor.arraySync(), flatten(parameters).get(name)!.arraySync(), name);
  }
});

Deno.test("what is wrong with parameters is said in one sentence", () => {
  const array = (shape: number[], dtype: "float32" | "int32" = "float32"): NumericArray => ({
    shape,
    dtype,
    data: dtype === "float32" ? new Float32Array(shape[0] * shape[1]) : new Int32Array(shape[0] * shape[1]),
  });
  const head = { head: { weight: nn.parameter<tf.Rank.R2>([2, 3]) } };
  const cases: [Map<string, NumericArray>, RegExp][] = [
    [new Map(), /weight head.weight is missing among 0; load a file of this model, or pass other names/],
    [new Map([["head.weight", array([3, 2])]]), /weight head.weight must have shape \[2,3\], but it has \[3,2\]/],
    [new Map([["head.weight", array([2, 3], "int32")]]), /must be float32, float16 or bfloat16, but it is int32/],
    [
      new Map([["head.weight", array([2, 3])], ["a", array([1, 1])], ["b", array([1, 1])]]),
      /weights a, b would not be used, so that the model would not be the file's/,
    ],
  ];
  for (const [arrays, why] of cases) assert.throws(() => nn.loadParameters(head, arrays), why);
  assert.throws(
    () => nn.countParameters({ a: { b: 3 } }),
    /parameters are tensors .*, but a\.b is 3; keep it elsewhere/,
  );
  assert.throws(() => nn.countParameters({ a: new Map() }), /but a is Map/);
  assert.throws(() => nn.xavierUniform()([3], random(1)), /a fan is counted of a weight \[out, in, \.\.\.\], but/);
});

Deno.test("layers refuse what does not fit, in one sentence", () => {
  tidy(() => {
    const { fc, attn, words } = nn.initialise(
      { fc: nn.linearLayer(4, 3), attn: nn.attentionLayer(4), words: nn.embeddingLayer(5, 2) },
      random(1),
    );
    const x = tf.zeros<tf.Rank.R3>([1, 2, 4]);
    assert.throws(
      () => nn.linear(tf.zeros([2, 5]), fc),
      /from 4 to 3 channels takes \[\.\.\., 4\], but x has shape \[2,5\]/,
    );
    assert.throws(() => nn.attention(x, attn, { heads: 3 }), /heads must divide the width, but 4 \/ 3 is not whole/);
    assert.throws(() => nn.attention(x, attn, { heads: 2, mask: tf.ones([2]) }), /a mask must be \[batch, tokens\]/);
    assert.throws(() => nn.embedding(tf.zeros([2]), words), /takes int32 indices, but they are float32/);
    assert.throws(() => nn.embedding(tf.tensor1d([5], "int32"), words), /5/);
    assert.throws(() => nn.dropout(x, 1), /a dropout's rate must lie in \[0, 1\), but it is 1/);
    assert.throws(() => nn.activate(x, "swish" as "silu"), /no activation named "swish"; choose one of gelu,/);
    assert.throws(() => nn.crossEntropy(tf.zeros([2, 3]), tf.zeros([2])), /labels must be int32 of shape \[2\]/);
    assert.throws(() => nn.crossEntropy(tf.zeros([1, 3]), tf.tensor1d([3], "int32")), /3/);
    assert.throws(
      () => nn.crossEntropy(tf.zeros([1, 3]), tf.tensor1d([0], "int32"), { smoothing: 1 }),
      /label smoothing must lie in \[0, 1\), but it is 1/,
    );
  });
});

Deno.test("a token that may look at nothing gets 0, and nobody sees what a mask hides", () => {
  tidy(() => {
    const { attn } = nn.initialise({ attn: nn.attentionLayer(4) }, random(1));
    const x = tf.tensor3d([[[1, 2, 3, 4], [4, 3, 2, 1], [0, 1, 0, 1]]]);
    const none = nn.attention(x, attn, { heads: 2, mask: tf.zeros([1, 3]) });
    assert.deepEqual([...none.attention.dataSync()], Array(18).fill(0));
    assert.ok(none.x.dataSync().every((value) => value === 0)); // the output's bias starts at 0
    const changed = tf.tensor3d([[[1, 2, 3, 4], [4, 3, 2, 1], [9, 9, 9, 9]]]);
    const two = [x, changed].map((x) => nn.attention(x, attn, { heads: 2, mask: tf.tensor2d([[1, 1, 0]]) }).x);
    const first = two.map((y) => [...y.slice([0, 0, 0], [1, 2, 4]).dataSync()]);
    assert.deepEqual(first[0], first[1]);
  });
});

Deno.test("dropout keeps the mean, differs from key to key, and without a key drops nothing", () => {
  tidy(() => {
    const x = tf.ones([10_000]);
    const [one, same, other] = [1, 1, 2].map((seed) => [...nn.dropout(x, 0.3, randomKey(seed)).dataSync()]);
    assert.deepEqual(one, same);
    assert.notDeepEqual(one, other);
    const dropped = one.filter((value) => value === 0).length / one.length;
    assert.ok(Math.abs(dropped - 0.3) < 0.02, `${dropped}`);
    assert.ok(Math.abs(mean(one) - 1) < 0.02);
    assert.deepEqual([...nn.dropout(x, 0.3).dataSync()], [...x.dataSync()]);
  });
});
