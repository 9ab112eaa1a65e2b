/** The two words are computed: made-up rows that must give each. */
import assert from "node:assert/strict";
import {
  type AgreementWord,
  type Evidence,
  numberAgreement,
  orderAgreement,
  type Pair,
  reproduction,
  verdictOn,
  type VerdictWord,
} from "../../lib/experiment/mod.ts";

Deno.test("agreement of a number: each word, and the reason names the numbers", () => {
  const cases: [Omit<Pair, "name">, AgreementWord, RegExp][] = [
    [{ ours: [1, 2, 3], paper: 2.5 }, "within interval", /^ours is -0.484 to 4.48, published 2.5$/],
    [{ ours: [2, 2.01, 2.02], paper: 2.5 }, "differs", /published 2.5$/],
    [{ ours: [2, 2.01, 2.02], paper: 2.5, spread: 0.6 }, "within interval", /published 1.9 to 3.1$/],
    [{ ours: [4.61], paper: 4.6, spread: 0.05 }, "within interval", /^ours is 4.61,/],
    [{ ours: [4.66], paper: 4.6, spread: 0.05 }, "differs", /./],
    [{ ours: [4.6], paper: 4.6 }, "not comparable", /one run without a published spread/],
    [{ ours: [], paper: 4.6 }, "not comparable", /^not run$/],
    [{ ours: [1, 2], paper: null }, "not comparable", /no published number/],
    [{ ours: [1, 2], paper: 1, notComparable: "other data" }, "not comparable", /^other data$/],
  ];
  for (const [pair, word, reason] of cases) {
    const found = numberAgreement({ name: "line", ...pair });
    assert.equal(found.agreement, word, JSON.stringify(pair));
    assert.match(found.reason, reason);
  }
});

Deno.test("agreement of an order: same, reversed, within noise, ties of the paper, lines left out", () => {
  const line = (ours: number[], paper: number | null, notComparable?: string): Pair => ({
    name: `${paper}`,
    ours,
    paper,
    notComparable,
  });
  const a = line([1, 1.1], 10), b = line([2, 2.1], 20), c = line([3, 3.1], 30);
  assert.deepEqual(orderAgreement([c, a, b]), { agreement: "same order", reason: "3 of 3 pairs stand as published" });
  const reversed = orderAgreement([a, line([0.5, 0.6], 20), c]);
  assert.equal(reversed.agreement, "differs");
  assert.match(reversed.reason, /^2 of 3 pairs stand as published, 0 of the others within the noise of seeds$/);
  assert.match(orderAgreement([line([1, 5], 10), line([5, 0.5], 20)]).reason, /0 of 1 .* 1 of the others within/);
  assert.match(orderAgreement([a, b, line([9, 9], 20)]).reason, /^2 of 2 pairs/); // the paper does not separate 20 and 20
  assert.match(orderAgreement([a, b, line([], 5)]).reason, /; 1 line is left out$/);
  assert.deepEqual(orderAgreement([a, line([1], 5, "other units")]), {
    agreement: "not comparable",
    reason: "other units",
  });
  assert.equal(orderAgreement([line([1, 1], 10), line([1, 1], 20)]).agreement, "differs"); // a tie is no order
});

Deno.test("a verdict: each word, by the rule and its sanity thresholds", () => {
  const random = [0.7, 0.72, 0.69, 0.71, 0.7];
  const high = [0.8, 0.83, 0.79, 0.82, 0.8];
  const base: Evidence = { treatment: high, against: { random }, expect: "higher" };
  const cases: [Evidence, VerdictWord, RegExp][] = [
    [base, "supported", /against random$/],
    [{ ...base, expect: "lower" }, "refuted", /./],
    [{ ...base, treatment: [0.7, 0.8, 0.6, 0.9, 0.5] }, "undecided", /./],
    [{ ...base, against: { random, pooling: high.map((x, i) => x + (i % 2 ? 0.01 : -0.01)) } }, "undecided", /pooling/],
    [{ ...base, against: { random, pooling: high.map((x) => x + 0.1) } }, "refuted", /./],
    [{ ...base, treatment: [0.8, 0.8], against: { random: [0.7, 0.7] } }, "not interpretable", /^2 seeds, and 3/],
    [{ ...base, against: {} }, "not interpretable", /no control/],
    [{ ...base, whole: [0.95, 0.85, 0.95, 0.95, 0.95] }, "not interpretable", /below 0.9 on 1 of 5 seeds/],
    [{ ...base, whole: [0.95], random, chance: 0.7 }, "supported", /not told from guessing/],
    [
      { ...base, whole: [0.95], random, chance: 0.75 },
      "not interpretable",
      /^chance selection gives 0.704, not between/,
    ],
    [
      { ...base, whole: [0.95], random, chance: 0.69 },
      "supported",
      /against random; .* is not told from guessing, 0.69/,
    ],
    [{ ...base, whole: [0.95], random, chance: 0.6 }, "supported", /against random$/],
    [{ ...base, whole: [0.95], random: [0.96, 0.95], chance: 0.1 }, "not interpretable", /not between 0.1 and 0.95/],
  ];
  for (const [evidence, word, reason] of cases) {
    const found = verdictOn(evidence);
    assert.equal(found.verdict, word, found.reason);
    assert.match(found.reason, reason);
  }
  assert.throws(() => verdictOn({ ...base, against: { random: [0.7] } }), {
    message: "the control random has 1 seeds and the treatment 5; run both on the same",
  });
});

Deno.test("orders are judged within groups, and a changed column of paper.csv is named", async () => {
  const folder = await Deno.makeTempDir();
  const table = new URL(`file://${folder}/paper.csv`);
  try {
    await Deno.writeTextFile(
      table,
      "data,method,accuracy,not_comparable\nx,a,0.9,\nx,b,0.8,\ny,a,0.9,\ny,b,0.8,\ny,c,0.1,other units\n",
    );
    const rows = [["x", "a", 2], ["x", "b", 1], ["y", "a", 1], ["y", "b", 2]].map(([data, method, accuracy]) => (
      { data, method, accuracy, seed: 1 }
    ));
    const paper = { cite: "A 2023", table, compare: "accuracy", as: "order", within: ["data"] } as const;
    const lines = await reproduction(rows, paper);
    assert.deepEqual(lines.map(({ agreement }) => agreement), [
      "same order",
      "same order",
      "differs",
      "differs",
      "differs",
    ]);
    assert.ok(!("not_comparable" in lines[0]));
    await Deno.writeTextFile(table, "data,method,acc\nx,a,0.9\n");
    await assert.rejects(reproduction(rows, paper), {
      message: `${table.pathname} has no column accuracy, which is to be compared; name it in \`compare\``,
    });
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});
