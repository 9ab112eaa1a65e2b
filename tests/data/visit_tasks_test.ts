import assert from "node:assert/strict";
import {
  cohort,
  drugTask,
  findLeaks,
  lengthOfStayTask,
  mapVisits,
  mimic3Demo,
  mortalityTask,
  nextVisitTask,
  type Patient,
  phenotypeTask,
  plantedCodes,
  plantedPatients,
  readmissionTask,
  refuseLeaks,
  refuseShared,
  splitPatients,
  type Visit,
  visitTable,
  type VisitTask,
} from "../../lib/data/mod.ts";

const DAY = 24;
const code = (name: string, hour?: number) => (
  { system: "ICD9CM", code: name, kind: "diagnosis" as const, ...(hour === undefined ? {} : { hour }) }
);
const visit = (id: string, start: number, end: number | null, more: Partial<Visit> = {}): Visit => (
  { id, start, end, kind: "", died: false, codes: [code("038.9")], ...more }
);
const patient = (id: string, ...visits: Visit[]): Patient => ({
  id,
  sex: "F",
  ethnicity: "",
  born: null,
  died: null,
  visits,
});
const tableOf = (...patients: Patient[]) =>
  visitTable(patients, { name: "by hand", systems: ["ICD9CM", "ATC", "NDC"] });
const labelOf = ({ values }: VisitTask, id: string) => [...values.get(id)!];

Deno.test("labels by hand: death in the next visit, days until it, days of stay", () => {
  const table = tableOf(
    patient("a", visit("a1", 0, 2 * DAY), visit("a2", 10 * DAY, 12 * DAY, { died: true })),
    patient("b", visit("b1", 0, 10.9 * DAY), visit("b2", 26 * DAY, 26.5 * DAY)),
    patient("c", visit("c1", 0, 15 * DAY)),
  );
  const mortality = mortalityTask(table);
  assert.deepEqual([labelOf(mortality, "a"), labelOf(mortality, "b")], [[1], [0]]);
  assert.deepEqual(mortality.table.patients.map(({ visits }) => visits.map(({ id }) => id)), [["a1"], ["b1"]]);
  assert.deepEqual(mortality.leftOut, { "no earlier visit": 1 });
  const readmission = readmissionTask(table);
  assert.deepEqual(
    [labelOf(readmission, "a"), labelOf(readmission, "b")],
    [[1], [0]],
    "8 and 15.1 days after discharge",
  );
  const between = (from: "admission" | "discharge", days: number) =>
    labelOf(readmissionTask(table, { days, from }), "a")[0];
  assert.deepEqual([
    between("discharge", 8),
    between("discharge", 7.9),
    between("admission", 10),
    between("admission", 9),
  ], [
    1,
    0,
    1,
    0,
  ]);
  const stay = lengthOfStayTask(table);
  const shown = (id: string) => stay.labels[labelOf(stay, id).indexOf(1)];
  assert.deepEqual(["a", "b", "c"].map(shown), ["2 days", "under a day", "over 14 days"]);
  const each = lengthOfStayTask(table, { examples: "every" });
  assert.equal(each.labels[labelOf(each, "b#b1").indexOf(1)], "8 to 14 days");
  assert.deepEqual(each.table.patients.map(({ id }) => id), ["a#a1", "a#a2", "b#b1", "b#b2", "c#c1"]);
  for (const { visits } of each.table.patients) {
    assert.equal(visits.at(-1)!.end, null, "what is asked for is hidden");
    assert.equal(visits.at(-1)!.died, null);
  }
  assert.throws(() => readmissionTask(table, { days: 0 }), /days must be above 0/);
  assert.throws(
    () => mortalityTask(tableOf(patient("c", visit("c1", 0, 1)))),
    /no example of mortality can be made of/,
  );
});

Deno.test("labels of real patients: conditions by CCS, drugs by name without flushes, codes of the next visit", async () => {
  const table = await mimic3Demo.load();
  const phenotypes = await phenotypeTask(table);
  const share = (task: VisitTask, label: string) =>
    [...task.values.values()].filter((value) => value[task.labels.indexOf(label)]).length / task.values.size;
  // 250.00 and 038.9 are in one category only
  const last = (id: string) => table.patients.find((patient) => patient.id === id)!.visits.at(-1)!;
  for (const [id, value] of phenotypes.values) {
    const codes = last(id).codes.filter(({ system }) => system === "ICD9CM").map(({ code }) => code);
    if (codes.includes("038.9")) assert.equal(value[phenotypes.labels.indexOf("septicemia")], 1);
    if (codes.includes("785.52")) assert.equal(value[phenotypes.labels.indexOf("shock")], 1);
  }
  for (const { visits } of phenotypes.table.patients) {
    assert.ok(visits.at(-1)!.codes.every(({ kind }) => kind !== "diagnosis"), "the labels' own codes are hidden");
  }
  const drugs = drugTask(table);
  assert.ok(share(drugs, "heparin") > 0.3 && share(drugs, "atorvastatin") < 0.4);
  assert.ok(drugs.table.patients.every(({ visits }) => visits.at(-1)!.codes.every(({ kind }) => kind !== "drug")));
  const flush = tableOf(patient("a", {
    ...visit("a1", 0, DAY),
    codes: [code("038.9"), { system: "NDC", code: "1", kind: "drug", text: "Heparin Flush (10 units/ml)" }],
  }));
  assert.deepEqual(labelOf(drugTask(flush), "a"), [0, 0, 0, 0, 0]);
  const next = nextVisitTask(table, { least: 20 });
  for (const [id, value] of next.values) {
    const codes = new Set(last(id).codes.map(({ system, code }) => `${system}:${code}`));
    assert.deepEqual([...value], next.labels.map((label) => Number(codes.has(label))));
  }
  assert.throws(() => nextVisitTask(table, { least: 1000 }), /no code of kind diagnosis is in 1000 visits/);
});

Deno.test("a label that leaks from the future is found: later visits, dates of codes, ends of stays, deaths", async () => {
  const table = await mimic3Demo.load();
  for (
    const task of [mortalityTask(table), readmissionTask(table), lengthOfStayTask(table), await phenotypeTask(table)]
  ) {
    assert.deepEqual(findLeaks(task), [], task.name);
    assert.deepEqual([...task.values.keys()], task.table.patients.map(({ id }) => id), "joined by id");
  }
  const task = { name: "the task", until: new Map([["a", 100]]) };
  const leak = (own: Partial<Patient>, ...visits: Visit[]) =>
    findLeaks({ ...task, table: tableOf({ ...patient("a", ...visits), ...own }) }).join("; ");
  assert.equal(leak({ died: 90 }, visit("1", 0, 100)), "");
  assert.match(
    leak({ died: 101.5 }),
    /^the input of patient a for the task holds the patient's death, which is 1\.5 h after/,
  );
  assert.match(
    leak({}, visit("1", 0, 9), visit("2", 120, null, { died: null })),
    /holds visit 2, which begins 20\.0 h after/,
  );
  assert.match(
    leak({}, visit("1", 0, 101)),
    /holds the end of visit 1, which is 1\.0 h after the prediction; cut it off/,
  );
  assert.match(
    leak({}, visit("1", 0, null)),
    /says whether visit 1, of which the end is hidden, ended in death; hide it/,
  );
  const late = visit("1", 0, null, { died: null, codes: [code("038.9", 99), code("785.52", 130)] });
  assert.match(leak({}, late), /holds the code ICD9CM:785\.52 of visit 1, which is dated 30\.0 h after/);
  assert.throws(
    () => refuseLeaks({ ...task, table: tableOf({ ...patient("a", late), died: 200 }) }),
    /the patient's death, .* \(and 1 more\)$/,
  );
});

Deno.test("splits share no patient, keep a label's share, and nobody is drawn twice", () => {
  const { table, values } = plantedPatients(plantedCodes({ concepts: 60 }), { patients: 300 });
  const label = (id: string) => values.get(id)![1];
  const parts = splitPatients(table, {
    shares: { train: 0.6, validation: 0.1, test: 0.3 },
    seed: 4,
    stratifyBy: ({ id }) => label(id),
  });
  const all = Object.values(parts).flatMap(({ patients }) => patients.map(({ id }) => id));
  assert.deepEqual([all.length, new Set(all).size], [300, 300]);
  const share = (ids: string[]) => ids.reduce((sum, id) => sum + label(id), 0) / ids.length;
  for (const [name, part] of Object.entries(parts)) {
    assert.ok(Math.abs(share(part.patients.map(({ id }) => id)) - share(all)) < 0.03, name);
  }
  assert.deepEqual(
    splitPatients(table, { shares: { a: 0.5, b: 0.5 } }),
    splitPatients(table, { shares: { a: 0.5, b: 0.5 } }),
  );
  assert.throws(() => splitPatients(table, { shares: { a: 0.5, b: 0.6 } }), /shares must be above 0 and sum to 1/);
  assert.throws(() => splitPatients(table, { shares: { a: 0.999, b: 0.001 } }), /the part b would have none of 300/);
  const examples = { ...parts.test, patients: [{ ...parts.train.patients[0], id: `${parts.train.patients[0].id}#v` }] };
  assert.throws(() => refuseShared({ ...parts, test: examples }), /is in train and in test; split by patient/);
});

Deno.test("a cohort shows what each step leaves, as a table, and says which step leaves nobody", async () => {
  const built = cohort(await mimic3Demo.load(), [
    { name: "adults", patients: ({ born, visits }) => born !== null && visits[0].start - born > 18 * 365.25 * DAY },
    { name: "stays over a day", visits: ({ start, end }) => end !== null && end - start > DAY },
    { name: "two visits", patients: ({ visits }) => visits.length >= 2 },
  ]);
  assert.deepEqual(built.stages.map(({ stage }) => stage), ["all", "adults", "stays over a day", "two visits"]);
  const sizes = built.stages.map(({ patients }) => patients);
  assert.equal(sizes.at(-1), built.table.patients.length);
  built.stages.slice(1).forEach(({ lost, patients }, i) => assert.equal(lost, sizes[i] - patients));
  const bundle = Reflect.get(built, Symbol.for("Jupyter.display")).call(built) as Record<string, string>;
  assert.match(bundle["text/markdown"], /\| all \| 100 \| 129 \| 7063 \| 0 \|/);
  assert.throws(
    () => cohort(built.table, [{ name: "older than 300", patients: () => false }]),
    /nobody of MIMIC-III demo is left after "older than 300"/,
  );
  assert.equal(mapVisits(built.table, ({ visits }) => visits.slice(1)).patients.length, built.table.patients.length);
});
