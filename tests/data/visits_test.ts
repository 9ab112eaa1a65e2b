import assert from "node:assert/strict";
import {
  type Patient,
  plantedCodes,
  plantedPatients,
  plantedTasks,
  type Visit,
  visitTable,
} from "../../lib/data/mod.ts";

const visit = (start: number, more: Partial<Visit> = {}): Visit => ({
  id: `${start}`,
  start,
  end: start + 24,
  kind: "EMERGENCY",
  died: false,
  codes: [{ system: "ICD9CM", code: "038.9", kind: "diagnosis" }],
  ...more,
});
const patient = (id: string, ...visits: Visit[]): Patient => (
  { id, sex: "F", ethnicity: "", born: null, died: null, visits }
);

Deno.test("a table of visits refuses what is wrong in one sentence, and counts what it drops", () => {
  const options = { name: "the table", systems: ["ICD9CM"] };
  const refuses = (patients: Patient[], message: RegExp) =>
    assert.throws(() => visitTable(patients, options), (error: Error) => {
      assert.match(error.message, message);
      return error instanceof RangeError;
    });
  refuses([patient("7", visit(0, { codes: [] }))], /^visit 0 of patient 7 has no codes; pass withoutCodes: "drop"/);
  refuses([patient("7", visit(48), visit(0))], /^patient 7 goes back in time: visit 0 begins 48 h before the one in/);
  refuses([patient("7", visit(48, { end: 47.5 }))], /^visit 48 of patient 7 goes back in time: it ends 0.5 h before/);
  refuses([patient("7", visit(NaN))], /begins at NaN; give its hour/);
  refuses([patient("7"), patient("7")], /^the table has the patient 7 twice/);
  refuses([patient("7", visit(0), visit(0))], /^patient 7 has the visit 0 twice/);
  refuses(
    [patient("7", visit(0, { codes: [{ system: "SNOMED", code: "38", kind: "diagnosis" }] }))],
    /^visit 0 of patient 7 has the code SNOMED:38, but the table declares only the coding systems ICD9CM; add SNOMED/,
  );
  const { patients, dropped } = visitTable(
    [patient("1", visit(0, { codes: [] }), visit(30)), patient("2", visit(0, { codes: [] }))],
    { ...options, withoutCodes: "drop" },
  );
  assert.deepEqual(patients.map(({ visits }) => visits.length), [1]);
  assert.deepEqual(dropped, { "visits without codes": 2, "patients without a visit": 1 });
});

Deno.test("planted patients have visits, and labels that follow from what their codes stand for", () => {
  const planted = plantedCodes({ seed: 0 });
  const { table, labels, values } = plantedPatients(planted, { patients: 400, seed: 3 });
  assert.deepEqual(labels.length, 13);
  assert.deepEqual([...values.keys()], table.patients.map(({ id }) => id));
  for (const { visits } of table.patients) {
    assert.ok(visits.length >= 2 && visits.length <= 5);
    for (const { codes } of visits) assert.ok(codes.length >= 3 && codes.length <= 7);
  }
  const place = new Map(planted.codes.map(({ code, concept }) => [code, planted.concepts[concept]]));
  const conceptsOf = (id: string) =>
    table.patients.find((patient) => patient.id === id)!.visits
      .flatMap(({ codes }) => codes.map(({ code }) => place.get(code)!));
  const severeShare = (died: number) => {
    const own = [...values].filter(([, value]) => value[labels.indexOf("mortality")] === died).flatMap(([id]) =>
      conceptsOf(id)
    );
    return own.filter(({ severe }) => severe).length / own.length;
  };
  assert.ok(severeShare(1) > severeShare(0) + 0.08, `${severeShare(1)} and ${severeShare(0)}`);
  for (const name of plantedTasks.drugs) {
    const share = [...values.values()].filter((value) => value[labels.indexOf(name)] === 1).length / values.size;
    assert.ok(share > 0.15 && share < 0.55, `${name}: ${share}`);
  }
  // another hospital codes the same world in the rare system
  const systems = (mix: "in" | "shift") =>
    Object.fromEntries(
      Map.groupBy(
        plantedPatients(planted, { patients: 100, mix }).table.patients
          .flatMap(({ visits }) => visits.flatMap(({ codes }) => codes)),
        ({ system }) => system,
      ).entries().map(([system, own]) => [system, own.length]),
    );
  const [here, there] = [systems("in"), systems("shift")];
  assert.ok(here.A > 3 * here.C && there.C > 5 * there.A, JSON.stringify([here, there]));
  assert.deepEqual(plantedPatients(planted, { patients: 5, seed: 3 }).table.patients, table.patients.slice(0, 5));
  assert.throws(() => plantedPatients(planted, { mix: "odd" as "in" }), /a mix of coding systems is "in" or "shift"/);
});
