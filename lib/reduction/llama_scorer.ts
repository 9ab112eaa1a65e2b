/**
 * A Llama as what scores the tokens of a text: the seam between `lib/nn` and the methods that compress prompts.
 *
 * @module
 */
import { ReductionError } from "../nn/reduction_errors.ts";
import type { Llama } from "../nn/llama.ts";
import { compile, tf, tidy } from "../tensor/mod.ts";
import type { LanguageScorer, TextTokens } from "./text.ts";

/** A scorer that holds compiled functions. */
export interface LlamaScorer extends LanguageScorer {
  /** Frees them; the model stays. */
  dispose(): void;
}

/** How a model is made a scorer. */
export interface LlamaScorerOptions {
  /** Default: "the model". */
  readonly name?: string;
  /** Text to tokens with their places. Default: the model's tokenizer, where it can say places (`stories260k`'s can). */
  readonly tokenize?: (text: string) => TextTokens;
  /** Whether XLA compiles the runs: seconds at first, faster then. Default: false. */
  readonly xla?: boolean;
}

/**
 * The length to which sequences are padded, so that few functions are compiled: a power of two, then multiples of 128.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * assert.deepEqual([3, 17, 129, 500].map((length) => paddedLength(length, 512)), [8, 32, 256, 512]);
 * ```
 */
export function paddedLength(length: number, context: number): number {
  const rounded = length <= 128 ? 2 ** Math.ceil(Math.log2(Math.max(8, length))) : Math.ceil(length / 128) * 128;
  return Math.min(context, rounded);
}

/**
 * A model's scorer. Each call is one run of a compiled function over all sequences, padded to one length; one number per
 * token is read back.
 *
 * @throws {ReductionError} If there is no tokenizer that says places, or no token that begins a text.
 *
 * @example A hundred letters that no story has
 * ```ts
 * import assert from "node:assert/strict";
 * import { Llama } from "tessera/nn/mod.ts";
 * const scorer = llamaScorer(await Llama.load("stories260k"));
 * const { ids } = scorer.tokenize("Once upon a time");
 * const [[first, , , last]] = await scorer.logProbabilities([ids]);
 * assert.ok(first < 0 && last > -0.1); // "time" is what it expects
 * scorer.dispose();
 * ```
 */
export function llamaScorer(
  model: Llama,
  { name = "the model", tokenize, xla = false }: LlamaScorerOptions = {},
): LlamaScorer {
  const { tokenizer } = model;
  const begin = tokenizer?.begin;
  const read = tokenize ??
    (tokenizer && "tokenize" in tokenizer ? tokenizer.tokenize as (text: string) => TextTokens : undefined);
  if (!read) throw new ReductionError(`${name} has no tokenizer that says where tokens stand; pass tokenize`);
  if (begin === undefined) throw new ReductionError(`${name} has no token that begins a text; give its tokenizer one`);

  const { vocabulary } = model.config;
  const run = compile((tokens: tf.Tensor2D): tf.Tensor2D => {
    const count = tokens.shape[1] - 1;
    const { logits } = model.forward(tokens.slice([0, 0], [-1, count]) as tf.Tensor2D);
    const next = tf.oneHot(tokens.slice([0, 1], [-1, count]), vocabulary);
    return tf.sub<tf.Tensor2D>(logits.mul(next).sum(2), tf.logSumExp(logits, 2));
  }, { maxTraces: 64, xla });

  const context = model.config.context;
  return {
    name,
    context,
    tokenize: read,
    async logProbabilities(sequences) {
      const longest = Math.max(...sequences.map(({ length }) => length));
      if (longest > context) model.refuseLength(longest, "a sequence");
      const length = paddedLength(longest, context);
      const rows = new Int32Array(sequences.length * (length + 1));
      for (const [row, sequence] of sequences.entries()) {
        rows[row * (length + 1)] = begin;
        rows.set(sequence, row * (length + 1) + 1);
      }
      const tokens = tf.tensor2d(rows, [sequences.length, length + 1], "int32");
      const result = await run.async(tokens);
      const values = await result.data() as Float32Array;
      tf.dispose([tokens, result]);
      return sequences.map((sequence, row) => values.slice(row * length, row * length + sequence.length));
    },
    dispose: () => tidy(() => run.dispose()),
  };
}
