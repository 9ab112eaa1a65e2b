import assert from "node:assert/strict";
import { tf, tidy } from "../../lib/tensor/mod.ts";
import {
  applyMap,
  combineMatrix,
  composeMaps,
  identityMap,
  membership,
  mergeInto,
  type SlotMap,
  type SoftMap,
  type TokenMap,
  unmerge,
} from "../../lib/nn/token_map.ts";

/** A slot map from its slots, on a napkin. */
function slotMap(slots: number[][], weight?: number[][]): SlotMap {
  const tokens = slots[0].length, outputs = Math.max(...slots.flat()) + 1;
  return {
    kind: "slots",
    tokens,
    outputs,
    slot: tf.tensor2d(slots, undefined, "int32"),
    ...(weight ? { weight: tf.tensor2d(weight) } : {}),
    budget: { requested: tokens - outputs, achieved: tokens - outputs },
  };
}

function softMap(matrix: number[][]): SoftMap {
  const outputs = matrix.length, tokens = matrix[0].length;
  const budget = { requested: tokens - outputs, achieved: tokens - outputs };
  return { kind: "soft", tokens, outputs, matrix: tf.tensor3d([matrix]), budget };
}

const x = () => tf.tensor3d([[[1, 10], [2, 20], [3, 30], [6, 60]]]);

Deno.test("a dropped token is gone, with its size", () => {
  tidy(() => {
    const { x: y, size } = applyMap(slotMap([[0, -1, 1, -1]]), x(), tf.tensor2d([[1, 2, 3, 4]]));
    assert.deepEqual(y.arraySync(), [[[1, 10], [3, 30]]]);
    assert.deepEqual(size.arraySync(), [[1, 3]]);
  });
});

Deno.test("merged tokens become their mean by size", () => {
  tidy(() => {
    const { x: y, size } = applyMap(slotMap([[0, 1, 1, 1]]), x(), tf.tensor2d([[1, 1, 2, 1]]));
    assert.deepEqual(y.arraySync(), [[[1, 10], [3.5, 35]]]);
    assert.deepEqual(size.arraySync(), [[1, 4]]);
  });
});

Deno.test("packed tokens become their weighted sum, and keep their number as size", () => {
  tidy(() => {
    const { x: y, size } = applyMap(slotMap([[0, 1, 1, 1]], [[1, 0.5, 0, 0.25]]), x());
    assert.deepEqual(y.arraySync(), [[[1, 10], [2.5, 25]]]);
    assert.deepEqual(size.arraySync(), [[1, 3]]);
  });
});

Deno.test("unmerge copies each output to its members and fills dropped tokens with zeros", () => {
  tidy(() => {
    const back = unmerge(slotMap([[1, 0, -1, 1]]), tf.tensor3d([[[7], [9]]]));
    assert.deepEqual(back.arraySync(), [[[9], [7], [0], [9]]]);
  });
});

Deno.test("composing two maps is the same as applying them one after the other", () => {
  const firsts: TokenMap[] = [
    slotMap([[0, 1, 1, 2]]),
    slotMap([[0, -1, 1, 2]]),
    slotMap([[0, 1, 2, 2]], [[1, 1, 0.25, 0.5]]),
    softMap([[0.5, 0.5, 0, 0], [0, 0.25, 0.5, 0.25], [0.25, 0, 0.25, 0.5]]),
  ];
  const seconds: TokenMap[] = [
    slotMap([[0, 1, 0]]),
    slotMap([[-1, 0, 1]]),
    slotMap([[0, 1, 1]], [[1, 0.5, 0.25]]),
    softMap([[0.5, 0.25, 0.25], [0, 0.5, 0.5]]),
  ];
  for (const [i, first] of firsts.entries()) {
    for (const [j, second] of seconds.entries()) {
      tidy(() => {
        const size = tf.tensor2d([[1, 2, 1, 3]]);
        const one = applyMap(first, x(), size);
        const stepwise = applyMap(second, one.x, one.size);
        const whole = applyMap(composeMaps(first, second, size), x(), size);
        const difference = tf.sub(stepwise.x, whole.x).abs().max().dataSync()[0];
        assert.ok(difference < 1e-5, `maps ${i} and ${j} differ by ${difference}`);
        if (first.kind === "slots" && second.kind === "slots") {
          assert.deepEqual(whole.size.arraySync(), stepwise.size.arraySync());
        }
      });
    }
  }
});

Deno.test("the combine matrix gives what applyMap gives", () => {
  for (const map of [slotMap([[0, 1, 1, 2]]), slotMap([[0, 1, -1, 1]], [[1, 1, 1, 0.5]]), softMap([[1, 2, 3, 4]])]) {
    tidy(() => {
      const size = tf.tensor2d([[1, 2, 1, 3]]);
      const difference = tf.sub(tf.matMul(combineMatrix(map, size), x()), applyMap(map, x(), size).x);
      assert.ok(difference.abs().max().dataSync()[0] < 1e-5);
    });
  }
});

Deno.test("a soft map gives mass away by column: each token at most once", () => {
  tidy(() => {
    const map = softMap([[0.5, 0.2, 0, 0], [0.5, 0.2, 0.1, 0]]);
    assert.deepEqual(membership(map).sum(1).arraySync(), [[1, 1, 1, 0]]);
  });
});

Deno.test("the identity map changes nothing", () => {
  tidy(() => {
    const { x: y, size } = applyMap(identityMap(1, 4), x());
    assert.deepEqual(y.arraySync(), x().arraySync());
    assert.deepEqual(size.arraySync(), [[1, 1, 1, 1]]);
  });
});

Deno.test("a map refuses tokens that it was not made for", () => {
  tidy(() => {
    const map = slotMap([[0, 1, 1]]);
    assert.throws(() => applyMap(map, x()), /made for 3 tokens, but x has 4/);
    assert.throws(() => unmerge(map, tf.tensor3d([[[1]]])), /needs the 2 tokens that this map gives, but y has 1/);
    assert.throws(() => composeMaps(map, slotMap([[0, 0, 0]])), /made for 3 tokens, but the second map has 2/);
  });
});

Deno.test("gradients flow through a merge to each member, by its share", () => {
  tidy(() => {
    const map = slotMap([[0, 1, 1, -1]]);
    const gradient = tf.grad((t) => applyMap(map, t as tf.Tensor3D, tf.tensor2d([[1, 1, 3, 1]])).x.sum());
    assert.deepEqual(gradient(x()).arraySync(), [[[1, 1], [0.25, 0.25], [0.75, 0.75], [0, 0]]]);
  });
});

Deno.test("a merge sums what its matrix sums, and has its gradients, to the features and to the sizes", () => {
  tf.tidy(() => {
    const bools = (rows: number[][]) => tf.tensor2d(rows, undefined, "bool");
    const ints = (rows: number[][]) => tf.tensor2d(rows, undefined, "int32");
    const leaves = bools([[0, 1, 0, 1, 0], [1, 0, 0, 0, 1]]);
    const map = mergeInto(leaves, ints([[0, 2, 0, 2, 0], [3, 0, 0, 0, 1]]), { requested: 2, achieved: 2 });
    const x = tf.tensor3d(Array.from({ length: 30 }, (_, i) => Math.sin(i * i)), [2, 5, 3]);
    const size = tf.tensor2d([[1, 2, 3, 1, 5], [2, 2, 1, 4, 1]]);
    const slopes = tf.cos(tf.range(0, 18)).reshape([2, 3, 3]);
    const loss = (run: (x: tf.Tensor3D, size: tf.Tensor2D) => tf.Tensor) => (x: tf.Tensor, size: tf.Tensor) =>
      run(x as tf.Tensor3D, size as tf.Tensor2D).mul(slopes).sum() as tf.Scalar;
    const picked = (x: tf.Tensor3D, size: tf.Tensor2D) => applyMap(map, x, size).x;
    const dense = (x: tf.Tensor3D, size: tf.Tensor2D) => tf.matMul(combineMatrix(map, size), x);
    const results = [picked, dense].map((run) => [run(x, size), ...tf.grads(loss(run))([x, size])]);
    results[0].forEach((tensor, i) => {
      const off = tf.sub(tensor, results[1][i]).abs().max().dataSync()[0];
      assert.ok(off < 1e-5, `${["sum", "gradient of x", "gradient of the sizes"][i]} is off by ${off}`);
    });
  });
});
