/** Eager = graph = XLA: for every operation of the table, for training steps, and for a ViT with each reducer. */
import assert from "node:assert/strict";
import { backend, compile, randomKey, tf, tidy } from "tessera/tensor/mod.ts";
import { attention, type AttentionParameters } from "tessera/nn/attention.ts";
import { layerNorm, mlp } from "tessera/nn/layers.ts";
import { ViT } from "tessera/nn/vit.ts";
import { catalogue, type MethodName, type ModelSizes } from "tessera/reduction/mod.ts";
import { assertClose, compiledWays, normalTensor } from "./agreement.ts";
import { rowInputs, rows, rowTensors } from "./kernels_table.ts";

const onTensorFlow = backend.name === "tensorflow";
const full = Deno.env.get("TESSERA_FULL") === "1";
if (!onTensorFlow) console.log(`nothing is compared: ${backend} is in use, where compiled functions run as they are`);

/** Operations that cannot be compiled. */
const REFUSED = ["unique"];

for (const { name, xla } of compiledWays) {
  Deno.test(
    { name: `each operation gives eagerly and by ${name} the same, gradients too`, ignore: !onTensorFlow },
    () => {
      for (const row of rows.filter(({ name }) => !REFUSED.includes(name))) {
        tidy(() => {
          const inputs = rowInputs(row);
          const expected = rowTensors(row, inputs);
          const compiled = compile((...inputs: tf.Tensor[]) => rowTensors(row, inputs).map(({ tensor }) => tensor), {
            xla,
          });
          compiled(...inputs).forEach((tensor, i) => {
            assertClose(tensor, expected[i].tensor, 1e-5, `${row.name}, ${expected[i].label}`);
          });
          compiled.dispose();
        });
      }
    },
  );
}

/** What is trained: a loss of two inputs, over variables that start with the same values each time. */
interface Task {
  variables: tf.Variable[];
  loss(x: tf.Tensor, y: tf.Tensor): tf.Scalar;
  inputs: tf.Tensor[];
}

const variable = (name: string, shape: number[], scale: number) =>
  tidy(() => tf.variable(normalTensor(name, shape, scale)));

function mlpTask(): Task {
  const [w1, b1, w2] = [variable("w1", [16, 32], 0.25), variable("b1", [32], 0.1), variable("w2", [32, 4], 0.2)];
  return {
    variables: [w1, b1, w2],
    loss: (x, y) => tf.matMul(tf.matMul(x as tf.Tensor2D, w1 as tf.Tensor2D).add(b1).relu(), w2).sub(y).square().mean(),
    inputs: [normalTensor("x", [24, 16]), normalTensor("y", [24, 4])],
  };
}

function blockTask(): Task {
  const [width, tokens, heads] = [16, 9, 2];
  const p = {
    norm1: { weight: variable("n1", [width], 1), bias: variable("nb1", [width], 0.1) },
    attention: {
      qkv: { weight: variable("qkv", [3 * width, width], 0.3), bias: variable("qkvb", [3 * width], 0.1) },
      proj: { weight: variable("proj", [width, width], 0.3), bias: variable("projb", [width], 0.1) },
    },
    norm2: { weight: variable("n2", [width], 1), bias: variable("nb2", [width], 0.1) },
    mlp: {
      fc1: { weight: variable("fc1", [2 * width, width], 0.3), bias: variable("fc1b", [2 * width], 0.1) },
      fc2: { weight: variable("fc2", [width, 2 * width], 0.3), bias: variable("fc2b", [width], 0.1) },
    },
  };
  type Block = {
    [Part in keyof typeof p]: Part extends "attention" ? AttentionParameters
      : Part extends "mlp" ? Parameters<typeof mlp>[1]
      : Parameters<typeof layerNorm>[1];
  };
  const block = p as unknown as Block; // variables have no rank in tfjs' types
  const leaves = [p.norm1, p.attention.qkv, p.attention.proj, p.norm2, p.mlp.fc1, p.mlp.fc2];
  return {
    variables: leaves.flatMap(({ weight, bias }) => [weight, bias]),
    loss: (x, y) => {
      let h = x as tf.Tensor3D;
      h = tf.add(h, attention(layerNorm(h, block.norm1), block.attention, { heads }).x);
      h = tf.add(h, mlp(layerNorm(h, block.norm2), block.mlp));
      return h.sub(y).square().mean();
    },
    inputs: [normalTensor("bx", [2, tokens, width]), normalTensor("by", [2, tokens, width])],
  };
}

/** The loss of each step, and the variables after the last. */
function train(make: () => Task, optimizer: tf.Optimizer, way: "eager" | { xla: boolean }) {
  const { variables, loss, inputs } = make();
  const step = (x: tf.Tensor, y: tf.Tensor) => optimizer.minimize(() => loss(x, y), true, variables)!;
  const compiled = way === "eager" ? undefined : compile(step, way);
  const losses = Array.from({ length: 10 }, () => tidy(() => (compiled ?? step)(...inputs as [tf.Tensor, tf.Tensor])));
  const after = variables.map((variable) => variable.clone());
  compiled?.dispose();
  optimizer.dispose();
  tf.dispose([variables, inputs]);
  return { losses, after };
}

for (const [task, make] of Object.entries({ "an MLP": mlpTask, "a ViT block": blockTask })) {
  const kinds: [string, () => tf.Optimizer, number][] = [
    ["SGD", () => tf.train.sgd(0.05), 1e-4],
    // The bias of the keys has no effect, as a softmax does not change when all logits do: its gradient is rounding, which
    // Adam would scale up to steps of full length; an epsilon above the rounding keeps it where it is.
    ["Adam", () => tf.train.adam(1e-3, 0.9, 0.999, 1e-5), 1e-3],
  ];
  for (const [kind, optimizer, tolerance] of kinds) {
    Deno.test({
      name: `ten steps of ${kind} train ${task} eagerly, as a graph and by XLA alike`,
      ignore: !onTensorFlow,
    }, () => {
      tf.tidy(() => {
        const eager = train(make, optimizer(), "eager");
        assert.ok(eager.losses[9].dataSync()[0] < eager.losses[0].dataSync()[0], "it learns");
        for (const { name, xla } of compiledWays) {
          const compiled = train(make, optimizer(), { xla });
          compiled.losses.forEach((loss, i) => assertClose(loss, eager.losses[i], tolerance, `${name}, loss ${i}`));
          compiled.after.forEach((v, i) => assertClose(v, eager.after[i], tolerance, `${name}, variable ${i}`));
        }
      });
    });
  }
}

// What reads values back is a loop by nature. First-tier methods in the quick run, all in the full one.
const traceable = (catalogue.names as MethodName[]).filter((name) => {
  const { traceable, tier, models } = catalogue.get(name);
  return traceable && models !== "vision-language" && (full || tier === 1);
});
const names: (MethodName | undefined)[] = [undefined, ...traceable];
const sizes: ModelSizes = { width: 48, heads: 3, layers: 4, grid: [7, 7], specialTokens: 1 };
const ways = compiledWays.filter(({ xla }) => full || !xla);
// By XLA one model takes seconds to compile: in the quick run all of them as graphs, and one by XLA.
const models = names.flatMap((reducer) => ways.map((way) => ({ reducer, ...way })));
if (!full) models.push({ reducer: "tome", name: "XLA", xla: true });

for (const { reducer: name, name: way, xla } of models) {
  Deno.test({
    name: `the ViT with ${name ?? "no"} reducer gives eagerly and by ${way} the same, input gradients too`,
    ignore: !onTensorFlow,
    async fn() {
      const model = await ViT.load("mnist");
      tf.tidy(() => {
        const reducer = name && catalogue.get(name).forModel({ r: 6 }, sizes);
        const images = normalTensor<tf.Tensor4D>("images", [2, 28, 28, 1]);
        const key = randomKey(3);
        const run = (images: tf.Tensor4D, key: tf.Tensor1D) => {
          const { logits, features, size, tokens } = model.forward(images, { ...(reducer ? { reducer } : {}), key });
          const loss = (images: tf.Tensor) =>
            model.forward(images as tf.Tensor4D, { ...(reducer ? { reducer } : {}), key }).logits.square().sum();
          return { logits, features, size, tokens, slope: tf.grad(loss)(images) };
        };
        const eager = run(images, key);
        const compiled = compile(run, { xla });
        for (let call = 0; call < 2; call++) {
          const result = compiled(images, key);
          for (const part of ["logits", "features", "size", "tokens", "slope"] as const) {
            assertClose(result[part], eager[part], 1e-5, `${way}, ${part}`);
          }
        }
        compiled.dispose();
      });
      model.dispose();
    },
  });
}
