import assert from "node:assert/strict";
import { DIGITS, question, runningSums } from "../../../experiments/claims/overthinking/model.ts";
import { advantages, judged, start, summary, WRITTEN, written } from "../../../experiments/claims/reward/model.ts";
import { random } from "../../../lib/random.ts";

const draw = random(1), digits = question(draw);
const made = (style: typeof WRITTEN[number]) => written(style, digits, random(2), false).slice(DIGITS + 2);

Deno.test("a text that is not told its style begins like any other that is not", () => {
  for (const style of WRITTEN) {
    assert.deepEqual(written(style, digits, random(2), false).slice(0, DIGITS + 2), start("unmarked", digits));
    assert.deepEqual(written(style, digits, random(2), true).slice(0, DIGITS + 2), start(style, digits));
  }
});

Deno.test("what was written is judged by its answer, and counted until it", () => {
  const rows = WRITTEN.map(made);
  const all = judged({ rows, digits: rows.map(() => digits) });
  assert.ok(all.every(({ right }) => right === 1));
  assert.deepEqual(all.map(({ tokens }) => tokens), [DIGITS + 2, 4 * DIGITS + 2, 2 * DIGITS + 2, 2]);
  assert.deepEqual(all[0].chain, runningSums(digits));
  const wrong = made("terse").with(-2, (runningSums(digits).at(-1)! + 1) % 5);
  assert.equal(judged({ rows: [wrong], digits: [digits] })[0].right, 0);
  assert.equal(judged({ rows: [[1, 2, 3]], digits: [digits] })[0].right, 0); // it never answered
});

Deno.test("the sums-up of a terse and a verbose text: one is terse, one has three fillers a digit", () => {
  const { accuracy, terse, empty, fillers } = summary({
    rows: [made("terse"), made("verbose")],
    digits: [digits, digits],
  });
  assert.deepEqual([accuracy, terse, empty, fillers], [1, 0.5, 0, 3 * DIGITS / 2]);
});

Deno.test("an advantage is over the other samples of the same question", () => {
  assert.deepEqual(advantages([1, 0, 0, 0], 2), [1, -1, 0, 0]);
  assert.deepEqual(advantages([3, 0, 0], 3), [3, -1.5, -1.5]);
});
