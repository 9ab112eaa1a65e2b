/** Methods with trained parts: every parameter gets a gradient, and a short training run lowers the loss of a real model. */
import assert from "node:assert/strict";
import { mnist, normalize, selectImages } from "../../lib/data/mod.ts";
import { backend, randomKey, tf } from "../../lib/tensor/mod.ts";
import { ViT } from "../../lib/nn/vit.ts";
import { adam, trainStep } from "../../lib/train/mod.ts";
import { catalogue, keepRateLoss, type LearnedReducer, type MethodName } from "../../lib/reduction/mod.ts";

const sizes = { width: 48, heads: 3, layers: 4, grid: [7, 7], specialTokens: 1 } as const;
const names = [
  "dynamicvit",
  "spvit",
  "sit",
  "tokenlearner",
  "patchmerger",
  "perceiver",
] as const satisfies MethodName[];
const slow = backend.name !== "tensorflow";

/** Sixty-four digits, and a function that gives a method's loss on them. */
async function digits(): Promise<{ images: tf.Tensor4D; labels: tf.Tensor2D }> {
  const test = selectImages(await mnist.load("train"), Array.from({ length: 64 }, (_, i) => i));
  const { data, shape } = normalize(test);
  const labels = tf.oneHot(tf.tensor1d(Int32Array.from(test.labels), "int32"), 10).cast<tf.Tensor2D>("float32");
  return { images: tf.tensor4d(data, shape), labels };
}

for (const name of names) {
  Deno.test({
    name: `${name} is trained inside a frozen model: gradients reach every parameter, and the loss falls`,
    ignore: slow,
    async fn() {
      const model = await ViT.load("mnist");
      const { images, labels } = await digits();
      const made = catalogue.get(name).forModel({ keep: [8], layers: [1] }, sizes, 3);
      const reducer = made as LearnedReducer<object>;
      const training = name === "dynamicvit";
      const loss = (key: tf.Tensor1D): tf.Scalar => {
        const { logits, policy } = model.forward(images, { reducer, key, training });
        const wrong = tf.losses.softmaxCrossEntropy(labels, logits) as tf.Scalar;
        if (!policy) return wrong;
        return tf.add<tf.Scalar>(wrong, keepRateLoss(policy.slice([0, 1]) as tf.Tensor2D, 8 / 49));
      };
      const key = randomKey(5);
      const variables = [...reducer.parameters];
      const { grads } = tf.variableGrads(() => loss(key), variables);
      for (const variable of variables) {
        const gradient = grads[variable.name];
        assert.ok(gradient, `${variable.name} has no gradient`);
        const [largest] = gradient.abs().max().dataSync();
        assert.ok(Number.isFinite(largest), `the gradient of ${variable.name} is ${largest}`);
      }
      const reached = variables.filter((variable) => grads[variable.name].abs().max().dataSync()[0] > 0).length;
      assert.equal(reached, variables.length, `${reached} of ${variables.length} parameters have a gradient`);
      if (name !== "dynamicvit" && name !== "spvit") checkAgainstDifferences(() => loss(key), variables, grads);
      tf.dispose(grads);

      const step = trainStep(loss, adam({ learningRate: 0.01 }), { stages: reducer.stages });
      const losses: number[] = [];
      for (let i = 0; i < 25; i++) {
        const result = step(key);
        losses.push(result.loss.dataSync()[0]);
        result.loss.dispose();
      }
      assert.ok(losses.at(-1)! < 0.8 * losses[0], `the loss went from ${losses[0]} to ${losses.at(-1)}`);
      step.dispose();
      variables.forEach((variable) => variable.dispose());
      tf.dispose([images, labels, key]);
      model.dispose();
    },
  });
}

/** The slope along one random direction, by a central difference; hard choices have none and are left out. */
function checkAgainstDifferences(
  loss: () => tf.Scalar,
  variables: tf.Variable[],
  grads: Record<string, tf.Tensor>,
): void {
  tf.tidy(() => {
    const directions = variables.map((v, i) => tf.randomNormal(v.shape, 0, 1, "float32", i + 1));
    const slope = variables.reduce((sum, v, i) => sum + grads[v.name].mul(directions[i]).sum().dataSync()[0], 0);
    const step = 1e-3;
    const shift = (by: number) => variables.forEach((v, i) => v.assign(v.add(directions[i].mul(by))));
    shift(step);
    const [above] = loss().dataSync();
    shift(-2 * step);
    const [below] = loss().dataSync();
    shift(step);
    const measured = (above - below) / (2 * step);
    assert.ok(Math.abs(measured - slope) < 0.02 * Math.max(1, Math.abs(slope)), `slope ${slope}, measured ${measured}`);
  });
}
