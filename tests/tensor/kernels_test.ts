import assert from "node:assert/strict";
import { backend, tf } from "tessera/tensor/mod.ts";
import { coveredKernels, rows, runRow } from "./kernels_table.ts";

const TOLERANCE = 1e-5; // relative; absolute below 1

const onCpu = backend.name === "cpu";
if (onCpu) console.log("kernels are not compared: the backend in use is the one they would be compared with");

Deno.test(
  { name: `each kernel on ${backend.name} agrees with the cpu backend, gradients too`, ignore: onCpu },
  async (test) => {
    for (const row of rows) {
      const gradient = !row.missingGradient?.includes(backend.name);
      await test.step({
        name: gradient ? row.name : `${row.name}, without the gradient that ${backend.name} lacks`,
        ignore: row.missing?.includes(backend.name),
        fn: () => {
          const ours = runRow(row, { gradient });
          const theirs = onBackend("cpu", () => runRow(row, { gradient }));
          assert.equal(ours.length, theirs.length);
          ours.forEach(({ label, shape, dtype, values }, i) => {
            assert.deepEqual({ shape, dtype }, { shape: theirs[i].shape, dtype: theirs[i].dtype }, label);
            values.forEach((value, j) => {
              const expected = theirs[i].values[j];
              const close = Object.is(value, expected) ||
                Math.abs(value - expected) <= TOLERANCE * Math.max(1, Math.abs(expected));
              assert.ok(close, `${label}, element ${j}: ${value}, but ${expected} on cpu`);
            });
          });
        },
      });
    }
  },
);

Deno.test("the table's kernels are recorded, those of gradients and of other kernels too", async () => {
  const names = await coveredKernels();
  for (const name of ["Add", "BatchMatMul", "GatherV2", "Transpose", "UnsortedSegmentSum", "Sum", "TopK"]) {
    assert.ok(names.has(name), `${name} is not among the ${names.size} kernels`);
  }
});

Deno.test({ name: "a tensor moves to another backend and back, whatever its type", ignore: onCpu }, () => {
  tf.tidy(() => {
    const float = tf.add(tf.tensor2d([[1, 2], [3, 4]]), 1);
    const int = tf.add(tf.tensor1d([1, 2], "int32"), tf.scalar(1, "int32"));
    const bool = tf.greater(float, 3);
    const text = tf.tensor1d(["a", "bc"]);
    onBackend("cpu", () => {
      assert.deepEqual(tf.mul(float, 2).arraySync(), [[4, 6], [8, 10]]);
      assert.deepEqual(tf.mul(int, int).arraySync(), [4, 9]);
      assert.deepEqual(tf.logicalNot(bool).arraySync(), [[1, 1], [0, 0]]);
      assert.deepEqual(tf.slice(text, 1).arraySync(), ["bc"]);
    });
    assert.deepEqual(tf.sub(float, 1).arraySync(), [[1, 2], [3, 4]]);
    assert.deepEqual(tf.sub(int, tf.scalar(1, "int32")).arraySync(), [1, 2]);
    assert.deepEqual(tf.logicalNot(bool).arraySync(), [[1, 1], [0, 0]]);
    assert.deepEqual(tf.concat([text, text]).arraySync(), ["a", "bc", "a", "bc"]);
  });
});

function onBackend<T>(name: string, action: () => T): T {
  const before = tf.getBackend();
  tf.setBackend(name);
  try {
    return action();
  } finally {
    tf.setBackend(before);
  }
}
