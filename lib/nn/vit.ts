/**
 * The Vision Transformer (pre-norm, class token, learned positions), with a place for a token reducer between attention
 * and MLP of each block.
 *
 * Dosovitskiy et al., "An Image is Worth 16x16 Words", ICLR 2021, arXiv:2010.11929, section 3.1. Weights are named as in
 * timm's VisionTransformer. Where the reducer stands: Bolya et al., "Token Merging", ICLR 2023, section 3.
 * Checked against timm and the methods' authors (tests/golden/whole_models.json, `vit.forward`, `vit_*.forward`).
 *
 * @module
 */
import { type NumericArray, vitNano, type VitNanoName } from "../data/mod.ts";
import { foldIn, tf, tidy } from "../tensor/mod.ts";
import { type AttentionParameters, selfAttention } from "./attention.ts";
import { layerNorm, linear, type LinearParameters, mlp, type MLPParameters, type NormParameters } from "./layers.ts";
import { type TokenCount, vitMACs } from "./macs.ts";
import type { Place, Reducer } from "./reducer.ts";
import { applyMap, composeMaps, identityMap, type TokenMap } from "./token_map.ts";

/** The sizes of a Vision Transformer. */
export interface ViTConfig {
  /** Side of the square image, in pixels. */
  readonly imageSize: number;
  /** Side of a square patch, in pixels. */
  readonly patchSize: number;
  /** Colours of the image. */
  readonly channels: number;
  readonly width: number;
  readonly depth: number;
  readonly heads: number;
  readonly mlpWidth: number;
  readonly classes: number;
  /** Added to variances; timm's ViTs have 1e-6, the default. */
  readonly normEpsilon?: number;
}

/** Options of one run of the model. */
export interface ViTOptions {
  /** Removes tokens between attention and MLP of each block. Default: none. */
  readonly reducer?: Reducer;
  /** Key of the random numbers that a reducer may ask for, see `randomKey`. */
  readonly key?: tf.Tensor1D;
}

/** What comes out of the model. */
export interface ViTOutput {
  /** [batch, classes] */
  readonly logits: tf.Tensor2D;
  /** [batch, width], the class token after the last norm. */
  readonly features: tf.Tensor2D;
  /** [batch, tokens, width], output of the last block, before the last norm. */
  readonly tokens: tf.Tensor3D;
  /** [batch, tokens]: how many original tokens each of them stands for. */
  readonly size: tf.Tensor2D;
  /** What the reducer did in each block; undefined where it removed nothing. */
  readonly maps: readonly (TokenMap | undefined)[];
  /** [batch, heads, tokens, tokens] of each block. */
  readonly attention: readonly tf.Tensor4D[];
}

interface Block {
  readonly norm1: NormParameters;
  readonly attention: AttentionParameters;
  readonly norm2: NormParameters;
  readonly mlp: MLPParameters;
}

/**
 * A Vision Transformer with its weights.
 *
 * @example The class token's logits of one blank image
 * ```ts
 * import assert from "node:assert/strict";
 * import { tf } from "tessera/tensor/mod.ts";
 * const model = await ViT.load("mnist");
 * const { logits } = model.forward(tf.zeros<tf.Rank.R4>([1, 28, 28, 1]));
 * assert.deepEqual(logits.shape, [1, 10]);
 * ```
 */
export class ViT {
  readonly config: ViTConfig;
  /** Rows and columns of patches. */
  readonly grid: readonly [number, number];
  readonly #weights: ReadonlyMap<string, tf.Tensor>;
  readonly #blocks: readonly Block[];

  /**
   * @param weights Tensors under timm's names (`cls_token`, `blocks.0.attn.qkv.weight`, ...); the model keeps them.
   * @throws {Error} Where a weight is missing or of another shape than `config` says.
   */
  constructor(config: ViTConfig, weights: ReadonlyMap<string, tf.Tensor>) {
    const { imageSize, patchSize, channels, width, depth, heads, mlpWidth, classes } = config;
    if (imageSize % patchSize !== 0) {
      throw new RangeError(
        `patches must tile the image, but ${imageSize} is not a multiple of ${patchSize}; change imageSize or patchSize`,
      );
    }
    if (width % heads !== 0) {
      throw new RangeError(`heads must divide the width, but ${width} / ${heads} is not whole; change heads`);
    }
    this.config = config;
    const side = imageSize / patchSize;
    this.grid = [side, side];
    this.#weights = weights;

    const get = <T extends tf.Tensor>(name: string, shape: number[]): T => {
      const weight = weights.get(name);
      if (!weight) throw new Error(`weight ${name} is missing among ${weights.size}; load a ViT under timm's names`);
      if (weight.shape.join() !== shape.join()) {
        throw new RangeError(
          `weight ${name} must have shape [${shape}], but it has [${weight.shape}]; make the configuration agree with it`,
        );
      }
      return weight as T;
    };
    const norm = (name: string): NormParameters => ({
      weight: get(`${name}.weight`, [width]),
      bias: get(`${name}.bias`, [width]),
    });
    const dense = (name: string, inputs: number, outputs: number): LinearParameters => ({
      weight: get(`${name}.weight`, [outputs, inputs]),
      bias: get(`${name}.bias`, [outputs]),
    });
    get("cls_token", [1, 1, width]);
    get("pos_embed", [1, side * side + 1, width]);
    get("patch_embed.proj.weight", [width, channels, patchSize, patchSize]);
    get("patch_embed.proj.bias", [width]);
    norm("norm");
    dense("head", width, classes);
    this.#blocks = Array.from({ length: depth }, (_, l) => ({
      norm1: norm(`blocks.${l}.norm1`),
      attention: {
        qkv: dense(`blocks.${l}.attn.qkv`, width, 3 * width),
        proj: dense(`blocks.${l}.attn.proj`, width, width),
      },
      norm2: norm(`blocks.${l}.norm2`),
      mlp: { fc1: dense(`blocks.${l}.mlp.fc1`, width, mlpWidth), fc2: dense(`blocks.${l}.mlp.fc2`, mlpWidth, width) },
    }));
  }

  /** The trained vit-nano for digits ("mnist") or chest X-rays ("pneumonia"); see data/vit-nano/SOURCE.md. */
  static async load(name: VitNanoName): Promise<ViT> {
    const { config, tensors } = await vitNano.load(name);
    return ViT.fromArrays({ ...config, width: config.dim, mlpWidth: config.mlpDim }, tensors);
  }

  /** A model from arrays under timm's names, as `readSafetensors` gives them. */
  static fromArrays(config: ViTConfig, arrays: ReadonlyMap<string, NumericArray>): ViT {
    const weights = new Map<string, tf.Tensor>();
    for (const [name, { shape, dtype, data }] of arrays) {
      if (!(data instanceof Float32Array)) {
        throw new TypeError(`weight ${name} must be float32, float16 or bfloat16, but it is ${dtype}; convert it`);
      }
      weights.set(name, tf.tensor(data, shape, "float32"));
    }
    return new ViT(config, weights);
  }

  /** Number of trained numbers. */
  get parameters(): number {
    return [...this.#weights.values()].reduce((sum, weight) => sum + weight.size, 0);
  }

  /**
   * Runs the model. Reads nothing back, so that it can be traced.
   *
   * @param images [batch, imageSize, imageSize, channels], preprocessed.
   */
  forward(images: tf.Tensor4D, { reducer, key }: ViTOptions = {}): ViTOutput {
    const { imageSize, channels, heads, normEpsilon = 1e-6 } = this.config;
    const [batch, height, width, colours] = images.shape;
    if (images.rank !== 4 || height !== imageSize || width !== imageSize || colours !== channels) {
      throw new RangeError(
        `images must be [batch, ${imageSize}, ${imageSize}, ${channels}], but they are [${images.shape}]; resize them`,
      );
    }
    return tidy(() => {
      let x = this.#embed(images);
      let size = tf.ones<tf.Rank.R2>([batch, x.shape[1]]);
      const maps: (TokenMap | undefined)[] = [];
      const attention: tf.Tensor4D[] = [];
      for (const [layer, block] of this.#blocks.entries()) {
        const looked = selfAttention(
          layerNorm(x, block.norm1, normEpsilon),
          block.attention,
          heads,
          reducer?.proportionalAttention ? size : undefined,
        );
        attention.push(looked.attention);
        x = tf.add<tf.Tensor3D>(x, looked.x);
        let map: TokenMap | undefined;
        const place = this.#place(layer, x.shape[1]);
        if (reducer && reducer.plan(place).removed > 0) {
          const { keys, attention } = looked;
          map = reducer.reduce({ ...place, x, keys, attention, size, ...(key ? { key: foldIn(key, layer) } : {}) });
          ({ x, size } = applyMap(map, x, size));
        }
        maps.push(map);
        x = tf.add<tf.Tensor3D>(x, mlp(layerNorm(x, block.norm2, normEpsilon), block.mlp));
      }
      const normalised = layerNorm(x, this.#norm("norm"), normEpsilon);
      const first = normalised.slice([0, 0, 0], [-1, 1, -1]) as tf.Tensor3D;
      const head = { weight: this.#weights.get("head.weight") as tf.Tensor2D, bias: this.#bias("head") };
      const logits = linear(first, head).squeeze<tf.Tensor2D>([1]);
      return { logits, features: first.squeeze<tf.Tensor2D>([1]), tokens: x, size, maps, attention };
    });
  }

  /** Tokens that enter and leave each block under `reducer`, special tokens included; counted without running. */
  tokenCounts(reducer?: Reducer): TokenCount[] {
    const counts: TokenCount[] = [];
    let tokens = this.#initialTokens;
    for (let layer = 0; layer < this.config.depth; layer++) {
      const removed = reducer?.plan(this.#place(layer, tokens)).removed ?? 0;
      counts.push({ in: tokens, out: tokens - removed });
      tokens -= removed;
    }
    return counts;
  }

  /** Multiply-accumulates of one image under `reducer`; see `vitMACs`. */
  macs(reducer?: Reducer): number {
    const { width, depth, mlpWidth, classes, patchSize, channels } = this.config;
    const shape = { width, depth, mlpWidth, classes, patches: this.#initialTokens - 1 };
    return vitMACs({ ...shape, patchValues: patchSize ** 2 * channels }, this.tokenCounts(reducer));
  }

  /** The whole way of each original token, as one map over the model's depth. */
  composed(output: ViTOutput): TokenMap {
    return tidy(() => {
      const start: TokenMap = identityMap(output.logits.shape[0], this.#initialTokens);
      return output.maps.reduce<TokenMap>((sofar, map) => map ? composeMaps(sofar, map) : sofar, start);
    });
  }

  /** Frees the weights. */
  dispose(): void {
    for (const weight of this.#weights.values()) weight.dispose();
  }

  get #initialTokens(): number {
    return this.grid[0] * this.grid[1] + 1;
  }

  #place(layer: number, tokens: number): Place {
    const initialTokens = this.#initialTokens;
    return { layer, layers: this.config.depth, tokens, initialTokens, specialTokens: 1, grid: this.grid };
  }

  #embed(images: tf.Tensor4D): tf.Tensor3D {
    const { patchSize: p, channels, width } = this.config;
    const [rows, columns] = this.grid;
    const batch = images.shape[0];
    // each patch as a row of numbers in the order of the convolution's weight: colour, row, column
    const patches = images.reshape([batch, rows, p, columns, p, channels]).transpose([0, 1, 3, 5, 2, 4])
      .reshape<tf.Tensor3D>([batch, rows * columns, channels * p * p]);
    const kernel = this.#weights.get("patch_embed.proj.weight")!.reshape<tf.Tensor2D>([width, channels * p * p]);
    const embedded = linear(patches, { weight: kernel, bias: this.#bias("patch_embed.proj") });
    const classToken = this.#weights.get("cls_token")!.tile([batch, 1, 1]) as tf.Tensor3D;
    return tf.add<tf.Tensor3D>(tf.concat([classToken, embedded], 1), this.#weights.get("pos_embed")!);
  }

  #bias(name: string): tf.Tensor1D {
    return this.#weights.get(`${name}.bias`) as tf.Tensor1D;
  }

  #norm(name: string): NormParameters {
    return { weight: this.#weights.get(`${name}.weight`) as tf.Tensor1D, bias: this.#bias(name) };
  }
}
