/**
 * TinyVLM: a vision-language model small enough to look into, laid out as LLaVA is.
 *
 * Liu et al., "Visual Instruction Tuning", NeurIPS 2023, arXiv:2304.08485, section 4.1: image tokens come through a linear
 * projector, stand first, and text tokens follow in one causal decoder. The decoder is pre-norm with rotary positions
 * (Touvron et al., "LLaMA", 2023, arXiv:2302.13971, section 2.2) and a GELU MLP, so that a block costs
 * `4nd² + 2n²d + 2ndm`, as papers on token reduction count.
 *
 * Beside it stands what LLaVA takes from CLIP: attention pooling (Radford et al., "Learning Transferable Visual Models
 * From Natural Language Supervision", ICML 2021, arXiv:2103.00020, section 2.4), trained so that the pooled image agrees
 * with the words that it shows (the sigmoid loss of Zhai et al., ICCV 2023, arXiv:2303.15343). Its query is the class
 * token of methods that look at class attention; its embeddings of patches and words are those that TRIM and CDPruner
 * compare. A patch's own embedding is what the pooling would give if it looked at that patch alone (Zhou et al., "Extract
 * Free Dense Labels from CLIP", ECCV 2022, arXiv:2112.01071).
 *
 * @module
 */
import { type NumericArray, tinyVLM } from "tessera/data/mod.ts";
import {
  applyMap,
  type BlockView,
  composeMaps,
  constant,
  countParameters,
  type Described,
  embedding,
  embeddingLayer,
  identityMap,
  initialise,
  linear,
  linearLayer,
  loadParameters,
  mlp,
  mlpLayer,
  normal,
  ones,
  parameter,
  type Place,
  positionsOf,
  type Reducer,
  rmsNorm,
  rotary,
  type TextView,
  type TokenMap,
  trainable,
} from "tessera/nn/mod.ts";
import { random } from "tessera/random.ts";
import { padded } from "tessera/reduction/mod.ts";
import { foldIn, tf, tidy } from "tessera/tensor/mod.ts";

/** The sizes of a TinyVLM. */
export interface TinyVLMConfig {
  /** Rows and columns of image tokens. */
  readonly grid: readonly [number, number];
  /** Numbers in a cell of the image. */
  readonly channels: number;
  /** Words that it reads and answers with. */
  readonly words: number;
  readonly width: number;
  readonly depth: number;
  readonly heads: number;
  readonly mlpWidth: number;
  /** Channels and heads of the attention pooling beside the decoder. */
  readonly towerWidth: number;
  readonly towerHeads: number;
}

/** The model that data/tiny-vlm holds. */
export const tinyVLMConfig: TinyVLMConfig = {
  grid: [8, 8],
  channels: 16,
  words: 18,
  width: 64,
  depth: 4,
  heads: 4,
  mlpWidth: 256,
  towerWidth: 32,
  towerHeads: 4,
};

/** Describes the parameters of a TinyVLM. */
// deno-lint-ignore explicit-function-return-type
export function tinyVLMLayers(config: TinyVLMConfig) {
  const { channels, words, width, depth, mlpWidth, towerWidth, towerHeads } = config;
  const norm = { weight: parameter<tf.Rank.R1>([width], ones) };
  const plain = (inputs: number, outputs: number) =>
    linearLayer(inputs, outputs, { bias: false, weightFrom: normal(inputs ** -0.5) });
  return {
    projector: linearLayer(channels, width),
    embed: embeddingLayer(words, width, normal(0.02)),
    blocks: Array.from({ length: depth }, () => ({
      norm1: norm,
      attn: { qkv: plain(width, 3 * width), proj: plain(width, width) },
      norm2: norm,
      mlp: mlpLayer(width, mlpWidth),
    })),
    norm,
    head: plain(width, words),
    tower: {
      query: parameter<tf.Rank.R2>([towerHeads, towerWidth / towerHeads], normal()),
      key: plain(channels, towerWidth),
      value: plain(channels, towerWidth),
      proj: plain(towerWidth, towerWidth),
      words: embeddingLayer(words, towerWidth, normal(towerWidth ** -0.5)),
      scale: parameter<tf.Rank.R1>([1], constant(Math.log(10))), // SigLIP's start
      bias: parameter<tf.Rank.R1>([1]),
    },
  };
}

/** Parameters of a TinyVLM: tensors, or variables where it is to be trained. */
export type TinyVLMParameters = Described<ReturnType<typeof tinyVLMLayers>>;

/** Options of one run. */
export interface TinyVLMOptions {
  /** Removes image tokens before blocks of the decoder; needs one question per image. Default: none. */
  readonly reducer?: Reducer;
  /** Key of the random numbers that a reducer may ask for, see `randomKey`. */
  readonly key?: tf.Tensor1D;
  /**
   * For each image how many of its cells are there, from 1, where images are of different sizes: the others, behind them,
   * are padding, which nothing looks at, and a reducer gives each image a budget of its own. Default: all of them.
   */
  readonly real?: readonly number[];
  /** Whether tokens that stay keep their place ("original", the default) or are counted anew ("reindex"). */
  readonly positions?: "original" | "reindex";
  /** Whether to give the image tokens as they are after each block. Default: false. */
  readonly states?: boolean;
}

/** What comes out. */
export interface TinyVLMOutput {
  /** [batch, questions, words]: the answer after each question. */
  readonly logits: tf.Tensor3D;
  /** What the reducer did before each block, in image tokens; undefined where it removed nothing. */
  readonly maps: readonly (TokenMap | undefined)[];
  /** [batch, image tokens] after the last reduction: how many original tokens each stands for; 0 where it is padding. */
  readonly size: tf.Tensor2D;
  /** [batch, image tokens] after the last reduction: where each stands, in cells; between cells where it was merged. */
  readonly positions: tf.Tensor2D;
  /** [batch, heads, tokens, tokens] of each block, image tokens first. */
  readonly attention: readonly tf.Tensor4D[];
  /** [batch, image tokens, width] after each block, where it was asked for. */
  readonly states: readonly tf.Tensor3D[];
}

/** What the attention pooling sees. */
export interface TowerOutput {
  /** [batch, heads, cells]: how much its query looks at each cell. */
  readonly classAttention: tf.Tensor3D;
  /** [batch, heads, cells, channels / heads] */
  readonly keys: tf.Tensor4D;
  /** [batch, cells, shared channels] */
  readonly patchEmbeddings: tf.Tensor3D;
  /** [batch, shared channels] */
  readonly imageEmbedding: tf.Tensor2D;
}

/** A TinyVLM with its weights; see `TinyVLM.load`. */
export class TinyVLM {
  /** @throws {RangeError} Where heads do not divide the widths. */
  constructor(readonly parameters: TinyVLMParameters, readonly config: TinyVLMConfig = tinyVLMConfig) {
    const { width, heads, towerWidth, towerHeads } = config;
    if (width % (2 * heads) !== 0 || towerWidth % towerHeads !== 0) {
      throw new RangeError(
        `heads must divide the width into even parts, but the widths are ${width} / ${heads} and ` +
          `${towerWidth} / ${towerHeads}; change heads`,
      );
    }
  }

  /** The trained model of data/tiny-vlm. */
  static async load(): Promise<TinyVLM> {
    return TinyVLM.fromArrays((await tinyVLM.load()).tensors);
  }

  /** A model from arrays under its own names, as `readSafetensors` gives them. */
  static fromArrays(arrays: ReadonlyMap<string, NumericArray>, config: TinyVLMConfig = tinyVLMConfig): TinyVLM {
    return new TinyVLM(loadParameters(tinyVLMLayers(config), arrays), config);
  }

  /** A model to be trained, from a seed. */
  static initial(seed: number, config: TinyVLMConfig = tinyVLMConfig): TinyVLM {
    return new TinyVLM(trainable(initialise(tinyVLMLayers(config), random(seed, "tiny-vlm"))), config);
  }

  /** Number of trained numbers. */
  get size(): number {
    return countParameters(this.parameters);
  }

  /**
   * Answers questions about images. Reads nothing back, so that it can be traced.
   *
   * @param features [batch, cells, channels]
   * @param text int32 [batch, questions, words of a question]. Questions of an image see the image and themselves, each at
   *   the positions right behind the image, so that eight questions cost one image.
   * @throws {RangeError} Where shapes do not fit, or a reducer meets several questions at once.
   * @throws {BatchBudgetMismatch} Where a reducer cannot do with images of different sizes.
   */
  forward(features: tf.Tensor3D, text: tf.Tensor3D, options: TinyVLMOptions = {}): TinyVLMOutput {
    const { key, positions: numbering = "original", real, states: asksStates = false } = options;
    const reducer = options.reducer && real ? padded(options.reducer) : options.reducer;
    const { width, channels } = this.config;
    const [batch, cells] = features.shape;
    const [texts, questions, length] = text.shape;
    if (cells !== this.#cells || features.shape[2] !== channels || text.rank !== 3 || texts !== batch) {
      throw new RangeError(
        `features must be [batch, ${this.#cells}, ${channels}] and text [batch, questions, words], but they are ` +
          `[${features.shape}] and [${text.shape}]; reshape them`,
      );
    }
    if (reducer && questions !== 1) {
      throw new RangeError(
        `a reducer sees one question at a time, but each image has ${questions}; repeat the image for each of them`,
      );
    }
    if (
      real && (real.length !== batch || real.some((count) => !Number.isInteger(count) || count < 1 || count > cells))
    ) {
      throw new RangeError(
        `real must be a number of cells from 1 to ${cells} for each of ${batch} images, but it is ${real}; correct it`,
      );
    }
    const words = questions * length;
    return tidy(() => {
      const there = real && thereOf(real, cells);
      let image: tf.Tensor3D = linear(features, this.parameters.projector);
      let written = embedding(text.reshape([batch, words]), this.parameters.embed) as tf.Tensor3D;
      let size = there ?? tf.ones<tf.Rank.R2>([batch, cells]);
      let positions = counting(batch, 0, cells);
      const behind = tf.range(0, length, 1, "float32").tile([questions]).add(cells);
      const maps: (TokenMap | undefined)[] = [];
      const attention: tf.Tensor4D[] = [], states: tf.Tensor3D[] = [];
      let before: Looked | undefined;

      for (const [layer, { norm2, mlp: feedForward, attn }] of this.parameters.blocks.entries()) {
        const look = (): Looked => {
          const images = image.shape[1];
          const places = numbering === "original"
            ? tf.concat([positions, behind.expandDims<tf.Tensor2D>(0).tile<tf.Tensor2D>([batch, 1])], 1)
            : counting(batch, 0, images + words);
          const counted = reducer || real ? { size, proportional: reducer?.proportionalAttention } : {};
          return this.#look(layer, tf.concat([image, written], 1), places, { images, length, ...counted });
        };
        let map: TokenMap | undefined;
        const place = this.place(layer, image.shape[1]);
        if (reducer && reducer.plan(place).achieved > 0) {
          const evidence = this.#evidence(features, text, image, written, before, look, there);
          const given = { x: image, size, positions, ...(real && { realAtStart: real }) };
          map = reducer.reduce(Object.assign(evidence, place, given, key ? { key: foldIn(key, layer) } : {}));
          positions = positionsOf(map, positions);
          ({ x: image, size } = applyMap(map, image, size));
        }
        maps.push(map);
        before = look();
        attention.push(before.attention);
        const x = tf.concat([image, written], 1);
        const mixed = tf.matMul(before.attention, before.values).transpose([0, 2, 1, 3]).reshape<tf.Tensor3D>(x.shape);
        const attended = tf.add<tf.Tensor3D>(x, linear(mixed, attn.proj));
        const out = tf.add<tf.Tensor3D>(attended, mlp(rmsNorm(attended, norm2), feedForward));
        const images = image.shape[1];
        image = out.slice([0, 0, 0], [-1, images, -1]) as tf.Tensor3D;
        written = out.slice([0, images, 0], [-1, words, -1]) as tf.Tensor3D;
        if (asksStates) states.push(image);
      }
      const last = written.reshape([batch, questions, length, width])
        .slice([0, 0, length - 1, 0], [-1, -1, 1, -1]).reshape<tf.Tensor3D>([batch, questions, width]);
      const logits = linear(rmsNorm(last, this.parameters.norm), this.parameters.head);
      return { logits, maps, size, positions, attention, states };
    });
  }

  /**
   * The attention pooling over the cells of an image.
   *
   * @param features [batch, cells, channels]
   * @param there [batch, cells]: 0 where a cell is padding. Default: none is.
   */
  tower(features: tf.Tensor3D, there?: tf.Tensor2D): TowerOutput {
    const { towerWidth, towerHeads } = this.config;
    const { query, key, value, proj } = this.parameters.tower;
    const perHead = towerWidth / towerHeads;
    const [batch, cells] = features.shape;
    return tidy(() => {
      const split = (x: tf.Tensor3D) =>
        x.reshape([batch, cells, towerHeads, perHead]).transpose<tf.Tensor4D>([0, 2, 1, 3]);
      const values = linear(features, value), keys = split(linear(features, key));
      const logits = tf.mul(keys, query.reshape([1, towerHeads, 1, perHead])).sum<tf.Tensor3D>(3);
      const scaled = logits.mul<tf.Tensor3D>(perHead ** -0.5);
      const ofReal = there ? tf.sub(1, there).mul(NEVER).expandDims(1).add<tf.Tensor3D>(scaled) : scaled;
      const classAttention = tf.softmax(ofReal, 2);
      const pooled = tf.matMul(classAttention.expandDims<tf.Tensor4D>(2), split(values)); // [batch, heads, 1, perHead]
      return {
        classAttention,
        keys,
        patchEmbeddings: linear(values, proj),
        imageEmbedding: linear(pooled.reshape<tf.Tensor2D>([batch, towerWidth]), proj),
      };
    });
  }

  /**
   * How well each image agrees with each word, as logits: scaled cosines of their embeddings.
   *
   * @param features [batch, cells, channels]
   * @returns [batch, words]
   */
  agreement(features: tf.Tensor3D): tf.Tensor2D {
    const { words, scale, bias } = this.parameters.tower;
    return tidy(() => {
      const cosine = tf.matMul(unit(this.tower(features).imageEmbedding), unit(words.weight), false, true);
      return cosine.mul(scale.exp()).add<tf.Tensor2D>(bias);
    });
  }

  /** Image tokens in each block under `reducer`, counted without running. */
  tokenCounts(reducer?: Reducer): number[] {
    const counts: number[] = [];
    let tokens = this.#cells;
    for (let layer = 0; layer < this.config.depth; layer++) {
      tokens -= reducer?.plan(this.place(layer, tokens)).achieved ?? 0;
      counts.push(tokens);
    }
    return counts;
  }

  /** Multiply-accumulates of one image with one question of `length` words under `reducer`, which itself is not counted. */
  macs(reducer?: Reducer, length = 3): number {
    const { width, mlpWidth, channels, words } = this.config;
    return this.tokenCounts(reducer).reduce((sum, images) => {
      const n = images + length;
      return sum + 4 * n * width ** 2 + 2 * n ** 2 * width + 2 * n * width * mlpWidth;
    }, this.#cells * channels * width + width * words);
  }

  /** The whole way of each image token, as one map over the model's depth. */
  composed(output: TinyVLMOutput): TokenMap {
    return tidy(() => {
      const start: TokenMap = identityMap(output.logits.shape[0], this.#cells);
      return output.maps.reduce<TokenMap>((sofar, map) => map ? composeMaps(sofar, map) : sofar, start);
    });
  }

  /** Where a reducer stands before block `layer`, with `tokens` image tokens left. */
  place(layer: number, tokens: number): Place {
    const { depth: layers, grid } = this.config;
    return { layer, layers, tokens, initialTokens: this.#cells, specialTokens: 0, grid };
  }

  get #cells(): number {
    return this.config.grid[0] * this.config.grid[1];
  }

  /** Queries, keys, values and attention of a block over the whole sequence, image tokens first. */
  #look(layer: number, x: tf.Tensor3D, positions: tf.Tensor2D, sequence: Sequence): Looked {
    const { width, heads } = this.config;
    const { norm1, attn } = this.parameters.blocks[layer];
    const [batch, tokens] = x.shape;
    const perHead = width / heads;
    const projected = linear(rmsNorm(x, norm1), attn.qkv).reshape([batch, tokens, 3, heads, perHead]);
    const [q, k, values] = tf.unstack(projected.transpose([2, 0, 3, 1, 4]), 0) as [
      tf.Tensor4D,
      tf.Tensor4D,
      tf.Tensor4D,
    ];
    const queries = rotary(q, positions), keys = rotary(k, positions);
    const logits = tf.matMul(queries, keys, false, true).mul<tf.Tensor4D>(perHead ** -0.5);
    const attention = tf.softmax(tf.add<tf.Tensor4D>(logits, bias(batch, tokens, sequence)), 3);
    return { queries, keys, values, attention };
  }

  /** What a reducer before a block may look at: the block before, and the vision tower while all tokens are there. */
  #evidence(
    features: tf.Tensor3D,
    text: tf.Tensor3D,
    image: tf.Tensor3D,
    written: tf.Tensor3D,
    before: Looked | undefined,
    look: () => Looked,
    there?: tf.Tensor2D,
  ): Evidence {
    const images = image.shape[1], words = written.shape[1];
    const ofImage = (all: tf.Tensor4D) => all.slice([0, 0, 0, 0], [-1, -1, images, -1]) as tf.Tensor4D;
    const ofText = (all: tf.Tensor4D) => all.slice([0, 0, images, 0], [-1, -1, words, -1]) as tf.Tensor4D;
    const toImage = (all: tf.Tensor4D) => all.slice([0, 0, 0, 0], [-1, -1, -1, images]) as tf.Tensor4D;
    const textView: TextView = {
      x: written,
      ...(before && {
        queries: ofText(before.queries),
        keys: ofText(before.keys),
        attention: toImage(ofText(before.attention)),
      }),
      get attentionAhead() {
        return toImage(ofText(look().attention));
      },
      finalNorm: (x) => rmsNorm(x, this.parameters.norm),
    };
    const ofDecoder = before && {
      queries: ofImage(before.queries),
      keys: ofImage(before.keys),
      values: ofImage(before.values),
      attention: toImage(ofImage(before.attention)),
    };
    if (images !== this.#cells) return { text: textView, ...ofDecoder };
    const { imageEmbedding: _, ...seen } = this.tower(features, there);
    // a question's text in the shared space is the word that it is about
    const about = text.slice([0, 0, 1], [-1, -1, 1]).squeeze<tf.Tensor2D>([2]);
    const textEmbeddings = embedding(about, this.parameters.tower.words) as tf.Tensor3D;
    return { text: textView, keys: seen.keys, ...ofDecoder, vision: { ...seen, textEmbeddings } };
  }
}

/** A block's queries, keys and values [batch, heads, tokens, channels / heads] and attention [batch, heads, tokens, tokens]. */
interface Looked {
  readonly queries: tf.Tensor4D;
  readonly keys: tf.Tensor4D;
  readonly values: tf.Tensor4D;
  readonly attention: tf.Tensor4D;
}

/** How a sequence is made up: image tokens, then questions of `length` words. */
interface Sequence {
  readonly images: number;
  readonly length: number;
  /** [batch, images]; tokens of size 0 are padding, which nothing looks at. */
  readonly size?: tf.Tensor2D;
  /** Whether a token counts as often as its size says. */
  readonly proportional?: boolean;
}

type Evidence = Omit<BlockView, keyof Place | "x" | "size" | "positions" | "key">;

/** What is added to logits where nobody may look. */
const NEVER = -1e9;

/** [batch or 1, 1, tokens, tokens]: 0 for what came before in the image and the same question, log sizes, NEVER. */
function bias(batch: number, tokens: number, { images, length, size, proportional }: Sequence): tf.Tensor {
  const index = tf.range(0, tokens, 1, "float32");
  const question = tf.floor(tf.div(tf.sub(index, images), length)); // negative in the image
  const row = (x: tf.Tensor) => x.expandDims(1), column = (x: tf.Tensor) => x.expandDims(0);
  const earlier = tf.lessEqual(column(index), row(index));
  const shared = tf.logicalOr(tf.less(column(index), tf.scalar(images)), tf.equal(column(question), row(question)));
  const allowed = tf.logicalAnd(earlier, shared).cast("float32").reshape([1, 1, tokens, tokens]);
  const order = tf.sub(1, allowed).mul(NEVER);
  if (!size || images === 0) return order;
  const there = tf.greater(size, tf.scalar(0)).cast("float32");
  const ofImage = proportional ? tf.log(tf.maximum(size, 1e-30)).mul(there) : tf.zerosLike(size);
  const counted = tf.concat([ofImage.add(tf.sub(1, there).mul(NEVER)), tf.zeros([batch, tokens - images])], 1);
  return order.add(counted.reshape([batch, 1, 1, tokens]));
}

/** 1 for the first `real[i]` cells of image i, 0 behind them: [batch, cells]. */
function thereOf(real: readonly number[], cells: number): tf.Tensor2D {
  return tf.tensor2d(real.map((count) => Array.from({ length: cells }, (_, cell) => Number(cell < count))));
}

/** first, first + 1, ... in each row: [batch, count - first]. */
function counting(batch: number, first: number, count: number): tf.Tensor2D {
  return tf.range(first, count, 1, "float32").expandDims<tf.Tensor2D>(0).tile([batch, 1]);
}

function unit(x: tf.Tensor2D): tf.Tensor2D {
  return tf.div<tf.Tensor2D>(x, tf.sqrt(x.square().sum(1, true).add(1e-12)));
}
