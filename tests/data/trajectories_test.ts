/** Trajectories and their readers: what is refused, and what real files give. */
import assert from "node:assert/strict";
import {
  cancerSim,
  eicuDemo,
  fromLongRows,
  type LongRow,
  oneHotConditions,
  paul15,
  type RawTrajectory,
  readLongTable,
  report,
  simglucose,
  synthLab,
  trajectories,
  writeTable,
} from "../../lib/data/mod.ts";
import { synthLabWorld } from "../../lib/data/mod.ts";

const variables = [{ name: "glucose", unit: "mg/dL" }, { name: "sodium", unit: "mmol/L" }];
const make = (subject: Partial<RawTrajectory>, options: Partial<Parameters<typeof trajectories>[1]> = {}) =>
  trajectories([{ id: 7, hours: [0, 1], values: [[1, 2], [3, 4]], ...subject }], {
    name: "test",
    variables,
    ...options,
  });

Deno.test("bad trajectories are refused in one sentence that says what to do", () => {
  const refused: [() => unknown, RegExp][] = [
    [() => make({ hours: [1, 0] }), /^subject "7": time goes backwards from hour 1 to 0 at record 1; sort the records/],
    [() => make({ hours: [1, 1] }), /^subject "7" has two records at hour 1 \(0 and 1\); average them or keep one$/],
    [() => make({ hours: [0, NaN] }), /record 1 has the time NaN; give hours$/],
    [
      () => make({ conditions: ["None", "E99"] }),
      /"E99" is not among the 0 that are known, which is not the same as none;/,
    ],
    [
      () => make({ conditions: ["a;c", "None"] }, { conditions: oneHotConditions(["a", "b"]) }),
      /^subject "7", record 0: the condition "c" is not among the 2/,
    ],
    [() => make({}, { variables: [variables[0], { name: "sodium", unit: "" }] }), /"sodium" has no unit; give it one/],
    [() => make({}, { variables: [variables[0], variables[0]] }), /"glucose" occurs twice/],
    [
      () => make({ values: [[1, null], [3, NaN]] }),
      /^the variable "sodium" has no value in all 1 subjects; leave it out$/,
    ],
    [() => make({ values: [[1, 2], [3]] }), /record 1 has 1 values, but there are 2 variables; mark missing ones/],
    [
      () => make({ values: [[1, 2], [3, Infinity]] }),
      /record 1: sodium is Infinity; mark it as missing or correct it$/,
    ],
    [() => make({ values: [[1, 2]] }), /has 2 times, but 1 rows of values; give one per record$/],
    [
      () => trajectories([1, 1].map((id) => ({ id, hours: [], values: [] })), { name: "t", variables }),
      /"1" occurs twice/,
    ],
  ];
  for (const [call, message] of refused) {
    assert.throws(call, (error: Error) => message.test(error.message), String(message));
  }
});

const row = (values: Partial<LongRow> = {}): LongRow => (
  { subject: 1, time: "2020-01-01 08:00:00", variable: "glucose", value: 5, unit: "mmol/L", ...values }
);

Deno.test("a long table refuses duplicates, two units, none, and times that it cannot read", () => {
  const refused: [LongRow[], RegExp][] = [
    [[row(), row()], /two values of glucose at 2020-01-01 08:00:00; pass duplicates: "mean" or "last"$/],
    [[row(), row({ subject: 2, unit: "mg/dL" })], /the variable "glucose" has two units, mmol\/L and mg\/dL; convert/],
    [[row({ unit: "" })], /"glucose" has no unit/],
    [[row({ time: "yesterday" })], /the time "yesterday" cannot be read; write 2150-03-01 07:30:00$/],
    [
      [row({ condition: "A" }), row({ variable: "sodium", condition: "B" })],
      /two conditions at .*, A and B; join them with ";"$/,
    ],
    [[row({ condition: "A" })], /"A" is not among the 0 that are known/],
  ];
  for (const [rows, message] of refused) assert.throws(() => fromLongRows(rows), message);
  const { data, duplicates } = fromLongRows([row(), row({ value: 7 })], { duplicates: "mean" });
  assert.deepEqual([data.subjects[0].values[0], duplicates], [6, 1]);
  assert.equal(fromLongRows([row(), row({ value: 7 })], { duplicates: "last" }).data.subjects[0].values[0], 7);
  const { dropped } = fromLongRows([row({ condition: "A;B" })], {
    conditions: oneHotConditions(["A"]),
    unknownConditions: "drop",
  });
  assert.deepEqual([...dropped], [["B", 1]]);
});

Deno.test("a long table reads the same from tabs, commas and Parquet", async () => {
  const { default: pl } = await import("nodejs-polars");
  const folder = await Deno.makeTempDir();
  const columns = ["subject_id", "charttime", "itemid", "valuenum", "action", "valueuom"];
  const cells = [
    ["2", "2020-01-01 08:00:01", "50931", "99.5", "None", "mg/dL"],
    ["2", "2020-01-02 08:00:01", "50931", "101", "E10", "mg/dL"],
    ["10", "2020-01-02 08:00:01", "51301", "7", "None", "K/uL"],
  ];
  const text = (separator: string) => [columns, ...cells].map((line) => line.join(separator)).join("\n") + "\n";
  await Deno.writeTextFile(`${folder}/tabs.csv`, text("\t"));
  await Deno.writeTextFile(`${folder}/commas.csv`, text(","));
  const frame = Object.fromEntries(
    columns.map((name, c) => [name, cells.map((line) => c === 3 ? Number(line[c]) : line[c])]),
  );
  await writeTable(`${folder}/table.parquet`, pl.DataFrame(frame));
  const options = { name: "t", conditions: oneHotConditions(["E10"]) };
  const [tabs, commas, parquet] = await Promise.all(
    ["tabs.csv", "commas.csv", "table.parquet"].map((file) => readLongTable(`${folder}/${file}`, options)),
  );
  assert.deepEqual(commas, tabs);
  assert.deepEqual(parquet, tabs);
  assert.deepEqual(tabs.data.subjects.map(({ id }) => id), ["2", "10"]);
  assert.deepEqual(report(tabs.data).conditions, { records: 1, withEmbedding: 1, different: 1 });
  await Deno.writeTextFile(`${folder}/wrong.csv`, "subject_id,charttime\n1,2\n");
  await assert.rejects(readLongTable(`${folder}/wrong.csv`), /has no column "itemid"/);
  await Deno.remove(folder, { recursive: true });
});

Deno.test("the eICU demo gives the 18 laboratory values of the paper, on a clock on which no stays overlap", async () => {
  const { data, averaged, overlapping } = await eicuDemo.labs();
  assert.equal(data.variables.length, 18);
  assert.deepEqual(overlapping, { sameDay: 30, hospitalClock: 0 });
  assert.ok(averaged > 0);
  const { subjects, records, emptyRecords, variables } = report(data);
  assert.deepEqual([subjects, records, emptyRecords], [132, 1297, 0]);
  const sodium = variables.find(({ variable }) => variable === "sodium")!;
  assert.deepEqual([sodium.unit, sodium.median], ["mmol/L", 138]);
  await assert.rejects(eicuDemo.labs({ minimumShare: 1.1 }), /lower minimumShare/);
});

Deno.test("the glucose equations give simglucose's recorded days, and half the insulin gives more glucose", async () => {
  const data = await simglucose.load();
  let sum = 0, count = 0, worst = 0;
  for (const { id, values } of data.subjects) {
    const simulated = await simglucose.withInsulin(id, { factor: 1 });
    simulated.forEach((glucose, k) => {
      const error = Math.abs(glucose - values[4 * k]);
      sum += error, count++, worst = Math.max(worst, error);
    });
  }
  assert.ok(sum / count < 0.5, `on average ${sum / count} mg/dL off`);
  assert.ok(worst < 7, `at worst ${worst} mg/dL off`);
  const [full, half] = [1, 0.5].map((factor) => simglucose.withInsulin("adult#003", { factor, fromHour: 12 }));
  const [a, b] = await Promise.all([full, half]);
  assert.deepEqual(a.slice(0, 49), b.slice(0, 49), "nothing changes before");
  assert.ok(b[96] > a[96]);
  await assert.rejects(simglucose.inputs("nobody"), /no patient "nobody"/);
});

Deno.test("cancer-sim and Paul15 have the records that their sources say", async () => {
  const train = await cancerSim.load("train");
  assert.equal(report(train).records, 22_746);
  const { histories, futures } = await cancerSim.counterfactuals();
  assert.equal(histories.subjects.length, 12);
  const { chemo, radio } = futures[7];
  assert.deepEqual([chemo, radio], [[0, 0, 0, 0, 0], [0, 0, 1, 0, 0]]);
  const cells = await paul15.load({ seed: 1, perFate: 2 });
  assert.deepEqual(cells.subjects.map(({ id }) => id), ["branch 2 0", "branch 2 1", "branch 3 0", "branch 3 1"]);
});

Deno.test("SynthLab's counterfactuals share the noise: the same until the change, exact in what follows", () => {
  const data = synthLab({ subjects: 4, seed: 5 });
  const place = 2;
  const factual = data.subjects[place];
  assert.deepEqual(data.counterfactual(place, {}), factual);
  const k = 10;
  const without = data.counterfactual(place, { conditions: { [k]: "None" } });
  const withC8 = data.counterfactual(place, { conditions: { [k]: "C8" } });
  assert.deepEqual(withC8.values.slice(0, k * 16), factual.values.slice(0, k * 16));
  assert.deepEqual([withC8.hours, withC8.missing], [factual.hours, factual.missing]);
  // the effect of a condition multiplies by exp(size): -0.693 on sodium, nothing on potassium
  const effects = synthLabWorld.conditions[8].effect;
  for (let v = 0; v < 16; v++) {
    const at = k * 16 + v;
    if (factual.missing[at]) continue;
    const ratio = withC8.values[at] / without.values[at];
    assert.ok(Math.abs(ratio - Math.exp(effects[v] ?? 0)) < 1e-4, `variable ${v} moved by ${ratio}`);
  }
  const later = data.counterfactual(place, { gapHours: { [k]: 500 } });
  assert.equal(later.hours[k] - later.hours[k - 1], 500);
  assert.throws(() => data.counterfactual(place, { conditions: { 3: "C99" } }), /no condition "C99"; it has C0, C1/);
});

Deno.test("SynthLab's simple rows are those of the specification within 3 %", () => {
  const { subjects } = synthLab({ subjects: 2048, seed: 3 });
  const errors = { mean: [0, 0], last: [0, 0] }; // immediate, delayed
  let count = 0;
  for (const { values, missing } of subjects) {
    for (let j = 9; j < 20; j++) {
      for (let v = 0; v < 16; v++) {
        if (missing[j * 16 + v]) continue;
        count++;
        [j, 9].forEach((length, task) => {
          const seen = Array.from({ length }, (_, k) => k * 16 + v).filter((at) => !missing[at]).map((at) =>
            values[at]
          );
          const mean = seen.reduce((sum, value) => sum + value, 0) / seen.length;
          errors.mean[task] += Math.abs((seen.length ? mean : 0) - values[j * 16 + v]);
          errors.last[task] += Math.abs((seen.at(-1) ?? 0) - values[j * 16 + v]);
        });
      }
    }
  }
  const close = (sum: number, expected: number) => Math.abs(sum / count / expected - 1) < 0.03;
  assert.ok(close(errors.mean[0], 10.83) && close(errors.mean[1], 12.75), "historical mean");
  assert.ok(close(errors.last[0], 7.27) && close(errors.last[1], 13.43), "last value");
});
