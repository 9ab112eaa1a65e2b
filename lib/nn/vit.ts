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
import type { Random } from "../random.ts";
import { foldIn, tf, tidy } from "../tensor/mod.ts";
import type { AttentionResult } from "./attention.ts";
import { block, type BlockDescription, blockLayer, type BlockParameters } from "./block.ts";
import {
  type Description,
  initialise,
  type InitialiseRule,
  normal,
  parameter,
  truncatedNormal,
  zeros,
} from "./initialise.ts";
import {
  layerNorm,
  linear,
  type LinearDescription,
  linearLayer,
  type LinearParameters,
  type NormDescription,
  normLayer,
  type NormParameters,
} from "./layers.ts";
import { type TokenCount, vitMACs } from "./macs.ts";
import { countParameters, type LoadOptions, loadParameters } from "./parameters.ts";
import type { Place, Reducer } from "./reducer.ts";
import { applyMap, composeMaps, identityMap, positionsOf, type TokenMap } from "./token_map.ts";

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
  /**
   * Whether a distillation token stands behind the class token (DeiT), and whether it has a head of its own, whose logits
   * are averaged with the class token's. Default: false.
   */
  readonly distilled?: false | "one head" | "two heads";
  /** Added to variances; timm's ViTs have 1e-6, the default. */
  readonly normEpsilon?: number;
}

/** Options of one run of the model. */
export interface ViTOptions {
  /** Removes tokens between attention and MLP of each block, or before it. Default: none. */
  readonly reducer?: Reducer;
  /** Let a reducer that has a soft form for training use it instead of removing tokens. Default: false. */
  readonly training?: boolean;
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
  /** [batch, tokens]: how much each of them still counts; only where a reducer was trained in its soft form. */
  readonly policy?: tf.Tensor2D;
  /** What the reducer did in each block; undefined where it removed nothing. */
  readonly maps: readonly (TokenMap | undefined)[];
  /** [batch, heads, tokens, tokens] of each block. */
  readonly attention: readonly tf.Tensor4D[];
}

/** What goes from block to block. */
interface State {
  readonly x: tf.Tensor3D;
  readonly size: tf.Tensor2D;
  readonly positions: tf.Tensor2D | undefined;
  readonly policy: tf.Tensor2D | undefined;
}

/** Parameters of a Vision Transformer, under timm's names. */
export interface ViTParameters {
  /** [1, 1, width] */
  readonly cls_token: tf.Tensor3D;
  /** [1, 1, width]; only where the model is distilled. */
  readonly dist_token?: tf.Tensor3D | undefined;
  /** [1, special tokens + patches, width] */
  readonly pos_embed: tf.Tensor3D;
  /** A convolution whose stride is its size: weight [width, channels, patchSize, patchSize], bias [width]. */
  readonly patch_embed: { readonly proj: { readonly weight: tf.Tensor4D; readonly bias: tf.Tensor1D } };
  readonly blocks: readonly BlockParameters[];
  readonly norm: NormParameters;
  readonly head: LinearParameters;
  readonly head_dist?: LinearParameters | undefined;
}

/** Describes a Vision Transformer. */
export interface ViTDescription {
  readonly cls_token: Description<tf.Rank.R3>;
  readonly dist_token?: Description<tf.Rank.R3> | undefined;
  readonly pos_embed: Description<tf.Rank.R3>;
  readonly patch_embed: {
    readonly proj: { readonly weight: Description<tf.Rank.R4>; readonly bias: Description<tf.Rank.R1> };
  };
  readonly blocks: readonly BlockDescription[];
  readonly norm: NormDescription;
  readonly head: LinearDescription;
  readonly head_dist?: LinearDescription | undefined;
}

/**
 * Describes a Vision Transformer; starts as timm's: weights and positions from a truncated normal of 0.02, biases 0.
 *
 * @throws {RangeError} If patches do not tile the image, or heads do not divide the width.
 *
 * @example DeiT-S has 22 million parameters
 * ```ts
 * import assert from "node:assert/strict";
 * import { countParameters } from "tessera/nn/mod.ts";
 * const sizes = { imageSize: 224, patchSize: 16, channels: 3, width: 384, depth: 12, heads: 6, mlpWidth: 1536 };
 * assert.equal(countParameters(vitLayers({ ...sizes, classes: 1000 })), 22_050_664);
 * ```
 */
export function vitLayers(config: ViTConfig): ViTDescription {
  const { imageSize, patchSize, channels, width, depth, heads, mlpWidth, classes, distilled = false } = config;
  if (imageSize % patchSize !== 0) {
    throw new RangeError(
      `patches must tile the image, but ${imageSize} is not a multiple of ${patchSize}; change imageSize or patchSize`,
    );
  }
  if (width % heads !== 0) {
    throw new RangeError(`heads must divide the width, but ${width} / ${heads} is not whole; change heads`);
  }
  const patches = (imageSize / patchSize) ** 2;
  const from = truncatedNormal(0.02);
  const options = { weightFrom: from, biasFrom: zeros };
  const timm = (layer: LinearDescription): LinearDescription =>
    linearLayer(layer.weight.shape[1], layer.weight.shape[0], options);
  const blocks = Array.from({ length: depth }, () => {
    const { attn, mlp, ...norms } = blockLayer(width, mlpWidth);
    return {
      ...norms,
      attn: { qkv: timm(attn.qkv), proj: timm(attn.proj) },
      mlp: { fc1: timm(mlp.fc1), fc2: timm(mlp.fc2) },
    };
  });
  return {
    cls_token: parameter<tf.Rank.R3>([1, 1, width], normal(1e-6)),
    ...(distilled ? { dist_token: parameter<tf.Rank.R3>([1, 1, width], normal(1e-6)) } : {}),
    pos_embed: parameter<tf.Rank.R3>([1, patches + (distilled ? 2 : 1), width], from),
    patch_embed: {
      proj: {
        weight: parameter<tf.Rank.R4>([width, channels, patchSize, patchSize], from),
        bias: parameter<tf.Rank.R1>([width]),
      },
    },
    blocks,
    norm: normLayer(width),
    head: linearLayer(width, classes, options),
    ...(distilled === "two heads" ? { head_dist: linearLayer(width, classes, options) } : {}),
  };
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
  /** Its tensors under timm's names (`blocks.0.attn.qkv.weight`); variables, where it is to be trained. */
  readonly weights: ViTParameters;

  /** @param weights What {@link vitLayers} describes; the model keeps it. */
  constructor(config: ViTConfig, weights: ViTParameters) {
    this.config = config;
    const side = config.imageSize / config.patchSize;
    this.grid = [side, side];
    this.weights = weights;
  }

  /**
   * A new model with random weights, as timm starts them, or by another rule, see {@link initialise}.
   * `trainable(model.weights)` makes them variables.
   */
  static create(config: ViTConfig, random: Random, rule?: InitialiseRule): ViT {
    return new ViT(config, initialise(vitLayers(config), random, rule));
  }

  /** The trained vit-nano for digits ("mnist") or chest X-rays ("pneumonia"); see data/vit-nano/SOURCE.md. */
  static async load(name: VitNanoName): Promise<ViT> {
    const { config, tensors } = await vitNano.load(name);
    return ViT.fromArrays({ ...config, width: config.dim, mlpWidth: config.mlpDim }, tensors);
  }

  /**
   * A model from arrays under timm's names, as `readSafetensors` gives them, or under others with a name map.
   *
   * @throws {Error} Where a weight is missing, left over, or of another shape than `config` says.
   */
  static fromArrays(config: ViTConfig, arrays: ReadonlyMap<string, NumericArray>, options: LoadOptions = {}): ViT {
    return new ViT(config, loadParameters(vitLayers(config), arrays, options));
  }

  /** Number of trained numbers. */
  get parameters(): number {
    return countParameters(this.weights);
  }

  /**
   * Runs the model. Reads nothing back, so that it can be traced.
   *
   * @param images [batch, imageSize, imageSize, channels], preprocessed.
   */
  forward(images: tf.Tensor4D, { reducer, key, training = false }: ViTOptions = {}): ViTOutput {
    const { imageSize, channels, heads, normEpsilon = 1e-6 } = this.config;
    const [batch, height, width, colours] = images.shape;
    if (images.rank !== 4 || height !== imageSize || width !== imageSize || colours !== channels) {
      throw new RangeError(
        `images must be [batch, ${imageSize}, ${imageSize}, ${channels}], but they are [${images.shape}]; resize them`,
      );
    }
    return tidy(() => {
      let x = this.#embed(images);
      const ones = tf.ones<tf.Rank.R2>([batch, x.shape[1]]);
      let state: State = {
        x,
        size: ones,
        positions: reducer?.needs.includes("positions") ? positionsOf(identityMap(batch, x.shape[1])) : undefined,
        policy: training && reducer?.soften ? ones : undefined,
      };
      const maps: (TokenMap | undefined)[] = [];
      const attention: tf.Tensor4D[] = [];
      let seen: AttentionResult | undefined; // by a reducer before its block: the attention of the block before
      const reduce = (layer: number, before: State, looked?: AttentionResult): State & { map?: TokenMap } => {
        const place = this.#place(layer, before.x.shape[1]);
        if (!reducer || reducer.plan(place).achieved === 0) return before;
        const { x, size, positions, policy } = before;
        const extra = { ...(positions ? { positions } : {}), ...(key ? { key: foldIn(key, layer) } : {}) };
        const view = { ...looked, ...place, ...extra, x, size };
        if (policy) return { ...before, policy: reducer.soften!(view, policy) };
        const map = reducer.reduce(view);
        return { ...applyMap(map, x, size), positions: positions && positionsOf(map, positions), policy, map };
      };
      const early = reducer?.hook === "beforeBlock";
      for (const [layer, parameters] of this.weights.blocks.entries()) {
        const arrived = early ? reduce(layer, state, seen) : state;
        const { x: after, looked, changed } = block(arrived.x, parameters, {
          heads,
          epsilon: normEpsilon,
          size: reducer?.proportionalAttention ? arrived.size : undefined,
          mask: reducer?.leavesEmpty ? tf.greater(arrived.size, 0) : undefined,
          policy: arrived.policy,
          between: early || !reducer ? undefined : (x, looked) => reduce(layer, { ...arrived, x }, looked),
        });
        const { map, size, positions, policy }: State & { map?: TokenMap } = changed ?? arrived;
        state = { x: after, size, positions, policy };
        maps.push(map);
        attention.push(looked.attention);
        seen = looked;
      }
      const { size, policy } = state;
      x = state.x;
      const normalised = layerNorm(x, this.weights.norm, normEpsilon);
      const token = (index: number) => normalised.slice([0, index, 0], [-1, 1, -1]).squeeze<tf.Tensor2D>([1]);
      const features = token(0);
      const { head, head_dist } = this.weights;
      let logits = linear(features, head);
      if (head_dist) logits = logits.add<tf.Tensor2D>(linear(token(1), head_dist)).div(2); // DeiT's mean of both heads
      return { logits, features, tokens: x, size, maps, attention, ...(policy ? { policy } : {}) };
    });
  }

  /** Tokens that enter and leave each block under `reducer`, special tokens included; counted without running. */
  tokenCounts(reducer?: Reducer): TokenCount[] {
    const counts: TokenCount[] = [];
    let tokens = this.#initialTokens;
    for (let layer = 0; layer < this.config.depth; layer++) {
      const left = tokens - (reducer?.plan(this.#place(layer, tokens)).achieved ?? 0);
      counts.push({ in: reducer?.hook === "beforeBlock" ? left : tokens, out: left });
      tokens = left;
    }
    return counts;
  }

  /** Multiply-accumulates of one image under `reducer`; see `vitMACs`. */
  macs(reducer?: Reducer): number {
    const { width, depth, mlpWidth, classes, patchSize, channels } = this.config;
    const shape = { width, depth, mlpWidth, classes: classes * (this.weights.head_dist ? 2 : 1) };
    const patches = this.grid[0] * this.grid[1];
    return vitMACs({ ...shape, patches, patchValues: patchSize ** 2 * channels }, this.tokenCounts(reducer));
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
    tf.dispose(this.weights as unknown as tf.TensorContainer);
  }

  get #initialTokens(): number {
    return this.grid[0] * this.grid[1] + this.#specialTokens;
  }

  /** The class token, and DeiT's distillation token. */
  get #specialTokens(): number {
    return this.weights.dist_token ? 2 : 1;
  }

  #place(layer: number, tokens: number): Place {
    const initialTokens = this.#initialTokens;
    return {
      layer,
      layers: this.config.depth,
      tokens,
      initialTokens,
      specialTokens: this.#specialTokens,
      grid: this.grid,
    };
  }

  #embed(images: tf.Tensor4D): tf.Tensor3D {
    const { patchSize: p, channels, width } = this.config;
    const [rows, columns] = this.grid;
    const batch = images.shape[0];
    // each patch as a row of numbers in the order of the convolution's weight: colour, row, column
    const patches = images.reshape([batch, rows, p, columns, p, channels]).transpose([0, 1, 3, 5, 2, 4])
      .reshape<tf.Tensor3D>([batch, rows * columns, channels * p * p]);
    const { cls_token, dist_token, pos_embed, patch_embed: { proj } } = this.weights;
    const kernel = proj.weight.reshape<tf.Tensor2D>([width, channels * p * p]);
    const embedded = linear(patches, { weight: kernel, bias: proj.bias });
    const special = (dist_token ? [cls_token, dist_token] : [cls_token]).map((token) => token.tile([batch, 1, 1]));
    return tf.add<tf.Tensor3D>(tf.concat([...special, embedded], 1), pos_embed);
  }
}
