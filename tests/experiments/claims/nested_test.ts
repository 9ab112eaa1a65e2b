import assert from "node:assert/strict";
import {
  alignment,
  atScale,
  macsOf,
  newModel,
  pooled,
  SCALES,
  stepsOf,
  trainings,
} from "../../../experiments/claims/nested/model.ts";
import { random } from "../../../lib/random.ts";
import { tf } from "../../../lib/tensor/mod.ts";

Deno.test("pooling averages squares of cells", () => {
  const numbered = tf.range(0, 64).reshape<tf.Tensor3D>([1, 64, 1]); // the cell in row r and column c is 8 r + c
  assert.deepEqual(pooled(numbered, 4).arraySync(), [[[13.5], [17.5], [45.5], [49.5]]]);
  assert.equal(pooled(numbered, 16).shape[1], 16);
  for (const scale of SCALES) assert.ok(Math.abs(pooled(numbered, scale).mean().dataSync()[0] - 31.5) < 1e-4);
});

Deno.test("both trainings cost the same, to a step", () => {
  const cost = (name: keyof typeof trainings) =>
    stepsOf(name, 900) * trainings[name].reduce((sum, scale) => sum + macsOf(scale), 0);
  assert.equal(stepsOf("whole", 900), 900);
  assert.ok(Math.abs(cost("nested") / cost("whole") - 1) < 0.003);
});

Deno.test("one set of weights at three scales: a question is answered at each", () => {
  const model = newModel(1);
  for (const scale of SCALES) {
    const { logits, states } = atScale(model, scale).forward(
      tf.zeros([2, scale, 16]),
      tf.zeros([2, 1, 3], "int32"),
      { states: true },
    );
    assert.deepEqual(logits.shape, [2, 1, 18]);
    assert.deepEqual(states.map(({ shape }) => shape[1]), [scale, scale]);
  }
});

Deno.test("alignment is 1 where targets are linear in the rows, and about 0 where they are not there at all", () => {
  const draw = random(1);
  const rows = Array.from({ length: 80 }, () => [...draw.normals(4, 0, 30)]);
  const linear = rows.map(([a, b, c]) => [a - b, 2 * c]);
  const noise = rows.map(() => [...draw.normals(2)]);
  assert.ok(alignment(rows, linear) > 0.999);
  assert.ok(Math.abs(alignment(rows, noise)) < 0.4);
});
