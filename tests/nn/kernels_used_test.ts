/** Every tfjs kernel that the library runs is among those that are compared with the cpu backend. */
import assert from "node:assert/strict";
import { randomKey, tf } from "../../lib/tensor/mod.ts";
import { ViT } from "../../lib/nn/vit.ts";
import { type ReducerName, reducers } from "../../lib/reduction/mod.ts";
import { coveredKernels } from "../tensor/kernels_table.ts";

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
  // tfjs names a gradient of one's own by the scope that it stands in
  const missing = used.filter((name) => !covered.has(name) && !["unnamed scope", "backward"].includes(name));
  assert.ok(used.length > 20, "the profile is nearly empty");
  assert.deepEqual(missing, []);
  model.dispose();
});
