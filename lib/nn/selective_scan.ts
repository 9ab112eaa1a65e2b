/**
 * The selective scan: the recurrence of a diagonal state-space model whose step sizes and couplings depend on the input. In
 * parallel, step by step, and over some of the tokens alone, as if the others had been there without an input.
 *
 * Gu and Dao, "Mamba: Linear-Time Sequence Modeling with Selective State Spaces", 2023, arXiv:2312.00752, section 3.2:
 * `h_t = exp(Δ_t A) h_(t-1) + Δ_t B_t u_t`, `y_t = C_t h_t + D u_t`. Checked against the reference scan (tests/golden,
 * `ssm.selective_scan_gap`).
 *
 * @module
 */
import { gatherTokens, linearRecurrence, scan, tf, tidy } from "../tensor/mod.ts";

/** What a selective scan goes through. */
export interface SelectiveScan {
  /** Inputs [batch, tokens, channels]. */
  readonly u: tf.Tensor3D;
  /** Step sizes [batch, tokens, channels], above 0. */
  readonly delta: tf.Tensor3D;
  /** A [channels, states], below 0, so that a state decays. */
  readonly a: tf.Tensor2D;
  /** B [batch, tokens, states]: how an input enters the states. */
  readonly b: tf.Tensor3D;
  /** C [batch, tokens, states]: how the states are read. */
  readonly c: tf.Tensor3D;
  /** D [channels]: what of an input goes straight to its output. */
  readonly d?: tf.Tensor1D;
}

/** What comes out of one. */
export interface SelectiveScanOutput {
  /** [batch, tokens, channels] */
  readonly y: tf.Tensor3D;
  /** States after the last token, [batch, channels, states]. */
  readonly last: tf.Tensor3D;
}

/**
 * The scan, all tokens at once in log2(tokens) rounds. Costs batch x tokens x channels x states numbers of memory.
 *
 * @example One channel with one state that halves at every step
 * ```ts
 * import assert from "node:assert/strict";
 * import { tf } from "tessera/tensor/mod.ts";
 * const ones = tf.ones<tf.Rank.R3>([1, 3, 1]);
 * const { y } = selectiveScan({ u: tf.tensor3d([[[1], [0], [0]]]), delta: ones, a: tf.tensor2d([[-Math.LN2]]), b: ones, c: ones });
 * assert.deepEqual(y.arraySync().flat(2).map((value) => Math.round(100 * value)), [100, 50, 25]);
 * ```
 */
export function selectiveScan(inputs: SelectiveScan): SelectiveScanOutput {
  return tidy(() => {
    const { decay, drive } = terms(inputs);
    return read(linearRecurrence(decay, drive, { axis: 1 }), inputs);
  });
}

/**
 * The same, token by token: what a model does that makes one token after another.
 *
 * @param state States before the first token, [batch, channels, states]. Default: 0.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { tf } from "tessera/tensor/mod.ts";
 * const ones = tf.ones<tf.Rank.R3>([1, 2, 1]);
 * const { last } = selectiveScanStepwise({ u: ones, delta: ones, a: tf.tensor2d([[-Math.LN2]]), b: ones, c: ones });
 * assert.ok(Math.abs(last.dataSync()[0] - 1.5) < 1e-6);
 * ```
 */
export function selectiveScanStepwise(inputs: SelectiveScan, state?: tf.Tensor3D): SelectiveScanOutput {
  return tidy(() => {
    const { decay, drive } = terms(inputs);
    const first = state ?? tf.zerosLike(drive.slice([0, 0, 0, 0], [-1, 1, -1, -1])).squeeze<tf.Tensor3D>([1]);
    const [, states] = scan<tf.Tensor, { decay: tf.Tensor; drive: tf.Tensor }, tf.Tensor>(
      (h, x) => {
        const next = h.mul(x.decay).add(x.drive);
        return [next, next];
      },
      first,
      { decay, drive } as { decay: tf.Tensor; drive: tf.Tensor },
      { axis: 1 },
    ) as unknown as [tf.Tensor, tf.Tensor4D];
    return read(states, inputs);
  });
}

/**
 * The scan over some tokens alone, as if the others had been there with an input of 0: between two of them the state decays
 * by all step sizes in between. With `u` of the others set to 0, the whole scan gives the same numbers at the same places.
 *
 * Needs the step sizes of all tokens, but neither couplings nor memory for those that are gone.
 *
 * @param inputs Of all tokens.
 * @param kept [batch, kept] int32: places of the tokens that stay, ascending.
 * @returns `y` [batch, kept, channels]; `last` after the last token of all.
 *
 * @example The token in the middle is gone, its decay is not
 * ```ts
 * import assert from "node:assert/strict";
 * import { tf } from "tessera/tensor/mod.ts";
 * const ones = tf.ones<tf.Rank.R3>([1, 3, 1]);
 * const inputs = { u: tf.tensor3d([[[1], [9], [0]]]), delta: ones, a: tf.tensor2d([[-Math.LN2]]), b: ones, c: ones };
 * const { y } = gapAwareScan(inputs, tf.tensor2d([[0, 2]], [1, 2], "int32"));
 * assert.deepEqual(y.arraySync().flat(2).map((value) => Math.round(100 * value)), [100, 25]);
 * ```
 */
export function gapAwareScan(inputs: SelectiveScan, kept: tf.Tensor2D): SelectiveScanOutput {
  return tidy(() => {
    const { u, delta, a, b, c, d } = inputs;
    const [batch, tokens, channels] = u.shape, count = kept.shape[1];
    const time = tf.cumsum<tf.Tensor3D>(delta, 1); // step sizes up to and including each token
    const at = gatherTokens(time, kept);
    const before = tf.concat([tf.zeros<tf.Rank.R3>([batch, 1, channels]), at.slice([0, 0, 0], [-1, count - 1, -1])], 1);
    const own = {
      u: gatherTokens(u, kept),
      delta: gatherTokens(delta, kept),
      a,
      b: gatherTokens(b, kept),
      c: gatherTokens(c, kept),
    };
    const decay = decayOver(at.sub<tf.Tensor3D>(before), a);
    const { y, last } = read(linearRecurrence(decay, terms(own).drive, { axis: 1 }), { ...own, ...(d ? { d } : {}) });
    const end = (x: tf.Tensor3D, length: number) => x.slice([0, length - 1, 0], [-1, 1, -1]) as tf.Tensor3D;
    const behind = decayOver(end(time, tokens).sub<tf.Tensor3D>(end(at, count)), a).squeeze<tf.Tensor3D>([1]);
    return { y, last: last.mul<tf.Tensor3D>(behind) };
  });
}

/** exp(time x A): [batch, tokens, channels, states] */
function decayOver(time: tf.Tensor3D, a: tf.Tensor2D): tf.Tensor4D {
  return tf.exp(time.expandDims<tf.Tensor4D>(3).mul(a));
}

function terms({ u, delta, a, b }: SelectiveScan): { decay: tf.Tensor4D; drive: tf.Tensor4D } {
  return { decay: decayOver(delta, a), drive: delta.mul(u).expandDims<tf.Tensor4D>(3).mul(b.expandDims(2)) };
}

function read(states: tf.Tensor4D, { u, c, d }: Pick<SelectiveScan, "u" | "c" | "d">): SelectiveScanOutput {
  const y = states.mul(c.expandDims(2)).sum<tf.Tensor3D>(3);
  const tokens = states.shape[1];
  const last = states.slice([0, tokens - 1, 0, 0], [-1, 1, -1, -1]).squeeze<tf.Tensor3D>([1]);
  return { y: d ? y.add<tf.Tensor3D>(u.mul(d)) : y, last };
}
