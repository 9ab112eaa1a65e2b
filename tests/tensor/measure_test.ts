import assert from "node:assert/strict";
import { measure, tensorMemory, tf } from "../../lib/tensor/mod.ts";

Deno.test("measure() counts the tensors that work leaves behind, and gives its value", async () => {
  const before = tensorMemory();
  const { value, left, seconds, toString } = await measure(async () => {
    await Promise.resolve();
    return tf.zeros([5, 5]);
  });
  assert.deepEqual(left, { tensors: 1, bytes: 100 });
  assert.ok(seconds > 0);
  assert.match(toString(), /^\S+ s, 1 tensors \(0\.1 kB\) more than before, \d+ in all/);
  const disposed = await measure(() => value.dispose());
  assert.deepEqual(disposed.left, { tensors: -1, bytes: -100 });
  assert.deepEqual(tensorMemory(), before);
});

Deno.test("measure() lets an error through", async () => {
  await assert.rejects(measure(() => Promise.reject(new RangeError("too far"))), /too far/);
});
