import assert from "node:assert/strict";
import { check, exercise } from "tessera/plot/mod.ts";

exercise({
  name: "halves",
  cases: [
    { args: [[2, 4]], expect: [1, 2], hint: "divide each number" },
    { args: [[]], expect: [] },
  ],
});

const text = async (solution: (...args: never[]) => unknown, name = "halves") =>
  (await check(name, solution).verdict).text;

Deno.test("check() shows a tick for a function that solves all cases", async () => {
  const halves = (values: number[]) => values.map((value) => value / 2);
  assert.deepEqual(await check("halves", halves).verdict, { status: "solved", text: "✓ halves: 2 of 2 cases" });
  const show = Reflect.get(check("halves", halves), Symbol.for("Jupyter.display")) as () => Promise<unknown>;
  assert.deepEqual(await show(), { "text/plain": "✓ halves: 2 of 2 cases" });
});

Deno.test("check() shows what came out, what was expected, where they differ, and the hint", async () => {
  assert.equal(
    await text((values: number[]) => values),
    "✗ halves, case 1 of 2: for [2,4]\n  your function gave [2,4]\n  expected         [1,2] (first difference at [0])\n" +
      "  hint: divide each number",
  );
});

Deno.test("check() says that a stub is not solved yet", async () => {
  const stub = (_values: number[]): number[] => {
    throw new Error("your turn");
  };
  assert.deepEqual(await check("halves", stub).verdict, {
    status: "not solved yet",
    text: "○ halves: not solved yet\n  stub([2,4]) should give [1,2]\n  hint: divide each number",
  });
});

Deno.test("check() awaits async functions, and accepts typed arrays and tensors", async () => {
  const solved = "✓ halves: 2 of 2 cases";
  assert.equal(await text((values: number[]) => Promise.resolve(values.map((value) => value / 2))), solved);
  assert.equal(await text((values: number[]) => Float32Array.from(values, (value) => value / 2)), solved);
  const tensor = (values: number[]) => ({
    shape: [values.length],
    array: () => Promise.resolve(values.map((v) => v / 2)),
  });
  assert.equal(await text(tensor), solved);
});

Deno.test("check() gives each call its own copy of the arguments", async () => {
  const destructive = (values: number[]) => values.splice(0).map((value) => value / 2);
  assert.match(await text(destructive), /^✓/);
  assert.match(await text(destructive), /^✓/);
});

for (
  const [what, solution] of [
    ["throws", () => {
      throw new TypeError("no such thing");
    }],
    ["throws undefined", () => {
      throw undefined;
    }],
    ["rejects", () => Promise.reject(new Error("later"))],
    ["returns nothing", () => undefined],
    ["returns NaN", () => [NaN, 2]],
    ["returns a symbol", () => Symbol("s")],
    ["returns a bigint", () => [1n, 2n]],
    ["returns itself", () => {
      const loop: unknown[] = [];
      loop.push(loop);
      return loop;
    }],
    ["is no function", "text"],
    ["is missing", undefined],
  ] as const
) {
  Deno.test(`check() never throws: a function that ${what}`, async () => {
    const { status, text } = await check("halves", solution as never).verdict;
    assert.equal(status, "wrong");
    assert.match(text, /^✗ halves/);
  });
}

Deno.test("check() of an unknown exercise lists those that are known", async () => {
  assert.match(await text(() => 1, "no such"), /^○ there is no exercise "no such"; known are: .*"halves"/);
});

Deno.test("numbers are compared with a tolerance, strings and structure exactly", async () => {
  exercise({ name: "report", tolerance: 0.01, cases: [{ args: [], expect: { mean: 100, name: "a", parts: [[0]] } }] });
  const right = { mean: 100.5, name: "a", parts: [[0.001]], more: "is allowed" };
  assert.match(await text(() => right, "report"), /^✓/);
  assert.match(await text(() => ({ ...right, mean: 102 }), "report"), /first difference at \.mean/);
  assert.match(await text(() => ({ ...right, name: "b" }), "report"), /first difference at \.name/);
  assert.match(await text(() => ({ ...right, parts: [[1]] }), "report"), /first difference at \.parts\[0\]\[0\]/);
  assert.match(await text(() => ({ ...right, parts: [[0], [0]] }), "report"), /first difference at \.parts/);
});

Deno.test("an exercise without a name or cases is refused with one sentence", () => {
  assert.throws(() => exercise({ name: "", cases: [{ args: [], expect: 1 }] }), /needs a name/);
  assert.throws(() => exercise({ name: "a", cases: [] }), /"a" has no cases/);
});
