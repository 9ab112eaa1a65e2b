/**
 * Workloads of `tokenization`: MedTok, in this library.
 *
 * @module
 */
import { foldIn, randomKey, tf } from "tessera/tensor/mod.ts";
import { loadParameters, trainable } from "tessera/nn/mod.ts";
import {
  encodeModalities,
  type MedTokBatch,
  type MedTokConfig,
  medtokLayers,
  medtokLosses,
  type MedTokParameters,
  quantizeMany,
  quantizeModalities,
} from "tessera/tokenization/mod.ts";
import { adam, trainStep } from "tessera/train/mod.ts";
import { type Parameter, pattern } from "../workload.ts";
import type { Job } from "../workloads/tokenization.ts";
import { numbersOf, patternTensor, type Ready, way } from "./worker.ts";

/** Makes a workload ready. */
export function prepare(job: Job, parameters: readonly Parameter[]): Ready | Promise<Ready> {
  return job.kind === "quantize" ? quantizing(job) : training(job, parameters);
}

async function quantizing({ count, rows, width, K, block }: Job & { kind: "quantize" }): Promise<Ready> {
  const codebook = patternTensor<tf.Tensor2D>(0, [rows, width]);
  const embeddings = pattern(900, count * width);
  const start = performance.now();
  const { vectors } = await quantizeMany(embeddings, codebook, { K, block });
  const firstMs = performance.now() - start;
  const mean = vectors.reduce((sum, value) => sum + Math.abs(value), 0) / vectors.length;
  return {
    call: async () => void await quantizeMany(embeddings, codebook, { K, block }),
    perCall: 1,
    check: [mean, ...vectors.subarray(0, 4)],
    firstMs,
  };
}

/** Text positions that are no padding. */
const WORDS = 64;

function training({ batch, config }: Job & { kind: "medtok_step" }, parameters: readonly Parameter[]): Ready {
  const weights = trainable(loadParameters(medtokLayers(config), numbersOf(parameters))) as MedTokParameters;
  const { textDim, textLength, maxNodes, nodeRows } = config;
  const inputs: MedTokBatch = {
    text: patternTensor(900, [batch, textLength, textDim]),
    textMask: tf.tile(tf.range(0, textLength).less(WORDS).cast("float32").expandDims<tf.Tensor2D>(0), [batch, 1]),
    nodes: tf.tensor2d(
      Int32Array.from({ length: batch * maxNodes }, (_, i) => i * 7919 % (nodeRows - 2)),
      [batch, maxNodes],
      "int32",
    ),
    nodeMask: tf.ones([batch, maxNodes]),
    pooled: tf.ones([batch, maxNodes]),
    adjacency: ring(batch, maxNodes, 2),
    augmentedAdjacency: ring(batch, maxNodes, 1),
  };
  const lossFor = (config: MedTokConfig) => (batch: MedTokBatch, key: tf.Tensor1D) => {
    const encoded = encodeModalities(batch, weights, config, foldIn(key, 0));
    const output = quantizeModalities(encoded, weights, config, foldIn(key, 1));
    return medtokLosses(encoded, output, weights, config).total;
  };
  // dropout draws other numbers in every library: the loss is compared without
  const check = tf.tidy(() => lossFor({ ...config, dropout: 0 })(inputs, randomKey(0, 0)).arraySync());
  const step = trainStep(
    lossFor(config),
    adam({ learningRate: config.lr, beta1: 0.9, beta2: 0.95, epsilon: 1e-8 }),
    weights,
    { clip: config.clip, xla: way === "xla" },
  );
  let count = 0;
  const call = () => tf.tidy(() => void step(inputs, randomKey(0, ++count)).loss.dataSync());
  const start = performance.now();
  call();
  return { call, perCall: 1, check: [check], firstMs: performance.now() - start, explain: step.explain };
}

/** Normalised adjacency of rings with loops: each node has so many neighbours on one side, and as many on the other. */
function ring(graphs: number, nodes: number, reach: number): tf.Tensor3D {
  const one = new Float32Array(nodes * nodes);
  for (let t = 0; t < nodes; t++) {
    for (let step = -reach; step <= reach; step++) one[t * nodes + (t + step + nodes) % nodes] = 1 / (2 * reach + 1);
  }
  return tf.tile(tf.tensor3d(one, [1, nodes, nodes]), [graphs, 1, 1]);
}
