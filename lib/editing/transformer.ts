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
import { foldIn, randomUniform, tf, tidy } from "../tensor/mod.ts";
import {
  constant,
  dense,
  dropout,
  normalise,
  normSpec,
  type ParameterSpec,
  torchUniform,
  uniform,
  weightOf,
  type Weights,
  xavier,
} from "./parameters.ts";
import { embedTime, type TimeEncoding, timeSpec } from "./time_embedding.ts";
import { atLength, type EncoderInput, type EncoderRun } from "./encoder.ts";

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
export function transformerSpec({ layers }: TransformerEncoder, width: number, time: TimeEncoding): ParameterSpec[] {
  const layer = (l: number): ParameterSpec[] => {
    const name = `encoder.encoder.layers.${l}`;
    const glorot = (part: string, rows: number): ParameterSpec => (
      { name: `${name}.${part}`, shape: [rows, width], draw: xavier(rows, width) } // q, k and v count as one matrix
    );
    const bias = (part: string, length: number, draw: ParameterSpec["draw"]): ParameterSpec => (
      { name: `${name}.${part}`, shape: [length], draw }
    );
    return [
      glorot("self_attn.in_proj_weight", 3 * width),
      bias("self_attn.in_proj_bias", 3 * width, constant(0)),
      glorot("self_attn.out_proj.weight", width),
      bias("self_attn.out_proj.bias", width, constant(0)),
      glorot("linear1.weight", width),
      bias("linear1.bias", width, torchUniform(width)),
      glorot("linear2.weight", width),
      bias("linear2.bias", width, torchUniform(width)),
      ...normSpec(`${name}.norm1`, width),
      ...normSpec(`${name}.norm2`, width),
    ];
  };
  return [
    ...Array.from({ length: layers }, (_, l) => layer(l)).flat(),
    ...normSpec("encoder.encoder.norm", width),
    { name: "encoder.decoder.weight", shape: [width, width], draw: uniform(0.1) },
    { name: "encoder.decoder.bias", shape: [width], draw: constant(0) },
    ...timeSpec("encoder.pos_encoder", width, time),
    ...normSpec("encoder.layer_norm", width),
  ];
}

/**
 * Encodes histories.
 *
 * @returns [batch, variables]: the last record of each history, projected.
 */
export function encodeTransformer(input: EncoderInput, weights: Weights, config: TransformerEncoder, run: EncoderRun) {
  const { inputDropout = 0.5, dropout: inner = 0.1, heads, layers } = config;
  const [batch, records, width] = input.x.shape;
  let masks = 0;
  // one key per place, so that every mask is another one
  const drop = (x: tf.Tensor3D, rate: number) => dropout(x, rate, run.key && mask(run.key, x.shape));
  const mask = (key: tf.Tensor1D, shape: number[]) => randomUniform(foldIn(key, masks++), shape);
  return tidy(() => {
    const time = embedTime(input, weights, { prefix: "encoder.pos_encoder", time: run.time, positions: run.records });
    let e = normalise(drop(tf.add<tf.Tensor3D>(input.x, time), inputDropout), weights, "encoder.layer_norm");
    const scores = attentionMask(input, run.parity);
    for (let l = 0; l < layers; l++) {
      const name = `encoder.encoder.layers.${l}`;
      const a = attend(e, weights, `${name}.self_attn`, heads, scores, (p) => {
        return dropout(p, inner, run.key && mask(run.key, p.shape));
      });
      e = normalise(e.add<tf.Tensor3D>(drop(a, inner)), weights, `${name}.norm1`);
      const hidden = drop(dense(e, weights, `${name}.linear1`).relu(), inner);
      e = normalise(
        e.add<tf.Tensor3D>(drop(dense(hidden, weights, `${name}.linear2`), inner)),
        weights,
        `${name}.norm2`,
      );
    }
    const last = atLength(normalise(e, weights, "encoder.encoder.norm"), input.length);
    return dense(last.reshape<tf.Tensor2D>([batch, width]), weights, "encoder.decoder");
  });

  /** What is added to the scores, [1 or batch, 1, records, records]: no record sees a later one, nor an empty one. */
  function attentionMask({ observed }: EncoderInput, parity: boolean): tf.Tensor4D {
    const row = tf.range(0, records).expandDims(1);
    const later = tf.greater(tf.range(0, records).expandDims(0), row).cast("float32");
    const empty = tf.equal(observed.sum(2), 0).cast("float32").reshape([batch, 1, 1, records]);
    // upstream passes this mask as numbers, which PyTorch adds: +1 for an empty record
    const ofEmpty = parity ? empty : empty.mul(HIDDEN);
    return tf.add<tf.Tensor4D>(later.mul(HIDDEN_FOR_EVER).reshape([1, 1, records, records]), ofEmpty);
  }
}

/** Low enough to hide a record, high enough that a record before which all are empty still looks somewhere. */
const HIDDEN = -1e9;
/** A later record stays hidden beside empty ones. */
const HIDDEN_FOR_EVER = -1e18;

function attend(
  x: tf.Tensor3D,
  weights: Weights,
  name: string,
  heads: number,
  added: tf.Tensor4D,
  drop: (probabilities: tf.Tensor4D) => tf.Tensor4D,
): tf.Tensor3D {
  const [batch, records, width] = x.shape;
  const perHead = width / heads;
  const rows = tf.matMul(
    x.reshape<tf.Tensor2D>([-1, width]),
    weightOf<tf.Tensor2D>(weights, `${name}.in_proj_weight`),
    false,
    true,
  )
    .add(weightOf(weights, `${name}.in_proj_bias`));
  const split = rows.reshape([batch, records, 3, heads, perHead]).transpose([2, 0, 3, 1, 4]);
  const [queries, keys, values] = tf.unstack(split, 0) as [tf.Tensor4D, tf.Tensor4D, tf.Tensor4D];
  const scores = tf.matMul(queries, keys, false, true).mul(perHead ** -0.5).add<tf.Tensor4D>(added);
  const mixed = tf.matMul(drop(tf.softmax(scores, 3)), values).transpose([0, 2, 1, 3]);
  return dense(mixed.reshape<tf.Tensor3D>([batch, records, width]), weights, `${name}.out_proj`);
}
