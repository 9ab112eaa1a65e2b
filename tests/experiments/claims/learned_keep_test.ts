import assert from "node:assert/strict";
import {
  CELLS,
  CHANNELS,
  CLUTTER,
  highest,
  images,
  oddsOf,
  policy,
  right,
  seen,
  seer,
  SHAPES,
} from "../../../experiments/claims/learned_keep/model.ts";
import { tf } from "../../../lib/tensor/mod.ts";

const set = images(12, 3);
const x = tf.tensor3d(set.x, [set.count, CELLS, CHANNELS]);

Deno.test("an image shows four shapes on sixteen cells, whatever its clutter", () => {
  for (let i = 0; i < set.count; i++) {
    const sum = (values: ArrayLike<number>, each: number) =>
      Array.from({ length: each }, (_, k) => values[i * each + k]).reduce((total, one) => total + one, 0);
    assert.equal(sum(set.object, CELLS), 16);
    assert.equal(sum(set.shapes, SHAPES), 4);
    assert.equal(set.clutter[i], i % CLUTTER.length);
  }
});

Deno.test("nothing of a dropped cell reaches the answer", () => {
  const model = seer(1);
  const kept = tf.tensor2d(Float32Array.from(set.object), [set.count, CELLS]);
  const dropped = tf.sub(1, kept).expandDims<tf.Tensor3D>(2);
  const before = seen(model, x, kept), after = seen(model, tf.add(x, tf.mul(dropped, 50)), kept);
  assert.ok(tf.max(tf.abs(tf.sub(before, after))).dataSync()[0] < 1e-4);
  const whole = seen(model, tf.add(x, tf.mul(dropped, 50)), tf.onesLike(kept));
  assert.ok(tf.max(tf.abs(tf.sub(before, whole))).dataSync()[0] > 1e-2); // it would have
});

Deno.test("the highest scores of each image, as many as are asked for, one number for all or each its own", () => {
  const score = tf.tensor2d(Float32Array.from({ length: 2 * CELLS }, (_, at) => (at * 37) % 101), [2, CELLS]);
  assert.deepEqual(highest(score, 5).sum(1).arraySync(), [5, 5]);
  const own = highest(score, Int32Array.of(1, 9));
  assert.deepEqual(own.sum(1).arraySync(), [1, 9]);
  const [first] = own.arraySync() as number[][];
  assert.equal(first.indexOf(1), (score.argMax(1).arraySync() as number[])[0]);
});

Deno.test("a policy that sees tokens alone says the same of a token in any image, one with a glance does not", () => {
  const parameters = policy(1);
  const other = tf.concat([x.slice([0, 0, 0], [-1, 1, -1]), tf.mul(x.slice([0, 1, 0], [-1, CELLS - 1, -1]), 3)], 1);
  const first = (from: tf.Tensor, sight: "token alone" | "with a glance") =>
    oddsOf(from as tf.Tensor3D, parameters, sight).slice([0, 0], [-1, 1]);
  const apart = (sight: "token alone" | "with a glance") =>
    tf.max(tf.abs(tf.sub(first(x, sight), first(other, sight)))).dataSync()[0];
  assert.ok(apart("token alone") < 1e-6);
  assert.ok(apart("with a glance") > 1e-4);
});

Deno.test("an image is told right only where all six shapes are", () => {
  const said = tf.tensor2d([[9, 9, -9, -9, -9, -9], [9, 9, -9, -9, -9, 9]]);
  assert.deepEqual(right(said, tf.tensor2d([[1, 1, 0, 0, 0, 0], [1, 1, 0, 0, 0, 0]])).arraySync(), [1, 0]);
});
