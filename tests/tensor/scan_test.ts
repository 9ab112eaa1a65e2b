import assert from "node:assert/strict";
import { associativeScan, linearRecurrence, scan, tf, tidy } from "tessera/tensor/mod.ts";
import { assertAgreement, assertClose, assertGradient, normalTensor, withGradients } from "./agreement.ts";

function testTidy(name: string, body: () => void): void {
  Deno.test(name, () => {
    const { numTensors } = tf.memory();
    tf.tidy(body);
    assert.equal(tf.memory().numTensors, numTensors);
  });
}

type Pair = { x: tf.Tensor; gate: tf.Tensor };

/** A recurrent cell with a state of two tensors and two outputs. */
function cell({ h, count }: { h: tf.Tensor; count: tf.Tensor }, { x, gate }: Pair) {
  const next = h.mul(gate).add(x.tanh());
  return [{ h: next, count: count.add(1) }, { out: next.square(), gated: [gate.mul(count)] }] as [
    { h: tf.Tensor; count: tf.Tensor },
    { out: tf.Tensor; gated: tf.Tensor[] },
  ];
}

testTidy("scan() carries a state through the sequence and stacks what comes out", () => {
  const x = tf.tensor2d([[1, 2], [3, 4], [5, 6]]);
  const [last, sums] = scan(
    (sum, x: tf.Tensor) => [sum.add(x), sum.add(x)],
    tf.zeros([2]) as tf.Tensor,
    x as tf.Tensor,
  );
  assert.deepEqual([last.arraySync(), sums.arraySync()], [[9, 12], [[1, 2], [4, 6], [9, 12]]]);
});

testTidy("scan() takes structures, any axis, and both directions", () => {
  const sequence = { x: normalTensor("x", [2, 4]), gate: normalTensor("g", [2, 4]) };
  const start = { h: tf.zeros([2]) as tf.Tensor, count: tf.scalar(0) as tf.Tensor };
  for (const reverse of [false, true]) {
    const [{ h, count }, { out, gated: [gated] }] = scan(cell, start, sequence, { axis: 1, reverse });
    assert.deepEqual([h.shape, out.shape, gated.shape, count.arraySync()], [[2], [2, 4], [2, 4], 4]);
    let state = start;
    const order = reverse ? [3, 2, 1, 0] : [0, 1, 2, 3];
    for (const t of order) {
      const at = (x: tf.Tensor) => tf.slice(x, [0, t], [2, 1]).squeeze([1]);
      const [next, y] = cell(state, { x: at(sequence.x), gate: at(sequence.gate) });
      state = next;
      assertClose(at(out), y.out, 1e-6, `step ${t}`);
      assertClose(at(gated), y.gated[0], 1e-6, `step ${t}`);
    }
    assertClose(h, state.h, 1e-6, "what is carried");
  }
});

testTidy("scan() has gradients, and is the same compiled", () => {
  const run = (h: tf.Tensor, x: tf.Tensor, gate: tf.Tensor) => {
    const [last, { out, gated: [gated] }] = scan(cell, { h, count: tf.scalar(1) }, { x, gate });
    return [last.h, out, gated];
  };
  const inputs = [normalTensor("h", [2]), normalTensor("x", [4, 2], 0.5), normalTensor("g", [4, 2], 0.5)];
  assertAgreement("scan", withGradients(run), inputs);
  assertGradient("scan", (h, x, gate) => tf.concat(run(h, x, gate).map((y) => y.flatten())), inputs);
});

testTidy("associativeScan() of sums is the running sum, for every length and direction", () => {
  for (const length of [1, 2, 3, 7, 8, 33]) {
    const x = normalTensor<tf.Tensor2D>("a", [2, length]);
    for (const axis of [1, -1]) {
      assertClose(associativeScan((a, b) => tf.add(a, b), x, { axis }), tf.cumsum(x, 1), 1e-5, `${length}`);
      const backwards = associativeScan((a, b) => tf.add(a, b), x, { axis, reverse: true });
      assertClose(backwards, tf.cumsum(x, 1, false, true), 1e-5, `${length}`);
    }
  }
});

testTidy("associativeScan() keeps the order: products of matrices", () => {
  const x = normalTensor<tf.Tensor3D>("m", [6, 2, 2]);
  const products = associativeScan((a, b) => tf.matMul(a, b), x);
  let product = tf.eye(2) as tf.Tensor;
  tf.unstack(x).forEach((matrix, t) => {
    product = tf.matMul(product, matrix);
    assertClose(tf.unstack(products)[t], product, 1e-5, `product ${t}`);
  });
});

testTidy("linearRecurrence() is the loop, has gradients, and is the same compiled", () => {
  for (const [shape, axis] of [[[9, 2], 0], [[2, 5, 3], 1]] as const) {
    const [a, b] = [normalTensor("a", [...shape]), normalTensor("b", [...shape])];
    for (const reverse of [false, true]) {
      const [, expected] = scan(
        (h, { a, b }: { a: tf.Tensor; b: tf.Tensor }) => {
          const next = a.mul(h).add(b);
          return [next, next];
        },
        tf.zeros(shape.filter((_, d) => d !== axis)) as tf.Tensor,
        { a, b },
        { axis, reverse },
      ) as unknown as [tf.Tensor, tf.Tensor];
      assertClose(linearRecurrence(a, b, { axis, reverse }), expected, 1e-5, `axis ${axis}, reverse ${reverse}`);
    }
    const run = (a: tf.Tensor, b: tf.Tensor) => [linearRecurrence(a, b, { axis })];
    assertAgreement("linearRecurrence", withGradients(run), [a, b]);
    assertGradient("linearRecurrence", (a, b) => run(a, b)[0], [a, b].map((x) => x.mul(0.5)));
  }
});

testTidy("sequences of no length, of two lengths, or of two shapes are refused", () => {
  const step = (h: tf.Tensor, x: tf.Tensor): [tf.Tensor, tf.Tensor] => [h, x];
  assert.throws(() => scan(step, tf.scalar(0), tf.zeros([0, 2])), /^RangeError: the sequence has no elements/);
  assert.throws(
    () => tidy(() => associativeScan((a) => a, [tf.zeros([3]), tf.zeros([4])])),
    /^RangeError: the tensors of a sequence must have one length along axis 0, but their shapes are \[3\], \[4\]/,
  );
  assert.throws(() => associativeScan((a) => a, []), /but their shapes are none/);
  assert.throws(() => scan(step, tf.scalar(0), tf.zeros([3]), { axis: 1 }), /one length along axis 1/);
  assert.throws(
    () => linearRecurrence(tf.zeros([2]), tf.zeros([3])),
    /a and b must have one shape, but they have \[2\]/,
  );
});
