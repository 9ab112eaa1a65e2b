/**
 * TransformEHR: an encoder over the codes of past visits, each with its position and its visit's offset in days, and a
 * decoder that writes all codes of a visit that was hidden from it. Trained on that before it sees a label; a label is then
 * read from what the decoder writes first.
 *
 * Yang et al., "TransformEHR: transformer-based encoder-decoder generative model to enhance prediction of disease outcomes
 * using electronic health records", Nature Communications 14:7857, 2023. A BART (Lewis et al., 2020, arXiv:1910.13461).
 * Checked against the authors' code (tests/golden, `transformehr.*`); offsets are a learned table that only the encoder has.
 *
 * Sizes are the caller's; the paper's are in an external file that is not published.
 *
 * @module
 */
import {
  activate,
  attention,
  attentionLayer,
  block,
  blockLayer,
  crossAttentionLayer,
  type Described,
  dropout,
  embeddingLayer,
  initialise,
  layerNorm,
  linear,
  linearLayer,
  mlp,
  mlpLayer,
  normal,
  normLayer,
  trainable,
} from "../../../lib/nn/mod.ts";
import { random } from "../../../lib/random.ts";
import { foldIn, randomUniform, tf, tidy } from "../../../lib/tensor/mod.ts";
import { reserved } from "../../../lib/tokenization/mod.ts";
import { codeInputLayers, type CodeInputParameters, type CodeVectors } from "../code_input.ts";
import {
  binaryCrossEntropy,
  codeMask,
  disposeParameters,
  type EHRModel,
  maskedCrossEntropy,
  type Stage,
  visitMask,
} from "../model.ts";
import type { RecordBatch } from "../records.ts";
import { rowsOf } from "./behrt.ts";

/** Sizes, and what can be switched off. */
export interface TransformEHRConfig {
  readonly width: number;
  readonly layers: number;
  readonly heads: number;
  readonly mlpWidth: number;
  /** Places in a sequence. */
  readonly positions: number;
  /** Rows of the table of visit offsets (days). The authors': 1,460. */
  readonly offsets: number;
  readonly outputs: number;
  readonly dropout: number;
  /** Id of padding; learned positions begin behind it. Default: 0. */
  readonly pad?: number;
  /** Whether visits have offsets. Default: true. */
  readonly visitOffsets?: boolean;
  /** Default: true. */
  readonly pretrain?: boolean;
  /** BART's options: sinusoids instead of learned positions, vectors times the square root of the width. */
  readonly sinusoids?: boolean;
  readonly scale?: boolean;
}

/** Describes a layer of the decoder. */
function decoderLayer(width: number, mlpWidth: number) {
  return {
    own: attentionLayer(width),
    ownNorm: normLayer(width),
    cross: crossAttentionLayer(width),
    crossNorm: normLayer(width),
    mlp: mlpLayer(width, mlpWidth),
    norm: normLayer(width),
  };
}

/** Describes TransformEHR without its codes. */
export function transformEHRLayers(config: TransformEHRConfig) {
  const { width, layers, mlpWidth, positions, offsets, outputs, pad = 0 } = config;
  const rows = (count: number) => embeddingLayer(count, width, normal(width ** -0.5));
  return {
    encoder: {
      position: rows(positions + pad + 1),
      offset: rows(offsets),
      norm: normLayer(width),
      blocks: Array.from({ length: layers }, () => blockLayer(width, mlpWidth)),
    },
    decoder: {
      position: rows(positions + pad + 1),
      norm: normLayer(width),
      layers: Array.from({ length: layers }, () => decoderLayer(width, mlpWidth)),
    },
    head: { dense: linearLayer(width, width), out: linearLayer(width, outputs) },
  };
}

/** Parameters that {@link transformEHRLayers} describes. */
export type TransformEHRParameters = Described<ReturnType<typeof transformEHRLayers>>;

/** Sines in the first half of the columns, cosines in the second, for places 0, 1, ...; [places, width]. */
export function halvedSinusoid(places: number, width: number): tf.Tensor2D {
  return tidy(() => {
    const half = width / 2;
    const rate = tf.pow(10_000, tf.range(0, half).mul(-2 / width));
    const angle = tf.range(0, places).expandDims(1).mul(rate.expandDims(0));
    return tf.concat([angle.sin(), angle.cos()], 1) as tf.Tensor2D;
  });
}

function positionsOf(
  mask: tf.Tensor2D,
  table: { readonly weight: tf.Tensor2D } | undefined,
  { width, pad = 0, sinusoids = false }: TransformEHRConfig,
): tf.Tensor {
  if (sinusoids || !table) return halvedSinusoid(mask.shape[1], width).expandDims(0);
  // the first real token has the row behind that of padding
  return rowsOf(table.weight, mask.cumsum(1).mul(mask).add(pad).toInt());
}

/**
 * What the decoder looks at.
 *
 * @param words [batch, tokens, width]
 * @param mask 1 where there is a token, [batch, tokens].
 * @param offset int32 [batch, tokens]: days since the first visit.
 */
export function transformEHREncode(
  words: tf.Tensor3D,
  mask: tf.Tensor2D,
  offset: tf.Tensor2D,
  { position, offset: offsets, norm, blocks }: TransformEHRParameters["encoder"],
  config: TransformEHRConfig,
  key?: tf.Tensor1D,
): tf.Tensor3D {
  const { heads, dropout: rate, width, scale = false, visitOffsets = true } = config;
  return tidy(() => {
    let sum = words.mul(scale ? Math.sqrt(width) : 1).add<tf.Tensor3D>(positionsOf(mask, position, config));
    if (visitOffsets) sum = sum.add(rowsOf(offsets.weight, offset));
    let x = dropout(layerNorm(sum, norm), rate, key && foldIn(key, 0));
    blocks.forEach((each, i) => {
      x = block(x, each, { heads, mask, norm: "post", dropout: rate, key: key && foldIn(key, i + 1) }).x;
    });
    return x;
  });
}

/**
 * States of what the decoder writes; place i has seen places 0 to i and the whole memory.
 *
 * @param words [batch, tokens, width]
 * @param memory [batch, memory tokens, width], with its mask.
 */
export function transformEHRDecode(
  words: tf.Tensor3D,
  mask: tf.Tensor2D,
  memory: tf.Tensor3D,
  memoryMask: tf.Tensor2D,
  { position, norm, layers }: TransformEHRParameters["decoder"],
  config: TransformEHRConfig,
  key?: tf.Tensor1D,
): tf.Tensor3D {
  const { heads, dropout: rate, width, scale = false } = config;
  return tidy(() => {
    let x = words.mul(scale ? Math.sqrt(width) : 1).add<tf.Tensor3D>(positionsOf(mask, position, config));
    x = dropout(layerNorm(x, norm), rate, key && foldIn(key, 0));
    layers.forEach((layer, i) => {
      const of = (place: number) => key && foldIn(key, 10 * (i + 1) + place);
      const added = (y: tf.Tensor3D, place: number) => x.add<tf.Tensor3D>(dropout(y, rate, of(place)));
      const own = attention(x, layer.own, { heads, mask, causal: true, dropout: rate, key: of(0) }).x;
      x = layerNorm(added(own, 1), layer.ownNorm);
      const cross =
        attention(x, layer.cross, { heads, context: memory, mask: memoryMask, dropout: rate, key: of(2) }).x;
      x = layerNorm(added(cross, 3), layer.crossNorm);
      x = layerNorm(added(mlp(x, layer.mlp, { dropout: rate, key: of(4) }), 5), layer.norm);
    });
    return x;
  });
}

/** Logits of labels from one state, [batch, outputs]. */
export function transformEHRClassify(state: tf.Tensor2D, { dense, out }: TransformEHRParameters["head"]): tf.Tensor2D {
  return tidy(() => linear(activate(linear(state, dense), "tanh"), out));
}

/** TransformEHR on health records. */
export function transformEHR(vectors: CodeVectors, config: TransformEHRConfig, seed: number): EHRModel {
  const described = { codes: codeInputLayers(vectors.input, config.width), ...transformEHRLayers(config) };
  const parameters = trainable(initialise(described, random(seed, "transformehr")));
  const tableOf = () => vectors.table(parameters.codes as CodeInputParameters);

  const encode = (batch: RecordBatch, seen: tf.Tensor2D, table: tf.Tensor2D, key?: tf.Tensor1D) => {
    const [size, visits, places] = batch.codes.shape;
    const flat = (values: tf.Tensor) => values.reshape<tf.Tensor2D>([size, visits * places]);
    const mask = flat(codeMask(batch).mul(seen.expandDims(2)));
    const offset = flat(batch.day.expandDims(2).tile([1, 1, places]));
    return {
      mask,
      memory: transformEHREncode(rowsOf(table, flat(batch.codes)), mask, offset, parameters.encoder, config, key),
    };
  };
  const start = (size: number) => tf.fill<tf.Rank.R2>([size, 1], reserved.CLS, "int32");
  const logits = (batch: RecordBatch, key?: tf.Tensor1D) =>
    tidy(() => {
      const size = batch.codes.shape[0];
      const table = tableOf();
      const { memory, mask } = encode(batch, visitMask(batch), table, key && foldIn(key, 0));
      const words = rowsOf(table, start(size));
      const own = key && foldIn(key, 1);
      const first = transformEHRDecode(words, tf.ones([size, 1]), memory, mask, parameters.decoder, config, own);
      return transformEHRClassify(first.reshape([size, config.width]), parameters.head);
    });
  const hiddenVisit: Stage = {
    name: "write a hidden visit",
    loss: (batch, key) =>
      tidy(() => {
        const [size, visits, places] = batch.codes.shape;
        const there = visitMask(batch);
        // one of the visits after the first; the encoder sees those before it
        const chance = randomUniform(foldIn(key, 0), [size]);
        const chosen = tf.add(1, chance.mul(there.sum(1).sub(1))).floor().expandDims(1);
        const order = tf.range(0, visits).expandDims(0);
        const seen = there.mul<tf.Tensor2D>(tf.less(order, chosen).cast("float32"));
        const isHidden = tf.equal(order, chosen).cast("int32").expandDims(2);
        const target = batch.codes.mul(isHidden).sum(1).toInt() as tf.Tensor2D; // [batch, codes]
        const table = tableOf();
        const { memory, mask } = encode(batch, seen, table, foldIn(key, 1));
        const shifted = tf.concat([start(size), target.slice([0, 0], [size, places - 1])], 1);
        const written = tf.greater(shifted, tf.scalar(0, "int32")).cast("float32") as tf.Tensor2D;
        const words = rowsOf(table, shifted);
        const states = transformEHRDecode(words, written, memory, mask, parameters.decoder, config, foldIn(key, 2));
        const next = tf.where(tf.greater(target, tf.scalar(0, "int32")), target, tf.fill([size, places], -1, "int32"));
        return maskedCrossEntropy(linear(states, { weight: table }), next.toInt());
      }),
  };
  return {
    name: "TransformEHR",
    parameters,
    stages: [
      ...(config.pretrain === false ? [] : [hiddenVisit]),
      { name: "labels", loss: (batch, key) => tidy(() => binaryCrossEntropy(logits(batch, key), batch.labels)) },
    ],
    logits,
    dispose: () => disposeParameters(parameters),
  };
}
