/**
 * A decoder of characters that is trained on texts of 64 and read to 1,024.
 *
 * @module
 */
import { shakespeare } from "tessera/data/mod.ts";
import { type CachePolicy, generate, Llama, type LlamaConfig, normal, trainable } from "tessera/nn/mod.ts";
import { random } from "tessera/random.ts";
import { h2o, streamingLLM } from "tessera/reduction/mod.ts";
import { tf, tidy } from "tessera/tensor/mod.ts";
import { adamW, cosineRate, fit, onlyMatrices, trainStep } from "tessera/train/mod.ts";

/** Tokens of a text in training, of the long ones that are read, and that each bounded cache holds. */
export const TRAINED = 64, LONG = 1024, CACHE = 48;

/** How texts begin: with a token of its own, as language models are trained, or wherever they were cut. */
export type Beginning = "begin token" | "cut anywhere";

/** Characters by number; the last number is the token that begins a text. */
export interface Characters {
  readonly vocabulary: number;
  readonly begin: number;
  /** Nine tenths of the plays, and the rest. */
  readonly train: Int32Array;
  readonly test: Int32Array;
}

/** The plays as characters. */
export async function characters(): Promise<Characters> {
  const { text } = await shakespeare.load();
  const known = [...new Set(text)].sort();
  const numbers = new Map(known.map((character, i) => [character, i]));
  const all = Int32Array.from(text, (character) => numbers.get(character)!);
  const split = Math.floor(0.9 * all.length);
  return { vocabulary: known.length + 1, begin: known.length, train: all.slice(0, split), test: all.slice(split) };
}

/** Texts of a length, from random places: [count][length]. */
export function textsOf(
  from: Int32Array,
  count: number,
  length: number,
  { beginning, begin, seed }: { beginning: Beginning; begin: number; seed: number | string },
): number[][] {
  const draw = random(0, `texts ${seed}`);
  return Array.from({ length: count }, () => {
    const own = beginning === "begin token" ? length - 1 : length;
    const at = draw.integer(from.length - own);
    return [...(beginning === "begin token" ? [begin] : []), ...from.subarray(at, at + own)];
  });
}

/** Its sizes. The context is what it is asked for; it was trained on {@link TRAINED}. */
export function configOf({ vocabulary }: Characters): LlamaConfig {
  return { vocabulary, width: 64, depth: 2, heads: 4, mlpWidth: 172, context: LONG };
}

const BATCH = 32;

/** Trains a model on texts of 64 characters. */
export async function train(
  chars: Characters,
  { seed, beginning, steps, signal }: { seed: number; beginning: Beginning; steps: number; signal?: AbortSignal },
): Promise<Llama> {
  const config = configOf(chars);
  const start = Llama.create(
    config,
    random(seed, "weights"),
    (name, shape) => shape.length < 2 ? undefined : normal(name.startsWith("embed") ? 0.1 : shape[1] ** -0.5),
  );
  const model = new Llama(config, trainable(start.weights));
  const step = trainStep(
    (tokens: tf.Tensor2D) => {
      const input = tokens.slice([0, 0], [-1, TRAINED - 1]) as tf.Tensor2D;
      const next = tokens.slice([0, 1], [-1, -1]) as tf.Tensor2D;
      return surprise(model.forward(input).logits, next, config.vocabulary).mean<tf.Scalar>();
    },
    adamW({ learningRate: cosineRate({ peak: 3e-3, updates: steps, warmup: 100 }), decays: onlyMatrices }),
    model.weights,
    { clip: 1 },
  );
  try {
    await fit({
      ...{ step, epochs: 1, batch: BATCH, seed, show: false },
      data: {
        count: steps * BATCH, // texts that are never the same
        batch: (rows, { step }): [tf.Tensor2D] => [
          tf.tensor2d(
            textsOf(chars.train, rows.length, TRAINED, { beginning, begin: chars.begin, seed: `${seed} ${step}` }),
            undefined,
            "int32",
          ),
        ],
      },
      ...(signal ? { signal } : {}),
    });
    return model;
  } finally {
    step.dispose();
  }
}

/** -ln p of each token: [texts, tokens]. */
function surprise(logits: tf.Tensor3D, tokens: tf.Tensor2D, vocabulary: number): tf.Tensor2D {
  return tidy(() => tf.logSoftmax(logits).mul(tf.oneHot(tokens, vocabulary)).sum<tf.Tensor2D>(2).neg());
}

/** What a cache keeps, by name. */
export const policies: Readonly<Record<string, CachePolicy | undefined>> = {
  "all kept": undefined,
  window: streamingLLM({ keep: CACHE, sinks: 0, parity: true }),
  "window, counted anew": streamingLLM({ keep: CACHE, sinks: 0 }),
  "4 sinks and 44": streamingLLM({ keep: CACHE }),
  "4 sinks and 44, places kept": streamingLLM({ keep: CACHE, parity: true }),
  "24 heavy and 24": h2o({ keep: CACHE }),
};

/**
 * The mean loss at each place of some texts, read token by token with a cache that keeps what the policy says.
 *
 * @returns [length - 1]: nats, of the tokens from the second on.
 */
export async function lossByPlace(
  model: Llama,
  texts: readonly (readonly number[])[],
  cache: CachePolicy | undefined,
): Promise<Float32Array> {
  const forced = texts.map((text) => text.slice(1));
  const { logits } = await generate(model, texts.map((text) => text.slice(0, 1)), {
    ...{ cache, forced, keepLogits: true, xla: false },
  });
  const said = tidy(() =>
    surprise(logits!, tf.tensor2d(forced.map((row) => [...row]), undefined, "int32"), model.config.vocabulary).mean(0)
      .dataSync<"float32">()
  );
  logits!.dispose();
  return said.slice();
}

/**
 * How much attention falls on the first token: of each head of each block, the mean over the queries from 16 on, and what
 * it would be if all tokens got the same.
 *
 * @param texts [texts][64]
 */
export function massOnFirst(
  model: Llama,
  texts: readonly (readonly number[])[],
): { heads: number[]; even: number } {
  const from = 16, length = texts[0].length;
  const heads = tidy(() =>
    model.forward(tf.tensor2d(texts.map((text) => [...text]), undefined, "int32"), { attention: true }).attention
      .flatMap((map) => [
        ...map.slice([0, 0, from, 0], [-1, -1, -1, 1]).mean([0, 2, 3]).dataSync<"float32">(),
      ])
  );
  const places = Array.from({ length: length - from }, (_, i) => 1 / (from + i + 1));
  return { heads, even: places.reduce((sum, one) => sum + one, 0) / places.length };
}
