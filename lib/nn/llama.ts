/**
 * Llama: a decoder of text, with rotary positions, grouped-query attention, RMS norms and a gated MLP.
 *
 * Touvron et al., "LLaMA: Open and Efficient Foundation Language Models", 2023, arXiv:2302.13971, section 2.2. Grouped
 * queries: Ainslie et al., "GQA", EMNLP 2023, arXiv:2305.13245. Gated MLP: Shazeer, "GLU Variants Improve Transformer",
 * 2020, arXiv:2002.05202. Weights are named as in Hugging Face's LlamaForCausalLM, but for its prefix `model.`
 * ({@link llamaNames}), and laid out as there: the halves of a head's channels are turned together.
 * Checked against karpathy/llama2.c's text and logits (data/stories260k).
 *
 * A block does not know where its keys and values come from: whoever calls it says so. So one block serves training, the
 * reading of a prompt and the making of one token from a cache (`lib/nn/kv_cache.ts`, `lib/nn/generate.ts`).
 *
 * @module
 */
import { type NumericArray, readSafetensors, stories260k, tinyLM } from "../data/mod.ts";
import type { Random } from "../random.ts";
import { tf, tidy } from "../tensor/mod.ts";
import { type Description, initialise, type InitialiseRule, normal, ones, parameter } from "./initialise.ts";
import { embedding, linear, type LinearDescription, linearLayer, type LinearParameters } from "./layers.ts";
import { type DecoderShape } from "./macs.ts";
import { countParameters, type LoadOptions, loadParameters, type NameMap } from "./parameters.ts";
import { rmsNorm, type RMSNormParameters, rotary } from "./rotary.ts";

/** The sizes of a Llama. */
export interface LlamaConfig {
  /** Tokens that it knows. */
  readonly vocabulary: number;
  /** Channels of a token. */
  readonly width: number;
  /** Blocks. */
  readonly depth: number;
  /** Heads of the queries. */
  readonly heads: number;
  /** Heads of keys and values; each serves heads / keyHeads heads of queries. Default: `heads`. */
  readonly keyHeads?: number;
  readonly mlpWidth: number;
  /** Most positions that it was trained on: prompt and what is made from it together. */
  readonly context: number;
  /** Base of the rotary frequencies. Default: 10000. */
  readonly ropeBase?: number;
  /** Added to mean squares. Default: 1e-5. */
  readonly normEpsilon?: number;
  /** Whether the head is the embedding. Default: false. */
  readonly tied?: boolean;
}

/** Text to tokens and back. */
export interface TextTokenizer {
  /** The first token of every text. */
  readonly begin?: number;
  /** A token that ends the text. */
  readonly end?: number;
  /** Tokens of a text, without `begin`. */
  encode(text: string): number[];
  /** Text of tokens; `begin` and `end` are left out. */
  decode(tokens: readonly number[]): string;
}

/** Parameters of one block. */
export interface LlamaBlockParameters {
  readonly input_layernorm: RMSNormParameters;
  readonly self_attn: {
    /** [heads x channels, width] */
    readonly q_proj: LinearParameters;
    /** [key heads x channels, width] */
    readonly k_proj: LinearParameters;
    /** [key heads x channels, width] */
    readonly v_proj: LinearParameters;
    /** [width, heads x channels] */
    readonly o_proj: LinearParameters;
  };
  readonly post_attention_layernorm: RMSNormParameters;
  readonly mlp: {
    readonly gate_proj: LinearParameters;
    readonly up_proj: LinearParameters;
    readonly down_proj: LinearParameters;
  };
}

/** Parameters of a Llama. */
export interface LlamaParameters {
  /** [vocabulary, width] */
  readonly embed_tokens: { readonly weight: tf.Tensor2D };
  readonly layers: readonly LlamaBlockParameters[];
  readonly norm: RMSNormParameters;
  /** [vocabulary, width]; absent where it is the embedding. */
  readonly lm_head?: LinearParameters | undefined;
}

interface NormDescription {
  readonly weight: Description<tf.Rank.R1>;
}

/** Describes one block. */
export interface LlamaBlockDescription {
  readonly input_layernorm: NormDescription;
  readonly self_attn: Record<"q_proj" | "k_proj" | "v_proj" | "o_proj", LinearDescription>;
  readonly post_attention_layernorm: NormDescription;
  readonly mlp: Record<"gate_proj" | "up_proj" | "down_proj", LinearDescription>;
}

/** Describes a Llama. */
export interface LlamaDescription {
  readonly embed_tokens: { readonly weight: Description<tf.Rank.R2> };
  readonly layers: readonly LlamaBlockDescription[];
  readonly norm: NormDescription;
  readonly lm_head?: LinearDescription | undefined;
}

/**
 * Describes a Llama; starts as Hugging Face's: everything from a normal of 0.02, norms 1.
 *
 * @throws {RangeError} If the heads do not divide the width, the key heads not the heads, or a head's channels are odd.
 *
 * @example stories260k
 * ```ts
 * import assert from "node:assert/strict";
 * import { countParameters } from "tessera/nn/mod.ts";
 * const sizes = { vocabulary: 512, width: 64, depth: 5, heads: 8, keyHeads: 4, mlpWidth: 172, context: 512 };
 * assert.equal(countParameters(llamaLayers({ ...sizes, tied: true })), 260_032);
 * ```
 */
export function llamaLayers(config: LlamaConfig): LlamaDescription {
  const { vocabulary, width, depth, heads, keyHeads = heads, mlpWidth, tied = false } = config;
  if (width % heads !== 0 || (width / heads) % 2 !== 0) {
    throw new RangeError(
      `heads must divide the width into even numbers of channels, but ${width} / ${heads} is ${
        width / heads
      }; change heads`,
    );
  }
  if (heads % keyHeads !== 0) {
    throw new RangeError(`keyHeads must divide heads, but ${heads} / ${keyHeads} is not whole; change keyHeads`);
  }
  const from = normal(0.02);
  const keyWidth = keyHeads * (width / heads);
  const layer = (inputs: number, outputs: number) => linearLayer(inputs, outputs, { bias: false, weightFrom: from });
  const norm = () => ({ weight: parameter<tf.Rank.R1>([width], ones) });
  return {
    embed_tokens: { weight: parameter<tf.Rank.R2>([vocabulary, width], from) },
    layers: Array.from({ length: depth }, () => ({
      input_layernorm: norm(),
      self_attn: {
        q_proj: layer(width, width),
        k_proj: layer(width, keyWidth),
        v_proj: layer(width, keyWidth),
        o_proj: layer(width, width),
      },
      post_attention_layernorm: norm(),
      mlp: {
        gate_proj: layer(width, mlpWidth),
        up_proj: layer(width, mlpWidth),
        down_proj: layer(mlpWidth, width),
      },
    })),
    norm: norm(),
    ...(tied ? {} : { lm_head: layer(width, vocabulary) }),
  };
}

/**
 * Our names of a Llama's weights as Hugging Face's (`LlamaForCausalLM`).
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * assert.equal(llamaNames("layers.3.mlp.up_proj.weight"), "model.layers.3.mlp.up_proj.weight");
 * assert.equal(llamaNames("lm_head.weight"), "lm_head.weight");
 * ```
 */
export const llamaNames: NameMap = (name) => name.startsWith("lm_head.") ? name : `model.${name}`;

/** What a block makes of its tokens before they look at anything. */
export interface LlamaProjections {
  /** [batch, tokens, width], after the norm: what all three are linear in. */
  readonly hidden: tf.Tensor3D;
  /** [batch, heads, tokens, channels], turned by their positions. */
  readonly queries: tf.Tensor4D;
  /** [batch, key heads, tokens, channels], turned by their positions. */
  readonly keys: tf.Tensor4D;
  /** [batch, key heads, tokens, channels], as they were before. */
  readonly keysBeforeRotary: tf.Tensor4D;
  /** [batch, key heads, tokens, channels] */
  readonly values: tf.Tensor4D;
}

/** What the tokens of a block look at. */
export interface LookedAt {
  /** [batch, key heads, context tokens, channels] */
  readonly keys: tf.Tensor4D;
  /** [batch, key heads, context tokens, channels] */
  readonly values: tf.Tensor4D;
  /** 1 where a token may look, 0 where not; broadcasts to [batch, key heads, group x tokens, context tokens]. */
  readonly mask: tf.Tensor;
  /** Queries to look with, where they are not the block's own (turned by other positions, say). */
  readonly queries?: tf.Tensor4D;
}

/** Added to a logit that does not count: far below every other, but finite. */
const NEVER = -1e9;

/**
 * Attention with fewer heads of keys than of queries: the queries of one group are looked up together, so that no key is
 * copied.
 *
 * @param queries [batch, heads, tokens, channels]
 * @param looked Keys and values of `key heads` heads, and the mask.
 * @returns The mixture [batch, tokens, heads x channels], and the weights [batch, heads, tokens, context tokens].
 *
 * @example Two heads of queries on one of keys
 * ```ts
 * import assert from "node:assert/strict";
 * import { tf } from "tessera/tensor/mod.ts";
 * const one = tf.ones<tf.Rank.R4>([1, 1, 1, 2]);
 * const { x } = groupedAttention(tf.ones([1, 2, 1, 2]), { keys: one, values: one, mask: tf.ones([1, 1, 1, 1]) });
 * assert.deepEqual(x.arraySync(), [[[1, 1, 1, 1]]]);
 * ```
 */
export function groupedAttention(
  queries: tf.Tensor4D,
  { keys, values, mask }: LookedAt,
): { x: tf.Tensor3D; attention: tf.Tensor4D } {
  return tidy(() => {
    const [batch, heads, tokens, channels] = queries.shape;
    const [, keyHeads, context] = keys.shape;
    const grouped = queries.reshape<tf.Tensor4D>([batch, keyHeads, (heads / keyHeads) * tokens, channels]);
    const logits = tf.matMul(grouped, keys, false, true).mul(channels ** -0.5);
    const weights = tf.softmax(logits.mul(mask).add(tf.sub(1, mask).mul(NEVER)), 3);
    const mixed = tf.matMul(weights, values).reshape<tf.Tensor4D>([batch, heads, tokens, channels]);
    return {
      x: mixed.transpose([0, 2, 1, 3]).reshape<tf.Tensor3D>([batch, tokens, heads * channels]),
      attention: weights.reshape<tf.Tensor4D>([batch, heads, tokens, context]) as tf.Tensor4D,
    };
  });
}

/**
 * The mask of tokens that follow one another: each looks at itself and at those before. As many rows as the group's
 * queries have, [1, 1, group x tokens, tokens].
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * assert.deepEqual(causalRows(2, 1).arraySync(), [[[[1, 0], [1, 1]]]]);
 * ```
 */
export function causalRows(tokens: number, group: number): tf.Tensor4D {
  return tidy(() => {
    const place = tf.range(0, tokens, 1, "int32");
    const seen = tf.lessEqual(place.expandDims(0), place.expandDims(1)).cast("float32");
    return seen.tile([group, 1]).reshape<tf.Tensor4D>([1, 1, group * tokens, tokens]);
  });
}

/** Models that lie in `data/`. */
export type LlamaName = "stories260k" | "tinyLM";

/** What {@link Llama.forward} gives. */
export interface LlamaOutput {
  /** [batch, tokens, vocabulary] */
  readonly logits: tf.Tensor3D;
  /** [batch, heads, tokens, tokens] of each block, where it was asked for. */
  readonly attention: readonly tf.Tensor4D[];
}

/** Options of {@link Llama.forward}. */
export interface LlamaForwardOptions {
  /** Whether to return the attention maps. Default: false. */
  readonly attention?: boolean;
}

/**
 * A Llama with its weights.
 *
 * @example The most likely word to begin a story with
 * ```ts
 * import assert from "node:assert/strict";
 * import { tf } from "tessera/tensor/mod.ts";
 * const model = await Llama.load("stories260k");
 * const { logits } = model.forward(tf.tensor2d([[1]], [1, 1], "int32"));
 * assert.equal(model.tokenizer?.decode([logits.argMax(2).dataSync()[0]]), " Once");
 * ```
 */
export class Llama {
  readonly config: LlamaConfig;
  /** Its tensors; variables, where it is to be trained. */
  readonly weights: LlamaParameters;
  readonly tokenizer: TextTokenizer | undefined;

  /** @param weights What {@link llamaLayers} describes; the model keeps it. */
  constructor(config: LlamaConfig, weights: LlamaParameters, tokenizer?: TextTokenizer) {
    this.config = config;
    this.weights = weights;
    this.tokenizer = tokenizer;
  }

  /** A new model with random weights. `trainable(model.weights)` makes them variables. */
  static create(config: LlamaConfig, random: Random, rule?: InitialiseRule): Llama {
    return new Llama(config, initialise(llamaLayers(config), random, rule));
  }

  /** A model that lies in `data/`, with its tokenizer; see data/stories260k/SOURCE.md. */
  static async load(name: LlamaName): Promise<Llama> {
    const { config, tensors, tokenizer } = await { stories260k, tinyLM }[name].load();
    return Llama.fromArrays(config, tensors, { names: llamaNames }, tokenizer);
  }

  /**
   * A model from arrays under our names, or under others with a name map.
   *
   * @throws {Error} Where a weight is missing, left over, or of another shape than `config` says.
   */
  static fromArrays(
    config: LlamaConfig,
    arrays: ReadonlyMap<string, NumericArray>,
    options: LoadOptions = {},
    tokenizer?: TextTokenizer,
  ): Llama {
    return new Llama(config, loadParameters(llamaLayers(config), arrays, options), tokenizer);
  }

  /** Number of trained numbers. */
  get parameters(): number {
    return countParameters(this.weights);
  }

  /** Heads of keys and values. */
  get keyHeads(): number {
    return this.config.keyHeads ?? this.config.heads;
  }

  /** Channels of a head. */
  get channels(): number {
    return this.config.width / this.config.heads;
  }

  /** What `decodeMACs` and `decoderMACs` count with. */
  get shape(): DecoderShape {
    const { width, depth, mlpWidth } = this.config;
    return { width, depth, mlpWidth, gated: true, keyWidth: this.keyHeads * this.channels };
  }

  /**
   * Runs the model over whole texts, without a cache. Reads nothing back, so that it can be traced and trained.
   *
   * @param tokens int32, [batch, tokens]
   * @throws {RangeError} If there are none, or more than the model's context.
   */
  forward(tokens: tf.Tensor2D, { attention = false }: LlamaForwardOptions = {}): LlamaOutput {
    const [, count] = tokens.shape;
    this.refuseLength(count);
    return tidy(() => {
      const mask = causalRows(count, this.config.heads / this.keyHeads);
      const positions = tf.range(0, count, 1, "float32").expandDims<tf.Tensor2D>(0);
      const maps: tf.Tensor4D[] = [];
      let x = this.embed(tokens);
      for (let layer = 0; layer < this.config.depth; layer++) {
        const done = this.block(layer, x, positions, ({ keys, values }) => ({ keys, values, mask }));
        x = done.x;
        if (attention) maps.push(done.attention);
      }
      return { logits: this.head(x), attention: maps };
    });
  }

  /** Embeds tokens: [batch, tokens] to [batch, tokens, width]. */
  embed(tokens: tf.Tensor2D): tf.Tensor3D {
    return embedding(tokens, this.weights.embed_tokens) as tf.Tensor3D;
  }

  /** The last norm and the head: [batch, tokens, width] to [batch, tokens, vocabulary]. */
  head(x: tf.Tensor3D): tf.Tensor3D {
    const { norm, lm_head, embed_tokens } = this.weights;
    return tidy(() => linear(rmsNorm(x, norm, this.#epsilon), lm_head ?? { weight: embed_tokens.weight }));
  }

  /**
   * One block.
   *
   * @param x [batch, tokens, width]
   * @param positions [1, tokens] or [batch, tokens]: where the tokens stand.
   * @param look Given what the tokens are, what they look at.
   */
  block<Looked extends LookedAt>(
    layer: number,
    x: tf.Tensor3D,
    positions: tf.Tensor2D,
    look: (own: LlamaProjections) => Looked,
  ): { x: tf.Tensor3D; own: LlamaProjections; looked: Looked; attention: tf.Tensor4D } {
    return tidy(() => {
      const { input_layernorm, self_attn, post_attention_layernorm, mlp } = this.weights.layers[layer];
      const hidden = rmsNorm(x, input_layernorm, this.#epsilon);
      const { heads, ropeBase } = this.config;
      const keysBeforeRotary = splitHeads(linear(hidden, self_attn.k_proj), this.keyHeads);
      const own: LlamaProjections = {
        hidden,
        queries: rotary(splitHeads(linear(hidden, self_attn.q_proj), heads), positions, ropeBase),
        keys: rotary(keysBeforeRotary, positions, ropeBase),
        keysBeforeRotary,
        values: splitHeads(linear(hidden, self_attn.v_proj), this.keyHeads),
      };
      const looked = look(own);
      const { x: mixed, attention } = groupedAttention(looked.queries ?? own.queries, looked);
      const between = x.add<tf.Tensor3D>(linear(mixed, self_attn.o_proj));
      const inner = rmsNorm(between, post_attention_layernorm, this.#epsilon);
      const gate = linear(inner, mlp.gate_proj);
      const gated = gate.mul<tf.Tensor3D>(gate.sigmoid()).mul<tf.Tensor3D>(linear(inner, mlp.up_proj));
      return { x: between.add<tf.Tensor3D>(linear(gated, mlp.down_proj)), own, looked, attention };
    });
  }

  /**
   * Refuses a number of positions that the model was not trained for.
   *
   * @param what How the error calls them.
   * @throws {RangeError}
   */
  refuseLength(tokens: number, what = "the text"): void {
    const { context } = this.config;
    if (tokens === 0) throw new RangeError(`${what} has no tokens; begin with at least one`);
    if (tokens <= context) return;
    throw new RangeError(
      `${what} has ${tokens} tokens, but the model was trained on ${context} positions; shorten it by ` +
        `${tokens - context}`,
    );
  }

  /** Frees the weights. */
  dispose(): void {
    tf.dispose(this.weights as unknown as tf.TensorContainer);
  }

  get #epsilon(): number {
    return this.config.normEpsilon ?? 1e-5;
  }
}

/**
 * Rows of all heads as heads: [batch, tokens, heads x channels] to [batch, heads, tokens, channels].
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { tf } from "tessera/tensor/mod.ts";
 * assert.deepEqual(splitHeads(tf.tensor3d([[[1, 2]]]), 2).arraySync(), [[[[1]], [[2]]]]);
 * ```
 */
export function splitHeads(x: tf.Tensor3D, heads: number): tf.Tensor4D {
  const [batch, tokens, width] = x.shape;
  return tidy(() => x.reshape<tf.Tensor4D>([batch, tokens, heads, width / heads]).transpose([0, 2, 1, 3]));
}

/** The fields of Hugging Face's `config.json` that decide what the weights mean. */
interface HuggingFaceConfig {
  readonly model_type?: string;
  readonly vocab_size: number;
  readonly hidden_size: number;
  readonly num_hidden_layers: number;
  readonly num_attention_heads: number;
  readonly num_key_value_heads?: number;
  readonly intermediate_size: number;
  readonly max_position_embeddings: number;
  readonly rope_theta?: number;
  readonly rope_scaling?: unknown;
  readonly rms_norm_eps?: number;
  readonly tie_word_embeddings?: boolean;
  readonly head_dim?: number;
}

/**
 * A Llama from a folder of Hugging Face's: `config.json` and `model.safetensors`.
 *
 * @param folder Where both lie.
 * @param tokenizer Its tokenizer, where text goes in and out; without one, prompts are tokens.
 * @throws {Error} If it is no Llama, has scaled rotary positions, or a weight is missing, left over or of another shape.
 *
 * @example A folder, written and read again
 * ```ts
 * import assert from "node:assert/strict";
 * import { writeSafetensors } from "tessera/data/mod.ts";
 * import { saveParameters } from "tessera/nn/mod.ts";
 * import { random } from "tessera/random.ts";
 * const folder = await Deno.makeTempDir();
 * const small = Llama.create({ vocabulary: 5, width: 4, depth: 1, heads: 2, mlpWidth: 4, context: 8 }, random(1));
 * await writeSafetensors(`${folder}/model.safetensors`, await saveParameters(small.weights, llamaNames));
 * const config = {
 *   vocab_size: 5, hidden_size: 4, num_hidden_layers: 1, num_attention_heads: 2, intermediate_size: 4,
 *   max_position_embeddings: 8,
 * };
 * await Deno.writeTextFile(`${folder}/config.json`, JSON.stringify(config));
 * assert.equal((await loadLlama(folder)).parameters, small.parameters);
 * await Deno.remove(folder, { recursive: true });
 * ```
 */
export async function loadLlama(folder: string | URL, tokenizer?: TextTokenizer): Promise<Llama> {
  const at = (file: string) => folder instanceof URL ? new URL(file, `${folder.href}/`) : `${folder}/${file}`;
  const raw: HuggingFaceConfig = JSON.parse(await Deno.readTextFile(at("config.json")));
  const refuse = (what: string) => {
    throw new Error(`${folder} holds ${what}, which this model does not compute; load a plain Llama`);
  };
  if (raw.model_type !== undefined && raw.model_type !== "llama") refuse(`a model of type ${raw.model_type}`);
  if (raw.rope_scaling) refuse(`rotary positions scaled by ${JSON.stringify(raw.rope_scaling)}`);
  if (raw.head_dim !== undefined && raw.head_dim * raw.num_attention_heads !== raw.hidden_size) {
    refuse(`heads of ${raw.head_dim} channels that do not make up its width of ${raw.hidden_size}`);
  }
  const config: LlamaConfig = {
    vocabulary: raw.vocab_size,
    width: raw.hidden_size,
    depth: raw.num_hidden_layers,
    heads: raw.num_attention_heads,
    keyHeads: raw.num_key_value_heads ?? raw.num_attention_heads,
    mlpWidth: raw.intermediate_size,
    context: raw.max_position_embeddings,
    ropeBase: raw.rope_theta ?? 10000,
    normEpsilon: raw.rms_norm_eps ?? 1e-6,
    tied: raw.tie_word_embeddings ?? false,
  };
  const { tensors } = await readSafetensors(at("model.safetensors"));
  const ignore = (name: string) => name.endsWith("rotary_emb.inv_freq") || (!!config.tied && name === "lm_head.weight");
  return Llama.fromArrays(config, tensors, { names: llamaNames, ignore }, tokenizer);
}
