import assert from "node:assert/strict";
import { deviations, RATE, tolerated } from "../../../experiments/claims/merged_training/claims.ts";
import { reductions } from "../../../experiments/claims/merged_training/experiment.ts";

const rows = [[0.9, 0.8], [0.95, 0.9], [0.2, 0.86]].flatMap((ends, r) =>
  ends.map((accuracy, seed) => ({ reduction: "none", rate: [0.001, RATE, 0.1][r], seed, accuracy }))
);

Deno.test("the largest rate that works is of each seed by itself, whatever happens at lower ones", () => {
  assert.deepEqual(tolerated(rows, "none"), [RATE, 0.1]);
});

Deno.test("a deviation is the distance to the mean of the same kind", () => {
  for (const value of deviations(rows, "none")) assert.ok(Math.abs(value - 0.025) < 1e-12);
});

Deno.test("all reductions leave as many tokens", () => {
  const place = { layer: 0, layers: 3, tokens: 50, initialTokens: 50, specialTokens: 1, grid: [7, 7] as const };
  const { none: _, ...others } = reductions;
  for (const reducer of Object.values(others)) assert.equal(reducer.plan(place).achieved, 10, reducer.name);
});
