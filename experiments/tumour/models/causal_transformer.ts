/**
 * Causal Transformer: one Transformer for the treatments and one for the outcomes, which look at each other; balanced by
 * domain confusion, where the representation is to leave the treatment classifier at a loss.
 *
 * Melnychuk, Frauen and Feuerriegel, "Causal Transformer for Estimating Counterfactual Outcomes", ICML 2022,
 * arXiv:2204.07258, sections 4.1 to 4.4. Golden cases `ct.*`. Two optimizers take turns in the authors' code, one for the
 * treatment classifier and one for all else; here both groups are updated in one step, from the same batch. Adam treats
 * each weight on its own, so that only the order differs.
 *
 * @module
 */
import {
  type Description,
  dropout,
  linear,
  type LinearDescription,
  linearLayer,
  type LinearParameters,
  normal,
  type NormDescription,
  normLayer,
  type NormParameters,
  parameter,
} from "../../../lib/nn/mod.ts";
import { foldIn, stopGradient, tf, tidy } from "../../../lib/tensor/mod.ts";
import {
  balancedHead,
  type BalancedHeadParameters,
  type Batch,
  confusionError,
  type Drop,
  type HeadSizes,
  outcomeOf,
  overActive,
  representation,
  squaredError,
  treatmentError,
  treatmentLogits,
} from "./parts.ts";

/** An attention between two streams. */
export interface StreamAttention {
  /** To queries, keys and values. */
  readonly linear_layers: readonly LinearParameters[];
  /** Projection of what comes out; the model has none. */
  readonly final_layer?: LinearParameters;
  readonly layer_norm: NormParameters;
}

/** A perceptron that is the same at each step, with the weights of convolutions of width 1. */
export interface StreamFeedForward {
  readonly conv1: { readonly weight: tf.Tensor3D; readonly bias: tf.Tensor1D };
  readonly conv2: { readonly weight: tf.Tensor3D; readonly bias: tf.Tensor1D };
  readonly layer_norm: NormParameters;
}

/** A block: each stream looks at itself and at the others. t: treatments, o: outcomes, v: vitals. */
export interface StreamBlock {
  readonly self_attention_o: StreamAttention;
  readonly self_attention_t: StreamAttention;
  readonly cross_attention_ot: StreamAttention;
  readonly cross_attention_to: StreamAttention;
  readonly self_attention_v?: StreamAttention;
  readonly cross_attention_tv?: StreamAttention;
  readonly cross_attention_vt?: StreamAttention;
  readonly cross_attention_ov?: StreamAttention;
  readonly cross_attention_vo?: StreamAttention;
  readonly feed_forwards: readonly StreamFeedForward[];
}

/** Parameters; one pair of tables of positions is shared by everything. */
export interface CausalTransformerParameters {
  readonly self_positional_encoding_k: { readonly embeddings_table: { readonly weight: tf.Tensor2D } };
  readonly self_positional_encoding_v: { readonly embeddings_table: { readonly weight: tf.Tensor2D } };
  readonly transformer_blocks: readonly StreamBlock[];
  readonly br_treatment_outcome_head: BalancedHeadParameters;
  readonly treatments_input_transformation: LinearParameters;
  readonly outputs_input_transformation: LinearParameters;
  readonly vitals_input_transformation?: LinearParameters;
  readonly static_input_transformation: LinearParameters;
}

/** The parameters of the benchmark, before they are made: two streams. */
export interface CausalTransformerDescription {
  readonly self_positional_encoding_k: { readonly embeddings_table: { readonly weight: Description<tf.Rank.R2> } };
  readonly self_positional_encoding_v: { readonly embeddings_table: { readonly weight: Description<tf.Rank.R2> } };
  readonly transformer_blocks: readonly Record<string, object>[];
  readonly br_treatment_outcome_head: Record<string, LinearDescription>;
  readonly treatments_input_transformation: LinearDescription;
  readonly outputs_input_transformation: LinearDescription;
  readonly static_input_transformation: LinearDescription;
}

/** Attention heads of the benchmark's models. */
export const HEADS = 2;
/** Positions further apart than this look alike. */
const FURTHEST = 15;

/** Describes a Causal Transformer for treatments and outcomes. */
export function causalTransformerLayers(
  { hidden, br, fc, treatments = 4, blocks = 1 }: HeadSizes & { readonly blocks?: number },
): CausalTransformerDescription {
  const attention = () => ({
    linear_layers: [0, 1, 2].map(() => linearLayer(hidden, hidden)),
    layer_norm: normLayer(hidden),
  });
  const convolution = (inputs: number, outputs: number) => {
    const { weight, bias } = linearLayer(inputs, outputs);
    return { weight: parameter<tf.Rank.R3>([outputs, inputs, 1], weight.initialise), bias: bias! };
  };
  const feedForward = (): { conv1: object; conv2: object; layer_norm: NormDescription } => ({
    conv1: convolution(hidden, 4 * hidden),
    conv2: convolution(4 * hidden, hidden),
    layer_norm: normLayer(hidden),
  });
  // Xavier's bound, as the authors start their tables
  const table = () => ({
    embeddings_table: { weight: parameter<tf.Rank.R2>([2 * FURTHEST + 1, hidden / HEADS], normal(0.2)) },
  });
  return {
    self_positional_encoding_k: table(),
    self_positional_encoding_v: table(),
    transformer_blocks: Array.from({ length: blocks }, () => ({
      ...{ self_attention_o: attention(), self_attention_t: attention() },
      ...{ cross_attention_ot: attention(), cross_attention_to: attention() },
      feed_forwards: [feedForward(), feedForward()],
    })),
    br_treatment_outcome_head: balancedHead({ hidden, br, fc, treatments }),
    treatments_input_transformation: linearLayer(treatments, hidden),
    outputs_input_transformation: linearLayer(1, hidden),
    static_input_transformation: linearLayer(1, hidden),
  };
}

/**
 * Embeddings of how far keys are from queries, [queries, keys, width]; row `clip(key - query) + furthest` of the table.
 *
 * @param table [2 x furthest + 1, width]
 */
export function relativePositions(queries: number, keys: number, table: tf.Tensor2D): tf.Tensor3D {
  const furthest = (table.shape[0] - 1) / 2;
  const index = Int32Array.from({ length: queries * keys }, (_, at) => {
    const distance = at % keys - Math.floor(at / keys);
    return Math.min(furthest, Math.max(-furthest, distance)) + furthest;
  });
  return tidy(() => tf.gather(table, tf.tensor1d(index, "int32")).reshape([queries, keys, table.shape[1]]));
}

/** Positions that are not learned: sines and cosines of -furthest to furthest, [2 x furthest + 1, width]. */
export function fixedPositions(furthest: number, width: number): tf.Tensor2D {
  const rows = Array.from({ length: 2 * furthest + 1 }, (_, row) =>
    Array.from({ length: width }, (_, k) => {
      const angle = row * Math.exp(-Math.log(10000) * (k - k % 2) / width);
      return k % 2 ? Math.cos(angle) : Math.sin(angle);
    }));
  return tf.tensor2d(rows);
}

/** Norm with the unbiased standard deviation, to which epsilon is added. */
export function unbiasedNorm<T extends tf.Tensor>(x: T, { weight, bias }: NormParameters, epsilon = 1e-6): T {
  return tidy(() => {
    const width = x.shape.at(-1)!;
    const centred = x.sub(x.mean(-1, true));
    const std = centred.square().sum(-1, true).div(width - 1).sqrt();
    return centred.div(std.add(epsilon)).mul(weight).add<T>(bias);
  });
}

/** What all attentions of a model share. */
interface Positions {
  /** [queries, keys, width of a head] */
  readonly keys: tf.Tensor3D;
  readonly values: tf.Tensor3D;
}

/** Options of {@link streamAttention}. */
export interface StreamAttentionOptions {
  readonly heads: number;
  /** [rows, heads, queries, keys], bool: what may be looked at, see {@link seenBy}. Default: all. */
  readonly seen?: tf.Tensor | undefined;
  readonly drop?: Drop | undefined;
}

/**
 * Attention with relative positions for keys and values; the norm of its result plus the query.
 *
 * A query that may see nothing sees everything alike, later steps too, as in the authors' code: all its scores are the same
 * large negative number. Such rows do not count anywhere.
 *
 * @param query [rows, queries, width]
 * @param key [rows, keys, width], for keys and values.
 */
export function streamAttention(
  query: tf.Tensor3D,
  key: tf.Tensor3D,
  { linear_layers: [toQuery, toKey, toValue], final_layer, layer_norm }: StreamAttention,
  positions: Positions,
  { heads, seen, drop }: StreamAttentionOptions,
): { output: tf.Tensor3D; attention: tf.Tensor4D } {
  return tidy(() => {
    const [rows, queries, width] = query.shape;
    const each = width / heads;
    const split = (x: tf.Tensor3D) =>
      x.reshape<tf.Tensor4D>([rows, -1, heads, each]).transpose<tf.Tensor4D>([0, 2, 1, 3]);
    const [q, k, v] = [linear(query, toQuery), linear(key, toKey), linear(key, toValue)].map(split);
    // by query, so that the positions of one query are one matrix: [queries, rows x heads, ...]
    const byQuery = (x: tf.Tensor4D) => x.transpose([2, 0, 1, 3]).reshape<tf.Tensor3D>([queries, rows * heads, -1]);
    const back = (x: tf.Tensor) => x.reshape([queries, rows, heads, -1]).transpose<tf.Tensor4D>([1, 2, 0, 3]);
    const scaled = q.div<tf.Tensor4D>(Math.sqrt(each));
    const near = back(tf.matMul(byQuery(scaled), positions.keys, false, true));
    const scores = tf.matMul(scaled, k, false, true).add<tf.Tensor4D>(near);
    const hidden = seen ? tf.where(seen, scores, tf.fill<tf.Rank.R4>([1, 1, 1, 1], -1e9)) : scores;
    const attention = tf.softmax(hidden) as tf.Tensor4D;
    const used = drop ? dropout(attention, drop.rate, foldIn(drop.key, 0)) : attention;
    const found = tf.matMul(used, v).add(back(tf.matMul(byQuery(used), positions.values)));
    const joined = found.transpose([0, 2, 1, 3]).reshape<tf.Tensor3D>([rows, queries, width]);
    const projected = final_layer ? linear(joined, final_layer) : joined;
    return { output: unbiasedNorm(projected.add<tf.Tensor3D>(query), layer_norm), attention };
  });
}

/**
 * What queries may look at, for {@link streamAttention}; worked out once for all attentions that share it.
 *
 * @param mask [rows, 1, queries, keys], or with 1 where it repeats: 0 where nothing is to be looked at.
 * @param causal Whether a query sees no later keys.
 */
export function seenBy(
  mask: tf.Tensor | undefined,
  shape: readonly [rows: number, heads: number, queries: number, keys: number],
  causal: boolean,
): tf.Tensor | undefined {
  if (!mask && !causal) return undefined;
  return tidy(() => {
    const [, , queries, keys] = shape;
    const earlier = causal
      ? tf.linalg.bandPart(tf.ones([queries, keys]), -1, 0).reshape([1, 1, queries, keys])
      : undefined;
    const both = mask && earlier ? mask.mul(earlier) : mask ?? earlier!;
    return tf.broadcastTo(both, [...shape] as [number, number, number, number]).cast("bool");
  });
}

function feedForward(x: tf.Tensor3D, { conv1, conv2, layer_norm }: StreamFeedForward, drop?: Drop): tf.Tensor3D {
  const apply = (x: tf.Tensor3D, { weight, bias }: StreamFeedForward["conv1"]) =>
    linear(x, { weight: weight.squeeze<tf.Tensor2D>([2]), bias });
  const inner = dropout(tf.relu(apply(x, conv1)), drop?.rate ?? 0, drop && foldIn(drop.key, 1));
  const outer = dropout(apply(inner, conv2), drop?.rate ?? 0, drop && foldIn(drop.key, 2));
  return unbiasedNorm(outer.add<tf.Tensor3D>(x), layer_norm);
}

/** What further is known of patients, and until when. */
export interface Vitals {
  /** [rows, steps, vitals] */
  readonly values: tf.Tensor3D;
  /** [rows]: the first step at which they are not known. */
  readonly until: readonly number[];
}

/** Options of {@link ctRepresentation}. */
export interface TransformerOptions {
  /** Default: 2. */
  readonly heads?: number;
  readonly drop?: Drop | undefined;
  readonly vitals?: Vitals;
}

/** The balanced representation at each step, [rows, steps, br]. */
export function ctRepresentation(
  batch: Batch,
  parameters: CausalTransformerParameters,
  { heads = HEADS, drop, vitals }: TransformerOptions = {},
): tf.Tensor3D {
  return tidy(() => {
    const { prevTreatments, prevOutputs, staticFeatures, active } = batch;
    const steps = prevOutputs.shape[1];
    const positions = {
      keys: relativePositions(steps, steps, parameters.self_positional_encoding_k.embeddings_table.weight),
      values: relativePositions(steps, steps, parameters.self_positional_encoding_v.embeddings_table.weight),
    };
    let place = 0;
    const dropHere = (): Drop | undefined => drop && { rate: drop.rate, key: foldIn(drop.key, ++place) };
    const rowsOf = (seen: tf.Tensor3D) => seen.transpose([0, 2, 1]).expandDims(3); // a query sees all, or nothing
    const activeRows = rowsOf(active);
    const vitalsActive = vitals && tf.mul<tf.Tensor3D>(active, beforeStep(vitals.until, steps));
    const seenThrough = (mask: tf.Tensor) => seenBy(mask, [prevOutputs.shape[0], heads, steps, steps], true);
    const seenAlways = seenThrough(activeRows);
    const look = (query: tf.Tensor3D, key: tf.Tensor3D, layer: StreamAttention, seen = seenAlways) =>
      streamAttention(query, key, layer, positions, { heads, seen, drop: dropHere() }).output;
    let t = linear(prevTreatments, parameters.treatments_input_transformation);
    let o = linear(prevOutputs, parameters.outputs_input_transformation);
    let v = vitals && vitalsActive &&
      linear(vitals.values.mul<tf.Tensor3D>(vitalsActive), parameters.vitals_input_transformation!);
    const fixed = linear(staticFeatures, parameters.static_input_transformation).expandDims<tf.Tensor3D>(1);
    for (const block of parameters.transformer_blocks) {
      const [ownT, ownO] = [look(t, t, block.self_attention_t), look(o, o, block.self_attention_o)];
      let [nextT, nextO] = [look(ownT, o, block.cross_attention_to), look(ownO, t, block.cross_attention_ot)];
      if (v && vitalsActive) {
        const both = (query: tf.Tensor3D, key: tf.Tensor3D) =>
          seenThrough(tf.mul(query, key.transpose([0, 2, 1])).expandDims(1));
        const ownV = look(v, v, block.self_attention_v!, seenThrough(rowsOf(vitalsActive)));
        const toVitals = both(active, vitalsActive), fromVitals = both(vitalsActive, active);
        nextT = nextT.add(look(ownT, v, block.cross_attention_tv!, toVitals));
        nextO = nextO.add(look(ownO, v, block.cross_attention_ov!, toVitals));
        const nextV = look(ownV, t, block.cross_attention_vt!, fromVitals)
          .add<tf.Tensor3D>(look(ownV, o, block.cross_attention_vo!, fromVitals));
        v = feedForward(nextV.add(fixed), block.feed_forwards[2], dropHere());
      }
      t = feedForward(nextT.add(fixed), block.feed_forwards[0], dropHere());
      o = feedForward(nextO.add(fixed), block.feed_forwards[1], dropHere());
    }
    const two = t.add<tf.Tensor3D>(o);
    const mixed = v && vitals ? meanOfStreams(two, v, beforeStep(vitals.until, steps)) : two.div<tf.Tensor3D>(2);
    const dropped = dropout(mixed, drop?.rate ?? 0, drop && foldIn(drop.key, 0));
    return representation(dropped, parameters.br_treatment_outcome_head);
  });
}

/** 1 before a step of each row, [rows, steps, 1]. */
function beforeStep(until: readonly number[], steps: number): tf.Tensor3D {
  return tf.tensor3d(until.map((end) => Array.from({ length: steps }, (_, t) => [Number(t < end)])));
}

/** The mean of three streams while vitals are known, then of two. */
function meanOfStreams(two: tf.Tensor3D, vitals: tf.Tensor3D, known: tf.Tensor3D): tf.Tensor3D {
  return two.add(vitals.mul(known)).div<tf.Tensor3D>(known.add(2));
}

/** The groups of domain confusion: layers of the treatment classifier, and all else. */
const CLASSIFIER = ["linear2", "linear3"] as const;

/** What the two groups minimise. */
export interface DomainConfusion {
  /** Of all but the classifier: the outcome's error, and alpha times how far the classifier is from "all alike". */
  readonly outcome: tf.Scalar;
  /** Of the classifier, on a representation that it does not change. */
  readonly classifier: tf.Scalar;
}

/** A network with a balanced head. */
export interface WithBalancedHead {
  readonly br_treatment_outcome_head: BalancedHeadParameters;
}

/**
 * Both losses of domain confusion.
 *
 * @param averaged The moving average of the weights: each group sees the other's average. The gradient that passes through
 *   the classifier's layers is formed with its present weights, as in the authors' code, which swaps them back before.
 *   Absent: the present weights everywhere.
 * @param represent The representation under some weights.
 * @param classifierToo Whether the first loss gives the classifier a gradient, which nobody applies: to compare numbers.
 */
export function domainConfusion<P extends WithBalancedHead>(
  batch: Batch,
  parameters: P,
  averaged: P | undefined,
  alpha: tf.Scalar,
  represent: (batch: Batch, parameters: P) => tf.Tensor3D,
  { classifierToo = false }: { readonly classifierToo?: boolean } = {},
): DomainConfusion {
  const head = parameters.br_treatment_outcome_head;
  const classifier = classifierToo ? head : fixedClassifier(head);
  const br = represent(batch, parameters);
  const mse = squaredError(outcomeOf(br, batch.currentTreatments, head), batch);
  const logits = averaged
    ? logitsThrough(br, averaged.br_treatment_outcome_head, classifier)
    : treatmentLogits(br, classifier);
  const confused = overActive(confusionError(logits), batch);
  const seen = stopGradient(averaged ? represent(batch, averaged) : br);
  const told = overActive(treatmentError(treatmentLogits(seen, head), batch.currentTreatments), batch);
  return { outcome: mse.add<tf.Scalar>(confused.mul(alpha)), classifier: told.mul<tf.Scalar>(alpha) };
}

/** A head whose classifier gets no gradient. */
function fixedClassifier(head: BalancedHeadParameters): BalancedHeadParameters {
  const fixed = CLASSIFIER.map((name) => {
    const { weight, bias } = head[name];
    return [name, { weight: stopGradient(weight), bias: bias && stopGradient(bias) }];
  });
  return { ...head, ...Object.fromEntries(fixed) };
}

/** The classifier's logits with averaged weights; gradients as if they were the present ones. */
function logitsThrough(
  br: tf.Tensor3D,
  averaged: BalancedHeadParameters,
  present: BalancedHeadParameters,
): tf.Tensor3D {
  const through = (x: tf.Tensor3D, name: "linear2" | "linear3") => {
    const used = averaged[name];
    const layer = tf.customGrad((...given: (tf.Tensor | tf.GradSaveFunc)[]) => {
      const [x, weight] = given as tf.Tensor[];
      (given[3] as tf.GradSaveFunc)([x, weight]);
      return {
        value: linear(x as tf.Tensor3D, used),
        gradFunc: (slope: tf.Tensor, [x, weight]: tf.Tensor[]) => {
          const rows = slope.reshape<tf.Tensor2D>([-1, weight.shape[0]]);
          const inputs = x.reshape<tf.Tensor2D>([-1, weight.shape[1]!]);
          const toX = tf.matMul(rows, weight as tf.Tensor2D).reshape(x.shape);
          return [toX, tf.matMul(rows, inputs, true), rows.sum(0)];
        },
      };
    });
    return layer(x, present[name].weight, present[name].bias!) as tf.Tensor3D;
  };
  return through(tf.elu(through(br, "linear2")), "linear3");
}

/** What is left of an average at its update `n`, counted from 1. */
export function averageDecay(n: number, most = 0.99): number {
  return Math.min(most, (1 + n) / (10 + n));
}

/** Weights of the four treatments by how rare they are among the active entries. */
export function classWeights({ currentTreatments, active }: Pick<Batch, "currentTreatments" | "active">): tf.Tensor1D {
  return tidy(() => {
    const counts = currentTreatments.mul(active).sum<tf.Tensor1D>([0, 1]);
    return tf.div<tf.Tensor1D>(active.sum(), counts.mul(counts.shape[0]));
  });
}

/**
 * Predicts day after day with a model that reads whole rows: what it predicts stands where the unknown volumes would.
 *
 * @param splits [rows]: the first step whose volume is not known.
 * @param horizon Days beyond the first prediction.
 * @param predict The next volume at each step, [rows, steps, 1].
 * @returns Predictions for 2 to horizon + 1 days ahead, [rows, horizon, 1], and the volumes with them filled in.
 */
export function rollOut(
  batch: Batch,
  splits: readonly number[],
  horizon: number,
  predict: (batch: Batch) => tf.Tensor3D,
): { predictions: tf.Tensor3D; prevOutputs: tf.Tensor3D } {
  return tidy(() => {
    const [rows, steps] = batch.prevOutputs.shape;
    let { prevOutputs } = batch;
    const predictions: tf.Tensor[] = [];
    for (let s = 0; s <= horizon; s++) {
      const predicted = predict({ ...batch, prevOutputs });
      const at = tf.oneHot(tf.tensor1d(splits.map((split) => split - 1 + s), "int32"), steps).reshape([rows, steps, 1]);
      const next = predicted.mul(at).sum(1, true);
      if (s > 0) predictions.push(next);
      if (s === horizon) break;
      const place = tf.oneHot(tf.tensor1d(splits.map((split) => split + s), "int32"), steps).reshape([rows, steps, 1]);
      prevOutputs = tf.where(place.cast("bool"), tf.broadcastTo(next, prevOutputs.shape), prevOutputs) as tf.Tensor3D;
    }
    return { predictions: tf.concat(predictions, 1) as tf.Tensor3D, prevOutputs };
  });
}
