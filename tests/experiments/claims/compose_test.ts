import assert from "node:assert/strict";
import { breakEven } from "../../../experiments/claims/break_even/report.ts";
import { added } from "../../../experiments/claims/compose/claims.ts";
import { logOdds, shortened, surprises } from "../../../experiments/claims/compose/prompt.ts";
import { ask } from "../../../experiments/claims/memory/recall.ts";
import { hiddenFacts } from "../../../lib/data/mod.ts";
import { Llama } from "../../../lib/nn/mod.ts";

const batch = ask(hiddenFacts({ texts: 2, seed: 1 }), { known: false });

Deno.test("a shortened prompt keeps its first token and the highest scores, in their order", () => {
  const [texts] = batch.prompt.shape;
  const scores = Array.from(
    { length: texts },
    () => Array.from({ length: batch.from }, (_, place) => (place * 37) % 97),
  );
  const short = shortened(batch, scores, 0.25);
  assert.equal(short.from, 24);
  assert.deepEqual(short.prompt.shape, [texts, 24]);
  const [whole, kept] = [batch, short].map(({ prompt }) => (prompt.arraySync() as number[][])[0]);
  assert.equal(kept[0], whole[0]);
  let at = 0;
  for (const token of kept) at = whole.indexOf(token, at) + 1; // a subsequence
  assert.ok(at > 0);
  assert.deepEqual(shortened(batch, scores, 1).prompt.arraySync(), batch.prompt.arraySync());
  assert.equal(short.wanted[0].length, 24);
});

Deno.test("self-information finds the hidden facts: things and names surprise more than fillers", async () => {
  const scores = surprises(await Llama.load("tinyLM"), batch.prompt);
  const mean = (of: (wanted: number) => boolean) => {
    const own = scores.flatMap((row, text) => row.filter((_, place) => place > 0 && of(batch.wanted[text][place])));
    return own.reduce((sum, one) => sum + one, 0) / own.length;
  };
  assert.ok(mean((wanted) => wanted > 0) > mean((wanted) => wanted === 0) + 0.5);
});

Deno.test("log odds: even at a half, finite at all and none; losses add up to what each loses", () => {
  assert.equal(logOdds(0.5, 10), 0);
  assert.ok(Number.isFinite(logOdds(1, 10)) && logOdds(1, 10) === -logOdds(0, 10));
  const row = (promptKept: number, cacheKept: number, logOdds: number) => (
    { choice: "by score", promptKept, cacheKept, seed: 0, logOdds }
  );
  assert.deepEqual(added([row(1, 1, 5), row(0.5, 1, 4), row(1, 0.5, 3)], 0.5, 0.5), [2]);
});

Deno.test("the break-even lies between the last number of tokens that does not pay and the next", () => {
  const at = (...shares: number[]) => breakEven(shares.map((share, i) => ({ tokens: 10 ** (i + 1), share })));
  assert.equal(at(0.9, 0.8), 0);
  assert.equal(at(1.1, 1.2), undefined);
  assert.ok(Math.abs(at(1.1, 0.9)! - 10 ** 1.5) < 1e-9);
  assert.ok(at(0.9, 1.1, 0.9)! > 100);
});
