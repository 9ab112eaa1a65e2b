/**
 * stories260k: a Llama of 260,000 parameters that tells children's stories, with its tokenizer, 64 stories of its own and
 * the text that it must give. The model itself: lib/nn/llama.ts.
 *
 * Andrej Karpathy, tinyllamas (for llama2.c); trained on TinyStories: Eldan and Li, 2023, arXiv:2305.07759.
 * data/stories260k/SOURCE.md says how the weights came here.
 *
 * @module
 */
import { readDataFile, remember, sha256 } from "./files.ts";
import type { NumericArray } from "./numeric_array.ts";
import { type BytePairTokenizer, bytePairTokenizer } from "./byte_pair_tokenizer.ts";

/** A story that the model made. */
export interface StorySample {
  /** Its tokens, without the first one of every text. */
  readonly tokens: number[];
  readonly text: string;
}

/** What the model must give, by another implementation. */
export interface StoryExpected {
  /** The likeliest token each time, from the first token of every text on. */
  readonly greedyTokens: number[];
  readonly greedyText: string;
  /** Logits after the first token of every text, [vocabulary]. */
  readonly logitsAfterBegin: number[];
  /** Logits after 100 of the greedy tokens, [vocabulary]. */
  readonly logitsAtStep100: number[];
}

/** The trained model and what belongs to it. */
export interface Stories260k {
  /** Sizes, named as `LlamaConfig` of lib/nn names them. */
  readonly config: {
    readonly vocabulary: number;
    readonly width: number;
    readonly depth: number;
    readonly heads: number;
    readonly keyHeads: number;
    readonly mlpWidth: number;
    readonly context: number;
    readonly ropeBase: number;
    readonly normEpsilon: number;
    readonly tied: true;
  };
  /** Under Hugging Face's names, matrices [out, in]; the rows of queries and keys are ordered as there, halves apart. */
  readonly tensors: Map<string, NumericArray>;
  readonly tokenizer: BytePairTokenizer;
  /** 64 stories, sampled from this model at temperature 0.8. */
  readonly samples: readonly StorySample[];
  readonly expected: StoryExpected;
  readonly source: string;
  readonly license: string;
  /** SHA-256 of the weights' file. */
  readonly hash: string;
}

interface ExpectedFile {
  greedy_ids: number[];
  greedy_text: string;
  logits_after_bos: number[];
  logits_step_100: number[];
  config: { rope_theta: number; norm_eps: number };
}

const text = async (file: string) => new TextDecoder().decode(await readDataFile(`stories260k/${file}`));

const read = remember(async (_: "stories260k"): Promise<Stories260k> => {
  const bytes = await readDataFile("stories260k/stories260K.bin");
  const raw: ExpectedFile = JSON.parse(await text("expected.json"));
  const [width, mlpWidth, depth, heads, keyHeads, vocabulary, context] = new Int32Array(bytes.buffer, 0, 7);
  const sizes = { vocabulary, width, depth, heads, keyHeads, mlpWidth, context, tied: true as const };
  const samples = (await text("samples.jsonl")).trimEnd().split("\n").map((line): StorySample => {
    const { ids, text }: { ids: number[]; text: string } = JSON.parse(line);
    return { tokens: ids, text };
  });
  return {
    config: { ...sizes, ropeBase: raw.config.rope_theta, normEpsilon: raw.config.norm_eps },
    tensors: weightsOf(new Float32Array(bytes.buffer, 7 * 4), sizes),
    tokenizer: bytePairTokenizer(await readDataFile("stories260k/tok512.bin"), vocabulary),
    samples,
    expected: {
      greedyTokens: raw.greedy_ids,
      greedyText: raw.greedy_text,
      logitsAfterBegin: raw.logits_after_bos,
      logitsAtStep100: raw.logits_step_100,
    },
    source: "Andrej Karpathy, tinyllamas (data/stories260k/SOURCE.md)",
    license: "MIT",
    hash: sha256(bytes),
  };
});

/**
 * The trained model; read at the first call, the same at later ones. A missing file is an error that says so.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * const { config, tokenizer, samples } = await stories260k.load();
 * assert.equal(config.depth, 5);
 * assert.equal(tokenizer.decode(tokenizer.encode("The cat sat.")), " The cat sat.");
 * assert.equal(samples.length, 64);
 * ```
 */
export const stories260k: { load(): Promise<Stories260k> } = { load: () => read("stories260k") };

type Sizes = Omit<Stories260k["config"], "ropeBase" | "normEpsilon">;

/** llama2.c's file holds one kind of weight after the other, each for all layers. */
function weightsOf(numbers: Float32Array, sizes: Sizes): Map<string, NumericArray> {
  const { vocabulary, width, depth, heads, keyHeads, mlpWidth } = sizes;
  const channels = width / heads;
  const tensors = new Map<string, NumericArray>();
  let at = 0;
  const take = (name: string, shape: number[], rowsOfHead?: number) => {
    const size = shape.reduce((product, side) => product * side, 1);
    const data = numbers.slice(at, at + size);
    at += size;
    tensors.set(name, { shape, dtype: "float32", data: rowsOfHead ? halvesApart(data, rowsOfHead, shape[1]) : data });
  };
  const forEachLayer = (name: string, shape: number[], rowsOfHead?: number) => {
    for (let layer = 0; layer < depth; layer++) take(`model.layers.${layer}.${name}.weight`, shape, rowsOfHead);
  };
  take("model.embed_tokens.weight", [vocabulary, width]);
  forEachLayer("input_layernorm", [width]);
  forEachLayer("self_attn.q_proj", [width, width], channels);
  forEachLayer("self_attn.k_proj", [keyHeads * channels, width], channels);
  forEachLayer("self_attn.v_proj", [keyHeads * channels, width]);
  forEachLayer("self_attn.o_proj", [width, width]);
  forEachLayer("post_attention_layernorm", [width]);
  forEachLayer("mlp.gate_proj", [mlpWidth, width]);
  forEachLayer("mlp.down_proj", [width, mlpWidth]);
  forEachLayer("mlp.up_proj", [mlpWidth, width]);
  take("model.norm.weight", [width]);
  return tensors; // behind it: two tables for rotary positions that nobody uses any more
}

/** llama2.c turns the channels 2i and 2i + 1 of a head together; Hugging Face and we i and i + half. */
function halvesApart(matrix: Float32Array, rowsOfHead: number, columns: number): Float32Array {
  const result = new Float32Array(matrix.length);
  const half = rowsOfHead / 2;
  for (let row = 0; row < matrix.length / columns; row++) {
    const inHead = row % rowsOfHead;
    const from = row - inHead + (inHead < half ? 2 * inHead : 2 * (inHead - half) + 1);
    result.set(matrix.subarray(from * columns, (from + 1) * columns), row * columns);
  }
  return result;
}
