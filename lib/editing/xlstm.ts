/**
 * xLSTM: an LSTM with exponential gates, whose cell is a matrix (mLSTM, written in parallel or step by step) or a vector
 * with recurrent weights (sLSTM).
 *
 * Beck et al., "xLSTM: Extended Long Short-Term Memory", NeurIPS 2024, arXiv:2405.04517, in the form that CLEF's authors
 * ship. Checked against it (`xlstm.*`, `clef.xlstm_forward`). One difference from the original is theirs: in the parallel
 * form the stabiliser is at least -80, against NaN. Upstream's CUDA kernel runs the sLSTM in bfloat16; here it is float32.
 *
 * @module
 */
import { constant, gelu, normal } from "../nn/mod.ts";
import { scan, tf, tidy } from "../tensor/mod.ts";
import { dense, join, one, residualNormSpec, type Specs, torchUniform, weightOf, type Weights } from "./parameters.ts";

/** The sizes of a stack of xLSTM blocks. */
export interface XLSTMConfig {
  /** A divisor of the width. */
  readonly heads: number;
  readonly blocks: number;
  /** Records that the causal convolution sees. */
  readonly convolution: number;
  /** Side of the blocks of the block-diagonal query, key and value projections. */
  readonly qkvBlock: number;
  /** Blocks that are sLSTM; the others are mLSTM. Default: [1], as in CLEF. */
  readonly slstmAt?: readonly number[];
}

/** CLEF's xLSTM encoder. It sees no time: the calendar enters by the gap to the target only. */
export interface XLSTMEncoder extends XLSTMConfig {
  readonly kind: "xlstm";
}

/** Queries, keys and values [batch, heads, records, width per head]; gates before their activation, [batch, heads, records]. */
export interface MLSTMInput {
  readonly queries: tf.Tensor4D;
  readonly keys: tf.Tensor4D;
  readonly values: tf.Tensor4D;
  readonly inputGate: tf.Tensor3D;
  readonly forgetGate: tf.Tensor3D;
}

/** What the mLSTM carries from record to record. */
export interface MLSTMState {
  /** [batch, heads, width, width] */
  readonly c: tf.Tensor4D;
  /** [batch, heads, width] */
  readonly n: tf.Tensor3D;
  /** [batch, heads] */
  readonly m: tf.Tensor2D;
}

const EPSILON = 1e-6;
/** The authors' guard against NaN in the parallel form; the recurrent form has none. */
const LOWEST_STABILISER = -80;
/** What is added to the logarithm of a gate to close it. */
const HIDDEN = -1e30;

/**
 * The mLSTM cell over all records at once, as a matrix of pairs of records.
 *
 * @returns [batch, heads, records, width per head]
 *
 * @example One record: its value, scaled by how well query and key fit
 * ```ts
 * import assert from "node:assert/strict";
 * import { tf } from "tessera/tensor/mod.ts";
 * const one = tf.ones<tf.Rank.R4>([1, 1, 1, 1]);
 * const gate = tf.zeros<tf.Rank.R3>([1, 1, 1]);
 * const h = mlstmParallel({ queries: one, keys: one, values: one.mul(3), inputGate: gate, forgetGate: gate });
 * assert.ok(Math.abs(h.dataSync()[0] - 3) < 1e-4);
 * ```
 */
export function mlstmParallel({ queries, keys, values, inputGate, forgetGate }: MLSTMInput): tf.Tensor4D {
  const [, , records, width] = queries.shape;
  return tidy(() => {
    const cumulated = logSigmoid(forgetGate).cumsum(2); // of log forget gates, record 0 included
    const row = tf.range(0, records).expandDims(1);
    const later = tf.greater(tf.range(0, records).expandDims(0), row).reshape([1, 1, records, records]);
    const pairs = tf.sub(cumulated.expandDims(3), cumulated.expandDims(2)).add(inputGate.expandDims(2));
    const logD = pairs.add<tf.Tensor4D>(later.cast("float32").mul(HIDDEN));
    const m = tf.maximum(logD.max(3, true), LOWEST_STABILISER);
    const fit = tf.matMul(queries, keys, false, true).mul(width ** -0.5);
    const s = fit.mul<tf.Tensor4D>(logD.sub(m).exp());
    const n = tf.maximum(s.sum(3, true).abs(), m.neg().exp()).add(EPSILON);
    return tf.matMul(s, values).div<tf.Tensor4D>(n);
  });
}

/**
 * The same cell step by step, for one record after the other.
 *
 * @param state What the records before have left; absent: nothing.
 * @returns h as {@link mlstmParallel}, and the state after the last record.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { tf } from "tessera/tensor/mod.ts";
 * const x = tf.tensor4d([1, 2, 3, 4], [1, 1, 2, 2]);
 * const gate = tf.tensor3d([0.5, -0.5], [1, 1, 2]);
 * const input = { queries: x, keys: x, values: x, inputGate: gate, forgetGate: gate };
 * const difference = mlstmParallel(input).sub(mlstmRecurrent(input).h).abs().max().arraySync();
 * assert.ok(difference as number < 1e-4);
 * ```
 */
export function mlstmRecurrent(
  { queries, keys, values, inputGate, forgetGate }: MLSTMInput,
  state?: MLSTMState,
): { h: tf.Tensor4D; state: MLSTMState; stabilisers: tf.Tensor3D } {
  const [batch, heads, , width] = queries.shape;
  return tidy(() => {
    const start: MLSTMState = state ?? {
      c: tf.zeros([batch, heads, width, width]),
      n: tf.zeros([batch, heads, width]),
      m: tf.zeros([batch, heads]),
    };
    const step = ({ c, n, m }: MLSTMState, x: Record<"q" | "k" | "v" | "i" | "f", tf.Tensor>): [MLSTMState, {
      h: tf.Tensor;
      m: tf.Tensor;
    }] => {
      const logF = logSigmoid(x.f);
      const next = tf.maximum<tf.Tensor2D>(logF.add(m), x.i);
      const f = logF.add(m).sub(next).exp();
      const i = x.i.sub(next).exp();
      const k = x.k.mul(width ** -0.5);
      // c[key channel, value channel]
      const outer = tf.mul(k.expandDims(3), x.v.expandDims(2));
      const cNext = c.mul(f.expandDims(2).expandDims(3)).add<tf.Tensor4D>(outer.mul(i.expandDims(2).expandDims(3)));
      const nNext = n.mul(f.expandDims(2)).add<tf.Tensor3D>(k.mul(i.expandDims(2)));
      const fit = x.q.mul(nNext).sum(2, true).abs();
      const denominator = tf.maximum(fit, next.neg().exp().expandDims(2)).add(EPSILON);
      const h = tf.mul(x.q.expandDims(3), cNext).sum(2).div(denominator);
      return [{ c: cNext, n: nNext, m: next }, { h, m: next }];
    };
    const sequence: Record<"q" | "k" | "v" | "i" | "f", tf.Tensor> = {
      q: queries,
      k: keys,
      v: values,
      i: inputGate,
      f: forgetGate,
    };
    const [last, outputs] = scan<MLSTMState, typeof sequence, { h: tf.Tensor; m: tf.Tensor }>(
      step,
      start,
      sequence,
      { axis: 2 },
    ) as unknown as [MLSTMState, { h: tf.Tensor4D; m: tf.Tensor3D }];
    return { h: outputs.h, state: last, stabilisers: outputs.m };
  });
}

/** What the sLSTM carries: each [batch, width]. */
export interface SLSTMState {
  readonly h: tf.Tensor2D;
  readonly c: tf.Tensor2D;
  readonly n: tf.Tensor2D;
  readonly m: tf.Tensor2D;
}

/**
 * The sLSTM cell.
 *
 * @param gates What arrives from below, [batch, records, 4 x width]: input, forget, cell, output, each by head and channel.
 * @param recurrent [heads, 4 x channels, channels]: per head from h to the four gates.
 * @param bias [4 x width]: by gate, head and channel.
 * @param state What the records before have left; absent: nothing.
 * @returns h [batch, records, width], and the state after the last record.
 *
 * @example With open gates and no recurrence, the first output is tanh(z)
 * ```ts
 * import assert from "node:assert/strict";
 * import { tf } from "tessera/tensor/mod.ts";
 * const gates = tf.tensor3d([0, 0, 1, 100], [1, 1, 4]);
 * const { h } = slstm(gates, tf.zeros([1, 4, 1]), tf.zeros([4]));
 * assert.ok(Math.abs(h.dataSync()[0] - Math.tanh(1)) < 1e-6);
 * ```
 */
export function slstm(
  gates: tf.Tensor3D,
  recurrent: tf.Tensor3D,
  bias: tf.Tensor1D,
  state?: SLSTMState,
): { h: tf.Tensor3D; state: SLSTMState } {
  const [heads, rows, perHead] = recurrent.shape;
  const batch = gates.shape[0];
  const width = heads * perHead;
  return tidy(() => {
    const zero = tf.zeros<tf.Rank.R2>([batch, width]);
    const start = state ?? { h: zero, c: zero, n: zero, m: zero };
    const first = !state; // from nothing, the stabiliser begins at the input gate
    let t = 0;
    const step = ({ h, c, n, m }: SLSTMState, x: tf.Tensor2D): [SLSTMState, tf.Tensor2D] => {
      const perHeadH = h.reshape<tf.Tensor3D>([batch, heads, perHead]).transpose<tf.Tensor3D>([1, 0, 2]);
      // [heads, batch, 4 x channels] to [batch, 4, heads, channels]
      const back = tf.matMul(perHeadH, recurrent, false, true).reshape([heads, batch, rows / perHead, perHead])
        .transpose([1, 2, 0, 3]).reshape([batch, 4 * width]);
      const [i, f, z, o] = tf.split(x.add(back).add(bias), 4, 1) as tf.Tensor2D[];
      const kept = m.add<tf.Tensor2D>(logSigmoid(f));
      const next = first && t++ === 0 ? i : tf.maximum<tf.Tensor2D>(i, kept);
      const input = i.sub(next).exp();
      const forget = kept.sub(next).exp();
      const cNext = forget.mul(c).add<tf.Tensor2D>(input.mul(z.tanh()));
      const nNext = forget.mul(n).add<tf.Tensor2D>(input);
      const hNext = o.sigmoid().mul(cNext).div<tf.Tensor2D>(nNext);
      return [{ h: hNext, c: cNext, n: nNext, m: next }, hNext];
    };
    const [last, h] = scan(step, start, gates as unknown as tf.Tensor2D, { axis: 1 });
    return { h: h as unknown as tf.Tensor3D, state: last };
  });
}

/** The parameters of a stack, under a prefix such as `encoder`. */
export function xlstmSpec(prefix: string, config: XLSTMConfig, width: number): Specs {
  const { heads, blocks, convolution, qkvBlock } = config;
  const small = normal(Math.sqrt(2 / (5 * width)));
  const wang = normal(2 / (blocks * Math.sqrt(width)));
  const conv = (name: string, channels: number): Specs =>
    join(
      one(`${name}.conv1d.conv.weight`, [channels, 1, convolution], torchUniform(convolution)),
      one(`${name}.conv1d.conv.bias`, [channels], torchUniform(convolution)),
    );
  const inner = roundUp64(2 * width);
  const matrix = (name: string): Specs =>
    join(
      one(`${name}.learnable_skip`, [inner], constant(1)),
      one(`${name}.proj_up.weight`, [2 * inner, width], small),
      ...["q_proj", "k_proj", "v_proj"].map((part) =>
        one(`${name}.${part}.weight`, [inner / qkvBlock, qkvBlock, qkvBlock], small)
      ),
      conv(name, inner),
      one(`${name}.mlstm_cell.igate.weight`, [heads, 3 * inner], constant(0)),
      one(`${name}.mlstm_cell.igate.bias`, [heads], normal(0.1)),
      one(`${name}.mlstm_cell.fgate.weight`, [heads, 3 * inner], constant(0)),
      one(`${name}.mlstm_cell.fgate.bias`, [heads], () => evenly(3, 6, heads)),
      residualNormSpec(`${name}.mlstm_cell.outnorm`, inner),
      one(`${name}.proj_down.weight`, [width, inner], wang),
    );
  const perHead = width / heads;
  const up = roundUp64(1.3 * width);
  const vector = (name: string, index: number): Specs =>
    join(
      conv(`${name}.xlstm`, width),
      ...["fgate", "igate", "zgate", "ogate"].map((part) =>
        one(`${name}.xlstm.${part}.weight`, [heads, perHead, perHead], small)
      ),
      one(`${name}.xlstm.slstm_cell._recurrent_kernel_`, [heads, 4 * perHead, perHead], constant(0)),
      one(
        `${name}.xlstm.slstm_cell._bias_`,
        [4 * width],
        () => slstmBias(width, heads, index / Math.max(1, blocks - 1)),
      ),
      residualNormSpec(`${name}.xlstm.group_norm`, width),
      residualNormSpec(`${name}.ffn_norm`, width),
      one(`${name}.ffn.proj_up.weight`, [2 * up, width], small),
      one(`${name}.ffn.proj_down.weight`, [width, up], wang),
    );
  return join(
    ...Array.from({ length: blocks }, (_, b) => {
      const name = `${prefix}.blocks.${b}`;
      return [
        residualNormSpec(`${name}.xlstm_norm`, width),
        isSLSTM(config, b) ? vector(name, b) : matrix(`${name}.xlstm`),
      ];
    }).flat(),
    residualNormSpec(`${prefix}.post_blocks_norm`, width),
  );
}

/**
 * The bias that the sLSTM starts with: 0 but for the forget gates, which are spread so that the channels of a head remember
 * for different times, and deeper blocks for longer.
 *
 * @param depth 0 for the first block of a stack, 1 for the last.
 * @returns [gate i, f, z, o][head][channel]
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * assert.deepEqual([...slstmBias(2, 1, 0)], [0, 0, 5, -7, 0, 0, 0, 0]);
 * ```
 */
export function slstmBias(width: number, heads: number, depth: number): Float32Array {
  const perHead = width / heads;
  return Float32Array.from({ length: 4 * width }, (_, at) => {
    const [gate, channel] = [Math.floor(at / width), at % perHead];
    if (gate !== 1) return 0;
    return 5 - 12 * (channel / Math.max(1, perHead - 1)) ** (0.3 + 1.3 * depth);
  });
}

/**
 * One block: `x + layer(norm(x))`, and for an sLSTM a gated feed-forward layer after it.
 *
 * @param x [batch, records, width]
 * @param form The mLSTM in parallel or step by step; the sLSTM is step by step in any case.
 */
export function xlstmBlock(
  x: tf.Tensor3D,
  weights: Weights,
  name: string,
  { heads, slstm: vector, form }: { heads: number; slstm: boolean; form: "parallel" | "recurrent" },
): tf.Tensor3D {
  return tidy(() => {
    const y = residualNorm(x, weights, `${name}xlstm_norm`);
    if (!vector) return x.add<tf.Tensor3D>(mlstmLayer(y, weights, `${name}xlstm`, heads, form));
    const after = x.add<tf.Tensor3D>(slstmLayer(y, weights, `${name}xlstm`, heads));
    const hidden = dense(residualNorm(after, weights, `${name}ffn_norm`), weights, `${name}ffn.proj_up`);
    const [gate, up] = tf.split(hidden, 2, 2);
    return after.add<tf.Tensor3D>(dense(gelu(gate).mul<tf.Tensor3D>(up), weights, `${name}ffn.proj_down`));
  });
}

/**
 * A stack of blocks and its last norm.
 *
 * @param x [batch, records, width]
 * @returns The same shape; no record depends on later ones.
 */
export function xlstmStack(
  x: tf.Tensor3D,
  weights: Weights,
  prefix: string,
  config: XLSTMConfig,
  form: "parallel" | "recurrent" = "parallel",
): tf.Tensor3D {
  return tidy(() => {
    let y = x;
    for (let b = 0; b < config.blocks; b++) {
      y = xlstmBlock(y, weights, `${prefix}.blocks.${b}.`, { heads: config.heads, slstm: isSLSTM(config, b), form });
    }
    return residualNorm(y, weights, `${prefix}.post_blocks_norm`);
  });
}

function mlstmLayer(y: tf.Tensor3D, weights: Weights, name: string, heads: number, form: "parallel" | "recurrent") {
  const [batch, records] = y.shape;
  const [a, z] = tf.split(dense(y, weights, `${name}.proj_up`), 2, 2) as tf.Tensor3D[];
  const inner = a.shape[2];
  const ac = silu(causalConvolution(a, weights, `${name}.conv1d.conv`));
  const q = blockDiagonal(ac, weightOf(weights, `${name}.q_proj.weight`));
  const k = blockDiagonal(ac, weightOf(weights, `${name}.k_proj.weight`));
  const v = blockDiagonal(a, weightOf(weights, `${name}.v_proj.weight`));
  const all = tf.concat([q, k, v], 2) as tf.Tensor3D;
  const byHead = (x: tf.Tensor3D) =>
    x.reshape<tf.Tensor4D>([batch, records, heads, inner / heads]).transpose<tf.Tensor4D>([0, 2, 1, 3]);
  const gate = (part: string) => dense(all, weights, `${name}.mlstm_cell.${part}`).transpose<tf.Tensor3D>([0, 2, 1]);
  const input = {
    queries: byHead(q),
    keys: byHead(k),
    values: byHead(v),
    inputGate: gate("igate"),
    forgetGate: gate("fgate"),
  };
  const h = form === "parallel" ? mlstmParallel(input) : mlstmRecurrent(input).h;
  const normed = headNorm(
    h.transpose<tf.Tensor4D>([0, 2, 1, 3]),
    weightOf(weights, `${name}.mlstm_cell.outnorm.weight`),
  );
  const mixed = normed.add(ac.mul(weightOf(weights, `${name}.learnable_skip`))).mul<tf.Tensor3D>(silu(z));
  return dense(mixed, weights, `${name}.proj_down`);
}

function slstmLayer(y: tf.Tensor3D, weights: Weights, name: string, heads: number): tf.Tensor3D {
  const [batch, records, width] = y.shape;
  const yc = silu(causalConvolution(y, weights, `${name}.conv1d.conv`));
  const map = (x: tf.Tensor3D, part: string) => blockDiagonal(x, weightOf(weights, `${name}.${part}.weight`));
  // upstream feeds the module called fgate to the input gate and igate to the forget gate: naming only, kept for the weights
  const gates = tf.concat([map(yc, "fgate"), map(yc, "igate"), map(y, "zgate"), map(y, "ogate")], 2) as tf.Tensor3D;
  const { h } = slstm(
    gates,
    weightOf(weights, `${name}.slstm_cell._recurrent_kernel_`),
    weightOf(weights, `${name}.slstm_cell._bias_`),
  );
  return headNorm(h.reshape([batch, records, heads, width / heads]), weightOf(weights, `${name}.group_norm.weight`));
}

/** Depthwise: each channel sees its own last records; the last tap multiplies the current record. */
function causalConvolution(x: tf.Tensor3D, weights: Weights, name: string): tf.Tensor3D {
  const weight = weightOf<tf.Tensor3D>(weights, `${name}.weight`); // [channels, 1, taps]
  const [channels, , taps] = weight.shape;
  const records = x.shape[1];
  const padded = tf.pad(x, [[0, 0], [taps - 1, 0], [0, 0]]);
  const sum = Array.from({ length: taps }, (_, tap) =>
    padded.slice([0, tap, 0], [-1, records, -1])
      .mul(weight.slice([0, 0, tap], [-1, -1, 1]).reshape([channels])) as tf.Tensor3D);
  return tf.addN(sum).add(weightOf(weights, `${name}.bias`));
}

/** A matrix of blocks along the diagonal, [blocks, out, in], times the last axis of [batch, records, blocks x in]. */
function blockDiagonal(x: tf.Tensor3D, weight: tf.Tensor3D): tf.Tensor3D {
  const [batch, records] = x.shape;
  const [blocks, outputs, inputs] = weight.shape;
  const rows = x.reshape([batch * records, blocks, inputs]).transpose<tf.Tensor3D>([1, 0, 2]);
  return tf.matMul(rows, weight, false, true).transpose([1, 0, 2]).reshape([batch, records, blocks * outputs]);
}

/** Layer norm without bias whose stored weight is what is added to a gain of 1. */
function residualNorm(x: tf.Tensor3D, weights: Weights, name: string): tf.Tensor3D {
  return unit(x).mul<tf.Tensor3D>(weightOf(weights, `${name}.weight`).add(1));
}

/** The same per head: [batch, records, heads, channels] to [batch, records, width]. */
function headNorm(x: tf.Tensor4D, weight: tf.Tensor1D): tf.Tensor3D {
  const [batch, records, heads, channels] = x.shape;
  return unit(x).reshape([batch, records, heads * channels]).mul<tf.Tensor3D>(weight.add(1));
}

function unit<T extends tf.Tensor>(x: T): T {
  const centred = tf.sub<T>(x, x.mean(-1, true));
  return centred.mul<T>(centred.square().mean(-1, true).add(1e-5).rsqrt());
}

const silu = <T extends tf.Tensor>(x: T): T => tf.mul<T>(x, x.sigmoid());
/** -softplus(-x), which does not overflow. */
const logSigmoid = <T extends tf.Tensor>(x: T): T => tf.softplus(x.neg()).neg() as T;
const roundUp64 = (width: number) => 64 * Math.ceil(width / 64);
const isSLSTM = ({ slstmAt = [1] }: XLSTMConfig, block: number) => slstmAt.includes(block);
const evenly = (from: number, to: number, count: number) =>
  Float32Array.from({ length: count }, (_, i) => count === 1 ? from : from + (to - from) * i / (count - 1));
