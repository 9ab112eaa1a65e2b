/**
 * Eager = graph = XLA, for every layer and model as it is trained: outputs and gradients, ten steps of SGD, ten of Adam; and
 * the gradients of every layer against finite differences. (Operations, primitives, scans and each reducer inside a ViT:
 * tests/tensor; the same layers against PyTorch: tests/nn/torch_test.ts.)
 */
import assert from "node:assert/strict";
import { synthLab } from "tessera/data/mod.ts";
import { ask, toDevice } from "tessera/editing/batch.ts";
import { CLEF, type CLEFConfig, denseBatch, huber, presets } from "tessera/editing/mod.ts";
import * as nn from "tessera/nn/mod.ts";
import { random } from "tessera/random.ts";
import { type ReducerName, reducers } from "tessera/reduction/mod.ts";
import { backend, compile, flatten, randomKey, tf, tidy } from "tessera/tensor/mod.ts";
import {
  batchOf,
  encodeModalities,
  MedTok,
  medtokConfig,
  medtokLosses,
  plantedWorld,
  quantizeModalities,
  wordVectors,
} from "tessera/tokenization/mod.ts";
import { adam, type Optimizer, sgd, trainStep } from "tessera/train/mod.ts";
import { assertClose, compiledWays, normalTensor } from "../tensor/agreement.ts";

const onTensorFlow = backend.name === "tensorflow";
const full = Deno.env.get("TESSERA_FULL") === "1";
if (!onTensorFlow) console.log(`skipped: ${backend} is in use, where compiled functions run as they are`);

/** What is trained. Each call of `make` gives the same. */
interface Subject {
  /** Functions of lib/nn that it looks at. */
  of: string[];
  /** The variables, and the outputs whose weighted sum is the loss. */
  make(): { parameters: object; outputs(): tf.Tensor[] };
  /** Finite differences of every number would take too long, or step over a choice that the model makes. */
  coarse?: boolean;
  /** XLA takes seconds to compile it: only with --full. */
  slow?: boolean;
  /** Learning rate of SGD. Default: 0.05. */
  rate?: number;
}

/** A subject made of a description and a function of its parameters. */
function layer<D extends object>(
  of: string[],
  description: D,
  outputs: (parameters: nn.Described<D>) => tf.Tensor[],
  more: Partial<Subject> = {},
): Subject {
  return {
    of,
    make() {
      const started = nn.initialise(
        description,
        random(2, "init"),
        () => (shape, numbers) => numbers.normals(shape.reduce((a, b) => a * b, 1), 0.1, 0.4),
      );
      const parameters = nn.trainable(started as object) as nn.Described<D>;
      return { parameters: parameters as object, outputs: () => outputs(parameters) };
    },
    ...more,
  };
}

const tokens = () => normalTensor<tf.Tensor3D>("tokens", [2, 5, 4]);
const others = () => normalTensor<tf.Tensor3D>("others", [2, 3, 6]);
const labels = () => tf.tensor1d([0, 2], "int32");
const mask = () => tf.tensor2d([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]]);
const vitSizes = {
  imageSize: 8,
  patchSize: 2,
  channels: 1,
  width: 8,
  depth: 3,
  heads: 2,
  mlpWidth: 16,
  classes: 3,
} as const;

function vit(name: ReducerName | undefined): Subject {
  return {
    of: ["ViT"],
    coarse: true,
    slow: true,
    make() {
      const rule = () => (shape: readonly number[], numbers: ReturnType<typeof random>) =>
        numbers.normals(shape.reduce((a, b) => a * b, 1), 0.05, 0.3);
      const started = nn.ViT.create(vitSizes, random(4, "init"), rule);
      const model = new nn.ViT(vitSizes, nn.trainable(started.weights));
      const reducer = name && reducers[name]({ r: 3 });
      return {
        parameters: model.weights,
        outputs: () => {
          const images = normalTensor<tf.Tensor4D>("images", [3, 8, 8, 1]);
          const { logits } = model.forward(images, { key: randomKey(5), ...(reducer ? { reducer } : {}) });
          return [logits];
        },
      };
    },
  };
}

function clef(encoder: CLEFConfig["encoder"]): Subject {
  return {
    of: [],
    coarse: true,
    slow: true,
    rate: 1e-4,
    make() {
      const model = CLEF.create(presets.repo({ variables: 16, conditionWidth: 32, records: 20, encoder }), 3);
      const data = synthLab({ subjects: 4, seed: 1 });
      const batch = toDevice(denseBatch(data, [0, 1, 2, 3]));
      return {
        parameters: Object.fromEntries(model.weights),
        outputs: () => {
          const { history, query, answer, counted } = ask(batch, 6, 8);
          const { state, concept } = model.forward(history, query);
          return [huber(state, answer, counted), concept];
        },
      };
    },
  };
}

function medtok(): Subject {
  return {
    of: [],
    coarse: true,
    slow: true,
    rate: 1e-3,
    make() {
      const { codes, graph } = plantedWorld({ seed: 2, concepts: 8 });
      const config = medtokConfig("lite", { nodeRows: graph.nodes.length + 2, N: 30, batch: 8 });
      const { parameters } = MedTok.untrained({ config, encoder: wordVectors(), graph });
      const batch = batchOf(codes.slice(0, 8), wordVectors(), config, { augment: random(1, "edges") });
      return {
        parameters,
        outputs: () => {
          const encoded = encodeModalities(batch, parameters, config, randomKey(1));
          const output = quantizeModalities(encoded, parameters, config, randomKey(2));
          return [medtokLosses(encoded, output, parameters, config, batch.same).total];
        },
      };
    },
  };
}

const linear = { fc: nn.linearLayer(4, 3) };
const attending = { attn: nn.attentionLayer(4) };
const activations = ["gelu", "geluTanh", "quickGelu", "silu", "tanh"] as const;

const subjects: Record<string, Subject> = {
  "a linear layer": layer(["linear"], linear, ({ fc }) => [nn.linear(tokens(), fc)]),
  "a layer norm": layer(["layerNorm"], { norm: nn.normLayer(4) }, ({ norm }) => [nn.layerNorm(tokens(), norm)]),
  "an embedding": layer(["embedding"], { words: nn.embeddingLayer(5, 3) }, ({ words }) => {
    return [nn.embedding(tf.tensor2d([[1, 4, 1], [0, 1, 2]], [2, 3], "int32"), words)];
  }),
  "dropout": layer(["dropout"], linear, ({ fc }) => [nn.dropout(nn.linear(tokens(), fc), 0.4, randomKey(6))]),
  "activations": layer(["activate", "gelu"], linear, ({ fc }) => {
    return activations.map((name) => nn.activate(nn.linear(tokens(), fc), name));
  }),
  "an MLP with dropout": layer(["mlp"], nn.mlpLayer(4, 6), (parameters) => {
    return [nn.mlp(tokens(), parameters, { dropout: 0.3, key: randomKey(7) })];
  }),
  "attention": layer(["attention"], attending, ({ attn }) => [nn.attention(tokens(), attn, { heads: 2 }).x]),
  "attention with sizes, a mask, a bias, causal": layer(["attention"], attending, ({ attn }) => {
    const bias = normalTensor("bias", [2, 5, 5]);
    const size = tf.tensor2d([[1, 2, 1, 3, 1], [1, 1, 1, 1, 4]]);
    return [nn.attention(tokens(), attn, { heads: 2, size, mask: mask(), bias, causal: true }).x];
  }),
  "cross-attention": layer(["attention"], { attn: nn.crossAttentionLayer(4, 6) }, ({ attn }) => {
    return [nn.attention(tokens(), attn, { heads: 2, context: others() }).x];
  }),
  "attention with a soft policy": layer(["softmaxWithPolicy"], { fc: nn.linearLayer(4, 5) }, ({ fc }) => {
    const logits = nn.linear(tokens(), fc).expandDims<tf.Tensor4D>(1);
    return [nn.softmaxWithPolicy(logits, tf.tensor2d([[1, 0.5, 1, 0.2, 1], [1, 1, 0.1, 1, 1]]))];
  }),
  "a pre-norm block": layer(["block"], nn.blockLayer(4, 8), (parameters) => {
    return [nn.block(tokens(), parameters, { heads: 2 }).x];
  }),
  "a post-norm block with dropout": layer(["block"], nn.blockLayer(4, 8), (parameters) => {
    return [
      nn.block(tokens(), parameters, { heads: 2, norm: "post", activation: "silu", dropout: 0.2, key: randomKey(8) }).x,
    ];
  }),
  "an LSTM": layer(["lstm"], { lstm: nn.lstmLayer(4, 3) }, ({ lstm }) => {
    const { x, state } = nn.lstm(tokens(), lstm);
    return [x, state.c, nn.lstm(tokens(), lstm, { reverse: true }).x];
  }, { slow: true }),
  "an LSTM with one dropout for all steps": layer(["variationalMasks"], { lstm: nn.lstmLayer(4, 3) }, ({ lstm }) => {
    const x = tokens();
    return [nn.lstm(x, lstm, { masks: nn.variationalMasks(x.shape[0], 3, 0.3, randomKey(9)) }).x];
  }, { slow: true }),
  "a cross-entropy": layer(["crossEntropy"], linear, ({ fc }) => {
    const logits = nn.linear(tokens().mean<tf.Tensor2D>(1), fc);
    return [nn.crossEntropy(logits, labels(), { smoothing: 0.1, weights: tf.tensor1d([1, 3]) })];
  }),
  "a ViT": vit(undefined),
  ...Object.fromEntries((["topk", "evit", "tome"] as const).map((name) => [`a ViT with ${name}`, vit(name)])),
  "CLEF with a transformer": clef({ kind: "transformer", heads: 4, layers: 2 }),
  "CLEF with an LSTM": clef({ kind: "lstm", hidden: 8 }),
  "CLEF with an xLSTM": clef({ kind: "xlstm", heads: 4, blocks: 2, convolution: 4, qkvBlock: 4 }),
  "MedTok": medtok(),
};

/** Functions of lib/nn that take tensors and are looked at elsewhere, or give no loss. */
const ELSEWHERE = ["fractionRight"];

Deno.test("every layer of lib/nn is among those that are compared", () => {
  const parts = ["attention", "block", "layers", "losses", "lstm"];
  const functions = parts.flatMap((part) => {
    const source = Deno.readTextFileSync(new URL(`../../lib/nn/${part}.ts`, import.meta.url));
    return [...source.matchAll(/^export function (\w+)/gm)].map(([, name]) => name);
  }).filter((name) => !name.endsWith("Layer") && !ELSEWHERE.includes(name));
  assert.ok(functions.length > 8);
  const covered = new Set(Object.values(subjects).flatMap(({ of }) => of));
  assert.deepEqual(functions.filter((name) => !covered.has(name)), []);
});

/** The sum of the outputs in which element i counts cos i times. */
function lossOf(outputs: tf.Tensor[]): tf.Scalar {
  const sums = outputs.map((output) => output.flatten().mul(tf.cos(tf.range(0, output.size))).mean() as tf.Scalar);
  return tf.addN(sums);
}

function variablesOf(parameters: object): tf.Variable[] {
  return [...flatten(parameters).values()].filter((tensor) => tensor instanceof tf.Variable);
}

/** Outputs and gradients. */
function outputsAndGradients({ parameters, outputs }: ReturnType<Subject["make"]>): Record<string, tf.Tensor> {
  const { value, grads } = tf.variableGrads(() => lossOf(outputs()), variablesOf(parameters));
  const names = new Map([...flatten(parameters)].map(([name, tensor]) => [(tensor as tf.Variable).name, name]));
  const named = Object.entries(grads).map(([name, gradient]) => [`gradient of ${names.get(name)}`, gradient]);
  return {
    loss: value,
    ...Object.fromEntries(outputs().map((y, i) => [`output ${i}`, y])),
    ...Object.fromEntries(named),
  };
}

/** By XLA the small ones are compared every time, with their gradients; all of it with --full. */
const ways = (slow: boolean | undefined) => compiledWays.filter(({ xla }) => full || !slow || !xla);

for (const [name, { make, coarse, slow, rate = 0.05 }] of Object.entries(subjects)) {
  Deno.test({
    name: `${name}: outputs and gradients are the same eagerly, as a graph and by XLA`,
    ignore: !onTensorFlow,
  }, () => {
    tidy(() => {
      const subject = make();
      const expected = outputsAndGradients(subject);
      for (const { name: way, xla } of ways(slow)) {
        const compiled = compile(() => outputsAndGradients(subject), { xla });
        for (const [part, tensor] of Object.entries(compiled())) {
          // of what has no effect, the gradient is rounding: it is held against the largest number of all gradients
          assertAgree(tensor, expected[part], 1e-5, scaleOf(expected), `${name}, ${way}, ${part}`);
        }
        compiled.dispose();
      }
      tf.dispose(variablesOf(subject.parameters));
    });
  });

  if (!coarse) {
    Deno.test({ name: `${name}: gradients agree with finite differences`, ignore: backend.name === "wasm" }, () => {
      tidy(() => {
        const { parameters, outputs } = make();
        const variables = variablesOf(parameters);
        const values = variables.map((variable) => variable.clone());
        const { grads } = tf.variableGrads(() => lossOf(outputs()), variables);
        variables.forEach((variable, n) => {
          const slope = grads[variable.name].dataSync();
          const start = values[n].dataSync();
          for (let i = 0; i < start.length; i++) {
            const at = (shift: number) => {
              const moved = Float32Array.from(start);
              moved[i] += shift;
              return tidy(() => {
                variable.assign(tf.tensor(moved, variable.shape));
                return lossOf(outputs()).dataSync()[0];
              });
            };
            const difference = (at(2 ** -7) - at(-(2 ** -7))) * 2 ** 6;
            const close = Math.abs(difference - slope[i]) <= 2e-3 * Math.max(0.1, Math.abs(difference));
            assert.ok(
              close,
              `${name}, variable ${n}, element ${i}: gradient ${slope[i]}, differences give ${difference}`,
            );
          }
          variable.assign(values[n]);
        });
        tf.dispose(variables);
      });
    });
  }

  // Where a gradient is rounding, Adam would make full steps of it: an epsilon above the rounding keeps it where it is.
  const kinds: [string, () => Optimizer, number][] = [
    ["SGD", () => sgd({ learningRate: rate, momentum: 0.9 }), 1e-4],
    ["Adam", () => adam({ learningRate: 1e-3, epsilon: 1e-4 }), 1e-3],
  ];
  for (const [kind, optimizer, tolerance] of kinds) {
    Deno.test({
      name: `${name}: ten steps of ${kind} are the same eagerly, as a graph and by XLA`,
      ignore: !onTensorFlow,
    }, () => {
      const train = (xla: boolean | undefined) => {
        const { parameters, outputs } = make();
        const step = trainStep(() => lossOf(outputs()), optimizer(), parameters, xla === undefined ? {} : { xla });
        const losses: number[] = [];
        for (let i = 0; i < 10; i++) {
          losses.push(tidy(() => xla === undefined ? eagerly(step) : step().loss.dataSync()[0]));
        }
        const after = variablesOf(parameters).map((variable) => variable.clone());
        step.dispose();
        tf.dispose(variablesOf(parameters));
        return { losses, after };
      };
      tidy(() => {
        const eager = train(undefined);
        assert.ok(eager.losses[9] < eager.losses[0], "it learns");
        for (const { name: way, xla } of ways(true)) {
          const compiled = train(xla);
          compiled.losses.forEach((loss, i) => {
            const close = Math.abs(loss - eager.losses[i]) <= tolerance * Math.max(1e-2, Math.abs(eager.losses[i]));
            assert.ok(close, `${way}, loss ${i}: ${loss}, eagerly ${eager.losses[i]}`);
          });
          compiled.after.forEach((v, i) => assertClose(v, eager.after[i], tolerance, `${name}, ${way}, variable ${i}`));
        }
      });
    });
  }
}

/** A step operation by operation: under an eager gradient a compiled function runs as it is. */
function eagerly(step: () => { loss: tf.Scalar }): number {
  let loss = 0;
  tf.grad((x) => {
    loss = step().loss.dataSync()[0];
    return x.sum();
  })(tf.scalar(0));
  return loss;
}

function scaleOf(tensors: Record<string, tf.Tensor>): number {
  const gradients = Object.entries(tensors).filter(([name]) => name.startsWith("gradient"));
  return Math.max(...gradients.map(([, gradient]) => tf.max(tf.abs(gradient)).dataSync()[0]));
}

function assertAgree(got: tf.Tensor, expected: tf.Tensor, tolerance: number, scale: number, what: string): void {
  if (!what.includes("gradient")) return assertClose(got, expected, tolerance, what);
  const difference = tf.max(tf.abs(tf.sub(got, expected))).dataSync()[0];
  const own = tf.max(tf.abs(expected)).dataSync()[0];
  assert.ok(difference <= tolerance * Math.max(own, 1e-2 * scale), `${what}: ${difference} apart, largest ${own}`);
}
