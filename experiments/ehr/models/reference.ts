/**
 * The model that MedTok's authors publish with their tokenizer: a transformer over the codes of all visits in a row, with the
 * code's position, the time within its visit and the time between visits; sex and ethnicity stand in front.
 *
 * Su et al., "Multimodal Medical Code Tokenizer", ICML 2025, arXiv:2502.04397, code of the health-record tutorial. At its
 * sizes it has 287,394 trained parameters with two classes: the class token and the row of missing codes are not among them,
 * because the tutorial moves them to the device after it has made them parameters. Ours trains both (`parity: true` does
 * not); its loss is returned to the optimizer, which the tutorial's is not.
 *
 * @module
 */
import {
  block,
  blockLayer,
  type Described,
  dropout,
  embeddingLayer,
  initialise,
  linear,
  linearLayer,
  normal,
  parameter,
  trainable,
} from "../../../lib/nn/mod.ts";
import { random } from "../../../lib/random.ts";
import { foldIn, tf, tidy } from "../../../lib/tensor/mod.ts";
import { codeInputLayers, type CodeInputParameters, type CodeVectors } from "../code_input.ts";
import { binaryCrossEntropy, codeMask, disposeParameters, type EHRModel } from "../model.ts";
import type { RecordBatch } from "../records.ts";
import { rowsOf } from "./behrt.ts";

/** Sizes. */
export interface ReferenceConfig {
  readonly width: number;
  readonly layers: number;
  readonly heads: number;
  readonly mlpWidth: number;
  readonly outputs: number;
  /** Of the layers; the tutorial's: 0.5. */
  readonly dropout: number;
  /** Rows of the table of years, sexes and ethnicities; the tutorial's: 1,000, 5 and 100. */
  readonly years: number;
  readonly sexes: number;
  readonly ethnicities: number;
}

/** The tutorial's sizes. */
export const referenceDefaults: ReferenceConfig = {
  width: 64,
  layers: 4,
  heads: 4,
  mlpWidth: 256,
  outputs: 2,
  dropout: 0.5,
  years: 1000,
  sexes: 5,
  ethnicities: 100,
};

/** Dropout of the sum of vectors and times. */
const INPUT_DROPOUT = 0.2;

/** Describes the model without its codes. */
export function referenceLayers({ width, layers, mlpWidth, outputs, years, sexes, ethnicities }: ReferenceConfig) {
  return {
    year: embeddingLayer(years, width - 4),
    sex: embeddingLayer(sexes, width),
    ethnicity: embeddingLayer(ethnicities, width),
    blocks: Array.from({ length: layers }, () => blockLayer(width, mlpWidth)),
    dense: linearLayer(width, width),
    head: linearLayer(width, outputs),
  };
}

/** A time as years, and as the place of its day in the year and of its hour in the day on circles; [..., width]. */
function timeVectors(days: tf.Tensor2D, years: tf.Tensor2D): tf.Tensor3D {
  return tidy(() => {
    const year = rowsOf(years, days.div(365).floor().toInt());
    const angle = tf.mod(days, 365).mul(2 * Math.PI / 365);
    const hour = days.sub(days.floor()).mul(2 * Math.PI);
    const circles = [angle.sin(), angle.cos(), hour.sin(), hour.cos()].map((each) => each.expandDims(2));
    return tf.concat([year, ...circles], 2) as tf.Tensor3D;
  });
}

/** Vaswani et al.'s table: columns in pairs of a sine and a cosine; [places, width]. */
function pairedSinusoid(places: number, width: number): tf.Tensor2D {
  return tidy(() => {
    const rate = tf.exp(tf.range(0, width, 2).mul(-Math.log(10_000) / width));
    const angle = tf.range(0, places).expandDims(1).mul(rate.expandDims(0));
    return tf.stack([angle.sin(), angle.cos()], 2).reshape([places, width]) as tf.Tensor2D;
  });
}

/** The reference model on health records. */
export function reference(vectors: CodeVectors, config: ReferenceConfig, seed: number): EHRModel {
  const { width, heads, dropout: rate } = config;
  const described = {
    codes: codeInputLayers(vectors.input, width),
    classToken: parameter<tf.Rank.R2>([1, width], normal(1)),
    ...referenceLayers(config),
  };
  const parameters = trainable(initialise(described, random(seed, "reference"))) as Described<typeof described>;
  const logits = (batch: RecordBatch, key?: tf.Tensor1D) =>
    tidy(() => {
      const [size, visits, places] = batch.codes.shape;
      const flat = (values: tf.Tensor) => values.reshape<tf.Tensor2D>([size, visits * places]);
      const wide = (values: tf.Tensor2D) => flat(values.expandDims(2).tile([1, 1, places]));
      const words = rowsOf(vectors.table(parameters.codes as CodeInputParameters), flat(batch.codes));
      const day = batch.day.cast("float32") as tf.Tensor2D;
      const before = tf.concat([day.slice([0, 0], [size, 1]), day.slice([0, 0], [size, visits - 1])], 1) as tf.Tensor2D;
      const gap = tf.relu(day.sub(before)) as tf.Tensor2D;
      const sum = words.add(pairedSinusoid(visits * places, width).expandDims(0))
        .add(timeVectors(wide(day), parameters.year.weight))
        .add<tf.Tensor3D>(timeVectors(wide(gap), parameters.year.weight));
      const front = (values: tf.Tensor1D, table: tf.Tensor2D) => rowsOf(table, values.expandDims<tf.Tensor2D>(1));
      let x = tf.concat([
        parameters.classToken.expandDims<tf.Tensor3D>(0).tile([size, 1, 1]),
        front(batch.sex, parameters.sex.weight),
        front(batch.ethnicity, parameters.ethnicity.weight),
        dropout(sum, INPUT_DROPOUT, key && foldIn(key, 0)),
      ], 1) as tf.Tensor3D;
      const mask = tf.concat([tf.ones([size, 3]), flat(codeMask(batch))], 1);
      parameters.blocks.forEach((each, i) => {
        const own = key && foldIn(key, i + 1);
        x = block(x, each, { heads, mask, norm: "post", activation: "relu", dropout: rate, key: own }).x;
      });
      const first = x.slice([0, 0, 0], [size, 1, width]).reshape<tf.Tensor2D>([size, width]);
      return linear(linear(first, parameters.dense), parameters.head);
    });
  return {
    name: "reference",
    parameters,
    stages: [{
      name: "labels",
      loss: (batch, key) => tidy(() => binaryCrossEntropy(logits(batch, key), batch.labels)),
    }],
    logits,
    dispose: () => disposeParameters(parameters),
  };
}
