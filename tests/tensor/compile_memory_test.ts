import assert from "node:assert/strict";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { compile, tf, tidy } from "tessera/tensor/mod.ts";
import { tensorflow } from "tessera/tensor/backend.ts";
import { attention } from "tessera/nn/attention.ts";
import { layerNorm, mlp } from "tessera/nn/layers.ts";
import { normalTensor } from "./agreement.ts";

const full = Deno.env.get("TESSERA_FULL") === "1";
if (tensorflow === undefined) console.log("the memory of compiled functions is not tested: nothing is compiled here");

setFlagsFromString("--expose-gc");
const collect: () => void = runInNewContext("gc");

function megabytes(): number {
  collect();
  return Deno.memoryUsage().rss / 1e6;
}

function counts() {
  return { tensors: tf.memory().numTensors, handles: tensorflow!.binding.getNumOfTensors() };
}

/** A training step of a transformer block, with its variables. */
function blockStep({ width, tokens, heads }: { width: number; tokens: number; heads: number }) {
  const variables: tf.Variable[] = [];
  const parameter = <T extends tf.Tensor>(shape: number[]) => {
    const variable = tidy(() => tf.variable(normalTensor(`${variables.length}`, shape, 0.05)));
    variables.push(variable);
    return variable as tf.Tensor as T;
  };
  const linear = (inputs: number, outputs: number) => ({
    weight: parameter<tf.Tensor2D>([outputs, inputs]),
    bias: parameter<tf.Tensor1D>([outputs]),
  });
  const norm = () => ({ weight: parameter<tf.Tensor1D>([width]), bias: parameter<tf.Tensor1D>([width]) });
  const block = {
    norm1: norm(),
    attention: { qkv: linear(width, 3 * width), proj: linear(width, width) },
    norm2: norm(),
    mlp: { fc1: linear(width, 4 * width), fc2: linear(4 * width, width) },
  };
  const optimizer = tf.train.adam(1e-3);
  const x = normalTensor<tf.Tensor3D>("x", [2, tokens, width]);
  const step = (x: tf.Tensor3D) =>
    optimizer.minimize(
      () => {
        const h = tf.add<tf.Tensor3D>(x, attention(layerNorm(x, block.norm1), block.attention, { heads }).x);
        return tf.add<tf.Tensor3D>(h, mlp(layerNorm(h, block.norm2), block.mlp)).square().mean();
      },
      true,
      variables,
    )!;
  tidy(() => step(x)).dispose(); // makes the optimizer's moments
  const dispose = () => {
    optimizer.dispose();
    tf.dispose([variables, x]);
  };
  return { step, x, dispose };
}

for (const xla of [false, true]) {
  Deno.test(
    { name: `10,000 calls ${xla ? "by XLA" : "as a graph"} leave the memory flat`, ignore: !tensorflow },
    () => {
      const w = tidy(() => tf.variable(normalTensor("w", [16, 16])));
      const fn = compile((x: tf.Tensor2D, r: number) => {
        w.assign(w.mul(0.5));
        return { y: tf.matMul(x, w as tf.Tensor2D), list: [x.sum()], r };
      }, { xla });
      const x = normalTensor<tf.Tensor2D>("x", [16, 16]);
      const call = () => tf.dispose(fn(x, 1));
      for (let i = 0; i < 3000; i++) call();
      const [before, then] = [megabytes(), counts()];
      for (let i = 0; i < 10_000; i++) call();
      assert.deepEqual(counts(), then);
      const grown = megabytes() - before;
      assert.ok(grown < 5, `10,000 calls leave ${grown.toFixed(1)} MB behind`);
      fn.dispose();
      tf.dispose([w, x]);
    },
  );

  // figures of a ViT block of width 192: 3 MB a trace as a graph, 7 MB by XLA; it keeps what it compiled
  const sizes = full ? { width: 192, tokens: 197, heads: 3 } : { width: 32, tokens: 17, heads: 2 };
  const times = full || !xla ? 50 : 4;
  const limit = xla ? 10 : 3;
  Deno.test({
    name: `a trace ${xla ? "by XLA" : "as a graph"} that is dropped leaves less than ${limit} MB, ${times} times`,
    ignore: !tensorflow,
  }, () => {
    const { step, x, dispose } = blockStep(sizes);
    const retrace = () => {
      const fn = compile(step, { xla });
      for (let i = 0; i < 2; i++) fn(x).dispose();
      fn.dispose();
    };
    retrace();
    retrace();
    const [before, then] = [megabytes(), counts()];
    for (let i = 0; i < times; i++) retrace();
    assert.deepEqual(counts(), then);
    const each = (megabytes() - before) / times;
    assert.ok(each < limit, `each of ${times} traces leaves ${each.toFixed(1)} MB behind`);
    dispose();
  });
}

Deno.test(
  { name: "a compiled function that is dropped is freed, one that is held is not", ignore: !tensorflow },
  async () => {
    const x = tf.ones([4]);
    const before = counts().tensors;
    const make = () => {
      const fn = compile((x: tf.Tensor) => x.add(outside));
      const outside = tidy(() => tf.ones([4]).mul(3));
      fn(x).dispose();
      outside.dispose();
      return fn;
    };
    const held = make();
    (() => {
      for (let i = 0; i < 5; i++) make();
    })();
    assert.equal(counts().tensors, before + 6);
    for (let i = 0; i < 100 && counts().tensors > before + 1; i++) {
      collect();
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    assert.equal(counts().tensors, before + 1);
    const y = held(x);
    assert.equal(y.dataSync()[0], 4);
    held.dispose();
    assert.equal(counts().tensors, before + 1);
    tf.dispose([x, y]);
  },
);
