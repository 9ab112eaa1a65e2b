/**
 * Workloads of `nn`, `train` and `tensor`, in this library.
 *
 * @module
 */
import { scan, tf } from "tessera/tensor/mod.ts";
import { block, blockLayer, crossEntropy, gelu, layerNorm, linear, loadParameters, trainable } from "tessera/nn/mod.ts";
import { type Parameter, pattern } from "../workload.ts";
import type { Job } from "../workloads/core.ts";
import { imagesOf, modelOf } from "./vit.ts";
import { inferred, inThisWay, many, numbersOf, patternTensor, type Ready, trained } from "./worker.ts";

/** Makes a workload ready. */
export function prepare(job: Job, parameters: readonly Parameter[]): Ready {
  switch (job.kind) {
    case "mlp_step": {
      const { batch, width } = job;
      const w = [0, 1, 2].map((k) => tf.variable(patternTensor(k, [width, width], Math.sqrt(3 / width))));
      const b = w.map(() => tf.variable(tf.zeros([width])));
      const forward = (x: tf.Tensor) =>
        w.reduce((h: tf.Tensor, weight, k) => {
          const y = tf.matMul(h, weight as tf.Tensor, false, true).add(b[k]);
          return k < 2 ? y.relu() : y;
        }, x);
      const inputs = [900, 901].map((salt) => patternTensor(salt, [batch, width]));
      return trained({ w, b }, (x, y) => forward(x).sub(y).square().mean(), inputs);
    }
    case "block_step": {
      const { batch, tokens, width, heads } = job;
      const described = { blocks: [blockLayer(width, 4 * width)] };
      const weights = trainable(loadParameters(described, numbersOf(parameters)));
      const run = (x: tf.Tensor) => block(x as tf.Tensor3D, weights.blocks[0], { heads, epsilon: 1e-6 }).x;
      const inputs = [900, 901].map((salt) => patternTensor(salt, [batch, tokens, width]));
      return trained(weights, (x, y) => run(x).sub(y).square().mean(), inputs);
    }
    case "vit_step": {
      const { sizes, batch } = job;
      const model = modelOf(sizes, parameters, true);
      const labels = tf.range(0, batch, 1, "int32").mod(tf.scalar(sizes.classes, "int32"));
      const loss = (images: tf.Tensor, labels: tf.Tensor) =>
        crossEntropy(model.forward(images as tf.Tensor4D).logits, labels);
      return trained(model.weights, loss, [imagesOf(sizes, batch), labels]);
    }
    case "vit": {
      const model = modelOf(job.sizes, parameters, false);
      return inferred((images) => model.forward(images as tf.Tensor4D).logits, [imagesOf(job.sizes, job.batch)]);
    }
    case "part": {
      const { part, batch, tokens, width, heads } = job;
      const dense = (salt: number, inputs: number, outputs: number) => ({
        weight: patternTensor<tf.Tensor2D>(salt, [outputs, inputs], Math.sqrt(3 / inputs)),
        bias: patternTensor<tf.Tensor1D>(salt + 10, [outputs]),
      });
      const layers = [dense(0, width, 3 * width), dense(1, width, width), dense(2, width, 4 * width)];
      const last = dense(3, 4 * width, width);
      const norm = { weight: patternTensor<tf.Tensor1D>(20, [width]), bias: patternTensor<tf.Tensor1D>(21, [width]) };
      const channels = { linear: width, attention: 3 * width, norm: width, gelu: 4 * width }[part];
      const x = patternTensor(900, [batch, tokens, channels]);
      const run: Record<typeof part, (x: tf.Tensor) => tf.Tensor> = {
        linear: (x) => {
          const rows = linear(x.reshape<tf.Tensor2D>([-1, width]), layers[0]).slice([0, 0], [-1, width]);
          return linear(linear(linear(rows, layers[1]), layers[2]), last);
        },
        attention: (x) => {
          const split = x.reshape([batch, tokens, 3, heads, width / heads]).transpose([2, 0, 3, 1, 4]);
          const [q, k, v] = tf.unstack(split, 0);
          const logits = tf.matMul(q, k, false, true).mul((width / heads) ** -0.5);
          return tf.matMul(tf.softmax(logits), v).transpose([0, 2, 1, 3]).reshape([batch, tokens, width]);
        },
        norm: (x) => layerNorm(layerNorm(x, norm, 1e-6), norm, 1e-6),
        gelu,
      };
      return inferred(run[part], [x]);
    }
    case "small_op": {
      const [x, y] = [0, 1].map((salt) => patternTensor(salt, [8, 8]));
      return many(() => tf.add(x, y).dispose());
    }
    case "compiled_call": {
      const x = patternTensor(0, [8, 8]);
      const fn = inThisWay((x) => x.add(1).mul(2));
      return { ...many(() => tf.tidy(() => void fn(x))), ...("explain" in fn ? { explain: fn.explain } : {}) };
    }
    case "upload": {
      const host = pattern(0, job.megabytes * 250_000);
      // a tensor of values goes to the backend when an op first takes it; this one moves nothing
      return many(() => tf.tidy(() => void tf.tensor1d(host).reshape([-1, 1]).slice([0, 0], [1, 1])), 1);
    }
    case "download": {
      const device = tf.tidy(() => patternTensor(0, [job.megabytes * 250_000]).mul(1));
      let kept: unknown;
      const ready = many(() => {
        const copy = tf.tidy(() => device.mul(1)); // a tensor remembers what was read of it
        kept = copy.dataSync();
        copy.dispose();
      }, 1);
      if (!kept) throw new Error("nothing was downloaded");
      return ready;
    }
    case "scan": {
      const { steps, batch, width } = job;
      const [w, u] = [0, 1].map((salt) => patternTensor(salt, [width, width], Math.sqrt(3 / width)));
      const x = patternTensor(900, [steps, batch, width]);
      const run = (x: tf.Tensor) => {
        const step = (h: tf.Tensor, x: tf.Tensor): [tf.Tensor, tf.Tensor] => {
          const next = tf.matMul(x, w).add(tf.matMul(h, u)).tanh();
          return [next, next];
        };
        return scan(step, tf.zeros([batch, width]) as tf.Tensor, x)[1];
      };
      return inferred(run, [x]);
    }
  }
}
