import assert from "node:assert/strict";
import { dataFolder, eicuDemo, mimic3Demo, readHospitalTables, type VisitTable } from "../../lib/data/mod.ts";

const count = ({ patients }: VisitTable) => ({
  patients: patients.length,
  visits: patients.reduce((sum, { visits }) => sum + visits.length, 0),
  codes: patients.reduce((sum, { visits }) => sum + visits.reduce((all, { codes }) => all + codes.length, 0), 0),
});

async function inFolder(files: Record<string, string>, body: (folder: string) => Promise<void>): Promise<void> {
  const folder = await Deno.makeTempDir();
  try {
    for (const [name, text] of Object.entries(files)) await Deno.writeTextFile(`${folder}/${name}`, text);
    await body(folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

Deno.test("the MIMIC-III demo has its published numbers, codes as their systems write them, and counts what it drops", async () => {
  const table = await mimic3Demo.load();
  assert.deepEqual(count(table), { patients: 100, visits: 129, codes: 7063 });
  assert.deepEqual(table.dropped, { "prescriptions without a code": 1478 });
  const first = table.patients.find(({ id }) => id === "10006")!.visits[0];
  assert.equal(first.start, Date.UTC(2164, 9, 23, 21, 9) / 3_600_000);
  assert.deepEqual(first.codes[0], { system: "ICD9CM", code: "995.91", kind: "diagnosis" });
  const codes = table.patients.flatMap(({ visits }) => visits.flatMap(({ codes }) => codes));
  assert.ok(codes.some(({ system, code }) => system === "ICD9CM" && /^E\d{3}\.\d$/.test(code)), "an external cause");
  assert.ok(codes.every(({ system, code }) => system !== "ICD9PROC" || /^\d\d(\.\d{1,2})?$/.test(code)));
  const heparin = codes.filter(({ kind, text }) => kind === "drug" && /heparin/i.test(text ?? ""));
  assert.ok(heparin.length > 50 && heparin.every(({ hour }) => hour !== undefined));
  assert.equal(table.patients.flatMap(({ visits }) => visits).filter(({ died }) => died).length, 40);
});

Deno.test("eICU's visits are on the hospital's clock; both revisions of ICD are told apart", async () => {
  const table = await eicuDemo.visits();
  assert.deepEqual(count(table), { patients: 97, visits: 141, codes: 4313 });
  assert.equal(table.dropped["diagnoses without a code"], 273);
  const codes = table.patients.flatMap(({ visits }) => visits.flatMap(({ codes }) => codes));
  assert.ok(codes.some(({ system, code }) => system === "ICD9CM" && code === "253.2"));
  assert.ok(codes.some(({ system, code }) => system === "ICD10CM" && code === "E23.0"));
  for (const { visits } of table.patients) {
    visits.forEach(({ start }, i) =>
      assert.ok(i === 0 || start > visits[i - 1].end!, "a stay begins after the one before")
    );
  }
});

const repository = {
  "patients.csv": "patient_id,dob,dod,Gender,Race\n1,1950-02-01,,F,White\n2,1960-01-01,2020-05-01,M,Asian\n",
  "admissions.csv":
    "patient_id,visit_id,start,end,visit_type\n1,11,2019-01-01 10:00:00,2019-01-03 10:00:00,Inpatient\n" +
    "1,10,2018-01-01 10:00:00,,Outpatient\n2,20,2020-04-30 00:00:00,2020-05-01 00:00:00,Inpatient\n",
  "diagnoses.csv":
    "patient_id,visit_id,code_val,icd_version\n1,10,25000,9\n1,11,E119,10\n1,11,E119,10\n2,20,I21.4,10\n",
  "procedures.csv": "patient_id,visit_id,code_val,icd_version\n1,11,0270346,10\n2,99,3605,9\n",
  "prescriptions.csv": "patient_id,visit_id,code_val\n1,11,860975\n2,20,\n",
};

Deno.test("tables as MedTok's repository expects them are read; a missing file or column is named with its version", async () => {
  await inFolder(repository, async (folder) => {
    const table = await readHospitalTables(folder, { layout: "MedTok" });
    assert.deepEqual(table.patients.map(({ visits }) => visits.map(({ id }) => id)), [["10", "11"], ["20"]]);
    assert.deepEqual(
      table.patients[0].visits[1].codes.map(({ system, code }) => `${system}:${code}`),
      ["ICD10CM:E11.9", "ICD10PCS:0270346", "RXNORM:860975"],
    );
    assert.deepEqual([table.patients[0].ethnicity, table.patients[0].visits[0].end], ["White", null]);
    assert.deepEqual(table.dropped, { "procedures of no admission": 1, "prescriptions without a code": 1 });
    await Deno.writeTextFile(`${folder}/diagnoses.csv`, "patient_id,visit_id,icd9_code\n1,10,25000\n");
    await assert.rejects(
      readHospitalTables(folder, { layout: "MedTok" }),
      /^Error: diagnoses\.csv has no column "code_val", which the tables of MedTok's repository has; it has patient_id, /,
    );
    await assert.rejects(
      readHospitalTables(folder, { layout: "MIMIC-IV" }),
      /^Error: patients\.csv has no column "subject_id", which MIMIC-IV v3\.1 has; it has patient_id, dob/,
    );
    await Deno.remove(`${folder}/procedures.csv`);
    await Deno.writeTextFile(`${folder}/diagnoses.csv`, repository["diagnoses.csv"]);
    await assert.rejects(
      readHospitalTables(folder, { layout: "MedTok" }),
      /has no procedures\.csv or procedures\.csv\.gz/,
    );
  });
  await assert.rejects(
    readHospitalTables(new URL("nowhere/", dataFolder)),
    /is no folder that can be read; name the folder of MIMIC-III v1\.4/,
  );
});

Deno.test("MIMIC-IV's tables give an age, both revisions of ICD, and visits in the order of time", () =>
  inFolder({
    "patients.csv": "subject_id,gender,anchor_age,anchor_year,anchor_year_group,dod\n5,M,52,2180,2014 - 2016,\n",
    "admissions.csv": "subject_id,hadm_id,admittime,dischtime,deathtime,admission_type,race,hospital_expire_flag\n" +
      "5,2,2181-01-01 00:00:00,2181-01-02 00:00:00,,URGENT,WHITE,1\n5,1,2180-01-01 00:00:00,2180-01-02 00:00:00,,EW EMER.,WHITE,0\n",
    "diagnoses_icd.csv": "subject_id,hadm_id,seq_num,icd_code,icd_version\n5,1,1,5723,9\n5,2,1,K766,10\n",
    "procedures_icd.csv": "subject_id,hadm_id,seq_num,chartdate,icd_code,icd_version\n5,2,1,2181-01-01,0W9G3ZZ,10\n",
    "prescriptions.csv": "subject_id,hadm_id,starttime,drug,ndc\n5,1,2180-01-01 08:00:00,Furosemide,51079007320\n",
  }, async (folder) => {
    const { patients: [patient] } = await readHospitalTables(folder, { layout: "MIMIC-IV" });
    assert.equal(patient.born, Date.UTC(2128, 0, 1) / 3_600_000);
    assert.deepEqual(patient.visits.map(({ id, died }) => [id, died]), [["1", false], ["2", true]]);
    assert.deepEqual(patient.visits.map(({ codes }) => codes.map(({ code }) => code)), [["572.3", "51079007320"], [
      "K76.6",
      "0W9G3ZZ",
    ]]);
  }));
