/**
 * MOMENT as sequence encoder: each variable on its own is normalised over time, cut into patches, and read by a T5 encoder;
 * the mean over variables and patches is the embedding.
 *
 * Goswami et al., "MOMENT: A Family of Open Time-series Foundation Models", ICML 2024, arXiv:2402.03885, section 3; its
 * encoder is that of Raffel et al., "Exploring the Limits of Transfer Learning", JMLR 2020, arXiv:1910.10683. Checked
 * against momentfm 0.1.4 with small random weights (`clef.moment_encoder`): the pretrained ones are hundreds of megabytes and
 * are not here. What it shows is why MOMENT does worst in the CLEF paper: the normalisation takes the level away, and the
 * mean over variables takes away which variable it was.
 *
 * @module
 */
import { tf, tidy } from "../tensor/mod.ts";
import type { EncoderInput } from "./encoder.ts";
import { constant, normal } from "../nn/mod.ts";
import { dense, join, linearSpec, one, type Specs, weightOf, type Weights } from "./parameters.ts";

/** The sizes of MOMENT. MOMENT-1-large has width 1024, 16 heads of 64, feed-forward 2816, 24 layers, patches of 8. */
export interface MOMENTEncoder {
  readonly kind: "moment";
  readonly width: number;
  readonly heads: number;
  /** Channels of a head. */
  readonly perHead: number;
  readonly feedForward: number;
  readonly layers: number;
  /** Records of a patch; a remainder that fills none is dropped. */
  readonly patch: number;
}

/** T5's relative positions: buckets, half of them for each direction, up to a distance. */
const BUCKETS = 32;
const MAX_DISTANCE = 128;

/** Its parameters, under a prefix. */
export function momentSpec(prefix: string, config: MOMENTEncoder): Specs {
  const { width, heads, perHead, feedForward, layers, patch } = config;
  const inner = heads * perHead;
  const matrix = (name: string, rows: number, columns: number) =>
    one(`${prefix}${name}.weight`, [rows, columns], normal(columns ** -0.5));
  const gain = (name: string) => one(`${prefix}${name}.weight`, [width], constant(1));
  return join(
    matrix("patch_embedding.value_embedding", width, patch),
    ...Array.from({ length: layers }, (_, l) => {
      const name = `encoder.block.${l}.layer`;
      return [
        ...["q", "k", "v"].map((part) => matrix(`${name}.0.SelfAttention.${part}`, inner, width)),
        matrix(`${name}.0.SelfAttention.o`, width, inner),
        ...(l === 0 ? [matrix(`${name}.0.SelfAttention.relative_attention_bias`, BUCKETS, heads)] : []),
        gain(`${name}.0.layer_norm`),
        matrix(`${name}.1.DenseReluDense.wi_0`, feedForward, width),
        matrix(`${name}.1.DenseReluDense.wi_1`, feedForward, width),
        matrix(`${name}.1.DenseReluDense.wo`, width, feedForward),
        gain(`${name}.1.layer_norm`),
      ];
    }).flat(),
    gain("encoder.final_layer_norm"),
  );
}

/** The parameters of CLEF's encoder: MOMENT, and a projection to the variables. */
export function momentEncoderSpec(config: MOMENTEncoder, variables: number): Specs {
  return join(momentSpec("encoder.", config), linearSpec("encoder_proj", config.width, variables));
}

/**
 * The embedding of some time series.
 *
 * @param x [batch, records, variables]
 * @returns [batch, width]
 *
 * @example A constant added to a series changes nothing: its level is taken away
 * ```ts
 * import assert from "node:assert/strict";
 * import { tf } from "tessera/tensor/mod.ts";
 * import { random } from "tessera/random.ts";
 * import { initialise } from "tessera/nn/mod.ts";
 * const config = { kind: "moment", width: 4, heads: 1, perHead: 4, feedForward: 4, layers: 1, patch: 2 } as const;
 * const weights = new Map(Object.entries(initialise(momentSpec("", config), random(1))));
 * const x = tf.tensor3d([1, 2, 4, 8], [1, 4, 1]);
 * const difference = momentEmbedding(x, weights, "", config).sub(momentEmbedding(x.add(100), weights, "", config));
 * assert.ok(difference.abs().max().arraySync() as number < 1e-4);
 * ```
 */
export function momentEmbedding(x: tf.Tensor3D, weights: Weights, prefix: string, config: MOMENTEncoder): tf.Tensor2D {
  const { width, heads, perHead, layers, patch } = config;
  const [batch, records, variables] = x.shape;
  return tidy(() => {
    const missing = Math.max(0, patch - records);
    const padded = missing ? tf.pad(x, [[0, 0], [0, missing], [0, 0]]) : x; // the zeros count in the mean below
    const series = padded.transpose<tf.Tensor3D>([0, 2, 1]); // [batch, variables, records]
    const centred = tf.sub(series, series.mean(2, true));
    const level = centred.div(centred.square().mean(2, true).sqrt().add(1e-5));
    const patches = Math.floor((records + missing) / patch);
    const cut = level.slice([0, 0, 0], [-1, -1, patches * patch])
      .reshape<tf.Tensor3D>([batch * variables, patches, patch]);
    const positions = tf.tensor2d(patchPositions(patches, width), [patches, width]);
    let h = dense(cut, weights, `${prefix}patch_embedding.value_embedding`).add<tf.Tensor3D>(positions);
    const bias = relativeBias(
      patches,
      weightOf(weights, `${prefix}encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight`),
    );
    const byHead = (rows: tf.Tensor3D) =>
      rows.reshape<tf.Tensor4D>([batch * variables, patches, heads, perHead]).transpose<tf.Tensor4D>([0, 2, 1, 3]);
    for (let l = 0; l < layers; l++) {
      const name = `${prefix}encoder.block.${l}.layer`;
      const y = rmsNorm(h, weights, `${name}.0.layer_norm`);
      const [q, k, v] = ["q", "k", "v"].map((part) => byHead(dense(y, weights, `${name}.0.SelfAttention.${part}`)));
      const attention = tf.softmax(tf.matMul(q, k, false, true).add(bias), 3); // T5 does not scale its scores
      const mixed = tf.matMul(attention, v).transpose([0, 2, 1, 3])
        .reshape<tf.Tensor3D>([batch * variables, patches, heads * perHead]);
      h = h.add<tf.Tensor3D>(dense(mixed, weights, `${name}.0.SelfAttention.o`));
      const z = rmsNorm(h, weights, `${name}.1.layer_norm`);
      const gate = geluTanh(dense(z, weights, `${name}.1.DenseReluDense.wi_0`));
      const hidden = gate.mul<tf.Tensor3D>(dense(z, weights, `${name}.1.DenseReluDense.wi_1`));
      h = h.add<tf.Tensor3D>(dense(hidden, weights, `${name}.1.DenseReluDense.wo`));
    }
    const last = rmsNorm(h, weights, `${prefix}encoder.final_layer_norm`);
    return last.reshape([batch, variables * patches, width]).mean<tf.Tensor2D>(1);
  });
}

/** Encodes histories: [batch, variables]. Sees whole histories, so that all of a batch must have the same length. */
export function encodeMOMENT({ x, length }: EncoderInput, weights: Weights, config: MOMENTEncoder): tf.Tensor2D {
  if (length) {
    throw new RangeError(
      "MOMENT normalises over the whole history, so it takes histories of one length; leave `length` out and cut them",
    );
  }
  return dense(momentEmbedding(x, weights, "encoder.", config), weights, "encoder_proj");
}

/**
 * The sinusoid that MOMENT adds to its patches: sines and cosines in turn.
 *
 * @returns [patches, width], row by row.
 */
export function patchPositions(patches: number, width: number): Float32Array {
  return Float32Array.from({ length: patches * width }, (_, i) => {
    const [patch, channel] = [Math.floor(i / width), i % width];
    const angle = patch / 10000 ** ((channel - channel % 2) / width);
    return channel % 2 === 0 ? Math.sin(angle) : Math.cos(angle);
  });
}

/** What T5 adds to the scores of each pair of patches, [1, heads, patches, patches], from its table of buckets. */
function relativeBias(patches: number, table: tf.Tensor2D): tf.Tensor4D {
  const buckets = Int32Array.from({ length: patches * patches }, (_, i) => {
    return bucketOf(i % patches - Math.floor(i / patches)); // key minus query
  });
  const rows = tf.gather(table, tf.tensor1d(buckets, "int32"));
  return rows.reshape([patches, patches, table.shape[1]]).transpose([2, 0, 1]).expandDims(0) as tf.Tensor4D;
}

/** T5's bucket of a relative position: half of them for later patches, near ones one by one, far ones by logarithm. */
function bucketOf(relative: number): number {
  const half = BUCKETS / 2;
  const near = half / 2;
  const distance = Math.abs(relative);
  const far = near + Math.floor(Math.log(distance / near) / Math.log(MAX_DISTANCE / near) * (half - near));
  return (relative > 0 ? half : 0) + (distance < near ? distance : Math.min(far, half - 1));
}

function rmsNorm(x: tf.Tensor3D, weights: Weights, name: string): tf.Tensor3D {
  return x.mul(x.square().mean(2, true).add(1e-6).rsqrt()).mul<tf.Tensor3D>(weightOf(weights, `${name}.weight`));
}

/** T5's approximation of the GELU. */
function geluTanh(x: tf.Tensor3D): tf.Tensor3D {
  const cubic = tf.mul(x.square().mul(0.044715).add(1), x).mul(Math.sqrt(2 / Math.PI));
  return tf.mul<tf.Tensor3D>(x, cubic.tanh().add(1).mul(0.5));
}
