import assert from "node:assert/strict";
import {
  accuracy,
  type Asking,
  forward,
  gistsOf,
  maskOf,
  modes,
  newSolver,
  reaches,
  SHOTS,
  SHOWN,
  tasksOf,
} from "../../../experiments/claims/gist/model.ts";
import { random } from "../../../lib/random.ts";
import { tf } from "../../../lib/tensor/mod.ts";

Deno.test("every name is asked once, and its answer stands behind it in the context", () => {
  const { tokens, answers } = tasksOf(20, random(1), 2);
  tokens.forEach((row, task) => {
    const asked = row.slice(SHOWN + 2);
    assert.equal(new Set(asked).size, SHOTS);
    asked.forEach((name, i) => assert.equal(row[row.indexOf(name) + 1], answers[task][i]));
  });
});

Deno.test("the mask leaks nothing: by no way through all blocks does a question reach what its mode hides", () => {
  const shown = Array.from({ length: SHOWN }, (_, i) => i);
  for (const asking of [...Object.keys(modes), "blind gist 4", "blind gist 1"] as Asking[]) {
    const mask = maskOf(asking);
    for (let question = SHOWN + gistsOf(asking); question < mask.length; question++) {
      const expected = asking === "full" || asking.startsWith("gist")
        ? shown
        : asking.startsWith("first")
        ? shown.slice(0, Number(asking.at(-1)))
        : [];
      assert.deepEqual(reaches(mask, question), expected, asking);
      assert.ok(mask[question].every((one, at) => !one || at <= question || at >= mask.length), "nobody looks ahead");
    }
  }
});

Deno.test("nothing that a mode hides changes an answer", () => {
  const solver = newSolver(1);
  const { tokens } = tasksOf(2, random(2), 0);
  const other = tokens.map((row) => row.map((token, at) => at >= 4 && at < SHOWN ? (token + 1) % 24 : token));
  const said = (rows: number[][], asking: Asking) =>
    forward(solver, tf.tensor2d(rows, undefined, "int32"), asking).slice([0, SHOWN, 0], [-1, -1, -1]);
  const apart = (asking: Asking) => tf.max(tf.abs(tf.sub(said(tokens, asking), said(other, asking)))).dataSync()[0];
  assert.ok(apart("first 4") < 1e-5);
  assert.ok(apart("full") > 1e-4);
  assert.ok(apart("pooled 2") > 1e-4);
});

Deno.test("a model that has learnt nothing guesses", () => {
  assert.ok(accuracy(newSolver(1), "gist 2", { tasks: 100, seed: 1 }) < 0.25);
});
