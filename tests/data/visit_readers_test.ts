import assert from "node:assert/strict";
import pl from "nodejs-polars";
import {
  dataFolder,
  eicuDemo,
  mimic3Demo,
  readHospitalTables,
  readMeds,
  readOmop,
  type VisitTable,
  writeTable,
} from "../../lib/data/mod.ts";

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

const samples = new URL("event-samples/", dataFolder);
const shown = ({ patients }: VisitTable) =>
  patients.map(({ visits }) => visits.map(({ codes }) => codes.map(({ system, code }) => `${system}:${code}`)));

Deno.test("MEDS events become visits, from CSV and from Parquet alike", async () => {
  const table = await readMeds(new URL("meds.csv", samples));
  assert.deepEqual(shown(table), [
    [["ICD10CM:E11.9", "ICD10CM:I10", "RXNORM:860975"], ["ICD9CM:414.01", "ICD10PCS:0270346"]],
    [["SNOMED:91302008", "ATC:J01XA01"]],
  ]);
  const [first, second] = table.patients;
  assert.deepEqual([first.sex, first.ethnicity, first.died], ["F", "WHITE", null]);
  assert.deepEqual([first.visits[0].kind, first.visits[0].died], ["EMERGENCY", false]);
  assert.deepEqual([second.visits[0].died, second.died], [true, second.visits[0].end]);
  assert.deepEqual(table.dropped, { measurements: 1 });
  // as MEDS stores them: numbers and times; and the visits found without their ids
  await inFolder({}, async (folder) => {
    const text = await Deno.readTextFile(new URL("meds.csv", samples));
    const cells = text.trim().split("\n").slice(1).map((line) => line.split(","));
    const frame = pl.DataFrame({
      subject_id: cells.map(([subject]) => Number(subject)),
      time: cells.map(([, time]) => time ? new Date(`${time.replace(" ", "T")}Z`) : null),
      code: cells.map(([, , code]) => code),
      numeric_value: cells.map(([, , , value]) => value ? Number(value) : null),
    });
    await writeTable(`${folder}/events.parquet`, frame);
    const again = await readMeds(`${folder}/events.parquet`);
    assert.deepEqual(shown(again), shown(table));
    assert.deepEqual(again.patients[0].visits[0].start, first.visits[0].start);
  });
});

Deno.test("a table of another MEDS version, an unknown coding system and a bad time are one sentence each", () =>
  inFolder({
    "old.csv": "patient_id,timestamp,code,numeric_value\n1,2018-01-01,ICD10CM/E11.9,\n",
    "odd.csv": "subject_id,time,code,numeric_value\n1,2018-01-01,GTIN/4006381,\n",
    "late.csv": "subject_id,time,code,numeric_value\n1,yesterday,ICD10CM/E11.9,\n",
    "gaps.csv":
      "subject_id,time,code,numeric_value\n1,2018-01-01 00:00:00,ICD10CM/E11,\n1,2018-01-01 20:00:00,ICD10CM/I10,\n1,2018-01-03,ICD10CM/I21.4,\n",
  }, async (folder) => {
    await assert.rejects(
      readMeds(`${folder}/old.csv`),
      /old\.csv is no table of MEDS 0\.3: it has no column "subject_id", as tables of MEDS before 0\.3 have not .*; convert/,
    );
    await assert.rejects(
      readMeds(`${folder}/odd.csv`),
      /odd\.csv: subject 1 has the code GTIN\/4006381, and no coding system is declared for GTIN; add it to vocabularies/,
    );
    const declared = await readMeds(`${folder}/odd.csv`, { vocabularies: { GTIN: { system: "GTIN", kind: "drug" } } });
    assert.deepEqual(shown(declared), [[["GTIN:4006381"]]]);
    const without = await readMeds(`${folder}/odd.csv`, { unknownVocabulary: "drop" });
    assert.deepEqual(without.dropped["codes of GTIN"], 1);
    await assert.rejects(readMeds(`${folder}/late.csv`), /event 1: the column "time" of MEDS 0\.3 holds "yesterday"/);
    assert.deepEqual(shown(await readMeds(`${folder}/gaps.csv`)), [[["ICD10CM:E11", "ICD10CM:I10"], [
      "ICD10CM:I21.4",
    ]]]);
    assert.equal((await readMeds(`${folder}/gaps.csv`, { gapHours: 1 })).patients[0].visits.length, 3);
  }));

Deno.test("OMOP tables become visits; a missing column is named with the version, a foreign concept by its number", async () => {
  const table = await readOmop(new URL("omop/", samples));
  assert.deepEqual(shown(table), [
    [["SNOMED:44054006", "SNOMED:59621000", "RXNORM:861007"], ["SNOMED:53741008", "ICD10PCS:0270346"]],
    [["SNOMED:91302008", "RXNORM:11124"]],
  ]);
  assert.deepEqual(table.dropped, { "events without a matching concept": 1 });
  assert.deepEqual(table.patients.map(({ sex }) => sex), ["F", "M"]);
  assert.equal(table.patients[0].visits[0].kind, "Emergency Room Visit");
  const texts: Record<string, string> = {};
  for await (const { name } of Deno.readDir(new URL("omop/", samples))) {
    texts[name] = await Deno.readTextFile(new URL(`omop/${name}`, samples));
  }
  await inFolder(
    { ...texts, "person.csv": texts["person.csv"].replace("gender_concept_id", "gender") },
    async (folder) => {
      await assert.rejects(
        readOmop(folder),
        /person\.csv has no column "gender_concept_id", which OMOP CDM 5\.4 has; it has person_id, gender/,
      );
    },
  );
  await inFolder({ ...texts, "concept.csv": texts["concept.csv"].replace("132797", "1") }, async (folder) => {
    await assert.rejects(
      readOmop(folder),
      /condition_occurrence\.csv has the concept 132797, which concept\.csv has not/,
    );
    await Deno.remove(`${folder}/visit_occurrence.csv`);
    await assert.rejects(readOmop(folder), /has no visit_occurrence\.csv, which OMOP CDM 5\.4 has; add it/);
  });
});
