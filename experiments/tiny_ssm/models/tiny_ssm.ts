/**
 * TinySSM: a state-space model small enough to look into.
 *
 * Gu and Dao, "Mamba: Linear-Time Sequence Modeling with Selective State Spaces", 2023, arXiv:2312.00752, sections 3.2 and
 * 3.4. Differs from Mamba's block in having no convolution, which would look at neighbours that a reduction removes, and no
 * expansion.
 *
 * Tokens can be removed between two blocks: by a reducer, whose map acts on the hidden state and, by what stays, on the
 * residual; or by naming those that stay. Blocks behind it then run over what is left, as if nothing else had been there
 * ("naive"), or with the decay of what has gone ("aware"): the step sizes of tokens that are gone are still worked out, from
 * their last features.
 *
 * @module
 */
import { type NumericArray, tinySSM } from "tessera/data/mod.ts";
import {
  applyMap,
  countParameters,
  type Described,
  type Description,
  embedding,
  embeddingLayer,
  gapAwareScan,
  initialise,
  linear,
  linearLayer,
  loadParameters,
  normal,
  ones,
  parameter,
  type Reducer,
  rmsNorm,
  selectiveScan,
  type SlotMap,
  trainable,
} from "tessera/nn/mod.ts";
import { stayingPlaces, takeStaying } from "tessera/reduction/mod.ts";
import { random } from "tessera/random.ts";
import { gatherTokens, scatterAdd, tf, tidy } from "tessera/tensor/mod.ts";

/** The sizes of a TinySSM. */
export interface TinySSMConfig {
  readonly vocabulary: number;
  readonly width: number;
  /** States of each channel. */
  readonly states: number;
  readonly depth: number;
}

/** The model that data/tiny-ssm holds. */
export const tinySSMConfig: TinySSMConfig = { vocabulary: 61, width: 64, states: 8, depth: 4 };

/** ln 1, ln 2, ..., for each channel: A starts as -1, -2, ... (S4D-Real). */
function decays(shape: readonly number[]): Float32Array {
  return Float32Array.from({ length: shape[0] * shape[1] }, (_, i) => Math.log(1 + i % shape[1]));
}

/** Describes the parameters of a TinySSM. */
// deno-lint-ignore explicit-function-return-type
export function tinySSMLayers({ vocabulary, width, states, depth }: TinySSMConfig) {
  const norm = { weight: parameter<tf.Rank.R1>([width], ones) };
  const plain = (inputs: number, outputs: number) =>
    linearLayer(inputs, outputs, { bias: false, weightFrom: normal(inputs ** -0.5) });
  const block = () => ({
    norm,
    input: plain(width, width),
    gate: plain(width, width),
    // softplus(bias) is a step between 0.01 and 0.1, drawn evenly in logarithms
    step: linearLayer(width, width, {
      weightFrom: normal(0.1 * width ** -0.5),
      biasFrom: (shape, draw) =>
        draw.uniforms(shape[0], Math.log(0.01), Math.log(0.1)).map((log) => Math.log(Math.expm1(Math.exp(log)))),
    }),
    b: plain(width, states),
    c: plain(width, states),
    logA: parameter<tf.Rank.R2>([width, states], decays) as Description<tf.Rank.R2>,
    d: parameter<tf.Rank.R1>([width], ones),
    output: plain(width, width),
  });
  return {
    embed: embeddingLayer(vocabulary, width, normal(0.5)),
    blocks: Array.from({ length: depth }, block),
    norm,
    head: plain(width, vocabulary),
  };
}

/** Parameters of a TinySSM: tensors, or variables where it is to be trained. */
export type TinySSMParameters = Described<ReturnType<typeof tinySSMLayers>>;

/** Which tokens are removed, where, and what the state does about it. */
export interface TinySSMReduction {
  /** Block before which they go. */
  readonly layer: number;
  /** [batch, kept] int32: places that stay, ascending. Or a reducer, which acts on all tokens but the first and the questions. */
  readonly keep: tf.Tensor2D | Reducer;
  /** "aware": the state decays over what has gone (not with a reducer that merges). Default: "naive". */
  readonly gaps?: "aware" | "naive";
}

/** What comes out. */
export interface TinySSMOutput {
  /** At the tokens that stay: [batch, tokens, vocabulary]. */
  readonly logits: tf.Tensor3D;
  /** Hidden state behind each block, [batch, tokens, width]. */
  readonly hidden: readonly tf.Tensor3D[];
}

/** A TinySSM with its weights. */
export class TinySSM {
  constructor(readonly config: TinySSMConfig, readonly parameters: TinySSMParameters) {}

  /** A new one, to be trained. */
  static initial(seed: number, config = tinySSMConfig): TinySSM {
    return new TinySSM(config, trainable(initialise(tinySSMLayers(config), random(seed, "weights"))));
  }

  /** The trained one of data/tiny-ssm. */
  static async load(): Promise<TinySSM> {
    return TinySSM.fromArrays((await tinySSM.load()).tensors);
  }

  /** One from arrays under our names. */
  static fromArrays(arrays: ReadonlyMap<string, NumericArray>, config = tinySSMConfig): TinySSM {
    return new TinySSM(config, loadParameters(tinySSMLayers(config), arrays));
  }

  /** Number of trained numbers. */
  get size(): number {
    return countParameters(this.parameters);
  }

  /**
   * Runs the model over whole texts.
   *
   * @param tokens int32, [batch, tokens]
   * @param questions Tokens in the end that a reducer leaves alone.
   */
  forward(tokens: tf.Tensor2D, reduction?: TinySSMReduction, questions = 4): TinySSMOutput {
    return tidy(() => {
      const { embed, blocks, norm, head } = this.parameters;
      const hidden: tf.Tensor3D[] = [];
      let x = embedding(tokens, embed) as tf.Tensor3D;
      let update: tf.Tensor3D | undefined; // what the block before has added
      let kept: tf.Tensor2D | undefined;
      for (const layer of blocks.keys()) {
        if (reduction?.layer === layer) {
          if ("reduce" in reduction.keep) {
            x = reduced(reduction.keep, x, update, { layer, layers: blocks.length, questions });
          } else if (reduction.gaps === "aware") kept = reduction.keep;
          else x = gatherTokens(x, reduction.keep);
        }
        update = this.#block(layer, x, kept);
        x = kept ? scatterAdd(x, kept, update) : x.add<tf.Tensor3D>(update);
        hidden.push(update);
      }
      const last = kept ? gatherTokens(x, kept) : x;
      return { logits: linear(rmsNorm(last, norm), head), hidden };
    });
  }

  /** What a block adds: to all tokens of `x`, or to those that are kept. */
  #block(layer: number, x: tf.Tensor3D, kept?: tf.Tensor2D): tf.Tensor3D {
    const { norm, input, gate, step, b, c, logA, d, output } = this.parameters.blocks[layer];
    const all = rmsNorm(x, norm);
    const own = kept ? gatherTokens(all, kept) : all;
    const scanned = {
      u: silu(linear(all, input)),
      delta: tf.softplus(linear(all, step)) as tf.Tensor3D,
      a: tf.exp(logA).neg() as tf.Tensor2D,
      b: linear(all, b),
      c: linear(all, c),
      d,
    };
    const { y } = kept ? gapAwareScan(scanned, kept) : selectiveScan(scanned);
    return linear(y.mul<tf.Tensor3D>(silu(linear(own, gate))), output);
  }
}

function silu<T extends tf.Tensor>(x: T): T {
  return tf.mul<T>(x, tf.sigmoid(x));
}

/** The hidden state that the block before added is merged or pruned as the map says; its residual keeps what stays. */
function reduced(
  reducer: Reducer,
  x: tf.Tensor3D,
  update: tf.Tensor3D | undefined,
  { layer, layers, questions }: { layer: number; layers: number; questions: number },
): tf.Tensor3D {
  const [batch, tokens, width] = x.shape;
  const count = tokens - questions;
  const text = (stream: tf.Tensor3D) => stream.slice([0, 0, 0], [-1, count, -1]) as tf.Tensor3D;
  const hidden = text(update ?? x);
  const place = { layer, layers, tokens: count, initialTokens: count, specialTokens: 1, grid: [1, count - 1] as const };
  if (reducer.plan(place).achieved === 0) return x;
  const map = reducer.reduce({ ...place, x: hidden, size: tf.ones([batch, count]) }) as SlotMap;
  const stays = takeStaying(map, text(update ? x.sub<tf.Tensor3D>(update) : tf.zerosLike(x)));
  const asked = x.slice([0, count, 0], [-1, questions, width]) as tf.Tensor3D;
  return tf.concat([stays.add<tf.Tensor3D>(applyMap(map, hidden).x), asked], 1);
}

/**
 * Places of a text that stay after a reducer has seen the hidden state, first token and questions included: for `keep`.
 *
 * @param hidden [batch, tokens, width]
 */
export function placesLeft(
  reducer: Reducer,
  hidden: tf.Tensor3D,
  layer: number,
  layers: number,
  questions = 4,
): tf.Tensor2D {
  return tidy(() => {
    const [batch, tokens] = hidden.shape, count = tokens - questions;
    const place = {
      layer,
      layers,
      tokens: count,
      initialTokens: count,
      specialTokens: 1,
      grid: [1, count - 1] as const,
    };
    const x = hidden.slice([0, 0, 0], [-1, count, -1]) as tf.Tensor3D;
    const map = reducer.reduce({ ...place, x, size: tf.ones([batch, count]) }) as SlotMap;
    const asked = tf.range(count, tokens, 1, "int32").expandDims<tf.Tensor2D>(0).tile<tf.Tensor2D>([batch, 1]);
    return tf.concat([stayingPlaces(map), asked], 1);
  });
}
