/**
 * CLEF's default sequence encoder: a causal, post-norm Transformer whose tokens are the raw records plus their time.
 *
 * Li et al., "Controllable Sequence Editing for Biological and Clinical Trajectories", ICLR 2026, arXiv:2502.03569. Checked
 * against the authors' code (`clef.forward`, `clef.model_forward`). Differs from it in two things. Their `dropout` option
 * never reaches the encoder, which drops 0.5 of its input and 0.1 inside; here those are the defaults, and they can be set.
 * Their mask of wholly missing records is a number that is added to the scores, so that such records are attended to a
 * little more; here they are hidden, and `parity: true` adds the number.
 *
 * @module
 */
import { attention, constant, dropout, uniform, xavierUniform } from "../nn/mod.ts";
import { foldIn, tf, tidy } from "../tensor/mod.ts";
import { atLength, type EncoderInput, type EncoderRun } from "./encoder.ts";
import {
  dense,
  join,
  normalise,
  normSpec,
  one,
  type Specs,
  torchUniform,
  weightOf,
  type Weights,
} from "./parameters.ts";
import { embedTime, type TimeEncoding, timeSpec } from "./time_embedding.ts";

/** The sizes of the Transformer. */
export interface TransformerEncoder {
  readonly kind: "transformer";
  /** A divisor of the number of variables. */
  readonly heads: number;
  readonly layers: number;
  /** Fraction of the input that is dropped in training. Default: 0.5, as in the authors' code. */
  readonly inputDropout?: number;
  /** Fraction dropped inside the layers in training. Default: 0.1. */
  readonly dropout?: number;
}

/** Its parameters: width = number of variables everywhere. */
export function transformerSpec({ layers }: TransformerEncoder, width: number, time: TimeEncoding): Specs {
  const layer = (l: number): Specs => {
    const name = `encoder.encoder.layers.${l}`;
    return join(
      one(`${name}.self_attn.in_proj_weight`, [3 * width, width], xavierUniform()), // q, k and v count as one matrix
      one(`${name}.self_attn.in_proj_bias`, [3 * width], constant(0)),
      one(`${name}.self_attn.out_proj.weight`, [width, width], xavierUniform()),
      one(`${name}.self_attn.out_proj.bias`, [width], constant(0)),
      ...["linear1", "linear2"].flatMap((part) => [
        one(`${name}.${part}.weight`, [width, width], xavierUniform()),
        one(`${name}.${part}.bias`, [width], torchUniform(width)),
      ]),
      normSpec(`${name}.norm1`, width),
      normSpec(`${name}.norm2`, width),
    );
  };
  return join(
    ...Array.from({ length: layers }, (_, l) => layer(l)),
    normSpec("encoder.encoder.norm", width),
    one("encoder.decoder.weight", [width, width], uniform(-0.1, 0.1)),
    one("encoder.decoder.bias", [width], constant(0)),
    timeSpec("encoder.pos_encoder", width, time),
    normSpec("encoder.layer_norm", width),
  );
}

/**
 * Encodes histories.
 *
 * @returns [batch, variables]: the last record of each history, projected.
 */
export function encodeTransformer(
  input: EncoderInput,
  weights: Weights,
  { heads, layers, inputDropout = 0.5, dropout: inner = 0.1 }: TransformerEncoder,
  run: EncoderRun,
): tf.Tensor2D {
  let places = 0;
  const nextKey = () => run.key && foldIn(run.key, places++); // another one in each place, so that no two masks agree
  return tidy(() => {
    const time = embedTime(input, weights, { prefix: "encoder.pos_encoder", time: run.time, positions: run.records });
    const tokens = dropout(tf.add<tf.Tensor3D>(input.x, time), inputDropout, nextKey());
    let e = normalise(tokens, weights, "encoder.layer_norm");
    const bias = scoresBias(input, run.parity);
    for (let l = 0; l < layers; l++) {
      const name = `encoder.encoder.layers.${l}`;
      const attended = attention(e, {
        qkv: {
          weight: weightOf(weights, `${name}.self_attn.in_proj_weight`),
          bias: weightOf(weights, `${name}.self_attn.in_proj_bias`),
        },
        proj: {
          weight: weightOf(weights, `${name}.self_attn.out_proj.weight`),
          bias: weightOf(weights, `${name}.self_attn.out_proj.bias`),
        },
      }, { heads, bias, dropout: inner, key: nextKey() });
      e = normalise(e.add<tf.Tensor3D>(dropout(attended.x, inner, nextKey())), weights, `${name}.norm1`);
      const hidden = dropout(dense(e, weights, `${name}.linear1`).relu(), inner, nextKey());
      const fed = dropout(dense(hidden, weights, `${name}.linear2`), inner, nextKey());
      e = normalise(e.add<tf.Tensor3D>(fed), weights, `${name}.norm2`);
    }
    return dense(atLength(normalise(e, weights, "encoder.encoder.norm"), input.length), weights, "encoder.decoder");
  });
}

/** What hides a score: its weight is 0 after the softmax, to the last bit. */
const NEVER = -1e9;

/**
 * What is added to the scores, once for all layers: later records are hidden, and so are empty ones. Where a history begins
 * with empty records, these see each other, because later ones are hidden twice as much.
 *
 * @returns [batch, 1, records, records]
 */
function scoresBias({ observed }: EncoderInput, parity: boolean): tf.Tensor4D {
  const [batch, records] = observed.shape;
  return tidy(() => {
    const place = tf.range(0, records, 1, "int32");
    const later = tf.greater(place.expandDims(0), place.expandDims(1)).cast("float32").mul(2 * NEVER);
    const empty = tf.equal(observed.sum(2), 0).cast("float32").reshape([batch, 1, 1, records]);
    // upstream passes the mask of empty records as numbers, which PyTorch adds to the scores
    return tf.add<tf.Tensor4D>(later, parity ? empty : empty.mul(NEVER));
  });
}
