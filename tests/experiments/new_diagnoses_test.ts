/** Labels of patients who have not had a condition: asked only of those at risk, caused by what the graph alone tells. */
import assert from "node:assert/strict";
import { fromCSV } from "../../lib/experiment/mod.ts";
import { gains } from "../../experiments/new_diagnoses/report.ts";
import { conditions, newDiagnoses, tasks } from "../../experiments/new_diagnoses/world.ts";
import { verdictFor } from "../../experiments/risk_tokens/report.ts";

const sizes = { train: 20, validation: 20, test: 600 };
const world = newDiagnoses(0, sizes);
const { codes, concepts } = world.world.planted;
const conceptOf = new Map(codes.map(({ system, code, concept }) => [`${system}:${code}`, concepts[concept]]));
const patients = world.tables.test.patients.map(({ id, visits }) => ({
  id,
  had: visits.flatMap(({ codes }) => codes.map(({ system, code }) => conceptOf.get(`${system}:${code}`)!)),
}));

Deno.test("nobody who has a code of a condition is asked about it, or newly diagnosed with it", () => {
  for (const { id, had } of patients) {
    world.conditions.forEach(({ category }, i) => {
      const column = tasks.indexOf(conditions[i]);
      const has = had.some((concept) => concept.category === category);
      assert.equal(world.atRisk.get(id)![column], !has);
      if (has) assert.equal(world.labels.values.get(id)![column], 0);
    });
  }
});

Deno.test("of those at risk, the ill have more of the condition's mechanisms than the others, but a long stay depends on nothing", () => {
  world.conditions.forEach(({ modules }, i) => {
    const column = tasks.indexOf(conditions[i]);
    const share = (ill: number) => {
      const some = patients.filter(({ id }) =>
        world.atRisk.get(id)![column] && world.labels.values.get(id)![column] === ill
      );
      const all = some.flatMap(({ had }) => had.map(({ module }) => Number(modules.includes(module))));
      return all.reduce((sum, one) => sum + one, 0) / all.length;
    };
    assert.ok(share(1) > 1.2 * share(0), `${conditions[i]}: ${share(1)} and ${share(0)}`);
  });
  const long = patients.filter(({ id }) => world.labels.values.get(id)![0] === 1).length / patients.length;
  assert.ok(Math.abs(long - 0.25) < 0.06, `${long}`); // 3.4 standard errors
});

Deno.test("the same seed gives the same labels, whatever the sizes of the other splits", () => {
  const again = newDiagnoses(0, { ...sizes, train: 40 });
  for (const { id } of patients.slice(0, 50)) {
    assert.deepEqual(again.labels.values.get(id), world.labels.values.get(id));
  }
});

Deno.test("a gain is MedTok less own codes, over the seeds that both have", () => {
  const row = (tokens: string, seed: number, auprc: number | null) => (
    { model: "BEHRT", tokens, task: "mortality", seed, auprc }
  );
  const [found] = gains([
    row("own codes", 0, 0.1),
    row("MedTok", 0, 0.3),
    row("own codes", 1, 0.2),
    row("MedTok", 1, 0.3),
    row("MedTok", 2, 0.9), // has no partner
    row("own codes", 3, null),
    row("MedTok", 3, 0.9),
  ]);
  assert.equal(found.seeds, 2);
  assert.ok(Math.abs(found.gain - 0.15) < 1e-12);
});

Deno.test("a list of tokens that leads to causes no more often than a random group's is not called a finding", async () => {
  const made = (predicted: number) =>
    [0, 1, 2, 3].flatMap((seed) =>
      ([["highest predicted risk", predicted], ["drawn at random", 0.1]] as const).map(([group, most]) => (
        { tokens: "MedTok", group, seed, most: most + seed / 1000 * (group === "drawn at random" ? 1 : 2) }
      ))
    );
  assert.equal(verdictFor(made(0.4), "MedTok").verdict, "supported");
  assert.equal(verdictFor(made(0.0985), "MedTok").verdict, "undecided");
  const rows = fromCSV(
    await Deno.readTextFile(new URL("../../experiments/risk_tokens/rows.csv", import.meta.url)),
    "rows.csv",
  );
  assert.notEqual(verdictFor(rows, "MedTok").verdict, "not interpretable");
});
