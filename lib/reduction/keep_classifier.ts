/**
 * A small classifier of tokens that looks both ways: what LLMLingua-2 asks. A Llama's blocks without the causal mask, and one
 * number per token.
 *
 * Pan et al., "LLMLingua-2", 2024, arXiv:2403.12968, section 4.2, where it is XLM-RoBERTa trained on compressions by GPT-4.
 * Ours (data/tiny-keep) has 82,000 parameters and learned from stories260k which words surprise it; a control of the method's
 * machinery, no match for the original.
 *
 * @module
 */
import { type NumericArray, stories260k, tinyKeep } from "../data/mod.ts";
import { type Description, initialise, normal } from "../nn/initialise.ts";
import { linear, type LinearDescription, linearLayer, type LinearParameters } from "../nn/layers.ts";
import { Llama, type LlamaConfig, type LlamaDescription, llamaLayers, type LlamaParameters } from "../nn/llama.ts";
import { loadParameters } from "../nn/parameters.ts";
import { rmsNorm } from "../nn/rotary.ts";
import type { Random } from "../random.ts";
import { compile, tf, tidy } from "../tensor/mod.ts";
import { paddedLength } from "./llama_scorer.ts";
import type { TokenClassifier } from "./llmlingua2.ts";
import type { TextTokens } from "./text.ts";

/** Parameters of the classifier. */
export interface KeepClassifierParameters {
  readonly body: LlamaParameters;
  /** [1, width] and [1] */
  readonly head: LinearParameters;
}

/** Describes them. */
export interface KeepClassifierDescription {
  readonly body: LlamaDescription;
  readonly head: LinearDescription;
}

/** The sizes of data/tiny-keep. */
export const keepClassifierConfig: LlamaConfig = {
  vocabulary: 512,
  width: 64,
  depth: 1,
  heads: 4,
  mlpWidth: 172,
  context: 256,
  tied: true,
};

/**
 * Describes the parameters of a classifier.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * assert.deepEqual(keepClassifierLayers(keepClassifierConfig).head.weight.shape, [1, 64]);
 * ```
 */
export function keepClassifierLayers(config: LlamaConfig): KeepClassifierDescription {
  return { body: llamaLayers({ ...config, tied: true }), head: linearLayer(config.width, 1) };
}

/**
 * New parameters, to be trained.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { random } from "tessera/random.ts";
 * const config = { ...keepClassifierConfig, vocabulary: 8, width: 8, mlpWidth: 8 };
 * assert.deepEqual(newKeepClassifier(config, random(1)).body.embed_tokens.weight.shape, [8, 8]);
 * ```
 */
export function newKeepClassifier(config: LlamaConfig, random: Random): KeepClassifierParameters {
  const rule = (name: string, shape: readonly number[]) =>
    shape.length < 2 ? undefined : normal(/embed/.test(name) ? 0.5 : shape[1] ** -0.5);
  return initialise(
    keepClassifierLayers(config) as {
      body: LlamaDescription;
      head: { weight: Description<tf.Rank.R2>; bias: Description<tf.Rank.R1> };
    },
    random,
    rule,
  );
}

/**
 * Logits that each token stays.
 *
 * @param tokens int32, [batch, tokens]
 * @param real [batch, tokens]: 1 for a token, 0 for padding, which nobody looks at.
 * @returns [batch, tokens]
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { tf } from "tessera/tensor/mod.ts";
 * import { random } from "tessera/random.ts";
 * const config = { ...keepClassifierConfig, vocabulary: 8, width: 8, mlpWidth: 8 };
 * const parameters = newKeepClassifier(config, random(1));
 * const logits = (...tokens: number[]) => stayLogits(config, parameters, tf.tensor2d([tokens], undefined, "int32"), tf.ones([1, tokens.length])).arraySync()[0];
 * assert.notEqual(logits(1, 2)[0], logits(1, 3)[0]); // the first token sees the second
 * ```
 */
export function stayLogits(
  config: LlamaConfig,
  { body, head }: KeepClassifierParameters,
  tokens: tf.Tensor2D,
  real: tf.Tensor2D,
): tf.Tensor2D {
  const [batch, count] = tokens.shape;
  const model = new Llama(config, body);
  return tidy(() => {
    const mask = real.reshape<tf.Tensor4D>([batch, 1, 1, count]);
    const positions = tf.range(0, count, 1, "float32").expandDims<tf.Tensor2D>(0);
    let x = model.embed(tokens);
    for (let layer = 0; layer < config.depth; layer++) {
      x = model.block(layer, x, positions, ({ keys, values }) => ({ keys, values, mask })).x;
    }
    return linear(rmsNorm(x, body.norm), head).squeeze<tf.Tensor2D>([2]);
  });
}

/** A classifier that holds its weights and compiled functions. */
export interface KeepClassifier extends TokenClassifier {
  /** Frees both. */
  dispose(): void;
}

/**
 * A classifier from weights and a tokenizer, for {@link llmlingua2}.
 *
 * @param tokenize Text to tokens with their places.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { random } from "tessera/random.ts";
 * const config = { ...keepClassifierConfig, vocabulary: 8, width: 8, mlpWidth: 8 };
 * const classifier = keepClassifier(config, newKeepClassifier(config, random(1)), () => ({ ids: new Int32Array(), starts: new Int32Array(), ends: new Int32Array() }));
 * const [[p]] = await classifier.keepProbabilities([Int32Array.of(1, 2)]);
 * assert.ok(p > 0 && p < 1);
 * classifier.dispose();
 * ```
 */
export function keepClassifier(
  config: LlamaConfig,
  parameters: KeepClassifierParameters,
  tokenize: (text: string) => TextTokens,
  name = "the classifier",
): KeepClassifier {
  const run = compile(
    (tokens: tf.Tensor2D, real: tf.Tensor2D) => tf.sigmoid(stayLogits(config, parameters, tokens, real)),
    { maxTraces: 64 },
  );
  return {
    name,
    context: config.context,
    tokenize,
    async keepProbabilities(sequences) {
      const longest = Math.max(...sequences.map(({ length }) => length));
      const length = paddedLength(longest, config.context);
      const ids = new Int32Array(sequences.length * length), is = new Float32Array(ids.length);
      for (const [row, sequence] of sequences.entries()) {
        ids.set(sequence, row * length);
        is.fill(1, row * length, row * length + sequence.length);
      }
      const shape: [number, number] = [sequences.length, length];
      const tokens = tf.tensor2d(ids, shape, "int32"), real = tf.tensor2d(is, shape);
      const result = await run.async(tokens, real);
      const values = await result.data() as Float32Array;
      tf.dispose([tokens, real, result]);
      return sequences.map((sequence, row) => values.slice(row * length, row * length + sequence.length));
    },
    dispose: () => {
      run.dispose();
      tf.dispose(parameters as unknown as tf.TensorContainer);
    },
  };
}

/**
 * The classifier of data/tiny-keep, with stories260k's tokenizer.
 *
 * @example Names stay before what every story says
 * ```ts
 * import assert from "node:assert/strict";
 * import { llmlingua2 } from "tessera/reduction/llmlingua2.ts";
 * const classifier = await loadKeepClassifier();
 * const { compressed } = await llmlingua2(classifier, "Once upon a time there was a girl. She found a purple umbrella.", { keepRate: 0.5 });
 * assert.match(compressed, /umbrella/);
 * classifier.dispose();
 * ```
 */
export async function loadKeepClassifier(): Promise<KeepClassifier> {
  const [{ tensors }, { tokenizer }] = await Promise.all([tinyKeep.load(), stories260k.load()]);
  return keepClassifier(keepClassifierConfig, keepParametersFrom(tensors), tokenizer.tokenize, "tiny-keep");
}

function keepParametersFrom(arrays: ReadonlyMap<string, NumericArray>): KeepClassifierParameters {
  return loadParameters(keepClassifierLayers(keepClassifierConfig), arrays) as KeepClassifierParameters;
}
