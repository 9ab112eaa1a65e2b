/** Layers and losses against PyTorch: outputs, and gradients to inputs and parameters; eagerly, as a graph and by XLA. */
import assert from "node:assert/strict";
import {
  activate,
  type Activation,
  attention,
  type AttentionParameters,
  block,
  crossEntropy,
  embedding,
  layerNorm,
  linear,
  type LinearParameters,
  lstm,
  type LSTMParameters,
  type NormParameters,
} from "tessera/nn/mod.ts";
import { backend, compile, flatten, tf, tidy } from "tessera/tensor/mod.ts";
import { assertClose, compiledWays } from "../tensor/agreement.ts";
import { tensorOf, type TorchCase, torchCaseNames, torchCases } from "./torch.ts";

type Tensors = Record<string, tf.Tensor>;

/** `linear1.weight` and the like, under one name, as an object. */
const under = <P>(all: Tensors, name: string) =>
  Object.fromEntries(
    Object.entries(all).filter(([key]) => key.startsWith(`${name}.`)).map((
      [key, t],
    ) => [key.slice(name.length + 1), t]),
  ) as P;

function attentionOf(all: Tensors, prefix = ""): AttentionParameters {
  const proj = under<LinearParameters>(all, `${prefix}out_proj`);
  const [weight, bias] = [all[`${prefix}in_proj_weight`] as tf.Tensor2D, all[`${prefix}in_proj_bias`] as tf.Tensor1D];
  if (weight) return { qkv: { weight, bias }, proj };
  const part = (name: string, i: number) => ({
    weight: all[`${prefix}${name}_proj_weight`] as tf.Tensor2D,
    bias: bias.slice(i * bias.size / 3, bias.size / 3),
  });
  return { q: part("q", 0), k: part("k", 1), v: part("v", 2), proj };
}

/** How we compute what PyTorch computed. */
const ours: Record<string, (inputs: Tensors, parameters: Tensors, options: TorchCase["options"]) => tf.Tensor> = {
  linear: ({ x }, p) => linear(x, p as unknown as LinearParameters),
  layerNorm: ({ x }, p, { epsilon }) => layerNorm(x, p as unknown as NormParameters, epsilon as number | undefined),
  embedding: ({ x }, p) => embedding(x, { weight: p.weight as tf.Tensor2D }),
  activation: ({ x }, _, { activation }) => activate(x, activation as Activation),
  attention: ({ x, context }, p, { heads, causal, mask, bias }) =>
    attention(x as tf.Tensor3D, attentionOf(p), {
      heads: heads as number,
      context: context as tf.Tensor3D | undefined,
      causal: causal === true,
      mask: mask ? tensorOf(mask as number[]) : undefined,
      bias: bias ? tensorOf(bias as number[]) : undefined,
    }).x,
  crossAttention: (inputs, p, options) => ours.attention(inputs, p, options),
  block: ({ x }, p, { heads, norm, activation }) =>
    block(x as tf.Tensor3D, {
      norm1: under(p, "norm1"),
      attn: attentionOf(p, "self_attn."),
      norm2: under(p, "norm2"),
      mlp: { fc1: under(p, "linear1"), fc2: under(p, "linear2") },
    }, { heads: heads as number, norm: norm as "pre" | "post", activation: activation as Activation }).x,
  lstm: ({ x, h, c }, p, { cell }) => {
    const named = Object.fromEntries(Object.entries(p).map(([name, tensor]) => [name.replace("_l0", ""), tensor]));
    const parameters = named as unknown as LSTMParameters;
    if (!cell) return lstm(x as tf.Tensor3D, parameters).x;
    const { state } = lstm(x.expandDims(1), parameters, { state: { h: h as tf.Tensor2D, c: c as tf.Tensor2D } });
    return tf.concat([state.h, state.c], 1);
  },
  crossEntropy: ({ x }, _, { smoothing, labels }) =>
    crossEntropy(x, tensorOf(labels as number[], "int32"), { smoothing: smoothing as number }),
};

/** The output, and the gradients of the sum in which element i counts cos i times. */
function run(entry: TorchCase, inputs: Tensors, parameters: Tensors): { output: tf.Tensor; gradients: Tensors } {
  const names = Object.keys(entry.gradients);
  const apply = (...changed: tf.Tensor[]) => {
    const replaced = Object.fromEntries(changed.map((tensor, i) => [names[i], tensor]));
    const put = (all: Tensors) =>
      Object.fromEntries(Object.entries(all).map(([name, t]) => [name, replaced[name] ?? t]));
    return ours[entry.name](put(inputs), put(parameters), entry.options);
  };
  const values = names.map((name) => inputs[name] ?? parameters[name]);
  const slopes = tf.grads((...changed) => {
    const output = apply(...changed);
    return output.flatten().mul(tf.cos(tf.range(0, output.size))).sum();
  })(values);
  return { output: apply(...values), gradients: Object.fromEntries(names.map((name, i) => [name, slopes[i]])) };
}

const isIndex = (entry: TorchCase, name: string) => entry.name === "embedding" && name === "x";

for (const name of torchCaseNames.filter((name) => name !== "optimizer")) {
  const ways = [{ name: "eagerly", xla: undefined }, ...compiledWays];
  const onWasm = backend.name === "wasm";
  Deno.test({ name: `${name} gives PyTorch's numbers, gradients too`, ignore: onWasm }, () => {
    for (const entry of torchCases(name)) {
      tidy(() => {
        const inputs = Object.fromEntries(
          Object.entries(entry.inputs).map((
            [name, values],
          ) => [name, tensorOf(values, isIndex(entry, name) ? "int32" : "float32")]),
        );
        const parameters = Object.fromEntries(
          Object.entries(entry.parameters).map(([name, values]) => [name, tensorOf(values)]),
        );
        const eager = run(entry, inputs, parameters);
        for (const { name: way, xla } of ways) {
          const compiled = xla === undefined ? undefined : compile(
            (inputs: Tensors, parameters: Tensors) => run(entry, inputs, parameters),
            { xla },
          );
          const got = compiled ? compiled(inputs, parameters) : eager;
          const label = `${name} ${JSON.stringify(entry.options)} ${way}`;
          assertClose(got.output, tensorOf(entry.output), 2e-6, label);
          for (const [name, values] of Object.entries(entry.gradients)) {
            // PyTorch's gradient of a bias that has no effect (that of keys) is rounding, and so is ours
            assertClose(got.gradients[name], tensorOf(values), 1e-5, `${label}, gradient of ${name}`);
          }
          for (const [name, tensor] of flatten({ ...got })) {
            const expected = flatten({ ...eager }).get(name)!;
            assertClose(tensor, expected, 1e-5, `${label}, ${name}, against eager`);
          }
          compiled?.dispose();
        }
      });
    }
  });
}

Deno.test("there is a way to compute each of PyTorch's cases", () => {
  assert.deepEqual(torchCaseNames.filter((name) => name !== "optimizer").toSorted(), Object.keys(ours).toSorted());
});
