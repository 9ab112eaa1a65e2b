/** Every tfjs kernel that the library runs is among those that are compared with the cpu backend. */
import assert from "node:assert/strict";
import { backend, flatten, randomKey, tf } from "../../lib/tensor/mod.ts";
import * as nn from "../../lib/nn/mod.ts";
import { random } from "../../lib/random.ts";
import { ViT } from "../../lib/nn/vit.ts";
import { type ReducerName, reducers } from "../../lib/reduction/mod.ts";
import { adamW, sgd, trainStep } from "../../lib/train/mod.ts";
import { coveredKernels } from "../tensor/kernels_table.ts";

/** tfjs names a gradient of one's own by the scope that it stands in. */
const SCOPES = ["unnamed scope", "backward"];

Deno.test("each kernel of the models and reducers, gradients included, is in the table of compared kernels", async () => {
  const model = await ViT.load("mnist");
  const profile = await tf.profile(() => {
    for (const name of Object.keys(reducers) as ReducerName[]) {
      for (const parity of [false, true]) {
        const reducer = reducers[name]({ r: 6, parity });
        const logits = (images: tf.Tensor) =>
          model.forward(images as tf.Tensor4D, { reducer, key: randomKey(1) }).logits.sum();
        tf.tidy(() => tf.grad(logits)(tf.randomUniform([2, 28, 28, 1], -1, 1, "float32", 1)));
      }
    }
  });
  const used = [...profile.kernelNames]; // tfjs fills the same profile again at the next recording
  const covered = await coveredKernels();
  const missing = used.filter((name) => !covered.has(name) && !SCOPES.includes(name));
  assert.ok(used.length > 20, "the profile is nearly empty");
  assert.deepEqual(missing, []);
  model.dispose();
});

Deno.test({
  name: "each kernel of a training step through every layer is in the table of compared kernels",
  ignore: backend.name === "wasm", // tfjs has no gradients there for some of them
}, async () => {
  const described = {
    words: nn.embeddingLayer(5, 4),
    block: nn.blockLayer(4, 8),
    lstm: nn.lstmLayer(4, 4),
    head: nn.linearLayer(4, 3),
  };
  const profile = await tf.profile(() => {
    const p = nn.trainable(nn.initialise(described, random(1)));
    const loss = () => {
      const words = tf.tensor2d([[1, 2, 3, 4, 0], [1, 1, 1, 1, 1]], [2, 5], "int32");
      const options = { causal: true, mask: tf.ones([2, 5]), dropout: 0.1, key: randomKey(1) } as const;
      const x = nn.embedding(words, p.words) as tf.Tensor3D;
      const y = nn.block(x, p.block, { heads: 2, ...options, norm: "post", activation: "silu" }).x;
      const z = nn.activate(nn.activate(nn.lstm(y, p.lstm).x, "quickGelu"), "geluTanh");
      const logits = nn.linear(z.mean<tf.Tensor2D>(1), p.head);
      const labels = tf.tensor1d([0, 1], "int32");
      return { loss: nn.crossEntropy(logits, labels, { smoothing: 0.1 }), right: nn.fractionRight(logits, labels) };
    };
    for (const optimizer of [adamW({ learningRate: 1e-3 }), sgd({ learningRate: 1e-2, momentum: 0.9 })]) {
      const step = trainStep(loss, optimizer, p, { clip: 1 });
      tf.grad((one) => { // under an eager gradient it runs operation by operation
        const { loss, right } = step();
        tf.dispose([loss, right!]);
        return one.clone();
      })(tf.scalar(0));
      step.dispose();
    }
    tf.dispose([...flatten(p).values()]);
  });
  const used = [...profile.kernelNames];
  const covered = await coveredKernels();
  assert.ok(used.length > 30, "the profile is nearly empty");
  assert.deepEqual(used.filter((name) => !covered.has(name) && !SCOPES.includes(name)), []);
});
