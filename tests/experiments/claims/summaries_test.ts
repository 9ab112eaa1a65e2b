import assert from "node:assert/strict";
import { askings } from "../../../experiments/claims/summaries/experiment.ts";
import { forward, maskOf, newReader, reaches, rowsOf, textsOf } from "../../../experiments/claims/summaries/model.ts";
import { random } from "../../../lib/random.ts";
import { tf } from "../../../lib/tensor/mod.ts";

Deno.test("a variable of the first segment is asked for, and nothing of the second gives it away", () => {
  const { first, second, asked, answers } = textsOf(20, 3, random(1));
  asked.forEach((names, i) => {
    names.forEach((name, q) => assert.equal(first[i][first[i].indexOf(name) + 1], answers[i][q]));
    assert.ok(names.every((name) => !second[i].includes(name)));
  });
});

Deno.test("what is declared two segments before is reached through both summaries, and through nothing else", () => {
  const variables = 2, declared = [0, 1, 2, 3];
  for (const [name, asking] of Object.entries(askings)) {
    const mask = maskOf(variables, asking), last = mask.length - 1;
    const reached = reaches(mask, variables, last);
    assert.deepEqual(reached, asking.blind || asking.cut ? [] : declared, name);
    if (!asking.summaries) continue;
    assert.ok(
      mask[last].every((one, at) => !one || at === last || at >= 8 + asking.summaries),
      "only the last summaries",
    );
    assert.ok(mask.every((row, at) => row.every((one, other) => !one || other <= at)), "nobody looks ahead");
  }
});

Deno.test("a text whose first segment is cut answers alike whatever stood there", () => {
  const reader = newReader(1), texts = textsOf(2, 2, random(2));
  const other = { ...texts, first: texts.first.map((row) => row.map((token) => (token + 5) % 24)) };
  const said = (of: typeof texts, name: string) => {
    const asking = askings[name], rows = rowsOf(of, asking.summaries);
    return forward(reader, tf.tensor2d(rows, undefined, "int32"), 2, asking).slice([0, rows[0].length - 2, 0], [
      -1,
      -1,
      -1,
    ]);
  };
  const apart = (name: string) => tf.max(tf.abs(tf.sub(said(texts, name), said(other, name)))).dataSync()[0];
  assert.ok(apart("first segment cut") < 1e-5);
  assert.ok(apart("4 that saw nothing") < 1e-5);
  assert.ok(apart("4 summary tokens") > 1e-6);
});
