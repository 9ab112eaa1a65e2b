import assert from "node:assert/strict";
import { semiSynthetic } from "../../lib/data/mod.ts";
import { mean, spearman } from "../../lib/stats.ts";

const world = semiSynthetic({ patients: 200, seed: 1 });
const { steps, outcomes, untreated, treatments, propensities } = world;

Deno.test("treatments lower outcomes of the semi-synthetic world, and never raise them", () => {
  assert.ok(outcomes.every((value, at) => value <= untreated[at]));
  assert.ok(mean(outcomes) < mean(untreated) - 0.3);
});

Deno.test("the plan that was given leads to what happened", () => {
  const given = (patient: number) =>
    Array.from({ length: steps }, (_, t) => [0, 1, 2].map((k) => treatments[(patient * steps + t) * 3 + k]));
  for (const patient of [0, 77, 199]) {
    const start = patient * steps * 2;
    assert.deepEqual(world.counterfactual(patient, 0, given(patient)), outcomes.slice(start, start + steps * 2));
    assert.deepEqual(
      world.counterfactual(patient, 30, given(patient).slice(30)),
      outcomes.slice(start, start + steps * 2),
    );
  }
});

Deno.test("another plan changes nothing before it", () => {
  const other = world.counterfactual(3, 40, [[0, 0, 0], [1, 1, 1]]);
  const start = 3 * steps * 2;
  assert.deepEqual(other.slice(0, 41 * 2), outcomes.slice(start, start + 41 * 2));
});

Deno.test("treatment is confounded: the higher the outcome, the likelier", () => {
  const cells = Array.from({ length: 3000 }, (_, k) => 4 * k);
  const likely = cells.map((cell) => propensities[cell * 3]);
  assert.ok(spearman(cells.map((cell) => outcomes[cell * 2]), likely) > 0.3);
});

Deno.test("a plan beyond the last step, and no patients, are refused in one sentence", () => {
  assert.throws(() => world.counterfactual(0, 59, [[0, 0, 0], [0, 0, 0]]), {
    message: "a plan lies within steps 0 to 59, but it is 2 steps from 59 on",
  });
  assert.throws(() => semiSynthetic({ patients: 0, seed: 1 }), /patients must be a whole number from 1, but it is 0/);
});
