/** Every exercise has a solution in `notebooks/solutions/`, and every solution passes its check. */
import assert from "node:assert/strict";
import { check } from "../../notebooks/exercises.ts";
import { exerciseNames } from "../../lib/plot/mod.ts";

type Solution = (...args: never[]) => unknown;
const folder = new URL("../../notebooks/solutions/", import.meta.url);
const solutions: Record<string, Solution> = {};
for (const { name } of Deno.readDirSync(folder)) Object.assign(solutions, (await import(`${folder}${name}`)).solutions);

Deno.test("every exercise has a solution, and every solution an exercise", () => {
  assert.deepEqual(Object.keys(solutions).sort(), exerciseNames().sort());
});

for (const [name, solution] of Object.entries(solutions)) {
  Deno.test(`the solution of "${name}" passes its check`, async () => {
    const { status, text } = await check(name, solution).verdict;
    assert.equal(status, "solved", text);
  });

  Deno.test(`the unsolved stub of "${name}" and a wrong answer are told apart from a solution`, async () => {
    const stub = () => {
      throw new Error("your turn");
    };
    assert.equal((await check(name, stub).verdict).status, "not solved yet");
    assert.equal((await check(name, () => [NaN]).verdict).status, "wrong");
  });
}
