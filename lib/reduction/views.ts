/**
 * Views of a block seen through something else: some of its tokens, in another order, one image alone.
 *
 * @module
 */
import type { BlockView, TextView, VisionView } from "../nn/reducer.ts";
import { combineMatrix, membership, positionsOf, type TokenMap } from "../nn/token_map.ts";
import { tf, tidy } from "../tensor/mod.ts";

/**
 * Only these tokens of a view, in this order; the same of every image. Whatever was measured on tokens comes along.
 *
 * @param rows Tokens, from 0; the special ones in front must be in front again.
 * @returns A view whose `tokens` is the length of `rows`; its grid is that of the whole.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { tf } from "tessera/tensor/mod.ts";
 * const place = { layer: 0, layers: 1, tokens: 3, initialTokens: 3, specialTokens: 1, grid: [1, 2] as const };
 * const view = { ...place, x: tf.tensor3d([[[9], [1], [2]]]), size: tf.ones<tf.Rank.R2>([1, 3]) };
 * assert.deepEqual(takeTokens(view, [0, 2, 1]).x.arraySync(), [[[9], [2], [1]]]);
 * ```
 */
export function takeTokens(view: BlockView, rows: readonly number[]): BlockView {
  return tidy(() => {
    const index = tf.tensor1d(Int32Array.from(rows), "int32");
    const take = <T extends tf.Tensor>(t: T, axis: number): T => tf.gather(t, index, axis) as T;
    return measured(view, rows.length, {
      token: (t) => take(t, 1),
      perHead: (t) => take(t, 2),
      square: (t) => take(take(t, 2), 3),
      columns: (t) => take(t, 3),
    });
  });
}

/**
 * What a view becomes where `map` has been applied: tokens, keys, queries and values combined as the map says, attention
 * given by as many tokens as there are now and received as their mass.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { tf } from "tessera/tensor/mod.ts";
 * import { identityMap } from "tessera/nn/token_map.ts";
 * import { randomBlock } from "tessera/reduction/laws.ts";
 * const { view } = randomBlock(1);
 * const same = viewAfter(view, identityMap(view.x.shape[0], view.tokens));
 * assert.ok(tf.sub(same.attention!, view.attention!).abs().max().dataSync()[0] < 1e-6);
 * ```
 */
export function viewAfter(view: BlockView, map: TokenMap): BlockView {
  return tidy(() => {
    const combine = combineMatrix(map, view.size); // [batch, outputs, tokens]
    const mass = membership(map);
    const eachHead = (t: tf.Tensor4D) => tf.matMul<tf.Tensor4D>(wide(combine, t), t);
    const received = (t: tf.Tensor4D) => tf.matMul<tf.Tensor4D>(t, wide(mass, t), false, true);
    const next = measured(view, map.outputs, {
      token: (t) => t.rank === 3 ? tf.matMul(combine, t as tf.Tensor3D) : tf.matMul(mass, t.expandDims(2)).squeeze([2]),
      perHead: eachHead,
      square: (t) => received(eachHead(t)),
      columns: received,
    });
    return { ...next, ...(view.positions ? { positions: positionsOf(map, view.positions) } : {}) };
  });
}

/**
 * One image of the batch.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { randomBlock } from "tessera/reduction/laws.ts";
 * assert.equal(oneImage(randomBlock(2).view, 0).x.shape[0], 1);
 * ```
 */
export function oneImage(view: BlockView, image: number): BlockView {
  const only = <T extends tf.Tensor>(t: T): T => tf.slice(t, [image], [1]) as T;
  return tidy(() =>
    measured(view, view.tokens, { token: only, perHead: only, square: only, columns: only, text: only })
  );
}

/** What is done to each kind of thing that was measured on tokens. */
interface Changes {
  /** [batch, tokens] and [batch, tokens, channels] */
  token(t: tf.Tensor): tf.Tensor;
  /** [batch, heads, tokens, channels per head] */
  perHead(t: tf.Tensor4D): tf.Tensor4D;
  /** [batch, heads, tokens, tokens] */
  square(t: tf.Tensor4D): tf.Tensor4D;
  /** [batch, heads, text tokens, tokens] */
  columns(t: tf.Tensor4D): tf.Tensor4D;
  /** What belongs to the text alone. Default: nothing. */
  text?(t: tf.Tensor): tf.Tensor;
}

/** The view with every tensor changed that is there. */
export function measured(view: BlockView, tokens: number, changes: Changes): BlockView {
  const { keys, queries, values, attention, positions, text, vision } = view;
  return {
    ...view,
    tokens,
    x: changes.token(view.x) as tf.Tensor3D,
    size: changes.token(view.size) as tf.Tensor2D,
    ...(keys ? { keys: changes.perHead(keys) } : {}),
    ...(queries ? { queries: changes.perHead(queries) } : {}),
    ...(values ? { values: changes.perHead(values) } : {}),
    ...(attention ? { attention: changes.square(attention) } : {}),
    ...(positions ? { positions: changes.token(positions) as tf.Tensor2D } : {}),
    ...(text ? { text: textOf(text, changes) } : {}),
    ...(vision ? { vision: visionOf(vision, changes) } : {}),
  };
}

function textOf(text: TextView, { columns, text: ofText = (t) => t }: Changes): TextView {
  const { x, queries, keys, attention, attentionAhead } = text;
  return {
    ...text,
    x: ofText(x) as tf.Tensor3D,
    ...(queries ? { queries: ofText(queries) as tf.Tensor4D } : {}),
    ...(keys ? { keys: ofText(keys) as tf.Tensor4D } : {}),
    ...(attention ? { attention: columns(attention) } : {}),
    ...(attentionAhead ? { attentionAhead: columns(attentionAhead) } : {}),
  };
}

function visionOf(vision: VisionView, { token, perHead, columns, text: ofText = (t) => t }: Changes): VisionView {
  const { classAttention, keys, patchEmbeddings, textEmbeddings } = vision;
  return {
    classAttention: columns(classAttention.expandDims(2)).squeeze([2]),
    keys: perHead(keys),
    patchEmbeddings: token(patchEmbeddings) as tf.Tensor3D,
    textEmbeddings: ofText(textEmbeddings) as tf.Tensor3D,
  };
}

/** A matrix per image as one per image and head. */
function wide(matrix: tf.Tensor3D, { shape }: tf.Tensor4D): tf.Tensor4D {
  return matrix.expandDims<tf.Tensor4D>(1).tile([1, shape[1], 1, 1]);
}
