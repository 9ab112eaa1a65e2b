import assert from "node:assert/strict";
import { tidy } from "../lib/tensor/mod.ts";
import { assertClose, goldenFolder, readCases } from "./golden/cases.ts";
import { families, runCase } from "./golden/families.ts";

const cases = readCases(goldenFolder());

for (const [name, family] of Object.entries(families)) {
  const members = cases.filter((entry) => entry.name === name);
  Deno.test(
    `${name} agrees with the authors' code`,
    { ignore: !members.length && Deno.env.has("GOLDEN") },
    async () => {
      assert.ok(members.length > 0, `no case of ${name} in the folder`);
      for (const member of members) await runCase(family, member, cases);
    },
  );
}

Deno.test("a golden comparison fails on a wrong number, a wrong length and NaN", () => {
  assert.throws(() => assertClose([1, 2.001], [1, 2], "x"), /x\[1\]: 2 is expected, but it is 2.001/);
  assert.throws(() => assertClose([1], [1, 2], "x"), /2 entries/);
  assert.throws(() => assertClose(NaN, 1, "x"), /NaN/);
  assertClose([1, 2.00001], [1, 2], "x");
});

Deno.test("a golden case fails when its inputs change", () => {
  const entry = cases.find(({ name }) => name === "tome.merge_wavg_sized")!;
  const x = structuredClone(entry.inputs.x) as number[][][];
  x[0][3][0] += 1;
  const changed = { ...entry, inputs: { ...entry.inputs, x } };
  assert.throws(() => tidy(() => families[entry.name](changed, cases)), /merged/);
});
