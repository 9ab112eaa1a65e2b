/** Texts by a rule: what is clean can be known, and what is noise is the share that was asked for. */
import assert from "node:assert/strict";
import { noisyTexts, TOKENS } from "../../../experiments/claims/stability/rule.ts";
import { claims } from "../../../experiments/claims/stability/claims.ts";
import { judge } from "../../../lib/experiment/mod.ts";

Deno.test("the next symbol is a function of the two before it, the same in all texts of a rule", () => {
  const { tokens } = noisyTexts({ texts: 200, noise: 0, rule: 3, seed: 1 });
  const next = new Map<string, number>();
  let again = 0;
  for (let text = 0; text < 200; text++) {
    for (let i = 2; i < TOKENS; i++) {
      const at = text * TOKENS + i, pair = `${tokens[at - 2]} ${tokens[at - 1]}`;
      again += Number(next.has(pair));
      assert.equal(next.get(pair) ?? tokens[at], tokens[at]);
      next.set(pair, tokens[at]);
    }
  }
  assert.ok(again > 1000);
});

Deno.test("targets are the next symbols without noise; with noise the asked share differs, and clean ones never do", () => {
  const none = noisyTexts({ texts: 20, noise: 0, rule: 3, seed: 1 });
  const half = noisyTexts({ texts: 400, noise: 0.5, rule: 3, seed: 1 });
  let wrong = 0, learnable = 0;
  for (let text = 0; text < 400; text++) {
    for (let i = 0; i < TOKENS - 1; i++) {
      const at = text * (TOKENS - 1) + i, truth = half.tokens[text * TOKENS + i + 1];
      if (text < 20) assert.equal(none.targets[at], none.tokens[text * TOKENS + i + 1]);
      if (half.clean[at]) assert.equal(half.targets[at], truth);
      if (i === 0) assert.equal(half.clean[at], 0, "the second symbol follows from nothing");
      else {
        learnable++;
        wrong += Number(half.targets[at] !== truth);
      }
    }
  }
  assert.ok(Math.abs(wrong / learnable - 0.5 * 31 / 32) < 0.02, `${wrong / learnable}`);
});

Deno.test("a card about rates takes the largest that works, seed by seed", () => {
  const rows = ["all", "random", "excess"].flatMap((arm) =>
    [0.002, 0.008].flatMap((rate) =>
      [0, 1, 2].map((seed) => ({
        arm,
        rate,
        seed,
        final: arm === "excess" || rate < 0.005 ? 0.95 : 0.5,
        after100: 0.5,
      }))
    )
  );
  const { verdict } = judge(claims.find(({ id }) => id === "C4b")!, rows);
  assert.equal(verdict.verdict, "supported");
  assert.ok(Math.abs(verdict.differences[0].value - 0.006) < 1e-12);
});
