import assert from "node:assert/strict";
import { drawKept, logProbabilityOf, reinforceLoss, softKept } from "../../lib/reduction/mod.ts";
import { random } from "../../lib/random.ts";
import { randomKey, tf } from "../../lib/tensor/mod.ts";

const TOKENS = 6, SETS = 2 ** TOKENS;
/** Every set of six tokens, [64, 6]. */
const sets = tf.tensor2d(
  Array.from({ length: SETS }, (_, set) => Array.from({ length: TOKENS }, (_, token) => set >> token & 1)),
);
const many = (odds: tf.Tensor) => odds.tile<tf.Tensor2D>([SETS, 1]);

/** Odds of six tokens, and what each set of them earns: anything. */
function game() {
  const rng = random(3);
  return { odds: tf.tensor2d(rng.normals(TOKENS), [1, TOKENS]), reward: tf.tensor1d(rng.normals(SETS)) };
}

Deno.test("REINFORCE is the gradient of the expected reward: over all sets of six tokens, with any baseline", () => {
  const { odds, reward } = game();
  const chance = (from: tf.Tensor) => tf.exp(logProbabilityOf(many(from), sets));
  assert.ok(Math.abs(chance(odds).sum().dataSync()[0] - 1) < 1e-5);
  const truth = tf.grad((from) => tf.mul(chance(from), reward).sum())(odds).dataSync();
  const often = chance(odds);
  for (const baseline of [0, 0.7, -3]) {
    // each draw weighed by how often it comes: the mean of infinitely many
    const weighed = tf.grad((from) => {
      const each = Array.from({ length: SETS }, (_, set) => {
        const one = <T extends tf.Tensor>(x: T) => x.slice([set], [1]) as T;
        const loss = reinforceLoss(from as tf.Tensor2D, one(sets), one(reward), tf.tensor1d([baseline]));
        return loss.mul(one(often).squeeze());
      });
      return tf.addN(each);
    })(odds).dataSync();
    truth.forEach((slope, token) => assert.ok(Math.abs(-weighed[token] - slope) < 1e-5, `token ${token}`));
  }
});

Deno.test("draws keep each token as often as its odds say, and both ways of drawing agree", () => {
  const odds = tf.tensor2d([[-1, 0, 2]]).tile<tf.Tensor2D>([4000, 1]);
  const expected = [-1, 0, 2].map((odd) => 1 / (1 + Math.exp(-odd)));
  for (const draw of [drawKept, softKept]) {
    const share = draw(odds, randomKey(5)).mean(0).dataSync();
    expected.forEach((p, token) => assert.ok(Math.abs(share[token] - p) < 4 * Math.sqrt(p * (1 - p) / 4000)));
  }
});

Deno.test("many draws of REINFORCE lead where the exact gradient points", () => {
  const { odds, reward } = game();
  const truth = tf.grad((from) => tf.mul(tf.exp(logProbabilityOf(many(from), sets)), reward).sum())(odds).dataSync();
  const draws = 20000;
  const kept = drawKept(odds.tile<tf.Tensor2D>([draws, 1]), randomKey(7));
  const which = tf.mul(kept, tf.tensor1d(Array.from({ length: TOKENS }, (_, token) => 2 ** token))).sum(1).toInt();
  const earned = tf.gather(reward, which) as tf.Tensor1D;
  const slope = tf.grad((from) =>
    reinforceLoss(from.tile<tf.Tensor2D>([draws, 1]), kept, earned, tf.zerosLike(earned) as tf.Tensor1D)
  )(odds).dataSync();
  truth.forEach((exact, token) => assert.ok(Math.abs(-slope[token] - exact) < 0.03, `${-slope[token]}, not ${exact}`));
});

Deno.test("a temperature of 0 is refused", () => {
  assert.throws(
    () => softKept(tf.tensor2d([[0]]), randomKey(1), 0),
    /temperature must be above 0, but it is 0; 1 is usual/,
  );
});
