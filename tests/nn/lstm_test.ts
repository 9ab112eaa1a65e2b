import assert from "node:assert/strict";
import { backend, compile, randomKey, tf } from "../../lib/tensor/mod.ts";
import { initialise, lstm, lstmLayer, type LSTMParameters, variationalMasks } from "../../lib/nn/mod.ts";
import { random } from "../../lib/random.ts";
import { assertClose } from "../golden/cases.ts";

/** Values and gradients of a weighted sum of everything that an LSTM gives, in both forms. */
function bothForms(compiled: boolean, reverse: boolean) {
  const [batch, steps, inputs, hidden] = [3, 5, 2, 4];
  const from = random(1);
  const tensor = (...shape: number[]) => tf.tensor(from.normals(shape.reduce((a, b) => a * b)), shape);
  const parameters = initialise(lstmLayer(inputs, hidden), random(2)) as LSTMParameters;
  const given = [
    tensor(batch, steps, inputs),
    tensor(batch, hidden),
    tensor(batch, hidden),
    ...Object.values(parameters),
  ];
  const weights = [tensor(batch, steps, hidden), tensor(batch, hidden), tensor(batch, hidden)];
  const masks = variationalMasks(batch, hidden, 0.3, randomKey(5));
  return (["operations", "cells"] as const).map((form) => {
    const value = (x: tf.Tensor, h: tf.Tensor, c: tf.Tensor, ...rest: tf.Tensor[]) => {
      const [weight_ih, weight_hh, bias_ih, bias_hh] = rest;
      const run = lstm(x as tf.Tensor3D, { weight_ih, weight_hh, bias_ih, bias_hh } as unknown as LSTMParameters, {
        ...{ state: { h: h as tf.Tensor2D, c: c as tf.Tensor2D }, masks, form, reverse },
      });
      return tf.addN([run.x, run.state.h, run.state.c].map((part, k) => part.mul(weights[k]).sum()));
    };
    const slopes = (...all: tf.Tensor[]) => tf.valueAndGrads(value as (...all: tf.Tensor[]) => tf.Tensor)(all);
    const { value: loss, grads } = (compiled ? compile(slopes, { xla: false }) : slopes)(...given);
    return { loss: loss.arraySync(), grads: grads.map((grad) => grad.arraySync()) };
  });
}

for (const compiled of [false, true]) {
  for (const reverse of [false, true]) {
    Deno.test(
      `lstm() by TensorFlow's cells has the values and gradients of operations (${compiled ? "compiled" : "eager"}${
        reverse ? ", reversed" : ""
      })`,
      { ignore: backend.name !== "tensorflow" },
      () => {
        const [operations, cells] = bothForms(compiled, reverse);
        assertClose(cells.loss, operations.loss, "loss", 1e-5);
        operations.grads.forEach((expected, k) => assertClose(cells.grads[k], expected, `gradient ${k}`, 1e-5));
        assert.ok(Math.abs(operations.loss as number) > 0.01);
      },
    );
  }
}
